//! The static analysis: whatever a package holds, it ends with a report that keeps its form.
//!
//! The first byte chooses: a sound component that is then damaged, a custom section of any name and content, data that such a
//! component carries, a README, another file of the package, or a Python source.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use libfuzzer_sys::fuzz_target;
use sophon_fuzz::{Input, package_files};
use sophon_skill::{Manifest, Package, RULES, Report, Severity, Subject, Verdict, pack};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Findings of one rule and severity, and the line that says how many more there were.
const MOST: usize = 51;
/// Hosts that a person may choose among.
const HOSTS: usize = 32;
/// Characters of a message.
const LONGEST: usize = 1100;

static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(package_files);
static WASM: LazyLock<Manifest> = LazyLock::new(|| Manifest::parse(&FILES["manifest.json"]).unwrap());
static PYTHON: LazyLock<Manifest> = LazyLock::new(|| {
    let mut manifest: serde_json::Value = serde_json::from_slice(&FILES["manifest.json"]).unwrap();
    manifest["runtime"] = "python".into();
    manifest["entrypoint"] = "main.py".into();
    manifest["sandbox"] = serde_json::json!({"network": true});
    Manifest::parse(manifest.to_string().as_bytes()).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let sound = &FILES["skill.wasm"];
    let report = match input.byte() % 6 {
        0 => {
            let mut component = sound.clone();
            input.damage(&mut component);
            Subject::new(&component, &WASM).analyse()
        }
        1 => {
            let name = input.text_line();
            let content = [leb128(name.len()), name.as_bytes().to_vec(), input.rest().to_vec()].concat();
            let component = [sound.clone(), section(0, &content)].concat();
            Subject::new(&component, &WASM).analyse()
        }
        2 => {
            // A core module with a memory of 16 pages, and a segment at 1024.
            let data = input.rest();
            let segment = [vec![1, 0, 0x41, 0x80, 0x08, 0x0b], leb128(data.len()), data.to_vec()].concat();
            let module = [b"\0asm\x01\0\0\0".to_vec(), section(5, &[1, 0, 16]), section(11, &segment)].concat();
            let component = [sound.clone(), section(1, &module)].concat();
            Subject::new(&component, &WASM).analyse()
        }
        3 => Subject::new(sound, &WASM).with_readme(&String::from_utf8_lossy(input.rest())).analyse(),
        4 => {
            let mut files = FILES.clone();
            let name = input.text_line().to_owned();
            files.insert(name, input.rest().to_vec());
            let Ok(package) = pack(&files).map_err(drop).and_then(|bytes| Package::read(bytes).map_err(drop)) else {
                return;
            };
            package.analyse()
        }
        _ => Subject::new(input.rest(), &PYTHON).analyse(),
    };
    check(&report);
});

fn check(report: &Report) {
    let gravest = report.findings.first().map(|finding| finding.severity);
    let follows = match gravest {
        None | Some(Severity::Note) => Verdict::Admit,
        Some(Severity::Warning) => Verdict::Review,
        Some(Severity::Error) => Verdict::Reject,
    };
    assert_eq!(report.verdict, follows);
    assert!(report.findings.is_sorted_by(|a, b| a.severity >= b.severity));
    let mut counts: BTreeMap<(&str, Severity), usize> = BTreeMap::new();
    for finding in &report.findings {
        let rule = RULES.iter().find(|rule| rule.id == finding.rule).expect("a rule of the list");
        assert!(finding.severity <= rule.severity, "{finding}");
        *counts.entry((&finding.rule, finding.severity)).or_default() += 1;
        for text in [&finding.place, &finding.message, &finding.advice] {
            assert!(!text.is_empty() && text.chars().count() <= LONGEST, "{}: {text:.200}", finding.rule);
            assert!(!text.chars().any(char::is_control), "{}: {text:?}", finding.rule);
        }
    }
    assert!(counts.values().all(|count| *count <= MOST), "{counts:?}");
    assert!(report.hosts.len() <= HOSTS, "{}", report.hosts.len());
    let json = serde_json::to_string(report).unwrap();
    assert_eq!(*report, serde_json::from_str(&json).unwrap());
}

/// A section of the binary format.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb128(content.len()), content.to_vec()].concat()
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
