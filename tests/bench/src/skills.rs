//! A home with many skills: how long until it serves, how much memory it holds, and what a call costs.

use crate::host::{NO_RATE_LIMITS, example, root};
use crate::process::{Server, command};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sophon_skill::{Package, pack};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Calls of one warm skill whose median is taken.
const CALLS: usize = 200;

/// Installs `count` copies of `text-tools` under names of their own, starts the gateway anew, and calls.
///
/// # Errors
/// Where a step fails.
#[expect(clippy::print_stdout, reason = "a bench prints what it found")]
pub fn many(sophon: &Path, count: usize) -> Result<(), Failed> {
    let folder = tempfile::tempdir_in(root().join("target"))?;
    std::fs::write(folder.path().join("sophon.toml"), NO_RATE_LIMITS)?;
    let key = |role: &str| -> Result<String, Failed> {
        let words = ["key", "create", "--role", role, "--user", "ann", "--json"];
        let output = command(sophon).args(words).env("SOPHON_HOME", folder.path()).output()?;
        let made: Value = serde_json::from_slice(&output.stdout)?;
        Ok(format!("Bearer {}", made["key"].as_str().ok_or("no key")?))
    };
    let (admin, agent) = (key("admin")?, key("agent")?);
    let serve = || {
        let mut serve = command(sophon);
        serve.args(["serve", "--listen", "127.0.0.1:0"]).env("SOPHON_HOME", folder.path());
        Server::start(serve, folder.path())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = serve()?;
    let began = Instant::now();
    runtime.block_on(async {
        let mut client = Client::connect(server.address).await?;
        for n in 0..count {
            let body = json!({ "package": STANDARD.encode(copy(n)?), "dangerously_allow_unsigned": true });
            client.post("/v1/skills", &admin, &body, 201).await?;
        }
        Ok::<(), Failed>(())
    })?;
    println!("{count} skills installed in {:.1} s", began.elapsed().as_secs_f64());
    drop(server);

    let server = serve()?;
    println!("ready after {:.2} s, {} MiB resident", server.ready_after.as_secs_f64(), server.resident_kib() >> 10);
    runtime.block_on(async {
        let mut client = Client::connect(server.address).await?;
        let body = json!({ "arguments": { "text": "hello" } });
        // What the first call of the process costs whatever it calls is not a skill's.
        client.post("/v1/tools/tools-0.echo/call", &agent, &body, 200).await?;
        let mut cold = Vec::new();
        for n in 1..count.min(CALLS) {
            cold.push(client.post(&format!("/v1/tools/tools-{n}.echo/call"), &agent, &body, 200).await?);
        }
        let mut warm = Vec::new();
        for _ in 0..CALLS {
            warm.push(client.post("/v1/tools/tools-0.echo/call", &agent, &body, 200).await?);
        }
        for (what, mut times) in [("first call of a skill", cold), ("later call", warm)] {
            times.sort();
            if let (Some(half), Some(most)) = (times.get(times.len() / 2), times.get(times.len() * 99 / 100)) {
                println!("{what}: median {:.2} ms, p99 {:.2} ms", 1e3 * half.as_secs_f64(), 1e3 * most.as_secs_f64());
            }
        }
        Ok::<(), Failed>(())
    })?;
    println!("{} MiB resident after {} skills were called", server.resident_kib() >> 10, count.min(CALLS));
    Ok(())
}

/// `text-tools` as `tools-N`.
fn copy(n: usize) -> Result<Vec<u8>, Failed> {
    let original = Package::read(example("text-tools")?)?;
    let mut files: BTreeMap<String, Vec<u8>> =
        original.archive().files().map(|(name, content)| (name.to_owned(), content.to_vec())).collect();
    let mut manifest: Value = serde_json::from_slice(files.get("manifest.json").ok_or("no manifest")?)?;
    manifest["name"] = format!("tools-{n}").into();
    for tool in manifest["tools"].as_array_mut().into_iter().flatten() {
        if let Some(local) = tool["name"].as_str().and_then(|name| name.strip_prefix("text-tools.")) {
            tool["name"] = local.into();
        }
    }
    files.insert("manifest.json".to_owned(), serde_json::to_vec(&manifest)?);
    Ok(pack(&files)?)
}

/// One connection that is kept.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Failed> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    /// Posts, and says how long the answer took.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        bearer: &str,
        body: &Value,
        expected: u16,
    ) -> Result<Duration, Failed> {
        let (status, text, took) = self.answer(path, bearer, body).await?;
        if status != expected {
            return Err(format!("{path}: {status}: {text}").into());
        }
        Ok(took)
    }

    /// Posts a call, and says whether it succeeded.
    pub(crate) async fn succeeds(&mut self, path: &str, bearer: &str, body: &Value) -> Result<bool, Failed> {
        let (status, text, _took) = self.answer(path, bearer, body).await?;
        let answer: Value = serde_json::from_str(&text)?;
        Ok(status == 200 && answer["status"] == "succeeded")
    }

    async fn answer(&mut self, path: &str, bearer: &str, body: &Value) -> Result<(u16, String, Duration), Failed> {
        let request = Request::post(path)
            .header("Host", &self.host)
            .header("Authorization", bearer)
            .header("Content-Type", "application/json")
            .body(Full::from(body.to_string()))?;
        let began = Instant::now();
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&text).into_owned(), began.elapsed()))
    }
}
