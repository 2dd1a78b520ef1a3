use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn minimal() -> Value {
    json!({
        "name": "demo", "version": "1.0.0", "author": "Ann", "license": "MIT", "description": "A demo.",
        "runtime": "wasm", "entrypoint": "skill.wasm",
        "tools": [{"name": "get", "description": "Gets.", "riskLevel": "low"}],
    })
}

fn with(edit: impl FnOnce(&mut Value)) -> Value {
    let mut manifest = minimal();
    edit(&mut manifest);
    manifest
}

fn parse(manifest: &Value) -> Result<Manifest, ManifestErrors> {
    Manifest::parse(manifest.to_string().as_bytes())
}

/// Asserts that exactly the violation at `field` is found, that its problem holds `part`, and that it has a hint.
fn refuses(manifest: &Value, field: &str, part: &str) {
    let errors = parse(manifest).expect_err(field);
    let [violation] = errors.violations.as_slice() else { panic!("{field}: {errors}") };
    assert_eq!(violation.field, field, "{errors}");
    assert!(violation.problem.contains(part), "{violation}");
    assert!(!violation.hint.is_empty());
}

#[test]
fn the_smallest_manifest_is_read() {
    let manifest = parse(&minimal()).unwrap();
    assert_eq!(manifest.tools[0].name.as_str(), "demo.get");
    assert_eq!(manifest.tools[0].local, "get");
    assert_eq!(manifest.category, Category::Other);
    assert_eq!(manifest.permissions, Permissions::default());
    assert!(!manifest.wants_network());
    assert!(manifest.unknown_keys().is_empty());
}

#[test]
fn everything_of_the_contract_is_read() {
    let manifest = parse(&with(|m| {
        m["tags"] = json!(["a", "b"]);
        m["category"] = json!("data");
        m["author"] = json!({"name": "Ann", "email": "ann@example.org"});
        m["credentials"] =
            json!([{"service": "github", "scopes": ["repo"], "required": true, "access": "scoped-token"}]);
        m["permissions"] = json!({
            "network": ["api.example.com", {
                "host": "*.Example.org", "schemes": ["https", "http"], "ports": [8443], "methods": ["GET", "POST"],
                "paths": ["/repos/*"], "credential": "github",
            }],
            "filesystem": "workspace", "maxMemoryMb": 512, "maxCpuSeconds": 10,
        });
        m["sandbox"] = json!({"preset": "restricted", "network": true, "timeoutSeconds": 20, "maxMemoryMb": 256});
        m["settings"] = json!([{"key": "region", "description": "Where.", "default": "eu"}]);
        m["tools"][0]["network"] = json!([{"host": "api.example.com", "methods": ["GET"]}]);
        m["tools"][0]["effects"] = json!(["email", "delete"]);
        m["tools"][0]["editable"] = json!(true);
        m["tools"][0]["returns"] = json!({"type": "string"});
    }))
    .unwrap();
    let rules = manifest.permissions.network.as_deref().unwrap();
    assert_eq!(rules[0].to_string(), "https://api.example.com");
    assert_eq!(rules[1].to_string(), "GET,POST https|http://*.example.org:8443 /repos/* (credential github)");
    assert_eq!(manifest.author, "Ann");
    assert_eq!(manifest.max_memory_mb(), Some(256));
    assert_eq!(manifest.permissions.filesystem, Filesystem::Workspace);
    assert_eq!(manifest.sandbox.preset, Some(Preset::Restricted));
    assert_eq!(manifest.credentials[0].access, Access::ScopedToken);
    let tool = manifest.tool(&"demo.get".parse().unwrap()).unwrap();
    assert_eq!(tool.effects, [Effect::Email, Effect::Delete]);
    assert_eq!(manifest.network_of(tool).len(), 1);
}

#[test]
fn attack_17_tokens_of_no_scope_are_refused() {
    let with = |credential: Value| with(|m| m["credentials"] = json!([credential]));
    for bad in [
        json!({"service": "github", "access": "scoped-token"}),
        json!({"service": "github", "access": "scoped-token", "scopes": []}),
    ] {
        refuses(&with(bad), "credentials[0]", "no scope is named");
    }
    assert!(parse(&with(json!({"service": "github", "access": "scoped-token", "scopes": ["repo"]}))).is_ok());
    assert!(parse(&with(json!({"service": "github", "access": "proxy", "scopes": []}))).is_ok());
}

