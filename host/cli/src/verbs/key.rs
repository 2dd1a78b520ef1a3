//! `sophon key`.

use super::{ask, part};
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::make;
use crate::output::{field, table};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// API keys, signing identities and trusted publishers.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an API key; it is shown this once.
    Create {
        /// What it may do.
        #[arg(long)]
        role: RoleName,
        /// The person behind it.
        #[arg(long)]
        user: String,
        /// What to call it.
        #[arg(long, default_value = "")]
        label: String,
        /// Let results leave as data beside the wrapped text: for programs, not for models.
        #[arg(long)]
        structured_results: bool,
        #[command(flatten)]
        tenant: InTenant,
    },
    /// List the API keys, without the keys.
    List {
        #[command(flatten)]
        tenant: InTenant,
    },
    /// Refuse an API key from now on.
    Revoke {
        /// Its id, such as `key_…`.
        id: String,
        #[command(flatten)]
        tenant: InTenant,
    },
    /// Make a signing identity in this home, and trust what it signs here.
    Identity {
        /// Its name.
        name: String,
        #[command(flatten)]
        tenant: InTenant,
    },
    /// Trust a publisher's key.
    Trust {
        /// The public key, or a file that holds it.
        key: String,
        /// The name to know it by.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        tenant: InTenant,
    },
    /// Trust a publisher's key no longer.
    Untrust {
        /// The key's fingerprint.
        fingerprint: String,
        #[command(flatten)]
        tenant: InTenant,
    },
    /// List the publishers whose signatures count.
    Publishers {
        #[command(flatten)]
        tenant: InTenant,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    /// Lists and calls tools.
    Agent,
    /// Decides on calls and keeps credentials of its user.
    Approver,
    /// Uploads skills.
    Publisher,
    /// Everything of its tenant.
    Admin,
}

impl RoleName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Approver => "approver",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        }
    }
}

impl Key {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let output = context.output();
        match self.verb {
            Verb::Create { role, user, label, structured_results, tenant } => {
                let body = json!({
                    "role": role.as_str(), "user": user, "label": label, "structured_results": structured_results,
                });
                let answer = ask(context, tenant, Method::POST, "/v1/keys", Some(&body)).await?;
                output.data(&answer, |value| field(value, "key"))?;
                output.note(&format!("{}: shown this once", field(&answer, "id")));
            }
            Verb::List { tenant } => {
                let answer = ask(context, tenant, Method::GET, "/v1/keys", None).await?;
                let columns = ["id", "user", "role", "label", "structured_results", "created_at", "revoked_at"];
                output.data(&answer, |value| table(&value["keys"], &columns))?;
            }
            Verb::Revoke { id, tenant } => {
                ask(context, tenant, Method::DELETE, &format!("/v1/keys/{}", part(&id)), None).await?;
                output.data(&json!({"id": id, "revoked": true}), |_value| String::new())?;
                output.note(&format!("{id} is refused from now on"));
            }
            Verb::Identity { name, tenant } => identity(context, &name, tenant).await?,
            Verb::Trust { key, name, tenant } => {
                let body = json!({"public_key": public_key(&key)?, "name": name});
                let answer = ask(context, tenant, Method::POST, "/v1/publishers", Some(&body)).await?;
                output.data(&answer, |value| field(value, "fingerprint"))?;
            }
            Verb::Untrust { fingerprint, tenant } => {
                let path = format!("/v1/publishers/{}", part(&fingerprint));
                ask(context, tenant, Method::DELETE, &path, None).await?;
                output.data(&json!({"fingerprint": fingerprint, "revoked": true}), |_value| String::new())?;
                output.note(&format!("{fingerprint} is trusted no longer"));
            }
            Verb::Publishers { tenant } => {
                let answer = ask(context, tenant, Method::GET, "/v1/publishers", None).await?;
                let columns = ["name", "fingerprint", "skills", "added_at", "revoked_at"];
                output.data(&answer, |value| table(&value["publishers"], &columns))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn identity(context: &Context, name: &str, tenant: InTenant) -> Result<(), CliError> {
    let Some(made) = make(context, name, tenant).await? else {
        let message = format!("this home has an identity {name} already");
        return Err(CliError::usage(message, format!("sophon sign FILE --identity {name}")));
    };
    let public = made.identity.public_key().to_string();
    let value = json!({"name": name, "public_key": public, "fingerprint": made.fingerprint, "file": made.file});
    context.output().data(&value, |value| field(value, "public_key"))?;
    let file = made.file.display();
    context.output().note(&format!("{file}: keep it; give the public key to those who are to trust it"));
    Ok(())
}

/// A public key as it was given, or as the file of that name holds it.
pub(crate) fn public_key(given: &str) -> Result<String, CliError> {
    let path = Path::new(given);
    if path.is_file() {
        return std::fs::read_to_string(path).map_err(|error| CliError::file(path, error));
    }
    Ok(given.to_owned())
}
