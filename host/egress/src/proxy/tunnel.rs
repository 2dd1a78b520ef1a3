//! The outer conversation: a request for an absolute URL, or CONNECT and TLS behind it.

use super::exchange::{Inside, answer, explain, refusal};
use super::room::Pieces;
use super::{Authority, Outgoing};
use crate::Carry;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use url::{Host, Url};

/// How long a program may take with its TLS handshake, and with the header of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's header.
const HEADER: usize = 64 << 10;

/// What a program hears that speaks something else behind CONNECT.
const NOT_HTTP: &str =
    "only HTTP and HTTPS go out of this sandbox, and what a person granted for this skill by protocol, host and port";

pub(super) async fn serve<S>(stream: S, authority: Arc<Authority>, outgoing: Arc<dyn Outgoing>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let behind = Behind::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (outgoing, behind) = (Arc::clone(&outgoing), Arc::clone(&behind));
        async move { Ok::<_, Infallible>(outer(request, &*outgoing, &behind).await) }
    });
    let served = http1().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    note(&*outgoing, served);
    // Here and in no task of its own: whoever drops this future ends what is behind the CONNECT too.
    let Some((upgrade, next)) = behind.lock().take() else { return };
    match (upgrade.await, next) {
        (Ok(upgraded), Next::Tls(wanted)) => inside(TokioIo::new(upgraded), wanted, authority, outgoing).await,
        (Ok(upgraded), Next::Stream(stream)) => stream.carry(Box::new(TokioIo::new(upgraded))).await,
        (Err(error), _) => tracing::debug!(%error, "a program left after CONNECT"),
    }
}

/// What a connection becomes after its CONNECT: the bytes, and where they go.
type Behind = Arc<Mutex<Option<(OnUpgrade, Next)>>>;

/// Where the bytes behind a CONNECT go.
enum Next {
    /// To this proxy, as TLS for that host and port.
    Tls((Host<String>, u16)),
    /// To the very place, unread, because a person granted it.
    Stream(Box<dyn Carry>),
}

fn http1() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEADER);
    builder
}

/// A connection that broke off is the program's business; one that was never HTTP is worth a word.
fn note(told: &dyn Outgoing, served: Result<(), hyper::Error>) {
    match served {
        Err(error) if error.is_parse() => told.refused(&format!("{NOT_HTTP}; a program sent something else ({error})")),
        Err(error) => tracing::debug!(%error, "a program's connection to the proxy broke off"),
        Ok(()) => {}
    }
}

async fn outer(request: Request<Incoming>, outgoing: &dyn Outgoing, behind: &Behind) -> Response<Pieces> {
    if request.method() != Method::CONNECT {
        // The URL is checked once more where every URL is: here it is only passed on.
        let url = request.uri().to_string();
        if !url.starts_with("http://") {
            let what = "the proxy takes absolute http:// URLs, and CONNECT for https://";
            return refusal(StatusCode::BAD_REQUEST, "not_a_proxy_request", what, None);
        }
        let named = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        return answer(request, url, &named, outgoing).await;
    }
    let Some(wanted) = wanted(&request) else {
        let what = "CONNECT names a host and a port: CONNECT api.example.com:443";
        return refusal(StatusCode::BAD_REQUEST, "not_a_proxy_request", what, None);
    };
    let next = match outgoing.stream(&wanted.0, wanted.1).await {
        Ok(Some(stream)) => Next::Stream(stream),
        Ok(None) => Next::Tls(wanted),
        Err(error) => return explain(&error),
    };
    *behind.lock() = Some((hyper::upgrade::on(request), next));
    Response::new(Bytes::new().into())
}

/// Host and port of a CONNECT. The URL parser has the last word on what is a host.
fn wanted(request: &Request<Incoming>) -> Option<(Host<String>, u16)> {
    let authority = request.uri().authority()?;
    let url = Url::parse(&format!("https://{authority}/")).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    authority.port_u16()?;
    Some((url.host()?.to_owned(), url.port_or_known_default()?))
}

/// TLS behind a CONNECT, and the requests inside it.
async fn inside<S>(stream: S, wanted: (Host<String>, u16), authority: Arc<Authority>, outgoing: Arc<dyn Outgoing>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (host, port) = &wanted;
    let refused = |why: &str| outgoing.refused(&format!("CONNECT {host}:{port}: {NOT_HTTP}; {why}"));
    let mut acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    let hello = match timeout(PATIENCE, &mut acceptor).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(_no_tls)) => {
            refused("what came first is not TLS");
            // For a person who looks at the bytes; no protocol begins like this.
            if let Some(mut stream) = acceptor.take_io() {
                let said = stream.write_all(format!("sophon: {NOT_HTTP}\r\n").as_bytes()).await;
                let ended = stream.shutdown().await;
                tracing::debug!(?said, ?ended, "a tunnel was refused");
            }
            return;
        }
        Err(_elapsed) => return refused("nothing came: whoever waits for the other side to speak first is not HTTP"),
    };
    // An address in brackets is one without them in a certificate.
    let name = host.to_string();
    let config = match authority.server(name.trim_start_matches('[').trim_end_matches(']')) {
        Ok(config) => config,
        Err(error) => return tracing::error!(%error, %host, "no certificate for a host"),
    };
    let tls = match timeout(PATIENCE, hello.into_stream(config)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            return outgoing.refused(&format!(
                "CONNECT {host}:{port}: the program does not trust the sandbox's authority (SSL_CERT_FILE): {error}"
            ));
        }
        Err(_elapsed) => return refused("its handshake did not end"),
    };
    let inside = Arc::new(Inside::new(host, *port));
    let told = Arc::clone(&outgoing);
    let service = service_fn(move |request: Request<Incoming>| {
        let (inside, outgoing) = (Arc::clone(&inside), Arc::clone(&outgoing));
        async move { Ok::<_, Infallible>(inside.answer(request, &*outgoing).await) }
    });
    note(&*told, http1().serve_connection(TokioIo::new(tls), service).await);
}
