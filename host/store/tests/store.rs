//! The store through its public face, on real files.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what cannot be set up has failed")]

use bytes::Bytes;
use futures::future::join_all;
use serde_json::json;
use sophon_store::{
    Activation, AuditFilter, AuditHead, AuditRow, Begun, CallChange, CallRow, Connection, ConnectionRow, KeyRow, Order,
    PublisherRow, Quota, SealedField, SkillRow, Store, StoreConfig, StoreError, Swap,
};
use sophon_types::{
    CallId, CorrelationId, Digest, Fault, KeyId, Role, SkillName, TenantId, Timestamp, ToolName, Trust, UserId,
};
use std::collections::HashSet;
use std::fmt::Debug;
use std::path::Path;
use std::str::FromStr;
use tempfile::TempDir;

fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn config(folder: &Path) -> StoreConfig {
    StoreConfig { database: folder.join("sophon.db"), blobs: folder.join("blobs") }
}

async fn open() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(config(folder.path())).await.unwrap();
    (folder, store)
}

fn key(n: u8) -> KeyRow {
    KeyRow {
        id: KeyId::from_bytes([n; 16]),
        tenant: name("default"),
        user: name("ann"),
        role: Role::Agent,
        label: format!("key {n}"),
        secret_digest: Digest::of(&[n]),
        results: "text".to_owned(),
        created_at: at(i64::from(n)),
        revoked_at: None,
    }
}

#[tokio::test]
async fn keys_are_found_by_digest_and_revoked_once() {
    let (_folder, store) = open().await;
    let keys = store.keys();
    keys.insert(key(1)).await.unwrap();
    keys.insert(key(2)).await.unwrap();
    assert!(matches!(keys.insert(key(1)).await, Err(StoreError::Conflict { .. })));
    assert_eq!(keys.by_digest(&Digest::of(&[1])).await.unwrap(), Some(key(1)));
    assert_eq!(keys.by_digest(&Digest::of(&[9])).await.unwrap(), None);
    assert_eq!(keys.list(&name("default")).await.unwrap(), [key(1), key(2)]);
    assert_eq!(keys.list(&name("other")).await.unwrap(), []);
    assert_eq!(keys.revoke(&name("other"), key(1).id, at(50)).await.unwrap(), None);
    assert_eq!(keys.revoke(&name("default"), key(1).id, at(50)).await.unwrap().unwrap().revoked_at, Some(at(50)));
    keys.revoke(&name("default"), key(1).id, at(60)).await.unwrap();
    assert_eq!(keys.by_digest(&Digest::of(&[1])).await.unwrap().unwrap().revoked_at, Some(at(50)));
}

fn skill(version: &str) -> SkillRow {
    SkillRow {
        tenant: name("default"),
        name: name("github-issues"),
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
        trust: Trust::Trusted,
        publisher: Some("ab".repeat(32)),
        envelope: Some("{}".into()),
        grants: json!(["api.github.com:443"]),
        settings: json!({"language": "en"}),
        activation: Activation::Enabled,
        installed_by: name("ann"),
        installed_at: at(7),
    }
}

#[tokio::test]
async fn the_highest_version_survives_replacement_and_removal() {
    let (_folder, store) = open().await;
    let skills = store.skills();
    let (tenant, skill_name): (TenantId, SkillName) = (name("default"), name("github-issues"));
    assert_eq!(skills.highest_version(&tenant, &skill_name).await.unwrap(), None);
    for version in ["1.9.0", "1.10.0", "1.10.0-rc.1"] {
        skills.put(skill(version)).await.unwrap();
    }
    assert_eq!(skills.list(&tenant).await.unwrap(), [skill("1.10.0-rc.1")]);
    assert_eq!(skills.list_all().await.unwrap().len(), 1);
    assert_eq!(skills.get(&name("other"), &skill_name).await.unwrap(), None);
    let off = skills.activate(&tenant, &skill_name, Activation::Disabled).await.unwrap().unwrap();
    assert_eq!(off.activation, Activation::Disabled);
    let quota = Quota { bytes: 100, entries: 1 };
    store.state().write(&tenant, &skill_name, "k", b"v".to_vec(), quota).await.unwrap();
    assert_eq!(skills.remove(&tenant, &skill_name).await.unwrap().unwrap().version, name("1.10.0-rc.1"));
    assert_eq!(skills.remove(&tenant, &skill_name).await.unwrap(), None);
    assert_eq!(store.state().read(&tenant, &skill_name, "k").await.unwrap(), None);
    assert_eq!(skills.highest_version(&tenant, &skill_name).await.unwrap(), Some(name("1.10.0")));
    let digest = async |version: &str| skills.versions_digest(&tenant, &skill_name, &name(version)).await.unwrap();
    assert_eq!(digest("1.10.0").await, Some(Digest::of(b"1.10.0")));
    assert_eq!(digest("1.9.0").await, Some(Digest::of(b"1.9.0")));
    assert_eq!(digest("2.0.0").await, None);
    // Other bytes under a version that was there do not become what that version was.
    skills.put(SkillRow { digest: Digest::of(b"rebuilt"), ..skill("1.10.0") }).await.unwrap();
    assert_eq!(digest("1.10.0").await, Some(Digest::of(b"1.10.0")));
}

