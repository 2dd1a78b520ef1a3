//! Who may use a route. Each route of the table is wrapped in this layer; a route that is not in the table does not exist.

use crate::auth::Caller;
use crate::extract::{BodyLimit, Correlation};
use crate::frame::address;
use crate::problem::Problem;
use crate::{Gateway, GatewayError};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use sophon_types::Role;
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

/// What the layer of one route goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) body_limit: BodyLimit,
}

/// The layer around one route.
pub(crate) async fn admit(
    State((gateway, rule)): State<(Gateway, Rule)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    request.extensions_mut().insert(rule.body_limit);
    match rule.access {
        Access::Exempt => {}
        Access::Public => gateway.limits().address(address(&gateway, &request))?,
        Access::Roles(allowed) => {
            let from = address(&gateway, &request);
            let correlation = request.extensions().get::<Correlation>().copied();
            let caller = authenticate(&gateway, request.headers(), from, correlation).await?;
            let principal = &caller.principal;
            gateway.limits().user(&principal.tenant, &principal.user)?;
            if !allowed.contains(&principal.role) {
                let role = principal.role;
                return Err(GatewayError::RoleRefused { method: rule.method, route: rule.path, role, allowed }.into());
            }
            request.extensions_mut().insert(caller);
        }
    }
    Ok(next.run(request).await)
}

/// A valid key is never held up by the failures of others behind the same address; only what fails is counted.
async fn authenticate(
    gateway: &Gateway,
    headers: &HeaderMap,
    from: Option<IpAddr>,
    correlation: Option<Correlation>,
) -> Result<Caller, Problem> {
    let problem = match gateway.authenticator().authenticate(headers).await {
        Ok(caller) => return Ok(caller),
        Err(problem) => problem,
    };
    if !problem.is_unauthenticated() {
        return Err(problem);
    }
    gateway.metrics().refused();
    if let Some(Correlation(correlation)) = correlation {
        gateway.refusals().note(from, problem.code(), correlation);
    }
    gateway.limits().failure(from)?;
    Err(problem)
}
