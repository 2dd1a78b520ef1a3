//! SA028: a skill stays above the interpreter.

use super::{Check, Context, Findings, Rule};
use crate::analysis::python::Kind;
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA028",
    title: "reach below the interpreter",
    severity: Severity::Warning,
    what: "A Python file calls native code or looks around in the system: ctypes, cffi, mmap, /proc, /sys, the sockets \
           of container engines, the metadata addresses of clouds, other users' files, all environment variables.",
    why: "There is nothing there for a skill. Whoever looks is mapping the sandbox, or was made to run outside of one.",
    advice: "leave it out; arguments and connections come in params, settings in the manifest",
    check: Check::Python(check),
};

const NATIVE: [&str; 9] =
    ["ctypes.", "_ctypes.", "cffi.", "mmap.", "fcntl.", "resource.", "sys.settrace", "sys._getframe", "gc.get_objects"];

/// Paths, and what is there.
const PLACES: [(&str, &str); 10] = [
    ("/proc/", "the kernel's view of processes"),
    ("/sys/", "the kernel's view of devices"),
    ("docker.sock", "the socket of a container engine"),
    ("containerd.sock", "the socket of a container engine"),
    ("/var/run/secrets", "credentials of a cluster"),
    ("169.254.169.254", "the metadata of a cloud, where its credentials are"),
    ("metadata.google.internal", "the metadata of a cloud, where its credentials are"),
    ("/etc/shadow", "the system's passwords"),
    ("/.ssh/", "somebody's keys"),
    ("/.aws/", "somebody's credentials"),
];

fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in &context.python {
        for used in NATIVE.iter().flat_map(|name| source.uses_of(name)) {
            let module = used.path.split('.').next().unwrap_or_default();
            if source.imports(module) {
                let place = format!("{}, line {}", source.name, used.line);
                findings.warning(&place, format!("{} reaches below the interpreter", used.path), RULE.advice);
            }
        }
        for (token, _) in source.literals() {
            if let Some((name, what)) = PLACES.iter().find(|(name, _)| token.text.contains(name)) {
                let place = format!("{}, line {}", source.name, token.line);
                findings.warning(&place, format!("{name} is {what}"), RULE.advice);
            }
        }
        for used in source.uses_of("os.environ") {
            // One variable by its name is a setting; the whole is a search.
            let next = source.tokens.get(used.token + 1);
            let one = next.is_some_and(|token| token.kind == Kind::Mark && token.text == "[");
            if !one {
                let place = format!("{}, line {}", source.name, used.line);
                findings.warning(&place, "all environment variables are looked at".into(), RULE.advice);
            }
        }
    }
}
