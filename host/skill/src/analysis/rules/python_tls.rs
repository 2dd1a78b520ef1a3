//! SA029: the other end is who it says it is.

use super::{Check, Context, Findings, Rule};
use crate::analysis::python::Kind;
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA029",
    title: "weakened TLS",
    severity: Severity::Warning,
    what: "A Python file switches the verification of certificates off (CERT_NONE, check_hostname = False, \
           _create_unverified_context, verify=False) or brings certificates of its own.",
    why: "The host makes the connection and verifies it whatever the skill says, so it is without effect here; it also \
          says how careful the rest is.",
    advice: "leave it out; a private authority's certificate is added in sophon.toml by the operator",
    check: Check::Python(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in &context.python {
        let off = ["ssl._create_unverified_context", "ssl.CERT_NONE", "ssl._create_default_https_context"];
        for used in off.iter().flat_map(|name| source.uses_of(name)) {
            let place = format!("{}, line {}", source.name, used.line);
            findings.warning(&place, format!("{} switches verification off", used.path), RULE.advice);
        }
        for used in source.uses.iter().filter(|used| used.path.ends_with(".load_verify_locations")) {
            let place = format!("{}, line {}", source.name, used.line);
            findings.warning(&place, "the skill brings certificates of its own".into(), RULE.advice);
        }
        for three in source.tokens.windows(3) {
            let [name, is, value] = three else { continue };
            let switch = name.kind == Kind::Name && matches!(name.text.as_str(), "check_hostname" | "verify");
            if switch && is.text == "=" && value.kind == Kind::Name && value.text == "False" {
                let place = format!("{}, line {}", source.name, name.line);
                findings.warning(&place, format!("{} = False switches verification off", name.text), RULE.advice);
            }
        }
    }
}
