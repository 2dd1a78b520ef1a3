//! Every hint works when it is pasted.

use crate::world::{World, manifest, manifest_with, tight};
use serde_json::Value;
use sophon_egress::{Denial, HttpRequest};
use sophon_skill::Manifest;

/// The manifest rule in a hint.
fn rule(hint: &str) -> Option<Value> {
    let begin = hint.find('{')?;
    serde_json::Deserializer::from_str(&hint[begin..]).into_iter::<Value>().next()?.ok()
}

/// What follows `--allow-host`.
fn grant(hint: &str) -> Option<&str> {
    hint.split_once("--allow-host ")?.1.split(' ').next()
}

fn denied(error: &sophon_egress::HttpError) -> Denial {
    error.denial().unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test]
async fn a_pasted_hint_allows_what_was_refused() {
    let world = World::new(tight()).await;
    let cases = [
        (r#"[]"#, "DELETE", "https://api.example.com/repos/x", "host_not_allowed"),
        (r#"["other.example.com"]"#, "GET", "https://api.example.com/", "host_not_allowed"),
        (r#"["api.example.com"]"#, "GET", "http://api.example.com/", "scheme_not_allowed"),
        (r#"["api.example.com"]"#, "GET", "https://api.example.com:8443/a/b", "port_not_allowed"),
        (r#"["api.example.com"]"#, "GET", "http://api.example.com:8080/", "scheme_not_allowed"),
        (
            r#"[{"host":"api.example.com","methods":["GET"]}]"#,
            "DELETE",
            "https://api.example.com/repos/x",
            "method_not_allowed",
        ),
        (r#"[{"host":"api.example.com","paths":["/v1/*"]}]"#, "GET", "https://api.example.com/v2", "path_not_allowed"),
        (r#"[]"#, "GET", "https://93.184.216.34/", "host_not_allowed"),
        (r#"[]"#, "GET", "https://10.0.0.5/", "host_not_allowed"),
        (r#"[]"#, "GET", "http://10.0.0.5:8080/", "host_not_allowed"),
    ];
    for (network, method, url, code) in cases {
        let request = HttpRequest::new(method, url);
        let rules = manifest(network);
        let denial = denied(&world.session(&rules, &[]).await.send(request.clone()).await.unwrap_err());
        assert_eq!(denial.code, code, "{url}: {denial:?}");
        assert!(denial.message.starts_with("http: "), "{denial:?}");
        let hint = denial.hint.unwrap();
        assert!(rule(&hint).is_some() || grant(&hint).is_some(), "{hint}");
        if let Some(rule) = rule(&hint) {
            let mut network: Vec<Value> = serde_json::from_str(network).unwrap();
            network.push(rule);
            let mended = manifest(&serde_json::to_string(&network).unwrap());
            let response = world.session(&mended, &[]).await.send(request.clone()).await;
            assert_eq!(response.map(|response| response.status), Ok(200), "{hint}");
        }
        if let Some(grant) = grant(&hint) {
            let response = world.session(&rules, &[grant]).await.send(request).await;
            assert_eq!(response.map(|response| response.status), Ok(200), "{hint}");
        }
    }
}

#[tokio::test]
async fn a_tools_own_list_narrows_and_its_hint_says_where() {
    let world = World::new(tight()).await;
    let with_list = |list: &str| {
        let text = format!(
            r#"{{"name":"probe","version":"1.0.0","author":"a","license":"MIT","description":"d","category":"utility",
            "runtime":"wasm","entrypoint":"skill.wasm","permissions":{{"network":["api.example.com"]}},
            "tools":[{{"name":"go","description":"d","riskLevel":"low","parameters":{{"type":"object"}},"network":{list}}}]}}"#
        );
        Manifest::parse(text.as_bytes()).unwrap()
    };
    let request = HttpRequest::new("POST", "https://api.example.com/x");
    let narrow = r#"[{"host":"api.example.com","methods":["GET"]}]"#;
    let denial = denied(&world.session(&with_list(narrow), &[]).await.send(request.clone()).await.unwrap_err());
    assert_eq!(denial.code, "method_not_allowed");
    assert_eq!(denial.message, "http: POST api.example.com/x is not in the network list of probe.go");
    let hint = denial.hint.unwrap();
    assert!(hint.contains("to the network list of probe.go in manifest.json"), "{hint}");
    let mended = with_list(&format!("[{}]", rule(&hint).unwrap()));
    assert_eq!(world.session(&mended, &[]).await.send(request.clone()).await.map(|response| response.status), Ok(200));
    // A grant of the host opens no method that the tool's list does not name, nor a host that it leaves out.
    for (list, code) in [(narrow, "method_not_allowed"), ("[]", "host_not_allowed")] {
        let session = world.session(&with_list(list), &["api.example.com"]).await;
        let denial = denied(&session.send(request.clone()).await.unwrap_err());
        assert_eq!(denial.code, code, "{list}");
        let hint = denial.hint.unwrap();
        assert!(hint.contains("the network list of probe.go in manifest.json") && grant(&hint).is_none(), "{hint}");
    }
}

#[tokio::test]
async fn attack_11_a_grant_adds_addresses_and_ports_and_voids_no_rule() {
    let narrow = r#"[{"host":"10.0.0.5","methods":["GET"],"paths":["/v1/*"]}]"#;
    let ports = r#"[{"host":"10.0.0.5","methods":["GET"]},{"host":"10.0.0.5","ports":[8443]}]"#;
    let elsewhere = r#"[{"host":"10.0.0.5","ports":[9000],"methods":["GET"]}]"#;
    let world = World::new(tight()).await;
    for (network, granted, method, url, code) in [
        (narrow, "10.0.0.5", "GET", "https://10.0.0.5/v1/x", None),
        (narrow, "10.0.0.5", "DELETE", "https://10.0.0.5/v1/x", Some("method_not_allowed")),
        (narrow, "10.0.0.5", "GET", "https://10.0.0.5/admin", Some("path_not_allowed")),
        (narrow, "10.0.0.5", "GET", "https://10.0.0.5/v1/..%2fadmin", Some("path_form")),
        // A rule of this very port says more than one of another.
        (ports, "10.0.0.5", "POST", "https://10.0.0.5/", Some("method_not_allowed")),
        (ports, "10.0.0.5:8443", "POST", "https://10.0.0.5:8443/", None),
        // The grant adds the port, or the scheme, and nothing else.
        (elsewhere, "10.0.0.5", "GET", "https://10.0.0.5/", None),
        (elsewhere, "10.0.0.5", "POST", "https://10.0.0.5/", Some("method_not_allowed")),
        (elsewhere, "http://10.0.0.5:8080", "GET", "http://10.0.0.5:8080/", None),
        (elsewhere, "http://10.0.0.5:8080", "POST", "http://10.0.0.5:8080/", Some("method_not_allowed")),
        // Nothing is said about the host: the grant alone decides.
        (r#"["api.example.com"]"#, "10.0.0.5", "DELETE", "https://10.0.0.5/any", None),
        ("[]", "10.0.0.5", "DELETE", "https://10.0.0.5/any", None),
    ] {
        world.forget();
        let rules = manifest(network);
        let outcome = world.session(&rules, &[granted]).await.send(HttpRequest::new(method, url)).await;
        let Some(code) = code else {
            assert_eq!(outcome.map(|response| response.status), Ok(200), "{network} {method} {url}");
            continue;
        };
        let denial = denied(&outcome.unwrap_err());
        assert_eq!(denial.code, code, "{network} {method} {url}");
        assert!(world.dialled().is_empty());
        let hint = denial.hint.unwrap();
        assert_eq!(grant(&hint), None, "{hint}");
        let Some(rule) = rule(&hint) else { continue };
        let mut mended: Vec<Value> = serde_json::from_str(network).unwrap();
        mended.push(rule);
        let mended = manifest(&serde_json::to_string(&mended).unwrap());
        let response = world.session(&mended, &[granted]).await.send(HttpRequest::new(method, url)).await;
        assert_eq!(response.map(|response| response.status), Ok(200), "{hint}");
    }
}

#[tokio::test]
async fn a_grant_releases_the_credential_it_names() {
    let one = r#"[{"service":"github","scopes":[],"required":false,"access":"proxy"}]"#;
    let two = r#"[{"service":"github","scopes":[],"required":false,"access":"proxy"},
        {"service":"hass","scopes":[],"required":false,"access":"proxy"}]"#;
    let other = r#"[{"host":"10.0.0.5","credential":"hass"}]"#;
    let named = r#"[{"host":"10.0.0.5","credential":"github"}]"#;
    let world = World::new(tight()).await;
    // `not_connected`: nothing but the connection is missing.
    let (through, denied_code) = ("not_connected", "credential_not_allowed");
    for (credentials, network, grants, code) in [
        (one, "[]", &["10.0.0.5"][..], through),
        (one, "[]", &["10.0.0.5=hass"], denied_code),
        (two, "[]", &["10.0.0.5"], denied_code),
        (two, "[]", &["10.0.0.5=github"], through),
        (two, "[]", &["10.0.0.5=hass"], denied_code),
        (two, "[]", &["10.0.0.5=hass", "10.0.0.5=github"], through),
        (two, named, &["10.0.0.5"], through),
        (two, named, &["10.0.0.5=hass"], denied_code),
        // The manifest's word about the credential holds also where a person granted the host.
        (two, other, &["10.0.0.5=github"], denied_code),
        (two, other, &["10.0.0.5"], denied_code),
    ] {
        let mut request = HttpRequest::new("GET", "https://10.0.0.5/");
        request.credential = Some("github".into());
        let rules = manifest_with(network, credentials);
        let denial = denied(&world.session(&rules, grants).await.send(request.clone()).await.unwrap_err());
        assert_eq!(denial.code, code, "{network} {grants:?}: {denial:?}");
        if let Some(grant) = denial.hint.as_deref().and_then(grant) {
            let mended = world.session(&rules, &[grant]).await.send(request).await.unwrap_err();
            assert_eq!(denied(&mended).code, through, "{grant}");
        }
    }
}

#[tokio::test]
async fn hints_about_credentials_work_too() {
    let world = World::new(tight()).await;
    let mut request = HttpRequest::new("GET", "http://api.example.com:8080/");
    request.credential = Some("github".into());
    // Over plain http it takes a grant that says so; then only the connection is missing.
    let rules = manifest(r#"[{"host":"api.example.com","schemes":["http"],"ports":[8080]}]"#);
    let denial = denied(&world.session(&rules, &[]).await.send(request.clone()).await.unwrap_err());
    assert_eq!(denial.code, "credential_over_http");
    let hint = denial.hint.unwrap();
    let error = world.session(&rules, &[grant(&hint).unwrap()]).await.send(request).await.unwrap_err();
    assert_eq!(denied(&error).code, "not_connected", "{hint}");
    // An undeclared service.
    let mut request = HttpRequest::new("GET", "https://api.example.com/");
    request.credential = Some("gitlab".into());
    let network = r#"["api.example.com"]"#;
    let denial = denied(&world.session(&manifest(network), &[]).await.send(request.clone()).await.unwrap_err());
    assert_eq!(denial.code, "credential_not_declared");
    let mended = manifest_with(network, &format!("[{}]", rule(&denial.hint.unwrap()).unwrap()));
    let error = world.session(&mended, &[]).await.send(request).await.unwrap_err();
    assert_eq!(denied(&error).code, "not_connected");
}

#[tokio::test]
async fn attack_11_a_name_with_a_private_address_needs_its_grant() {
    let world = World::new(tight()).await;
    world.names.set("internal.example", &[&["10.0.0.5"]]);
    let rules = manifest(r#"["internal.example"]"#);
    let request = HttpRequest::new("GET", "https://internal.example/");
    let denial = denied(&world.session(&rules, &[]).await.send(request.clone()).await.unwrap_err());
    assert_eq!(denial.code, "address_not_allowed");
    assert!(!denial.message.contains("10.0.0.5"), "the skill learns an internal address: {}", denial.message);
    assert!(world.dialled().is_empty());
    assert!(world.audit_text().await.contains("10.0.0.5"), "the operator does not");
    let hint = denial.hint.unwrap();
    let granted = world.session(&rules, &[grant(&hint).unwrap()]).await.send(request.clone()).await;
    assert_eq!(granted.map(|response| response.status), Ok(200), "{hint}");
    // One bad address spoils the answer, and a grant of a name does not reach loopback, metadata or embeddings.
    for answer in [
        &["10.0.0.5", "169.254.169.254"][..],
        &["127.0.0.1"],
        &["::ffff:10.0.0.5"],
        &["64:ff9b::a00:5"],
        &["fd00:ec2::254"],
        &["0.0.0.0"],
    ] {
        world.names.set("internal.example", &[answer]);
        world.forget();
        let outcome = world.session(&rules, &["internal.example"]).await.send(request.clone()).await;
        assert_eq!(denied(&outcome.unwrap_err()).code, "address_not_allowed", "{answer:?}");
        assert!(world.dialled().is_empty());
    }
}

#[tokio::test]
async fn attack_11_the_hosts_own_listener_is_never_reached() {
    let world = World::new(tight()).await;
    world.own.add("127.0.0.1:8080".parse().unwrap());
    world.own.add("0.0.0.0:8443".parse().unwrap());
    let rules = manifest("[]");
    for (grant, url) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("localhost:8080", "http://localhost:8080/"),
        ("127.0.0.2:8443", "https://127.0.0.2:8443/"),
        ("[::1]:8443", "https://[::1]:8443/"),
    ] {
        if grant.starts_with("localhost") {
            world.names.set("localhost", &[&["127.0.0.1", "::1"]]);
        }
        let session = world.session(&rules, &[grant]).await;
        let denial = denied(&session.send(HttpRequest::new("GET", url)).await.unwrap_err());
        assert_eq!(denial.code, "own_listener", "{url}");
    }
    assert!(world.dialled().is_empty());
    // Another port of the same machine is the person's choice.
    let session = world.session(&rules, &["127.0.0.1:80"]).await;
    assert_eq!(session.send(HttpRequest::new("GET", "http://127.0.0.1/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn attack_12_path_rules_survive_every_encoding() {
    let world = World::new(tight()).await;
    let rules = manifest(r#"[{"host":"api.example.com","paths":["/v1/*","/open"]}]"#);
    for (path, allowed) in [
        ("/v1/items", true),
        ("/v1/a/b?next=/../admin", true),
        ("/open", true),
        ("/v1", false),
        ("/open/x", false),
        ("/v1/../admin", false),
        ("/v1/./x", false),
        ("/v1/%2e%2e/admin", false),
        ("/v1/.%2E/admin", false),
        ("/v1/..%2fadmin", false),
        ("/v1/%2fadmin", false),
        ("/v1/..%5cadmin", false),
        ("/v1\\..\\admin", false),
        ("/v1/%252e%252e/admin", false),
        ("/v1/%25252e%25252e%25252fadmin", false),
        ("/v1/..;/admin", false),
        ("/v1/;/../admin", false),
        ("/v1/%c0%ae%c0%ae/admin", false),
        ("/v1/%e0%80%ae/x", false),
        ("/v1/%uff0e%uff0e/admin", false),
        ("/v1/\u{ff0e}\u{ff0e}/admin", false),
        ("/v1/x%00", false),
        ("//v1/x", false),
        ("/V1/x", false),
    ] {
        world.forget();
        let outcome = world.get(&rules, &format!("https://api.example.com{path}")).await;
        assert_eq!(outcome.is_ok(), allowed, "{path}: {outcome:?}");
        assert_eq!(world.dialled().is_empty(), !allowed, "{path}");
    }
}
