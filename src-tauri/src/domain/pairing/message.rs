//! What travels between two devices that pair, each part with a strict form and a bounded length.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Side, hash};
use crate::domain::base::limits::{NAME_MAX_BYTES, PAIRING_NAME_CHARS};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, DeviceId, Digest, MeshId, Refusal};
use crate::domain::identity::{DeviceKey, PublicKey, Signature};

/// Who somebody says it is, with a nonce that makes this pairing unlike any other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Persona {
    /// 32 fresh random bytes, base64url without padding.
    nonce: String,
    /// The device's key; its id is the hash of it.
    pub public_key: PublicKey,
    /// The device's name, as it came; [`Persona::shown_name`] is for people.
    name: String,
    /// The device's role, as it came.
    role: String,
    /// The mesh it is in.
    pub mesh_id: MeshId,
    /// Whether it was put into no mesh by name and trusts nobody yet.
    pub new: bool,
}

impl Persona {
    /// A device that introduces itself.
    pub fn new(
        nonce: &[u8; 32],
        key: &PublicKey,
        name: &str,
        role: &str,
        mesh_id: MeshId,
        new: bool,
    ) -> Self {
        Self {
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            public_key: *key,
            name: name.to_owned(),
            role: role.to_owned(),
            mesh_id,
            new,
        }
    }

    /// Reads a persona of the other side.
    ///
    /// # Errors
    /// `INVALID_PARAMS` with what is wrong.
    pub fn parse(value: Value) -> Result<Self, Refusal> {
        let persona: Persona = serde_json::from_value(value)
            .map_err(|e| bad(format!("the introduction does not read: {e}")))?;
        persona.check()?;
        Ok(persona)
    }

    fn check(&self) -> Result<(), Refusal> {
        let nonce = URL_SAFE_NO_PAD.decode(&self.nonce);
        if nonce.map(|n| n.len()) != Ok(32) {
            return Err(bad("the nonce is not 32 bytes as base64url".into()));
        }
        for (what, text) in [("name", &self.name), ("role", &self.role)] {
            if text.is_empty() || text.len() > NAME_MAX_BYTES {
                return Err(bad(format!("the {what} has not 1 to 128 bytes")));
            }
        }
        Ok(())
    }

    /// The device's id.
    pub fn device_id(&self) -> DeviceId {
        self.public_key.device_id()
    }

    /// Its name, fit to be shown on one line; the short id where nothing is left of it.
    pub fn shown_name(&self) -> String {
        match one_line(&self.name, PAIRING_NAME_CHARS).trim() {
            "" => self.device_id().short().to_owned(),
            name => name.to_owned(),
        }
    }

    /// Its role, fit to be shown.
    pub fn shown_role(&self) -> String {
        one_line(&self.role, PAIRING_NAME_CHARS)
    }

    /// Its mesh, fit to be shown.
    pub fn shown_mesh(&self) -> String {
        one_line(self.mesh_id.as_str(), PAIRING_NAME_CHARS)
    }

    fn parts(&self) -> [&[u8]; 6] {
        [
            self.nonce.as_bytes(),
            self.public_key.as_bytes(),
            self.name.as_bytes(),
            self.role.as_bytes(),
            self.mesh_id.as_str().as_bytes(),
            if self.new { b"new" } else { b"settled" },
        ]
    }

    /// What the initiator binds itself to.
    pub(super) fn commitment(&self) -> Digest {
        hash("clawmesh/pair/v1/commitment", &self.parts())
    }
}

/// Everything both sides said, as one digest.
pub(super) fn transcript(initiator: &Persona, acceptor: &Persona) -> Digest {
    let commitment = initiator.commitment();
    let mut parts: Vec<&[u8]> = vec![&commitment.0];
    parts.extend(acceptor.parts());
    parts.extend(initiator.parts());
    hash("clawmesh/pair/v1/transcript", &parts)
}

fn bad(why: String) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

/// The initiator's first word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Start {
    /// The version of these messages; 1.
    version: u32,
    /// What the initiator binds itself to, in hex.
    commitment: String,
}

impl Start {
    pub(super) fn new(commitment: Digest) -> Self {
        Self {
            version: 1,
            commitment: commitment.to_hex(),
        }
    }

    /// Reads a first word.
    ///
    /// # Errors
    /// `INVALID_PARAMS` with what is wrong.
    pub fn parse(value: Value) -> Result<Self, Refusal> {
        let start: Start =
            serde_json::from_value(value).map_err(|e| bad(format!("pair.start: {e}")))?;
        if start.version != 1 {
            return Err(bad(format!(
                "pairing version {} is not spoken here, only version 1; bring both nodes up to date",
                start.version
            )));
        }
        start.commitment()?;
        Ok(start)
    }

    pub(super) fn commitment(&self) -> Result<Digest, Refusal> {
        Digest::from_hex(&self.commitment)
            .ok_or_else(|| bad("the commitment is not 64 hex digits".into()))
    }
}

/// What the initiator had committed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reveal {
    /// The initiator.
    pub persona: Persona,
    /// That it has read the acceptor's link: a hash over the link's secret and the transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

impl Reveal {
    /// Reads a reveal.
    ///
    /// # Errors
    /// `INVALID_PARAMS` with what is wrong.
    pub fn parse(value: Value) -> Result<Self, Refusal> {
        let reveal: Reveal =
            serde_json::from_value(value).map_err(|e| bad(format!("pair.reveal: {e}")))?;
        reveal.persona.check()?;
        Ok(reveal)
    }
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The strings are the same.
    Yes,
    /// They are not, or the person does not want to.
    No,
}

/// What a person says, with the device's signature over it and the transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedVerdict {
    /// What it says.
    pub verdict: Verdict,
    /// Over side, verdict and transcript.
    pub signature: Signature,
}

fn signed_text(side: Side, verdict: Verdict, transcript: &Digest) -> [u8; 32] {
    let verdict: &[u8] = match verdict {
        Verdict::Yes => b"yes",
        Verdict::No => b"no",
    };
    let side = side.as_str().as_bytes();
    hash("clawmesh/pair/v1", &[side, verdict, &transcript.0]).0
}

impl SignedVerdict {
    pub(super) fn sign(
        side: Side,
        verdict: Verdict,
        transcript: &Digest,
        key: &DeviceKey,
    ) -> SignedVerdict {
        let text = [
            b"clawmesh/pair/v1\0".as_slice(),
            &signed_text(side, verdict, transcript),
        ]
        .concat();
        SignedVerdict {
            verdict,
            signature: key.sign(&text),
        }
    }

    /// Reads a verdict; whose it is, the comparison checks.
    ///
    /// # Errors
    /// `INVALID_PARAMS` with what is wrong.
    pub fn parse(value: Value) -> Result<Self, Refusal> {
        serde_json::from_value(value).map_err(|e| bad(format!("pair.verdict: {e}")))
    }

    pub(super) fn is_of(&self, side: Side, transcript: &Digest, key: &PublicKey) -> bool {
        let text = [
            b"clawmesh/pair/v1\0".as_slice(),
            &signed_text(side, self.verdict, transcript),
        ]
        .concat();
        key.verify_strict(&text, &self.signature)
    }
}
