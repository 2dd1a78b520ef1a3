//! The log as JSON lines that can be kept elsewhere and checked without the home.
//!
//! One header, then for each chain its checkpoints and its rows in order. A row's body stands in its line exactly
//! as it was hashed, so a tool that rewrites JSON breaks the check; keep the file as it is.

use crate::verify::{BodyRule, Chain, Link, Verification};
use crate::{AuditError, Checkpoint};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sophon_store::{AuditRow, Store};
use sophon_types::{Digest, TenantId, Timestamp};
use std::collections::VecDeque;
use std::io::BufRead;

/// Rows or checkpoints of one chunk.
const PAGE: u32 = 500;
/// The format's name and version.
const FORMAT: &str = "sophon-audit-export/1";
/// Bytes of one line that are read; a body is bounded far below this.
const MAX_LINE: u64 = 1 << 20;

/// Whose bodies an export shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportScope {
    /// All.
    Everything,
    /// One tenant's, and those that belong to no tenant are withheld with the rest; the chain can be checked all
    /// the same.
    Tenant(TenantId),
}

/// An export under way: chunks of whole lines, read page by page.
#[derive(Debug)]
pub struct Export {
    store: Store,
    scope: ExportScope,
    public_key: [u8; 32],
    time: Timestamp,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Header,
    Checkpoints { writers: VecDeque<String>, writer: String, after: u64 },
    Rows { writers: VecDeque<String>, writer: String, after: u64 },
    End,
}

impl Export {
    pub(crate) fn new(store: Store, public_key: [u8; 32], scope: ExportScope, time: Timestamp) -> Self {
        Self { store, scope, public_key, time, part: Part::Header }
    }

    /// The next lines, each with its line feed; `None` at the end.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read.
    pub async fn next_chunk(&mut self) -> Result<Option<String>, AuditError> {
        loop {
            let mut lines = String::new();
            match std::mem::replace(&mut self.part, Part::End) {
                Part::End => return Ok(None),
                Part::Header => {
                    let public_key = hex::encode(self.public_key);
                    push(&mut lines, &Line::Header { format: FORMAT.into(), public_key, time: self.time });
                    let writers = self.store.audit().writers().await.map_err(AuditError::Store)?;
                    self.part = next_writer(writers.into());
                }
                Part::Checkpoints { writers, writer, after } => {
                    let page = self.store.audit().checkpoints(&writer, after, PAGE).await.map_err(AuditError::Store)?;
                    self.part = match page.last() {
                        Some(last) => Part::Checkpoints { writers, writer, after: last.number },
                        None => Part::Rows { writers, writer, after: 0 },
                    };
                    page.iter().for_each(|checkpoint| push(&mut lines, &Line::of_checkpoint(checkpoint)));
                }
                Part::Rows { writers, writer, after } => {
                    let page = self.store.audit().chain(&writer, after, PAGE).await.map_err(AuditError::Store)?;
                    for stored in &page {
                        push(&mut lines, &self.record(&writer, &stored.row));
                    }
                    self.part = match page.last() {
                        Some(last) => Part::Rows { after: last.row.seq, writers, writer },
                        None => next_writer(writers),
                    };
                }
            }
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }

    fn record(&self, writer: &str, row: &AuditRow) -> Line {
        let shown = match &self.scope {
            ExportScope::Everything => true,
            ExportScope::Tenant(tenant) => row.tenant.as_deref() == Some(tenant.as_str()),
        };
        // A body that is no JSON was changed from outside; as a JSON text it will not fit its digest either.
        let body = row.body.as_ref().filter(|_body| shown).and_then(|body| {
            RawValue::from_string(body.clone()).or_else(|_no_json| serde_json::value::to_raw_value(body)).ok()
        });
        Line::Record {
            writer: writer.to_owned(),
            seq: row.seq,
            prev: row.prev,
            body_digest: row.body_digest,
            hash: row.hash,
            body,
        }
    }
}

fn next_writer(mut writers: VecDeque<String>) -> Part {
    match writers.pop_front() {
        Some(writer) => Part::Checkpoints { writers, writer, after: 0 },
        None => Part::End,
    }
}

fn push(lines: &mut String, line: &Line) {
    // Texts and numbers written into memory cannot fail.
    lines.push_str(&serde_json::to_string(line).unwrap_or_default());
    lines.push('\n');
}

/// Checks an export against the given ed25519 public key, or, without one, against the key that its header names;
/// that finds damage, but not an export made up by somebody else.
///
/// # Errors
/// [`AuditError::Export`] where a line is not one of an export. What is wrong with the log is a
/// [`crate::Problem`], not an error.
pub fn verify_export(mut lines: impl BufRead, public_key: Option<&[u8; 32]>) -> Result<Verification, AuditError> {
    let mut found = Verification::default();
    let mut key = None;
    let mut chain: Option<(String, Chain)> = None;
    let mut number = 0;
    let mut text = String::new();
    loop {
        number += 1;
        let wrong = |what: String| AuditError::Export { line: number, what };
        text.clear();
        let read = std::io::Read::take(&mut lines, MAX_LINE).read_line(&mut text).map_err(|e| wrong(e.to_string()))?;
        if read == 0 {
            break;
        }
        match parse(text.trim_end()).map_err(|error| wrong(error.to_string()))? {
            Line::Header { format, public_key: named, .. } if number == 1 && format == FORMAT => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(named, &mut bytes).map_err(|error| wrong(error.to_string()))?;
                key = VerifyingKey::from_bytes(public_key.unwrap_or(&bytes)).ok();
            }
            Line::Header { .. } => {
                return Err(wrong("a header that is not the first line, or of another format".into()));
            }
            _ if number == 1 => return Err(wrong("the header is missing".into())),
            Line::Checkpoint { writer, number, seq, hash, time_us, signature } => {
                let mut bytes = [0; 64];
                hex::decode_to_slice(signature, &mut bytes).map_err(|error| wrong(error.to_string()))?;
                let time = Timestamp::from_micros(time_us);
                let checkpoint = Checkpoint { number, seq, hash, time, signature: bytes, writer: writer.clone() };
                of(&mut chain, &writer, key, &mut found).checkpoint(checkpoint, &mut found);
            }
            Line::Record { writer, seq, prev, body_digest, hash, body } => {
                let row = Link { seq, prev, hash, body_digest, body: body.as_deref().map(RawValue::get) };
                of(&mut chain, &writer, key, &mut found).row(&row, BodyRule::MayBeWithheld, &mut found);
            }
        }
    }
    if number == 1 {
        return Err(AuditError::Export { line: 1, what: "the file is empty".into() });
    }
    if let Some((_, chain)) = chain {
        chain.finish(&mut found);
    }
    Ok(found)
}

