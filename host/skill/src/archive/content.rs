//! The content of entries: inflated within the announced size, checked, and searched for archives.

use super::error::ArchiveError;
use super::structure::{Method, Record};
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// The entry's content. The announced size has been checked against the limits; no more is ever allocated.
pub(super) fn content(bytes: &[u8], record: &Record) -> Result<Vec<u8>, ArchiveError> {
    let damaged = |what| ArchiveError::Damaged { name: record.name.clone(), what };
    let data = bytes.get(record.data.clone()).ok_or_else(|| damaged("its data is missing"))?;
    let content = match record.method {
        Method::Stored => data.to_vec(),
        Method::Deflated => inflate(data, record.size as usize).map_err(damaged)?,
    };
    if content.len() != record.size as usize {
        return Err(damaged("its size is not the announced one"));
    }
    let mut crc = Crc::new();
    crc.update(&content);
    if crc.sum() != record.crc {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(content)
}

fn inflate(data: &[u8], size: usize) -> Result<Vec<u8>, &'static str> {
    // One byte more than announced, so that a stream that would go on is seen to.
    let mut content = vec![0; size + 1];
    let mut inflater = Decompress::new(false);
    let status = inflater.decompress(data, &mut content, FlushDecompress::Finish);
    match status {
        Ok(Status::StreamEnd) if inflater.total_in() != data.len() as u64 => Err("there are bytes behind its data"),
        Ok(Status::StreamEnd) if inflater.total_out() == size as u64 => {
            content.truncate(size);
            Ok(content)
        }
        Ok(Status::StreamEnd) => Err("its size is not the announced one"),
        Ok(_) => Err("its data is longer than announced, or cut off"),
        Err(_not_deflate) => Err("its data is not a deflate stream"),
    }
}

/// What kind of archive the content is, by its first bytes (of tar: by the mark at 257) or, for a zip file with
/// something before it, by its end.
pub(super) fn archive_kind(name: &str, content: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 17] = [
        (b"PK\x03\x04", "a zip file"),
        (b"PK\x05\x06", "a zip file"),
        (b"PK\x07\x08", "a zip file"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x1f\x9d", "a compressed file"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
        (b"Rar!\x1a\x07", "a rar file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"\x04\x22\x4d\x18", "an lz4 file"),
        (b"MSCF\0\0\0\0", "a cabinet"),
        (b"!<arch>\n", "an ar archive"),
        (b"070701", "a cpio archive"),
        (b"070707", "a cpio archive"),
        (b"xar!", "a xar archive"),
        (b"LZIP", "an lzip file"),
    ];
    const EXTENSIONS: [&str; 14] = [
        ".7z",
        ".apk",
        ".bz2",
        ".cab",
        ".gz",
        ".jar",
        ".rar",
        ".sophon-skill",
        ".tar",
        ".tgz",
        ".whl",
        ".xz",
        ".zip",
        ".zst",
    ];
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| content.starts_with(magic)) {
        return Some(kind);
    }
    if content.get(257..262) == Some(b"ustar") {
        return Some("a tar file");
    }
    // An end record within reach of the end (it may be followed by a comment of 64 KiB) whose comment fits.
    let tail = content.len().saturating_sub(22 + usize::from(u16::MAX));
    let is_end = |at: usize| {
        let record = &content[at..];
        record.starts_with(b"PK\x05\x06")
            && record.get(20..22).is_some_and(|l| 22 + usize::from(u16::from_le_bytes([l[0], l[1]])) == record.len())
    };
    if (tail..content.len()).any(is_end) {
        return Some("a zip file with something before it");
    }
    let lower = name.to_lowercase();
    EXTENSIONS.iter().any(|extension| lower.ends_with(extension)).then_some("an archive by its name")
}
