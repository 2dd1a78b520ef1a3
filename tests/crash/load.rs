//! Clients of every kind, at work until the gateway is killed under them. What they were told is in what they return;
//! what they asked without having been told, too.

use super::ledger::{Accounts, Lamp, Order, Shape, Told};
use crate::harness::{Answer, Behaviour, Chance, Client, Guest, Key, Publisher, Signed};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The gateway, as clients see it.
pub(super) struct Desk<'d> {
    client: Client,
    /// Set before the gateway is killed: until then no answer may be missing.
    killing: &'d AtomicBool,
    answered: AtomicU64,
    cut_short: AtomicU64,
}

/// Everybody's keys.
pub(super) struct Staff {
    pub(super) admin: Key,
    pub(super) agent: Key,
    pub(super) ann: Key,
}

/// What the round has come to.
pub(super) struct Worked {
    pub(super) orders: Vec<Order>,
    /// Calls without an effect that were answered.
    pub(super) reads: Vec<String>,
    pub(super) answered: u64,
    pub(super) cut_short: u64,
}

/// Who places orders at the same time.
const BUYERS: u64 = 3;
/// Who calls the tool that reaches nothing.
const READERS: u64 = 2;

/// Everybody works until `kill` returns, which kills the gateway.
pub(super) fn work_until(
    client: Client,
    staff: &Staff,
    publisher: &Publisher,
    (lamp, accounts): (&mut Lamp, &mut Accounts),
    (round, chance): (u64, &Chance),
    kill: impl FnOnce(&AtomicBool),
) -> Worked {
    let killing = AtomicBool::new(false);
    let desk = Desk { client, killing: &killing, answered: AtomicU64::new(0), cut_short: AtomicU64::new(0) };
    let desk = &desk;
    let (orders, reads) = std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..BUYERS)
            .map(|n| scope.spawn(move || buy(desk, &staff.agent, chance.fork(n), &format!("order-{round}-{n}"))))
            .collect();
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(move || read(desk, &staff.agent))).collect();
        let others = [
            scope.spawn(move || install(desk, &staff.admin, publisher, chance.fork(100), lamp)),
            scope.spawn(move || keep_accounts(desk, staff, chance.fork(101), accounts)),
            scope.spawn(move || look_at_the_log(desk, &staff.admin, chance.fork(102))),
        ];
        kill(&killing);
        for other in others {
            other.join().expect("a client");
        }
        let orders = buyers.into_iter().flat_map(|buyer| buyer.join().expect("a buyer")).collect();
        (orders, readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect())
    });
    Worked {
        orders,
        reads,
        answered: desk.answered.load(Ordering::SeqCst),
        cut_short: desk.cut_short.load(Ordering::SeqCst),
    }
}

impl Desk<'_> {
    /// Asks; nothing where the gateway was killed before its answer had arrived in full.
    fn ask(&self, key: &Key, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let body = body.map(Value::to_string);
        let headers = [key.header(), ("Content-Type", "application/json")];
        let answer = self.client.attempt(method, path, &headers, body.as_deref().map(str::as_bytes));
        let count = if answer.is_some() { &self.answered } else { &self.cut_short };
        count.fetch_add(1, Ordering::SeqCst);
        let killed = self.killing.load(Ordering::SeqCst);
        assert!(answer.is_some() || killed, "{method} {path} was not answered although nobody killed the gateway");
        answer
    }

    fn is_over(&self) -> bool {
        self.killing.load(Ordering::SeqCst)
    }
}

/// Calls that have an effect, most of them under an idempotency key.
fn buy(desk: &Desk<'_>, agent: &Key, mut chance: Chance, prefix: &str) -> Vec<Order> {
    let mut orders = Vec::new();
    for n in 0.. {
        let name = format!("{prefix}-{n}");
        let mut order = Order { repeatable: !chance.one_in(4), told: None, name };
        let wait = if chance.one_in(4) { 0 } else { 30 };
        let mut body = json!({"arguments": {"note": order.name}, "wait_seconds": wait});
        if order.repeatable {
            body["idempotency_key"] = json!(order.name);
        }
        let times = if order.repeatable && chance.one_in(5) { 2 } else { 1 };
        for _ in 0..times {
            if let Some(answer) = desk.ask(agent, "POST", "/v1/tools/payer.run/call", Some(&body)) {
                let told = Told::by(&answer);
                assert!(
                    order.told.as_ref().is_none_or(|before| before.call == told.call),
                    "{}: another call",
                    order.name
                );
                order.told = Some(told);
            }
        }
        orders.push(order);
        if desk.is_over() {
            break;
        }
    }
    orders
}

