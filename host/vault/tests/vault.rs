//! The vault over a real store and audit log.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use secrecy::SecretString;
use sophon_audit::{Action, AuditConfig, AuditError, AuditKeys, AuditLog, Outcome, Query, Receipt, Record};
use sophon_store::{Store, StoreConfig};
use sophon_types::{CallId, Clock, CorrelationId, Entropy, KeyId, Principal, Role, ServiceName, Timestamp};
use sophon_vault::{Attach, Binding, Kek, Owner, Placing, Purpose, Vault, VaultError};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

const TOKEN: &str = "skh_live_5bNLqtirsqPaayJsCffVcHZx";

struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_769_850_000_000_000)
    }
}

struct Home {
    store: Store,
    audit: AuditLog,
    intent: Receipt,
}

async fn home(folder: &Path) -> Home {
    let config = StoreConfig { database: folder.join("sophon.db"), blobs: folder.join("blobs") };
    let store = Store::open(config).await.unwrap();
    let config = AuditConfig { writer: "test".into(), keys: AuditKeys::new([1; 32], [2; 32]), checkpoint_every: 1000 };
    let audit = AuditLog::open(config, store.clone(), Arc::new(Noon)).await.unwrap();
    let intent = audit.append(Record::new(Action::CallIntent, Outcome::Intent).call(call())).await.unwrap();
    Home { store, audit, intent }
}

impl Home {
    async fn vault(&self, key: u8) -> Result<Vault, VaultError> {
        let kek = Kek::from_bytes([key; 32]);
        Vault::open(self.store.clone(), self.audit.clone(), kek, Arc::new(Noon), Arc::new(System)).await
    }

    async fn close(self) {
        self.audit.close().await.unwrap();
        self.store.close().await;
    }

    /// Actions and outcomes recorded since the intent, in order.
    async fn recorded(&self) -> Vec<String> {
        self.audit.append(Record::new(Action::GatewayStop, Outcome::Ok)).await.unwrap();
        let page = self.audit.query(&Query { limit: Some(1000), ..Query::default() }).await.unwrap();
        let text = format!("{page:?}");
        assert!(!text.contains(TOKEN), "a secret is in the audit log");
        let mut entries: Vec<_> = page.entries.iter().map(|entry| (entry.seq, &entry.record)).collect();
        entries.sort_by_key(|entry| entry.0);
        let word = |record: &serde_json::Value, name: &str| record[name].as_str().unwrap().to_owned();
        entries
            .into_iter()
            .map(|(_, record)| format!("{} {}", word(record, "action"), word(record, "outcome")))
            .collect()
    }
}

fn person(user: &str, role: Role) -> Principal {
    let key = KeyId::from_bytes([9; 16]);
    Principal { tenant: "acme".parse().unwrap(), user: user.parse().unwrap(), key, role }
}

fn call() -> CallId {
    CallId::from_bytes([3; 16])
}

fn purpose(user: &str) -> Purpose {
    Purpose {
        tenant: "acme".parse().unwrap(),
        user: user.parse().unwrap(),
        skill: "issues".parse().unwrap(),
        tool: "issues.list".parse().unwrap(),
        call: call(),
        correlation: CorrelationId::from_bytes([4; 16]),
    }
}

fn service() -> ServiceName {
    "github".parse().unwrap()
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretString> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect()
}

async fn header(vault: &Vault, user: &str, intent: &Receipt) -> Result<String, VaultError> {
    let lease = vault.lease(&purpose(user), &service(), intent).await?;
    let attachment = lease.authorisation()?;
    #[expect(clippy::disallowed_methods, reason = "the vault's own test")]
    let value = String::from_utf8(attachment.value.expose().to_vec()).unwrap();
    assert!(!format!("{lease:?} {attachment:?} {vault:?}").contains(&value));
    Ok(format!("{}: {value}", attachment.header))
}

