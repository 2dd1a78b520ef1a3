//! What an operator may set of the gateway; the sections `[gateway]` and `[rate_limit]` of `sophon.toml`.

use crate::Network;
use crate::budgets::{DestinationBudget, ToolBudget};
use crate::counter::Pace;
use serde::{Deserialize, Serialize};
use sophon_types::ToolName;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// The least memory that is given to bodies, however small packages are.
const LEAST_BODY_MEMORY: usize = 64 << 20;

/// The section `[gateway]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where to listen. Loopback by default: a gateway that others can reach is a decision.
    pub listen: SocketAddr,
    /// Names other than the loopback ones under which clients may address the gateway (without ports).
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may speak to the gateway, such as `https://console.example.org`.
    pub allowed_origins: Vec<String>,
    /// Proxies whose word about the client's address counts: addresses or blocks such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<Network>,
    /// The field in which they say it. The other one is never read: a proxy may pass on what a client wrote there.
    pub forwarded_header: ForwardedHeader,
    /// The largest JSON body, in bytes.
    pub max_body_bytes: NonZeroUsize,
    /// The largest package that can be installed, in bytes (before it is put into JSON as base64).
    pub max_package_bytes: NonZeroUsize,
    /// Connections at the same time, as far as the system lets the process have them. For one more, one that waits for
    /// a request is closed, or one whose request is of nobody known. Known callers can use fifteen sixteenths of them at
    /// the same time, of which one tenant can have seven eighths and one user three quarters: the rest is for telling
    /// who comes then that there is no room.
    pub max_connections: NonZeroUsize,
    /// Connections of one address (IPv6: one /64) at the same time; more are answered 503. Trusted proxies are not
    /// counted: they speak for many.
    pub max_connections_per_address: NonZeroUsize,
    /// Calls that clients wait for at the same time; more are answered 503. One tenant can have seven eighths of them,
    /// one user three quarters.
    pub max_concurrent_calls: NonZeroUsize,
    /// Streams of events that one user may have open.
    pub max_event_streams_per_user: NonZeroUsize,
    /// Seconds between two signs of life on a stream of events.
    pub event_heartbeat_seconds: NonZeroU32,
    /// Seconds within which a request is answered; a client that waits for a call longer than that asks again.
    pub request_timeout_seconds: NonZeroU32,
    /// Seconds that a client may go without taking the answer, or sending the body, that is due.
    pub stall_seconds: NonZeroU32,
    /// Seconds that running calls have to finish when the gateway stops.
    pub drain_seconds: u32,
}

/// The field in which proxies name the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7411)),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            max_body_bytes: size(1 << 20),
            max_package_bytes: size(64 << 20),
            max_connections: size(16 * 1024),
            max_connections_per_address: size(256),
            max_concurrent_calls: size(256),
            max_event_streams_per_user: size(16),
            event_heartbeat_seconds: count(15),
            request_timeout_seconds: count(75),
            stall_seconds: count(30),
            drain_seconds: 20,
        }
    }
}

impl GatewayConfig {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds.get().into())
    }

    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_seconds.get().into())
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }

    /// Requests of known callers at one time. Their connections are closed for nobody else, so a few are left, where
    /// there are any to leave, on which further requests can be read and refused.
    pub(crate) fn requests(&self) -> usize {
        let all = self.max_connections.get();
        (all - all.div_ceil(16)).max(1)
    }

    /// The bytes of the largest body of any route.
    pub(crate) fn largest_body(&self) -> usize {
        // Four characters of base64 for three bytes, and the rest of the body.
        let coded = self.max_package_bytes.get().div_ceil(3).saturating_mul(4);
        coded.saturating_add(self.max_body_bytes.get())
    }

    /// The bytes of all bodies that are being read at one time: a few of the largest.
    pub(crate) fn body_memory(&self) -> usize {
        self.largest_body().saturating_mul(4).max(LEAST_BODY_MEMORY)
    }

    /// The longest that a request may wait for a call: long enough before the request's own end that the answer
    /// "still running" gets out.
    pub(crate) fn longest_wait(&self) -> Duration {
        let whole = self.request_timeout();
        whole.saturating_sub(Duration::from_secs(5)).max(whole / 2)
    }
}

