//! URLs in an assembly of .NET, whose literals are UTF-16 (ECMA-335, II.24.2.4), wherever in the file they stand.

/// How one begins.
const BEGINNING: &[u8] = b"h\0t\0t\0p\0";
/// Characters of one that are looked at.
const MOST: usize = 2048;

/// The texts of `data` that begin as URLs do, and where they begin. One ends with the first character that is no visible
/// ASCII: between two literals there is none.
pub(super) fn urls(data: &[u8]) -> impl Iterator<Item = (usize, String)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + data.get(from..)?.windows(BEGINNING.len()).position(|window| window == BEGINNING)?;
        let units = data[at..].chunks_exact(2).take(MOST);
        let visible =
            units.map_while(|unit| (unit[1] == 0 && (0x20..0x7f).contains(&unit[0])).then_some(char::from(unit[0])));
        let text: String = visible.collect();
        from = at + 2 * text.len();
        Some((at, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a heap of literals has it: length, text, a byte that says what is in it.
    fn literal(text: &str) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(text.len() * 2 + 1).unwrap()];
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        bytes.push(0);
        bytes
    }

    #[test]
    fn literals_are_read_wherever_they_stand() {
        for before in [&b""[..], b"x", b"xy", b"\0h\0t\0t", b"http"] {
            let literals = ["https://api.example.net/v1", "other", "http://", "https://b.example.net/?q={0}"];
            let data: Vec<u8> = before.iter().copied().chain(literals.iter().flat_map(|text| literal(text))).collect();
            let found: Vec<String> = urls(&data).map(|(_, text)| text).collect();
            assert_eq!(found, ["https://api.example.net/v1", "http://", "https://b.example.net/?q={0}"], "{before:?}");
            assert!(urls(&data).all(|(at, _)| data[at..].starts_with(BEGINNING)));
        }
        assert_eq!(urls(b"https://narrow.example.net").count(), 0);
        assert_eq!(urls(&BEGINNING[..7]).count(), 0);
    }
}
