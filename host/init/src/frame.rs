//! Frames: a kind, a stream, a length, and so many bytes.

use std::fmt;

/// Bytes before the payload: kind (1), stream (4, big-endian), length (4, big-endian).
const HEAD: usize = 9;

/// What a frame says. The stream is 0 where none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// To the sandbox: a file to write, its path as UTF-8, a zero byte, its content.
    File = 1,
    /// To the sandbox: one variable of the environment, `NAME=value`.
    Env = 2,
    /// To the sandbox: one word of the command; the first is the program.
    Argument = 3,
    /// To the sandbox: start the command. Payload: the bytes that a file may have which it writes (8, big-endian).
    Start = 4,
    /// To the sandbox: bytes for the command's standard input.
    Input = 5,
    /// To the sandbox: the end of its standard input.
    InputEnd = 6,
    /// To the sandbox: stop everything, and say how many processes there are.
    Census = 7,
    /// From the sandbox: it is up. Protocol version (1 byte), then the kernel's release and version, zero-separated.
    Hello = 16,
    /// From the sandbox: what the command wrote to standard output.
    Output = 17,
    /// From the sandbox: what it wrote to standard error.
    Errors = 18,
    /// From the sandbox: the command has ended: 0 and its code, or 1 and the signal (4 bytes, big-endian), then the
    /// number of processes there were at that time (4 bytes).
    Ended = 19,
    /// From the sandbox: the number of processes (4 bytes).
    Processes = 20,
    /// From the sandbox: the command could not be started; why, as text.
    Failed = 21,
    /// From the sandbox: a program has connected to the forwarder.
    Open = 32,
    /// Either way: bytes of a connection.
    Data = 33,
    /// Either way: a connection has no more bytes in this direction.
    Close = 34,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::File,
        Self::Env,
        Self::Argument,
        Self::Start,
        Self::Input,
        Self::InputEnd,
        Self::Census,
        Self::Hello,
        Self::Output,
        Self::Errors,
        Self::Ended,
        Self::Processes,
        Self::Failed,
        Self::Open,
        Self::Data,
        Self::Close,
    ];

    fn read(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is about.
    pub kind: Kind,
    /// Which connection, or 0.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

/// What came is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// No frame begins with this byte.
    Kind(u8),
    /// It says it is longer than any may be.
    Length(usize),
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(byte) => write!(f, "no frame begins with {byte:#04x}"),
            Self::Length(length) => write!(f, "a frame of {length} bytes"),
        }
    }
}

impl std::error::Error for Garbage {}

/// Writes a frame behind what is in `to`.
pub fn encode(kind: Kind, stream: u32, payload: &[u8], to: &mut Vec<u8>) {
    // No payload of ours comes near 4 GiB; one that did would be cut, never misread.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    to.push(kind as u8);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(&payload[..length as usize]);
}

/// Makes frames of bytes as they come.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Where the first byte stands that is not part of a frame that was taken.
    from: usize,
    most: usize,
}

impl Decoder {
    /// A decoder of frames with payloads of up to `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), from: 0, most }
    }

    /// Takes bytes in. Call [`Decoder::take`] until it has no frame before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.from);
        self.from = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, where there is one.
    ///
    /// # Errors
    /// [`Garbage`]; nothing that comes after it can be made sense of.
    pub fn take(&mut self) -> Result<Option<Frame>, Garbage> {
        let rest = &self.bytes[self.from..];
        let Some(&first) = rest.first() else { return Ok(None) };
        let kind = Kind::read(first).ok_or(Garbage::Kind(first))?;
        let Some(head) = rest.first_chunk::<HEAD>() else { return Ok(None) };
        let stream = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
        if length > self.most {
            return Err(Garbage::Length(length));
        }
        let Some(payload) = rest[HEAD..].get(..length) else { return Ok(None) };
        let frame = Frame { kind, stream, payload: payload.to_vec() };
        self.from += HEAD + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_however_their_bytes_are_cut() {
        let mut bytes = Vec::new();
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            encode(kind, at as u32, &vec![at as u8; at * 7], &mut bytes);
        }
        for step in [1, 2, 8, 9, 10, 63, bytes.len()] {
            let (mut decoder, mut found) = (Decoder::new(1 << 10), Vec::new());
            for part in bytes.chunks(step) {
                decoder.push(part);
                while let Some(frame) = decoder.take().unwrap() {
                    found.push(frame);
                }
            }
            let kinds: Vec<Kind> = found.iter().map(|frame| frame.kind).collect();
            assert_eq!(kinds, Kind::ALL, "{step}");
            assert!(found.iter().enumerate().all(|(at, frame)| frame.payload == vec![at as u8; at * 7]));
            assert!(found.iter().enumerate().all(|(at, frame)| frame.stream == at as u32));
        }
    }

    #[test]
    fn garbage_is_refused_before_it_is_kept() {
        let mut decoder = Decoder::new(16);
        decoder.push(b"hello");
        assert_eq!(decoder.take(), Err(Garbage::Kind(b'h')));
        let mut decoder = Decoder::new(16);
        let mut long = Vec::new();
        encode(Kind::Output, 0, &[0; 17], &mut long);
        decoder.push(&long[..HEAD]);
        assert_eq!(decoder.take(), Err(Garbage::Length(17)), "before its bytes have come");
    }
}
