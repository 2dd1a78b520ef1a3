//! The log as JSON lines that can be kept elsewhere and checked without the home.
//!
//! One header, which says whose bodies are shown; then for each chain its checkpoints and its rows in order; then a
//! signed end, which covers every byte before it, so that neither a row nor a body can be left out. A row's body stands in its line exactly
//! as it was hashed, so a tool that rewrites JSON breaks the check; keep the file as it is.

use crate::chain::Seal;
use crate::line::{Line, Scope, parse, push};
use crate::verify::Verification;
use crate::walk::{BodyRule, Chain, Link};
use crate::{AuditError, Checkpoint};
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sophon_store::{AuditRow, Store};
use sophon_types::{Digest, TenantId, Timestamp};
use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::Arc;

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
    checkpoint_every: Option<u64>,
    signing: Option<Arc<SigningKey>>,
    /// Of the lines so far.
    hasher: Sha256,
    rows: u64,
    withheld: u64,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Header,
    Chain { writers: VecDeque<String> },
    Checkpoints { writers: VecDeque<String>, writer: String, after: u64, upto: u64 },
    Rows { writers: VecDeque<String>, writer: String, after: u64, upto: u64 },
    End,
    Over,
}

impl Export {
    pub(crate) fn new(
        store: Store,
        public_key: [u8; 32],
        scope: ExportScope,
        time: Timestamp,
        checkpoint_every: Option<u64>,
        signing: Option<Arc<SigningKey>>,
    ) -> Self {
        let (hasher, part) = (Sha256::new(), Part::Header);
        Self { store, scope, public_key, time, checkpoint_every, signing, hasher, rows: 0, withheld: 0, part }
    }

