//! One sandbox, from nothing to ready: made, started, proven to be gVisor's, its command loaded.

use super::engine::{Engine, Shown};
use super::life::Life;
use super::link::{Broken, Link};
use super::presets::{BoxLimits, Network};
use super::{ImageKind, Unavailable};
use sophon_egress::proxy::Authority;
use sophon_init::{FORWARDER, Kind, PROTOCOL};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a sandbox may take from its start to being ready.
const READY: Duration = Duration::from_secs(30);
/// What the command writes when it is ready for its job.
const LOADED: &[u8] = b"\x06";
/// Where the sandbox's own authority is, inside.
const AUTHORITY: &str = "/run/authority.pem";
/// What gVisor says its kernel is, in every release there has been.
const GVISOR: &str = "#1 SMP Sun Jan 10 15:06:54 PST 2016";

/// What runs in a sandbox, and in which.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Recipe {
    /// What the image is made for.
    pub(super) kind: ImageKind,
    /// The image's id.
    pub(super) image: String,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// What it finds in its environment, beside what all do.
    pub(super) variables: &'static [&'static str],
    /// Files of this host that it sees.
    pub(super) shown: Vec<Shown>,
    /// What it may use.
    pub(super) limits: BoxLimits,
}

/// A sandbox that is ready for its one job.
pub(super) struct Boxed {
    pub(super) link: Link,
    pub(super) authority: Arc<Authority>,
    pub(super) life: Life,
    pub(super) limits: BoxLimits,
}

impl Boxed {
    pub(super) async fn start(engine: &Engine, recipe: &Recipe, life: Life) -> Result<Self, Unavailable> {
        let authority = Arc::new(Authority::new().map_err(Unavailable::broken)?);
        let started = timeout(READY, Self::load(engine, recipe, life, authority)).await;
        started.unwrap_or_else(|_elapsed| {
            Err(Unavailable::broken(format!("a sandbox was not ready after {} s", READY.as_secs())))
        })
    }

    /// Starts a sandbox, sees that its kernel is gVisor's, and throws it away.
    pub(super) async fn prove(engine: &Engine, recipe: &Recipe, life: Life) -> Result<(), Unavailable> {
        match timeout(READY, begin(engine, recipe, &life)).await {
            Ok(begun) => begun.map(drop),
            Err(_elapsed) => Err(Unavailable::broken(format!("no sandbox answers within {} s", READY.as_secs()))),
        }
    }

    async fn load(
        engine: &Engine,
        recipe: &Recipe,
        life: Life,
        authority: Arc<Authority>,
    ) -> Result<Self, Unavailable> {
        let mut link = begin(engine, recipe, &life).await?;
        let loaded = load(&mut link, recipe, &authority).await;
        match loaded {
            Ok(()) => Ok(Self { link, authority, life, limits: recipe.limits.clone() }),
            Err(what) => {
                let standing = engine.standing(&life.name).await.unwrap_or_default();
                Err(Unavailable::broken(format!("a sandbox does not get ready: {what} ({standing:?})")))
            }
        }
    }
}

async fn begin(engine: &Engine, recipe: &Recipe, life: &Life) -> Result<Link, Unavailable> {
    engine
        .create(&life.name, &recipe.image, &recipe.shown, &recipe.limits)
        .await
        .map_err(|error| Unavailable::broken(format!("the engine makes no sandbox: {error}")))?;
    let attached = engine.attach(&life.name).await.map_err(Unavailable::broken)?;
    let mut link = Link::new(attached);
    engine
        .start(&life.name)
        .await
        .map_err(|error| Unavailable::broken(format!("the engine starts no sandbox: {error}")))?;
    prove(&mut link, recipe.kind).await?;
    Ok(link)
}

/// The kernel that answers inside must be gVisor's: a runtime of that name may be anything.
async fn prove(link: &mut Link, kind: ImageKind) -> Result<(), Unavailable> {
    let hello = match link.next().await {
        Ok(frame) if frame.kind == Kind::Hello => frame.payload,
        other => return Err(Unavailable::broken(format!("a sandbox does not say hello: {other:?}"))),
    };
    let (protocol, kernel) = hello.split_first().unwrap_or((&0, &[]));
    if *protocol != PROTOCOL {
        let what = format!("the image speaks protocol {protocol}, this host {PROTOCOL}");
        return Err(Unavailable::Image { kind, what });
    }
    let kernel = String::from_utf8_lossy(kernel).into_owned();
    let (release, version) = kernel.split_once('\0').unwrap_or((&kernel, ""));
    let host = rustix::system::uname();
    if version != GVISOR || release.as_bytes() == host.release().to_bytes() {
        return Err(Unavailable::NotGvisor { kernel: format!("{release} {version}") });
    }
    Ok(())
}

async fn load(link: &mut Link, recipe: &Recipe, authority: &Authority) -> Result<(), String> {
    let said = async {
        for variable in environment(recipe) {
            link.say(Kind::Env, 0, variable.as_bytes()).await?;
        }
        let mut file = AUTHORITY.as_bytes().to_vec();
        file.push(0);
        file.extend_from_slice(authority.pem().as_bytes());
        link.say(Kind::File, 0, &file).await?;
        for word in &recipe.command {
            link.say(Kind::Argument, 0, word.as_bytes()).await?;
        }
        Ok::<(), Broken>(())
    };
    said.await.map_err(|broken| format!("{broken:?}"))?;
    ready(link, recipe.limits.file_size).await
}

/// Starts the command, and waits until it says that it is ready.
async fn ready(link: &mut Link, file_size: u64) -> Result<(), String> {
    link.say(Kind::Start, 0, &file_size.to_be_bytes()).await.map_err(|broken| format!("{broken:?}"))?;
    let mut complaints = String::new();
    loop {
        match link.next().await {
            Ok(frame) if frame.kind == Kind::Output && frame.payload == LOADED => return Ok(()),
            Ok(frame) if frame.kind == Kind::Errors => complaints.push_str(&String::from_utf8_lossy(&frame.payload)),
            Ok(frame) => {
                let said = String::from_utf8_lossy(&frame.payload).into_owned();
                return Err(format!("{:?}: {said}{complaints}", frame.kind));
            }
            Err(broken) => return Err(format!("{broken:?}: {complaints}")),
        }
    }
}

/// Everything that the command finds in its environment.
fn environment(recipe: &Recipe) -> Vec<String> {
    let usual = ["PATH=/usr/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"];
    let mut variables: Vec<String> = usual.iter().chain(recipe.variables).map(ToString::to_string).collect();
    if recipe.limits.network == Network::Egress {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            variables.push(format!("{name}=http://{FORWARDER}"));
        }
    }
    for name in [
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "AWS_CA_BUNDLE",
        "PIP_CERT",
    ] {
        variables.push(format!("{name}={AUTHORITY}"));
    }
    variables.push("SSL_CERT_DIR=/none".to_owned());
    variables
}
