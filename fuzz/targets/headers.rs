//! Header fields, both ways, over the real client: what a skill sets frames nothing, names no host and meets no
//! credential; what a server says tells the skill no secret and nothing of the connection.
//!
//! The input: a line with method and path (`+` in front: with the credential), lines `name: value`, an empty line, and
//! what the server answers.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use sophon_egress::{HttpRequest, HttpResponse};
use sophon_fuzz::{Input, TOKEN, World, manifest_of};
use sophon_skill::{HostGrant, Manifest};
use std::cell::RefCell;
use std::net::IpAddr;

/// Fields of the connection or of the message's frame, and those that some servers take for the host or the method.
const HOST_ONLY: [&str; 17] = [
    "connection",
    "expect",
    "forwarded",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-http-method-override",
    "x-original-url",
    "x-rewrite-url",
];
const HOST: &str = "api.example.com";
const ANSWERS: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 216, 34))];
const BODY: &[u8] = b"{\"body\":1}";

struct Scene {
    world: World,
    manifest: Manifest,
    grants: Vec<HostGrant>,
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene {
        world: World::new(),
        manifest: manifest_of(&json!([
            {"host": HOST, "schemes": ["http"], "credential": "github"},
            {"host": "other.example.com", "schemes": ["http"]},
        ])).unwrap(),
        grants: vec![format!("http://{HOST}=github").parse().unwrap()],
    });
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let head_bytes = input.until(b"\n\n");
    let mut head = Input::new(head_bytes);
    let reply = input.rest();
    let (method, path) = head.text_line().split_once(' ').unwrap_or(("GET", "/"));
    let lent = method.starts_with('+');
    let mut request = HttpRequest::new(method.trim_start_matches('+'), format!("http://{HOST}{path}"));
    request.credential = lent.then(|| "github".to_owned());
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        request.body = Some(bytes::Bytes::from_static(BODY));
    }
    while !head.is_empty() {
        let mut line = Input::new(head.line());
        let name = String::from_utf8_lossy(line.until(b":")).into_owned();
        request.headers.push((name, line.rest().trim_ascii_start().to_vec()));
    }

    SCENE.with_borrow_mut(|scene| {
        scene.world.freshen();
        let session = scene.world.session(&scene.manifest, &scene.grants);
        let asked = request.clone();
        let (answer, heard) = scene.world.send(&session, request, &ANSWERS, reply);
        assert_eq!(heard.dialled.len(), heard.written.len());
        assert!(heard.dialled.iter().all(|address| address.ip() == ANSWERS[0] && address.port() == 80));
        let mut left = false;
        for written in heard.written.iter().filter(|written| !written.is_empty()) {
            let wire = Wire::read(written);
            left |= wire.one("host") != HOST;
            wire.check(&asked, lent && !left);
        }
        match answer {
            Ok(answer) => seen(&answer, lent),
            // What the skill wrote itself it may be told.
            Err(error) => assert!(!lent || !error.to_string().contains(TOKEN) || holds(head_bytes, TOKEN)),
        }
    });
});

/// A request as it stands on the wire, read by the letter of RFC 9112.
struct Wire<'a> {
    line: Vec<&'a str>,
    fields: Vec<(String, &'a [u8])>,
    body: &'a [u8],
}

impl<'a> Wire<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        let (head, body) = (&bytes[..end], &bytes[end + 4..]);
        let mut lines = Input::new(head);
        let line = std::str::from_utf8(lines.until(b"\r\n")).unwrap();
        assert!(line.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{line:?}");
        let mut fields = Vec::new();
        while !lines.is_empty() {
            let field = lines.until(b"\r\n");
            assert!(!field.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{:?}", field.escape_ascii().to_string());
            let colon = field.iter().position(|b| *b == b':').unwrap();
            let name = std::str::from_utf8(&field[..colon]).unwrap();
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            assert!(!name.is_empty() && name.bytes().all(token), "{name:?}");
            fields.push((name.to_ascii_lowercase(), field[colon + 1..].trim_ascii()));
        }
        Self { line: line.split(' ').collect(), fields, body }
    }

    fn all(&self, name: &str) -> Vec<&'a [u8]> {
        let plain = |field: &str| field.replace('_', "-");
        self.fields.iter().filter(|(field, _)| plain(field) == name).map(|(_, value)| *value).collect()
    }

    fn one(&self, name: &str) -> &'a str {
        let found = self.all(name);
        assert_eq!(found.len(), 1, "{name}");
        std::str::from_utf8(found[0]).unwrap()
    }

    fn check(&self, asked: &HttpRequest, lent: bool) {
        let [method, target, version] = self.line[..] else { panic!("{:?}", self.line) };
        assert!(version == "HTTP/1.1" && target.starts_with('/'), "{:?}", self.line);
        assert!(method == asked.method || method == "GET", "{method}");
        assert!(matches!(self.one("host"), HOST | "other.example.com"), "{}", self.one("host"));
        assert_eq!(self.one("accept-encoding"), "identity");
        for name in HOST_ONLY {
            assert!(self.all(name).is_empty(), "{name}");
        }
        let length = match self.all("content-length")[..] {
            [] => 0,
            [_] => self.one("content-length").parse().unwrap(),
            _ => panic!("two lengths"),
        };
        assert_eq!(self.body.len(), length);
        assert!(self.body.is_empty() || self.body == BODY);
        let holding = self.fields.iter().filter(|(_, value)| holds(value, TOKEN));
        if lent {
            assert_eq!(self.one("authorization"), format!("Bearer {TOKEN}"));
            assert_eq!(holding.count(), 1);
        } else if asked.credential.is_some() {
            assert_eq!(holding.count(), 0, "a credential went on to another origin, or came back with it");
        }
    }
}

fn seen(answer: &HttpResponse, lent: bool) {
    for (name, value) in &answer.headers {
        assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{name}");
        let connection =
            ["connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"];
        assert!(!connection.contains(&name.to_ascii_lowercase().as_str()), "{name}");
        if lent {
            assert!(!name.eq_ignore_ascii_case("set-cookie"));
            assert!(!holds(value, TOKEN), "{name}");
        }
    }
    assert!(!lent || !holds(&answer.body, TOKEN));
    assert!(!lent || !answer.url.contains(TOKEN));
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}
