use super::*;
use crate::network::HostGrant;
use crate::package::PackageError;
use crate::testing::{files, identity, manifest, package};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Trusts the identities 1 (a publisher), 2 (another) and 3 (local); 4 is revoked; 5 is unknown.
fn trust_store() -> TrustStore {
    let publisher = |seed: u8, role, standing| Publisher {
        key: identity(seed).public_key(),
        name: format!("publisher {seed}"),
        role,
        standing,
    };
    TrustStore {
        publishers: vec![
            publisher(1, PublisherRole::Publisher, Standing::Trusted),
            publisher(2, PublisherRole::Publisher, Standing::Trusted),
            publisher(3, PublisherRole::Local, Standing::Trusted),
            publisher(4, PublisherRole::Publisher, Standing::Revoked),
        ],
        pins: BTreeMap::new(),
    }
}

fn pinned_to(seed: u8) -> TrustStore {
    let pins = BTreeMap::from([("demo".parse().unwrap(), identity(seed).public_key().fingerprint())]);
    TrustStore { pins, ..trust_store() }
}

/// The code of the refusal, or the trust of the evidence.
fn outcome(envelope: Option<&Envelope>, store: &TrustStore, unsigned: Unsigned) -> String {
    match verify(package(&manifest()), envelope, store, unsigned) {
        Ok(verified) => verified.trust().to_string(),
        Err(error) => {
            assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
            error.code().to_owned()
        }
    }
}

fn signed_by(seed: u8) -> Envelope {
    Envelope::sign(&identity(seed), &package(&manifest()))
}

#[test]
fn attack_34_signatures_decide_the_trust() {
    use Unsigned::{DangerouslyAllow, Refuse};
    let store = trust_store();
    let check = |envelope: Option<Envelope>, unsigned, expected: &str| {
        assert_eq!(outcome(envelope.as_ref(), &store, unsigned), expected);
    };
    check(Some(signed_by(1)), Refuse, "trusted");
    check(Some(signed_by(3)), Refuse, "local-dev");
    // Stripped, by an unknown key, by a revoked key.
    check(None, Refuse, "unsigned");
    check(Some(signed_by(5)), Refuse, "unknown_signer");
    check(Some(signed_by(4)), Refuse, "revoked_key");
    // A person may let in what nobody vouches for, but not what a revoked key signed.
    check(None, DangerouslyAllow, "unsigned");
    check(Some(signed_by(5)), DangerouslyAllow, "unsigned");
    check(Some(signed_by(4)), DangerouslyAllow, "revoked_key");
    assert_eq!(outcome(Some(&signed_by(1)), &TrustStore::default(), Refuse), "unknown_signer");
}

#[test]
fn attack_34_signatures_of_other_skills_and_versions_are_refused() {
    let other = |edit: &dyn Fn(&mut Value)| {
        let mut manifest = manifest();
        edit(&mut manifest);
        Envelope::sign(&identity(1), &package(&manifest))
    };
    for unsigned in [Unsigned::Refuse, Unsigned::DangerouslyAllow] {
        for envelope in [
            other(&|m| m["name"] = json!("other")),
            other(&|m| m["version"] = json!("1.0.1")),
            other(&|m| m["description"] = json!("Something else.")),
        ] {
            let code = outcome(Some(&envelope), &trust_store(), unsigned);
            assert_eq!(code, "signature_for_other_package");
        }
    }
}

#[test]
fn attack_34_a_signature_that_claims_a_known_key_is_forged() {
    let mut json: Value = serde_json::from_str(&signed_by(5).to_json()).unwrap();
    json["signatures"][0]["keyid"] = json!(identity(1).public_key().fingerprint());
    let envelope = Envelope::parse(json.to_string().as_bytes()).unwrap();
    for unsigned in [Unsigned::Refuse, Unsigned::DangerouslyAllow] {
        assert_eq!(outcome(Some(&envelope), &trust_store(), unsigned), "forged_signature");
    }
    // And the key id cannot make a good signature another's.
    let mut json: Value = serde_json::from_str(&signed_by(1).to_json()).unwrap();
    json["signatures"][0]["keyid"] = json!(identity(4).public_key().fingerprint());
    let envelope = Envelope::parse(json.to_string().as_bytes()).unwrap();
    assert_eq!(outcome(Some(&envelope), &trust_store(), Unsigned::Refuse), "trusted");
}

