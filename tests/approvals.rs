//! What a person decides, over the real gateway: questions wait, answers are good for one thing, once, and no answer is a no.

use crate::harness::{Behaviour, Cli, Collector, Gateway, Guest, Home, Key, Publisher, Request, Sink, Upstream};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A gateway with a publisher that it trusts and an upstream that counts what reaches it.
struct Stage {
    home: Home,
    gateway: Gateway,
    publisher: Publisher,
    upstream: Upstream,
    agent: Key,
    ann: Key,
}

impl Stage {
    fn new() -> Self {
        Self::configured("")
    }

    fn configured(more: &str) -> Self {
        let home = Home::configured(more);
        let gateway = Gateway::start(&home);
        let publisher = Publisher::new("Good Co", 3);
        gateway.trust(&publisher);
        let (agent, ann) = (gateway.agent(), gateway.key("approver", "ann"));
        Self { home, gateway, publisher, upstream: Upstream::plain(), agent, ann }
    }

    /// A skill whose tool posts its own arguments to the upstream.
    fn poster(&self, name: &'static str) -> Guest {
        let request = Request::new("POST", self.upstream.url("/effect")).body_of_arguments();
        let parameters = json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "to": {"type": "string"}, "sum": {"type": "integer", "maximum": 100}, "token": {"type": "string"},
            },
        });
        let rule = json!({"host": "localhost", "ports": [self.upstream.address.port()], "methods": ["POST"]});
        Guest::new(name, Behaviour::Send(request))
            .risk("high")
            .tool(json!({"parameters": parameters, "editable": true}))
            .network(rule, "svc")
    }

    #[track_caller]
    fn install(&self, guest: &Guest) {
        self.gateway.installed(&self.publisher.sign(guest), &[&self.upstream.host()]);
    }

    /// Calls a tool that has to ask; the answer.
    #[track_caller]
    fn asks(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.gateway.call(&self.agent, tool, arguments).expect(202);
        assert_eq!(answer["status"], "awaiting_approval", "{answer}");
        assert!(answer["approval_id"].as_str().is_some() && answer["expires_at"].as_str().is_some(), "{answer}");
        answer
    }

    fn decide(&self, key: &Key, answer: &Value, verb: &str, body: Value) -> crate::harness::Answer {
        let path = format!("/v1/approvals/{}/{verb}", text(answer, "approval_id"));
        self.gateway.request(key, "POST", &path, Some(&body))
    }

    #[track_caller]
    fn approve(&self, answer: &Value) -> Value {
        self.decide(&self.ann, answer, "approve", json!({})).expect(200)
    }

    /// The call when it is over.
    #[track_caller]
    fn end(&self, answer: &Value) -> Value {
        let path = format!("/v1/calls/{}?wait=30", text(answer, "call_id"));
        self.gateway.request(&self.agent, "GET", &path, None).expect(200)
    }

    /// The call waits on, nothing of it has run, and it runs once when a person says yes.
    #[track_caller]
    fn is_asked_again(&self, answer: &Value) {
        // Whatever ran after a start runs within moments.
        std::thread::sleep(Duration::from_millis(500));
        let path = format!("/v1/calls/{}", text(answer, "call_id"));
        let view = self.gateway.request(&self.agent, "GET", &path, None).expect(202);
        assert_eq!(view["status"], "awaiting_approval", "{view}");
        assert!(self.upstream.seen().is_empty(), "it ran");
        self.approve(answer);
        assert_eq!(self.end(answer)["status"], "succeeded");
        assert_eq!(self.upstream.seen().len(), 1);
    }

    #[track_caller]
    fn card(&self, key: &Key, answer: &Value) -> Value {
        self.gateway.request(key, "GET", &format!("/v1/approvals/{}", text(answer, "approval_id")), None).expect(200)
    }

    /// The call once it waits for a person while it runs.
    #[track_caller]
    fn parked(&self, call: &Value) -> Value {
        let path = format!("/v1/calls/{}", text(call, "call_id"));
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let view = self.gateway.request(&self.agent, "GET", &path, None).json();
            if view["status"] == "parked" {
                return view;
            }
            assert!(Instant::now() < until && view["status"] == "running", "{view}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Installs a skill that sends DELETE though its tool declares less, and calls it; the call, parked.
    #[track_caller]
    fn parked_deleter(&self) -> Value {
        let request = Request::new("DELETE", self.upstream.url("/repo"));
        let rule = json!({"host": "localhost", "ports": [self.upstream.address.port()], "methods": ["DELETE"]});
        self.install(&Guest::new("deleter", Behaviour::Send(request)).risk("low").network(rule, "svc"));
        let body = json!({"arguments": {}, "wait_seconds": 0});
        let call = self.gateway.call_with(&self.agent, "deleter.run", body).expect(202);
        self.parked(&call)
    }

    /// Codes of the audit records about a call, oldest first.
    fn codes(&self, call: &Value) -> Vec<String> {
        let records = self.gateway.audit(&format!("call={}", text(call, "call_id")));
        records.iter().map(|record| text(record, "action").to_owned()).collect()
    }
}

#[track_caller]
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn attack_41_a_high_risk_call_waits_for_a_person_and_runs_once_with_what_was_shown() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({"to": "bob", "sum": 7}));
    let card = stage.card(&stage.ann, &call);
    assert_eq!(card["status"], "pending", "{card}");
    assert_eq!(card["arguments"], json!({"to": "bob", "sum": 7}), "{card}");
    assert_eq!(card["arguments_canonical"], r#"{"sum":7,"to":"bob"}"#);
    assert_eq!((&card["risk"], &card["tool"]), (&json!("high"), &json!("poster.run")));
    assert!(text(&card, "description").starts_with("<external_content id="), "{card}");
    assert!(card["reasons"][0]["why"].as_str().is_some(), "{card}");
    assert!(stage.upstream.seen().is_empty(), "nothing happens before the answer");
    let waiting = stage.gateway.request(&stage.ann, "GET", "/v1/approvals?status=pending", None).expect(200);
    assert_eq!(waiting["approvals"].as_array().map(Vec::len), Some(1), "{waiting}");

    stage.approve(&call);
    let done = stage.end(&call);
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(stage.upstream.seen().len(), 1);
    assert_eq!(stage.upstream.seen()[0].body, br#"{"sum":7,"to":"bob"}"#.as_slice());

    // Single use: neither again nor otherwise.
    stage.decide(&stage.ann, &call, "approve", json!({})).problem(409, "approval_decided");
    stage.decide(&stage.ann, &call, "reject", json!({})).problem(409, "approval_decided");
    assert_eq!(stage.upstream.seen().len(), 1);
    let codes = stage.codes(&call);
    let order = ["approval.request", "approval.approve", "call.intent", "egress.request", "call.outcome"];
    let found: Vec<_> = order.iter().map(|code| codes.iter().position(|found| found == code)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{codes:?}");
    let refused = stage.gateway.audit("action=approval.refused");
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(stage.gateway.admin("GET", "/v1/audit/verify", None).expect(200)["intact"], true);
}

#[test]
fn attack_41_an_agents_key_decides_nothing_and_sees_only_its_own() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({}));
    stage.decide(&stage.agent, &call, "approve", json!({})).problem(403, "role_refused");
    stage.decide(&stage.agent, &call, "reject", json!({})).problem(403, "role_refused");
    let session = stage.gateway.request(&stage.agent, "POST", "/v1/sessions", None).expect(201);
    let path = format!("/v1/sessions/{}", text(&session, "session_id"));
    let raise = json!({"auto_approve_ceiling": "critical", "expires_in": 60});
    stage.gateway.request(&stage.agent, "PUT", &path, Some(&raise)).problem(403, "role_refused");
    let grant = json!({"tool": "poster.run", "arguments": {}, "risk": "high", "expires_in": 60});
    stage.gateway.request(&stage.agent, "POST", "/v1/grants", Some(&grant)).problem(403, "role_refused");
    assert_eq!(stage.card(&stage.agent, &call)["status"], "pending");

    // Another key of the same person, another person, another role of another person.
    let path = format!("/v1/approvals/{}", text(&call, "approval_id"));
    let (other, bob) = (stage.gateway.agent(), stage.gateway.key("approver", "bob"));
    // It is on record: before the record of the keys that were made since, which is durable.
    let refused = stage.gateway.audit("action=authz.refused");
    assert_eq!(refused[0]["detail"]["routes"], json!(["POST /v1/approvals/{id}/approve"]), "{refused:?}");
    assert!(refused[0]["key"].is_string() && refused[0]["correlation"].is_string(), "{refused:?}");
    for key in [&other, &bob] {
        stage.gateway.request(key, "GET", &path, None).problem(404, "unknown_approval");
        let listed = stage.gateway.request(key, "GET", "/v1/approvals", None).expect(200);
        assert_eq!(listed["approvals"], json!([]), "{listed}");
    }
    stage.decide(&bob, &call, "approve", json!({})).problem(404, "unknown_approval");
    assert!(stage.upstream.seen().is_empty());
    // An admin decides for the tenant.
    stage.decide(stage.gateway.admin_key(), &call, "approve", json!({})).expect(200);
    assert_eq!(stage.end(&call)["status"], "succeeded");
}

