//! The mutual handshake: who is there, proven by a signature over a fresh nonce (gen-1 §5.2).
//!
//! The gen-1 signature says nothing about who verifies it or over which connection, so its receiver can pass it on as its own.
//! Between our own kind each side therefore also sends a `proof`: a signature over everything it says, the other device's id,
//! the direction and the connection itself (`ProofFor`).
//!
//! Pure: the caller supplies nonces, time and the trust look-up. We check one thing more than
//! gen-1 nodes do: a device id must be the hash of its public key.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::base::canonical::{Digest, to_canonical};
use crate::domain::base::ids::reads_as_id;
use crate::domain::base::limits::{CAPABILITIES_MAX, HANDSHAKE_SKEW_MAX_MS, NAME_MAX_BYTES};
use crate::domain::base::{Code, DeviceId, MeshId, Refusal, TimeMs};
use crate::domain::identity::{DeviceKey, PublicKey, Signature};

/// Our extensions of the gen-1 protocol, each used only where both sides name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// Frames carry origin signatures.
    Sig,
    /// Frames carry hybrid logical timestamps.
    Hlc,
    /// Frames carry a per-origin sequence number.
    Seq,
    /// Many frames travel in one message.
    Batch,
    /// The receiver says how much it takes.
    Credit,
    /// Two nodes find out what each lacks.
    Reconcile,
    /// Drafts, proposal records and their states travel between nodes.
    Proposals,
    /// Signed decisions travel between nodes.
    Approvals,
    /// Operator records and revocations travel between nodes.
    Revocations,
    /// Frames are pushed along a tree and only offered over other links.
    Tree,
    /// Links that are not needed end, and the side that accepted one says whether it is.
    View,
    /// Planners tell who leads, and pass questions on to the leader.
    Lease,
    /// Flow control of a model's reply: pieces are sent as far as the asker has taken those before.
    Infer,
    /// Private frames are taken from their origin alone and never passed on.
    Private,
    /// A planner that answers another device's question says which actions that device may ask for, and a draft who led to it.
    Wishes,
    /// Standing approvals travel to the executor that they name.
    Standing,
    /// A held action is renewed and released over the link of the device that asked for it.
    Hold,
    /// A node tells over its links when what it offers has changed.
    Offers,
    /// Nodes that run the same bot tell who answers.
    Answering,
    /// They do so for bots of other kinds than Telegram too.
    Bots,
    /// Messages to agents travel between nodes.
    Messages,
}

impl Feature {
    /// Everything this version speaks.
    pub const OURS: [Feature; 21] = [
        Feature::Sig,
        Feature::Hlc,
        Feature::Seq,
        Feature::Batch,
        Feature::Credit,
        Feature::Reconcile,
        Feature::Proposals,
        Feature::Approvals,
        Feature::Revocations,
        Feature::Tree,
        Feature::View,
        Feature::Lease,
        Feature::Infer,
        Feature::Private,
        Feature::Wishes,
        Feature::Standing,
        Feature::Hold,
        Feature::Offers,
        Feature::Answering,
        Feature::Bots,
        Feature::Messages,
    ];

    fn name(self) -> &'static str {
        match self {
            Feature::Sig => "sig",
            Feature::Hlc => "hlc",
            Feature::Seq => "seq",
            Feature::Batch => "batch",
            Feature::Credit => "credit",
            Feature::Reconcile => "reconcile",
            Feature::Proposals => "proposals",
            Feature::Approvals => "approvals",
            Feature::Revocations => "revocations",
            Feature::Tree => "tree",
            Feature::View => "view",
            Feature::Lease => "lease",
            Feature::Infer => "infer",
            Feature::Private => "private",
            Feature::Wishes => "wishes",
            Feature::Standing => "standing",
            Feature::Hold => "hold",
            Feature::Offers => "offers",
            Feature::Answering => "answering",
            Feature::Bots => "bots",
            Feature::Messages => "messages",
        }
    }
}

/// Domain separator of a proof; the version grows with its content.
const PROOF_DOMAIN: &[u8] = b"clawmesh/handshake/v1\n";

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It opened the connection.
    Dialer,
    /// It accepted the connection.
    Acceptor,
}

