use super::*;
use crate::testing::{files, manifest};
use proptest::prelude::*;
use serde_json::Value;
use sophon_corpora::{Figure, bytes, rows};
use std::io::{Cursor, Read as _, Write as _};

fn read(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    Archive::read(bytes, &ArchiveLimits::default())
}

fn packed(entries: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    pack(&entries.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect())
}

/// Another zip writer, which checks nothing.
fn foreign(write: impl FnOnce(&mut zip::ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    write(&mut writer);
    writer.finish().unwrap().into_inner()
}

fn options() -> zip::write::SimpleFileOptions {
    zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated)
}

#[test]
fn packing_is_deterministic_and_reads_back() {
    let files = files(&manifest());
    let bytes = pack(&files).unwrap();
    assert_eq!(bytes, pack(&files).unwrap());
    let archive = read(&bytes).unwrap();
    let back: BTreeMap<_, _> = archive.files().map(|(name, content)| (name.to_owned(), content.to_vec())).collect();
    assert_eq!(back, files);
}

#[test]
fn archives_of_other_writers_pass() {
    let bytes = foreign(|writer| {
        writer.add_directory("src", options()).unwrap();
        writer.start_file("src/ü.txt", options()).unwrap();
        writer.write_all(b"text").unwrap();
        writer.start_file("empty", options()).unwrap();
    });
    let archive = read(&bytes).unwrap();
    assert_eq!(archive.file("src/ü.txt").unwrap().as_ref(), b"text");
    assert_eq!(archive.files().count(), 2);
}

/// Verdicts that leave a choice ("accept", "accept or reject", "same entry list") are ours to make: a skill is a zip
/// file, so every tar file is refused.
#[test]
fn attack_28_archives_have_their_labelled_verdict() {
    let Some(rows) = rows::<Value>("archives") else { return };
    assert!(rows.len() >= 60);
    let mut figure = Figure::new("archives", "refused");
    for row in rows {
        let (name, expect) = (row["name"].as_str().unwrap(), row["expect"].as_str().unwrap());
        let bytes = bytes(&row);
        let result = crate::Package::read(bytes.clone());
        assert!(result.is_err(), "{name} ({expect}) is accepted");
        let archive = read(&bytes);
        // An empty archive is a sound one; it is the package that lacks its manifest.
        assert_eq!(archive.is_ok(), name == "zip_empty", "{name}: {:?}", archive.err());
        figure.count(row["format"].as_str().unwrap(), true);
    }
    figure.publish();
}

#[test]
fn attack_28_each_trick_is_refused_for_its_own_reason() {
    let Some(rows) = rows::<Value>("archives") else { return };
    let check = |name: &str, code: &str| {
        let Some(row) = rows.iter().find(|row| row["name"] == name) else { return };
        let error = read(&bytes(row)).unwrap_err();
        assert_eq!(sophon_types::Fault::code(&error), code, "{name}: {error}");
    };
    for name in ["zip_dotdot_mid", "zip_abs", "zip_win_backslash", "zip_win_drive", "zip_dot_only", "zip_rtl_override"]
    {
        check(name, "unsafe_entry_name");
    }
    check("zip_unicode_fullwidth_slash", "unsafe_entry_name");
    check("zip_dup_manifest", "duplicate_entry");
    check("zip_setuid", "entry_not_a_file");
    check("zip_bomb_100M", "archive_too_large");
    check("zip_nested_bomb", "nested_archive");
    check("zip_local_central_size", "ambiguous_archive");
    check("zip_bad_crc", "ambiguous_archive");
    check("zip_encrypted_flag", "unsupported_archive");
    check("zip_prepended", "ambiguous_archive");
    check("zip_two_eocd", "ambiguous_archive");
    check("zip_comment_eocd", "ambiguous_archive");
    check("zip_zip64_missing", "unsupported_archive");
    check("not_archive", "not_a_package");
    check("empty", "not_a_package");
}

