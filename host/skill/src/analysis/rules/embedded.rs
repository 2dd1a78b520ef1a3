//! SA016: a skill is a component. Programs within it are there for somebody else.

use super::{Check, Context, Findings, Rule};
use crate::analysis::magic::{Embedded, Weight, embedded, is_assembly, leading};
use crate::analysis::report::Severity;
use crate::analysis::strings::{Origin, long_tokens};
use crate::manifest::Runtime;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub(super) const RULE: Rule = Rule {
    id: "SA016",
    title: "embedded program",
    severity: Severity::Error,
    what: "A data segment, a custom section or another file of the package holds a program for a processor (ELF, PE, \
           Mach-O, Java), as it is or in base64. A warning for WebAssembly besides the component's own modules, archives, and scripts \
           (#! lines, Python or JavaScript source), and for programs in a skill whose runtime is csharp or container; \
           native skills may hold scripts, and a skill whose runtime is csharp consists of assemblies.",
    why: "Nothing in the sandbox can run a native program, so it is there to be carried out of it: in a result, or \
          over the network. Scripts and archives may have a use, which a person should know of.",
    advice: "leave it out; where a script or an archive is data that the skill needs, say in README.md what it is",
    check: Check::Any(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let runtime = &context.manifest.runtime;
    // Of a native skill the files are sources, and of some runtimes programs.
    let (is_native, are_programs) =
        (*runtime != Runtime::Wasm, matches!(runtime, Runtime::CSharp | Runtime::Container));
    let add = |findings: &mut Findings, found: &Embedded, place: &dyn Fn() -> (String, &'static str)| {
        let severity = match found.weight {
            Weight::Native if !are_programs => Severity::Error,
            Weight::Native | Weight::Other => Severity::Warning,
        };
        // Of millions only the first are put into words.
        if !findings.passes_over(severity) {
            let (place, how) = place();
            findings.push(
                severity,
                &place,
                format!("there is {} within the data{how}", found.what),
                RULE.advice.into(),
            );
        }
    };
    for (carrier, bytes) in context.carriers.iter().enumerate() {
        let itself = *runtime == Runtime::CSharp && is_assembly(bytes.data);
        let expected = |found: &Embedded| (is_native && found.is_script()) || (itself && found.at == 0);
        for found in embedded(bytes.data).filter(|found| !expected(found)) {
            add(findings, &found, &|| (context.place(Origin { carrier, at: found.at, width: 1 }), ""));
        }
    }
    for (start, token) in long_tokens(&context.strings.text, SHORTEST) {
        let Some(found) = decoded(&token) else { continue };
        add(findings, &found, &|| (context.place(context.strings.origin(start)), ", in base64"));
    }
    if is_native {
        return;
    }
    for language in [&PYTHON, &JAVASCRIPT] {
        if let Some(start) = language.source(&context.strings.text) {
            let place = context.place(context.strings.origin(start));
            findings.warning(&place, format!("there is {} source within the data", language.name), RULE.advice);
        }
    }
}

/// Letters of base64 that hold the header of a program.
const SHORTEST: usize = 72;
/// Letters that are decoded. A header leads no farther.
const DECODED: usize = 8 << 10;

/// The file whose beginning `token` is in base64.
fn decoded(token: &str) -> Option<Embedded> {
    // What headers begin with: ELF, PE, Mach-O, Java, WebAssembly, zip, gzip. All others need not be decoded.
    const BEGINNINGS: [&str; 12] =
        ["f0VMR", "TV", "/u36z", "_u36z", "zvrt/", "zvrt_", "z/rt/", "z_rt_", "yv66v", "AGFzb", "UEsDB", "H4sI"];
    if !BEGINNINGS.iter().any(|beginning| token.starts_with(beginning)) {
        return None;
    }
    let part = token.get(..token.len().min(DECODED))?.trim_end_matches('=');
    // Whole groups of four only: the rest of the last one does not matter.
    let part = part.get(..part.len() / 4 * 4)?;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if part.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    leading(&GeneralPurpose::new(alphabet, config).decode(part).ok()?)
}

/// How source looks: lines that begin so.
struct Language {
    name: &'static str,
    beginnings: &'static [&'static str],
    /// What one of those lines must end with, so that prose does not count; empty where anything goes.
    endings: &'static [&'static str],
}

const PYTHON: Language = Language {
    name: "Python",
    beginnings: &["import ", "from ", "def ", "class ", "async def ", "    def ", "    return ", "if __name__"],
    endings: &[":", ")", "import *"],
};

const JAVASCRIPT: Language = Language {
    name: "JavaScript",
    beginnings: &["const ", "let ", "var ", "function ", "async function ", "import ", "export ", "module.exports"],
    endings: &[";", "{", "},", "});"],
};

/// Lines of source that stand near one another.
const ENOUGH: usize = 4;
/// How far apart they may stand, in lines.
const REACH: usize = 12;

impl Language {
    /// Where source of the language begins.
    fn source(&self, text: &str) -> Option<usize> {
        let (mut first, mut seen, mut since) = (0, 0, 0);
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            since += 1;
            if since > REACH {
                seen = 0;
            }
            if self.is_line(line.trim_end()) {
                if seen == 0 {
                    first = at;
                }
                (seen, since) = (seen + 1, 0);
                if seen == ENOUGH {
                    return Some(first);
                }
            }
            at += line.len();
        }
        None
    }

    fn is_line(&self, line: &str) -> bool {
        self.beginnings.iter().any(|beginning| line.starts_with(beginning))
            && (self.endings.iter().any(|ending| line.ends_with(ending)) || is_plain_import(line))
    }
}

/// `import json`, `from os import path`.
fn is_plain_import(line: &str) -> bool {
    let words: Vec<_> = line.split(' ').take(5).collect();
    let is_name =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    matches!(words.as_slice(), ["import", name] | ["from", name, "import", _] if is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_in_base64_too() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0".to_vec();
        elf.resize(64, 0);
        let what = |token: &str| decoded(token).map(|found| found.what);
        assert_eq!(what(&STANDARD.encode(&elf)), Some("a Linux program or library (ELF)"));
        assert_eq!(what(&URL_SAFE_NO_PAD.encode(&elf)), Some("a Linux program or library (ELF)"));
        assert_eq!(what(&STANDARD.encode(&elf)[4..]), None);
        assert_eq!(what(&"TVMakesNoProgram".repeat(9)), None);
        assert_eq!(what(&"/u36z".repeat(20)), None);
    }

    #[test]
    fn source_is_told_from_prose() {
        let python = "import os\nimport json\n\ndef main(a):\n    x = 1\n    return f(x)\n";
        assert_eq!(PYTHON.source(&format!("other text\n{python}")), Some(11));
        let javascript = "const fs = require('fs');\nlet a = 1;\nfunction f() {\n  go();\n}\nmodule.exports = {\n";
        assert_eq!(JAVASCRIPT.source(javascript), Some(0));
        let prose =
            "import a file from the disk\nfrom now on\nclass of its own\ndef\nlet it be\nvar and const\n".repeat(9);
        assert_eq!((PYTHON.source(&prose), JAVASCRIPT.source(&prose)), (None, None));
    }
}
