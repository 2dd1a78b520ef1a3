use super::*;
use crate::testing::{identity, manifest, package};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};
use sophon_corpora::{Figure, rows};

fn signed() -> Value {
    serde_json::from_str(&Envelope::sign(&identity(1), &package(&manifest())).to_json()).unwrap()
}

fn parse(envelope: &Value) -> Result<Envelope, EnvelopeError> {
    Envelope::parse(envelope.to_string().as_bytes())
}

#[test]
fn attack_33_strict_verdicts_match_the_vectors() {
    let Some(rows) = rows::<Value>("crypto_vectors") else { return };
    let mut figure = Figure::new("crypto_vectors", "verdict agrees");
    let rows: Vec<_> = rows.into_iter().filter(|row| row["alg"] == "ed25519").collect();
    assert!(rows.len() >= 150);
    for row in rows {
        let bytes = |key: &str| hex::decode(row[key].as_str().unwrap()).unwrap();
        let key: Result<[u8; 32], _> = bytes("pk").try_into();
        let key = key.map_err(|_length| KeyError).and_then(|key| PublicKey::from_bytes(&key));
        let valid = key.is_ok_and(|key| key.verify(&bytes("msg"), &bytes("sig")).is_ok());
        assert_eq!(valid, row["expect"] == "valid", "{row}");
        figure.count("ed25519", true);
    }
    figure.publish();
}

#[test]
fn an_envelope_reads_back_and_verifies() {
    let package = package(&manifest());
    let envelope = Envelope::sign(&identity(1), &package);
    let back = Envelope::parse(envelope.to_json().as_bytes()).unwrap();
    assert_eq!(back, envelope);
    assert_eq!(back.statement().digest, *package.digest());
    assert_eq!(back.is_signed_by(&identity(1).public_key()), Ok(()));
    assert_eq!(back.is_signed_by(&identity(2).public_key()), Err(BadSignature));
}

/// DSSE v1, protocol.md: what is signed is not the payload but `PAE(type, payload)`.
#[test]
fn the_signed_bytes_are_the_pre_authentication_encoding() {
    let envelope = Envelope::sign(&identity(1), &package(&manifest()));
    let json: Value = serde_json::from_str(&envelope.to_json()).unwrap();
    let payload = STANDARD.decode(json["payload"].as_str().unwrap()).unwrap();
    let signature = STANDARD.decode(json["signatures"][0]["sig"].as_str().unwrap()).unwrap();
    let kind = "application/vnd.sophon.skill+json";
    let message = [format!("DSSEv1 33 {kind} {} ", payload.len()).as_bytes(), &payload].concat();
    assert_eq!(kind.len(), 33);
    assert_eq!(identity(1).public_key().verify(&message, &signature), Ok(()));
    assert_eq!(identity(1).public_key().verify(&payload, &signature), Err(BadSignature));
}

