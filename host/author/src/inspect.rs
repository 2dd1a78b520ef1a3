//! What is in a package, for a person to look at. Says nothing of whether it may run.

use crate::component::outline;
use crate::sign::{envelope_beside, read_envelope, read_package};
use crate::{AuthorError, ToolSummary};
use serde::Serialize;
use sophon_skill::{Category, CredentialUse, Filesystem, Report, Runtime, Setting};
use sophon_types::{Digest, SkillName, Version};
use std::path::{Path, PathBuf};

/// A package from the outside in. Texts of the author are untrusted.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The skill.
    pub skill: SkillName,
    /// Its version.
    pub version: Version,
    /// Who the manifest says wrote it.
    pub author: String,
    /// Its licence.
    pub license: String,
    /// What it is for.
    pub description: String,
    /// Its place in a catalogue.
    pub category: Category,
    /// What runs it.
    pub runtime: Runtime,
    /// The file that is run.
    pub entrypoint: String,
    /// SHA-256 of the package.
    pub digest: Digest,
    /// Bytes of the package.
    pub size: u64,
    /// The files in it, unpacked.
    pub files: Vec<FileSize>,
    /// The tools.
    pub tools: Vec<ToolSummary>,
    /// Where it asks to go, one rule a line.
    pub network: Vec<String>,
    /// The services whose credentials it uses.
    pub credentials: Vec<CredentialUse>,
    /// What of the file system it asks for.
    pub filesystem: Filesystem,
    /// What can be configured.
    pub settings: Vec<Setting>,
    /// The interfaces that the component imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The component's outermost sections by kind, in the order in which each kind comes first.
    pub sections: Vec<Section>,
    /// What the analysis says.
    pub report: Report,
    /// The envelope beside the package, where there is one. Whether its key is trusted is said by
    /// [`verify`](crate::verify).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureSummary>,
}

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSize {
    /// Its name.
    pub name: String,
    /// Its bytes, unpacked.
    pub size: u64,
}

/// The sections of one kind: compilers interleave many small ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The kind, with the name of a custom section.
    pub name: String,
    /// How many there are.
    pub count: u64,
    /// Their bytes together.
    pub size: u64,
}

/// What an envelope claims. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureSummary {
    /// The file.
    pub envelope: PathBuf,
    /// The skill that it signs.
    pub skill: SkillName,
    /// The version.
    pub version: Version,
    /// The digest.
    pub digest: Digest,
    /// The key that it names.
    pub claimed_key: Option<String>,
    /// Whether name, version and digest are those of this package.
    pub of_this_package: bool,
}

/// Shows what is in a package.
///
/// # Errors
/// [`AuthorError`] where the file is no package, or the envelope beside it is none.
pub fn inspect(package: &Path) -> Result<Inspection, AuthorError> {
    let read = read_package(package)?;
    let manifest = read.manifest();
    let path = envelope_beside(package);
    let signature = read_envelope(&path)?.map(|envelope| {
        let statement = envelope.statement().clone();
        SignatureSummary {
            envelope: path,
            of_this_package: statement.name == manifest.name
                && statement.version == manifest.version
                && statement.digest == *read.digest(),
            skill: statement.name,
            version: statement.version,
            digest: statement.digest,
            claimed_key: envelope.claimed_key_id().map(str::to_owned),
        }
    });
    // A component that cannot be read has an empty outline; the report says what is wrong with it.
    let outline = outline(read.entrypoint()).unwrap_or_default();
    let tool_rules = manifest.tools.iter().flat_map(|tool| {
        let rules = tool.network.iter().flatten();
        rules.map(|rule| format!("{}: {rule}", tool.local))
    });
    let rules = manifest.permissions.network.iter().flatten().map(ToString::to_string);
    Ok(Inspection {
        skill: manifest.name.clone(),
        version: manifest.version.clone(),
        author: manifest.author.clone(),
        license: manifest.license.clone(),
        description: manifest.description.clone(),
        category: manifest.category,
        runtime: manifest.runtime.clone(),
        entrypoint: manifest.entrypoint.clone(),
        digest: *read.digest(),
        size: read.bytes().len() as u64,
        files: read
            .archive()
            .files()
            .map(|(name, content)| FileSize { name: name.to_owned(), size: content.len() as u64 })
            .collect(),
        tools: ToolSummary::all(&read),
        network: rules.chain(tool_rules).collect(),
        credentials: manifest.credentials.clone(),
        filesystem: manifest.permissions.filesystem,
        settings: manifest.settings.clone(),
        imports: outline.imports,
        exports: outline.exports,
        sections: by_kind(outline.sections),
        report: read.analyse(),
        signature,
    })
}

fn by_kind(sections: Vec<(String, usize)>) -> Vec<Section> {
    let mut kinds: Vec<Section> = Vec::new();
    for (name, size) in sections {
        match kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => {
                kind.count += 1;
                kind.size += size as u64;
            }
            None => kinds.push(Section { name, count: 1, size: size as u64 }),
        }
    }
    kinds
}