#[test]
fn a_person_edits_the_draft_and_that_is_what_runs() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({"to": "eve", "sum": 99}));
    // What does not fit the schema is refused, and the question stays.
    let edited = json!({"arguments": {"to": "bob", "sum": 1000}});
    let problem = stage.decide(&stage.ann, &call, "approve", edited).problem(422, "invalid_arguments");
    assert!(problem["detail"].to_string().contains("/sum"), "{problem}");
    stage.decide(&stage.ann, &call, "approve", json!({"arguments": {"too": "bob"}})).problem(422, "invalid_arguments");
    assert_eq!(stage.card(&stage.ann, &call)["status"], "pending");

    let edited = json!({"arguments": {"to": "bob", "sum": 5}});
    let card = stage.decide(&stage.ann, &call, "approve", edited).expect(200);
    let changed = json!([{"path": "/sum", "before": 99, "after": 5}, {"path": "/to", "before": "eve", "after": "bob"}]);
    assert_eq!(card["edited"], changed, "{card}");
    assert_eq!(stage.end(&call)["status"], "succeeded");
    assert_eq!(stage.upstream.seen()[0].body, br#"{"sum":5,"to":"bob"}"#.as_slice());
    let approved = stage.gateway.audit("action=approval.approve");
    assert_eq!(approved[0]["detail"]["edited"], json!(["/sum", "/to"]), "{approved:?}");
    assert_eq!(approved[0]["params"], json!({"to": "bob", "sum": 5}), "{approved:?}");

    // The next question says what is different this time; another key of the same person does not read it.
    let other = stage.gateway.agent();
    let call = stage.gateway.call(&other, "poster.run", json!({"to": "bob", "sum": 6})).expect(202);
    assert!(stage.card(&other, &call)["changed_since_last_time"].is_null());
    let card = stage.card(&stage.ann, &call);
    assert_eq!(card["changed_since_last_time"], json!([{"path": "/sum", "before": 5, "after": 6}]), "{card}");

    let fixed = stage.poster("fixed");
    let fixed = fixed.tool(json!({"editable": false}));
    stage.install(&fixed);
    let call = stage.asks("fixed.run", json!({}));
    stage.decide(&stage.ann, &call, "approve", json!({"arguments": {"a": 1}})).problem(422, "not_editable");
    let records = stage.gateway.audit("action=approval.refused");
    let codes: Vec<_> = records.iter().map(|record| text(record, "code")).collect();
    assert_eq!(codes, ["invalid_arguments", "invalid_arguments", "not_editable"]);
}

