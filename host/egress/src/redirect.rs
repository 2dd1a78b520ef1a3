//! What a redirect turns a request into (RFC 9110, 15.4), followed by hand so that every hop is admitted anew.
//!
//! Promise: https never becomes http, and what the skill or the host attached for one origin does not travel to
//! another. Once the origin was left, the credential stays off, also where the chain comes back.

use crate::EgressLimits;
use crate::admit::{AllowedRequest, HttpRequest};
use crate::connection::Answer;
use crate::error::{Denial, HttpError, brief};
use crate::headers;
use http::{StatusCode, header};
use sophon_skill::Scheme;

/// The request that `answer` asks for; nothing where it is no redirect.
pub(crate) fn next_hop(
    request: &HttpRequest,
    sent: &AllowedRequest,
    answer: &Answer,
    limits: &EgressLimits,
) -> Result<Option<HttpRequest>, HttpError> {
    let Some(location) = location(answer)? else { return Ok(None) };
    let target = sent.checked_url().join(location, limits.url_bytes).map_err(|refusal| {
        Denial::new(refusal.code(), format_args!("the redirect is not followed: {refusal}")).hint(refusal.hint())
    })?;
    if sent.checked_url().scheme() == Scheme::Https && target.scheme() == Scheme::Http {
        return Err(Denial::new(
            "redirect_downgrade",
            format_args!("the redirect from https to {} is not followed", brief(target.redacted())),
        )
        .hint("request the final address itself, over https")
        .into());
    }
    let mut next = request.clone();
    next.url = target.as_str().to_owned();
    if becomes_get(answer.status, sent.method().as_str()) {
        if next.method != "HEAD" {
            next.method = "GET".to_owned();
        }
        next.body = None;
        headers::drop_body_fields(&mut next.headers);
    }
    if !target.same_origin(sent.checked_url()) {
        headers::keep_for_other_origin(&mut next.headers);
        next.credential = None;
    }
    Ok(Some(next))
}

fn location(answer: &Answer) -> Result<Option<&str>, HttpError> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut values = answer.headers.get_all(header::LOCATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HttpError::Protocol("the redirect names more than one target".into()));
    }
    std::str::from_utf8(value.as_bytes())
        .map(Some)
        .map_err(|_not_text| HttpError::Protocol("the redirect's target is not text".into()))
}

fn becomes_get(status: StatusCode, method: &str) -> bool {
    match status.as_u16() {
        303 => true,
        301 | 302 => method == "POST",
        _ => false,
    }
}
