//! From a folder to a package: compile, ask for the tools, pack, and read it again as a host would.

use crate::cargo::{self, CompilerMessages, Target};
use crate::project::Draft;
use crate::sign::envelope_beside;
use crate::{AuthorError, files, native};
use serde::Serialize;
use sophon_skill::{MAX_COMPONENT, Package, PackageError, Report, Verdict, pack};
use sophon_types::{Digest, Risk, SkillName, ToolName, Version};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What is built, and how.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The skill's folder, with `manifest.json`.
    pub dir: PathBuf,
    /// Where the package goes; the skill's folder where nothing is given. Made where it is missing.
    pub out: Option<PathBuf>,
    /// cargo's target folder; cargo's own choice where nothing is given.
    pub target_dir: Option<PathBuf>,
    /// A component (or core module) that was built by other tools: cargo is not started then.
    pub component: Option<PathBuf>,
    /// What the code is compiled for.
    pub target: Target,
    /// The cargo to start: a name to look up, or a path.
    pub cargo: PathBuf,
    /// More arguments for `cargo build`, such as `--offline`.
    pub cargo_args: Vec<OsString>,
    /// Where the compiler's messages go.
    pub messages: CompilerMessages,
}

impl BuildRequest {
    /// Builds the folder's crate with everything by default.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            out: None,
            target_dir: None,
            component: None,
            target: Target::default(),
            cargo: "cargo".into(),
            cargo_args: Vec::new(),
            messages: CompilerMessages::default(),
        }
    }
}

/// A package that was built.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// The skill.
    pub skill: SkillName,
    /// Its version.
    pub version: Version,
    /// The package.
    pub package: PathBuf,
    /// SHA-256 of the package.
    pub digest: Digest,
    /// Bytes of the package.
    pub size: u64,
    /// Bytes of the component in it.
    pub component_size: u64,
    /// The tools.
    pub tools: Vec<ToolSummary>,
    /// What the component imports.
    pub imports: Vec<String>,
    /// What the host's analysis says; never a rejection.
    pub report: Report,
    /// What the author may want to mend.
    pub warnings: Vec<String>,
    /// The signature that lies beside the package and is of another build: with it, an installation refuses the package.
    #[serde(skip)]
    pub stale_signature: Option<PathBuf>,
    /// The compiler's messages, word for word, where they were captured.
    pub compiler: String,
}

/// A tool in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolSummary {
    /// Its full name.
    pub name: ToolName,
    /// Its declared risk.
    pub risk: Risk,
    /// What it says of itself.
    pub description: String,
}

impl ToolSummary {
    pub(crate) fn all(package: &Package) -> Vec<Self> {
        let summary = |tool: &sophon_skill::Tool| Self {
            name: tool.name.clone(),
            risk: tool.risk,
            description: tool.description.clone(),
        };
        package.manifest().tools.iter().map(summary).collect()
    }
}

/// Builds `NAME-VERSION.sophon-skill`. A skill of another runtime than wasm is packed as it is, without cargo.
///
/// Blocks while cargo runs. The same sources and the same compiler give the same bytes.
///
/// # Errors
/// [`AuthorError`]; no package is written then. [`AuthorError::Rejected`] carries the analysis' report,
/// [`AuthorError::Compile`] the compiler's messages.
pub fn build(request: &BuildRequest) -> Result<Built, AuthorError> {
    let assembled = assemble(request)?;
    let Assembled { package, report, warnings, compiler } = assembled;
    let manifest = package.manifest();
    if report.verdict == Verdict::Reject {
        return Err(AuthorError::Rejected { skill: manifest.name.clone(), report: Box::new(report) });
    }
    let name = format!("{}-{}.sophon-skill", manifest.name, manifest.version);
    let path = files::replace(request.out.as_deref().unwrap_or(&request.dir), &name, package.bytes())?;
    let envelope = envelope_beside(&path);
    let stale_signature = (envelope.is_file() && !signs(&envelope, &package)).then_some(envelope);
    Ok(Built {
        skill: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: *package.digest(),
        size: package.bytes().len() as u64,
        component_size: package.entrypoint().len() as u64,
        tools: ToolSummary::all(&package),
        imports: report.imports.clone(),
        package: path,
        report,
        warnings,
        stale_signature,
        compiler,
    })
}

fn signs(envelope: &Path, package: &Package) -> bool {
    let read = std::fs::read(envelope).ok().and_then(|bytes| sophon_skill::Envelope::parse(&bytes).ok());
    read.is_some_and(|envelope| envelope.statement().digest == *package.digest())
}

/// A package in memory, as a host would read it, and what the host would say of it.
pub(crate) struct Assembled {
    pub(crate) package: Package,
    pub(crate) report: Report,
    pub(crate) warnings: Vec<String>,
    pub(crate) compiler: String,
}

/// Builds without writing anything but cargo's own output. A rejection is in the report.
pub(crate) fn assemble(request: &BuildRequest) -> Result<Assembled, AuthorError> {
    let dir = &request.dir;
    if native::is_native(dir)? {
        let package = native::pack_folder(dir)?;
        let report = package.analyse();
        return Ok(Assembled { package, report, warnings: Vec::new(), compiler: String::new() });
    }
    let draft = Draft::read(&dir.join("manifest.json"))?;
    // What is missing is said before the compiler takes its time.
    let readme = required(dir, "README.md")?;
    let licence = required(dir, "LICENSE")?;
    let mut warnings = Vec::new();
    let mut compiler = String::new();
    let binary = match &request.component {
        Some(path) => files::read(path, MAX_COMPONENT)?,
        None => {
            let artifact = cargo::compile(request, &draft.manifest.name)?;
            warnings.extend(other_version(&draft, artifact.version.as_deref()));
            compiler = artifact.stderr;
            files::read(&artifact.path, MAX_COMPONENT)?
        }
    };
    let finished = draft.finish(&binary)?;
    let entrypoint = finished.manifest.entrypoint.clone();
    let files = BTreeMap::from([
        ("manifest.json".to_owned(), finished.json),
        (entrypoint, finished.component),
        ("README.md".to_owned(), readme),
        ("LICENSE".to_owned(), licence),
    ]);
    let package = Package::read(pack(&files).map_err(PackageError::Archive)?)?;
    let report = package.analyse();
    Ok(Assembled { package, report, warnings, compiler })
}

fn required(dir: &Path, name: &str) -> Result<Vec<u8>, AuthorError> {
    let content = files::read_if_there(&dir.join(name))?;
    Ok(content.ok_or_else(|| PackageError::Missing { file: name.to_owned() })?)
}

fn other_version(draft: &Draft, package: Option<&str>) -> Option<String> {
    let version = &draft.manifest.version;
    let other = package.filter(|package| package.parse::<Version>().is_ok_and(|package| package != *version))?;
    Some(format!("manifest.json has the version {version}, Cargo.toml {other}; the package has the manifest's"))
}