#[tokio::test]
async fn a_skill_name_belongs_to_one_key() {
    let (_folder, store) = open().await;
    let publishers = store.publishers();
    let (tenant, skill_name): (TenantId, SkillName) = (name("default"), name("github-issues"));
    let publisher = PublisherRow {
        tenant: tenant.clone(),
        fingerprint: "aa".repeat(32),
        public_key: [3; 32],
        name: "Example".into(),
        role: "publisher".into(),
        added_at: at(1),
        revoked_at: None,
    };
    publishers.insert(publisher.clone()).await.unwrap();
    assert!(matches!(publishers.insert(publisher.clone()).await, Err(StoreError::Conflict { .. })));
    publishers.pin(&tenant, &skill_name, &publisher.fingerprint).await.unwrap();
    publishers.pin(&tenant, &skill_name, &publisher.fingerprint).await.unwrap();
    let other = publishers.pin(&tenant, &skill_name, "bb").await.unwrap_err();
    assert!(other.to_string().contains("another publisher"), "{other}");
    assert_eq!(publishers.pins(&tenant).await.unwrap(), [(skill_name, publisher.fingerprint.clone())]);
    let revoked = publishers.revoke(&tenant, &publisher.fingerprint, at(5)).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(5)));
    let refused = publishers.insert(publisher.clone()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict { what } if what.contains("known already")), "{refused}");
    // Only a person who says so ends a revocation.
    let again = PublisherRow { name: "Example again".into(), role: "local".into(), added_at: at(9), ..publisher };
    publishers.trust(PublisherRow { revoked_at: Some(at(8)), ..again.clone() }).await.unwrap();
    assert_eq!(publishers.list(&tenant).await.unwrap(), std::slice::from_ref(&again));
    let imposter = publishers.trust(PublisherRow { public_key: [4; 32], ..again.clone() }).await;
    assert!(matches!(imposter, Err(StoreError::Conflict { .. })), "another key under the same fingerprint");
    let new = PublisherRow { fingerprint: "bb".repeat(32), added_at: at(10), ..again.clone() };
    publishers.trust(new.clone()).await.unwrap();
    assert_eq!(publishers.list(&tenant).await.unwrap(), [again, new]);
}