/// For whom and over what a proof is made. A proof made for another device, direction or connection
/// is worth nothing here.
#[derive(Debug, Clone, Copy)]
pub struct ProofFor<'a> {
    /// The device that is to verify it.
    pub verifier: &'a DeviceId,
    /// Which end signs.
    pub signer: End,
    /// A value known only to the two ends of this very connection.
    pub channel: &'a str,
    /// A digest of the other end's message before, so that alteration on the way is noticed; the dialer speaks first and has
    /// heard nothing.
    pub heard: Option<Digest>,
}

impl ProofFor<'_> {
    fn text(&self, said: Digest) -> Vec<u8> {
        let end = match self.signer {
            End::Dialer => "dialer",
            End::Acceptor => "acceptor",
        };
        let heard = self.heard.map(Digest::to_hex).unwrap_or_default();
        // Fixed order, one part a line; none of the parts holds a line break.
        let parts = [
            self.verifier.as_str(),
            end,
            self.channel,
            &heard,
            &said.to_hex(),
        ];
        [PROOF_DOMAIN, parts.join("\n").as_bytes()].concat()
    }
}

/// The digest of all that a side says: every member but the signatures over it.
fn said(map: &Map<String, Value>) -> Digest {
    let mut bare = map.clone();
    bare.remove("signature");
    bare.remove("proof");
    // A number that is not finite cannot come out of JSON; a digest of nothing verifies nothing.
    let canonical = to_canonical(&Value::Object(bare)).unwrap_or_default();
    Digest::of(&[&canonical])
}

/// One side's claims in the handshake; both directions have the same members.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// Who it claims to be.
    pub device_id: DeviceId,
    /// The key it claims to hold.
    pub public_key: PublicKey,
    /// Its signature over the other side's nonce.
    pub signature: Signature,
    /// When it signed, by its own clock.
    pub signed_at: TimeMs,
    /// The nonce it answers.
    pub nonce: String,
    /// The nonce it wants answered; only a client sends one.
    pub client_nonce: Option<String>,
    /// A name for people; not signed.
    pub display_name: Option<String>,
    /// Its claimed capabilities; not signed, so it routes work but proves nothing.
    pub capabilities: Vec<String>,
    /// The mesh it belongs to.
    pub mesh_id: Option<String>,
    /// Its role, as text.
    pub role: Option<String>,
    /// The additions it speaks; empty for a gen-1 node. Worth nothing before the proof is checked.
    pub features: BTreeSet<Feature>,
    /// Its signature over all of this for one verifier and one connection; a gen-1 node has none.
    pub proof: Option<Signature>,
    /// The digest of everything it says.
    pub said: Digest,
}

/// This node's claims, before they are signed.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Our name for people.
    pub display_name: String,
    /// Our capabilities.
    pub capabilities: Vec<String>,
    /// Our mesh.
    pub mesh_id: MeshId,
    /// Our role.
    pub role: String,
}

impl Introduction {
    /// Our side of the handshake as JSON members, signed over `nonce` as gen-1 does, and with a proof
    /// where `proof` says for whom.
    pub fn sign(
        &self,
        key: &DeviceKey,
        nonce: &str,
        client_nonce: Option<&str>,
        now: TimeMs,
        proof: Option<ProofFor<'_>>,
    ) -> Map<String, Value> {
        let text = signed_text(
            key.id().as_str(),
            now,
            nonce,
            Some(self.mesh_id.as_str()),
            Some(&self.role),
        );
        let features: Vec<&str> = Feature::OURS.iter().map(|f| f.name()).collect();
        let mut out = Map::new();
        out.insert("deviceId".into(), key.id().as_str().into());
        out.insert("publicKey".into(), key.public().to_text().into());
        out.insert(
            "signature".into(),
            key.sign(text.as_bytes()).to_text().into(),
        );
        out.insert("signedAtMs".into(), now.0.into());
        out.insert("nonce".into(), nonce.into());
        out.insert("displayName".into(), self.display_name.clone().into());
        out.insert("capabilities".into(), self.capabilities.clone().into());
        out.insert("meshId".into(), self.mesh_id.as_str().into());
        out.insert("role".into(), self.role.clone().into());
        out.insert("features".into(), features.into());
        if let Some(client_nonce) = client_nonce {
            out.insert("version".into(), 2.into());
            out.insert("clientNonce".into(), client_nonce.into());
        }
        if let Some(proof) = proof {
            prove(&mut out, key, proof);
        }
        out
    }

