//! DSSE envelopes: nothing is accepted that the trusted key has not signed, for any package but the one that it signed.
//!
//! The first byte chooses: an envelope as it comes, the genuine one damaged, its parts exchanged, a damaged package.
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sophon_fuzz::{FORGED_KEYS, Input, identity, package_files};
use sophon_skill::{Envelope, Package, Publisher, PublisherRole, Standing, TrustStore, Unsigned, pack, verify};
use std::sync::LazyLock;

/// The seed of the one key that is trusted.
const TRUSTED: u8 = 1;

struct Genuine {
    bytes: Vec<u8>,
    package: Package,
    envelope: Envelope,
    trust: TrustStore,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let bytes = pack(&package_files()).unwrap();
    let package = Package::read(bytes.clone()).unwrap();
    let key = identity(TRUSTED).public_key();
    let publisher = Publisher { key, name: "p".into(), role: PublisherRole::Publisher, standing: Standing::Trusted };
    let trust = TrustStore { publishers: vec![publisher], ..TrustStore::default() };
    let envelope = Envelope::sign(&identity(TRUSTED), &package);
    verify(package.clone(), Some(&envelope), &trust, Unsigned::Refuse).unwrap();
    Genuine { bytes, package, envelope, trust }
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => check(input.rest()),
        1 => {
            let mut text = GENUINE.envelope.to_json().into_bytes();
            input.damage(&mut text);
            check(&text);
        }
        2 => check(exchanged(&mut input).to_string().as_bytes()),
        _ => {
            let mut bytes = GENUINE.bytes.clone();
            input.damage(&mut bytes);
            if bytes != GENUINE.bytes
                && let Ok(package) = Package::read(bytes)
            {
                assert!(verify(package, Some(&GENUINE.envelope), &GENUINE.trust, Unsigned::Refuse).is_err());
            }
        }
    }
});

/// A well-formed envelope with a damaged payload or signature, or one made with another key.
fn exchanged(input: &mut Input<'_>) -> Value {
    let mut envelope: Value = serde_json::from_str(&GENUINE.envelope.to_json()).unwrap();
    let which = input.byte();
    if which & 4 != 0 {
        let forger = identity(FORGED_KEYS[usize::from(which & 1)]);
        let forged = Envelope::sign(&forger, &GENUINE.package).to_json();
        let forged: Value = serde_json::from_str(&forged).unwrap();
        envelope["signatures"][0]["sig"] = forged["signatures"][0]["sig"].clone();
    }
    let part = |value: &mut Value, input: &mut Input<'_>| {
        let mut bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
        input.damage(&mut bytes);
        *value = json!(STANDARD.encode(bytes));
    };
    if which & 1 == 0 {
        part(&mut envelope["payload"], input);
    }
    if which & 2 == 0 {
        part(&mut envelope["signatures"][0]["sig"], input);
    }
    envelope
}

fn check(text: &[u8]) {
    let Ok(envelope) = Envelope::parse(text) else { return };
    assert_eq!(Envelope::parse(envelope.to_json().as_bytes()).as_ref(), Ok(&envelope));
    let signed = envelope.is_signed_by(&identity(TRUSTED).public_key()).is_ok();
    if signed {
        // White space and the key id are nobody's promise; what is signed is.
        assert_eq!(envelope.statement(), GENUINE.envelope.statement());
    }
    let verified = verify(GENUINE.package.clone(), Some(&envelope), &GENUINE.trust, Unsigned::Refuse);
    assert_eq!(verified.is_ok(), signed);
    if let Ok(verified) = verified {
        assert_eq!(verified.signer(), Some(&identity(TRUSTED).public_key().fingerprint()));
    }
}
