//! What a native skill's end means: its one JSON value, or which of the many ways not to give one.

use super::presets::BoxLimits;
use crate::{Limits, RunFailure, ToolErrorKind};
use serde_json::{Map, Value};
use sophon_guard::{RawOutput, Source};

/// What the runner ends with where the skill went for the network by itself.
const NO_NETWORK: i32 = 71;
/// Bytes of a skill's last words that are kept.
const WORDS: usize = 2 << 10;

/// How a command ended, in the words of the sandbox's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Code { code: i32, processes: u32 },
    Signal { signal: i32, processes: u32 },
}

impl Ended {
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let [how, a, b, c, d, e, f, g, h] = *payload.first_chunk::<9>()?;
        let number = i32::from_be_bytes([a, b, c, d]);
        let processes = u32::from_be_bytes([e, f, g, h]);
        match how {
            0 => Some(Self::Code { code: number, processes }),
            1 => Some(Self::Signal { signal: number, processes }),
            _ => None,
        }
    }
}

/// What came of a command that ended by itself.
pub(super) fn judge(
    ended: Ended,
    output: &[u8],
    last_words: &str,
    source: Source,
    limits: &Limits,
    within: &BoxLimits,
) -> Result<RawOutput, RunFailure> {
    let words = last_line(last_words);
    match ended {
        Ended::Code { code: 0, .. } => value(output, limits).and_then(|value| result(value, source)),
        Ended::Code { code: NO_NETWORK, .. } => Err(RunFailure::NoNetwork { words }),
        Ended::Code { processes, .. } | Ended::Signal { processes, .. } if too_many(processes, within) => {
            Err(processes_exceeded(within))
        }
        Ended::Code { code, .. } => Err(limit_named(last_words, within)
            .unwrap_or_else(|| RunFailure::Exited { how: format!("with status {code}"), words })),
        Ended::Signal { signal, .. } => Err(RunFailure::Exited { how: format!("by signal {signal}"), words }),
    }
}

/// Whether a sandbox is full of processes, its first one included.
pub(super) fn too_many(processes: u32, within: &BoxLimits) -> bool {
    let most = within.all_processes();
    most > 2 && u64::from(processes) + 1 >= most
}

pub(super) fn processes_exceeded(within: &BoxLimits) -> RunFailure {
    RunFailure::LimitExceeded { what: format!("{} processes", within.all_processes()) }
}

/// A skill that met a limit mostly dies of it with the system's own words. They are its own to forge; it fools only itself.
fn limit_named(words: &str, within: &BoxLimits) -> Option<RunFailure> {
    let what = |what: String| Some(RunFailure::LimitExceeded { what });
    let said = |some: &[&str]| some.iter().any(|word| words.contains(word));
    if said(&["[Errno 28]", "No space left on device", "[Errno 27]", "File too large", "too large for the file system"])
    {
        return what(format!("{} MiB of files", within.workspace >> 20));
    }
    if said(&["[Errno 11]", "Resource temporarily unavailable", "can't start new thread"]) {
        return Some(processes_exceeded(within));
    }
    if said(&["[Errno 24]", "Too many open files"]) {
        return what(format!("{} open files", within.open_files));
    }
    if said(&["MemoryError", "OutOfMemoryException", "[Errno 12]", "Cannot allocate memory"]) {
        return Some(out_of_memory(within));
    }
    None
}

pub(super) fn out_of_memory(within: &BoxLimits) -> RunFailure {
    RunFailure::OutOfMemory { memory: usize::try_from(within.memory).unwrap_or(usize::MAX) }
}

