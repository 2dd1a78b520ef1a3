//! A read with a brokered credential over TLS, beside a plain hyper client that keeps its connection likewise.

use crate::host::{Host, SystemEntropy, root};
use crate::load::median;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use sophon_audit::{Action, Outcome, Record};
use sophon_egress::{
    Allowlist, CallScope, Deadline, EffectDenied, EffectGate, EffectRequest, EgressSession, HttpRequest, Roots,
};
use sophon_skill::Manifest;
use sophon_tests::{Certificates, serve};
use sophon_types::{CallId, CorrelationId, Risk};
use sophon_vault::{Binding, Owner};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Requests of one round.
const REQUESTS: u32 = 2000;
/// Requests of one call; a real call has a session of its own.
const OF_ONE_CALL: u32 = 50;
const TOKEN: &str = "bench-token-0123456789abcdef";

/// Both in turn, one request after the other, and the ratio pair by pair.
///
/// # Errors
/// Where a step fails.
#[expect(clippy::print_stdout, reason = "a bench prints what it found")]
pub fn side_by_side(runtime: &tokio::runtime::Runtime, rounds: u32) -> Result<(), Failed> {
    runtime.block_on(async {
        let certificates = Certificates::generate();
        let authority = certificate(certificates.authority())?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            serve(listener, &certificates, |request: Request<Bytes>| async move {
                let known =
                    request.headers().get(AUTHORIZATION).is_some_and(|value| value == &format!("Bearer {TOKEN}"));
                let status = if known { 200 } else { 401 };
                let mut response = Response::new(Bytes::from_static(&[b'x'; 512]));
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
                response
            })
            .await;
        });
        let folder = tempfile::tempdir_in(root().join("target"))?;
        let host = Host::open(folder.path(), 1, Roots::mozilla().with(authority.clone())).await?;
        let fields = BTreeMap::from([("token".to_owned(), TOKEN.to_owned().into())]);
        host.vault.put(&host.principal_admin(), Owner::User, &"bench".parse()?, fields, Binding::default()).await?;
        let mut plain = plain(address, authority).await?;
        let (mut plains, mut brokereds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            let began = Instant::now();
            for _ in 0..REQUESTS {
                ask(&mut plain, address).await?;
            }
            let by_hand = began.elapsed().as_secs_f64() / f64::from(REQUESTS);
            let mut brokered = Duration::ZERO;
            for _ in 0..REQUESTS / OF_ONE_CALL {
                let session = session(&host, address).await?;
                let began = Instant::now();
                for _ in 0..OF_ONE_CALL {
                    let mut request = HttpRequest::new("GET", format!("https://{address}/thing"));
                    request.credential = Some("bench".into());
                    let answer = session.send(request).await?;
                    if answer.status != 200 {
                        return Err(format!("{answer:?}").into());
                    }
                }
                brokered += began.elapsed();
            }
            let brokered = brokered.as_secs_f64() / f64::from(REQUESTS);
            if round > 0 {
                plains.push(by_hand * 1e6);
                brokereds.push(brokered * 1e6);
                ratios.push(brokered / by_hand);
            }
        }
        println!("plain hyper    {:>7.1} µs a request", median(plains));
        println!("brokered       {:>7.1} µs a request", median(brokereds));
        println!("brokered / plain, pair by pair: median {:.2}", median(ratios));
        Ok(())
    })
}

/// The one certificate of a PEM text.
fn certificate(pem: &str) -> Result<Vec<u8>, Failed> {
    let coded: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Ok(STANDARD.decode(coded)?)
}

async fn plain(address: SocketAddr, authority: Vec<u8>) -> Result<SendRequest<Empty<Bytes>>, Failed> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(authority))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, address: SocketAddr) -> Result<(), Failed> {
    sender.ready().await?;
    let request = Request::get("/thing")
        .header("Host", address.to_string())
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
        .body(Empty::new())?;
    let answer = sender.send_request(request).await?;
    let (status, body) = (answer.status(), answer.into_body().collect().await?.to_bytes());
    if status != 200 || body.len() != 512 { Err(format!("{status}").into()) } else { Ok(()) }
}

struct Yes;

#[async_trait]
impl EffectGate for Yes {
    async fn permit(&self, _effect: &EffectRequest) -> Result<(), EffectDenied> {
        Ok(())
    }
}

async fn session(host: &Host, address: SocketAddr) -> Result<EgressSession, Failed> {
    let manifest = r#"{"name":"bench","version":"1.0.0","author":"a","license":"MIT","description":"d","category":"utility",
        "runtime":"wasm","entrypoint":"skill.wasm",
        "credentials":[{"service":"bench","scopes":[],"required":false,"access":"proxy"}],
        "tools":[{"name":"go","description":"d","riskLevel":"low","parameters":{"type":"object"}}],
        "permissions":{"network":[{"host":"api.example.com","credential":"bench"}]}}"#;
    let manifest = Manifest::parse(manifest.as_bytes())?;
    let tool = &manifest.tools[0];
    let call = CallId::mint(&SystemEntropy);
    let intent = Record::new(Action::CallIntent, Outcome::Intent).principal(&host.principal).call(call);
    Ok(host.egress.session(CallScope {
        principal: host.principal.clone(),
        skill: manifest.name.clone(),
        tool: tool.name.clone(),
        call,
        correlation: CorrelationId::mint(&SystemEntropy),
        allowlist: Arc::new(Allowlist::compile(&manifest, Some(tool), &[address.to_string().parse()?])),
        streams: Arc::new([]),
        credentials: manifest.credentials.clone().into(),
        approved: Risk::Low,
        intent: host.audit.append(intent).await?,
        gate: Arc::new(Yes),
        deadline: Deadline::at(std::time::Instant::now() + Duration::from_secs(60)),
    }))
}
