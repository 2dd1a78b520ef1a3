//! WASI's functions are wasmtime's own: that they stand under the same bounds as the contract's.

use super::*;
use crate::HttpDoor;
use async_trait::async_trait;
use bytes::Bytes;
use sophon_egress::{HttpError, HttpRequest, HttpResponse};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn lift_wasi(wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_path("../../wit").unwrap();
    let package = resolve.push_str("wasi.wit", include_str!("wasi.wit")).unwrap();
    lift_in(&resolve, package, "probe", wat)
}

fn prepared(lab: &Lab, wat: &str) -> PreparedSkill {
    let manifest = manifest(r#", "permissions": {"network": ["example.com"]}"#);
    lab.compile(&manifest, &lift_wasi(wat)).unwrap_or_else(|error| panic!("{error}"))
}

/// Clocks, random and poll, in a loop without end.
fn floods() -> Vec<(&'static str, String)> {
    let clock = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))"#;
    let random = r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))"#;
    let poll = r#"
        (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#;
    let endless = |before: &str, inside: &str| format!("{before} (loop $again {inside} (br $again)) (unreachable)");
    vec![
        ("clock", module(clock, "", &endless("", "(drop (call $now))"))),
        ("random", module(random, "", &endless("", "(drop (call $random))"))),
        (
            "poll",
            module(
                poll,
                "",
                &endless(
                    "(local $timer i32) (local.set $timer (call $timer (i64.const 0)))",
                    "(call $block (local.get $timer))",
                ),
            ),
        ),
        ("timers", module(poll, "", &endless("", "(drop (call $timer (i64.const 3600000000000)))"))),
    ]
}

#[tokio::test]
async fn attack_19_a_flood_of_wasi_calls_ends_by_fuel() {
    let lab = Lab::new(Limits { fuel: 200_000, hostcalls: u64::MAX, handles: 1_000_000, ..small() });
    for (what, wat) in floods() {
        let failure = lab.run(&prepared(&lab, &wat)).await.output.err();
        assert_eq!(failure, Some(RunFailure::OutOfFuel { fuel: 200_000 }), "{what}");
    }
}

#[tokio::test]
async fn attack_19_a_flood_of_wasi_calls_ends_at_the_deadline() {
    let wall = Duration::from_millis(300);
    let limits = Limits { fuel: u64::MAX / 2, hostcalls: u64::MAX, handles: 10_000_000, wall, ..small() };
    let lab = Lab::new(limits);
    for (what, wat) in floods() {
        let failure = lab.run(&prepared(&lab, &wat)).await.output.err();
        assert_eq!(failure, Some(RunFailure::DeadlineExceeded { wall }), "{what}");
    }
}

#[tokio::test]
async fn attack_20_wasi_calls_count_as_host_calls() {
    let lab = Lab::new(Limits { fuel: u64::MAX / 2, handles: 10_000_000, ..small() });
    let over = RunFailure::LimitExceeded { what: "more than 500 host calls".into() };
    for (what, wat) in floods() {
        assert_eq!(lab.run(&prepared(&lab, &wat)).await.output.err().as_ref(), Some(&over), "{what}");
    }
    // Also where the skill has come to its end before anybody looked.
    let clock = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))"#;
    let calls =
        |count: u32| module(clock, "", &format!("{} (i32.const 1024)", "(drop (call $now))".repeat(count as usize)));
    let report = lab.run(&prepared(&lab, &calls(500))).await;
    assert!(report.output.is_ok() && report.usage.hostcalls == 500, "{report:?}");
    assert_eq!(lab.run(&prepared(&lab, &calls(501))).await.output.err(), Some(over));
}

#[tokio::test]
async fn attack_26_timers_are_counted() {
    let lab = Lab::new(Limits { hostcalls: u64::MAX, handles: 1_000, fuel: u64::MAX / 2, ..small() });
    let (_, wat) = floods().pop().unwrap();
    let failure = lab.run(&prepared(&lab, &wat)).await.output.err();
    assert!(matches!(&failure, Some(RunFailure::Trap { .. } | RunFailure::LimitExceeded { .. })), "{failure:?}");
}

#[tokio::test]
async fn attack_19_a_sleeper_is_woken_by_the_deadline() {
    let (_, wat) = floods().swap_remove(2);
    let wat = wat.replace("(i64.const 0)", "(i64.const 3600000000000)");
    let wall = Duration::from_millis(200);
    let lab = Lab::new(Limits { wall, ..small() });
    let report = lab.run(&prepared(&lab, &wat)).await;
    assert_eq!(report.output.err(), Some(RunFailure::DeadlineExceeded { wall }));
    assert_eq!(report.usage.hostcalls, 2, "it did not sleep");
}

/// Answers every request, and remembers how many it had at one time.
#[derive(Default)]
struct Answers {
    bytes: usize,
    delay: Duration,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl HttpDoor for Answers {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.most.fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
        tokio::time::sleep(self.delay).await;
        self.now.fetch_sub(1, Relaxed);
        let body = Bytes::from(vec![b'x'; self.bytes]);
        Ok(HttpResponse { status: 200, url: request.url, headers: Vec::new(), body })
    }
}

