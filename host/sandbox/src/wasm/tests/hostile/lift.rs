//! Skills of our contract around hostile code, which stands in them as it is: the host runs its start function, its
//! export, its `realloc` and its post-return exactly as it runs an honest skill's.

/// How a row's code gets to run.
pub(super) fn lifted(layer: &str, text: &str) -> String {
    let skill = match layer {
        "core" => beside(text),
        _ if !text.contains("(export \"run\")") => return with(text),
        // What is hostile about these is what the canonical ABI of the host meets, so they are the skill itself.
        _ if text.contains("(result string)") => result(text),
        _ if text.contains("(param \"s\" string)") => argument(text),
        _ if text.contains("post-return") => post_return(text),
        // Types that our contract has not: the skill calls another component.
        _ => composed(text),
    };
    format!("(component {skill})")
}

/// A skill that is honest, lifted in the same way: what refuses a hostile one is not the lifting.
pub(super) fn honest() -> String {
    lifted("core", "(module (func (export \"run\")))")
}

/// Memory, allocation and a result that says `ok("\"fine\"")` at 1024.
const OWN_MEMORY: &str = r#"
    (memory (export "memory") 1)
    (data (i32.const 1024) "\00\00\00\00\10\04\00\00\06\00\00\00\00\00\00\00\22fine\22")"#;

/// Hands out memory from 4096 on and grows it for as long as the host lets it.
const REALLOC: &str = r#"
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (loop $more
            (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
                (then
                    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
                    (br $more))))
        (local.get $at))"#;

fn call_tool(body: &str) -> String {
    format!(
        "(func (export \"call-tool\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)
            (local $at i32) {body})"
    )
}

/// The core module with the row's code in it, under a name.
fn module(text: &str, from: &str) -> String {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    let mut depth = 0;
    let end = text[start..].find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    let end = start + end.unwrap_or_else(|| panic!("no end in {text}"));
    format!("(core module $hostile {})", &text[start + from.len()..end])
}

