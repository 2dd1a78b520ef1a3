//! What a skill writes for the operator: log lines, stdout and stderr, together within one bound.

use crate::{LogLevel, LogLine};
use parking_lot::Mutex;
use std::sync::Arc;

/// The longest single line that is kept, in bytes.
const LINE: usize = 4096;

/// Lines up to a bound; what is over it is counted and dropped.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Mutex<Kept>>);

struct Kept {
    lines: Vec<LogLine>,
    room: usize,
    dropped: u64,
}

impl Lines {
    pub(crate) fn bounded(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept { lines: Vec::new(), room: bytes, dropped: 0 })))
    }

    pub(crate) fn push(&self, level: LogLevel, message: &str) {
        let message = &message[..message.floor_char_boundary(LINE)];
        let mut kept = self.0.lock();
        // A line costs something even when it is empty, or a flood of empty lines would be free.
        let cost = message.len() + size_of::<LogLine>();
        if cost > kept.room {
            kept.dropped += 1;
            return;
        }
        kept.room -= cost;
        kept.lines.push(LogLine { level, message: message.to_owned() });
    }

    /// Takes the lines and the number of those dropped.
    pub(crate) fn take(&self) -> (Vec<LogLine>, u64) {
        let mut kept = self.0.lock();
        (std::mem::take(&mut kept.lines), std::mem::take(&mut kept.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_26_lines_are_bounded_and_what_is_over_is_counted() {
        let lines = Lines::bounded(1_000);
        for _ in 0..10_000 {
            lines.push(LogLevel::Info, "");
            lines.push(LogLevel::Info, &"ä".repeat(10_000));
        }
        let (kept, dropped) = lines.take();
        assert!(kept.iter().map(|line| line.message.len() + size_of::<LogLine>()).sum::<usize>() <= 1_000);
        assert_eq!(kept.len() as u64 + dropped, 20_000);
    }
}
