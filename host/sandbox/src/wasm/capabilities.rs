//! The imports `http`, `credentials`, `log`, `settings`, `state` and `progress`: each counts the call, checks its bounds
//! and goes through a door.

use super::bindings::sophon::skill::{credentials, http, log, progress, settings, state};
use super::host::Host;
use crate::{Access, LogLevel, Progress, StateError};
use bytes::Bytes;
use sophon_egress::{HttpError, HttpRequest, HttpResponse, Redirects, TokenRefused};
use sophon_store::Quota;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Result;

/// Bytes of a key in `state`.
const KEY: usize = 256;
/// Keys that one listing gives.
const KEYS: u32 = 1_000;
/// Bytes of a progress message that are kept.
const MESSAGE: usize = 512;

impl http::Host for Host {
    async fn send(&mut self, request: http::Request) -> Result<Result<http::Response, http::HttpError>> {
        let head: usize = request.headers.iter().map(|field| field.name.len() + field.value.len()).sum();
        let body = request.body.as_ref().map_or(0, Vec::len);
        self.enter(request.url.len() + head + body)?;
        if self.budget.request().is_none() {
            let most = self.limits.http_requests;
            return Ok(Err(denied("too_many_requests", format!("http: a call may send {most} requests"), None)));
        }
        let budget = Arc::clone(&self.budget);
        let too_large = || http::HttpError::TooLarge(budget.most_held());
        let Some(mut held) = budget.hold(head + body) else { return Ok(Err(too_large())) };
        let Some(door) = self.doors.http.clone() else {
            let hint = "declare the host in the manifest: \"permissions\": {\"network\": [\"HOST\"]}".to_owned();
            return Ok(Err(denied("network_not_granted", "http: this skill has no network".into(), Some(hint))));
        };
        let request = HttpRequest {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|field| (field.name, field.value)).collect(),
            body: request.body.map(Bytes::from),
            credential: request.credential,
            redirects: match request.redirects {
                http::Redirects::Follow => Redirects::Follow,
                http::Redirects::Manual => Redirects::Manual,
            },
            timeout: request.timeout_ms.map(|ms| Duration::from_millis(ms.into())),
        };
        let line = budget.line().await;
        let sent = door.send(request).await;
        drop(line);
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(to_guest(error))),
        };
        let size = answer_bytes(&answer);
        if held.grow(size).is_none() {
            return Ok(Err(too_large()));
        }
        self.give(size)?;
        Ok(Ok(http::Response {
            status: answer.status,
            url: answer.url,
            headers: answer.headers.into_iter().map(|(name, value)| http::Field { name, value }).collect(),
            body: answer.body.into(),
        }))
    }
}

/// What an answer takes: its body and its fields.
pub(super) fn answer_bytes(answer: &HttpResponse) -> usize {
    answer.body.len() + answer.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

fn denied(code: &str, message: String, hint: Option<String>) -> http::HttpError {
    http::HttpError::Denied(http::Denial { code: code.to_owned(), message, hint })
}

fn to_guest(error: HttpError) -> http::HttpError {
    if let Some(denial) = error.denial() {
        return denied(&denial.code, denial.message, denial.hint);
    }
    match error {
        HttpError::InvalidRequest(what) => http::HttpError::InvalidRequest(what),
        HttpError::Dns(what) => http::HttpError::Dns(what),
        HttpError::Connection(what) => http::HttpError::Connection(what),
        HttpError::Tls(what) => http::HttpError::Tls(what),
        HttpError::Timeout => http::HttpError::Timeout,
        HttpError::TooLarge(limit) => http::HttpError::TooLarge(limit),
        HttpError::TooManyRedirects => http::HttpError::TooManyRedirects,
        HttpError::UnknownOutcome(what) => http::HttpError::UnknownOutcome(what),
        other => http::HttpError::Protocol(other.to_string()),
    }
}

impl credentials::Host for Host {
    fn connections(&mut self) -> Result<Vec<credentials::Connection>> {
        self.enter(0)?;
        let shown = self.doors.connections.iter().map(|connection| credentials::Connection {
            service: connection.service.clone(),
            connected: connection.connected,
            access: match connection.access {
                Access::Proxy => credentials::Access::Proxy,
                Access::ScopedToken => credentials::Access::ScopedToken,
            },
        });
        Ok(shown.collect())
    }

    async fn scoped_token(&mut self, service: String) -> Result<Result<String, credentials::CredentialError>> {
        self.enter(service.len())?;
        let found = self.doors.connections.iter().find(|connection| connection.service == service);
        let door = match found {
            None => return Ok(Err(credentials::CredentialError::Undeclared(service))),
            Some(connection) if !connection.connected => {
                return Ok(Err(credentials::CredentialError::NotConnected(service)));
            }
            Some(connection) if connection.access == Access::ScopedToken => self.doors.tokens.clone(),
            Some(_) => None,
        };
        let Some(door) = door else {
            let why = format!("{service}: name it in `http.request.credential`, and the host attaches it");
            return Ok(Err(credentials::CredentialError::NotAvailable(why)));
        };
        let token = match door.scoped_token(&service).await {
            Ok(token) => token,
            Err(TokenRefused::Undeclared(service)) => {
                return Ok(Err(credentials::CredentialError::Undeclared(service)));
            }
            Err(TokenRefused::NotConnected(service)) => {
                return Ok(Err(credentials::CredentialError::NotConnected(service)));
            }
            Err(other) => return Ok(Err(credentials::CredentialError::NotAvailable(other.to_string()))),
        };
        self.give(token.len())?;
        Ok(Ok(token))
    }
}

impl log::Host for Host {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        self.enter(message.len())?;
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log(level, &message);
        Ok(())
    }
}

