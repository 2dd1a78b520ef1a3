//! What the host offers to import: exact interface names, their versions, and what the manifest must declare.
//!
//! A linker is no gate: an import of an instance without items links against nothing at all. So names are compared
//! here, exactly, and what is not in this table is refused.

use sophon_types::Version;

/// What of the manifest an interface needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing: always offered.
    Nothing,
    /// The network: `permissions.network`, `sandbox.network` or a tool's `network`.
    Network,
    /// At least one of `credentials`.
    Credentials,
    /// `permissions.filesystem: "workspace"`.
    Workspace,
}

/// One interface that the host offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its name without version, such as `sophon:skill/http`.
    pub interface: &'static str,
    /// The newest version that the host has.
    pub version: &'static str,
    /// What the manifest must declare.
    pub need: Need,
}

const SKILL: &str = "1.0.0";
/// What wasmtime-wasi 48 implements.
const WASI: &str = "0.2.12";

const fn skill(interface: &'static str, need: Need) -> Offer {
    Offer { interface, version: SKILL, need }
}

const fn wasi(interface: &'static str, need: Need) -> Offer {
    Offer { interface, version: WASI, need }
}

/// Everything that a component may import. The WASI part is what compilers emit for any program: clocks, randomness,
/// standard streams (captured), an empty environment, a file system without a single folder; and `wasi:http` as a
/// second door into the one egress.
pub const OFFERED: &[Offer] = &[
    skill("sophon:skill/credentials", Need::Credentials),
    skill("sophon:skill/http", Need::Network),
    skill("sophon:skill/log", Need::Nothing),
    skill("sophon:skill/progress", Need::Nothing),
    skill("sophon:skill/settings", Need::Nothing),
    skill("sophon:skill/state", Need::Nothing),
    skill("sophon:skill/workspace", Need::Workspace),
    wasi("wasi:cli/environment", Need::Nothing),
    wasi("wasi:cli/exit", Need::Nothing),
    wasi("wasi:cli/stderr", Need::Nothing),
    wasi("wasi:cli/stdin", Need::Nothing),
    wasi("wasi:cli/stdout", Need::Nothing),
    wasi("wasi:cli/terminal-input", Need::Nothing),
    wasi("wasi:cli/terminal-output", Need::Nothing),
    wasi("wasi:cli/terminal-stderr", Need::Nothing),
    wasi("wasi:cli/terminal-stdin", Need::Nothing),
    wasi("wasi:cli/terminal-stdout", Need::Nothing),
    wasi("wasi:clocks/monotonic-clock", Need::Nothing),
    wasi("wasi:clocks/wall-clock", Need::Nothing),
    wasi("wasi:filesystem/preopens", Need::Nothing),
    wasi("wasi:filesystem/types", Need::Nothing),
    wasi("wasi:http/outgoing-handler", Need::Network),
    wasi("wasi:http/types", Need::Network),
    wasi("wasi:io/error", Need::Nothing),
    wasi("wasi:io/poll", Need::Nothing),
    wasi("wasi:io/streams", Need::Nothing),
    wasi("wasi:random/insecure", Need::Nothing),
    wasi("wasi:random/insecure-seed", Need::Nothing),
    wasi("wasi:random/random", Need::Nothing),
];

/// What a component must export.
pub(super) const TOOLS: Offer = skill("sophon:skill/tools", Need::Nothing);

/// `package:name/interface@version`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterfaceName {
    pub(super) interface: String,
    pub(super) version: Version,
}

impl InterfaceName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (interface, version) = name.rsplit_once('@')?;
        Some(Self { interface: interface.to_owned(), version: version.parse().ok()? })
    }
}

impl Offer {
    /// Whether a component that was built for `version` can be served: the same major version and a minor version
    /// that is not newer; below 1.0, the same minor version (a WASI 0.2.x only ever adds, and what it adds and the
    /// host lacks is refused when the component is linked). Never a pre-release.
    pub(super) fn serves(&self, version: &Version) -> bool {
        let Ok(own) = self.version.parse::<Version>() else { return false };
        if !version.pre.is_empty() || !version.build.is_empty() || own.major != version.major {
            return false;
        }
        if own.major == 0 { own.minor == version.minor } else { own.minor >= version.minor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_versions_are_versions() {
        assert!(OFFERED.is_sorted_by(|a, b| a.interface < b.interface));
        assert!(OFFERED.iter().chain([&TOOLS]).all(|offer| offer.version.parse::<Version>().is_ok()));
    }

    #[test]
    fn versions_are_compatible_one_way() {
        let check = |own: &'static str, version: &str, expected: bool| {
            let offer = Offer { interface: "a:b/c", version: own, need: Need::Nothing };
            assert_eq!(offer.serves(&version.parse().unwrap()), expected, "{own} {version}");
        };
        check("1.2.0", "1.0.0", true);
        check("1.2.0", "1.2.9", true);
        check("1.2.0", "1.3.0", false);
        check("1.2.0", "2.0.0", false);
        check("1.2.0", "0.2.0", false);
        check("1.2.0", "1.0.0-rc.1", false);
        check("1.2.0", "1.0.0+x", false);
        check("0.2.12", "0.2.0", true);
        check("0.2.12", "0.2.14", true);
        check("0.2.12", "0.3.0", false);
        check("0.2.12", "0.1.0", false);
    }
}
