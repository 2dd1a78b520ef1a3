//! What a command is about: a project's folder, a package or a component.

use crate::{AuthorError, BuildRequest, CompilerMessages};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is checked or tried out.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A project: built first (nothing is written but cargo's own output).
    Project(BuildRequest),
    /// A `.sophon-skill`.
    Package(PathBuf),
    /// A component without a package, and its manifest.
    Component {
        /// The component.
        component: PathBuf,
        /// Its manifest.
        manifest: PathBuf,
    },
}

/// The kinds of [`Subject`], for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A folder that was built.
    Project,
    /// A package.
    Package,
    /// A component.
    Component,
}

impl Subject {
    /// The subject at `path`: a folder is a project, a `.wasm` file a component with `manifest.json` beside it, any other
    /// file a package.
    ///
    /// # Errors
    /// [`AuthorError::NoSubject`] where there is nothing.
    pub fn at(path: &Path) -> Result<Self, AuthorError> {
        if path.is_dir() {
            return Ok(Self::Project(BuildRequest::new(path)));
        }
        if !path.is_file() {
            return Err(AuthorError::NoSubject { path: path.to_owned() });
        }
        if path.extension().is_some_and(|extension| extension == "wasm") {
            return Ok(Self::Component { component: path.to_owned(), manifest: path.with_file_name("manifest.json") });
        }
        Ok(Self::Package(path.to_owned()))
    }

    /// The same, with the compiler's messages going there.
    #[must_use]
    pub fn with_messages(self, messages: CompilerMessages) -> Self {
        match self {
            Self::Project(request) => Self::Project(BuildRequest { messages, ..request }),
            built => built,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> SubjectKind {
        match self {
            Self::Project(_) => SubjectKind::Project,
            Self::Package(_) => SubjectKind::Package,
            Self::Component { .. } => SubjectKind::Component,
        }
    }
}
