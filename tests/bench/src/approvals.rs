//! What the gate costs a call that passes by itself, and how soon an approved call has run once a person has said yes.

use crate::host::{Host, SystemEntropy, example, root};
use criterion::{BatchSize, Criterion};
use sophon_approval::{ApprovalConfig, CallRequest, Gate, Listing, Policy, RuleConfig, Setting, Status, assess};
use sophon_egress::Roots;
use sophon_executor::{Approve, CallStatus, Results};
use sophon_skill::{InstallTerms, InstalledSkill, Package, TrustStore, Unsigned, verify};
use sophon_types::{CallId, CanonicalJson, CorrelationId, KeyId, Principal, Risk, Role, Timestamp};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the benches.
///
/// # Panics
/// Where a part of the host does not open, or a call does not succeed.
pub fn run(c: &mut Criterion) {
    gate(c);
    decision(c);
}

fn skill() -> InstalledSkill {
    let package = Package::read(example("text-tools").expect("the package")).expect("a package");
    let verified = verify(package, None, &TrustStore::default(), Unsigned::DangerouslyAllow).expect("verified");
    let tenant = "default".parse().expect("a tenant");
    let terms = InstallTerms { tenant, grants: Vec::new(), streams: Vec::new(), settings: BTreeMap::new() };
    Arc::new(verified).install(terms).expect("installed")
}

fn gate(c: &mut Criterion) {
    let (skill, policy) = (Arc::new(skill()), Arc::new(Policy::default()));
    let gate = Gate::new(Arc::clone(&policy));
    let request = || CallRequest {
        principal: Principal {
            tenant: "default".parse().expect("a tenant"),
            user: "ann".parse().expect("a user"),
            key: KeyId::from_bytes([1; 16]),
            role: Role::Agent,
        },
        call: CallId::from_bytes([2; 16]),
        correlation: CorrelationId::from_bytes([3; 16]),
        session: None,
        arguments: CanonicalJson::parse(br#"{"text":"hello"}"#).expect("arguments"),
    };
    c.bench_function("gate/assess-and-pass", |b| {
        b.iter_batched(
            request,
            |request| {
                let assessed = assess(request, Arc::clone(&skill), 0, &policy).expect("a tool");
                black_box(gate.pass(assessed, Setting::default(), Timestamp::from_micros(0)).expect("it passes"))
            },
            BatchSize::SmallInput,
        );
    });
}

fn decision(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let disk = tempfile::tempdir_in(root().join("target")).expect("a folder");
    let rule = RuleConfig { tool: Some("text-tools.echo".into()), risk: Some(Risk::High), ..RuleConfig::default() };
    let policy = Policy::new(ApprovalConfig { rules: vec![rule], ..ApprovalConfig::default() }).expect("a policy");
    let host = runtime.block_on(Host::open_with(disk.path(), 64, Roots::mozilla(), policy)).expect("the host");
    runtime.block_on(host.install(example("text-tools").expect("the package"), Vec::new())).expect("installed");
    let person = Principal { role: Role::Approver, key: KeyId::mint(&SystemEntropy), ..host.principal.clone() };
    // From a person's yes to the end of the call: two commits for the decision and the beginning, one for the outcome.
    c.bench_function("approval/decision-to-result-durable", |b| {
        b.iter_custom(|iterations| {
            runtime.block_on(async {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    let call = host.ask("text-tools.echo", r#"{"text":"hello"}"#).await.expect("it asks");
                    let listing = Listing { status: Some(Status::Pending), before: None, limit: 1 };
                    let waiting = host.executor.approvals(&person, listing).await.expect("a list");
                    let id = waiting.first().expect("a question").card.row.id;
                    let since = Instant::now();
                    host.executor.approve(&person, id, Approve::default()).await.expect("it is approved");
                    let view = host.executor.status(&host.principal, call, Duration::from_secs(30), Results::Text);
                    let view = view.await.expect("a call");
                    spent += since.elapsed();
                    assert_eq!(view.status, CallStatus::Succeeded);
                }
                spent
            })
        });
    });
}
