//! The compiler in its child: the same code as in process, and an end to everything else.

use super::*;
use crate::wasm::compiler_engine;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The example of this crate, which cargo builds for its tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples/compile_worker");
    assert!(program.exists(), "{} is not built: cargo build -p sophon-sandbox --examples", program.display());
    program
}

pub(crate) fn worker(limits: CompileLimits) -> Worker {
    Worker { program: program(), arguments: Vec::new(), limits }
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
