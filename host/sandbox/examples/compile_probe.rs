//! A compiler that somebody has taken over: once it is locked up, in place of reading its component, it tries what it must
//! not be able to do and says what came of each attempt. The tests of this crate start it.
//!
//! The arguments are a file, an empty folder, a TCP port and a Unix socket that are there, and the limits.

#![expect(clippy::disallowed_methods, reason = "it tries to start programs")]

use rustix::net::{AddressFamily, SocketType, connect, socket};
use rustix::process::{Resource, Rlimit, Signal, parent_process_death_signal, setrlimit};
use sophon_sandbox::compile_worker;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = match Taken::from(&arguments) {
        Some((taken, cpu_seconds, memory)) => compile_worker(cpu_seconds, memory, taken, io::sink()),
        None => Err("the arguments are a file, a folder, a port, a Unix socket and the limits".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            if let Err(_closed) = writeln!(io::stderr(), "{words}") {}
            ExitCode::FAILURE
        }
    }
}

/// What stands in place of the component.
struct Taken {
    file: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    unix: PathBuf,
    /// Opened before the compiler was locked up, as one that it was given by mistake would be.
    held: OwnedFd,
}

impl Taken {
    fn from(arguments: &[OsString]) -> Option<(Self, u64, u64)> {
        let [file, folder, port, unix, cpu_seconds, memory] = arguments else { return None };
        let number = |text: &OsString| text.to_str()?.parse::<u64>().ok();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(number(port)?).ok()?));
        let held = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
        let taken = Self { file: file.into(), folder: folder.into(), address, unix: unix.into(), held };
        Some((taken, number(cpu_seconds)?, number(memory)?))
    }

    /// A line for each attempt, with the system's error or 0 where it worked, and for what it finds.
    fn report(&self) -> String {
        let (old, new) = (&self.file, self.folder.join("new"));
        let more = Rlimit { current: Some(64), maximum: Some(64) };
        let attempts = [
            ("open", File::open(old).map(drop)),
            ("list", fs::read_dir("/").map(drop)),
            ("create", File::create(&new).map(drop)),
            ("tcp", TcpStream::connect(self.address).map(drop)),
            ("udp", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
            ("unix", UnixStream::connect(&self.unix).map(drop)),
            ("spawn", Command::new("/bin/true").spawn().map(drop)),
            ("more descriptors", setrlimit(Resource::Nofile, more).map_err(io::Error::from)),
            ("held tcp", connect(&self.held, &self.address).map_err(io::Error::from)),
            ("make folder", fs::create_dir(&new)),
            ("rename", fs::rename(old, &new)),
            ("remove", fs::remove_file(old)),
            // Last: where it works this program is another one.
            ("execute", Err(Command::new("/bin/true").exec())),
        ];
        let line = |(name, came): (&str, io::Result<()>)| {
            let error = came.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
            format!("{name}={error}\n")
        };
        let signal = parent_process_death_signal().ok().flatten().map_or(0, Signal::as_raw);
        let found = format!("variables={}\nsignal with its parent={signal}\n", std::env::vars_os().count());
        attempts.into_iter().map(line).chain([found]).collect()
    }
}

impl Read for Taken {
    fn read(&mut self, _component: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other(self.report()))
    }
}