/// A conflict is for people to read: no names of tables and columns.
#[tokio::test]
async fn conflicts_are_said_in_plain_words() {
    let (_folder, store) = open().await;
    store.keys().insert(key(1)).await.unwrap();
    store.calls().begin(call(1, None), call(1, None).created_at).await.unwrap();
    let forged = AuditRow { seq: 0, ..audit_rows(1, 1).remove(0) };
    for refused in [
        store.keys().insert(key(1)).await.unwrap_err(),
        store.calls().begin(call(1, None), call(1, None).created_at).await.unwrap_err(),
        store.audit().append("host", head(0), vec![forged], None, Vec::new()).await.unwrap_err(),
    ] {
        let text = refused.to_string();
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused:?}");
        for word in ["constraint", "api_keys", "calls.", "audit", "code"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mode = |file: &str| std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777;
    let widen = |file: &str, mode| {
        std::fs::set_permissions(folder.path().join(file), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |when: &str| {
        for file in ["sophon.db", "sophon.db-wal", "sophon.db-shm"] {
            assert_eq!(mode(file), 0o600, "{file} {when}");
        }
        assert_eq!(mode("blobs"), 0o700, "{when}");
    };
    let store = Store::open(config(folder.path())).await.unwrap();
    store.keys().insert(key(1)).await.unwrap();
    check("of a new store");
    store.close().await;
    widen("sophon.db", 0o644);
    widen("blobs", 0o755);
    let store = Store::open(config(folder.path())).await.unwrap();
    store.keys().insert(key(2)).await.unwrap();
    check("of a store that was wider");
    // Left behind by a process that was killed.
    for file in ["sophon.db", "sophon.db-wal", "sophon.db-shm"] {
        widen(file, 0o664);
    }
    let _again = Store::open(config(folder.path())).await.unwrap();
    check("of a store that is open");
}

fn connection(user: Option<&str>, version: u64, sealed: &[u8]) -> Connection {
    Connection {
        row: ConnectionRow {
            tenant: name("default"),
            user: user.map(name),
            service: name("github"),
            version,
            meta: json!({"fields": ["token"]}),
            updated_at: at(3),
        },
        fields: vec![
            SealedField { field: "other".into(), sealed: b"x".to_vec() },
            SealedField { field: "token".into(), sealed: sealed.to_vec() },
        ],
    }
}

#[tokio::test]
async fn a_connection_is_replaced_whole_and_its_version_never_falls() {
    let (_folder, store) = open().await;
    let connections = store.connections();
    let (tenant, ann): (TenantId, UserId) = (name("default"), name("ann"));
    let service = name("github");
    assert_eq!(connections.next_version(&tenant, Some(&ann), &service).await.unwrap(), 1);
    connections.put(connection(Some("ann"), 1, b"first")).await.unwrap();
    connections.put(connection(None, 1, b"the tenant's")).await.unwrap();
    assert!(matches!(connections.put(connection(Some("ann"), 1, b"again")).await, Err(StoreError::Conflict { .. })));
    assert!(matches!(connections.put(connection(Some("ann"), 3, b"ahead")).await, Err(StoreError::Conflict { .. })));
    connections.put(connection(Some("ann"), 2, b"second")).await.unwrap();
    let found = connections.get(&tenant, Some(&ann), &service).await.unwrap();
    assert_eq!(found, Some(connection(Some("ann"), 2, b"second")));
    assert_eq!(connections.list(&tenant, Some(&ann)).await.unwrap().len(), 1);
    assert_eq!(connections.list(&tenant, None).await.unwrap(), [connection(None, 1, b"").row]);

    assert!(connections.delete(&tenant, Some(&ann), &service).await.unwrap().is_some());
    assert!(connections.delete(&tenant, Some(&ann), &service).await.unwrap().is_none());
    assert_eq!(connections.get(&tenant, Some(&ann), &service).await.unwrap(), None);
    assert_eq!(connections.next_version(&tenant, Some(&ann), &service).await.unwrap(), 3);
}

#[tokio::test]
async fn attack_39_resealing_is_all_or_nothing_and_notices_a_change_meanwhile() {
    let (_folder, store) = open().await;
    let connections = store.connections();
    connections.put(connection(Some("ann"), 1, b"old a")).await.unwrap();
    connections.put(connection(None, 1, b"old t")).await.unwrap();
    store.vault_meta().put("canary", b"old".to_vec()).await.unwrap();
    let read = connections.all().await.unwrap();
    connections.put(connection(Some("ann"), 2, b"newer")).await.unwrap();

    let late = connections.reseal_all(read, vec![("canary".into(), b"new".to_vec())]).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })));
    assert_eq!(store.vault_meta().get("canary").await.unwrap(), Some(b"old".to_vec()));

    let mut read = connections.all().await.unwrap();
    read.iter_mut().flat_map(|one| &mut one.fields).for_each(|field| field.sealed = b"resealed".to_vec());
    connections.reseal_all(read.clone(), vec![("canary".into(), b"new".to_vec())]).await.unwrap();
    assert_eq!(connections.all().await.unwrap(), read);
    assert_eq!(store.vault_meta().get("canary").await.unwrap(), Some(b"new".to_vec()));
    assert_eq!(store.vault_meta().get("salt").await.unwrap(), None);
}

