//! A call runs in the code that it was approved for, and in no other.

use super::*;
use sophon_approval::{CallRequest, Gate, Policy, assess};
use sophon_audit::{Action, AuditConfig, AuditKeys, AuditLog, Outcome, Record};
use sophon_egress::Deadline;
use sophon_skill::{InstallTerms, InstalledSkill, Package, TrustStore, Unsigned, VerifiedPackage};
use sophon_store::{Store, StoreConfig};
use sophon_types::{CallId, CanonicalJson, Clock, CorrelationId, KeyId, Principal, Role, Timestamp};
use std::collections::BTreeMap;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_769_850_000_000_000)
    }
}

fn verified(readme: &str) -> Arc<VerifiedPackage> {
    let tools = r#"[{"name": "go", "description": "d", "riskLevel": "none", "parameters": {"type": "object"}}]"#;
    let manifest = format!(
        r#"{{"name": "probe", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "d",
            "category": "utility", "runtime": "wasm", "entrypoint": "skill.wasm", "tools": {tools}}}"#
    );
    let component = sophon_skill::with_tools_section(&lift(&module("", "", FINE)), tools.as_bytes()).unwrap();
    let files = [
        ("manifest.json", manifest.into_bytes()),
        ("skill.wasm", component),
        ("README.md", readme.as_bytes().to_vec()),
        ("LICENSE", b"Apache-2.0".to_vec()),
    ];
    let files: BTreeMap<_, _> = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
    let package = Package::read(sophon_skill::pack(&files).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let verified = sophon_skill::verify(package, None, &TrustStore::default(), Unsigned::DangerouslyAllow);
    Arc::new(verified.unwrap_or_else(|error| panic!("{error}")))
}

fn approved(skill: &InstalledSkill) -> sophon_approval::ApprovedCall {
    let principal = Principal {
        tenant: "acme".parse().unwrap(),
        user: "ann".parse().unwrap(),
        key: KeyId::from_bytes([1; 16]),
        role: Role::Agent,
    };
    let request = CallRequest {
        principal,
        call: CallId::from_bytes([2; 16]),
        correlation: CorrelationId::from_bytes([3; 16]),
        session: None,
        arguments: CanonicalJson::parse(b"{}").unwrap(),
    };
    let assessed = assess(request, Arc::new(skill.clone()), 0, &Arc::new(Policy::default())).unwrap();
    Gate::default()
        .pass(assessed, sophon_approval::Setting::default(), sophon_types::Timestamp::from_micros(0))
        .unwrap()
}

#[tokio::test]
async fn a_call_that_was_approved_for_another_package_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let paths = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
    let store = Store::open(paths).await.unwrap();
    let config = AuditConfig { writer: "host".into(), keys: AuditKeys::new([1; 32], [2; 32]), checkpoint_every: 100 };
    let log = AuditLog::open(config, store.clone(), Arc::new(Noon)).await.unwrap();
    let intent = log.append(Record::new(Action::CallIntent, Outcome::Intent)).await.unwrap();

    let lab = Lab::new(small());
    // The same name, version and code, but another package.
    let (first, second) = (verified("One."), verified("Two."));
    let terms = InstallTerms {
        tenant: "acme".parse().unwrap(),
        grants: Vec::new(),
        streams: Vec::new(),
        settings: BTreeMap::new(),
    };
    let installed = first.install(terms).unwrap();
    let run = async |package: &VerifiedPackage| {
        let prepared = lab.runtime.prepare(package).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(prepared.digest(), package.digest());
        let deadline = Deadline::at(Instant::now() + Duration::from_secs(20));
        lab.runtime.run(&prepared, approved(&installed), &intent, doors(), deadline).await
    };
    let report = run(&first).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    let report = run(&second).await;
    assert!(matches!(&report.output, Err(RunFailure::Host { .. })), "{:?}", report.output);
    assert_eq!(report.usage, Usage::default());
}