#[test]
fn a_person_says_no_and_the_agent_reads_why() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({"sum": 3}));
    stage.decide(&stage.ann, &call, "reject", json!({"reason": "not to\u{1b}[2J him"})).expect(200);
    let done = stage.end(&call);
    assert_eq!(done["status"], "rejected", "{done}");
    assert_eq!(done["error"]["code"], "approval_rejected");
    assert!(text(&done["error"], "message").contains("not to [2J him"), "{done}");
    stage.decide(&stage.ann, &call, "approve", json!({})).problem(409, "approval_decided");
    assert!(stage.upstream.seen().is_empty());
    assert!(stage.codes(&call).iter().all(|code| code != "call.intent"), "{:?}", stage.codes(&call));
}

#[test]
fn attack_41_no_answer_in_time_is_a_no() {
    let stage = Stage::configured("[approval]\ntimeout_seconds = 1\n");
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({}));
    let done = stage.end(&call);
    assert_eq!(done["status"], "expired", "{done}");
    assert_eq!(done["error"]["code"], "approval_expired");
    stage.decide(&stage.ann, &call, "approve", json!({})).problem(409, "approval_expired");
    assert_eq!(stage.card(&stage.ann, &call)["status"], "expired");
    assert!(stage.upstream.seen().is_empty());
    assert_eq!(stage.gateway.audit("action=approval.expire").len(), 1);
}

#[test]
fn attack_47_a_question_outlives_the_host_and_its_arguments_are_sealed() {
    let mut stage = Stage::new();
    let admin = stage.gateway.admin_key().clone();
    stage.install(&stage.poster("poster"));
    let secret = "confidential-9f3a61";
    let call = stage.asks("poster.run", json!({"token": secret}));
    assert_eq!(stage.home.files_with(secret.as_bytes()), Vec::<std::path::PathBuf>::new());
    stage.gateway.kill();
    assert_eq!(stage.home.files_with(secret.as_bytes()), Vec::<std::path::PathBuf>::new());
    stage.gateway = Gateway::again(&stage.home, &admin);
    let path = format!("/v1/calls/{}", text(&call, "call_id"));
    let view = stage.gateway.request(&stage.agent, "GET", &path, None).expect(202);
    assert_eq!((&view["status"], &view["approval_id"]), (&json!("awaiting_approval"), &call["approval_id"]), "{view}");
    assert_eq!(stage.card(&stage.ann, &call)["arguments"], json!({ "token": secret }));
    stage.approve(&call);
    assert_eq!(stage.end(&call)["status"], "succeeded");
    assert_eq!(stage.upstream.seen().len(), 1);

    // And once more: what has run does not run again.
    stage.gateway.kill();
    stage.gateway = Gateway::again(&stage.home, &admin);
    assert_eq!(stage.end(&call)["status"], "succeeded");
    stage.decide(&stage.ann, &call, "approve", json!({})).problem(409, "approval_decided");
    assert_eq!(stage.upstream.seen().len(), 1);
}

#[test]
fn attack_41_an_answer_is_void_when_the_skill_has_changed() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({}));
    let mut newer = stage.poster("poster");
    newer.version = "1.0.1";
    stage.install(&newer);
    stage.decide(&stage.ann, &call, "approve", json!({})).problem(409, "approval_superseded");
    let done = stage.end(&call);
    assert_eq!(done["status"], "cancelled", "{done}");
    assert_eq!(stage.card(&stage.ann, &call)["status"], "cancelled");
    assert!(stage.upstream.seen().is_empty());
    let records = stage.gateway.audit("action=approval.refused");
    assert_eq!(text(&records[0], "code"), "approval_superseded");
}

