//! What a skill may reach: the vocabulary of `permissions.network` and of a person's grants.
//!
//! Everything here is pure matching over parts that are parsed already; URLs are taken apart in egress alone,
//! with the same host parser (WHATWG, IDNA) that normalises the hosts of a manifest here.

mod grant;
mod header;
mod host;
mod path;
mod rule;
mod stream;

pub use grant::{GrantError, HostGrant};
pub use header::{is_made_for_credentials, is_reserved_header, may_carry_credential};
pub use host::{HostError, HostPattern};
pub use path::{PathError, PathPattern};
pub use rule::{NetworkRule, Scheme};
pub use stream::{StreamError, StreamGrant, StreamProtocol, StreamWish};
