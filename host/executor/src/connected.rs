//! What the connections of a native skill put beside the arguments of a call.
//!
//! The public contract hands a skill one object that holds both. Promise: no field hides an argument that a person saw. What is
//! not secret, no address, and a parameter of the tool as well is a default: an argument of that name goes before it. Any other
//! field is not for a call to change, and an argument of its name is refused.

use crate::catalogue::Ready;
use crate::run::Run;
use crate::{CallError, Executor};
use serde_json::{Map, Value};
use sophon_approval::{AssessedCall, FromConnection};
use sophon_egress::{EgressSession, FieldValue, TokenRefused, shared_fields};
use sophon_sandbox::{RunFailure, ToolErrorKind};
use sophon_skill::{Field, FieldKind, Manifest, Protocol, Runtime, Tool};
use sophon_types::{Principal, ServiceName};

/// The fields that a manifest declares of the connection to `service`.
fn declared<'m>(manifest: &'m Manifest, service: &ServiceName) -> &'m [Field] {
    let integration = manifest.integration.as_ref().filter(|integration| integration.service == *service);
    integration.map_or(&[], |integration| &integration.fields)
}

/// Whether a plain field is what the tool takes where a call says nothing. Where requests go to is never left to a call.
fn is_default(tool: &Tool, declared: &[Field], name: &str) -> bool {
    let is_address = declared.iter().any(|field| field.key == name && field.kind == FieldKind::Url);
    !is_address && tool.parameters["properties"].get(name).is_some()
}

/// Whether arguments and fields stand in one object. A component has no fields, and an MCP server is sent the arguments alone.
fn are_together(manifest: &Manifest) -> bool {
    manifest.runtime != Runtime::Wasm && manifest.protocol == Protocol::Params
}

fn is_given(arguments: &Value, name: &str) -> bool {
    arguments.get(name).is_some_and(|argument| !argument.is_null())
}

impl Executor {
    /// Refuses an argument that has the name of a field which is no default.
    pub(crate) async fn check_connected(
        &self,
        principal: &Principal,
        ready: &Ready,
        index: usize,
        arguments: &Value,
    ) -> Result<(), CallError> {
        let manifest = ready.skill.manifest();
        let tool = &manifest.tools[index];
        if !are_together(manifest) || arguments.as_object().is_none_or(Map::is_empty) {
            return Ok(());
        }
        for used in manifest.services() {
            let found = self.0.parts.vault.public(&principal.tenant, &principal.user, &used.service).await?;
            let Some(found) = found else { continue };
            let declared = declared(manifest, &used.service);
            let fixed = shared_fields(&found, used.access, declared).into_iter().find(|field| {
                is_given(arguments, &field.name) && !(field.is_plain && is_default(tool, declared, &field.name))
            });
            if let Some(field) = fixed {
                let (tool, service) = (tool.name.clone(), used.service);
                return Err(CallError::ArgumentIsConnected { tool, argument: field.name, service });
            }
        }
        Ok(())
    }

    /// The fields that a tool takes of its connections where a call gives no argument of that name.
    pub(crate) async fn defaults(
        &self,
        principal: &Principal,
        manifest: &Manifest,
        tool: &Tool,
    ) -> Result<Vec<FromConnection>, CallError> {
        let mut defaults = Vec::new();
        if !are_together(manifest) {
            return Ok(defaults);
        }
        for used in manifest.services() {
            let found = self.0.parts.vault.public(&principal.tenant, &principal.user, &used.service).await?;
            let Some(found) = found else { continue };
            let declared = declared(manifest, &used.service);
            let plain = shared_fields(&found, used.access, declared).into_iter().filter(|field| field.is_plain);
            defaults.extend(plain.filter(|field| is_default(tool, declared, &field.name)).map(|field| {
                FromConnection {
                    field: field.name,
                    service: used.service.clone(),
                    owner: found.owner.as_str().to_owned(),
                    version: found.version,
                }
            }));
        }
        Ok(defaults)
    }