/// The one value that a skill printed.
fn value(output: &[u8], limits: &Limits) -> Result<Value, RunFailure> {
    let bad = |what: String| Err(RunFailure::BadResult { what });
    if output.len() > limits.result_bytes {
        return bad(format!("{} bytes, more than the {} it may have", output.len(), limits.result_bytes));
    }
    if output.trim_ascii().is_empty() {
        return bad("it printed nothing; a skill prints one JSON value".into());
    }
    let mut values = serde_json::Deserializer::from_slice(output).into_iter::<Value>();
    let first = match values.next() {
        Some(Ok(first)) => first,
        Some(Err(error)) => return bad(format!("not JSON: {error}")),
        None => return bad("it printed nothing; a skill prints one JSON value".into()),
    };
    match values.next() {
        None => Ok(first),
        Some(Ok(_second)) => bad("it printed more than one JSON value".into()),
        Some(Err(error)) => bad(format!("something that is not JSON stands behind the JSON value: {error}")),
    }
}

fn result(value: Value, source: Source) -> Result<RawOutput, RunFailure> {
    match failure(&value) {
        Some(message) => Err(RunFailure::Tool { kind: ToolErrorKind::Failed, message: cut(&message).to_owned() }),
        None => Ok(RawOutput::structured(source, value)),
    }
}

/// What stands beside an error and says more of it. Beside anything else an `error` is a part of a result: of a server that was
/// asked whether it answers, say.
const DIAGNOSTICS: [&str; 18] = [
    "code",
    "description",
    "detail",
    "details",
    "errorcode",
    "errordescription",
    "errors",
    "hint",
    "kind",
    "message",
    "reason",
    "requestid",
    "retryafter",
    "status",
    "statuscode",
    "title",
    "tool",
    "type",
];

/// What a failure says. The public contract prints `{"error": "…"}` or `{"success": false, "error": "…"}`; in the wild the error
/// is also an object or a list, and more about it stands beside it.
fn failure(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let error = object.get("error").filter(|error| says_something(error))?;
    let is_diagnostic = |key: &str| {
        let plain: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
        DIAGNOSTICS.contains(&&*plain.to_ascii_lowercase())
    };
    let beside: Map<String, Value> = object
        .iter()
        .filter(|(key, value)| *key != "error" && (*key != "success" || **value != false))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    match object.get("success").and_then(Value::as_bool) {
        Some(true) => return None,
        Some(false) => {}
        None if beside.keys().all(|key| is_diagnostic(key)) => {}
        None => return None,
    }
    let error = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
    Some(if beside.is_empty() { error } else { format!("{error} {}", Value::Object(beside)) })
}

/// Whether an error is one: many skills print the key always.
fn says_something(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}

fn last_line(words: &str) -> String {
    let line = words.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    cut(line).to_owned()
}

pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(WORDS)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_skill::Preset;
    use sophon_types::Fault as _;

    fn judged(ended: Ended, output: &str, words: &str) -> Result<(), (&'static str, String)> {
        let (limits, within) = (Limits::of(Preset::Standard), BoxLimits::of(Preset::Standard));
        let source = Source::tool(&"probe.go".parse().unwrap());
        let judged = judge(ended, output.as_bytes(), words, source, &limits, &within);
        judged.map(drop).map_err(|failure| (failure.code(), failure.to_string()))
    }

    #[test]
    fn every_end_has_a_name_of_its_own() {
        let fine = Ended::Code { code: 0, processes: 1 };
        let code = |code| Ended::Code { code, processes: 1 };
        for value in [
            " {\"a\": 1}\n",
            "{\"success\": true, \"error\": \"none\"}",
            "{\"success\": false}",
            "{\"a\": 1, \"error\": \"x\"}",
        ] {
            assert_eq!(judged(fine, value, ""), Ok(()), "{value}");
        }
        for (ended, output, words, expected, part) in [
            (fine, "", "", "bad_result", "printed nothing"),
            (fine, " \n", "", "bad_result", "printed nothing"),
            (fine, "1 2", "", "bad_result", "more than one JSON value"),
            (fine, "{} x", "", "bad_result", "behind the JSON value"),
            (fine, "hello", "", "bad_result", "not JSON"),
            (fine, "{\"error\": \"no such repo\"}", "", "tool_failed", "no such repo"),
            (fine, "{\"success\": false, \"error\": \"no such repo\", \"code\": 4}", "", "tool_failed", "no such repo"),
            (code(3), "1", "Traceback\nValueError: x\n", "skill_exited", "with status 3: ValueError: x"),
            (code(71), "", "socket.gaierror: x", "sockets_not_allowed", "gaierror"),
            (code(1), "", "OSError: [Errno 28] No space left on device", "limit_exceeded", "64 MiB of files"),
            (code(1), "", "BlockingIOError: [Errno 11] x", "limit_exceeded", "12 processes"),
            (code(1), "", "MemoryError", "out_of_memory", "256 MiB"),
            (code(1), "", "System.OutOfMemoryException: x", "out_of_memory", "256 MiB"),
            (code(1), "", "System.OutOfMemoryException: can't start new thread", "limit_exceeded", "12 processes"),
            (Ended::Signal { signal: 9, processes: 1 }, "", "", "skill_exited", "by signal 9"),
            (Ended::Signal { signal: 9, processes: 12 }, "", "", "limit_exceeded", "12 processes"),
        ] {
            let (found, text) = judged(ended, output, words).unwrap_err();
            assert_eq!(found, expected, "{output:?} {words:?}: {text}");
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_limit_of_processes_has_what_runs_the_skill_in_it() {
        let within = BoxLimits { runtime_threads: 16, ..BoxLimits::of(Preset::Standard) };
        assert!(too_many(27, &within) && !too_many(26, &within));
        assert_eq!(processes_exceeded(&within), RunFailure::LimitExceeded { what: "28 processes".into() });
        assert!(!too_many(2, &BoxLimits::of(Preset::LockedDown)));
    }

    #[test]
    fn a_failure_is_told_by_its_error_whatever_form_it_has() {
        let fine = Ended::Code { code: 0, processes: 1 };
        for (output, words) in [
            (r#"{"error": "no such repo"}"#, "no such repo"),
            (r#"{"success": false, "error": "no such repo"}"#, "no such repo"),
            (r#"{"error": [{"code": 7003, "message": "no route"}]}"#, r#"[{"code":7003,"message":"no route"}]"#),
            (r#"{"error": {"type": "denied"}}"#, r#"{"type":"denied"}"#),
            (r#"{"error": "HTTP 400", "status": 400, "detail": "zone"}"#, r#"HTTP 400 {"detail":"zone","status":400}"#),
            (r#"{"error": true, "message": "it broke"}"#, r#"true {"message":"it broke"}"#),
            (r#"{"error": 17}"#, "17"),
        ] {
            let (code, text) = judged(fine, output, "").unwrap_err();
            assert_eq!((code, text.as_str()), ("tool_failed", format!("failed: {words}").as_str()), "{output}");
        }
        for output in [
            r#"{"error": null, "items": []}"#,
            r#"{"error": false}"#,
            r#"{"error": ""}"#,
            r#"{"error": []}"#,
            r#"{"error": {}}"#,
            r#"{"error": 0, "count": 3}"#,
            r#"{"error": "one of three was skipped", "data": [1, 2]}"#,
            r#"{"error": "a warning", "result": null}"#,
            r#"{"success": true, "error": "none"}"#,
            r#"{"errors": ["x"]}"#,
            r#"[{"error": "x"}]"#,
            r#""error""#,
        ] {
            assert_eq!(judged(fine, output, ""), Ok(()), "{output}");
        }
    }

    #[test]
    fn what_is_no_end_is_not_read_as_one() {
        for payload in [&b""[..], b"\0\0\0", b"\x02\0\0\0\0\0\0\0\0"] {
            assert_eq!(Ended::read(payload), None);
        }
        assert_eq!(Ended::read(b"\0\0\0\0\x03\0\0\0\x01"), Some(Ended::Code { code: 3, processes: 1 }));
    }
}
