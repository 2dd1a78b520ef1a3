//! `[audit]`: how records are signed, how long their content is kept, and where else they go.

use serde::{Deserialize, Serialize};
use sophon_types::Timestamp;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// Where collectors listen for datagrams (RFC 5426) and for connections (RFC 6587), where nothing else is said.
const UDP_PORT: u16 = 514;
const TCP_PORT: u16 = 601;
/// Days that the content of a record is kept at the least.
const LEAST_DAYS: u32 = 2;

/// `[audit]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditSection {
    /// Records between two signed checkpoints.
    pub(crate) checkpoint_every: NonZeroU64,
    /// Days after which the content of records is dropped; never, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retain_days: Option<Days>,
    /// A day of which a person has seen that it has come: what the clock says beyond it is believed for retention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock_confirmed: Option<Day>,
    /// A file that records are appended to as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<FileSection>,
    /// A syslog that records go to as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syslog: Option<SyslogSection>,
}

impl Default for AuditSection {
    fn default() -> Self {
        let checkpoint_every = NonZeroU64::MIN.saturating_add(999);
        Self { checkpoint_every, retain_days: None, clock_confirmed: None, file: None, syslog: None }
    }
}

/// `[audit.file]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSection {
    /// The file; a relative path starts at the home.
    pub(crate) path: PathBuf,
    /// Whether a call is refused where the file does not take its record.
    #[serde(default)]
    pub(crate) required: bool,
}

/// `[audit.syslog]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "WrittenSyslog")]
pub(crate) struct SyslogSection {
    /// `unix:/dev/log`, `udp://192.0.2.1:514` or `tcp://[2001:db8::1]:601`.
    pub(crate) address: SyslogAddress,
    /// The facility of the messages.
    pub(crate) facility: Facility,
    /// Whether a call is refused where the syslog does not take its record.
    pub(crate) required: bool,
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSyslog {
    address: SyslogAddress,
    #[serde(default)]
    facility: Facility,
    #[serde(default)]
    required: bool,
}

impl TryFrom<WrittenSyslog> for SyslogSection {
    type Error = String;
    fn try_from(written: WrittenSyslog) -> Result<Self, String> {
        let WrittenSyslog { address, facility, required } = written;
        if required && matches!(address, SyslogAddress::Udp(_)) {
            return Err(format!("{address} cannot be required: UDP confirms nothing; use tcp:// or unix:"));
        }
        Ok(Self { address, facility, required })
    }
}

/// A day, such as `2026-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Day(Timestamp);

impl Day {
    /// Its first moment (UTC).
    pub(crate) fn begins(self) -> Timestamp {
        self.0
    }
}

impl TryFrom<String> for Day {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let begins = Timestamp::parse(&text).ok().filter(|_| text.len() == "2026-01-31".len());
        begins.map(Self).ok_or_else(|| format!("{text:?} is no day, such as \"2026-01-31\""))
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.0.to_string().chars().take("2026-01-31".len()).collect()
    }
}

/// A number of days, two at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Days(u32);

impl Days {
    pub(crate) fn span(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 24 * 60 * 60)
    }
}

impl TryFrom<u32> for Days {
    type Error = String;
    fn try_from(days: u32) -> Result<Self, String> {
        if days >= LEAST_DAYS {
            Ok(Self(days))
        } else {
            Err(format!("{days} days are too few: {LEAST_DAYS} are the least"))
        }
    }
}

/// Where a syslog is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum SyslogAddress {
    /// A datagram socket in the file system.
    Unix(PathBuf),
    /// A message a datagram.
    Udp(SocketAddr),
    /// Messages with their length before them.
    Tcp(SocketAddr),
}

