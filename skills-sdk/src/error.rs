//! [`ToolError`]: why a tool gave no result. Any standard error turns into one by `?`; the errors of this crate keep
//! their meaning on the way (a refusal by the host stays a refusal, with its hint).

use std::any::Any;
use std::fmt;

use crate::bindings::exports::sophon::skill::tools as wit;
use crate::{credentials, http, state, workspace};

/// A result whose error is a [`ToolError`] unless another is named.
pub type Result<T, E = ToolError> = std::result::Result<T, E>;

/// Why a tool gave no result: a [`ErrorKind`] that a program can act on, and a text for the agent.
///
/// Every `std::error::Error` becomes one by `?` (kind [`ErrorKind::Failed`], the text with its causes). As with
/// `anyhow::Error`, that is why this type is not a `std::error::Error` itself.
///
/// ```
/// use sophon_sdk::{OrFail, ToolError, bail};
///
/// fn parse(text: &str) -> Result<u32, ToolError> {
///     if text.is_empty() {
///         bail!(invalid_arguments, "the number is empty");
///     }
///     let number: u32 = text.parse()?; // ErrorKind::Failed
///     number.checked_mul(2).invalid_arguments(format!("{number} is too large"))
/// }
/// assert_eq!(parse("21").ok(), Some(42));
/// assert_eq!(parse("x").unwrap_err().to_string(), "failed: invalid digit found in string");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    kind: ErrorKind,
    message: String,
}

/// What went wrong, as the host and the test cases name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The skill has no such tool (`unknown-tool`).
    UnknownTool,
    /// The arguments have the right shape but make no sense (`invalid-arguments`).
    InvalidArguments,
    /// What was asked for does not exist (`not-found`).
    NotFound,
    /// The host or the other side refused (`denied`).
    Denied,
    /// The other side failed or could not be reached; the same call may work later (`unavailable`).
    Unavailable,
    /// Anything else (`failed`).
    Failed,
}

impl ToolError {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// The arguments make no sense; say which and why.
    pub fn invalid_arguments(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidArguments, message)
    }

    /// What was asked for does not exist.
    pub fn not_found(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The other side refused.
    pub fn denied(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// The other side failed; the same call may work later.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Anything else.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// The same error with what was being done in front: `reading the index: …`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text for the agent.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_wit(self) -> wit::ToolError {
        match self.kind {
            ErrorKind::UnknownTool => wit::ToolError::UnknownTool(self.message),
            ErrorKind::InvalidArguments => wit::ToolError::InvalidArguments(self.message),
            ErrorKind::NotFound => wit::ToolError::NotFound(self.message),
            ErrorKind::Denied => wit::ToolError::Denied(self.message),
            ErrorKind::Unavailable => wit::ToolError::Unavailable(self.message),
            ErrorKind::Failed => wit::ToolError::Failed(self.message),
        }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownTool => "unknown-tool",
            Self::InvalidArguments => "invalid-arguments",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        })
    }
}

impl<E: std::error::Error + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        Self { kind: kind_of(&error), message: with_causes(&error) }
    }
}

/// The errors of this crate know more than "failed".
fn kind_of(error: &dyn Any) -> ErrorKind {
    if let Some(error) = error.downcast_ref::<http::Error>() {
        error.kind()
    } else if let Some(error) = error.downcast_ref::<state::Error>() {
        error.kind()
    } else if let Some(error) = error.downcast_ref::<credentials::Error>() {
        error.kind()
    } else if let Some(error) = error.downcast_ref::<workspace::Error>() {
        error.kind()
    } else {
        ErrorKind::Failed
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Gives an `Option` or a `Result` the error it deserves, in place of `ok_or_else` and `map_err`.
///
/// On a `Result` the message stands in front of the error it replaces.
pub trait OrFail<T>: Sized {
    /// The value, or an error of this kind.
    fn or_fail(self, kind: ErrorKind, message: impl fmt::Display) -> Result<T>;

    /// The value, or [`ErrorKind::NotFound`].
    fn not_found(self, message: impl fmt::Display) -> Result<T> {
        self.or_fail(ErrorKind::NotFound, message)
    }

    /// The value, or [`ErrorKind::InvalidArguments`].
    fn invalid_arguments(self, message: impl fmt::Display) -> Result<T> {
        self.or_fail(ErrorKind::InvalidArguments, message)
    }

    /// The value, or [`ErrorKind::Denied`].
    fn denied(self, message: impl fmt::Display) -> Result<T> {
        self.or_fail(ErrorKind::Denied, message)
    }

    /// The value, or [`ErrorKind::Unavailable`].
    fn unavailable(self, message: impl fmt::Display) -> Result<T> {
        self.or_fail(ErrorKind::Unavailable, message)
    }

    /// The value, or [`ErrorKind::Failed`].
    fn failed(self, message: impl fmt::Display) -> Result<T> {
        self.or_fail(ErrorKind::Failed, message)
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_fail(self, kind: ErrorKind, message: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| ToolError::new(kind, message))
    }
}

impl<T, E: Into<ToolError>> OrFail<T> for std::result::Result<T, E> {
    fn or_fail(self, kind: ErrorKind, message: impl fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let cause: ToolError = error.into();
            ToolError::new(kind, format_args!("{message}: {}", cause.message))
        })
    }
}

/// Ends the tool with an error: `bail!("text {value}")`, or with a kind in front: `bail!(not_found, "no issue {n}")`.
///
/// The kinds are the constructors of [`ToolError`]: `invalid_arguments`, `not_found`, `denied`, `unavailable`, `failed`.
#[macro_export]
macro_rules! bail {
    ($kind:ident, $($message:tt)+) => {
        return ::core::result::Result::Err($crate::ToolError::$kind(::std::format_args!($($message)+)).into())
    };
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::ToolError::failed(::std::format_args!($($message)+)).into())
    };
}

/// Ends the tool with an error unless the condition holds: `ensure!(n > 0, invalid_arguments, "n is {n}")`.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($rest:tt)+) => {
        if !$condition {
            $crate::bail!($($rest)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_meaning() {
        #[track_caller]
        fn check(error: impl Into<ToolError>, want: &str) {
            assert_eq!(error.into().to_string(), want);
        }
        check("x".parse::<u8>().unwrap_err(), "failed: invalid digit found in string");
        check(http::Error::Timeout, "unavailable: no answer in time");
        check(http::Error::UnknownOutcome("cut".into()), "failed: the request may have had its effect: cut");
        check(state::Error::Conflict, "failed: another value stands there by now");
        check(
            http::Error::Denied {
                code: "host_not_allowed".into(),
                message: "GET example.org is not in permissions.network".into(),
                hint: Some(r#"add {"host": "example.org"}"#.into()),
            },
            "denied: GET example.org is not in permissions.network (host_not_allowed)\nhint: add {\"host\": \"example.org\"}",
        );
    }

    #[test]
    fn or_fail_puts_the_message_in_front() {
        assert_eq!(None::<u8>.not_found("no note").unwrap_err().to_string(), "not-found: no note");
        let cause = "x".parse::<u8>().invalid_arguments("limit").unwrap_err();
        assert_eq!(cause.to_string(), "invalid-arguments: limit: invalid digit found in string");
        assert_eq!(cause.context("reading").message(), "reading: limit: invalid digit found in string");
    }
}
