//! What the gateway itself refuses. Everything else that goes wrong comes from a lower floor and keeps its own words.

use crate::reading::Refused;
use sophon_types::{Fault, FaultKind, Role, Stage};
use std::time::Duration;

/// The code of [`GatewayError::ScopeRefused`].
pub(crate) const SCOPE_REFUSED: &str = "scope_refused";

/// Why the gateway did not let a request through, or could not serve at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The request has no `Authorization` header.
    #[error("the request carries no API key")]
    KeyMissing,
    /// The key is malformed, unknown or revoked; which of them is not said.
    #[error("the API key is not valid")]
    KeyInvalid,
    /// The key's role may not use this route.
    #[error("{method} {route} is not for the role {role}")]
    RoleRefused {
        /// The route's method.
        method: &'static str,
        /// The route's template.
        route: &'static str,
        /// The caller's role.
        role: Role,
        /// The roles that may.
        allowed: &'static [Role],
    },
    /// The caller named a tenant, a user or an owner that its key does not reach.
    #[error("this key may not act for {what}")]
    ScopeRefused {
        /// What was named.
        what: String,
    },
    /// The `Host` of the request is not a name of this gateway (a DNS rebinding attack looks like this).
    #[error("the host {host:?} is not a name of this gateway")]
    HostRefused {
        /// The host as it was sent.
        host: String,
    },
    /// A web page of another origin sent the request.
    #[error("requests from the origin {origin:?} are not allowed")]
    OriginRefused {
        /// The origin as it was sent.
        origin: String,
    },
    /// The body is not what the route takes.
    #[error("body: {message}")]
    BodyInvalid {
        /// What is wrong with it.
        message: String,
    },
    /// A part of the path, the query or a header is not what the route takes.
    #[error("{place}: {message}")]
    ParameterInvalid {
        /// `path`, `query`, or a header's name.
        place: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The body is not declared as JSON.
    #[error("the body must be application/json")]
    MediaTypeRefused,
    /// The body is larger than the route takes.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The most this route takes.
        limit: usize,
    },
    /// There is no such route.
    #[error("there is nothing at {path}")]
    NoRoute {
        /// The path that was asked for.
        path: String,
    },
    /// The route exists, but not with this method.
    #[error("{path} does not take {method}")]
    MethodRefused {
        /// The method that was used.
        method: String,
        /// The path that was asked for.
        path: String,
    },
    /// Too many requests of this user or address.
    #[error("too many requests {of}")]
    RateLimited {
        /// Whose, or for what.
        of: &'static str,
        /// What the limit says, and when the next one will be let in.
        limit: Refused,
    },
    /// The gateway, or the caller's share of it, is taken. Which of them is not said: it would tell of others.
    #[error("the gateway has no room for more {what} of this caller at present")]
    Busy {
        /// Of what there is too much.
        what: &'static str,
        /// The setting that bounds it.
        setting: &'static str,
    },
    /// Too much of what keeps a processor busy waits for its turn already, of the caller or in all.
    #[error("too many {what} wait for their turn at present")]
    Crowded {
        /// Of what there is too much.
        what: &'static str,
    },
    /// Somebody reads the whole audit log already.
    #[error("the audit log is being checked or exported already")]
    AuditBusy,
    /// The request was not served within the configured time.
    #[error("the request was not served within {seconds} seconds")]
    TimedOut {
        /// The configured time.
        seconds: u64,
    },
    /// The thing the request is about does not exist for this caller.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// It exists already.
    #[error("{what}")]
    Conflict {
        /// What contradicts what.
        what: String,
    },
    /// A part of the host does not work at present.
    #[error("not ready: {what}")]
    NotReady {
        /// Which part.
        what: String,
    },
    /// A handler panicked or ended without an answer; the text is for the log.
    #[error("{detail}")]
    Broken {
        /// What is known of it.
        detail: String,
    },
    /// A file of the running gateway could not be written or read.
    #[error("{path}: {source}")]
    RunFile {
        /// Which file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
}

