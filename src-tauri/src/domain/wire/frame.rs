//! Context frames: what nodes tell each other about the world (gen-1 §7).
//!
//! A frame keeps its members as they came, unknown ones too, so that what its origin signed passes
//! unchanged through any number of hops and stores (invariant I7). `hops` is no part of it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::base::canonical::{to_canonical, write_canonical_without};
use crate::domain::base::limits::{
    FRAME_DATA_MAX_BYTES, NAME_MAX_BYTES, PRIVATE_DEVICES_MAX, TEXT_MAX_CHARS, TRUST_LIST_MAX,
};
use crate::domain::base::number::whole;
use crate::domain::base::tier::taint_of_sources;
use crate::domain::base::{
    Code, DeviceId, Digest, EvidenceSource, FrameId, Hlc, MeshId, Refusal, Taint, Tier, TimeMs,
};
use crate::domain::identity::{DeviceKey, Signature};

/// What a frame is about (gen-1 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// A reading.
    Observation,
    /// Something that happened.
    Event,
    /// Something a person said.
    HumanInput,
    /// Something a model concluded.
    Inference,
    /// What a node offers has changed.
    CapabilityUpdate,
    /// An answer of a planner.
    AgentResponse,
}

impl FrameKind {
    const NAMES: [(FrameKind, &'static str); 6] = [
        (FrameKind::Observation, "observation"),
        (FrameKind::Event, "event"),
        (FrameKind::HumanInput, "human_input"),
        (FrameKind::Inference, "inference"),
        (FrameKind::CapabilityUpdate, "capability_update"),
        (FrameKind::AgentResponse, "agent_response"),
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }

    /// The kind of a wire name.
    pub fn from_wire(name: &str) -> Option<FrameKind> {
        Self::NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(kind, _)| *kind)
    }

    /// Whether only a model makes such frames.
    fn is_model_output(self) -> bool {
        matches!(self, FrameKind::Inference | FrameKind::AgentResponse)
    }
}

/// A frame whose form has been checked; who signed it has not.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Its kind.
    pub kind: FrameKind,
    /// Its id, chosen by its origin.
    pub frame_id: FrameId,
    /// The device it claims to come from.
    pub origin: DeviceId,
    /// That device's name for people.
    pub origin_name: Option<String>,
    /// When it was made, by the origin's clock.
    pub timestamp: TimeMs,
    /// Where the evidence came from.
    pub sources: Vec<EvidenceSource>,
    /// The tier its origin claims.
    pub claimed: Tier,
    /// Marks that stay for ever.
    pub taint: BTreeSet<Taint>,
    /// A sentence for people.
    pub note: Option<String>,
    /// The origin's logical time.
    pub hlc: Option<Hlc>,
    /// The origin's count of its own frames.
    pub seq: Option<u64>,
    /// The origin's signature, unchecked.
    pub signature: Option<Signature>,
    /// How many links it has crossed.
    pub hops: u32,
    /// The devices that its origin sends it to itself, where it is private: none of them passes it on.
    pub private: Option<BTreeSet<DeviceId>>,
    /// All members but `hops`, as they came.
    members: Map<String, Value>,
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidFrame, message)
}

impl Frame {
    /// Reads a frame from its JSON.
    ///
    /// # Errors
    /// `INVALID_FRAME` naming the member and what it must be; `DATA_TOO_LARGE` for oversize `data`.
    pub fn parse(value: Value) -> Result<Frame, Refusal> {
        let Value::Object(mut members) = value else {
            return Err(bad("a context.frame event needs a payload object"));
        };
        let hops = match members.remove("hops") {
            None => 0,
            Some(value) => whole(&value)
                .and_then(|h| u32::try_from(h).ok())
                .filter(|h| *h <= 1_000)
                .ok_or_else(|| bad("hops must be a whole number from 0 to 1000"))?,
        };
        match members.get("gen") {
            None => {}
            Some(generation) if whole(generation) == Some(1) => {}
            Some(_) => return Err(bad("gen must be 1")),
        }
        let kind = str_member(&members, "kind")?;
        let kind = FrameKind::from_wire(kind)
            .ok_or_else(|| bad(format!("unknown kind {:?}", cut(kind))))?;
        check_data(&members)?;
        let (sources, claimed) = trust(&members)?;
        let mut taint = taint_of_sources(&sources);
        taint.extend(declared_taint(&members)?);
        if kind.is_model_output() {
            taint.insert(Taint::Llm);
        }
        Ok(Frame {
            kind,
            frame_id: str_member(&members, "frameId")?
                .parse()
                .map_err(|e| bad(format!("frameId: {e}")))?,
            origin: str_member(&members, "sourceDeviceId")?
                .parse()
                .map_err(|e| bad(format!("sourceDeviceId: {e}")))?,
            origin_name: opt_text(&members, "sourceDisplayName", NAME_MAX_BYTES)?,
            timestamp: members
                .get("timestamp")
                .and_then(whole)
                .map(TimeMs)
                .ok_or_else(|| bad("timestamp must be whole milliseconds since 1970"))?,
            sources,
            claimed,
            taint,
            note: opt_text(&members, "note", TEXT_MAX_CHARS * 4)?,
            hlc: opt_text(&members, "hlc", 16)?
                .map(|t| t.parse())
                .transpose()
                .map_err(bad)?,
            seq: match members.get("seq") {
                None => None,
                Some(n) => Some(whole(n).ok_or_else(|| bad("seq must be a whole number"))?),
            },
            signature: opt_text(&members, "sig", NAME_MAX_BYTES)?
                .map(|t| Signature::from_text(&t))
                .transpose()
                .map_err(|e| bad(format!("sig: {e}")))?,
            hops,
            private: private(&members)?,
            members,
        })
    }