/// Shapes of the public catalogue (survey of 85 skills), with the keys that occur there.
#[test]
fn public_skills_load_unchanged() {
    let sandbox = json!({
        "name": "tickets", "version": "1.0.0", "description": "Tickets.", "author": "Somebody LLC", "license": "MIT",
        "category": "integration", "tags": ["tickets"], "runtime": "sandbox", "language": "python",
        "entrypoint": "main.py",
        "integration": {
            "service": "tickets-cloud", "displayName": "Tickets", "description": "Tickets", "icon": "mail",
            "authType": "custom", "category": "developer",
            "fields": [
                {"key": "baseUrl", "label": "URL", "type": "url", "required": true, "placeholder": "https://x.example",
                 "pattern": "^https://[a-zA-Z0-9-]+\\.example\\.net$", "patternMessage": "Must be a URL"},
                {"key": "email", "label": "Email", "type": "email", "required": true},
                {"key": "token", "label": "Token", "type": "secret", "required": true,
                 "helpText": "Generate one", "helpUrl": "https://example.com/tokens"},
            ],
            "testEndpoint": "",
        },
        "tools": [
            {"name": "tickets.search", "description": "Search.", "riskLevel": "none",
             "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}},
            {"name": "mail.send", "description": "Send.", "riskLevel": "high",
             "parameters": {"type": "object", "properties": {}, "required": []}},
        ],
        "credentials": [{"service": "tickets-cloud", "scopes": ["read"], "required": true, "access": "injected"}],
        "requirements": ["pg8000==1.31.2"],
        "sandbox": {"network": true, "timeoutSeconds": 30, "maxMemoryMb": 256},
        "platforms": [],
    });
    let manifest = parse(&sandbox).unwrap();
    assert_eq!(manifest.runtime, Runtime::Sandbox { language: "python".into() });
    assert_eq!(manifest.credentials[0].access, Access::Proxy);
    assert_eq!(manifest.tools[0].name.as_str(), "tickets.search");
    assert_eq!(manifest.tools[1].name.as_str(), "tickets.mail.send");
    assert!(manifest.wants_network() && manifest.permissions.network.is_none() && manifest.leaves_hosts_open());
    assert!(manifest.unknown_keys().is_empty(), "{:?}", manifest.unknown_keys());

    for (runtime, entrypoint) in [("python", "main.py"), ("csharp", "Hello.dll"), ("container", "Dockerfile")] {
        let template = json!({
            "name": "hello", "version": "1.0.0", "description": "Hello.", "author": "Ann", "license": "MIT",
            "runtime": runtime, "entrypoint": entrypoint, "category": "something-new", "tags": [],
            "tools": [{
                "name": "hello.greet", "description": "Greets.", "riskLevel": "none",
                "parameters": [{"name": "name", "type": "string", "description": "Who.", "required": true}],
                "returns": {"type": "string", "description": "A greeting."},
            }],
            "credentials": [],
            "permissions": {"network": [], "filesystem": ["./data/"], "maxMemoryMb": 256, "maxCpuSeconds": 30},
            "platforms": ["windows", "macos", "linux"],
            "homepage": "https://example.com",
        });
        let manifest = parse(&template).unwrap();
        assert_eq!(manifest.runtime.as_str(), runtime);
        assert_eq!(manifest.category, Category::Other);
        assert_eq!(manifest.permissions.network, Some(Vec::new()));
        assert_eq!(manifest.unknown_keys(), ["homepage"]);
    }
}

#[test]
fn every_broken_rule_is_named_with_its_place() {
    let set = |path: &str, value: Value| {
        let mut manifest = minimal();
        *manifest.pointer_mut(path).unwrap() = value;
        manifest
    };
    let add = |key: &str, value: Value| with(|m| m[key] = value);
    let without = |key: &str| with(|m| drop(m.as_object_mut().unwrap().remove(key)));

    for key in ["name", "version", "author", "license", "description", "runtime", "entrypoint", "tools"] {
        refuses(&without(key), key, "missing");
    }
    refuses(&set("/name", json!("Demo")), "name", "not a skill name");
    refuses(&set("/name", json!("x")), "name", "not a skill name");
    refuses(&set("/name", json!("a".repeat(65))), "name", "not a skill name");
    refuses(&set("/version", json!("1.0")), "version", "");
    refuses(&set("/version", json!("01.0.0")), "version", "");
    refuses(&set("/version", json!("9999999.0.0")), "version", "too large");
    refuses(&set("/author", json!(" ")), "author", "empty");
    refuses(&set("/description", json!("x".repeat(2001))), "description", "2001");
    refuses(&set("/runtime", json!("native")), "runtime", "not known");
    refuses(&set("/runtime", json!("sandbox")), "language", "missing");
    refuses(&set("/entrypoint", json!("skill.so")), "entrypoint", "component");
    refuses(&set("/entrypoint", json!("../skill.wasm")), "entrypoint", "");
    refuses(&set("/entrypoint", json!("/skill.wasm")), "entrypoint", "");
    refuses(&set("/tools", json!([])), "tools", "no tool");
    refuses(&set("/tools/0/riskLevel", json!("severe")), "tools[0].riskLevel", "not known");
    refuses(&set("/tools/0/name", json!("get it")), "tools[0].name", "not a tool's name");
    refuses(&set("/tools/0/description", json!("")), "tools[0].description", "empty");
    refuses(&add("tags", json!(["x".repeat(33)])), "tags[0]", "33");
    refuses(&add("tags", json!(vec!["x"; 11])), "tags", "11 items");
    refuses(&add("permissions", json!({"netwrok": []})), "permissions.netwrok", "not known");
    refuses(&add("permissions", json!({"maxMemoryMb": 4097})), "permissions.maxMemoryMb", "out of range");
    refuses(&add("permissions", json!({"maxCpuSeconds": 0})), "permissions.maxCpuSeconds", "out of range");
    refuses(&add("permissions", json!({"filesystem": "host"})), "permissions.filesystem", "not known");
    refuses(&add("permissions", json!({"filesystem": ["../etc"]})), "permissions.filesystem[0]", "relative path");
    refuses(&add("permissions", json!({"network": ["*"]})), "permissions.network[0]", "first label");
    refuses(&add("permissions", json!({"network": ["*.com"]})), "permissions.network[0]", "two labels");
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "pahts": []}]})),
        "permissions.network[0].pahts",
        "",
    );
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "methods": []}]})),
        "permissions.network[0].methods",
        "empty",
    );
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "methods": ["get"]}]})),
        "permissions.network[0].methods[0]",
        "method",
    );
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "methods": ["CONNECT"]}]})),
        "permissions.network[0].methods[0]",
        "method",
    );
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "ports": [0]}]})),
        "permissions.network[0].ports[0]",
        "range",
    );
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "paths": ["x"]}]})),
        "permissions.network[0].paths[0]",
        "begins with",
    );
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "schemes": ["ftp"]}]})),
        "permissions.network[0].schemes[0]",
        "not known",
    );
    refuses(
        &add("permissions", json!({"network": [{"host": "a.b", "credential": "x"}]})),
        "permissions.network[0].credential",
        "not declared",
    );
    refuses(&add("sandbox", json!({"networks": true})), "sandbox.networks", "not known");
    refuses(&add("sandbox", json!({"preset": "open"})), "sandbox.preset", "not known");
    refuses(&add("sandbox", json!({"timeoutSeconds": 1.5})), "sandbox.timeoutSeconds", "out of range");
    refuses(&add("credentials", json!([{"service": "a"}, {"service": "a"}])), "credentials[1]", "twice");
    refuses(&add("credentials", json!([{"service": "a", "access": "raw"}])), "credentials[0].access", "not known");
    refuses(
        &add("integration", json!({"service": "a", "fields": [{"key": "k", "type": "blob"}]})),
        "integration.fields[0].type",
        "not known",
    );
    refuses(&add("settings", json!([{"key": "1x", "description": "d"}])), "settings[0].key", "not a key");
    refuses(&with(|m| m["tools"][0]["network"] = json!(["a.example"])), "tools[0].network[0]", "not within");
    refuses(&with(|m| m["tools"][0]["effects"] = json!(["magic"])), "tools[0].effects[0]", "not known");
    refuses(
        &with(|m| m["tools"][0]["parameters"] = json!({"$ref": "https://x"})),
        "tools[0].parameters.$ref",
        "references",
    );
    refuses(
        &with(|m| {
            m["tools"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "demo.Get", "description": "d", "riskLevel": "low"}));
        }),
        "tools[1]",
        "twice",
    );
    refuses(
        &with(|m| {
            m["sandbox"] = json!({"network": false});
            m["permissions"] = json!({"network": ["a.example"]});
        }),
        "sandbox.network",
        "false",
    );
}

