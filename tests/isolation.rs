//! Isolation between tenants, and between skills: what they remember, what they log, what they are told, and what is
//! compiled for them. That of connections and TLS sessions is shown where they are made, in `host/egress/tests`; that of
//! reused slots of the pool in `host/sandbox`.

use crate::harness::{Answer, Behaviour, Gateway, Guest, Home, Key, Publisher, Tenant};
use serde_json::{Value, json};

/// Names that would run together if somebody put them into one.
const TENANTS: [&str; 3] = ["acme", "acme-memory", "acm"];
const SKILLS: [&str; 3] = ["memory", "memory-x", "e-memory"];
/// Keys that mean something to a store that is careless with them.
const KEYS: [&str; 6] =
    ["same", "a/b", "../acme/memory/same", "%2e%2e%2fsame", "same' OR '1'='1", "acme\u{200b}memory"];

fn remember(skill: &'static str, key: &'static str, value: String, version: &'static str) -> Guest {
    Guest::new(skill, Behaviour::Remember { key, value }).version(version)
}

#[test]
fn attack_44_a_tenants_results_take_no_more_of_the_disk_than_they_may() {
    let home = Home::configured("[sandbox]\nresults_mb = 1\n");
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let [acme, rival] = ["acme", "rival"].map(|name| Tenant::new(&home, &gateway, name, &publisher));
    let long = format!("\"{}\"", "long ".repeat(30_000));
    let package = publisher.sign(&Guest::new("talker", Behaviour::Return(long.into_bytes())));
    for tenant in [&acme, &rival] {
        tenant.admin("POST", "/v1/skills", Some(&package.body(json!({})))).expect(201);
    }
    let called = |key: &Key, name: &str| {
        let body = json!({"arguments": {}, "idempotency_key": name, "wait_seconds": 30});
        gateway.call_with(key, "talker.run", body).expect(200)
    };
    let (ann, eve) = (acme.agent("ann"), rival.agent("eve"));
    let others = called(&eve, "theirs");
    let first = called(&ann, "first");
    let mut last = Value::Null;
    for n in 0..12 {
        last = called(&ann, &format!("more-{n}"));
        assert!(last["content"].as_str().is_some_and(|content| content.contains("long long")), "{last:.300}");
    }
    let looked_up = |key: &Key, call: &Value| {
        let id = call["call_id"].as_str().expect("an id");
        gateway.request(key, "GET", &format!("/v1/calls/{id}"), None).expect(200)
    };
    // That it was made and how it ended is kept, and so is its key: it does not happen again.
    for gone in [looked_up(&ann, &first), called(&ann, "first")] {
        assert_eq!((&gone["call_id"], &gone["status"]), (&first["call_id"], &json!("succeeded")), "{gone:.300}");
        assert_eq!(gone["error"]["code"], "result_dropped", "{gone:.300}");
    }
    for (key, call) in [(&ann, &last), (&eve, &others)] {
        assert!(looked_up(key, call)["content"].as_str().is_some_and(|content| content.contains("long long")));
    }
}

#[test]
fn attack_25_state_is_kept_apart_between_skills_and_tenants() {
    let home = Home::new();
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let tenants = TENANTS.map(|name| (name, Tenant::new(&home, &gateway, name, &publisher)));
    let agents: Vec<Key> = tenants.iter().map(|(_, tenant)| tenant.agent("ann")).collect();
    let versions = ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.5"];
    for (key, version) in KEYS.into_iter().zip(versions) {
        let own = |tenant: &str, skill: &str| format!("of {tenant} and {skill} at {version}");
        for (name, tenant) in &tenants {
            for skill in SKILLS {
                let package = publisher.sign(&remember(skill, key, own(name, skill), version));
                tenant.admin("POST", "/v1/skills", Some(&package.body(json!({"accept_changes": true})))).expect(201);
            }
        }
        // Each finds nothing at first, whatever the others have written under the same key by then; later its own.
        for round in 0..2 {
            for ((name, _), agent) in tenants.iter().zip(&agents) {
                for skill in SKILLS {
                    let content = gateway.content(agent, &format!("{skill}.run"), json!({}));
                    let expected = if round == 0 { "nothing".to_owned() } else { own(name, skill) };
                    assert!(content.contains(&expected), "{name} {skill} {key:?}: {content}");
                }
            }
        }
    }
}

