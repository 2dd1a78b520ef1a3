//! SA017: data that looks random is compressed, encrypted, or code in disguise; in each case nobody can read it.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use crate::analysis::strings::{Origin, long_tokens};
use std::sync::LazyLock;

pub(super) const RULE: Rule = Rule {
    id: "SA017",
    title: "opaque data",
    severity: Severity::Warning,
    what: "A data segment, a custom section or another file holds a stretch of 8 KiB or more that looks random: at \
           least 7.9 bits a byte, or the same in base64 or hexadecimal digits. Tables of numbers, which compilers and \
           libraries make, do not count. Also found: more than a million separate texts, which nobody reads.",
    why: "What is compressed or encrypted is hidden from every other rule and from every reader.",
    advice: "embed data in plain form; where it must be compressed (a dictionary, a picture), say in README.md what \
             it is",
    check: Check::Any(check),
};

/// Bytes that are judged together. Of 4096 random bytes the measured entropy is 7.955 with a deviation of 0.006, so
/// that 7.9 lies nine deviations below; compressed text is at 7.93 and above, machine code below 6.8.
const WINDOW: usize = 4096;
const RANDOM: f32 = 7.9;
/// More even than chance: a permutation table, such as those of AES.
const TOO_EVEN: f32 = 7.985;

fn check(context: &Context<'_>, findings: &mut Findings) {
    for (carrier, bytes) in context.carriers.iter().enumerate() {
        let mut opaque = bytes.data.chunks_exact(WINDOW).enumerate().filter(|(_, window)| looks_random(window));
        if let Some((first, _)) = opaque.next() {
            let size = (1 + opaque.count()) * WINDOW;
            let place = context.place(Origin { carrier, at: first * WINDOW, width: 1 });
            let message = format!("about {} KiB of data look random: compressed or encrypted", size >> 10);
            findings.warning(&place, message, RULE.advice);
        }
    }
    if context.strings.left_out > 0 {
        let message = format!("there are {} more texts than are looked at", context.strings.left_out);
        findings.warning("component", message, RULE.advice);
    }
    for (start, token) in long_tokens(&context.strings.text, WINDOW) {
        if let Some(encoding) = encoding(&token) {
            let place = context.place(context.strings.origin(start));
            let message = format!("{} KiB of data look random and are written as {encoding}", token.len() >> 10);
            findings.warning(&place, message, RULE.advice);
        }
    }
}

fn looks_random(window: &[u8]) -> bool {
    let entropy = entropy(window);
    (RANDOM..TOO_EVEN).contains(&entropy) && !is_numbers(window)
}

/// Bits a byte.
fn entropy(bytes: &[u8]) -> f32 {
    /// `n · log2(n)`.
    static WEIGHTS: LazyLock<Vec<f32>> =
        LazyLock::new(|| (0..=WINDOW).map(|n| if n == 0 { 0.0 } else { n as f32 * (n as f32).log2() }).collect());
    let mut counts = [0_u16; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let weights: f32 = counts.iter().map(|count| WEIGHTS[usize::from(*count)]).sum();
    (bytes.len() as f32).log2() - weights / bytes.len() as f32
}

/// Whether it is a table of numbers of up to 16 bytes: one bit of one column is the same in all rows, be it a sign or
/// the highest bit of a mantissa (as in the powers of ten by which Rust reads and writes floats).
fn is_numbers(window: &[u8]) -> bool {
    let (mut and, mut or) = ([0xff_u8; 16], [0_u8; 16]);
    for row in window.chunks_exact(16) {
        for (column, byte) in row.iter().enumerate() {
            and[column] &= byte;
            or[column] |= byte;
        }
    }
    and.iter().any(|bits| *bits != 0) || or.iter().any(|bits| *bits != 0xff)
}

/// How random bytes are written in `token`, if they are.
fn encoding(token: &str) -> Option<&'static str> {
    // Any part of it: what is calm at first may go on otherwise.
    let last = token.len().saturating_sub(WINDOW);
    let starts = (0..last).step_by(WINDOW / 2).chain([last]);
    starts.filter_map(|at| token.as_bytes().get(at..at + WINDOW)).find_map(|sample| {
        let entropy = entropy(sample);
        if sample.iter().all(u8::is_ascii_hexdigit) {
            // Of 16 digits 4 bits.
            return (entropy > 3.9).then_some("hexadecimal digits");
        }
        // Of 64 digits 6 bits; names and words in a row have less than 5.
        (entropy > 5.8).then_some("base64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Xorshift: random enough, and the same each time.
    fn random(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
    }

    #[test]
    fn random_data_is_told_from_tables() {
        assert!(looks_random(&random(WINDOW)));
        let mut mantissas = random(WINDOW);
        mantissas.iter_mut().skip(7).step_by(8).for_each(|byte| *byte |= 0x80);
        assert!(!looks_random(&mantissas));
        let permutation: Vec<u8> = (0..WINDOW).map(|n| (n * 167 % 256) as u8).collect();
        assert!(!looks_random(&permutation));
        let text: Vec<u8> =
            b"Plain text has about four and a half bits. ".iter().copied().cycle().take(WINDOW).collect();
        assert!(!looks_random(&text));
    }

    #[test]
    fn encoded_random_data_is_found() {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        assert_eq!(encoding(&STANDARD.encode(random(WINDOW))), Some("base64"));
        assert_eq!(encoding(&hex::encode(random(WINDOW))), Some("hexadecimal digits"));
        assert_eq!(encoding(&"structIssueStructNewIssue_with_6_elements".repeat(200)), None);
        assert_eq!(encoding(&"0123456789".repeat(500)), None);
        let behind = "a".repeat(2 * WINDOW) + &STANDARD.encode(random(2 * WINDOW));
        assert_eq!(encoding(&behind), Some("base64"));
    }
}
