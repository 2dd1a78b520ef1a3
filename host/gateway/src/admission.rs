//! Who may use a route. Each route of the table is wrapped in this layer; a route that is not in the table does not exist.

use crate::auth::Caller;
use crate::connections::Line;
use crate::extract::{BodyLimit, Correlation};
use crate::frame::{Deadline, address};
use crate::held::Held;
use crate::limit::Failure;
use crate::problem::Problem;
use crate::refusals::Tried;
use crate::{Gateway, GatewayError};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use sophon_types::{Fault as _, Principal, Role};
use std::net::IpAddr;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, as often as they like: what supervises the gateway.
    Exempt,
    /// Everybody, within the limit of an address.
    Public,
    /// Callers with one of these roles, within the limit of a user.
    Roles(&'static [Role]),
}

/// Whether the answer has to be there within the request timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// Whoever asks.
    Always,
    /// Not for the person at the machine: a pass over the whole log takes as long as the log is.
    NotForTheOperator,
}

/// Whether requests of known callers are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Within the limits of a user and a tenant.
    Limited,
    /// Not: who watches comes back whenever it was cut off, and is bounded by what may be open.
    Exempt,
}

/// What the layer of one route goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) hurry: Hurry,
    pub(crate) pace: Pace,
    pub(crate) body_limit: BodyLimit,
}

/// The layer around one route.
pub(crate) async fn admit(
    State((gateway, rule)): State<(Gateway, Rule)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    request.extensions_mut().insert(rule.body_limit);
    let (mut held, mut known) = (None, None);
    let mut readings = Vec::new();
    match rule.access {
        Access::Exempt => {}
        Access::Public => readings.extend(gateway.limits().address(address(&gateway, &request))?),
        Access::Roles(allowed) => {
            let from = address(&gateway, &request);
            let correlation = request.extensions().get::<Correlation>().copied();
            let caller = authenticate(&gateway, request.headers(), from, correlation).await?;
            let principal = &caller.principal;
            if rule.pace == Pace::Limited {
                readings.push(gateway.limits().user(&principal.tenant, &principal.user)?);
            }
            // What a tenant does never keeps the person at the machine from their own gateway.
            let share = if caller.standing.is_operator() {
                None
            } else {
                if rule.pace == Pace::Limited {
                    readings.push(gateway.limits().tenant(&principal.tenant)?);
                }
                let share = gateway.requests().take(principal, 1);
                Some(share.ok_or(GatewayError::Busy { what: "requests", setting: "max_connections" })?)
            };
            held = Some(Held::new(share, request.extensions().get::<Line>()));
            if !allowed.contains(&principal.role) {
                let role = principal.role;
                let refused = GatewayError::RoleRefused { method: rule.method, route: rule.path, role, allowed };
                overreached(&gateway, principal, rule, refused.code(), correlation);
                return Err(refused.into());
            }
            if rule.hurry == Hurry::NotForTheOperator
                && caller.standing.is_operator()
                && let Some(deadline) = request.extensions().get::<Deadline>()
            {
                deadline.lift();
            }
            known = Some((principal.clone(), correlation));
            request.extensions_mut().insert(caller);
        }
    }
    let mut response = next.run(request).await;
    if let Some((principal, correlation)) = known
        && let Some(refused) = response.extensions().get::<Problem>().filter(|problem| problem.is_out_of_scope())
    {
        overreached(&gateway, &principal, rule, refused.code(), correlation);
    }
    readings.into_iter().for_each(|reading| reading.write(response.headers_mut()));
    Ok(match held {
        Some(held) => response.map(|body| held.until_the_end_of(body)),
        None => response,
    })
}

/// Puts on record that a known caller tried what it does not reach.
fn overreached(gateway: &Gateway, by: &Principal, rule: Rule, code: &str, correlation: Option<Correlation>) {
    let tried = Tried { method: rule.method, route: rule.path };
    gateway.refusals().overreach(by, tried, code, correlation.map(|Correlation(id)| id));
}

/// Only what fails is counted. A key that was valid before is never held up by the failures of others behind the same
/// address; one that this gateway has not seen is, while the address is over its limit (see [`Authenticator`]).
///
/// [`Authenticator`]: crate::auth::Authenticator
async fn authenticate(
    gateway: &Gateway,
    headers: &HeaderMap,
    from: Option<IpAddr>,
    correlation: Option<Correlation>,
) -> Result<Caller, Problem> {
    let problem = match gateway.authenticator().authenticate(headers, || gateway.limits().guessing(from)).await {
        Ok(caller) => return Ok(caller),
        Err(problem) => problem,
    };
    let unread = problem.is_rate_limited();
    if !unread && !problem.is_unauthenticated() {
        return Err(problem);
    }
    gateway.metrics().refused();
    if let Some(Correlation(correlation)) = correlation {
        gateway.refusals().note(from, problem.code(), correlation);
    }
    if !unread {
        let guess = if problem.code() == GatewayError::KeyInvalid.code() { Failure::Guess } else { Failure::NoKey };
        gateway.limits().failure(from, guess)?;
    }
    Err(problem)
}
