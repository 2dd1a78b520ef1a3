//! The signing identities of a home: read, and made together with the trust in what they sign here.
//!
//! Promises: an identity's file is there whole or not at all, and only its owner can read it; the home has trusted its
//! key before the file is there. What was untrusted since stays so: nothing here trusts a key a second time.

use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::home::{read_private, write_private};
use crate::verbs::{ask, part};
use http::Method;
use serde_json::json;
use sophon_skill::SigningIdentity;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The identity that `sophon build` signs with where nobody names another. One that a person made and named is used when
/// it is named: others may trust its key.
pub(crate) const LOCAL: &str = "local";

/// An identity that was made.
pub(crate) struct Made {
    pub(crate) identity: SigningIdentity,
    pub(crate) fingerprint: String,
    pub(crate) file: PathBuf,
}

/// The identity of this name; nothing where the home has none.
pub(crate) fn read(context: &Context, name: &str) -> Result<Option<SigningIdentity>, CliError> {
    let path = context.home()?.identity(name)?;
    let text = match read_private(&path) {
        Err(CliError::File { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    SigningIdentity::from_text(&text).map(Some).map_err(|error| CliError::of(&error))
}

/// The identity of this name, which a person named.
pub(crate) fn named(context: &Context, name: &str) -> Result<SigningIdentity, CliError> {
    read(context, name)?.ok_or_else(|| {
        let message = format!("this home has no identity {name}");
        CliError::usage(message, format!("sophon key identity {name}"))
    })
}

/// Makes the identity of this name, and has the tenant trust what it signs; nothing where the home has one by now.
///
/// Trust comes first: a process that ends in between leaves a key that nobody has, and no identity that nobody trusts.
pub(crate) async fn make(context: &Context, name: &str, tenant: InTenant) -> Result<Option<Made>, CliError> {
    let home = context.home()?;
    home.create()?;
    let file = home.identity(name)?;
    if file.exists() {
        return Ok(None);
    }
    let identity = SigningIdentity::generate(name, context.entropy()).map_err(|error| CliError::of(&error))?;
    let body = json!({"public_key": identity.public_key().to_string(), "name": name, "role": "local"});
    ask(context, tenant.clone(), Method::POST, "/v1/publishers", Some(&body)).await?;
    let fingerprint = identity.public_key().fingerprint().to_string();
    match write_private(&file, identity.to_text().as_bytes()) {
        Ok(()) => Ok(Some(Made { identity, fingerprint, file })),
        Err(error) => {
            // Nobody has the key: nothing may be trusted for it.
            ask(context, tenant, Method::DELETE, &format!("/v1/publishers/{}", part(&fingerprint)), None).await?;
            match error.kind() {
                // Another command was faster, and its identity is the home's.
                ErrorKind::AlreadyExists => Ok(None),
                _ => Err(CliError::file(file, error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, Output};
    use crate::system::Environment;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn context(folder: &tempfile::TempDir) -> Context {
        Context::new(Some(folder.path().join("home")), Environment::default(), Output::new(Format::Json))
    }

    async fn publishers(context: &Context) -> Vec<(String, bool)> {
        let answer = ask(context, InTenant::default(), Method::GET, "/v1/publishers", None).await.unwrap();
        let item =
            |item: &serde_json::Value| (item["fingerprint"].as_str().unwrap().to_owned(), item["revoked_at"].is_null());
        answer["publishers"].as_array().unwrap().iter().map(item).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_identity_is_trusted_whole_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(&folder);
        assert!(read(&context, "ann").unwrap().is_none());
        assert_eq!(named(&context, "ann").unwrap_err().report().hint.as_deref(), Some("sophon key identity ann"));
        let made = make(&context, "ann", InTenant::default()).await.unwrap().unwrap();
        assert_eq!(publishers(&context).await, [(made.fingerprint.clone(), true)]);
        let mode = fs::metadata(&made.file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(named(&context, "ann").unwrap().public_key(), made.identity.public_key());
        assert!(make(&context, "ann", InTenant::default()).await.unwrap().is_none(), "the first one stays");
        assert_eq!(publishers(&context).await.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_identity_that_cannot_be_trusted_or_kept_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(&folder);
        let nowhere = InTenant { tenant: Some("not a tenant".into()) };
        let refused = make(&context, "ann", nowhere).await.err().unwrap();
        assert_eq!(refused.report().code, "invalid_parameter", "{refused}");
        assert!(read(&context, "ann").unwrap().is_none());

        // Where there is no folder for it, nothing is trusted at all.
        let identities = context.home().unwrap().identity("ann").unwrap().parent().unwrap().to_owned();
        fs::remove_dir(&identities).unwrap();
        fs::write(&identities, "").unwrap();
        assert!(make(&context, "ann", InTenant::default()).await.is_err());
        fs::remove_file(&identities).unwrap();
        assert!(publishers(&context).await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_that_are_made_at_once_one_stays_and_the_other_is_trusted_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(&folder);
        let (one, other) =
            tokio::join!(make(&context, LOCAL, InTenant::default()), make(&context, LOCAL, InTenant::default()),);
        let made: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        let kept = read(&context, LOCAL).unwrap().unwrap().public_key().fingerprint().to_string();
        assert_eq!(kept, made[0].fingerprint);
        let trusted: Vec<_> = publishers(&context).await.into_iter().filter(|(_, trusted)| *trusted).collect();
        assert_eq!(trusted, [(kept, true)]);
    }
}
