//! The calls that run now, and those that wait for them.

use crate::{CallView, ProgressView};
use parking_lot::Mutex;
use sophon_types::CallId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The calls in flight; bounded by the number of places.
#[derive(Default, Clone)]
pub(crate) struct Flights(Arc<Mutex<HashMap<CallId, Aloft>>>);

struct Aloft {
    view: watch::Sender<CallView>,
    task: Option<AbortHandle>,
}

impl Flights {
    /// Announces a call; the guard takes it off again, however its task ends.
    pub(crate) fn begin(&self, view: CallView) -> Flight {
        let call = view.call_id;
        self.0.lock().insert(call, Aloft { view: watch::Sender::new(view), task: None });
        Flight { flights: self.clone(), call }
    }

    /// Whether the call runs now.
    pub(crate) fn has(&self, call: CallId) -> bool {
        self.0.lock().contains_key(&call)
    }

    /// Ends every call that runs now; says how many.
    pub(crate) fn abort(&self) -> usize {
        let aloft = self.0.lock();
        aloft.values().filter_map(|call| call.task.as_ref()).for_each(AbortHandle::abort);
        aloft.len()
    }

    /// Waits until the call is over or `patience` is used up; nothing where it does not run (any more).
    pub(crate) async fn wait(&self, call: CallId, patience: Duration) -> Option<CallView> {
        let mut changes = self.0.lock().get(&call)?.view.subscribe();
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
    /// Names the task that a shutdown may end.
    pub(crate) fn abortable(&self, task: AbortHandle) {
        if let Some(aloft) = self.flights.0.lock().get_mut(&self.call) {
            aloft.task = Some(task);
        }
    }

    pub(crate) fn progress(&self, progress: ProgressView) {
        if let Some(aloft) = self.flights.0.lock().get(&self.call) {
            aloft.view.send_modify(|view| view.progress = Some(progress));
        }
    }

    pub(crate) fn finish(&self, last: CallView) {
        if let Some(aloft) = self.flights.0.lock().get(&self.call) {
            aloft.view.send_replace(last);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.call);
    }
}
