//! What can go wrong between the vault and an authorisation server.

use sophon_types::{FaultKind, ServiceName};

/// What became of new tokens that could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// The provider took them back.
    GivenBack,
    /// It did not: nobody has them, and they are good until they end.
    StillGood,
}

impl std::fmt::Display for Unkept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GivenBack => "the provider took them back",
            Self::StillGood => "the provider did not take them back, so they are good until they end",
        })
    }
}

/// Why an account could not be connected, or its tokens not be used. No text of it holds a secret; what a server said is
/// in it only as an error code of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OauthError {
    /// `sophon.toml` has no section for the service.
    #[error("{service}: no OAuth provider is configured")]
    NotConfigured {
        /// The service.
        service: ServiceName,
    },
    /// The provider's section breaks a rule.
    #[error("[oauth.{service}] {key}: {rule}")]
    Config {
        /// The service.
        service: String,
        /// The key.
        key: &'static str,
        /// The rule in words.
        rule: String,
    },
    /// The provider has no endpoint for what was asked.
    #[error("{service}: the provider has no {what}")]
    Unsupported {
        /// The service.
        service: ServiceName,
        /// What it lacks.
        what: &'static str,
    },
    /// A scope that is not configured, or was not granted.
    #[error("{service}: the scope {scope:?} is not {of}")]
    Scope {
        /// The service.
        service: ServiceName,
        /// The scope, shortened.
        scope: String,
        /// Of which list.
        of: &'static str,
    },
    /// An empty list of scopes: the provider would choose.
    #[error("{service}: the list of scopes is empty")]
    NoScope {
        /// The service.
        service: ServiceName,
    },
    /// The redirect is neither a loopback address nor the configured one.
    #[error("{service}: {redirect:?} is not a redirect that may be used")]
    Redirect {
        /// The service.
        service: ServiceName,
        /// The redirect, shortened.
        redirect: String,
    },
    /// The state is unknown: never given out, used already, expired, or somebody else's.
    #[error("the state of this authorisation is unknown, used or expired")]
    State,
    /// The answer came from another issuer than the one that was asked.
    #[error("{service}: the answer does not name the issuer that was asked")]
    Issuer {
        /// The service.
        service: ServiceName,
    },
    /// The answer names an issuer, and the configuration none that it could be compared with.
    #[error("{service}: the answer names its issuer, and none is configured to compare it with")]
    NoIssuer {
        /// The service.
        service: ServiceName,
    },
    /// The person, or the provider, said no.
    #[error("{service}: the provider refused: {code}")]
    Refused {
        /// The service.
        service: ServiceName,
        /// The provider's error code.
        code: String,
    },
    /// The person has not decided yet, on their other device.
    #[error("{service}: not decided yet")]
    Undecided {
        /// The service.
        service: ServiceName,
    },
    /// The provider's metadata are missing or contradict the configuration.
    #[error("{service}: the provider's metadata: {why}")]
    Metadata {
        /// The service.
        service: ServiceName,
        /// What is wrong.
        why: String,
    },
    /// The provider could not be reached, or failed.
    #[error("{service}: the provider cannot be reached: {why}")]
    Unreachable {
        /// The service.
        service: ServiceName,
        /// What happened.
        why: String,
    },
    /// The provider's answer is not what the protocol has there.
    #[error("{service}: the provider's answer: {why}")]
    Answer {
        /// The service.
        service: ServiceName,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The authorisation is over: expired, withdrawn, or its refresh token was used by somebody else.
    #[error("{service}: the authorisation is over")]
    Lapsed {
        /// The service.
        service: ServiceName,
    },
    /// The client's own secret is missing.
    #[error("{service}: the secret of this host's client is missing: {why}")]
    ClientSecret {
        /// The service.
        service: ServiceName,
        /// Where it should be.
        why: String,
    },
    /// The provider gave tokens, and they could not be kept here: the account is not connected, or as it was before.
    #[error("{service}: the new tokens could not be kept: {why}; {tokens}")]
    NotKept {
        /// The service.
        service: ServiceName,
        /// What happened.
        why: String,
        /// Whose fault that is.
        kind: FaultKind,
        /// What became of them.
        tokens: Unkept,
    },
    /// The account is disconnected here, but the provider did not take its tokens back.
    #[error("{service} is disconnected here, but the provider did not take its tokens back: {why}")]
    NotRevoked {
        /// The service.
        service: ServiceName,
        /// What happened.
        why: String,
    },
}

