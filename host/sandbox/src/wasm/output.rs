//! What a skill writes for the operator: log lines, stdout and stderr, together within one bound.

use crate::{LogLevel, LogLine};
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// The longest single line that is kept, in bytes.
const LINE: usize = 4096;

/// Lines up to a bound; what is over it is counted and dropped.
#[derive(Clone)]
pub(super) struct Lines(Arc<Mutex<Kept>>);

struct Kept {
    lines: Vec<LogLine>,
    room: usize,
    dropped: u64,
}

impl Lines {
    pub(super) fn bounded(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept { lines: Vec::new(), room: bytes, dropped: 0 })))
    }

    pub(super) fn push(&self, level: LogLevel, message: &str) {
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
    pub(super) fn take(&self) -> (Vec<LogLine>, u64) {
        let mut kept = self.0.lock();
        (std::mem::take(&mut kept.lines), std::mem::take(&mut kept.dropped))
    }
}

/// stdout or stderr of a guest: each write becomes lines of the given level.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) lines: Lines,
    pub(super) level: LogLevel,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.lines.push(self.level, line);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
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
