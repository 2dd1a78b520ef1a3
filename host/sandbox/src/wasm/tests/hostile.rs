//! The `wasm_hostile` corpus: every row runs as far as the host lets it, in three ways, and is contained in each.
//!
//! As it is uploaded; lifted into a skill of our contract ([`lift`]), which is analysed and, whatever the analysis says,
//! run, so that no layer leans on the one before it; and, where it is a component with an export of its own, called by the host
//! through the types that it has. All of it is in a process that runs nothing else, whose memory is looked at.

mod lift;
mod memory;

use super::*;
use crate::wasm::host::Host;
use serde::Deserialize;
use sophon_corpora::{Figure, rows};
use sophon_skill::{Verdict, analyse, with_tools_section};
use wasmtime::Store;
use wasmtime::component::Val;

#[derive(Deserialize)]
struct Row {
    name: String,
    layer: String,
    expect: String,
    wat: String,
    b64: String,
}

/// What is to become of each row. By name: what the analysis says of the skill that it is lifted into, how that skill ends
/// where nothing but the sandbox stands in front of it, and how the host's own call of the row's export ends.
const ROWS: &[(&str, &str, &str, &str)] = &[
    ("inf_loop", "admit", FUEL, "-"),
    ("inf_loop_start", "admit", FUEL, "-"),
    ("deep_recursion", "admit", "the skill trapped: call stack exhausted", "-"),
    ("mem_declared_4g", "reject SA008", "refused: compile", "-"),
    ("mem64_declared", "reject SA001", "refused: compile", "-"),
    ("table_huge", "reject SA008", "refused: compile", "-"),
    ("table64_huge", "reject SA001", "refused: compile", "-"),
    ("table_grow_loop", "admit", "runs", "-"),
    ("many_memories", "reject SA001", "refused: compile", "-"),
    ("many_tables", "reject SA001", "refused: compile", "-"),
    ("shared_memory", "reject SA001", "refused: compile", "-"),
    ("unaligned_atomic", "reject SA001", "refused: compile", "-"),
    ("import_wasip1", "reject SA001", "refused: compile", "-"),
    ("data_oob", "reject SA014", "the skill trapped: out of bounds memory access", "-"),
    ("elem_oob", "reject SA014", "the skill trapped: undefined element: out of bounds table access", "-"),
    ("oob_load", "admit", "the skill trapped: out of bounds memory access", "-"),
    ("compile_bomb_nest", "admit", "runs", "-"),
    ("compile_bomb_locals", "reject SA013", "runs", "-"),
    ("compile_bomb_brtable", "reject SA013", "runs", "-"),
    ("compile_bomb_bigfunc", "admit", "runs", "-"),
    ("name_huge", "admit", "runs", "-"),
    ("simd_splat", "admit", "runs", "-"),
    ("global_i64_leak", "admit", "runs", "-"),
    ("string_oob_ptr", "admit", STRING_TRAP, STRING),
    ("string_len_max", "admit", STRING_TRAP, STRING),
    (
        "list_of_strings_quadratic",
        "admit",
        "refused: compile",
        "too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted",
    ),
    ("unaligned_retptr", "admit", "the skill trapped: return pointer not aligned", "return pointer not aligned"),
    (
        "char_surrogate",
        "admit",
        "the skill trapped: invalid `char` bit pattern",
        "converted integer out of range for `char`",
    ),
    ("bool_nonzero", "admit", "runs", "gives [Bool(true)]"),
    ("flags_lift", "admit", "runs", "gives [Flags([\"a\", \"b\", \"c\"])]"),
    ("unknown_wasi_import", "admit", "refused: link", "expected `own` or `borrow`, found `u32`"),
    ("unknown_socket_import", "reject SA003", "refused: link", "resource implementation is missing"),
    ("lookalike_import", "reject SA003", "runs", "no export"),
    ("nested_components", "reject SA001", "runs", "no export"),
    ("many_exports", "reject SA001", "runs", "no export"),
    ("realloc_inf_loop", "admit", FUEL, "all fuel consumed by WebAssembly"),
    (
        "realloc_oob",
        "admit",
        "the skill trapped: realloc return: beyond end of memory",
        "realloc return: beyond end of memory",
    ),
    (
        "post_return_trap",
        "admit",
        "the skill trapped: wasm `unreachable` instruction executed",
        "wasm `unreachable` instruction executed",
    ),
    ("post_return_loop", "admit", FUEL, "all fuel consumed by WebAssembly"),
    (
        "utf16_misaligned",
        "admit",
        "the skill trapped: string pointer not aligned to 2",
        "string pointer not aligned to 2",
    ),
    ("latin1_utf16_len", "admit", STRING_TRAP, STRING),
];

const FUEL: &str = "the skill used up its 200000000 units of fuel";
const STRING: &str = "string pointer/length out of bounds of memory";
const STRING_TRAP: &str = "the skill trapped: string pointer/length out of bounds of memory";

/// Whether a row that has no line above came to an end that its label allows.
fn is_labelled(expect: &str, verdict: &str, lifted: &str) -> bool {
    let contained = verdict.starts_with("reject") || lifted != "runs";
    let to_end = ["trap", "refused", "reject"].iter().any(|word| expect.contains(word)) && !expect.contains(" or ");
    contained || !to_end
}

