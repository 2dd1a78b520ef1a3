//! HTTP through the host: the only way out. The manifest's `permissions.network` names hosts, methods and paths, a
//! person grants them, and each request and each redirect is checked. A credential is named, never held.
//!
//! ```no_run
//! use sophon_sdk::{ToolError, http};
//!
//! #[derive(serde::Deserialize)]
//! struct Issue { number: u64, title: String }
//!
//! # fn main() -> Result<(), ToolError> {
//! let issues: Vec<Issue> = http::get("https://api.github.com")
//!     .path(["repos", "octocat", "hello-world", "issues"])
//!     .query("state", "open")
//!     .query("per_page", 20)
//!     .header("accept", "application/vnd.github+json")
//!     .credential("github")
//!     .send()?
//!     .error_for_status()?
//!     .json()?;
//! # Ok(()) }
//! ```

mod error;
mod url;

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::Error;
pub use self::url::encode;
use crate::host::http as host;

/// A GET request.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A HEAD request.
pub fn head(url: impl Into<String>) -> Request {
    Request::new("HEAD", url)
}

/// A POST request.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A PUT request.
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url)
}

/// A PATCH request.
pub fn patch(url: impl Into<String>) -> Request {
    Request::new("PATCH", url)
}

/// A DELETE request. The host asks a person before it leaves, unless that was approved with the call.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new("DELETE", url)
}

/// A request in the making. What is wrong with it is said by [`send`](Request::send).
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    method: String,
    url: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    credential: Option<String>,
    redirects: Redirects,
    timeout: Option<Duration>,
    problem: Option<String>,
}

/// What to do when the answer is a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Follow up to the host's limit; each hop is checked like a request of its own.
    #[default]
    Follow,
    /// Hand the redirect to the skill.
    Manual,
}

impl Request {
    /// A request with any method, to an absolute URL.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            query: String::new(),
            headers: Vec::new(),
            body: None,
            credential: None,
            redirects: Redirects::Follow,
            timeout: None,
            problem: None,
        }
    }

    /// Adds segments to the URL's path, percent-encoded: `.path(["repos", owner, repo])`. A segment cannot reach another
    /// path: `/` is encoded, and `.`, `..` and the empty text are refused.
    pub fn path<I>(mut self, segments: I) -> Self
    where
        I: IntoIterator<Item: Display>,
    {
        if self.url.contains(['?', '#']) {
            self.refuse("path() needs a URL without `?` and `#`; add the query with query()");
        }
        self.url.truncate(self.url.trim_end_matches('/').len());
        for segment in segments {
            let segment = segment.to_string();
            if matches!(segment.as_str(), "" | "." | "..") {
                self.refuse(format_args!("`{segment}` cannot be a part of a path"));
            }
            self.url.push('/');
            self.url.push_str(&encode(&segment));
        }
        self
    }

    /// Adds a query parameter, percent-encoded.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        url::push_pair(&mut self.query, name, &value.to_string());
        self
    }

    /// Adds a query parameter where there is a value.
    pub fn query_opt(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a header. The host sets `Host`, `Content-Length` and the hop-by-hop fields itself.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into().into_bytes()));
        self
    }

    /// Has the host attach the user's credential for a service of the manifest's `credentials`.
    pub fn credential(mut self, service: impl Into<String>) -> Self {
        self.credential = Some(service.into());
        self
    }

    /// Sends `body` as JSON.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body("application/json", bytes),
            Err(error) => {
                let mut broken = self;
                broken.refuse(format_args!("the body is not JSON: {error}"));
                broken
            }
        }
    }

    /// Sends name-value pairs as a form (`application/x-www-form-urlencoded`).
    pub fn form<N: AsRef<str>, V: Display>(self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut form = String::new();
        for (name, value) in pairs {
            url::push_pair(&mut form, name.as_ref(), &value.to_string());
        }
        self.body("application/x-www-form-urlencoded", form)
    }

    /// Sends bytes of the given media type.
    pub fn body(self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("content-type", content_type);
        request.body = Some(bytes.into());
        request
    }

    /// Gives the whole exchange this long; never longer than the call has left.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What to do when the answer is a redirect.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Sends the request and waits for the whole answer. An answer with a status like 404 is an answer: see
    /// [`Response::error_for_status`].
    pub fn send(self) -> Result<Response, Error> {
        if let Some(problem) = self.problem {
            return Err(Error::InvalidRequest(problem));
        }
        let request = host::Request {
            url: url::with_query(self.url, &self.query),
            method: self.method,
            headers: self.headers.into_iter().map(|(name, value)| host::Field { name, value }).collect(),
            body: self.body,
            credential: self.credential,
            redirects: match self.redirects {
                Redirects::Follow => host::Redirects::Follow,
                Redirects::Manual => host::Redirects::Manual,
            },
            timeout_ms: self.timeout.map(|t| u32::try_from(t.as_millis()).unwrap_or(u32::MAX)),
        };
        host::send(&request).map(Response::from_wit).map_err(Error::from_wit)
    }

    fn refuse(&mut self, problem: impl Display) {
        self.problem.get_or_insert_with(|| problem.to_string());
    }
}

/// An answer, complete. Secrets that the host attached are redacted from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Where the answer came from, after redirects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first header of that name, in any case, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(self) -> String {
        match String::from_utf8(self.body) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// The body from JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Body(error.to_string()))
    }

    /// The answer itself where the status is 200 to 299 (or 3xx where redirects are manual), else [`Error::Status`].
    pub fn error_for_status(self) -> Result<Self, Error> {
        if self.status < 400 { Ok(self) } else { Err(Error::status(self.status, &self.url, &self.body)) }
    }

    fn from_wit(response: host::Response) -> Self {
        Self {
            status: response.status,
            url: response.url,
            headers: response.headers.into_iter().map(|f| (f.name, f.value)).collect(),
            body: response.body,
        }
    }
}
