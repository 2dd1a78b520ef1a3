//! Connecting accounts by OAuth.

use super::credentials::{OwnerName, SecretValue};
use crate::extract::{Quote, WireBody};
use serde::{Deserialize, Serialize};
use sophon_vault::{Grant, Standing, Started};
use utoipa::ToSchema;

/// How a person decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OauthFlow {
    /// In a browser that comes back to a redirect.
    #[default]
    Browser,
    /// On another device (RFC 8628).
    Device,
}

/// What to connect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OauthStartBody {
    /// How a person decides.
    #[serde(default)]
    pub(crate) flow: OauthFlow,
    /// Where the browser comes back to: `http://127.0.0.1:PORT/…`, at which the caller listens. Where nothing is said,
    /// the redirect that is configured for the gateway.
    pub(crate) redirect: Option<String>,
    /// Fewer scopes than are configured.
    pub(crate) scopes: Option<Vec<String>>,
    /// Whose account it will be.
    #[serde(default)]
    pub(crate) owner: OwnerName,
}

impl WireBody for OauthStartBody {}

/// What the person has to do now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "flow", rename_all = "lowercase")]
pub(crate) enum OauthStarted {
    /// Open an address in a browser.
    Browser {
        /// The provider's page.
        authorization_url: String,
        /// Until when.
        expires_at: String,
    },
    /// Open an address on any device, and enter a code.
    Device {
        /// Names the authorisation when asking whether it is decided.
        device: String,
        /// The code.
        user_code: String,
        /// The address.
        verification_uri: String,
        /// The address with the code in it.
        #[serde(skip_serializing_if = "Option::is_none")]
        verification_uri_complete: Option<String>,
        /// Seconds between two questions.
        interval_seconds: u64,
        /// Until when.
        expires_at: String,
    },
}

impl From<Started> for OauthStarted {
    fn from(started: Started) -> Self {
        match started {
            Started::Browser { url, expires_at } => {
                Self::Browser { authorization_url: url, expires_at: expires_at.to_string() }
            }
            Started::Device { flow, user_code, verification_uri, verification_uri_complete, interval, expires_at } => {
                Self::Device {
                    device: flow,
                    user_code,
                    verification_uri,
                    verification_uri_complete,
                    interval_seconds: interval,
                    expires_at: expires_at.to_string(),
                }
            }
        }
    }
}

/// The provider's answer, as it came to the caller's redirect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OauthFinishBody {
    /// Names the authorisation.
    #[schema(value_type = String)]
    pub(crate) state: SecretValue,
    /// What the provider gave.
    #[schema(value_type = Option<String>)]
    pub(crate) code: Option<SecretValue>,
    /// Who answers (RFC 9207).
    pub(crate) iss: Option<String>,
    /// Why there is no code.
    pub(crate) error: Option<String>,
}

impl WireBody for OauthFinishBody {
    const QUOTE: Quote = Quote::Never;
}

/// Which authorisation is asked about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OauthPollBody {
    /// As it was given when it began.
    #[schema(value_type = String)]
    pub(crate) device: SecretValue,
}

impl WireBody for OauthPollBody {
    const QUOTE: Quote = Quote::Never;
}

/// Nobody has decided yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OauthUndecided {
    /// Ask again after so many seconds.
    pub(crate) interval_seconds: u64,
}

/// The provider's answer in the address that the browser came back with. What else a provider puts there is passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct OauthCallbackQuery {
    pub(crate) state: SecretValue,
    pub(crate) code: Option<SecretValue>,
    pub(crate) iss: Option<String>,
    pub(crate) error: Option<String>,
}

/// The authorisation behind a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrantBody {
    /// Who issued the tokens.
    pub(crate) issuer: String,
    /// What was granted.
    pub(crate) scopes: Vec<String>,
    /// When the present access token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    /// `good`, or `lapsed`: then a person has to authorise again.
    pub(crate) standing: &'static str,
}

impl From<Grant> for GrantBody {
    fn from(grant: Grant) -> Self {
        let standing = match grant.standing {
            Standing::Good => "good",
            Standing::Lapsed => "lapsed",
        };
        let expires_at = grant.expires_at.map(|at| at.to_string());
        Self { issuer: grant.issuer, scopes: grant.scopes, expires_at, standing }
    }
}
