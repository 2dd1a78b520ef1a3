//! The defence against DNS rebinding and against web pages that speak to a local gateway: the `Host` of a request
//! must be a name of this gateway, and an `Origin`, where a browser sends one, its own or a configured one.

use crate::GatewayError;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};
use std::net::IpAddr;

/// Checks `Host` and `Origin` against what the operator configured; loopback names are always this gateway's.
#[derive(Debug, Clone)]
pub(crate) struct OriginRule {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl OriginRule {
    /// `hosts` without ports, `origins` as browsers write them (`https://console.example.org`); `listen` is the
    /// address that the gateway listens on, which names it unless it is the unspecified one.
    pub(crate) fn new(hosts: &[String], origins: &[String], listen: Option<IpAddr>) -> Self {
        let own = listen.filter(|address| !address.is_unspecified()).map(|address| match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        });
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).chain(own).collect();
        Self { hosts, origins: origins.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect() }
    }

    /// Lets a request through whose names are right.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), GatewayError> {
        let host = single(headers, HOST.as_str())?.ok_or_else(|| refused_host(""))?;
        if !self.is_own(host) {
            return Err(refused_host(host));
        }
        // An absolute-form request names its host a second time (RFC 9112, section 3.2.2).
        if let Some(authority) = uri.authority()
            && !authority.as_str().eq_ignore_ascii_case(host)
        {
            return Err(refused_host(authority.as_str()));
        }
        let Some(origin) = single(headers, ORIGIN.as_str())? else { return Ok(()) };
        let same = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(|rest| rest.eq_ignore_ascii_case(host));
        if same || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return Ok(());
        }
        Err(GatewayError::OriginRefused { origin: shown(origin) })
    }

    fn is_own(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        let name = name.to_ascii_lowercase();
        matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]") || self.hosts.contains(&name)
    }
}

/// The name of `name[:port]`; none where there is more to it than that.
fn name_of(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => host.split_at(rest.find(']')? + 2),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    (port_is_fine && !name.is_empty()).then_some(name)
}

fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, GatewayError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(GatewayError::ParameterInvalid { place: name, message: "stands more than once".into() });
    }
    let unreadable = |_not_ascii| GatewayError::ParameterInvalid { place: name, message: "is not plain ASCII".into() };
    first.map(|value| value.to_str().map_err(unreadable)).transpose()
}

fn refused_host(host: &str) -> GatewayError {
    GatewayError::HostRefused { host: shown(host) }
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, headers: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let rule = OriginRule::new(
            &["Sophon.example.org".into()],
            &["https://console.example.org/".into()],
            Some("192.0.2.7".parse().unwrap()),
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        rule.check(&uri.parse().unwrap(), &map).map_err(|error| sophon_types::Fault::code(&error))
    }

    #[test]
    fn only_names_of_this_gateway_are_served() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:65535", "sophon.example.org", "192.0.2.7:7777"]
        {
            assert_eq!(check("/v1/tools", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "localhost:80:80",
            "localhost:",
            "localhost:x",
            "[::1",
            "[::1]x",
            "user@localhost",
            "0.0.0.0",
            "",
        ] {
            assert_eq!(check("/v1/tools", &[("host", host)]), Err("host_refused"), "{host}");
        }
        assert_eq!(check("/v1/tools", &[]), Err("host_refused"));
        assert_eq!(check("/", &[("host", "localhost"), ("host", "localhost")]), Err("invalid_parameter"));
        assert_eq!(check("http://evil.example/", &[("host", "localhost")]), Err("host_refused"));
        assert_eq!(check("http://localhost/", &[("host", "localhost")]), Ok(()));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let with = |origin| check("/v1/tools", &[("host", "localhost:8080"), ("origin", origin)]);
        assert_eq!(with("http://localhost:8080"), Ok(()));
        assert_eq!(with("https://console.example.org"), Ok(()));
        for origin in
            ["null", "http://localhost:3000", "https://evil.example", "http://localhost:8080.evil.example", ""]
        {
            assert_eq!(with(origin), Err("origin_refused"), "{origin}");
        }
    }
}