#[test]
fn a_yes_for_the_session_and_a_standing_yes_pass_and_can_be_taken_back() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    stage.install(&stage.poster("payer").tool(json!({"effects": ["payment"]})));
    let session = stage.gateway.request(&stage.agent, "POST", "/v1/sessions", None).expect(201);
    let session = text(&session, "session_id").to_owned();
    let in_session = |tool: &str, arguments: Value| {
        let body = json!({"arguments": arguments, "session": session, "wait_seconds": 60});
        stage.gateway.call_with(&stage.agent, tool, body)
    };
    let call = in_session("poster.run", json!({"sum": 1})).expect(202);
    stage.decide(&stage.ann, &call, "approve", json!({"scope": "session"})).expect(200);
    assert_eq!(stage.end(&call)["status"], "succeeded");
    assert_eq!(in_session("poster.run", json!({"sum": 2})).expect(200)["status"], "succeeded");
    // Outside the session it asks as before, and so does what pays, and what belongs to no session is good once.
    let outside = stage.asks("poster.run", json!({"sum": 3}));
    stage.decide(&stage.ann, &outside, "approve", json!({"scope": "session"})).problem(422, "once_only");
    let pays = in_session("payer.run", json!({})).expect(202);
    stage.decide(&stage.ann, &pays, "approve", json!({"scope": "session"})).problem(422, "once_only");
    let listed = stage.gateway.request(&stage.ann, "GET", "/v1/grants", None).expect(200);
    let grant = listed["grants"][0].clone();
    assert_eq!((&grant["tool"], &grant["uses"]), (&json!("poster.run"), &json!(1)), "{listed}");
    let path = format!("/v1/grants/{}", text(&grant, "grant_id"));
    stage
        .gateway
        .request(&stage.gateway.key("approver", "bob"), "DELETE", &path, None)
        .problem(404, "unknown_approval");
    stage.gateway.request(&stage.ann, "DELETE", &path, None).expect(204);
    in_session("poster.run", json!({"sum": 4})).expect(202);

    // A pattern of arguments, for a time.
    let grant = json!({"tool": "poster.run", "arguments": {"to": "b*"}, "risk": "high", "expires_in": 600});
    stage.gateway.request(&stage.ann, "POST", "/v1/grants", Some(&grant)).expect(201);
    let sent = stage.upstream.seen().len();
    assert_eq!(stage.gateway.call(&stage.agent, "poster.run", json!({"to": "bob"})).expect(200)["status"], "succeeded");
    assert_eq!(stage.upstream.seen().len(), sent + 1);
    for other in [json!({"to": "eve"}), json!({"to": "bob", "sum": 1}), json!({})] {
        stage.asks("poster.run", other);
    }
    let grant = json!({"tool": "payer.run", "arguments": {}, "risk": "high", "expires_in": 600});
    stage.gateway.request(&stage.ann, "POST", "/v1/grants", Some(&grant)).problem(422, "once_only");
    for (place, value) in [("expires_in", json!(31 * 24 * 3600)), ("expires_in", json!(0)), ("user", json!("bob"))] {
        let mut grant = json!({"tool": "poster.run", "arguments": {}, "risk": "high", "expires_in": 60});
        grant[place] = value;
        stage.gateway.request(&stage.ann, "POST", "/v1/grants", Some(&grant)).problem(400, "out_of_bounds");
    }
    // A session that is ended takes what was granted for it along.
    let again = in_session("poster.run", json!({"sum": 5})).expect(202);
    stage.decide(&stage.ann, &again, "approve", json!({"scope": "session"})).expect(200);
    Cli::new(&stage.home, ["approvals", "end-session", &session, "--user", "ann"]).expect(0);
    let after = stage.gateway.request(&stage.ann, "GET", "/v1/grants?limit=1", None).expect(200);
    assert!(!after["grants"][0]["revoked_at"].is_null(), "{after}");
    // Page by page: each grant once, those that were taken back too.
    let all = stage.gateway.request(&stage.ann, "GET", "/v1/grants", None).expect(200);
    assert!(all["next"].is_null() && all["grants"].as_array().map(Vec::len) == Some(3), "{all}");
    let first = stage.gateway.request(&stage.ann, "GET", "/v1/grants?limit=2", None).expect(200);
    let next = format!("/v1/grants?limit=2&after={}", text(&first, "next"));
    let second = stage.gateway.request(&stage.ann, "GET", &next, None).expect(200);
    assert_eq!(json!([first["grants"][0], first["grants"][1], second["grants"][0]]), all["grants"]);
    assert!(second["next"].is_null(), "{second}");
    stage.gateway.request(&stage.ann, "GET", "/v1/grants?after=yesterday", None).problem(400, "invalid_parameter");
    assert_eq!(stage.gateway.audit("action=grant.use").len(), 2);
    assert_eq!(stage.gateway.audit("action=grant.revoke&outcome=ok").len(), 1);
    assert_eq!(stage.gateway.audit("action=grant.create&outcome=denied").len(), 4, "what was refused is on record");
}

