//! Where a skill's tool may send requests: the manifest's rules, the tool's own list, and what a person granted.
//!
//! Promise: a refusal names the part that did not match and gives the line that would allow it. A manifest opens
//! public addresses only; private ones need a person's grant of that host and port. A grant voids no rule: what the
//! manifest says about methods, paths and credentials of a host holds there too. Only a host of which the manifest says
//! nothing is open to every method and path by the grant alone.

use crate::address::{AddressClass, Reach};
use crate::error::Denial;
use crate::url::CheckedUrl;
use serde_json::{Map, Value, json};
use sophon_skill::{HostGrant, HostPattern, Manifest, NetworkRule, PathPattern, RulePlace, Scheme, Tool};
use sophon_types::{ServiceName, ToolName};
use std::net::IpAddr;
use url::Host;

/// The rules for the requests of one tool, as one person installed its skill.
#[derive(Debug, Clone)]
pub struct Allowlist {
    permissions: Vec<NetworkRule>,
    tool: Option<(ToolName, Vec<NetworkRule>)>,
    grants: Vec<HostGrant>,
    /// The skill's credential, where it uses exactly one: a grant then need not name it.
    only: Option<ServiceName>,
    /// The package's file name, for hints.
    package: String,
    /// Where another rule of the manifest goes, for hints.
    place: RulePlace,
}

/// What a request was let through with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) reach: Reach,
    /// Whether the credential's connection has to name this host.
    pub(crate) binding: BindingRule,
}

/// How a rule stands to the credential that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BindingRule {
    /// A rule of exactly this host (or a person's grant) names it: it may go there, unless the connection is bound to
    /// other hosts.
    Named,
    /// A rule with a wildcard names it: hosts that nobody has seen. It may go there only where the connection names
    /// this host.
    Wildcard,
    /// The rule says nothing: it may go there only where the connection names this host.
    MustBind,
}

impl Allowlist {
    /// The rules for `tool` of a manifest, or for the whole skill where no tool is given. A tool's own list narrows
    /// the skill's; a grant holds for every tool, within what those lists say about its host.
    #[must_use]
    pub fn compile(manifest: &Manifest, tool: Option<&Tool>, grants: &[HostGrant]) -> Self {
        Self {
            permissions: manifest.permissions.network.clone().unwrap_or_default(),
            tool: tool.and_then(|tool| Some((tool.name.clone(), tool.network.clone()?))),
            grants: grants.to_vec(),
            only: match manifest.services().as_slice() {
                [only] => Some(only.service.clone()),
                _ => None,
            },
            package: format!("{}-{}.sophon-skill", manifest.name, manifest.version),
            place: RulePlace::of(&manifest.permissions),
        }
    }

    pub(crate) fn check(
        &self,
        url: &CheckedUrl,
        method: &str,
        credential: Option<&ServiceName>,
    ) -> Result<Pass, Denial> {
        self.check_path(url, method, credential, Path::Shown)
    }

    /// The same for a URL whose path is a secret: no refusal names it.
    pub(crate) fn check_unseen(
        &self,
        url: &CheckedUrl,
        method: &str,
        credential: Option<&ServiceName>,
    ) -> Result<Pass, Denial> {
        self.check_path(url, method, credential, Path::Secret)
    }

    fn check_path(
        &self,
        url: &CheckedUrl,
        method: &str,
        credential: Option<&ServiceName>,
        path: Path,
    ) -> Result<Pass, Denial> {
        let granted: Vec<_> =
            self.grants.iter().filter(|grant| grant.admits(url.scheme(), url.host(), url.port())).collect();
        let asked = Asked { url, method, credential, path, granted: !granted.is_empty() };
        let own = self.tool.as_ref().map(|(_, rules)| rules.as_slice());
        if granted.is_empty() {
            return listed(&asked, &self.permissions.iter().collect::<Vec<_>>(), own.map(|own| own.iter().collect()))
                .map(|binding| Pass { reach: Reach::Public, binding })
                .map_err(|(list, miss)| self.denial(&asked, list, miss));
        }
        let reach = match url.host() {
            Host::Domain(name) => Reach::GrantedName { loopback: name == "localhost" || name.ends_with(".localhost") },
            Host::Ipv4(_) | Host::Ipv6(_) => Reach::GrantedAddress,
        };
        let deny = |(list, miss)| self.denial(&asked, list, miss);
        let named = match credential {
            None => true,
            Some(service) => {
                self.grants_credential(&granted, url, service).map_err(|miss| deny((List::Skill, miss)))?
            }
        };
        let (skill, own) = (about(&self.permissions, url), own.map(|own| about(own, url)));
        let binding = if skill.is_empty() && own.as_ref().is_none_or(Vec::is_empty) {
            if named { BindingRule::Named } else { return Err(deny((List::Skill, Miss::NotGranted))) }
        } else {
            match listed(&asked, &skill, own).map_err(deny)? {
                // The rule names the credential, and a person this very host.
                BindingRule::Wildcard => BindingRule::Named,
                _ if named => BindingRule::Named,
                binding => binding,
            }
        };
        Ok(Pass { reach, binding })
    }

