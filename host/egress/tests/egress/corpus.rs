//! The `ssrf` corpus: every row's verdict, with proof of what was and was not dialled.

use crate::server::{Seen, answer};
use crate::world::{PUBLIC, World, manifest, tight};
use serde_json::Value;
use sophon_corpora::{Figure, rows};
use sophon_egress::{AddressClass, HttpError, HttpRequest, HttpResponse};
use sophon_skill::Manifest;
use std::net::IpAddr;

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// Path and query that the WHATWG parser of the corpus gives.
fn canonical_path(row: &Value) -> Option<String> {
    Some(row["whatwg_node"]["pathname"].as_str()?.to_owned())
}

fn is_refusal(outcome: &Result<HttpResponse, HttpError>) -> bool {
    match outcome {
        Err(error) => error.denial().is_some() || matches!(error, HttpError::InvalidRequest(_)),
        Ok(_) => false,
    }
}

struct Tally {
    figure: Figure,
    wrong: Vec<String>,
}

impl Tally {
    fn new(what: &'static str) -> Self {
        Self { figure: Figure::new("ssrf", what), wrong: Vec::new() }
    }

    fn check(&mut self, row: &Value, right: bool, found: impl std::fmt::Debug) {
        self.figure.count(&format!("{}, {}", text(row, "cls"), text(row, "expect")), right);
        if !right {
            self.wrong.push(format!("{} {:?} expected {}: {found:?}", row["id"], text(row, "url"), row["expect"]));
        }
    }

