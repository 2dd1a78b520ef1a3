mod depth;
mod native;

use super::*;
use crate::sections::with_tools_section;
use crate::testing::{component, component_text, manifest, parsed, pasted};
use proptest::prelude::*;
use serde_json::{Value, json};
use sophon_corpora::{Figure, bytes, rows};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The findings of a component whose tools section is the manifest's, as `rule severity`.
fn findings(inside: &str, edit: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut manifest = manifest();
    edit(&mut manifest);
    let bare = wat::parse_str(component_text(inside)).unwrap();
    let bytes = with_tools_section(&bare, manifest["tools"].to_string().as_bytes()).unwrap();
    listed(&analyse(&bytes, &parsed(&manifest)))
}

fn listed(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| format!("{} {}", finding.rule, finding.severity)).collect()
}

fn of_text(text: &str) -> Report {
    analyse(&wat::parse_str(text).unwrap(), &parsed(&manifest()))
}

#[test]
fn a_sound_skill_is_admitted() {
    let report = analyse(&component(""), &parsed(&manifest()));
    assert_eq!(report.verdict, Verdict::Admit, "{report}");
    assert!(report.findings.is_empty());
    assert_eq!(report.to_string(), "verdict: admit");
}

/// Longer than any component may take to be looked through, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What analysis says of each of `components`, none of which may make it panic or go on for ever, and how long that took.
fn analysed(components: Vec<Vec<u8>>) -> Vec<(Report, Duration)> {
    let (send, reports) = mpsc::channel();
    let count = components.len();
    // On a thread that is left behind where it does not come to an end.
    std::thread::spawn(move || {
        let manifest = parsed(&manifest());
        for component in components {
            let began = Instant::now();
            let report = analyse(&component, &manifest);
            if send.send((report, began.elapsed())).is_err() {
                return;
            }
        }
    });
    let report = |row| reports.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("row {row}: {error}"));
    (0..count).map(report).collect()
}