    /// The same for a device that is known to be of our own kind: the gen-1 signature, which could be
    /// passed on to others, is left out; the proof stands in its place.
    pub fn sign_for_kin(
        &self,
        key: &DeviceKey,
        nonce: &str,
        client_nonce: Option<&str>,
        now: TimeMs,
        proof: ProofFor<'_>,
    ) -> Map<String, Value> {
        let mut out = self.sign(key, nonce, client_nonce, now, Some(proof));
        if let Some(signed) = out.get("proof").cloned() {
            out.insert("signature".into(), signed);
        }
        out
    }
}

/// Adds the proof over everything that is said, once nothing changes any more.
pub fn prove(hello: &mut Map<String, Value>, key: &DeviceKey, made: ProofFor<'_>) {
    let signed = key.sign(&made.text(said(hello)));
    hello.insert("proof".into(), signed.to_text().into());
}

/// The text both sides sign: seven fixed positions, absent is empty, each part encoded.
pub fn signed_text(
    device: &str,
    signed_at: TimeMs,
    nonce: &str,
    mesh: Option<&str>,
    role: Option<&str>,
) -> String {
    let part = |text: Option<&str>| encode_uri_component(text.unwrap_or_default());
    format!(
        "mesh.connect|v2|{}|{}|{}|{}|{}",
        part(Some(device)),
        signed_at.0,
        part(Some(nonce)),
        part(mesh),
        part(role)
    )
}

/// ECMAScript's `encodeURIComponent` (ECMA-262 §19.2.6.4).
fn encode_uri_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn text<'a>(map: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    map.get(member)
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
}

fn short_text(map: &Map<String, Value>, member: &str) -> Result<Option<String>, Refusal> {
    match map.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(t)) if t.len() <= NAME_MAX_BYTES && !t.chars().any(char::is_control) => {
            Ok(Some(t.clone()).filter(|t| !t.is_empty()))
        }
        Some(_) => Err(params(format!(
            "{member} must be a text of at most {NAME_MAX_BYTES} bytes"
        ))),
    }
}

