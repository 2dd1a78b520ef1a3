//! A gateway process.

use super::cli::Cli;
use super::home::Home;
use super::http::{Answer, Client};
use super::packages::{Publisher, Signed, demo_publisher};
use super::process::{command, sophon};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running gateway. Killed when it is dropped.
pub(crate) struct Gateway {
    child: Option<Child>,
    log: PathBuf,
    pub(crate) client: Client,
    admin: Key,
}

/// An API key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) id: String,
    bearer: String,
}

impl Key {
    /// Makes a key with the command line, as an operator does.
    #[track_caller]
    pub(crate) fn make(home: &Home, role: &str, user: &str) -> Self {
        let made = Cli::new(home, ["key", "create", "--role", role, "--user", user, "--json"]).expect(0).json();
        Self::of(&made)
    }

    /// The same, in a tenant of this name.
    #[track_caller]
    pub(crate) fn make_in(home: &Home, tenant: &str, role: &str, user: &str) -> Self {
        let words = ["key", "create", "--tenant", tenant, "--role", role, "--user", user, "--json"];
        Self::of(&Cli::new(home, words).expect(0).json())
    }

    /// Reads the answer to the making of a key.
    #[track_caller]
    pub(crate) fn of(made: &Value) -> Self {
        let text = made["key"].as_str().unwrap_or_else(|| panic!("no key in {made}")).to_owned();
        Self { bearer: format!("Bearer {text}"), id: made["id"].as_str().unwrap_or_default().to_owned(), text }
    }

    pub(crate) fn header(&self) -> (&'static str, &str) {
        ("Authorization", &self.bearer)
    }
}

/// A gateway process on its way up. Killed when it is dropped.
pub(crate) struct Launch {
    child: Option<Child>,
    log: PathBuf,
    port_file: PathBuf,
}

/// A gateway that has come up.
pub(crate) struct Launched {
    child: Child,
    log: PathBuf,
    client: Client,
}

impl Launch {
    pub(crate) fn new(home: &Home, environment: &[(&str, &str)]) -> Self {
        Self::of(command(sophon()), home, environment)
    }

    /// The same, by way of another program that becomes the gateway: `command` goes before its arguments.
    pub(crate) fn of(mut command: Command, home: &Home, environment: &[(&str, &str)]) -> Self {
        let log = home.beside("gateway.log");
        let port_file = home.beside("port");
        drop(std::fs::remove_file(&port_file));
        let written = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("the gateway's log");
        let child = command
            .env("SOPHON_HOME", home.path())
            .envs(environment.iter().copied())
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--port-file"])
            .arg(&port_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written)
            .spawn()
            .expect("sophon starts");
        Self { child: Some(child), log, port_file }
    }

    /// The port, once connections are accepted; nothing where the process ended before that.
    fn port(&mut self) -> Option<u16> {
        let child = self.child.as_mut().expect("it was started");
        for _ in 0..12_000 {
            let port = std::fs::read_to_string(&self.port_file).ok().and_then(|text| text.trim().parse::<u16>().ok());
            if port.is_some() || child.try_wait().expect("the gateway's state").is_some() {
                return port;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    #[track_caller]
    pub(crate) fn up(mut self) -> Launched {
        let Some(port) = self.port() else {
            panic!("the gateway did not come up: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
        };
        let client = Client { address: SocketAddr::from(([127, 0, 0, 1], port)) };
        Launched { child: self.child.take().expect("it was started"), log: std::mem::take(&mut self.log), client }
    }

    /// Waits for the end of a gateway that must refuse to start, and gives the error that it ended with.
    #[track_caller]
    pub(crate) fn refused(mut self) -> Value {
        let port = self.port();
        let log = std::fs::read_to_string(&self.log).expect("the gateway's log");
        assert_eq!(port, None, "it came up: {log}");
        assert!(!log.contains("panicked"), "{log}");
        let last = log.lines().last().unwrap_or_default();
        let told: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last:?}: {log}"));
        let error = told.get("error").cloned().unwrap_or(told);
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "no hint: {error}");
        error
    }

    /// `kill -9`, wherever it has got to.
    pub(crate) fn kill(mut self) {
        end(&mut self.child);
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Launched {
    pub(crate) fn with(self, admin: Key) -> Gateway {
        Gateway { child: Some(self.child), log: self.log, client: self.client, admin }
    }
}

/// `kill -9` where it runs.
fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        drop(child.kill());
        drop(child.wait());
    }
}

impl Gateway {
    /// Starts a gateway in `home`, with an admin's key of its own.
    #[track_caller]
    pub(crate) fn start(home: &Home) -> Self {
        Self::start_with(home, &[])
    }

    /// The same, with more of the environment.
    #[track_caller]
    pub(crate) fn start_with(home: &Home, environment: &[(&str, &str)]) -> Self {
        let launched = Launch::new(home, environment).up();
        let admin = Key::make(home, "admin", "root");
        launched.with(admin)
    }

    /// Starts a gateway in a home that has had one before, whose admin's key goes on.
    #[track_caller]
    pub(crate) fn again(home: &Home, admin: &Key) -> Self {
        Launch::new(home, &[]).up().with(admin.clone())
    }

    /// The key of its admin.
    pub(crate) fn admin_key(&self) -> &Key {
        &self.admin
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the gateway runs").id()
    }

    /// Its child processes, with their command lines.
    pub(crate) fn children(&self) -> Vec<(u32, String)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        let line = |pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        children.into_iter().map(|pid| (pid, String::from_utf8_lossy(&line(pid)).replace('\0', " "))).collect()
    }

    /// Everything that the gateway has written to standard error, in this run and before.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the gateway's log")
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let sent = command("kill").args(["-TERM", &self.pid().to_string()]).status().expect("kill starts");
        assert!(sent.success());
    }

