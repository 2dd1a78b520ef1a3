//! How a command reaches the host: over HTTP where a gateway runs in the home, else through the same router in this
//! process, with the home locked. One path on the wire either way, so a command has no logic of its own.
//!
//! Promises: whoever listens where a gateway is said to run has proved that it is that gateway before it is sent
//! anything, on the very connection that is then used.

use crate::context::Context;
use crate::error::CliError;
use crate::house::House;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sophon_gateway::{Challenge, OperatorToken, RunFile};
use sophon_types::{Entropy, FaultKind, FaultReport, Stage};
use std::time::Duration;
use tokio::net::TcpStream;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

/// How long a gateway that is about to start may take until it can be spoken to.
const STARTING: Duration = Duration::from_secs(10);
/// How long a gateway on this machine may take to prove itself.
const GREETING: Duration = Duration::from_secs(5);
/// The largest answer to a challenge that is read.
const LARGEST_PROOF: usize = 4096;
/// The largest answer that is read whole.
const LARGEST: usize = 256 << 20;

/// For whom the operator speaks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acting {
    /// In which tenant.
    pub(crate) tenant: Option<String>,
    /// For which user.
    pub(crate) user: Option<String>,
}

/// A way to the host.
pub(crate) struct Door {
    way: Way,
    token: Zeroizing<String>,
    acting: Acting,
    entropy: &'static dyn Entropy,
}

enum Way {
    Http(Box<RunFile>),
    InProcess { router: Router, house: Box<House> },
}

impl Door {
    /// Finds the gateway of the home, or opens the home.
    pub(crate) async fn open(context: &Context, acting: Acting) -> Result<Self, CliError> {
        Self::open_within(STARTING, context, acting).await
    }

    async fn open_within(patience: Duration, context: &Context, acting: Acting) -> Result<Self, CliError> {
        let entropy = context.entropy();
        let home = context.home()?;
        home.create()?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(lock) = home.lock()? {
                let operator = OperatorToken::mint(entropy);
                let token = Zeroizing::new(operator.expose().to_owned());
                let house = House::open(context, lock).await?;
                let router = house.gateway(operator, None, None).router();
                return Ok(Self { way: Way::InProcess { router, house: Box::new(house) }, token, acting, entropy });
            }
            // The lock is held, so a file that is there was left by whoever holds it, or is about to go. Which of the
            // two, only an answer tells.
            if let Some(run) = RunFile::read(&home.run_file())?
                && greet(&run, entropy).await.is_ok()
            {
                let token = Zeroizing::new(run.token.clone());
                return Ok(Self { way: Way::Http(Box::new(run)), token, acting, entropy });
            }
            if waited >= patience {
                return Err(CliError::HomeBusy { home: home.root().to_owned() });
            }
            let pause = Duration::from_millis(50);
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }

    /// Asks, and reads the answer as JSON.
    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, CliError> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let bytes = whole(response.into_body()).await?;
        let value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|error| not_ours(&format!("its answer is not JSON: {error}")))?
        };
        Ok(Answer { status, value })
    }

    /// Asks, and hands the answer on as it arrives.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Body>, CliError> {
        let request = self.request(method, path, body)?;
        let response = match &self.way {
            Way::InProcess { router, .. } => match router.clone().oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Way::Http(run) => {
                let mut proven = greet(run, self.entropy).await?;
                let broken = |error: hyper::Error| not_ours(&format!("{}: {error}", run.address));
                proven.ready().await.map_err(broken)?;
                proven.send_request(request).await.map_err(broken)?.map(Body::new)
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = whole(response.into_body()).await?;
        Err(refusal(status, &bytes))
    }

    /// Whether this command alone has the home open, so that what it began ends with it.
    pub(crate) fn is_in_process(&self) -> bool {
        matches!(self.way, Way::InProcess { .. })
    }

    /// Lets go of the home. What was asked is done by then.
    pub(crate) async fn close(self) -> Result<(), CliError> {
        match self.way {
            Way::InProcess { house, .. } => house.close().await,
            Way::Http(_) => Ok(()),
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>, CliError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", *self.token))
            .map_err(|error| not_ours(&format!("its token cannot be sent: {error}")))?;
        authorization.set_sensitive(true);
        request = request.header(AUTHORIZATION, authorization);
        for (name, value) in [("x-sophon-tenant", &self.acting.tenant), ("x-sophon-user", &self.acting.user)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let bytes = match body {
            Some(value) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(value.to_string())
            }
            None => Bytes::new(),
        };
        request.body(Full::new(bytes)).map_err(|error| CliError::Usage {
            message: format!("cannot be sent: {error}"),
            hint: Some("use names without spaces and control characters".into()),
        })
    }
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) value: Value,
}

