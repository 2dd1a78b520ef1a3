//! The compiler in its child: the same code as in process, and an end to everything else.

use super::*;
use crate::wasm::compiler_engine;
use crate::{Confinement, landlock_here};
use rustix::io::Errno;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An example of this crate; cargo builds them for its tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build -p sophon-sandbox --examples", program.display());
    program
}

pub(crate) fn worker(limits: CompileLimits) -> Worker {
    Worker { program: program("compile_worker"), arguments: Vec::new(), limits }
}

fn other(program: &str, arguments: &[&str], limits: CompileLimits) -> Worker {
    Worker { program: program.into(), arguments: arguments.iter().map(Into::into).collect(), limits }
}

/// A number as LEB128, of 32 bits at most.
pub(crate) fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A component with one module of `functions` long functions, each of `steps` dependent steps.
fn component(functions: usize, steps: usize) -> Vec<u8> {
    let section = |id: u8, content: Vec<u8>| [vec![id], leb(content.len()), content].concat();
    // Of type (i64) -> i64: x = (x * 31 + x) ^ x, again and again.
    let types = vec![1, 0x60, 1, 0x7e, 1, 0x7e];
    let step = [0x20, 0, 0x42, 31, 0x7e, 0x20, 0, 0x7c, 0x20, 0, 0x85, 0x21, 0];
    let body = [vec![0], step.repeat(steps), vec![0x20, 0, 0x0b]].concat();
    let code = [leb(functions), [leb(body.len()), body].concat().repeat(functions)].concat();
    let kinds = [leb(functions), vec![0; functions]].concat();
    let header = b"\0asm\x01\0\0\0".to_vec();
    let module = [header, section(1, types), section(3, kinds), section(10, code)].concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, module)].concat()
}

#[test]
fn a_component_compiles_to_the_same_as_in_process() {
    let small = component(3, 3);
    let there = worker(CompileLimits::default()).compile(&small).unwrap_or_else(|error| panic!("{error}"));
    let engine = compiler_engine().unwrap();
    assert!(there == engine.precompile_component(&small).unwrap());
}

fn refused(what: &str, worker: &Worker, component: &[u8], words: &str) {
    let error = worker.compile(component).err().unwrap_or_else(|| panic!("{what}: it was compiled"));
    assert!(error.contains(words), "{what}: {error}");
}

#[test]
fn attack_22_a_compiler_that_takes_too_much_is_ended_and_says_of_what() {
    // Minutes of work for one processor.
    let heavy = component(2_000, 5_000);
    let limits = CompileLimits::default();
    let cpu = worker(CompileLimits { cpu_seconds: 1, ..limits });
    refused("CPU time", &cpu, &heavy, "compiling takes more than 1 s of CPU time");
    // Too little to read it, and too little to compile it.
    for (most, words) in [(32, "takes more than 32 MiB of memory"), (160, "160 MiB")] {
        let memory = worker(CompileLimits { memory: most << 20, ..limits });
        refused("memory", &memory, &heavy, words);
    }
    let wall = worker(CompileLimits { wall: Duration::from_millis(200), ..limits });
    refused("wall clock", &wall, &heavy, "compiling takes longer than 0.2 s");
    let output = worker(CompileLimits { output: 1_000, ..limits });
    refused("output", &output, &component(3, 3), "it compiles to more than 1000 bytes");
    // Not even a thread gets its stack.
    let nothing = worker(CompileLimits { memory: 1 << 20, ..limits });
    refused("next to no memory", &nothing, &component(3, 3), "for want of memory (1 MiB)");
}

#[test]
fn attack_22_what_is_no_component_is_refused_in_the_compilers_words() {
    let worker = worker(CompileLimits::default());
    for (what, bytes, words) in [
        ("nothing", &b""[..], "unexpected end"),
        ("garbage", &b"garbage, and quite a lot of it"[..], "magic"),
        ("a core module", &b"\0asm\x01\0\0\0"[..], "component"),
        ("a cut component", &component(3, 3)[..40], "out of bounds"),
    ] {
        let error = worker.compile(bytes).err().unwrap_or_else(|| panic!("{what}: it was compiled"));
        assert!(error.to_lowercase().contains(words), "{what}: {error}");
    }
}

