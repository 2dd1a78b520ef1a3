//! The loop: wait until something can be read or written, move it, say what happened.

use crate::command::{Recipe, Running, census, halt, reap, write_file};
use crate::connections::Connections;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use sophon_init::{Decoder, Frame, Kind, MOST_IN, MOST_OUT, PROTOCOL, encode};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Bytes that wait for the host before nothing more is read from the skill.
const BACKLOG: usize = 1 << 20;
/// While the command runs: how often somebody who ended is looked for, in nanoseconds.
const GLANCE: i64 = 20_000_000;
/// After its output has ended: the same.
const SOON: i64 = 1_000_000;
/// How long output is waited for that others still hold open after the command itself has ended.
const LINGER: std::time::Duration = std::time::Duration::from_millis(50);

struct Serving {
    to_host: VecDeque<u8>,
    recipe: Recipe,
    running: Option<Running>,
    connections: Connections,
    /// Since when the command has ended.
    ended: Option<Instant>,
    told: bool,
}

/// What one look at the descriptors is about.
#[derive(Clone, Copy)]
enum About {
    Host,
    ToHost,
    Listener,
    Input,
    Output,
    Errors,
    Connection(u32),
}

/// Serves the host until it hangs up.
pub(crate) fn serve() -> io::Result<()> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    for pipe in [stdin, stdout] {
        let flags = fcntl_getfl(pipe)?;
        fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
    }
    let mut serving = Serving {
        to_host: VecDeque::new(),
        recipe: Recipe::default(),
        running: None,
        connections: Connections::listen()?,
        ended: None,
        told: false,
    };
    serving.hello();
    let mut decoder = Decoder::new(MOST_IN);
    let mut buffer = vec![0; MOST_OUT];
    loop {
        let ready = serving.wait(stdin, stdout)?;
        for (about, flags) in ready {
            match about {
                About::Host => match rustix::io::read(stdin, &mut buffer[..]) {
                    // The host has hung up.
                    Ok(0) => return Ok(()),
                    Ok(count) => {
                        decoder.push(&buffer[..count]);
                        while let Some(frame) = decoder.take().map_err(io::Error::other)? {
                            serving.heed(&frame)?;
                        }
                    }
                    Err(error) if passing(error) => {}
                    Err(error) => return Err(error.into()),
                },
                About::ToHost => {
                    if flags.intersects(PollFlags::ERR | PollFlags::HUP) && !flags.contains(PollFlags::OUT) {
                        return Ok(());
                    }
                    send(stdout, &mut serving.to_host)?;
                }
                About::Listener => {
                    for number in serving.connections.accept() {
                        serving.say(Kind::Open, number, &[]);
                    }
                }
                About::Input => serving.feed(),
                About::Output => serving.listen(Kind::Output, &mut buffer),
                About::Errors => serving.listen(Kind::Errors, &mut buffer),
                About::Connection(number) => serving.forward(number, flags, &mut buffer),
            }
        }
        serving.see_to_the_end();
    }
}

fn passing(error: Errno) -> bool {
    error == Errno::AGAIN || error == Errno::INTR
}

