//! Files within bytes, recognised by their headers. A few letters alone prove nothing (every tool that tells file
//! types apart holds them), so the fields after them must make sense as well.

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Embedded {
    pub(super) what: &'static str,
    pub(super) weight: Weight,
    /// Where, in bytes from the beginning.
    pub(super) at: usize,
}

impl Embedded {
    /// Whether it is a text that an interpreter runs.
    pub(super) fn is_script(&self) -> bool {
        self.what.contains("script")
    }
}

/// How much it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// A program for a processor: no use inside of a sandbox.
    Native,
    /// Something that may have a use.
    Other,
}

/// The files within `data`.
pub(super) fn embedded(data: &[u8]) -> impl Iterator<Item = Embedded> {
    data.iter().enumerate().filter(|(_, byte)| FIRST[usize::from(**byte)]).filter_map(|(at, _)| {
        let (what, weight) = header(&data[at..])?;
        Some(Embedded { what, weight, at })
    })
}

/// The file that `data` begins with.
pub(super) fn leading(data: &[u8]) -> Option<Embedded> {
    header(data).map(|(what, weight)| Embedded { what, weight, at: 0 })
}

/// First bytes of the headers below.
static FIRST: [bool; 256] = {
    let mut table = [false; 256];
    let firsts = [0x7f, b'M', 0xfe, 0xce, 0xcf, 0xca, 0, b'P', 0x1f, b'#'];
    let mut index = 0;
    while index < firsts.len() {
        table[firsts[index] as usize] = true;
        index += 1;
    }
    table
};

fn header(data: &[u8]) -> Option<(&'static str, Weight)> {
    use Weight::{Native, Other};
    let found = match data.first_chunk::<4>()? {
        b"\x7fELF" => (is_elf(data)?, Native),
        [b'M', b'Z', ..] if is_pe(data)? => ("a Windows program (PE)", Native),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf] if is_macho(data, u32::from_be_bytes)? => ("a macOS program (Mach-O)", Native),
        [0xce | 0xcf, 0xfa, 0xed, 0xfe] if is_macho(data, u32::from_le_bytes)? => ("a macOS program (Mach-O)", Native),
        [0xca, 0xfe, 0xba, 0xbe] => (fat_or_java(data)?, Native),
        b"\0asm" if is_wasm(data)? => ("another WebAssembly binary", Other),
        b"PK\x03\x04" if is_zip(data)? => ("a zip archive", Other),
        [0x1f, 0x8b, 8, flags] if is_gzip(data, *flags)? => ("a gzip stream", Other),
        [b'#', b'!', ..] => (script(data)?, Other),
        _ => return None,
    };
    Some(found)
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn u32_at(data: &[u8], at: usize, from: fn([u8; 4]) -> u32) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| from(*bytes))
}

/// System V ABI, chapter 4: class, byte order, version, and a type that is in use.
fn is_elf(data: &[u8]) -> Option<&'static str> {
    let header = data.get(..52)?;
    let ident = matches!(header[4], 1 | 2) && matches!(header[5], 1 | 2) && header[6] == 1;
    let kind = if header[5] == 2 { header[17] } else { header[16] };
    (ident && matches!(kind, 1..=4)).then_some("a Linux program or library (ELF)")
}

/// The offset at 0x3c leads to the signature.
fn is_pe(data: &[u8]) -> Option<bool> {
    let at = u32_at(data, 0x3c, u32::from_le_bytes)? as usize;
    Some(at >= 0x40 && data.get(at..)?.starts_with(b"PE\0\0"))
}

/// Whether it is, as a whole, an assembly of .NET: a PE file whose directory has a CLI header (ECMA-335, II.25.3.3).
pub(super) fn is_assembly(data: &[u8]) -> bool {
    let cli = || {
        let at = u32_at(data, 0x3c, u32::from_le_bytes)? as usize;
        let optional = at.checked_add(24)?;
        let directory = match u16_at(data, optional)? {
            0x10b => 96,
            0x20b => 112,
            _ => return None,
        };
        u32_at(data, optional + directory + 14 * 8, u32::from_le_bytes)
    };
    data.starts_with(b"MZ") && is_pe(data) == Some(true) && cli().is_some_and(|cli| cli != 0)
}

/// A processor of the list in `mach/machine.h` and a file type in use.
fn is_macho(data: &[u8], order: fn([u8; 4]) -> u32) -> Option<bool> {
    let processor = u32_at(data, 4, order)? & 0x00ff_ffff;
    Some(matches!(processor, 7 | 12 | 18) && (1..=12).contains(&u32_at(data, 12, order)?))
}

