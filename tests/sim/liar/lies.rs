//! The lies, one function each: what a peer might say to be believed, to act, or to be in the way.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use clawmesh::domain::base::{
    DeviceId, DraftId, EvidenceSource, FrameId, Hlc, MeshId, ProposalId, Taint, Tier, TimeMs,
};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::gate::SignedDecision;
use clawmesh::domain::gate::approval::{Decision, Verdict};
use clawmesh::domain::gate::operators::{OperatorRecord, OperatorRevocation, SignedOperator};
use clawmesh::domain::gate::records::{Carried, DeviceRevocation, Record};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::SignedProposal;
use clawmesh::domain::wire::frame::{FrameSpec, Stamp};
use clawmesh::domain::wire::{FrameKind, Message};
use serde_json::{Map, Value, json};

use super::Liar;
use crate::rng::Rng;
use crate::world::{DRIP, MESH, VALVE, known};

const DAY_MS: u64 = 24 * 3_600_000;

/// A random id.
pub fn fresh(rng: &Rng) -> uuid::Uuid {
    let mut bytes = [0_u8; 16];
    bytes[..8].copy_from_slice(&rng.next().to_le_bytes());
    bytes[8..].copy_from_slice(&rng.next().to_le_bytes());
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn frame_event(frame: &Value) -> String {
    Message::event("context.frame", frame)
}

fn frames_event(frames: &[Value]) -> String {
    Message::event("context.frames", &json!({"frames": frames}))
}

fn dry_reading() -> Map<String, Value> {
    let data = json!({"metric": "moisture", "zone": "zone-1", "value": 1.0, "unit": "%"});
    data.as_object().unwrap().clone()
}

impl Liar {
    /// One lie towards a node.
    pub(super) fn lie(&self, rng: &Rng, peer: usize) -> Vec<String> {
        let idle = self.idle.load(Ordering::Relaxed);
        if self.plan.floods && rng.chance(20) {
            let (kind, texts) = self.flood(rng, peer, idle);
            self.truth.lock().unwrap().lie(kind);
            return texts;
        }
        let (kind, texts) = match rng.below(if idle { 20 } else { 26 }) {
            0 => (
                "plain truth",
                vec![self.own(rng, Tier::T1, EvidenceSource::Sensor)],
            ),
            1 => (
                "forged tier",
                vec![self.own(rng, Tier::T3, EvidenceSource::Sensor)],
            ),
            2 => ("forged person", vec![self.person(rng)]),
            3 => ("washed model", vec![self.washed(rng)]),
            4 | 5 => ("forged origin", vec![self.forged_origin(rng)]),
            6 => ("replayed frames", self.replay(rng)),
            7 => ("altered frame", self.altered(rng)),
            8 => ("unsigned copy", self.stripped(rng)),
            9 => ("squatted id", self.squatted(rng)),
            10 => ("two contents", self.twin(rng)),
            11 => ("far future", vec![self.at_another_time(rng)]),
            12 => ("bomb", self.bomb(rng)),
            20 | 21 => ("stale approval", self.stale(rng, peer)),
            22 => ("stolen approval", self.stolen(rng, peer)),
            23 => ("false person", self.false_person(rng, peer)),
            24 => ("drafts", self.drafts(rng)),
            13 | 14 => ("false update", self.update(rng, peer)),
            15 => ("false records", self.records(rng)),
            16 => ("unasked answers", self.unasked(rng)),
            17 => (
                "unsigned copy of an unknown device's",
                vec![self.unknown(rng)],
            ),
            18 => ("flood of facts", vec![self.facts(rng)]),
            25 => ("gen-1 command", vec![self.command(rng)]),
            _ => ("other's business", self.meddle(rng)),
        };
        self.truth.lock().unwrap().lie(kind);
        texts
    }

    fn sign(&self, rng: &Rng, spec: FrameSpec, now: TimeMs, hlc: Hlc) -> Value {
        let stamp = Stamp {
            frame_id: FrameId::from(fresh(rng)),
            now,
            hlc,
            seq: rng.below(1_000_000),
        };
        let mesh = MeshId::of_name(MESH);
        let frame = spec.sign(&self.by.key, "x", &mesh, stamp).unwrap();
        frame.to_wire(0)
    }

    pub(super) fn spec(kind: FrameKind, tier: Tier, source: EvidenceSource) -> FrameSpec {
        FrameSpec {
            kind,
            data: dry_reading(),
            sources: vec![source],
            tier,
            taint: BTreeSet::new(),
            note: None,
        }
    }

    fn signed_now(&self, rng: &Rng, spec: FrameSpec) -> Value {
        let now = self.by.now();
        self.sign(rng, spec, now, Hlc::new(now, 0))
    }

    fn own(&self, rng: &Rng, tier: Tier, source: EvidenceSource) -> String {
        let spec = Self::spec(FrameKind::Observation, tier, source);
        frame_event(&self.signed_now(rng, spec))
    }

    fn person(&self, rng: &Rng) -> String {
        let spec = Self::spec(FrameKind::HumanInput, Tier::T3, EvidenceSource::Human);
        frame_event(&self.signed_now(rng, spec))
    }

    /// What a model said, as if it were a reading.
    fn washed(&self, rng: &Rng) -> String {
        let spec = match rng.below(4) {
            0 => Self::spec(FrameKind::Inference, Tier::T3, EvidenceSource::Sensor),
            1 => Self::spec(FrameKind::Observation, Tier::T3, EvidenceSource::Llm),
            2 => Self::spec(FrameKind::Observation, Tier::T2, EvidenceSource::Mixed),
            _ => FrameSpec {
                taint: BTreeSet::from([Taint::Llm]),
                ..Self::spec(FrameKind::Observation, Tier::T2, EvidenceSource::Sensor)
            },
        };
        frame_event(&self.signed_now(rng, spec))
    }

    fn victim(&self, rng: &Rng) -> DeviceId {
        let gauge = self.plan.gauge.filter(|_| rng.chance(50));
        let n = gauge.unwrap_or_else(|| rng.index(self.plan.nodes));
        known(n).0.clone()
    }

    /// A dry reading in another's name: unsigned, or signed by whom it is not from.
    fn forged_origin(&self, rng: &Rng) -> String {
        let spec = Self::spec(FrameKind::Observation, Tier::T2, EvidenceSource::Sensor);
        let mut frame = self.signed_now(rng, spec);
        frame["sourceDeviceId"] = json!(self.victim(rng));
        match rng.below(3) {
            0 => {}
            // The signature of something else that the victim said.
            1 => {
                let known = self.known.lock().unwrap();
                let other = known
                    .frames
                    .values()
                    .find(|f| f["sourceDeviceId"] == frame["sourceDeviceId"]);
                if let Some(other) = other {
                    frame["sig"] = other["sig"].clone();
                }
            }
            _ => drop(frame.as_object_mut().unwrap().remove("sig")),
        }
        frame_event(&frame)
    }

    /// A frame that somebody signed. What a gen-1 node says has no signature: of what comes by others a node
    /// keeps what it hears first, and no check of ours could tell them apart; see `foretold`.
    fn some_frame(&self, rng: &Rng) -> Option<Value> {
        let known = self.known.lock().unwrap();
        let signed = known.frames.values().filter(|f| f.get("sig").is_some());
        let signed: Vec<&Value> = signed.collect();
        (!signed.is_empty()).then(|| signed[rng.index(signed.len())].clone())
    }

    fn replay(&self, rng: &Rng) -> Vec<String> {
        let known = self.known.lock().unwrap();
        let frames: Vec<Value> = known.frames.values().take(40).cloned().collect();
        drop(known);
        let mut twice = frames.clone();
        for frame in &mut twice {
            frame["hops"] = json!(rng.below(900));
        }
        vec![frames_event(&frames), frames_event(&twice)]
    }

    fn altered(&self, rng: &Rng) -> Vec<String> {
        let Some(mut frame) = self.some_frame(rng) else {
            return Vec::new();
        };
        match rng.below(4) {
            0 => {
                if let Some(upcoming) = self.foretold() {
                    frame = upcoming;
                }
                frame["data"]["value"] = json!(2.5);
            }
            1 => frame["trust"]["evidence_trust_tier"] = json!(Tier::T3),
            2 => frame["timestamp"] = json!(frame["timestamp"].as_u64().unwrap_or(0) + 60_000),
            _ => frame["taint"] = json!([]),
        }
        vec![frame_event(&frame)]
    }

    /// What the gen-1 node is about to say, so that nodes hear another content of it first.
    fn foretold(&self) -> Option<Value> {
        let mut truth = self.truth.lock().unwrap();
        let upcoming = truth.upcoming.clone()?;
        truth
            .foretold
            .insert(upcoming["frameId"].as_str()?.to_owned());
        truth.lie("gen-1 frame told first");
        Some(upcoming)
    }

    fn stripped(&self, rng: &Rng) -> Vec<String> {
        let Some(mut frame) = self.some_frame(rng) else {
            return Vec::new();
        };
        frame.as_object_mut().unwrap().remove("sig");
        vec![frame_event(&frame)]
    }

    /// What a device said that nobody here knows, to one node with its signature and to another without:
    /// no node can tell what the signature is worth, and all must end with it.
    fn unknown(&self, rng: &Rng) -> String {
        let mut known = self.known.lock().unwrap();
        if let Some(signed) = known.unknown.take() {
            return frame_event(&signed);
        }
        let now = self.by.now();
        let stamp = Stamp {
            frame_id: FrameId::from(fresh(rng)),
            now,
            hlc: Hlc::new(now, 0),
            seq: rng.below(1_000_000),
        };
        let spec = Self::spec(FrameKind::Observation, Tier::T1, EvidenceSource::Sensor);
        let key = crate::world::device(crate::world::UNKNOWN);
        let signed = spec.sign(&key, "y", &MeshId::of_name(MESH), stamp);
        let signed = signed.unwrap().to_wire(1);
        let mut copy = signed.clone();
        copy.as_object_mut().unwrap().remove("sig");
        known.unknown = Some(signed);
        frame_event(&copy)
    }

    /// Readings of ever new metrics and zones, as many as a message holds.
    fn facts(&self, rng: &Rng) -> String {
        let one = |_| {
            let mut spec = Self::spec(FrameKind::Observation, Tier::T1, EvidenceSource::Sensor);
            spec.data["zone"] = json!(format!("zone-{}", rng.next()));
            self.signed_now(rng, spec)
        };
        let frames: Vec<Value> = (0..30).map(one).collect();
        frames_event(&frames)
    }

    /// Another content under the id of a frame that exists.
    fn squatted(&self, rng: &Rng) -> Vec<String> {
        let Some(mut frame) = self.some_frame(rng) else {
            return Vec::new();
        };
        let note = format!("squatted {}", rng.next());
        match rng.below(2) {
            0 => {
                if let Some(upcoming) = self.foretold() {
                    frame = upcoming;
                }
                frame.as_object_mut().unwrap().remove("sig");
            }
            _ => frame["sourceDeviceId"] = json!(self.by.key.id()),
        }
        frame["data"] = Value::Object(dry_reading());
        frame["note"] = json!(note);
        vec![frame_event(&frame)]
    }

    /// Two contents under one id of its own, told to different nodes.
    fn twin(&self, rng: &Rng) -> Vec<String> {
        let mut known = self.known.lock().unwrap();
        if known.twins.len() > 2 {
            return known.twins.drain(..).map(|f| frame_event(&f)).collect();
        }
        let now = self.by.now();
        let stamp = Stamp {
            frame_id: FrameId::from(fresh(rng)),
            now,
            hlc: Hlc::new(now, 0),
            seq: rng.below(1_000_000),
        };
        self.truth
            .lock()
            .unwrap()
            .twice
            .insert(stamp.frame_id.clone());
        let mesh = MeshId::of_name(MESH);
        let one = |note: &str| {
            let mut spec = Self::spec(FrameKind::Observation, Tier::T1, EvidenceSource::Sensor);
            spec.note = Some(note.to_owned());
            let frame = spec.sign(&self.by.key, "x", &mesh, stamp.clone());
            frame.unwrap().to_wire(0)
        };
        known.twins.push(one("second"));
        vec![frame_event(&one("first"))]
    }

    fn at_another_time(&self, rng: &Rng) -> String {
        let now = self.by.now();
        let time = match rng.below(3) {
            0 => now.plus(2 * 3_600_000),
            1 => now.plus(400 * DAY_MS),
            _ => TimeMs(now.0 - 10 * DAY_MS),
        };
        let spec = Self::spec(FrameKind::Observation, Tier::T1, EvidenceSource::Sensor);
        let hlc = Hlc::new(now.plus([10 * DAY_MS, 4_000_000][rng.index(2)]), 65_535);
        frame_event(&self.sign(rng, spec, time, hlc))
    }

    fn bomb(&self, rng: &Rng) -> Vec<String> {
        match rng.below(7) {
            0 => {
                let frames = vec![json!({"gen": 1}); 3_000];
                vec![frames_event(&frames)]
            }
            1 => {
                let frames = vec![json!({"kind": "observation", "data": {}}); 256];
                vec![frames_event(&frames)]
            }
            2 => vec!["[".repeat(50_000)],
            3 => vec![format!(
                "{{\"type\":\"event\",\"event\":\"{}\"}}",
                "x".repeat(40_000)
            )],
            4 => {
                let spec = Self::spec(FrameKind::Event, Tier::T1, EvidenceSource::Device);
                let mut frame = self.signed_now(rng, spec);
                frame["data"]["blob"] = json!("x".repeat(600_000));
                vec![frame_event(&frame)]
            }
            5 => vec![
                r#"{"type":"event","event":"context.frame"}"#.to_owned(),
                r#"{"type":"event","event":"context.frames","payload":{"frames":7}}"#.to_owned(),
                r#"{"type":"req","id":"1","method":"__proto__","params":{"a":1e999}}"#.to_owned(),
            ],
            _ => (0..150)
                .map(|n| Message::request(&n.to_string(), "mesh.status", &json!({})))
                .collect(),
        }
    }

    fn decide(signed: &SignedDecision) -> String {
        Message::request("d", "proposals.decide", &json!({"decision": signed}))
    }

    /// Decisions that a person really took, again.
    fn stale(&self, rng: &Rng, peer: usize) -> Vec<String> {
        let truth = self.truth.lock().unwrap();
        let own = known(peer).0.clone();
        let here = |d: &&SignedDecision| d.decision.executor == own || rng.chance(10);
        let fitting: Vec<_> = truth.decisions.iter().filter(here).collect();
        let some = (0..fitting.len().min(4)).map(|_| fitting[rng.index(fitting.len())]);
        some.map(Self::decide).collect()
    }

    fn some_proposal(&self, rng: &Rng, peer: usize) -> Option<SignedProposal> {
        self.proposal_of(rng, |at| at == peer)
    }

    pub(super) fn proposal_of(
        &self,
        rng: &Rng,
        of: impl Fn(usize) -> bool,
    ) -> Option<SignedProposal> {
        let truth = self.truth.lock().unwrap();
        let here = truth.minted.values().filter(|(at, _)| of(*at));
        let here: Vec<_> = here.collect();
        (!here.is_empty()).then(|| here[rng.index(here.len())].1.clone())
    }

    /// A person's decision about another proposal.
    fn stolen(&self, rng: &Rng, peer: usize) -> Vec<String> {
        let Some(proposal) = self.some_proposal(rng, peer) else {
            return Vec::new();
        };
        let decisions = self.truth.lock().unwrap().decisions.clone();
        if decisions.is_empty() {
            return Vec::new();
        }
        let mut signed = decisions[rng.index(decisions.len())].clone();
        let record = proposal.record();
        signed.decision.proposal_id = record.proposal_id.clone();
        signed.decision.verdict = Verdict::Approve;
        if rng.chance(70) {
            signed.decision.executor = record.executor.clone();
            signed.decision.digest = *proposal.digest();
        }
        vec![Self::decide(&signed)]
    }

    /// The word of somebody who has none here: revoked, too low, or unknown; or in another's name.
    fn false_person(&self, rng: &Rng, peer: usize) -> Vec<String> {
        let Some(proposal) = self.some_proposal(rng, peer) else {
            return Vec::new();
        };
        let key = &self.keys[rng.index(3)];
        let record = proposal.record();
        let mut signed = Decision {
            verdict: Verdict::Approve,
            mesh_id: record.mesh_id.clone(),
            executor: record.executor.clone(),
            proposal_id: record.proposal_id.clone(),
            digest: *proposal.digest(),
            operator_id: key.id().clone(),
            decided_at: self.by.now(),
            note: None,
            channel: None,
            at_node: None,
        }
        .sign(key);
        if rng.chance(25) {
            let other = clawmesh::domain::identity::OperatorKey::from_seed(&[200; 32]);
            signed.decision.operator_id = other.id().clone();
        }
        vec![Self::decide(&signed)]
    }

    /// Wishes: a model's, one that says it is a rule's or a person's, one with a mark of a later version,
    /// one under another's draft id, one out of bounds, and all of them again.
    fn drafts(&self, rng: &Rng) -> Vec<String> {
        let now = self.by.now();
        let model = rng.chance(50);
        let seconds = [5_i64, 19, 999, -1][rng.index(4)];
        let target = [VALVE, DRIP][rng.index(2)];
        let params = Params::from([("durationSec".to_owned(), seconds.into())]);
        let draft = Draft {
            draft_id: DraftId::from(fresh(rng)),
            action: Action::new(target.parse().unwrap(), "open", params).unwrap(),
            reason: "trust me".into(),
            requester: if model {
                Requester::Llm
            } else {
                Requester::Rules
            },
            requester_name: "x".into(),
            taint: BTreeSet::new(),
            cites: Vec::new(),
            origins: Default::default(),
            slot: None,
            led_by: None,
            created_at: now,
            expires_at: now.plus(if rng.chance(10) { 0 } else { 120_000 }),
        };
        if model {
            let mut truth = self.truth.lock().unwrap();
            truth.models.insert(draft.draft_id.clone());
        }
        let mut known = self.known.lock().unwrap();
        let mut wish = json!({"draft": draft});
        match rng.below(5) {
            0 if !model => wish["draft"]["requester"] = json!(Requester::Person),
            // A model of a kind that this version does not know.
            1 if !model => {
                wish["draft"]["taint"] = json!(["vlm"]);
                let mut truth = self.truth.lock().unwrap();
                truth.models.insert(draft.draft_id.clone());
            }
            2 if !model => {
                let heard = known
                    .updates
                    .values()
                    .nth(rng.index(known.updates.len().max(1)));
                let id = heard.and_then(|u| u["record"]["draftId"].as_str());
                if let Some(id) = id {
                    wish["draft"]["draftId"] = json!(id);
                }
            }
            _ => {}
        }
        known.drafts.push(wish.clone());
        let old = known.drafts[rng.index(known.drafts.len())].clone();
        let ask = |params: &Value| Message::request("p", "proposals.draft", params);
        let mut texts = vec![ask(&wish), ask(&old)];
        if rng.chance(30) {
            // The same again, now without the model.
            let mut washed = json!({"draft": draft});
            washed["draft"]["requester"] = json!(Requester::Rules);
            texts.push(ask(&washed));
        }
        texts
    }

    /// What others say of their proposals, altered, again, or in its own name.
    fn update(&self, rng: &Rng, peer: usize) -> Vec<String> {
        let heard = {
            let known = self.known.lock().unwrap();
            let count = known.updates.len();
            known.updates.values().nth(rng.index(count.max(1))).cloned()
        };
        let Some(mut update) = heard else {
            return Vec::new();
        };
        match rng.below(4) {
            // To whoever it is not from.
            0 => {}
            1 => {
                update["status"] = json!("completed");
                update["revision"] = json!(1_000_000);
            }
            2 => update["decisions"] = json!([]),
            // Under the same id, as its own; also one that the peer may not have heard of.
            _ => {
                let anywhere = rng.chance(50);
                let proposal = self.proposal_of(rng, |at| anywhere || at == peer);
                let Some(mut record) = proposal.map(|p| p.record().clone()) else {
                    return Vec::new();
                };
                record.executor = self.by.key.id().clone();
                let Ok(signed) = SignedProposal::mint(record, &self.by.key) else {
                    return Vec::new();
                };
                update = signed.to_wire();
                update["status"] = json!("awaiting_approval");
                update["revision"] = json!(5_000);
            }
        }
        vec![Message::event("proposal.update", &update)]
    }

    /// Records of issuers that never issued them, or may not.
    fn records(&self, rng: &Rng) -> Vec<String> {
        let own = &self.by.key;
        let mesh = MeshId::of_name(MESH);
        let issuer = match rng.chance(50) {
            true => known(0).0.clone(),
            false => own.id().clone(),
        };
        let key = match rng.chance(50) {
            true => *own.public(),
            false => *known(0).1,
        };
        let (stranger, now) = (&self.keys[2], self.by.now());
        let record = match rng.below(3) {
            0 => {
                let record = OperatorRecord {
                    operator_id: stranger.id().clone(),
                    public_key: *stranger.public(),
                    // Also in the name of somebody who is enrolled.
                    name: format!("person {}", [9, 0][rng.index(2)]),
                    person: None,
                    max_level: "L3".parse().unwrap(),
                    issuer,
                    issued_at: now,
                    expires_at: None,
                };
                let signed = Box::new(SignedOperator::issue(record, own));
                Record::Operator { signed }
            }
            1 => {
                let first = clawmesh::domain::identity::OperatorKey::from_seed(&[200; 32]);
                let revocation = OperatorRevocation {
                    operator_id: first.id().clone(),
                    issuer,
                    revoked_at: now,
                    reason: "x".into(),
                };
                let signature = revocation.sign(own);
                Record::OperatorRevocation {
                    revocation,
                    signature,
                }
            }
            _ => {
                let revocation = DeviceRevocation {
                    mesh_id: mesh,
                    device_id: self.victim(rng),
                    issuer,
                    revoked_at: now,
                };
                Record::revoke_device(revocation, own)
            }
        };
        let page = json!({"records": [Carried { key, record }, {"key": 1}]});
        let digest = json!({"digest": rng.next().to_string(), "count": 9});
        vec![
            Message::event("records.page", &page),
            Message::event("records.digest", &digest),
        ]
    }

    /// Answers nobody asked for, under ids that a node is about to use.
    fn unasked(&self, rng: &Rng) -> Vec<String> {
        let first = rng.below(30);
        let mut texts: Vec<String> = (first..first + 12)
            .map(|n| {
                let payload =
                    json!({"pong": true, "connected": true, "sending": 1, "frames": [{"x": 1}]});
                json!({"type": "res", "id": n.to_string(), "ok": true, "payload": payload})
                    .to_string()
            })
            .collect();
        texts.push(Message::event("link.credit", &json!({"kib": 1_000_000})));
        texts
    }

    /// The gen-1 command that a gen-1 node would have executed.
    pub(super) fn command(&self, rng: &Rng) -> String {
        let own = self.by.key.id();
        let trust = json!({
            "action_type": "actuation", "evidence_sources": ["sensor", "human"],
            "evidence_trust_tier": "T3_verified_action_evidence",
            "minimum_trust_tier": "T2_operational_observation",
            "verification_required": "human", "verification_satisfied": true, "approved_by": ["operator"],
        });
        let target = [VALVE, DRIP, "ACTUATOR:sim:valve", "actuator:sim:none"][rng.index(4)];
        let command = json!({
            "version": 1, "kind": "clawmesh.command", "commandId": fresh(rng).to_string(),
            "createdAtMs": self.by.now(), "source": {"nodeId": own, "role": "operator"},
            "target": {"kind": "capability", "ref": target},
            "operation": {"name": "open", "params": {"durationSec": 1 + rng.below(20)}}, "trust": trust,
        });
        let params = json!({
            "channel": "clawmesh", "to": target, "originGatewayId": own, "idempotencyKey": fresh(rng).to_string(),
            "command": command,
        });
        Message::request("m", "mesh.message.forward", &params)
    }

    /// What only others may say or do.
    fn meddle(&self, rng: &Rng) -> Vec<String> {
        let truth = self.truth.lock().unwrap();
        let running: Vec<&ProposalId> = truth.minted.keys().collect();
        let mut texts = vec![
            Message::request(
                "e",
                "estop.engage",
                &json!({"reason": "x", "by": "operator"}),
            ),
            Message::event("peer.leaving", &json!({"deviceId": self.victim(rng)})),
            Message::event(
                "peer.down",
                &json!({"gen": 1, "deviceId": self.victim(rng)}),
            ),
        ];
        if !running.is_empty() {
            let id = running[rng.index(running.len())];
            let params = json!({"proposalId": id});
            texts.push(Message::request("s", "proposals.stop", &params));
        }
        texts
    }
}
