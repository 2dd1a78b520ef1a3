//! How far a skill's code is trusted.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a package comes from and who vouches for it. Decides, with the runtime, the tier that it runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trust {
    /// Signed by an identity of this home.
    LocalDev,
    /// Not signed, or signed by nobody this home trusts; a person let it in, and that is recorded.
    Unsigned,
    /// Signed by a publisher whose key is pinned in this home.
    Trusted,
}

impl Trust {
    /// The name as it is written in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocalDev => "local-dev",
            Self::Unsigned => "unsigned",
            Self::Trusted => "trusted",
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
