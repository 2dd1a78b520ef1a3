//! The fixed WASI 0.2 set that compilers emit: clocks, random, captured output, an empty environment, no folder.
//! `wasi:http` leads into the same door as `sophon:skill/http`, and onto the same account.
//!
//! The functions are wasmtime's own. What they make the host keep is bounded by the number of resources (the table's
//! capacity) times what one resource can hold: fields, chunks of a body that is not sent yet, and the text of a request.

use super::budget::{Budget, Hold};
use super::capabilities::answer_bytes;
use super::host::Host;
use super::output::Stream;
use crate::LogLevel;
use crate::doors::HttpDoor;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use sophon_egress::{Deadline, HttpError, HttpRequest, Redirects};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{
    Error as WasiHttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};
use wasmtime_wasi_io::IoView;

/// Roughly the bytes that one resource of fields may take, the host's own structures included.
const FIELDS: usize = 16 << 10;
/// Bytes of one write to a body. Two such chunks wait at most until the host takes them.
const CHUNK: usize = 8 << 10;
/// Bytes of a method; egress takes no longer one.
const METHOD: usize = 64;
/// Bytes of a host and port: a DNS name has at most 253 (RFC 1035).
const AUTHORITY: usize = 512;
/// Bytes of a path and query; egress takes no longer URL.
const PATH: usize = 8 << 10;

/// State of the WASI imports; made only for components that import any.
pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Hooks,
}

impl Wasi {
    fn new(host: &Host) -> Self {
        let stream = |level| Stream { lines: host.lines.clone(), level };
        let mut ctx = WasiCtxBuilder::new();
        ctx.stdout(stream(LogLevel::Info)).stderr(stream(LogLevel::Warn));
        ctx.max_random_size(host.limits.random_bytes);
        ctx.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        let mut table = ResourceTable::new();
        table.set_max_capacity(host.limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        let hooks = Hooks {
            door: host.doors.http.clone(),
            deadline: Arc::clone(&host.deadline),
            budget: Arc::clone(&host.budget),
        };
        Self { ctx: ctx.build(), table, http, hooks }
    }
}

impl Host {
    /// The WASI state, made at first use: a component without WASI imports does not pay for it.
    fn wasi(&mut self) -> &mut Wasi {
        if self.wasi.is_none() {
            self.wasi = Some(Box::new(Wasi::new(self)));
        }
        self.wasi.as_mut().expect("it was made just above")
    }
}

/// Each of wasmtime's functions asks for one of these views when it is called: that is where it is counted.
impl IoView for Host {
    fn table(&mut self) -> &mut ResourceTable {
        self.usage.hostcalls += 1;
        &mut self.wasi().table
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.usage.hostcalls += 1;
        let wasi = self.wasi();
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.usage.hostcalls += 1;
        let wasi = self.wasi();
        WasiHttpCtxView { hooks: &mut wasi.hooks, table: &mut wasi.table, ctx: &mut wasi.http }
    }
}

/// Links the fixed set. Sockets and name look-up are not in it, so a component that imports them does not link.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    use wasmtime_wasi::cli::{WasiCli, WasiCliView};
    use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
    use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
    use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
    use wasmtime_wasi::random::{WasiRandom, WasiRandomView};

