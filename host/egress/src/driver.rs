//! Speaking on a connection, by whoever waits for what is said on it.
//!
//! hyper leaves it to its user who polls a connection. In a task of its own each message of an exchange goes from one thread to
//! another and back, which takes longer than all else that is done to it. So the one who waits for an answer polls the
//! connection too, and while nobody waits nobody speaks.

use crate::dial::Socket;
use bytes::Bytes;
use futures::task::AtomicWaker;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::task::unconstrained;

/// Rounds before other tasks have their turn.
const ROUNDS: usize = 32;

/// What hyper speaks with.
type Talk = http1::Connection<TokioIo<Box<dyn Socket>>, Full<Bytes>>;

/// Speaks on one connection.
pub(crate) struct Driver {
    /// Until the connection is over, which closes it.
    talk: Option<Talk>,
    rounds: Arc<Rounds>,
    /// Of `rounds`.
    waker: Waker,
}

impl Driver {
    pub(crate) fn new(talk: Talk) -> Self {
        let rounds = Arc::<Rounds>::default();
        let waker = Waker::from(Arc::clone(&rounds));
        Self { talk: Some(talk), rounds, waker }
    }

    /// What `done` comes to, which waits for something that is said on this connection.
    pub(crate) async fn until<F: Future>(&mut self, done: F) -> F::Output {
        let mut done = pin!(done);
        poll_fn(|context| self.poll(done.as_mut(), context)).await
    }

    fn poll<F: Future>(&mut self, mut done: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        let rounds = Arc::clone(&self.rounds);
        rounds.task.register(context.waker());
        for _ in 0..ROUNDS {
            rounds.begin();
            // First, so that what arrived meanwhile, or that it was closed, is seen before anything else.
            self.advance();
            if let Poll::Ready(output) = done.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                rounds.rest();
                // What comes while nobody waits wakes nobody.
                drop(rounds.task.take());
                return Poll::Ready(output);
            }
            if rounds.rest() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Says what is to be said, and takes in what arrived and whether the connection was closed, without waiting.
    pub(crate) fn advance(&mut self) {
        let Some(talk) = &mut self.talk else { return };
        // However much the task has done: a connection that is not looked at seems to be open.
        let talk = pin!(unconstrained(talk));
        if let Poll::Ready(ended) = talk.poll(&mut Context::from_waker(&self.waker)) {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended");
            }
            self.talk = None;
        }
    }
}

/// Who is woken by what happens on a connection: while it is polled, nobody, for that is the one who waits; it goes
/// round once more instead. Otherwise each would make the scheduler take its task up again, and wake a thread to share the work.
#[derive(Default)]
struct Rounds {
    again: AtomicBool,
    polling: AtomicBool,
    task: AtomicWaker,
}

impl Rounds {
    fn begin(&self) {
        self.polling.store(true, Ordering::SeqCst);
        self.again.store(false, Ordering::SeqCst);
    }

    /// Ends a round; false where something happened in it, so that there must be another.
    fn rest(&self) -> bool {
        // Whoever wakes sets the one and then looks at the other, here it is the other way round: one of both sees it.
        self.polling.store(false, Ordering::SeqCst);
        !self.again.load(Ordering::SeqCst)
    }
}

impl Wake for Rounds {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        if !self.polling.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EgressLimits;
    use crate::connection::Connection;
    use http::Request;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    /// Answers in pieces, so that what is waited for arrives in the middle of a poll, before it and after it.
    async fn serve(listener: TcpListener) {
        while let Ok((mut stream, _peer)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut read = [0; 1024];
                for at in 0_usize.. {
                    match stream.read(&mut read).await {
                        Ok(1..) => {}
                        _over => return,
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
                    let (first, second) = answer.split_at(1 + at % (answer.len() - 1));
                    stream.write_all(first).await.unwrap();
                    if at % 3 == 0 {
                        tokio::task::yield_now().await;
                    }
                    stream.write_all(second).await.unwrap();
                }
            });
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_that_is_said_is_slept_through() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));
        let limits = EgressLimits::default();
        let exchanges = (0..4).map(|_| {
            let limits = limits.clone();
            tokio::spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut connection = Connection::start(Box::new(stream), address, &limits).await.unwrap();
                for _ in 0..1000 {
                    let request = Request::get("/").header("Host", "localhost").body(Full::default()).unwrap();
                    let deadline = Instant::now() + Duration::from_secs(60);
                    let answer = connection.exchange(request, &limits, deadline).await.unwrap();
                    assert_eq!(&answer.body[..], b"body");
                    assert!(connection.is_ready().await);
                }
            })
        });
        for exchange in exchanges.collect::<Vec<_>>() {
            exchange.await.unwrap();
        }
    }

    #[test]
    fn a_wake_within_a_poll_is_another_round_and_one_beside_it_a_wake() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let rounds = Arc::<Rounds>::default();
        rounds.task.register(&Waker::from(Arc::clone(&woken)));
        rounds.begin();
        rounds.wake_by_ref();
        assert!(!rounds.rest() && !woken.0.load(Ordering::SeqCst));
        rounds.begin();
        assert!(rounds.rest());
        rounds.wake_by_ref();
        assert!(woken.0.load(Ordering::SeqCst));
    }
}