fn call(n: u8, idempotency_key: Option<&str>) -> CallRow {
    CallRow {
        id: CallId::from_bytes([n; 16]),
        tenant: name("default"),
        user: name("ann"),
        key: KeyId::from_bytes([1; 16]),
        tool: name::<ToolName>("github-issues.list"),
        correlation: CorrelationId::from_bytes([2; 16]),
        idempotency_key: idempotency_key.map(str::to_owned),
        request_digest: Digest::of(b"request"),
        status: "running".into(),
        sealed_result: None,
        created_at: at(i64::from(n)),
        finished_at: None,
        expires_at: at(100),
    }
}

#[tokio::test]
async fn one_idempotency_key_is_one_call() {
    let (_folder, store) = open().await;
    let calls = store.calls();
    let begun = join_all((1..=20).map(|n| calls.begin(call(n, Some("same")), call(n, Some("same")).created_at))).await;
    let first = call(1, Some("same"));
    assert_eq!(begun[0].as_ref().unwrap(), &Begun::Inserted);
    assert!(begun[1..].iter().all(|one| one.as_ref().unwrap() == &Begun::Existing(Box::new(first.clone()))));
    assert_eq!(calls.begin(call(40, None), call(40, None).created_at).await.unwrap(), Begun::Inserted);
    assert_eq!(calls.begin(call(41, None), call(41, None).created_at).await.unwrap(), Begun::Inserted);
    assert!(matches!(calls.begin(call(41, None), call(41, None).created_at).await, Err(StoreError::Conflict { .. })));
    let mut others = call(50, Some("same"));
    others.user = name("bob");
    assert_eq!(calls.begin(others.clone(), others.created_at).await.unwrap(), Begun::Inserted);
    let found = calls.by_idempotency_key(&name("default"), &name("ann"), "same").await.unwrap();
    assert_eq!(found, Some(first));
}

