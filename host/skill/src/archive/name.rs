//! Names of entries: relative, plain, and one file on every system.
//!
//! What is refused is what some unpacker would write elsewhere, show differently, or take for another file: `..`,
//! drives, reserved device names, unseen characters, look-alikes that normalise to a separator.

use crate::text::{first_unseen, quote};
use unicode_normalization::{UnicodeNormalization as _, is_nfkc};

/// Bytes of a whole name. Common file systems take 255 for one part; a package needs far less.
const MAX_NAME: usize = 255;
/// Folders and file of one name.
const MAX_PARTS: usize = 12;

/// Device names of Windows, with any extension.
const RESERVED: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Checks the name of a file (of a folder: without the final `/`).
///
/// # Errors
/// What is wrong, as a sentence without a subject that ends without a full stop.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fail = |what: &str| Err(format!("the name {} {what}", quote(name)));
    if name.is_empty() || name.len() > MAX_NAME {
        return fail("is empty or longer than 255 bytes");
    }
    if let Some(unseen) = first_unseen(name) {
        return Err(format!("the name {} holds {unseen}", quote(name)));
    }
    if name.contains(char::is_control) || name.contains(['\u{200c}', '\u{200d}']) {
        return fail("holds an unseen character");
    }
    if !is_nfkc(name) {
        return fail("is not in Unicode's NFKC form, so two spellings of it would look alike");
    }
    if name.starts_with('/') {
        return fail("is absolute");
    }
    if name.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) {
        return fail(r#"holds one of \ : * ? " < > |"#);
    }
    let parts: Vec<_> = name.split('/').collect();
    if parts.len() > MAX_PARTS {
        return fail("is nested too deeply");
    }
    for part in parts {
        if part.is_empty() || part == "." || part == ".." {
            return fail("has an empty, '.' or '..' part");
        }
        if part.ends_with(['.', ' ']) || part.starts_with(' ') {
            return fail("has a part that ends in a dot or space, or begins with a space");
        }
        if is_reserved(part) {
            return fail("is reserved on some systems");
        }
    }
    Ok(())
}

fn is_reserved(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_lowercase();
    let port = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| {
            let mut rest = rest.chars();
            // Windows takes the superscript digits for digits here, too.
            matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
    };
    RESERVED.contains(&stem.as_str()) || port("com") || port("lpt")
}

/// What a name is on a system that folds case and normalises: two entries of one key are one file there.
pub(super) fn folded(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_pass() {
        for name in
            ["manifest.json", "src/main.py", "a b/c-d_e.f", ".gitignore", "日本語/ü.txt", "console.js", "com.txt"]
        {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn attack_28_dangerous_names_are_refused() {
        let long = "a".repeat(256);
        let deep = "d/".repeat(20) + "f";
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "/etc/passwd",
            "a//b",
            "a/",
            "..\\a",
            "C:\\a",
            "C:a",
            "\\\\host\\a",
            "a\0b",
            "a\nb",
            "a\u{1b}[2Jb",
            "a\u{202e}b",
            "a\u{200b}b",
            "CON",
            "con.txt",
            "Lpt1.log",
            "com¹",
            "NUL .x",
            "a.",
            "a ",
            " a",
            "a./b",
            "a:stream",
            "..\u{ff0f}b",
            "e\u{301}",
            "a*",
            "a?b",
            &long,
            &deep,
        ] {
            assert!(check_name(name).is_err(), "{name:?} is accepted");
        }
    }

    #[test]
    fn folding_finds_the_same_file() {
        assert_eq!(folded("README.md"), folded("readme.MD"));
        assert_eq!(folded("\u{e9}"), folded("e\u{301}"));
        assert_ne!(folded("a"), folded("b"));
    }

    proptest! {
        #[test]
        fn checking_never_panics(name in "\\PC{0,40}|[./\\\\:a-z]{0,20}") {
            if check_name(&name).is_ok() {
                prop_assert!(!name.split('/').any(|part| part == ".."));
            }
        }
    }
}
