//! The structure of the house, as `docs/architecture.md` states it, read from `cargo metadata` and from the sources.

use crate::harness::{command, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which floor each crate of the host stands on.
const FLOORS: [(&str, u8); 14] = [
    ("sophon-types", 0),
    ("sophon-init", 0),
    ("sophon-guard", 1),
    ("sophon-store", 1),
    ("sophon-skill", 2),
    ("sophon-audit", 2),
    ("sophon-vault", 3),
    ("sophon-approval", 4),
    ("sophon-egress", 4),
    ("sophon-sandbox", 5),
    ("sophon-executor", 6),
    ("sophon-author", 6),
    ("sophon-gateway", 7),
    ("sophon-cli", 8),
];

/// Libraries that only the named crates may depend on.
const ONLY: [(&str, &[&str]); 16] = [
    // `author` runs a module of the author's own, at build time, to ask it for its tools; no import is linked.
    ("wasmtime", &["sophon-sandbox", "sophon-author"]),
    ("wasmtime-wasi", &["sophon-sandbox"]),
    ("wasmtime-wasi-http", &["sophon-sandbox"]),
    ("bollard", &["sophon-sandbox"]),
    ("landlock", &["sophon-sandbox"]),
    ("sqlx", &["sophon-store"]),
    ("object_store", &["sophon-store"]),
    ("aes-gcm", &["sophon-vault"]),
    ("argon2", &["sophon-vault"]),
    ("rustls", &["sophon-egress"]),
    ("tokio-rustls", &["sophon-egress"]),
    ("rcgen", &["sophon-egress"]),
    ("governor", &["sophon-gateway"]),
    ("utoipa", &["sophon-gateway"]),
    ("rpassword", &["sophon-cli"]),
    ("clap", &["sophon-cli"]),
];

/// What crates that do no I/O may not depend on.
const IO: [&str; 10] =
    ["tokio", "hyper", "hyper-util", "axum", "sqlx", "object_store", "wasmtime", "rustls", "cap-std", "getrandom"];

/// Where a disallowed method may be called: file (in the checkout) and why it is there.
const EXPECTED: [(&str, &str); 23] = [
    ("host/cli/src/system.rs", "the environment and the clock"),
    ("host/egress/src/resolve.rs", "names are resolved"),
    ("host/egress/src/credential.rs", "a secret is attached"),
    ("host/egress/src/token.rs", "a narrow token is kept for its placeholder"),
    ("host/egress/src/placeholder/mod.rs", "a secret is put where its placeholder stands"),
    ("host/vault/src/lease.rs", "a secret is opened"),
    ("host/vault/src/secret.rs", "a secret is opened to be attached"),
    ("host/vault/tests/vault.rs", "the vault's own test"),
    ("host/vault/tests/oauth.rs", "the vault's own test"),
    ("host/audit/tests/audit/breakage.rs", "the audit's own test"),
    ("host/author/src/cargo.rs", "cargo is started"),
    ("host/init/src/command.rs", "the one command of a sandbox is started, inside it"),
    ("host/sandbox/src/compile/worker.rs", "the compiler is started"),
    ("host/sandbox/examples/compile_probe.rs", "a compiler that was taken over tries to start programs"),
    ("host/sandbox/src/container/tests/lab.rs", "a test is told of an engine"),
    ("host/sandbox/src/wasm/tests/hostile.rs", "a test is started again, alone in its process"),
    ("tests/harness/mount.rs", "whoever runs the tests says whether a machine must be able to mount"),
    ("tests/harness/process.rs", "the program under test is started"),
    ("tests/bench/src/host.rs", "a bench reads the clock"),
    ("tests/bench/src/process.rs", "a bench starts what it compares"),
    ("tests/floors.rs", "this table"),
    ("tests/csharp.rs", "a test is told whether native skills are required"),
    ("tests/public_skills.rs", "a test is told of an engine"),
];

/// Where unsafe code may stand: compiled components are mapped there, and this file names the lint.
const UNSAFE: [&str; 2] = ["host/sandbox/src/compile/mapped.rs", "tests/floors.rs"];

#[derive(Default)]
struct Crate {
    /// Dependencies for use, not for tests.
    normal: BTreeSet<String>,
    folder: PathBuf,
}

fn crates() -> BTreeMap<String, Crate> {
    let mut cargo = command(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let output = cargo.output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
            let found = Crate {
                normal: normal.filter_map(|dependency| dependency["name"].as_str().map(str::to_owned)).collect(),
                folder: manifest.parent().expect("a folder").to_owned(),
            };
            (package["name"].as_str().expect("a name").to_owned(), found)
        })
        .collect()
}

#[test]
fn a_crate_depends_on_lower_floors_only() {
    let crates = crates();
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    for (name, found) in crates.iter().filter(|(_, found)| found.folder.starts_with(root().join("host"))) {
        let floor =
            floors.get(&**name).unwrap_or_else(|| panic!("{name} has no floor: give it one here and in the docs"));
        for dependency in found.normal.iter().filter(|dependency| dependency.starts_with("sophon-")) {
            let below = floors
                .get(&**dependency)
                .unwrap_or_else(|| panic!("{name} depends on {dependency}, no part of the host"));
            assert!(below < floor, "{name} (floor {floor}) depends on {dependency} (floor {below})");
        }
    }
    assert_eq!(floors.len(), FLOORS.len());
}

