//! The audit log shows what happened and that nobody has changed it since.

use crate::harness::{Behaviour, Cli, Gateway, Guest, Home, Key, Publisher, Request, Upstream};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::PathBuf;

/// A home with a history: a publisher, a skill, a credential, some calls. The gateway is stopped.
fn history() -> Home {
    let home = Home::new();
    let mut gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&Guest::new("echo", Behaviour::Return(b"1".to_vec()))), &[]);
    gateway.connect("svc", "a-secret-that-is-not-to-be-found-4711");
    let agent = gateway.agent();
    for n in 0..5 {
        gateway.content(&agent, "echo.run", json!({"note": format!("visit number {n}")}));
    }
    assert!(gateway.stop().success());
    home
}

pub(crate) fn sql(home: &Home, statement: &str) {
    let database: PathBuf = home.path().join("sophon.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(&database);
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the database");
        let done = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("the statement");
        assert!(done.rows_affected() > 0, "{statement} changed nothing");
        connection.close().await.expect("closed");
    });
}

#[test]
fn the_log_holds_what_happened_and_verifies() {
    let home = history();
    let verified = Cli::new(&home, ["audit", "verify", "--json"]).expect(0).json();
    assert_eq!(verified["intact"], true, "{verified}");
    assert!(verified["records"].as_u64().is_some_and(|count| count > 10), "{verified}");
    assert!(verified["checkpoints"].as_u64().is_some_and(|count| count >= 1), "a stop leaves a checkpoint: {verified}");
    let tail = Cli::new(&home, ["audit", "tail", "--json"]).expect(0).json();
    assert!(tail["entries"].as_array().is_some_and(|entries| !entries.is_empty()));
    let outcomes = Cli::new(&home, ["audit", "query", "--action", "call.outcome", "--json"]).expect(0).json();
    let entries = outcomes["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 5);
    for entry in entries {
        let record = &entry["record"];
        for field in ["action", "tenant", "user", "tool", "call", "correlation", "outcome", "time", "risk"] {
            assert!(!record[field].is_null(), "{field} is missing: {record}");
        }
    }
    for action in [
        "gateway.start",
        "gateway.stop",
        "publisher.trust",
        "skill.install",
        "credential.put",
        "key.create",
        "call.intent",
    ] {
        let found = Cli::new(&home, ["audit", "query", "--action", action, "--json"]).expect(0).json();
        assert!(found["entries"].as_array().is_some_and(|entries| !entries.is_empty()), "{action}");
    }
}

#[test]
fn attack_43_a_changed_row_is_found() {
    let home = history();
    sql(
        &home,
        "UPDATE audit SET body = replace(body, 'visit number 3', 'visit number 9') WHERE body LIKE '%visit number 3%'",
    );
    found(&home);
}

#[test]
fn attack_43_a_changed_column_is_found() {
    let home = history();
    sql(
        &home,
        "UPDATE audit SET user_id = 'bob' WHERE position = (SELECT max(position) FROM audit WHERE user_id = 'ann')",
    );
    found(&home);
}

#[test]
fn attack_43_a_deleted_row_is_found() {
    let home = history();
    sql(&home, "DELETE FROM audit WHERE position = (SELECT position FROM audit WHERE action = 'call.outcome' LIMIT 1)");
    found(&home);
}

#[test]
fn attack_43_a_cut_off_end_is_found() {
    let home = history();
    sql(&home, "DELETE FROM audit WHERE seq > (SELECT max(seq) - 4 FROM audit)");
    found(&home);
}

/// Checks that `audit verify` names a problem, and that the home can still be looked at.
#[track_caller]
fn found(home: &Home) {
    let verified = Cli::new(home, ["audit", "verify", "--json"]).run();
    let text = format!("{}{}", verified.stdout, verified.stderr);
    assert_eq!(verified.code, 1, "{text}");
    if let Ok(answer) = serde_json::from_str::<Value>(&verified.stdout) {
        assert_eq!(answer["intact"], false, "{answer}");
        assert!(answer["problems"].as_array().is_some_and(|problems| !problems.is_empty()), "{answer}");
    } else {
        assert!(text.contains("audit"), "{text}");
    }
}

#[test]
fn attack_42_while_nothing_can_be_recorded_nothing_happens() {
    let home = Home::new();
    let upstream = Upstream::plain();
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    let request = Request::new("POST", upstream.url("/effect")).body(b"x").credential("svc");
    let rule =
        json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"], "credential": "svc"});
    let guest = Guest::new("poster", Behaviour::Send(request)).risk("medium").network(rule, "svc");
    gateway.installed(&publisher.sign(&guest), &[&upstream.host()]);
    gateway.connect("svc", "tok_that_must_not_travel_4711");
    let agent = gateway.agent();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut held = runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(home.path().join("sophon.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the database");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("the write lock");
        connection
    });
    let refused = gateway.call(&agent, "poster.run", json!({}));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let ready = gateway.client.send("GET", "/readyz", &[], None);
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(upstream.seen().is_empty(), "nothing was sent");

    runtime.block_on(async {
        sqlx::query("ROLLBACK").execute(&mut held).await.expect("the lock is given back");
        held.close().await.expect("closed");
    });
    // The log looks now and then whether it can be written again.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while gateway.client.send("GET", "/readyz", &[], None).status != 200 {
        assert!(std::time::Instant::now() < until, "the log does not go on by itself");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    gateway.content(&agent, "poster.run", json!({}));
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(gateway.admin("GET", "/v1/audit/verify", None).expect(200)["intact"], true);
}

