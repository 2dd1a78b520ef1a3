//! Where the present call stands: its ids and the time it has left.

use std::cell::RefCell;
use std::time::Duration;

use crate::bindings::exports::sophon::skill::tools::CallContext;

/// The present call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The call's id, as the agent and the audit log see it.
    pub call_id: String,
    /// Joins everything that one request of an agent caused, across services.
    pub correlation_id: String,
    /// The agent's session, where there is one.
    pub session: Option<String>,
    /// Wall-clock time the call had left when it began. The host ends it when that is used up.
    pub deadline: Duration,
}

/// The present call. Outside a host (in a unit test) all of it is empty.
pub fn current() -> Context {
    CURRENT.with_borrow(Clone::clone)
}

thread_local! {
    static CURRENT: RefCell<Context> = RefCell::default();
}

pub(crate) fn enter(from: CallContext) {
    CURRENT.set(Context {
        call_id: from.call_id,
        correlation_id: from.correlation_id,
        session: from.session,
        deadline: Duration::from_millis(from.deadline_ms),
    });
}
