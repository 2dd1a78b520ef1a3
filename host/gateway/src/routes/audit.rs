//! The audit log. An admin reads what happened in their tenant; the operator, who named no tenant, in the whole home.
//! The chain is one for all tenants, so checking it is for every admin: what it tells of others is counts and places.

use crate::auth::{Caller, Standing};
use crate::extract::{InQuery, streamed};
use crate::passes::{Pass, to_its_end};
use crate::problem::Problem;
use crate::wire::{AuditPage, AuditQuery, AuditVerification};
use crate::{Gateway, GatewayError};
use axum::BoxError;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use sophon_audit::{ExportScope, Field, Order, Query};
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
    ("key", "The id of the key that was shown."),
    ("skill", "The skill."),
    ("risk", "none, low, medium, high or critical."),
    ("code", "The code of a denial or failure."),
    ("field", "Any other field of the record, as name=value, such as detail.cause=restart."),
    ("since", "Not earlier than this (RFC 3339, or a date)."),
    ("until", "Earlier than this."),
    ("order", "oldest (default) or newest first."),
    ("after", "Continue behind this: `next` of the page before."),
    ("limit", "Entries wanted: 1 to 1000, 100 where nothing is said."),
];

/// What an export may name besides.
pub(crate) const EXPORT_QUERIES: &[(&str, &str)] = &[
    ("format", "jsonl (default): the whole log, which proves itself; csv: the records that match, for a spreadsheet."),
    ("action", "Of csv: this and every other filter of GET /v1/audit."),
];

/// Records.
pub(crate) async fn query(
    State(gateway): State<Gateway>,
    caller: Caller,
    InQuery(asked): InQuery<AuditQuery>,
) -> Result<axum::Json<AuditPage>, Problem> {
    if asked.format.is_some() {
        return Err(wrong("format", "is for exports").into());
    }
    let query = filter(&caller, &asked)?;
    let (audit, of) = (gateway.audit().clone(), query.tenant.clone());
    let page = gateway.audit_queries().run(of, async move { audit.query(&query).await }).await?;
    Ok(axum::Json(page?.into()))
}

fn filter(caller: &Caller, asked: &AuditQuery) -> Result<Query, GatewayError> {
    let named = [("key", &asked.key), ("skill", &asked.skill), ("risk", &asked.risk), ("code", &asked.code)];
    let named = named.into_iter().filter_map(|(name, value)| Some(Field::new(name, value.as_ref()?)));
    let further = asked.field.iter().map(|text| text.parse::<Field>());
    let fields: Result<Vec<Field>, String> = named.chain(further).collect();
    Ok(Query {
        tenant: tenant(caller),
        user: read("user", asked.user.as_deref())?,
        action: read("action", asked.action.as_deref())?,
        tool: read("tool", asked.tool.as_deref())?,
        outcome: read("outcome", asked.outcome.as_deref())?,
        correlation: read("correlation", asked.correlation.as_deref())?,
        call: read("call", asked.call.as_deref())?,
        fields: fields.map_err(|message| wrong("field", &message))?,
        since: asked.since.as_deref().map(|text| time("since", text)).transpose()?,
        until: asked.until.as_deref().map(|text| time("until", text)).transpose()?,
        order: match asked.order.as_deref() {
            None | Some("oldest") => Order::Oldest,
            Some("newest") => Order::Newest,
            Some(_) => return Err(wrong("order", "is neither oldest nor newest")),
        },
        after: asked.after,
        limit: asked.limit,
    })
}

/// Checks the chain and its checkpoints.
pub(crate) async fn verify(
    State(gateway): State<Gateway>,
    caller: Caller,
) -> Result<axum::Json<AuditVerification>, Problem> {
    let (pass, audit) = (pass(&gateway, &caller)?, gateway.audit().clone());
    let found = to_its_end(pass, async move { audit.verify().await }).await??;
    Ok(axum::Json(AuditVerification::of(found, gateway.audit().public_key())))
}

/// The log, to be kept outside the home: as JSON lines, whole, which prove themselves; or the records that match, as
/// comma-separated values. JSON lines end with a fresh checkpoint, so that what is cut off later shows; it is signed only
/// where something was appended since the last one.
pub(crate) async fn export(
    State(gateway): State<Gateway>,
    caller: Caller,
    InQuery(asked): InQuery<AuditQuery>,
) -> Result<Response, Problem> {
    let pass = pass(&gateway, &caller)?;
    match asked.format.as_deref() {
        None | Some("jsonl") => {
            let whole = AuditQuery { format: asked.format.clone(), ..AuditQuery::default() };
            if asked != whole {
                return Err(wrong("format", "JSON lines prove the whole log: filters go with format=csv").into());
            }
        }
        Some("csv") => return Ok(csv(&gateway, filter(&caller, &asked)?, pass)),
        Some(_) => return Err(wrong("format", "is neither jsonl nor csv").into()),
    }
    gateway.audit().checkpoint().await?;
    let scope = tenant(&caller).map_or(ExportScope::Everything, ExportScope::Tenant);
    let export = gateway.audit().export(scope, gateway.clock().now());
    let chunks = futures::stream::try_unfold((export, pass), |(mut export, pass)| async move {
        let read = to_its_end((), async move {
            let chunk = export.next_chunk().await;
            (export, pass, chunk)
        });
        let (export, pass, chunk) = read.await.map_err(cut_short)?;
        Ok::<_, BoxError>(chunk.map_err(cut_short)?.map(|chunk| (chunk, (export, pass))))
    });
    Ok(streamed(Body::from_stream(chunks), "application/x-ndjson"))
}

fn csv(gateway: &Gateway, query: Query, pass: Pass) -> Response {
    let (gateway, of, export) = (gateway.clone(), query.tenant.clone(), gateway.audit().export_csv(query));
    let chunks = futures::stream::try_unfold((export, pass), move |(mut export, pass)| {
        let (gateway, of) = (gateway.clone(), of.clone());
        async move {
            // Each page is a query like any other, and waits for its turn.
            let read = gateway.audit_queries().run(of, async move {
                let chunk = export.next_chunk().await;
                (export, pass, chunk)
            });
            let (export, pass, chunk) = read.await.map_err(cut_short)?;
            Ok::<_, BoxError>(chunk.map_err(cut_short)?.map(|chunk| (chunk, (export, pass))))
        }
    });
    streamed(Body::from_stream(chunks), "text/csv; charset=utf-8")
}

/// The status is out already; an answer that ends without its last chunk is seen as broken.
fn cut_short(error: impl Into<BoxError> + Display) -> BoxError {
    tracing::error!(%error, "an export of the audit log ended early");
    error.into()
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
