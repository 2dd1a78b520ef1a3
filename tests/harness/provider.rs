//! The authorisation server of tests/oauth-server, as a process of its own, and the browser of somebody in a hurry.

use super::http::{Answer, Client};
use super::process::{command, root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

/// The server. Killed when it is dropped.
pub(crate) struct Provider {
    child: Child,
    client: Client,
}

impl Provider {
    /// The secret that its client `sophon-secret` has.
    pub(crate) const SECRET: &str = "the-clients-own-secret-of-the-tests-0123456789";

    #[track_caller]
    pub(crate) fn start() -> Self {
        let found = command(root().join("scripts/oauth-server")).output().expect("scripts/oauth-server starts");
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let folder = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let mut child = command("node")
            .arg(root().join("tests/oauth-server/server.mjs"))
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts; scripts/setup installs it");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        let port = told["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Self { child, client: Client { address: SocketAddr::from(([127, 0, 0, 1], port)) } }
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.client.address)
    }

    pub(crate) fn host(&self) -> String {
        self.client.address.to_string()
    }

    /// `[oauth.real]`, with more lines.
    pub(crate) fn section(&self, client: &str, more: &str) -> String {
        format!(
            "[oauth.real]\nissuer = \"{}\"\nclient_id = \"{client}\"\nhosts = [\"{}\"]\n\
             scopes = [\"openid\", \"offline_access\", \"repo.read\", \"repo.write\"]\n\
             parameters = {{ prompt = \"consent\" }}\n{more}\n",
            self.issuer(),
            self.host()
        )
    }

    /// How many tokens it gave for this grant type.
    pub(crate) fn given(&self, grant: &str) -> u64 {
        self.get("/control/asked").json()[grant].as_u64().unwrap_or(0)
    }

    /// How long the first token of an authorisation lasts from now on.
    pub(crate) fn first_life(&self, seconds: u32) {
        self.get(&format!("/control/first-life?seconds={seconds}")).expect(200);
    }

    /// What the resource says now to whoever shows the token that it saw last.
    pub(crate) fn again(&self) -> u16 {
        self.get("/control/again").status
    }

    /// What a person does on another device.
    pub(crate) fn approve(&self, user_code: &str) {
        self.get(&format!("/control/approve?user_code={user_code}")).expect(200);
    }

    fn get(&self, path: &str) -> Answer {
        self.client.send("GET", path, &[], None)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Opens `url` as a browser does, with cookies, and follows it until it leaves the server. Gives the address that it would
/// open next.
#[track_caller]
pub(crate) fn browse(url: &str) -> String {
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let (client, mut path) = target(url);
    for _ in 0..12 {
        let cookie = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let answer = client.send("GET", &path, &[("Cookie", &cookie), ("Accept", "text/html")], None);
        for (_, set) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            cookies.insert(name.to_owned(), value.to_owned());
        }
        let Some(location) = answer.header("location") else {
            panic!("{} at {path}: {}", answer.status, answer.text());
        };
        if location.starts_with('/') {
            path = location.to_owned();
            continue;
        }
        let (next, target) = target(location);
        if next.address != client.address {
            return location.to_owned();
        }
        path = target;
    }
    panic!("{url} never comes to an end");
}

/// Opens `url` once.
#[track_caller]
pub(crate) fn open(url: &str) -> Answer {
    let (client, path) = target(url);
    client.send("GET", &path, &[], None)
}

fn target(url: &str) -> (Client, String) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url} is not plain http"));
    let at = rest.find('/').unwrap_or(rest.len());
    let address = rest[..at].parse().unwrap_or_else(|error| panic!("{error}: {url}"));
    let path = if at == rest.len() { "/" } else { &rest[at..] };
    (Client { address }, path.to_owned())
}
