//! DSSE envelopes (secure-systems-lab/dsse, protocol v1) over one statement: this name, this version, this digest.
//!
//! Strict where the standard leaves room: one payload type, exactly one signature, canonical base64, no unknown
//! keys, bounded sizes. The key id is a hint for messages and chooses nothing.

use super::identity::SigningIdentity;
use super::key::{BadSignature, PublicKey};
use crate::package::Package;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use sophon_types::{CanonicalJson, Digest, Fault, FaultKind, SkillName, Stage, Version};

const PAYLOAD_TYPE: &str = "application/vnd.sophon.skill+json";
const MAX_ENVELOPE: usize = 16 * 1024;
const MAX_PAYLOAD: usize = 4 * 1024;

/// What a signature states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The skill.
    pub name: SkillName,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the whole archive.
    pub digest: Digest,
}

/// A signed statement. That it was read says nothing; see [`Envelope::is_signed_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    statement: Statement,
    signature: Vec<u8>,
    key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireEnvelope {
    payload_type: String,
    payload: String,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    #[serde(default)]
    keyid: Option<String>,
    sig: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStatement {
    name: SkillName,
    version: Version,
    digest: Digest,
}

impl Envelope {
    /// Signs a package.
    #[must_use]
    pub fn sign(identity: &SigningIdentity, package: &Package) -> Self {
        let manifest = package.manifest();
        let (name, version, digest) = (manifest.name.clone(), manifest.version.clone(), *package.digest());
        let payload = json!({ "name": name, "version": version, "digest": digest }).to_string().into_bytes();
        let signature = identity.sign(&encode(&payload)).to_vec();
        let key_id = Some(identity.public_key().fingerprint().to_string());
        Self { payload, statement: Statement { name, version, digest }, signature, key_id }
    }

    /// Reads an envelope. Nothing is verified yet.
    ///
    /// # Errors
    /// [`EnvelopeError`] where it is not exactly of our form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let wire: WireEnvelope = strict(bytes)?;
        if wire.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType);
        }
        let [signature] = <[WireSignature; 1]>::try_from(wire.signatures)
            .map_err(|signatures| EnvelopeError::Signatures(signatures.len()))?;
        let payload = decode(&wire.payload, "payload")?;
        if payload.len() > MAX_PAYLOAD {
            return Err(EnvelopeError::TooLarge(payload.len()));
        }
        let WireStatement { name, version, digest } = strict(&payload)?;
        let key_id = signature.keyid.filter(|id| id.len() <= 128);
        let signature = decode(&signature.sig, "signature")?;
        if signature.len() != 64 {
            return Err(EnvelopeError::Form(format!("a signature has 64 bytes, this one {}", signature.len())));
        }
        Ok(Self { payload, statement: Statement { name, version, digest }, signature, key_id })
    }

    /// The envelope as JSON, ending in a line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut signature = json!({ "sig": STANDARD.encode(&self.signature) });
        if let Some(key_id) = &self.key_id {
            signature["keyid"] = Value::from(key_id.as_str());
        }
        let envelope = json!({
            "payloadType": PAYLOAD_TYPE,
            "payload": STANDARD.encode(&self.payload),
            "signatures": [signature],
        });
        format!("{envelope}\n")
    }

    /// What is claimed to be signed.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The key id that the envelope names: a claim of whoever made it, for messages only.
    #[must_use]
    pub fn claimed_key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Whether `key` signed the statement.
    ///
    /// # Errors
    /// [`BadSignature`] where it did not.
    pub fn is_signed_by(&self, key: &PublicKey) -> Result<(), BadSignature> {
        key.verify(&encode(&self.payload), &self.signature)
    }
}

/// DSSE's pre-authentication encoding: type and payload, each with its length, so that no pair reads as another.
fn encode(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

/// JSON with each key once and none unknown.
fn strict<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, EnvelopeError> {
    let json = CanonicalJson::parse(bytes).map_err(|error| EnvelopeError::Form(error.to_string()))?;
    serde_json::from_value(json.into_value()).map_err(|error| EnvelopeError::Form(error.to_string()))
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, EnvelopeError> {
    STANDARD.decode(text).map_err(|error| EnvelopeError::Form(format!("the {what} is not canonical base64: {error}")))
}

/// Why bytes are no envelope of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// More bytes than any honest envelope has.
    #[error("the signature file is too large: {0} bytes")]
    TooLarge(usize),
    /// The payload is of another type: a signature that was made for something else.
    #[error("the signature is not of the type {PAYLOAD_TYPE}")]
    PayloadType,
    /// There is not exactly one signature.
    #[error("the signature file holds {0} signatures instead of one")]
    Signatures(usize),
    /// Not the JSON that is expected.
    #[error("the signature file is malformed: {0}")]
    Form(String),
}

impl Fault for EnvelopeError {
    fn stage(&self) -> Stage {
        Stage::Signature
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Untrusted
    }
    fn code(&self) -> &'static str {
        "invalid_signature_file"
    }
    fn hint(&self) -> Option<String> {
        Some("get the .dsse.json file that belongs to the package, or sign it again with `sophon sign`".into())
    }
}
