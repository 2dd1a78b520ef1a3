//! The loopback forwarder: programs connect to it as to an HTTP proxy, and every byte goes to the host.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

/// Bytes that wait for a program to read them before the host's next ones are not taken.
const KEPT: usize = 4 << 20;

/// Connections at one time; more wait in the listener's queue.
const MOST: usize = 64;

pub(crate) struct Connections {
    pub(crate) listener: TcpListener,
    pub(crate) open: BTreeMap<u32, Connection>,
    next: u32,
}

/// One program's connection.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) pending: VecDeque<u8>,
    /// The program will write no more.
    pub(crate) read_ended: bool,
    /// The host will write no more.
    pub(crate) write_ends: bool,
}

impl Connections {
    pub(crate) fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind(sophon_init::FORWARDER)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, open: BTreeMap::new(), next: 1 })
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < MOST
    }

    /// Whether so much waits for programs that the host should wait too.
    pub(crate) fn clogged(&self) -> bool {
        self.open.values().map(|connection| connection.pending.len()).sum::<usize>() > KEPT
    }

    /// Takes those who have connected; says under which numbers.
    pub(crate) fn accept(&mut self) -> Vec<u32> {
        let mut new = Vec::new();
        while self.has_room() {
            let Ok((socket, _from)) = self.listener.accept() else { break };
            if socket.set_nonblocking(true).is_err() || socket.set_nodelay(true).is_err() {
                continue;
            }
            let number = self.next;
            self.next = self.next.wrapping_add(1).max(1);
            let connection = Connection { socket, pending: VecDeque::new(), read_ended: false, write_ends: false };
            self.open.insert(number, connection);
            new.push(number);
        }
        new
    }

    pub(crate) fn data(&mut self, number: u32, bytes: &[u8]) {
        if let Some(connection) = self.open.get_mut(&number) {
            connection.pending.extend(bytes);
        }
    }

    pub(crate) fn close(&mut self, number: u32) {
        if let Some(connection) = self.open.get_mut(&number) {
            connection.write_ends = true;
        }
    }
}

impl Connection {
    /// Reads what there is; nothing at the end or where it broke.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self.socket.read(buffer) {
            Ok(0) => self.no_more(),
            Ok(count) => Some(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Some(0),
            Err(_broken) => self.no_more(),
        }
    }

    fn no_more(&mut self) -> Option<usize> {
        self.read_ended = true;
        None
    }

    /// Writes what the program takes; false where it has gone.
    pub(crate) fn write(&mut self) -> bool {
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            match self.socket.write(front) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return true,
                Err(_broken) => return false,
            }
        }
        if self.write_ends && self.socket.shutdown(Shutdown::Write).is_err() {
            return false;
        }
        true
    }

    pub(crate) fn is_over(&self) -> bool {
        self.read_ended && self.write_ends && self.pending.is_empty()
    }
}
