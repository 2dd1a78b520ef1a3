//! A new skill project: everything that a first `sophon build` and `sophon test` need.
//!
//! Promises: what is there already is never overwritten; a project is its own cargo workspace, wherever it stands.

use crate::AuthorError;
use crate::files;
use serde::Serialize;
use sophon_types::SkillName;
use std::path::{Path, PathBuf};

/// What a new project says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOptions {
    /// The folder with the crate `sophon-sdk`, which is on no registry.
    pub sdk: PathBuf,
    /// The manifest's author; `unknown` where nothing is given.
    pub author: Option<String>,
    /// The manifest's description.
    pub description: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// The project's folder.
    pub dir: PathBuf,
    /// The skill.
    pub name: SkillName,
    /// The files, relative to the folder.
    pub files: Vec<&'static str>,
}

const TEMPLATES: [(&str, &str); 7] = [
    ("Cargo.toml", include_str!("../templates/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../templates/lib.rs.in")),
    ("manifest.json", include_str!("../templates/manifest.json.in")),
    ("tests/hello.json", include_str!("../templates/hello.json.in")),
    ("README.md", include_str!("../templates/README.md.in")),
    ("LICENSE", include_str!("../templates/LICENSE")),
    (".gitignore", include_str!("../templates/gitignore.in")),
];

/// Writes the skill `name` into the folder `dir`, which is made and must be empty where it exists.
///
/// # Errors
/// [`AuthorError::Name`], [`AuthorError::Occupied`], [`AuthorError::NoSdk`] or [`AuthorError::Io`].
pub fn new(dir: &Path, name: &str, options: &NewOptions) -> Result<Created, AuthorError> {
    let name: SkillName = name.parse()?;
    let sdk = dependency(&options.sdk)?;
    if files::is_occupied(dir)? {
        return Err(AuthorError::Occupied { path: dir.to_owned() });
    }
    let author = options.author.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or("unknown");
    let described = format!("What {name} is for.");
    let description = options.description.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let values = [
        ("{{name}}", name.to_string()),
        ("{{crate}}", crate_name(&name)),
        ("{{sdk}}", sdk),
        ("{{author}}", quoted(author)),
        ("{{description}}", quoted(description.unwrap_or(&described))),
        ("{{about}}", description.unwrap_or(&described).to_owned()),
    ];
    for (path, template) in TEMPLATES {
        files::write_new(&dir.join(path), filled(template, &values).as_bytes())?;
    }
    Ok(Created { dir: dir.to_owned(), name, files: TEMPLATES.iter().map(|(path, _)| *path).collect() })
}

/// Fills in each placeholder once, from left to right: a value is never searched for placeholders.
fn filled(template: &str, values: &[(&str, String)]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        match values.iter().find(|(key, _)| from.starts_with(key)) {
            Some((key, value)) => {
                text.push_str(value);
                rest = &from[key.len()..];
            }
            None => {
                text.push_str("{{");
                rest = &from[2..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// The package's name for cargo, which takes no name that begins with a digit and no keyword as a library.
fn crate_name(name: &SkillName) -> String {
    const TAKEN: [&str; 56] = [
        "abstract",
        "alloc",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "const",
        "continue",
        "core",
        "crate",
        "do",
        "dyn",
        "else",
        "enum",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "priv",
        "proc-macro",
        "pub",
        "ref",
        "return",
        "self",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
    ];
    let text = name.as_str();
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase()) && !TAKEN.contains(&text) && !is_sdk(text);
    if plain { text.to_owned() } else { format!("skill-{text}") }
}

/// A project cannot depend on a crate of its own name.
fn is_sdk(text: &str) -> bool {
    matches!(text, "sophon-sdk" | "sophon-sdk-macros" | "schemars" | "serde")
}

fn dependency(sdk: &Path) -> Result<String, AuthorError> {
    let none = || AuthorError::NoSdk { path: sdk.to_owned() };
    let found = sdk.canonicalize().ok().filter(|path| is_the_sdk(path)).ok_or_else(none)?;
    let text = found.to_str().ok_or_else(none)?;
    Ok(format!("{{ path = {} }}", quoted(text)))
}

/// Whether a folder holds the crate: its parent, the checkout, is the likeliest mistake and a crate's folder too.
fn is_the_sdk(dir: &Path) -> bool {
    let cargo_toml = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    cargo_toml.lines().any(|line| line.replace(' ', "") == "name=\"sophon-sdk\"")
}

/// A JSON string, which is a TOML basic string too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_types::Fault;

    fn options() -> NewOptions {
        NewOptions {
            sdk: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills-sdk"),
            author: Some("Ada \"{{name}}\" Lovelace".into()),
            description: Some("Says hello.".into()),
        }
    }

    #[test]
    fn writes_a_project_and_never_overwrites() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("weather");
        let created = new(&dir, "weather", &options()).unwrap();
        for file in &created.files {
            let text = std::fs::read_to_string(dir.join(file)).unwrap();
            assert!(!text.contains("{{name}}") || *file == "manifest.json", "{file}");
            assert!(!text.is_empty(), "{file}");
        }
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["author"], "Ada \"{{name}}\" Lovelace");
        assert_eq!(manifest["name"], "weather");

        std::fs::write(dir.join("src/lib.rs"), "mine").unwrap();
        let again = new(&dir, "weather", &options()).unwrap_err();
        assert_eq!(again.code(), "folder_not_empty");
        assert_eq!(std::fs::read_to_string(dir.join("src/lib.rs")).unwrap(), "mine");
    }

    #[test]
    fn refuses_names_and_sdks_that_are_none() {
        let home = tempfile::tempdir().unwrap();
        for name in ["", "Weather", "../weather", "a", "a b"] {
            let refused = new(&home.path().join("x"), name, &options()).unwrap_err();
            assert_eq!(refused.code(), "invalid_skill_name", "{name:?}");
        }
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for sdk in [home.path().join("nowhere"), checkout] {
            let refused = new(&home.path().join("x"), "weather", &NewOptions { sdk, ..options() }).unwrap_err();
            assert_eq!(refused.code(), "no_sdk");
        }
        assert!(!home.path().join("x").exists());
    }

    #[test]
    fn crate_names_are_what_cargo_takes() {
        for (name, want) in [
            ("weather", "weather"),
            ("a-b--c-", "a-b--c-"),
            ("7zip", "skill-7zip"),
            ("test", "skill-test"),
            ("struct", "skill-struct"),
            ("serde", "skill-serde"),
            ("sophon-sdk", "skill-sophon-sdk"),
        ] {
            assert_eq!(crate_name(&name.parse().unwrap()), want);
        }
    }
}