/// `$start` sends a request and gives its future; `$finish` waits for that and gives the response, or 65536 and the
/// number of the error; `$contract` sends one through `sophon:skill/http` and gives 0, or 65536 and the same.
fn fetcher(body: &str) -> String {
    let types = |name: &str, ty: &str| format!(r#"(import "wasi:http/types@0.2.0" "{name}" (func {ty}))"#);
    let imports = [
        types("[constructor]fields", "$fields (result i32)"),
        types("[constructor]outgoing-request", "$request (param i32) (result i32)"),
        types("[method]outgoing-request.set-authority", "$authority (param i32 i32 i32 i32) (result i32)"),
        types("[method]outgoing-request.set-method", "$method (param i32 i32 i32 i32) (result i32)"),
        types("[method]outgoing-request.set-path-with-query", "$path (param i32 i32 i32 i32) (result i32)"),
        types("[method]outgoing-request.body", "$body (param i32 i32)"),
        types("[method]outgoing-body.write", "$stream (param i32 i32)"),
        types("[method]future-incoming-response.subscribe", "$subscribe (param i32) (result i32)"),
        types("[method]future-incoming-response.get", "$get (param i32 i32)"),
        types("[resource-drop]future-incoming-response", "$drop_future (param i32)"),
        types("[resource-drop]incoming-response", "$drop_response (param i32)"),
        r#"(import "wasi:http/outgoing-handler@0.2.0" "handle" (func $handle (param i32 i32 i32 i32)))
           (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
           (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop_pollable (param i32)))
           (import "wasi:io/streams@0.2.0" "[method]output-stream.check-write" (func $check_write (param i32 i32)))
           (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
               (func $write (param i32 i32 i32 i32)))
           (import "sophon:skill/http@1.0.0" "send" (func $send
               (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#
            .to_owned(),
    ]
    .concat();
    let extra = r#"
        (data (i32.const 600) "example.com")
        (data (i32.const 620) "GET")
        (data (i32.const 630) "https://example.com/")
        (func $must (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
        (func $new (result i32) (local $request i32)
            (local.set $request (call $request (call $fields)))
            (call $must (i32.eqz (call $authority (local.get $request) (i32.const 1) (i32.const 600) (i32.const 11))))
            ;; The path is the last character of the URL.
            (call $must (i32.eqz (call $path (local.get $request) (i32.const 1) (i32.const 649) (i32.const 1))))
            (local.get $request))
        (func $sent (param $request i32) (result i32)
            (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 704))
            (call $must (i32.eqz (i32.load8_u (i32.const 704))))
            (i32.load (i32.const 712)))
        (func $start (result i32) (call $sent (call $new)))
        (func $finish (param $future i32) (result i32) (local $pollable i32)
            (local.set $pollable (call $subscribe (local.get $future)))
            (call $block (local.get $pollable))
            (call $drop_pollable (local.get $pollable))
            (call $get (local.get $future) (i32.const 800))
            (call $must (i32.load8_u (i32.const 800)))
            (call $must (i32.eqz (i32.load8_u (i32.const 808))))
            (call $drop_future (local.get $future))
            (if (result i32) (i32.load8_u (i32.const 816))
                (then (i32.add (i32.const 65536) (i32.load8_u (i32.const 824))))
                (else (i32.load (i32.const 824)))))
        (func $got (result i32) (call $finish (call $start)))
        (func $is_response (param i32) (call $must (i32.lt_u (local.get 0) (i32.const 65536))))
        (func $is_error (param i32 i32)
            (call $must (i32.eq (local.get 0) (i32.add (i32.const 65536) (local.get 1)))))
        (func $contract (result i32)
            (call $send (i32.const 620) (i32.const 3) (i32.const 630) (i32.const 20) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 904))
            (if (result i32) (i32.load8_u (i32.const 904))
                (then (i32.add (i32.const 65536) (i32.load8_u (i32.const 912))))
                (else (i32.const 0))))"#;
    module(&imports, extra, &format!("{body} (i32.const 1024)"))
}

async fn fetch(limits: Limits, answers: Answers, body: &str) -> (RunReport, Arc<Answers>) {
    let lab = Lab::new(limits);
    let skill = prepared(&lab, &fetcher(body));
    let answers = Arc::new(answers);
    let doors = Doors { http: Some(Arc::clone(&answers) as Arc<dyn HttpDoor>), ..doors() };
    (lab.run_with(&skill, doors).await, answers)
}

#[tokio::test]
async fn attack_26_answers_that_a_skill_keeps_are_summed_over_both_ways_to_http() {
    let limits = || Limits { http_bytes: 2_500_000, ..small() };
    let answers = || Answers { bytes: 1_000_000, ..Answers::default() };
    // HTTP-response-body-size is number 28, and too-large number 6 of the contract.
    let keeps = "
        (call $is_response (call $got)) (call $is_response (call $got))
        (call $is_error (call $got) (i32.const 28))
        (call $is_error (call $contract) (i32.const 6))";
    let (report, _) = fetch(limits(), answers(), keeps).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    let lets_go = "(local $i i32) (local $response i32)
        (loop $again
            (local.set $response (call $got))
            (call $is_response (local.get $response))
            (call $drop_response (local.get $response))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 6))))";
    let (report, _) = fetch(limits(), answers(), lets_go).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
}

#[tokio::test]
async fn attack_20_requests_are_counted_once_for_both_ways_to_http() {
    // Connection-limit-reached is number 11, and denied number 0 of the contract.
    let body = "
        (call $is_response (call $got))
        (call $must (i32.eqz (call $contract)))
        (call $is_error (call $got) (i32.const 11))
        (call $is_error (call $contract) (i32.const 0))";
    let (report, answers) = fetch(Limits { http_requests: 2, ..small() }, Answers::default(), body).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    assert_eq!(answers.most.load(Relaxed), 1);
}

#[tokio::test]
async fn attack_20_answers_count_as_bytes_through_host_calls() {
    let body = "(local $i i32)
        (loop $again
            (call $drop_response (call $got))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 3))))
        (loop $endless (br $endless))";
    let limits = Limits { hostcall_total_bytes: 2_500, fuel: u64::MAX / 2, ..small() };
    let (report, _) = fetch(limits, Answers { bytes: 1_000, ..Answers::default() }, body).await;
    let over = RunFailure::LimitExceeded { what: "more than 2500 bytes through host calls".into() };
    let failure = report.output.err();
    // The third answer is refused to the skill, which may trap over it before the host looks.
    assert!(failure == Some(over) || matches!(&failure, Some(RunFailure::Trap { .. })), "{failure:?}");
}

