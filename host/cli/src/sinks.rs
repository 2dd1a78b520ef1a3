//! Further places for audit records that the operator configured: a file of JSON lines, and syslog (RFC 5424) over a unix
//! socket, UDP or TCP. Their addresses are the operator's own; nothing that a skill says leads anywhere else.

use crate::config::{AuditSection, Facility, SyslogAddress};
use crate::home::Home;
use async_trait::async_trait;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use sophon_audit::{Demand, Sink, SinkRecord};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::sync::Mutex;

/// How long a connection to a collector may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Who a message is from, as structured data names it: the number is reserved for examples, and this host has none.
const ELEMENT: &str = "sophon@32473";

/// The sinks that `[audit]` names.
pub(crate) fn of(home: &Home, section: &AuditSection) -> Vec<(Arc<dyn Sink>, Demand)> {
    let demand = |required: bool| if required { Demand::Required } else { Demand::BestEffort };
    let mut sinks: Vec<(Arc<dyn Sink>, Demand)> = Vec::new();
    if let Some(file) = &section.file {
        let sink = FileSink { path: home.root().join(&file.path), open: Arc::default() };
        sinks.push((Arc::new(sink), demand(file.required)));
    }
    if let Some(syslog) = &section.syslog {
        let sink = Syslog { address: syslog.address.clone(), facility: syslog.facility, way: Mutex::default() };
        sinks.push((Arc::new(sink), demand(syslog.required)));
    }
    sinks
}

/// JSON lines that are appended to a file of their own; one that was moved away is begun anew. A line is there whole or not
/// at all: what a failed write has left is cut off again.
struct FileSink {
    path: PathBuf,
    /// Held by the write that is under way, also by one that nobody waits for any more.
    open: Arc<Mutex<Option<Lines>>>,
}

/// The open file.
struct Lines {
    file: File,
    /// Where whole lines end, while something else stands behind.
    torn: Option<u64>,
}

#[async_trait]
impl Sink for FileSink {
    fn name(&self) -> &str {
        "file"
    }

    async fn write(&self, records: &[SinkRecord]) -> Result<(), String> {
        let mut lines = String::new();
        for SinkRecord { writer, seq, hash, body, .. } in records {
            // The body is JSON already, and stays the text that was hashed.
            lines.push_str(&format!(
                "{{\"writer\":{:?},\"seq\":{seq},\"hash\":\"{hash}\",\"record\":{body}}}\n",
                writer
            ));
        }
        let path = self.path.clone();
        // A disk that hangs keeps one thread, and not one for each record.
        let Ok(mut open) = Arc::clone(&self.open).try_lock_owned() else {
            return Err(format!("{}: the write before is still under way", self.path.display()));
        };
        let written = tokio::task::spawn_blocking(move || append(&path, &mut open, lines.as_bytes())).await;
        let written = written.map_err(|panic| panic.to_string())?;
        written.map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

fn append(path: &Path, open: &mut Option<Lines>, bytes: &[u8]) -> io::Result<()> {
    let there = std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let held = open.as_ref().and_then(|lines| lines.file.metadata().ok()).map(|found| (found.dev(), found.ino()));
    if held.is_none() || held != there {
        *open = Some(Lines::open(path)?);
    }
    let Some(lines) = open.as_mut() else { return Err(io::Error::other("it is not open")) };
    lines.append(bytes)
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let end = file.metadata()?.len();
        if end > 0 {
            let mut last = [0];
            file.read_exact_at(&mut last, end - 1)?;
            if last != *b"\n" {
                // An earlier process was killed in the middle of a line: what comes now is no part of it.
                file.write_all(b"\n")?;
            }
        }
        Ok(Self { file, torn: None })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mend()?;
        let end = self.file.metadata()?.len();
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.torn = Some(end);
            if let Err(error) = self.mend() {
                tracing::error!(%error, "what a failed write left in a sink of the audit log is cut off before the next one");
            }
        }
        written
    }

    fn mend(&mut self) -> io::Result<()> {
        if let Some(end) = self.torn {
            self.file.set_len(end)?;
            self.torn = None;
        }
        Ok(())
    }
}

/// Messages as RFC 5424 has them, one a record.
struct Syslog {
    address: SyslogAddress,
    facility: Facility,
    way: Mutex<Option<Way>>,
}

enum Way {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

#[async_trait]
impl Sink for Syslog {
    fn name(&self) -> &str {
        "syslog"
    }

