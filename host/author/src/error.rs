//! Everything that can go wrong on an author's machine.

use sophon_sandbox::SandboxError;
use sophon_skill::{EnvelopeError, ManifestErrors, PackageError, Report, VerifyError};
use sophon_types::{Fault, FaultKind, NameError, SkillName, Stage, ToolName};
use std::io;
use std::path::PathBuf;

/// Why a command of an author failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// A file or folder could not be read or written.
    #[error("{}: {action}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is larger than any such file can be.
    #[error("{}: it has more than {most} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// The new skill's name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is something already where a new project is to be.
    #[error("{}: it is there already, and is not overwritten", .path.display())]
    Occupied {
        /// The file or folder.
        path: PathBuf,
    },
    /// The SDK is not where the caller says.
    #[error("{}: there is no sophon-sdk crate", .path.display())]
    NoSdk {
        /// The folder.
        path: PathBuf,
    },
    /// What should be checked or tried out is neither a project, a package nor a component.
    #[error("{}: this is neither a skill's folder, nor a .sophon-skill, nor a .wasm component", .path.display())]
    NoSubject {
        /// What was named.
        path: PathBuf,
    },
    /// The folder (or the component's folder) has no `manifest.json`.
    #[error("{}: there is no manifest.json", .dir.display())]
    NoManifest {
        /// The folder.
        dir: PathBuf,
    },
    /// The manifest breaks rules; all of them are listed.
    #[error(transparent)]
    Manifest(#[from] ManifestErrors),
    /// A folder that has to be built first.
    #[error("{skill}: the folder holds the source of a component, not a package")]
    NotBuilt {
        /// The skill.
        skill: SkillName,
        /// The folder.
        dir: PathBuf,
    },
    /// A file that cannot go into a package.
    #[error("{}: {why}", .path.display())]
    UnfitFile {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The manifest's `runtime` is not built, it is run as it is.
    #[error("{skill}: the runtime {runtime:?} is not built here")]
    NotWasm {
        /// The skill.
        skill: SkillName,
        /// The manifest's runtime.
        runtime: String,
    },
    /// There is nothing for cargo to build and no prebuilt component was named.
    #[error("{}: there is no Cargo.toml", .dir.display())]
    NoCargoToml {
        /// The project's folder.
        dir: PathBuf,
    },
    /// cargo is not there or does not start.
    #[error("{program}: it does not start: {cause}")]
    NoCargo {
        /// The program that was tried.
        program: String,
        /// The system's answer.
        cause: String,
    },
    /// The compiler has no standard library for the WebAssembly target.
    #[error("{skill}: rustc has no standard library for {target}")]
    NoTarget {
        /// The skill.
        skill: SkillName,
        /// The target.
        target: &'static str,
    },
    /// The author's code does not compile, or cargo gave up before.
    #[error("{skill}: cargo build failed ({status}){}", said(.stderr))]
    Compile {
        /// The skill.
        skill: SkillName,
        /// How cargo ended.
        status: String,
        /// What cargo and rustc said, word for word; empty where it went to the terminal already.
        stderr: String,
    },
    /// cargo built, but no WebAssembly library came out.
    #[error("{skill}: cargo built no WebAssembly library")]
    NoArtifact {
        /// The skill.
        skill: SkillName,
    },
    /// The crate and the manifest name two different skills.
    #[error("{skill}: Cargo.toml names the package {package:?}")]
    NameMismatch {
        /// The manifest's name.
        skill: SkillName,
        /// The library's name.
        package: String,
    },
    /// What was built is not WebAssembly, or no component can be made of it.
    #[error("{what}: no component can be made of it: {cause}")]
    NotAComponent {
        /// The skill or file.
        what: String,
        /// wit-component's or wasmparser's words.
        cause: String,
    },
    /// The code's own description of its tools could not be read.
    #[error("{skill}: the code does not describe its tools: {cause}")]
    Describe {
        /// The skill.
        skill: SkillName,
        /// What happened instead.
        cause: String,
    },
    /// Neither the code nor the manifest says what the tools are.
    #[error("{skill}: neither the code nor manifest.json says what the tools are")]
    NoTools {
        /// The skill.
        skill: SkillName,
    },
    /// The manifest lists a tool that the code does not have.
    #[error("{skill}: manifest.json lists the tool {tool:?}, which the code does not have")]
    UnknownTool {
        /// The skill.
        skill: SkillName,
        /// The tool.
        tool: String,
        /// The tools that the code has.
        known: Vec<String>,
    },
    /// The manifest lists a tool twice, by its short or its full name.
    #[error("{skill}: manifest.json lists the tool {tool:?} twice")]
    ToolTwice {
        /// The skill.
        skill: SkillName,
        /// The tool.
        tool: String,
    },
    /// The manifest and the code say different things of a tool.
    #[error("{skill}: tool {tool:?}: manifest.json says {field} is {manifest}, the code says {code}")]
    Contradiction {
        /// The skill.
        skill: SkillName,
        /// The tool.
        tool: String,
        /// The key.
        field: String,
        /// The manifest's value.
        manifest: String,
        /// The code's value.
        code: String,
    },
    /// The package that was read or written breaks a rule for packages.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The host would refuse the component; the report says why.
    #[error("{skill} is rejected by the analysis\n{report}")]
    Rejected {
        /// The skill.
        skill: SkillName,
        /// Everything that was found.
        report: Box<Report>,
    },
    /// The envelope beside a package is not one.
    #[error("{}: {source}", .path.display())]
    Envelope {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// There is no envelope beside the package.
    #[error("{}: there is no signature", .path.display())]
    NotSigned {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The signature does not hold, its key is not trusted, or the analysis refuses the component.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The sandbox cannot run the component.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A keyword of a tool's schema holds what it cannot.
    #[error("{tool}: its schema cannot be used: {cause}")]
    Schema {
        /// The tool.
        tool: ToolName,
        /// The validator's words.
        cause: String,
    },
    /// There are no test cases.
    #[error("{}: there are no test cases", .path.display())]
    NoCases {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// A test case is not written as test cases are.
    #[error("{}: {cause}", .path.display())]
    BadCase {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A thread or a serialiser of the host failed.
    #[error("{0}")]
    Host(String),
}

/// What the compiler said, below what became of it.
fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("\n{}", stderr.trim_end()) }
}

impl Fault for AuthorError {
    fn stage(&self) -> Stage {
        match self {
            Self::Manifest(errors) => errors.stage(),
            Self::Package(error) => error.stage(),
            Self::Envelope { source, .. } => source.stage(),
            Self::Verify(error) => error.stage(),
            Self::Sandbox(error) => error.stage(),
            Self::NoManifest { .. } => Stage::Manifest,
            Self::NotSigned { .. } => Stage::Signature,
            Self::Rejected { .. } => Stage::Analysis,
            Self::Schema { .. } | Self::NoCases { .. } | Self::BadCase { .. } => Stage::Rehearse,
            _ => Stage::Build,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Manifest(errors) => errors.kind(),
            Self::Package(error) => error.kind(),
            Self::Envelope { source, .. } => source.kind(),
            Self::Verify(error) => error.kind(),
            Self::Sandbox(error) => error.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => FaultKind::NotFound,
            Self::Io { .. } | Self::NoCargo { .. } | Self::NoTarget { .. } => FaultKind::Unavailable,
            Self::TooLarge { .. } => FaultKind::TooLarge,
            Self::Name(_) | Self::BadCase { .. } => FaultKind::Invalid,
            Self::Occupied { .. } => FaultKind::Conflict,
            Self::NoSdk { .. }
            | Self::NoSubject { .. }
            | Self::NoManifest { .. }
            | Self::NoCargoToml { .. }
            | Self::NoCases { .. } => FaultKind::NotFound,
            Self::Rejected { .. } => FaultKind::Denied,
            Self::NotSigned { .. } => FaultKind::Untrusted,
            Self::Host(_) => FaultKind::Internal,
            _ => FaultKind::Unprocessable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Manifest(errors) => errors.code(),
            Self::Package(error) => error.code(),
            Self::Envelope { source, .. } => source.code(),
            Self::Verify(error) => error.code(),
            Self::Sandbox(error) => error.code(),
            Self::Io { .. } => "file_error",
            Self::TooLarge { .. } => "file_too_large",
            Self::Name(_) => "invalid_skill_name",
            Self::Occupied { .. } => "folder_not_empty",
            Self::NoSdk { .. } => "no_sdk",
            Self::NoSubject { .. } => "not_a_skill",
            Self::NoManifest { .. } => "no_manifest",
            Self::NotWasm { .. } => "runtime_not_built",
            Self::NotBuilt { .. } => "not_built",
            Self::UnfitFile { .. } => "unfit_file",
            Self::NoCargoToml { .. } => "no_cargo_toml",
            Self::NoCargo { .. } => "cargo_missing",
            Self::NoTarget { .. } => "target_missing",
            Self::Compile { .. } => "compile_failed",
            Self::NoArtifact { .. } => "no_artifact",
            Self::NameMismatch { .. } => "name_mismatch",
            Self::NotAComponent { .. } => "not_a_component",
            Self::Describe { .. } => "describe_failed",
            Self::NoTools { .. } => "no_tools",
            Self::UnknownTool { .. } => "unknown_tool_in_manifest",
            Self::ToolTwice { .. } => "duplicate_tool_in_manifest",
            Self::Contradiction { .. } => "tool_contradiction",
            Self::Rejected { .. } => "rejected_by_analysis",
            Self::NotSigned { .. } => "unsigned",
            Self::Schema { .. } => "unusable_schema",
            Self::NoCases { .. } => "no_test_cases",
            Self::BadCase { .. } => "invalid_test_case",
            Self::Host(_) => "internal",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Manifest(errors) => return errors.hint(),
            Self::Package(error) => return error.hint(),
            Self::Envelope { source, .. } => return source.hint(),
            Self::Verify(error) => return error.hint(),
            Self::Sandbox(error) => return error.hint(),
            Self::Io { .. } | Self::Host(_) => return None,
            Self::TooLarge { .. } => "leave out what the skill does not need to run".into(),
            Self::Name(error) => format!("write {}", error.rule()),
            Self::Occupied { .. } => "choose a folder that does not exist yet".into(),
            Self::NoSdk { .. } => "--sdk FOLDER, with the folder skills-sdk of a checkout of Sophon Host".into(),
            Self::NoSubject { .. } => "name the folder with manifest.json, or what `sophon build` wrote".into(),
            Self::NoManifest { .. } => "start a skill with `sophon new NAME`, or name its folder".into(),
            Self::NotBuilt { dir, .. } => {
                format!("build it with `sophon build {}`, and install the package", dir.display())
            }
            Self::UnfitFile { .. } => "remove it, or leave it out of the skill's folder".into(),
            Self::NotWasm { .. } => "set \"runtime\": \"wasm\" and build a component".into(),
            Self::NoCargoToml { .. } => "build the component with its own tools, then `sophon build --component FILE`".into(),
            Self::NoCargo { .. } => "install Rust with rustup, then run `scripts/setup` in a checkout of Sophon Host".into(),
            Self::NoTarget { target, .. } => {
                format!("rustup target add {target} (where that reaches no server: run `scripts/setup` in a checkout of Sophon Host)")
            }
            Self::Compile { stderr, .. } if stderr.is_empty() => "mend what the compiler says above".into(),
            Self::Compile { .. } => "mend what the compiler says".into(),
            Self::NoArtifact { .. } => "put crate-type = [\"cdylib\"] under [lib] in Cargo.toml".into(),
            Self::NameMismatch { skill, .. } => format!("put name = \"{skill}\" under [package] in Cargo.toml, or rename the skill"),
            Self::NotAComponent { .. } => {
                "write the skill with sophon-sdk, or build a component of the world sophon:skill/skill (wit/skill.wit)".into()
            }
            Self::Describe { .. } => "build with the sophon-sdk of this host's version, and list the tools in sophon_sdk::skill!(..)".into(),
            Self::NoTools { .. } => {
                "list the tools in sophon_sdk::skill!(..), or, in another language, under \"tools\" in manifest.json".into()
            }
            Self::UnknownTool { known, .. } => format!("the code has: {}; remove the entry or rename it", known.join(", ")),
            Self::ToolTwice { .. } => "make one entry of the two".into(),
            Self::Contradiction { field, .. } => format!("remove \"{field}\" from the tool's entry in manifest.json: the code says it"),
            Self::Rejected { report, .. } => return report.first_advice().map(str::to_owned),
            Self::NotSigned { .. } => "sophon sign PACKAGE --identity NAME, or build again: `sophon build` signs".into(),
            Self::Schema { .. } => "write the tool's \"parameters\" as a JSON Schema (draft 2020-12) of an object".into(),
            Self::NoCases { .. } => "write one: tests/NAME.json with \"tool\", \"arguments\" and \"expect\"".into(),
            Self::BadCase { .. } => {
                "the keys are tool, arguments, settings, connected, granted, state, exchanges, expect, progress; examples/README.md describes them".into()
            }
        })
    }
}