/// The chain of this writer: the one under way, or, after that one's end, the next.
fn of<'c>(
    chain: &'c mut Option<(String, Chain)>,
    writer: &str,
    key: Option<VerifyingKey>,
    found: &mut Verification,
) -> &'c mut Chain {
    if chain.as_ref().is_some_and(|(name, _)| name != writer)
        && let Some((_, ended)) = chain.take()
    {
        ended.finish(found);
    }
    &mut chain.get_or_insert_with(|| (writer.to_owned(), Chain::new(writer, key))).1
}

/// One line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Header {
        format: String,
        public_key: String,
        time: Timestamp,
    },
    Checkpoint {
        writer: String,
        number: u64,
        seq: u64,
        hash: Digest,
        time_us: i64,
        signature: String,
    },
    Record {
        writer: String,
        seq: u64,
        prev: Digest,
        body_digest: Digest,
        hash: Digest,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Box<RawValue>>,
    },
}

impl Line {
    fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
        Self::Checkpoint {
            writer: checkpoint.writer.clone(),
            number: checkpoint.number,
            seq: checkpoint.seq,
            hash: checkpoint.hash,
            time_us: checkpoint.time.as_micros(),
            signature: hex::encode(checkpoint.signature),
        }
    }
}

/// Reads a line. By hand over one flat struct, because serde's tagged enums buffer their content, and a buffered
/// body would lose the bytes that were hashed.
fn parse(text: &str) -> Result<Line, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Flat {
        r#type: String,
        format: Option<String>,
        public_key: Option<String>,
        time: Option<Timestamp>,
        writer: Option<String>,
        number: Option<u64>,
        seq: Option<u64>,
        prev: Option<Digest>,
        body_digest: Option<Digest>,
        hash: Option<Digest>,
        time_us: Option<i64>,
        signature: Option<String>,
        body: Option<Box<RawValue>>,
    }
    fn need<T>(value: Option<T>, name: &str) -> Result<T, String> {
        value.ok_or_else(|| format!("{name} is missing"))
    }
    let flat: Flat = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match flat.r#type.as_str() {
        "header" => Ok(Line::Header {
            format: need(flat.format, "format")?,
            public_key: need(flat.public_key, "public_key")?,
            time: need(flat.time, "time")?,
        }),
        "checkpoint" => Ok(Line::Checkpoint {
            writer: need(flat.writer, "writer")?,
            number: need(flat.number, "number")?,
            seq: need(flat.seq, "seq")?,
            hash: need(flat.hash, "hash")?,
            time_us: need(flat.time_us, "time_us")?,
            signature: need(flat.signature, "signature")?,
        }),
        "record" => Ok(Line::Record {
            writer: need(flat.writer, "writer")?,
            seq: need(flat.seq, "seq")?,
            prev: need(flat.prev, "prev")?,
            body_digest: need(flat.body_digest, "body_digest")?,
            hash: need(flat.hash, "hash")?,
            body: flat.body,
        }),
        other => Err(format!("{other:?} is not a kind of line")),
    }
}
