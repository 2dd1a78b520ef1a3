//! Keys that the whole world can read: vendors' documentation and widely copied samples print them, and gitleaks names them in
//! its allowlists (MIT, `cmd/generate/config/rules/gcp.go` and `generic.go`). They have the form of a key that works, so only
//! their values tell them from one; an alarm at each page that quotes one teaches people to overlook alarms.

use sophon_types::Digest;

/// SHA-256 of each, in order; the keys themselves would set off every scanner that reads this file.
const DIGESTS: [&str; 9] = [
    "2f21fd9c81678e396751af8b2472e2bd209ff5ce38da144052fb6c024485982f",
    "3a8b61d0f636b007840c0d40ba12bcf48465dc054cdc1a68704a33521d84b665",
    "3f370c9dd8225c63b5c77de1f785edc9712958f18bb612d5fa2e0ae33aeca682",
    "49f777db995e8260da7ca9ffdf0c08d66f0453e97ec967018baf2cdfe3b582d0",
    "4c98242dcadc8b29005c6b4aad526552d5ea1842149154c0694adeec75847583",
    "8731261cb72d86267a32a532ebd3df429e2144e5e4ced7e13568bc9e6c8fb1b1",
    "a19f89ab3555eac10c40741f6df79ecf0935998f15569f8db9d67bce0181fff6",
    "a6c814bc555ae62c7bd8b58ec07bf559c7ed3a009976a1e0acc9cef0d4473b41",
    "eb540d2b6ee2a0a47c5779bc8a0141784c6b753840d4c6f4e2428a6e86e9e0b1",
];

/// Whether `key` is one of them. Asked of what was found only.
pub(super) fn is_published(key: &[u8]) -> bool {
    let digest = hex::encode(Digest::of(key).as_bytes());
    DIGESTS.binary_search(&&*digest).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_in_order_and_no_other_key_is_published() {
        assert!(DIGESTS.is_sorted());
        assert!(DIGESTS.iter().all(|digest| digest.len() == 64));
        let neighbour = format!("AIzaSy{}", "Zq3xWv9LmTk2PdRn7YcBs4HfJ8gAe6UoC");
        assert!(!is_published(neighbour.as_bytes()));
        let text = format!("at {neighbour}");
        assert_eq!(super::super::scan_secrets(&text)[0].rule, "gcp-api-key");
    }
}
