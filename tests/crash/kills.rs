//! A gateway under load that is killed at random points, again and again, and looked at after each restart.
//!
//! `SOPHON_CRASHES` says how often (25), `SOPHON_CRASH_SEED` from where on; `scripts/test-crash` sets both. What is
//! chosen depends on the seed alone; what the threads of two programs make of it also depends on the machine.

use super::ledger::{Accounts, Effects, Lamp, Order, Shape, Told};
use super::leftovers::{self, KnownKeys};
use super::load::{Staff, Worked, work_until};
use crate::harness::{
    Behaviour, Chance, Cli, Gateway, Guest, Home, Key, Launch, Publisher, Reply, Request, Upstream, setting,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Kills where nobody says how many.
const KILLS: u64 = 25;
/// Kills of one home: its log is verified after each of them, which takes longer the longer it is.
const KILLS_OF_A_HOME: u64 = 25;
/// The longest that clients work before the gateway is killed, in milliseconds.
const LONGEST: u64 = 600;
/// A start takes about half of this, in milliseconds: where kills at the start fall.
const START: u64 = 250;

/// Configuration under which only what this test is about refuses anything.
const UNBOUNDED: &str = "[rate_limit]\nuser_per_minute = 1000000\nuser_burst = 1000000\naddress_per_minute = 1000000\n\
                         address_burst = 1000000\nfailures_per_minute = 1000000\nfailures_burst = 1000000\n\
                         [audit]\ncheckpoint_every = 100\n[log]\nlevel = \"warn\"\n";

#[test]
fn attack_47_what_was_acknowledged_survives_a_kill_at_any_moment() {
    let kills = setting("SOPHON_CRASHES").unwrap_or(KILLS);
    let seed = setting("SOPHON_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SOPHON_CRASHES={kills} SOPHON_CRASH_SEED={seed}");
    let chance = Chance::new(seed);
    let mut figures = Figures::default();
    let mut home = 0;
    while figures.kills < kills {
        let kills_here = KILLS_OF_A_HOME.min(kills - figures.kills);
        Life::begin(chance.fork(home), &mut figures).live(kills_here, &mut figures);
        home += 1;
    }
    println!("{figures}");
    // Of a load that loads nothing, nothing is shown. So few kills may all have come at a quiet moment.
    if figures.kills >= 25 {
        let Figures { answered, in_flight, unknown, effects, .. } = figures;
        assert!(answered > 0 && in_flight > 0 && unknown > 0 && effects > 0, "{figures}");
    }
}

/// What the whole run comes to.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    /// Kills of a gateway that had not come up yet.
    at_start: u64,
    answered: u64,
    in_flight: u64,
    unknown: u64,
    effects: u64,
    restarts: Vec<Duration>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = self.restarts.iter().max().copied().unwrap_or_default();
        let mean = self.restarts.iter().sum::<Duration>() / u32::try_from(self.restarts.len().max(1)).unwrap_or(1);
        write!(
            f,
            "{} kills under load and {} at a start; {} requests acknowledged, {} in flight when the gateway was killed; \
             {} calls of unknown outcome; {} effects; a restart takes {:.2} s, at most {:.2} s",
            self.kills,
            self.at_start,
            self.answered,
            self.in_flight,
            self.unknown,
            self.effects,
            mean.as_secs_f64(),
            most.as_secs_f64()
        )
    }
}

/// One home, its gateway and everybody who has to do with it.
struct Life {
    home: Home,
    upstream: Upstream,
    gateway: Gateway,
    staff: Staff,
    publisher: Publisher,
    chance: Chance,
    lamp: Lamp,
    accounts: Accounts,
    effects: Effects,
    known_keys: KnownKeys,
    /// What the audit log has of each call.
    log: Log,
    /// Orders of earlier rounds and how they ended.
    settled: Vec<(String, Told)>,
}

/// What was read of the audit log.
#[derive(Default)]
struct Log {
    /// Where to go on reading.
    after: u64,
    /// Intents and outcomes of each call.
    calls: BTreeMap<String, (u32, u32)>,
    /// Records that a write was about to leave.
    writes: usize,
}

