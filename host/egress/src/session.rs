//! The requests of one call: admitted, gated, given their credential, sent, followed, redacted.
//!
//! Promise: the order never changes. Allowlist, scan for secrets, gate, lease, scan for the leased secret, record,
//! address check, send, redact. What fails ends the request there.

use crate::admit::{AllowedRequest, HttpRequest, Redirects, admit};
use crate::allowlist::Allowlist;
use crate::connection::{Answer, Failure};
use crate::credential::{Loan, Mark, borrow, redeem};
use crate::deadline::Deadline;
use crate::dispatch::Lent;
use crate::egress::Inner;
use crate::error::{Denial, HttpError, brief};
use crate::gate::EffectGate;
use crate::headers;
use crate::owner::{Owner, Party};
use crate::placeholder::{Handed, MAX_TOKENS, Redemption, tokens};
use crate::record::{Begun, Recorder, UnderWay};
use crate::redirect::next_hop;
use crate::scan::check_here;
use crate::url::CheckedUrl;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use sophon_audit::{Outcome, Receipt};
use sophon_guard::KnownSecrets;
use sophon_skill::{CredentialUse, StreamGrant};
use sophon_types::{CallId, CorrelationId, Fault as _, Principal, Risk, SkillName, ToolName};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Whose call it is and what it may do. Made by the executor, once a call.
pub struct CallScope {
    /// Who called.
    pub principal: Principal,
    /// The skill that runs.
    pub skill: SkillName,
    /// The tool that runs.
    pub tool: ToolName,
    /// The call.
    pub call: CallId,
    /// What joins the records of one agent's request.
    pub correlation: CorrelationId,
    /// Where it may send requests.
    pub allowlist: Arc<Allowlist>,
    /// Connections that are no HTTP and that a person granted.
    pub streams: Arc<[StreamGrant]>,
    /// The services whose credentials it may name.
    pub credentials: Arc<[CredentialUse]>,
    /// The risk that was approved; the gate's concern, kept here for its records.
    pub approved: Risk,
    /// Evidence that the call's intent is durable; the vault opens nothing without it.
    pub intent: Receipt,
    /// Decides on effects.
    pub gate: Arc<dyn EffectGate>,
    /// When the call ends; does not run while a person decides.
    pub deadline: Arc<Deadline>,
}

/// An answer, complete and redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Where it came from, after redirects.
    pub url: String,
    /// The fields, without those of the connection.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpResponse({}, {} bytes)", self.status, self.body.len())
    }
}

/// A declared service, as the call sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConnection {
    /// The manifest's entry.
    pub declared: CredentialUse,
    /// Whether somebody has connected it.
    pub state: ConnectionState,
}

/// Whether a service is connected for the user behind a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// There is a credential, the user's or the tenant's.
    Connected,
    /// There is none.
    NotConnected,
}

/// Egress for one call. Its limits count over all requests of the call.
pub struct EgressSession {
    pub(crate) inner: Arc<Inner>,
    pub(crate) scope: CallScope,
    pub(crate) owner: Owner,
    pub(crate) state: Mutex<State>,
    /// Held while a token is asked for.
    pub(crate) tokens: tokio::sync::Mutex<()>,
    /// Whether the call is over.
    over: watch::Sender<bool>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) secrets: KnownSecrets,
    /// What the skill was given in place of a credential.
    pub(crate) handed: Arc<Handed>,
    /// Whose secrets these are.
    lent: HashSet<Mark>,
    requests: usize,
    /// What came after the end of the call, and is not on record yet.
    late: u64,
    /// Whether any of it is.
    late_told: bool,
    /// What was refused last, without secrets.
    refused: Option<Denial>,
}

/// A hop that may be sent.
struct Prepared {
    allowed: AllowedRequest,
    credential: Option<Lent>,
    begun: Begun,
}

/// What a hop that was sent came to.
struct Hop {
    allowed: AllowedRequest,
    answer: Answer,
}

