//! Further sinks of the audit log that a test takes away, holds up and gives back.

use super::home::Home;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A file that has to take every record.
pub(crate) struct Sink {
    file: PathBuf,
}

impl Sink {
    pub(crate) const SECTION: &str = "[audit.file]\npath = \"sink.jsonl\"\nrequired = true\n";

    pub(crate) fn of(home: &Home) -> Self {
        Self { file: home.path().join("sink.jsonl") }
    }

    /// While `act` runs a folder stands in the file's place.
    pub(crate) fn without<T>(&self, act: impl FnOnce() -> T) -> T {
        let aside = self.file.with_extension("aside");
        std::fs::rename(&self.file, &aside).expect("moved");
        std::fs::create_dir(&self.file).expect("a folder in its place");
        let done = act();
        std::fs::remove_dir(&self.file).expect("removed");
        std::fs::rename(&aside, &self.file).expect("moved back");
        done
    }
}

/// A collector on this machine that has to take every message, and stops reading where a test says so.
pub(crate) struct Collector {
    folder: tempfile::TempDir,
    stalls: Arc<AtomicBool>,
}

impl Collector {
    pub(crate) fn bind() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("log")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let stalls = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stalls);
        std::thread::spawn(move || {
            let mut message = vec![0; 64 << 10];
            loop {
                if told.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                } else {
                    drop(socket.recv(&mut message));
                }
            }
        });
        Self { folder, stalls }
    }

    pub(crate) fn section(&self) -> String {
        let address = format!("unix:{}", self.folder.path().join("log").display());
        format!("[audit.syslog]\naddress = {address:?}\nrequired = true\n")
    }

    /// While `act` runs there is no room for another message: whoever sends one waits.
    pub(crate) fn stall<T>(&self, act: impl FnOnce() -> T) -> T {
        self.stalls.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        let other = UnixDatagram::unbound().expect("a socket");
        other.set_nonblocking(true).expect("nonblocking");
        while other.send_to(b"x", self.folder.path().join("log")).is_ok() {}
        let done = act();
        self.stalls.store(false, Ordering::SeqCst);
        done
    }
}
