//! A call of `text-tools` in this process: through the executor with all controls on, beside raw wasmtime for the very
//! same component. A group has one argument size; each bench does `AT_ONCE` calls together and reports calls a second,
//! so that what both cost is compared, not how long one of them waits for a disk.

use crate::host::{Host, component, example, root};
use crate::raw::{Metering, Raw};
use criterion::{BenchmarkId, Criterion, Throughput};
use sophon_egress::Roots;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Calls that are under way at one time.
const AT_ONCE: usize = 32;

fn arguments() -> [(&'static str, &'static str, String); 3] {
    let text = "The quick brown fox jumps over the lazy dog, and nobody minds. ";
    [
        ("echo", "text-tools.echo", r#"{"text":"hello"}"#.to_owned()),
        ("word_count-1k", "text-tools.word_count", format!(r#"{{"text":"{}","top":5}}"#, text.repeat(16).trim())),
        ("word_count-16k", "text-tools.word_count", format!(r#"{{"text":"{}","top":5}}"#, text.repeat(256).trim())),
    ]
}

/// Runs the benches.
///
/// # Panics
/// Where a part of the host does not open, or a call does not succeed.
pub fn run(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let package = example("text-tools").expect("the package");
    let component = component(&package).expect("its component");
    let metered = Arc::new(Raw::new(&component, 64, Metering::FuelAndEpochs).expect("raw wasmtime"));
    metered.tick().expect("a thread for the epoch");
    let bare = Arc::new(Raw::new(&component, 64, Metering::Off).expect("raw wasmtime"));
    let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let disk = tempfile::tempdir_in(root().join("target")).expect("a folder");
    let open = |folder: &std::path::Path| {
        let host = runtime.block_on(Host::open(folder, 64, Roots::mozilla())).expect("the host");
        runtime.block_on(host.install(package.clone(), Vec::new())).expect("installed");
        Arc::new(host)
    };
    let hosts = [("host-audit-in-memory", open(memory.path())), ("host-audit-durable", open(disk.path()))];
    for (name, tool, arguments) in arguments() {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(AT_ONCE as u64));
        let local = tool.split_once('.').map_or(tool, |(_skill, local)| local).to_owned();
        for (what, raw) in [("raw-bare", &bare), ("raw-metered", &metered)] {
            group.bench_function(BenchmarkId::from_parameter(what), |b| {
                b.to_async(&runtime).iter_custom(|rounds| {
                    let call = (Arc::clone(raw), local.clone(), arguments.clone());
                    steadily(rounds, move || {
                        let (raw, tool, arguments) = call.clone();
                        async move {
                            black_box(raw.call(&tool, &arguments).await).expect("it runs").expect("it succeeds");
                        }
                    })
                });
            });
        }
        for (what, host) in &hosts {
            group.bench_function(BenchmarkId::from_parameter(what), |b| {
                b.to_async(&runtime).iter_custom(|rounds| {
                    let call = (Arc::clone(host), arguments.clone());
                    steadily(rounds, move || {
                        let (host, arguments) = call.clone();
                        async move { host.call(tool, &arguments).await.expect("it succeeds") }
                    })
                });
            });
        }
        group.finish();
    }
}

/// `AT_ONCE` times as many calls as there are rounds, by `AT_ONCE` tasks that each begin the next when one has ended.
async fn steadily<F, C>(rounds: u64, one: C) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
    C: Fn() -> F + Send + Sync + 'static,
{
    let work = Arc::new((AtomicU64::new(rounds * AT_ONCE as u64), one));
    let began = Instant::now();
    let caller = |work: Arc<(AtomicU64, C)>| async move {
        let (left, one) = &*work;
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            one().await;
        }
    };
    let callers: Vec<_> = (0..AT_ONCE).map(|_caller| tokio::spawn(caller(Arc::clone(&work)))).collect();
    for caller in callers {
        caller.await.expect("a task ends");
    }
    began.elapsed()
}