fn send(stdout: BorrowedFd<'_>, waiting: &mut VecDeque<u8>) -> io::Result<()> {
    while !waiting.is_empty() {
        let (front, _) = waiting.as_slices();
        match rustix::io::write(stdout, front) {
            Ok(count) => drop(waiting.drain(..count)),
            Err(error) if passing(error) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Serving {
    fn say(&mut self, kind: Kind, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 16);
        encode(kind, stream, payload, &mut bytes);
        self.to_host.extend(bytes);
    }

    /// What kernel answers is what tells the host that it is gVisor's.
    fn hello(&mut self) {
        let uname = rustix::system::uname();
        let mut payload = vec![PROTOCOL];
        payload.extend_from_slice(uname.release().to_bytes());
        payload.push(0);
        payload.extend_from_slice(uname.version().to_bytes());
        self.say(Kind::Hello, 0, &payload);
    }

    fn wait(&self, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> io::Result<Vec<(About, PollFlags)>> {
        let mut abouts = Vec::new();
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let mut add = |about, fd, flags| {
            abouts.push(about);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        let room = self.to_host.len() < BACKLOG;
        if !self.connections.clogged() {
            add(About::Host, stdin, PollFlags::IN);
        }
        if !self.to_host.is_empty() {
            add(About::ToHost, stdout, PollFlags::OUT);
        }
        if room && self.connections.has_room() {
            add(About::Listener, self.connections.listener.as_fd(), PollFlags::IN);
        }
        if let Some(running) = &self.running {
            if let Some(input) = running.input.as_ref().filter(|_| !running.pending.is_empty()) {
                add(About::Input, input.as_fd(), PollFlags::OUT);
            }
            for (about, pipe) in [(About::Output, &running.output), (About::Errors, &running.errors)] {
                if let Some(pipe) = pipe.as_ref().filter(|_| room) {
                    add(about, pipe.as_fd(), PollFlags::IN);
                }
            }
        }
        for (number, connection) in &self.connections.open {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, room && !connection.read_ended);
            flags.set(PollFlags::OUT, !connection.pending.is_empty());
            if !flags.is_empty() {
                add(About::Connection(*number), connection.socket.as_fd(), flags);
            }
        }
        let timeout = self.patience().map(|nanos| Timespec { tv_sec: 0, tv_nsec: nanos });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_count) => {}
            Err(error) if passing(error) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = abouts.into_iter().zip(&fds).map(|(about, fd)| (about, fd.revents()));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    /// How long to wait when nothing happens; for ever where nobody can end unseen.
    fn patience(&self) -> Option<i64> {
        let running = self.running.as_ref().filter(|_| !self.told)?;
        let silent = running.output.is_none() && running.errors.is_none();
        Some(if silent || running.ended.is_some() { SOON } else { GLANCE })
    }

    fn heed(&mut self, frame: &Frame) -> io::Result<()> {
        match frame.kind {
            Kind::File => {
                if let Err(error) = write_file(&frame.payload) {
                    self.say(Kind::Failed, 0, format!("a file cannot be written: {error}").as_bytes());
                }
            }
            Kind::Env => self.recipe.variable(&frame.payload),
            Kind::Argument => self.recipe.word(&frame.payload),
            Kind::Start => match self.recipe.start(&frame.payload).and_then(unblocked) {
                Ok(running) => self.running = Some(running),
                Err(error) => self.say(Kind::Failed, 0, format!("the command does not start: {error}").as_bytes()),
            },
            Kind::Input => {
                if let Some(running) = &mut self.running {
                    running.pending.extend(&frame.payload);
                }
                self.feed();
            }
            Kind::InputEnd => {
                if let Some(running) = &mut self.running {
                    running.input_ends = true;
                }
                self.feed();
            }
            Kind::Census => {
                halt();
                self.say(Kind::Processes, 0, &census().to_be_bytes());
            }
            Kind::Data => self.connections.data(frame.stream, &frame.payload),
            Kind::Close => {
                self.connections.close(frame.stream);
                self.flush(frame.stream);
            }
            _ => return Err(io::Error::other("the host said what only a sandbox says")),
        }
        Ok(())
    }

    fn feed(&mut self) {
        let Some(running) = &mut self.running else { return };
        let Some(input) = &running.input else { return };
        let fed = send(input.as_fd(), &mut running.pending);
        if fed.is_err() || (running.pending.is_empty() && running.input_ends) {
            running.pending.clear();
            running.input = None;
        }
    }

    fn listen(&mut self, kind: Kind, buffer: &mut [u8]) {
        let Some(running) = &mut self.running else { return };
        let pipe = if kind == Kind::Output { &mut running.output } else { &mut running.errors };
        let Some(open) = pipe else { return };
        match rustix::io::read(&*open, &mut *buffer) {
            Ok(0) => *pipe = None,
            Ok(count) => self.say(kind, 0, &buffer[..count]),
            Err(error) if passing(error) => {}
            Err(_broken) => *pipe = None,
        }
    }

    fn forward(&mut self, number: u32, flags: PollFlags, buffer: &mut [u8]) {
        let Some(connection) = self.connections.open.get_mut(&number) else { return };
        if flags.contains(PollFlags::OUT) && !connection.write() {
            self.connections.open.remove(&number);
            self.say(Kind::Close, number, &[]);
            return;
        }
        if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && !connection.read_ended {
            match connection.read(buffer) {
                Some(0) => {}
                Some(count) => self.say(Kind::Data, number, &buffer[..count]),
                None => self.say(Kind::Close, number, &[]),
            }
        }
        self.flush(number);
    }

    /// Writes what can be written, and forgets a connection that is over.
    fn flush(&mut self, number: u32) {
        let Some(connection) = self.connections.open.get_mut(&number) else { return };
        if !connection.write() || connection.is_over() {
            let unsaid = !connection.read_ended;
            self.connections.open.remove(&number);
            if unsaid {
                self.say(Kind::Close, number, &[]);
            }
        }
    }

    /// Tells the host that the command has ended, after the last of its output.
    fn see_to_the_end(&mut self) {
        reap(self.running.as_mut());
        let Some(running) = &self.running else { return };
        let Some((how, code)) = running.ended.filter(|_| !self.told) else { return };
        let since = *self.ended.get_or_insert_with(Instant::now);
        let silent = running.output.is_none() && running.errors.is_none();
        if silent || since.elapsed() > LINGER {
            let mut payload = vec![how];
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(&census().to_be_bytes());
            self.say(Kind::Ended, 0, &payload);
            self.told = true;
        }
    }
}

fn unblocked(running: Running) -> io::Result<Running> {
    let pipes: [Option<&OwnedFd>; 3] = [running.input.as_ref(), running.output.as_ref(), running.errors.as_ref()];
    for pipe in pipes.into_iter().flatten() {
        let flags = fcntl_getfl(pipe)?;
        fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
    }
    Ok(running)
}
