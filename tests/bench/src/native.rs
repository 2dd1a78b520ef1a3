//! A native skill through the whole host: with a sandbox that waits, with none, and with more calls than there is room for;
//! beside the engine by itself, which runs the same interpreter in the same image.

use crate::host::{NO_RATE_LIMITS, root};
use crate::process::{Server, command};
use crate::skills::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sophon_skill::pack;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SOURCE: &str = "import json\nprint(json.dumps({'words': len(params['text'].split())}))\n";

/// A home on `engine` that keeps `warm` sandboxes ready, its gateway, and an agent's key.
fn serve(sophon: &Path, engine: &str, warm: usize, folder: &Path) -> Result<(Server, String), Failed> {
    let containers = format!("[containers]\nengine = {engine:?}\nwarm = {warm}\nconcurrent = 8\n");
    std::fs::write(folder.join("sophon.toml"), format!("{NO_RATE_LIMITS}{containers}"))?;
    let run = |words: &[&str]| -> Result<String, Failed> {
        let output = command(sophon).args(words).env("SOPHON_HOME", folder).output()?;
        if !output.status.success() {
            return Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    let key = |role: &str| -> Result<String, Failed> {
        let made: Value = serde_json::from_str(&run(&["key", "create", "--role", role, "--user", "ann", "--json"])?)?;
        Ok(format!("Bearer {}", made["key"].as_str().ok_or("no key")?))
    };
    let (admin, agent) = (key("admin")?, key("agent")?);
    let mut serve = command(sophon);
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("SOPHON_HOME", folder);
    let server = Server::start(serve, folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(server.address).await?;
        let body = json!({ "package": STANDARD.encode(package()?), "dangerously_allow_unsigned": true });
        client.post("/v1/skills", &admin, &body, 201).await
    })?;
    Ok((server, agent))
}

fn package() -> Result<Vec<u8>, Failed> {
    let manifest = json!({
        "name": "words", "version": "1.0.0", "author": "bench", "license": "Apache-2.0", "description": "Counts words.",
        "category": "utility", "runtime": "python", "entrypoint": "main.py",
        "tools": [{"name": "count", "description": "Count words.", "riskLevel": "none",
                   "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}],
    });
    let files = [
        ("manifest.json", manifest.to_string()),
        ("main.py", SOURCE.to_owned()),
        ("README.md", "A bench's skill.".to_owned()),
        ("LICENSE", "Apache-2.0".to_owned()),
    ];
    let files: BTreeMap<_, _> = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    Ok(pack(&files)?)
}

/// What a sandbox that waits takes, in MiB, as its cgroup has it: gVisor, the interpreter and what it has loaded.
fn idle_memory(engine: &str) -> Result<Vec<f64>, Failed> {
    let ask = |path: &str| -> Result<Value, Failed> {
        let mut curl = command(Path::new("curl"));
        curl.args(["--silent", "--fail", "--unix-socket", engine.trim_start_matches("unix://")]);
        let output = curl.arg(format!("http://engine{path}")).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let running = ask("/containers/json")?;
    let mut found = Vec::new();
    for id in running.as_array().into_iter().flatten().filter_map(|one| one["Id"].as_str()) {
        let stats = ask(&format!("/containers/{id}/stats?stream=false&one-shot=true"))?;
        let bytes = stats["memory_stats"]["usage"].as_f64().ok_or("no figure of memory")?;
        found.push(bytes / f64::from(1 << 20));
    }
    found.sort_by(f64::total_cmp);
    Ok(found)
}

/// The engine by itself, through its own command: a container for each run, and one that is there and is entered.
struct Bare<'a> {
    engine: &'a str,
    there: String,
}

/// The interpreter in its image, with what every skill's run needs of it.
const PYTHON: [&str; 4] = ["/usr/bin/python3.11", "-I", "-c", "import json, urllib.request"];
const IMAGE: &str = "sophon-python:1";

impl<'a> Bare<'a> {
    fn start(engine: &'a str) -> Result<Self, Failed> {
        let mut bare = Self { engine, there: String::new() };
        bare.there =
            bare.docker(&["run", "--detach", "--entrypoint", PYTHON[0], IMAGE, "-c", "import time; time.sleep(3600)"])?;
        Ok(bare)
    }

    fn docker(&self, words: &[&str]) -> Result<String, Failed> {
        let output = command(Path::new("docker")).args(["--host", self.engine]).args(words).output()?;
        if !output.status.success() {
            return Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn run(&self) -> Result<Duration, Failed> {
        const NAME: &str = "sophon-bench-run";
        let mut words = vec!["run", "--name", NAME, "--network", "none", "--entrypoint", PYTHON[0], IMAGE];
        words.extend(&PYTHON[1..]);
        let began = Instant::now();
        self.docker(&words)?;
        let took = began.elapsed();
        // Not timed: a call of the host's does not wait for it either.
        self.docker(&["rm", NAME])?;
        Ok(took)
    }

    fn enter(&self) -> Result<Duration, Failed> {
        let began = Instant::now();
        let mut words = vec!["exec", &self.there];
        words.extend(PYTHON);
        self.docker(&words)?;
        Ok(began.elapsed())
    }
}

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        drop(self.docker(&["rm", "--force", &self.there]));
    }
}

/// Until the machine is quiet and what the last call took is there again.
const PAUSE: Duration = Duration::from_secs(3);

/// Calls with a sandbox that waits and with none, and the engine's own, in turn, then fifty calls in one second.
///
/// # Errors
/// Where a step fails.
#[expect(clippy::print_stdout, reason = "a bench prints what it found")]
pub fn side_by_side(sophon: &Path, engine: &str, calls: usize) -> Result<(), Failed> {
    let folders = [tempfile::tempdir_in(root().join("target"))?, tempfile::tempdir_in(root().join("target"))?];
    let (warm, warm_key) = serve(sophon, engine, 2, folders[0].path())?;
    let (cold, cold_key) = serve(sophon, engine, 0, folders[1].path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut to_warm, mut to_cold) = (Client::connect(warm.address).await?, Client::connect(cold.address).await?);
        let body = json!({ "arguments": { "text": "a few words" } });
        let path = "/v1/tools/words.count/call";
        // Each of the two looks for its engine once.
        to_warm.post(path, &warm_key, &body, 200).await?;
        to_cold.post(path, &cold_key, &body, 200).await?;
        let bare = Bare::start(engine)?;
        let [mut with, mut entered, mut without, mut run] = [const { Vec::new() }; 4];
        for _ in 0..calls {
            tokio::time::sleep(PAUSE).await;
            with.push(to_warm.post(path, &warm_key, &body, 200).await?);
            tokio::time::sleep(PAUSE).await;
            entered.push(bare.enter()?);
            tokio::time::sleep(PAUSE).await;
            without.push(to_cold.post(path, &cold_key, &body, 200).await?);
            tokio::time::sleep(PAUSE).await;
            run.push(bare.run()?);
        }
        drop(bare);
        let rows = [
            ("a sandbox waits", with),
            ("docker exec of the interpreter (with its command)", entered),
            ("none waits", without),
            ("docker run of the interpreter (with its command)", run),
        ];
        for (what, mut times) in rows {
            times.sort();
            let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
            println!("{what}: median {:.1} ms, p90 {:.1} ms, of {}", at(50), at(90), times.len());
        }
        // Until as many wait as may.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let idle = idle_memory(engine)?;
        let (least, most) = (idle.first().ok_or("no sandbox waits")?, idle.last().ok_or("no sandbox waits")?);
        println!("a sandbox that waits takes {least:.1} to {most:.1} MiB, of {}", idle.len());
        let began = Instant::now();
        let burst = (0..50).map(|n| {
            let (key, body) = (warm_key.clone(), body.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(20 * n)).await;
                let began = Instant::now();
                let mut client = Client::connect(warm.address).await?;
                Ok::<_, Failed>((client.succeeds(path, &key, &body).await?, began.elapsed()))
            }
        });
        let (mut done, mut refused, mut longest) = (0, 0, Duration::ZERO);
        for came in futures::future::join_all(burst).await {
            let (succeeded, took) = came?;
            longest = longest.max(took);
            if succeeded { done += 1 } else { refused += 1 }
        }
        println!(
            "50 calls within a second: {done} done, {refused} refused, the longest took {:.2} s, all within {:.2} s",
            longest.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
        Ok(())
    })
}