#[test]
fn attack_43_secrets_stand_in_the_log_as_keyed_hashes_only() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&Guest::new("echo", Behaviour::Return(b"1".to_vec()))), &[]);
    let pasted = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    gateway.content(&gateway.agent(), "echo.run", json!({"note": pasted}));
    let intent = gateway.audit("action=call.intent");
    assert!(!intent[0].to_string().contains(pasted), "{}", intent[0]);
    assert!(intent[0]["params"]["note"].to_string().contains("hmac"), "{}", intent[0]);
}

#[test]
fn an_export_can_be_checked_away_from_the_home() {
    let home = history();
    let file = home.beside("audit.jsonl");
    let path = file.to_str().expect("a path");
    Cli::new(&home, ["audit", "export", "--out", path]).expect(0);
    let elsewhere = Home::new();
    Cli::new(&elsewhere, ["audit", "verify", "--file", path]).expect(0);
    let text = std::fs::read_to_string(&file).expect("the export");
    std::fs::write(&file, text.replacen("visit number 2", "visit number 7", 1)).expect("the export");
    Cli::new(&elsewhere, ["audit", "verify", "--file", path]).expect(1);
}

#[test]
fn everything_that_a_request_caused_is_found_by_its_traceparent() {
    let upstream = Upstream::plain();
    let (_home, gateway, publisher) = Gateway::trusting("Good Co", 1);
    let rule =
        json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"], "credential": "svc"});
    let request = Request::new("POST", upstream.url("/effect")).body(b"x").credential("svc");
    let guest = Guest::new("poster", Behaviour::Send(request)).risk("medium").network(rule, "svc");
    gateway.installed(&publisher.sign(&guest), &[&upstream.host()]);
    gateway.connect("svc", "tok_that_must_not_travel_4711");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let agent = gateway.agent();
    let headers = [agent.header(), ("Content-Type", "application/json"), ("traceparent", &*parent)];
    let body = json!({"arguments": {}, "wait_seconds": 60}).to_string();
    gateway.client.send("POST", "/v1/tools/poster.run/call", &headers, Some(body.as_bytes())).expect(200);
    let found = gateway.audit(&format!("correlation={trace}"));
    let actions: Vec<&str> = found.iter().filter_map(|record| record["action"].as_str()).collect();
    for action in ["call.intent", "credential.use", "egress.request", "call.outcome"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
    let of_call = gateway.audit(&format!("call={}", found[0]["call"].as_str().expect("a call")));
    assert_eq!(of_call.len(), found.len(), "no record of the call lacks the correlation");

    // By any other field too, and as a spreadsheet.
    assert_eq!(gateway.audit("skill=poster&action=call.intent").len(), 1);
    assert_eq!(gateway.audit(&format!("key={}&action=call.outcome", agent.id)).len(), 1);
    assert_eq!(gateway.audit("risk=medium&action=call.outcome").len(), 1);
    assert_eq!(gateway.audit("field=detail.webhook%3Dnone").len(), 0);
    gateway.admin("GET", "/v1/audit?field=a%20b%3Dc", None).problem(400, "invalid_parameter");
    let csv = gateway.admin("GET", "/v1/audit/export?format=csv&action=call.outcome", None);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = csv.text();
    assert!(text.lines().count() == 2 && text.contains("poster.run") && text.contains(trace), "{text}");
    gateway.admin("GET", "/v1/audit/export?action=call.outcome", None).problem(400, "invalid_parameter");
}

#[test]
fn the_log_can_be_followed() {
    let home = Home::new();
    let mut gateway = Gateway::start(&home);
    let mut child = crate::harness::command(crate::harness::sophon())
        .env("SOPHON_HOME", home.path())
        .args(["audit", "tail", "--follow", "--lines", "1", "--json"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sophon starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("its output")));
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    let first = next()["position"].as_u64().expect("a position");
    gateway.key("agent", "eve");
    let second = next();
    assert_eq!(second["record"]["action"], "key.create", "{second}");
    assert!(second["position"].as_u64().is_some_and(|position| position > first));
    assert!(gateway.stop().success());
    drop(child.kill());
    child.wait().expect("it ends");
}

/// An upstream, and a rule by which a skill may post to it.
fn posting() -> (Upstream, Value) {
    let upstream = Upstream::plain();
    let rule = json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"]});
    (upstream, rule)
}

#[test]
fn attack_42_records_go_to_every_sink_and_a_required_one_that_fails_refuses_calls() {
    let home = Home::configured("");
    let folder = home.beside("records");
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join("audit.jsonl");
    home.configure_trusting(&format!("[audit.file]\npath = {file:?}\nrequired = true\n"));
    let gateway = Gateway::start(&home);
    let publisher = Publisher::new("Good Co", 1);
    gateway.trust(&publisher);
    gateway.installed(&publisher.sign(&Guest::new("echo", Behaviour::Return(b"1".to_vec()))), &[]);
    let (upstream, rule) = posting();
    let request = Request::new("POST", upstream.url("/effect"));
    let poster = Guest::new("poster", Behaviour::Send(request)).risk("high").network(rule, "svc");
    gateway.installed(&publisher.sign(&poster), &[&upstream.host()]);
    let agent = gateway.agent();
    gateway.content(&agent, "echo.run", json!({}));
    let person = gateway.key("approver", "ann");
    let waiting = gateway.call(&agent, "poster.run", json!({})).expect(202);
    let text = std::fs::read_to_string(&file).expect("the file");
    let actions: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["record"]["action"].clone())
        .collect();
    assert!(actions.contains(&"call.intent".into()) && actions.contains(&"call.outcome".into()), "{actions:?}");
    // A folder in its place: it cannot be written.
    std::fs::rename(&file, folder.join("away")).expect("moved");
    std::fs::create_dir(&file).expect("a folder in its place");
    let ask = |key: &Key, method: &str, path: &str, body: Value| gateway.request(key, method, path, Some(&body));
    let call = json!({"arguments": {}, "idempotency_key": "again"});
    let plan = json!({"steps": [{"tool": "echo.run", "arguments": {}}]});
    let schedule = json!({"tool": "echo.run", "arguments": {}, "cron": "* * * * *"});
    let grant = json!({"tool": "poster.run", "arguments": {}, "risk": "high", "expires_in": 60});
    let approve = format!("/v1/approvals/{}/approve", waiting["approval_id"].as_str().expect("an approval"));
    for (key, path, body) in [
        (&agent, "/v1/tools/echo.run/call", &json!({"arguments": {}})),
        (&agent, "/v1/tools/echo.run/call", &call),
        (&agent, "/v1/tools/poster.run/call", &call),
        (&agent, "/v1/plans", &plan),
        (&agent, "/v1/schedules", &schedule),
        (&person, "/v1/grants", &grant),
        (&person, &*approve, &json!({})),
        (&person, "/v1/keys", &json!({"role": "agent", "user": "eve"})),
    ] {
        let key = if path == "/v1/keys" { gateway.admin_key() } else { key };
        ask(key, "POST", path, body.clone()).problem(503, "audit_unavailable");
    }
    let credential = json!({"fields": {"token": "a-token-that-is-not-kept-4711"}});
    ask(&person, "PUT", "/v1/credentials/svc", credential).problem(503, "audit_unavailable");
    std::fs::remove_dir(&file).expect("removed");
    // Nothing of it has happened.
    assert!(upstream.seen().is_empty());
    let list = |key: &Key, path: &str, name: &str| gateway.request(key, "GET", path, None).expect(200)[name].clone();
    assert_eq!(list(&agent, "/v1/schedules", "schedules"), json!([]));
    assert_eq!(list(&person, "/v1/grants", "grants"), json!([]));
    gateway.request(&person, "GET", "/v1/credentials/svc", None).expect(404);
    let keys = list(gateway.admin_key(), "/v1/keys", "keys");
    assert!(keys.as_array().is_some_and(|keys| keys.iter().all(|key| key["user"] != "eve")), "{keys}");
    gateway.content(&agent, "echo.run", json!({}));
    ask(&agent, "POST", "/v1/tools/echo.run/call", call).expect(200);
    assert_eq!(gateway.admin("GET", "/v1/audit/verify", None).expect(200)["intact"], true);
}
