//! A scripted HTTP/1.1 server over any byte stream, with TLS where wanted. It writes bytes, so it can misbehave.

use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) tls: bool,
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// Whether that connection went on with the TLS session of an earlier one.
    pub(crate) resumed: bool,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request.
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Sends the bytes again and again until the client goes away.
    Endless(Vec<u8>, Duration),
    Hang,
    Close,
}

pub(crate) type Script = Arc<dyn Fn(&Seen) -> Vec<Step> + Send + Sync>;

/// A plain answer.
pub(crate) fn answer(status: u16, fields: &[(&str, &str)], body: &[u8]) -> Vec<Step> {
    let mut bytes = format!("HTTP/1.1 {status} Any\r\n").into_bytes();
    for (name, value) in fields {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    vec![Step::Send(bytes)]
}

/// A certificate authority and server in one.
pub(crate) struct Identity {
    pub(crate) root: Vec<u8>,
    pub(crate) tls: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn of(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { root: made.cert.der().to_vec(), tls: Arc::new(tls) }
    }
}

/// Everything that arrived, on all connections.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// How a connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    None,
    Full,
    Resumed,
}

/// Serves one connection until either side ends it.
pub(crate) async fn serve<S>(stream: S, tls: Option<Arc<ServerConfig>>, script: Script, log: Log, connection: usize)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match tls {
        None => speak(stream, Tls::None, script, log, connection).await,
        Some(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                let tls = match stream.get_ref().1.handshake_kind() {
                    Some(HandshakeKind::Resumed) => Tls::Resumed,
                    _ => Tls::Full,
                };
                speak(stream, tls, script, log, connection).await;
            }
        }
    }
}

async fn speak<S>(mut stream: S, tls: Tls, script: Script, log: Log, connection: usize)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    while let Some(mut seen) = read_request(&mut stream).await {
        (seen.tls, seen.resumed) = (tls != Tls::None, tls == Tls::Resumed);
        seen.connection = connection;
        log.0.lock().unwrap().push(seen.clone());
        for step in script(&seen) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
                Step::Endless(bytes, pause) => loop {
                    if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                },
                Step::Hang => {
                    // Until the client closes.
                    let mut rest = Vec::new();
                    if stream.read_to_end(&mut rest).await.is_err() {
                        return;
                    }
                    return;
                }
                Step::Close => {
                    if stream.shutdown().await.is_err() {
                        return;
                    }
                    return;
                }
            }
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { tls: false, line, headers, body, connection: 0, resumed: false })
}
