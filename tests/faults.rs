//! The disk is full or cannot be written, or another process has the database: refused before any secret is used, with a
//! word that helps, and over by itself when the fault is.

use crate::harness::{
    Access, Answer, Behaviour, Gateway, Guest, Home, Key, Launch, Mount, Publisher, Request, Upstream, command, sophon,
};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A gateway with a tool that has an effect and uses a credential for it.
struct Shop {
    gateway: Gateway,
    upstream: Upstream,
    publisher: Publisher,
    agent: Key,
}

/// What is never sent while something is wrong.
const TOKEN: &str = "tok_that_must_not_travel_4711";

impl Shop {
    fn open(gateway: Gateway) -> Self {
        let upstream = Upstream::plain();
        let publisher = Publisher::new("Good Co", 1);
        gateway.trust(&publisher);
        let request = Request::new("POST", upstream.url("/pay")).body(b"x").credential("svc");
        let rule =
            json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"], "credential": "svc"});
        let guest = Guest::new("payer", Behaviour::Send(request)).risk("medium").network(rule, "svc");
        gateway.installed(&publisher.sign(&guest), &[&upstream.host()]);
        gateway.connect("svc", TOKEN);
        let agent = gateway.agent();
        let shop = Self { gateway, upstream, publisher, agent };
        assert_eq!(shop.pay().expect(200)["status"], "succeeded");
        shop
    }

    fn pay(&self) -> Answer {
        self.gateway.call(&self.agent, "payer.run", json!({}))
    }

    fn sent(&self) -> usize {
        self.upstream.seen().len()
    }

    /// How often the log says that the credential was used.
    fn uses(&self) -> usize {
        self.gateway.audit("action=credential.use").len()
    }

    /// Checks that a call is refused at once, with one of these codes, and that nothing of it has happened.
    #[track_caller]
    fn refuses(&self, codes: &[&str]) {
        let (sent, uses) = (self.sent(), self.uses());
        for body in [json!({"arguments": {}}), json!({"arguments": {}, "idempotency_key": "while-it-is-broken"})] {
            let refused = self.gateway.call_with(&self.agent, "payer.run", body);
            assert_eq!(refused.status, 503, "{}", refused.text());
            let problem = refused.json();
            let code = problem["code"].as_str().unwrap_or_default();
            assert!(codes.contains(&code), "{problem}");
            assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
            assert!(refused.header("retry-after").is_some(), "{problem}");
        }
        assert_eq!(self.gateway.client.send("GET", "/readyz", &[], None).status, 503);
        assert_eq!(self.sent(), sent, "something was sent");
        assert_eq!(self.uses(), uses, "the credential was used");
    }