    fn finish(self) {
        self.figure.publish();
        assert!(self.wrong.is_empty(), "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

/// The classes of the corpus, by the test that has them.
const URLS: [&str; 6] = ["metadata", "protocol", "confusion", "whatwg", "legit", "path_scope"];
const REDIRECTS: [&str; 2] = ["redirect", "redirect_location"];
const NAMES: &str = "dns";
const ADDRESSES: &str = "ip_class";

#[test]
fn every_class_of_the_ssrf_corpus_has_its_test() {
    let Some(rows) = rows::<Value>("ssrf") else { return };
    for row in &rows {
        let cls = text(row, "cls");
        assert!(URLS.contains(&cls) || REDIRECTS.contains(&cls) || [NAMES, ADDRESSES].contains(&cls), "{row}");
    }
}

/// That nothing was asked and nothing dialled says something only because the counters of this world move.
async fn counters_move(world: &World, rules: &Manifest) {
    world.forget();
    world.get(rules, "https://api.example.com/").await.unwrap();
    assert_eq!((world.asked(), world.dialled().len(), world.cables.log.len()), (1, 1, 1));
    world.forget();
    assert_eq!((world.asked(), world.dialled().len(), world.cables.log.len()), (0, 0, 0));
}

#[tokio::test]
async fn attack_07_url_confusion_payloads_and_metadata_send_not_one_packet() {
    let world = World::new(tight()).await;
    let open = manifest(r#"["api.example.com"]"#);
    counters_move(&world, &open).await;
    let Some(rows) = rows::<Value>("ssrf") else { return };
    let mut tally = Tally::new("right verdict, nothing else sent");
    for row in rows {
        let cls = text(&row, "cls");
        let scoped = text(&row, "scenario").strip_prefix("allowlist https://api.example.com");
        let rules = match (cls, scoped) {
            ("path_scope", Some(path)) => manifest(&format!(r#"[{{"host":"api.example.com","paths":["{path}"]}}]"#)),
            (cls, _) if URLS.contains(&cls) => open.clone(),
            _ => continue,
        };
        let url = text(&row, "url");
        let mut attempts = vec![url.to_owned()];
        // A reference that needs a base is tried as it stands, and as what it resolves to.
        if let Some(joined) = row["base"].as_str().and_then(|base| url::Url::parse(base).ok()?.join(url).ok()) {
            attempts.push(joined.to_string());
        }
        for url in attempts {
            world.forget();
            let outcome = world.get(&rules, &url).await;
            let silent = world.dialled().is_empty() && world.asked() == 0;
            let sent = world.cables.log.all();
            let exact = sent.len() == 1
                && sent[0].tls
                && sent[0].header("host") == Some("api.example.com")
                && canonical_path(&row).is_none_or(|path| sent[0].target().split('?').next() == Some(path.as_str()))
                && world.dialled() == [format!("{PUBLIC}:443").parse().unwrap()];
            let right = match text(&row, "expect") {
                "allow" => outcome.is_ok() && exact,
                "deny-or-canonical" => (is_refusal(&outcome) && silent) || (outcome.is_ok() && exact),
                _ => is_refusal(&outcome) && silent,
            };
            tally.check(&row, right, (&outcome, world.dialled(), sent));
        }
    }
    tally.finish();
}

#[tokio::test]
async fn attack_08_and_10_a_redirect_is_checked_like_a_request() {
    let world = World::new(tight()).await;
    let rules = manifest(r#"["api.example.com"]"#);
    let Some(rows) = rows::<Value>("ssrf") else { return };
    let mut tally = Tally::new("right verdict at every hop");
    for row in rows {
        let chain: Vec<String> = match text(&row, "cls") {
            cls if !REDIRECTS.contains(&cls) => continue,
            "redirect_location" => vec![format!("302 {}", text(&row, "url"))],
            _ => row["chain"].as_array().unwrap().iter().map(|hop| hop.as_str().unwrap().to_owned()).collect(),
        };
        let first = match text(&row, "cls") {
            "redirect" => text(&row, "url").replace(' ', "%20"),
            _ => "https://api.example.com/".to_owned(),
        };
        let hops = chain.clone();
        let answered = std::sync::atomic::AtomicUsize::new(0);
        world.script(move |_: &Seen| {
            let at = answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            match hops.get(at).and_then(|hop| hop.split_once(' ')) {
                Some((status, location)) => answer(status.parse().unwrap(), &[("Location", location)], b""),
                None => answer(200, &[], b"end"),
            }
        });
        world.forget();
        let outcome = world.get(&rules, &first).await;
        let sent = world.cables.log.all();
        let home = sent.iter().all(|seen| seen.tls && seen.header("host") == Some("api.example.com"))
            && world.dialled().iter().all(|address| *address == format!("{PUBLIC}:443").parse().unwrap())
            && (world.dialled().len(), world.asked()) == (sent.len(), sent.len());
        let right = match text(&row, "expect") {
            "allow" => {
                let path = canonical_path(&row);
                outcome.is_ok()
                    && sent.len() == chain.len() + 1
                    && path.is_none_or(|path| sent[chain.len()].target().split('?').next() == Some(path.as_str()))
            }
            _ => outcome.as_ref().is_err_and(|error| error.denial().is_some()) && sent.len() == chain.len(),
        };
        tally.check(&row, right && home, (&outcome, &sent));
    }
    tally.finish();
}

#[tokio::test]
async fn attack_11_answers_of_the_resolver_are_checked_and_pinned() {
    let Some(rows) = rows::<Value>("ssrf") else { return };
    let mut tally = Tally::new("right verdict, the checked address dialled");
    let rules = manifest(r#"["api.example.com"]"#);
    for row in rows.iter().filter(|row| text(row, "cls") == NAMES) {
        let world = World::new(tight()).await;
        let answers: Vec<&str> = text(row, "why")
            .trim_start_matches("DNS answers:")
            .split([';', ',', ' '])
            .map(|word| word.trim().trim_start_matches("ipv4hint="))
            .filter(|word| word.parse::<IpAddr>().is_ok())
            .collect();
        let scenario = text(row, "scenario").trim_start_matches("dns:");
        let expect = text(row, "expect");
        match scenario {
            "host_own_public_ip" => world.own.add(format!("{PUBLIC}:443").parse().unwrap()),
            // Nobody asks for such a record; the address answers stay what they are.
            "svcb_https_rr" => {}
            "ttl0_flip" => world.names.set("api.example.com", &[&[PUBLIC], &["127.0.0.1"], &[PUBLIC], &["127.0.0.1"]]),
            _ if answers.is_empty() => {}
            _ => world.names.set("api.example.com", &[answers.as_slice()]),
        }
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            outcomes.push(world.get(&rules, text(row, "url")).await);
        }
        let pinned = world.dialled().iter().all(|address| address.to_string() == format!("{PUBLIC}:443"));
        let refused = outcomes.iter().all(is_refusal) && world.dialled().is_empty();
        let right = match expect {
            "allow" => outcomes.iter().all(Result::is_ok) && pinned,
            "deny" | "deny when configured" => refused,
            _ => pinned && outcomes.iter().all(|outcome| outcome.is_ok() || is_refusal(outcome)),
        };
        tally.check(row, right, (&outcomes, world.dialled()));
    }
    tally.finish();
}

#[tokio::test]
async fn attack_11_address_classes_follow_the_corpus() {
    let Some(rows) = rows::<Value>("ssrf") else { return };
    let mut tally = Tally::new("right class");
    for row in rows.iter().filter(|row| text(row, "cls") == ADDRESSES) {
        let (address, port) = text(row, "url").trim_start_matches("tcp://").split_once(" port ").unwrap();
        let ip: IpAddr = address.parse().unwrap();
        let target = std::net::SocketAddr::new(ip, port.parse().unwrap());
        let class = AddressClass::of(ip);
        let why = text(row, "why");
        let right = match (text(row, "expect"), why.contains("UserConfigured")) {
            ("allow", false) => class == AddressClass::Public,
            // What that proxy's operator lists, a person grants here; what it lists as denied is nobody's grant.
            (_, true) => {
                let world = World::new(tight()).await;
                let rules = manifest(r#"["api.example.com"]"#);
                let grant = target.to_string();
                let grants: &[&str] = if text(row, "expect") == "allow" { &[&grant] } else { &[] };
                let session = world.session(&rules, grants).await;
                let outcome = session.send(HttpRequest::new("GET", format!("https://{target}/"))).await;
                let reached = world.dialled() == [target];
                if text(row, "expect") == "allow" {
                    reached
                } else {
                    is_refusal(&outcome) && world.dialled().is_empty()
                }
            }
            _ => class != AddressClass::Public,
        };
        tally.check(row, right, class);
    }
    tally.finish();
}
