//! The one place where the tests start processes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A command with nothing of this process's environment but what every program needs.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the end-to-end tests drive the real program")]
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"] {
        #[expect(clippy::disallowed_methods, reason = "passed on to the program under test")]
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A setting of this test run, from the environment; scripts/test-crash names them.
pub(crate) fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how a longer test run is asked for")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout")
}

/// The folder that cargo builds into: this program is `<target>/debug/deps/e2e-…`.
pub(crate) fn target() -> PathBuf {
    let me = std::env::current_exe().expect("the path of this program");
    me.ancestors().nth(3).expect("target/debug/deps/").to_owned()
}

/// The program under test.
pub(crate) fn sophon() -> PathBuf {
    let path = target().join("debug/sophon");
    assert!(
        path.exists(),
        "{} is missing; run `cargo build -p sophon-cli`, or scripts/test, which does",
        path.display()
    );
    path
}
