//! Many connections that are held open and do as little as they like, from as many addresses of loopback as it takes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Connections that are opened side by side.
const AT_ONCE: usize = 200;

/// The connections of one crowd. Closed when it is dropped.
pub(crate) struct Crowd {
    streams: Vec<TcpStream>,
    _runtime: Runtime,
}

impl Crowd {
    /// Opens `count` connections to `address`, of which `each` come from one address (127.0.`row`.1 and on), and sends
    /// `bytes` on each. What the other side closes meanwhile is no failure.
    pub(crate) fn gather(address: SocketAddr, row: u8, count: usize, each: usize, bytes: &[u8]) -> Self {
        allow_files();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let bytes: Arc<[u8]> = bytes.into();
        let streams = runtime.block_on(async {
            let mut streams = Vec::with_capacity(count);
            let mut coming = JoinSet::new();
            for n in 0..count {
                let host = u8::try_from(n / each + 1).expect("no more than 255 addresses");
                coming.spawn(open(Ipv4Addr::new(127, 0, row, host), address, Arc::clone(&bytes)));
                if coming.len() >= AT_ONCE {
                    streams.extend(coming.join_next().await.map(|stream| stream.expect("a connection")));
                }
            }
            streams.extend(coming.join_all().await);
            streams
        });
        Self { streams, _runtime: runtime }
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }
}

async fn open(from: Ipv4Addr, to: SocketAddr, bytes: Arc<[u8]>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("an address of loopback");
    let mut stream = socket.connect(to).await.expect("the gateway accepts connections");
    drop(stream.write_all(&bytes).await);
    stream
}

/// Lets this process have as many files open as the system allows.
fn allow_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a higher limit on open files");
}
