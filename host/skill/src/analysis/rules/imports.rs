//! SA003: every import is an interface that the host offers, by exact name and in a version that it can serve.

use super::{Check, Context, Findings, Rule};
use crate::analysis::offered::OFFERED;
use crate::analysis::report::Severity;
use crate::text::quote;
use wasmparser::ComponentExternalKind;

pub(super) const RULE: Rule = Rule {
    id: "SA003",
    title: "import that is not offered",
    severity: Severity::Error,
    what: "The component imports something that is not an interface of the host, or in a version that the host \
           cannot serve.",
    why: "Names are compared exactly, because a linker lets an empty import of any name through. What is not on the \
          list does not exist for a skill.",
    advice: "import interfaces of sophon:skill@1 and of WASI 0.2 only",
    check: Check::Component(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    for import in &context.facts.imports {
        let place = format!("import {}", quote(&import.name));
        if import.kind != ComponentExternalKind::Instance {
            findings.error(
                &place,
                format!("a {} is imported; a skill may import interfaces only", import.kind.desc()),
                "build against the world sophon:skill/skill, or remove the import",
            );
            continue;
        }
        let Some(name) = &import.interface else {
            findings.error(
                &place,
                "the import is not a versioned interface".into(),
                "import interfaces of sophon:skill@1 and of WASI 0.2 only",
            );
            continue;
        };
        match OFFERED.iter().find(|offer| offer.interface == name.interface) {
            None => findings.error(&place, "this host does not offer the interface".into(), instead(&name.interface)),
            Some(offer) if !offer.serves(&name.version) => findings.error(
                &place,
                format!("this host offers version {} of it, which does not serve {}", offer.version, name.version),
                format!("build the skill against {}@{}", offer.interface, offer.version),
            ),
            Some(_) => {}
        }
    }
}

/// What to use in the interface's place.
fn instead(interface: &str) -> &'static str {
    let (package, _) = interface.split_once('/').unwrap_or((interface, ""));
    match package {
        "wasi:sockets" => "there are no sockets; send requests through sophon:skill/http or wasi:http",
        "wasi:http" => "a skill sends requests only: use wasi:http/outgoing-handler or sophon:skill/http",
        "wasi:config" => "read configuration through sophon:skill/settings",
        "wasi:keyvalue" => "keep data through sophon:skill/state",
        "wasi:logging" => "write lines through sophon:skill/log",
        _ => "remove what needs it; offered are the interfaces of sophon:skill@1 and a fixed set of WASI 0.2",
    }
}
