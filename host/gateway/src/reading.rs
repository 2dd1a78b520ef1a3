//! What a limit says of itself: the fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
//!
//! `q` is what may be sent at once, `w` the seconds in which as much comes back; `r` is what is left of it, `t` the seconds
//! until all of it is back, or, where nothing is left, until the next request is let in: what `Retry-After` says too.

use crate::error::whole_seconds;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Where a limit stands after a request that it let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub(crate) policy: &'static str,
    pub(crate) quota: u32,
    pub(crate) window: u64,
    pub(crate) remaining: u32,
    pub(crate) reset: u64,
}

/// A limit that did not let a request in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When the next one will be let in.
    pub(crate) retry_after: Duration,
    pub(crate) policy: &'static str,
    pub(crate) quota: u32,
    pub(crate) window: u64,
}

impl Refused {
    pub(crate) fn reading(self) -> Reading {
        let Self { retry_after, policy, quota, window } = self;
        Reading { policy, quota, window, remaining: 0, reset: whole_seconds(retry_after) }
    }
}

impl Reading {
    /// Adds it to what the fields say already.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let Self { policy, quota, window, remaining, reset } = self;
        add(headers, POLICY, format!("\"{policy}\";q={quota};w={window}"));
        add(headers, LIMIT, format!("\"{policy}\";r={remaining};t={reset}"));
    }
}

fn add(headers: &mut HeaderMap, name: HeaderName, item: String) {
    let before = headers.get(&name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = before.map_or_else(|| item.clone(), |before| format!("{before}, {item}"));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_limits_stand_in_one_field() {
        let mut headers = HeaderMap::new();
        Reading { policy: "user", quota: 600, window: 6, remaining: 599, reset: 1 }.write(&mut headers);
        let refused = Refused { retry_after: Duration::from_millis(1500), policy: "tool", quota: 5, window: 30 };
        refused.reading().write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"user\";q=600;w=6, \"tool\";q=5;w=30");
        assert_eq!(headers["ratelimit"], "\"user\";r=599;t=1, \"tool\";r=0;t=2");
    }
}
