//! What happens is told to those who watch, over a real connection.

use crate::harness::{Behaviour, Gateway, Guest, Home, Key, Publisher, Upstream, command, sophon};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Lines};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;

/// An open stream of events.
pub(crate) struct Watch(Lines<BufReader<TcpStream>>);

impl Watch {
    pub(crate) fn open(gateway: &Gateway, key: &Key, last: Option<&str>) -> Self {
        let (name, bearer) = key.header();
        let mut headers = vec![(name, bearer)];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        let stream = gateway.client.begin("GET", "/v1/events", &headers, b"");
        let mut watch = Self(BufReader::new(stream).lines());
        assert_eq!(watch.line(), "HTTP/1.1 200 OK");
        assert_eq!(watch.after("retry: "), "2000");
        watch
    }

    #[track_caller]
    fn line(&mut self) -> String {
        self.0.next().expect("the stream goes on").expect("a line")
    }

    /// The rest of the next line that begins so.
    #[track_caller]
    fn after(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// The next event: its id and its data.
    #[track_caller]
    pub(crate) fn event(&mut self) -> (String, Value) {
        let id = self.after("id: ");
        (id, serde_json::from_str(&self.after("data: ")).expect("JSON"))
    }
}

#[test]
fn a_finished_call_is_told_to_whom_it_concerns() {
    let (_home, gateway, publisher) = Gateway::trusting("Good Co", 1);
    gateway.installed(&publisher.sign(&Guest::new("echo", Behaviour::Return(b"\"a result\"".to_vec()))), &[]);
    let (ann, bob) = (gateway.key("agent", "ann"), gateway.key("agent", "bob"));
    let mut watching = Watch::open(&gateway, &ann, None);
    let mut others = Watch::open(&gateway, &bob, None);
    let mut admin = Watch::open(&gateway, gateway.admin_key(), None);
    gateway.content(&ann, "echo.run", json!({"note": "confidential-4711"}));
    let (id, event) = watching.event();
    assert_eq!(event["event"], "call.finished");
    assert_eq!(
        (&event["tool"], &event["status"], &event["user"]),
        (&"echo.run".into(), &"succeeded".into(), &"ann".into())
    );
    assert!(event["call_id"].as_str().is_some_and(|call| call.starts_with("call_")));
    assert!(!event.to_string().contains("confidential") && !event.to_string().contains("result"), "{event}");
    assert_eq!(admin.event().1["user"], "ann");
    drop(watching);

    gateway.content(&ann, "echo.run", json!({}));
    gateway.content(&bob, "echo.run", json!({}));
    let (_, first) = others.event();
    assert_eq!(first["user"], "bob", "an agent hears of nobody else's calls");
    let mut back = Watch::open(&gateway, &ann, Some(&id));
    assert_ne!(back.event().0, id, "it goes on behind what was seen");

    // A stop ends the streams and is not held up by them.
    let mut gateway = gateway;
    assert!(gateway.stop().success());
    assert!(back.0.all(|line| line.is_ok()), "the stream ends in order");
}

#[test]
fn the_command_line_shows_events_as_they_happen() {
    let (home, gateway, publisher) = Gateway::trusting("Good Co", 1);
    gateway.installed(&publisher.sign(&Guest::new("echo", Behaviour::Return(b"1".to_vec()))), &[]);
    let mut child = command(sophon())
        .env("SOPHON_HOME", home.path())
        .args(["events", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sophon starts");
    let agent = gateway.agent();
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    // It takes a moment until it watches; every call is told, so the first one that it hears of will do.
    let calling = std::thread::scope(|scope| {
        let heard = scope.spawn(|| lines.next().expect("a line").expect("text"));
        while !heard.is_finished() {
            gateway.content(&agent, "echo.run", json!({}));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        heard.join().expect("a line")
    });
    let event: Value = serde_json::from_str(&calling).expect("JSON");
    assert_eq!(event["event"], "call.finished");
    let mut gateway = gateway;
    assert!(gateway.stop().success());
    assert!(child.wait().expect("it ends with the gateway").success());
}

/// A home that tells this upstream of approvals, and a gateway in it with a skill whose tool asks.
fn told(desk: &Upstream) -> (Home, Gateway) {
    let home = Home::configured("");
    let secret = home.beside("desk-secret");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&secret).expect("the secret's file");
    std::io::Write::write_all(&mut file, b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("the secret");
    let link = "https://desk.example/decide/{approval_id}";
    home.configure_trusting(&format!(
        "[[webhooks]]\nname = \"desk\"\nurl = {:?}\nsecret_file = {secret:?}\nlink = {link:?}\n",
        desk.url("/hook")
    ));
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&Guest::new("echo", Behaviour::Return(b"1".to_vec())).risk("high")), &[]);
    (home, gateway)
}

#[test]
fn a_webhook_points_a_person_to_the_decision_and_decides_nothing() {
    let desk = Upstream::plain();
    let (_home, gateway) = told(&desk);
    let (agent, approver) = (gateway.key("agent", "ann"), gateway.key("approver", "ann"));
    let mut watching = Watch::open(&gateway, &approver, None);
    let asked =
        gateway.call_with(&agent, "echo.run", json!({"arguments": {"note": "confidential-4711"}, "wait_seconds": 0}));
    let asked = asked.expect(202);
    desk.wait_for(1);
    let seen = desk.seen()[0].clone();
    assert_eq!(seen.target, "/hook");
    let text = String::from_utf8(seen.body.to_vec()).expect("JSON");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    let approval = asked["approval_id"].as_str().expect("an approval");
    assert_eq!(body["data"]["link"], format!("https://desk.example/decide/{approval}"));
    assert_eq!(body["data"]["call_id"], asked["call_id"]);
    assert!(!text.contains("confidential") && !text.contains("sk_"), "{text}");
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert!(seen.headers.iter().any(|(field, _)| field == name), "{name} is missing");
    }
    let (_, pending) = watching.event();
    assert_eq!((&pending["event"], &pending["approval_id"]), (&"approval.pending".into(), &approval.into()));

    // Whoever has the message has nothing to decide with.
    let path = format!("/v1/approvals/{approval}/approve");
    gateway
        .client
        .send("POST", &path, &[("Content-Type", "application/json")], Some(b"{}"))
        .problem(401, "key_missing");
    gateway.request(&agent, "POST", &path, Some(&json!({}))).problem(403, "role_refused");
    gateway.request(&approver, "POST", &path, Some(&json!({}))).expect(200);
    let (_, decided) = watching.event();
    assert_eq!(
        (&decided["event"], &decided["decision"], &decided["decided_by"]),
        (&"approval.decided".into(), &"approved".into(), &"ann".into())
    );
    let (_, finished) = watching.event();
    assert_eq!((&finished["event"], &finished["status"]), (&"call.finished".into(), &"succeeded".into()));
    let told = gateway.audit("action=notification.send");
    let told: Vec<_> = told.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(told, ["intent", "ok"]);
}

#[test]
fn a_webhook_that_is_down_hears_of_what_still_waits_after_a_restart() {
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let fails = std::sync::Arc::clone(&failing);
    let desk = Upstream::with(move |_| {
        let status = if fails.load(std::sync::atomic::Ordering::SeqCst) { 503 } else { 204 };
        http::Response::builder().status(status).body(bytes::Bytes::new()).expect("an answer")
    });
    let (home, mut gateway) = told(&desk);
    let agent = gateway.key("agent", "ann");
    gateway.call_with(&agent, "echo.run", json!({"arguments": {}, "wait_seconds": 0})).expect(202);
    desk.wait_for(1);
    let admin = gateway.admin_key().clone();
    gateway.kill();
    failing.store(false, std::sync::atomic::Ordering::SeqCst);
    let before = desk.seen().len();
    let gateway = Gateway::again(&home, &admin);
    desk.wait_for(before + 1);
    let ids: std::collections::BTreeSet<_> = desk.seen().iter().map(|seen| seen.body.to_vec()).collect();
    assert_eq!(ids.len(), 1, "the same message");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while gateway.audit("action=notification.send&outcome=ok").is_empty() {
        assert!(std::time::Instant::now() < until, "it is not recorded");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
