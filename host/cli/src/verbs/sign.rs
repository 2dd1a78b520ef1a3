//! `sophon sign`.

use crate::context::Context;
use crate::error::CliError;
use crate::identity::named;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Sign a package with an identity of this home.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The package.
    file: PathBuf,
    /// The identity's name, as `sophon key identity` made it.
    #[arg(long)]
    identity: String,
}

impl Sign {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let identity = named(context, &self.identity)?;
        let signed = sophon_author::sign(&self.file, &identity)?;
        context.output().data(&json!(signed), |_value| signed.envelope.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, Output};
    use crate::system::Environment;
    use sophon_skill::SigningIdentity;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_identity_that_others_can_read_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let context = Context::new(Some(root), Environment::default(), Output::new(Format::Json));
        let home = context.home().unwrap();
        home.create().unwrap();
        let sign = || Sign { file: folder.path().join("none.sophon-skill"), identity: "ann".into() }.run(&context);
        assert_eq!(sign().unwrap_err().report().code, "usage", "there is none yet");
        let path = home.identity("ann").unwrap();
        let identity = SigningIdentity::generate("ann", context.entropy()).unwrap();
        crate::home::write_private(&path, identity.to_text().as_bytes()).unwrap();
        let missing = sign().unwrap_err().report().code;
        assert!(!["usage", "key_file_readable_by_others"].contains(&missing.as_str()), "the package: {missing}");
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(sign().unwrap_err().report().code, "key_file_readable_by_others");
    }
}
