//! SA030: what is installed beside a skill is known before it is.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use crate::text::quote;

pub(super) const RULE: Rule = Rule {
    id: "SA030",
    title: "requirement that is not pinned",
    severity: Severity::Error,
    what: "A requirement (in the manifest, or in requirements.txt) names no exact version. An error where it is a URL, a \
           path, a repository or an option of pip, which could bring in anything from anywhere. A warning where one of the \
           manifest names no digest of its files: it is refused when the skill is installed.",
    why: "What is installed must be what was looked at. A package that floats is another one tomorrow, and whoever \
          takes over its name runs code here.",
    advice: "pin each requirement to one version and the digest of its file: PyMySQL==1.1.1 --hash=sha256:DIGEST",
    check: Check::Native(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    for (index, requirement) in context.manifest.requirements.iter().enumerate() {
        let place = format!("manifest.json: requirements[{index}]");
        let (named, hashes) = requirement.split_at(requirement.find("--hash").unwrap_or(requirement.len()));
        look(named, &place, findings);
        if hashes.is_empty() && judge(named) == Pin::Exact {
            findings.warning(&place, format!("{} names no digest of its files", quote(requirement)), RULE.advice);
        }
    }
    for (name, content) in context.texts.iter().filter(|(name, _)| *name == "requirements.txt") {
        for (index, line) in content.lines().enumerate() {
            let line = line.split(" #").next().unwrap_or(line).trim();
            if !line.is_empty() && !line.starts_with('#') {
                look(line, &format!("{name}, line {}", index + 1), findings);
            }
        }
    }
}

fn look(requirement: &str, place: &str, findings: &mut Findings) {
    match judge(requirement) {
        Pin::Exact => {}
        Pin::Floats => {
            findings.warning(place, format!("{} names no exact version", quote(requirement)), RULE.advice);
        }
        Pin::Foreign => {
            let message = format!("{} is not a package of the index by its name", quote(requirement));
            findings.error(place, message, RULE.advice);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Pin {
    Exact,
    Floats,
    Foreign,
}

/// PEP 508, of which only `name[extras]==version ; marker` is exact.
fn judge(requirement: &str) -> Pin {
    let text = requirement.split(';').next().unwrap_or(requirement).trim();
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_extras, rest)) => rest.trim_start(),
        None => rest,
    };
    let compares = rest.is_empty() || rest.starts_with(['=', '<', '>', '!', '~']);
    if !begins || !compares || text.contains("://") {
        return Pin::Foreign;
    }
    let version = rest.strip_prefix("===").or_else(|| rest.strip_prefix("==")).map(str::trim);
    let exact = version.is_some_and(|version| {
        !version.is_empty() && version.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+!-".contains(&b))
    });
    if exact { Pin::Exact } else { Pin::Floats }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_version_is_exact() {
        let check = |text: &str, expected: Pin| assert_eq!(judge(text), expected, "{text}");
        check("PyMySQL==1.1.1", Pin::Exact);
        check("pg8000 == 1.31.2 ; python_version > '3.8'", Pin::Exact);
        check("caldav[async]==1.3.9", Pin::Exact);
        for floating in ["requests", "requests>=2", "requests==2.*", "requests==2.1,<3", "requests~=2.1"] {
            check(floating, Pin::Floats);
        }
        for foreign in [
            "git+https://github.com/a/b",
            "./wheel.whl",
            "-r other.txt",
            "--index-url https://evil.example",
            "a @ https://evil.example/a.whl",
            "https://evil.example/a.whl",
        ] {
            check(foreign, Pin::Foreign);
        }
    }
}
