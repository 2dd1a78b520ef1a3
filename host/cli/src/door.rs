//! How a command reaches the host: over HTTP where a gateway runs in the home, else through the same router in this
//! process, with the home locked. One path on the wire either way, so a command has no logic of its own.

use crate::context::Context;
use crate::error::CliError;
use crate::house::House;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sophon_gateway::{OperatorToken, RunFile};
use sophon_types::{FaultKind, FaultReport, Stage};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

/// How long a gateway that is about to start may take until it can be spoken to.
const STARTING: Duration = Duration::from_secs(10);
/// How long a connection to a gateway on this machine may take.
const CONNECT: Duration = Duration::from_secs(5);
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
}

enum Way {
    Http(SocketAddr),
    InProcess { router: Router, house: Box<House> },
}

impl Door {
    /// Finds the gateway of the home, or opens the home.
    pub(crate) async fn open(context: &Context, acting: Acting) -> Result<Self, CliError> {
        let home = context.home()?;
        home.create()?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(lock) = home.lock()? {
                let operator = OperatorToken::mint(context.entropy());
                let token = Zeroizing::new(operator.expose().to_owned());
                let house = House::open(context, lock).await?;
                let router = house.gateway(operator, None).router();
                return Ok(Self { way: Way::InProcess { router, house: Box::new(house) }, token, acting });
            }
            // The lock is held, so a file that is there was left by whoever holds it, or is about to be replaced.
            if let Some(run) = RunFile::read(&home.run_file())?
                && is_alive(run.address).await
            {
                return Ok(Self { way: Way::Http(run.address), token: Zeroizing::new(run.token), acting });
            }
            if waited >= STARTING {
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
            Way::Http(address) => over_http(*address, request).await?,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = whole(response.into_body()).await?;
        Err(refusal(status, &bytes))
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

/// Whether somebody listens there.
pub(crate) async fn is_alive(address: SocketAddr) -> bool {
    matches!(tokio::time::timeout(CONNECT, TcpStream::connect(address)).await, Ok(Ok(_)))
}

async fn over_http(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Response<Body>, CliError> {
    let connect = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = match connect {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(not_ours(&format!("{address}: {error}"))),
        Err(_elapsed) => return Err(not_ours(&format!("{address}: does not answer"))),
    };
    let broken = |error: hyper::Error| not_ours(&format!("{address}: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the gateway ended early");
        }
    });
    Ok(sender.send_request(request).await.map_err(broken)?.map(Body::new))
}

async fn whole(body: Body) -> Result<Bytes, CliError> {
    match http_body_util::Limited::new(body, LARGEST).collect().await {
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
mod tests {
    use super::*;
    use std::process::ExitCode;

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