impl Life {
    /// Makes a home; its first starts are cut short.
    fn begin(mut chance: Chance, figures: &mut Figures) -> Self {
        let home = Home::configured(UNBOUNDED);
        let mut known_keys = KnownKeys::default();
        for _ in 0..chance.below(4) {
            cut_a_start_short(&home, &mut chance, &mut known_keys, figures);
        }
        let reply = Reply::With(Box::new(|_| http::Response::new(Bytes::from_static(b"{}"))));
        let upstream = Upstream::start(Reply::Late(Duration::from_millis(10), Box::new(reply)));
        let gateway = Gateway::start(&home);
        let publisher = Publisher::new("Good Co", 1);
        gateway.trust(&publisher);
        let request = Request::new("POST", upstream.url("/pay")).body_of_arguments().credential("svc");
        let rule =
            json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"], "credential": "svc"});
        let payer = Guest::new("payer", Behaviour::Send(request)).risk("medium").network(rule, "svc");
        gateway.installed(&publisher.sign(&payer), &[&upstream.host()]);
        gateway.installed(&publisher.sign(&Guest::new("quick", Behaviour::Return(b"1".to_vec()))), &[]);
        let staff = Staff {
            admin: gateway.admin_key().clone(),
            agent: gateway.key("agent", "ann"),
            ann: gateway.key("approver", "ann"),
        };
        let mut accounts = Accounts::default();
        let token = accounts.next_token();
        let put = json!({"fields": {"token": token}});
        gateway.request(&staff.ann, "PUT", "/v1/credentials/svc", Some(&put)).expect(200);
        Self {
            home,
            upstream,
            gateway,
            staff,
            publisher,
            chance,
            lamp: Lamp::default(),
            accounts,
            effects: Effects::default(),
            known_keys,
            log: Log::default(),
            settled: Vec::new(),
        }
    }

    fn live(mut self, kills: u64, figures: &mut Figures) {
        for round in 0..kills {
            let worked = self.work_and_kill(round);
            figures.kills += 1;
            figures.answered += worked.answered;
            figures.in_flight += worked.cut_short;
            self.known_keys.check(&self.home);
            if self.chance.one_in(4) {
                cut_a_start_short(&self.home, &mut self.chance, &mut self.known_keys, figures);
            }
            let began = Instant::now();
            self.gateway = Gateway::again(&self.home, &self.staff.admin);
            figures.restarts.push(began.elapsed());
            self.check(round, worked, figures);
        }
        figures.effects += self.effects.total() as u64;
    }

    fn work_and_kill(&mut self, round: u64) -> Worked {
        let pause = Duration::from_millis(self.chance.below(LONGEST));
        let children = std::cell::Cell::new(Vec::new());
        let (client, gateway) = (self.gateway.client, &mut self.gateway);
        let chance = self.chance.fork(round);
        let work = (&mut self.lamp, &mut self.accounts);
        let worked = work_until(client, &self.staff, &self.publisher, work, (round, &chance), |killing| {
            std::thread::sleep(pause);
            children.set(gateway.children());
            killing.store(true, Ordering::SeqCst);
            gateway.kill();
        });
        for (child, line) in children.take() {
            gone(child, &line);
        }
        worked
    }

    /// Everything that must hold after a restart.
    fn check(&mut self, round: u64, worked: Worked, figures: &mut Figures) {
        self.count_effects();
        for call in &worked.reads {
            assert_eq!(self.status(call), "succeeded", "an acknowledged read: {call}");
        }
        self.read_the_log();
        for order in worked.orders {
            if let Some(told) = self.settle(&order) {
                figures.unknown += u64::from(told.status == "unknown_outcome");
                self.settled.push((order.name, told));
            }
        }
        for _ in 0..self.settled.len().min(5) {
            let (name, before) =
                &self.settled[usize::try_from(self.chance.below(self.settled.len() as u64)).expect("an index")];
            assert_eq!(self.repeat(name), *before, "{name}, of an earlier round");
        }
        self.check_the_lamp();
        self.check_the_accounts(round);
        self.count_effects();
        assert!(self.effects.twice().is_empty(), "happened twice: {:?}", self.effects.twice());
        self.read_the_log();
        assert!(self.effects.total() <= self.log.writes, "a write left without its record");
        let verified = Cli::new(&self.home, ["audit", "verify", "--json"]).expect(0).json();
        assert_eq!(verified["intact"], true, "{verified}");
        let skills = self.gateway.admin("GET", "/v1/skills", None).expect(200);
        let digest = |skill: &Value| skill["digest"].as_str()?.strip_prefix("sha256:").map(str::to_owned);
        let packages: BTreeSet<String> =
            skills["skills"].as_array().expect("skills").iter().filter_map(digest).collect();
        leftovers::check(&self.home, &packages);
        self.known_keys.check(&self.home);
    }

    fn count_effects(&mut self) {
        for seen in self.upstream.seen().drain(..) {
            // What was cut off on its way has no body, and no effect.
            let Ok(body) = serde_json::from_slice::<Value>(&seen.body) else { continue };
            let order = body["note"].as_str().unwrap_or_else(|| panic!("an order: {body}"));
            self.effects.add(order.to_owned(), seen.authorization.unwrap_or_default());
        }
    }

    fn status(&self, call: &str) -> String {
        let view = self.gateway.request(&self.staff.agent, "GET", &format!("/v1/calls/{call}"), None).expect(200);
        view["status"].as_str().expect("a status").to_owned()
    }

