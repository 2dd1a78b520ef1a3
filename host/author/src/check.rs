//! What the host would say of a skill, before anybody tries to install it.

use crate::build::assemble;
use crate::project::Draft;
use crate::sign::read_package;
use crate::{AuthorError, Subject, SubjectKind, files};
use serde::Serialize;
use sophon_skill::{MAX_COMPONENT, Manifest, Package, Report, Subject as Analysed, Verdict};
use sophon_types::{Digest, SkillName, Version};
use std::path::Path;

/// What the host would say.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// What was looked at.
    pub kind: SubjectKind,
    /// The skill.
    pub skill: SkillName,
    /// Its version.
    pub version: Version,
    /// The component, as its manifest names it.
    pub entrypoint: String,
    /// SHA-256 of the package, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What the analysis says.
    pub report: Report,
    /// What the author may want to mend.
    pub warnings: Vec<String>,
    /// The compiler's messages, where something was compiled and they were captured.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compiler: String,
}

impl Checked {
    /// Whether the host would refuse it.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.report.verdict == Verdict::Reject
    }
}

/// Checks a project (which is built), a package, or a component with its manifest. Signatures are not looked at.
///
/// With `since`, the package of an older version, the report also says what this one asks for beyond it. A rejection is no
/// error: it is in the report.
///
/// # Errors
/// [`AuthorError`] where it cannot be built or read at all; [`AuthorError::Manifest`] lists every violation.
pub fn check(subject: &Subject, since: Option<&Path>) -> Result<Checked, AuthorError> {
    let kind = subject.kind();
    let since = since.map(read_package).transpose()?;
    let before = since.as_ref().map(Package::manifest);
    match subject {
        Subject::Project(request) => {
            let assembled = assemble(request)?;
            let manifest = assembled.package.manifest();
            Ok(Checked {
                kind,
                skill: manifest.name.clone(),
                version: manifest.version.clone(),
                entrypoint: manifest.entrypoint.clone(),
                digest: Some(*assembled.package.digest()),
                report: match before {
                    None => assembled.report,
                    Some(_) => analysed(Analysed::package(&assembled.package), before),
                },
                warnings: assembled.warnings,
                compiler: assembled.compiler,
            })
        }
        Subject::Package(path) => {
            let package = read_package(path)?;
            let manifest = package.manifest();
            Ok(Checked {
                kind,
                skill: manifest.name.clone(),
                version: manifest.version.clone(),
                entrypoint: manifest.entrypoint.clone(),
                digest: Some(*package.digest()),
                report: analysed(Analysed::package(&package), before),
                warnings: Vec::new(),
                compiler: String::new(),
            })
        }
        Subject::Component { component, manifest } => {
            let finished = Draft::read(manifest)?.finish(&files::read(component, MAX_COMPONENT)?)?;
            Ok(Checked {
                kind,
                skill: finished.manifest.name.clone(),
                version: finished.manifest.version.clone(),
                entrypoint: finished.manifest.entrypoint.clone(),
                digest: None,
                report: analysed(Analysed::new(&finished.component, &finished.manifest), before),
                warnings: Vec::new(),
                compiler: String::new(),
            })
        }
    }
}

fn analysed(subject: Analysed<'_>, before: Option<&Manifest>) -> Report {
    match before {
        Some(before) => subject.replacing(before).analyse(),
        None => subject.analyse(),
    }
}
