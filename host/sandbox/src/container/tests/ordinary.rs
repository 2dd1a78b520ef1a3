//! What a skill of the public contract finds, and what comes of what it prints.

use super::*;
use crate::RunFailure;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_skill_gets_its_params_and_answers_under_gvisor() {
    let Some(lab) = Lab::open().await else { return };
    let source = r#"
import json, os, sys
with open("/proc/version") as version:
    kernel = version.read()
print("a word for the operator", file=sys.stderr)
print(json.dumps({"params": params, "stdin": json.load(sys.stdin), "uid": os.getuid(), "kernel": kernel,
                  "name": __name__, "file": __file__}))
"#;
    let skill = lab.skill(source, "").await;
    let report = lab.call(&skill, r#"{"a": [1, "ü"], "base_url": "https://evil.example", "tool": "other"}"#).await;
    assert!(report.logs.iter().any(|line| line.message == "a word for the operator"), "{:?}", report.logs);
    let found = value(report);
    // What was connected and what was called are not the caller's to change.
    assert_eq!(found["params"], json!({"a": [1, "ü"], "base_url": "https://api.example.com", "tool": "go"}));
    assert_eq!(found["stdin"]["tool"], "go");
    assert_eq!(found["stdin"]["parameters"]["a"], json!([1, "ü"]));
    assert_eq!(
        (&found["uid"], &found["name"], &found["file"]),
        (&json!(65534), &json!("__main__"), &json!("/skill/main.py"))
    );
    assert!(found["kernel"].as_str().unwrap().contains("4.4.0"), "{found}");
    assert_eq!(lab.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_of_several_files_imports_its_own() {
    let Some(lab) = Lab::open().await else { return };
    let files = vec![
        ("src/main.py".to_owned(), Bytes::from_static(b"import helper\nprint(helper.value())")),
        (
            "src/helper.py".to_owned(),
            Bytes::from_static(
                b"import pathlib\ndef value():\n  return pathlib.Path(__file__).with_name('data.txt').read_text()",
            ),
        ),
        ("src/data.txt".to_owned(), Bytes::from_static(b"7")),
    ];
    let text = manifest("").document().as_str().replace("main.py", "src/main.py");
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    let skill = lab.runtime.prepared(&manifest, Digest::of(b"x"), files, None).await.unwrap();
    assert_eq!(value(lab.call(&skill, "{}").await), json!(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_programs_go_out_through_the_calls_own_door() {
    let Some(lab) = Lab::open().await else { return };
    let source = r#"
import json, urllib.request, urllib.error
found = {}
for url in ["https://api.example.com/v1/x?y=1", "http://api.example.com/plain"]:
    request = urllib.request.Request(url, headers={"Authorization": "Bearer PLACEHOLDER"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found[url] = [answer.status, json.load(answer)]
request = urllib.request.Request(params["base_url"] + "/made", data=b'{"a": 1}', method="POST")
found["post"] = urllib.request.urlopen(request, timeout=10).status
for url in ["https://evil.example/", "http://169.254.169.254/latest/meta-data/"]:
    try:
        urllib.request.urlopen(url, timeout=10)
        found[url] = "reached"
    except urllib.error.HTTPError as error:
        found[url] = [error.code, json.load(error)["code"]]
print(json.dumps(found))
"#;
    let found = lab.value(source, "").await;
    let answer = json!([200, {"answer": 42}]);
    assert_eq!(found["https://api.example.com/v1/x?y=1"], answer);
    assert_eq!(found["http://api.example.com/plain"], answer);
    assert_eq!(found["post"], 200);
    assert_eq!(found["https://evil.example/"], json!([403, "host_not_allowed"]));
    assert_eq!(found["http://169.254.169.254/latest/meta-data/"], json!([403, "host_not_allowed"]));
    let seen = lab.web.seen.lock();
    assert_eq!(seen.len(), 5);
    let authorization = seen[0].headers.iter().find(|(name, _)| name == "authorization").expect("the field");
    assert_eq!(authorization.1, b"Bearer PLACEHOLDER");
    assert_eq!((&*seen[2].method, seen[2].body.as_deref()), ("POST", Some(&b"{\"a\": 1}"[..])));
}

/// The authority of somebody's private server, as a person would have filled it into a connection.
const PRIVATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjDCCATGgAwIBAgIUSg6E3dk1oXfMvwgPJsOT6y/R9kMwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPUHJpdmF0ZSBjbHVzdGVyMCAXDTI2MTEzMDE4MDI0NVoYDzIx
MjYxMTA2MTgwMjQ1WjAaMRgwFgYDVQQDDA9Qcml2YXRlIGNsdXN0ZXIwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAT+ITx9UJPMuaE0hGnNXWW870fNkLftdeONVSFI
7nHVu9ViL24NYAyWLu+71SgsBEVn9vLZ+xc4fJOa4IjbMqp2o1MwUTAdBgNVHQ4E
FgQUmTIfO123rD4mEAQKLk/21zxotcAwHwYDVR0jBBgwFoAUmTIfO123rD4mEAQK
Lk/21zxotcAwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA6xsL
fsM6PBka8GMYFUDVcc45sLVFlUXFQT8iyudCSPQCIQDDY6G6EXvZUpdIRoytHpvN
Ds+v7I/0/ZsREUDq9seBYg==
-----END CERTIFICATE-----
";

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_that_brings_an_authority_of_its_own_still_trusts_the_proxy() {
    let Some(lab) = Lab::open().await else { return };
    let source = r#"
import json, ssl, urllib.request
private = params["private"]
with open("/tmp/private.pem", "w") as file:
    file.write(private)
bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
loaded = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
loaded.load_verify_locations("/tmp/private.pem")
contexts = [ssl.create_default_context(cadata=private), ssl.create_default_context(cafile="/tmp/private.pem"), bare, loaded,
            ssl.create_default_context(), ssl._create_unverified_context()]
found = []
for context in contexts:
    with urllib.request.urlopen("https://api.example.com/x", timeout=10, context=context) as answer:
        found.append(answer.status)
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=contexts[0]))
found.append(opener.open("https://api.example.com/x", timeout=10).status)
# Its own authority is still asked, and a name still has to fit.
print(json.dumps({"found": found, "names": [context.check_hostname for context in contexts],
                  "kept": len(contexts[0].get_ca_certs())}))
"#;
    let skill = lab.skill(source, "").await;
    let found = value(lab.call(&skill, &json!({"private": PRIVATE}).to_string()).await);
    assert_eq!(found["found"], json!([200, 200, 200, 200, 200, 200, 200]));
    assert_eq!(found["names"], json!([true, true, true, true, true, false]));
    assert_eq!(found["kept"], 2, "each authority once, however often it is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_that_says_error_has_failed_and_so_has_one_without_a_value() {
    let Some(lab) = Lab::open().await else { return };
    for (source, code, part) in [
        ("import json\nprint(json.dumps({'error': 'no such repo'}))", "tool_failed", "no such repo"),
        ("pass", "bad_result", "printed nothing"),
        ("print(1)\nprint(2)", "bad_result", "more than one JSON value"),
        ("print('hello')", "bad_result", "not JSON"),
        ("import sys\nprint(1)\nsys.exit(3)", "skill_exited", "with status 3"),
        ("raise ValueError('what it was')", "skill_exited", "ValueError: what it was"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "skill_exited", "by signal 9"),
        ("def broken(:", "skill_exited", "SyntaxError"),
    ] {
        use sophon_types::Fault as _;
        let failure = lab.failure(source, "").await;
        assert_eq!(failure.code(), code, "{source}: {failure}");
        assert!(failure.to_string().contains(part), "{source}: {failure}");
        assert!(!matches!(failure, RunFailure::Host { .. }));
    }
    assert_eq!(lab.left().await, 0);
}
