//! `sophon credential`.

use super::install::key_and_value;
use super::{ask, part};
use crate::arguments::ForUser;
use crate::context::Context;
use crate::door::Door;
use crate::error::CliError;
use crate::output::{field, is_interactive, plain as plainly, table};
use crate::secret_input;
use clap::{Args, Subcommand};
use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Credentials of services. Values are read from standard input or a hidden prompt, never from the command line.
#[derive(Debug, Args)]
pub(crate) struct Credential {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Connect an account: a JSON object of fields, or one value, on standard input; else a hidden prompt.
    Set(Box<Set>),
    /// List the connected accounts, without values.
    List {
        #[command(flatten)]
        acting: ForUser,
    },
    /// Seal every credential under a new vault key. The gateway must not run. Where the key is not in a file, the new one
    /// is read from `SOPHON_VAULT_NEW_KEY` or `SOPHON_VAULT_NEW_PASSPHRASE`.
    Rotate,
    /// Forget an account.
    Remove {
        /// The service.
        service: String,
        #[command(flatten)]
        acting: ForUser,
    },
}

#[derive(Debug, Args)]
struct Set {
    /// The service, such as `github`.
    service: String,
    /// The field that the value is for; more than one are asked for one after the other [default: those that the installed
    /// skills of the service declare, else token].
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// The only hosts that it may travel to: `host[:port]` [default: exact hosts of the manifest and
    /// grants decide; wildcards do not].
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Attach it in a header of this name instead of as a bearer token.
    #[arg(long, value_name = "NAME", conflicts_with = "basic")]
    header: Option<String>,
    /// What stands before the value in that header, such as `Token `.
    #[arg(long, requires = "header", default_value = "")]
    prefix: String,
    /// Attach it as HTTP Basic, from two fields.
    #[arg(long, value_name = "USER_FIELD:PASSWORD_FIELD")]
    basic: Option<String>,
    /// Never attach it; it is used where the skill's requests hold its placeholder.
    #[arg(long, conflicts_with_all = ["basic", "header"])]
    placeholders: bool,
    /// A field that is not secret, such as a URL or a user's name; on a terminal it is asked of those that the
    /// installed skills of the service declare as none.
    #[arg(long, value_name = "FIELD")]
    plain: Vec<String>,
    /// Where the placeholder of a field may stand besides header fields that are made for credentials: `header:NAME`, `path`,
    /// `query:NAME`, `form:NAME` or `json:KEY`; `url`: the field is a URL as a whole, such as a webhook's.
    #[arg(long = "place", value_name = "FIELD=PLACE", value_parser = key_and_value)]
    places: Vec<(String, String)>,
    /// How the placeholder of a field has to look, such as `{}:fx`.
    #[arg(long = "shape", value_name = "FIELD=SHAPE", value_parser = key_and_value)]
    shapes: Vec<(String, String)>,
    #[command(flatten)]
    acting: ForUser,
}

