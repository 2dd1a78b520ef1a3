//! The proxy over a pipe in memory: an ordinary client on one side, a door that writes down what comes on the other.

use super::*;
use crate::Redirects;
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Door {
    seen: Mutex<Vec<HttpRequest>>,
    refused: Mutex<Vec<String>>,
    room: Room,
    does: Does,
    /// Requests that wait for ever.
    hanging: Arc<AtomicUsize>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer,
    /// With so many bytes.
    AnswerWith(usize),
    Deny,
    Hang,
}

/// One that waits for ever, until it is dropped.
struct Hanging(Arc<AtomicUsize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Outgoing for Door {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.url.clone();
        self.seen.lock().push(request);
        let body = match self.does {
            Does::Answer => Bytes::from_static(b"made"),
            Does::AnswerWith(bytes) => Bytes::from(vec![b'x'; bytes]),
            Does::Deny => {
                return Err(crate::Denial::new("host_not_allowed", "GET is not in permissions.network")
                    .hint("add it")
                    .into());
            }
            Does::Hang => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                let _one = Hanging(Arc::clone(&self.hanging));
                std::future::pending().await
            }
        };
        let headers = vec![
            ("content-type".to_owned(), b"text/plain".to_vec()),
            ("content-length".to_owned(), b"99".to_vec()),
            ("transfer-encoding".to_owned(), b"chunked".to_vec()),
        ];
        Ok(HttpResponse { status: 201, url, headers, body })
    }

    fn room(&self) -> &Room {
        &self.room
    }

    async fn stream(&self, _host: &Host<String>, _port: u16) -> Result<Option<Box<dyn crate::Carry>>, HttpError> {
        Ok(None)
    }

    fn refused(&self, what: &str) {
        self.refused.lock().push(what.to_owned());
    }
}

struct Lab {
    authority: Arc<Authority>,
    door: Arc<Door>,
}

impl Lab {
    fn new(does: Does) -> Self {
        Self::with(does, Room::new(1 << 20, 4, 1 << 20, Duration::from_secs(60)))
    }

    fn with(does: Does, room: Room) -> Self {
        let (seen, refused, hanging) = (Mutex::default(), Mutex::default(), Arc::default());
        let door = Arc::new(Door { seen, refused, room, does, hanging });
        Self { authority: Arc::new(Authority::new().unwrap()), door }
    }

    fn connect(&self) -> DuplexStream {
        self.served().0
    }

    fn served(&self) -> (DuplexStream, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let door = Arc::clone(&self.door) as Arc<dyn Outgoing>;
        (near, tokio::spawn(serve(far, Arc::clone(&self.authority), door)))
    }

    async fn seen(&self, count: usize) {
        while self.door.seen.lock().len() < count {
            tokio::task::yield_now().await;
        }
    }

    async fn plain(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn tunnel(&self, to: &str) -> DuplexStream {
        Self::through(self.connect(), to).await
    }

    async fn through(mut stream: DuplexStream, to: &str) -> DuplexStream {
        stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    async fn tls(&self, to: &str, name: &str) -> std::io::Result<TlsStream<DuplexStream>> {
        self.secured(self.tunnel(to).await, name).await
    }

    async fn secured(&self, tunnel: DuplexStream, name: &str) -> std::io::Result<TlsStream<DuplexStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tunnel).await
    }
}

async fn read(mut stream: TlsStream<DuplexStream>) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer).await {
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_plain_request_goes_out_without_the_connections_fields() {
    let lab = Lab::new(Does::Answer);
    let answer = lab
        .plain(
            "POST http://api.example.com/a?b=c HTTP/1.1\r\nHost: api.example.com\r\nProxy-Connection: close\r\n\
             Connection: close\r\nContent-Length: 2\r\nX-Own: 1\r\nAuthorization: Bearer p\r\n\r\nhi",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.ends_with("made"), "{answer}");
    assert!(answer.contains("content-length: 4"), "{answer}");
    let seen = lab.door.seen.lock();
    assert_eq!((&*seen[0].method, &*seen[0].url), ("POST", "http://api.example.com/a?b=c"));
    assert_eq!(seen[0].body.as_deref(), Some(&b"hi"[..]));
    let names: Vec<&str> = seen[0].headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["x-own", "authorization"]);
    assert_eq!(seen[0].redirects, Redirects::Manual);
}