    wasmtime_wasi_io::add_to_linker_async(linker)?;
    clocks::wall_clock::add_to_linker::<Host, WasiClocks>(linker, Host::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Host, WasiClocks>(linker, Host::clocks)?;
    random::random::add_to_linker::<Host, WasiRandom>(linker, Host::random)?;
    random::insecure::add_to_linker::<Host, WasiRandom>(linker, Host::random)?;
    random::insecure_seed::add_to_linker::<Host, WasiRandom>(linker, Host::random)?;
    // Compilers import the file system whether a guest uses it or not; with nothing preopened there is nothing to open.
    filesystem::preopens::add_to_linker::<Host, WasiFilesystem>(linker, Host::filesystem)?;
    filesystem::types::add_to_linker::<Host, WasiFilesystem>(linker, Host::filesystem)?;
    cli::exit::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::environment::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stdin::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stdout::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stderr::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_input::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_output::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdin::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdout::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stderr::add_to_linker::<Host, WasiCli>(linker, Host::cli)
}

/// Links `wasi:http/outgoing-handler` and its types.
pub(super) fn link_http(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // wasmtime keeps these texts whatever their length, one of each for every request that the guest has made.
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, Host>, (request, method): (Resource<HostOutgoingRequest>, Method)| {
            let long = matches!(&method, Method::Other(name) if name.len() > METHOD);
            Ok((if long { Err(()) } else { store.data_mut().http().set_method(request, method)? },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, Host>, (request, text): (Resource<HostOutgoingRequest>, Option<String>)| {
            let long = longer(text.as_ref(), AUTHORITY);
            Ok((if long { Err(()) } else { store.data_mut().http().set_authority(request, text)? },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, Host>, (request, text): (Resource<HostOutgoingRequest>, Option<String>)| {
            let long = longer(text.as_ref(), PATH);
            Ok((if long { Err(()) } else { store.data_mut().http().set_path_with_query(request, text)? },))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn longer(text: Option<&String>, most: usize) -> bool {
    text.is_some_and(|text| text.len() > most)
}

/// Sends what comes through `wasi:http` to the same door as everything else.
struct Hooks {
    door: Option<Arc<dyn HttpDoor>>,
    deadline: Arc<Deadline>,
    budget: Arc<Budget>,
}

type Sent =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), WasiHttpError>> + Send>), WasiHttpError>;

impl WasiHttpHooks for Hooks {
    fn set_host_header(&mut self) -> bool {
        // Egress sets it from the URL that it checked.
        false
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        1
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), WasiHttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if self.budget.request().is_none() {
            return Box::new(async { Err(WasiHttpError::ConnectionLimitReached) });
        }
        let (door, budget, deadline) = (self.door.clone(), Arc::clone(&self.budget), Arc::clone(&self.deadline));
        Box::new(async move {
            let door = door.ok_or(WasiHttpError::HttpRequestDenied)?;
            let (head, body) = request.into_parts();
            // The body is awaited here, outside any timeout of egress, so the call's own deadline bounds it.
            let collected = tokio::time::timeout_at(deadline.instant().into(), collect(body, &budget))
                .await
                .map_err(|_elapsed| WasiHttpError::ConnectionWriteTimeout)??;
            let stated = head.headers.get(http::header::CONTENT_LENGTH);
            if stated.is_some_and(|length| length.as_bytes() != collected.len().to_string().as_bytes()) {
                return Err(WasiHttpError::HttpRequestBodySize(Some(collected.len() as u64)));
            }
            let request = HttpRequest {
                method: head.method.as_str().to_owned(),
                url: head.uri.to_string(),
                headers: own_fields(&head.headers),
                body: (!collected.is_empty()).then_some(collected),
                credential: None,
                // The guest's own client follows redirects, each as a request that is checked here.
                redirects: Redirects::Manual,
                timeout: options.and_then(|options| patience(&options)),
            };
            let line = budget.line().await.ok_or(WasiHttpError::ConnectionLimitReached)?;
            let answer = door.send(request).await.map_err(|error| explain(&error))?;
            let size = answer_bytes(&answer);
            let too_large = || WasiHttpError::HttpResponseBodySize(Some(budget.most_held()));
            budget.carry(size).map_err(|_exceeded| too_large())?;
            let body = budget.hold(size).ok_or_else(too_large)?.over(answer.body);
            drop(line);
            let mut response = http::Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
            *response.status_mut() =
                http::StatusCode::from_u16(answer.status).map_err(|_odd| WasiHttpError::HttpProtocolError)?;
            for (name, value) in answer.headers {
                let name = http::HeaderName::try_from(name).map_err(|_odd| WasiHttpError::HttpProtocolError)?;
                let value = http::HeaderValue::try_from(value).map_err(|_odd| WasiHttpError::HttpProtocolError)?;
                response.headers_mut().append(name, value);
            }
            let done: Box<dyn Future<Output = Result<(), WasiHttpError>> + Send> = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

/// The whole body, held on the call's account until egress has let go of it.
async fn collect(mut body: WasiBody, budget: &Arc<Budget>) -> Result<Bytes, WasiHttpError> {
    let too_large = || WasiHttpError::HttpRequestBodySize(Some(budget.most_held()));
    let mut held: Option<Hold> = None;
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers have no place in what egress sends.
        let Ok(data) = frame?.into_data() else { continue };
        budget.carry(data.len()).map_err(|_exceeded| too_large())?;
        match &mut held {
            Some(held) => held.grow(data.len()).ok_or_else(too_large)?,
            none => *none = Some(budget.hold(data.len()).ok_or_else(too_large)?),
        }
        collected.extend_from_slice(&data);
    }
    let collected = Bytes::from(collected);
    Ok(held.map_or_else(Bytes::new, |held| held.over(collected)))
}

/// The fields that are the guest's to set. Ordinary HTTP clients also set those of the connection; here these are made
/// anew from the request that was checked, and egress refuses them.
fn own_fields(fields: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
    let own = fields.iter().filter(|(name, _)| ![HOST, CONTENT_LENGTH, CONNECTION].contains(name));
    own.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

fn patience(options: &RequestOptions) -> Option<Duration> {
    match (options.connect_timeout, options.first_byte_timeout) {
        (None, None) => None,
        (connect, first) => Some(connect.unwrap_or_default().saturating_add(first.unwrap_or_default())),
    }
}

/// `wasi:http` has no text for a denial; the skill's log gets it from egress' audit, the guest the closest code.
fn explain(error: &HttpError) -> WasiHttpError {
    match error {
        denied if denied.denial().is_some() => WasiHttpError::HttpRequestDenied,
        HttpError::InvalidRequest(_) => WasiHttpError::HttpRequestUriInvalid,
        HttpError::Dns(_) => WasiHttpError::DnsError { rcode: None, info_code: None },
        HttpError::Connection(_) => WasiHttpError::ConnectionTerminated,
        HttpError::Tls(_) => WasiHttpError::TlsProtocolError,
        HttpError::Timeout => WasiHttpError::ConnectionReadTimeout,
        HttpError::TooLarge(limit) => WasiHttpError::HttpResponseBodySize(Some(*limit)),
        HttpError::UnknownOutcome(_) => WasiHttpError::HttpResponseIncomplete,
        _ => WasiHttpError::HttpProtocolError,
    }
}