impl settings::Host for Host {
    fn value(&mut self, key: String) -> Result<Option<String>> {
        self.enter(key.len())?;
        let value = self.doors.settings.get(&key).cloned();
        self.give(value.as_ref().map_or(0, String::len))?;
        Ok(value)
    }
}

impl Host {
    fn key(key: &str) -> Result<(), state::StateError> {
        if key.is_empty() || key.len() > KEY || key.chars().any(char::is_control) {
            let shown: String = key.chars().take(40).collect();
            return Err(state::StateError::InvalidKey(format!(
                "{shown:?}: 1 to {KEY} bytes without control characters"
            )));
        }
        Ok(())
    }

    fn quota(&self) -> Quota {
        Quota { bytes: self.limits.state_total_bytes, entries: self.limits.state_keys }
    }

    fn value(&self, value: &[u8]) -> Result<(), state::StateError> {
        if value.len() > self.limits.state_value_bytes {
            return Err(state::StateError::ValueTooLarge(self.limits.state_value_bytes as u64));
        }
        Ok(())
    }
}

impl From<StateError> for state::StateError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::QuotaExceeded(limit) => Self::QuotaExceeded(limit),
            StateError::Conflict => Self::Conflict,
            StateError::Unavailable(what) => Self::Unavailable(what),
        }
    }
}

impl state::Host for Host {
    async fn read(&mut self, key: String) -> Result<Result<Option<Vec<u8>>, state::StateError>> {
        self.enter(key.len())?;
        if let Err(refused) = Self::key(&key) {
            return Ok(Err(refused));
        }
        let read = self.doors.state.read(&key).await;
        self.give(read.as_ref().ok().and_then(Option::as_ref).map_or(0, Vec::len))?;
        Ok(read.map_err(Into::into))
    }

    async fn write(&mut self, key: String, value: Vec<u8>) -> Result<Result<(), state::StateError>> {
        self.enter(key.len() + value.len())?;
        if let Err(refused) = Self::key(&key).and_then(|()| self.value(&value)) {
            return Ok(Err(refused));
        }
        Ok(self.doors.state.write(&key, value, self.quota()).await.map_err(Into::into))
    }

    async fn delete(&mut self, key: String) -> Result<Result<(), state::StateError>> {
        self.enter(key.len())?;
        if let Err(refused) = Self::key(&key) {
            return Ok(Err(refused));
        }
        Ok(self.doors.state.delete(&key).await.map_err(Into::into))
    }

    async fn keys(&mut self, prefix: String, after: Option<String>) -> Result<Result<Vec<String>, state::StateError>> {
        self.enter(prefix.len() + after.as_ref().map_or(0, String::len))?;
        let named = [Some(&prefix).filter(|prefix| !prefix.is_empty()), after.as_ref()];
        if let Err(refused) = named.into_iter().flatten().try_for_each(|key| Self::key(key)) {
            return Ok(Err(refused));
        }
        let keys = self.doors.state.keys(&prefix, after.as_deref(), KEYS).await;
        self.give(keys.iter().flatten().map(String::len).sum())?;
        Ok(keys.map_err(Into::into))
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<Result<(), state::StateError>> {
        self.enter(key.len() + value.len() + expected.as_ref().map_or(0, Vec::len))?;
        if let Err(refused) = Self::key(&key).and_then(|()| self.value(&value)) {
            return Ok(Err(refused));
        }
        let quota = self.quota();
        Ok(self.doors.state.compare_and_set(&key, expected, value, quota).await.map_err(Into::into))
    }
}

impl progress::Host for Host {
    fn report(&mut self, percent: u8, message: String) -> Result<()> {
        self.enter(message.len())?;
        if self.usage.progress_reports >= self.limits.progress_reports {
            return Ok(());
        }
        self.usage.progress_reports += 1;
        let message = message[..message.floor_char_boundary(MESSAGE)].to_owned();
        let report = Progress { percent: percent.min(100), message };
        if let Some(tell) = &self.doors.progress {
            tell(&report);
        }
        self.progress = Some(report);
        Ok(())
    }
}