#[tokio::test]
async fn attack_26_only_so_many_requests_are_on_their_way_at_one_time() {
    let futures: String = (0..6).map(|n| format!("(i32.store (i32.const {}) (call $start))", 8192 + 4 * n)).collect();
    let responses: String =
        (0..6).map(|n| format!("(call $is_response (call $finish (i32.load (i32.const {}))))", 8192 + 4 * n)).collect();
    let answers = Answers { bytes: 10, delay: Duration::from_millis(30), ..Answers::default() };
    let (report, answers) = fetch(Limits { http_in_flight: 4, ..small() }, answers, &(futures + &responses)).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    assert_eq!(answers.most.load(Relaxed), 4);
}

/// A request with a body that is written while it is sent.
fn upload(writes: usize) -> String {
    let write = "(call $write (local.get $stream) (i32.const 8192) (i32.const 4096) (i32.const 720))";
    format!(
        "(local $request i32) (local $stream i32) (local $future i32)
        (local.set $request (call $new))
        (call $body (local.get $request) (i32.const 720))
        (call $must (i32.eqz (i32.load8_u (i32.const 720))))
        (call $stream (i32.load (i32.const 724)) (i32.const 720))
        (call $must (i32.eqz (i32.load8_u (i32.const 720))))
        (local.set $stream (i32.load (i32.const 724)))
        (call $check_write (local.get $stream) (i32.const 720))
        (call $must (i32.eqz (i32.load8_u (i32.const 720))))
        (call $must (i64.le_u (i64.load (i32.const 728)) (i64.const 8192)))
        (local.set $future (call $sent (local.get $request)))
        {}",
        write.repeat(writes)
    )
}

#[tokio::test]
async fn attack_26_request_bodies_are_bounded_before_and_while_they_are_sent() {
    // HTTP-request-body-size is number 17.
    let body = format!("{} (call $is_error (call $finish (local.get $future)) (i32.const 17))", upload(3));
    let (report, answers) = fetch(Limits { http_bytes: 10_000, ..small() }, Answers::default(), &body).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    assert_eq!(answers.most.load(Relaxed), 0, "a body that is too large was sent");
}

#[tokio::test]
async fn attack_20_the_texts_of_a_request_are_bounded() {
    for (what, call, most) in [
        ("method", "(call $method (local.get $request) (i32.const 9) (i32.const 8200) (i32.const LENGTH))", 64),
        ("authority", "(call $authority (local.get $request) (i32.const 1) (i32.const 8200) (i32.const LENGTH))", 512),
        ("path", "(call $path (local.get $request) (i32.const 1) (i32.const 32768) (i32.const LENGTH))", 8192),
    ] {
        let set = |length: usize| call.replace("LENGTH", &length.to_string());
        let body = format!(
            "(local $request i32)
            (memory.fill (i32.const 8192) (i32.const 97) (i32.const 50000))
            (i32.store8 (i32.const 32768) (i32.const 47))
            (local.set $request (call $new))
            (call $must (i32.eqz {}))
            (call $must {})",
            set(most),
            set(most + 1)
        );
        let (report, _) = fetch(small(), Answers::default(), &body).await;
        assert!(report.output.is_ok(), "{what}: {:?}", report.output);
    }
}