#[tokio::test]
async fn connections_are_kept_used_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let vault = home.vault(1).await.unwrap();
    let (ann, admin) = (person("ann", Role::Approver), person("root", Role::Admin));
    let intent = &home.intent;
    assert!(matches!(header(&vault, "ann", intent).await, Err(VaultError::NotConnected { .. })));

    // The tenant's serves everyone; a user's own comes first.
    vault
        .put(&admin, Owner::Tenant, &service(), fields(&[("token", "tenant-token-1")]), Binding::default())
        .await
        .unwrap();
    assert_eq!(header(&vault, "ann", intent).await.unwrap(), "authorization: Bearer tenant-token-1");
    let info = vault.put(&ann, Owner::User, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();
    assert_eq!((info.version, info.fields.as_slice()), (1, &["token".to_owned()][..]));
    assert_eq!(header(&vault, "ann", intent).await.unwrap(), format!("authorization: Bearer {TOKEN}"));
    assert_eq!(header(&vault, "bob", intent).await.unwrap(), "authorization: Bearer tenant-token-1");
    let lease = vault.lease(&purpose("ann"), &service(), intent).await.unwrap();
    assert_eq!(lease.known_secrets().redact_text(&format!("echo {TOKEN}")).text, "echo [redacted:github.token]");

    // Other ways of attaching.
    let basic = Attach::Basic { user_field: "user".into(), password_field: "password".into() };
    let binding =
        Binding { attach: Some(basic), hosts: Some(vec!["api.example.com".parse().unwrap()]), ..Binding::default() };
    let pair = fields(&[("user", "Aladdin"), ("password", "open sesame")]);
    let info = vault.put(&ann, Owner::User, &service(), pair, binding).await.unwrap();
    assert_eq!(info.version, 2);
    assert_eq!(header(&vault, "ann", intent).await.unwrap(), "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let lease = vault.lease(&purpose("ann"), &service(), intent).await.unwrap();
    assert!(lease.known_secrets().find(b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==").is_some());
    assert!(lease.known_secrets().find(b"Aladdin and his lamp").is_none(), "a user's name is not secret");
    assert_eq!(lease.binding().hosts.as_ref().unwrap()[0].host(), "api.example.com");
    let custom = Attach::Header { name: "X-Api-Key".into(), prefix: "k ".into(), field: "token".into() };
    let binding = Binding { attach: Some(custom), ..Binding::default() };
    vault.put(&ann, Owner::User, &service(), fields(&[("token", TOKEN)]), binding).await.unwrap();
    assert_eq!(header(&vault, "ann", intent).await.unwrap(), format!("x-api-key: k {TOKEN}"));

    let listed = vault.list(&ann.tenant, &ann.user).await.unwrap();
    assert_eq!(listed.iter().map(|info| info.owner).collect::<Vec<_>>(), [Owner::User, Owner::Tenant]);
    assert!(vault.connected(&ann.tenant, &ann.user, &service()).await.unwrap());
    vault.delete(&ann, Owner::User, &service()).await.unwrap();
    assert!(matches!(vault.delete(&ann, Owner::User, &service()).await, Err(VaultError::NotConnected { .. })));
    assert_eq!(header(&vault, "ann", intent).await.unwrap(), "authorization: Bearer tenant-token-1");

    // Who may not.
    for (actor, owner) in [(person("ann", Role::Agent), Owner::User), (ann.clone(), Owner::Tenant)] {
        let put = vault.put(&actor, owner, &service(), fields(&[("token", TOKEN)]), Binding::default()).await;
        assert!(matches!(put, Err(VaultError::Forbidden(_))));
        assert!(matches!(vault.delete(&actor, owner, &service()).await, Err(VaultError::Forbidden(_))));
    }
    assert!(matches!(vault.rotate(&ann, Kek::from_bytes([2; 32])).await, Err(VaultError::Forbidden(_))));

    let recorded = home.recorded().await;
    let count = |text: &str| recorded.iter().filter(|line| *line == text).count();
    assert_eq!((count("credential.put intent"), count("credential.put ok")), (4, 4), "{recorded:?}");
    assert_eq!(
        (count("credential.delete intent"), count("credential.delete ok"), count("credential.delete failed")),
        (2, 1, 1)
    );
    assert_eq!(count("credential.use intent"), 8, "{recorded:?}");
    home.close().await;
}

#[tokio::test]
async fn of_a_whole_url_a_short_secret_beside_a_long_word_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let vault = home.vault(7).await.unwrap();
    let placing = Placing { shape: None, positions: ["url".parse().unwrap()].into() };
    let binding = Binding { placeholders: BTreeMap::from([("hook".to_owned(), placing)]), ..Binding::default() };
    let known = async |url: &str| {
        let ann = person("ann", Role::Approver);
        vault.put(&ann, Owner::User, &service(), fields(&[("hook", url)]), binding.clone()).await.unwrap();
        vault.lease(&purpose("ann"), &service(), &home.intent).await.unwrap().known_secrets()
    };
    let short = known("https://hooks.example/incoming-webhooks-prod/s3cr3tABC").await;
    assert_eq!(short.redact_text("asked: s3cr3tABC").text, "asked: [redacted:github.hook]");
    // What all requests there have is none.
    let whole = known("https://hooks.example/v1/organisations/example-company/hooks/abc?k=s3cr3tABC&to=a").await;
    assert!(whole.find(b"asked: /v1/organisations/example-company/hooks/abc?k=s3cr3tABC&to=a").is_some());
    assert!(whole.find(b"/v1/organisations/example-company/members").is_none());
}

#[tokio::test]
async fn a_credential_is_opened_for_the_call_whose_intent_is_shown_and_only_where_it_may_travel() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let vault = home.vault(1).await.unwrap();
    let ann = person("ann", Role::Approver);
    vault.put(&ann, Owner::User, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();
    for other in [
        Record::new(Action::CallIntent, Outcome::Intent),
        Record::new(Action::CallIntent, Outcome::Intent).call(CallId::from_bytes([5; 16])),
        Record::new(Action::CallOutcome, Outcome::Ok).call(call()),
    ] {
        let receipt = home.audit.append(other).await.unwrap();
        assert!(matches!(header(&vault, "ann", &receipt).await, Err(VaultError::NotIntended)), "{receipt:?}");
    }
    // Refused on what is public: nothing is opened, and no use is recorded.
    let refused = vault
        .lease_checked(&purpose("ann"), &service(), &home.intent, |public| {
            assert_eq!((public.owner, public.version, public.binding.hosts.as_ref()), (Owner::User, 1, None));
            Err(VaultError::Forbidden("not there"))
        })
        .await;
    assert!(matches!(refused, Err(VaultError::Forbidden("not there"))));
    let recorded = home.recorded().await;
    assert!(!recorded.iter().any(|line| line.starts_with("credential.use")), "{recorded:?}");
    assert!(header(&vault, "ann", &home.intent).await.is_ok());
    home.close().await;
}

#[tokio::test]
async fn a_use_waits_for_its_place_where_too_many_records_wait() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let vault = home.vault(1).await.unwrap();
    let ann = person("ann", Role::Approver);
    vault.put(&ann, Owner::User, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();
    let flood = || Record::new(Action::SkillLog, Outcome::Ok);
    // Between this and the record of the use, the log's task does not run.
    let (purpose, service) = (purpose("ann"), service());
    let lease = vault.lease_checked(&purpose, &service, &home.intent, |_public| {
        while home.audit.enqueue(flood()).is_ok() {}
        assert!(matches!(home.audit.enqueue(flood()), Err(AuditError::Busy)));
        Ok::<(), VaultError>(())
    });
    assert!(lease.await.is_ok());
    home.audit.append(flood()).await.unwrap();
    let page = home.audit.query(&Query { action: Some(Action::CredentialUse), ..Query::default() }).await.unwrap();
    assert_eq!(page.entries.len(), 1, "it has its place before what is submitted later");
    home.close().await;
}

/// What a look-up costs tells nobody what another tenant does.
#[tokio::test]
async fn a_change_of_one_tenant_makes_no_other_look_up_anew() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let vault = home.vault(1).await.unwrap();
    let (ann, bob) = (person("ann", Role::Approver), person("bob", Role::Approver));
    let rival = Principal { tenant: "rival".parse().unwrap(), ..ann.clone() };
    let service = service();
    let put = |whose| vault.put(whose, Owner::User, &service, fields(&[("token", TOKEN)]), Binding::default());
    for _ in 0..20 {
        let since = std::time::Instant::now();
        put(&ann).await.unwrap();
        assert!(vault.connected(&ann.tenant, &ann.user, &service).await.unwrap());
        // Behind the vault's back: only what is remembered says still that it is there.
        home.store.connections().delete(&ann.tenant, Some(&ann.user), &service).await.unwrap();
        put(&rival).await.unwrap();
        vault.delete(&rival, Owner::User, &service).await.unwrap();
        let remembered = vault.connected(&ann.tenant, &ann.user, &service).await.unwrap();
        // What the own tenant changes is not remembered, of none of its users.
        put(&bob).await.unwrap();
        assert!(!vault.connected(&ann.tenant, &ann.user, &service).await.unwrap());
        // A row is believed for two seconds; a machine that was slower than this says nothing.
        if since.elapsed() < std::time::Duration::from_secs(1) {
            assert!(remembered);
            return home.close().await;
        }
    }
    panic!("the machine is too slow");
}

#[tokio::test]
async fn attack_38_stored_records_open_in_their_own_place_only() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path()).await;
    let vault = home.vault(1).await.unwrap();
    let (ann, bob) = (person("ann", Role::Approver), person("bob", Role::Approver));
    let intent = &home.intent;
    for user in [&ann, &bob] {
        let two = fields(&[("token", TOKEN), ("other", "another secret")]);
        vault.put(user, Owner::User, &service(), two, Binding::default()).await.unwrap();
    }
    let connections = home.store.connections();
    let original = connections.all().await.unwrap();
    let check = async |what: &str, change: &dyn Fn(&mut Vec<sophon_store::Connection>)| {
        let mut changed = original.clone();
        change(&mut changed);
        // Written as somebody with the database file would write it: rows stay, sealed fields are exchanged.
        connections.reseal_all(changed, vec![]).await.unwrap();
        // A vault that has not read the rows before: the open one may still use what it read a moment ago.
        let opened = header(&home.vault(1).await.unwrap(), "ann", intent).await;
        assert!(matches!(opened, Err(VaultError::Tampered)), "{what}: {opened:?}");
        connections.reseal_all(original.clone(), vec![]).await.unwrap();
        header(&home.vault(1).await.unwrap(), "ann", intent).await.unwrap();
    };
    check("a flipped bit", &|all| all[0].fields[1].sealed[50] ^= 1).await;
    check("another user's ciphertext", &|all| all[0].fields = all[1].fields.clone()).await;
    check("fields exchanged", &|all| {
        let sealed = all[0].fields[0].sealed.clone();
        all[0].fields[0].sealed = std::mem::replace(&mut all[0].fields[1].sealed, sealed);
    })
    .await;
    check("a field removed", &|all| drop(all[0].fields.remove(0))).await;
    check("cut", &|all| all[0].fields[0].sealed.truncate(40)).await;
    check("empty", &|all| all[0].fields[0].sealed.clear()).await;

    // The older secret of the same place does not open under a newer version.
    vault
        .put(
            &ann,
            Owner::User,
            &service(),
            fields(&[("token", "a newer token"), ("other", "another secret")]),
            Binding::default(),
        )
        .await
        .unwrap();
    let mut replayed = connections.all().await.unwrap();
    replayed[0].fields = original[0].fields.clone();
    connections.reseal_all(replayed, vec![]).await.unwrap();
    let vault = home.vault(1).await.unwrap();
    assert!(matches!(header(&vault, "ann", intent).await, Err(VaultError::Tampered)));

    // Nor under other public properties: hosts cannot be added behind the vault's back.
    connections.reseal_all(connections.all().await.unwrap(), vec![]).await.unwrap();
    vault
        .put(
            &ann,
            Owner::User,
            &service(),
            fields(&[("token", TOKEN)]),
            Binding { hosts: Some(vec!["a.example".parse().unwrap()]), ..Binding::default() },
        )
        .await
        .unwrap();
    let mut stored = connections.get(&ann.tenant, Some(&ann.user), &service()).await.unwrap().unwrap();
    stored.row.version += 1;
    stored.row.meta["hosts"] = serde_json::json!(["evil.example"]);
    connections.put(stored).await.unwrap();
    assert!(matches!(header(&vault, "ann", intent).await, Err(VaultError::Tampered)));

    // Other data at rest: purpose and place both count.
    let sealed = vault.seal("result", b"call-1", b"payload").unwrap();
    assert_eq!(vault.unseal("result", b"call-1", &sealed).unwrap().as_slice(), b"payload");
    assert!(vault.unseal("result", b"call-2", &sealed).is_err());
    assert!(vault.unseal("arguments", b"call-1", &sealed).is_err());
    assert!(home.recorded().await.contains(&"credential.use failed".to_owned()));
    home.close().await;
}