#[tokio::test]
async fn tls_is_ended_here_with_a_certificate_that_the_sandbox_trusts() {
    let lab = Lab::new(Does::Answer);
    for (to, name, origin) in [
        ("api.example.com:443", "api.example.com", "https://api.example.com"),
        ("api.example.com:8443", "api.example.com", "https://api.example.com:8443"),
        ("127.0.0.1:4433", "127.0.0.1", "https://127.0.0.1:4433"),
    ] {
        let mut stream = lab.tls(to, name).await.unwrap();
        let request = format!("GET /x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", to.trim_end_matches(":443"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read(stream).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        assert_eq!(lab.door.seen.lock().last().unwrap().url, format!("{origin}/x"));
    }
    assert!(
        lab.tls("api.example.com:443", "other.example.com").await.is_err(),
        "the certificate is for that host only"
    );
    let other = Lab::new(Does::Answer);
    assert_ne!(lab.authority.pem(), other.authority.pem(), "each sandbox has an authority of its own");
}

#[tokio::test]
async fn attack_12_a_request_cannot_name_another_host_than_its_tunnel() {
    let lab = Lab::new(Does::Answer);
    for request in [
        "GET /x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET https://evil.example/x HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: api.example.com\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    ] {
        let mut stream = lab.tls("api.example.com:443", "api.example.com").await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read(stream).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let answer =
        lab.plain("GET http://api.example.com/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    assert!(lab.door.seen.lock().is_empty(), "nothing of it went out");
}

#[tokio::test]
async fn a_refusal_says_what_was_refused_and_what_would_allow_it() {
    let lab = Lab::new(Does::Deny);
    let answer =
        lab.plain("GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    for part in ["x-sophon-refused: host_not_allowed", "permissions.network", "add it"] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

#[tokio::test]
async fn what_is_not_http_goes_nowhere_and_is_told_so() {
    let lab = Lab::new(Does::Answer);
    // SSH behind CONNECT.
    let mut stream = lab.tunnel("git.example.com:22").await;
    stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // Behind the alert that TLS itself sends.
    let told = String::from_utf8_lossy(&answer);
    assert!(told.contains("sophon: only HTTP and HTTPS go out of this sandbox"), "{told}");
    assert!(told.ends_with("what a person granted for this skill by protocol, host and port\r\n"), "{told}");
    // TLS, and then IMAP in it.
    let mut stream = lab.tls("imap.example.com:993", "imap.example.com").await.unwrap();
    stream.write_all(b"a1 LOGIN me secret\r\n\r\n").await.unwrap();
    read(stream).await;
    // No proxy request at all.
    let answer = lab.plain("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = lab.plain("GET ftp://files.example.com/ HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = lab
        .plain("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    assert!(lab.door.seen.lock().is_empty());
    let refused = lab.door.refused.lock();
    assert!(refused[0].contains("git.example.com:22") && refused[0].contains("only HTTP"), "{refused:?}");
    assert!(refused[1].contains("only HTTP"), "{refused:?}");
}

#[tokio::test]
async fn attack_23_nothing_behind_a_connect_goes_on_when_its_connection_is_over() {
    let lab = Lab::new(Does::Hang);
    let (stream, serving) = lab.served();
    let tunnel = Lab::through(stream, "api.example.com:443").await;
    let mut tls = lab.secured(tunnel, "api.example.com").await.unwrap();
    let request = "POST /x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\n\r\n";
    // With the first byte of a second request behind it: a server that has something to read does not see that nobody is
    // there any more.
    tls.write_all(format!("{request}P").as_bytes()).await.unwrap();
    tls.flush().await.unwrap();
    lab.seen(1).await;
    assert_eq!(lab.door.hanging.load(Ordering::SeqCst), 1);
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert_eq!(lab.door.hanging.load(Ordering::SeqCst), 0, "the request outlives what it came by");
    assert!(
        tls.write_all(b"OST /y HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await.is_err() || read(tls).await.is_empty()
    );
    assert_eq!(lab.door.seen.lock().len(), 1);
}

async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn upload(length: &str) -> String {
    format!("POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n{length}\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn attack_26_bodies_of_a_call_have_room_together_and_time() {
    let lab = Lab::with(Does::Answer, Room::new(1_000, 64, 600, Duration::from_secs(30)));
    // One that is longer than any may be is not read at all.
    let answer = lab.plain(&upload("Content-Length: 601")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Nor is one that has no length and goes on.
    let answer = lab.plain(&format!("{}259\r\n{}\r\n", upload("Transfer-Encoding: chunked"), "x".repeat(601))).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // One that never comes has its room for so long; another one waits for that.
    let (mut slow, mut next) = (lab.connect(), lab.connect());
    slow.write_all(format!("{}x", upload("Content-Length: 600")).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    next.write_all(format!("{}{}", upload("Content-Length: 500"), "y".repeat(500)).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(lab.door.seen.lock().is_empty(), "both are held at one time");
    let answer = head(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let answer = head(&mut next).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    drop((slow, next));
    // All of it is given back.
    assert!(lab.door.room.hold(1_000).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn attack_26_answers_that_nobody_reads_take_no_more_than_their_room() {
    let lab = Lab::with(Does::AnswerWith(400_000), Room::new(1_000_000, 64, 1_000, Duration::from_secs(30)));
    let get = "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    let mut unread: Vec<DuplexStream> = (0..3).map(|_| lab.connect()).collect();
    let mut heads = Vec::new();
    for stream in &mut unread {
        stream.write_all(get.as_bytes()).await.unwrap();
        heads.push(head(stream).await.lines().next().unwrap().to_owned());
    }
    heads.sort();
    assert_eq!(heads, ["HTTP/1.1 201 Created", "HTTP/1.1 201 Created", "HTTP/1.1 502 Bad Gateway"]);
    assert!(lab.door.room.hold(300_000).await.is_none(), "what was not read is not counted any more");
    drop(unread);
    assert!(lab.door.room.hold(1_000_000).await.is_some());
}