    async fn write(&self, records: &[SinkRecord]) -> Result<(), String> {
        let messages: Vec<String> = records.iter().map(|record| message(self.facility, record)).collect();
        let mut way = self.way.lock().await;
        // Taken out, and put back only when all of it is sent: a write that was given up in the middle of a message leaves
        // no connection behind on which the next message would be read as the rest of that one. What was kept may be closed
        // by now: then once more over a new one. The collector may get some twice.
        if let Some(mut kept) = way.take().filter(is_open)
            && send(&mut kept, &messages).await.is_ok()
        {
            *way = Some(kept);
            return Ok(());
        }
        let told = |error: io::Error| format!("{}: {error}", self.address);
        let connected = tokio::time::timeout(CONNECT, connect(&self.address)).await;
        let mut fresh =
            connected.map_err(|_elapsed| format!("{}: no connection in time", self.address))?.map_err(told)?;
        send(&mut fresh, &messages).await.map_err(told)?;
        *way = Some(fresh);
        Ok(())
    }
}

/// Whether the other side has not closed it. The first write to a connection that is closed there succeeds, and is lost.
fn is_open(way: &Way) -> bool {
    let Way::Tcp(stream) = way else { return true };
    let found = rustix::net::recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    // A collector has nothing to say; where it says something all the same it is there.
    match found {
        Ok((_, read)) => read > 0,
        Err(error) => error == Errno::AGAIN,
    }
}

async fn connect(address: &SyslogAddress) -> io::Result<Way> {
    Ok(match address {
        SyslogAddress::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Way::Unix(socket)
        }
        SyslogAddress::Udp(to) => {
            let own: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
            let socket = UdpSocket::bind(own).await?;
            socket.connect(to).await?;
            Way::Udp(socket)
        }
        SyslogAddress::Tcp(to) => Way::Tcp(TcpStream::connect(to).await?),
    })
}

async fn send(way: &mut Way, messages: &[String]) -> io::Result<()> {
    match way {
        Way::Unix(socket) => {
            for message in messages {
                socket.send(message.as_bytes()).await?;
            }
        }
        Way::Udp(socket) => {
            for message in messages {
                socket.send(message.as_bytes()).await?;
            }
        }
        Way::Tcp(stream) => {
            // Octet counting (RFC 6587, 3.4.1).
            let framed: String = messages.iter().map(|message| format!("{} {message}", message.len())).collect();
            stream.write_all(framed.as_bytes()).await?;
            stream.flush().await?;
        }
    }
    Ok(())
}

