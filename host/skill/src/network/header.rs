//! Header fields that neither a skill nor a credential may set: the one list, which egress uses too.

/// Set by the host alone: framing, connection, host (RFC 9110, 7.6.1; RFC 9112, 6).
const HOST_SET: [&str; 13] = [
    "host",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "connection",
    "keep-alive",
    "http2-settings",
    "expect",
    "alt-used",
    "via",
    "max-forwards",
];

/// Fields by which frameworks let a client change method, path, host or origin address after the fact.
const OVERRIDES: [&str; 12] = [
    "forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-host",
    "x-original-method",
    "x-rewrite-url",
    "x-host",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
];

const OVERRIDE_PREFIXES: [&str; 2] = ["proxy-", "x-forwarded-"];

/// Fields that a skill may set and that say how the message is read, or what is kept of it: no place for a secret.
const CONTENT: [&str; 4] = ["accept-encoding", "range", "if-range", "slug"];

/// Words of names that say what is kept with a thing and shown with it: `Content-Disposition`, `X-Amz-Meta-Key`.
const KEPT: [&str; 3] = ["content", "meta", "metadata"];

/// Words that the name of a field has which is made for credentials: `X-Api-Key`, `Private-Token`, `X-Auth-User`.
const CREDENTIAL: [&str; 13] = [
    "authorization",
    "authentication",
    "auth",
    "apikey",
    "accesskey",
    "jwt",
    "bearer",
    "session",
    "sessionid",
    "password",
    "credential",
    "credentials",
    "cookie",
];

/// What such a word ends in: `X-TrackerToken`, `X-ClientSecret`.
const CREDENTIAL_ENDS: [&str; 3] = ["key", "token", "secret"];

/// Words of names that look alike and are something else: such a key is told to others, or chosen by the caller.
const NO_CREDENTIAL: [&str; 7] = ["idempotency", "surrogate", "cache", "partition", "routing", "public", "sort"];

/// Whether the header field `name`, in any case, is the host's alone. Some servers read `_` as `-` (CGI variables
/// cannot tell them apart), so it does not get past the list.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    let name = plain(name);
    HOST_SET.contains(&name.as_str())
        || OVERRIDES.contains(&name.as_str())
        || OVERRIDE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a credential may be attached in the header field `name`, where a person says so.
#[must_use]
pub fn may_carry_credential(name: &str) -> bool {
    // A field name of RFC 9110, section 5.1.
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        && !is_reserved_header(name)
        && !CONTENT.contains(&plain(name).as_str())
        && !plain(name).split('-').any(|word| KEPT.contains(&word))
}

/// Whether the header field `name` is made for credentials, by what it is called: nobody has to say that a placeholder may
/// stand in it. What else a skill may write into, an API may publish.
#[must_use]
pub fn is_made_for_credentials(name: &str) -> bool {
    let plain = plain(name);
    let is = |word: &str| CREDENTIAL.contains(&word) || CREDENTIAL_ENDS.iter().any(|end| word.ends_with(end));
    may_carry_credential(name)
        && plain.split('-').any(is)
        && !plain.split('-').any(|word| NO_CREDENTIAL.contains(&word))
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_17_what_an_api_may_publish_is_no_place_for_a_credential() {
        let made = |name: &str| (may_carry_credential(name), is_made_for_credentials(name));
        // As services of the public contract have them.
        for name in [
            "Authorization",
            "authorization",
            "X-Api-Key",
            "X_API_KEY",
            "apikey",
            "api-key",
            "PRIVATE-TOKEN",
            "X-Auth-Token",
            "X-Auth-Key",
            "X-Emby-Token",
            "X-Plex-Token",
            "X-Figma-Token",
            "DD-API-KEY",
            "DD-APPLICATION-KEY",
            "xi-api-key",
            "X-Redmine-API-Key",
            "Ocp-Apim-Subscription-Key",
            "X-Subscription-Token",
            "X-Shopify-Access-Token",
            "X-TrackerToken",
            "X-Gotify-Key",
            "APCA-API-KEY-ID",
            "APCA-API-SECRET-KEY",
            "AccessKey",
            "X-Session-Id",
            "X-Client-Secret",
            "Token",
            "X-MBX-APIKEY",
            "X-RapidAPI-Key",
            "Cookie",
            "X-Authorization",
            "X-Access-Token",
            "X-Vault-Token",
        ] {
            assert_eq!(made(name), (true, true), "{name}");
        }
        // Of these a person may say so.
        for name in [
            "User-Agent",
            "Referer",
            "From",
            "X-Author",
            "X-Title",
            "Tags",
            "Destination",
            "Idempotency-Key",
            "Surrogate-Key",
            "X-Cache-Key",
            "X-Monkeys",
            "X-Public-Key",
            "Accept",
            "Link",
        ] {
            assert_eq!(made(name), (true, false), "{name}");
        }
        // Of these nobody.
        for name in [
            "Content-Disposition",
            "content_disposition",
            "Content-Type",
            "Content-Key",
            "Slug",
            "X-Amz-Meta-Api-Key",
            "x-goog-meta-token",
            "X-Object-Meta-Secret",
            "x-ms-meta-key",
            "X-Metadata-Key",
            "Range",
            "Host",
            "X-Forwarded-Key",
            "",
        ] {
            assert_eq!(made(name), (false, false), "{name}");
        }
    }
}
