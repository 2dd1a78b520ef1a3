//! What happens is told to those who watch, over a real connection.

use crate::harness::{Behaviour, Gateway, Guest, Key, command, sophon};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Lines};
use std::net::TcpStream;
use std::process::Stdio;

/// An open stream of events.
struct Watch(Lines<BufReader<TcpStream>>);

impl Watch {
    fn open(gateway: &Gateway, key: &Key, last: Option<&str>) -> Self {
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
    fn event(&mut self) -> (String, Value) {
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
