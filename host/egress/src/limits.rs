//! Every bound of one exchange and of the process, in one table.
//!
//! Promise: nothing that a skill or a server does takes more time, memory or connections than stands here.

use std::time::Duration;

/// Bounds of egress. The defaults suit an interactive agent; times are wall-clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EgressLimits {
    /// Finding a name's addresses.
    pub resolve: Duration,
    /// Connecting to all addresses of a name together.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From the request to the end of the response's header, informational responses included.
    pub header: Duration,
    /// Between two pieces of a response body.
    pub body_idle: Duration,
    /// One `send`, redirects included; a request or a call may ask for less, never for more.
    pub exchange: Duration,
    /// Bytes of a URL as the skill writes it.
    pub url_bytes: usize,
    /// Header fields of a request.
    pub request_fields: usize,
    /// Bytes of all header names and values of a request.
    pub request_header_bytes: usize,
    /// Bytes of a request body.
    pub request_body_bytes: usize,
    /// Header fields of a response.
    pub response_fields: usize,
    /// Bytes of a response's header (at least 8,192, hyper's lowest).
    pub response_header_bytes: usize,
    /// Bytes of a response body, counted as they arrive.
    pub response_body_bytes: usize,
    /// Redirects that are followed.
    pub redirects: usize,
    /// Requests of one call, refused ones and redirects included.
    pub requests_per_call: usize,
    /// Addresses of one name that are tried.
    pub addresses: usize,
    /// Connections in use at once, in all.
    pub connections: usize,
    /// Connections in use at once by one tenant; seven eighths of all at most, whatever stands here.
    pub connections_per_tenant: usize,
    /// Connections in use at once by one skill of one tenant.
    pub connections_per_skill: usize,
    /// Idle connections kept, in all.
    pub idle_connections: usize,
    /// Idle connections kept for one origin, for one user and skill of a tenant with one credential.
    pub idle_per_origin: usize,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// How long a connection may be used again before its name is resolved anew.
    pub pin: Duration,
    /// Look-ups of names at once by one tenant, those included whose answer nobody waits for any more.
    pub lookups_per_tenant: usize,
    /// Bytes that one connection that is no HTTP may carry, each way.
    pub stream_bytes: u64,
    /// How long such a connection may be silent, each way.
    pub stream_idle: Duration,
    /// TLS session stores (one a tenant, user, skill and credential) that are kept.
    pub tls_stores: usize,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            header: Duration::from_secs(30),
            body_idle: Duration::from_secs(15),
            exchange: Duration::from_secs(60),
            url_bytes: 8 * 1024,
            request_fields: 64,
            request_header_bytes: 32 * 1024,
            request_body_bytes: 8 * 1024 * 1024,
            response_fields: 128,
            response_header_bytes: 64 * 1024,
            response_body_bytes: 8 * 1024 * 1024,
            redirects: 10,
            requests_per_call: 256,
            addresses: 8,
            connections: 512,
            connections_per_tenant: 384,
            connections_per_skill: 32,
            idle_connections: 256,
            idle_per_origin: 4,
            idle: Duration::from_secs(30),
            pin: Duration::from_secs(60),
            lookups_per_tenant: 8,
            stream_bytes: 64 * 1024 * 1024,
            stream_idle: Duration::from_secs(60),
            tls_stores: 512,
        }
    }
}
