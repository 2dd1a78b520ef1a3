//! The fixed WASI 0.2 set that compilers emit: clocks, random, captured output, an empty environment, no folder.
//! `wasi:http` leads into the same door as `sophon:skill/http`.

use super::host::Host;
use super::output::Stream;
use crate::LogLevel;
use crate::doors::HttpDoor;
use http_body_util::{BodyExt, Full, Limited};
use sophon_egress::{HttpError, HttpRequest, Redirects};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as WasiHttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};
use wasmtime_wasi_io::IoView;

/// Roughly the bytes that the fields of all header resources of a call may take.
const FIELDS: usize = 64 << 10;

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
            deadline: host.deadline,
            most: host.limits.http_bytes,
            requests_left: host.limits.http_requests,
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

impl IoView for Host {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.wasi().table
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi();
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
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
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// Sends what comes through `wasi:http` to the same door as everything else.
struct Hooks {
    door: Option<Arc<dyn HttpDoor>>,
    deadline: Instant,
    most: usize,
    requests_left: u32,
}

type Sent =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), WasiHttpError>> + Send>), WasiHttpError>;

impl WasiHttpHooks for Hooks {
    fn set_host_header(&mut self) -> bool {
        // Egress sets it from the URL that it checked.
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), WasiHttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let Some(left) = self.requests_left.checked_sub(1) else {
            return Box::new(async { Err(WasiHttpError::ConnectionLimitReached) });
        };
        self.requests_left = left;
        let (door, most, deadline) = (self.door.clone(), self.most, self.deadline);
        Box::new(async move {
            let door = door.ok_or(WasiHttpError::HttpRequestDenied)?;
            let (head, body) = request.into_parts();
            // The body is awaited here, outside any timeout of egress, so the call's own deadline bounds it.
            let collected = tokio::time::timeout_at(deadline.into(), Limited::new(body, most).collect())
                .await
                .map_err(|_elapsed| WasiHttpError::ConnectionWriteTimeout)?
                .map_err(|_too_large_or_broken| WasiHttpError::HttpRequestBodySize(Some(most as u64)))?
                .to_bytes();
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
            let answer = door.send(request).await.map_err(|error| explain(&error))?;
            let mut response =
                http::Response::new(Full::new(answer.body).map_err(|never| match never {}).boxed_unsync());
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