/// Universal Mach-O files and Java classes begin alike: few architectures, or a version of the class format.
fn fat_or_java(data: &[u8]) -> Option<&'static str> {
    match u32_at(data, 4, u32::from_be_bytes)? {
        1..=8 if matches!(u32_at(data, 8, u32::from_be_bytes)? & 0x00ff_ffff, 7 | 12 | 18) => {
            Some("a macOS program (Mach-O)")
        }
        version if (45..=80).contains(&(version & 0xffff)) && version >> 16 <= 3 => Some("a Java class"),
        _ => None,
    }
}

/// A module or component with a first section that fits, or with nothing else.
fn is_wasm(data: &[u8]) -> Option<bool> {
    let rest = data.get(8..)?;
    let version = matches!(data[4..8], [1, 0, 0, 0] | [0x0d, 0, 1, 0]);
    let (Some(id), Some(size)) = (rest.first(), rest.get(1)) else { return Some(version && rest.is_empty()) };
    Some(version && *id <= 13 && (*size & 0x7f != 0 || size & 0x80 != 0) && rest.len() > 2)
}

/// APPNOTE 4.3.7: a version, a method in use, a name.
fn is_zip(data: &[u8]) -> Option<bool> {
    let method = matches!(u16_at(data, 8)?, 0 | 8 | 9 | 12 | 14 | 93 | 95 | 99);
    let name = usize::from(u16_at(data, 26)?);
    Some(u16_at(data, 4)? <= 63 && method && (1..=512).contains(&name) && data.len() >= 30 + name)
}

/// RFC 1952, section 2.3: no reserved flag, a known operating system.
fn is_gzip(data: &[u8], flags: u8) -> Option<bool> {
    let system = *data.get(9)?;
    Some(flags & 0xe0 == 0 && matches!(data[8], 0 | 2 | 4) && (system <= 13 || system == 255) && data.len() >= 18)
}

fn script(data: &[u8]) -> Option<&'static str> {
    let line = data[2..data.len().min(66)].trim_ascii_start();
    let interpreter = line.starts_with(b"/bin/") || line.starts_with(b"/usr/") || line.starts_with(b"/opt/");
    (interpreter && line.len() > 7).then_some("a script (it begins with #! and an interpreter)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &[u8], expected: Option<&str>) {
        let padded: Vec<u8> = b"some text "[..].iter().chain(data).copied().collect();
        let found: Vec<_> = embedded(&padded).collect();
        assert_eq!(found.first().map(|found| found.what), expected, "{data:?}");
        assert!(found.iter().all(|found| found.at == 10));
    }

    #[test]
    fn files_are_known_by_their_headers() {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2, 0, 0x3e, 0]);
        elf.resize(64, 0);
        check(&elf, Some("a Linux program or library (ELF)"));
        let mut pe = b"MZ".to_vec();
        pe.resize(0x3c, 0);
        pe.extend(0x80_u32.to_le_bytes());
        pe.resize(0x80, 0);
        pe.extend(b"PE\0\0");
        check(&pe, Some("a Windows program (PE)"));
        check(b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0", Some("a macOS program (Mach-O)"));
        check(b"\xca\xfe\xba\xbe\0\0\0\x02\x01\0\0\x07", Some("a macOS program (Mach-O)"));
        check(b"\xca\xfe\xba\xbe\0\0\0\x37\0\0\0\x10", Some("a Java class"));
        check(b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0", Some("another WebAssembly binary"));
        check(b"\0asm\x0d\0\x01\0", Some("another WebAssembly binary"));
        check(b"PK\x03\x04\x14\0\0\0\x08\0aaaabbbbccccdddd\x01\0\0\0a", Some("a zip archive"));
        check(b"\x1f\x8b\x08\0\0\0\0\0\0\x03abcdefghij", Some("a gzip stream"));
        check(b"#!/bin/sh\nrm -rf /\n", Some("a script (it begins with #! and an interpreter)"));
        check(b"#!/usr/bin/env python3\n", Some("a script (it begins with #! and an interpreter)"));
    }

    #[test]
    fn the_first_letters_alone_are_no_file() {
        check(b"\x7fELF", None);
        check(b"\x7fELFMZPK\x03\x04\x1f\x8b\x08\0asm#!/", None);
        check(b"MZ and much other text that is long enough to have an offset there, which leads nowhere", None);
        check(b"\0asm is what a module begins with", None);
        check(b"\xca\xfe\xba\xbe\xde\xad\xbe\xef\0\0\0\0", None);
        check(b"#!shebang lines begin so", None);
    }
}
