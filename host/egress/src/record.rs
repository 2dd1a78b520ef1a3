//! What the audit log learns of every request: before it is sent, how it ended, and every refusal.
//!
//! Promise: no query value, header value or body is recorded, and no secret that the session brokered.

use crate::admit::{AllowedRequest, HttpRequest};
use crate::error::HttpError;
use crate::gate::is_write;
use crate::session::CallScope;
use crate::url::CheckedUrl;
use http::StatusCode;
use serde_json::Value;
use sophon_audit::{Action, AuditError, AuditLog, Outcome, Record};
use sophon_guard::KnownSecrets;
use sophon_skill::StreamGrant;
use sophon_types::{Fault, ServiceName};
use std::time::Duration;
use tokio::time::Instant;

/// Writes the records of one session.
pub(crate) struct Recorder<'a> {
    pub(crate) audit: &'a AuditLog,
    pub(crate) scope: &'a CallScope,
    pub(crate) secrets: KnownSecrets,
}

/// What the record of a request's end begins with.
#[derive(Clone)]
pub(crate) struct Begun {
    record: Record,
    hop: usize,
    /// What it is clean of.
    known: KnownSecrets,
}

impl Recorder<'_> {
    /// Before a request is sent. The durable record of a write is the gate's, so that it is not written twice.
    pub(crate) async fn intent(&self, allowed: &AllowedRequest, hop: usize) -> Result<Begun, HttpError> {
        let record = self.request(allowed, hop);
        if !is_write(allowed.method()) {
            let written = self.audit.enqueue_in_turn(record.clone()).await;
            written.map_err(|error| unwritten(&error))?;
        }
        Ok(Begun { record, hop, known: self.secrets.clone() })
    }

    /// After the answer, or after it failed to come.
    pub(crate) async fn outcome(
        &self,
        allowed: &AllowedRequest,
        begun: Begun,
        end: Result<StatusCode, &HttpError>,
        took: Duration,
    ) -> Result<(), HttpError> {
        let (outcome, status) = match end {
            Ok(status) => (Outcome::Ok, Some(status.as_u16())),
            Err(HttpError::UnknownOutcome(_)) => (Outcome::Unknown, None),
            Err(error) => (Outcome::failed(error.code()), None),
        };
        // Another request of the call may have been lent a secret meanwhile.
        let still_clean = self.secrets.is_clone_of(&begun.known);
        let record = if still_clean { begun.record } else { self.request(allowed, begun.hop) };
        let mut record = record.then(Action::EgressRequest, outcome).duration(took);
        if let Some(status) = status {
            record = record.detail("status", status);
        }
        self.audit.enqueue_in_turn(record).await.map_err(|error| {
            let unwritten = unwritten(&error);
            if is_write(allowed.method()) {
                let code = error.code();
                HttpError::UnknownOutcome(format!(
                    "{} was sent, but its end is not recorded ({code})",
                    allowed.method()
                ))
            } else {
                unwritten
            }
        })
    }

    /// The request was let go while it was under way: the call was cancelled. Waits for nothing.
    fn abandoned(&self, begun: Begun, took: Duration) {
        let record = begun.record.then(Action::EgressRequest, Outcome::Unknown).duration(took);
        if let Err(error) = self.audit.enqueue(record) {
            tracing::warn!(%error, call = %self.scope.call, "the end of a request is not recorded");
        }
    }

    /// A refusal. `address` is for the operator, not for the skill.
    pub(crate) async fn denied(
        &self,
        request: &HttpRequest,
        error: &HttpError,
        address: Option<String>,
        most: usize,
    ) -> Result<(), HttpError> {
        let method: String = request.method.chars().take(30).collect();
        let mut record = self
            .base(Action::EgressDenied, Outcome::denied(error.code()))
            .detail("method", self.clean(&method))
            .detail("reason", self.clean(&error.to_string()));
        // What cannot be read as a URL may be anything; then only the reason is kept.
        if let Ok(url) = CheckedUrl::parse(&request.url, most) {
            record = self.url(record, &url);
        }
        if let Some(address) = address {
            record = record.detail("address", address);
        }
        self.audit.enqueue_in_turn(record).await.map_err(|error| unwritten(&error))
    }

    /// So many requests came after the end of the call, besides the one that is on record. Waits for nothing.
    pub(crate) fn late(&self, error: &HttpError, count: u64) {
        let record = self
            .base(Action::EgressDenied, Outcome::denied(error.code()))
            .detail("reason", error.to_string())
            .detail("count", count);
        if let Err(error) = self.audit.enqueue(record) {
            tracing::warn!(%error, call = %self.scope.call, count, "requests of a call that is over are not recorded");
        }
    }

    /// A placeholder was about to go where it does not belong. Durable before the skill learns of the refusal.
    pub(crate) async fn alarm(&self, request: &HttpRequest, error: &HttpError, most: usize) -> Result<(), HttpError> {
        let mut record = self
            .base(Action::EgressAlarm, Outcome::denied(error.code()))
            .detail("reason", self.clean(&error.to_string()));
        if let Ok(url) = CheckedUrl::parse(&request.url, most) {
            record = self.url(record, &url);
        }
        self.audit.append(record).await.map(drop).map_err(|error| unwritten(&error))
    }

    /// A connection that is no HTTP was granted, and is refused or failed. What the caller learns.
    pub(crate) async fn stream_refused(
        &self,
        grant: &StreamGrant,
        error: HttpError,
        address: Option<String>,
    ) -> HttpError {
        let (action, outcome) = match &error {
            HttpError::Denied(denial) => (Action::EgressDenied, Outcome::denied(denial.code.clone())),
            other => (Action::EgressRequest, Outcome::failed(other.code())),
        };
        let mut record = self.stream(action, outcome, grant).detail("reason", self.clean(&error.to_string()));
        if let Some(address) = address {
            record = record.detail("address", address);
        }
        match self.audit.enqueue_in_turn(record).await {
            Ok(()) => error,
            Err(unwritable) => unwritten(&unwritable),
        }
    }

    /// Something was about to go over such a connection that must not. The connection is cut already, whatever the log says.
    pub(crate) async fn stream_alarm(&self, grant: &StreamGrant, error: &HttpError) {
        let record = self
            .stream(Action::EgressAlarm, Outcome::denied(error.code()), grant)
            .detail("reason", self.clean(&error.to_string()));
        if let Err(error) = self.audit.append(record).await {
            tracing::error!(%error, call = %self.scope.call, "an alarm could not be recorded");
        }
    }

    /// Such a connection is over. Waits for nothing.
    pub(crate) fn stream_over(
        &self,
        grant: &StreamGrant,
        outcome: Outcome,
        by: &'static str,
        (sent, received): (u64, u64),
        took: Duration,
    ) {
        let record = self
            .stream(Action::EgressRequest, outcome, grant)
            .duration(took)
            .detail("sent_bytes", sent)
            .detail("received_bytes", received)
            .detail("ended_by", by);
        if let Err(error) = self.audit.enqueue(record) {
            tracing::warn!(%error, call = %self.scope.call, "the end of a connection is not recorded");
        }
    }

    fn stream(&self, action: Action, outcome: Outcome, grant: &StreamGrant) -> Record {
        self.base(action, outcome).detail("method", "CONNECT").detail("url", grant.to_string())
    }

    /// What the skill was given in place of a credential. Never the text itself.
    pub(crate) async fn token(
        &self,
        service: &ServiceName,
        kind: &'static str,
        outcome: Outcome,
    ) -> Result<(), HttpError> {
        let record =
            self.base(Action::CredentialToken, outcome).detail("service", service.as_str()).detail("kind", kind);
        self.audit.enqueue_in_turn(record).await.map_err(|error| unwritten(&error))
    }

    fn request(&self, allowed: &AllowedRequest, hop: usize) -> Record {
        let base = self.base(Action::EgressRequest, Outcome::Intent).risk(allowed.risk());
        let record =
            self.url(base, allowed.checked_url()).detail("method", allowed.method().as_str()).detail("hop", hop);
        match allowed.credential() {
            Some(service) => record.detail("credential", service.as_str()),
            None => record,
        }
    }

    fn url(&self, record: Record, url: &CheckedUrl) -> Record {
        let record = record
            .detail("scheme", url.scheme().as_str())
            .detail("host", self.clean(url.authority()))
            .detail("path", self.clean(url.path()));
        match url.query_names() {
            Some(names) => record.detail("query", self.clean(&names)),
            None => record,
        }
    }

    fn base(&self, action: Action, outcome: Outcome) -> Record {
        let scope = self.scope;
        Record::new(action, outcome)
            .principal(&scope.principal)
            .skill(&scope.skill)
            .tool(&scope.tool)
            .call(scope.call)
            .correlation(scope.correlation)
    }

    /// Text that came from the skill: without the secrets of this session, and with what looks like one hashed.
    fn clean(&self, text: &str) -> Value {
        self.audit.redactor().text(&self.secrets.redact_text(text).text).value().clone()
    }
}

/// A request that is under way. Dropped before its end is known, it leaves a record that says so.
pub(crate) struct UnderWay<'a> {
    recorder: Recorder<'a>,
    /// Until the end is known.
    begun: Option<Begun>,
    since: Instant,
}

impl<'a> UnderWay<'a> {
    pub(crate) fn begin(recorder: Recorder<'a>, begun: Begun) -> Self {
        Self { recorder, begun: Some(begun), since: Instant::now() }
    }

    /// The end is known. Returns how long it took.
    pub(crate) fn end(mut self) -> Duration {
        self.begun = None;
        self.since.elapsed()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.recorder.abandoned(begun, self.since.elapsed());
        }
    }
}

fn unwritten(error: &AuditError) -> HttpError {
    // The store's own words may name files; they are the log's.
    tracing::warn!(%error, "the audit log cannot be written");
    HttpError::HostUnavailable(format!("the audit log cannot be written ({})", error.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_learns_no_text_of_the_store() {
        let error = unwritten(&AuditError::Unavailable { detail: "/var/lib/sophon/sophon.db: disk I/O".into() });
        assert!(!error.to_string().contains("/var/lib"), "{error}");
        assert!(error.to_string().contains("audit"), "{error}");
    }
}