#[tokio::test]
async fn a_call_is_finished_once_and_swept_when_expired() {
    let (_folder, store) = open().await;
    let calls = store.calls();
    let id = call(1, None).id;
    calls.begin(call(1, Some("k")), call(1, Some("k")).created_at).await.unwrap();
    calls.begin(call(2, None), call(2, None).created_at).await.unwrap();
    calls.progress(id, "parked").await.unwrap();
    assert_eq!(calls.unfinished().await.unwrap().len(), 2);
    calls.finish(id, "succeeded", Some(b"sealed".to_vec()), at(20)).await.unwrap();
    assert!(matches!(calls.finish(id, "failed", None, at(21)).await, Err(StoreError::Conflict { .. })));
    assert!(matches!(calls.progress(id, "running").await, Err(StoreError::Conflict { .. })));
    let found = calls.get(id).await.unwrap().unwrap();
    assert_eq!((found.status.as_str(), found.finished_at), ("succeeded", Some(at(20))));
    assert_eq!(found.sealed_result.as_deref(), Some(&b"sealed"[..]));
    assert_eq!(calls.unfinished().await.unwrap(), [call(2, None)]);

    assert_eq!(calls.sweep_expired(at(99)).await.unwrap(), 0);
    assert_eq!(calls.sweep_expired(at(100)).await.unwrap(), 1, "the unfinished one stays");
    assert_eq!(calls.get(id).await.unwrap(), None);

    // More than one sweep deletes at once; those that did not expire stay.
    let many = |n: u32| {
        let mut id = [9; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let expires_at = at(if n < 500 { 100 } else { 200 });
        CallRow { id: CallId::from_bytes(id), finished_at: Some(at(20)), expires_at, ..call(9, None) }
    };
    for begun in join_all((0..510).map(|n| calls.begin(many(n), many(n).created_at))).await {
        assert_eq!(begun.unwrap(), Begun::Inserted);
    }
    assert_eq!(calls.sweep_expired(at(100)).await.unwrap(), 500);
    assert_eq!(calls.sweep_expired(at(200)).await.unwrap(), 10);

    // An expired finished call makes way for a new one under the same name.
    calls.begin(call(3, Some("k")), call(3, Some("k")).created_at).await.unwrap();
    calls.finish(call(3, None).id, "succeeded", None, at(30)).await.unwrap();
    let mut next = call(4, Some("k"));
    next.created_at = at(200);
    next.expires_at = at(300);
    assert_eq!(calls.begin(next.clone(), next.created_at).await.unwrap(), Begun::Inserted);
}

#[tokio::test]
async fn state_keeps_to_its_quota() {
    let (_folder, store) = open().await;
    let state = store.state();
    let (tenant, skill_name): (TenantId, SkillName) = (name("default"), name("notes"));
    let quota = Quota { bytes: 20, entries: 3 };
    let write = async |key: &str, value: &[u8]| state.write(&tenant, &skill_name, key, value.to_vec(), quota).await;
    write("a", &[1; 9]).await.unwrap();
    write("b", &[2; 9]).await.unwrap();
    assert!(matches!(write("c", &[]).await, Err(StoreError::Quota { .. })), "21 bytes");
    write("a", &[3; 9]).await.unwrap();
    assert!(matches!(write("a", &[3; 10]).await, Err(StoreError::Quota { .. })));
    write("a", &[1]).await.unwrap();
    write("c", &[]).await.unwrap();
    assert!(matches!(write("d", &[]).await, Err(StoreError::Quota { .. })), "a fourth entry");
    assert_eq!(state.read(&tenant, &skill_name, "b").await.unwrap(), Some(vec![2; 9]));
    assert_eq!(state.read(&name("other"), &skill_name, "b").await.unwrap(), None);
    state.delete(&tenant, &skill_name, "b").await.unwrap();
    state.delete(&tenant, &skill_name, "b").await.unwrap();
    write("d", &[4; 15]).await.unwrap();
    // Shrinking is allowed even above a quota that was lowered.
    let lower = Quota { bytes: 1, entries: 1 };
    state.write(&tenant, &skill_name, "d", vec![4; 10], lower).await.unwrap();

    let swap = state.compare_and_set(&tenant, &skill_name, "a", None, Some(vec![9]), quota).await.unwrap();
    assert_eq!(swap, Swap::Differs(Some(vec![1])));
    let swap = state.compare_and_set(&tenant, &skill_name, "a", Some(vec![1]), Some(vec![9]), quota).await.unwrap();
    assert_eq!(swap, Swap::Swapped);
    let swap = state.compare_and_set(&tenant, &skill_name, "a", Some(vec![9]), None, quota).await.unwrap();
    assert_eq!(swap, Swap::Swapped);
    assert_eq!(state.read(&tenant, &skill_name, "a").await.unwrap(), None);
}

#[tokio::test]
async fn state_names_come_in_pages() {
    let (_folder, store) = open().await;
    let state = store.state();
    let (tenant, skill_name): (TenantId, SkillName) = (name("default"), name("notes"));
    let quota = Quota { bytes: 1000, entries: 100 };
    for key in ["p/1", "p/2", "p/3", "p%", "q", "ä/1"] {
        state.write(&tenant, &skill_name, key, vec![], quota).await.unwrap();
    }
    let names = async |prefix: &str, after: Option<&str>, limit| {
        state.names(&tenant, &skill_name, prefix, after, limit).await.unwrap()
    };
    assert_eq!(names("p/", None, 2).await, ["p/1", "p/2"]);
    assert_eq!(names("p/", Some("p/2"), 2).await, ["p/3"]);
    assert_eq!(names("", Some("q"), 10).await, ["ä/1"]);
    assert_eq!(names("ä", None, 10).await, ["ä/1"]);
    assert_eq!(names("p%", None, 10).await, ["p%"], "no wildcard");
}

#[tokio::test]
async fn attack_36_a_blob_that_was_swapped_is_not_given_out() {
    let (folder, store) = open().await;
    let blobs = store.blobs();
    let digest = blobs.put(Bytes::from_static(b"a package")).await.unwrap();
    assert_eq!(digest, Digest::of(b"a package"));
    assert_eq!(blobs.get(&digest).await.unwrap().as_deref(), Some(&b"a package"[..]));
    assert_eq!(blobs.get(&Digest::of(b"none")).await.unwrap(), None);

    let hex = digest.to_hex();
    let file = folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    std::fs::write(&file, b"another package").unwrap();
    assert!(matches!(blobs.get(&digest).await, Err(StoreError::Corrupt { .. })));
    blobs.put(Bytes::from_static(b"a package")).await.unwrap();
    assert!(blobs.get(&digest).await.unwrap().is_some(), "putting it again mends it");
    blobs.delete(&digest).await.unwrap();
    blobs.delete(&digest).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), None);
}

