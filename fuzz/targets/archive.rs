//! Packages as archives: what is accepted stays inside, within its limits, and another extractor sees the same files.
//!
//! The first byte chooses: a zip file as it comes, files to be packed, or packed files that are then damaged.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use libfuzzer_sys::fuzz_target;
use sophon_fuzz::Input;
use sophon_skill::{Archive, ArchiveLimits, Package, pack};
use sophon_types::Digest;
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Component, Path};

const LIMITS: ArchiveLimits =
    ArchiveLimits { archive_bytes: 1 << 20, entries: 32, file_bytes: 64 << 10, total_bytes: 256 << 10, ratio: 100 };

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => check(input.rest()),
        1 => {
            packed(&mut input);
        }
        _ => {
            let Some(original) = packed(&mut input) else { return };
            let mut damaged = original.clone();
            input.damage(&mut damaged);
            if damaged != original {
                assert!(Package::read_pinned(damaged.clone(), &Digest::of(&original)).is_err());
                check(&damaged);
            }
        }
    }
});

/// Packs files that the input names; what was packed reads back.
fn packed(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let mut files = BTreeMap::new();
    for _ in 0..1 + input.byte() % 4 {
        let name = input.text_line().to_owned();
        let length = input.below(600);
        // Every other file is of a kind that packs well.
        let content = if length % 2 == 0 { input.take(length).to_vec() } else { vec![input.byte(); length] };
        files.insert(name, content);
    }
    let bytes = pack(&files).ok()?;
    let archive = Archive::read(&bytes, &ArchiveLimits::default()).unwrap();
    let read: BTreeMap<_, _> = archive.files().map(|(name, content)| (name.to_owned(), content.to_vec())).collect();
    assert_eq!(read, files);
    check(&bytes);
    Some(bytes)
}

fn check(bytes: &[u8]) {
    // A package is an archive and more; neither may panic on what the other refuses.
    let package = Package::read(bytes.to_vec());
    let Ok(archive) = Archive::read(bytes, &LIMITS) else { return };
    let mut total = 0;
    let mut folded = BTreeMap::new();
    for (name, content) in archive.files() {
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        assert!(inside && !name.contains(['\\', '\0', ':']) && !name.ends_with('/'), "{name:?}");
        assert!(content.len() <= LIMITS.file_bytes, "{name:?}");
        assert_eq!(folded.insert(name.to_lowercase(), name), None);
        total += content.len();
    }
    assert!(total <= LIMITS.total_bytes);
    if let Ok(package) = package {
        assert_eq!(package.archive().files().count(), archive.files().count());
        assert!(package.archive().file(&package.manifest().entrypoint).is_some());
    }

    // From the central directory.
    let mut other = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut seen = 0;
    for index in 0..other.len() {
        let mut entry = other.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let (name, folder) = (entry.name().unwrap().into_owned(), entry.is_dir());
        same(&archive, &name, folder, &content, &mut seen);
        assert!(!entry.is_symlink() && entry.enclosed_name().is_some(), "{name:?}");
    }
    assert_eq!(seen, archive.files().count());

    // From the front, as a stream.
    let (mut stream, mut seen) = (Cursor::new(bytes), 0);
    while let Some(mut entry) = zip::read::read_zipfile_from_stream(&mut stream).unwrap() {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let (name, folder) = (entry.name().unwrap().into_owned(), entry.is_dir());
        same(&archive, &name, folder, &content, &mut seen);
    }
    assert_eq!(seen, archive.files().count());

    let files: BTreeMap<_, _> = archive.files().map(|(name, content)| (name.to_owned(), content.to_vec())).collect();
    let again = Archive::read(&pack(&files).unwrap(), &LIMITS).unwrap();
    assert!(again.files().eq(archive.files()));
}

fn same(archive: &Archive, name: &str, folder: bool, content: &[u8], seen: &mut usize) {
    if folder {
        assert!(content.is_empty() && archive.file(name.trim_end_matches('/')).is_none(), "{name:?}");
    } else {
        assert_eq!(archive.file(name).map(|ours| &ours[..]), Some(content), "{name:?}");
        *seen += 1;
    }
}
