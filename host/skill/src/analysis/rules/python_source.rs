//! SA023: a Python source reads the same to the analysis, to people and to the interpreter.

use super::{Check, Context, Findings, Rule};
use crate::analysis::facts::CarrierKind;
use crate::analysis::python::Kind;
use crate::analysis::report::Severity;
use crate::text::{first_unseen, quote};

pub(super) const RULE: Rule = Rule {
    id: "SA023",
    title: "Python source that cannot be read",
    severity: Severity::Error,
    what: "A Python file is not UTF-8, declares another encoding, has more than 2 MiB (all together more than 16 MiB), holds what is no token of \
           Python, or holds characters that do not show or that change how their neighbours are shown; or the package \
           holds compiled Python, or a file that the interpreter runs at its start.",
    why: "Another encoding or an invisible character makes a file that people and tools read as one program and the \
          interpreter runs as another.",
    advice: "save the file as UTF-8 without control characters, and remove the encoding declaration",
    check: Check::Python(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    for unread in &context.unread {
        let place = format!("{}, line {}", unread.name, unread.flaw.line);
        findings.error(&place, format!("it cannot be read as Python: {}", unread.flaw.message), RULE.advice);
    }
    for source in &context.python {
        for token in &source.tokens {
            // An escape is visible in the source; only a literal character hides.
            if token.kind == Kind::Name && !token.text.is_ascii() && looks_latin(&token.text) {
                let place = format!("{}, line {}", source.name, token.line);
                let message = format!("the name {} mixes alphabets that look alike", quote(&token.text));
                findings.warning(&place, message, "write names in one alphabet");
            }
        }
    }
    for carrier in context.carriers {
        let CarrierKind::File(name) = carrier.kind else { continue };
        if LOADED.iter().any(|ending| name.ends_with(ending)) {
            let message = "Python would load this instead of a source".to_owned();
            findings.error(&format!("file {}", quote(name)), message, "bring sources only");
        }
    }
    for (name, content) in context.texts.iter().filter(|(name, _)| is_source(context, name)) {
        for (index, line) in content.split('\n').enumerate() {
            let shown = line.replace('\x0c', " ");
            if let Some(unseen) = first_unseen(shown.strip_prefix('\u{feff}').filter(|_| index == 0).unwrap_or(&shown))
            {
                let place = format!("{name}, line {}", index + 1);
                findings.error(&place, format!("the source holds {unseen}"), RULE.advice);
            }
        }
    }
}

/// Endings of what the interpreter loads besides sources, and of what it runs at its start.
const LOADED: [&str; 7] = [".pyc", ".pyo", ".pyd", ".so", ".pth", "sitecustomize.py", "usercustomize.py"];

fn is_source(context: &Context<'_>, name: &str) -> bool {
    name == context.manifest.entrypoint || name.ends_with(".py")
}

/// Latin letters next to Greek or Cyrillic ones.
fn looks_latin(name: &str) -> bool {
    name.chars().any(|c| c.is_ascii_alphabetic()) && name.chars().any(|c| matches!(c, '\u{370}'..='\u{52f}'))
}
