//! What images there are, and what runs in each.

use sophon_skill::Runtime;

/// What an image is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageKind {
    /// The host's own program.
    Base,
    /// Skills in Python.
    Python,
    /// Skills in C#: .NET, which an operator gives to `scripts/build-images --dotnet`.
    CSharp,
}

/// .NET as one call in a small sandbox needs it. Those before 6 know only the names that begin with `COMPlus`; what a
/// configuration file can say stands in `images/csharp/runner.runtimeconfig.json`.
const DOTNET: &[&str] = &[
    // No pipe and no socket for debuggers, and none of the threads that serve them.
    "DOTNET_EnableDiagnostics=0",
    "COMPlus_EnableDiagnostics=0",
    // It maps a file in memory that is larger than any that may be written here.
    "DOTNET_EnableWriteXorExecute=0",
    // A sandbox has one core at most, however many the machine has: no threads for the others.
    "DOTNET_PROCESSOR_COUNT=1",
];

/// Threads that .NET starts for itself, and that the limit of processes has to leave room for. Under gVisor a call with HTTPS,
/// timers and a pool that has more to do than it may has had ten beside the skill's own (3.1: finaliser, signals, timer, sockets,
/// the pool's gate, a pool of four); with fewer than four .NET's own HTTP fails. Later ones have two or three of other names.
const DOTNET_THREADS: u64 = 16;

impl ImageKind {
    /// As `[containers] images` names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Python => "python",
            Self::CSharp => "csharp",
        }
    }

    /// The image that skills of a runtime run in.
    pub(super) fn of(runtime: &Runtime) -> Option<Self> {
        match runtime {
            Runtime::Python => Some(Self::Python),
            Runtime::Sandbox { language } if language == "python" => Some(Self::Python),
            Runtime::CSharp => Some(Self::CSharp),
            _ => None,
        }
    }

    /// The one that `scripts/build-images` makes.
    pub(super) const fn made_here(self) -> &'static str {
        match self {
            Self::Base => "sophon-base:1",
            Self::Python => "sophon-python:1",
            Self::CSharp => "sophon-csharp:1",
        }
    }

    /// The program that is started ahead of a call, and its arguments.
    pub(super) fn command(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Base => &[],
            Self::Python => &["/usr/bin/python3.11", "-I", "-B", "/sophon/runner.py"],
            Self::CSharp => &["/usr/lib/dotnet/dotnet", "/sophon/runner.dll"],
        };
        words.iter().map(ToString::to_string).collect()
    }

    /// What it finds in its environment beside what every command does.
    pub(super) const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Base => &[],
            Self::Python => &["PYTHONDONTWRITEBYTECODE=1", "PYTHONUTF8=1"],
            Self::CSharp => DOTNET,
        }
    }

    /// Threads that what runs the skill needs for itself.
    pub(super) const fn threads(self) -> u64 {
        match self {
            Self::Base | Self::Python => 0,
            Self::CSharp => DOTNET_THREADS,
        }
    }
}