#[test]
fn attack_22_whatever_the_child_does_the_host_goes_on() {
    // More than any pipe holds.
    let large = vec![0; 10 << 20];
    let limits = CompileLimits { output: 1 << 20, wall: Duration::from_secs(20), ..CompileLimits::default() };
    refused("it does not exist", &other("/nonexistent/compiler", &[], limits), &large, "does not start");
    refused("it ends without reading", &other("/bin/false", &[], limits), &large, "without a word");
    let brief = CompileLimits { wall: Duration::from_millis(200), ..limits };
    refused("it never reads", &other("/bin/sleep", &["3600"], brief), &large, "takes longer than 0.2 s");
    // It goes on when nobody reads any more: only who ends it gets on before its time is over.
    let flood = ["-c", "trap '' PIPE; while :; do echo nonsense 2>/dev/null; done"];
    let over = "compiles to more than 1048576 bytes";
    refused("it floods", &other("/bin/sh", &flood, limits), &large, over);
    let loud = ["-c", "while :; do echo nonsense >&2; done"];
    refused("it complains without end", &other("/bin/sh", &loud, brief), &large, "takes longer than 0.2 s");
    let killed = ["-c", "kill -KILL $$"];
    refused("it is killed", &other("/bin/sh", &killed, limits), &large, "was killed");
}

/// Whether a process is there and has not ended.
fn runs(number: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", number.trim())).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn attack_22_what_a_compiler_starts_is_ended_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let patient = CompileLimits { wall: Duration::from_secs(60), output: 1 << 20, ..CompileLimits::default() };
    // Each leaves a process that holds the pipes.
    for (what, then, words) in [
        ("it ends", "exit 3", "without a word"),
        ("it says why it ends", "echo no >&2; exit 3", "no"),
        ("it goes on", "wait", "takes longer than 2 s"),
        ("it floods", "trap '' PIPE; while :; do echo nonsense 2>/dev/null; done", "more than 1048576 bytes"),
    ] {
        let number = folder.path().join("number");
        let script = format!("/bin/sleep 600 & echo $! >{}; {then}", number.display());
        let brief = CompileLimits { wall: Duration::from_secs(2), ..patient };
        let limits = if what == "it goes on" { brief } else { patient };
        let begun = Instant::now();
        refused(what, &other("/bin/sh", &["-c", &script], limits), &vec![0; 10 << 20], words);
        assert!(begun.elapsed() < Duration::from_secs(300), "{what}: what it started was waited for");
        let number = std::fs::read_to_string(number).unwrap();
        // It was killed, which the kernel may do a moment later.
        for _ in 0..500 {
            if !runs(&number) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!runs(&number), "{what}: what it started goes on");
    }
}

#[test]
fn attack_22_who_leaves_the_compilers_group_is_not_waited_for() {
    let limits = CompileLimits { wall: Duration::from_secs(60), ..CompileLimits::default() };
    let begun = Instant::now();
    // A session of its own is a group of its own. What the compiler itself has written counts.
    let script = "/usr/bin/setsid /bin/sleep 600 & echo code; echo words >&2; exit 3";
    refused("it leaves one behind", &other("/bin/sh", &["-c", script], limits), &vec![0; 10 << 20], "words");
    let script = "/usr/bin/setsid /bin/sleep 600 & echo code";
    let code = other("/bin/sh", &["-c", script], limits).compile(&vec![0; 10 << 20]);
    assert_eq!(code.unwrap_or_else(|error| panic!("{error}")), b"code\n");
    assert!(begun.elapsed() < Duration::from_secs(300), "it was waited for");
}

/// What a compiler that was taken over could do: by attempt, the system's error, or 0 where it worked.
fn attempts() -> BTreeMap<String, i32> {
    let folder = tempfile::tempdir().unwrap();
    let (file, empty) = (folder.path().join("file"), folder.path().join("empty"));
    std::fs::write(&file, b"secret").unwrap();
    std::fs::create_dir(&empty).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = folder.path().join("socket");
    let _listening = UnixListener::bind(&unix).unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    let arguments: Vec<OsString> = vec![file.into(), empty.into(), port.into(), unix.into()];
    let probe = Worker { program: program("compile_probe"), arguments, limits: CompileLimits::default() };
    let report = probe.compile(b"").expect_err("it says what came of it, as an error");
    let lines = report.lines().filter_map(|line| line.rsplit_once('='));
    // The first follows the compiler's words for an error of its input.
    let name = |text: &str| text.rsplit(": ").next().unwrap().to_owned();
    let attempts: BTreeMap<_, _> = lines.map(|(what, error)| (name(what), error.parse().unwrap())).collect();
    assert_eq!(attempts.len(), 15, "{report}");
    attempts
}

