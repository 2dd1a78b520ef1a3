//! The table of routes: path, who may, what goes in and what comes out. The router, the check of roles and the OpenAPI
//! document are all made from it, so a route cannot be open by mistake or missing from the document.

mod approvals;
mod audit;
mod calls;
mod content;
mod credentials;
mod events;
mod health;
mod keys;
mod oauth;
mod operator;
mod plans;
mod publishers;
mod schedules;
mod skills;

use crate::admission::{Access, Hurry, Pace};
use crate::problem::Problem;
use crate::{Gateway, GatewayError, page, wire};
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use sophon_types::Role;
use std::future::Future;
use tracing::Instrument as _;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Those who call tools.
const CALLERS: Access = Access::Roles(&[Role::Agent, Role::Admin]);
/// Those who hear of calls and approvals.
const WATCHERS: Access = Access::Roles(&[Role::Agent, Role::Approver, Role::Admin]);
/// Those who keep their own credentials.
const PEOPLE: Access = Access::Roles(&[Role::Approver, Role::Admin]);
/// Those who run the tenant.
const ADMINS: Access = Access::Roles(&[Role::Admin]);

/// One route.
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) summary: &'static str,
    pub(crate) size: Size,
    pub(crate) hurry: Hurry,
    pub(crate) pace: Pace,
    pub(crate) queries: &'static [(&'static str, &'static str)],
    pub(crate) takes: Option<Described>,
    pub(crate) answers: Vec<(u16, Answer)>,
    pub(crate) handler: MethodRouter<Gateway>,
}

/// A type on the wire.
#[derive(Clone)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) schema: RefOr<Schema>,
    /// The types that it refers to.
    pub(crate) needs: Vec<(String, RefOr<Schema>)>,
}

/// What a route answers with.
#[derive(Clone)]
pub(crate) enum Answer {
    Json(Box<Described>),
    /// Something of this media type.
    Raw(&'static str),
    Nothing,
}

/// The methods that routes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// How large a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// `max_body_bytes`.
    Usual,
    /// `max_package_bytes`, as base64.
    Package,
}

