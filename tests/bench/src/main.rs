//! `sophon-bench in-process | approvals | gateway | served | records | skills | egress | limits | native | raw-server`: started by `scripts/bench`, which says what each prints.
#![expect(clippy::print_stdout, reason = "a bench prints what it found")]

use sophon_bench::host::{Host, NO_RATE_LIMITS, component, example, root};
use sophon_bench::load::{Load, Target, median, side_by_side};
use sophon_bench::process::{Server, command};
use sophon_bench::raw::{Metering, Raw};
use sophon_bench::raw_server;
use sophon_egress::Roots;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The host's own allocator, for both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["raw-server", "--port-file", file] => serve_raw(Path::new(file)),
        ["in-process", ..] => criterion(&words[1..], sophon_bench::in_process::run),
        ["approvals", ..] => criterion(&words[1..], sophon_bench::approvals::run),
        ["gateway", connections, seconds, rounds] => gateway(load(connections, seconds, rounds)?),
        ["served", wasmtime, component, connections, seconds, rounds] => {
            served(wasmtime, component, load(connections, seconds, rounds)?)
        }
        ["records", seconds] => records(seconds.parse()?),
        ["skills", count] => sophon_bench::skills::many(&sophon()?, count.parse()?),
        ["limits", keys] => sophon_bench::limits::run(keys.parse()?),
        ["native", engine, calls] => sophon_bench::native::side_by_side(&sophon()?, engine, calls.parse()?),
        ["egress", rounds] => sophon_bench::brokered::side_by_side(&runtime()?, rounds.parse()?),
        _ => {
            Err("sophon-bench in-process [NAME] | approvals [NAME] | gateway CONNECTIONS SECONDS ROUNDS | served WASMTIME COMPONENT CONNECTIONS SECONDS ROUNDS | records SECONDS | skills COUNT | egress ROUNDS | limits KEYS | native ENGINE CALLS"
                .into())
        }
    }
}

fn load(connections: &str, seconds: &str, rounds: &str) -> Result<Load, Failed> {
    Ok(Load { connections: connections.parse()?, seconds: seconds.parse()?, rounds: rounds.parse()? })
}

/// Benches of criterion, all of them or those whose name holds the one that is given; its report goes to target/criterion.
fn criterion(names: &[&str], benches: impl FnOnce(&mut criterion::Criterion)) -> Result<(), Failed> {
    let mut c = criterion::Criterion::default()
        .output_directory(&root().join("target/criterion"))
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    if let [name, ..] = names {
        c = c.with_filter(*name);
    }
    benches(&mut c);
    c.final_summary();
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn serve_raw(port_file: &Path) -> Result<(), Failed> {
    let component = component(&example("text-tools")?)?;
    let raw = Raw::new(&component, 128, Metering::Off)?;
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        std::fs::write(port_file, listener.local_addr()?.port().to_string())?;
        axum::serve(listener, raw_server::router(raw)).await?;
        Ok(())
    })
}

/// The program that was built beside this one.
fn sophon() -> Result<PathBuf, Failed> {
    Ok(std::env::current_exe()?.with_file_name("sophon"))
}

