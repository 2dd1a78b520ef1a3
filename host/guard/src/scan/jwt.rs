//! What a JSON Web Token says, and whether it lets anybody in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Claims with a meaning of their own (RFC 7519, section 4.1): whoever writes one means to let somebody in.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// Whether the claims of `token` can be read and name nobody and nothing: no registered claim, and no value but
/// fractions, truth values and nothing at all. That is data which somebody signed, such as a score, and no credential.
/// What cannot be read counts as a credential.
pub(super) fn names_nobody(token: &[u8]) -> bool {
    let Some(claims) = claims(token) else { return false };
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(_) => true,
        // A whole number may be the id of a user.
        Value::Number(number) => number.is_f64(),
        Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    };
    claims.iter().all(|(name, value)| !REGISTERED.contains(&name.as_str()) && says_nothing(value))
}

fn claims(token: &[u8]) -> Option<Map<String, Value>> {
    let payload = token.split(|byte| *byte == b'.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_claims_that_can_be_read_and_name_nobody_are_no_credential() {
        let token = |claims: &str| format!("eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims));
        for harmless in [r#"{"confidence":0.8}"#, r#"{"spam":true,"score":0.25,"reason":null}"#] {
            assert!(names_nobody(token(harmless).as_bytes()), "{harmless}");
        }
        for telling in [
            r#"{"sub":null}"#,
            r#"{"exp":1.5}"#,
            r#"{"score":0.5,"user":"ann"}"#,
            r#"{"user_id":7}"#,
            r#"{"roles":["admin"]}"#,
            r#"["no claims"]"#,
            "not JSON",
        ] {
            assert!(!names_nobody(token(telling).as_bytes()), "{telling}");
        }
        for unreadable in ["eyJhbGciOiJIUzI1NiJ9", "eyJh.%%%.x", "a..b", ""] {
            assert!(!names_nobody(unreadable.as_bytes()), "{unreadable}");
        }
    }
}
