//! Random identifiers: 128 bits from the host's [`Entropy`](crate::Entropy), so that nobody can guess or reuse one. Those of
//! calls begin with the time, so that rows under them are added where the last ones are, and 80 bits are random.

use crate::digest::write_hex;
use crate::{Entropy, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Text that is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {kind}: expected {prefix:?} and 32 lower-case hexadecimal digits")]
pub struct IdError {
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A fresh identifier.
            #[must_use]
            pub fn mint(entropy: &dyn Entropy) -> Self {
                Self(entropy.bytes())
            }

            /// An identifier from 16 bytes that came from elsewhere (a `traceparent`, a row).
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = IdError { kind: $kind, prefix: $prefix };
                let digits = text.strip_prefix($prefix).ok_or_else(|| error.clone())?;
                if digits.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(error);
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_not_hex| error)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// One call of a tool.
    CallId = "call_", "a call id";
    /// An API key (not the key's secret).
    KeyId = "key_", "a key id";
    /// A session of an agent; minted by the host.
    SessionId = "ses_", "a session id";
    /// A question to a person.
    ApprovalId = "apr_", "an approval id";
    /// A standing yes of a person.
    GrantId = "grt_", "a grant id";
    /// A call that comes round.
    ScheduleId = "sch_", "a schedule id";
    /// Several calls that were asked for at once.
    PlanId = "plan_", "a plan id";
    /// Everything that one request caused. The digits are a W3C trace id (`traceparent`, version 00).
    CorrelationId = "", "a correlation id";
}

impl CallId {
    /// A fresh identifier that sorts by time: 48 bits of milliseconds since 1970, then 80 random bits (the layout of a
    /// UUID of version 7, RFC 9562, without its fixed bits).
    #[must_use]
    pub fn mint_at(now: Timestamp, entropy: &dyn Entropy) -> Self {
        let millis = now.as_micros().div_euclid(1000).to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis[2..]);
        bytes[6..].copy_from_slice(&entropy.bytes::<10>());
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Same;

    impl Entropy for Same {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    #[test]
    fn calls_sort_by_time_and_are_random_beyond_it() {
        let at = |millis: i64| CallId::mint_at(Timestamp::from_micros(millis * 1000 + 999), &Same);
        assert_eq!(
            at(0x0102_0304_0506).as_bytes(),
            &[1, 2, 3, 4, 5, 6, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert!(at(1_769_850_000_000) < at(1_769_850_000_001));
        assert!(at(1_769_850_000_000).to_string() < at(1_769_850_000_001).to_string());
    }

    #[test]
    fn round_trips_and_refuses_other_kinds() {
        let id = CallId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), format!("call_{}", "ab".repeat(16)));
        assert_eq!(id.to_string().parse::<CallId>(), Ok(id));
        assert!(id.to_string().parse::<KeyId>().is_err());
        assert!("call_AB".parse::<CallId>().is_err());
    }
}