impl TryFrom<String> for SyslogAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // An address with a port, or one alone, of version 6 in brackets or not.
        let socket = |rest: &str, usual: u16| {
            let bare = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(rest);
            let alone = || bare.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() || bare == rest);
            rest.parse::<SocketAddr>().ok().or_else(|| Some(SocketAddr::new(alone()?, usual)))
        };
        let found = if let Some(path) = text.strip_prefix("unix:") {
            path.starts_with('/').then(|| Self::Unix(path.into()))
        } else if let Some(rest) = text.strip_prefix("udp://") {
            socket(rest, UDP_PORT).map(Self::Udp)
        } else if let Some(rest) = text.strip_prefix("tcp://") {
            socket(rest, TCP_PORT).map(Self::Tcp)
        } else {
            None
        };
        found.ok_or_else(|| {
            format!(
                "{text:?} is no address of a syslog: unix:/dev/log, udp://192.0.2.1:514 or tcp://[2001:db8::1]:601, no names"
            )
        })
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(to) => write!(f, "udp://{to}"),
            Self::Tcp(to) => write!(f, "tcp://{to}"),
        }
    }
}

impl From<SyslogAddress> for String {
    fn from(address: SyslogAddress) -> Self {
        address.to_string()
    }
}

/// The facility of syslog messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Facility {
    /// Security and authorisation, private.
    #[default]
    Authpriv,
    /// The log audit.
    Audit,
    /// For local use.
    Local0,
    /// For local use.
    Local1,
    /// For local use.
    Local2,
    /// For local use.
    Local3,
    /// For local use.
    Local4,
    /// For local use.
    Local5,
    /// For local use.
    Local6,
    /// For local use.
    Local7,
}

impl Facility {
    /// Its number (RFC 5424, table 1).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Authpriv => 10,
            Self::Audit => 13,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AuditSection, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn attack_42_what_confirms_nothing_cannot_be_required() {
        let syslog = |address: &str, required: bool| {
            read(&format!("[syslog]\naddress = {address:?}\nrequired = {required}\n")).map(drop)
        };
        let refused = syslog("udp://192.0.2.1:514", true).unwrap_err();
        assert!(refused.contains("UDP confirms nothing"), "{refused}");
        assert_eq!(syslog("udp://192.0.2.1:514", false), Ok(()));
        assert_eq!(syslog("tcp://192.0.2.1:601", true), Ok(()));
        assert_eq!(syslog("unix:/dev/log", true), Ok(()));
        assert!(read("[syslog]\naddress = \"unix:/dev/log\"\nrequire = true\n").unwrap_err().contains("require"));
    }

    #[test]
    fn a_day_is_a_day() {
        let section = read("clock_confirmed = \"2026-01-31\"").unwrap();
        assert_eq!(
            section.clock_confirmed.map(|day| day.begins().to_string()),
            Some("2026-01-31T00:00:00.000000Z".into())
        );
        assert!(toml::to_string(&section).unwrap().contains("clock_confirmed = \"2026-01-31\""));
        for bad in ["tomorrow", "2026-02-31", "2026-01-31T00:00:00Z"] {
            assert!(read(&format!("clock_confirmed = {bad:?}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_syslog_is_named_by_its_address() {
        let check = |text: &str, expected: Option<&str>| {
            let read = SyslogAddress::try_from(text.to_owned()).ok().map(String::from);
            assert_eq!(read.as_deref(), expected, "{text}");
            // What is shown can be read again.
            assert!(read.is_none_or(|shown| SyslogAddress::try_from(shown).is_ok()));
        };
        check("unix:/dev/log", Some("unix:/dev/log"));
        check("udp://192.0.2.1:5514", Some("udp://192.0.2.1:5514"));
        check("udp://192.0.2.1", Some("udp://192.0.2.1:514"));
        check("tcp://192.0.2.1", Some("tcp://192.0.2.1:601"));
        check("tcp://[2001:db8::1]:6514", Some("tcp://[2001:db8::1]:6514"));
        check("udp://[2001:db8::1]", Some("udp://[2001:db8::1]:514"));
        check("udp://2001:db8::1", Some("udp://[2001:db8::1]:514"));
        check("udp://[::ffff:192.0.2.1]:514", Some("udp://[::ffff:192.0.2.1]:514"));
        for wrong in
            ["udp://collector:514", "udp://[192.0.2.1]", "udp://[2001:db8::1", "udp://", "tls://192.0.2.1", "unix:log"]
        {
            check(wrong, None);
        }
    }
}
