//! `manifest.json`: who the skill is, its tools, and what it asks for.
//!
//! A superset of the public Sophon skill contract. Reading reports every violation at once; a [`Manifest`] exists
//! only where there is none. What it declares is a claim: nothing here grants anything.

mod arguments;
mod connection;
mod line;
mod model;
mod pattern;
mod permissions;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod tool;
mod violation;

pub use arguments::{ArgumentCheck, Shown};
pub use line::{RulePlace, entry_line, workspace_line};
pub use model::{
    Access, Category, CredentialUse, Effect, Field, FieldKind, Filesystem, Integration, Permissions, Preset, Protocol,
    Runtime, SandboxWish, Setting, Tool,
};
pub use violation::{ManifestErrors, Violation};

use crate::archive::check_name;
use crate::ceilings;
use crate::network::NetworkRule;
use reader::{Node, Object, Record, Unknown};
use serde_json::Value;
use sophon_types::{CanonicalJson, Digest, ServiceName, SkillName, ToolName, Version};

/// Bytes of a manifest.
const MAX_MANIFEST: usize = 512 * 1024;
/// One number of a version. A publisher whose key was stolen must be able to outrun any version the thief chose.
const MAX_VERSION_NUMBER: u64 = 999_999;

/// A manifest without violations. Made by [`Manifest::parse`] alone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Manifest {
    /// The skill's name.
    pub name: SkillName,
    /// Its version (SemVer 2.0).
    pub version: Version,
    /// Who wrote it. Untrusted text: the signature says who vouches for it.
    pub author: String,
    /// The licence, as an SPDX expression where the author follows the contract.
    pub license: String,
    /// What it is for, at most 2000 characters. Untrusted text.
    pub description: String,
    /// Its place in a catalogue.
    pub category: Category,
    /// At most 10 words of at most 32 characters.
    pub tags: Vec<String>,
    /// What runs it.
    pub runtime: Runtime,
    /// How it is spoken to, where it is a native one.
    pub protocol: Protocol,
    /// The file in the package that is run.
    pub entrypoint: String,
    /// The tools, at least one, with different names.
    pub tools: Vec<Tool>,
    /// The services whose credentials it uses.
    pub credentials: Vec<CredentialUse>,
    /// How the service is connected.
    pub integration: Option<Integration>,
    /// Its wishes for the sandbox.
    pub sandbox: SandboxWish,
    /// What it asks to be permitted.
    pub permissions: Permissions,
    /// What can be configured.
    pub settings: Vec<Setting>,
    /// What the runtime has to have installed, such as `PyMySQL==1.1.1`.
    pub requirements: Vec<String>,
    /// The platforms it is made for; empty means all.
    pub platforms: Vec<String>,
    unknown: Vec<String>,
    document: CanonicalJson,
}

impl Manifest {
    /// Reads `manifest.json`.
    ///
    /// # Errors
    /// [`ManifestErrors`] with all violations (at most 100).
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestErrors> {
        let whole = |problem: String, hint: &str| ManifestErrors {
            violations: vec![Violation { field: String::new(), problem, hint: hint.to_owned() }],
        };
        if bytes.len() > MAX_MANIFEST {
            return Err(whole(format!("it has {} bytes", bytes.len()), "keep it within 512 KiB"));
        }
        let document = CanonicalJson::parse(bytes)
            .map_err(|error| whole(error.to_string(), "write one JSON object, UTF-8, each key once"))?;
        let record = Record::default();
        let draft = Node::root(document.value(), &record).object().and_then(|object| Draft::read(object, &record));
        let clean = record.is_clean();
        let (violations, unknown) = record.into_parts();
        match draft {
            Some(draft) if clean => Ok(draft.into_manifest(document, unknown)),
            _ => Err(ManifestErrors { violations }),
        }
    }