#[test]
fn a_person_raises_the_ceiling_of_one_session_for_a_time() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    stage.install(&stage.poster("remover").tool(json!({"effects": ["delete"]})));
    let begun = stage.gateway.request(&stage.agent, "POST", "/v1/sessions", None).expect(201);
    let session = text(&begun, "session_id").to_owned();
    let path = format!("/v1/sessions/{session}");
    let raise = json!({"auto_approve_ceiling": "high", "expires_in": 600});
    let bob = stage.gateway.key("approver", "bob");
    stage.gateway.request(&bob, "PUT", &path, Some(&raise)).problem(404, "unknown_approval");
    stage.gateway.request(&stage.ann, "PUT", &path, Some(&raise)).expect(200);
    let body = |arguments: Value| json!({"arguments": arguments, "session": session, "wait_seconds": 60});
    let passed = stage.gateway.call_with(&stage.agent, "poster.run", body(json!({}))).expect(200);
    assert_eq!(passed["status"], "succeeded", "{passed}");
    stage.gateway.call_with(&stage.agent, "remover.run", body(json!({}))).expect(202);
    stage.asks("poster.run", json!({}));
    // The session is this key's alone.
    let other = stage.gateway.agent();
    stage.gateway.call_with(&other, "poster.run", body(json!({}))).problem(404, "unknown_session");
    let absurd = json!({"auto_approve_ceiling": "high", "expires_in": 1_000_000});
    stage.gateway.request(&stage.ann, "PUT", &path, Some(&absurd)).problem(400, "out_of_bounds");
    // Whoever may decide finds it, and ends it; with it what was allowed in it.
    let listed = |who: &Key, query: &str| {
        let found = stage.gateway.request(who, "GET", &format!("/v1/sessions{query}"), None).expect(200);
        found["sessions"].as_array().cloned().unwrap_or_default()
    };
    let plain = stage.gateway.request(&stage.agent, "POST", "/v1/sessions", None).expect(201);
    let raised = listed(&stage.ann, "?raised=true");
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert_eq!(
        (&raised[0]["session_id"], &raised[0]["auto_approve_ceiling"], &raised[0]["raised_by"]),
        (&json!(session), &json!("high"), &json!("ann"))
    );
    assert_eq!(listed(&stage.ann, "").len(), 2);
    assert_eq!(listed(stage.gateway.admin_key(), "").len(), 2);
    assert!(listed(&bob, "").is_empty());
    stage.gateway.request(&stage.agent, "GET", "/v1/sessions", None).problem(403, "role_refused");
    let ended = format!("/v1/sessions/{}", text(&plain, "session_id"));
    stage.gateway.request(&bob, "DELETE", &ended, None).problem(404, "unknown_approval");
    stage.gateway.request(&stage.ann, "DELETE", &ended, None).expect(204);
    stage.gateway.request(&stage.ann, "DELETE", &ended, None).problem(404, "unknown_approval");
    let in_ended = json!({"arguments": {}, "session": plain["session_id"]});
    stage.gateway.call_with(&stage.agent, "poster.run", in_ended).problem(404, "unknown_session");
    assert_eq!(listed(&stage.ann, "").len(), 1);
    assert_eq!(stage.gateway.audit("action=session.end&outcome=ok").len(), 1);
    let lower = json!({"auto_approve_ceiling": "none", "expires_in": 600});
    stage.gateway.request(&stage.ann, "PUT", &path, Some(&lower)).expect(200);
    stage.gateway.call_with(&stage.agent, "poster.run", body(json!({}))).expect(202);
}

