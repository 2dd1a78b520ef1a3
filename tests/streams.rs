//! Connections of native skills that are no HTTP: to the very place that a person granted, to a real server, and nowhere else.

use crate::harness::{Cli, Gateway, Home, Key, Signed};
use crate::public_skills::engine;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

/// A server of a protocol of its own: it greets, and says each line back.
struct Echo {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = Arc::clone(&heard);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let record = Arc::clone(&record);
                std::thread::spawn(move || {
                    let reader = BufReader::new(stream.try_clone().expect("a socket"));
                    // A client that hangs up ends its own connection.
                    if stream.write_all(b"* ready\n").is_err() {
                        return;
                    }
                    for line in reader.lines().map_while(Result::ok) {
                        record.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
                        if stream.write_all(format!("said {line}\n").as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn grant(&self) -> String {
        format!("echo://localhost:{}", self.address.port())
    }
}

const SOURCE: &str = r#"
import json, os, socket
host, port = os.environ["HTTP_PROXY"].removeprefix("http://").split(":")
wire = socket.create_connection((host, int(port)), timeout=20)
to = f"{params['host']}:{params['port']}"
wire.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
lines = wire.makefile("rb")
status = int(lines.readline().split()[1])
while lines.readline().strip():
    pass
found = {"status": status}
try:
    if status == 200:
        wire.sendall((params.get("text") or params["token"]).encode() + b"\n")
        found["first"], found["second"] = lines.readline().decode().strip(), lines.readline().decode().strip()
    else:
        found["refused"] = json.loads(lines.read())["code"]
except OSError as error:
    found["broke"] = type(error).__name__
print(json.dumps(found))
"#;

/// A skill that asks for connections of the protocol `echo`, wherever a person lets it.
fn skill() -> Signed {
    Signed { package: files("1.0.0", &json!([{"protocol": "echo"}])), envelope: None }
}

/// The package of a version of it that asks for these connections.
fn files(version: &str, streams: &Value) -> Vec<u8> {
    let manifest = json!({
        "name": "caller", "version": version, "author": "A", "license": "Apache-2.0", "description": "Calls.",
        "category": "utility", "runtime": "python", "entrypoint": "main.py",
        "permissions": {"streams": streams},
        "integration": {"service": "echo", "displayName": "Echo", "authType": "api_key",
                        "fields": [{"key": "token", "label": "Token", "type": "secret", "required": false}]},
        "tools": [{"name": "say", "description": "Say it.", "riskLevel": "none", "parameters": {"type": "object",
                   "properties": {"host": {"type": "string"}, "port": {"type": "integer"}, "text": {"type": "string"}}}}],
    });
    let files = [("manifest.json", manifest.to_string()), ("main.py", SOURCE.to_owned())];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    sophon_skill::pack(&files).expect("an archive")
}

struct Stage {
    _home: Home,
    gateway: Gateway,
    agent: Key,
}

impl Stage {
    fn new(grants: &[String]) -> Option<Self> {
        let engine = engine()?;
        let home = Home::configured(&format!("[containers]\nengine = {engine:?}\nwarm = 1\n"));
        let gateway = Gateway::start(&home);
        let more = json!({"dangerously_allow_unsigned": true, "dangerously_allow_streams": grants});
        let installed = gateway.install(&skill(), more).expect(201);
        assert_eq!(installed["streams"], json!(["echo://HOST:PORT"]));
        assert_eq!(installed["allow_streams"], json!(grants));
        let agent = gateway.agent();
        Some(Self { _home: home, gateway, agent })
    }

    fn say(&self, host: &str, port: u16, text: Option<&str>) -> Value {
        let mut arguments = json!({"host": host, "port": port});
        if let Some(text) = text {
            arguments["text"] = text.into();
        }
        self.gateway.value(&self.agent, "caller.say", arguments)
    }
}

#[test]
fn a_connection_that_is_no_http_goes_to_the_very_place_that_a_person_granted() {
    let (echo, other) = (Echo::start(), Echo::start());
    let Some(stage) = Stage::new(&[echo.grant()]) else { return };
    let found = stage.say("localhost", echo.address.port(), Some("hello"));
    assert_eq!(found, json!({"status": 200, "first": "* ready", "second": "said hello"}));
    assert_eq!(echo.heard(), ["hello"]);
    // The end of a connection is told of when it is over, and nobody waits for that.
    let mut records = stage.gateway.audit("action=egress.request");
    for _ in 0..100 {
        if records.len() > 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        records = stage.gateway.audit("action=egress.request");
    }
    let outcomes: Vec<&str> = records.iter().filter_map(|record| record["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["intent", "ok"], "{records:?}");
    for record in &records {
        assert_eq!(record["detail"]["method"], "CONNECT", "{record}");
    }
    let detail = &records[1]["detail"];
    assert_eq!((&detail["url"], &detail["sent_bytes"]), (&json!(echo.grant()), &json!(6)), "{detail}");
    assert_eq!(detail["received_bytes"], json!("* ready\nsaid hello\n".len()), "{detail}");
    // The same host at another port, and the same place by another name, were not granted.
    for (host, port) in [("localhost", other.address.port()), ("127.0.0.1", echo.address.port())] {
        let found = stage.say(host, port, Some("hello"));
        assert!(
            found["first"].as_str().is_some_and(|said| said.contains("only HTTP and HTTPS")),
            "{host}:{port}: {found}"
        );
    }
    assert!(other.heard().is_empty());
    assert_eq!(echo.heard().len(), 1);
}

#[test]
fn attack_11_a_granted_connection_reaches_no_address_that_is_never_reached() {
    let Some(stage) = Stage::new(&["echo://169.254.169.254:80".to_owned()]) else { return };
    let found = stage.say("169.254.169.254", 80, Some("hello"));
    assert_eq!(found, json!({"status": 403, "refused": "address_not_allowed"}));
    assert_eq!(stage.gateway.audit("action=egress.denied").len(), 1);
}

#[test]
fn attack_17_a_placeholder_on_a_connection_that_nobody_reads_ends_it_and_raises_an_alarm() {
    let echo = Echo::start();
    let Some(stage) = Stage::new(&[echo.grant()]) else { return };
    let ann = stage.gateway.key("approver", "ann");
    let body = json!({"fields": {"token": "tok-5bNLqtirsqPaayJsR8x2Vd0TuQwEz"}, "attach": {"type": "placeholders"}});
    stage.gateway.request(&ann, "PUT", "/v1/credentials/echo", Some(&body)).expect(200);
    let found = stage.say("localhost", echo.address.port(), None);
    assert_ne!(found["second"], json!("said"), "{found}");
    assert!(echo.heard().is_empty(), "{:?}", echo.heard());
    let alarms = stage.gateway.audit("action=egress.alarm");
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0]["detail"]["url"], json!(echo.grant()), "{alarms:?}");
}

#[test]
fn what_a_manifest_does_not_ask_for_cannot_be_granted() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    for (grant, code) in [("imap://mail.example.com:993", "stream_not_asked"), ("https://a.example:443", "")] {
        let more = json!({"dangerously_allow_unsigned": true, "dangerously_allow_streams": [grant]});
        let problem = gateway.install(&skill(), more);
        assert!(problem.status >= 400, "{}", problem.text());
        if !code.is_empty() {
            assert_eq!(problem.json()["code"], code);
            assert!(problem.json()["hint"].as_str().is_some_and(|hint| hint.contains("echo://HOST:PORT")));
        }
    }
}

#[test]
fn attack_37_an_update_keeps_a_granted_connection_that_is_unchanged_and_of_the_same_publisher() {
    let (home, gateway, publisher) = Gateway::trusting("Good Co", 3);
    let folder = tempfile::tempdir().expect("a folder");
    let grant = "echo://mail.example.com:7";
    let streams = json!([{"protocol": "echo"}]);
    let first = publisher.sign_package(files("1.0.0", &streams));
    gateway.install(&first, json!({"dangerously_allow_streams": [grant]})).expect(201);
    let update = |version: &str, package: Signed, more: &[&str]| {
        let file = package.write(folder.path(), &format!("caller-{version}"));
        let words = ["update", "caller", file.to_str().expect("a path"), "--json"];
        Cli::new(&home, words.iter().chain(more)).run()
    };
    let granted = |updated: crate::harness::Finished| {
        assert_eq!(updated.code, 0, "{updated:?}");
        serde_json::from_str::<Value>(&updated.stdout).expect("JSON")["allow_streams"].clone()
    };
    // Unchanged, it stays; what is granted beside it comes to it.
    let other = "echo://other.example.com:7";
    let second = publisher.sign_package(files("1.0.1", &streams));
    let updated = update("1.0.1", second, &["--dangerously-allow-stream", other]);
    assert_eq!(granted(updated), json!([other, grant]));
    let records = gateway.audit("action=skill.install");
    let last = records.last().expect("a record");
    assert_eq!(last["detail"]["granted_streams"], json!([other, grant]), "{last}");
    // Another protocol or place is another connection: it needs consent, and a grant of its own.
    let moved = json!([{"protocol": "echo", "port": 8}]);
    let third = publisher.sign_package(files("1.0.2", &moved));
    let refused = update("1.0.2", third.clone(), &[]);
    assert!(refused.code != 0 && refused.stderr.contains("consent_required"), "{refused:?}");
    assert_eq!(granted(update("1.0.2", third, &["--accept-changes"])), json!([]));
    // Nor does it stay where nobody says that it is the same publisher's.
    let fourth = publisher.sign_package(files("1.0.3", &streams));
    let words = ["--accept-changes", "--dangerously-allow-stream", grant];
    assert_eq!(granted(update("1.0.3", fourth, &words)), json!([grant]));
    let fifth = publisher.sign_package(files("1.0.4", &streams));
    assert_eq!(granted(update("1.0.4", fifth, &["--dangerously-allow-unsigned"])), json!([]));
}