/// Bytes that the process may grow by while a call runs: what the call may have itself, and as much again for the host.
const GROWTH: usize = 128 << 20;
/// Bytes that it may have kept when all rows are done.
const KEPT: usize = 64 << 20;

/// The argument by which a test that was started again knows that it has the process to itself. For the test runner it
/// is the name of one more test, which there is not.
const ALONE: &str = "alone-in-its-process";

/// Runs the test `name` in a process of its own; false where this is that process.
#[expect(clippy::disallowed_methods, reason = "other tests in this process would be measured as well")]
fn alone(name: &str) -> bool {
    if std::env::args().any(|argument| argument == ALONE) {
        return true;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, ALONE, "--nocapture"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    eprintln!("{words}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{name} is not the name of this test");
    false
}

/// As calls run in production, but for one place, which every run uses again.
fn laboratory(limits: Limits) -> Lab {
    let compilation = Compilation::Worker(crate::compile::tests::worker(crate::CompileLimits::default()));
    let pool = PoolLimits { concurrent_calls: 1, ..PoolLimits::default() };
    let runtime = WasmRuntime::start_compiling(&pool, limits.clone(), compilation, None).unwrap();
    Lab { runtime, limits }
}

fn skill(wat: &str) -> Result<Vec<u8>, String> {
    let bytes = wat::parse_str(wat).map_err(|error| error.to_string())?;
    let tools = r#"[{"name": "go", "description": "d", "riskLevel": "none", "parameters": {"type": "object"}}]"#;
    Ok(with_tools_section(&bytes, tools.as_bytes()).unwrap_or(bytes))
}

/// Where a component is refused before it runs.
fn refusal(error: &SandboxError) -> &'static str {
    match error {
        SandboxError::Compile { .. } => "compile",
        SandboxError::Link { .. } => "link",
        SandboxError::TooDemanding { .. } => "demand",
        other => panic!("{other}"),
    }
}

/// The verdict, with the rule that rejects.
fn verdict(component: &[u8]) -> String {
    let report = analyse(component, &manifest(""));
    bounded(&report.to_string());
    match report.verdict {
        Verdict::Reject => format!("reject {}", report.findings[0].rule),
        other => other.to_string(),
    }
}

/// Whatever a row says, what is said of it is short.
fn bounded(words: &str) {
    assert!(words.len() < 8 << 10, "{} bytes: {}", words.len(), &words[..words.floor_char_boundary(200)]);
}

async fn end(lab: &Lab, component: &[u8]) -> String {
    let prepared = match lab.compile(&manifest(""), component) {
        Ok(prepared) => prepared,
        Err(error) => {
            bounded(&error.to_string());
            return format!("refused: {}", refusal(&error));
        }
    };
    let mut ends = Vec::new();
    // The place is used again each time: what one run left behind would change the next.
    for _ in 0..3 {
        ends.push(match lab.run(&prepared).await.output {
            Ok(_) => "runs".to_owned(),
            Err(failure) => failure.to_string(),
        });
    }
    bounded(&ends[0]);
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    ends.swap_remove(0)
}

/// The host calls `run` of a component as it stands, in a store like any call's.
async fn called(lab: &Lab, component: &[u8]) -> String {
    let inner = &lab.runtime.inner;
    let digest = Digest::of(component);
    let compiled = match inner.compiler.component(&inner.ticking.engine, None, &digest, || component) {
        Ok(compiled) => compiled,
        Err(_) => return "refused: compile".into(),
    };
    let linker = lab.runtime.linker(Capabilities { http: false, credentials: false, workspace: false }).unwrap();
    let mut store = Store::new(
        &inner.ticking.engine,
        Host::new(doors(), lab.limits.clone(), sophon_egress::Deadline::at(Instant::now() + lab.limits.wall), None),
    );
    run::arm(&mut store).unwrap();
    let outcome = async {
        let instance = linker.instantiate_async(&mut store, &compiled).await?;
        let Some(function) = instance.get_func(&mut store, "run") else { return Ok(None) };
        let kind = function.ty(&store);
        let arguments: Vec<Val> = kind.params().map(|_| Val::String("an argument".into())).collect();
        let mut results = vec![Val::Bool(false); kind.results().len()];
        function.call_async(&mut store, &arguments, &mut results).await?;
        Ok::<_, wasmtime::Error>(Some(results))
    };
    match outcome.await {
        Ok(None) => "no export".into(),
        Ok(Some(results)) => format!("gives {results:?}"),
        Err(error) => {
            let cause = error.root_cause().to_string();
            cause.trim_start_matches("wasm trap: ").to_owned()
        }
    }
}