/// A connection over which the gateway of this home has proved itself.
pub(crate) type Proven = SendRequest<Full<Bytes>>;

/// Connects to the gateway that `run` tells of, and has it prove that it wrote `run`. Until then it is sent a random
/// number and nothing else: after a gateway was killed, its port may be anybody's.
pub(crate) async fn greet(run: &RunFile, entropy: &dyn Entropy) -> Result<Proven, CliError> {
    let address = run.address;
    match tokio::time::timeout(GREETING, challenge(run, entropy)).await {
        Ok(greeted) => greeted,
        Err(_elapsed) => Err(not_ours(&format!("{address}: does not answer"))),
    }
}

async fn challenge(run: &RunFile, entropy: &dyn Entropy) -> Result<Proven, CliError> {
    let address = run.address;
    let stream = TcpStream::connect(address).await.map_err(|error| not_ours(&format!("{address}: {error}")))?;
    let broken = |error: hyper::Error| not_ours(&format!("{address}: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the gateway ended early");
        }
    });
    let challenge = Challenge::fresh(entropy);
    let stranger = || not_ours(&format!("{address}: whoever listens there does not know the token of this run"));
    let request = Request::builder().uri(challenge.path()).header(HOST, "localhost").body(Full::default());
    let request = request.map_err(|error| not_ours(&error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let answer = Limited::new(response.into_body(), LARGEST_PROOF).collect().await.map_err(|_unread| stranger())?;
    let answer: Value = serde_json::from_slice(&answer.to_bytes()).unwrap_or_default();
    match answer["proof"].as_str() {
        Some(proof) if challenge.is_answered(run, proof) => Ok(sender),
        _ => Err(stranger()),
    }
}

async fn whole(body: Body) -> Result<Bytes, CliError> {
    match Limited::new(body, LARGEST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(not_ours(&format!("its answer ended early: {error}"))),
    }
}

/// The refusal that a problem (RFC 9457) tells of.
fn refusal(status: StatusCode, bytes: &[u8]) -> CliError {
    let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().map(str::to_owned);
    let (Some(code), Some(message)) = (text("code"), text("detail")) else {
        return not_ours(&format!("it answered {status} without a problem"));
    };
    let report = FaultReport {
        stage: serde_json::from_value(problem["stage"].clone()).unwrap_or(Stage::Client),
        kind: serde_json::from_value(problem["kind"].clone()).unwrap_or(FaultKind::Internal),
        code,
        message,
        hint: text("hint"),
    };
    CliError::Refused { report, correlation: text("correlation_id") }
}

fn not_ours(message: &str) -> CliError {
    CliError::Gateway { message: message.to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::home::HomeLock;
    use crate::output::{Format, Output};
    use crate::system::Environment;
    use std::net::SocketAddr;
    use std::process::ExitCode;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Somebody else who listens, answers whatever comes with something like a proof, and keeps what they hear.
    pub(crate) struct Stranger {
        pub(crate) address: SocketAddr,
        heard: Arc<Mutex<Vec<u8>>>,
    }

    impl Stranger {
        pub(crate) async fn listen() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let heard = Arc::new(Mutex::new(Vec::new()));
            let ears = Arc::clone(&heard);
            tokio::spawn(async move {
                while let Ok((mut stream, _peer)) = listener.accept().await {
                    let ears = Arc::clone(&ears);
                    tokio::spawn(async move {
                        let mut bytes = [0; 4096];
                        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                            ears.lock().unwrap().extend_from_slice(&bytes[..count]);
                            let body = format!("{{\"proof\":\"{}\"}}", "0".repeat(64));
                            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
                            let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                break;
                            }
                        }
                    });
                }
            });
            Self { address, heard }
        }

        pub(crate) fn heard(&self) -> String {
            String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
        }
    }

    /// A home that another process has open, and in it the run of a gateway at `address`; with the run's token.
    pub(crate) fn home_with_a_run(address: SocketAddr) -> (tempfile::TempDir, Context, HomeLock, String) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let context = Context::new(Some(root), Environment::default(), Output::new(Format::Json));
        let home = context.home().unwrap();
        home.create().unwrap();
        let lock = home.lock().unwrap().unwrap();
        let token = OperatorToken::mint(context.entropy());
        let guard = RunFile::write(&home.run_file(), address, &token, context.entropy()).unwrap();
        // As if it had been killed.
        std::mem::forget(guard);
        (folder, context, lock, token.expose().to_owned())
    }

    #[tokio::test]
    async fn a_stranger_on_the_gateways_port_gets_nothing() {
        let stranger = Stranger::listen().await;
        let (_folder, context, lock, token) = home_with_a_run(stranger.address);
        let check = |refused: CliError| {
            let heard = stranger.heard();
            assert!(heard.starts_with("GET /v1/operator/hello?nonce="), "{refused}: {heard}");
            for secret in [&*token, "hunter2", "uthorization", "/v1/credentials", "x-sophon-"] {
                assert!(!heard.contains(secret), "{secret} was sent: {heard}");
            }
        };
        let acting = Acting { tenant: Some("t".into()), user: Some("ann".into()) };
        let Err(refused) = Door::open_within(Duration::ZERO, &context, acting.clone()).await else {
            panic!("a stranger was taken for the gateway");
        };
        assert_eq!(refused.report().code, "home_busy");
        check(refused);

        // Nor where the stranger comes only after the door was opened.
        let run = RunFile::read(&context.home().unwrap().run_file()).unwrap().unwrap();
        let way = Way::Http(Box::new(run));
        let door = Door { way, token: Zeroizing::new(token.clone()), acting, entropy: context.entropy() };
        let body = serde_json::json!({"fields": {"token": "hunter2"}});
        let refused = door.json(Method::PUT, "/v1/credentials/github", Some(&body)).await.unwrap_err();
        assert_eq!(refused.report().code, "gateway_unreachable");
        check(refused);

        // And once the home is free, the run of the gateway that was killed is forgotten.
        drop(lock);
        let before = stranger.heard();
        let _lock = context.home().unwrap().lock().unwrap().unwrap();
        let Err(busy) = Door::open_within(Duration::ZERO, &context, Acting::default()).await else {
            panic!("there is no gateway");
        };
        assert_eq!((busy.report().code.as_str(), stranger.heard()), ("home_busy", before));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_gateway_of_the_home_is_spoken_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let context = Context::new(Some(root), Environment::default(), Output::new(Format::Json));
        let home = context.home().unwrap();
        home.create().unwrap();
        let house = House::open(&context, home.lock().unwrap().unwrap()).await.unwrap();
        let operator = OperatorToken::mint(context.entropy());
        let _run = RunFile::write(&home.run_file(), address, &operator, context.entropy()).unwrap();
        let gateway = house.gateway(operator, Some(address), None);
        let serving = tokio::spawn(async move { gateway.serve(listener, std::future::pending()).await });
        let door = Door::open(&context, Acting::default()).await.unwrap();
        assert!(!door.is_in_process());
        let body = serde_json::json!({"role": "agent", "user": "ann"});
        let made = door.json(Method::POST, "/v1/keys", Some(&body)).await.unwrap();
        assert_eq!(made.status, StatusCode::CREATED);
        let listed = door.json(Method::GET, "/v1/keys", None).await.unwrap();
        assert_eq!(listed.value["keys"].as_array().unwrap().len(), 1);
        door.close().await.unwrap();
        serving.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_home_that_nobody_serves_is_opened_in_this_process() {
        let folder = tempfile::tempdir().unwrap();
        let output = crate::output::Output::new(crate::output::Format::Json);
        let root = folder.path().join("home");
        let context = Context::new(Some(root.clone()), crate::system::Environment::default(), output);
        let door = Door::open(&context, Acting::default()).await.unwrap();
        let body = serde_json::json!({"role": "agent", "user": "ann"});
        let made = door.json(Method::POST, "/v1/keys", Some(&body)).await.unwrap();
        assert_eq!(made.status, StatusCode::CREATED);
        assert!(context.home().unwrap().lock().unwrap().is_none(), "the home is this command's alone");
        let refused = door.json(Method::GET, "/v1/skills/none", None).await.unwrap_err();
        assert_eq!(refused.report().kind, FaultKind::NotFound);
        door.close().await.unwrap();

        let acting = Acting { tenant: Some("other".into()), user: None };
        let door = Door::open(&context, acting).await.unwrap();
        let listed = door.json(Method::GET, "/v1/keys", None).await.unwrap();
        assert_eq!(listed.value["keys"], serde_json::json!([]), "another tenant");
        let verified = door.json(Method::GET, "/v1/audit/verify", None).await.unwrap();
        assert_eq!(verified.value["intact"], true);
        door.close().await.unwrap();
    }

    #[test]
    fn a_problem_becomes_a_report_and_an_exit_code() {
        let problem = serde_json::json!({
            "type": "urn:sophon:problem:role_refused", "title": "A policy forbids it", "status": 403,
            "detail": "GET /v1/keys is not for the role agent", "code": "role_refused", "kind": "denied",
            "stage": "authz", "hint": "use a key with the role admin", "correlation_id": "00".repeat(16),
        });
        let error = refusal(StatusCode::FORBIDDEN, problem.to_string().as_bytes());
        assert_eq!(error.exit_code(), ExitCode::from(3));
        assert_eq!(error.report().stage, Stage::Authz);
        assert_eq!(error.report().hint.as_deref(), Some("use a key with the role admin"));
        let other = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(other.report().code, "gateway_unreachable");
    }
}