    /// Whether a grant names the credential, by its name or because the skill has no other. A grant that names another
    /// service lets this one go nowhere.
    fn grants_credential(&self, granted: &[&HostGrant], url: &CheckedUrl, service: &ServiceName) -> Result<bool, Miss> {
        let mut carrying = granted.iter().filter(|grant| grant.carries_credentials(url.scheme())).peekable();
        if carrying.peek().is_none() {
            return Err(Miss::CredentialOverHttp);
        }
        let mut fitting = carrying.filter(|grant| grant.service().is_none_or(|named| named == service)).peekable();
        if fitting.peek().is_none() {
            return Err(Miss::NotGranted);
        }
        Ok(self.only.as_ref() == Some(service) || fitting.any(|grant| grant.service().is_some()))
    }

    fn denial(&self, asked: &Asked<'_>, list: List, miss: Miss) -> Denial {
        let Asked { url, method, credential, path, granted } = *asked;
        let host = url.host();
        let scheme = if url.scheme() == Scheme::Http { "http://" } else { "" };
        let shown: String = format!("{scheme}{}{}", url.authority(), path.of(url)).chars().take(200).collect();
        let (list, manifest) = match (&self.tool, list) {
            (Some((tool, _)), List::Tool) => {
                let list = format!("the network list of {tool}");
                let line = format!("add {} to {list} in manifest.json", asked.rule());
                (list, line)
            }
            _ => ("permissions.network".to_owned(), self.place.line(&[asked.rule()])),
        };
        let plain = |code, what: &str| Denial::new(code, format_args!("{method} {shown}: {what}"));
        let not_in = |code| Denial::new(code, format_args!("{method} {shown} is not in {list}"));
        let grant = format!("sophon install {} --allow-host {}", self.package, asked.grant());
        let either = format!("{manifest}, or let the person in charge run: {grant}");
        let hint = match address_of(host).map(AddressClass::of) {
            // The person has granted it already; what is missing is a rule.
            _ if granted => manifest.clone(),
            None | Some(AddressClass::Public) => either,
            Some(AddressClass::Private | AddressClass::Loopback | AddressClass::LinkLocal) => grant.clone(),
            Some(_) => "this address is never reached".to_owned(),
        };
        match miss {
            Miss::Host => not_in("host_not_allowed").hint(hint),
            Miss::Scheme => not_in("scheme_not_allowed").hint(hint),
            Miss::Port => not_in("port_not_allowed").hint(hint),
            Miss::Method => not_in("method_not_allowed").hint(manifest),
            Miss::Path => not_in("path_not_allowed").hint(manifest),
            Miss::PathForm(doubt) => {
                plain("path_form", doubt).hint("write the path plainly: no dot segments, no encoded separators")
            }
            Miss::Credential => {
                let service = credential.map_or("", ServiceName::as_str);
                Denial::new(
                    "credential_not_allowed",
                    format_args!("the credential {service} may not travel to {}", url.authority()),
                )
                .hint(manifest)
            }
            Miss::NotGranted => {
                let service = credential.map_or("", ServiceName::as_str);
                Denial::new(
                    "credential_not_allowed",
                    format_args!("the grant of {} does not name the credential {service}", url.authority()),
                )
                .hint(format!("let the person in charge run: {grant}"))
            }
            Miss::CredentialOverHttp => {
                let service = credential.map_or("", ServiceName::as_str);
                Denial::new(
                    "credential_over_http",
                    format_args!("the credential {service} would travel to {} unencrypted", url.authority()),
                )
                .hint(format!("use https, or let the person in charge run: {grant}"))
            }
        }
    }
}

/// Which of the manifest's lists did not admit a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Skill,
    Tool,
}

/// Whether a refusal may name the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Shown,
    /// It is what authorises.
    Secret,
}

impl Path {
    fn of(self, url: &CheckedUrl) -> &str {
        match self {
            Self::Shown => url.path(),
            Self::Secret => "/…",
        }
    }
}

/// A request as the rules see it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    url: &'a CheckedUrl,
    method: &'a str,
    credential: Option<&'a ServiceName>,
    path: Path,
    /// A person granted this scheme, host and port, and the credential may travel over this scheme: rules are asked
    /// for the rest.
    granted: bool,
}