#[test]
fn attack_29_scanner_and_extractor_see_the_same_entries() {
    let sound = packed(&[("a.txt", b"aaaa"), ("b.txt", &[7; 500])]).unwrap();
    // A second, independent reader sees what ours sees.
    let mut other = zip::ZipArchive::new(Cursor::new(&sound)).unwrap();
    let ours = read(&sound).unwrap();
    assert_eq!(other.len(), ours.files().count());
    for index in 0..other.len() {
        let mut entry = other.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.name().unwrap().into_owned();
        assert_eq!(ours.file(&name).unwrap().as_ref(), content);
    }

    let joined = |parts: &[&[u8]]| parts.concat();
    let end = sound.len() - 22;
    let check = |what: &str, bytes: Vec<u8>| assert!(read(&bytes).is_err(), "{what} is accepted");
    check("a prefix", joined(&[b"#!/bin/sh\n", &sound]));
    check("a suffix", joined(&[&sound, b"\n"]));
    check("two archives", joined(&[&sound, &sound]));
    check("a comment", joined(&[&sound[..end + 20], &[1, 0], b"x"]));
    check("an end record in a comment", joined(&[&sound[..end + 20], &[22, 0], &sound[end..]]));
    check("a gap before the directory", {
        let directory = u32::from_le_bytes(sound[end + 16..end + 20].try_into().unwrap()) as usize;
        let mut bytes = joined(&[&sound[..directory], b"gap!", &sound[directory..]]);
        let at = bytes.len() - 6;
        bytes[at..at + 4].copy_from_slice(&(directory as u32 + 4).to_le_bytes());
        bytes
    });
    check("an entry that is not announced", {
        let mut bytes = sound.clone();
        bytes[end + 8] = 1;
        bytes[end + 10] = 1;
        bytes
    });
    check("more entries than there are", {
        let mut bytes = sound.clone();
        bytes[end + 8] = 3;
        bytes[end + 10] = 3;
        bytes
    });
}

/// Flips every bit of the records once: what is read is then refused or the same files.
#[test]
fn attack_29_no_bit_of_the_headers_is_without_effect() {
    let sound = packed(&[("a.txt", b"aaaa"), ("b.txt", &[7; 500])]).unwrap();
    let original: Vec<_> = read(&sound).unwrap().files().map(|(n, c)| (n.to_owned(), c.clone())).collect();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(archive) = read(&bytes) {
            let files: Vec<_> = archive.files().map(|(n, c)| (n.to_owned(), c.clone())).collect();
            assert_eq!(files, original, "bit {bit}");
        }
    }
}

#[test]
fn attack_30_links_devices_and_nested_archives_are_refused() {
    let link = foreign(|writer| writer.add_symlink("link", "/etc/passwd", options()).unwrap());
    assert!(matches!(read(&link), Err(ArchiveError::NotAFile { what: "a symbolic link", .. })));
    for mode in [0o020_644_u32, 0o060_644, 0o010_644, 0o140_644, 0o104_755, 0o102_755, 0o101_755] {
        let mut bytes = packed(&[("a", b"x")]).unwrap();
        let at = bytes.len() - 22 - 1 - 46 + 38;
        bytes[at..at + 4].copy_from_slice(&(mode << 16).to_le_bytes());
        assert!(matches!(read(&bytes), Err(ArchiveError::NotAFile { .. })), "{mode:o}");
    }
    let inner = packed(&[("a", b"x")]).unwrap();
    let behind = [b"prefix".as_slice(), &inner].concat();
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    let check = |name: &str, content: &[u8]| {
        assert!(matches!(packed(&[(name, content)]), Err(ArchiveError::Nested { .. })), "{name}");
    };
    check("inner.bin", &inner);
    check("behind.bin", &behind);
    check("tar.bin", &tar);
    check("gzip.bin", b"\x1f\x8b\x08\0\0\0\0\0\0\0");
    check("seven.bin", b"7z\xbc\xaf\x27\x1c\0");
    check("named.ZIP", b"harmless");
    check("wheel.whl", b"");
}