fn params(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

impl Hello {
    /// Reads the parameters of `mesh.connect` or the payload of its reply.
    ///
    /// # Errors
    /// `INVALID_PARAMS` naming the member; `AUTH_NONCE_REQUIRED` without a nonce.
    pub fn parse(map: &Map<String, Value>, from_client: bool) -> Result<Hello, Refusal> {
        let missing = || params("missing required mesh.connect params");
        let device_id = text(map, "deviceId").ok_or_else(missing)?;
        let public_key = text(map, "publicKey").ok_or_else(missing)?;
        let signature = text(map, "signature").ok_or_else(missing)?;
        let signed_at = map
            .get("signedAtMs")
            .and_then(Value::as_u64)
            .ok_or_else(missing)?;
        let client_nonce = short_text(map, "clientNonce")?;
        if from_client && client_nonce.is_none() {
            return Err(params("missing clientNonce for mutual authentication"));
        }
        let nonce = text(map, "nonce")
            .filter(|n| n.len() <= NAME_MAX_BYTES)
            .ok_or_else(|| {
                Refusal::new(
                    Code::AuthNonceRequired,
                    "mesh.connect requires a server-issued nonce; call mesh.challenge first",
                )
            })?;
        Ok(Hello {
            device_id: device_id
                .parse()
                .map_err(|e| params(format!("deviceId: {e}")))?,
            public_key: PublicKey::from_text(public_key)
                .map_err(|e| params(format!("publicKey: {e}")))?,
            signature: Signature::from_text(signature)
                .map_err(|e| params(format!("signature: {e}")))?,
            signed_at: TimeMs(signed_at),
            nonce: nonce.to_owned(),
            client_nonce,
            // A name that reads as an id would be taken for another device's.
            display_name: short_text(map, "displayName")?.filter(|name| !reads_as_id(name)),
            capabilities: capabilities(map)?,
            mesh_id: short_text(map, "meshId")?,
            role: short_text(map, "role")?,
            features: features(map),
            proof: text(map, "proof")
                .map(Signature::from_text)
                .transpose()
                .map_err(|e| params(format!("proof: {e}")))?,
            said: said(map),
        })
    }

    /// Whether the proof is the claimed key's, over all that was said, for this verifier and this
    /// connection.
    ///
    /// # Errors
    /// `AUTH_FAILED`, with the reason.
    pub fn check_proof(
        &self,
        nonce: &str,
        made: &ProofFor<'_>,
        now: TimeMs,
    ) -> Result<(), Refusal> {
        self.check_claims(nonce)?;
        let verifies = self
            .proof
            .as_ref()
            .is_some_and(|p| self.public_key.verify_strict(&made.text(self.said), p));
        if !verifies {
            return Err(Refusal::new(
                Code::AuthFailed,
                "the proof was not made for this device and this connection, or what was said with it has been altered on the way",
            ));
        }
        self.check_clock(now)
    }

    /// Whether it was signed recently by our clock.
    ///
    /// # Errors
    /// `AUTH_FAILED`, with how far the clocks differ.
    pub fn check_clock(&self, now: TimeMs) -> Result<(), Refusal> {
        let skew = now.distance(self.signed_at);
        if skew > HANDSHAKE_SKEW_MAX_MS {
            return Err(Refusal::new(
                Code::AuthFailed,
                format!(
                    "the clocks differ by {} s, more than the {} s a handshake allows; set the clock of one side",
                    skew / 1000,
                    HANDSHAKE_SKEW_MAX_MS / 1000
                ),
            ));
        }
        Ok(())
    }

    /// Checks for both kinds of signature: an id that is the key's hash, and our nonce.
    fn check_claims(&self, nonce: &str) -> Result<(), Refusal> {
        let failed = |why: String| Err(Refusal::new(Code::AuthFailed, why));
        if self.public_key.device_id() != self.device_id {
            return failed(format!(
                "device id {} is not the hash of the public key it came with",
                self.device_id.short()
            ));
        }
        if self.nonce != nonce {
            return failed("mesh peer signature verification failed".to_owned());
        }
        Ok(())
    }

    /// Whether the gen-1 signature is the claimed key's, over `nonce`, recent, and the id is the key's
    /// hash. It proves the key and nothing about who passed it on.
    ///
    /// # Errors
    /// `AUTH_FAILED`, with the reason.
    pub fn check_signature(&self, nonce: &str, now: TimeMs) -> Result<(), Refusal> {
        self.check_claims(nonce)?;
        let text = signed_text(
            self.device_id.as_str(),
            self.signed_at,
            nonce,
            self.mesh_id.as_deref(),
            self.role.as_deref(),
        );
        match self
            .public_key
            .verify_strict(text.as_bytes(), &self.signature)
        {
            true => self.check_clock(now),
            false => Err(Refusal::new(
                Code::AuthFailed,
                "mesh peer signature verification failed",
            )),
        }
    }

    /// Whether the other side belongs to our mesh; a missing mesh id passes, as in gen-1.
    ///
    /// # Errors
    /// `MESH_ID_MISMATCH`; our own mesh id is not told to a stranger.
    pub fn check_mesh(&self, ours: &MeshId) -> Result<(), Refusal> {
        match self.mesh_id.as_deref() {
            Some(theirs) if theirs != ours.as_str() => Err(Refusal::new(
                Code::MeshIdMismatch,
                "this node belongs to another mesh; start both with the same --mesh-name",
            )),
            _ => Ok(()),
        }
    }
}

/// What a device says it offers.
///
/// # Errors
/// `INVALID_PARAMS` for what is no list of short texts.
pub fn capabilities(map: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let list = match map.get("capabilities") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= CAPABILITIES_MAX => list,
        Some(_) => {
            return Err(params(format!(
                "capabilities must be a list of at most {CAPABILITIES_MAX} texts"
            )));
        }
    };
    list.iter()
        .map(|item| match item.as_str() {
            Some(t) if t.len() <= NAME_MAX_BYTES => Ok(t.to_owned()),
            _ => Err(params(format!(
                "each capability must be a text of at most {NAME_MAX_BYTES} bytes"
            ))),
        })
        .collect()
}

