//! Where a skill runs, by who vouches for it and by what it is made of. One table; an operator can only tighten it.

use serde::{Deserialize, Serialize};
use sophon_skill::Runtime;
use sophon_types::Trust;
use std::fmt;

/// How a skill is kept in, from the lightest to the heaviest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// A component in this process: fuel, epochs, memory, a fresh instance a call.
    Wasm,
    /// A component in the same executor, inside a sandbox of its own.
    GvisorWasm,
    /// Native code in a sandbox of its own.
    Gvisor,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wasm => "wasm",
            Self::GvisorWasm => "gvisor-wasm",
            Self::Gvisor => "gvisor",
        })
    }
}

/// Which components an operator wants in sandboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tightening {
    /// Those that the table says.
    #[default]
    Table,
    /// Also those that nobody this home trusts has signed.
    Unsigned,
    /// All.
    All,
}

/// The tier of a skill. Native code has one only; where that is missing it does not run.
#[must_use]
pub fn tier(trust: Trust, runtime: &Runtime, tightening: Tightening) -> Tier {
    if *runtime != Runtime::Wasm {
        return Tier::Gvisor;
    }
    let by_table = match trust {
        // The author's own, or signed by somebody whom a person of this home trusts.
        Trust::LocalDev | Trust::Trusted => Tier::Wasm,
        // A person has looked at it and let it in by name, and that is on record.
        Trust::Unsigned => Tier::Wasm,
        // Nobody has vouched for what comes from elsewhere.
        _ => Tier::GvisorWasm,
    };
    let wanted = match (tightening, trust) {
        (Tightening::All, _) | (Tightening::Unsigned, Trust::Unsigned) => Tier::GvisorWasm,
        _ => Tier::Wasm,
    };
    by_table.max(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_only_be_tightened() {
        let native =
            [Runtime::Python, Runtime::CSharp, Runtime::Container, Runtime::Sandbox { language: "python".into() }];
        for trust in [Trust::LocalDev, Trust::Unsigned, Trust::Trusted] {
            for runtime in &native {
                for tightening in [Tightening::Table, Tightening::Unsigned, Tightening::All] {
                    assert_eq!(tier(trust, runtime, tightening), Tier::Gvisor, "native code has no other tier");
                }
            }
            let component = |tightening| tier(trust, &Runtime::Wasm, tightening);
            assert!(component(Tightening::Table) <= component(Tightening::Unsigned));
            assert!(component(Tightening::Unsigned) <= component(Tightening::All));
            assert_eq!(component(Tightening::All), Tier::GvisorWasm);
        }
        assert_eq!(tier(Trust::Unsigned, &Runtime::Wasm, Tightening::Unsigned), Tier::GvisorWasm);
        assert_eq!(tier(Trust::Trusted, &Runtime::Wasm, Tightening::Unsigned), Tier::Wasm);
    }
}