    /// Reads a list of tools that stands outside of a manifest, by the same rules.
    pub(crate) fn tools_of(list: &Value, skill: &SkillName) -> Result<Vec<Tool>, ManifestErrors> {
        let record = Record::default();
        let around = permissions::Surroundings { skill: Some(skill), credentials: None, rules: None };
        let tools = tool::tools(&Node::root(list, &record), around);
        let clean = record.is_clean();
        let (violations, _) = record.into_parts();
        match tools {
            Some(tools) if clean => Ok(tools),
            _ => Err(ManifestErrors { violations }),
        }
    }

    /// The tool of that full name.
    #[must_use]
    pub fn tool(&self, name: &ToolName) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == *name)
    }

    /// What the manifest says of a service's credential.
    #[must_use]
    pub fn credential(&self, service: &ServiceName) -> Option<&CredentialUse> {
        self.credentials.iter().find(|credential| credential.service == *service)
    }

    /// The services whose connections a call may use: those that are declared and, of a native skill, the one that it
    /// integrates, which some public manifests declare nowhere else.
    #[must_use]
    pub fn services(&self) -> Vec<CredentialUse> {
        let mut services = self.credentials.clone();
        if let Some(integration) = self.integration.as_ref().filter(|_| self.runtime != Runtime::Wasm)
            && self.credential(&integration.service).is_none()
        {
            let required = integration.fields.iter().any(|field| field.required);
            let service = integration.service.clone();
            services.push(CredentialUse { service, scopes: Vec::new(), required, access: Access::Proxy });
        }
        services
    }

    /// Whether it asks for the network in any form, with or without naming hosts. Decides what the analysis accepts and
    /// what is linked; where requests may go is said by the rules and by a person.
    #[must_use]
    pub fn wants_network(&self) -> bool {
        self.permissions.network.is_some()
            || !self.permissions.streams.is_empty()
            || self.sandbox.network == Some(true)
            || self.tools.iter().any(|tool| tool.network.is_some())
    }

    /// Whether a person has to choose its hosts: it asks for the network and names none, or it is a Python skill that
    /// integrates a service and says nothing of its sandbox, which some public manifests leave out.
    #[must_use]
    pub fn leaves_hosts_open(&self) -> bool {
        let names_some = self.permissions.network.as_ref().is_some_and(|rules| !rules.is_empty());
        let python = match &self.runtime {
            Runtime::Python => true,
            Runtime::Sandbox { language } => language == "python",
            Runtime::Wasm | Runtime::CSharp | Runtime::Container => false,
        };
        let silent = python && self.integration.is_some() && self.document.value().get("sandbox").is_none();
        !names_some && (self.wants_network() || silent)
    }

    /// The rules that hold for a tool: its own list where it has one, else the skill's.
    #[must_use]
    pub fn network_of(&self, tool: &Tool) -> &[NetworkRule] {
        let own = self.tools.iter().find(|known| known.name == tool.name).and_then(|known| known.network.as_deref());
        own.or(self.permissions.network.as_deref()).unwrap_or_default()
    }

    /// Its preset: the one that it names, or the default.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.sandbox.preset.unwrap_or(Preset::Standard)
    }

    /// MiB of linear memory that a component of it gets: what it asks for or its preset gives, within the ceiling.
    #[must_use]
    pub fn memory_mb(&self) -> u32 {
        self.max_memory_mb().unwrap_or(self.preset().memory_mb()).min(ceilings::MEMORY_MB)
    }

    /// Memory in MiB that it asks for: the smaller of `permissions.maxMemoryMb` and `sandbox.maxMemoryMb`.
    #[must_use]
    pub fn max_memory_mb(&self) -> Option<u32> {
        match (self.permissions.max_memory_mb, self.sandbox.max_memory_mb) {
            (Some(permitted), Some(wished)) => Some(permitted.min(wished)),
            (one, other) => one.or(other),
        }
    }

    /// Keys that the contract does not have, by place. They have no effect.
    #[must_use]
    pub fn unknown_keys(&self) -> &[String] {
        &self.unknown
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self) -> &CanonicalJson {
        &self.document
    }

    /// SHA-256 of the canonical document.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.document.digest()
    }
}

