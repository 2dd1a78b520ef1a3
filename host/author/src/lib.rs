//! What skill authors do: start a skill, build it into a package, look at it, sign it, and try it out.
//!
//! - [`new`] writes a project that builds. [`build`] compiles it, asks the code for its tools, and packs
//!   `NAME-VERSION.sophon-skill`; what it packs has passed the same reading and analysis as an installation.
//! - [`check`] says what the host thinks of a project, a package or a component; [`inspect`] shows what is in a package.
//! - [`sign`] writes the envelope beside a package, [`verify`] checks one.
//! - [`rehearse`] runs recorded cases in the locked-down sandbox, without egress, vault or store.
//!
//! Everything returns data that serialises and every error is a [`Fault`](sophon_types::Fault); nothing here prints,
//! reads the environment or asks a person. The compiler is started in one module, and the author's code runs in two
//! places only: under a fuel and memory limit with nothing linked (to describe its tools), and in a rehearsal.

mod build;
mod cargo;
mod cases;
mod check;
mod component;
mod describe;
mod error;
mod files;
mod inspect;
mod native;
mod project;
mod rehearse;
mod scaffold;
mod sign;
mod subject;
mod tools;

pub use build::{BuildRequest, Built, ToolSummary, build};
pub use cargo::{CompilerMessages, Target};
pub use check::{Checked, check};
pub use error::AuthorError;
pub use inspect::{FileSize, Inspection, Section, SignatureSummary, inspect};
pub use native::pack_folder;
pub use rehearse::{CaseOutcome, CaseReport, Cases, rehearse};
pub use scaffold::{Created, NewOptions, new};
pub use sign::{Signed, Verification, sign, verify};
pub use subject::{Subject, SubjectKind};