#[test]
fn a_library_is_known_to_one_crate_only() {
    let crates = crates();
    for (library, allowed) in ONLY {
        for (name, found) in crates.iter().filter(|(name, _)| FLOORS.iter().any(|(host, _)| host == name)) {
            let knows = found.normal.contains(library);
            assert!(!knows || allowed.contains(&&**name), "{name} depends on {library}; only {allowed:?} may");
        }
    }
}

#[test]
fn types_guard_and_skill_do_no_io() {
    let crates = crates();
    for name in ["sophon-types", "sophon-guard", "sophon-skill"] {
        let found = &crates[name];
        for library in IO {
            assert!(!found.normal.contains(library), "{name} depends on {library}");
        }
        let of_tests = |path: &Path| {
            path.components()
                .any(|part| ["tests", "tests.rs", "testing.rs"].iter().any(|name| part.as_os_str() == *name))
        };
        let sources = sources(&found.folder.join("src"));
        for (path, text) in sources.iter().filter(|(path, _)| !of_tests(path)) {
            for word in [
                "std::fs",
                "TcpStream",
                "TcpListener",
                "UdpSocket",
                "std::process",
                "std::env",
                "std::thread",
                "async fn",
            ] {
                let used = text.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
                assert!(used.is_none() || in_tests(text, word), "{}: {word}", path.display());
            }
        }
    }
}

#[test]
fn a_socket_is_opened_by_egress_the_gateway_and_the_command_line_only() {
    // `init` runs inside a sandbox, where there is nothing but a loopback of its own.
    let allowed = [
        "host/egress",
        "host/gateway",
        "host/cli",
        "host/init",
        "host/sandbox/src/container/tests",
        // A compiler that was taken over tries to.
        "host/sandbox/src/compile/tests.rs",
        "host/sandbox/examples/compile_probe.rs",
    ]
    .map(|folder| root().join(folder));
    for (path, text) in sources(&root().join("host")) {
        if allowed.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        for word in ["TcpStream", "TcpListener", "UdpSocket", "UnixStream"] {
            assert!(!text.contains(word) || in_tests(&text, word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn only_the_gateway_knows_status_codes_of_its_own_api() {
    let crates = crates();
    for (name, found) in &crates {
        if !FLOORS.iter().any(|(host, floor)| host == name && *floor < 7)
            || name == "sophon-egress"
            || name == "sophon-sandbox"
        {
            continue;
        }
        for library in ["axum", "http", "hyper"] {
            assert!(!found.normal.contains(library), "{name} depends on {library}");
        }
    }
}

#[test]
fn a_disallowed_method_is_called_where_the_table_says_only() {
    let expected: BTreeSet<PathBuf> = EXPECTED.iter().map(|(file, _)| root().join(file)).collect();
    let mut found = BTreeSet::new();
    for folder in ["host", "skills-sdk", "tests"] {
        for (path, text) in sources(&root().join(folder)) {
            if text.contains("clippy::disallowed_methods") {
                found.insert(path);
            }
        }
    }
    let surprises: Vec<_> = found.difference(&expected).collect();
    assert!(surprises.is_empty(), "{surprises:?} call a disallowed method; add them here with a reason, or do not");
}

#[test]
fn no_lint_is_switched_off_and_one_module_has_unsafe_code() {
    for folder in ["host", "skills-sdk", "tests"] {
        for (path, text) in sources(&root().join(folder)) {
            let code = |word: &str| text.lines().any(|line| line.trim_start().starts_with(word));
            for word in ["#[allow", "#![allow", "#[ignore"] {
                assert!(!code(word), "{}: {word}", path.display());
            }
            let lifted = text.contains("(unsafe_code,");
            assert!(!lifted || UNSAFE.iter().any(|file| path == root().join(file)), "{}: unsafe code", path.display());
        }
    }
    // Where that lint is not lifted, the compiler finds unsafe code.
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"deny\""));
    for (name, found) in crates() {
        let text = std::fs::read_to_string(found.folder.join("Cargo.toml")).expect("a manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{name} does not take the workspace's lints");
    }
}

#[test]
fn the_documents_name_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for folder in ["host", "skills-sdk", "tests", "examples"] {
        for (_, text) in sources(&root().join(folder)) {
            let names = text.lines().filter_map(|line| {
                line.trim_start()
                    .trim_start_matches("async ")
                    .strip_prefix("fn ")?
                    .split(['(', '<'])
                    .next()
                    .map(str::to_owned)
            });
            tests.extend(names);
        }
    }
    for document in ["docs/architecture.md", "docs/threat-model.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
        let mut named = 0;
        // A name of a test is the only thing in backquotes that is written like this.
        let is_name = |word: &&str| {
            word.matches('_').count() > 2
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        for name in text.split('`').filter(is_name) {
            named += 1;
            assert!(tests.contains(name), "{document} names {name}, which is no test");
        }
        assert!(named > 5, "{document} names {named} tests");
    }
}

/// Every Rust file below `folder`, build output left out.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            found.push((path, text));
        }
    }
    found
}

/// Whether every use of `word` stands behind the file's `#[cfg(test)]`.
fn in_tests(text: &str, word: &str) -> bool {
    let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
    text.match_indices(word).all(|(at, _)| at > tests)
}
