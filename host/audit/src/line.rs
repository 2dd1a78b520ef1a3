//! One line of an export: how it is written, and how it is read without losing the bytes that were hashed.

use crate::Checkpoint;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sophon_types::{Digest, TenantId, Timestamp};

/// Whose bodies a file shows, as its header says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Everything,
    Tenant,
}

/// One line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    Header {
        format: String,
        public_key: String,
        time: Timestamp,
        scope: Scope,
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<TenantId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoint_every: Option<u64>,
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
    End {
        digest: Digest,
        rows: u64,
        withheld: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
}

impl Line {
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
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
pub(crate) fn parse(text: &str) -> Result<Line, String> {
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
        scope: Option<Scope>,
        tenant: Option<TenantId>,
        checkpoint_every: Option<u64>,
        digest: Option<Digest>,
        rows: Option<u64>,
        withheld: Option<u64>,
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
            scope: need(flat.scope, "scope")?,
            tenant: flat.tenant,
            checkpoint_every: flat.checkpoint_every,
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
        "end" => Ok(Line::End {
            digest: need(flat.digest, "digest")?,
            rows: need(flat.rows, "rows")?,
            withheld: need(flat.withheld, "withheld")?,
            signature: flat.signature,
        }),
        other => Err(format!("{other:?} is not a kind of line")),
    }
}

/// Adds a line with its line feed.
pub(crate) fn push(lines: &mut String, line: &Line) {
    // Texts and numbers written into memory cannot fail.
    lines.push_str(&serde_json::to_string(line).unwrap_or_default());
    lines.push('\n');
}
