//! The audit log. An admin reads what happened in their tenant; the operator, who named no tenant, in the whole home.
//! The chain is one for all tenants, so checking it is for every admin: what it tells of others is counts and places.

use crate::auth::{Caller, Standing};
use crate::extract::{InQuery, streamed};
use crate::passes::Pass;
use crate::problem::Problem;
use crate::wire::{AuditPage, AuditQuery, AuditVerification};
use crate::{Gateway, GatewayError};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use sophon_audit::{ExportScope, Order, Query};
use sophon_types::{TenantId, Timestamp};
use std::fmt::Display;
use std::str::FromStr;

/// What a query may name.
pub(crate) const QUERIES: &[(&str, &str)] = &[
    ("user", "The user."),
    ("action", "The action's code, such as call.outcome."),
    ("tool", "The tool's full name."),
    ("outcome", "intent, ok, denied, failed or unknown."),
    ("correlation", "The correlation id."),
    ("call", "The call's id."),
    ("since", "Not earlier than this (RFC 3339, or a date)."),
    ("until", "Earlier than this."),
    ("order", "oldest (default) or newest first."),
    ("after", "Continue behind this: `next` of the page before."),
    ("limit", "Entries wanted: 1 to 1000, 100 where nothing is said."),
];

/// Records.
pub(crate) async fn query(
    State(gateway): State<Gateway>,
    caller: Caller,
    InQuery(asked): InQuery<AuditQuery>,
) -> Result<axum::Json<AuditPage>, Problem> {
    let query = Query {
        tenant: tenant(&caller),
        user: read("user", asked.user.as_deref())?,
        action: read("action", asked.action.as_deref())?,
        tool: read("tool", asked.tool.as_deref())?,
        outcome: read("outcome", asked.outcome.as_deref())?,
        correlation: read("correlation", asked.correlation.as_deref())?,
        call: read("call", asked.call.as_deref())?,
        since: asked.since.as_deref().map(|text| time("since", text)).transpose()?,
        until: asked.until.as_deref().map(|text| time("until", text)).transpose()?,
        order: match asked.order.as_deref() {
            None | Some("oldest") => Order::Oldest,
            Some("newest") => Order::Newest,
            Some(_) => return Err(wrong("order", "is neither oldest nor newest").into()),
        },
        after: asked.after,
        limit: asked.limit,
    };
    let turn = gateway.audit_queries().begin(query.tenant.clone()).await;
    let _turn = turn.map_err(|closed| GatewayError::Broken { detail: closed.to_string() })?;
    Ok(axum::Json(gateway.audit().query(&query).await?.into()))
}

/// Checks the chain and its checkpoints.
pub(crate) async fn verify(
    State(gateway): State<Gateway>,
    caller: Caller,
) -> Result<axum::Json<AuditVerification>, Problem> {
    let _pass = pass(&gateway, &caller)?;
    let found = gateway.audit().verify().await?;
    Ok(axum::Json(AuditVerification::of(found, gateway.audit().public_key())))
}

/// The log as JSON lines, to be kept outside the home. Ends with a fresh checkpoint, so that what is cut off later shows.
/// The checkpoint is signed only where something was appended since the last one.
pub(crate) async fn export(State(gateway): State<Gateway>, caller: Caller) -> Result<Response, Problem> {
    let pass = pass(&gateway, &caller)?;
    gateway.audit().checkpoint().await?;
    let scope = tenant(&caller).map_or(ExportScope::Everything, ExportScope::Tenant);
    let export = gateway.audit().export(scope, gateway.clock().now());
    let chunks = futures::stream::try_unfold((export, pass), |(mut export, pass)| async move {
        match export.next_chunk().await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, (export, pass)))),
            Err(error) => {
                // The status is out already; an answer that ends without its last chunk is seen as broken.
                tracing::error!(%error, "an export of the audit log ended early");
                Err(error)
            }
        }
    });
    Ok(streamed(Body::from_stream(chunks), "application/x-ndjson"))
}

/// The right to read the whole log.
fn pass(gateway: &Gateway, caller: &Caller) -> Result<Pass, GatewayError> {
    gateway.audit_passes().begin(tenant(caller)).ok_or(GatewayError::AuditBusy)
}

fn tenant(caller: &Caller) -> Option<TenantId> {
    (caller.standing != Standing::Operator).then(|| caller.principal.tenant.clone())
}

fn read<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, GatewayError> {
    text.map(|text| text.parse().map_err(|error| wrong(name, &format!("{error}")))).transpose()
}

fn time(name: &str, text: &str) -> Result<Timestamp, GatewayError> {
    Timestamp::parse(text).map_err(|error| wrong(name, &error))
}

fn wrong(name: &str, message: &str) -> GatewayError {
    GatewayError::ParameterInvalid { place: "query", message: format!("{name}: {message}") }
}
