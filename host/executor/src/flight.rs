//! The calls that run now, and those that wait for them.

use crate::{ApprovalRef, CallStatus, CallView, ProgressView};
use parking_lot::Mutex;
use sophon_types::CallId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The calls in flight; bounded by the number of places.
#[derive(Default, Clone)]
pub(crate) struct Flights(Arc<Mutex<Sky>>);

#[derive(Default)]
struct Sky {
    calls: HashMap<CallId, Aloft>,
    /// Nothing starts any more, and what runs is told to end.
    ended: bool,
}

struct Aloft {
    view: watch::Sender<CallView>,
    task: Option<AbortHandle>,
}

impl Flights {
    /// Announces a call; the guard takes it off again, however its task ends.
    pub(crate) fn begin(&self, view: CallView) -> Flight {
        let call = view.call_id;
        self.0.lock().calls.insert(call, Aloft { view: watch::Sender::new(view), task: None });
        Flight { flights: self.clone(), call }
    }

    /// Whether the call runs now.
    pub(crate) fn has(&self, call: CallId) -> bool {
        self.0.lock().calls.contains_key(&call)
    }

    /// How a call stands; nothing where it neither runs nor waits.
    pub(crate) fn view(&self, call: CallId) -> Option<CallView> {
        self.0.lock().calls.get(&call).map(|aloft| aloft.view.borrow().clone())
    }

    /// Says that a call waits for a person, or no longer does.
    pub(crate) fn stands(&self, call: CallId, status: CallStatus, approval: Option<ApprovalRef>) {
        if let Some(aloft) = self.0.lock().calls.get(&call) {
            aloft.view.send_modify(|view| {
                // A person may have been faster than whoever says that it waits, and so may the call's end.
                if view.status.is_final() {
                    return;
                }
                if status != CallStatus::AwaitingApproval || view.status == status {
                    (view.status, view.approval) = (status, approval);
                }
            });
        }
    }

    /// Ends every call that runs now; says how many.
    pub(crate) fn abort(&self) -> usize {
        let mut sky = self.0.lock();
        sky.ended = true;
        sky.calls.values().filter_map(|call| call.task.as_ref()).for_each(AbortHandle::abort);
        sky.calls.len()
    }

    /// Whether nothing may start any more.
    pub(crate) fn ended(&self) -> bool {
        self.0.lock().ended
    }

    /// Waits until the call is over or `patience` is used up; nothing where it does not run (any more).
    pub(crate) async fn wait(&self, call: CallId, patience: Duration) -> Option<CallView> {
        let watch = Watch(self.0.lock().calls.get(&call)?.view.subscribe());
        watch.wait(patience).await
    }
}

/// An eye on one flight, which sees its last word even when it is over.
pub(crate) struct Watch(watch::Receiver<CallView>);

impl Watch {
    /// Waits until the call is over or `patience` is used up; nothing where it ended without a last word.
    pub(crate) async fn wait(self, patience: Duration) -> Option<CallView> {
        let Self(mut changes) = self;
        let over = async { changes.wait_for(|view| view.status.is_final()).await.map(|view| view.clone()) };
        match tokio::time::timeout(patience, over).await {
            Ok(Ok(view)) => Some(view),
            // The sender is gone without a last word (its task died): the store knows.
            Ok(Err(_gone)) => None,
            Err(_elapsed) => Some(changes.borrow().clone()),
        }
    }
}

/// One call in flight.
pub(crate) struct Flight {
    flights: Flights,
    call: CallId,
}

impl Flight {
    /// For whoever waits for this call's end.
    pub(crate) fn watch(&self) -> Option<Watch> {
        self.flights.0.lock().calls.get(&self.call).map(|aloft| Watch(aloft.view.subscribe()))
    }

    /// Names the task that a shutdown may end.
    pub(crate) fn abortable(&self, task: AbortHandle) {
        let mut sky = self.flights.0.lock();
        if sky.ended {
            task.abort();
        }
        if let Some(aloft) = sky.calls.get_mut(&self.call) {
            aloft.task = Some(task);
        }
    }

    pub(crate) fn progress(&self, progress: ProgressView) {
        self.change(|view| view.progress = Some(progress));
    }

    /// Says that it waits for a person, or no longer does.
    pub(crate) fn stands(&self, status: CallStatus, approval: Option<ApprovalRef>) {
        self.flights.stands(self.call, status, approval);
    }

    fn change(&self, change: impl FnOnce(&mut CallView)) {
        if let Some(aloft) = self.flights.0.lock().calls.get(&self.call) {
            aloft.view.send_modify(change);
        }
    }

    pub(crate) fn finish(&self, last: CallView) {
        if let Some(aloft) = self.flights.0.lock().calls.get(&self.call) {
            aloft.view.send_replace(last);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().calls.remove(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_types::Timestamp;

    fn view(status: CallStatus) -> CallView {
        CallView {
            call_id: CallId::from_bytes([7; 16]),
            status,
            tool: "ab.c".parse().unwrap(),
            risk: None,
            output: None,
            error: None,
            progress: None,
            approval: None,
            created_at: Timestamp::from_micros(0),
            finished_at: None,
        }
    }

    #[tokio::test]
    async fn who_waits_gets_the_last_word_even_when_the_flight_is_over_at_once() {
        let flights = Flights::default();
        let flight = flights.begin(view(CallStatus::Running));
        let call = view(CallStatus::Running).call_id;
        let watch = flight.watch().unwrap();
        let (waiting, ()) = tokio::join!(flights.wait(call, Duration::from_secs(30)), async {
            flight.finish(view(CallStatus::Succeeded));
            drop(flight);
        });
        assert_eq!(waiting.map(|view| view.status), Some(CallStatus::Succeeded));
        assert!(!flights.has(call));
        let late = watch.wait(Duration::from_secs(30)).await;
        assert_eq!(late.map(|view| view.status), Some(CallStatus::Succeeded), "who watched before needs no store");
        assert!(flights.wait(call, Duration::from_secs(30)).await.is_none());
    }

    #[test]
    fn a_call_that_is_over_stays_over() {
        let flights = Flights::default();
        let flight = flights.begin(view(CallStatus::Running));
        flight.finish(view(CallStatus::Succeeded));
        for late in [CallStatus::Parked, CallStatus::Running, CallStatus::AwaitingApproval] {
            flight.stands(late, None);
            assert_eq!(flights.view(flight.call).map(|view| view.status), Some(CallStatus::Succeeded));
        }
    }

    #[tokio::test]
    async fn a_task_that_is_named_after_the_end_was_called_ends_too() {
        let flights = Flights::default();
        let early = flights.begin(view(CallStatus::Running));
        let task = tokio::spawn(std::future::pending::<()>());
        early.abortable(task.abort_handle());
        assert!(!flights.ended());
        assert_eq!(flights.abort(), 1);
        assert!(task.await.unwrap_err().is_cancelled());

        let late = tokio::spawn(std::future::pending::<()>());
        early.abortable(late.abort_handle());
        assert!(late.await.unwrap_err().is_cancelled());
        assert!(flights.ended());
    }
}
