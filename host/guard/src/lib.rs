//! Untrusted text on its way to a model: known secrets are redacted, unknown ones annotated, the rest wrapped.
//!
//! Pure functions: no I/O, no clock, no randomness of its own. What leaves this crate as [`SanitizedOutput`] has passed,
//! in this order: redaction of [`KnownSecrets`] in every encoding (text, and every string, key and number of structured
//! values), neutralisation of terminal escapes, bidi controls and invisible characters, [`scan_secrets`] for secrets
//! nobody told us of, and [`wrap`], which puts the text between two markers that carry a nonce the text does not know.
//!
//! Detection annotates ([`Finding`]) and never blocks; only redaction and neutralisation change text. Text is looked at
//! whole: whoever reads a body in chunks collects it, within limits, before it comes here.
//!
//! ```
//! # struct Fixed;
//! # impl sophon_types::Entropy for Fixed { fn fill(&self, bytes: &mut [u8]) { bytes.fill(7); } }
//! use sophon_guard::{KnownSecrets, RawOutput, Source, sanitise};
//! let secrets = KnownSecrets::builder().add("github.token", b"skh_live_5bNLqtirsqPaayJs").build();
//! let output = RawOutput::new(Source::external("page"), "echo: skh_live_5bNLqtirsqPaayJs".to_owned());
//! let clean = sanitise(output, &secrets, &Fixed);
//! assert!(clean.content().contains("echo: [redacted:github.token]"));
//! ```

mod annotate;
mod automata;
mod detector;
mod finding;
mod fold;
mod injection;
mod keywords;
mod known;
mod neutral;
mod sanitise;
mod scan;
mod skip;
mod spellings;
mod wrap;

pub use detector::{Detector, ExtraPattern, ExtraPatterns, InjectionConfig, Level, RuleName, SourcePattern};
pub use finding::{Finding, FindingKind, Severity};
pub use injection::PATTERNS_VERSION;
pub use known::{Encoding, Hit, KnownSecrets, KnownSecretsBuilder, Redaction, TextRedaction};
pub use sanitise::{RawOutput, SanitizedOutput, Source, sanitise};
pub use scan::{scan_secrets, scan_secrets_up_to};
pub use spellings::MIN_SECRET_BYTES;
pub use wrap::{Wrapped, wrap};