/// A home with the example skill, an agent's key and rate limits that are out of the way.
fn home(folder: &Path) -> Result<String, Failed> {
    let places = "[gateway]\nmax_connections_per_address = 4096\nmax_connections = 8192\nmax_concurrent_calls = 4096\n\
                  [sandbox]\nconcurrent_calls = 128\n";
    std::fs::write(folder.join("sophon.toml"), format!("{NO_RATE_LIMITS}{places}"))?;
    let package = root().join("target/skills/text-tools-1.0.0.sophon-skill");
    let run = |arguments: &[&str]| -> Result<String, Failed> {
        let output = command(sophon()?).args(arguments).env("SOPHON_HOME", folder).output()?;
        if !output.status.success() {
            return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    run(&["install", &package.to_string_lossy(), "--dangerously-allow-unsigned"])?;
    let made: serde_json::Value =
        serde_json::from_str(&run(&["key", "create", "--role", "agent", "--user", "ann", "--json"])?)?;
    Ok(made["key"].as_str().ok_or("no key")?.to_owned())
}

/// The gateway with its home, and what an agent says who it is with.
fn serve_host(folder: &Path) -> Result<(Server, String), Failed> {
    let key = home(folder)?;
    let mut serve = command(sophon()?);
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("SOPHON_HOME", folder);
    Ok((Server::start(serve, folder)?, format!("Bearer {key}")))
}

/// The gateway beside the hand-written server.
fn gateway(load: Load) -> Result<(), Failed> {
    let folder = tempfile::tempdir_in(root().join("target"))?;
    let host = serve_host(folder.path())?;
    let beside = tempfile::tempdir()?;
    let mut raw = command(std::env::current_exe()?);
    raw.arg("raw-server");
    compare(&host, ("hand-written", &Server::start(raw, beside.path())?), load)
}

/// The gateway beside `wasmtime serve` with a component that gives the same answer.
fn served(wasmtime: &str, component: &str, load: Load) -> Result<(), Failed> {
    let folder = tempfile::tempdir_in(root().join("target"))?;
    let host = serve_host(folder.path())?;
    let beside = tempfile::tempdir()?;
    let mut serve = command(wasmtime);
    serve.args(["serve", "-S", "cli", "--addr", "127.0.0.1:0", component]);
    compare(&host, ("wasmtime serve", &Server::start_telling(serve, beside.path())?), load)
}

fn compare((host, bearer): &(Server, String), (name, raw): (&'static str, &Server), load: Load) -> Result<(), Failed> {
    let body = r#"{"arguments":{"text":"hello"}}"#.to_owned();
    let target = |name, server: &Server, bearer| Target {
        name,
        url: format!("http://{}/v1/tools/text-tools.echo/call", server.address),
        bearer,
        body: body.clone(),
    };
    let targets = [target(name, raw, None), target("gateway", host, Some(bearer.clone()))];
    let found = side_by_side(&targets, load)?;
    println!("connections {}, {} runs of {} s in turn", load.connections, load.rounds, load.seconds);
    for (target, runs) in targets.iter().zip(&found) {
        let of = |pick: fn(&sophon_bench::load::Found) -> f64| median(runs.iter().map(pick).collect());
        println!(
            "{:<14} {:>8.0} calls/s   median {:>7.3} ms   p99 {:>8.3} ms",
            target.name,
            of(|run| run.rate),
            of(|run| run.median_ms),
            of(|run| run.p99_ms)
        );
    }
    let ratios = found[1].iter().zip(&found[0]).map(|(host, raw)| host.rate / raw.rate).collect();
    println!("gateway / {name}, pair by pair: median {:.2}", median(ratios));
    println!("gateway: {} MiB resident", host.resident_kib() >> 10);
    Ok(())
}

/// Durable audit records a second, and how many commits they took.
fn records(seconds: u64) -> Result<(), Failed> {
    let runtime = runtime()?;
    let folder = tempfile::tempdir_in(root().join("target"))?;
    let host = Arc::new(runtime.block_on(Host::open(folder.path(), 1, Roots::mozilla()))?);
    for writers in [1, 32, 1024] {
        let began = Instant::now();
        let until = began + Duration::from_secs(seconds);
        let count = runtime.block_on(async {
            let tasks: Vec<_> = (0..writers)
                .map(|_| {
                    let host = Arc::clone(&host);
                    tokio::spawn(async move {
                        let mut count = 0_u64;
                        while Instant::now() < until {
                            host.append_record().await?;
                            count += 1;
                        }
                        Ok::<u64, Failed>(count)
                    })
                })
                .collect();
            let mut count = 0;
            for task in tasks {
                count += task.await??;
            }
            Ok::<u64, Failed>(count)
        })?;
        println!("{writers:>5} writers: {:>8.0} durable records/s", count as f64 / began.elapsed().as_secs_f64());
    }
    Ok(())
}
