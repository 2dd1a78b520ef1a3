//! `sophon update`.

use super::install::{Package, Read, analysed, note_positions, note_warnings, shown, wished_streams};
use super::part;
use crate::arguments::InTenant;
use crate::context::Context;
use crate::door::Door;
use crate::error::CliError;
use clap::Args;
use http::Method;
use serde_json::{Map, Value};
use sophon_skill::StreamGrant;
use std::process::ExitCode;

/// Install a newer version of a skill, keeping what was granted and set.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The skill's name.
    name: String,
    #[command(flatten)]
    package: Package,
    /// Let in a package that nobody trusted has signed. Recorded in the audit log.
    #[arg(long)]
    dangerously_allow_unsigned: bool,
    #[command(flatten)]
    tenant: InTenant,
}

impl Update {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let read = self.package.read()?;
        let report = analysed(&read.archive);
        note_warnings(context, report.as_ref());
        let config = context.config()?;
        crate::telemetry::quiet(&config.log)?;
        let door = Door::open(context, self.tenant.clone().into()).await?;
        let updated = self.update(context, &door, read).await;
        let closed = door.close().await;
        let answer = updated?;
        closed?;
        shown(context, &answer)?;
        note_positions(context, report.as_ref());
        Ok(ExitCode::SUCCESS)
    }

    async fn update(&self, context: &Context, door: &Door, read: Read) -> Result<Value, CliError> {
        let before = door.json(Method::GET, &format!("/v1/skills/{}", part(&self.name)), None).await?.value;
        // A package that is let in whoever signed it is nobody's update.
        let streams = if self.dangerously_allow_unsigned { Vec::new() } else { kept_streams(&read, &before) };
        let mut body = self.package.body(context, read, streams)?;
        body.insert("dangerously_allow_unsigned".into(), self.dangerously_allow_unsigned.into());
        keep(&mut body, &before);
        Ok(door.json(Method::POST, "/v1/skills", Some(&body.into())).await?.value)
    }
}

/// The connections that are no HTTP, that were granted before and that the new package asks for as well; where both are
/// signed. The host lets in no other publisher's package under the name.
fn kept_streams(read: &Read, before: &Value) -> Vec<StreamGrant> {
    if !before["publisher"].is_string() || read.envelope.is_none() {
        return Vec::new();
    }
    let wished = wished_streams(&read.archive);
    let granted = before["allow_streams"].as_array().into_iter().flatten();
    let granted = granted.filter_map(|granted| granted.as_str()?.parse::<StreamGrant>().ok());
    granted.filter(|granted| wished.iter().any(|wish| wish.admits(granted))).collect()
}

/// What was granted and set before stays, unless the command line says otherwise.
fn keep(body: &mut Map<String, Value>, before: &Value) {
    if let (Some(Value::Array(hosts)), Some(granted)) = (body.get_mut("allow_hosts"), before["allow_hosts"].as_array())
    {
        let new: Vec<Value> = granted.iter().filter(|host| !hosts.contains(host)).cloned().collect();
        hosts.extend(new);
    }
    if let (Some(Value::Object(settings)), Some(set)) = (body.get_mut("settings"), before["settings"].as_object()) {
        for (key, value) in set {
            settings.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_granted_stays_and_what_is_said_wins() {
        let Value::Object(mut body) = json!({"allow_hosts": ["b:1"], "settings": {"k": "new"}}) else { unreachable!() };
        keep(&mut body, &json!({"allow_hosts": ["a:1", "b:1"], "settings": {"k": "old", "l": "kept"}}));
        assert_eq!(Value::Object(body), json!({"allow_hosts": ["b:1", "a:1"], "settings": {"k": "new", "l": "kept"}}));
    }
}