#[test]
fn attack_22_a_compiler_that_is_taken_over_opens_nothing_and_has_no_environment() {
    let attempts = attempts();
    assert_eq!(attempts["variables"], 0, "{attempts:?}");
    for what in ["open", "list", "create", "tcp", "udp", "unix"] {
        assert_eq!(attempts[what], Errno::MFILE.raw_os_error(), "{what}: {attempts:?}");
    }
    // Not even where the host is root.
    assert_eq!(attempts["more descriptors"], Errno::PERM.raw_os_error(), "{attempts:?}");
    assert_eq!(attempts["signal with its parent"], Signal::KILL.as_raw(), "{attempts:?}");
}

#[test]
fn attack_22_landlock_holds_a_compiler_that_is_taken_over() {
    let abi = match landlock_here() {
        Confinement::Full { abi } | Confinement::Partial { abi } => abi,
        Confinement::None => {
            eprintln!("left out: this kernel has no Landlock");
            return;
        }
    };
    let attempts = attempts();
    let refused = |what: &str| {
        assert_eq!(attempts[what], Errno::ACCESS.raw_os_error(), "{what}: {attempts:?}");
    };
    for what in ["make folder", "remove", "spawn", "execute"] {
        refused(what);
    }
    // Into another folder is refused in other words by the first versions.
    assert_ne!(attempts["rename"], 0, "{attempts:?}");
    if abi >= 4 {
        refused("held tcp");
    } else {
        eprintln!("left out: Landlock of this kernel (ABI {abi}) knows nothing of TCP");
    }
}

#[test]
fn compiled_code_is_kept_apart_for_each_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(folder.path(), [7; 32]).unwrap();
    let compiler = Compiler::new(Compilation::InProcess, Some(cache));
    let engine = compiler_engine().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let bytes = component(3, 3);
    let (acme, rival): (TenantId, TenantId) = ("acme".parse().unwrap(), "rival".parse().unwrap());
    for (owner, expected) in [(Some(&acme), 1), (Some(&acme), 1), (Some(&rival), 2), (None, 3), (Some(&acme), 3)] {
        compiler.component(&engine, owner, &Digest::of(&bytes), || &bytes).unwrap();
        assert_eq!(files(), expected, "{owner:?}");
    }
}

#[test]
fn compiled_code_of_what_is_not_installed_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(folder.path(), [7; 32]).unwrap();
    let compiler = Compiler::new(Compilation::InProcess, Some(cache));
    let engine = compiler_engine().unwrap();
    let (acme, rival): (TenantId, TenantId) = ("acme".parse().unwrap(), "rival".parse().unwrap());
    let now = Timestamp::from_micros(1_769_850_000_000_000);
    let age = |name: &str, age: Duration| {
        let file = std::fs::File::options().write(true).open(folder.path().join(name)).unwrap();
        let now = std::time::UNIX_EPOCH + Duration::from_micros(now.as_micros().cast_unsigned());
        file.set_modified(now - age).unwrap();
    };
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    let [installed, replaced, young] = [1, 2, 3].map(|steps| {
        let bytes = component(1, steps);
        let digest = Digest::of(&bytes);
        for owner in [&acme, &rival] {
            compiler.component(&engine, Some(owner), &digest, || &bytes).unwrap();
            age(&name(&engine, Some(owner), &digest), if steps == 3 { hour } else { hour + minute });
        }
        digest
    });
    // Of another engine, and what is none of this cache's.
    let present = name(&engine, Some(&acme), &installed);
    let older = format!("{}-{:016x}.cwasm", present.split_once('-').unwrap().0, 0);
    for name in [older.as_str(), "notes.cwasm", "readme"] {
        std::fs::write(folder.path().join(name), b"code").unwrap();
        age(name, 2 * hour);
    }

    let swept = compiler.sweep(&engine, &[(acme.clone(), installed)], now).unwrap();
    assert_eq!(swept.files, 4, "of what the other tenant has not installed too");
    assert!(swept.bytes > 4, "{swept:?}");
    let kept = |owner: &TenantId, digest: &Digest| compiler.kept(&engine, Some(owner), digest).is_some();
    assert!(kept(&acme, &installed) && !kept(&rival, &installed));
    assert!(!kept(&acme, &replaced) && !kept(&rival, &replaced));
    assert!(kept(&acme, &young) && kept(&rival, &young), "it may be of what is being installed");
    assert!(!folder.path().join(&older).exists(), "of another engine");
    assert!(folder.path().join("notes.cwasm").exists() && folder.path().join("readme").exists());
    assert_eq!(compiler.sweep(&engine, &[(acme, installed)], now).unwrap(), Swept::default());
}