    /// Asks for the order again, under its key.
    fn repeat(&self, name: &str) -> Told {
        let body = json!({"arguments": {"note": name}, "idempotency_key": name, "wait_seconds": 30});
        Told::by(&self.gateway.call_with(&self.staff.agent, "payer.run", body))
    }

    /// Checks that what was said of the order is true, and that asking again has no second effect. Gives what the
    /// gateway says of it now, where there is anything to ask by.
    fn settle(&mut self, order: &Order) -> Option<Told> {
        let name = &order.name;
        let before = self.effects.of(name).len();
        if let Some(told) = &order.told {
            let status = self.status(&told.call);
            assert_ne!(status, "running", "{name}");
            assert!(!told.is_final() || told.status == status, "{name} was {}, and is {status}", told.status);
            if status == "succeeded" {
                assert_eq!(before, 1, "{name} succeeded");
            }
            // It was accepted, so its intent is in the log, and how it ended by now is, too.
            assert_eq!(self.log.calls.get(&told.call), Some(&(1, 1)), "records of {name}");
        }
        if !order.repeatable {
            return None;
        }
        let now = self.repeat(name);
        assert!(now.is_final(), "{name}: {now:?}");
        self.count_effects();
        let after = self.effects.of(name).len();
        match (&order.told, &*now.status) {
            (Some(told), _) => {
                assert_eq!(now.call, told.call, "{name}: another call under its key");
                assert_eq!(after, before, "{name} happened again");
            }
            (None, "unknown_outcome") => assert_eq!(after, before, "{name} happened again"),
            (None, "succeeded") => assert_eq!(after, 1, "{name}"),
            (None, other) => panic!("{name} is {other}"),
        }
        Some(now)
    }

    /// Reads what is new. Every call that was to run has exactly one intent and exactly one outcome.
    fn read_the_log(&mut self) {
        loop {
            let page = format!("/v1/audit?limit=1000&after={}", self.log.after);
            let page = self.gateway.admin("GET", &page, None).expect(200);
            for entry in page["entries"].as_array().expect("entries") {
                self.log.after = entry["position"].as_u64().expect("a position");
                let record = &entry["record"];
                let call = record["call"].as_str().unwrap_or_default();
                match record["action"].as_str().expect("an action") {
                    "call.intent" => self.log.calls.entry(call.to_owned()).or_default().0 += 1,
                    "call.outcome" => self.log.calls.entry(call.to_owned()).or_default().1 += 1,
                    "egress.request" if record["outcome"] == "intent" => self.log.writes += 1,
                    _ => {}
                }
            }
            if page["next"].is_null() {
                break;
            }
        }
        let odd: Vec<_> = self.log.calls.iter().filter(|(_, records)| **records != (1, 1)).collect();
        assert!(odd.is_empty(), "intents and outcomes of calls: {odd:?}");
    }

    fn check_the_lamp(&mut self) {
        let answer = self.gateway.admin("GET", "/v1/skills/lamp", None);
        if answer.status == 404 {
            return self.lamp.is(None);
        }
        let skill = answer.expect(200);
        assert!(skill["broken"].is_null(), "{skill}");
        let version = skill["version"].as_str().and_then(|text| text.strip_prefix("1.0.")?.parse().ok());
        let shape = Shape { version: version.expect("a version"), enabled: skill["enabled"] == true };
        self.lamp.is(Some(shape));
        if shape.enabled {
            let says = self.gateway.content(&self.staff.agent, "lamp.run", json!({}));
            assert!(says.contains(&format!("lamp 1.0.{}\n", shape.version)), "{says}");
        }
    }

    fn check_the_accounts(&mut self, round: u64) {
        let answered = |key: &Key| self.gateway.request(key, "GET", "/v1/tools", None).status;
        assert!(self.accounts.live.iter().all(|key| answered(key) == 200), "a key that was handed out");
        assert!(self.accounts.revoked.iter().all(|key| answered(key) == 401), "a key that was revoked");
        let name = format!("which-token-{round}");
        assert_eq!(self.repeat(&name).status, "succeeded");
        self.count_effects();
        let [bearer] = self.effects.of(&name) else { panic!("{name}: {:?}", self.effects.of(&name)) };
        self.accounts.token_is(bearer.strip_prefix("Bearer ").expect("a bearer token"));
    }
}

/// Starts a gateway and kills it before, or just after, it has come up.
fn cut_a_start_short(home: &Home, chance: &mut Chance, known_keys: &mut KnownKeys, figures: &mut Figures) {
    let launch = Launch::new(home, &[]);
    std::thread::sleep(Duration::from_millis(chance.below(START)));
    launch.kill();
    figures.at_start += 1;
    known_keys.check(home);
}

/// Waits until a process is gone, or is another one by now.
fn gone(process: u32, line: &str) {
    for _ in 0..600 {
        let now = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        if now.is_empty() || String::from_utf8_lossy(&now).replace('\0', " ") != line {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{line} outlives the gateway that started it");
}
