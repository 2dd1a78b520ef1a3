//! Several calls at once: gated once, each step with what was shown, results only where they were declared to go.

use crate::harness::{Answer, Behaviour, Gateway, Guest, Hold, Home, Key, Publisher, Reply, Request, Sink, Upstream};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

struct Stage {
    home: Home,
    gateway: Gateway,
    upstream: Upstream,
    agent: Key,
    ann: Key,
}

impl Stage {
    /// A skill that finds (low), one that posts its arguments (medium), one that always fails (low).
    fn configured(more: &str) -> Self {
        let home = Home::configured(more);
        let gateway = Gateway::start(&home);
        let publisher = Publisher::new("Good Co", 3);
        gateway.trust(&publisher);
        let upstream = Upstream::plain();
        let request = Request::new("POST", upstream.url("/effect")).body_of_arguments();
        let rule = json!({"host": "localhost", "ports": [upstream.address.port()], "methods": ["POST"]});
        let parameters = json!({
            "type": "object", "additionalProperties": false, "properties": {"id": {"type": "integer"}, "to": {"type": "string"}},
        });
        let quietly = Request::new("POST", upstream.url("/quiet")).body_of_arguments();
        let quiet = Guest::new("quiet", Behaviour::Send(quietly)).risk("low").network(rule.clone(), "svc");
        let found = br#"{"items": [{"id": 7}, {"id": "seven"}]}"#.to_vec();
        let guests = [
            Guest::new("finder", Behaviour::Return(found)),
            Guest::new("poster", Behaviour::Send(request))
                .risk("medium")
                .tool(json!({ "parameters": parameters }))
                .network(rule, "svc"),
            Guest::new("failer", Behaviour::Fail("no".into())),
            quiet,
        ];
        for guest in guests {
            gateway.installed(&publisher.sign(&guest), &[&upstream.host()]);
        }
        let (agent, ann) = (gateway.agent(), gateway.key("approver", "ann"));
        Self { home, gateway, upstream, agent, ann }
    }

    fn new() -> Self {
        Self::configured("")
    }

    fn plan(&self, body: Value) -> Answer {
        self.gateway.request(&self.agent, "POST", "/v1/plans", Some(&body))
    }

    fn status(&self, plan: &Value, wait: u32) -> Value {
        let path = format!("/v1/plans/{}?wait={wait}", text(plan, "plan_id"));
        self.gateway.request(&self.agent, "GET", &path, None).json()
    }

    #[track_caller]
    fn decide(&self, approval: &str, verb: &str) -> Value {
        let path = format!("/v1/approvals/{approval}/{verb}");
        self.gateway.request(&self.ann, "POST", &path, Some(&json!({}))).expect(200)
    }

