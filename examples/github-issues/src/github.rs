//! GitHub's REST API, as much of it as the tools use.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sophon_sdk::http::{self, Request, Response};
use sophon_sdk::{Result, ToolError, credentials, settings};

const SERVICE: &str = "github";

/// Where the API is, unless the setting `base_url` names another (GitHub Enterprise: `https://HOST/api/v3`).
const BASE_URL: &str = "https://api.github.com";

pub struct Repository {
    base_url: String,
    owner: String,
    name: String,
}

impl Repository {
    pub fn open(owner: &str, name: &str) -> Result<Self> {
        credentials::require(SERVICE)?;
        let base_url = settings::value_or("base_url", BASE_URL);
        Ok(Self { base_url, owner: owner.to_owned(), name: name.to_owned() })
    }

    pub fn get<const N: usize>(&self, path: [&str; N]) -> Request {
        self.request(http::get(&*self.base_url), path)
    }

    pub fn post<const N: usize>(&self, path: [&str; N]) -> Request {
        self.request(http::post(&*self.base_url), path)
    }

    fn request<const N: usize>(&self, request: Request, path: [&str; N]) -> Request {
        request
            .path(["repos", &self.owner, &self.name])
            .path(path)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .header("user-agent", "sophon-github-issues")
            .credential(SERVICE)
    }

    /// What went wrong, in words that tell an agent what to do next.
    fn explain(&self, response: &Response) -> ToolError {
        let Self { owner, name, .. } = self;
        let said = response.json::<Problem>().map(Problem::into_text).unwrap_or_default();
        let out_of_requests = response.header("x-ratelimit-remaining") == Some("0") || response.status() == 429;
        match response.status() {
            401 => {
                ToolError::denied(format_args!("GitHub did not accept the credential; connect github again ({said})"))
            }
            403 | 429 if out_of_requests => {
                ToolError::unavailable(format_args!("GitHub allows no more requests for now ({said})"))
            }
            403 => ToolError::denied(format_args!("the connected account may not do this in {owner}/{name} ({said})")),
            404 => ToolError::not_found(format_args!(
                "{owner}/{name} has no such thing, or the connected account may not see it ({said})"
            )),
            410 => ToolError::not_found(format_args!("{owner}/{name} has no issues, or this one was deleted ({said})")),
            400 | 422 => ToolError::invalid_arguments(format_args!("GitHub refused it: {said}")),
            status @ 500.. => ToolError::unavailable(format_args!("GitHub answered {status} ({said})")),
            status => ToolError::failed(format_args!("GitHub answered {status} ({said})")),
        }
    }
}

pub trait SendFor {
    /// Sends the request and reads the answer.
    fn send_for<T: DeserializeOwned>(self, repository: &Repository) -> Result<T>;
}

impl SendFor for Request {
    fn send_for<T: DeserializeOwned>(self, repository: &Repository) -> Result<T> {
        let response = self.send()?;
        if !response.is_success() {
            return Err(repository.explain(&response));
        }
        Ok(response.json()?)
    }
}

#[derive(Deserialize)]
pub struct Issue {
    pub number: u64,
    pub title: String,
    pub state: String,
    pub html_url: String,
    pub created_at: String,
    #[serde(default)]
    pub comments: u64,
    pub body: Option<String>,
    pub user: Option<User>,
    #[serde(default)]
    pub labels: Vec<Label>,
    pub pull_request: Option<PullRequest>,
}

/// Only there to tell a pull request from an issue.
#[derive(Deserialize)]
pub struct PullRequest {}

#[derive(Deserialize)]
pub struct Comment {
    pub user: Option<User>,
    pub created_at: String,
    pub body: Option<String>,
}

#[derive(Deserialize)]
pub struct User {
    login: String,
}

/// The login name; GitHub calls an account that is gone `ghost`.
pub fn login(user: Option<User>) -> String {
    user.map_or_else(|| "ghost".to_owned(), |user| user.login)
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Label {
    Name(String),
    Object { name: Option<String> },
}

impl Label {
    pub fn into_name(self) -> String {
        match self {
            Self::Name(name) => name,
            Self::Object { name } => name.unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    message: String,
    #[serde(default)]
    errors: Vec<Detail>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Detail {
    Text(String),
    Field { field: Option<String>, code: Option<String>, message: Option<String> },
}

impl Problem {
    fn into_text(self) -> String {
        let mut text = self.message;
        for detail in self.errors {
            text.push_str("; ");
            match detail {
                Detail::Text(detail) => text.push_str(&detail),
                Detail::Field { message: Some(message), .. } => text.push_str(&message),
                Detail::Field { field, code, .. } => {
                    text.push_str(&field.unwrap_or_default());
                    text.push_str(": ");
                    text.push_str(&code.unwrap_or_default());
                }
            }
        }
        text
    }
}
