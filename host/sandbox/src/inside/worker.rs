//! What the program in the container does: gets one component and one call, runs it as the host would, says how it ended.

use super::doors::Host;
use super::wire::{Begin, Done, FromInside, Messages, Reply, encode};
use crate::wasm::{Invocation, WasmRuntime};
use crate::{Access, Connection, Doors, HttpDoor, Limits, PoolLimits, Progress, TokenDoor};
use sophon_egress::Deadline;
use sophon_guard::Source;
use sophon_skill::{Manifest, Preset};
use sophon_types::Digest;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// What says that this program is ready for its call.
const READY: &[u8] = b"\x06";

/// Runs one call of one component, both told on `input`, and says on `output` what came of it.
///
/// # Errors
/// The words for standard error; the program then exits with a failure.
pub async fn component_worker(
    mut input: impl AsyncRead + Unpin + Send + 'static,
    mut output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), String> {
    let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
    let runtime = WasmRuntime::start(&pool, Limits::of(Preset::Minimal)).map_err(|error| error.to_string())?;
    let broken = |error: std::io::Error| format!("the host is gone: {error}");
    output.write_all(READY).await.map_err(broken)?;
    output.flush().await.map_err(broken)?;
    let mut messages = Messages::from_host();
    let (begin, component) = loop {
        if let Some(begin) = messages.take::<Begin>()? {
            break begin;
        }
        read(&mut input, &mut messages).await.map_err(broken)?;
    };
    let (to_host, mut from_here) = mpsc::unbounded_channel::<Vec<u8>>();
    let writer = tokio::spawn(async move {
        while let Some(message) = from_here.recv().await {
            output.write_all(&message).await?;
            output.flush().await?;
        }
        Ok::<(), std::io::Error>(())
    });
    let deadline = Deadline::at(Instant::now() + Duration::from_millis(begin.left_ms));
    let host = Host::new(to_host.clone(), Arc::clone(&deadline));
    let answers = Arc::clone(&host);
    // Ends with this process: when the host is gone there is nobody to answer to.
    let reader = tokio::spawn(async move {
        loop {
            while let Ok(Some((reply, beside))) = messages.take::<Reply>() {
                answers.answered(reply.number, reply.answer, beside);
            }
            if read(&mut input, &mut messages).await.is_err() {
                return;
            }
        }
    });
    let done = run(&runtime, begin, &component, host, deadline, &to_host).await;
    let last = encode(&FromInside::Done(Box::new(done)), &[]).map_err(|error| error.to_string())?;
    if to_host.send(last).is_err() {
        return Err("the host takes nothing more".into());
    }
    reader.abort();
    drop(to_host);
    // The doors may be held for a moment longer by what was aborted.
    let written = tokio::time::timeout(Duration::from_secs(5), writer).await;
    match written {
        Ok(Ok(written)) => written.map_err(broken),
        _ => Ok(()),
    }
}

async fn read(input: &mut (impl AsyncRead + Unpin), messages: &mut Messages) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    match input.read(&mut buffer).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        count => {
            messages.push(&buffer[..count]);
            Ok(())
        }
    }
}

async fn run(
    runtime: &WasmRuntime,
    begin: Begin,
    component: &[u8],
    host: Arc<Host>,
    deadline: Arc<Deadline>,
    to_host: &mpsc::UnboundedSender<Vec<u8>>,
) -> Done {
    let failed = |cause: String| Done {
        output: Err(crate::RunFailure::Host { cause }),
        usage: crate::Usage::default(),
        logs: Vec::new(),
        logs_dropped: 0,
        progress: None,
    };
    let manifest = match Manifest::parse(begin.manifest.as_bytes()) {
        Ok(manifest) => manifest,
        Err(errors) => return failed(errors.to_string()),
    };
    let prepared = match runtime.prepare_component(&manifest, component, Digest::of(component)) {
        Ok(prepared) => prepared,
        Err(error) => return failed(error.to_string()),
    };
    let connections = begin.connections.into_iter().map(|service| Connection {
        service: service.service,
        connected: service.connected,
        access: if service.scoped_token { Access::ScopedToken } else { Access::Proxy },
    });
    let told = to_host.clone();
    let doors = Doors {
        http: begin.http.then(|| Arc::clone(&host) as Arc<dyn HttpDoor>),
        state: Arc::clone(&host) as Arc<_>,
        connections: connections.collect(),
        tokens: begin.tokens.then(|| Arc::clone(&host) as Arc<dyn TokenDoor>),
        settings: Arc::new(begin.settings),
        progress: Some(Arc::new(move |progress: &Progress| {
            if let Ok(message) = encode(&FromInside::Progress(progress.clone()), &[]) {
                // A host that is gone needs no report.
                if told.send(message).is_err() {}
            }
        })),
    };
    // Who the output is from is said outside, where it is made.
    let Ok(nobody) = "inside.tool".parse() else { return failed("no name for a tool".into()) };
    let invocation = Invocation {
        tool: &begin.tool,
        source: Source::tool(&nobody),
        arguments: &begin.arguments,
        call_id: begin.call_id,
        correlation_id: begin.correlation_id,
        session: begin.session,
        deadline: Some(deadline),
    };
    let (output, report) = runtime.invoke_text(&prepared, &invocation, doors, begin.limits).await;
    Done {
        output,
        usage: report.usage,
        logs: report.logs,
        logs_dropped: report.logs_dropped,
        progress: report.progress,
    }
}