#[test]
fn attack_34_algorithm_confusion_and_malformed_envelopes_are_refused() {
    let check = |what: &str, edit: &dyn Fn(&mut Value)| {
        let mut envelope = signed();
        edit(&mut envelope);
        assert!(parse(&envelope).is_err(), "{what} is accepted");
    };
    assert!(parse(&signed()).is_ok());
    check("another payload type", &|e| e["payloadType"] = json!("application/vnd.in-toto+json"));
    check("an algorithm of the attacker's choice", &|e| e["alg"] = json!("none"));
    check("an algorithm at the signature", &|e| e["signatures"][0]["alg"] = json!("HS256"));
    check("no signature", &|e| e["signatures"] = json!([]));
    check("two signatures", &|e| {
        let one = e["signatures"][0].clone();
        e["signatures"].as_array_mut().unwrap().push(one);
    });
    check("an empty signature", &|e| e["signatures"][0]["sig"] = json!(""));
    check("a short signature", &|e| e["signatures"][0]["sig"] = json!(STANDARD.encode([0; 63])));
    check("a long signature", &|e| e["signatures"][0]["sig"] = json!(STANDARD.encode([0; 65])));
    check("base64 without padding", &|e| {
        let sig = e["signatures"][0]["sig"].as_str().unwrap().trim_end_matches('=').to_owned();
        e["signatures"][0]["sig"] = json!(sig);
    });
    check("base64 of the URL alphabet", &|e| e["payload"] = json!("-_-_"));
    check("base64 with white space", &|e| e["payload"] = json!(format!("{}\n", e["payload"].as_str().unwrap())));
    check("an empty payload", &|e| e["payload"] = json!(""));
    check("a payload with a key too many", &|e| {
        let mut payload: Value =
            serde_json::from_slice(&STANDARD.decode(e["payload"].as_str().unwrap()).unwrap()).unwrap();
        payload["subject"] = json!([]);
        e["payload"] = json!(STANDARD.encode(payload.to_string()));
    });
    check("a payload with a key twice", &|e| {
        let payload = STANDARD.decode(e["payload"].as_str().unwrap()).unwrap();
        let twice = String::from_utf8(payload).unwrap().replacen('{', r#"{"name":"other","#, 1);
        e["payload"] = json!(STANDARD.encode(twice));
    });
    check("endless data", &|e| e["payload"] = json!("A".repeat(20_000)));
    assert!(Envelope::parse(&vec![b' '; 1 << 20]).is_err());
}

#[test]
fn identities_read_back_and_keep_their_secret() {
    let one = identity(7);
    let text = one.to_text();
    let back = SigningIdentity::from_text(&text).unwrap();
    assert_eq!(back.public_key(), one.public_key());
    assert_eq!(back.name(), "identity 7");
    let shown = format!("{one:?}");
    assert!(shown.contains(&one.public_key().to_string()));
    assert!(!shown.contains(&STANDARD.encode([7; 32])) && !shown.contains(&hex::encode([7; 32])));
    for bad in [
        "",
        "-----BEGIN SOPHON SIGNING KEY-----",
        &text.replace("name: ", "name:"),
        &text.replace("ed25519: ", "ed25519: A"),
    ] {
        assert!(SigningIdentity::from_text(bad).is_err(), "{bad:?}");
    }
    assert!(SigningIdentity::from_seed("", &[0; 32]).is_err());
    assert!(SigningIdentity::from_seed("a\nb", &[0; 32]).is_err());
}

#[test]
fn keys_have_one_text_and_weak_ones_are_refused() {
    let key = identity(3).public_key();
    let text = key.to_string();
    assert_eq!(text.parse(), Ok(key.clone()));
    assert_eq!(key.fingerprint().to_string().parse(), Ok(key.fingerprint()));
    for bad in
        ["", "ed25519:", &text[8..], &text.replace("ed25519", "rsa"), &format!("{text}="), &text.replace('=', "")]
    {
        assert_eq!(bad.parse::<PublicKey>(), Err(KeyError), "{bad:?}");
    }
    let mut identity_point = [0; 32];
    identity_point[0] = 1;
    assert_eq!(PublicKey::from_bytes(&identity_point), Err(KeyError));
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError));
    // y = p + 3 encodes the point of y = 3 a second time.
    let mut second_encoding = [0xff; 32];
    second_encoding[0] = 0xf0;
    second_encoding[31] = 0x7f;
    assert_eq!(PublicKey::from_bytes(&second_encoding), Err(KeyError));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        prop_assert!(Envelope::parse(&bytes).is_err());
        prop_assert!(SigningIdentity::from_text(&text).is_err());
        prop_assert!(text.parse::<PublicKey>().is_err());
    }

    #[test]
    fn attack_34_a_flipped_bit_never_verifies(bit in 0..512_usize) {
        let mut envelope = signed();
        let mut signature = STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
        signature[bit / 8] ^= 1 << (bit % 8);
        envelope["signatures"][0]["sig"] = json!(STANDARD.encode(signature));
        prop_assert_eq!(parse(&envelope).unwrap().is_signed_by(&identity(1).public_key()), Err(BadSignature));
    }
}