    /// Those that this call takes.
    pub(crate) async fn taken(&self, call: &AssessedCall) -> Result<Vec<FromConnection>, CallError> {
        let asked = call.request();
        let mut taken = self.defaults(&asked.principal, call.skill().manifest(), call.tool()).await?;
        taken.retain(|default| default.is_taken(asked.arguments.value()));
        Ok(taken)
    }
}

impl Run {
    /// The fields of the connections, as the public contract has them: side by side, and beside `arguments`. Secret ones are
    /// placeholders.
    pub(crate) async fn fields(
        &self,
        session: &EgressSession,
        arguments: &Value,
    ) -> Result<Map<String, Value>, RunFailure> {
        let manifest = self.ready.skill.manifest();
        let tool = &manifest.tools[self.index];
        let denied = |message: String| RunFailure::Tool { kind: ToolErrorKind::Denied, message };
        let together = are_together(manifest);
        let mut fields = Map::new();
        for used in manifest.services() {
            let declared = declared(manifest, &used.service);
            let found = match session.connection_fields(&used.service, declared).await {
                Ok(found) => found,
                Err(TokenRefused::NotConnected(_)) if !used.required && !self.takes_of(&used.service) => continue,
                Err(TokenRefused::Host(error)) => return Err(RunFailure::Host { cause: error.to_string() }),
                Err(refused) => {
                    let how = format!("a person connects it: sophon credential set {}", used.service);
                    return Err(denied(format!("{refused}; {how}")));
                }
            };
            // What a person saw, or what is on record, is of one version; another may say something else.
            let mut taken = Vec::new();
            for (name, value) in found.values {
                let is_default = matches!(value, FieldValue::Plain(_)) && is_default(tool, declared, &name);
                match (together && is_given(arguments, &name), is_default) {
                    (true, true) => {}
                    // Connected anew since the arguments were checked.
                    (true, false) => {
                        let what =
                            format!("the argument {name:?} is a field of the connection of {} now", used.service);
                        return Err(denied(what));
                    }
                    (false, is_default) => {
                        if together && is_default {
                            taken.push(FromConnection {
                                field: name.clone(),
                                service: used.service.clone(),
                                owner: found.owner.as_str().to_owned(),
                                version: found.version,
                            });
                        }
                        fields.insert(name, value.text().into());
                    }
                }
            }
            let recorded = self.defaults.iter().filter(|default| default.service == used.service);
            if !FromConnection::are_the_same(&taken, &recorded.cloned().collect::<Vec<_>>()) {
                let what = format!("the connection of {} was changed after the call was recorded", used.service);
                return Err(denied(what));
            }
        }
        Ok(fields)
    }

    fn takes_of(&self, service: &ServiceName) -> bool {
        self.defaults.iter().any(|default| default.service == *service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_takes_as_well_is_a_default_unless_it_is_an_address() {
        let manifest = Manifest::parse(
            br#"{"name": "zones", "version": "1.0.0", "author": "A", "license": "MIT", "description": "d",
                "category": "utility", "runtime": "python", "entrypoint": "main.py",
                "integration": {"service": "zones", "fields": [
                    {"key": "zone", "type": "text"}, {"key": "base", "type": "url"}, {"key": "user", "type": "text"}]},
                "tools": [{"name": "purge", "description": "d", "riskLevel": "high", "parameters":
                    {"type": "object", "properties": {"zone": {"type": "string"}, "base": {"type": "string"}}}}]}"#,
        )
        .unwrap();
        let fields = declared(&manifest, &"zones".parse().unwrap());
        let check = |name: &str| is_default(&manifest.tools[0], fields, name);
        assert_eq!((check("zone"), check("base"), check("user")), (true, false, false));
        assert!(declared(&manifest, &"other".parse().unwrap()).is_empty());
        let given = serde_json::json!({"zone": null, "user": ""});
        assert!(!is_given(&given, "zone") && is_given(&given, "user") && !is_given(&given, "base"));
    }
}