#[tokio::test]
async fn attack_38_the_wrong_key_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = home(folder.path()).await;
    let vault = first.vault(1).await.unwrap();
    let ann = person("ann", Role::Approver);
    vault.put(&ann, Owner::User, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();
    let sealed = vault.seal("result", b"", b"kept").unwrap();
    first.close().await;
    for file in std::fs::read_dir(folder.path()).unwrap().filter_map(|entry| std::fs::read(entry.unwrap().path()).ok())
    {
        assert!(!file.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()), "the token is in a file");
    }

    let again = home(folder.path()).await;
    assert!(matches!(again.vault(2).await, Err(VaultError::WrongKey)));
    let vault = again.vault(1).await.unwrap();
    assert!(header(&vault, "ann", &again.intent).await.unwrap().ends_with(TOKEN));
    assert_eq!(vault.unseal("result", b"", &sealed).unwrap().as_slice(), b"kept");
    // Without its canary, a vault that holds something is not taken for a new one.
    let meta = again.store.vault_meta();
    meta.put("canary", b"garbage".to_vec()).await.unwrap();
    assert!(matches!(again.vault(1).await, Err(VaultError::WrongKey)));
    again.close().await;
}

#[tokio::test]
async fn attack_39_nonces_do_not_repeat_across_tasks_reopening_and_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = HashSet::new();
    let mut key = 1;
    for _ in 0..2 {
        let home = home(folder.path()).await;
        let vault = home.vault(key).await.unwrap();
        for _ in 0..2 {
            let tasks: Vec<_> = (0..5)
                .map(|_| {
                    let vault = vault.clone();
                    tokio::spawn(async move {
                        (0..1000).map(|_| vault.seal("test", b"", b"").unwrap()[1..45].to_vec()).collect::<Vec<_>>()
                    })
                })
                .collect();
            for task in tasks {
                for nonce in task.await.unwrap() {
                    assert!(seen.insert(nonce), "a salt and nonce came twice");
                }
            }
            key += 1;
            vault.rotate(&person("root", Role::Admin), Kek::from_bytes([key; 32])).await.unwrap();
        }
        home.close().await;
    }
    assert_eq!(seen.len(), 20_000);
}

