//! Writes an archive that depends on its files alone: sorted names, one time stamp, one mode.

use super::error::ArchiveError;
use super::{Archive, ArchiveLimits, SMALL};
use flate2::{Compression, Crc, write::DeflateEncoder};
use std::collections::BTreeMap;
use std::io::Write as _;

/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 0x21;
/// A plain file that everybody may read and its owner write, made on Unix.
const MODE: u32 = 0o100_644;
const MADE_ON_UNIX: u16 = 3 << 8 | 20;
const UTF8: u16 = 1 << 11;

/// Packs `files` (name → content). The same files give the same bytes.
///
/// # Errors
/// [`ArchiveError`] where [`Archive::read`] would refuse the result under the default limits: what can be packed
/// can be installed.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, ArchiveError> {
    let limits = ArchiveLimits::default();
    let total: usize = files.values().map(Vec::len).sum();
    if files.len() > limits.entries || total > limits.total_bytes {
        return Err(ArchiveError::TooLarge(format!("{} files of {total} bytes", files.len())));
    }
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        append(&mut archive, &mut directory, name, content);
    }
    let (count, start, size) = (files.len() as u16, archive.len() as u32, directory.len() as u32);
    archive.append(&mut directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&size.to_le_bytes());
    archive.extend_from_slice(&start.to_le_bytes());
    archive.extend_from_slice(&[0, 0]);
    // The reader is the judge: it also bounds every number that was narrowed above.
    Archive::read(&archive, &limits)?;
    Ok(archive)
}

fn append(archive: &mut Vec<u8>, directory: &mut Vec<u8>, name: &str, content: &[u8]) {
    let deflated = deflate(content);
    let (method, data) = match &deflated {
        Some(data) if data.len() < content.len() && !looks_like_a_bomb(content.len(), data.len()) => {
            (8_u16, data.as_slice())
        }
        _ => (0, content),
    };
    let mut crc = Crc::new();
    crc.update(content);
    let mut common = Vec::with_capacity(26);
    let flags = if name.is_ascii() { 0 } else { UTF8 };
    for field in [20, flags, method, 0, DATE] {
        common.extend_from_slice(&field.to_le_bytes());
    }
    for field in [crc.sum(), data.len() as u32, content.len() as u32] {
        common.extend_from_slice(&field.to_le_bytes());
    }
    common.extend_from_slice(&(name.len() as u16).to_le_bytes());
    // Length of the extra fields.
    common.extend_from_slice(&[0, 0]);

    let offset = archive.len() as u32;
    archive.extend_from_slice(b"PK\x03\x04");
    archive.extend_from_slice(&common);
    archive.extend_from_slice(name.as_bytes());
    archive.extend_from_slice(data);

    directory.extend_from_slice(b"PK\x01\x02");
    directory.extend_from_slice(&MADE_ON_UNIX.to_le_bytes());
    directory.extend_from_slice(&common);
    // Comment length, disk, internal attributes.
    directory.extend_from_slice(&[0; 6]);
    directory.extend_from_slice(&(MODE << 16).to_le_bytes());
    directory.extend_from_slice(&offset.to_le_bytes());
    directory.extend_from_slice(name.as_bytes());
}

/// Whether the reader would refuse the ratio; then the content is stored.
fn looks_like_a_bomb(size: usize, packed: usize) -> bool {
    size > SMALL && size / ArchiveLimits::default().ratio > packed
}

/// Deflate into memory; nothing where the compressor fails, and then the content is stored.
fn deflate(content: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    encoder.finish().ok()
}
