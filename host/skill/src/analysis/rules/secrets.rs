//! SA018: a package is public; a secret in it belongs to everybody who downloads it.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use sophon_guard::{FindingKind, scan_secrets_up_to};

pub(super) const RULE: Rule = Rule {
    id: "SA018",
    title: "embedded secret",
    severity: Severity::Warning,
    what: "A data segment, a custom section, a file, the manifest or README.md holds what looks like a credential: a \
           token of a known format, a private key, a password in a URL. The text itself is never shown. A note where, \
           in compiled code, only the words around it say so.",
    why: "Whoever gets the package gets the secret, and a skill that brings its own credential goes around the vault, \
          the audit and the person who connects accounts.",
    advice: "revoke the secret, remove it, and let the host attach it: declare the service under \"credentials\"",
    check: Check::Any(check),
};

/// Rules of the guard that judge by what stands around a value. Literals in compiled code stand side by side without
/// meaning anything to each other.
const BY_SURROUNDINGS: [&str; 5] =
    ["assigned-secret", "service-credential", "url-password", "curl-user", "authorization-header"];

/// Texts that are looked at. A skill has a few.
const MOST: usize = 4096;

fn check(context: &Context<'_>, findings: &mut Findings) {
    for noticed in context.noticed.iter().filter(|noticed| noticed.kind == FindingKind::PossibleSecret) {
        let message = format!("the text holds what looks like a secret ({})", noticed.rule);
        findings.warning(&noticed.place, message, RULE.advice);
    }
    let secrets = scan_secrets_up_to(&context.strings.text, MOST);
    if secrets.len() == MOST {
        let message = format!("{MOST} texts look like secrets, and the rest is not looked at");
        findings.warning("the package", message, RULE.advice);
    }
    for found in secrets {
        let place = context.place(context.strings.origin(found.start));
        let message = format!("there is what looks like a secret ({})", found.rule);
        if BY_SURROUNDINGS.contains(&found.rule.as_str()) {
            findings.note(&place, message, RULE.advice);
        } else {
            findings.warning(&place, message, RULE.advice);
        }
    }
}
