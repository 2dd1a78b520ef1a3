//! A TLS server on loopback that records what it is sent and answers as a test tells it.

use bytes::Bytes;
use sophon_tests::{Certificates, Github, Seen, serve};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Makes an answer.
type Make = dyn Fn(&Seen) -> http::Response<Bytes> + Send + Sync;

/// How an upstream answers.
pub(crate) enum Reply {
    /// With issues, to whoever shows the token.
    Github(Github),
    /// With whatever the function makes of the request.
    With(Box<Make>),
    /// Like the reply inside, after a while.
    Late(Duration, Box<Reply>),
    /// Like the reply inside, as soon as it is let go.
    Held(Hold, Box<Reply>),
}

/// Holds answers back until it is let go.
#[derive(Clone)]
pub(crate) struct Hold(Arc<watch::Sender<bool>>);

impl Hold {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// From now on everything is answered.
    pub(crate) fn let_go(&self) {
        self.0.send_replace(true);
    }

    async fn over(&self) {
        // The sender is held here, so it cannot be gone.
        drop(self.0.subscribe().wait_for(|over| *over).await);
    }
}

/// The server. Gone when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

/// One authority for all upstreams of a test run: a gateway is told of it before it starts.
static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(Certificates::generate);

impl Upstream {
    pub(crate) fn start(reply: Reply) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (reply, record) = (Arc::new(reply), Arc::clone(&seen));
        runtime.spawn(serve(listener, &CERTIFICATES, move |request| {
            let (reply, record) = (Arc::clone(&reply), Arc::clone(&record));
            async move {
                let request = Seen::of(&request);
                record.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                answer(&reply, &request).await
            }
        }));
        Self { address, seen, _runtime: runtime }
    }

    /// One that answers with what `reply` makes of the request.
    pub(crate) fn with(reply: impl Fn(&Seen) -> http::Response<Bytes> + Send + Sync + 'static) -> Self {
        Self::start(Reply::With(Box::new(reply)))
    }

    /// One that answers 200 with an empty JSON object.
    pub(crate) fn plain() -> Self {
        Self::with(|_| http::Response::new(Bytes::from_static(b"{}")))
    }

    /// The certificate to trust (PEM).
    pub(crate) fn authority() -> &'static str {
        CERTIFICATES.authority()
    }

    /// `host:port`, by the name in the certificate.
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host())
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `count` requests have arrived.
    pub(crate) fn wait_for(&self, count: usize) {
        for _ in 0..600 {
            if self.seen().len() >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the upstream has seen {} requests, not {count}", self.seen().len());
    }
}

async fn answer(reply: &Reply, request: &Seen) -> http::Response<Bytes> {
    let mut reply = reply;
    loop {
        reply = match reply {
            Reply::Late(pause, then) => {
                tokio::time::sleep(*pause).await;
                then
            }
            Reply::Held(hold, then) => {
                hold.over().await;
                then
            }
            Reply::Github(_) | Reply::With(_) => break,
        };
    }
    match reply {
        Reply::Github(github) => github.answer(request),
        Reply::With(make) => make(request),
        Reply::Late(..) | Reply::Held(..) => unreachable!("the loop above has gone through these"),
    }
}