/// Calls without an effect.
fn read(desk: &Desk<'_>, agent: &Key) -> Vec<String> {
    let mut calls = Vec::new();
    let body = json!({"arguments": {}, "wait_seconds": 30});
    while !desk.is_over() {
        let Some(answer) = desk.ask(agent, "POST", "/v1/tools/quick.run/call", Some(&body)) else { break };
        let answer = answer.expect(200);
        assert_eq!(answer["status"], "succeeded", "{answer}");
        calls.push(answer["call_id"].as_str().expect("an id").to_owned());
    }
    calls
}

/// The skill that is installed, updated, switched and removed. Few of its versions share a component, so that compiling
/// is cut short as well.
pub(super) fn lamp(publisher: &Publisher, version: u64) -> Signed {
    let version: &'static str = format!("1.0.{version}").leak();
    let says = format!("\"lamp {version}\"").into_bytes();
    publisher.sign(&Guest::new("lamp", Behaviour::Return(says)).version(version))
}

fn install(desk: &Desk<'_>, admin: &Key, publisher: &Publisher, mut chance: Chance, lamp_now: &mut Lamp) {
    while !desk.is_over() {
        let before = lamp_now.shape();
        let (after, done) = match before {
            Some(shape) if chance.one_in(3) => {
                let to = if shape.enabled { "disable" } else { "enable" };
                let after = Some(Shape { enabled: !shape.enabled, ..shape });
                lamp_now.may_be(after);
                (after, desk.ask(admin, "POST", &format!("/v1/skills/lamp/{to}"), None))
            }
            Some(_) if chance.one_in(4) => {
                lamp_now.may_be(None);
                (None, desk.ask(admin, "DELETE", "/v1/skills/lamp", None))
            }
            shape => {
                let version = lamp_now.next_version();
                let package = lamp(publisher, version);
                let after = Some(Shape { version, enabled: shape.is_none_or(|shape| shape.enabled) });
                lamp_now.may_be(after);
                (after, desk.ask(admin, "POST", "/v1/skills", Some(&package.body(json!({})))))
            }
        };
        let Some(done) = done else { break };
        assert!((200..300).contains(&done.status), "{before:?} to {after:?}: {}", done.text());
        lamp_now.is(after);
    }
}

/// Keys are made and revoked, and a credential is replaced.
fn keep_accounts(desk: &Desk<'_>, staff: &Staff, mut chance: Chance, accounts: &mut Accounts) {
    while !desk.is_over() {
        match chance.below(3) {
            0 => {
                let body = json!({"role": "agent", "user": "ann"});
                let Some(made) = desk.ask(&staff.admin, "POST", "/v1/keys", Some(&body)) else { break };
                accounts.live.push(Key::of(&made.expect(201)));
            }
            1 if accounts.live.len() > 2 => {
                let key = accounts.live.remove(0);
                let path = format!("/v1/keys/{}", key.id);
                let Some(revoked) = desk.ask(&staff.admin, "DELETE", &path, None) else { break };
                assert_eq!(revoked.status, 204, "{}", revoked.text());
                accounts.revoked.push(key);
            }
            _ => {
                let token = accounts.next_token();
                let body = json!({"fields": {"token": token}});
                let Some(put) = desk.ask(&staff.ann, "PUT", "/v1/credentials/svc", Some(&body)) else { break };
                put.expect(200);
                accounts.token_is(&token);
            }
        }
    }
}

fn look_at_the_log(desk: &Desk<'_>, admin: &Key, mut chance: Chance) {
    while !desk.is_over() {
        let path = if chance.one_in(8) { "/v1/audit/verify" } else { "/v1/audit?limit=20&order=newest" };
        let Some(answer) = desk.ask(admin, "GET", path, None) else { break };
        let answer = answer.expect(200);
        assert!(answer["intact"].as_bool().unwrap_or(true), "{answer}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
