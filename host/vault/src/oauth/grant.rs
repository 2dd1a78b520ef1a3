//! What is public about an OAuth connection: who issued its tokens, for what, and how long they last.

use serde::{Deserialize, Serialize};
use sophon_types::Timestamp;
use std::time::Duration;

/// The field that authorises requests.
pub(crate) const ACCESS_TOKEN: &str = "access_token";
/// The field that never leaves the vault but for the token endpoint.
pub(crate) const REFRESH_TOKEN: &str = "refresh_token";

/// The longest time before its end at which a token is renewed: clocks differ, and a request takes its time.
const MARGIN: Duration = Duration::from_secs(60);
/// How far this host's clock may have been set back before what it says of a token's age is not believed.
const SKEW: Duration = Duration::from_secs(60);

/// Whether the authorisation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Tokens can be renewed, or last.
    Good,
    /// The provider takes the refresh token no longer: a person has to authorise again.
    Lapsed,
}

/// The authorisation behind a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who issued the tokens.
    pub issuer: String,
    /// What was granted, as far as the provider said.
    pub scopes: Vec<String>,
    /// When the access token came, by this host's clock.
    pub obtained_at: Timestamp,
    /// When it ends, by the same clock; `None` where the provider did not say.
    pub expires_at: Option<Timestamp>,
    /// Whether it can be renewed.
    pub standing: Standing,
}

impl Grant {
    /// Whether the access token is at its end, or near it: within a quarter of its life, at most a minute.
    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        let Some(end) = self.expires_at else { return false };
        let margin = MARGIN.min(end.since(self.obtained_at) / 4);
        // A clock that was set back would keep a dead token alive.
        now.plus(margin) >= end || now.plus(SKEW) < self.obtained_at
    }

    /// Whether the access token is certainly of no use any more.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end || now.plus(SKEW) < self.obtained_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_its_end_and_whatever_the_clock_did() {
        let at = |seconds: i64| Timestamp::from_micros((1_000_000 + seconds) * 1_000_000);
        let grant = |life: Option<i64>| Grant {
            issuer: "https://id.example.com".into(),
            scopes: vec![],
            obtained_at: at(0),
            expires_at: life.map(at),
            standing: Standing::Good,
        };
        let hour = grant(Some(3600));
        assert!(!hour.is_stale(at(0)) && !hour.is_stale(at(3539)));
        assert!(hour.is_stale(at(3541)) && !hour.is_over(at(3541)));
        assert!(hour.is_over(at(3600)));
        let short = grant(Some(8));
        assert!(!short.is_stale(at(5)) && short.is_stale(at(6)));
        // Set back a little: tolerated. Set back by an hour: the token is not taken for young.
        assert!(!hour.is_stale(at(-30)));
        assert!(hour.is_stale(at(-3600)) && hour.is_over(at(-3600)));
        assert!(!grant(None).is_stale(at(1_000_000_000)));
    }
}
