//! The connections that are open, and which of them may be closed to make room for another.
//!
//! Promise: who keeps connections open without saying who they are, or without asking for anything, keeps nobody out.
//! Where there is no room for one more connection, the one that has been of no use for the longest is closed: it waits
//! for a request, or its request is not known to be of anybody. One that serves a known caller is never closed for it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The open connections that could be spared. Cheap to clone; every clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Spare>>);

#[derive(Debug, Default)]
struct Spare {
    /// In the order in which they became so.
    lines: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

impl Connections {
    /// A connection that was just accepted; it can be spared until somebody known uses it.
    pub(crate) fn open(&self) -> Line {
        let line = Line(Arc::new(End { connections: self.clone(), cut: Arc::default(), spare: Mutex::new(None) }));
        line.spare();
        line
    }

    /// Closes the one that could be spared for the longest; whether there was one.
    pub(crate) fn cut_one(&self) -> bool {
        let cut = self.0.lock().lines.pop_first();
        // Kept by the notify until the connection's task looks.
        cut.map(|(_, line)| line.notify_one()).is_some()
    }
}

/// One connection, for its task and for the requests on it.
#[derive(Debug, Clone)]
pub(crate) struct Line(Arc<End>);

#[derive(Debug)]
struct End {
    connections: Connections,
    cut: Arc<Notify>,
    /// Its number among those that could be spared.
    spare: Mutex<Option<u64>>,
}

impl Line {
    /// Completes when the connection has to make room.
    pub(crate) async fn cut(&self) {
        self.0.cut.notified().await;
    }

    /// A known caller uses the connection until the guard is dropped.
    pub(crate) fn in_use(&self) -> InUse {
        self.0.no_longer_spare();
        InUse(self.clone())
    }

    fn spare(&self) {
        let mut own = self.0.spare.lock();
        let mut spare = self.0.connections.0.lock();
        let number = spare.next;
        spare.next += 1;
        spare.lines.insert(number, Arc::clone(&self.0.cut));
        if let Some(before) = own.replace(number) {
            spare.lines.remove(&before);
        }
    }
}

impl End {
    fn no_longer_spare(&self) {
        let mut own = self.spare.lock();
        if let Some(number) = own.take() {
            self.connections.0.lock().lines.remove(&number);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.no_longer_spare();
    }
}

/// Keeps a connection from being closed to make room.
#[derive(Debug)]
pub(crate) struct InUse(Line);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.spare();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn is_cut(line: &Line) -> bool {
        tokio::time::timeout(Duration::ZERO, line.cut()).await.is_ok()
    }

    #[tokio::test]
    async fn attack_44_the_connection_that_is_of_no_use_for_longest_makes_room() {
        let connections = Connections::default();
        let (first, second, third) = (connections.open(), connections.open(), connections.open());
        let used = first.in_use();
        assert!(connections.cut_one());
        assert!(is_cut(&second).await && !is_cut(&first).await && !is_cut(&third).await);
        // The first one has waited for a shorter time now than the third.
        drop(used);
        assert!(connections.cut_one());
        assert!(is_cut(&third).await && !is_cut(&first).await);
        let used = first.in_use();
        assert!(!connections.cut_one(), "one that serves a known caller is not closed");
        drop(used);
        drop((first, second, third));
        assert!(!connections.cut_one());
        assert!(connections.0.lock().lines.is_empty(), "nothing is kept of those that are closed");
    }
}
