//! Processes that a bench starts, and ends.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A command; the one place that makes them.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a bench starts the programs that it compares")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// A server that wrote its port into a file; ended when it is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start to the port in the file.
    pub ready_after: Duration,
}

impl Server {
    /// Starts `command`, which is given `--port-file FILE`, and waits until it listens.
    ///
    /// # Errors
    /// Where it does not start, or ends at once.
    pub fn start(mut command: Command, folder: &Path) -> Result<Self, Failed> {
        let port_file = folder.join(format!("port-{:x}", command.get_args().count()));
        drop(std::fs::remove_file(&port_file));
        command.arg("--port-file").arg(&port_file);
        Self::until(command, folder, |_log| {
            let port = std::fs::read_to_string(&port_file).unwrap_or_default().trim().parse::<u16>().ok()?;
            Some(SocketAddr::from(([127, 0, 0, 1], port)))
        })
    }

    /// Starts `command`, which says on standard error at which `http://ADDRESS/` it listens.
    ///
    /// # Errors
    /// Where it does not start, or ends at once.
    pub fn start_telling(command: Command, folder: &Path) -> Result<Self, Failed> {
        Self::until(command, folder, |log| log.split_once("http://")?.1.split_once('/')?.0.parse().ok())
    }

    /// Starts `command` and waits until `listens` knows where it does, from what it wrote to standard error or elsewhere.
    fn until(
        mut command: Command,
        folder: &Path,
        listens: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Result<Self, Failed> {
        let log = folder.join("server.log");
        let began = Instant::now();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?).spawn()?;
        loop {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(address) = listens(&said) {
                return Ok(Self { child, address, ready_after: began.elapsed() });
            }
            if child.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(600) {
                drop((child.kill(), child.wait()));
                return Err(format!("the server did not come up: {said}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its resident memory in kibibytes.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