/// `module` inside a component, whose section 1 is a core module.
fn wrapped(module: &[u8]) -> Vec<u8> {
    let mut component = b"\0asm\x0d\0\x01\0\x01".to_vec();
    let mut length = module.len();
    while length > 0x7f {
        component.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    component.push(length as u8);
    component.extend(module);
    component
}

/// Each row as it is, and as a core module inside a component, where validation is what refuses it.
#[test]
fn attack_18_malformed_binaries_are_refused() {
    let Some(rows) = rows::<Value>("wasm_malformed") else { return };
    assert!(rows.len() >= 2000);
    let mut figure = Figure::new("wasm_malformed", "refused");
    let mut quick = Figure::new("wasm_malformed", "read within a second");
    let reports = analysed(rows.iter().map(bytes).collect());
    let core: Vec<_> = rows.iter().filter(|row| row["layer"] == "core").collect();
    let inside = analysed(core.iter().map(|row| wrapped(&bytes(row))).collect());
    assert!(core.len() >= 1500 && rows.len() > core.len());
    for (row, (report, took)) in rows.iter().zip(&reports).chain(core.into_iter().zip(&inside)) {
        assert_eq!(listed(report), ["SA001 error"], "{}: {report}", row["source"]);
        quick.count(row["layer"].as_str().unwrap(), *took <= Duration::from_secs(1));
    }
    for row in &rows {
        figure.count(row["layer"].as_str().unwrap(), true);
    }
    figure.publish();
    quick.publish();
}

#[test]
fn hostile_components_are_read_without_harm() {
    let Some(rows) = rows::<Value>("wasm_hostile") else { return };
    let reports = analysed(rows.iter().map(bytes).collect());
    let mut named = 0;
    for (row, (report, _)) in rows.iter().zip(&reports) {
        // None of them is a skill; all that is left to show is that reading them ends, and with a reason.
        assert_eq!(report.verdict, Verdict::Reject, "{}", row["name"]);
        let first = match row["name"].as_str().unwrap() {
            "lookalike_import" | "unknown_socket_import" => "SA003",
            "import_wasip1" => "SA001",
            _ => continue,
        };
        assert_eq!(report.findings[0].rule, first, "{}: {report}", row["name"]);
        named += 1;
    }
    assert_eq!(named, 3);
}

#[test]
fn attack_21_imports_are_checked_by_exact_name() {
    let check = |import: &str, expected: &[&str]| {
        assert_eq!(findings(import, |_| ()), expected, "{import}");
    };
    let refused: &[&str] = &["SA003 error"];
    check(r#"(import "sophon:skill/log@1.0.0" (instance))"#, &[]);
    check(r#"(import "wasi:io/streams@0.2.0" (instance))"#, &[]);
    check(r#"(import "wasi:io/streams@0.2.12" (instance))"#, &[]);
    // An instance without items would link against an empty linker.
    check(r#"(import "sophon:skill/admin@1.0.0" (instance))"#, refused);
    check(r#"(import "sophon:skill/http2@1.0.0" (instance))"#, refused);
    check(r#"(import "sophon-skill:skill/log@1.0.0" (instance))"#, refused);
    check(r#"(import "evil:skill/log@1.0.0" (instance))"#, refused);
    check(r#"(import "sophon:skill/log" (instance))"#, refused);
    check(r#"(import "log" (instance))"#, refused);
    check(r#"(import "sophon:skill/log@1.1.0" (instance))"#, refused);
    check(r#"(import "sophon:skill/log@2.0.0" (instance))"#, refused);
    check(r#"(import "sophon:skill/log@1.0.0-rc.1" (instance))"#, refused);
    check(r#"(import "sophon:skill/tools@1.0.0" (instance))"#, refused);
    check(r#"(import "wasi:io/streams@0.3.0" (instance))"#, refused);
    check(r#"(import "wasi:sockets/tcp@0.2.0" (instance))"#, refused);
    check(r#"(import "wasi:http/incoming-handler@0.2.0" (instance))"#, refused);
    check(r#"(import "wasi:cli/command@0.2.0" (instance))"#, refused);
    // Other forms than instances, also under a name that is offered.
    check(r#"(import "f" (func))"#, refused);
    check(r#"(import "sophon:skill/log@1.0.0" (func))"#, refused);
    check(r#"(import "t" (type (sub resource)))"#, refused);
    check(r#"(import "m" (core module))"#, refused);
    check(r#"(import "c" (component))"#, refused);
    check(r#"(import "url=<https://example.com/x>" (component))"#, refused);
    check(r#"(import "unlocked-dep=<evil:x>" (component))"#, refused);
}

/// What a nested component imports is given to it by the outer one, which can only hand on what it has itself.
#[test]
fn attack_21_imports_of_nested_components_reach_nothing() {
    let nested = r#"(component $c (import "wasi:sockets/tcp@0.2.0" (instance)))"#;
    assert!(findings(nested, |_| ()).is_empty());
    let handed_on = r#"
        (import "wasi:sockets/tcp@0.2.0" (instance $tcp))
        (component $c (import "wasi:sockets/tcp@0.2.0" (instance)))
        (instance (instantiate $c (with "wasi:sockets/tcp@0.2.0" (instance $tcp))))"#;
    assert_eq!(findings(handed_on, |_| ()), ["SA003 error"]);
}

#[test]
fn attack_21_what_is_imported_must_be_declared() {
    let check = |interface: &str, declare: &dyn Fn(&mut Value)| {
        let import = format!(r#"(import "{interface}" (instance))"#);
        assert_eq!(findings(&import, |_| ()), ["SA004 error"], "{interface} undeclared");
        assert_eq!(findings(&import, declare), Vec::<String>::new(), "{interface} declared");
    };
    let network = |m: &mut Value| m["permissions"] = json!({"network": ["api.example.com"]});
    check("sophon:skill/http@1.0.0", &network);
    check("wasi:http/outgoing-handler@0.2.4", &network);
    check("wasi:http/types@0.2.4", &network);
    check("sophon:skill/credentials@1.0.0", &|m| m["credentials"] = json!([{"service": "github"}]));
    check("sophon:skill/workspace@1.0.0", &|m| m["permissions"] = json!({"filesystem": "workspace"}));
    for interface in [
        "sophon:skill/http@1.0.0",
        "wasi:http/types@0.2.4",
        "sophon:skill/credentials@1.0.0",
        "sophon:skill/workspace@1.0.0",
    ] {
        for permissions in [json!({}), json!({"maxMemoryMb": 16}), json!({"network": false, "filesystem": "none"})] {
            let bytes = component(&format!(r#"(import "{interface}" (instance))"#));
            let mut manifest = manifest();
            manifest["permissions"] = permissions;
            let report = analyse(&bytes, &parsed(&manifest));
            let mended = pasted(&manifest, report.first_advice().unwrap());
            assert_eq!(listed(&analyse(&bytes, &parsed(&mended))), Vec::<String>::new(), "{report}");
        }
    }
    for interface in ["settings", "state", "progress"] {
        assert!(findings(&format!(r#"(import "sophon:skill/{interface}@1.0.0" (instance))"#), |_| ()).is_empty());
    }
}

#[test]
fn the_hosts_that_the_code_names_are_proposed_where_the_manifest_names_none() {
    let data = r#"(core module (memory 1) (data (i32.const 0) "https://api.weather.net/v1\00http://plain.net:8080/\00https://docs.rs/x"))"#;
    let bytes = component(&format!(r#"(import "sophon:skill/http@1.0.0" (instance)) {data}"#));
    let report = analyse(&bytes, &parsed(&manifest()));
    assert_eq!(report.findings[0].rule, "SA004");
    let mended = pasted(&manifest(), report.first_advice().unwrap());
    let rules = json!(["api.weather.net", {"host": "plain.net", "ports": [8080], "schemes": ["http"]}]);
    assert_eq!(mended["permissions"], json!({ "network": rules }));
    assert_ne!(analyse(&bytes, &parsed(&mended)).verdict, Verdict::Reject);
}

#[test]
fn attack_27_features_that_skills_do_not_need_are_off() {
    let off = [
        ("memory64", "(memory i64 1)"),
        ("threads", "(memory 1 1 shared)"),
        ("atomics", "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))"),
        ("multi-memory", "(memory 1) (memory 1)"),
        ("tail calls", "(func $f (return_call $f))"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct))"),
        ("externref", "(global externref (ref.null extern))"),
        ("function references", "(type $t (func)) (func (param (ref $t)))"),
        ("relaxed simd", "(func (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0))))"),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        ("wide arithmetic", "(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))"),
        ("extended constants", "(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
        ("table64", "(table i64 1 funcref)"),
    ];
    for (what, module) in off {
        let report = of_text(&format!("(component (core module {module}))"));
        assert_eq!(listed(&report), ["SA001 error"], "{what}: {report}");
    }
    for (what, part) in [
        ("component async", "(type (stream u8))"),
        ("futures", "(type (future))"),
        ("error contexts", "(type error-context)"),
        ("values", r#"(import "v" (value string))"#),
        ("fixed lists", "(type (list u8 4))"),
        ("maps", "(type (map u32 u32))"),
    ] {
        let report = of_text(&format!("(component {part})"));
        assert_eq!(listed(&report), ["SA001 error"], "{what}: {report}");
    }
    let on = "(memory 1) (table 2 funcref) (global (mut i32) (i32.const 0))
        (func (export \"swap\") (param i32 i64) (result i64 i32) local.get 1 local.get 0)
        (func (param f32) (result i32) (i32.extend8_s (i32.trunc_sat_f32_s (local.get 0))))
        (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))
        (func (drop (i32x4.splat (i32.const 1)))) (elem declare func 0) (func (drop (ref.func 0)))";
    assert!(findings(&format!("(core module {on})"), |_| ()).is_empty());
}

#[test]
fn what_is_no_component_is_named() {
    let check = |bytes: &[u8], part: &str| {
        let report = analyse(bytes, &parsed(&manifest()));
        assert_eq!(listed(&report), ["SA001 error"]);
        assert!(report.findings[0].message.contains(part), "{report}");
    };
    check(b"", "not a WebAssembly component");
    check(b"\0asm\x01\0\0\0", "core module");
    check(b"\0asm\x0c\0\x01\0", "not a WebAssembly component");
    check(&vec![0; MAX_COMPONENT + 1], "at most");
}

#[test]
fn attack_24_machine_code_is_refused() {
    let report = analyse(b"\x7fELF\x02\x01\x01\0wasmtime", &parsed(&manifest()));
    assert!(report.findings[0].message.contains("machine code"), "{report}");
}

#[test]
fn the_tools_interface_must_be_exported() {
    let check = |text: &str, expected: &str| {
        let report = of_text(text);
        let finding = report.findings.iter().find(|finding| finding.rule == "SA005").expect(text);
        assert!(finding.message.contains(expected), "{finding}");
        assert_eq!(report.verdict, Verdict::Reject);
    };
    check("(component)", "does not export sophon:skill/tools");
    let function = r#"(core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))"#;
    check(&format!(r#"(component {function} (export "add" (func $f)))"#), r#"plain functions ("add")"#);
    check(r#"(component (instance $i) (export "sophon:skill/tools@1.0.0" (instance $i)))"#, "no function call-tool");
    for version in ["1.1.0", "2.0.0", "0.1.0"] {
        let text = component_text("").replace("tools@1.0.0", &format!("tools@{version}"));
        check(&text, "this host calls version 1.0.0");
    }
    let lookalike = component_text("").replace("sophon:skill/tools", "sophon:skill/toolz");
    check(&lookalike, "does not export");
}

#[test]
fn attack_03_the_tools_section_must_agree_with_the_manifest() {
    let check = |section: Value, expected: &[&str]| {
        let bare = wat::parse_str(component_text("")).unwrap();
        let bytes = with_tools_section(&bare, section.to_string().as_bytes()).unwrap();
        assert_eq!(listed(&analyse(&bytes, &parsed(&manifest()))), expected, "{section}");
    };
    let tool = || manifest()["tools"][0].clone();
    let with = |key: &str, value: Value| {
        let mut tool = tool();
        tool[key] = value;
        json!([tool])
    };
    check(json!([tool()]), &[]);
    check(with("name", json!("demo.get")), &[]);
    check(with("parameters", json!({"type": "object"})), &[]);
    check(with("effects", json!([])), &[]);
    check(with("returns", json!(null)), &[]);
    check(with("description", json!("Does more.")), &["SA006 error"]);
    check(with("riskLevel", json!("high")), &["SA006 error"]);
    check(with("effects", json!(["delete"])), &["SA006 error"]);
    check(with("parameters", json!({"type": "object", "properties": {}})), &["SA006 error"]);
    check(with("name", json!("other")), &["SA006 error", "SA006 error"]);
    check(json!([]), &["SA006 error"]);
    check(json!([tool(), tool()]), &["SA006 error"]);
    check(json!({}), &["SA006 error"]);
    check(json!([1]), &["SA006 error"]);
    assert_eq!(listed(&of_text(&component_text(""))), ["SA006 warning"]);
}

#[test]
fn attack_05_hidden_text_in_the_manifest_is_refused() {
    for (edit, place) in [
        ((|m| m["tools"][0]["description"] = json!("Gets\u{202e}.")) as fn(&mut Value), "tools[0].description"),
        (|m| m["tools"][0]["description"] = json!("Gets.\u{e0041}"), "tools[0].description"),
        (|m| m["description"] = json!("\u{1b}[31mred"), "description"),
        (
            |m| m["tools"][0]["parameters"] = json!({"properties": {"a": {"description": "x\u{200b}y"}}}),
            "tools[0].parameters.properties.a.description",
        ),
        (|m| m["tools"][0]["parameters"] = json!({"properties": {"a\u{2066}": {}}}), "tools[0].parameters.properties"),
    ] {
        let mut manifest = manifest();
        edit(&mut manifest);
        let bare = wat::parse_str(component_text("")).unwrap();
        let bytes = with_tools_section(&bare, manifest["tools"].to_string().as_bytes()).unwrap();
        let report = analyse(&bytes, &parsed(&manifest));
        assert_eq!(listed(&report), ["SA009 error"], "{report}");
        assert_eq!(report.findings[0].place, format!("manifest.json: {place}"));
        assert!(report.findings[0].message.is_ascii());
    }
}

#[test]
fn structure_and_limits_are_bounded() {
    assert_eq!(findings(&"(core module)".repeat(80), |_| ()), ["SA007 error"]);
    assert_eq!(findings(&"(component)".repeat(80), |_| ()), ["SA007 error"]);
    let nested = "(component ".repeat(30) + &")".repeat(30);
    assert_eq!(listed(&of_text(&nested)), ["SA001 error"]);
    let types: String = (0..1100).map(|n| format!(r#"(import "a{n}" (instance))"#)).collect();
    assert_eq!(listed(&of_text(&format!("(component {types})"))), ["SA001 error"]);
    assert_eq!(findings("(core module (memory 5000))", |_| ()), ["SA008 error"]);
    let asking = |mb: u32| move |m: &mut Value| m["permissions"] = json!({"maxMemoryMb": mb});
    assert!(findings("(core module (memory 4096))", asking(256)).is_empty());
    assert_eq!(findings("(core module (memory 4096))", asking(255)), ["SA008 error"]);
    // No manifest gets more than the sandbox has.
    assert_eq!(findings("(core module (memory 5000))", asking(512)), ["SA008 error"]);
    assert_eq!(
        findings("(core module (memory 600))", |m| m["sandbox"] = json!({"preset": "restricted"})),
        ["SA008 error"]
    );
    assert_eq!(findings("(core module (table 20001 funcref))", |_| ()), ["SA008 error"]);
    assert!(findings("(core module (table 20000 funcref))", |_| ()).is_empty());
}

#[test]
fn wishes_that_deserve_a_look_are_found() {
    let http = r#"(import "sophon:skill/http@1.0.0" (instance))"#;
    let check = |network: Value, expected: &[&str]| {
        assert_eq!(findings(http, |m| m["permissions"] = json!({"network": network})), expected, "{network}");
    };
    check(json!(["api.example.com"]), &[]);
    check(json!(["*.example.com"]), &["SA011 warning"]);
    check(json!([{"host": "api.example.com", "schemes": ["http"]}]), &["SA011 warning"]);
    check(json!(["192.168.1.1"]), &["SA011 warning"]);
    check(json!(["nas.local"]), &["SA011 warning"]);
    check(json!([]), &["SA011 note"]);
    check(json!(true), &["SA011 note"]);
    assert_eq!(findings("", |m| m["permissions"] = json!({"network": ["api.example.com"]})), ["SA012 note"]);
    assert_eq!(findings("", |m| m["permissions"] = json!({"filesystem": "workspace"})), ["SA012 note"]);
    assert_eq!(findings("", |m| m["credentials"] = json!([{"service": "github"}])), ["SA012 note"]);
    assert_eq!(findings("", |m| m["homepage"] = json!("x")), ["SA010 warning"]);
}

#[test]
fn a_report_is_readable_and_reads_back() {
    let report = of_text(r#"(component (import "evil:x/y@1.0.0" (instance)))"#);
    assert_eq!(report.verdict, Verdict::Reject);
    assert!(report.findings.is_sorted_by(|a, b| a.severity >= b.severity));
    assert!(
        report
            .to_string()
            .contains("error SA003: import \"evil:x/y@1.0.0\": this host does not offer the interface\n  hint: ")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verdict"], "reject");
    assert_eq!(json["imports"], json!(["evil:x/y@1.0.0"]));
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
        let bytes = [b"\0asm\x0d\0\x01\0".as_slice(), &tail].concat();
        let report = analyse(&bytes, &parsed(&manifest()));
        prop_assert_eq!(report.verdict, Verdict::Reject);
    }

    #[test]
    fn a_damaged_component_never_panics(at: usize, byte: u8) {
        let mut bytes = component(r#"(import "sophon:skill/log@1.0.0" (instance))"#);
        let at = at % bytes.len();
        bytes[at] = byte;
        // Any verdict but a panic; what is admitted still exports the tools interface.
        let report = analyse(&bytes, &parsed(&manifest()));
        prop_assert!(report.verdict == Verdict::Reject || !report.findings.iter().any(|f| f.rule == "SA005"));
    }
}