#[test]
fn what_is_critical_takes_two_people_where_the_operator_says_so() {
    let stage = Stage::configured("[approval]\ntwo_people_for_critical = true\n");
    stage.install(&stage.poster("poster").risk("critical"));
    let call = stage.asks("poster.run", json!({"sum": 1}));
    let card = stage.approve(&call);
    assert_eq!((&card["status"], &card["second_person_needed"]), (&json!("pending"), &json!(true)), "{card}");
    stage.decide(&stage.ann, &call, "approve", json!({})).problem(403, "second_person_required");
    assert!(stage.upstream.seen().is_empty());
    let card = stage.decide(stage.gateway.admin_key(), &call, "approve", json!({})).expect(200);
    assert_eq!(card["approved_by"], json!(["ann", "root"]), "{card}");
    assert_eq!(stage.end(&call)["status"], "succeeded");
    assert_eq!(stage.upstream.seen().len(), 1);

    // What the first has changed, the second agrees to only where they have seen it.
    let root = stage.gateway.admin_key();
    let call = stage.asks("poster.run", json!({"sum": 1}));
    stage.decide(&stage.ann, &call, "approve", json!({"arguments": {"sum": 2}})).expect(200);
    stage.decide(root, &call, "approve", json!({})).problem(409, "arguments_changed");
    stage.decide(root, &call, "approve", json!({"arguments": {"sum": 1}})).problem(400, "out_of_bounds");
    let card = stage.card(root, &call);
    assert_eq!(card["arguments"], json!({"sum": 2}), "{card}");
    stage.decide(root, &call, "approve", json!({"fingerprint": card["fingerprint"]})).expect(200);
    assert_eq!(stage.end(&call)["status"], "succeeded");
    assert_eq!(stage.upstream.seen()[1].body, br#"{"sum":2}"#.as_slice());
}

#[test]
fn one_user_cannot_have_every_parked_place() {
    let stage = Stage::configured("[approval]\nmax_parked = 2\n");
    let first = stage.parked_deleter();
    let refused = stage.gateway.failure(&stage.agent, "deleter.run", json!({}));
    assert!(text(&refused, "message").contains("too_many_parked"), "{refused}");
    let bob = stage.gateway.key("agent", "bob");
    let body = json!({"arguments": {}, "wait_seconds": 1});
    assert_eq!(stage.gateway.call_with(&bob, "deleter.run", body).expect(202)["status"], "parked");
    stage.decide(&stage.ann, &first, "reject", json!({})).expect(200);
    assert_eq!(stage.end(&first)["status"], "failed");
}

#[test]
fn the_operators_rules_deny_lower_and_raise() {
    let stage = Stage::configured(
        "[approval]\nbulk_threshold = 2\n\
         [[approval.rules]]\ntool = \"never.*\"\ndeny = true\nwhy = \"not on this host\"\n\
         [[approval.rules]]\nskill = \"quiet\"\nceiling = \"none\"\n\
         [[approval.rules]]\ntool = \"plain.run\"\nrole = \"admin\"\nrisk = \"high\"\nwhy = \"admins ask\"\n",
    );
    let list = json!({"type": "object", "properties": {"ids": {"type": "array", "items": {"type": "integer"}}}});
    let guest = |name| Guest::new(name, Behaviour::Return(b"1".to_vec())).tool(json!({"parameters": list}));
    for name in ["never", "quiet", "plain"] {
        stage.gateway.installed(&stage.publisher.sign(&guest(name)), &[]);
    }
    let problem = stage.gateway.call(&stage.agent, "never.run", json!({})).problem(403, "policy_denied");
    assert!(problem["detail"].to_string().contains("not on this host"), "{problem}");
    assert_eq!(text(&stage.gateway.audit("action=call.refused")[0], "code"), "policy_denied");
    stage.asks("quiet.run", json!({}));
    // Whoever allows something in advance is bound by the rules too.
    let grant = json!({"tool": "quiet.run", "arguments": {}, "risk": "high", "expires_in": 60});
    stage.gateway.request(&stage.ann, "POST", "/v1/grants", Some(&grant)).expect(201);
    stage.asks("quiet.run", json!({}));
    stage.gateway.call(&stage.agent, "plain.run", json!({})).expect(200);
    let asked = stage.gateway.call(stage.gateway.admin_key(), "plain.run", json!({})).expect(202);
    assert_eq!(stage.card(stage.gateway.admin_key(), &asked)["reasons"][0]["why"], "admins ask");
    let card = stage.asks("plain.run", json!({"ids": [1, 2, 3]}));
    assert!(text(&stage.card(&stage.ann, &card)["reasons"][0], "why").starts_with("bulk"), "{card}");
}

#[test]
fn a_policy_that_cannot_be_names_file_and_key() {
    for (policy, place) in [
        ("[approval]\nceiling = \"high\"\n", "ceiling"),
        ("[approval]\ntimeout_seconds = 999999\n", "timeout_seconds"),
        ("[approval]\ncieling = \"low\"\n", "cieling"),
        ("[[approval.rules]]\ntool = \"a.b\"\n", "rules 1"),
        ("[approval.quiet_hours]\nfrom = \"22:00\"\nto = \"07:00\"\ntime_zone = \"Mars/Olympus\"\n", "time_zone"),
    ] {
        let home = Home::new();
        home.configure(policy);
        let refused = Cli::new(&home, ["doctor", "--json"]).run();
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains("sophon.toml") && told.contains(place), "{policy}: {told}");
    }
}

#[test]
fn the_same_key_is_the_same_question() {
    let stage = Stage::configured("[approval]\nmax_pending = 2\n");
    stage.install(&stage.poster("poster"));
    let body = json!({"arguments": {"sum": 1}, "idempotency_key": "order-1"});
    let first = stage.gateway.call_with(&stage.agent, "poster.run", body.clone()).expect(202);
    let again = stage.gateway.call_with(&stage.agent, "poster.run", body.clone()).expect(202);
    assert_eq!((&first["call_id"], &first["approval_id"]), (&again["call_id"], &again["approval_id"]));
    stage.asks("poster.run", json!({"sum": 2}));
    stage.gateway.call(&stage.agent, "poster.run", json!({"sum": 3})).problem(503, "too_many_approvals");
    stage.approve(&first);
    assert_eq!(stage.end(&first)["status"], "succeeded");
    let done = stage.gateway.call_with(&stage.agent, "poster.run", body).expect(200);
    assert_eq!((&done["call_id"], &done["status"]), (&first["call_id"], &json!("succeeded")), "{done}");
    assert_eq!(stage.upstream.seen().len(), 1);
    // There is room for one more question now.
    stage.asks("poster.run", json!({"sum": 3}));
}

