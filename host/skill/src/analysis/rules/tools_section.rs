//! SA006: the tools that the code was built with (`sophon:tools`) are the tools that the manifest shows to people
//! and models.

use super::{Context, Findings};
use crate::manifest::{Manifest, Tool};
use sophon_types::CanonicalJson;

const PLACE: &str = "section sophon:tools";
const ADVICE: &str = "run `sophon build`, which copies the tools out of the component into manifest.json";

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let Some(section) = &context.facts.tools_section else {
        findings.warning(PLACE, "the component does not say which tools it was built with".into(), ADVICE);
        return;
    };
    let built = match read(section, context.manifest) {
        Ok(tools) => tools,
        Err(problem) => return findings.error(PLACE, problem, ADVICE),
    };
    for built in &built {
        let name = &built.name;
        let Some(declared) = context.manifest.tool(name) else {
            findings.error(PLACE, format!("{name} is not in the manifest"), ADVICE);
            continue;
        };
        let differing = built.differing_parts(declared);
        if !differing.is_empty() {
            findings.error(PLACE, format!("{name} differs from the manifest in {}", differing.join(", ")), ADVICE);
        }
    }
    for declared in &context.manifest.tools {
        if !built.iter().any(|tool| tool.name == declared.name) {
            findings.error(PLACE, format!("{} of the manifest is not in the component", declared.name), ADVICE);
        }
    }
}

/// Reads the section by the rules of the manifest, so that what both leave out means the same.
fn read(section: &[u8], manifest: &Manifest) -> Result<Vec<Tool>, String> {
    let document = CanonicalJson::parse(section).map_err(|error| error.to_string())?;
    Manifest::tools_of(document.value(), &manifest.name).map_err(|errors| {
        let first = errors.violations.first().map(ToString::to_string).unwrap_or_default();
        format!("it is not a list of tools: {first}")
    })
}
