//! A connection whose other side has to take what it asked for. hyper bounds how long a client may take to send a head;
//! this bounds how long it may take to receive an answer, so that no client holds a place by not reading.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The fewest bytes that count as progress, unless they are the last: a client that takes one byte now and then stalls.
const PROGRESS: usize = 4096;

/// A stream that fails with [`io::ErrorKind::TimedOut`] where the other side does not take what is written.
#[derive(Debug)]
pub(crate) struct Stalling<S> {
    stream: S,
    patience: Duration,
    held_up: Option<HeldUp>,
}

/// Bytes wait for the other side.
#[derive(Debug)]
struct HeldUp {
    until: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Stalling<S> {
    /// A stream whose other side may be idle for `patience` while something is due to it.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, held_up: None }
    }

    fn written(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(count)), Some(held_up)) = (&polled, &mut self.held_up) {
            held_up.taken += count;
            if held_up.taken >= PROGRESS {
                held_up.taken = 0;
                held_up.until.as_mut().reset(Instant::now() + self.patience);
            }
        }
        self.timed(context, polled)
    }

    /// What was polled, or the error of a time that is over.
    fn timed<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        let patience = self.patience;
        let held_up = self.held_up.get_or_insert_with(|| HeldUp { until: Box::pin(sleep(patience)), taken: 0 });
        ready!(held_up.until.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once everything it has is written: then nothing is due any more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if polled.is_ready() {
            self.held_up = None;
        }
        self.timed(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.timed(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn who_does_not_read_is_let_go_and_who_does_is_not() {
        let (near, far) = tokio::io::duplex(64);
        let mut stream = Stalling::new(near, Duration::from_millis(50));
        let refused = stream.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(far);

        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Stalling::new(near, Duration::from_secs(60));
        let taken = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.map(|_count| all.len())
        });
        stream.write_all(&[7; 100_000]).await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.held_up.is_none(), "nothing is due any more");
        drop(stream);
        assert_eq!(taken.await.unwrap().unwrap(), 100_000);
    }

    #[tokio::test]
    async fn a_byte_now_and_then_is_no_progress() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Stalling::new(near, Duration::from_millis(100));
        let trickle = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let refused = stream.write_all(&[0; 100_000]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(stream);
        trickle.await.unwrap();
    }
}