#[test]
fn a_running_calls_deletion_waits_for_a_person_and_its_time_does_not_run() {
    let stage = Stage::configured("[sandbox]\ntimeout_seconds = 2\n");
    let call = stage.parked_deleter();
    let card = stage.card(&stage.ann, &call);
    assert_eq!((&card["kind"], &card["effect"]["method"]), (&json!("effect"), &json!("DELETE")), "{card}");
    assert!(text(&card["effect"], "url").ends_with("/repo"), "{card}");
    stage.decide(&stage.ann, &call, "approve", json!({"scope": "session"})).problem(422, "once_only");
    assert!(stage.upstream.seen().is_empty());
    // Longer than the call may take.
    std::thread::sleep(Duration::from_secs(3));
    stage.approve(&call);
    let done = stage.end(&call);
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(stage.upstream.seen().len(), 1);
    let codes = stage.codes(&call);
    let order = ["call.intent", "approval.request", "approval.approve", "egress.request", "call.outcome"];
    let found: Vec<_> = order.iter().map(|code| codes.iter().position(|found| found == code)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{codes:?}");
}

#[test]
fn a_running_call_goes_on_without_what_a_person_refused() {
    let stage = Stage::new();
    let call = stage.parked_deleter();
    stage.decide(&stage.ann, &call, "reject", json!({})).expect(200);
    let done = stage.end(&call);
    assert_eq!(done["status"], "failed", "{done}");
    assert!(text(&done["error"], "message").contains("approval_rejected"), "{done}");
    assert!(stage.upstream.seen().is_empty());
}

#[test]
fn the_other_http_door_waits_as_well() {
    let stage = Stage::configured("[[approval.rules]]\nskill = \"wasi-door\"\nceiling = \"none\"\n");
    let authority = format!("localhost:{}", stage.upstream.address.port());
    let rule = json!({"host": "localhost", "ports": [stage.upstream.address.port()], "methods": ["GET"]});
    let behaviour = Behaviour::SendWasi { authority, path: "/read".into() };
    stage.install(&Guest::new("wasi-door", behaviour).risk("none").network(rule, "svc"));
    let body = json!({"arguments": {}, "wait_seconds": 0});
    let call = stage.gateway.call_with(&stage.agent, "wasi-door.run", body).expect(202);
    let call = stage.parked(&call);
    assert_eq!(stage.card(&stage.ann, &call)["effect"]["method"], "GET");
    assert!(stage.upstream.seen().is_empty());
    stage.approve(&call);
    let done = stage.end(&call);
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(stage.upstream.seen().len(), 1);
}

#[test]
fn attack_47_a_restart_denies_what_a_running_call_waited_for() {
    let mut stage = Stage::new();
    let admin = stage.gateway.admin_key().clone();
    let call = stage.parked_deleter();
    stage.gateway.kill();
    stage.gateway = Gateway::again(&stage.home, &admin);
    assert_eq!(stage.end(&call)["status"], "unknown_outcome");
    assert_eq!(stage.card(&stage.ann, &call)["status"], "cancelled");
    stage.decide(&stage.ann, &call, "approve", json!({})).problem(409, "approval_decided");
    assert!(stage.upstream.seen().is_empty());
}

#[test]
fn a_graceful_stop_does_not_wait_for_a_person() {
    let mut stage = Stage::new();
    let admin = stage.gateway.admin_key().clone();
    stage.install(&stage.poster("poster"));
    let waits = stage.asks("poster.run", json!({}));
    let call = stage.parked_deleter();
    assert!(stage.gateway.stop().success(), "{}", stage.gateway.log());
    stage.gateway = Gateway::again(&stage.home, &admin);
    let done = stage.end(&call);
    assert_eq!(done["status"], "failed", "{done}");
    assert!(text(&done["error"], "message").contains("approval_cancelled"), "{done}");
    stage.approve(&waits);
    assert_eq!(stage.end(&waits)["status"], "succeeded");
    assert_eq!(stage.upstream.seen().len(), 1, "the deletion was never sent");
}

#[test]
fn the_command_line_shows_and_decides() {
    let stage = Stage::new();
    stage.install(&stage.poster("poster"));
    let asked = Cli::new(&stage.home, ["call", "poster.run", "{\"sum\":1}", "--json"]).expect(4).json();
    let id = text(&asked, "approval_id").to_owned();
    let listed = Cli::new(&stage.home, ["approvals", "list", "--json"]).expect(0).json();
    assert_eq!(listed["approvals"][0]["approval_id"], id.as_str(), "{listed}");
    let shown = Cli::new(&stage.home, ["approvals", "show", &id]).expect(0);
    assert!(shown.stdout.contains("{\"sum\":1}"), "{}", shown.stdout);
    let words = ["approvals", "approve", &id, "--arguments", "{\"sum\":2}", "--json"];
    let approved = Cli::new(&stage.home, words).expect(0).json();
    assert_eq!(approved["status"], "approved", "{approved}");
    stage.upstream.wait_for(1);
    assert_eq!(stage.upstream.seen()[0].body, br#"{"sum":2}"#.as_slice());
    let asked = Cli::new(&stage.home, ["call", "poster.run", "{}", "--json"]).expect(4).json();
    Cli::new(&stage.home, ["approvals", "reject", text(&asked, "approval_id"), "--reason", "no"]).expect(0);
    Cli::new(&stage.home, ["approvals", "reject", text(&asked, "approval_id")]).expect(1);
}

#[test]
fn attack_42_a_required_sink_that_is_down_leaves_no_call_waiting_and_begins_none() {
    let stage = Stage::configured(&format!("[approval]\ntimeout_seconds = 20\nmax_pending = 1\n{}", Sink::SECTION));
    let sink = Sink::of(&stage.home);
    stage.install(&stage.poster("poster"));
    // A no that was refused for want of the sink ends what waits all the same.
    let call = stage.asks("poster.run", json!({}));
    sink.without(|| stage.decide(&stage.ann, &call, "reject", json!({})).problem(503, "audit_unavailable"));
    assert_eq!(stage.end(&call)["status"], "rejected");
    // Its slot is free. A yes that was refused is none: it begins nothing, until the person gives it again.
    let call = stage.asks("poster.run", json!({}));
    sink.without(|| stage.decide(&stage.ann, &call, "approve", json!({})).problem(503, "audit_unavailable"));
    let path = format!("/v1/calls/{}", text(&call, "call_id"));
    let view = stage.gateway.request(&stage.agent, "GET", &path, None).expect(202);
    assert_eq!(view["status"], "awaiting_approval", "{view}");
    assert_eq!(stage.card(&stage.ann, &call)["status"], "pending");
    assert!(stage.upstream.seen().is_empty());
    stage.approve(&call);
    assert_eq!(stage.end(&call)["status"], "succeeded");
    assert_eq!(stage.upstream.seen().len(), 1);
    // Time that is over ends a question whatever the sink does.
    let call = stage.asks("poster.run", json!({}));
    let end = sink.without(|| stage.end(&call));
    assert_eq!(end["status"], "expired", "{end}");
    stage.asks("poster.run", json!({}));
    assert_eq!(stage.upstream.seen().len(), 1);
}

#[test]
fn attack_47_a_yes_that_a_required_sink_refused_does_not_outlive_the_host() {
    let mut stage = Stage::configured(Sink::SECTION);
    let (sink, admin) = (Sink::of(&stage.home), stage.gateway.admin_key().clone());
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({}));
    sink.without(|| {
        stage.decide(&stage.ann, &call, "approve", json!({})).problem(503, "audit_unavailable");
        stage.gateway.kill();
    });
    stage.gateway = Gateway::again(&stage.home, &admin);
    stage.is_asked_again(&call);
    // What was refused is on record as refused.
    let refused = stage.gateway.audit("action=approval.refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["code"], "audit_unavailable", "{refused:?}");
}

#[test]
fn attack_47_killed_while_a_required_sink_takes_its_time_with_a_yes_nothing_runs() {
    let collector = Collector::bind();
    let mut stage = Stage::configured(&collector.section());
    let admin = stage.gateway.admin_key().clone();
    stage.install(&stage.poster("poster"));
    let call = stage.asks("poster.run", json!({}));
    collector.stall(|| {
        let path = format!("/v1/approvals/{}/approve", text(&call, "approval_id"));
        let headers = [stage.ann.header(), ("Content-Type", "application/json")];
        let _nobody_hears_the_answer = stage.gateway.client.begin("POST", &path, &headers, b"{}");
        let until = Instant::now() + Duration::from_secs(30);
        while stage.gateway.audit("action=approval.approve").is_empty() {
            assert!(Instant::now() < until, "the record of the yes is not in the database");
            std::thread::sleep(Duration::from_millis(20));
        }
        stage.gateway.kill();
    });
    stage.gateway = Gateway::again(&stage.home, &admin);
    stage.is_asked_again(&call);
}

#[test]
fn what_asks_changes_while_the_gateway_runs_and_what_waits_under_the_old_policy_is_superseded() {
    let stage = Stage::configured("");
    stage.install(&stage.poster("poster"));
    stage.install(&stage.poster("writer").risk("medium"));
    let before = stage.asks("poster.run", json!({"sum": 1}));
    assert_eq!(stage.gateway.call(&stage.agent, "writer.run", json!({})).expect(200)["status"], "succeeded");
    let reload = |text: &str| {
        stage.home.configure_trusting(text);
        Cli::new(&stage.home, ["config", "reload", "--json"]).expect(0).json()
    };
    // The same policy again supersedes nothing.
    assert_eq!(reload(""), json!({"applied": [], "needs_restart": []}));
    let same = stage.asks("poster.run", json!({"sum": 2}));
    stage.approve(&same);
    assert_eq!(stage.end(&same)["status"], "succeeded");
    let told = reload("[approval]\nceiling = \"low\"\n");
    assert_eq!(told, json!({"applied": ["approval.ceiling"], "needs_restart": []}));
    // What passed asks now; what was asked about under the old policy is what it would be after a restart.
    let asks = stage.asks("writer.run", json!({"sum": 3}));
    let seen = stage.upstream.seen().len();
    stage.decide(&stage.ann, &before, "approve", json!({})).problem(409, "approval_superseded");
    assert_eq!(stage.end(&before)["status"], "cancelled");
    assert_eq!(stage.upstream.seen().len(), seen);
    stage.approve(&asks);
    assert_eq!(stage.end(&asks)["status"], "succeeded");
    // An error changes nothing.
    stage.home.configure_trusting("[approval]\nceiling = \"critical\"\n");
    let refused = Cli::new(&stage.home, ["config", "reload", "--json"]).run();
    assert!(refused.code != 0 && refused.stderr.contains("ceiling"), "{refused:?}");
    stage.asks("writer.run", json!({"sum": 4}));
}