/// What the manifest's lists say: each list there is has to admit the request.
fn listed(
    asked: &Asked<'_>,
    skill: &[&NetworkRule],
    tool: Option<Vec<&NetworkRule>>,
) -> Result<BindingRule, (List, Miss)> {
    let skill = asked.find(skill).map_err(|miss| (List::Skill, miss))?;
    match tool {
        // Where only one of them names the credential, that one decides; neither may name another.
        Some(rules) => Ok(skill.min(asked.find(&rules).map_err(|miss| (List::Tool, miss))?)),
        None => Ok(skill),
    }
}

/// The rules that say something about a granted destination: those of this very place, else those of the host at other
/// ports or schemes.
fn about<'a>(rules: &'a [NetworkRule], url: &CheckedUrl) -> Vec<&'a NetworkRule> {
    let here = |rule: &&NetworkRule| rule.admits_destination(url.scheme(), url.host(), url.port());
    let found: Vec<_> = rules.iter().filter(here).collect();
    if found.is_empty() { rules.iter().filter(|rule| rule.host.matches(url.host())).collect() } else { found }
}

/// The part that did not match, in the rule that came nearest; ordered by how near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Miss {
    Host,
    Scheme,
    Port,
    Method,
    Path,
    PathForm(&'static str),
    Credential,
    NotGranted,
    CredentialOverHttp,
}

impl Asked<'_> {
    fn find(&self, rules: &[&NetworkRule]) -> Result<BindingRule, Miss> {
        let mut nearest = Miss::Host;
        let mut found: Option<BindingRule> = None;
        for rule in rules {
            match self.apply(rule) {
                Ok(binding) => found = Some(found.map_or(binding, |best| best.min(binding))),
                Err(miss) => nearest = nearest.max(miss),
            }
        }
        found.ok_or(nearest)
    }

    fn apply(&self, rule: &NetworkRule) -> Result<BindingRule, Miss> {
        let url = self.url;
        if !rule.host.matches(url.host()) {
            return Err(Miss::Host);
        }
        if !self.granted && !rule.schemes.contains(&url.scheme()) {
            return Err(Miss::Scheme);
        }
        if !self.granted && !rule.admits_destination(url.scheme(), url.host(), url.port()) {
            return Err(Miss::Port);
        }
        if !rule.admits_method(self.method) {
            return Err(Miss::Method);
        }
        if !rule.paths.is_empty() && !rule.paths.contains(&PathPattern::All) {
            if let Some(doubt) = url.path_doubt() {
                return Err(Miss::PathForm(doubt));
            }
            if !rule.admits_path(url.path()) {
                return Err(Miss::Path);
            }
        }
        match (self.credential, &rule.credential) {
            (None, _) => Ok(BindingRule::Named),
            (Some(_), _) if url.scheme() == Scheme::Http && !self.granted => Err(Miss::CredentialOverHttp),
            (Some(_), None) => Ok(BindingRule::MustBind),
            (Some(asked), Some(named)) if asked == named => Ok(match rule.host {
                HostPattern::Wildcard(_) => BindingRule::Wildcard,
                HostPattern::Exact(_) | HostPattern::Ip(_) => BindingRule::Named,
            }),
            (Some(_), Some(_)) => Err(Miss::Credential),
        }
    }

    /// The narrowest rule of a manifest that admits this request.
    fn rule(&self) -> Value {
        let mut rule = Map::new();
        rule.insert("host".into(), host_pattern(self.url.host()).to_string().into());
        if self.url.scheme() == Scheme::Http {
            rule.insert("schemes".into(), json!(["http"]));
        }
        if self.url.port() != self.url.scheme().default_port() {
            rule.insert("ports".into(), json!([self.url.port()]));
        }
        rule.insert("methods".into(), json!([self.method]));
        if self.path == Path::Shown
            && let Ok(path @ PathPattern::Exact(_)) = self.url.path().parse::<PathPattern>()
        {
            rule.insert("paths".into(), json!([path.to_string()]));
        }
        if let Some(service) = self.credential {
            rule.insert("credential".into(), service.as_str().into());
        }
        Value::Object(rule)
    }

    /// The grant that admits this request, the credential included.
    fn grant(&self) -> String {
        let (host, port) = (self.url.host(), self.url.port());
        let place = match (self.url.scheme(), self.credential) {
            (Scheme::Https, _) if port == 443 => host.to_string(),
            (Scheme::Https, _) => format!("https://{host}:{port}"),
            (Scheme::Http, Some(_)) => format!("http://{host}:{port}"),
            (Scheme::Http, None) => format!("{host}:{port}"),
        };
        match self.credential {
            Some(service) => format!("{place}={service}"),
            None => place,
        }
    }
}

fn host_pattern(host: &Host<String>) -> HostPattern {
    match host {
        Host::Domain(name) => HostPattern::Exact(name.clone()),
        Host::Ipv4(address) => HostPattern::Ip((*address).into()),
        Host::Ipv6(address) => HostPattern::Ip((*address).into()),
    }
}

pub(crate) fn address_of(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
    }
}
