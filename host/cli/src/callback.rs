//! Where a browser brings a provider's answer to: a port of this machine's loopback address, open while `sophon connect`
//! waits (RFC 8252, 7.3).
//!
//! Promise: an answer counts only with the state that was given out; whatever else comes to the port changes nothing.

use crate::error::CliError;
use axum::Router;
use axum::extract::RawQuery;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Map, Value};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::{Url, form_urlencoded};

/// As long as an authorisation can be finished.
const PATIENCE: Duration = Duration::from_secs(600);
/// The longest query that is read.
const LONGEST: usize = 16 * 1024;
/// What is passed on of an answer.
const PARTS: [&str; 4] = ["state", "code", "iss", "error"];

/// The open port.
pub(crate) struct Listener {
    socket: TcpListener,
    redirect: String,
    path: String,
}

impl Listener {
    pub(crate) async fn open(service: &str) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::Start { message: format!("no port for the answer: {error}") };
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        let path = format!("/callback/{}", crate::verbs::part(service));
        Ok(Self { redirect: format!("http://127.0.0.1:{port}{path}"), socket, path })
    }

    /// The address that the provider is told.
    pub(crate) fn redirect(&self) -> &str {
        &self.redirect
    }

    /// The provider's answer to the authorisation that begins at `url`.
    pub(crate) async fn answer_to(self, url: &str) -> Result<Value, CliError> {
        let begun = Url::parse(url).ok();
        let state = begun
            .and_then(|url| url.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value.into_owned()));
        let state: Arc<str> =
            state.ok_or_else(|| CliError::Gateway { message: "its address has no state".into() })?.into();
        let (tell, mut told) = mpsc::channel(1);
        let handler = get(move |RawQuery(query): RawQuery| {
            let (tell, state) = (tell.clone(), Arc::clone(&state));
            async move {
                match read(&query.unwrap_or_default(), &state) {
                    // Only the first answer counts; the page is the same for one that is repeated.
                    Some(answer) => match tell.try_send(answer) {
                        Ok(()) | Err(_) => (StatusCode::OK, "You can close this page and go back to the terminal.\n"),
                    },
                    None => (StatusCode::BAD_REQUEST, "This is no answer to what was asked.\n"),
                }
            }
        });
        let router = Router::new().route(&self.path, handler);
        let served = tokio::spawn(axum::serve(self.socket, router).into_future());
        let answer = tokio::time::timeout(PATIENCE, told.recv()).await;
        // The page is on its way; there is nothing else to wait for.
        tokio::time::sleep(Duration::from_millis(100)).await;
        served.abort();
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err(CliError::Input { message: "no answer came within ten minutes".into() }),
        }
    }
}

/// The parts of an answer; nothing where it is not the answer to this state, or says something twice.
fn read(query: &str, state: &str) -> Option<Value> {
    if query.len() > LONGEST {
        return None;
    }
    let mut answer = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if PARTS.contains(&&*name) && answer.insert(name.into_owned(), value.into_owned().into()).is_some() {
            return None;
        }
    }
    (answer.get("state").and_then(Value::as_str) == Some(state)).then(|| answer.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attack_40_only_the_answer_to_what_was_asked_is_taken() {
        assert_eq!(
            read("code=c%2F1&state=abc&iss=https%3A%2F%2Fid.example&session_state=x", "abc"),
            Some(json!({"code": "c/1", "state": "abc", "iss": "https://id.example"}))
        );
        assert_eq!(
            read("error=access_denied&state=abc", "abc"),
            Some(json!({"error": "access_denied", "state": "abc"}))
        );
        for bad in ["", "code=c", "code=c&state=abd", "state=abc&state=abc&code=c", "code=c&code=d&state=abc"] {
            assert_eq!(read(bad, "abc"), None, "{bad}");
        }
        assert_eq!(read(&format!("state=abc&code={}", "x".repeat(LONGEST)), "abc"), None);
    }
}