    /// The plan once its step waits for a person by itself; that question's id.
    #[track_caller]
    fn step_asks(&self, plan: &Value, step: usize) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let view = self.status(plan, 0);
            let call = &view["steps"][step]["call"];
            if call["approval_id"].is_string() {
                return text(call, "approval_id").to_owned();
            }
            let going = view["status"] == "running" || view["status"] == "awaiting_approval";
            assert!(Instant::now() < until && going, "{view}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[track_caller]
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn step(tool: &str, arguments: Value) -> Value {
    json!({"tool": tool, "arguments": arguments})
}

fn statuses(plan: &Value) -> Vec<&str> {
    plan["steps"].as_array().expect("steps").iter().map(|step| text(step, "status")).collect()
}

#[test]
fn a_plan_that_only_reads_runs_at_once() {
    let stage = Stage::new();
    let steps = json!([step("finder.run", json!({})), step("finder.run", json!({}))]);
    let plan = stage.plan(json!({"steps": steps, "wait_seconds": 30})).expect(200);
    assert_eq!(plan["status"], "succeeded", "{plan}");
    assert_eq!(statuses(&plan), ["succeeded", "succeeded"]);
    let content = text(&plan["steps"][0]["call"], "content");
    assert!(content.starts_with("<external_content id=") && content.contains("seven"), "{content}");
    assert_eq!(stage.gateway.audit("action=plan.intent").len(), 1);
    assert_eq!(stage.gateway.audit("action=plan.outcome").len(), 1);
    assert_eq!(stage.gateway.audit("action=call.intent").len(), 2);
}

#[test]
fn attack_41_a_plan_is_gated_once_and_a_resolved_reference_asks_again() {
    let stage = Stage::new();
    // A single call of medium risk passes by itself; inside a plan it asks.
    assert_eq!(stage.gateway.call(&stage.agent, "poster.run", json!({"id": 1})).expect(200)["status"], "succeeded");
    let refers = json!({
        "name": "tell", "tool": "poster.run", "arguments": {"to": "bob"},
        "references": [{"at": "/id", "step": "find", "path": "/items/0/id"}],
    });
    let find = json!({"name": "find", "tool": "finder.run", "arguments": {}});
    let post = json!({"name": "post", "tool": "poster.run", "arguments": {"id": 2}});
    let plan = stage.plan(json!({"steps": [find, post, refers], "wait_seconds": 30})).expect(202);
    assert_eq!(plan["status"], "awaiting_approval", "{plan}");
    assert_eq!(statuses(&plan), ["not_run"; 3]);
    let approval = text(&plan, "approval_id").to_owned();
    let card = stage.gateway.request(&stage.ann, "GET", &format!("/v1/approvals/{approval}"), None).expect(200);
    assert_eq!((&card["kind"], &card["plan_id"]), (&json!("plan"), &plan["plan_id"]), "{card}");
    assert_eq!(card["arguments"]["steps"][1]["arguments"], json!({"id": 2}), "{card}");
    assert_eq!(card["arguments"]["steps"][2]["references"][0]["step"], "find", "{card}");
    assert_eq!(stage.upstream.seen().len(), 1);

    stage.decide(&approval, "approve");
    let asked = stage.step_asks(&plan, 2);
    assert_eq!(stage.upstream.seen().len(), 2, "the step that was shown has run");
    let card = stage.gateway.request(&stage.ann, "GET", &format!("/v1/approvals/{asked}"), None).expect(200);
    assert_eq!(card["arguments"], json!({"id": 7, "to": "bob"}), "{card}");
    stage.decide(&asked, "approve");
    let done = stage.status(&plan, 30);
    assert_eq!((&done["status"], statuses(&done)), (&json!("succeeded"), vec!["succeeded"; 3]), "{done}");
    assert_eq!(stage.upstream.seen()[2].body, br#"{"id":7,"to":"bob"}"#.as_slice());
    let path = format!("/v1/approvals/{approval}/approve");
    stage.gateway.request(&stage.ann, "POST", &path, Some(&json!({}))).problem(409, "approval_decided");
    assert_eq!(stage.upstream.seen().len(), 3);
    assert_eq!(stage.gateway.admin("GET", "/v1/audit/verify", None).expect(200)["intact"], true);
}

#[test]
fn what_a_step_sends_is_measured_by_the_plan() {
    let stage = Stage::new();
    // Alone, what a low tool posts passes; inside a plan it asks, as a step of medium risk would.
    assert_eq!(stage.gateway.call(&stage.agent, "quiet.run", json!({})).expect(200)["status"], "succeeded");
    let plan = stage.plan(json!({"steps": [step("quiet.run", json!({}))], "wait_seconds": 2})).expect(202);
    let call = &plan["steps"][0]["call"];
    assert_eq!(call["status"], "parked", "{plan}");
    assert_eq!(stage.upstream.seen().len(), 1);
    stage.decide(text(call, "approval_id"), "approve");
    assert_eq!(stage.status(&plan, 30)["status"], "succeeded");
    assert_eq!(stage.upstream.seen().len(), 2);
}

#[test]
fn attack_47_a_steps_question_does_not_outlive_its_plan() {
    let mut stage = Stage::new();
    let admin = stage.gateway.admin_key().clone();
    let steps = json!([
        {"name": "find", "tool": "finder.run", "arguments": {}},
        {"name": "tell", "tool": "poster.run", "arguments": {}, "references": [{"at": "/id", "step": "find", "path": "/items/0/id"}]},
    ]);
    let plan = stage.plan(json!({ "steps": steps })).expect(202);
    stage.decide(text(&plan, "approval_id"), "approve");
    let asked = stage.step_asks(&plan, 1);
    stage.gateway.kill();
    stage.gateway = Gateway::again(&stage.home, &admin);
    assert_eq!(stage.status(&plan, 0)["status"], "unknown_outcome");
    let path = format!("/v1/approvals/{asked}/approve");
    stage.gateway.request(&stage.ann, "POST", &path, Some(&json!({}))).problem(409, "approval_decided");
    // A stop does not wait for the person either.
    let plan = stage.plan(json!({ "steps": steps })).expect(202);
    stage.decide(text(&plan, "approval_id"), "approve");
    stage.step_asks(&plan, 1);
    assert!(stage.gateway.stop().success(), "{}", stage.gateway.log());
    stage.gateway = Gateway::again(&stage.home, &admin);
    assert_eq!(stage.status(&plan, 0)["steps"][1]["status"], "cancelled");
    assert!(stage.upstream.seen().is_empty());
}

#[test]
fn nothing_of_a_plan_runs_that_nobody_approved() {
    let stage = Stage::configured("[approval]\ntimeout_seconds = 2\n");
    let steps = json!([step("finder.run", json!({})), step("poster.run", json!({"id": 1}))]);
    let rejected = stage.plan(json!({ "steps": steps })).expect(202);
    stage.decide(text(&rejected, "approval_id"), "reject");
    let expired = stage.plan(json!({ "steps": steps })).expect(202);
    for (plan, status) in [(&rejected, "rejected"), (&expired, "expired")] {
        let done = stage.status(plan, 30);
        assert_eq!((&done["status"], statuses(&done)), (&json!(status), vec!["not_run"; 2]), "{done}");
    }
    assert!(stage.upstream.seen().is_empty());
    assert!(stage.gateway.audit("action=call.intent").is_empty());
}

#[test]
fn a_failure_stops_a_plan_or_not_as_it_was_asked() {
    let stage = Stage::new();
    let names = json!([
        {"name": "a", "tool": "failer.run", "arguments": {}},
        {"name": "b", "tool": "finder.run", "arguments": {}},
        {"name": "c", "tool": "finder.run", "arguments": {}, "references": [{"at": "/note", "step": "a", "path": ""}]},
    ]);
    let stopped = stage.plan(json!({"steps": names, "wait_seconds": 30})).expect(200);
    assert_eq!((&stopped["status"], statuses(&stopped)), (&json!("failed"), vec!["failed", "not_run", "not_run"]));
    let went_on = stage.plan(json!({"steps": names, "on_failure": "continue", "wait_seconds": 30})).expect(200);
    assert_eq!(statuses(&went_on), ["failed", "succeeded", "failed"], "{went_on}");
    assert_eq!(went_on["steps"][2]["call"]["error"]["code"], "reference_unresolved", "{went_on}");
    // A result of another kind than the tool takes is an error of the step, not a surprise for the tool.
    let wrong = json!([
        {"name": "find", "tool": "finder.run", "arguments": {}},
        {"name": "post", "tool": "poster.run", "arguments": {}, "references": [{"at": "/id", "step": "find", "path": "/items/1/id"}]},
    ]);
    let plan = stage.plan(json!({ "steps": wrong })).expect(202);
    stage.decide(text(&plan, "approval_id"), "approve");
    let done = stage.status(&plan, 30);
    assert_eq!(done["steps"][1]["call"]["error"]["code"], "invalid_arguments", "{done}");
    assert!(stage.upstream.seen().is_empty());
}

#[test]
fn steps_and_items_count_together() {
    let stage = Stage::configured("[approval]\nbulk_threshold = 3\n");
    let steps = |n: usize| json!({"steps": vec![step("finder.run", json!({})); n], "wait_seconds": 30});
    assert_eq!(stage.plan(steps(3)).expect(200)["status"], "succeeded");
    let plan = stage.plan(steps(4)).expect(202);
    let path = format!("/v1/approvals/{}", text(&plan, "approval_id"));
    let card = stage.gateway.request(&stage.ann, "GET", &path, None).expect(200);
    assert!(text(&card["reasons"][0], "why").starts_with("bulk: 4 steps and items"), "{card}");
    assert_eq!(card["risk"], "high");
}

#[test]
fn a_plan_that_cannot_be_is_refused_whole() {
    let stage = Stage::configured("[[approval.rules]]\ntool = \"failer.*\"\ndeny = true\nwhy = \"never\"\n");
    let good = step("finder.run", json!({}));
    let refuses = |steps: Value, status: u16, code: &str| {
        stage.plan(json!({ "steps": steps })).problem(status, code);
    };
    refuses(json!([]), 422, "invalid_plan");
    refuses(json!([good, step("nowhere.run", json!({}))]), 404, "unknown_tool");
    refuses(json!([good, step("poster.run", json!({"id": "x"}))]), 422, "invalid_arguments");
    refuses(json!([good, step("failer.run", json!({}))]), 403, "policy_denied");
    let forward = json!([
        {"tool": "finder.run", "arguments": {}, "references": [{"at": "/note", "step": "step2", "path": ""}]}, good,
    ]);
    refuses(forward, 422, "invalid_plan");
    stage.plan(json!({"steps": [good], "on_failure": "ignore"})).problem(400, "invalid_body");
    assert!(stage.gateway.audit("action=call.intent").is_empty());
    let other = stage.gateway.key("agent", "bob");
    let plan = stage.plan(json!({"steps": [good], "wait_seconds": 30})).expect(200);
    let path = format!("/v1/plans/{}", text(&plan, "plan_id"));
    stage.gateway.request(&other, "GET", &path, None).problem(404, "unknown_plan");
}

#[test]
fn attack_47_a_plan_that_waits_outlives_the_host_and_runs_once() {
    let mut stage = Stage::new();
    let admin = stage.gateway.admin_key().clone();
    let body = json!({"steps": [step("poster.run", json!({"id": 4}))], "idempotency_key": "plan-1"});
    let plan = stage.plan(body.clone()).expect(202);
    assert_eq!(stage.plan(body.clone()).expect(202)["plan_id"], plan["plan_id"]);
    stage.gateway.kill();
    stage.gateway = Gateway::again(&stage.home, &admin);
    assert_eq!(stage.status(&plan, 0)["approval_id"], plan["approval_id"]);
    stage.decide(text(&plan, "approval_id"), "approve");
    assert_eq!(stage.status(&plan, 30)["status"], "succeeded");
    assert_eq!(stage.plan(body).expect(200)["plan_id"], plan["plan_id"]);
    let other = json!({"steps": [step("poster.run", json!({"id": 5}))], "idempotency_key": "plan-1"});
    stage.plan(other).problem(409, "idempotency_key_reused");
    assert_eq!(stage.upstream.seen().len(), 1);
}

#[test]
fn attack_42_a_plan_that_asks_nobody_is_refused_while_a_required_sink_is_down() {
    let stage = Stage::configured(Sink::SECTION);
    let sink = Sink::of(&stage.home);
    let body = json!({"steps": [step("finder.run", json!({}))], "wait_seconds": 30, "idempotency_key": "read-1"});
    sink.without(|| {
        // More often than plans of one user may go on at the same time: none of them does.
        for _ in 0..25 {
            stage.plan(json!({"steps": [step("finder.run", json!({}))]})).problem(503, "audit_unavailable");
        }
        stage.plan(body.clone()).problem(503, "audit_unavailable");
        let asks = json!({"steps": [step("poster.run", json!({}))], "idempotency_key": "post-1"});
        stage.plan(asks).problem(503, "audit_unavailable");
    });
    assert!(stage.gateway.audit("action=call.intent").is_empty());
    // What was refused never was: its key is free.
    let plan = stage.plan(body).expect(200);
    assert_eq!(plan["status"], "succeeded", "{plan}");
    let asks = json!({"steps": [step("poster.run", json!({}))], "idempotency_key": "post-1"});
    stage.decide(text(&stage.plan(asks).expect(202), "approval_id"), "reject");
}

#[test]
fn attack_42_a_plan_whose_sink_goes_away_in_the_middle_ends() {
    let hold = Hold::new();
    let made = Reply::With(Box::new(|_| http::Response::new(bytes::Bytes::from_static(b"{}"))));
    let slow = Upstream::start(Reply::Held(hold.clone(), Box::new(made)));
    let stage = Stage::configured(Sink::SECTION);
    let sink = Sink::of(&stage.home);
    let publisher = Publisher::new("Good Co", 3);
    let rule = json!({"host": "localhost", "ports": [slow.address.port()], "methods": ["GET"]});
    let reader = Guest::new("reader", Behaviour::Send(Request::new("GET", slow.url("/slow")))).risk("low");
    stage.gateway.installed(&publisher.sign(&reader.network(rule, "svc")), &[&slow.host()]);
    let steps = json!([step("reader.run", json!({})), step("finder.run", json!({}))]);
    let plan = stage.plan(json!({"steps": steps, "wait_seconds": 0})).expect(202);
    slow.wait_for(1);
    let done = sink.without(|| {
        hold.let_go();
        stage.status(&plan, 30)
    });
    assert_eq!(done["status"], "failed", "{done}");
    assert_ne!(statuses(&done)[1], "succeeded", "{done}");
    let outcomes = stage.gateway.audit("action=plan.outcome");
    assert_eq!(outcomes.len(), 1, "said once: {outcomes:?}");
    assert_eq!(outcomes[0]["code"], "audit_unavailable", "{outcomes:?}");
}