impl OauthError {
    pub(crate) fn kind(&self) -> FaultKind {
        match self {
            Self::NotConfigured { .. } => FaultKind::NotFound,
            Self::Config { .. }
            | Self::Unsupported { .. }
            | Self::Scope { .. }
            | Self::NoScope { .. }
            | Self::Redirect { .. } => FaultKind::Invalid,
            Self::State | Self::Issuer { .. } | Self::NoIssuer { .. } | Self::Refused { .. } | Self::Lapsed { .. } => {
                FaultKind::Denied
            }
            Self::Undecided { .. } => FaultKind::Conflict,
            Self::ClientSecret { .. } => FaultKind::Unavailable,
            Self::NotKept { kind, .. } => *kind,
            Self::Metadata { .. } | Self::Unreachable { .. } | Self::Answer { .. } | Self::NotRevoked { .. } => {
                FaultKind::Upstream
            }
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured { .. } => "oauth_not_configured",
            Self::Config { .. } => "oauth_config",
            Self::Unsupported { .. } => "oauth_unsupported",
            Self::Scope { .. } | Self::NoScope { .. } => "oauth_scope",
            Self::Redirect { .. } => "oauth_redirect",
            Self::State => "oauth_state",
            Self::Issuer { .. } | Self::NoIssuer { .. } => "oauth_issuer",
            Self::Refused { .. } => "oauth_refused",
            Self::Undecided { .. } => "oauth_undecided",
            Self::Metadata { .. } => "oauth_metadata",
            Self::Unreachable { .. } => "oauth_unreachable",
            Self::Answer { .. } => "oauth_answer",
            Self::Lapsed { .. } => "oauth_lapsed",
            Self::ClientSecret { .. } => "oauth_client_secret",
            Self::NotKept { .. } => "oauth_not_kept",
            Self::NotRevoked { .. } => "oauth_not_revoked",
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NotConfigured { service } => format!("add a section [oauth.{service}] to sophon.toml"),
            Self::Config { .. } => "sophon config show".into(),
            Self::Unsupported { service, what } if *what == "redirect for a browser" => {
                format!("sophon connect {service}")
            }
            Self::Unsupported { service, .. } => {
                format!("name the endpoint in [oauth.{service}] of sophon.toml, where the provider has one")
            }
            Self::Scope { service, .. } => {
                format!("add it to scopes in [oauth.{service}], then: sophon connect {service}")
            }
            Self::NoScope { .. } => "name a scope, or leave scopes out to ask for all that are configured".into(),
            Self::Redirect { service, .. } => {
                format!("use http://127.0.0.1:PORT/…, or the redirect of [oauth.{service}] in sophon.toml")
            }
            Self::State => {
                "begin again; an authorisation is finished once, within ten minutes, by whoever began it".into()
            }
            Self::Issuer { service } => {
                format!(
                    "begin again from here, and compare issuer in [oauth.{service}] with what the provider calls itself"
                )
            }
            Self::NoIssuer { service } => {
                format!(
                    "name issuer in [oauth.{service}] of sophon.toml as the provider calls itself, then begin again"
                )
            }
            Self::Refused { service, .. } | Self::Lapsed { service } => format!("sophon connect {service}"),
            Self::Undecided { .. } => "open the address on the other device and enter the code".into(),
            Self::Metadata { service, .. } => {
                format!(
                    "check issuer and endpoints in [oauth.{service}] of sophon.toml; discovery = false where the provider has no metadata"
                )
            }
            Self::Answer { service, .. } => format!("check issuer and endpoints in [oauth.{service}] of sophon.toml"),
            Self::Unreachable { .. } => "check that the provider is up, then try again".into(),
            Self::ClientSecret { service, .. } => {
                format!("see client_secret_file and client_secret_credential in [oauth.{service}] of sophon.toml")
            }
            Self::NotKept { service, tokens: Unkept::GivenBack, .. } => {
                format!("`sophon doctor` says what is wrong with this host; then: sophon connect {service}")
            }
            Self::NotKept { tokens: Unkept::StillGood, .. } | Self::NotRevoked { .. } => {
                "withdraw the access on the provider's own pages".into()
            }
        }
    }
}