/// The section `[rate_limit]`: how many requests a minute, and how many at once after a quiet while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Requests a minute of one user (all keys together).
    pub user_per_minute: NonZeroU32,
    /// Requests of one user at once.
    pub user_burst: NonZeroU32,
    /// How many users' worth of requests one tenant may send, however many users it is.
    pub tenant_users: NonZeroU32,
    /// Requests a minute of one address (IPv6: one /64) that name no user.
    pub address_per_minute: NonZeroU32,
    /// Such requests at once.
    pub address_burst: NonZeroU32,
    /// Failed authentications a minute of one address; beyond it the answer is 429.
    pub failures_per_minute: NonZeroU32,
    /// Failed authentications at once.
    pub failures_burst: NonZeroU32,
    /// The most users, and the most addresses, that are counted one by one.
    pub max_tracked: NonZeroU32,
    /// Addresses or blocks whose requests are not counted where they name no user; their failures are.
    pub exempt_addresses: Vec<Network>,
    /// Budgets of tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolBudget>,
    /// Budgets of destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<DestinationBudget>,
}

/// The longest that a whole burst may take to come back.
const LONGEST_WINDOW: u64 = 7 * 24 * 3600;
/// The most that may be counted one by one: about a gigabyte.
const MOST_TRACKED: u32 = 10_000_000;
/// The most budgets of one kind: each is looked at for each call.
const MOST_BUDGETS: usize = 1000;

impl RateLimits {
    /// Whether these are limits that can be counted, and that somebody can have meant.
    ///
    /// # Errors
    /// What is wrong, by the name of its key.
    pub fn check(&self) -> Result<(), String> {
        let pace = |key: &str, per_minute: NonZeroU32, burst: NonZeroU32| {
            let window = Pace { per_minute, burst }.window();
            if window > LONGEST_WINDOW {
                return Err(format!(
                    "{key}burst = {burst} takes {} days to come back at {key}per_minute = {per_minute}; 7 are the most",
                    window / 86_400
                ));
            }
            Ok(())
        };
        pace("user_", self.user_per_minute, self.user_burst)?;
        pace("address_", self.address_per_minute, self.address_burst)?;
        pace("failures_", self.failures_per_minute, self.failures_burst)?;
        if self.max_tracked.get() > MOST_TRACKED {
            return Err(format!(
                "max_tracked = {} is more than {MOST_TRACKED}, which take a gigabyte",
                self.max_tracked
            ));
        }
        if self.tools.len().max(self.destinations.len()) > MOST_BUDGETS {
            return Err(format!("there are more than {MOST_BUDGETS} budgets of tools or of destinations"));
        }
        for ToolBudget { tool, per_minute, burst, .. } in &self.tools {
            let whole = tool.strip_suffix(".*").map_or_else(|| tool.clone(), |skill| format!("{skill}.x"));
            if tool != "*" && whole.parse::<ToolName>().is_err() {
                return Err(format!("tools: tool = {tool:?} is no tool's full name, nor `skill.*`, nor `*`"));
            }
            pace(&format!("tools: {tool}: "), *per_minute, *burst)?;
        }
        for DestinationBudget { host, per_minute, burst, .. } in &self.destinations {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let plain =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':' | '[' | ']');
            if host != "*" && (name.is_empty() || !name.chars().all(plain)) {
                return Err(format!(
                    "destinations: host = {host:?} is no host in lower case without a port, nor `*.example.com`, nor `*`"
                ));
            }
            pace(&format!("destinations: {host}: "), *per_minute, *burst)?;
        }
        Ok(())
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            user_per_minute: count(6000),
            user_burst: count(600),
            tenant_users: count(20),
            address_per_minute: count(300),
            address_burst: count(60),
            failures_per_minute: count(30),
            failures_burst: count(20),
            max_tracked: count(100_000),
            exempt_addresses: Vec::new(),
            tools: Vec::new(),
            destinations: Vec::new(),
        }
    }
}

const fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("the defaults of this module are above zero")
}

const fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("the defaults of this module are above zero")
}
