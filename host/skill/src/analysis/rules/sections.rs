//! SA021: custom sections are data that nothing runs and nobody looks at. Those that tools are known to write are named
//! here; of others the report says that they are there.

use super::{Check, Context, Findings, Rule};
use crate::analysis::facts::CarrierKind;
use crate::analysis::report::Severity;
use crate::text::quote;

pub(super) const RULE: Rule = Rule {
    id: "SA021",
    title: "unknown custom section",
    severity: Severity::Warning,
    what: "The component has a custom section that no known tool writes. A note up to 4 KiB in all, a warning beyond.",
    why: "Sections are a place to carry data past a reader. What is in them is also searched for programs, blobs and \
          secrets.",
    advice: "remove it (`wasm-tools strip`), or build with the tools that the manual names",
    check: Check::Component(check),
};

const MAX_UNKNOWN: usize = 4 << 10;

/// Whether a tool of the usual chains writes sections of this name.
pub(in crate::analysis) fn is_known(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "name",
        "component-name",
        "producers",
        "target_features",
        "dylink.0",
        "linking",
        "build_id",
        "sourceMappingURL",
        "external_debug_info",
        "sophon:tools",
        // The OCI annotations that wasm-tools and cargo-component write.
        "authors",
        "description",
        "homepage",
        "licenses",
        "registry-metadata",
        "revision",
        "source",
        "version",
        "package-docs",
        "wit-component-encoding",
        "go:buildid",
        "core_features",
    ];
    const PREFIXES: [&str; 5] = ["component-type", ".debug_", "reloc.", "metadata.code.", "__wasm_bindgen_"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn check(context: &Context<'_>, findings: &mut Findings) {
    let unknown = || {
        context.facts.carriers.iter().filter_map(|carrier| match carrier.kind {
            CarrierKind::Section(name) if !is_known(name) => Some((name, carrier)),
            _ => None,
        })
    };
    let total: usize = unknown().map(|(name, carrier)| name.len() + carrier.data.len()).sum();
    for (name, carrier) in unknown() {
        let place = format!("section {}, byte {:#x}", quote(name), carrier.offset);
        let message = format!("no known tool writes this section; it has {} bytes", carrier.data.len());
        if total > MAX_UNKNOWN {
            findings.warning(&place, message, RULE.advice);
        } else {
            findings.note(&place, message, RULE.advice);
        }
    }
}
