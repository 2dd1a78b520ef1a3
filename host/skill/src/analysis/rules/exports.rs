//! SA005: the component exports `sophon:skill/tools` in a version that the host can call.

use super::{Check, Context, Findings, Rule};
use crate::analysis::offered::TOOLS;
use crate::analysis::report::Severity;
use crate::text::quote;
use wasmparser::ComponentExternalKind;

pub(super) const RULE: Rule = Rule {
    id: "SA005",
    title: "tools interface missing",
    severity: Severity::Error,
    what: "The component does not export sophon:skill/tools with the function call-tool in a version that the host \
           can call.",
    why: "The host calls nothing else.",
    advice: "implement and export the interface sophon:skill/tools (in Rust: sophon_sdk::skill!)",
    check: Check::Component(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let exports = &context.facts.exports;
    let mut offered =
        exports.iter().filter(|export| export.interface.as_ref().is_some_and(|name| name.interface == TOOLS.interface));
    let Some(tools) = offered.next() else {
        let functions: Vec<_> = exports
            .iter()
            .filter(|export| export.kind == ComponentExternalKind::Func)
            .take(5)
            .map(|export| quote(&export.name))
            .collect();
        let message = if functions.is_empty() {
            format!("the component does not export {}", TOOLS.interface)
        } else {
            format!(
                "the component exports plain functions ({}), which this host does not turn into tools; it calls {}",
                functions.join(", "),
                TOOLS.interface
            )
        };
        findings.error("exports", message, RULE.advice);
        return;
    };
    let place = format!("export {}", quote(&tools.name));
    if offered.next().is_some() {
        findings.error(&place, "the interface is exported in two versions".into(), "export one version");
    }
    let version = tools.interface.as_ref().map(|name| &name.version);
    if !version.is_some_and(|version| TOOLS.serves(version)) {
        findings.error(
            &place,
            format!("this host calls version {} of the interface", TOOLS.version),
            format!("build the skill against {}@{}", TOOLS.interface, TOOLS.version),
        );
    } else if tools.kind != ComponentExternalKind::Instance || !tools.functions.iter().any(|f| f == "call-tool") {
        findings.error(&place, "the export has no function call-tool".into(), RULE.advice);
    }
}
