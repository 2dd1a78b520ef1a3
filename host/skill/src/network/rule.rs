//! One item of `permissions.network`: where requests may go, how, and with which credential.

use super::{HostPattern, PathPattern};
use serde::{Deserialize, Serialize};
use sophon_types::ServiceName;
use std::fmt;
use std::str::FromStr;
use url::Host;

/// The two schemes that egress speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `https`, port 443 unless the rule says otherwise.
    Https,
    /// `http`, port 80 unless the rule says otherwise: readable and changeable by everybody on the way.
    Http,
}

impl Scheme {
    /// The scheme as it is written in URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// The port that a URL without one means.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "https" => Ok(Self::Https),
            "http" => Ok(Self::Http),
            _ => Err(format!("{text:?} is not a scheme: https or http")),
        }
    }
}

/// A rule of the allowlist. A request passes where every part admits it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkRule {
    /// Which hosts.
    pub host: HostPattern,
    /// Which schemes; never empty, `https` alone where the manifest says nothing.
    pub schemes: Vec<Scheme>,
    /// Which ports; empty means the scheme's default port only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Which methods, in upper case; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Which paths; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathPattern>,
    /// The one declared service whose credential may travel there; nothing means any declared one that is bound to
    /// that host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<ServiceName>,
}

impl NetworkRule {
    /// The rule that a bare host stands for: `https`, port 443, every method and path.
    #[must_use]
    pub fn bare(host: HostPattern) -> Self {
        Self {
            host,
            schemes: vec![Scheme::Https],
            ports: Vec::new(),
            methods: Vec::new(),
            paths: Vec::new(),
            credential: None,
        }
    }

    /// Whether a connection to `scheme://host:port` is allowed at all.
    #[must_use]
    pub fn admits_destination<S: AsRef<str>>(&self, scheme: Scheme, host: &Host<S>, port: u16) -> bool {
        self.host.matches(host) && self.schemes.contains(&scheme) && self.admits_port(scheme, port)
    }

    pub(crate) fn admits_port(&self, scheme: Scheme, port: u16) -> bool {
        if self.ports.is_empty() { port == scheme.default_port() } else { self.ports.contains(&port) }
    }

    /// Whether `method` (in upper case; methods are case-sensitive, RFC 9110 section 9.1) is allowed.
    #[must_use]
    pub fn admits_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|allowed| allowed == method)
    }

    /// Whether `path` is allowed; see [`PathPattern::matches`] for what a path rule refuses besides.
    #[must_use]
    pub fn admits_path(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether the whole request is allowed.
    #[must_use]
    pub fn admits<S: AsRef<str>>(&self, scheme: Scheme, host: &Host<S>, port: u16, method: &str, path: &str) -> bool {
        self.admits_destination(scheme, host, port) && self.admits_method(method) && self.admits_path(path)
    }

    /// Whether every request that `other` admits is admitted by this rule too. A rule without a credential covers one
    /// that names one, which is narrower in what may travel; what a person agreed to is compared more strictly.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let destinations = |rule: &Self| -> Vec<(Scheme, u16)> {
            let ports = |scheme: Scheme| match rule.ports.as_slice() {
                [] => vec![scheme.default_port()],
                ports => ports.to_vec(),
            };
            rule.schemes.iter().flat_map(|scheme| ports(*scheme).into_iter().map(|port| (*scheme, port))).collect()
        };
        let own = destinations(self);
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty() && other.methods.iter().all(|method| self.admits_method(method)));
        let paths = self.paths.is_empty()
            || (!other.paths.is_empty() && other.paths.iter().all(|path| self.paths.iter().any(|p| p.covers(path))));
        let credential = self.credential.is_none() || self.credential == other.credential;
        self.host.covers(&other.host)
            && destinations(other).iter().all(|destination| own.contains(destination))
            && methods
            && paths
            && credential
    }
}

impl fmt::Display for NetworkRule {
    /// One line for people: `GET,POST https://api.example.com:8443 /repos/*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join(","))?;
        }
        let schemes: Vec<_> = self.schemes.iter().map(|scheme| scheme.as_str()).collect();
        write!(f, "{}://{}", schemes.join("|"), self.host)?;
        if !self.ports.is_empty() {
            let ports: Vec<_> = self.ports.iter().map(u16::to_string).collect();
            write!(f, ":{}", ports.join("|"))?;
        }
        for path in &self.paths {
            write!(f, " {path}")?;
        }
        match &self.credential {
            Some(service) => write!(f, " (credential {service})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(edit: impl FnOnce(&mut NetworkRule)) -> NetworkRule {
        let mut rule = NetworkRule::bare("api.example.com".parse().unwrap());
        edit(&mut rule);
        rule
    }

    #[test]
    fn every_part_must_admit() {
        let narrow = rule(|rule| {
            rule.ports = vec![8443];
            rule.methods = vec!["GET".into()];
            rule.paths = vec!["/repos/*".parse().unwrap()];
        });
        let host = Host::parse("api.example.com").unwrap();
        let other = Host::parse("example.com").unwrap();
        assert!(narrow.admits(Scheme::Https, &host, 8443, "GET", "/repos/x"));
        assert!(!narrow.admits(Scheme::Http, &host, 8443, "GET", "/repos/x"));
        assert!(!narrow.admits(Scheme::Https, &other, 8443, "GET", "/repos/x"));
        assert!(!narrow.admits(Scheme::Https, &host, 443, "GET", "/repos/x"));
        assert!(!narrow.admits(Scheme::Https, &host, 8443, "get", "/repos/x"));
        assert!(!narrow.admits(Scheme::Https, &host, 8443, "GET", "/user"));
        assert!(rule(|_| ()).admits(Scheme::Https, &host, 443, "DELETE", "/a%2fb"));
        assert!(!rule(|_| ()).admits(Scheme::Https, &host, 8443, "GET", "/"));
        assert_eq!(narrow.to_string(), "GET https://api.example.com:8443 /repos/*");
    }

    #[test]
    fn covering_is_part_by_part() {
        let wide = rule(|_| ());
        let narrow = rule(|rule| rule.methods = vec!["GET".into()]);
        assert!(wide.covers(&narrow) && !narrow.covers(&wide));
        let paths = rule(|rule| rule.paths = vec!["/a/*".parse().unwrap()]);
        assert!(wide.covers(&paths) && !paths.covers(&wide));
        let port = rule(|rule| rule.ports = vec![443]);
        assert!(wide.covers(&port) && port.covers(&wide));
        let http = rule(|rule| rule.schemes = vec![Scheme::Https, Scheme::Http]);
        assert!(http.covers(&wide) && !wide.covers(&http));
    }
}