#[tokio::test]
async fn rotation_is_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let admin = person("root", Role::Admin);
    let first = home(folder.path()).await;
    let vault = first.vault(1).await.unwrap();
    vault.put(&admin, Owner::User, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();
    let kept = vault.seal("result", b"", b"kept").unwrap();
    let before = first.store.connections().all().await.unwrap();
    vault.rotate(&admin, Kek::from_bytes([2; 32])).await.unwrap();
    let after = first.store.connections().all().await.unwrap();
    assert_eq!(before[0].row, after[0].row, "a change of key is no change of the connection");
    assert_ne!(before[0].fields, after[0].fields);
    // The open vault goes on with the new key.
    assert!(header(&vault, "root", &first.intent).await.unwrap().ends_with(TOKEN));
    vault.put(&admin, Owner::Tenant, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();

    // A record that does not open stops the rotation before anything is written.
    let mut broken = first.store.connections().all().await.unwrap();
    let good = broken.clone();
    broken[1].fields[0].sealed[60] ^= 1;
    first.store.connections().reseal_all(broken, vec![]).await.unwrap();
    assert!(matches!(vault.rotate(&admin, Kek::from_bytes([3; 32])).await, Err(VaultError::Tampered)));
    assert!(matches!(first.vault(3).await, Err(VaultError::WrongKey)));
    first.store.connections().reseal_all(good, vec![]).await.unwrap();
    assert!(header(&vault, "nobody", &first.intent).await.unwrap().ends_with(TOKEN));
    first.close().await;

    // A store that is gone: nothing changes, and the old key opens everything afterwards.
    let second = home(folder.path()).await;
    assert!(matches!(second.vault(1).await, Err(VaultError::WrongKey)));
    let vault = second.vault(2).await.unwrap();
    assert_eq!(vault.unseal("result", b"", &kept).unwrap().as_slice(), b"kept");
    second.store.close().await;
    assert!(vault.rotate(&admin, Kek::from_bytes([3; 32])).await.is_err());
    drop(second);
    let third = home(folder.path()).await;
    assert!(matches!(third.vault(3).await, Err(VaultError::WrongKey)));
    let vault = third.vault(2).await.unwrap();
    assert!(header(&vault, "root", &third.intent).await.unwrap().ends_with(TOKEN));
    third.close().await;
}

#[tokio::test]
async fn rotation_beside_uses_disturbs_none() {
    let folder = tempfile::tempdir().unwrap();
    let admin = person("root", Role::Admin);
    let home = home(folder.path()).await;
    let vault = home.vault(1).await.unwrap();
    vault.put(&admin, Owner::User, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();
    let users: Vec<_> = (0..4)
        .map(|_| {
            let (vault, intent) = (vault.clone(), home.intent.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    header(&vault, "root", &intent).await.unwrap();
                }
            })
        })
        .collect();
    for key in 2..8 {
        vault.rotate(&admin, Kek::from_bytes([key; 32])).await.unwrap();
    }
    for user in users {
        user.await.unwrap();
    }
    home.close().await;
}

