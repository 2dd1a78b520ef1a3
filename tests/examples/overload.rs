//! Puts a running gateway under more load than it takes, and prints how it answers: who was served, who was refused, and
//! how soon. Numbers for people to read; it fails only where a 503 has no `Retry-After`. `scripts/overload` sets it up.
//!
//! ```text
//! overload ADDRESS TOOL JSON SECONDS NAME=KEY=CONNECTIONS...
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Those who call with one key.
struct Party {
    name: String,
    key: String,
    connections: usize,
}

/// How long answers took, by status.
type Seen = BTreeMap<u16, Vec<Duration>>;

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, tool, arguments, seconds, parties @ ..] = &words[..] else { return usage() };
    let (Ok(address), Ok(seconds)) = (address.parse::<SocketAddr>(), seconds.parse()) else { return usage() };
    let Some(parties) = parties.iter().map(|text| party(text)).collect::<Option<Vec<_>>>() else { return usage() };
    let until = Instant::now() + Duration::from_secs(seconds);
    let body = Arc::new(format!(r#"{{"arguments":{arguments},"wait_seconds":30}}"#));
    let mut running = Vec::new();
    for party in &parties {
        let request = request(address, tool, &party.key, &body);
        let clients = (0..party.connections).map(|_| tokio::spawn(client(address, request.clone(), until)));
        running.push((party, clients.collect::<Vec<_>>()));
    }
    let mut silent = 0;
    let mut report = String::from("who          status    answers   per s     p50 ms    p99 ms    max ms\n");
    for (party, clients) in running {
        let mut seen = Seen::new();
        for client in clients {
            let (times, without) = client.await.unwrap_or_default();
            silent += without;
            for (status, times) in times {
                seen.entry(status).or_default().extend(times);
            }
        }
        for (status, mut times) in seen {
            times.sort_unstable();
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
            let rate = times.len() as f64 / seconds as f64;
            let line = writeln!(
                report,
                "{:<12} {:<9} {:<9} {:<9.0} {:<9.1} {:<9.1} {:<9.1}",
                party.name,
                status,
                times.len(),
                rate,
                at(0.5),
                at(0.99),
                at(1.0)
            );
            if line.is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    if silent > 0 && writeln!(report, "{silent} refusals do not say when to come again").is_err() {
        return ExitCode::FAILURE;
    }
    match std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes()) {
        Ok(()) if silent == 0 => ExitCode::SUCCESS,
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}

fn usage() -> ExitCode {
    drop(std::io::Write::write_all(
        &mut std::io::stderr(),
        b"usage: overload ADDRESS TOOL JSON SECONDS NAME=KEY=CONNECTIONS...\n",
    ));
    ExitCode::from(2)
}

fn party(text: &str) -> Option<Party> {
    let mut parts = text.split('=');
    let (name, key, connections) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    Some(Party { name: name.to_owned(), key: key.to_owned(), connections })
}

fn request(address: SocketAddr, tool: &str, key: &str, body: &str) -> Arc<[u8]> {
    format!(
        "POST /v1/tools/{tool}/call HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
    .into()
}

/// One connection: the same request again and again, and how many refusals did not say when to come again. Status 0 stands for
/// a connection that was closed.
async fn client(address: SocketAddr, request: Arc<[u8]>, until: Instant) -> (Seen, usize) {
    let (mut seen, mut silent) = (Seen::new(), 0);
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(address).await else { break };
        while Instant::now() < until {
            let began = Instant::now();
            let answer = exchange(&mut stream, &request).await;
            seen.entry(answer.map_or(0, |(status, _)| status)).or_default().push(began.elapsed());
            match answer {
                Some((503, says_when)) => {
                    silent += usize::from(!says_when);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Some(_) => {}
                None => break,
            }
        }
    }
    (seen, silent)
}

/// The status of the answer, and whether it says when to come again.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<(u16, bool)> {
    stream.write_all(request).await.ok()?;
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    };
    let text = std::str::from_utf8(&head[..end]).ok()?.to_ascii_lowercase();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
    let mut rest = vec![0; (end + length).saturating_sub(head.len())];
    stream.read_exact(&mut rest).await.ok()?;
    Some((status, text.contains("\r\nretry-after: ")))
}
