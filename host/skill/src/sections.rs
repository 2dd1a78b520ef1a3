//! The custom section `sophon:tools`: the list of tools inside the component, as data.
//!
//! The SDK emits it, `sophon build` copies it into the manifest, the analysis compares the two. Reading it runs
//! nothing.

use crate::analysis::{Flaw, check_frame};
use wasmparser::{Parser, Payload};

/// The section's name.
pub const TOOLS_SECTION: &str = "sophon:tools";

/// The content of the section at the component's top level: a JSON array of `{name, description, riskLevel,
/// parameters, returns?, effects?}`. Nothing where there is no such section.
///
/// # Errors
/// [`Flaw`] where the bytes are no component, or the section is there twice.
pub fn tools_section(component: &[u8]) -> Result<Option<Vec<u8>>, Flaw> {
    check_frame(component)?;
    let mut depth = 0_usize;
    let mut found = None;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| Flaw::at(error.offset(), error.message()))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == TOOLS_SECTION => {
                if found.is_some() {
                    return Err(Flaw::at(section.data_offset(), "there is a second section sophon:tools"));
                }
                found = Some(section.data().to_vec());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The component with `json` as its only section `sophon:tools`, at the end.
///
/// # Errors
/// [`Flaw`] where the bytes are no component.
pub fn with_tools_section(component: &[u8], json: &[u8]) -> Result<Vec<u8>, Flaw> {
    check_frame(component)?;
    let mut result = without_tools_section(component)?;
    let mut content = Vec::with_capacity(json.len() + 32);
    push_leb128(&mut content, TOOLS_SECTION.len());
    content.extend_from_slice(TOOLS_SECTION.as_bytes());
    content.extend_from_slice(json);
    // Section 0 is custom (core specification, 5.5.3; the component binary format has the same).
    result.push(0);
    push_leb128(&mut result, content.len());
    result.append(&mut content);
    Ok(result)
}

/// Copies all top-level sections but `sophon:tools`.
fn without_tools_section(component: &[u8]) -> Result<Vec<u8>, Flaw> {
    const HEADER: usize = 8;
    let mut result = component.get(..HEADER).unwrap_or_default().to_vec();
    let mut at = HEADER;
    while at < component.len() {
        let cut_off = || Flaw::at(at, "a section is cut off");
        let (length, prefix) = leb128(component.get(at + 1..).unwrap_or_default()).ok_or_else(cut_off)?;
        let start = at + 1 + prefix;
        let end = start.checked_add(length).ok_or_else(cut_off)?;
        let content = component.get(start..end).ok_or_else(cut_off)?;
        if !(component[at] == 0 && is_named_tools(content)) {
            result.extend_from_slice(&component[at..end]);
        }
        at = end;
    }
    Ok(result)
}

fn is_named_tools(content: &[u8]) -> bool {
    leb128(content).is_some_and(|(length, prefix)| {
        length == TOOLS_SECTION.len() && content.get(prefix..prefix + length) == Some(TOOLS_SECTION.as_bytes())
    })
}

/// An unsigned 32-bit LEB128 number and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok().map(|number| (number as usize, index + 1));
        }
    }
    None
}

fn push_leb128(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn the_section_is_written_and_read() {
        let bare = component("(component (core module) (component))");
        assert_eq!(tools_section(&bare), Ok(None));
        let with = with_tools_section(&bare, b"[]").unwrap();
        assert_eq!(tools_section(&with), Ok(Some(b"[]".to_vec())));
        wasmparser::Validator::new().validate_all(&with).unwrap();
        let long = vec![b' '; 70_000];
        let replaced = with_tools_section(&with, &long).unwrap();
        assert_eq!(tools_section(&replaced), Ok(Some(long)));
        assert_eq!(with_tools_section(&replaced, b"[]").unwrap(), with);
    }

    #[test]
    fn sections_of_nested_parts_do_not_count() {
        let nested = component(r#"(component (component (@custom "sophon:tools" "[1]")))"#);
        assert_eq!(tools_section(&nested), Ok(None));
        let twice = component(r#"(component (@custom "sophon:tools" "[1]") (@custom "sophon:tools" "[2]"))"#);
        assert!(tools_section(&twice).is_err());
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(tools_section(b"").is_err());
        assert!(tools_section(&component("(module)")).is_err());
        assert!(with_tools_section(&component("(module)"), b"[]").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = component("(component)");
            bytes.extend(tail);
            // Both may refuse; where writing succeeds, the result begins like a component and is longer.
            let read = tools_section(&bytes);
            if let Ok(written) = with_tools_section(&bytes, b"[]") {
                prop_assert!(written.starts_with(&bytes[..8]));
                prop_assert!(read.is_err() || tools_section(&written) == Ok(Some(b"[]".to_vec())));
            }
        }
    }
}