#[test]
fn all_violations_come_at_once() {
    let errors = parse(&with(|m| {
        m["name"] = json!("Bad Name");
        m["version"] = json!("one");
        m["permissions"] = json!({"network": ["*", "x y", {"hots": "a"}], "maxMemoryMb": 0});
        m["tools"] = json!([{"name": "a"}, {"name": "b", "description": "d", "riskLevel": "x"}]);
        m["credentials"] = json!(7);
    }))
    .unwrap_err();
    let fields: Vec<_> = errors.violations.iter().map(|violation| violation.field.as_str()).collect();
    for field in [
        "name",
        "version",
        "permissions.network[0]",
        "permissions.network[1]",
        "permissions.network[2].host",
        "permissions.network[2].hots",
        "permissions.maxMemoryMb",
        "tools[0].description",
        "tools[0].riskLevel",
        "tools[1].riskLevel",
        "credentials",
    ] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
    assert!(errors.to_string().contains("\n  tools[1].riskLevel: \"x\" is not known here; write one of none, low"));
}

#[test]
fn a_report_stays_small_and_printable() {
    let tools = vec![json!({"name": "\u{1b}[2J"}); 256];
    let errors = parse(&with(|m| m["tools"] = json!(tools))).unwrap_err();
    assert_eq!(errors.violations.len(), 101);
    assert!(!errors.to_string().contains('\u{1b}'));
}