#[test]
fn attack_32_the_signature_covers_the_whole_archive() {
    let envelope = signed_by(1);
    for name in ["README.md", "LICENSE", "extra.txt"] {
        let mut files = files(&manifest());
        files.insert(name.to_owned(), b"changed\n".to_vec());
        let package = Package::read(crate::pack(&files).unwrap()).unwrap();
        let error = verify(package, Some(&envelope), &trust_store(), Unsigned::Refuse).unwrap_err();
        assert_eq!(error.code(), "signature_for_other_package", "{name}");
    }
    // Bytes that no file holds are covered too: a time stamp in both headers.
    let mut bytes = crate::pack(&files(&manifest())).unwrap();
    bytes[10] ^= 1;
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[central + 12] ^= 1;
    let package = Package::read(bytes).unwrap();
    let error = verify(package, Some(&envelope), &trust_store(), Unsigned::Refuse).unwrap_err();
    assert_eq!(error.code(), "signature_for_other_package");
}

#[test]
fn attack_35_rollback_and_fast_forward_are_refused() {
    let verified = |version: &str| {
        let mut manifest = manifest();
        manifest["version"] = json!(version);
        verify(package(&manifest), None, &trust_store(), Unsigned::DangerouslyAllow).unwrap()
    };
    let check = |version: &str, highest: &str, expected: Option<&str>| {
        let result = verified(version).check_follows(&highest.parse().unwrap());
        assert_eq!(result.err().map(|error| error.code()), expected, "{version} after {highest}");
    };
    check("1.0.1", "1.0.0", None);
    check("2026.1.0", "1.0.0", None);
    check("1.0.0", "1.0.0-rc.1", None);
    check("1.0.0", "1.0.0", Some("version_not_newer"));
    check("1.0.0+new", "1.0.0+old", Some("version_not_newer"));
    check("1.0.0-rc.1", "1.0.0", Some("version_not_newer"));
    check("0.9.0", "1.0.0", Some("version_not_newer"));
    check("999999.0.0", "1.0.0", Some("version_too_far_ahead"));
}

#[test]
fn attack_35_mix_and_match_wrong_skill_and_endless_data_are_refused() {
    // The manifest of one version with the code of another has a digest that nobody signed.
    let mut mixed = files(&manifest());
    mixed.insert("skill.wasm".to_owned(), crate::testing::component("(core module)"));
    let package_of = |files| Package::read(crate::pack(&files).unwrap());
    let error = verify(package_of(mixed).unwrap(), Some(&signed_by(1)), &trust_store(), Unsigned::Refuse).unwrap_err();
    assert_eq!(error.code(), "signature_for_other_package");
    let limits = crate::ArchiveLimits { archive_bytes: 1000, ..Default::default() };
    let endless = vec![0_u8; 1001];
    let error = Package::read_within(endless.into(), &limits).unwrap_err();
    assert_eq!(error.code(), "archive_too_large");
    let mut files = files(&manifest());
    files.insert("README.md".to_owned(), vec![b'x'; 64 * 1024 + 1]);
    assert!(matches!(package_of(files), Err(PackageError::Readme { .. })));
}

#[test]
fn attack_36_a_name_belongs_to_one_key() {
    use Unsigned::{DangerouslyAllow, Refuse};
    let store = pinned_to(1);
    let check = |envelope: Option<Envelope>, unsigned, expected: &str| {
        assert_eq!(outcome(envelope.as_ref(), &store, unsigned), expected);
    };
    check(Some(signed_by(1)), Refuse, "trusted");
    for unsigned in [Refuse, DangerouslyAllow] {
        // Another trusted publisher, a local identity, an unknown key, and no signature at all.
        check(Some(signed_by(2)), unsigned, "name_pinned_to_other_key");
        check(Some(signed_by(3)), unsigned, "name_pinned_to_other_key");
        check(Some(signed_by(5)), unsigned, "name_pinned_to_other_key");
        check(None, unsigned, "name_pinned_to_other_key");
    }
    assert_eq!(outcome(Some(&signed_by(4)), &pinned_to(4), Refuse), "revoked_key");
}

