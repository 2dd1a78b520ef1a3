//! What joins everything that one request caused: the trace id of a valid W3C `traceparent`, else a fresh one.

use http::HeaderMap;
use sophon_types::{CorrelationId, Entropy};

/// The header in which the correlation id goes back.
pub(crate) const HEADER: &str = "x-correlation-id";

/// The correlation id of a request.
pub(crate) fn of(headers: &HeaderMap, entropy: &dyn Entropy) -> CorrelationId {
    let mut sent = headers.get_all("traceparent").iter();
    // Two of them contradict each other; the recommendation says to start afresh.
    match (sent.next(), sent.next()) {
        (Some(value), None) => value.to_str().ok().and_then(trace_id),
        _ => None,
    }
    .unwrap_or_else(|| CorrelationId::mint(entropy))
}

/// The trace id of a `traceparent` (W3C Trace Context, section 3.2): `version-trace-parent-flags`, lower-case
/// hexadecimal, neither id all zero, version not `ff`; only a version above `00` may have more behind it.
fn trace_id(text: &str) -> Option<CorrelationId> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let well_formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    if !well_formed || version == "ff" || zero(trace) || zero(parent) || (version == "00" && parts.next().is_some()) {
        return None;
    }
    trace.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_valid_traceparents() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for good in [
            format!("00-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-00"),
            format!("01-{trace}-00f067aa0ba902b7-01-more"),
        ] {
            assert_eq!(trace_id(&good).map(|id| id.to_string()).as_deref(), Some(trace), "{good}");
        }
        for bad in [
            String::new(),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}\u{00e4}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(trace_id(&bad), None, "{bad}");
        }
    }
}