/// All routes.
pub(crate) fn table() -> Vec<Route> {
    vec![
        get("/healthz", Access::Exempt, "Whether the process answers.", health::healthz).answers::<wire::Health>(200),
        get("/readyz", Access::Exempt, "Whether calls can be served.", health::readyz).answers::<wire::Readiness>(200),
        get("/metrics", Access::Exempt, "Counters for Prometheus.", health::metrics).raw("text/plain"),
        get("/openapi.json", Access::Public, "This document.", health::openapi).raw("application/json"),
        get("/v1/operator/hello", Access::Exempt, "Proves that the gateway knows its run's token.", operator::hello)
            .queries(operator::QUERIES)
            .answers::<wire::Hello>(200),
        post("/v1/operator/reload", ADMINS, "Reads the configuration again.", operator::reload)
            .answers::<wire::ReloadedBody>(200),
        get("/v1/tools", CALLERS, "The tools that the caller may use.", calls::tools).answers::<wire::ToolList>(200),
        post("/v1/tools/{tool}/call", CALLERS, "Calls a tool.", calls::call)
            .takes::<wire::CallBody>()
            .answers::<wire::CallAnswer>(200)
            .answers::<wire::CallAnswer>(202),
        get("/v1/calls/{id}", CALLERS, "Where a call stands.", calls::status)
            .queries(&[("wait", "Seconds to wait for its end.")])
            .answers::<wire::CallAnswer>(200)
            .answers::<wire::CallAnswer>(202),
        post("/v1/plans", CALLERS, "Several calls, gated once.", plans::plan)
            .takes::<wire::PlanBody>()
            .answers::<wire::PlanAnswer>(200)
            .answers::<wire::PlanAnswer>(202),
        get("/v1/plans/{id}", CALLERS, "Where a plan stands.", plans::status)
            .queries(&[("wait", "Seconds to wait for its end.")])
            .answers::<wire::PlanAnswer>(200)
            .answers::<wire::PlanAnswer>(202),
        get("/v1/approvals", WATCHERS, "The questions that wait for a person, and their answers.", approvals::list)
            .queries(approvals::QUERIES)
            .answers::<wire::ApprovalList>(200),
        get("/v1/approvals/{id}", WATCHERS, "A question with everything that its answer is bound to.", approvals::show)
            .answers::<wire::ApprovalBody>(200),
        post("/v1/approvals/{id}/approve", PEOPLE, "Says yes.", approvals::approve)
            .takes::<wire::ApproveBody>()
            .answers::<wire::ApprovalBody>(200),
        post("/v1/approvals/{id}/reject", PEOPLE, "Says no.", approvals::reject)
            .takes::<wire::RejectBody>()
            .answers::<wire::ApprovalBody>(200),
        post("/v1/sessions", CALLERS, "Begins a session of the calling key.", approvals::begin_session)
            .answers::<wire::SessionBody>(201),
        put("/v1/sessions/{id}", PEOPLE, "Raises what passes by itself in a session.", approvals::raise_session)
            .takes::<wire::RaiseBody>()
            .answers::<wire::SessionBody>(200),
        get("/v1/sessions", PEOPLE, "The sessions of agents that have not ended.", approvals::sessions)
            .queries(approvals::SESSION_QUERIES)
            .answers::<wire::SessionList>(200),
        delete("/v1/sessions/{id}", PEOPLE, "Ends a session, with what was allowed in it.", approvals::end_session)
            .nothing(),
        get("/v1/grants", PEOPLE, "The standing yeses.", approvals::grants)
            .queries(page::QUERIES)
            .answers::<wire::GrantList>(200),
        post("/v1/grants", PEOPLE, "Gives a standing yes.", approvals::grant)
            .takes::<wire::GrantBody>()
            .answers::<wire::GrantItem>(201),
        delete("/v1/grants/{id}", PEOPLE, "Takes a standing yes back.", approvals::revoke_grant).nothing(),
        get("/v1/schedules", CALLERS, "The calls that come round.", schedules::list)
            .queries(schedules::QUERIES)
            .answers::<wire::ScheduleList>(200),
        get("/v1/schedules/{id}", CALLERS, "A call that comes round, with its arguments.", schedules::show)
            .answers::<wire::ScheduleItem>(200),
        post("/v1/schedules", CALLERS, "Makes a call that comes round.", schedules::create)
            .takes::<wire::ScheduleBody>()
            .answers::<wire::ScheduleItem>(201),
        delete("/v1/schedules/{id}", CALLERS, "Removes a call that comes round.", schedules::remove).nothing(),
        post("/v1/external-content", CALLERS, "Wraps text from outside for a model.", content::wrap)
            .takes::<wire::ContentBody>()
            .answers::<wire::WrappedContent>(200),
        get("/v1/skills", ADMINS, "The installed skills.", skills::list).answers::<wire::SkillList>(200),
        post("/v1/skills", ADMINS, "Installs a package, or updates to it.", skills::install)
            .takes::<wire::InstallBody>()
            .sized(Size::Package)
            .answers::<wire::SkillBody>(201),
        get("/v1/skills/{name}", ADMINS, "An installed skill.", skills::show).answers::<wire::SkillBody>(200),
        delete("/v1/skills/{name}", ADMINS, "Removes a skill.", skills::remove).nothing(),
        post("/v1/skills/{name}/enable", ADMINS, "Lets a skill's tools be called.", skills::enable)
            .answers::<wire::SkillBody>(200),
        post("/v1/skills/{name}/disable", ADMINS, "Stops a skill's tools from being called.", skills::disable)
            .answers::<wire::SkillBody>(200),
        get("/v1/skills/{name}/analysis", ADMINS, "What the static analysis found.", skills::analysis)
            .answers::<wire::AnalysisBody>(200),
        get("/v1/credentials", PEOPLE, "The connected accounts, without values.", credentials::list)
            .answers::<wire::ConnectionList>(200),
        get("/v1/credentials/{service}", PEOPLE, "A connected account, without values.", credentials::show)
            .queries(&[("owner", "user (default) or tenant.")])
            .answers::<wire::ConnectionBody>(200),
        put("/v1/credentials/{service}", PEOPLE, "Connects an account.", credentials::put)
            .takes::<wire::CredentialBody>()
            .answers::<wire::ConnectionBody>(200),
        delete("/v1/credentials/{service}", PEOPLE, "Forgets an account.", credentials::remove)
            .queries(&[("owner", "user (default) or tenant.")])
            .nothing(),
        post("/v1/oauth/{service}/start", PEOPLE, "Begins to connect an account by OAuth.", oauth::start)
            .takes::<wire::OauthStartBody>()
            .answers::<wire::OauthStarted>(200),
        post(
            "/v1/oauth/{service}/finish",
            PEOPLE,
            "Brings the answer that came to the caller's redirect.",
            oauth::finish,
        )
        .takes::<wire::OauthFinishBody>()
        .answers::<wire::ConnectionBody>(200),
        post("/v1/oauth/{service}/poll", PEOPLE, "Asks whether a person has decided on another device.", oauth::poll)
            .takes::<wire::OauthPollBody>()
            .answers::<wire::ConnectionBody>(200)
            .answers::<wire::OauthUndecided>(202),
        get("/v1/oauth/callback", Access::Public, "Where a browser comes back to from a provider.", oauth::callback)
            .queries(oauth::QUERIES)
            .raw("text/plain"),
        get("/v1/publishers", ADMINS, "The publishers whose signatures count.", publishers::list)
            .answers::<wire::PublisherList>(200),
        post("/v1/publishers", ADMINS, "Trusts a publisher's key.", publishers::trust)
            .takes::<wire::PublisherBody>()
            .answers::<wire::PublisherItem>(201),
        delete("/v1/publishers/{fingerprint}", ADMINS, "Trusts a key no longer.", publishers::revoke).nothing(),
        get("/v1/keys", ADMINS, "The API keys of the tenant, without the keys.", keys::list)
            .answers::<wire::KeyList>(200),
        post("/v1/keys", ADMINS, "Makes an API key; it is shown this once.", keys::create)
            .takes::<wire::KeyBody>()
            .answers::<wire::KeyMade>(201),
        delete("/v1/keys/{id}", ADMINS, "Refuses an API key from now on.", keys::revoke).nothing(),
        get("/v1/events", WATCHERS, "What happens to calls and approvals, as it happens.", events::stream)
            .queries(events::QUERIES)
            .unlimited()
            .raw("text/event-stream"),
        get("/v1/audit", ADMINS, "Records of the audit log.", audit::query)
            .queries(audit::QUERIES)
            .answers::<wire::AuditPage>(200),
        get("/v1/audit/verify", ADMINS, "Checks the chain and its checkpoints.", audit::verify)
            .unhurried()
            .answers::<wire::AuditVerification>(200),
        get("/v1/audit/export", ADMINS, "The log as JSON lines that prove themselves, or as CSV.", audit::export)
            .queries(audit::EXPORT_QUERIES)
            .unhurried()
            .raw("application/x-ndjson"),
    ]
}