#[test]
fn attack_36_the_digest_is_checked_again_at_load() {
    let original = package(&manifest());
    let bytes = original.bytes().clone();
    assert!(Package::read_pinned(bytes.clone(), original.digest()).is_ok());
    let mut other = files(&manifest());
    other.insert("skill.wasm".to_owned(), crate::testing::component("(core module)"));
    let swapped = crate::pack(&other).unwrap();
    let error = Package::read_pinned(swapped, original.digest()).unwrap_err();
    assert_eq!(error.code(), "digest_mismatch");
    assert_eq!(error.kind(), FaultKind::Untrusted);
}

#[test]
fn what_the_analysis_rejects_is_refused_whoever_signed_it() {
    let mut files = files(&manifest());
    files.insert("skill.wasm".to_owned(), crate::testing::component(r#"(import "wasi:sockets/tcp@0.2.0" (instance))"#));
    let package = Package::read(crate::pack(&files).unwrap()).unwrap();
    let envelope = Envelope::sign(&identity(3), &package);
    let error = verify(package, Some(&envelope), &trust_store(), Unsigned::DangerouslyAllow).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("rejected_by_analysis", FaultKind::Denied));
    assert!(error.hint().unwrap().contains("sophon:skill/http"), "{error}");
}

#[test]
fn a_package_has_the_files_of_the_contract() {
    for name in ["manifest.json", "skill.wasm", "README.md", "LICENSE"] {
        let mut files = files(&manifest());
        files.remove(name);
        let error = Package::read(crate::pack(&files).unwrap()).unwrap_err();
        assert!(matches!(&error, PackageError::Missing { file } if file == name), "{error}");
    }
    // In a folder is not at the root.
    let wrapped = files(&manifest()).into_iter().map(|(name, content)| (format!("demo/{name}"), content)).collect();
    assert_eq!(Package::read(crate::pack(&wrapped).unwrap()).unwrap_err().code(), "missing_file");
}

#[test]
fn terms_must_fit_the_skill() {
    let mut manifest = manifest();
    manifest["settings"] = json!([{"key": "region", "description": "Where.", "default": "eu"}]);
    let verified = verify(package(&manifest), None, &trust_store(), Unsigned::DangerouslyAllow).map(Arc::new).unwrap();
    let terms = |settings: &[(&str, &str)], grants: usize| InstallTerms {
        tenant: "default".parse().unwrap(),
        grants: (0..grants).map(|n| format!("10.0.0.1:{}", n + 1).parse::<HostGrant>().unwrap()).collect(),
        streams: Vec::new(),
        settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let installed = verified.install(terms(&[], 1)).unwrap();
    assert_eq!(installed.setting("region"), Some("eu"));
    assert_eq!(installed.setting("other"), None);
    assert_eq!(installed.grants()[0].to_string(), "10.0.0.1:1");
    assert!(installed.tool(&"demo.get".parse().unwrap()).is_some());
    assert_eq!(verified.install(terms(&[("region", "us")], 0)).unwrap().setting("region"), Some("us"));
    assert!(matches!(verified.install(terms(&[("regoin", "us")], 0)), Err(TermsError::UnknownSetting { .. })));
    let unasked = InstallTerms { streams: vec!["imap://mail.example.com:993".parse().unwrap()], ..terms(&[], 0) };
    assert!(matches!(verified.install(unasked), Err(TermsError::StreamNotAsked { .. })));
    assert!(matches!(verified.install(terms(&[], 65)), Err(TermsError::TooManyGrants(65))));
    assert!(matches!(
        verified.install(terms(&[("region", &"x".repeat(5000))], 0)),
        Err(TermsError::LongSetting { .. })
    ));
}
