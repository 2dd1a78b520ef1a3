//! The pipes of a child that nobody trusts, read and written so that nobody waits for who else may hold their other ends.
//!
//! Each function goes on until its pipe ends or, once the child is `gone`, until what the child left in it is taken: a
//! process that the child started may hold a pipe open for ever.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ioctl_fionbio, ioctl_fionread};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// How long a pipe is waited for before the child is looked at again.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Writes `bytes`. A child that ends early closes its end (EPIPE); what became of it is in its status.
pub(super) fn feed(pipe: Option<impl Write + AsFd>, mut bytes: &[u8], gone: &AtomicBool) {
    let Some(mut pipe) = pipe else { return };
    if let Err(error) = ioctl_fionbio(&pipe, true) {
        tracing::warn!(%error, "the compiler gets no component");
        return;
    }
    while !bytes.is_empty() && !gone.load(SeqCst) {
        match pipe.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Err(_broken) = wait(&pipe, PollFlags::OUT) {
                    return;
                }
            }
            Err(_closed) => return,
        }
    }
}

/// What is written, `most` bytes of it at most.
pub(super) fn drain(pipe: Option<impl Read + AsFd>, most: u64, gone: &AtomicBool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe
        && let Err(error) = read(&mut pipe, most, gone, &mut bytes)
    {
        tracing::warn!(%error, "the compiler's output broke off");
    }
    bytes
}

/// The first `most` bytes of what a child has to say. The rest is read as well, so that the child is not ended by a closed
/// pipe.
pub(super) fn listen(pipe: Option<impl Read + AsFd>, most: u64, gone: &AtomicBool) -> Vec<u8> {
    let Some(mut pipe) = pipe else { return Vec::new() };
    let mut words = Vec::new();
    let heard = read(&mut pipe, most, gone, &mut words).and_then(|()| read(&mut pipe, u64::MAX, gone, &mut io::sink()));
    if let Err(error) = heard {
        tracing::warn!(%error, "the compiler's words broke off");
    }
    words
}

fn read(pipe: &mut (impl Read + AsFd), most: u64, gone: &AtomicBool, into: &mut impl Write) -> io::Result<()> {
    let mut left = most;
    while left > 0 {
        if gone.load(SeqCst) {
            // All that the child wrote is in the pipe by now. What others write into it from here on is none of its output.
            let rest = ioctl_fionread(&*pipe)?.min(left);
            return io::copy(&mut pipe.take(rest), into).map(drop);
        }
        if !wait(&*pipe, PollFlags::IN)? {
            continue;
        }
        let mut part = [0; 64 << 10];
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
        match pipe.read(&mut part[..room]) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                into.write_all(&part[..count])?;
                left -= count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the pipe has something to read or room to write, or has ended.
fn wait(pipe: impl AsFd, what: PollFlags) -> io::Result<bool> {
    match poll(&mut [PollFd::new(&pipe, what)], Some(&PATIENCE)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