    /// Waits until the process is gone.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.take().expect("the gateway runs").wait().expect("the gateway ends")
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the gateway runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// A request with a key and a JSON body where there is one.
    pub(crate) fn request(&self, key: &Key, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string);
        let headers = [key.header(), ("Content-Type", "application/json")];
        self.client.send(method, path, &headers, body.as_deref().map(str::as_bytes))
    }

    /// A request of the admin.
    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.request(&self.admin, method, path, body)
    }

    /// Makes a key.
    #[track_caller]
    pub(crate) fn key(&self, role: &str, user: &str) -> Key {
        let made = self.admin("POST", "/v1/keys", Some(&json!({"role": role, "user": user}))).expect(201);
        Key::of(&made)
    }

    /// Makes an agent's key of the user `ann`.
    #[track_caller]
    pub(crate) fn agent(&self) -> Key {
        self.key("agent", "ann")
    }

    /// A gateway in a home of its own, and a publisher of this name that it trusts.
    pub(crate) fn trusting(name: &str, seed: u8) -> (Home, Self, Publisher) {
        let home = Home::new();
        let gateway = Self::start(&home);
        let publisher = Publisher::new(name, seed);
        gateway.trust(&publisher);
        (home, gateway, publisher)
    }

    #[track_caller]
    pub(crate) fn trust(&self, publisher: &Publisher) {
        self.trust_key(publisher.name(), &publisher.public_key());
    }

    /// Trusts whoever signs the example skills.
    #[track_caller]
    pub(crate) fn trust_the_examples(&self) {
        self.trust_key("demo-publisher", &demo_publisher());
    }

    #[track_caller]
    fn trust_key(&self, name: &str, key: &str) {
        let body = json!({"name": name, "public_key": key});
        self.admin("POST", "/v1/publishers", Some(&body)).expect(201);
    }

    /// Asks for an installation.
    pub(crate) fn install(&self, package: &Signed, more: Value) -> Answer {
        self.admin("POST", "/v1/skills", Some(&package.body(more)))
    }

    /// Installs with grants, and expects it to work.
    #[track_caller]
    pub(crate) fn installed(&self, package: &Signed, hosts: &[&str]) -> Value {
        self.install(package, json!({"allow_hosts": hosts})).expect(201)
    }

    /// Connects a service for the user `ann`, as she would.
    #[track_caller]
    pub(crate) fn connect(&self, service: &str, token: &str) {
        let ann = self.key("approver", "ann");
        let body = json!({"fields": {"token": token}});
        self.request(&ann, "PUT", &format!("/v1/credentials/{service}"), Some(&body)).expect(200);
    }

    /// Calls a tool.
    pub(crate) fn call(&self, key: &Key, tool: &str, arguments: Value) -> Answer {
        self.call_with(key, tool, json!({"arguments": arguments, "wait_seconds": 60}))
    }

    /// Calls a tool with a body of the test's own.
    pub(crate) fn call_with(&self, key: &Key, tool: &str, body: Value) -> Answer {
        self.request(key, "POST", &format!("/v1/tools/{tool}/call"), Some(&body))
    }

    /// Calls a tool that must succeed, and gives its wrapped content.
    #[track_caller]
    pub(crate) fn content(&self, key: &Key, tool: &str, arguments: Value) -> String {
        let answer = self.call(key, tool, arguments).expect(200);
        assert_eq!(answer["status"], "succeeded", "{answer}\n{}", self.log());
        answer["content"].as_str().expect("content").to_owned()
    }

    /// Calls a tool that must succeed, and gives the JSON value that its wrapped content holds.
    #[track_caller]
    pub(crate) fn value(&self, key: &Key, tool: &str, arguments: Value) -> Value {
        let content = self.content(key, tool, arguments);
        let inside: Vec<&str> = content.lines().filter(|line| !line.contains("external_content")).collect();
        serde_json::from_str(&inside.join("\n")).unwrap_or_else(|error| panic!("{error}: {content}"))
    }

    /// Calls a tool that must run and fail, and gives the error.
    #[track_caller]
    pub(crate) fn failure(&self, key: &Key, tool: &str, arguments: Value) -> Value {
        let answer = self.call(key, tool, arguments).expect(200);
        assert_eq!(answer["status"], "failed", "{answer}\n{}", self.log());
        answer["error"].clone()
    }

    /// What `/metrics` says of one series.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.client.send("GET", "/metrics", &[], None).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// Bytes of memory that the process has resident.
    #[track_caller]
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The records of the audit log that match `query`, oldest first.
    #[track_caller]
    pub(crate) fn audit(&self, query: &str) -> Vec<Value> {
        let page = self.admin("GET", &format!("/v1/audit?limit=1000&{query}"), None).expect(200);
        page["entries"].as_array().expect("entries").iter().map(|entry| entry["record"].clone()).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