impl Credential {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let output = context.output();
        match self.verb {
            Verb::Set(set) => {
                let config = context.config()?;
                crate::telemetry::quiet(&config.log)?;
                let door = Door::open(context, set.acting.clone().into()).await?;
                let connected = set.connect(context, &door).await;
                let closed = door.close().await;
                let answer = connected?;
                closed?;
                output.data(&answer, |_value| String::new())?;
                output.note(&format!("{} is connected", set.service));
            }
            Verb::List { acting } => {
                let answer = ask(context, acting, Method::GET, "/v1/credentials", None).await?;
                let columns = ["service", "owner", "fields", "hosts", "version", "updated_at"];
                output.data(&answer, |value| table(&value["connections"], &columns))?;
            }
            Verb::Rotate => {
                crate::house::rotate(context).await?;
                output.data(&json!({"rotated": true}), |_value| String::new())?;
                output.note("every credential is sealed under the new key");
            }
            Verb::Remove { service, acting } => {
                let path = format!("/v1/credentials/{}?owner={}", part(&service), owner(&acting));
                ask(context, acting, Method::DELETE, &path, None).await?;
                output.data(&json!({"service": service, "removed": true}), |_value| String::new())?;
                output.note(&format!("{service} is forgotten"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A place that the source of a skill puts a secret into.
struct Proposed {
    field: String,
    position: String,
    /// The skill, and where in its source.
    place: String,
}

/// A field that an installed skill declares of the service.
#[derive(Debug, PartialEq, Eq)]
struct Declared {
    key: String,
    label: String,
    is_secret: bool,
    is_required: bool,
}

/// What the installed skills that integrate the service declare of it. A field that one of them calls a secret is one.
fn of_service(skills: &Value, service: &str) -> Vec<Declared> {
    let mut found: Vec<Declared> = Vec::new();
    let skills = skills["skills"].as_array().into_iter().flatten();
    let integrations = skills.map(|skill| &skill["integration"]).filter(|of| of["service"] == service);
    for declared in integrations.flat_map(|of| of["fields"].as_array().into_iter().flatten()) {
        let (key, is_secret) = (field(declared, "key"), declared["type"] == "secret");
        match found.iter_mut().find(|known| known.key == key) {
            Some(known) => known.is_secret |= is_secret,
            None => found.push(Declared {
                label: field(declared, "label"),
                is_required: declared["required"] == true,
                key,
                is_secret,
            }),
        }
    }
    found
}

/// Whether a field is a secret by its name, whatever a manifest says: that is its author's word.
fn sounds_secret(key: &str) -> bool {
    const ENDS: [&str; 9] =
        ["token", "secret", "password", "passphrase", "apikey", "accesskey", "privatekey", "webhook", "webhookurl"];
    let name: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    ENDS.iter().any(|end| name.ends_with(end))
}

impl Set {
    async fn connect(&self, context: &Context, door: &Door) -> Result<Value, CliError> {
        let attach = self.attach()?;
        let skills = door.json(Method::GET, "/v1/skills", None).await?.value;
        let declared = of_service(&skills, &self.service);
        let plain = self.plain(&declared)?;
        let fields = fields(&self.fields, &declared, &plain)?;
        let mut body = Map::new();
        body.insert("owner".into(), owner(&self.acting).into());
        if let Some(attach) = attach {
            body.insert("attach".into(), attach);
        }
        if !self.hosts.is_empty() {
            body.insert("hosts".into(), json!(self.hosts));
        }
        if !plain.is_empty() {
            body.insert("plain".into(), json!(plain));
        }
        let mut places = self.places.clone();
        let mut proposed = Vec::new();
        if places.is_empty() {
            proposed = self.proposed(door, &skills).await?;
            proposed.retain(|found| fields.get(&found.field).is_some() && !plain.contains(&found.field));
            if is_interactive() {
                places = chosen(context, std::mem::take(&mut proposed))?;
            }
        }
        body.insert("placeholders".into(), self.placing(&places));
        let given: Vec<String> = fields.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        body.insert("fields".into(), fields);
        let path = format!("/v1/credentials/{}", part(&self.service));
        // Before the request: a value that is too short for a secret is refused, and this says why it was one.
        let kept = |field: &&Declared| given.contains(&field.key) && !plain.contains(&field.key) && !is_interactive();
        let kept: Vec<&Declared> = self.may_be_plain(&declared).filter(kept).collect();
        if !kept.is_empty() {
            let output = context.output();
            output.note("Its skills call these no secret, and get placeholders of them. Where they may read them:");
            for Declared { key, label, .. } in &kept {
                output.note(&format!("  --plain {key} ({})", plainly(label)));
            }
        }
        let mut answer = door.json(Method::PUT, &path, Some(&body.into())).await?.value;
        if !kept.is_empty() {
            answer["proposed_plain"] = kept.iter().map(|field| field.key.as_str()).collect();
        }
        if !proposed.is_empty() {
            // Nobody was asked, so nothing of it holds.
            let output = context.output();
            output.note(
                "A skill puts secrets of it into these places, and they may not stand there. Where that is meant:",
            );
            for found in &proposed {
                output.note(&format!("  --place {}={} ({})", found.field, found.position, found.place));
            }
            let listed =
                |found: &Proposed| json!({"field": found.field, "position": found.position, "place": found.place});
            answer["proposed_places"] = proposed.iter().map(listed).collect();
        }
        Ok(answer)
    }

    /// Where the sources of the tenant's skills put secrets of the service.
    async fn proposed(&self, door: &Door, skills: &Value) -> Result<Vec<Proposed>, CliError> {
        let mut proposed: Vec<Proposed> = Vec::new();
        for skill in skills["skills"].as_array().into_iter().flatten() {
            let name = field(skill, "name");
            // One that cannot be read proposes nothing.
            let Ok(found) = door.json(Method::GET, &format!("/v1/skills/{}/analysis", part(&name)), None).await else {
                continue;
            };
            let positions = found.value["positions"].as_array().cloned().unwrap_or_default();
            for found in positions.iter().filter(|found| found["service"] == self.service.as_str()) {
                let (of, position) = (field(found, "field"), field(found, "position"));
                let known = proposed.iter().any(|known| known.field == of && known.position == position);
                if !known {
                    let place = format!("{name}: {}", field(found, "place"));
                    proposed.push(Proposed { field: of, position, place });
                }
            }
        }
        Ok(proposed)
    }

    /// The fields that installed skills call no secret, and of which nothing else says that they are one. That is the word of
    /// their authors, so none of them is plain before a person says so.
    fn may_be_plain<'d>(&'d self, declared: &'d [Declared]) -> impl Iterator<Item = &'d Declared> {
        let attached = |key: &str| match (&self.basic, self.fields.as_slice()) {
            (Some(basic), _) => basic.split_once(':').is_some_and(|(_, password)| password == key),
            (None, [only]) => only == key && !self.placeholders,
            _ => false,
        };
        declared.iter().filter(move |Declared { key, is_secret, .. }| {
            let placed = self.places.iter().chain(&self.shapes).any(|(field, _)| field == key);
            !*is_secret && !placed && !sounds_secret(key) && !self.plain.contains(key) && !attached(key)
        })
    }

    /// The fields that skills get as they are: those that are named so, and on a terminal those of which a person says it.
    fn plain(&self, declared: &[Declared]) -> Result<Vec<String>, CliError> {
        let mut plain = self.plain.clone();
        if is_interactive() {
            let asked_for = |key: &String| self.fields.is_empty() || self.fields.contains(key);
            for Declared { key, label, .. } in self.may_be_plain(declared).filter(|field| asked_for(&field.key)) {
                let question =
                    format!("{} ({key}): its skill calls it no secret. May skills read it? [y/N]", plainly(label));
                if matches!(crate::output::asked(&question)?.to_ascii_lowercase().as_str(), "y" | "yes") {
                    plain.push(key.clone());
                }
            }
        }
        Ok(plain)
    }

    /// Whether a field is placed as a URL as a whole, which no header holds.
    fn is_url(&self, field: &str) -> bool {
        self.places.iter().any(|(placed, place)| placed == field && place == "url")
    }

    fn placing(&self, places: &[(String, String)]) -> Value {
        let mut placing = json!({});
        for (field, place) in places {
            match placing[field]["positions"].as_array_mut() {
                Some(places) => places.push(place.as_str().into()),
                None => placing[field]["positions"] = json!([place]),
            }
        }
        for (field, shape) in &self.shapes {
            placing[field]["shape"] = shape.as_str().into();
        }
        placing
    }

    fn attach(&self) -> Result<Option<Value>, CliError> {
        if let Some(basic) = &self.basic {
            let Some((user, password)) = basic.split_once(':') else {
                return Err(CliError::usage("--basic names two fields", "--basic username:password"));
            };
            return Ok(Some(json!({"type": "basic", "user_field": user, "password_field": password})));
        }
        if self.placeholders {
            return Ok(Some(json!({"type": "placeholders"})));
        }
        let only = self.fields.first().map(String::as_str);
        Ok(match &self.header {
            Some(name) => {
                let field = only.unwrap_or("token");
                Some(json!({"type": "header", "name": name, "prefix": self.prefix, "field": field}))
            }
            None => {
                let alone = only.filter(|field| self.fields.len() == 1 && !self.is_url(field));
                alone.map(|field| json!({"type": "bearer", "field": field}))
            }
        })
    }
}

/// Asks for each place.
fn chosen(context: &Context, proposed: Vec<Proposed>) -> Result<Vec<(String, String)>, CliError> {
    if !proposed.is_empty() {
        context.output().note(
            "A skill puts secrets of it into other places than header fields that are made for credentials. They may stand \
             in those that you name.",
        );
    }
    let mut places = Vec::new();
    for Proposed { field, position, place } in proposed {
        let answer = crate::output::asked(&format!("{field}={position} ({place}): may it stand there? [y/N]"))?;
        if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
            places.push((field, position));
        }
    }
    Ok(places)
}

/// A user's own where one is named; else the tenant's, because no agent has the operator's user.
pub(super) fn owner(acting: &ForUser) -> &'static str {
    if acting.user.is_some() { "user" } else { "tenant" }
}

fn fields(names: &[String], declared: &[Declared], read: &[String]) -> Result<Value, CliError> {
    if is_interactive() && names.is_empty() && !declared.is_empty() {
        let mut values = Map::new();
        for field in declared {
            let optional = if field.is_required { "" } else { ", or nothing" };
            let question = plainly(&format!("{} ({}{optional})", field.label, field.key));
            let value = match read.contains(&field.key) {
                true => crate::output::asked(&format!("{question}:"))?,
                false => secret_input::ask(&question)?.expose_secret().to_owned(),
            };
            if !value.is_empty() {
                values.insert(field.key.clone(), value.into());
            }
        }
        return Ok(values.into());
    }
    if is_interactive() {
        let usual = ["token".to_owned()];
        let names = if names.is_empty() { &usual } else { names };
        let mut values = Map::new();
        for name in names {
            values.insert(name.clone(), secret_input::ask(name)?.expose_secret().into());
        }
        return Ok(values.into());
    }
    from_text(names, &secret_input::from_stdin()?)
}

/// With one field named, the whole text is its value, even where it is JSON; else a JSON object holds the fields; else
/// the whole text is the token.
fn from_text(names: &[String], text: &str) -> Result<Value, CliError> {
    if text.is_empty() {
        return Err(CliError::Input { message: "empty; write the value, or a JSON object of fields, to it".into() });
    }
    if let [name] = names {
        return Ok(json!({ name: text }));
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(values)) if names.iter().all(|name| values.contains_key(name)) => Ok(values.into()),
        _ if names.is_empty() => Ok(json!({"token": text})),
        _ => Err(CliError::Input { message: format!("not a JSON object with the fields {}", names.join(", ")) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_installed_skills_say_of_a_service_is_put_together() {
        let skill = |service: &str, fields: &[(&str, &str)]| {
            let fields: Vec<Value> = fields
                .iter()
                .map(|(key, kind)| json!({"key": key, "label": key.to_uppercase(), "type": kind, "required": true}))
                .collect();
            json!({"integration": {"service": service, "fields": fields}})
        };
        let skills = json!({"skills": [
            skill("svc", &[("base", "url"), ("user", "text"), ("pin", "text")]),
            skill("other", &[("else", "text")]),
            json!({"name": "none"}),
            skill("svc", &[("pin", "secret"), ("key", "secret")]),
        ]});
        let found = of_service(&skills, "svc");
        let shown: Vec<(&str, bool)> = found.iter().map(|field| (field.key.as_str(), field.is_secret)).collect();
        assert_eq!(shown, [("base", false), ("user", false), ("pin", true), ("key", true)]);
        assert_eq!(found[0].label, "BASE");
        for (key, secret) in [
            ("token", true),
            ("clientSecret", true),
            ("api_key", true),
            ("webhookUrl", true),
            ("projectKey", false),
            ("email", false),
        ] {
            assert_eq!(sounds_secret(key), secret, "{key}");
        }
    }

    #[test]
    fn what_is_written_becomes_fields() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let check = |given: &[&str], text: &str| from_text(&names(given), text).ok();
        assert_eq!(check(&[], "s3cret"), Some(json!({"token": "s3cret"})));
        assert_eq!(check(&[], "{\"a\":\"1\",\"b\":\"2\"}"), Some(json!({"a": "1", "b": "2"})));
        assert_eq!(check(&["key"], "{\"a\":\"1\"}"), Some(json!({"key": "{\"a\":\"1\"}"})));
        assert_eq!(check(&["a", "b"], "{\"a\":\"1\",\"b\":\"2\"}"), Some(json!({"a": "1", "b": "2"})));
        assert_eq!(check(&["a", "b"], "{\"a\":\"1\"}"), None);
        assert_eq!(check(&["a", "b"], "s3cret"), None);
        assert_eq!(check(&[], ""), None);
    }
}