fn get<H: Handler<T, Gateway>, T: 'static>(p: &'static str, a: Access, s: &'static str, h: H) -> Route {
    Route::new(Verb::Get, p, a, s, h)
}

fn post<H: Handler<T, Gateway>, T: 'static>(p: &'static str, a: Access, s: &'static str, h: H) -> Route {
    Route::new(Verb::Post, p, a, s, h)
}

fn put<H: Handler<T, Gateway>, T: 'static>(p: &'static str, a: Access, s: &'static str, h: H) -> Route {
    Route::new(Verb::Put, p, a, s, h)
}

fn delete<H: Handler<T, Gateway>, T: 'static>(p: &'static str, a: Access, s: &'static str, h: H) -> Route {
    Route::new(Verb::Delete, p, a, s, h)
}

impl Route {
    fn new<H, T>(verb: Verb, path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Gateway>,
        T: 'static,
    {
        let handler = on(verb.filter(), handler);
        Self {
            verb,
            path,
            access,
            summary,
            size: Size::Usual,
            hurry: Hurry::Always,
            pace: Pace::Limited,
            queries: &[],
            takes: None,
            answers: Vec::new(),
            handler,
        }
    }

    fn takes<T: ToSchema>(mut self) -> Self {
        self.takes = Some(Described::of::<T>());
        self
    }

    fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        self.answers.push((status, Answer::Json(Box::new(Described::of::<T>()))));
        self
    }

