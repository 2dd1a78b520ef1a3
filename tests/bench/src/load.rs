//! The load of `wrk` on two servers in turn: A B A B …, so that a machine that slows down slows both.

use crate::process;
use std::path::Path;
use std::process::Stdio;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What is asked of a server.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in the table.
    pub name: &'static str,
    /// What is posted to.
    pub url: String,
    /// The `Authorization` header, where it wants one.
    pub bearer: Option<String>,
    /// The body of each request.
    pub body: String,
}

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections at one time.
    pub connections: u32,
    /// Seconds of one run.
    pub seconds: u32,
    /// Runs of each target.
    pub rounds: u32,
}

/// What one run of `wrk` found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Answers of status 200 a second.
    pub rate: f64,
    /// Half of the answers came within so many milliseconds.
    pub median_ms: f64,
    /// And 99 of a hundred within so many.
    pub p99_ms: f64,
}

/// Every target under the same load, in turn.
///
/// # Errors
/// Where `wrk` is missing, or an answer was not a 200.
pub fn side_by_side(targets: &[Target], load: Load) -> Result<Vec<Vec<Found>>, Failed> {
    let script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    std::fs::write(script.path(), SCRIPT)?;
    let mut found: Vec<Vec<Found>> = targets.iter().map(|_target| Vec::new()).collect();
    for round in 0..=load.rounds {
        for (target, runs) in targets.iter().zip(&mut found) {
            // The first round warms up.
            let seconds = if round == 0 { load.seconds.min(2) } else { load.seconds };
            let run = wrk(target, script.path(), load.connections, seconds)?;
            if round > 0 {
                runs.push(run);
            }
        }
    }
    Ok(found)
}

/// Posts the body, and tells at the end what a program can read.
const SCRIPT: &str = r#"
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function init(args)
  wrk.body = args[1]
  if args[2] then wrk.headers["Authorization"] = args[2] end
end
function done(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("FOUND %f %f %f %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, bad))
end
"#;

fn wrk(target: &Target, script: &Path, connections: u32, seconds: u32) -> Result<Found, Failed> {
    let mut command = process::command("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"]).arg(script);
    command.arg(&target.url).arg("--").arg(&target.body).args(&target.bearer);
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("wrk: {error}; apt-get install wrk"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("FOUND "));
    let numbers: Vec<f64> = line.unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [rate, median_ms, p99_ms, 0.0] => Ok(Found { rate, median_ms, p99_ms }),
        _ => Err(format!("{}: {text}{}", target.name, String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The middle one of some numbers.
#[must_use]
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
