//! SA012: what the manifest asks for and the component does not import: more is granted than is needed.

use super::{Context, Findings};
use crate::analysis::offered::{Need, OFFERED};
use crate::manifest::Filesystem;

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let manifest = context.manifest;
    let imports = |need: Need| {
        let offers = OFFERED.iter().filter(move |offer| offer.need == need);
        offers.into_iter().any(|offer| {
            let names = context.facts.imports.iter().filter_map(|import| import.interface.as_ref());
            names.into_iter().any(|name| name.interface == offer.interface)
        })
    };
    // A credential is used through http too, without the interface of its own.
    let network = imports(Need::Network);
    let unused = [
        (manifest.wants_network() && !network, "the network", "permissions.network"),
        (!manifest.credentials.is_empty() && !imports(Need::Credentials) && !network, "credentials", "credentials"),
        (
            manifest.permissions.filesystem == Filesystem::Workspace && !imports(Need::Workspace),
            "a workspace",
            "permissions.filesystem",
        ),
    ];
    for (_, what, key) in unused.into_iter().filter(|(unused, ..)| *unused) {
        findings.note(
            &format!("manifest.json: {key}"),
            format!("the manifest asks for {what}, which the component does not use"),
            format!("remove {key} from the manifest"),
        );
    }
}
