//! The records of a zip file, read so that there is one way to read them.
//!
//! APPNOTE 6.3.10. The file is exactly: for each entry, in the order of the central directory, a local header and
//! its data, without gaps; the central directory; one end record without a comment. Each local header says what
//! the central one says. Everything else is refused, so a reader that streams from the front, one that trusts the
//! central directory and one that searches for the end record all see the same entries.

use super::error::ArchiveError;
use crate::text::quote;
use std::ops::Range;

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const ZIP64_LOCATOR: &[u8; 4] = b"PK\x06\x07";
const LOCAL_SIZE: usize = 30;
const CENTRAL_SIZE: usize = 46;
const END_SIZE: usize = 22;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
/// Bits 1 and 2 say how hard the compressor tried.
const FLAGS_ALLOWED: u16 = 0b110 | FLAG_UTF8;

/// How an entry's data is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// One entry, as both headers have it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) size: u32,
    /// Where the data stands in the archive.
    pub(super) data: Range<usize>,
    /// Unix mode, from the upper half of the external attributes.
    pub(super) mode: u16,
    /// DOS attributes, from the lower half.
    pub(super) dos: u16,
}

/// The fields that both headers have, in the order in which both have them.
#[derive(PartialEq, Eq)]
struct Common {
    version: u16,
    flags: u16,
    method: u16,
    time: u16,
    date: u16,
    crc: u32,
    compressed: u32,
    size: u32,
    name_length: u16,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

impl Common {
    fn read(header: &[u8], at: usize) -> Self {
        Self {
            version: u16_at(header, at),
            flags: u16_at(header, at + 2),
            method: u16_at(header, at + 4),
            time: u16_at(header, at + 6),
            date: u16_at(header, at + 8),
            crc: u32_at(header, at + 10),
            compressed: u32_at(header, at + 14),
            size: u32_at(header, at + 18),
            name_length: u16_at(header, at + 22),
        }
    }
}

/// Reads all records; `max_entries` bounds the work before any is looked at.
pub(super) fn records(bytes: &[u8], max_entries: usize) -> Result<Vec<Record>, ArchiveError> {
    let directory = directory(bytes, max_entries)?;
    let mut records = Vec::with_capacity(directory.entries);
    let mut central = directory.start;
    let mut local = 0;
    for _ in 0..directory.entries {
        let record = record(bytes, &mut central, &mut local, directory.end)?;
        records.push(record);
    }
    if central != directory.end {
        return Err(ambiguous("there are bytes behind the central directory's last entry"));
    }
    if local != directory.start {
        return Err(ambiguous("there are bytes between the last entry and the central directory"));
    }
    Ok(records)
}

fn ambiguous(what: impl Into<String>) -> ArchiveError {
    ArchiveError::Ambiguous(what.into())
}

struct Directory {
    entries: usize,
    start: usize,
    end: usize,
}

fn directory(bytes: &[u8], max_entries: usize) -> Result<Directory, ArchiveError> {
    if bytes.len() < END_SIZE {
        return Err(ArchiveError::NotZip("it is too short"));
    }
    let at = bytes.len() - END_SIZE;
    let end = &bytes[at..];
    if !end.starts_with(END) {
        if find(bytes, END).is_some() {
            return Err(ambiguous("there is a comment, or something else, behind the end record"));
        }
        return Err(ArchiveError::NotZip("there is no end record"));
    }
    if u16_at(end, 20) != 0 {
        return Err(ambiguous("the end record announces a comment"));
    }
    if at >= 20 && bytes[at - 20..].starts_with(ZIP64_LOCATOR) {
        return Err(ArchiveError::Unsupported("zip64 records".into()));
    }
    second_end(&bytes[..at], bytes.len())?;
    let [disk, start_disk, on_disk, entries] = [4, 6, 8, 10].map(|offset| u16_at(end, offset));
    let (size, start) = (u32_at(end, 12), u32_at(end, 16));
    if entries == u16::MAX || size == u32::MAX || start == u32::MAX {
        return Err(ArchiveError::Unsupported("zip64 records".into()));
    }
    if disk != 0 || start_disk != 0 || on_disk != entries {
        return Err(ArchiveError::Unsupported("several disks".into()));
    }
    if usize::from(entries) > max_entries {
        return Err(ArchiveError::TooLarge(format!("{entries} entries, at most {max_entries}")));
    }
    let (start, size) = (start as usize, size as usize);
    if start.checked_add(size) != Some(at) {
        return Err(ambiguous("the central directory does not end where the end record begins"));
    }
    Ok(Directory { entries: entries.into(), start, end: at })
}

/// Refuses bytes before the end record that a reader which searches for one would take for it: the signature, and
/// a comment length that reaches exactly to the end of the file.
fn second_end(before: &[u8], total: usize) -> Result<(), ArchiveError> {
    let mut from = 0;
    while let Some(found) = before.get(from..).and_then(|rest| find(rest, END)) {
        let at = from + found;
        if at + END_SIZE + usize::from(u16_at(before, at + 20)) == total {
            return Err(ambiguous("there is a second end record"));
        }
        from = at + 1;
    }
    Ok(())
}

fn find(bytes: &[u8], needle: &[u8; 4]) -> Option<usize> {
    bytes.windows(4).position(|window| window == needle)
}

/// Reads the central header at `central` and the local one at `local`, and moves both on.
fn record(bytes: &[u8], central: &mut usize, local: &mut usize, end: usize) -> Result<Record, ArchiveError> {
    let header = bytes.get(*central..end).filter(|rest| rest.len() >= CENTRAL_SIZE && rest.starts_with(CENTRAL));
    let header = header.ok_or_else(|| ambiguous("the central directory has fewer entries than announced"))?;
    let common = Common::read(header, 6);
    let [extra_length, comment_length, disk] = [30, 32, 34].map(|offset| usize::from(u16_at(header, offset)));
    let (external, offset) = (u32_at(header, 38), u32_at(header, 42));
    let name_end = CENTRAL_SIZE + usize::from(common.name_length);
    let extra_end = name_end + extra_length;
    let (raw_name, extra) = header
        .get(CENTRAL_SIZE..name_end)
        .zip(header.get(name_end..extra_end))
        .ok_or_else(|| ambiguous("a central header reaches beyond the central directory"))?;
    if comment_length != 0 {
        return Err(ArchiveError::Unsupported("comments on entries".into()));
    }
    if disk != 0 {
        return Err(ArchiveError::Unsupported("several disks".into()));
    }
    check_features(&common)?;
    check_extra(extra)?;
    let name = name(raw_name, common.flags)?;
    if offset as usize != *local {
        return Err(ambiguous(format!("{} does not begin where the entry before it ends", quote(&name))));
    }

    let rest = bytes.get(*local..).filter(|rest| rest.len() >= LOCAL_SIZE && rest.starts_with(LOCAL));
    let rest = rest.ok_or_else(|| ambiguous(format!("{} has no local header", quote(&name))))?;
    if Common::read(rest, 4) != common {
        return Err(ambiguous(format!("the two headers of {} contradict each other", quote(&name))));
    }
    let name_end = LOCAL_SIZE + raw_name.len();
    let extra_end = name_end + usize::from(u16_at(rest, 28));
    if rest.get(LOCAL_SIZE..name_end) != Some(raw_name) {
        return Err(ambiguous(format!("the two headers of {} name different files", quote(&name))));
    }
    check_extra(rest.get(name_end..extra_end).ok_or_else(|| ambiguous("a local header reaches beyond the end"))?)?;
    let start = *local + extra_end;
    let data = start..start + common.compressed as usize;
    if data.end > bytes.len() {
        return Err(ambiguous(format!("the data of {} reaches beyond the end", quote(&name))));
    }

    *central += CENTRAL_SIZE + raw_name.len() + extra_length;
    *local = data.end;
    let method = if common.method == 0 { Method::Stored } else { Method::Deflated };
    let [mode, dos] = [(external >> 16) as u16, (external & 0xffff) as u16];
    Ok(Record { name, method, crc: common.crc, size: common.size, data, mode, dos })
}

fn check_features(common: &Common) -> Result<(), ArchiveError> {
    let unsupported = |what: &str| Err(ArchiveError::Unsupported(what.to_owned()));
    if common.flags & FLAG_ENCRYPTED != 0 {
        return unsupported("encryption");
    }
    if common.flags & FLAG_DESCRIPTOR != 0 {
        return unsupported("streamed entries, whose size stands behind the data");
    }
    if common.flags & !FLAGS_ALLOWED != 0 {
        return unsupported("features that the flags announce");
    }
    if !matches!(common.method, 0 | 8) {
        return unsupported("a compression method other than store and deflate");
    }
    // The low byte is the version; 2.0 is what folders and deflate need. Zip64 needs 4.5.
    if common.version & 0xff > 20 {
        return unsupported("features beyond version 2.0 of the format");
    }
    if common.compressed == u32::MAX || common.size == u32::MAX {
        return unsupported("zip64 records");
    }
    Ok(())
}

/// Extra fields that hold no more than times and owners pass; all others could give an entry a second name (0x7075),
/// other sizes (0x0001), encryption (0x9901) or a link target (0x000d).
fn check_extra(mut extra: &[u8]) -> Result<(), ArchiveError> {
    const TIMES_AND_OWNERS: [u16; 5] = [0x000a, 0x5455, 0x5855, 0x7855, 0x7875];
    while !extra.is_empty() {
        let (kind, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(rest) = extra.get(4 + length..) else {
            return Err(ambiguous("an extra field reaches beyond its header"));
        };
        if !TIMES_AND_OWNERS.contains(&kind) {
            return Err(ArchiveError::Unsupported(format!("the extra field {kind:#06x}")));
        }
        extra = rest;
    }
    Ok(())
}

fn name(raw: &[u8], flags: u16) -> Result<String, ArchiveError> {
    if flags & FLAG_UTF8 == 0 && !raw.is_ascii() {
        return Err(ArchiveError::Name("a name is neither ASCII nor marked as UTF-8".into()));
    }
    let text = std::str::from_utf8(raw);
    text.map(str::to_owned).map_err(|_not_utf8| ArchiveError::Name("a name is not UTF-8".into()))
}