    /// Checks that it works again without anybody's help.
    #[track_caller]
    fn recovers(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.gateway.client.send("GET", "/readyz", &[], None).status != 200
            || self.pay().json()["status"] != "succeeded"
        {
            assert!(Instant::now() < until, "it does not go on by itself: {}", self.gateway.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        // What was refused has not happened: its key is free.
        let sent = self.sent();
        let body = json!({"arguments": {}, "idempotency_key": "while-it-is-broken", "wait_seconds": 30});
        assert_eq!(self.gateway.call_with(&self.agent, "payer.run", body).expect(200)["status"], "succeeded");
        assert_eq!(self.sent(), sent + 1);
        let verified = self.gateway.admin("GET", "/v1/audit/verify", None).expect(200);
        assert_eq!(verified["intact"], true, "{verified}");
        assert!(!self.gateway.log().contains("panicked"), "{}", self.gateway.log());
        assert!(!self.gateway.log().contains(TOKEN));
    }

    /// Calls until the first one does not succeed. Every effect belongs to a call that says that it succeeded, or that
    /// its outcome is not known.
    #[track_caller]
    fn pay_until_it_is_refused(&self) {
        let mut unknown = 0;
        for _ in 0..5_000 {
            let sent = self.sent();
            let answer = self.pay();
            match answer.json()["status"].as_str() {
                Some("succeeded") => assert_eq!(self.sent(), sent + 1),
                Some("unknown_outcome") => unknown += self.sent() - sent,
                _ => {
                    assert_eq!(self.sent(), sent, "{}", answer.text());
                    assert!(unknown <= 1, "{unknown} effects without an outcome");
                    return;
                }
            }
        }
        panic!("it is never refused");
    }
}

/// What a full disk is called: by the store, and by the log, which refuses everything until it can be written again.
const FULL: [&str; 2] = ["store_full", "audit_unavailable"];

#[test]
fn attack_42_on_a_full_disk_nothing_is_sent_and_it_goes_on_when_there_is_room() {
    let home = Home::new();
    let Some(_mount) = Mount::tmpfs(&home.path(), 24 << 20) else { return };
    home.configure_trusting("");
    let shop = Shop::open(Gateway::start(&home));
    let filler = home.path().join("filler");
    fill(&filler);
    shop.pay_until_it_is_refused();
    shop.refuses(&FULL);
    // Nothing else that has to be kept is accepted either, and nothing of it is there afterwards.
    let put = json!({"fields": {"token": "another-token-0815"}});
    let admin = |method: &str, path: &str, body: Value| shop.gateway.admin(method, path, Some(&body));
    let refused = [
        admin("PUT", "/v1/credentials/other", put),
        admin("POST", "/v1/keys", json!({"role": "agent", "user": "bob"})),
        shop.gateway
            .install(&shop.publisher.sign(&Guest::new("late", Behaviour::Return(vec![b'1'; 100_000]))), json!({})),
    ];
    for answer in refused {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.json()["hint"].is_string(), "{}", answer.text());
    }
    // The code that was compiled for it could not be kept, and takes no room away.
    let kept = std::fs::read_dir(home.path().join("cache/compiled")).expect("the cache");
    let half = kept.flatten().filter(|entry| entry.path().extension().is_some_and(|ending| ending == "partial"));
    assert_eq!(half.count(), 0, "a half-written file fills the disk");
    std::fs::remove_file(&filler).expect("room is made");
    shop.recovers();
    assert_eq!(shop.gateway.admin("GET", "/v1/skills/late", None).status, 404);
    assert_eq!(shop.gateway.admin("GET", "/v1/credentials/other", None).status, 404);
}

/// Writes until the disk says that it is full.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("the filler");
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn attack_42_a_disk_that_takes_no_more_bytes_is_like_a_full_one() {
    let home = Home::new();
    drop(Gateway::start(&home));
    // The signal that comes with the limit is ignored from the start, so that the writes fail instead.
    let mut shell = command("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(sophon());
    let admin = Key::make(&home, "admin", "root");
    let shop = Shop::open(Launch::of(shell, &home, &[]).up().with(admin));
    let limit = |bytes: &str| {
        let process = shop.gateway.pid().to_string();
        let done =
            command("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).output().expect("prlimit");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let written = std::fs::metadata(home.path().join("sophon.db-wal")).expect("the database's log").len();
    limit(&(written + 100_000).to_string());
    shop.pay_until_it_is_refused();
    shop.refuses(&FULL);
    limit("unlimited");
    shop.recovers();
}

#[test]
fn attack_42_a_home_that_cannot_be_written_is_refused_at_the_start() {
    let home = Home::new();
    let Some(mount) = Mount::tmpfs(&home.path(), 64 << 20) else { return };
    home.configure_trusting("");
    let mut shop = Shop::open(Gateway::start(&home));
    let admin = shop.gateway.admin_key().clone();
    assert!(shop.gateway.stop().success());
    mount.make(Access::ReadOnly);
    let error = Launch::new(&home, &[]).refused();
    assert_eq!(error["code"], "file_unusable", "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("read-only")), "{error}");
    mount.make(Access::ReadWrite);
    shop.gateway = Gateway::again(&home, &admin);
    shop.recovers();
}

#[test]
fn attack_42_where_packages_cannot_be_written_nothing_is_installed_and_the_rest_goes_on() {
    let home = Home::new();
    let shop = Shop::open(Gateway::start(&home));
    let Some(mount) = Mount::read_only(&home.path().join("blobs")) else { return };
    let late = shop.publisher.sign(&Guest::new("late", Behaviour::Return(b"1".to_vec())));
    let refused = shop.gateway.install(&late, json!({}));
    refused.problem(503, "store_unavailable");
    assert!(refused.json()["hint"].is_string(), "{}", refused.text());
    assert_eq!(shop.gateway.admin("GET", "/v1/skills/late", None).status, 404);
    // What was recorded as meant has an end.
    let records = shop.gateway.audit("action=skill.install");
    let of_late = records.iter().filter(|record| record["skill"] == "late");
    let outcomes: Vec<_> = of_late.map(|record| record["outcome"].as_str().unwrap_or_default()).collect();
    assert_eq!(outcomes, ["intent", "failed"], "{records:?}");
    assert_eq!(shop.pay().expect(200)["status"], "succeeded");
    drop(mount);
    shop.gateway.installed(&late, &[]);
    shop.gateway.content(&shop.agent, "late.run", json!({}));
    shop.recovers();
}

#[test]
fn without_a_cache_that_can_be_written_skills_are_installed_and_run_all_the_same() {
    let home = Home::new();
    let mut shop = Shop::open(Gateway::start(&home));
    let admin = shop.gateway.admin_key().clone();
    let cache = home.path().join("cache/compiled");
    let Some(_mount) = Mount::read_only(&cache) else { return };
    let install = |shop: &Shop, name: &'static str| {
        let says = format!("\"{name}\"").into_bytes();
        shop.gateway.installed(&shop.publisher.sign(&Guest::new(name, Behaviour::Return(says))), &[]);
        assert!(shop.gateway.content(&shop.agent, &format!("{name}.run"), json!({})).contains(name));
    };
    install(&shop, "first");
    assert!(shop.gateway.log().contains("compiled code could not be kept"), "{}", shop.gateway.log());
    assert!(shop.gateway.stop().success());
    shop.gateway = Gateway::again(&home, &admin);
    install(&shop, "second");
    assert!(shop.gateway.content(&shop.agent, "first.run", json!({})).contains("first"));
    shop.recovers();
}

#[test]
fn without_a_cache_at_all_skills_run_all_the_same() {
    let home = Home::new();
    std::fs::write(home.path().join("cache"), "not a folder").expect("a file in its place");
    let shop = Shop::open(Gateway::start(&home));
    assert!(shop.gateway.log().contains("compiled code cannot be kept"), "{}", shop.gateway.log());
    shop.recovers();
}

/// Another process that has the database to itself. It lets go when it is dropped.
struct Holder(Child);

impl Holder {
    fn of(home: &Home) -> Self {
        let program = "import sqlite3, sys\n\
                       held = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                       held.execute('BEGIN EXCLUSIVE')\n\
                       print('held', flush=True)\n\
                       sys.stdin.read()\n";
        let mut child = command("python3")
            .args(["-c", program])
            .arg(home.path().join("sophon.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its word");
        assert_eq!(line.trim(), "held");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
fn attack_42_while_another_process_has_the_database_nothing_is_sent() {
    let home = Home::new();
    let shop = Shop::open(Gateway::start(&home));
    let holder = Holder::of(&home);
    shop.refuses(&["store_locked", "audit_unavailable"]);
    drop(holder);
    shop.recovers();
}

#[test]
fn attack_42_a_database_that_another_process_has_is_refused_at_the_start() {
    let home = Home::new();
    let mut shop = Shop::open(Gateway::start(&home));
    let admin = shop.gateway.admin_key().clone();
    assert!(shop.gateway.stop().success());
    let holder = Holder::of(&home);
    let error = Launch::new(&home, &[]).refused();
    assert_eq!(error["code"], "store_locked", "{error}");
    drop(holder);
    shop.gateway = Gateway::again(&home, &admin);
    shop.recovers();
}
