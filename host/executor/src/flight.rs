//! The calls that run now, and those that wait for them.

use crate::{CallView, ProgressView};
use parking_lot::Mutex;
use sophon_types::CallId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The calls in flight; bounded by the number of permits for calls.
#[derive(Default, Clone)]
pub(crate) struct Flights(Arc<Mutex<HashMap<CallId, watch::Sender<CallView>>>>);

impl Flights {
    /// Announces a call; the guard takes it off again, however its task ends.
    pub(crate) fn begin(&self, view: CallView) -> Flight {
        let call = view.call_id;
        self.0.lock().insert(call, watch::Sender::new(view));
        Flight { flights: self.clone(), call }
    }

    /// The calls that run now.
    pub(crate) fn calls(&self) -> Vec<CallId> {
        self.0.lock().keys().copied().collect()
    }

    /// Waits until the call is over or `patience` is used up; nothing where it does not run (any more).
    pub(crate) async fn wait(&self, call: CallId, patience: Duration) -> Option<CallView> {
        let mut changes = self.0.lock().get(&call)?.subscribe();
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
    pub(crate) fn progress(&self, progress: ProgressView) {
        if let Some(sender) = self.flights.0.lock().get(&self.call) {
            sender.send_modify(|view| view.progress = Some(progress));
        }
    }

    pub(crate) fn finish(&self, last: CallView) {
        if let Some(sender) = self.flights.0.lock().get(&self.call) {
            sender.send_replace(last);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.call);
    }
}
