//! Passing over what is of no interest.

/// Bytes that are looked at together: without a branch between them, so that the compiler makes it a few instructions.
const BLOCK: usize = 32;

/// Where the first byte of interest is, many bytes at a time. `is` is given a byte and the two that follow it (zeros at
/// the end), so that what begins a character does not stop the search where the character is of no interest; it is asked
/// only where `may` says so of the byte alone.
pub(crate) fn position(bytes: &[u8], may: impl Fn(u8) -> bool, is: impl Fn(u8, u8, u8) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some(window) = bytes.get(at..at + BLOCK + 2) {
        let (first, second, third) = (&window[..BLOCK], &window[1..=BLOCK], &window[2..]);
        if first.iter().fold(false, |any, a| any | may(*a)) {
            let each = first.iter().zip(second).zip(third);
            if each.fold(false, |any, ((a, b), c)| any | is(*a, *b, *c)) {
                break;
            }
        }
        at += BLOCK;
    }
    let next = |at: usize| bytes.get(at).copied().unwrap_or_default();
    (at..bytes.len()).find(|at| is(bytes[*at], next(at + 1), next(at + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_plain_search_finds() {
        for len in 0..100 {
            for at in 0..len {
                let mut bytes = vec![b'a'; len];
                bytes[at] = b'<';
                assert_eq!(position(&bytes, |_| true, |a, _, _| a == b'<'), Some(at));
                assert_eq!(position(&bytes, |a| a == b'<', |a, _, _| a == b'<'), Some(at));
                assert_eq!(position(&bytes, |_| true, |a, _, _| a == b'>'), None);
                let (last, before) = (at + 1 == len, at.checked_sub(1));
                assert_eq!(position(&bytes, |_| true, |a, b, _| a == b'a' && b == b'<'), before);
                assert_eq!(position(&bytes, |_| true, |_, _, c| c == b'<'), at.checked_sub(2));
                assert_eq!(position(&bytes, |_| true, |a, b, _| a == b'<' && b == 0), last.then_some(at));
            }
        }
    }
}
