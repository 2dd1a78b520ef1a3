//! What the end-to-end tests and the demo share: a stand-in for GitHub's REST API that speaks TLS and shows what it was
//! sent.

mod github;
mod tls;

pub use github::{Github, Seen};
pub use tls::{Certificates, serve};