    /// The next lines, each with its line feed; `None` at the end.
    ///
    /// # Errors
    /// [`AuditError::Store`] where the store cannot be read.
    pub async fn next_chunk(&mut self) -> Result<Option<String>, AuditError> {
        loop {
            let mut lines = String::new();
            match std::mem::replace(&mut self.part, Part::Over) {
                Part::Over => return Ok(None),
                Part::Header => {
                    push(&mut lines, &self.header());
                    let writers = self.store.audit_scans().writers().await.map_err(AuditError::Store)?;
                    self.part = Part::Chain { writers: writers.into() };
                }
                Part::Chain { mut writers } => {
                    self.part = match writers.pop_front() {
                        Some(writer) => {
                            // The end is fixed before the checkpoints are read, so that what is appended meanwhile
                            // does not look like rows whose checkpoint is missing.
                            let upto = self.store.audit_scans().head(&writer).await.map_err(AuditError::Store)?.seq;
                            Part::Checkpoints { writers, writer, after: 0, upto }
                        }
                        None => Part::End,
                    };
                }
                Part::Checkpoints { writers, writer, after, upto } => {
                    let page =
                        self.store.audit_scans().checkpoints(&writer, after, PAGE).await.map_err(AuditError::Store)?;
                    self.part = match page.last() {
                        Some(last) => {
                            Part::Checkpoints { writers, writer, after: last.number, upto: upto.max(last.seq) }
                        }
                        None => Part::Rows { writers, writer, after: 0, upto },
                    };
                    page.iter().for_each(|checkpoint| push(&mut lines, &Line::of_checkpoint(checkpoint)));
                }
                Part::Rows { writers, writer, after, upto } => {
                    let page = self.store.audit_scans().chain(&writer, after, PAGE).await.map_err(AuditError::Store)?;
                    for stored in page.iter().filter(|stored| stored.row.seq <= upto) {
                        let line = self.record(&writer, &stored.row);
                        push(&mut lines, &line);
                    }
                    self.part = match page.last() {
                        Some(last) if last.row.seq < upto => Part::Rows { after: last.row.seq, writers, writer, upto },
                        _walked => Part::Chain { writers },
                    };
                }
                Part::End => push(&mut lines, &self.end()),
            }
            self.hasher.update(&lines);
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }

    fn header(&self) -> Line {
        let (scope, tenant) = match &self.scope {
            ExportScope::Everything => (Scope::Everything, None),
            ExportScope::Tenant(tenant) => (Scope::Tenant, Some(tenant.clone())),
        };
        Line::Header {
            format: FORMAT.into(),
            public_key: hex::encode(self.public_key),
            time: self.time,
            scope,
            tenant,
            checkpoint_every: self.checkpoint_every,
        }
    }

    fn end(&self) -> Line {
        let digest = Digest::from_bytes(self.hasher.clone().finalize().into());
        let seal = Seal { digest, rows: self.rows, withheld: self.withheld };
        let signature = self.signing.as_ref().map(|key| hex::encode(seal.sign(key)));
        Line::End { digest, rows: seal.rows, withheld: seal.withheld, signature }
    }

    fn record(&mut self, writer: &str, row: &AuditRow) -> Line {
        let shown = match &self.scope {
            ExportScope::Everything => true,
            ExportScope::Tenant(tenant) => row.tenant.as_deref() == Some(tenant.as_str()),
        };
        // A body that is no JSON was changed from outside; as a JSON text it will not fit its digest either.
        let body = row.body.as_ref().filter(|_body| shown).and_then(|body| {
            RawValue::from_string(body.clone()).or_else(|_no_json| serde_json::value::to_raw_value(body)).ok()
        });
        self.rows += 1;
        self.withheld += u64::from(body.is_none());
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

/// Checks an export against the given ed25519 public key, or, without one, against the key that its header names;
/// that finds damage, but not an export made up by somebody else.
///
/// # Errors
/// [`AuditError::Export`] where a line is not one of an export. What is wrong with the log is a
/// [`crate::Problem`], not an error; what is wrong with the file as a whole is one of the writer `export`.
pub fn verify_export(mut lines: impl BufRead, public_key: Option<&[u8; 32]>) -> Result<Verification, AuditError> {
    let mut check = Check::default();
    let mut hasher = Sha256::new();
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
        let line = parse(text.trim_end()).map_err(|error| wrong(error.to_string()))?;
        if check.sealed {
            return Err(wrong("a line after the end".into()));
        }
        match line {
            Line::Header { format, public_key: named, scope, checkpoint_every, .. }
                if number == 1 && format == FORMAT =>
            {
                let mut bytes = [0; 32];
                hex::decode_to_slice(named, &mut bytes).map_err(|error| wrong(error.to_string()))?;
                check.key = VerifyingKey::from_bytes(public_key.unwrap_or(&bytes)).ok();
                check.checkpoint_every = checkpoint_every;
                check.bodies = match scope {
                    Scope::Everything => BodyRule::Kept,
                    Scope::Tenant => BodyRule::MayBeWithheld,
                };
            }
            Line::Header { .. } => {
                return Err(wrong("a header that is not the first line, or of another format".into()));
            }
            _ if number == 1 => return Err(wrong("the header is missing".into())),
            Line::Checkpoint { writer, number, seq, hash, time_us, signature } => {
                let signature = signature_of(&signature).map_err(wrong)?;
                let time = Timestamp::from_micros(time_us);
                let checkpoint = Checkpoint { number, seq, hash, time, signature, writer: writer.clone() };
                let (chain, found) = check.chain(&writer);
                chain.checkpoint(checkpoint, found);
            }
            Line::Record { writer, seq, prev, body_digest, hash, body } => {
                let body = body.as_deref().map(RawValue::get);
                let bodies = check.bodies;
                let (chain, found) = check.chain(&writer);
                chain.row(&Link { seq, time: None, prev, hash, body_digest, body }, bodies, found);
            }
            Line::End { digest, rows, withheld, signature } => {
                let signature = signature.as_deref().map(signature_of).transpose().map_err(wrong)?;
                let read = Digest::from_bytes(hasher.clone().finalize().into());
                // What the signature covers is every line before; this one is held to the bytes it was written with.
                let mut written = String::new();
                push(&mut written, &Line::End { digest, rows, withheld, signature: signature.map(hex::encode) });
                if written != text {
                    check.found.add(FILE, 0, "its last line is not written as it was exported");
                }
                check.end(&Seal { digest, rows, withheld }, read, signature);
            }
        }
        hasher.update(&text);
    }
    if number == 1 {
        return Err(AuditError::Export { line: 1, what: "the file is empty".into() });
    }
    Ok(check.finish())
}

fn signature_of(text: &str) -> Result<[u8; 64], String> {
    let mut bytes = [0; 64];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Whose problem it is where it is the file's.
const FILE: &str = "export";

/// The check of one file.
struct Check {
    key: Option<VerifyingKey>,
    checkpoint_every: Option<u64>,
    bodies: BodyRule,
    chain: Option<(String, Chain)>,
    /// Whether the end was read.
    sealed: bool,
    found: Verification,
}

impl Default for Check {
    fn default() -> Self {
        let bodies = BodyRule::Kept;
        Self { key: None, checkpoint_every: None, bodies, chain: None, sealed: false, found: Verification::default() }
    }
}

impl Check {
    /// The chain of this writer: the one under way, or, after that one's end, the next.
    fn chain(&mut self, writer: &str) -> (&mut Chain, &mut Verification) {
        if self.chain.as_ref().is_some_and(|(name, _)| name != writer) {
            self.finish_chain();
        }
        let (_, chain) = self.chain.get_or_insert_with(|| (writer.to_owned(), Chain::new(writer, self.key)));
        (chain, &mut self.found)
    }

    fn finish_chain(&mut self) {
        if let Some((_, chain)) = self.chain.take() {
            chain.finish(self.checkpoint_every, None, &mut self.found);
        }
    }

    fn end(&mut self, said: &Seal, read: Digest, signature: Option<[u8; 64]>) {
        self.sealed = true;
        // What retention has dropped is withheld from everybody.
        self.finish_chain();
        let found = &mut self.found;
        let dropped: u64 = found.dropped.iter().map(|dropped| dropped.rows).sum();
        if said.digest != read {
            found.add(FILE, 0, "its lines are not those that were exported");
        }
        for (what, said, is) in
            [("rows", said.rows, found.records), ("withheld bodies", said.withheld, found.withheld + dropped)]
        {
            if said != is {
                found.add(FILE, 0, format!("it was exported with {said} {what} and has {is}"));
            }
        }
        match signature {
            None => found.add(FILE, 0, "its end is not signed"),
            Some(signature) if !self.key.is_some_and(|key| said.is_signed(&key, &signature)) => {
                found.add(FILE, 0, "the signature of its end is wrong");
            }
            Some(_holds) => {}
        }
    }

    fn finish(mut self) -> Verification {
        self.finish_chain();
        if !self.sealed {
            self.found.add(FILE, 0, "its signed end is missing: the file was cut off");
        }
        self.found
    }
}
