//! SA025: a skill asks the host for what it needs; it starts no programs.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA025",
    title: "process spawning",
    severity: Severity::Warning,
    what: "A Python file starts or forks processes: subprocess, os.system, os.popen, os.exec…, os.spawn…, os.fork, \
           pty, multiprocessing, concurrent.futures.ProcessPoolExecutor.",
    why: "The sandbox has no shell and no other programs, and few processes; a skill that starts some was made for \
          another place, or looks for one.",
    advice: "do the work in Python",
    check: Check::Python(check),
};

const STARTS: [&str; 17] = [
    "subprocess.",
    "_posixsubprocess.",
    "os.system",
    "os.popen",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.posix_spawnp",
    "os.startfile",
    "os.kill",
    "os.killpg",
    "posix.",
    "pty.",
    "multiprocessing.",
    "concurrent.futures.ProcessPoolExecutor",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
];

fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in &context.python {
        let named = STARTS.iter().flat_map(|name| source.uses_of(name));
        let family = source.uses.iter().filter(|used| {
            let of_os = |family: &str| used.path.strip_prefix("os.").is_some_and(|name| name.starts_with(family));
            of_os("exec") || of_os("spawn")
        });
        for used in named.chain(family) {
            let place = format!("{}, line {}", source.name, used.line);
            findings.warning(&place, format!("{} starts or handles processes", used.path), RULE.advice);
        }
        for module in ["subprocess.*", "os.*", "pty.*", "multiprocessing.*"] {
            for line in source.imports.iter().filter(|(name, _)| name == module).map(|(_, line)| line) {
                let place = format!("{}, line {line}", source.name);
                findings.warning(&place, format!("{module} brings in names that start processes"), RULE.advice);
            }
        }
    }
}
