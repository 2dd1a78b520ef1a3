//! Secrets on their way in: from standard input or a hidden prompt, never from the command line, which others can see.

use crate::error::CliError;
use secrecy::{ExposeSecret as _, SecretString};
use std::io::Read as _;
use zeroize::Zeroizing;

/// The most bytes of a secret on standard input.
const LARGEST: u64 = 1 << 20;

/// Asks a person, without showing what they type.
pub(crate) fn ask(what: &str) -> Result<SecretString, CliError> {
    let answer = rpassword::prompt_password(format!("{what}: "));
    answer.map(SecretString::from).map_err(|error| CliError::Input { message: error.to_string() })
}

/// Asks a person for a new secret, twice: what was mistyped would be lost for good.
pub(crate) fn ask_twice(what: &str) -> Result<SecretString, CliError> {
    let (first, again) = (ask(what)?, ask(&format!("{what}, again"))?);
    if first.expose_secret() != again.expose_secret() {
        return Err(CliError::Input { message: "the two differ".into() });
    }
    Ok(first)
}

/// All of standard input, without a line break at its end.
pub(crate) fn from_stdin() -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text);
    let read = read.map_err(|error| CliError::Input { message: error.to_string() })?;
    if read as u64 > LARGEST {
        return Err(CliError::Input { message: format!("longer than {LARGEST} bytes") });
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}