#[tokio::test]
async fn attack_42_without_an_audit_log_nothing_is_opened_or_changed() {
    let folder = tempfile::tempdir().unwrap();
    let admin = person("root", Role::Admin);
    let home = home(folder.path()).await;
    let vault = home.vault(1).await.unwrap();
    vault.put(&admin, Owner::User, &service(), fields(&[("token", TOKEN)]), Binding::default()).await.unwrap();
    home.audit.close().await.unwrap();
    assert!(matches!(header(&vault, "root", &home.intent).await, Err(VaultError::Audit(_))));
    let put =
        vault.put(&admin, Owner::User, &service(), fields(&[("token", "another token")]), Binding::default()).await;
    assert!(matches!(put, Err(VaultError::Audit(_))));
    assert!(matches!(vault.delete(&admin, Owner::User, &service()).await, Err(VaultError::Audit(_))));
    assert!(matches!(vault.rotate(&admin, Kek::from_bytes([2; 32])).await, Err(VaultError::Audit(_))));
    let listed = vault.list(&admin.tenant, &admin.user).await.unwrap();
    assert_eq!(listed.iter().map(|info| info.version).collect::<Vec<_>>(), [1], "nothing has changed");
    home.store.close().await;
}

#[tokio::test]
async fn a_passphrase_opens_its_vault_with_the_stored_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let first = home(folder.path()).await;
    let params = Vault::kdf_params(&first.store, &System).await.unwrap();
    let derive = |text: &str, params| Kek::from_passphrase(&text.into(), params).unwrap();
    let open =
        |home: &Home, kek| Vault::open(home.store.clone(), home.audit.clone(), kek, Arc::new(Noon), Arc::new(System));
    open(&first, derive("correct horse battery", &params)).await.unwrap();
    first.close().await;
    let second = home(folder.path()).await;
    let stored = Vault::kdf_params(&second.store, &System).await.unwrap();
    assert_eq!(stored, params);
    assert!(open(&second, derive("correct horse battery", &stored)).await.is_ok());
    assert!(matches!(open(&second, derive("correct horse batterz", &stored)).await, Err(VaultError::WrongKey)));
    second
        .store
        .vault_meta()
        .put("kdf", br#"{"salt":"00","memory_kib":4294967295,"passes":1,"lanes":1}"#.to_vec())
        .await
        .unwrap();
    assert!(matches!(Vault::kdf_params(&second.store, &System).await, Err(VaultError::InvalidKdf)));
    second.close().await;
}