    /// The `data` object.
    pub fn data(&self) -> &Map<String, Value> {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        match self.members.get("data") {
            Some(Value::Object(data)) => data,
            _ => &EMPTY,
        }
    }

    /// The members as JSON text without `hops`, for storage.
    pub fn to_stored_text(&self) -> String {
        // A map of JSON values has nothing in it that could fail to be written.
        serde_json::to_string(&self.members).unwrap_or_default()
    }

    /// The whole frame as JSON with the given hop count, as our own nodes exchange it.
    pub fn to_wire(&self, hops: u32) -> Value {
        let mut members = self.members.clone();
        members.insert("hops".into(), hops.into());
        Value::Object(members)
    }

    /// The frame for a peer that cannot verify anything; see [`shown_to_gen1`].
    pub fn to_gen1_wire(&self, hops: u32, effective: Tier) -> Value {
        shown_to_gen1(self.to_wire(hops), self.claimed, effective)
    }

    /// The bytes its origin signs: a domain, the mesh, and the canonical members without `sig`.
    pub fn signing_bytes(&self, mesh: &MeshId) -> Vec<u8> {
        signing_bytes(&self.members, mesh)
    }

    /// The content hash that names this frame's content in this mesh.
    pub fn content(&self, mesh: &MeshId) -> Digest {
        Digest::of(&[&self.signing_bytes(mesh)])
    }
}

/// A frame's JSON for a peer that cannot verify anything: the tier is the one *we* vouch for, with the
/// origin's claim beside it (DESIGN §6).
pub fn shown_to_gen1(mut frame: Value, claimed: Tier, effective: Tier) -> Value {
    if let Some(trust) = frame.get_mut("trust").and_then(Value::as_object_mut) {
        let shown = effective.min(claimed);
        trust.insert("evidence_trust_tier".into(), shown.wire_name().into());
        trust.insert("claimedTier".into(), claimed.wire_name().into());
    }
    frame
}

fn signing_bytes(members: &Map<String, Value>, mesh: &MeshId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1_024);
    bytes.extend_from_slice(b"clawmesh/frame/v1\n");
    bytes.extend_from_slice(mesh.as_str().as_bytes());
    bytes.push(b'\n');
    // Members come from a strict parser or from our own values, so every number is finite.
    let head = bytes.len();
    if write_canonical_without(members, "sig", &mut bytes).is_err() {
        bytes.truncate(head);
    }
    bytes
}

/// A new frame of this node.
#[derive(Debug, Clone)]
pub struct FrameSpec {
    /// Its kind.
    pub kind: FrameKind,
    /// The content.
    pub data: Map<String, Value>,
    /// Where the evidence came from.
    pub sources: Vec<EvidenceSource>,
    /// The tier we claim.
    pub tier: Tier,
    /// Marks beyond those of the sources.
    pub taint: BTreeSet<Taint>,
    /// A sentence for people.
    pub note: Option<String>,
}

impl FrameSpec {
    /// The signed frame: ids and time are the caller's.
    ///
    /// # Errors
    /// `DATA_TOO_LARGE` and `INVALID_FRAME`, as for a frame from outside.
    pub fn sign(
        self,
        key: &DeviceKey,
        name: &str,
        mesh: &MeshId,
        stamp: Stamp,
    ) -> Result<Frame, Refusal> {
        self.signed(key, name, mesh, stamp, None)
            .map(|(frame, _)| frame)
    }

