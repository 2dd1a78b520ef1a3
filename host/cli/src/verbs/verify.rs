//! `sophon verify`.

use super::ask;
use super::key::public_key;
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::output::field;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use sophon_skill::{PublicKey, Publisher, PublisherRole, Standing, TrustStore};
use std::path::PathBuf;
use std::process::ExitCode;

/// Check a package and its signature as an installation would.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The package.
    file: PathBuf,
    /// Its signature [default: the file FILE.dsse.json].
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Trust these keys (or files that hold one) and no others, instead of those of the home.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    tenant: InTenant,
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let trust = if self.keys.is_empty() {
            let publishers = ask(context, self.tenant, Method::GET, "/v1/publishers", None).await?;
            of_home(&publishers)?
        } else {
            let given = self.keys.iter().map(|key| publisher(&public_key(key)?, "--key", "publisher", true));
            TrustStore { publishers: given.collect::<Result<_, _>>()?, ..TrustStore::default() }
        };
        let verified = sophon_author::verify(&self.file, self.signature.as_deref(), &trust)?;
        context.output().data(&json!(verified), |value| {
            format!("{} {}: {}", field(value, "skill"), field(value, "version"), field(value, "trust"))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The trust store as the gateway tells it.
fn of_home(answer: &Value) -> Result<TrustStore, CliError> {
    let mut trust = TrustStore::default();
    for item in answer["publishers"].as_array().into_iter().flatten() {
        let trusted = item["revoked_at"].is_null();
        let one = publisher(&field(item, "public_key"), &field(item, "name"), &field(item, "role"), trusted)?;
        let fingerprint = one.fingerprint();
        for skill in item["skills"].as_array().into_iter().flatten() {
            if let Some(name) = skill.as_str().and_then(|name| name.parse().ok()) {
                trust.pins.insert(name, fingerprint);
            }
        }
        trust.publishers.push(one);
    }
    Ok(trust)
}

fn publisher(key: &str, name: &str, role: &str, trusted: bool) -> Result<Publisher, CliError> {
    Ok(Publisher {
        key: key.parse::<PublicKey>().map_err(|error| CliError::of(&error))?,
        name: name.to_owned(),
        role: if role == "local" { PublisherRole::Local } else { PublisherRole::Publisher },
        standing: if trusted { Standing::Trusted } else { Standing::Revoked },
    })
}