/// A core module beside the skill's own; its `run`, where it has one, is called by the tool.
fn beside(text: &str) -> String {
    let hostile = module(text, "(module");
    let run = |result: &str| text.contains(&format!("(export \"run\"){result}"));
    let (import, call) = if run(" (result i32)") {
        // What it gives back is zero in every fresh instance.
        ("(result i32)", "(if (call $run) (then (unreachable)))")
    } else if run(" (result f64)") {
        ("(result f64)", "(drop (call $run))")
    } else if run("") {
        ("", "(call $run)")
    } else {
        ("", "")
    };
    let import = match call {
        "" => String::new(),
        _ => format!("(import \"hostile\" \"run\" (func $run {import}))"),
    };
    let tool = call_tool(&format!("{call} (i32.const 1024)"));
    format!(
        r#"{hostile}
        (core instance $hostile (instantiate $hostile))
        (core module $skill {import} {OWN_MEMORY} {REALLOC} {tool})
        (core instance $skill (instantiate $skill (with "hostile" (instance $hostile))))
        {}"#,
        exported(r#"(memory (core memory $skill "memory")) (realloc (core func $skill "realloc"))"#)
    )
}

/// A component's fields beside the skill's own.
fn with(text: &str) -> String {
    let fields = text.trim().strip_prefix("(component").and_then(|rest| rest.strip_suffix(')'));
    let honest = beside("(module)");
    format!("(component {} {honest})", fields.unwrap_or_else(|| panic!("no component: {text}")))
}

/// The string that `run` gives is the tool's result, in the row's memory and encoding.
fn result(text: &str) -> String {
    let hostile = module(text, "(core module $m");
    // Where the row's own pointer is misaligned, so is the one that the host gets.
    let tool = call_tool(
        "(local.set $at (call $run))
        (i32.store (i32.const 32768) (i32.const 0))
        (i32.store (i32.const 32772) (i32.load (local.get $at)))
        (i32.store (i32.const 32776) (i32.load offset=4 (local.get $at)))
        (i32.or (i32.const 32768) (i32.and (local.get $at) (i32.const 3)))",
    );
    let realloc = if text.contains("(export \"realloc\")") { "hostile" } else { "skill" };
    let encoding = text.split_whitespace().find(|word| word.starts_with("string-encoding="));
    let encoding = encoding.map_or("", |word| word.trim_end_matches(')'));
    format!(
        r#"{hostile}
        (core instance $hostile (instantiate $hostile))
        (core module $skill
            (import "hostile" "memory" (memory 1)) (import "hostile" "run" (func $run (result i32))) {REALLOC} {tool})
        (core instance $skill (instantiate $skill (with "hostile" (instance $hostile))))
        {}"#,
        exported(&format!(
            r#"(memory (core memory $hostile "memory")) (realloc (core func ${realloc} "realloc")) {encoding}"#
        ))
    )
}

/// The host asks the row's `realloc` for room for the arguments.
fn argument(text: &str) -> String {
    let hostile = module(text, "(core module $m");
    let tool = call_tool("(call $run (i32.const 0) (i32.const 0)) (i32.const 1024)");
    let fine = OWN_MEMORY.replace(r#"(memory (export "memory") 1)"#, "");
    format!(
        r#"{hostile}
        (core instance $hostile (instantiate $hostile))
        (core module $skill
            (import "hostile" "memory" (memory 1)) (import "hostile" "run" (func $run (param i32 i32))) {fine} {tool})
        (core instance $skill (instantiate $skill (with "hostile" (instance $hostile))))
        {}"#,
        exported(r#"(memory (core memory $hostile "memory")) (realloc (core func $hostile "realloc"))"#)
    )
}

/// The tool does its work; the row's code runs once the host has the result.
fn post_return(text: &str) -> String {
    let hostile = module(text, "(core module $m");
    let tool = call_tool("(i32.const 1024)");
    format!(
        r#"{hostile}
        (core instance $hostile (instantiate $hostile))
        (core module $skill {OWN_MEMORY} {REALLOC} {tool})
        (core instance $skill (instantiate $skill))
        {}"#,
        exported(
            r#"(memory (core memory $skill "memory")) (realloc (core func $skill "realloc")) (post-return (core func $hostile "pr"))"#
        )
    )
}

/// A component beside the skill's: code that wasmtime makes carries the values from one to the other.
fn composed(text: &str) -> String {
    // The corpus is in the syntax of old, in which the sort of an export went without saying.
    let hostile = text
        .trim()
        .replacen("(component", "(component $hostile", 1)
        .replace(r#"(memory $i "memory")"#, r#"(memory (core memory $i "memory"))"#)
        .replace(r#"(realloc (func $i "realloc"))"#, r#"(realloc (core func $i "realloc"))"#);
    let run = r#"(func (export "run") (result "#;
    let kind = &text[text.rfind(run).unwrap_or_else(|| panic!("no run in {text}")) + run.len()..];
    let kind = &kind[..kind.find(") (canon lift").unwrap_or_else(|| panic!("no type in {text}"))];
    // A value that is flat comes back as it is, a list by way of memory.
    let (flat, options, call) = if kind.starts_with("(list") {
        (
            "(param i32)",
            r#"(memory (core memory $own "memory")) (realloc (core func $own "realloc"))"#,
            "(call $run (i32.const 2048))",
        )
    } else {
        ("(result i32)", "", "(drop (call $run))")
    };
    // The one type that has to have a name.
    let (named, with) = if kind == "$ff" {
        (r#"(type $f (flags "a" "b" "c")) (import "ff" (type $ff (eq $f)))"#, r#"(with "ff" (type $hostile "ff"))"#)
    } else {
        ("", "")
    };
    let tool = call_tool(&format!("{call} (i32.const 1024)"));
    format!(
        r#"{hostile}
        (instance $hostile (instantiate $hostile))
        (component $beside
            {named}
            (import "run" (func $imported (result {kind})))
            (core module $own {OWN_MEMORY} {REALLOC})
            (core instance $own (instantiate $own))
            (core func $run (canon lower (func $imported) {options}))
            (core module $skill (import "hostile" "run" (func $run {flat})) {tool})
            (core instance $skill (instantiate $skill
                (with "hostile" (instance (export "run" (func $run))))))
            {contract})
        (instance $beside (instantiate $beside {with} (with "run" (func $hostile "run"))))
        (export "sophon:skill/tools@1.0.0" (instance $beside "sophon:skill/tools@1.0.0"))"#,
        contract = exported(r#"(memory (core memory $own "memory")) (realloc (core func $own "realloc"))"#)
    )
}

/// `call-tool` of the core instance `$skill`, lifted with `options` and exported as our contract has it.
fn exported(options: &str) -> String {
    const RECORD: &str = r#"(record (field "call-id" string) (field "correlation-id" string)
        (field "session" (option string)) (field "deadline-ms" u64))"#;
    const VARIANT: &str = r#"(variant (case "unknown-tool" string) (case "invalid-arguments" string)
        (case "not-found" string) (case "denied" string) (case "unavailable" string) (case "failed" string))"#;
    let function = |context: &str, error: &str| {
        format!(
            r#"(param "name" string) (param "arguments-json" string) (param "context" {context})
            (result (result string (error {error})))"#
        )
    };
    format!(
        r#"(type $context {RECORD})
        (type $error {VARIANT})
        (func $call-tool {own} (canon lift (core func $skill "call-tool") {options}))
        (component $contract
            (type $context {RECORD})
            (import "context" (type $imported-context (eq $context)))
            (type $error {VARIANT})
            (import "error" (type $imported-error (eq $error)))
            (import "call-tool" (func $call-tool {imported}))
            (export $call-context "call-context" (type $context))
            (export $tool-error "tool-error" (type $error))
            (export "call-tool" (func $call-tool) (func {named})))
        (instance $contract (instantiate $contract
            (with "context" (type $context)) (with "error" (type $error)) (with "call-tool" (func $call-tool))))
        (export "sophon:skill/tools@1.0.0" (instance $contract))"#,
        own = function("$context", "$error"),
        imported = function("$imported-context", "$imported-error"),
        named = function("$call-context", "$tool-error"),
    )
}
