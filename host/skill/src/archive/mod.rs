//! A zip file, read strictly and wholly into memory.
//!
//! Scanner and extractor share the one view that is built here ([`Archive`]); nothing ever reads the bytes a
//! second time, and nothing is written to a disk. Work and memory are bounded before they are spent.

mod content;
mod error;
mod name;
mod structure;
#[cfg(test)]
mod tests;
mod write;

pub use error::ArchiveError;
pub(crate) use name::check_name;
pub use write::pack;

use bytes::Bytes;
use std::collections::BTreeMap;
use structure::{Method, Record};

/// Bounds of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the archive itself.
    pub archive_bytes: usize,
    /// Entries, folders included.
    pub entries: usize,
    /// Bytes of one file, unpacked.
    pub file_bytes: usize,
    /// Bytes of all files, unpacked.
    pub total_bytes: usize,
    /// Unpacked bytes for one packed byte, where a file has more than 1 MiB. Deflate reaches 1032; components and
    /// text stay under 20.
    pub ratio: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { archive_bytes: 100 << 20, entries: 1000, file_bytes: 64 << 20, total_bytes: 128 << 20, ratio: 100 }
    }
}

/// Whether files that are archives themselves may be in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nested {
    /// In a package they would hide from the analysis.
    Refuse,
    /// They are kept as they are, and nobody unpacks them.
    Keep,
}

/// Files up to this size may have any ratio.
const SMALL: usize = 1 << 20;

/// A sound archive: plain files under plain names.
#[derive(Debug, Clone)]
pub struct Archive {
    files: BTreeMap<String, Bytes>,
}

impl Archive {
    /// Reads an archive.
    ///
    /// # Errors
    /// [`ArchiveError`] names the first rule that is broken; then nothing of the archive is kept.
    pub fn read(bytes: &[u8], limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        Self::read_nesting(bytes, limits, Nested::Refuse)
    }

    pub(crate) fn read_nesting(bytes: &[u8], limits: &ArchiveLimits, nested: Nested) -> Result<Self, ArchiveError> {
        if bytes.len() > limits.archive_bytes {
            return Err(ArchiveError::TooLarge(format!("{} bytes, at most {}", bytes.len(), limits.archive_bytes)));
        }
        let records = structure::records(bytes, limits.entries)?;
        check_sizes(&records, limits)?;
        check_names(&records)?;
        records.iter().try_for_each(check_kind)?;
        let mut files = BTreeMap::new();
        for record in &records {
            let content = content::content(bytes, record)?;
            if record.name.ends_with('/') {
                continue;
            }
            if nested == Nested::Refuse
                && let Some(what) = content::archive_kind(&record.name, &content)
            {
                return Err(ArchiveError::Nested { name: record.name.clone(), what });
            }
            files.insert(record.name.clone(), content.into());
        }
        Ok(Self { files })
    }

    /// The content of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Bytes> {
        self.files.get(name)
    }

    /// All files, in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.files.iter().map(|(name, content)| (name.as_str(), content))
    }
}

fn check_sizes(records: &[Record], limits: &ArchiveLimits) -> Result<(), ArchiveError> {
    let mut total = 0_usize;
    for record in records {
        let (size, packed) = (record.size as usize, record.data.len());
        if size > limits.file_bytes {
            let name = crate::text::quote(&record.name);
            return Err(ArchiveError::TooLarge(format!("{name} has {size} bytes, at most {}", limits.file_bytes)));
        }
        if size > SMALL && size / limits.ratio > packed {
            let name = crate::text::quote(&record.name);
            return Err(ArchiveError::TooLarge(format!("{name} unpacks to more than {} times its size", limits.ratio)));
        }
        total = total.saturating_add(size);
    }
    if total > limits.total_bytes {
        return Err(ArchiveError::TooLarge(format!("{total} bytes unpacked, at most {}", limits.total_bytes)));
    }
    Ok(())
}

/// Names are sound, and no two entries are one file (or one file and one folder) on any system.
fn check_names(records: &[Record]) -> Result<(), ArchiveError> {
    // Folded name → the name as it stands, and whether it is a folder: by its own entry, or as part of another name.
    let mut own: BTreeMap<String, &str> = BTreeMap::new();
    let mut folders: BTreeMap<String, &str> = BTreeMap::new();
    for record in records {
        let bare = record.name.strip_suffix('/').unwrap_or(&record.name);
        check_name(bare).map_err(ArchiveError::Name)?;
        let folded = name::folded(bare);
        for (at, _) in folded.match_indices('/') {
            folders.insert(folded[..at].to_owned(), &record.name);
        }
        if let Some(other) = own.insert(folded, &record.name) {
            return Err(ArchiveError::Duplicate(other.to_owned(), record.name.clone()));
        }
    }
    for (folded, name) in &own {
        if let Some(inside) = folders.get(folded).filter(|_| !name.ends_with('/')) {
            return Err(ArchiveError::Duplicate((*name).to_owned(), (*inside).to_owned()));
        }
    }
    Ok(())
}

/// An entry is a plain file or an empty folder, whatever system it claims to come from.
fn check_kind(record: &Record) -> Result<(), ArchiveError> {
    const TYPE: u16 = 0o170_000;
    const FILE: u16 = 0o100_000;
    const FOLDER: u16 = 0o040_000;
    const SPECIAL_BITS: u16 = 0o7_000;
    const DOS_VOLUME_OR_DEVICE: u16 = 0x08 | 0x40;
    const DOS_FOLDER: u16 = 0x10;
    let not_a_file = |what| Err(ArchiveError::NotAFile { name: record.name.clone(), what });
    let folder = record.name.ends_with('/');
    match record.mode & TYPE {
        0 => {}
        FILE if !folder => {}
        FOLDER if folder => {}
        FILE | FOLDER => return not_a_file("a file by its name and a folder by its mode, or the other way round"),
        0o120_000 => return not_a_file("a symbolic link"),
        _ => return not_a_file("a device, socket or pipe"),
    }
    if record.mode & SPECIAL_BITS != 0 {
        return not_a_file("a file with set-user, set-group or sticky bits");
    }
    if record.dos & DOS_VOLUME_OR_DEVICE != 0 || (record.dos & DOS_FOLDER != 0 && !folder) {
        return not_a_file("a volume, device or folder by its attributes");
    }
    if folder && (record.size != 0 || !record.data.is_empty() && record.method == Method::Stored) {
        return not_a_file("a folder with content");
    }
    Ok(())
}
