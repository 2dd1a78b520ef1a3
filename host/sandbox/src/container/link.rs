//! The host's end of the channel into one sandbox.
//!
//! Nothing that comes out of a sandbox is trusted: frames are decoded within a bound, and what makes no sense ends it.

use bollard::container::{AttachContainerResults, LogOutput};
use futures::StreamExt as _;
use sophon_init::{Decoder, Frame, Kind, MOST_OUT, encode};
use std::pin::Pin;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

/// Frames that wait to be written to a sandbox.
const WAITING: usize = 64;

/// Bytes of complaints of one sandbox that are written to this host's log. Whatever runs inside can write them.
const COMPLAINTS: usize = 4 << 10;
/// What one costs at least: a line of the log has a beginning as well.
const COMPLAINT: usize = 256;

/// Why a channel is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The sandbox is gone.
    Gone,
    /// It said what makes no sense.
    Garbage(String),
}

/// The channel into one sandbox. Dropping it hangs up, which ends the sandbox.
pub(super) struct Link {
    output: Pin<Box<dyn futures::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    decoder: Decoder,
    sender: Sender,
    writer: tokio::task::JoinHandle<()>,
    /// Bytes of complaints that may still be written down.
    complaints: usize,
}

/// Says something to a sandbox. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sender(mpsc::Sender<Vec<u8>>);

impl Sender {
    /// Waits where much is on its way already.
    pub(super) async fn say(&self, kind: Kind, stream: u32, payload: &[u8]) -> Result<(), Broken> {
        let mut frame = Vec::with_capacity(payload.len() + 16);
        encode(kind, stream, payload, &mut frame);
        self.0.send(frame).await.map_err(|_closed| Broken::Gone)
    }
}

impl Link {
    pub(super) fn new(attached: AttachContainerResults) -> Self {
        let AttachContainerResults { output, mut input } = attached;
        let (sender, mut frames) = mpsc::channel::<Vec<u8>>(WAITING);
        let writer = tokio::spawn(async move {
            while let Some(frame) = frames.recv().await {
                let written = async {
                    input.write_all(&frame).await?;
                    // Small frames go out together where there are more of them.
                    if frames.is_empty() { input.flush().await } else { Ok(()) }
                };
                if let Err(error) = written.await {
                    tracing::debug!(%error, "a sandbox takes nothing more");
                    return;
                }
            }
        });
        Self { output, decoder: Decoder::new(MOST_OUT), sender: Sender(sender), writer, complaints: COMPLAINTS }
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    pub(super) async fn say(&mut self, kind: Kind, stream: u32, payload: &[u8]) -> Result<(), Broken> {
        self.sender.say(kind, stream, payload).await
    }

    /// Writes down what something inside that is this host's own complains of. More of it than it could have to say makes no
    /// sense, and ends the channel.
    pub(super) fn complaint(&mut self, of: &str, said: &[u8]) -> Result<(), Broken> {
        let left = self.complaints.checked_sub(said.len().max(COMPLAINT));
        self.complaints = left.ok_or_else(|| Broken::Garbage(format!("{of} complains without end")))?;
        tracing::warn!(said = ?String::from_utf8_lossy(said), "{of} complains");
        Ok(())
    }

    /// The next thing that the sandbox says. May be dropped while it waits; nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Frame, Broken> {
        loop {
            match self.decoder.take() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(garbage) => return Err(Broken::Garbage(garbage.to_string())),
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdOut { message })) => self.decoder.push(&message),
                // Only something that broke in the first process writes there, or a skill that wants to fill a disk.
                Some(Ok(LogOutput::StdErr { message })) => self.complaint("a sandbox's first process", &message)?,
                Some(Ok(_other)) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "a sandbox's channel broke");
                    return Err(Broken::Gone);
                }
                None => return Err(Broken::Gone),
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(chunks: Vec<Vec<u8>>) -> Link {
        let said = chunks.into_iter().map(|chunk| Ok(LogOutput::StdErr { message: chunk.into() }));
        let output = Box::pin(futures::stream::iter(said.collect::<Vec<_>>()));
        Link::new(AttachContainerResults { output, input: Box::pin(tokio::io::sink()) })
    }

    #[tokio::test]
    async fn attack_46_a_sandbox_writes_no_more_than_a_few_lines_into_the_hosts_log() {
        // A few are heard, and the end is the end.
        assert_eq!(saying(vec![b"it broke".to_vec(); 3]).next().await, Err(Broken::Gone));
        for flood in [vec![vec![b'x'; COMPLAINTS + 1]], vec![vec![b'x'; 1 << 10]; 5], vec![b"x".to_vec(); 100]] {
            let mut link = saying(flood);
            assert!(matches!(link.next().await, Err(Broken::Garbage(what)) if what.contains("complains without end")));
            assert!(link.complaints <= COMPLAINTS);
        }
    }
}
