//! One file a verb: what the command line takes, what it asks of the host, how the answer is shown.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod credential;
pub(crate) mod disable;
pub(crate) mod disconnect;
pub(crate) mod doctor;
pub(crate) mod enable;
pub(crate) mod events;
pub(crate) mod inspect;
pub(crate) mod install;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod remove;
pub(crate) mod schedules;
pub(crate) mod serve;
pub(crate) mod sign;
pub(crate) mod test;
pub(crate) mod tools;
pub(crate) mod update;
pub(crate) mod verify;

use crate::arguments::{ForUser, OfPage};
use crate::context::Context;
use crate::door::{Acting, Door};
use crate::error::CliError;
use crate::output::table;
use http::Method;
use serde_json::Value;

/// Asks one thing of the host and lets go of it again.
pub(crate) async fn ask(
    context: &Context,
    acting: impl Into<Acting>,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, CliError> {
    let config = context.config()?;
    crate::telemetry::quiet(&config.log)?;
    let door = Door::open(context, acting.into()).await?;
    let answer = door.json(method, path, body).await;
    // The answer counts; that letting go failed is only the error where there is no other.
    let closed = door.close().await;
    let answer = answer?;
    closed?;
    Ok(answer.value)
}

/// One part of a path, percent-encoded (RFC 3986, section 2.3).
pub(crate) fn part(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// A query string of the values that are there.
pub(crate) fn query(values: &[(&str, Option<String>)]) -> String {
    let pairs: Vec<String> = values
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", part(value))))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// Shows a page of the list that stands at a path under a name, and says how to see the next one.
pub(crate) async fn listed(
    context: &Context,
    acting: ForUser,
    (path, name): (&str, &str),
    (mut values, page): (Vec<(&str, Option<String>)>, OfPage),
    fields: &[&str],
) -> Result<(), CliError> {
    values.extend([("after", page.after), ("limit", page.limit.map(|limit| limit.to_string()))]);
    let answer = ask(context, acting, Method::GET, &format!("{path}{}", query(&values)), None).await?;
    context.output().data(&answer, |value| table(&value[name], fields))?;
    if let Some(next) = answer["next"].as_str() {
        context.output().note(&format!("more: --after {next}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_leaves_its_part_of_the_path() {
        assert_eq!(part("github-issues.list_issues"), "github-issues.list_issues");
        assert_eq!(part("../v1/keys?x=1&y#z%"), "..%2Fv1%2Fkeys%3Fx%3D1%26y%23z%25");
        assert_eq!(query(&[("a", Some("x y".into())), ("b", None)]), "?a=x%20y");
        assert_eq!(query(&[("b", None)]), "");
    }
}
