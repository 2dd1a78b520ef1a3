//! The only way out for skills and credentials.
//!
//! A skill's request takes one path, and each step hands the next one evidence:
//!
//! 1. [`EgressSession::send`] gets an [`HttpRequest`]. The URL is read once, by one parser, and refused where two
//!    readers could read it differently; the header fields are filtered.
//! 2. The [`Allowlist`] (manifest, tool, a person's grants; a grant opens addresses and ports, and voids no rule about
//!    methods, paths or credentials) admits it: an [`AllowedRequest`], the only thing that is
//!    ever sent. A refusal is a [`Denial`] whose hint works when it is pasted.
//! 3. The request is scanned for secrets that this call was lent before. The [`EffectGate`] is asked; a write's
//!    record is durable when it answers.
//! 4. The vault lends the credential, where one is named and may travel there; whether it may is decided before a
//!    secret is opened.
//! 5. The name is resolved once ([`Resolve`]), every address is checked by its [`AddressClass`] and against
//!    [`OwnListeners`], and the checked address is dialled ([`Dial`]). TLS by rustls, HTTP/1.1 by hyper.
//! 6. The answer is bounded ([`EgressLimits`]), and every secret in it redacted, before the skill sees it. A redirect
//!    begins again at step 1.
//!
//! Never: a proxy from the environment, a second resolution, a followed redirect that was not admitted, a credential
//! at another origin, a connection or a session ticket of one tenant, user, skill or credential used for another.

mod address;
mod admit;
mod allowlist;
mod budget;
mod connection;
mod credential;
mod deadline;
mod dial;
mod dispatch;
mod driver;
mod egress;
mod error;
mod gate;
mod headers;
mod index;
mod limits;
mod notify;
mod owner;
mod placeholder;
mod pool;
pub mod proxy;
mod record;
mod redirect;
mod resolve;
mod scan;
mod session;
mod slots;
mod stream;
mod tls;
mod token;
mod transport;
mod url;

pub use address::{AddressClass, OwnListeners};
pub use admit::{AllowedRequest, HttpRequest, Redirects};
pub use allowlist::Allowlist;
pub use budget::DestinationBudget;
pub use deadline::{Deadline, Pause};
pub use dial::{Dial, Socket, TcpDialer};
pub use egress::{Egress, EgressConfig, SetupError};
pub use error::{Denial, HttpError};
pub use gate::{EffectDenied, EffectGate, EffectRequest};
pub use index::{Fetched, PackageIndex};
pub use limits::EgressLimits;
pub use notify::{Endpoint, Notice, SigningSecret};
pub use resolve::{Resolve, SystemResolver};
pub use session::{CallScope, ConnectionState, EgressSession, HttpResponse, ServiceConnection};
pub use stream::Carry;
pub use tls::Roots;
pub use token::{ConnectionFields, FieldValue, SharedField, TokenRefused, shared_fields};
