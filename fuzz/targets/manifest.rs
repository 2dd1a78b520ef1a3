//! `manifest.json`: what is accepted obeys the contract and reads back the same; what is refused says why.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use libfuzzer_sys::fuzz_target;
use sophon_skill::Manifest;
use sophon_types::CanonicalJson;
use std::collections::BTreeSet;

fuzz_target!(|data: &[u8]| {
    match Manifest::parse(data) {
        Ok(manifest) => accepted(&manifest),
        Err(errors) => {
            assert!((1..=101).contains(&errors.violations.len()), "{}", errors.violations.len());
            assert!(errors.violations.iter().all(|violation| !violation.problem.is_empty()), "{errors}");
        }
    }
});

fn accepted(manifest: &Manifest) {
    let word = |text: &str, more: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b));
    let name = manifest.name.as_str();
    assert!((2..=64).contains(&name.len()) && !name.starts_with('-') && word(name, "-"), "{name:?}");
    assert!(!name.bytes().any(|b| b.is_ascii_uppercase()), "{name:?}");
    assert!(manifest.description.chars().count() <= 2000);
    assert!(manifest.tags.len() <= 10 && manifest.tags.iter().all(|tag| tag.chars().count() <= 32));
    let entry = &manifest.entrypoint;
    assert!(
        !entry.starts_with('/')
            && !entry.contains('\\')
            && entry.split('/').all(|part| !matches!(part, "" | "." | ".."))
    );

    let mut names = BTreeSet::new();
    for tool in &manifest.tools {
        let (skill, local) = tool.name.as_str().split_once('.').unwrap();
        assert!(skill == name && (1..=64).contains(&local.len()) && word(local, "._-"), "{}", tool.name);
        assert!(names.insert(tool.name.as_str().to_ascii_lowercase()), "{} stands twice", tool.name);
        assert_eq!(manifest.tool(&tool.name).unwrap().name, tool.name);
        assert!(tool.parameters.is_object());
        let wide = manifest.permissions.network.as_deref().unwrap_or_default();
        for rule in tool.network.iter().flatten() {
            assert!(wide.iter().any(|wide| wide.covers(rule)), "{rule}");
        }
    }
    for rule in manifest.tools.iter().flat_map(|tool| manifest.network_of(tool)) {
        assert_eq!(rule.host.to_string().parse().as_ref(), Ok(&rule.host));
        for path in &rule.paths {
            assert_eq!(path.to_string().parse().as_ref(), Ok(path));
        }
        let declared = |service| manifest.credentials.iter().any(|credential| credential.service == service);
        assert!(rule.credential.clone().is_none_or(declared));
    }

    let again = Manifest::parse(manifest.document().as_str().as_bytes()).unwrap();
    assert_eq!(again.digest(), manifest.digest());
    assert_eq!(text(&again), text(manifest));
    assert_eq!(again.unknown_keys().len(), manifest.unknown_keys().len());
}

/// Everything that was read, in canonical form.
fn text(manifest: &Manifest) -> String {
    let read = serde_json::json!({
        "head": [manifest.name.as_str(), &manifest.version.to_string(), &manifest.author, &manifest.license,
                 &manifest.description, manifest.runtime.as_str(), &manifest.entrypoint],
        "lists": [&manifest.tags, &manifest.requirements, &manifest.platforms],
        "category": manifest.category, "tools": manifest.tools, "credentials": manifest.credentials,
        "integration": manifest.integration, "sandbox": manifest.sandbox, "permissions": manifest.permissions,
        "settings": manifest.settings,
    });
    CanonicalJson::of(read).unwrap().as_str().to_owned()
}
