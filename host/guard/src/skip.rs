//! Passing over what is of no interest.

/// Bytes that are looked at together: without a branch between them, so that the compiler makes it a few instructions.
const BLOCK: usize = 32;

/// Where the first byte of interest is, as `Iterator::position`, many bytes at a time.
pub(crate) fn position(bytes: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let blocks = bytes.chunks_exact(BLOCK);
    let dull = blocks.take_while(|block| !block.iter().fold(false, |any, b| any | is(*b))).count();
    let at = dull * BLOCK;
    bytes[at..].iter().position(|b| is(*b)).map(|found| at + found)
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
                assert_eq!(position(&bytes, |b| b == b'<'), Some(at));
                assert_eq!(position(&bytes, |b| b == b'>'), None);
            }
        }
    }
}