    /// As [`FrameSpec::sign`], with the hash of what was signed.
    pub(super) fn signed(
        self,
        key: &DeviceKey,
        name: &str,
        mesh: &MeshId,
        stamp: Stamp,
        private: Option<Private>,
    ) -> Result<(Frame, Digest), Refusal> {
        let mut members = Map::new();
        members.insert("gen".into(), 1.into());
        members.insert("kind".into(), self.kind.as_str().into());
        members.insert("frameId".into(), stamp.frame_id.as_str().into());
        members.insert("sourceDeviceId".into(), key.id().as_str().into());
        members.insert("sourceDisplayName".into(), name.into());
        members.insert("timestamp".into(), stamp.now.0.into());
        members.insert("hlc".into(), stamp.hlc.to_string().into());
        members.insert("seq".into(), stamp.seq.into());
        members.insert("data".into(), Value::Object(self.data));
        members.insert(
            "trust".into(),
            serde_json::json!({"evidence_sources": self.sources, "evidence_trust_tier": self.tier}),
        );
        if !self.taint.is_empty() {
            members.insert("taint".into(), serde_json::json!(self.taint));
        }
        if let Some(note) = self.note {
            members.insert("note".into(), note.into());
        }
        if let Some(private) = private {
            let salt = URL_SAFE_NO_PAD.encode(private.salt);
            let private = serde_json::json!({"for": private.devices, "salt": salt});
            members.insert("private".into(), private);
        }
        let bytes = signing_bytes(&members, mesh);
        let signature = key.sign(&bytes);
        members.insert("sig".into(), signature.to_text().into());
        let frame = Frame::parse(Value::Object(members))?;
        Ok((frame, Digest::of(&[&bytes])))
    }
}

/// The parameters of a new private frame.
#[derive(Debug, Clone)]
pub struct Private {
    /// The devices that may have it beside this one.
    pub devices: BTreeSet<DeviceId>,
    /// Random bytes. They keep a value from being guessed from its content hash, which proposals name.
    pub salt: [u8; 16],
}

/// The id, time and count of a new frame.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// A fresh id.
    pub frame_id: FrameId,
    /// Now.
    pub now: TimeMs,
    /// Our logical time, ticked.
    pub hlc: Hlc,
    /// Our own frame count, counted up.
    pub seq: u64,
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

fn str_member<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    members
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| bad(format!("{name} is missing or no text")))
}

fn opt_text(
    members: &Map<String, Value>,
    name: &str,
    max_bytes: usize,
) -> Result<Option<String>, Refusal> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= max_bytes => Ok(Some(text.clone())),
        Some(_) => Err(bad(format!(
            "{name} must be a text of at most {max_bytes} bytes"
        ))),
    }
}

fn check_data(members: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(data @ Value::Object(_)) = members.get("data") else {
        return Err(bad("data is missing or no object"));
    };
    let bytes = to_canonical(data)
        .map_err(|e| bad(format!("data: {e}")))?
        .len();
    if bytes > FRAME_DATA_MAX_BYTES {
        return Err(Refusal::new(
            Code::DataTooLarge,
            format!("data has {bytes} bytes, at most {FRAME_DATA_MAX_BYTES} are allowed"),
        ));
    }
    Ok(())
}

fn trust(members: &Map<String, Value>) -> Result<(Vec<EvidenceSource>, Tier), Refusal> {
    let Some(Value::Object(trust)) = members.get("trust") else {
        return Err(bad("trust is missing or no object"));
    };
    let tier = trust
        .get("evidence_trust_tier")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let tier = [Tier::T0, Tier::T1, Tier::T2, Tier::T3]
        .into_iter()
        .find(|t| t.wire_name() == tier)
        .ok_or_else(|| bad(format!("unknown trust.evidence_trust_tier {:?}", cut(tier))))?;
    let sources = match trust.get("evidence_sources") {
        Some(list @ Value::Array(items)) if !items.is_empty() && items.len() <= TRUST_LIST_MAX => {
            Vec::<EvidenceSource>::deserialize(list).map_err(|_| {
                bad("trust.evidence_sources may hold texts only: llm, sensor, device, human, mixed")
            })?
        }
        _ => {
            return Err(bad(format!(
                "trust.evidence_sources must name 1 to {TRUST_LIST_MAX} sources"
            )));
        }
    };
    Ok((sources, tier))
}

/// For whom a private frame is.
fn private(members: &Map<String, Value>) -> Result<Option<BTreeSet<DeviceId>>, Refusal> {
    let Some(private) = members.get("private") else {
        return Ok(None);
    };
    let wrong = || {
        let why = format!(
            "private must say with `for` which devices may have it, at most {PRIVATE_DEVICES_MAX}"
        );
        bad(why)
    };
    let devices = private.get("for").and_then(Value::as_array);
    let devices = devices.filter(|list| list.len() <= PRIVATE_DEVICES_MAX);
    let id = |id: &Value| id.as_str()?.parse().ok();
    let devices: Option<BTreeSet<DeviceId>> = devices.ok_or_else(wrong)?.iter().map(id).collect();
    devices.map(Some).ok_or_else(wrong)
}

fn declared_taint(members: &Map<String, Value>) -> Result<BTreeSet<Taint>, Refusal> {
    match members.get("taint") {
        None => Ok(BTreeSet::new()),
        // A mark we do not know is still a mark: count it as the strongest.
        Some(Value::Array(items)) if items.len() <= TRUST_LIST_MAX => {
            Ok(items.iter().map(|_| Taint::Llm).collect())
        }
        Some(_) => Err(bad(format!(
            "taint must be a list of at most {TRUST_LIST_MAX} marks"
        ))),
    }
}
