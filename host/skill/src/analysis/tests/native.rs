//! Skills of other runtimes: what the analysis says of their sources.

use super::*;
use crate::package::Package;
use sophon_types::Digest;
use std::collections::BTreeMap;

/// A skill of the public contract with that source and the network.
fn skill(source: &str) -> Package {
    package(source, |_| ())
}

fn package(source: &str, edit: impl FnOnce(&mut Value)) -> Package {
    Package::read(crate::pack(&native_files(source, edit)).unwrap()).unwrap()
}

fn native_files(source: &str, edit: impl FnOnce(&mut Value)) -> BTreeMap<String, Vec<u8>> {
    let mut manifest = json!({
        "name": "tickets", "version": "1.0.0", "author": "Ann", "license": "MIT", "description": "Tickets.",
        "category": "integration", "runtime": "sandbox", "language": "python", "entrypoint": "main.py",
        "tools": [{"name": "tickets.search", "description": "Search.", "riskLevel": "none",
                   "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}],
        "sandbox": {"network": true, "timeoutSeconds": 30, "maxMemoryMb": 256},
    });
    edit(&mut manifest);
    BTreeMap::from([
        ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
        ("main.py".to_owned(), source.as_bytes().to_vec()),
    ])
}

/// Findings about the source, as `rule severity line`.
fn check(source: &str, expected: &[&str]) {
    let report = skill(source).analyse();
    let line = |place: &str| place.rsplit_once("line ").map_or(String::new(), |(_, line)| format!(" {line}"));
    let found: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.rule.as_str() >= "SA023")
        .map(|finding| format!("{} {}{}", finding.rule, finding.severity, line(&finding.place)))
        .collect();
    assert_eq!(found, expected, "{source}\n{report}");
}

#[test]
fn a_public_skill_is_admitted_as_it_is() {
    let source = r#"
"""A skill as they are published. See https://docs.example.net."""
import json
import urllib.request
import urllib.error
import urllib.parse
import socket

BASE = "https://api.tickets.net/v2"

def call(path, token):
    request = urllib.request.Request(f"{BASE}{path}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read().decode("utf-8"))
    except urllib.error.HTTPError as error:
        return {"error": f"HTTP {error.code}: {error.read().decode('utf-8')[:500]}"}
    except (urllib.error.URLError, socket.timeout) as error:
        return {"error": str(error)}

if params.get("tool") == "tickets.search":
    print(json.dumps(call("/search?q=" + urllib.parse.quote(params.get("q", "")), params["token"])))
else:
    print(json.dumps({"error": "unknown tool"}))
"#;
    let report = skill(source).analyse();
    assert_eq!(report.verdict, Verdict::Admit, "{report}");
    assert_eq!(listed(&report), ["SA011 note", "SA031 note"], "{report}");
    let hosts: Vec<_> = report.hosts.iter().filter_map(Wish::grant).collect();
    assert_eq!(hosts, ["api.tickets.net"]);
}

#[test]
fn dynamic_code_is_found_under_any_name() {
    check("exec(params['code'])", &["SA024 warning 1"]);
    check("f = eval\nf('1')", &["SA024 warning 1"]);
    check("ｅｘｅｃ('1')", &["SA024 warning 1"]);
    check("x = f'{exec(\"1\")}'", &["SA024 warning 1"]);
    check("import builtins as b\nb.exec('1')", &["SA024 warning 2"]);
    check("import importlib\nimportlib.import_module(params['m'])", &["SA024 warning 2"]);
    check("import importlib\nimportlib.import_module('json')", &[]);
    check("__import__('os')", &["SA024 warning 1"]);
    check("x = ().__class__.__bases__[0].__subclasses__()", &["SA024 warning 1", "SA024 warning 1"]);
    check("globals()['ex' + 'ec']('1')", &["SA024 warning 1"]);
    check("import re\nre.compile('a')", &[]);
    check("code = params.get('code')\nprint(code.upper())", &[]);
}

#[test]
fn code_that_was_hidden_is_refused() {
    check("import base64\nexec(base64.b64decode(params['x']))", &["SA024 error 2"]);
    check("import zlib\nc = zlib.decompress(d)\nexec(c)", &["SA024 error 3"]);
    check("import urllib.request as u\neval(u.urlopen(params['url']).read())", &["SA024 error 2"]);
    assert_eq!(skill("import codecs\nexec(codecs.decode('x', 'rot13'))").analyse().verdict, Verdict::Reject);
}

/// No file keeps the analysis busy for longer than reading it takes.
#[test]
fn attack_22_a_source_is_read_in_the_time_its_length_takes() {
    let calls = "exec(a)\n".repeat(100_000);
    let assigned = "a = 1\n".repeat(50_000) + &"exec(a)\n".repeat(50_000);
    let foreign = "import x\n".repeat(50_000) + &"code.y\n".repeat(50_000) + &"socket.y\n".repeat(50_000);
    let chained = "a=".repeat(100_000) + "b\nexec(a)\n";
    let arguments = format!("f({})\nexec(a)\n", "a=1,".repeat(100_000));
    let nested = "exec(".repeat(190) + &"x,".repeat(100_000) + &")".repeat(190);
    let (send, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for source in [calls, assigned, foreign, chained, arguments, nested] {
            let report = skill(&source).analyse();
            send.send(report.verdict).unwrap();
        }
    });
    for expected in [Verdict::Review; 2].into_iter().chain([Verdict::Admit]).chain([Verdict::Review; 3]) {
        let verdict = done.recv_timeout(super::PATIENCE).expect("it goes on for ever");
        assert!(verdict >= expected, "{verdict}");
    }
    // A short name may stand for a long one, many times over.
    let long = (0..12).map(|_| "n".repeat(990)).collect::<Vec<_>>().join(".");
    check(&format!("from {long} import {}\n", "a,".repeat(100_000)), &["SA023 error 1"]);
    check(&format!("import {long} as a\n{}", "a\n".repeat(100_000)), &["SA023 error 1"]);
    check(&format!("{} = 1\n", "n".repeat(1001)), &["SA023 error 1"]);
    let nested = "f(".repeat(201) + &")".repeat(201);
    check(&nested, &["SA023 error 1"]);
    check(&("f(\n".repeat(200) + &")\n".repeat(200)), &[]);
    let mut sources = native_files("pass\n", |_| ());
    for n in 0..9 {
        sources.insert(format!("m{n}.py"), format!("# {}\n", "x".repeat(997)).repeat((2 << 20) / 1000).into_bytes());
    }
    let report = Package::read(crate::pack(&sources).unwrap()).unwrap().analyse();
    assert!(report.to_string().contains("more than 16 MiB"), "{report:.2000}");
}

#[test]
fn processes_sockets_and_what_lies_below_are_found() {
    check("import subprocess\nsubprocess.run(['id'])", &["SA025 warning 2"]);
    check("from os import system as s\ns('id')", &["SA025 warning 2"]);
    check("import os\nos.execv('/bin/sh', [])", &["SA025 warning 2"]);
    check("import os\nos.path.join('a', 'b')", &[]);
    check("from subprocess import *\nrun(['id'])", &["SA025 warning 1"]);
    check("import socket\ns = socket.create_connection(('a', 1))", &["SA026 warning 2"]);
    check("import imaplib\nimaplib.IMAP4_SSL('h')", &["SA026 warning 2"]);
    check("import pg8000.native\npg8000.native.Connection('u')", &["SA026 warning 2"]);
    check("import ctypes\nctypes.CDLL(None)", &["SA028 warning 2"]);
    check("open('/proc/self/environ')", &["SA028 warning 1"]);
    check("import os\nprint(dict(os.environ))", &["SA028 warning 2"]);
    check("import os\nos.environ['TZ']", &[]);
}

#[test]
fn weakened_tls_is_found() {
    check("import ssl\nc = ssl._create_unverified_context()", &["SA029 warning 2"]);
    check(
        "import ssl\nc.check_hostname = False\nc.verify_mode = ssl.CERT_NONE",
        &["SA029 warning 3", "SA029 warning 2"],
    );
}

#[test]
fn obfuscation_is_found() {
    check(r"x = '\x69\x6d\x70\x6f\x72\x74\x20\x6f\x73\x3b\x70\x72\x69\x6e\x74'", &["SA027 warning 1"]);
    check("x = 'aW1wb3J0IG9zOyBvcy5zeXN0ZW0oJ2lkJyk='", &["SA027 warning 1"]);
    check("getattr(m, 'sys' + 'tem')()", &["SA027 warning 1"]);
    check("getattr(m, params['name'])", &[]);
    check("x = bytes([105,109,112,111,114,116,32,111,115,59,112,114,105,110,116,40,49,41])", &["SA027 warning 1"]);
    check("OOO00 = 1\nOO0O0 = OOO00\nO0O0O = OO0O0\nOOOO0 = 1", &["SA027 warning 1"]);
    check("x = '\\n\\t\\u2026 and so on'", &[]);
}

#[test]
fn a_source_reads_the_same_to_everybody() {
    check("# coding: rot13\nprint(1)", &["SA023 error 1"]);
    check("x = 'open", &["SA023 error 1"]);
    check("x = 'a\u{202e}b'", &["SA023 error 1"]);
    let compiled = BTreeMap::from([
        ("manifest.json".to_owned(), skill("print(1)").archive().file("manifest.json").unwrap().to_vec()),
        ("main.py".to_owned(), b"print(1)".to_vec()),
        ("json.pyc".to_owned(), b"\xcb\r\r\n".to_vec()),
    ]);
    let report = Package::read(crate::pack(&compiled).unwrap()).unwrap().analyse();
    assert_eq!(listed(&report), ["SA023 error", "SA011 note"], "{report}");
}

#[test]
fn requirements_are_pinned() {
    let with = |requirement: &str| {
        let package = package("print(1)", |manifest| manifest["requirements"] = json!([requirement]));
        package.analyse().findings.iter().find(|finding| finding.rule == "SA030").map(|finding| finding.severity)
    };
    assert_eq!(with(&format!("pg8000==1.31.2 --hash={}", Digest::of(b"wheel"))), None);
    assert_eq!(with("pg8000==1.31.2"), Some(Severity::Warning));
    assert_eq!(with("requests>=2"), Some(Severity::Warning));
    assert_eq!(with("git+https://github.com/a/b"), Some(Severity::Error));
}

#[test]
fn hosts_are_compared_with_what_the_manifest_says() {
    let source = "A = 'https://api.tickets.net'\nB = f'https://{s}.tickets.org/x'\n";
    let rule = |edit: fn(&mut Value)| {
        let report = package(source, edit).analyse();
        let hosts = report.findings.iter().filter(|finding| finding.rule == "SA031");
        hosts.map(|finding| format!("{} {}", finding.severity, finding.place)).collect::<Vec<_>>()
    };
    assert_eq!(rule(|_| ()), ["note main.py, line 1", "note main.py, line 2"]);
    assert_eq!(
        rule(|manifest| manifest["permissions"] = json!({"network": ["api.tickets.net"]})),
        ["warning main.py, line 2"]
    );
    assert_eq!(rule(|manifest| manifest["sandbox"]["network"] = json!(false)).len(), 2);
    let report = package(source, |_| ()).analyse();
    let shown: Vec<_> = report.hosts.iter().map(|wish| wish.host.to_string()).collect();
    assert_eq!(shown, ["api.tickets.net", "*.tickets.org"]);
    assert_eq!(report.hosts.iter().filter_map(Wish::grant).collect::<Vec<_>>(), ["api.tickets.net"]);
}

#[test]
fn a_runtime_that_is_not_analysed_says_so() {
    let report = package("print(1)", |manifest| {
        manifest["runtime"] = json!("csharp");
    })
    .analyse();
    assert_eq!(listed(&report), ["SA002 warning", "SA011 note"], "{report}");
}

#[test]
fn the_hosts_of_assemblies_are_read_and_assemblies_are_no_surprise() {
    // As much of an assembly as is looked at: the headers of a PE file with a directory of .NET, and literals.
    let mut assembly = vec![0; 0x200];
    assembly[..2].copy_from_slice(b"MZ");
    assembly[0x3c] = 0x80;
    assembly[0x80..0x84].copy_from_slice(b"PE\0\0");
    assembly[0x98..0x9a].copy_from_slice(&0x10b_u16.to_le_bytes());
    assembly[0x98 + 96 + 14 * 8] = 0x20;
    for text in ["https://api.tickets.net/v2/", "https://{0}.tickets.org"] {
        assembly.push(u8::try_from(text.len() * 2 + 1).unwrap());
        assembly.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        assembly.push(0);
    }
    let with = |assembly: &[u8], beside: &str| {
        let package = skill("");
        let mut manifest: Value = serde_json::from_slice(package.archive().file("manifest.json").unwrap()).unwrap();
        manifest["runtime"] = json!("csharp");
        manifest["entrypoint"] = json!("Tickets.dll");
        let files = BTreeMap::from([
            ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
            ("Tickets.dll".to_owned(), assembly.to_vec()),
            (beside.to_owned(), assembly.to_vec()),
        ]);
        Package::read(crate::pack(&files).unwrap()).unwrap().analyse()
    };
    let report = with(&assembly, "Library.dll");
    assert_eq!(listed(&report), ["SA002 warning", "SA011 note", "SA031 note", "SA031 note"], "{report}");
    let shown: Vec<_> = report.hosts.iter().map(|wish| wish.host.to_string()).collect();
    assert_eq!(shown, ["api.tickets.net", "*.tickets.org"]);
    assert!(report.hosts[0].place.starts_with("file \"Tickets.dll\", byte 0x201"), "{report}");
    assembly[0x98 + 96 + 14 * 8] = 0;
    let native = with(&assembly, "fast.exe");
    assert!(listed(&native).contains(&"SA016 warning".to_owned()), "what is no assembly is still found: {native}");
}

proptest! {
    #[test]
    fn whatever_a_source_holds_the_analysis_ends(source in "\\PC{0,200}|([a-z_.]{1,8}[ (='\"\n\\\\]){0,30}") {
        let report = skill(&source).analyse();
        for finding in &report.findings {
            let rule = RULES.iter().find(|rule| rule.id == finding.rule);
            prop_assert!(rule.is_some_and(|rule| finding.severity <= rule.severity), "{finding}");
        }
    }
}