    fn raw(mut self, media_type: &'static str) -> Self {
        self.answers.push((200, Answer::Raw(media_type)));
        self
    }

    fn nothing(mut self) -> Self {
        self.answers.push((204, Answer::Nothing));
        self
    }

    fn queries(mut self, queries: &'static [(&'static str, &'static str)]) -> Self {
        self.queries = queries;
        self
    }

    fn unhurried(mut self) -> Self {
        self.hurry = Hurry::NotForTheOperator;
        self
    }

    fn unlimited(mut self) -> Self {
        self.pace = Pace::Exempt;
        self
    }

    fn sized(mut self, size: Size) -> Self {
        self.size = size;
        self
    }
}

impl Described {
    pub(crate) fn of<T: ToSchema>() -> Self {
        let mut needs = Vec::new();
        T::schemas(&mut needs);
        Self { name: T::name().into_owned(), schema: <T as PartialSchema>::schema(), needs }
    }
}

/// Runs a change to its end even where the client hangs up in the middle of it.
pub(crate) async fn detached<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(change.in_current_span()).await {
        Ok(outcome) => outcome,
        Err(ended) => Err(GatewayError::Broken { detail: format!("a change did not end: {ended}") }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN, HTTP API, as `method path roles`; a route that is missing on either side fails.
    const DESIGN: &str = "
        GET /healthz exempt
        GET /readyz exempt
        GET /metrics exempt
        GET /openapi.json public
        GET /v1/operator/hello exempt
        POST /v1/operator/reload admin
        GET /v1/tools agent,admin
        POST /v1/tools/{tool}/call agent,admin
        GET /v1/calls/{id} agent,admin
        POST /v1/plans agent,admin
        GET /v1/plans/{id} agent,admin
        GET /v1/approvals agent,approver,admin
        GET /v1/approvals/{id} agent,approver,admin
        POST /v1/approvals/{id}/approve approver,admin
        POST /v1/approvals/{id}/reject approver,admin
        POST /v1/sessions agent,admin
        PUT /v1/sessions/{id} approver,admin
        GET /v1/sessions approver,admin
        DELETE /v1/sessions/{id} approver,admin
        GET /v1/grants approver,admin
        POST /v1/grants approver,admin
        DELETE /v1/grants/{id} approver,admin
        GET /v1/schedules agent,admin
        GET /v1/schedules/{id} agent,admin
        POST /v1/schedules agent,admin
        DELETE /v1/schedules/{id} agent,admin
        POST /v1/external-content agent,admin
        GET /v1/skills admin
        POST /v1/skills admin
        GET /v1/skills/{name} admin
        DELETE /v1/skills/{name} admin
        POST /v1/skills/{name}/enable admin
        POST /v1/skills/{name}/disable admin
        GET /v1/skills/{name}/analysis admin
        GET /v1/credentials approver,admin
        GET /v1/credentials/{service} approver,admin
        PUT /v1/credentials/{service} approver,admin
        DELETE /v1/credentials/{service} approver,admin
        POST /v1/oauth/{service}/start approver,admin
        POST /v1/oauth/{service}/finish approver,admin
        POST /v1/oauth/{service}/poll approver,admin
        GET /v1/oauth/callback public
        GET /v1/publishers admin
        POST /v1/publishers admin
        DELETE /v1/publishers/{fingerprint} admin
        GET /v1/keys admin
        POST /v1/keys admin
        DELETE /v1/keys/{id} admin
        GET /v1/events agent,approver,admin
        GET /v1/audit admin
        GET /v1/audit/verify admin
        GET /v1/audit/export admin
    ";

    #[test]
    fn the_table_grants_what_the_design_grants() {
        let mut granted: Vec<String> = table()
            .iter()
            .map(|route| {
                let roles = match route.access {
                    Access::Exempt => "exempt".to_owned(),
                    Access::Public => "public".to_owned(),
                    Access::Roles(roles) => roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(","),
                };
                format!("{} {} {roles}", route.verb.as_str(), route.path)
            })
            .collect();
        let mut designed: Vec<String> =
            DESIGN.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        granted.sort();
        designed.sort();
        assert_eq!(granted, designed);
    }
}