fn features(map: &Map<String, Value>) -> BTreeSet<Feature> {
    let names = map
        .get("features")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let named = |f: &Feature| names.iter().take(64).any(|n| n.as_str() == Some(f.name()));
    Feature::OURS.into_iter().filter(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(mutate: impl FnOnce(&mut Map<String, Value>)) -> Result<Hello, Refusal> {
        let key = DeviceKey::from_seed(&[3; 32]);
        let intro = Introduction {
            display_name: "n".into(),
            capabilities: vec!["channel:clawmesh".into()],
            mesh_id: MeshId::of_name("demo"),
            role: "field".into(),
        };
        let mut map = intro.sign(&key, "nonce-1", Some("c"), TimeMs(1_000_000), None);
        mutate(&mut map);
        Hello::parse(&map, true)
    }

    #[test]
    fn our_own_hello_verifies() {
        let hello = hello(|_| {}).unwrap();
        assert_eq!(hello.check_signature("nonce-1", TimeMs(1_000_500)), Ok(()));
        assert_eq!(hello.check_mesh(&MeshId::of_name("demo")), Ok(()));
        assert_eq!(hello.features.len(), Feature::OURS.len());
    }

    #[test]
    fn every_lie_has_its_code() {
        let refused = |h: Hello, nonce: &str, now: u64| {
            h.check_signature(nonce, TimeMs(now)).unwrap_err().code
        };
        assert_eq!(
            refused(hello(|_| {}).unwrap(), "other", 1_000_000),
            Code::AuthFailed
        );
        assert_eq!(
            refused(hello(|_| {}).unwrap(), "nonce-1", 4_700_000),
            Code::AuthFailed
        );
        let role = hello(|m| drop(m.insert("role".into(), "planner".into()))).unwrap();
        assert_eq!(refused(role, "nonce-1", 1_000_000), Code::AuthFailed);
        let other = DeviceKey::from_seed(&[4; 32]);
        let id = hello(|m| drop(m.insert("deviceId".into(), other.id().as_str().into()))).unwrap();
        assert!(
            id.check_signature("nonce-1", TimeMs(1_000_000))
                .unwrap_err()
                .message
                .contains("not the hash")
        );
        assert_eq!(
            hello(|m| drop(m.remove("clientNonce"))).unwrap_err().code,
            Code::InvalidParams
        );
        assert_eq!(
            hello(|m| drop(m.remove("nonce"))).unwrap_err().code,
            Code::AuthNonceRequired
        );
        let mesh = hello(|_| {})
            .unwrap()
            .check_mesh(&MeshId::of_name("x"))
            .unwrap_err();
        assert_eq!(mesh.code, Code::MeshIdMismatch);
        assert!(
            !mesh.message.contains(MeshId::of_name("x").as_str()),
            "our mesh id must not leak"
        );
    }

    #[test]
    fn a_proof_is_worth_nothing_for_another_device_direction_connection_or_text() {
        let key = DeviceKey::from_seed(&[3; 32]);
        let (verifier, other) = (
            DeviceKey::from_seed(&[5; 32]),
            DeviceKey::from_seed(&[6; 32]),
        );
        let intro = Introduction {
            display_name: "n".into(),
            capabilities: vec!["channel:clawmesh".into()],
            mesh_id: MeshId::of_name("demo"),
            role: "field".into(),
        };
        let made = ProofFor {
            verifier: verifier.id(),
            signer: End::Dialer,
            channel: "tcp 1 2",
            heard: None,
        };
        let now = TimeMs(1_000_000);
        let map = intro.sign_for_kin(&key, "n1", Some("c"), now, made);
        let hello = Hello::parse(&map, true).unwrap();
        assert_eq!(hello.check_proof("n1", &made, now), Ok(()));
        assert!(
            hello.check_signature("n1", now).is_err(),
            "no gen-1 signature is left that could be passed on"
        );
        let heard = Some(Digest::of(&[b"x"]));
        let others = [
            ProofFor {
                verifier: other.id(),
                ..made
            },
            ProofFor {
                signer: End::Acceptor,
                ..made
            },
            ProofFor {
                channel: "tcp 1 3",
                ..made
            },
            ProofFor { heard, ..made },
        ];
        for wrong in others {
            assert!(hello.check_proof("n1", &wrong, now).is_err(), "{wrong:?}");
        }
        assert!(
            hello.check_proof("n2", &made, now).is_err(),
            "another nonce"
        );
        let alter: [(&str, Value); 5] = [
            ("features", serde_json::json!(["sig"])),
            ("capabilities", serde_json::json!(["actuator:pump:main"])),
            ("displayName", "other".into()),
            ("role", "planner".into()),
            ("clientNonce", "d".into()),
        ];
        for (member, value) in alter {
            let mut map = map.clone();
            map.insert(member.into(), value);
            let altered = Hello::parse(&map, true).unwrap();
            assert!(altered.check_proof("n1", &made, now).is_err(), "{member}");
        }
    }

    #[test]
    fn encodes_like_ecmascript() {
        assert_eq!(encode_uri_component("a b|ü!~*'()"), "a%20b%7C%C3%BC!~*'()");
    }
}
