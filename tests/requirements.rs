//! What Python skills require beside themselves: fetched from an index when they are installed, never later, and only what was
//! locked. The index is a server on loopback that speaks the simple API over TLS.

use crate::harness::{Cli, Gateway, Home, Signed, Upstream};
use crate::public_skills::engine;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};
use sophon_tests::Seen;
use sophon_types::Digest;
use std::collections::BTreeMap;
use std::path::Path;

/// A wheel with one module.
fn wheel(name: &str, source: &str) -> Vec<u8> {
    let files = [
        (format!("{name}/__init__.py"), source.as_bytes().to_vec()),
        (format!("{name}/data.txt"), b"data beside it".to_vec()),
        (format!("{name}-1.0.dist-info/WHEEL"), b"Wheel-Version: 1.0\nTag: py3-none-any\n".to_vec()),
        (format!("{name}-1.0.dist-info/METADATA"), format!("Name: {name}\nVersion: 1.0\n").into_bytes()),
    ];
    sophon_skill::pack(&files.into()).expect("a zip file")
}

const GREETING: &str = "import pathlib\ndef hello(name):\n    return f'hello {name}, ' + \
                        pathlib.Path(__file__).with_name('data.txt').read_text()\n";

/// How an index lists its files.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Html,
}

/// An index with these files, each of which it says these bytes' digest of.
fn index(form: Form, files: &[(&str, Vec<u8>)]) -> Upstream {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    Upstream::with(move |seen| answer(form, &files, seen))
}

fn answer(form: Form, files: &BTreeMap<String, Vec<u8>>, seen: &Seen) -> Response<Bytes> {
    let plain = |status, media: &'static str, body: Bytes| {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media));
        response
    };
    if let Some(bytes) = seen.target.strip_prefix("/files/").and_then(|name| files.get(name)) {
        return plain(StatusCode::OK, "application/octet-stream", bytes.clone().into());
    }
    let project = seen.target.strip_prefix("/simple/").and_then(|rest| rest.strip_suffix('/')).unwrap_or_default();
    let own: Vec<_> =
        files.iter().filter(|(name, _)| name.replace('_', "-").starts_with(&format!("{project}-"))).collect();
    if own.is_empty() {
        return plain(StatusCode::NOT_FOUND, "text/plain", Bytes::new());
    }
    match form {
        Form::Json => {
            let list: Vec<Value> = own
                .iter()
                .map(|(name, bytes)| {
                    json!({"filename": name, "url": format!("/files/{name}"),
                           "hashes": {"sha256": Digest::of(bytes).to_hex()}})
                })
                .collect();
            let body = json!({"meta": {"api-version": "1.0"}, "name": project, "files": list}).to_string();
            plain(StatusCode::OK, "application/vnd.pypi.simple.v1+json", body.into())
        }
        Form::Html => {
            let links: String = own
                .iter()
                .map(|(name, bytes)| {
                    format!("<a href=\"../../files/{name}#sha256={}\">{name}</a><br>\n", Digest::of(bytes).to_hex())
                })
                .collect();
            plain(StatusCode::OK, "text/html", format!("<!DOCTYPE html><html><body>{links}</body></html>").into())
        }
    }
}

/// A skill with that source and those requirements.
fn skill(source: &str, requirements: &[String]) -> Signed {
    let manifest = json!({
        "name": "greeter", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "Greets.",
        "category": "utility", "runtime": "python", "entrypoint": "main.py", "requirements": requirements,
        "tools": [{"name": "greet", "description": "Greet.", "riskLevel": "none",
                   "parameters": {"type": "object", "properties": {"name": {"type": "string"}}}}],
    });
    let files = [("manifest.json", manifest.to_string()), ("main.py", source.to_owned())];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    Signed { package: sophon_skill::pack(&files).expect("an archive"), envelope: None }
}

const USES: &str = "import json, greeting\nprint(json.dumps({'said': greeting.hello(params['name'])}))\n";

fn locked(name: &str, bytes: &[u8]) -> String {
    format!("{name}==1.0 --hash={}", Digest::of(bytes))
}

fn home(index: &Upstream, more: &str) -> Home {
    Home::configured(&format!("[containers]\npython_index = \"{}\"\n{more}", index.url("/simple")))
}

/// Every file that lies in the home because something is required.
fn left(home: &Home) -> usize {
    fn files(folder: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
        let count = |entry: std::fs::DirEntry| if entry.path().is_dir() { files(&entry.path()) } else { 1 };
        entries.flatten().map(count).sum()
    }
    files(&home.path().join("blobs/wheels")) + files(&home.path().join("run/requirements"))
}

