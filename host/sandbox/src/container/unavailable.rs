//! Why native skills cannot run on this machine, and what to do about it.

use super::ImageKind;
use std::fmt;

/// Native skills are refused: what they would be locked up in is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// No engine is configured.
    Off,
    /// The engine does not answer.
    NoEngine {
        /// Where it was looked for.
        address: String,
        /// What came instead.
        cause: String,
    },
    /// The engine does not know gVisor.
    NoRuntime {
        /// The name that it should be known by.
        runtime: String,
        /// What the engine knows.
        known: Vec<String>,
    },
    /// A runtime of that name is not gVisor.
    NotGvisor {
        /// What kernel answered inside.
        kernel: String,
    },
    /// An image is missing.
    NoImage {
        /// Its name.
        name: String,
        /// What it is for.
        kind: ImageKind,
    },
    /// An image is not one of this host's.
    Image {
        /// What it is for.
        kind: ImageKind,
        /// What is wrong with it.
        what: String,
    },
    /// Something else does not work.
    Broken(String),
}

impl Unavailable {
    pub(super) fn broken(cause: impl fmt::Display) -> Self {
        Self::Broken(cause.to_string())
    }

    /// What would help.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Off => "run scripts/setup --containers, and put the address that it prints into [containers] engine",
            Self::NoEngine { .. } => {
                "start the engine: scripts/setup --containers; [containers] engine says where it is"
            }
            Self::NoRuntime { .. } => {
                "install gVisor (scripts/setup --containers) and give its runtime to the engine; [containers] runtime is \
                 the name that it has there"
            }
            Self::NotGvisor { .. } => {
                "let [containers] runtime name a runtime that is gVisor's runsc; no other is used"
            }
            Self::NoImage { kind: ImageKind::CSharp, .. } | Self::Image { kind: ImageKind::CSharp, .. } => {
                "make the image: scripts/build-images --dotnet with the archive of the .NET runtime, and the engine's address"
            }
            Self::NoImage { .. } | Self::Image { .. } => {
                "make the images: scripts/build-images with the engine's address"
            }
            Self::Broken(_) => "see what sophon doctor says, and the engine's own log",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("no container engine is configured"),
            Self::NoEngine { address, cause } => write!(f, "no container engine answers at {address}: {cause}"),
            Self::NoRuntime { runtime, known } => {
                write!(f, "the engine has no runtime {runtime}; it has {}", known.join(", "))
            }
            Self::NotGvisor { kernel } => {
                write!(f, "the runtime is not gVisor: the kernel that answers inside is {kernel}")
            }
            Self::NoImage { name, .. } => write!(f, "the engine has no image {name}"),
            Self::Image { what, .. } => write!(f, "an image cannot be used: {what}"),
            Self::Broken(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for Unavailable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_cannot_be_used_is_made_again_by_what_makes_its_kind() {
        let hint = |kind| {
            let (missing, unfit) = (
                Unavailable::NoImage { name: "x".into(), kind },
                Unavailable::Image { kind, what: "x speaks protocol 1".into() },
            );
            assert_eq!(missing.hint(), unfit.hint());
            unfit.hint()
        };
        assert!(hint(ImageKind::CSharp).contains("scripts/build-images --dotnet"));
        assert!(!hint(ImageKind::Python).contains("--dotnet"));
    }
}
