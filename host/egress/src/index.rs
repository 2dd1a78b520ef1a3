//! Fetching from an index of packages that the operator configured: its lists, and the files that they name.
//!
//! Promise: only the index itself and the hosts of files that the operator named are asked, redirects included; answers are
//! bounded; nothing that came is trusted here, and whoever asked compares it with a digest.

use crate::EgressLimits;
use crate::address::Reach;
use crate::admit::AllowedRequest;
use crate::connection::Answer;
use crate::egress::Egress;
use crate::error::{Denial, HttpError};
use crate::owner::Owner;
use crate::url::CheckedUrl;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use sophon_skill::Scheme;
use sophon_types::TenantId;
use tokio::time::Instant;
use url::Host;

/// Bytes of a URL.
const URL_BYTES: usize = 2048;
/// Bytes of a list of files.
const LIST: usize = 32 << 20;

/// An index in the form of PyPI's `/simple`.
#[derive(Debug, Clone)]
pub struct PackageIndex {
    base: CheckedUrl,
    files: Vec<String>,
}

/// What came.
#[derive(Debug, Clone)]
pub struct Fetched {
    url: CheckedUrl,
    /// The status code.
    pub status: u16,
    /// Its content type.
    pub media: String,
    /// The body.
    pub body: Bytes,
}

impl PackageIndex {
    /// The index at `url` (https, without a query). Its files may lie at the same host and port, and on 443 of the hosts `files`.
    ///
    /// # Errors
    /// [`Denial`], which says what is wrong with the URL.
    pub fn new(url: &str, files: &[String]) -> Result<Self, Denial> {
        let url = format!("{}/", url.trim_end_matches('/'));
        let base = CheckedUrl::parse(&url, URL_BYTES)
            .map_err(|refusal| Denial::new(refusal.code(), refusal).hint(refusal.hint()))?;
        if base.scheme() != Scheme::Https || url.contains('?') {
            let denial = Denial::new("not_an_index", format_args!("{url} is not an https URL without a query"));
            return Err(denial.hint("write it as in https://pypi.org/simple"));
        }
        for host in files {
            let sound = matches!(Host::parse(host), Ok(Host::Domain(name)) if name == *host);
            if !sound {
                let denial = Denial::new("not_an_index", format_args!("{host:?} is not the name of a host"));
                return Err(denial.hint("write it as in files.pythonhosted.org"));
            }
        }
        Ok(Self { base, files: files.to_vec() })
    }

    /// The index's host, with its port where that is not 443.
    #[must_use]
    pub fn host(&self) -> &str {
        self.base.authority()
    }

    fn reach(&self, url: &CheckedUrl) -> Result<Reach, Denial> {
        if self.base.same_origin(url) {
            return Ok(Reach::by_operator(url));
        }
        let named = matches!(url.host(), Host::Domain(name) if self.files.contains(name));
        if named && url.scheme() == Scheme::Https && url.port() == 443 {
            return Ok(Reach::Public);
        }
        let denial = Denial::new(
            "index_host_not_allowed",
            format_args!("the index {} leads to {}, which is not one of its hosts", self.host(), url.authority()),
        );
        Err(denial.hint("where that is right, add the host to [containers] python_index_files"))
    }
}

impl Egress {
    /// The index's list of the files of the package `name`, whose form `accept` says.
    ///
    /// # Errors
    /// [`HttpError`] where it was not asked, or no complete answer came.
    pub async fn listing(
        &self,
        index: &PackageIndex,
        tenant: &TenantId,
        name: &str,
        accept: &'static str,
        deadline: Instant,
    ) -> Result<Fetched, HttpError> {
        let url = joined(&index.base, &format!("{name}/"))?;
        self.fetch(index, tenant, url, accept, LIST, deadline).await
    }

    /// A file that the list `from` names by `url`, of at most `most` bytes.
    ///
    /// # Errors
    /// [`HttpError`], as for a list.
    pub async fn listed_file(
        &self,
        index: &PackageIndex,
        tenant: &TenantId,
        from: &Fetched,
        url: &str,
        most: usize,
        deadline: Instant,
    ) -> Result<Fetched, HttpError> {
        let url = joined(&from.url, url)?;
        self.fetch(index, tenant, url, "*/*", most, deadline).await
    }

    async fn fetch(
        &self,
        index: &PackageIndex,
        tenant: &TenantId,
        mut url: CheckedUrl,
        accept: &'static str,
        most: usize,
        deadline: Instant,
    ) -> Result<Fetched, HttpError> {
        let limits = EgressLimits { response_body_bytes: most, ..self.wire().limits.clone() };
        let owner = Owner::operator(tenant)?;
        for _hop in 0..=limits.redirects {
            let reach = index.reach(&url)?;
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            let allowed = AllowedRequest::asked_by_the_operator(url.clone(), reach, headers);
            let sent = self.wire().dispatch_within(&owner, &allowed, None, deadline, &limits).await;
            let answer = sent.map_err(|failure| failure.into_error(allowed.method()))?;
            match redirected(&answer) {
                Some(location) => url = joined(&url, location)?,
                None => return fetched(url, answer),
            }
        }
        Err(HttpError::TooManyRedirects)
    }
}

fn joined(base: &CheckedUrl, to: &str) -> Result<CheckedUrl, HttpError> {
    let refused = |refusal: crate::url::UrlRefusal| Denial::new(refusal.code(), refusal).hint(refusal.hint());
    Ok(base.join(to, URL_BYTES).map_err(refused)?)
}

fn redirected(answer: &Answer) -> Option<&str> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    answer.headers.get(header::LOCATION)?.to_str().ok()
}

fn fetched(url: CheckedUrl, answer: Answer) -> Result<Fetched, HttpError> {
    if answer.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(HttpError::Protocol("the answer is coded although identity was asked for".into()));
    }
    let media = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(Fetched { url, status: answer.status.as_u16(), media: media.to_owned(), body: answer.body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_leads_to_its_own_hosts_only() {
        let files = ["files.example".to_owned()];
        let index = PackageIndex::new("https://index.example:8443/simple", &files).unwrap();
        let reach = |url: &str| {
            let url = joined(&index.base, url).unwrap();
            index.reach(&url).map_err(|denial| denial.code)
        };
        for fine in ["a/", "/other/a.whl", "https://index.example:8443/a.whl", "https://files.example/a.whl"] {
            assert!(reach(fine).is_ok(), "{fine}");
        }
        assert_eq!(
            reach("https://files.example/a.whl"),
            Ok(Reach::Public),
            "a private address is not for a list to name"
        );
        for foreign in [
            "https://index.example/a.whl",
            "http://index.example:8443/a.whl",
            "https://files.example:8443/a.whl",
            "http://files.example/a.whl",
            "https://evil.example/a.whl",
            "https://169.254.169.254/a.whl",
            "https://127.0.0.1/a.whl",
        ] {
            assert_eq!(reach(foreign), Err("index_host_not_allowed".into()), "{foreign}");
        }
        for bad in ["http://index.example/simple", "https://index.example/simple?x=1", "index.example", ""] {
            assert!(PackageIndex::new(bad, &[]).is_err(), "{bad}");
        }
        for bad in ["https://files.example", "FILES.example", "10.0.0.1", "a b"] {
            assert!(PackageIndex::new("https://index.example", &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