fn audit_rows(from: u64, to: u64) -> Vec<AuditRow> {
    let row = |seq: u64| AuditRow {
        seq,
        time: at(i64::try_from(seq).unwrap() * 10),
        tenant: seq.is_multiple_of(2).then(|| "default".to_owned()),
        user: None,
        action: "call.intent".into(),
        tool: None,
        outcome: "intent".into(),
        correlation: None,
        call: None,
        body: Some("{}".into()),
        body_digest: Digest::of(b"{}"),
        prev: Digest::of(&(seq - 1).to_be_bytes()),
        hash: Digest::of(&seq.to_be_bytes()),
    };
    (from..=to).map(row).collect()
}

fn head(seq: u64) -> AuditHead {
    let hash = if seq == 0 { Digest::from_bytes([0; 32]) } else { Digest::of(&seq.to_be_bytes()) };
    AuditHead { seq, hash }
}

#[tokio::test]
async fn audit_rows_are_appended_at_the_stated_end_only() {
    let (_folder, store) = open().await;
    let audit = store.audit();
    assert_eq!(audit.head("host").await.unwrap(), head(0));
    // Every size of statement, and a rest.
    audit.append("host", head(0), audit_rows(1, 295), None, Vec::new()).await.unwrap();
    for wrong in [head(0), head(294), AuditHead { hash: Digest::of(b"other"), ..head(295) }] {
        let refused = audit.append("host", wrong, audit_rows(296, 296), None, Vec::new()).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    }
    audit.append("host", head(295), audit_rows(296, 300), None, Vec::new()).await.unwrap();
    audit.append("other", head(0), audit_rows(1, 1), None, Vec::new()).await.unwrap();
    assert_eq!(audit.head("host").await.unwrap(), head(300));
    assert_eq!(audit.writers().await.unwrap(), ["host", "other"]);
    let chain = audit.chain("host", 290, 100).await.unwrap();
    assert_eq!(chain.iter().map(|row| row.row.seq).collect::<Vec<_>>(), (291..=300).collect::<Vec<_>>());
    assert_eq!(chain[0].row, audit_rows(291, 291)[0]);
}

#[tokio::test]
async fn audit_pages_follow_positions_both_ways() {
    let (_folder, store) = open().await;
    let audit = store.audit();
    audit.append("host", head(0), audit_rows(1, 50), None, Vec::new()).await.unwrap();
    let filter = AuditFilter {
        tenant: Some("default".into()),
        since: Some(at(100)),
        until: Some(at(200)),
        ..AuditFilter::default()
    };
    let seqs = async |order, after, limit| -> Vec<u64> {
        let page = audit.page(&filter, order, after, limit).await.unwrap();
        page.iter().map(|row| row.row.seq).collect()
    };
    assert_eq!(seqs(Order::Oldest, None, 3).await, [10, 12, 14]);
    assert_eq!(seqs(Order::Oldest, Some(14), 3).await, [16, 18]);
    assert_eq!(seqs(Order::Newest, None, 3).await, [18, 16, 14]);
    assert_eq!(seqs(Order::Newest, Some(14), 9).await, [12, 10]);
}

#[tokio::test]
async fn attack_47_what_was_acknowledged_is_in_the_files() {
    let (folder, store) = open().await;
    for n in 0..20 {
        store.keys().insert(key(n)).await.unwrap();
    }
    // A second store on a copy of the files, while the first is still open, sees what a crash would leave.
    let copy = tempfile::tempdir().unwrap();
    for file in ["sophon.db", "sophon.db-wal"] {
        std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
    }
    let after = Store::open(config(copy.path())).await.unwrap();
    assert_eq!(after.keys().list(&name("default")).await.unwrap().len(), 20);
    // And so does the next process, when this one ends without closing.
    drop(store);
    let again = Store::open(config(folder.path())).await.unwrap();
    assert_eq!(again.keys().list(&name("default")).await.unwrap().len(), 20);
}