impl Fault for GatewayError {
    fn stage(&self) -> Stage {
        match self {
            Self::KeyMissing | Self::KeyInvalid => Stage::Authn,
            Self::RoleRefused { .. }
            | Self::ScopeRefused { .. }
            | Self::HostRefused { .. }
            | Self::OriginRefused { .. } => Stage::Authz,
            Self::RateLimited { .. } | Self::Busy { .. } | Self::Crowded { .. } | Self::AuditBusy => Stage::RateLimit,
            Self::NoRoute { .. } | Self::MethodRefused { .. } | Self::NotFound { .. } | Self::Conflict { .. } => {
                Stage::Resolve
            }
            Self::BodyInvalid { .. }
            | Self::ParameterInvalid { .. }
            | Self::MediaTypeRefused
            | Self::BodyTooLarge { .. } => Stage::Validate,
            Self::TimedOut { .. } | Self::NotReady { .. } | Self::Broken { .. } => Stage::Client,
            Self::RunFile { .. } => Stage::Home,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::KeyMissing | Self::KeyInvalid => FaultKind::Unauthenticated,
            Self::RoleRefused { .. }
            | Self::ScopeRefused { .. }
            | Self::HostRefused { .. }
            | Self::OriginRefused { .. } => FaultKind::Denied,
            Self::BodyInvalid { .. }
            | Self::ParameterInvalid { .. }
            | Self::MediaTypeRefused
            | Self::MethodRefused { .. } => FaultKind::Invalid,
            Self::BodyTooLarge { .. } => FaultKind::TooLarge,
            Self::NoRoute { .. } | Self::NotFound { .. } => FaultKind::NotFound,
            Self::Conflict { .. } => FaultKind::Conflict,
            Self::RateLimited { .. } => FaultKind::RateLimited,
            Self::Busy { .. } | Self::Crowded { .. } | Self::AuditBusy | Self::NotReady { .. } => {
                FaultKind::Unavailable
            }
            Self::TimedOut { .. } => FaultKind::Timeout,
            Self::Broken { .. } | Self::RunFile { .. } => FaultKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::KeyMissing => "key_missing",
            Self::KeyInvalid => "key_invalid",
            Self::RoleRefused { .. } => "role_refused",
            Self::ScopeRefused { .. } => SCOPE_REFUSED,
            Self::HostRefused { .. } => "host_refused",
            Self::OriginRefused { .. } => "origin_refused",
            Self::BodyInvalid { .. } => "invalid_body",
            Self::ParameterInvalid { .. } => "invalid_parameter",
            Self::MediaTypeRefused => "unsupported_media_type",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::NoRoute { .. } => "no_such_route",
            Self::MethodRefused { .. } => "method_not_allowed",
            Self::RateLimited { .. } => "rate_limited",
            Self::Busy { .. } | Self::Crowded { .. } => "over_capacity",
            Self::AuditBusy => "audit_busy",
            Self::TimedOut { .. } => "request_timeout",
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::NotReady { .. } => "not_ready",
            Self::Broken { .. } | Self::RunFile { .. } => "internal",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::KeyMissing => "send the header `Authorization: Bearer sk_...`; an admin makes a key with \
                                 `sophon key create --role agent --user NAME`"
                .into(),
            Self::KeyInvalid => {
                "use a key that `sophon key list` shows, or make one: `sophon key create --role agent --user NAME`"
                    .into()
            }
            Self::RoleRefused { allowed, .. } => {
                let names: Vec<_> = allowed.iter().map(|role| role.as_str()).collect();
                format!("use a key with the role {}", names.join(" or "))
            }
            Self::ScopeRefused { .. } => "leave it out, or use a key of that tenant with the role admin".into(),
            Self::HostRefused { host } => {
                format!("add the name to sophon.toml: [gateway] allowed_hosts = [{:?}]", bare_host(host))
            }
            Self::OriginRefused { origin } => {
                format!("if that page is yours, add it to sophon.toml: [gateway] allowed_origins = [{origin:?}]")
            }
            Self::BodyInvalid { .. } | Self::ParameterInvalid { .. } | Self::NoRoute { .. } => {
                "GET /openapi.json describes every route, body and parameter".into()
            }
            Self::MediaTypeRefused => "send the header `Content-Type: application/json`".into(),
            Self::BodyTooLarge { .. } => {
                "send less, or raise [gateway] max_body_bytes (for packages max_package_bytes) in sophon.toml".into()
            }
            Self::MethodRefused { .. } => "use one of the methods of the Allow header".into(),
            Self::RateLimited { limit, .. } => {
                format!("wait {} s; [rate_limit] in sophon.toml sets the pace", whole_seconds(limit.retry_after))
            }
            Self::Busy { setting, .. } => {
                format!("try again after the time in Retry-After; [gateway] {setting} in sophon.toml sets the limit")
            }
            Self::Crowded { .. } => "try again after the time in Retry-After; few of them run at a time".into(),
            Self::AuditBusy => "try again when it is done; few passes over the whole log run at a time".into(),
            Self::TimedOut { .. } => "try again; for long calls use wait_seconds and GET /v1/calls/{id}?wait=30".into(),
            Self::NotReady { .. } => "`sophon doctor` says what is wrong".into(),
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Broken { .. } | Self::RunFile { .. } => return None,
        })
    }
}

/// `span` as a `Retry-After` says it: whole seconds, rounded up, at least one (RFC 9110, section 10.2.3).
pub(crate) fn whole_seconds(span: Duration) -> u64 {
    let up = u64::from(span.subsec_nanos() > 0);
    (span.as_secs() + up).max(1)
}

fn bare_host(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_44_retry_after_is_never_too_early() {
        for (millis, seconds) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (59_500, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
    }
}
