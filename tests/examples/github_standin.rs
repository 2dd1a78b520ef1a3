//! A stand-in for GitHub's REST API, for the demo: it speaks TLS on loopback, answers for the repository `octo/hello`, and
//! prints one line for each request that says which credential arrived with it.
//!
//! ```text
//! github_standin FOLDER      the token to expect is read from standard input
//! ```
//! Writes `authority.pem` and, once it accepts connections, `port` into FOLDER.

use sophon_tests::{Certificates, Github, Seen, serve};
use std::io::Write as _;
use std::path::PathBuf;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: github_standin FOLDER <token")?);
    let mut token = String::new();
    std::io::stdin().read_line(&mut token)?;
    let token = token.trim().to_owned();
    let github = Github::new(&token);
    let certificates = Certificates::generate();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        std::fs::write(folder.join("authority.pem"), certificates.authority())?;
        std::fs::write(folder.join("port.new"), listener.local_addr()?.port().to_string())?;
        std::fs::rename(folder.join("port.new"), folder.join("port"))?;
        serve(listener, &certificates, move |request| {
            let seen = Seen::of(&request);
            let response = github.answer(&seen);
            let status = response.status();
            let line = format!("{} {} -> {status}; {}\n", seen.method, seen.target, credential(&seen, &token));
            // The line is for whoever watches; one that cannot be written changes no answer.
            drop(std::io::stdout().write_all(line.as_bytes()));
            async move { response }
        })
        .await;
        Ok(())
    })
}

/// What arrived, without showing it whole.
fn credential(seen: &Seen, token: &str) -> String {
    match seen.authorization.as_deref() {
        None => "no Authorization header".to_owned(),
        Some(value) if value == format!("Bearer {token}") => {
            let start: String = token.chars().take(8).collect();
            format!("Authorization: Bearer {start}... (the stored token, {} characters)", token.chars().count())
        }
        Some(_) => "an Authorization header that is not the stored token".to_owned(),
    }
}