#[tokio::test]
async fn attack_42_a_full_database_refuses_keeps_what_it_has_and_recovers() {
    let (_folder, store) = open().await;
    store.ready().await.unwrap();
    store.vault_meta().put("before", vec![1; 10]).await.unwrap();
    store.limit_size(0).await.unwrap();
    let refused = store.vault_meta().put("large", vec![2; 1 << 20]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert_eq!(refused.code(), "store_full");
    // Pages that were freed earlier still take small writes, until they do not.
    let mut small = 0;
    while store.vault_meta().put(&format!("small {small}"), vec![3; 1000]).await.is_ok() {
        small += 1;
    }
    assert!(small < 100, "the limit does not hold");
    assert!(matches!(store.ready().await, Err(StoreError::Full { .. })));
    assert_eq!(store.vault_meta().get("before").await.unwrap(), Some(vec![1; 10]));
    assert_eq!(store.vault_meta().get("large").await.unwrap(), None);
    store.limit_size(u64::MAX).await.unwrap();
    store.ready().await.unwrap();
    store.vault_meta().put("large", vec![2; 1 << 20]).await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Store::open(config(&folder.path().join("missing"))).await.unwrap_err();
    assert!(matches!(missing, StoreError::Unavailable { .. }), "{missing:?}");
    std::fs::write(folder.path().join("sophon.db"), "this is not a database, but long enough to be one".repeat(100))
        .unwrap();
    let not_one = Store::open(config(folder.path())).await.unwrap_err();
    assert!(matches!(not_one, StoreError::Corrupt { .. }), "{not_one:?}");
    assert!(not_one.hint().is_some());
}

#[tokio::test]
async fn a_closed_store_refuses() {
    let (_folder, store) = open().await;
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.keys().insert(key(1)).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(clone.keys().list(&name("default")).await, Err(StoreError::Unavailable { .. })));
    store.close().await;
}

#[tokio::test]
async fn what_a_killed_process_began_to_write_is_swept_and_what_is_kept_stays() {
    let (folder, store) = open().await;
    let kept = store.blobs().put(Bytes::from_static(b"kept")).await.unwrap();
    let dropped = store.blobs().put(Bytes::from_static(b"of nobody")).await.unwrap();
    let file = |digest: &Digest| {
        let hex = digest.to_hex();
        folder.path().join("blobs/sha256").join(&hex[..2]).join(hex)
    };
    let half = format!("{}#1", file(&kept).display());
    std::fs::write(&half, b"ke").unwrap();
    let strange = file(&kept).parent().unwrap().join("README");
    std::fs::write(&strange, b"an operator's note").unwrap();
    assert_eq!(store.blobs().sweep(HashSet::from([kept])).await.unwrap(), 2);
    assert!(!file(&dropped).exists() && !std::path::Path::new(&half).exists());
    assert!(strange.exists(), "not of this store");
    assert_eq!(store.blobs().get(&kept).await.unwrap().as_deref(), Some(&b"kept"[..]));
    assert_eq!(store.blobs().sweep(HashSet::from([kept])).await.unwrap(), 0);
}

/// The end of a call that waited and its beginning may stand in one transaction: each is told what became of itself.
#[tokio::test]
async fn a_call_does_not_begin_because_it_ended() {
    let (_folder, store) = open().await;
    let call = CallRow { status: "awaiting_approval".into(), ..call(1, None) };
    let id = call.id;
    store.calls().begin(call, at(0)).await.unwrap();
    let resume = CallChange::Resume(sophon_store::Resume {
        call: id,
        approval: sophon_types::ApprovalId::from_bytes([1; 16]),
        status: "running",
        at: at(1),
    });
    let finish = CallChange::Finish { id, status: "expired".into(), sealed_result: None, at: at(1) };
    let (resume_key, finish_key) = (resume.key().unwrap(), finish.key().unwrap());
    let head = store.audit().head("host").await.unwrap();
    let not_open = store.audit().append("host", head, Vec::new(), None, vec![resume, finish]).await.unwrap();
    assert!(not_open.contains(&resume_key) && !not_open.contains(&finish_key), "{not_open:?}");
}