#[tokio::test]
async fn attack_20_hostile_code_is_contained_and_the_process_keeps_its_memory() {
    if !alone("wasm::tests::hostile::attack_20_hostile_code_is_contained_and_the_process_keeps_its_memory") {
        return;
    }
    let Some(rows) = rows::<Row>("wasm_hostile") else { return };
    // Less fuel than calls have, so that the loops of the corpus take seconds and not a minute.
    let lab = laboratory(Limits { fuel: 200_000_000, ..Limits::of(sophon_skill::Preset::Standard) });
    // The lifting is sound: a skill of the same build is admitted and runs.
    let honest = skill(&lift::honest()).unwrap();
    assert_eq!(verdict(&honest), "admit");
    let honest = lab.compile(&manifest(""), &honest).unwrap_or_else(|error| panic!("{error}"));
    let first = lab.run(&honest).await;
    assert!(first.output.is_ok(), "{:?}", first.output);
    // The gauge is sound: it shows what is taken, and that it is given back.
    let before = memory::resident();
    let (_, peak) = memory::peak(async { std::hint::black_box(vec![1_u8; 2 * GROWTH]).len() }).await;
    assert!(peak >= before + GROWTH, "{peak} of {before} bytes");
    assert!(memory::resident() < before + GROWTH / 2, "{} bytes are kept", memory::resident());

    let mut figure = Figure::new("wasm_hostile", "contained as labelled");
    let mut wrong = Vec::new();
    let start = memory::resident();
    for row in &rows {
        let uploaded = sophon_corpora::bytes(&serde_json::json!({ "b64": row.b64 }));
        let before = memory::resident();
        let ((uploaded, verdict, lifted, direct), peak) = memory::peak(async {
            let (verdict, lifted) = match skill(&lift::lifted(&row.layer, &row.wat)) {
                Ok(component) => (verdict(&component), end(&lab, &component).await),
                Err(error) => ("-".to_owned(), error),
            };
            let direct = if row.layer == "core" { "-".to_owned() } else { called(&lab, &uploaded).await };
            (end(&lab, &uploaded).await, verdict, lifted, direct)
        })
        .await;
        let found = (row.name.as_str(), verdict.as_str(), lifted.as_str(), direct.as_str());
        // No row is a skill as it stands: a core module does not compile as a component, and no component has our tools.
        let refused = uploaded == if row.layer == "core" { "refused: compile" } else { "refused: link" };
        let known = ROWS.iter().any(|(name, ..)| *name == row.name);
        let right = refused && if known { ROWS.contains(&found) } else { is_labelled(&row.expect, &verdict, &lifted) };
        figure.count(&row.layer, right);
        if !right {
            wrong.push(format!("{found:?}, uploaded: {uploaded}"));
        }
        let growth = peak.saturating_sub(before);
        assert!(growth <= GROWTH, "{}: the process grew by {} MiB", row.name, growth >> 20);
        // The next call of a good skill is what it was before.
        let next = lab.run(&honest).await;
        let result = next.output.unwrap_or_else(|error| panic!("after {}: {error}", row.name));
        assert_eq!(format!("{result:?}"), format!("{:?}", first.output.as_ref().unwrap()), "after {}", row.name);
        let used = |usage: &crate::Usage| (usage.fuel, usage.memory_peak, usage.hostcalls);
        assert_eq!(used(&next.usage), used(&first.usage), "after {}", row.name);
    }
    let kept = memory::resident().saturating_sub(start);
    assert!(kept <= KEPT, "the process kept {} MiB", kept >> 20);
    figure.publish();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// With fuel that does not run out, it is the clock that ends a loop: in a start function, in the export, in `realloc`
/// and in post-return.
#[tokio::test]
async fn attack_19_the_deadline_ends_hostile_loops_wherever_they_stand() {
    let Some(rows) = rows::<Row>("wasm_hostile") else { return };
    let wall = Duration::from_millis(300);
    let lab = laboratory(Limits { fuel: u64::MAX / 2, wall, ..Limits::of(sophon_skill::Preset::Standard) });
    let mut ended = 0;
    for (name, ..) in ROWS.iter().filter(|(.., lifted, _)| *lifted == FUEL) {
        let row = rows.iter().find(|row| row.name == *name).unwrap_or_else(|| panic!("{name} is no row"));
        let lifted = skill(&lift::lifted(&row.layer, &row.wat)).unwrap();
        assert_eq!(end(&lab, &lifted).await, RunFailure::DeadlineExceeded { wall }.to_string(), "{name}");
        ended += 1;
    }
    assert!(ended >= 4, "{ended} rows loop");
}

/// wasmtime panics over such a component where multi-memory is off (48.0.8, "invalid adapter module generated").
#[tokio::test]
async fn attack_22_a_compiler_that_breaks_down_says_so_and_the_host_goes_on() {
    let text = r#"(component
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
            (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func (export "run") (result (list string)) (canon lift (core func $i "run")
            (memory $i "memory") (realloc (func $i "realloc")))))"#;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let component = skill(&lift::lifted("component", &text)).unwrap();
    let honest = skill(&lift::honest()).unwrap();
    for lab in [Lab::new(small()), laboratory(small())] {
        let error = lab.compile(&manifest(""), &component).err().expect("its adapters need two memories");
        assert!(matches!(error, SandboxError::Compile { .. }), "{error}");
        assert!(error.to_string().contains("several memories in one module are off here"), "{error}");
        assert_eq!(end(&lab, &honest).await, "runs");
    }
}