#[test]
fn attack_31_what_is_no_zip_is_refused() {
    let long = vec![b'x'; 1 << 16];
    for bytes in [b"".as_slice(), b"PK", b"PK\x05\x06", b"MZ\x90\0", b"\x7fELF", b"{}", &long] {
        assert!(matches!(read(bytes), Err(ArchiveError::NotZip(_) | ArchiveError::Ambiguous(_))));
    }
}

#[test]
fn attack_28_same_file_on_some_systems_is_refused() {
    let check = |names: &[&str]| {
        let entries: Vec<_> = names.iter().map(|name| (*name, b"x".as_slice())).collect();
        assert!(matches!(packed(&entries), Err(ArchiveError::Duplicate(..))), "{names:?}");
    };
    check(&["README.md", "readme.MD"]);
    check(&["a", "a/b"]);
    check(&["A/b", "a"]);
    check(&["É", "é"]);
    let twice = foreign(|writer| {
        writer.add_directory("a", options()).unwrap();
        writer.start_file("A", options()).unwrap();
    });
    assert!(matches!(read(&twice), Err(ArchiveError::Duplicate(..))));
}

#[test]
fn attack_28_size_is_bounded_before_it_is_spent() {
    let limits = ArchiveLimits { archive_bytes: 10_000, entries: 3, file_bytes: 2000, total_bytes: 3000, ratio: 100 };
    let check = |entries: &[(&str, &[u8])], accepted: bool| {
        let bytes = packed(entries).unwrap();
        let result = Archive::read(&bytes, &limits);
        assert_eq!(result.is_ok(), accepted, "{:?}", result.err());
    };
    check(&[("a", &[0; 2000]), ("b", &[0; 1000])], true);
    check(&[("a", &[0; 2001])], false);
    check(&[("a", &[0; 2000]), ("b", &[0; 1001])], false);
    check(&[("a", b""), ("b", b""), ("c", b""), ("d", b"")], false);
    let noise: Vec<u8> = (0..11_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    check(&[("a", &noise[..1500]), ("b", &noise[1500..3000])], true);
    check(&[("a", &noise)], false);
    // What would look like a bomb is stored instead, so it can still be packed.
    assert!(packed(&[("zeros", &vec![0; 4 << 20])]).unwrap().len() > 4 << 20);
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut bytes = packed(&[("a", &[7; 500])]).unwrap();
    let central = bytes.len() - 22 - 1 - 46;
    bytes[14] ^= 1;
    bytes[central + 16] ^= 1;
    assert!(matches!(read(&bytes), Err(ArchiveError::Damaged { what: "its checksum is wrong", .. })));
}

#[test]
fn a_header_that_lies_about_the_size_is_refused() {
    let sound = packed(&[("a", &[7; 500])]).unwrap();
    for size in [0_u32, 1, 499, 501, 100_000] {
        let mut bytes = sound.clone();
        let central = bytes.len() - 22 - 1 - 46;
        bytes[22..26].copy_from_slice(&size.to_le_bytes());
        bytes[central + 24..central + 28].copy_from_slice(&size.to_le_bytes());
        assert!(matches!(read(&bytes), Err(ArchiveError::Damaged { .. })), "{size}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn damaged_archives_never_panic(at in 0..700_usize, byte: u8, cut in 0..700_usize) {
        let mut bytes = packed(&[("a.txt", b"aaaa"), ("dir/b.txt", &[7; 500])]).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        // Refused or read; a cut archive is always refused, because the end record has to stand at the end.
        let whole = read(&bytes);
        bytes.truncate(cut.min(bytes.len() - 1));
        prop_assert!(read(&bytes).is_err());
        prop_assert!(whole.is_err() || whole.is_ok_and(|archive| archive.files().count() == 2));
    }

    #[test]
    fn what_is_packed_is_read(content in proptest::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(bytes) = packed(&[("file.bin", &content)]) {
            let archive = read(&bytes).unwrap();
            prop_assert_eq!(archive.file("file.bin").unwrap().as_ref(), content.as_slice());
        }
    }
}