/// What was read so far; becomes a manifest where the record is clean.
struct Draft {
    name: SkillName,
    version: Version,
    author: String,
    license: String,
    description: String,
    category: Category,
    tags: Vec<String>,
    runtime: Runtime,
    protocol: Protocol,
    entrypoint: String,
    tools: Vec<Tool>,
    credentials: Vec<CredentialUse>,
    integration: Option<Integration>,
    sandbox: SandboxWish,
    permissions: Permissions,
    settings: Vec<Setting>,
    requirements: Vec<String>,
    platforms: Vec<String>,
}

impl Draft {
    fn read(object: Object<'_>, record: &Record) -> Option<Self> {
        const NAME: &str = "write 2 to 64 characters of a-z, 0-9 and '-', beginning with a letter or digit";
        let text = |key: &'static str, max: usize, hint: &str| object.required(key, hint).and_then(|n| n.text(max));

        let name = object.required("name", NAME).and_then(|n| n.parse::<SkillName>(NAME));
        let version = object.required("version", "write a SemVer version such as 1.0.0").and_then(|n| version(&n));
        let author = object.required("author", "name the author").and_then(|n| author(&n));
        let license = text("license", 256, "write an SPDX identifier such as MIT");
        let description = text("description", 2000, "say what the skill is for, in at most 2000 characters");
        let category = object.optional("category").map_or(Some(Category::Other), |n| category(&n));
        let tags = object.optional("tags").map_or(Some(Vec::new()), |n| texts(&n, 10, 32));
        let runtime = runtime(&object);
        let entrypoint = object
            .required("entrypoint", "name the file that is run, such as skill.wasm")
            .and_then(|n| entrypoint(&n, runtime.as_ref()));
        let protocol = object.optional("protocol").map_or(Some(Protocol::Params), |n| protocol(&n, runtime.as_ref()));
        let credentials = object.optional("credentials").map_or(Some(Vec::new()), |n| connection::credentials(&n));
        let integration = object.optional("integration").map(|n| connection::integration(&n));
        let sandbox = object.optional("sandbox").map_or(Some(SandboxWish::default()), |n| permissions::sandbox(&n));
        let permissions =
            object.optional("permissions").map_or(Some(Permissions::default()), |n| permissions::permissions(&n));
        let around = permissions::Surroundings {
            skill: name.as_ref(),
            credentials: credentials.as_deref(),
            rules: permissions.as_ref().map(|permissions| permissions.network.as_deref().unwrap_or_default()),
        };
        around.check_credentials(around.rules.unwrap_or_default(), "permissions.network", record);
        if sandbox.as_ref().is_some_and(|wish| wish.network == Some(false))
            && around.rules.is_some_and(|rules| !rules.is_empty())
        {
            record.report(
                "sandbox.network",
                "it is false, but permissions.network names hosts",
                "remove one of the two",
            );
        }
        if matches!(runtime, Some(Runtime::Wasm)) && permissions.as_ref().is_some_and(|asked| !asked.streams.is_empty())
        {
            record.report(
                "permissions.streams",
                "a component has no such connections",
                "leave it out; use sophon:skill/http",
            );
        }
        let tools = object.required("tools", "declare at least one tool").and_then(|n| tool::tools(&n, around));
        let settings = object.optional("settings").map_or(Some(Vec::new()), |n| connection::settings(&n));
        let requirements = object.optional("requirements").map_or(Some(Vec::new()), |n| texts(&n, 64, 1024));
        let platforms = object.optional("platforms").map_or(Some(Vec::new()), |n| texts(&n, 16, 64));
        object.finish(Unknown::Note);

        Some(Self {
            name: name?,
            version: version?,
            author: author?.to_owned(),
            license: license?.to_owned(),
            description: description?.to_owned(),
            category: category?,
            tags: tags?,
            runtime: runtime?,
            protocol: protocol?,
            entrypoint: entrypoint?.to_owned(),
            tools: tools?,
            credentials: credentials?,
            integration: match integration {
                Some(integration) => Some(integration?),
                None => None,
            },
            sandbox: sandbox?,
            permissions: permissions?,
            settings: settings?,
            requirements: requirements?,
            platforms: platforms?,
        })
    }