#[test]
fn attack_03_what_a_skill_logs_is_one_line_that_names_its_own_tenant() {
    let home = Home::configured("[log]\nlevel = \"debug\"\n");
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let acme = Tenant::new(&home, &gateway, "acme", &publisher);
    let rival = Tenant::new(&home, &gateway, "rival", &publisher);
    const FORGED: &str = "good\r\n2026-01-01T00:00:00.000000Z  INFO skill: tenant=rival tool=quiet.run line=\"forged\"\
                          \u{1b}[1A\u{1b}[2K\u{9b}2J\u{2028}2026-01-01 forged\u{85}forged\u{202e}degrof";
    acme.installed(&publisher.sign(&Guest::new("loud", Behaviour::Log(FORGED))), &[]);
    rival.installed(&publisher.sign(&Guest::new("quiet", Behaviour::Log("of rival's own"))), &[]);
    gateway.content(&acme.agent("ann"), "loud.run", json!({}));
    gateway.content(&rival.agent("zoe"), "quiet.run", json!({}));
    // Text of clients, too.
    let path = "/v1/%0A2026-01-01T00:00:00Z%20forged%1B[2K";
    gateway.client.send("GET", path, &[("traceparent", "00-forged\u{85}"), ("Host", "forged\u{9b}2J")], None);

    let log = gateway.log();
    assert!(!log.contains(['\u{1b}', '\u{9b}', '\u{85}', '\u{2028}', '\u{202e}', '\r']), "{log:?}");
    let began = |line: &&str| line.starts_with("2026-01-01");
    assert_eq!(log.split('\n').find(began), None, "a line was forged");
    let lines: Vec<&str> = log.split('\n').filter(|line| line.contains("forged") && line.contains("skill:")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    // The fields of the line come before what the skill says, which is quoted.
    let (fields, said) = lines[0].split_once(" line=").unwrap_or_else(|| panic!("{}", lines[0]));
    assert!(
        fields.contains("tenant=acme") && fields.contains("tool=loud.run") && !fields.contains("rival"),
        "{fields}"
    );
    assert!(said.starts_with('"') && said.ends_with('"'), "{said}");
    let of_rival: Vec<&str> = log.lines().filter(|line| line.contains("of rival's own")).collect();
    assert!(of_rival.len() == 1 && of_rival[0].contains("tenant=rival"), "{of_rival:?}");
}

/// An answer without what differs from request to request (time, ids, what is left of a budget), and without the name that was asked for.
fn told(answer: &Answer, name: &str) -> (u16, Vec<(String, String)>, String) {
    let mut body = answer.text();
    if let Ok(mut json) = serde_json::from_str::<Value>(&body)
        && let Some(members) = json.as_object_mut()
    {
        members.remove("correlation_id");
        body = json.to_string();
    }
    let headers = answer
        .headers
        .iter()
        .filter(|(field, _)| !matches!(&**field, "date" | "x-correlation-id" | "content-length" | "ratelimit"));
    (answer.status, headers.cloned().collect(), body.replace(name, "NAME"))
}

#[test]
fn what_another_tenant_has_looks_like_what_nobody_has() {
    let home = Home::new();
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let acme = Tenant::new(&home, &gateway, "acme", &publisher);
    let stranger = Publisher::new("Other Co", 2);
    let rival = Tenant::new(&home, &gateway, "rival", &stranger);
    acme.installed(&publisher.sign(&Guest::new("theirs", Behaviour::Return(b"1".to_vec()))), &[]);
    let ann = acme.agent("ann");
    let call = begin_and_end(&gateway, &ann, "theirs.run");
    let credential = json!({"fields": {"token": "a-token-of-acme-0123456789"}});
    let person = acme.key("approver", "ann");
    gateway.request(&person, "PUT", "/v1/credentials/their-service", Some(&credential)).expect(200);

    // What waits, comes round, or was allowed in advance.
    acme.installed(&publisher.sign(&Guest::new("asks", Behaviour::Return(b"1".to_vec())).risk("high")), &[]);
    let made = |key: &Key, path: &str, body: Value, id: &str| {
        let answer = gateway.request(key, "POST", path, Some(&body));
        assert!(matches!(answer.status, 200..=202), "{path}: {}", answer.text());
        answer.json()[id].as_str().expect("an id").to_owned()
    };
    let approval = made(&ann, "/v1/tools/asks.run/call", json!({"arguments": {}}), "approval_id");
    let plan = json!({"steps": [{"tool": "theirs.run", "arguments": {}}]});
    let plan = made(&ann, "/v1/plans", plan, "plan_id");
    let session = gateway.request(&ann, "POST", "/v1/sessions", None).expect(201);
    let session = session["session_id"].as_str().expect("an id").to_owned();
    let yearly = json!({"tool": "theirs.run", "arguments": {}, "cron": "0 0 1 1 *"});
    let schedule = made(&ann, "/v1/schedules", yearly, "schedule_id");
    let standing = json!({"tool": "asks.run", "arguments": {"n": 1}, "risk": "high", "expires_in": 600});
    let grant = made(&person, "/v1/grants", standing, "grant_id");
    let [no_approval, no_plan, no_session, no_schedule, no_grant] =
        [&approval, &plan, &session, &schedule, &grant].map(|id| flip_last(id));

    let nobodys_call = flip_last(&call);
    let nobodys_key = flip_last(&ann.id);
    let nobodys_print = flip_last(&publisher.fingerprint());
    let (agent, admin, own) = (rival.agent("ann"), rival.key("admin", "root"), rival.key("approver", "ann"));
    let body = json!({"arguments": {}});
    let raise = json!({"auto_approve_ceiling": "high", "expires_in": 60});
    let mut heard = crate::events::Watch::open(&gateway, &admin, None);
    for (key, method, path, theirs, nobodys, body) in [
        (&agent, "POST", "/v1/tools/NAME.run/call", "theirs", "nobodys", Some(&body)),
        (&agent, "GET", "/v1/calls/NAME", &*call, &*nobodys_call, None),
        (&admin, "GET", "/v1/calls/NAME", &call, &nobodys_call, None),
        (&admin, "GET", "/v1/skills/NAME", "theirs", "nobodys", None),
        (&admin, "GET", "/v1/skills/NAME/analysis", "theirs", "nobodys", None),
        (&admin, "POST", "/v1/skills/NAME/enable", "theirs", "nobodys", Some(&json!({}))),
        (&admin, "POST", "/v1/skills/NAME/disable", "theirs", "nobodys", Some(&json!({}))),
        (&admin, "DELETE", "/v1/skills/NAME", "theirs", "nobodys", None),
        (&admin, "DELETE", "/v1/keys/NAME", &ann.id, &nobodys_key, None),
        (&admin, "DELETE", "/v1/publishers/NAME", &publisher.fingerprint(), &nobodys_print, None),
        (&own, "GET", "/v1/credentials/NAME", "their-service", "nobodys-service", None),
        (&own, "DELETE", "/v1/credentials/NAME", "their-service", "nobodys-service", None),
        (&admin, "GET", "/v1/credentials/NAME?owner=tenant", "their-service", "nobodys-service", None),
        (&admin, "GET", "/v1/audit?call=NAME", &call, &nobodys_call, None),
        (&admin, "GET", "/v1/audit?tool=NAME.run", "theirs", "nobodys", None),
        (&admin, "GET", "/v1/audit/export?format=csv&tool=NAME.run", "theirs", "nobodys", None),
        (&admin, "GET", "/v1/audit/export?format=csv&call=NAME", &call, &nobodys_call, None),
        (&agent, "GET", "/v1/approvals/NAME", &approval, &no_approval, None),
        (&admin, "GET", "/v1/approvals/NAME", &approval, &no_approval, None),
        (&own, "POST", "/v1/approvals/NAME/approve", &approval, &no_approval, Some(&json!({}))),
        (&admin, "POST", "/v1/approvals/NAME/approve", &approval, &no_approval, Some(&json!({}))),
        (&admin, "POST", "/v1/approvals/NAME/reject", &approval, &no_approval, Some(&json!({}))),
        (&agent, "GET", "/v1/plans/NAME", &plan, &no_plan, None),
        (&admin, "GET", "/v1/plans/NAME", &plan, &no_plan, None),
        (&own, "PUT", "/v1/sessions/NAME", &session, &no_session, Some(&raise)),
        (&admin, "PUT", "/v1/sessions/NAME", &session, &no_session, Some(&raise)),
        (&agent, "GET", "/v1/schedules/NAME", &schedule, &no_schedule, None),
        (&admin, "GET", "/v1/schedules/NAME", &schedule, &no_schedule, None),
        (&admin, "DELETE", "/v1/schedules/NAME", &schedule, &no_schedule, None),
        (&own, "DELETE", "/v1/grants/NAME", &grant, &no_grant, None),
        (&admin, "DELETE", "/v1/grants/NAME", &grant, &no_grant, None),
    ] {
        let ask = |name: &str| told(&gateway.request(key, method, &path.replace("NAME", name), body), name);
        let (of_theirs, of_nobodys) = (ask(theirs), ask(nobodys));
        assert_eq!(of_theirs, of_nobodys, "{method} {path}");
        let found = of_theirs.2.contains("acme") || of_theirs.2.contains("theirs");
        assert!(!found, "{method} {path}: {}", of_theirs.2);
    }
    // Lists have nothing of it either.
    for (key, path, name) in [
        (&admin, "/v1/approvals", "approvals"),
        (&admin, "/v1/schedules", "schedules"),
        (&admin, "/v1/grants", "grants"),
        (&agent, "/v1/tools", "tools"),
    ] {
        let listed = gateway.request(key, "GET", path, None).expect(200);
        assert_eq!(listed[name], json!([]), "{path}: {listed}");
    }
    let csv = gateway.request(&admin, "GET", "/v1/audit/export?format=csv", None);
    assert_eq!(csv.status, 200);
    let text = csv.text();
    assert!(text.lines().count() > 1 && text.contains("rival"), "{text}");
    for theirs in ["acme", "theirs", "asks.run", &*call, &*approval, &*schedule, &*grant, &*plan] {
        let told = text.lines().filter(|line| line.contains(theirs) && !line.contains(",rival,")).count();
        assert_eq!(told, 0, "{theirs}: {text}");
    }
    // All of it is still there.
    for (key, path) in [
        (&ann, format!("/v1/approvals/{approval}")),
        (&ann, format!("/v1/plans/{plan}")),
        (&ann, format!("/v1/schedules/{schedule}")),
    ] {
        gateway.request(key, "GET", &path, None).expect(200);
    }
    let standing = gateway.request(&person, "GET", "/v1/grants", None).expect(200);
    assert_eq!(standing["grants"][0]["grant_id"], grant.as_str(), "{standing}");
    acme.admin("GET", "/v1/skills/theirs", None).expect(200);
    gateway.request(&person, "GET", "/v1/credentials/their-service", None).expect(200);
    gateway.content(&ann, "theirs.run", json!({}));

    // A name that another tenant uses, of another publisher, with a version that is lower: all of it is free here.
    let same = Guest::new("theirs", Behaviour::Return(b"2".to_vec())).version("0.1.0");
    rival.installed(&stranger.sign(&same), &[]);
    assert!(gateway.content(&agent, "theirs.run", json!({})).contains('2'));
    // What happened in the other tenant meanwhile was told to nobody here: the first thing that is heard is one's own.
    let (_, event) = heard.event();
    assert_eq!((&event["event"], &event["user"]), (&"call.finished".into(), &"ann".into()));
    let own_call =
        gateway.request(&agent, "GET", &format!("/v1/calls/{}", event["call_id"].as_str().expect("a call")), None);
    own_call.expect(200);
    // And an idempotency key is each user's own.
    let keyed = json!({"arguments": {}, "idempotency_key": "the-same", "wait_seconds": 30});
    let ids: std::collections::HashSet<String> = [&ann, &acme.agent("bob"), &agent]
        .map(|key| gateway.call_with(key, "theirs.run", keyed.clone()).expect(200)["call_id"].to_string())
        .into();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[track_caller]
fn begin_and_end(gateway: &Gateway, key: &Key, tool: &str) -> String {
    gateway.call(key, tool, json!({})).expect(200)["call_id"].as_str().expect("a call").to_owned()
}

/// Another one of the same form.
fn flip_last(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

#[test]
fn compiled_code_is_each_tenants_own() {
    let home = Home::new();
    let (gateway, publisher) = (Gateway::start(&home), Publisher::new("Good Co", 1));
    let package = publisher.sign(&Guest::new("shared", Behaviour::Return(b"1".to_vec())));
    let files = || {
        let mut names = Vec::new();
        let mut folders = vec![home.path()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "cwasm") {
                    names.push(path);
                }
            }
        }
        names.len()
    };
    let tenants = ["acme", "rival"].map(|name| Tenant::new(&home, &gateway, name, &publisher));
    for (n, tenant) in tenants.iter().enumerate() {
        tenant.installed(&package, &[]);
        assert_eq!(files(), n + 1, "the second tenant's installation was over sooner than the first one's");
        // Its own is there already.
        tenant.admin("DELETE", "/v1/skills/shared", None);
        tenant.installed(&package, &[]);
        assert_eq!(files(), n + 1);
    }
}
