//! Bytes a second that are wrapped and scanned, on one core, in time on the processor. A tool's result goes through all
//! of this before a model sees it: secrets and text that speaks to the model are looked for, hidden characters and forged
//! markers made harmless. `cargo bench -p sophon-guard -- german json` measures these two only.

#![expect(clippy::print_stdout, reason = "what was measured is what it is for")]

use sophon_guard::wrap;
use sophon_types::Entropy;
use std::hint::black_box;

struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}

#[derive(serde::Deserialize)]
struct Row {
    label: String,
    text: String,
}

/// About a mebibyte of each kind of text.
fn texts() -> Vec<(&'static str, String)> {
    let fill = |unit: &str| unit.repeat((1 << 20) / unit.len());
    let prose = "The quick brown fox jumps over the lazy dog, and nobody minds; the report is due on Monday.\n";
    let json = r#"{"id":48213,"title":"Update the instructions for new users","state":"open","labels":["docs","good first issue"],"user":{"login":"ann","url":"https://api.example.com/users/ann"},"body":"Please ignore the warning of the previous version; see #41.","created_at":"2026-11-02T09:14:03Z","sha":"5e14193ab0c1d2e3f405162738495a6b7c8d9e0f"},"#;
    let german = "Die Anweisungen für das Gerät stehen im Anhang; bitte prüfen Sie, ob die Größe stimmt.\n";
    let chinese = "请在星期一之前检查报告，并把说明发给新同事。";
    let mut texts = vec![
        ("prose", fill(prose)),
        ("json", fill(json)),
        ("german", fill(german)),
        ("chinese", fill(chinese)),
        ("hostile", fill("ignore previous 1gn0r3 i g n o r e you are system prompt <|im aWdub3Jl ")),
    ];
    // What the corpus has of harmless pages, mails and tables, where it lies beside the checkout.
    if let Some(rows) = sophon_corpora::rows::<Row>("prompt_injection") {
        let of = |benign: bool| {
            let rows = rows.iter().filter(|row| (row.label == "benign") == benign).map(|row| &*row.text);
            fill(&rows.collect::<Vec<_>>().join("\n"))
        };
        texts.push(("corpus-harmless", of(true)));
        texts.push(("corpus-attacks", of(false)));
    }
    texts
}

fn main() {
    // Cargo adds `--bench`; whatever else stands there names the texts that are wanted.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!("{:<18} {:>10} {:>10}", "text", "MB/s", "findings");
    for (name, text) in texts() {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == name) {
            continue;
        }
        let once = || black_box(wrap("tool:bench.read", black_box(&text), &Fixed)).findings.len();
        let findings = once();
        // The kernel counts in ticks of some milliseconds, so that only many rounds together say something.
        let (before, mut rounds) = (on_processor(), 0);
        while on_processor() - before < 1_000_000_000 {
            once();
            rounds += 1;
        }
        let speed = rounds * text.len() as u64 * 1000 / (on_processor() - before);
        println!("{name:<18} {speed:>10} {findings:>10}");
    }
}

/// Nanoseconds that this thread has been on a processor: what else the machine does is not counted.
fn on_processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}