#[test]
fn what_is_not_strict_json_is_refused() {
    for text in ["", "[]", "{", "{\"name\": 1, \"name\": 2}", "{} {}", "\u{feff}{}"] {
        assert!(Manifest::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    let duplicate = minimal().to_string().replacen("{", "{\"name\": \"other\",", 1);
    assert_eq!(Manifest::parse(duplicate.as_bytes()).unwrap_err().violations[0].field, "");
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        assert!(Manifest::parse(&bytes).is_err());
    }

    #[test]
    fn a_field_of_any_kind_never_panics(
        key in prop::sample::select(vec![
            "name", "version", "author", "tags", "runtime", "language", "entrypoint", "tools", "credentials",
            "integration", "sandbox", "permissions", "settings", "requirements", "platforms", "category",
        ]),
        value in prop::sample::select(vec![
            json!(null), json!(true), json!(-1), json!(1e300), json!(""), json!("*"), json!([]), json!([[]]),
            json!([{}]), json!({}), json!({"network": {}}), json!([null]), json!({"": ""}), json!(["\u{0}"]),
        ]),
    ) {
        // Whether it is accepted depends on the key; a violation always names a place and a hint.
        if let Err(errors) = parse(&with(|m| m[key] = value)) {
            prop_assert!(errors.violations.iter().all(|violation| !violation.hint.is_empty()));
        }
    }
}

#[test]
fn an_integration_in_python_that_says_nothing_of_its_sandbox_leaves_its_hosts_open() {
    let base = json!({
        "name": "pages", "version": "1.0.0", "description": "Pages.", "author": "Ann", "license": "MIT",
        "runtime": "sandbox", "language": "python", "entrypoint": "main.py", "category": "integration",
        "integration": {"service": "pages", "fields": [{"key": "token", "type": "secret"}]},
        "tools": [{"name": "pages.read", "description": "Reads.", "riskLevel": "none", "parameters": {"type": "object"}}],
    });
    let open = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest = base.clone();
        change(&mut manifest);
        parse(&manifest).unwrap().leaves_hosts_open()
    };
    assert!(open(&|_| {}));
    assert!(!open(&|manifest| manifest["sandbox"] = json!({"network": false})));
    assert!(!open(&|manifest| drop(manifest.as_object_mut().unwrap().remove("integration"))));
    assert!(open(&|manifest| manifest["sandbox"] = json!({"network": true})));
    assert!(!open(&|manifest| manifest["permissions"] = json!({"network": ["api.example.com"]})));
}