fn message(facility: Facility, record: &SinkRecord) -> String {
    let severity = match record.outcome.as_str() {
        "intent" | "ok" => 6,
        "unknown" => 3,
        _ => 4,
    };
    let priority = facility.code() * 8 + severity;
    let SinkRecord { time, action, seq, hash, writer, body, .. } = record;
    let process = std::process::id();
    let writer = writer.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
    format!(
        "<{priority}>1 {time} - sophon {process} {action} [{ELEMENT} writer=\"{writer}\" seq=\"{seq}\" hash=\"{hash}\"] {body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    fn record(seq: u64) -> SinkRecord {
        SinkRecord {
            writer: "host".into(),
            seq,
            hash: "ab".repeat(32),
            action: "call.outcome".into(),
            outcome: "denied".into(),
            time: "2026-01-31T09:00:00.000000Z".into(),
            body: format!("{{\"n\":{seq}}}"),
        }
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let sink = FileSink { path: path.clone(), open: Arc::default() };
        sink.write(&[record(1), record(2)]).await.unwrap();
        let moved = folder.path().join("audit.1");
        std::fs::rename(&path, &moved).unwrap();
        sink.write(&[record(3)]).await.unwrap();
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((lines(&moved).len(), lines(&path).len()), (2, 1));
        let line: serde_json::Value = serde_json::from_str(&lines(&path)[0]).unwrap();
        assert_eq!((&line["seq"], &line["record"]["n"]), (&3.into(), &3.into()));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let nowhere = FileSink { path: folder.path().join("none/audit.jsonl"), open: Arc::default() };
        assert!(nowhere.write(&[record(1)]).await.unwrap_err().contains("none/audit.jsonl"));
    }

    #[tokio::test]
    async fn attack_42_a_line_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        // A process that was killed has left the beginning of a line.
        std::fs::write(&path, "{\"writer\":\"ho").unwrap();
        let sink = FileSink { path: path.clone(), open: Arc::default() };
        sink.write(&[record(1)]).await.unwrap();
        // And a write that failed has left some of what it was given.
        if let Some(lines) = sink.open.lock().await.as_mut() {
            lines.torn = Some(lines.file.metadata().unwrap().len());
            lines.file.write_all(b"{\"writer\":\"host\",\"se").unwrap();
        }
        sink.write(&[record(2)]).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<_> = text.lines().map(serde_json::from_str::<serde_json::Value>).collect();
        assert_eq!(read.len(), 3, "{text}");
        assert!(read[0].is_err() && read[1].as_ref().unwrap()["seq"] == 1 && read[2].as_ref().unwrap()["seq"] == 2);
    }

    #[tokio::test]
    async fn attack_42_a_disk_that_hangs_keeps_one_thread() {
        let folder = tempfile::tempdir().unwrap();
        let sink = FileSink { path: folder.path().join("audit.jsonl"), open: Arc::default() };
        // As a write holds it that does not come back.
        let hung = Arc::clone(&sink.open).lock_owned().await;
        for n in 0..100 {
            assert!(sink.write(&[record(n)]).await.unwrap_err().contains("still under way"));
        }
        drop(hung);
        sink.write(&[record(7)]).await.unwrap();
    }

    #[tokio::test]
    async fn attack_42_a_collector_that_closed_or_stalled_gets_whole_messages_over_a_new_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = SyslogAddress::Tcp(listener.local_addr().unwrap());
        let sink = Syslog { address, facility: Facility::Authpriv, way: Mutex::default() };
        sink.write(&[record(1)]).await.unwrap();
        let (first, _) = listener.accept().await.unwrap();
        drop(first);
        // What is sent to the closed one is lost, and nobody would know.
        sink.write(&[record(2)]).await.unwrap();
        let (second, _) = listener.accept().await.unwrap();
        // It reads nothing: the write stands still in the middle of a message until it is given up.
        let large = SinkRecord { body: "x".repeat(64 << 20), ..record(3) };
        let stalled = tokio::time::timeout(Duration::from_millis(300), sink.write(&[large])).await;
        assert!(stalled.is_err(), "there is no room for it anywhere");
        sink.write(&[record(4)]).await.unwrap();
        let (mut third, _) = listener.accept().await.unwrap();
        drop((sink, second));
        let mut all = String::new();
        third.read_to_string(&mut all).await.unwrap();
        let expected = message(Facility::Authpriv, &record(4));
        assert_eq!(all, format!("{} {expected}", expected.len()));
    }

    #[tokio::test]
    async fn syslog_gets_one_message_a_record_over_every_transport() {
        let syslog = |address: SyslogAddress| Syslog { address, facility: Facility::Authpriv, way: Mutex::default() };
        let expected = message(Facility::Authpriv, &record(7));
        assert!(expected.starts_with("<84>1 2026-01-31T09:00:00.000000Z - sophon "), "{expected}");
        assert!(expected.ends_with(&format!(
            "call.outcome [sophon@32473 writer=\"host\" seq=\"7\" hash=\"{}\"] {{\"n\":7}}",
            "ab".repeat(32)
        )));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut bytes = vec![0; 4096];
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sink = syslog(SyslogAddress::Unix(path.clone()));
        sink.write(&[record(7)]).await.unwrap();
        let count = receiver.recv(&mut bytes).await.unwrap();
        assert_eq!(bytes[..count], *expected.as_bytes());
        // The collector is started again.
        drop(receiver);
        assert!(sink.write(&[record(7)]).await.is_err());
        std::fs::remove_file(&path).unwrap();
        let receiver = UnixDatagram::bind(&path).unwrap();
        sink.write(&[record(7)]).await.unwrap();
        assert_eq!(receiver.recv(&mut bytes).await.unwrap(), expected.len());

        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        syslog(SyslogAddress::Udp(receiver.local_addr().unwrap())).write(&[record(7)]).await.unwrap();
        let count = receiver.recv(&mut bytes).await.unwrap();
        assert_eq!(bytes[..count], *expected.as_bytes());

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = syslog(SyslogAddress::Tcp(listener.local_addr().unwrap()));
        sink.write(&[record(7), record(7)]).await.unwrap();
        drop(sink);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, format!("{0} {expected}{0} {expected}", expected.len()));
    }
}