    fn into_manifest(self, document: CanonicalJson, unknown: Vec<String>) -> Manifest {
        Manifest {
            name: self.name,
            version: self.version,
            author: self.author,
            license: self.license,
            description: self.description,
            category: self.category,
            tags: self.tags,
            runtime: self.runtime,
            protocol: self.protocol,
            entrypoint: self.entrypoint,
            tools: self.tools,
            credentials: self.credentials,
            integration: self.integration,
            sandbox: self.sandbox,
            permissions: self.permissions,
            settings: self.settings,
            requirements: self.requirements,
            platforms: self.platforms,
            unknown,
            document,
        }
    }
}

fn version(node: &Node<'_>) -> Option<Version> {
    let text = node.text(64)?;
    let hint = "write a SemVer version such as 1.0.0";
    let version: Version = text.parse().map_err(|error: semver::Error| node.report(error.to_string(), hint)).ok()?;
    if [version.major, version.minor, version.patch].iter().any(|number| *number > MAX_VERSION_NUMBER) {
        node.report("a number of the version is too large", format!("keep each number within {MAX_VERSION_NUMBER}"));
        return None;
    }
    Some(version)
}

/// Text, or an object with a `name` as package managers have it.
fn author<'a>(node: &Node<'a>) -> Option<&'a str> {
    if !node.value().is_object() {
        return node.text(256);
    }
    let object = node.object()?;
    for key in ["email", "url"] {
        if let Some(node) = object.optional(key) {
            node.text(512)?;
        }
    }
    let name = object.required("name", "name the author").and_then(|n| n.text(256));
    object.finish(Unknown::Note);
    name
}

/// The public contract reads a missing or unknown category as `other`.
fn category(node: &Node<'_>) -> Option<Category> {
    let text = node.text_or_empty(64)?;
    let known = Category::WORDS.iter().find(|(word, _)| *word == text);
    Some(known.map_or(Category::Other, |(_, category)| *category))
}

fn runtime(object: &Object<'_>) -> Option<Runtime> {
    let node = object.required("runtime", "write one of wasm, python, csharp, sandbox, container")?;
    let language = object.optional("language").and_then(|n| n.text(64));
    let runtime = node.word(&[
        ("wasm", Runtime::Wasm),
        ("python", Runtime::Python),
        ("csharp", Runtime::CSharp),
        ("sandbox", Runtime::Sandbox { language: language.unwrap_or_default().to_owned() }),
        ("container", Runtime::Container),
    ])?;
    if let Runtime::Sandbox { language } = &runtime
        && language.is_empty()
    {
        object.required("language", r#"name the language, such as "python""#)?;
        return None;
    }
    Some(runtime)
}

fn protocol(node: &Node<'_>, runtime: Option<&Runtime>) -> Option<Protocol> {
    let protocol = node.word(&[("params", Protocol::Params), ("mcp", Protocol::Mcp)])?;
    if runtime == Some(&Runtime::Wasm) {
        node.report("a component is spoken to through its interface", "remove the key");
        return None;
    }
    Some(protocol)
}

fn entrypoint<'a>(node: &Node<'a>, runtime: Option<&Runtime>) -> Option<&'a str> {
    let text = node.text(255)?;
    if let Err(problem) = check_name(text) {
        node.report(problem, "name a file of the package by its relative path");
        return None;
    }
    if runtime == Some(&Runtime::Wasm) && !text.ends_with(".wasm") {
        node.report("a wasm skill's entrypoint is a component", "name a file that ends in .wasm");
        return None;
    }
    Some(text)
}

fn texts(node: &Node<'_>, items: usize, length: usize) -> Option<Vec<String>> {
    node.each(items, |item| item.text(length).map(str::to_owned))
}
