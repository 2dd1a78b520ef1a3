//! GitHub issues: list, read, create. The credential is named in each request and attached by the host; this code never
//! sees it.

mod github;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sophon_sdk::{Result, ToolError, bail, tool};

use crate::github::{Repository, SendFor};

sophon_sdk::skill!(list_issues, read_issue, create_issue);

/// What a listing may cost: GitHub counts pull requests as issues, so that a page may hold few of what we look for.
const MAX_PAGES: u32 = 5;
const PAGE: usize = 100;

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Open,
    Closed,
    All,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::All => "all",
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct Listing {
    issues: Vec<Summary>,
    /// Whether there are more issues than were asked for.
    more: bool,
}

#[derive(Serialize, JsonSchema)]
struct Summary {
    number: u64,
    title: String,
    /// `open` or `closed`.
    state: String,
    author: String,
    labels: Vec<String>,
    /// How many comments there are.
    comments: u64,
    /// When it was opened (RFC 3339).
    created_at: String,
    url: String,
}

impl From<github::Issue> for Summary {
    fn from(issue: github::Issue) -> Self {
        Self {
            number: issue.number,
            title: issue.title,
            state: issue.state,
            author: github::login(issue.user),
            labels: issue.labels.into_iter().map(github::Label::into_name).collect(),
            comments: issue.comments,
            created_at: issue.created_at,
            url: issue.html_url,
        }
    }
}

/// Lists the issues of a GitHub repository, newest first, without pull requests.
#[tool(risk = "low")]
fn list_issues(
    /// The repository's owner: a user or an organisation.
    owner: String,
    /// The repository's name.
    repo: String,
    /// Which issues.
    #[serde(default)]
    state: State,
    /// Only issues that have all of these labels.
    #[serde(default)]
    labels: Vec<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = 200))]
    #[arg(default = 30)]
    limit: usize,
) -> Result<Listing> {
    let repository = Repository::open(&owner, &repo)?;
    let labels = (!labels.is_empty()).then(|| labels.join(","));
    // One more than asked for tells whether there are more.
    let per_page = (limit + 1).min(PAGE);
    let mut issues: Vec<Summary> = Vec::new();
    let mut more = false;
    for page in 1..=MAX_PAGES {
        let found: Vec<github::Issue> = repository
            .get(["issues"])
            .query("state", state.as_str())
            .query_opt("labels", labels.as_deref())
            .query("per_page", per_page)
            .query("page", page)
            .send_for(&repository)?;
        let last = found.len() < per_page;
        issues.extend(found.into_iter().filter(|i| i.pull_request.is_none()).map(Summary::from));
        more = !last || issues.len() > limit;
        if last || issues.len() > limit {
            break;
        }
    }
    issues.truncate(limit);
    Ok(Listing { issues, more })
}

#[derive(Serialize, JsonSchema)]
struct Thread {
    #[serde(flatten)]
    summary: Summary,
    /// The issue's text, Markdown.
    body: String,
    /// The first comments, oldest first.
    thread: Vec<Comment>,
}

#[derive(Serialize, JsonSchema)]
struct Comment {
    author: String,
    created_at: String,
    body: String,
}

/// Reads one GitHub issue with its text and its first comments.
#[tool(risk = "low")]
fn read_issue(
    /// The repository's owner: a user or an organisation.
    owner: String,
    /// The repository's name.
    repo: String,
    /// The issue's number.
    #[schemars(range(min = 1))]
    number: u64,
    /// How many comments at most.
    #[schemars(range(max = 100))]
    #[arg(default = 30)]
    comments: usize,
) -> Result<Thread> {
    let repository = Repository::open(&owner, &repo)?;
    let number = number.to_string();
    let mut issue: github::Issue = repository.get(["issues", &number]).send_for(&repository)?;
    if issue.pull_request.is_some() {
        bail!(not_found, "{owner}/{repo}#{number} is a pull request, not an issue");
    }
    let thread: Vec<github::Comment> = if comments == 0 || issue.comments == 0 {
        Vec::new()
    } else {
        repository.get(["issues", &number, "comments"]).query("per_page", comments).send_for(&repository)?
    };
    Ok(Thread {
        body: issue.body.take().unwrap_or_default(),
        summary: issue.into(),
        thread: thread
            .into_iter()
            .map(|c| Comment {
                author: github::login(c.user),
                created_at: c.created_at,
                body: c.body.unwrap_or_default(),
            })
            .collect(),
    })
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewIssue {
    /// The repository's owner: a user or an organisation.
    owner: String,
    /// The repository's name.
    repo: String,
    /// One line that says what it is about.
    #[schemars(length(min = 1, max = 256))]
    title: String,
    /// The text, Markdown.
    #[serde(default)]
    #[schemars(length(max = 65536))]
    body: String,
    /// Names of labels.
    #[serde(default)]
    #[schemars(length(max = 20))]
    labels: Vec<String>,
    /// Login names of who should look after it.
    #[serde(default)]
    #[schemars(length(max = 10))]
    assignees: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Created {
    number: u64,
    url: String,
}

/// Opens a new issue in a GitHub repository. Everybody who can see the repository can read it.
#[tool(risk = "medium", editable)]
fn create_issue(#[args] new: NewIssue) -> Result<Created> {
    if new.title.trim().is_empty() {
        return Err(ToolError::invalid_arguments("`title` is blank"));
    }
    #[derive(Serialize)]
    struct Body<'a> {
        title: &'a str,
        body: &'a str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        labels: &'a [String],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        assignees: &'a [String],
    }
    let repository = Repository::open(&new.owner, &new.repo)?;
    let issue: github::Issue = repository
        .post(["issues"])
        .json(&Body { title: new.title.trim(), body: &new.body, labels: &new.labels, assignees: &new.assignees })
        .send_for(&repository)?;
    Ok(Created { number: issue.number, url: issue.html_url })
}

#[cfg(test)]
mod tests {
    use sophon_sdk::testing::Host;

    use super::*;

    #[test]
    fn a_listing_ends_after_five_pages() {
        let pull_request =
            r#"{"number": 1, "title": "", "state": "open", "html_url": "", "created_at": "", "pull_request": {}}"#;
        let page = format!("[{}]", [pull_request; 2].join(","));
        let mut host = Host::new().connected("github");
        for number in 1..=MAX_PAGES {
            let url = format!("https://api.github.com/repos/o/r/issues?state=all&per_page=2&page={number}");
            host = host.answer("GET", &url, 200, page.clone());
        }
        let listing = host.run(|| list_issues("o".into(), "r".into(), State::All, Vec::new(), 1)).unwrap();
        assert!(listing.issues.is_empty() && listing.more);
        assert_eq!(host.sent().len(), 5);
    }

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        let host = Host::new().connected("github");
        for (owner, repo) in [("..", "r"), ("o", ".."), ("", "r")] {
            assert!(host.run(|| read_issue(owner.into(), repo.into(), 1, 0)).is_err(), "{owner}/{repo}");
        }
        assert!(host.sent().is_empty());
    }
}