#[test]
fn a_skill_uses_what_it_requires_and_nothing_is_fetched_when_it_is_called() {
    let Some(engine) = engine() else { return };
    for form in [Form::Json, Form::Html] {
        let bytes = wheel("greeting", GREETING);
        let index = index(form, &[("greeting-1.0-py3-none-any.whl", bytes.clone())]);
        let home = home(&index, &format!("engine = {engine:?}\nwarm = 1\n"));
        let mut gateway = Gateway::start(&home);
        let agent = gateway.agent();
        let probing = "import json, os, greeting\n\
                       def write():\n    try:\n        open('/requirements/x', 'w')\n    except OSError as error:\n        return error.strerror\n\
                       mount = next(line.split()[3] for line in open('/proc/mounts') if ' /requirements ' in line)\n\
                       print(json.dumps({'mount': mount.split(',')[0], 'said': greeting.hello(params['name']), 'write': write(), 'there': sorted(os.listdir('/requirements'))}))\n";
        let package = skill(probing, &[locked("Greeting", &bytes)]);
        let installed = gateway.install(&package, json!({"dangerously_allow_unsigned": true})).expect(201);
        assert_eq!(installed["requirements"], json!(["Greeting==1.0"]));
        let asked: Vec<String> = index.seen().iter().map(|seen| seen.target.clone()).collect();
        assert_eq!(asked, ["/simple/greeting/", "/files/greeting-1.0-py3-none-any.whl"]);
        let records = gateway.audit("action=skill.requirements");
        let outcomes: Vec<&str> = records.iter().filter_map(|record| record["outcome"].as_str()).collect();
        assert_eq!(outcomes, ["intent", "ok"], "{records:?}");
        assert_eq!(records[1]["detail"]["wheels"], json!([Digest::of(&bytes).to_string()]), "{records:?}");
        let content = gateway.content(&agent, "greeter.greet", json!({"name": "Ann"}));
        for part in [
            "hello Ann, data beside it",
            "greeting-1.0.dist-info",
            "\"mount\":\"ro\"",
            "\"write\":\"Permission denied\"",
        ] {
            assert!(content.contains(part), "{part}: {content}");
        }
        // Not at call time, not after a restart, and not where the index is gone.
        let admin = gateway.admin_key().clone();
        assert!(gateway.stop().success());
        drop(index);
        let gateway = Gateway::again(&home, &admin);
        let content = gateway.content(&agent, "greeter.greet", json!({"name": "Bob"}));
        assert!(content.contains("hello Bob"), "{content}");
        // Another skill does not see it.
        let other = skill("import os\nprint(int(os.path.exists('/requirements')))\n", &[]);
        let other = Signed { package: renamed(&other.package), ..other };
        gateway.install(&other, json!({"dangerously_allow_unsigned": true})).expect(201);
        assert_eq!(gateway.value(&agent, "stranger.greet", json!({})), json!(0));
        assert!(left(&home) > 0);
        gateway.admin("DELETE", "/v1/skills/greeter", None).expect(204);
        for _ in 0..100 {
            if left(&home) == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert_eq!(left(&home), 0, "what nothing requires any more is gone");
    }
}

/// The same package under the name `stranger`.
fn renamed(package: &[u8]) -> Vec<u8> {
    let package = sophon_skill::Package::read(package.to_vec()).expect("a package");
    let manifest = package.manifest().document().as_str().replace("greeter", "stranger");
    let files =
        [("manifest.json".to_owned(), manifest.into_bytes()), ("main.py".to_owned(), package.entrypoint().to_vec())];
    sophon_skill::pack(&files.into()).expect("an archive")
}

#[test]
fn what_cannot_be_installed_is_refused_each_with_its_reason_and_nothing_is_left() {
    let bytes = wheel("greeting", GREETING);
    let noise: String = (0_u32..70_000).map(|n| format!("# {}\n", Digest::of(&n.to_be_bytes()).to_hex())).collect();
    let large = wheel("large", &noise[..3 << 19]);
    let not_its_own = wheel("other", "x = 1\n");
    let index = index(
        Form::Json,
        &[
            ("greeting-1.0-py3-none-any.whl", bytes.clone()),
            ("source-1.0.tar.gz", b"not looked at".to_vec()),
            ("large-1.0-py3-none-any.whl", large.clone()),
            ("odd-1.0-py3-none-any.whl", b"no zip".to_vec()),
            ("named-1.0-py3-none-any.whl", not_its_own.clone()),
            ("later-1.0-cp312-cp312-win_amd64.whl", b"x".to_vec()),
        ],
    );
    let home = home(&index, "requirements_mb = 1\n");
    let gateway = Gateway::start(&home);
    let fine = locked("greeting", &bytes);
    for (requirements, code, hint) in [
        (vec!["greeting".to_owned()], "requirement_not_pinned", "NAME==VERSION --hash"),
        (vec!["greeting>=1.0".to_owned()], "requirement_not_pinned", "NAME==VERSION --hash"),
        (vec!["greeting==1.0".to_owned()], "requirement_not_hashed", "--generate-hashes"),
        (vec![fine.clone(), fine.clone()], "requirement_twice", "one of the two"),
        (vec![locked("greeting", b"another file")], "requirement_other_digest", "before it is known why"),
        (vec![locked("nowhere", b"x")], "requirement_not_found", "python_index"),
        (vec![fine.clone(), locked("source", b"not looked at")], "requirement_only_source", "has a wheel"),
        (vec![locked("later", b"x")], "requirement_unfit", "py3-none-any"),
        (vec![fine.clone(), locked("large", &large)], "requirements_too_large", "requirements_mb"),
        (vec![fine.clone(), locked("odd", b"no zip")], "requirement_bad_wheel", "another version"),
        (vec![locked("named", &not_its_own)], "requirement_bad_wheel", "another version"),
    ] {
        let answer = gateway.install(&skill(USES, &requirements), json!({"dangerously_allow_unsigned": true}));
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{requirements:?}: {problem}");
        assert!(problem["hint"].as_str().is_some_and(|text| text.contains(hint)), "{problem}");
        assert_eq!(left(&home), 0, "{requirements:?}");
    }
    assert_eq!(gateway.admin("GET", "/v1/skills", None).expect(200)["skills"], json!([]));
    let failed = gateway.audit("action=skill.requirements");
    assert!(failed.iter().any(|record| record["code"] == "requirement_other_digest"), "{failed:?}");
}

#[test]
fn an_index_that_lies_leads_astray_or_does_not_answer_gives_nothing() {
    let bytes = wheel("greeting", GREETING);
    let said = Digest::of(&bytes).to_hex();
    let list = move |url: String| {
        let body =
            json!({"files": [{"filename": "greeting-1.0-py3-none-any.whl", "url": url, "hashes": {"sha256": said}}]});
        let mut response = Response::new(Bytes::from(body.to_string()));
        let media = http::HeaderValue::from_static("application/vnd.pypi.simple.v1+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        response
    };
    let attempt = |index: &Upstream| {
        let home = home(index, "");
        let gateway = Gateway::start(&home);
        let package = skill(USES, &[locked("greeting", &wheel("greeting", GREETING))]);
        let problem = gateway.install(&package, json!({"dangerously_allow_unsigned": true})).json();
        assert_eq!(left(&home), 0);
        (problem["code"].as_str().unwrap_or_default().to_owned(), problem)
    };
    // It says the digest of the lock, and gives something else.
    let lists = list.clone();
    let lying = Upstream::with(move |seen| match seen.target.as_str() {
        "/simple/greeting/" => lists("/files/a.whl".into()),
        _ => Response::new(Bytes::from_static(b"something else")),
    });
    assert_eq!(attempt(&lying).0, "requirement_other_digest");
    // It names a file on a host that nobody has said it may, and sends there.
    let elsewhere = Upstream::plain();
    let (lists, to) = (list.clone(), elsewhere.url("/a.whl"));
    let naming = Upstream::with(move |_| lists(to.clone()));
    let (code, problem) = attempt(&naming);
    assert_eq!(code, "index_refused", "{problem}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("python_index_files")), "{problem}");
    let to = elsewhere.url("/simple/greeting/");
    let sending = Upstream::with(move |_| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(header::LOCATION, to.parse().expect("a value"));
        response
    });
    assert_eq!(attempt(&sending).0, "index_refused");
    assert!(elsewhere.seen().is_empty(), "nothing was sent there");
    let broken = Upstream::with(|_| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    });
    assert_eq!(attempt(&broken).0, "index_unreachable");
    let odd = Upstream::with(|_| Response::new(Bytes::from_static(b"hello")));
    assert_eq!(attempt(&odd).0, "index_listing_unreadable");
    // Nobody listens there.
    let gone = Upstream::plain();
    let home = home(&gone, "");
    drop(gone);
    let gateway = Gateway::start(&home);
    let package = skill(USES, &[locked("greeting", &bytes)]);
    let problem = gateway.install(&package, json!({"dangerously_allow_unsigned": true})).json();
    assert_eq!(problem["code"], "index_unreachable", "{problem}");
}

#[test]
fn an_index_that_is_none_is_refused_when_the_host_starts() {
    for (key, value) in [("python_index", "\"http://index.example/simple\""), ("python_index_files", "[\"https://x\"]")]
    {
        let home = Home::configured(&format!("[containers]\n{key} = {value}\n"));
        let refused = Cli::new(&home, ["list", "--json"]).run();
        assert!(format!("{refused:?}").contains("python_index"), "{key}");
    }
}