impl EgressSession {
    pub(crate) fn new(inner: Arc<Inner>, scope: CallScope) -> Self {
        let Principal { tenant, user, .. } = scope.principal.clone();
        let owner = Owner { tenant, user, party: Party::Skill(scope.skill.clone()) };
        let (state, tokens) = (Mutex::new(State::default()), tokio::sync::Mutex::default());
        Self { inner, scope, owner, state, tokens, over: watch::Sender::new(false) }
    }

    /// The call is over: requests that are on their way are dropped, and whoever still holds this session sends nothing and
    /// gets nothing more.
    pub fn close(&self) {
        self.over.send_replace(true);
    }

    /// Does `work`, unless the call is over before.
    pub(crate) async fn while_open<T>(&self, work: impl Future<Output = T>) -> Result<T, HttpError> {
        let mut over = self.over.subscribe();
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => Err(call_over()),
            done = work => Ok(done),
        }
    }

    /// Checks `request` as [`send`](Self::send) would, and sends nothing.
    ///
    /// # Errors
    /// The refusal, as [`send`](Self::send) would give it before the gate is asked.
    pub fn admit(&self, request: &HttpRequest) -> Result<AllowedRequest, HttpError> {
        let allowed = self.admit_unscanned(request)?;
        check_here(&self.secrets(), &allowed)?;
        Ok(allowed)
    }

    fn admit_unscanned(&self, request: &HttpRequest) -> Result<AllowedRequest, HttpError> {
        let handed = Arc::clone(&self.state.lock().handed);
        admit(&self.scope.allowlist, &self.scope.credentials, &self.inner.wire.limits, &handed, request)
    }

    /// Sends `request`, follows redirects where it says so, and returns the whole answer.
    ///
    /// # Errors
    /// [`HttpError`]; its variants say what was sent.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if *self.over.borrow() {
            let refused = self.refuse_late(&request).await;
            return Err(self.redact_error(refused));
        }
        let sent = self.while_open(self.follow(request)).await;
        sent.and_then(|sent| sent).map_err(|error| {
            let error = self.redact_error(error);
            if let Some(refusal) = of_the_operator(&error) {
                self.state.lock().refused = Some(refusal);
            }
            error
        })
    }

    /// What was refused last, whatever the skill made of it. Its words are untrusted: they name what the skill asked for.
    #[must_use]
    pub fn last_refusal(&self) -> Option<Denial> {
        self.state.lock().refused.clone()
    }

    /// The secrets that requests of this call were given so far: the call's output is scanned for them.
    #[must_use]
    pub fn secrets(&self) -> KnownSecrets {
        self.state.lock().secrets.clone()
    }

    /// The declared services and whether they are connected.
    ///
    /// # Errors
    /// [`HttpError::HostUnavailable`] where the vault cannot say.
    pub async fn connections(&self) -> Result<Vec<ServiceConnection>, HttpError> {
        let mut connections = Vec::with_capacity(self.scope.credentials.len());
        for declared in self.scope.credentials.iter() {
            let state = crate::credential::state(&self.inner.vault, &self.scope, &declared.service).await?;
            connections.push(ServiceConnection { declared: declared.clone(), state });
        }
        Ok(connections)
    }

    async fn follow(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let limits = &self.inner.wire.limits;
        // Time that a person takes at the gate is not the exchange's.
        let mut left = request.timeout.unwrap_or(limits.exchange).min(limits.exchange);
        let mut lent = false;
        for hop in 0..=limits.redirects {
            let (done, took) = self.hop(&request, hop, left).await?;
            left = left.saturating_sub(took);
            lent |= done.allowed.credential().is_some();
            let next = match request.redirects {
                Redirects::Manual => None,
                Redirects::Follow => match next_hop(&request, &done.allowed, &done.answer, limits) {
                    Ok(next) => next,
                    Err(error) => return Err(self.refuse(&request, error, None).await),
                },
            };
            match next {
                Some(next) if leaves_login(&done.allowed, &next) => {
                    let why = "its answer leads elsewhere, and the way there may hold what a login returned";
                    return Err(Failure::sent(HttpError::Protocol(why.into())).into_error(done.allowed.method()));
                }
                Some(next) => request = next,
                None => return self.respond(done, lent).await,
            }
        }
        Err(HttpError::TooManyRedirects)
    }

    /// One request and its answer; the time it took on the network.
    async fn hop(&self, request: &HttpRequest, hop: usize, left: Duration) -> Result<(Hop, Duration), HttpError> {
        let Prepared { allowed, credential, begun } = match self.prepare(request, hop).await {
            Ok(prepared) => prepared,
            Err(error) => return Err(self.refuse(request, error, None).await),
        };
        let deadline = Instant::from_std(self.scope.deadline.instant()).min(Instant::now() + left);
        let under_way = UnderWay::begin(self.recorder(), begun.clone());
        let sent = self.inner.wire.dispatch(&self.owner, &allowed, credential, deadline).await;
        let took = under_way.end();
        match sent.and_then(|answer| self.check_form(answer)) {
            Ok(answer) => {
                self.recorder().outcome(&allowed, begun, Ok(answer.status), took).await?;
                Ok((Hop { allowed, answer }, took))
            }
            Err(failure) => {
                let address = failure.detail.clone();
                let error = failure.into_error(allowed.method());
                if matches!(error, HttpError::Denied(_)) {
                    return Err(self.refuse(request, error, address).await);
                }
                self.recorder().outcome(&allowed, begun, Err(&error), took).await?;
                Err(error)
            }
        }
    }

    /// Everything that comes before the first packet.
    async fn prepare(&self, request: &HttpRequest, hop: usize) -> Result<Prepared, HttpError> {
        self.count()?;
        let allowed = self.admit_unscanned(request)?;
        self.inner.budget.take(&self.scope.principal, &allowed)?;
        self.inner.scanner.check(&self.owner.tenant, &self.secrets(), &allowed).await?;
        let handed = Arc::clone(&self.state.lock().handed);
        self.inner.scanner.check_disguise(&self.owner.tenant, &handed, &allowed).await?;
        self.scope.gate.permit(&allowed.effect(hop)).await.map_err(|denied| {
            HttpError::Denied(Denial { code: denied.code.into(), message: denied.message, hint: denied.hint })
        })?;
        let credential = match allowed.credential() {
            None => None,
            Some(service) => {
                let loan = match allowed.redeems() {
                    None => borrow(&self.inner.vault, &self.scope, &allowed, service).await?,
                    Some(redemption) => {
                        let handed = Arc::clone(&self.state.lock().handed);
                        redeem(&self.inner.vault, &self.scope, &allowed, redemption, &handed).await?
                    }
                };
                Some(self.attach(loan, &allowed).await?)
            }
        };
        // After the lease, so that the record is cleaned of what was lent.
        let begun = self.recorder().intent(&allowed, hop).await?;
        Ok(Prepared { allowed, credential, begun })
    }

    pub(crate) fn count(&self) -> Result<(), HttpError> {
        let most = self.inner.wire.limits.requests_per_call;
        let mut state = self.state.lock();
        state.requests += 1;
        if state.requests > most {
            return Err(Denial::new("too_many_requests", format_args!("one call may send {most} requests"))
                .hint("ask for more at once, or in several calls")
                .into());
        }
        Ok(())
    }

    /// Refuses bytes of a connection that nobody reads which hold a placeholder, in whatever spelling, or a secret of this call.
    pub(crate) fn check_stream(&self, bytes: &[u8]) -> Result<(), HttpError> {
        let (secrets, handed) = {
            let state = self.state.lock();
            (state.secrets.clone(), Arc::clone(&state.handed))
        };
        handed.check_stream(bytes)?;
        match secrets.find(bytes) {
            None => Ok(()),
            Some(hit) => {
                let what = format_args!("the connection would have carried the secret {}", hit.label);
                Err(Denial::new("secret_in_request", what).into())
            }
        }
    }

    /// Makes the leased secret known to this session, then lets it out only where the skill has not put it into
    /// the request itself.
    async fn attach(&self, loan: Loan, allowed: &AllowedRequest) -> Result<Lent, HttpError> {
        let in_place = loan.is_in_place();
        if in_place || !self.state.lock().lent.contains(&loan.mark) {
            let secrets = loan.secrets();
            let mut state = self.state.lock();
            // Of a credential that stands in the skill's own text only this text is known.
            if in_place || state.lent.insert(loan.mark.clone()) {
                state.secrets = KnownSecrets::merge(&[&state.secrets, &secrets]);
            }
        }
        self.inner.scanner.check(&self.owner.tenant, &self.secrets(), allowed).await?;
        let beside = loan
            .attached
            .iter()
            .find_map(|(name, _)| headers::beside_credential(allowed.headers(), Some(name), allowed.redeems()));
        if let Some(name) = beside {
            return Err(crate::admit::collision(name.as_str()));
        }
        let target = loan.url.map(|url| self.target(allowed, &url)).transpose()?;
        Ok(Lent { fields: loan.attached, target, body: loan.body, mark: loan.mark })
    }

    /// Path and query of the URL with the secret in it, which is read anew: it must lead where the checked one does, to as many segments.
    fn target(&self, allowed: &AllowedRequest, url: &str) -> Result<Zeroizing<String>, HttpError> {
        let unfit = || {
            let why = "what a placeholder in the URL stands for cannot stand in a URL";
            HttpError::from(Denial::new("credential_unfit", why))
        };
        let swapped = CheckedUrl::parse(url, self.inner.wire.limits.url_bytes).map_err(|_refusal| unfit())?;
        let written = allowed.checked_url();
        let depth = |url: &CheckedUrl| url.path().split('/').count();
        let is_hook = allowed.redeems().is_some_and(|redemption| redemption.hook);
        if !swapped.same_origin(written) || !is_hook && depth(&swapped) != depth(written) {
            return Err(unfit());
        }
        Ok(Zeroizing::new(swapped.target().to_owned()))
    }

    /// Gives the skill placeholders for the tokens that the answer to a login holds.
    async fn hide_tokens(&self, allowed: &AllowedRequest, answer: Answer) -> Result<Answer, HttpError> {
        let Some(redemption) = allowed.redeems() else { return Ok(answer) };
        let media_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let fields: Vec<(&str, &[u8])> =
            answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let found = tokens(redemption, media_type, &fields, &answer.body).map_err(|_unreadable| {
            let why = format!(
                "its answer ({}, {}) is neither JSON nor a form, so what a login returned cannot be told from the rest of it",
                answer.status.as_u16(),
                media_type.map_or_else(|| "of no type".into(), |name| brief(format!("{name:?}"))),
            );
            Failure::sent(HttpError::Protocol(why)).into_error(allowed.method())
        })?;
        if found.is_empty() {
            return Ok(answer);
        }
        let handed = {
            let mut state = self.state.lock();
            let service = &redemption.service;
            let mut known = KnownSecrets::builder();
            for token in &found {
                known = known.add(&format!("{service}.token"), token.token.as_bytes());
                let new = state.handed.token(service, token.token.as_bytes()).is_none();
                if new && state.handed.tokens() < MAX_TOKENS {
                    let core = self.inner.vault.placeholder();
                    Arc::make_mut(&mut state.handed).add_token(&core, redemption, &token.name, token.token.as_bytes());
                }
            }
            // Beyond the bound a token is redacted like any other secret.
            state.secrets = KnownSecrets::merge(&[&state.secrets, &known.build()]);
            Arc::clone(&state.handed)
        };
        self.recorder().token(&redemption.service, "answer", Outcome::Ok).await?;
        let unhidden = || HttpError::HostUnavailable("the tokens of an answer could not be looked for".into());
        let swaps = Arc::new(handed.swaps(redemption, &found).ok_or_else(unhidden)?);
        let mut headers = HeaderMap::with_capacity(answer.headers.len());
        for (name, value) in &answer.headers {
            let hidden = swaps.apply(value.as_bytes());
            headers.append(name, HeaderValue::from_bytes(&hidden).unwrap_or_else(|_never| value.clone()));
        }
        let hidden = self.inner.scanner.swap(&self.owner.tenant, &swaps, &answer.body).await;
        let body = hidden.map_err(|error| Failure::sent(error).into_error(allowed.method()))?;
        if body.len() != answer.body.len() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(Answer { status: answer.status, headers, body })
    }

    /// A coded answer, or a part of one, could carry a secret past the redactor. It was asked for uncoded and whole.
    fn check_form(&self, answer: Answer) -> Result<Answer, Failure> {
        let coded = answer.headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| {
            let coding = coding.as_bytes().trim_ascii();
            !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
        });
        let why = if coded {
            "the answer is compressed although identity was asked for, so it cannot be searched for secrets"
        } else if answer.status == StatusCode::PARTIAL_CONTENT {
            "the answer is a part of one, in which a part of a secret would not be found"
        } else {
            return Ok(answer);
        };
        if self.state.lock().secrets.is_empty() {
            return Ok(answer);
        }
        Err(Failure::sent(HttpError::Protocol(why.into())))
    }

    /// The answer as the skill sees it; `lent` where a credential went along on any hop.
    async fn respond(&self, hop: Hop, lent: bool) -> Result<HttpResponse, HttpError> {
        let Hop { allowed, answer } = hop;
        let login = allowed.redeems().is_some_and(Redemption::is_login);
        let answer = self.hide_tokens(&allowed, answer).await?;
        let secrets = self.secrets();
        let body = self.inner.scanner.redact(&self.owner.tenant, &secrets, &answer.body).await;
        let body = body.map_err(|error| Failure::sent(error).into_error(allowed.method()))?;
        let mut fields = Vec::with_capacity(answer.headers.len());
        for (name, value) in &answer.headers {
            let kept_back = headers::is_hop_by_hop(name)
                || (lent && headers::opens_session(name))
                || (login && headers::leads_on(name));
            if kept_back || secrets.find(name.as_str().as_bytes()).is_some() {
                continue;
            }
            if *name == header::CONTENT_LENGTH && body.len() != answer.body.len() {
                fields.push((name.to_string(), body.len().to_string().into_bytes()));
                continue;
            }
            fields.push((name.to_string(), secrets.redact(value.as_bytes()).bytes.into_owned()));
        }
        Ok(HttpResponse {
            status: answer.status.as_u16(),
            url: secrets
                .redact_text(&if login { allowed.checked_url().redacted() } else { allowed.url().to_owned() })
                .text
                .into_owned(),
            headers: fields,
            body,
        })
    }

    pub(crate) fn recorder(&self) -> Recorder<'_> {
        Recorder { audit: &self.inner.audit, scope: &self.scope, secrets: self.secrets() }
    }

    /// Records what was not sent. Where even that fails, this is what the caller learns.
    async fn refuse(&self, request: &HttpRequest, error: HttpError, address: Option<String>) -> HttpError {
        tracing::debug!(code = error.code(), call = %self.scope.call, "request refused");
        let most = self.inner.wire.limits.url_bytes;
        if self.is_alarming(request, &error) {
            tracing::warn!(
                code = error.code(), call = %self.scope.call, skill = %self.scope.skill, tenant = %self.scope.principal.tenant,
                "a placeholder for a credential was about to go where it does not belong"
            );
            if let Err(unwritten) = self.recorder().alarm(request, &error, most).await {
                return unwritten;
            }
        }
        match self.recorder().denied(request, &error, address, most).await {
            Ok(()) => error,
            Err(unwritten) => unwritten,
        }
    }

    /// Refuses what comes after the end of the call. The first is on record at once, and how many came after it when the
    /// session is gone: whoever goes on for ever makes two records.
    async fn refuse_late(&self, request: &HttpRequest) -> HttpError {
        let is_first = {
            let mut state = self.state.lock();
            let is_first = !std::mem::replace(&mut state.late_told, true);
            state.late += u64::from(!is_first);
            is_first
        };
        if is_first { self.refuse(request, call_over(), None).await } else { call_over() }
    }

    /// Whether a refused request would have taken a placeholder to where it does not belong.
    fn is_alarming(&self, request: &HttpRequest, error: &HttpError) -> bool {
        let Some(denial) = error.denial() else { return false };
        if denial.code.starts_with("placeholder_") {
            return true;
        }
        // Not a matter of where: a person said no, the call asks too often or is over, nothing is connected, a provider has
        // trouble.
        const ORDINARY: [&str; 7] = [
            "effect_",
            "approval_",
            "too_many_requests",
            "call_over",
            "destination_rate_limited",
            "not_connected",
            "oauth_",
        ];
        if ORDINARY.iter().any(|code| denial.code.starts_with(code)) {
            return false;
        }
        let handed = Arc::clone(&self.state.lock().handed);
        !handed.is_empty() && handed.redemption(request).map_or(true, |found| found.is_some())
    }

    fn redact_error(&self, error: HttpError) -> HttpError {
        let secrets = self.secrets();
        if secrets.is_empty() {
            return error;
        }
        let clean = |text: String| secrets.redact_text(&text).text.into_owned();
        match error {
            HttpError::Denied(denial) => HttpError::Denied(Denial {
                code: denial.code,
                message: clean(denial.message),
                hint: denial.hint.map(clean),
            }),
            HttpError::InvalidRequest(text) => HttpError::InvalidRequest(clean(text)),
            HttpError::Dns(text) => HttpError::Dns(clean(text)),
            HttpError::Connection(text) => HttpError::Connection(clean(text)),
            HttpError::Tls(text) => HttpError::Tls(clean(text)),
            HttpError::Protocol(text) => HttpError::Protocol(clean(text)),
            HttpError::UnknownOutcome(text) => HttpError::UnknownOutcome(clean(text)),
            HttpError::HostUnavailable(text) => HttpError::HostUnavailable(clean(text)),
            error @ (HttpError::Timeout | HttpError::TooLarge(_) | HttpError::TooManyRedirects) => error,
        }
    }
}

/// Nothing is kept waiting for this record: the session may be gone long after its call.
impl Drop for EgressSession {
    fn drop(&mut self) {
        let late = std::mem::take(&mut self.state.lock().late);
        if late > 0 {
            self.recorder().late(&call_over(), late);
        }
    }
}

fn call_over() -> HttpError {
    Denial::new("call_over", "the call that this request is of is over")
        .hint("send every request before the tool returns")
        .into()
}

/// What was refused, or not trusted: somebody can allow it, and has to learn of it.
fn of_the_operator(error: &HttpError) -> Option<Denial> {
    match error {
        HttpError::Denied(denial) => Some(denial.clone()),
        HttpError::Tls(_) => Some(Denial { code: error.code().into(), message: error.to_string(), hint: error.hint() }),
        _ => None,
    }
}

/// Whether a redirect ends a login: the body with the secret does not go along any more.
fn leaves_login(sent: &AllowedRequest, next: &HttpRequest) -> bool {
    sent.redeems().is_some_and(Redemption::is_login) && next.body.is_none()
}

impl fmt::Debug for EgressSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EgressSession({}, {})", self.scope.tool, self.scope.call)
    }
}
