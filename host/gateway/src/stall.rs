//! A connection whose other side has to take what it asked for. hyper bounds how long a client may take to send a head;
//! this bounds how long it may take to receive an answer, so that no client holds a place by not reading.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The fewest bytes that count as progress, unless they are the last: a client that takes one byte now and then stalls.
const PROGRESS: usize = 4096;

/// A stream that fails with [`io::ErrorKind::TimedOut`] where the other side does not take what is written.
#[derive(Debug)]
pub(crate) struct Stalling<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Waiting>,
}

/// Bytes are held up.
#[derive(Debug)]
struct Waiting {
    until: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Stalling<S> {
    /// A stream whose other side may be idle for `patience` while something is due to it.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    fn settle<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Waiting { until: Box::pin(sleep(patience)), taken: 0 });
        ready!(waiting.until.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }

    fn written(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(count)), Some(waiting)) = (&polled, &mut self.waiting) {
            waiting.taken += count;
            if waiting.taken >= PROGRESS {
                self.waiting = None;
            }
        }
        self.settle(context, polled)
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
            self.waiting = None;
        }
        self.settle(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.settle(context, polled)
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
        assert!(stream.waiting.is_none(), "nothing is due any more");
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
