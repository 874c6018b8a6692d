//! Floods: as much of everything as a message or two can carry, to use up what the others need.

use clawmesh::domain::base::{DraftId, EvidenceSource, FrameId, Hlc, MeshId, Tier};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::gate::approval::{Decision, Verdict};
use clawmesh::domain::gate::operators::OperatorRevocation;
use clawmesh::domain::gate::records::{Carried, DeviceRevocation, Record};
use clawmesh::domain::identity::{DeviceKey, OperatorKey};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::{ProposalRecord, SignedProposal};
use clawmesh::domain::wire::{FrameKind, Message};
use serde_json::{Value, json};

use super::Liar;
use super::lies::fresh;
use crate::rng::Rng;
use crate::world::{DRIP, MESH, VALVE};

/// How many of a kind at once.
const BURST: u64 = 30;

impl Liar {
    /// A flood towards a node. Idle ones bring nobody's word.
    pub(super) fn flood(&self, rng: &Rng, peer: usize, idle: bool) -> (&'static str, Vec<String>) {
        match rng.below(if idle { 4 } else { 6 }) {
            0 => ("flood of records", vec![self.many_records(rng)]),
            1 => ("flood of mirrors", self.many_mirrors(rng, peer)),
            2 => ("flood of events", self.many_events(rng)),
            3 => ("flood of commands", self.many_commands(rng)),
            4 => ("flood of wishes", self.many_wishes(rng)),
            _ => ("flood of decisions", self.many_decisions(rng, peer)),
        }
    }

    /// Revocations of devices and operators that nobody knows, by issuers that nobody believes.
    fn many_records(&self, rng: &Rng) -> String {
        let (own, now) = (&self.by.key, self.by.now());
        let one = |n: u64| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&rng.next().to_le_bytes());
            let record = match n % 2 {
                0 => Record::revoke_device(
                    DeviceRevocation {
                        mesh_id: MeshId::of_name(MESH),
                        device_id: DeviceKey::from_seed(&seed).id().clone(),
                        issuer: own.id().clone(),
                        revoked_at: now,
                    },
                    own,
                ),
                _ => {
                    let revocation = OperatorRevocation {
                        operator_id: OperatorKey::from_seed(&seed).id().clone(),
                        issuer: own.id().clone(),
                        revoked_at: now,
                        reason: "x".repeat(200),
                    };
                    let signature = revocation.sign(own);
                    Record::OperatorRevocation {
                        revocation,
                        signature,
                    }
                }
            };
            Carried {
                key: *own.public(),
                record,
            }
        };
        let all: Vec<Carried> = (0..BURST).map(one).collect();
        Message::event("records.page", &json!({"records": all}))
    }

    /// Proposals of its own, each well formed.
    fn many_mirrors(&self, rng: &Rng, peer: usize) -> Vec<String> {
        let Some(some) = self.proposal_of(rng, |at| at == peer) else {
            return Vec::new();
        };
        let one = |n: u64| {
            let nonce = fresh(rng).to_string();
            let (mesh, own) = (MeshId::of_name(MESH), self.by.key.id().clone());
            let record = ProposalRecord {
                proposal_id: ProposalRecord::id_for(&mesh, &own, &nonce),
                executor: own,
                nonce,
                reason: "y".repeat(400),
                ..some.record().clone()
            };
            let mut update = SignedProposal::mint(record, &self.by.key).ok()?.to_wire();
            update["status"] =
                json!(["awaiting_approval", "completed"][usize::from(n.is_multiple_of(2))]);
            update["revision"] = json!(n);
            Some(Message::event("proposal.update", &update))
        };
        (0..BURST).filter_map(one).collect()
    }

    /// Frames that say something happened, with conflicts of them.
    fn many_events(&self, rng: &Rng) -> Vec<String> {
        let now = self.by.now();
        let one = |n: u64| {
            let mut spec = Self::spec(FrameKind::Event, Tier::T1, EvidenceSource::Device);
            spec.data.insert("text".into(), json!("z".repeat(300)));
            spec.note = Some(format!("{n}"));
            let stamp = clawmesh::domain::wire::frame::Stamp {
                frame_id: FrameId::from(fresh(rng)),
                now,
                hlc: Hlc::new(now, 0),
                seq: rng.below(1_000_000),
            };
            let frame = spec.sign(&self.by.key, "x", &MeshId::of_name(MESH), stamp);
            frame.unwrap().to_wire(0)
        };
        let frames: Vec<Value> = (0..BURST).map(one).collect();
        vec![Message::event("context.frames", &json!({"frames": frames}))]
    }

    fn many_commands(&self, rng: &Rng) -> Vec<String> {
        (0..BURST).map(|_| self.command(rng)).collect()
    }

    /// Wishes of every class for every actuator, each for another time.
    fn many_wishes(&self, rng: &Rng) -> Vec<String> {
        let now = self.by.now();
        let first = rng.below(20);
        let one = |n: u64| {
            let id = DraftId::from(fresh(rng));
            let requester = [Requester::Llm, Requester::Rules, Requester::Person][rng.index(3)];
            if requester == Requester::Llm {
                let mut truth = self.truth.lock().unwrap();
                truth.models.insert(id.clone());
            }
            let seconds = i64::try_from(1 + (first + n) % 19).unwrap();
            let params = Params::from([("durationSec".to_owned(), seconds.into())]);
            let target = [VALVE, DRIP][usize::from(n.is_multiple_of(2))]
                .parse()
                .unwrap();
            let draft = Draft {
                draft_id: id,
                action: Action::new(target, "open", params).unwrap(),
                reason: "now".into(),
                requester,
                requester_name: "x".into(),
                taint: Default::default(),
                cites: Vec::new(),
                origins: Default::default(),
                slot: None,
                led_by: None,
                created_at: now,
                expires_at: now.plus(120_000),
            };
            Message::request(&format!("w{n}"), "proposals.draft", &draft.to_wire())
        };
        (0..BURST).map(one).collect()
    }

    /// Decisions that nobody enrolled has signed, about proposals that are there and that are not.
    fn many_decisions(&self, rng: &Rng, peer: usize) -> Vec<String> {
        let Some(some) = self.proposal_of(rng, |at| at == peer) else {
            return Vec::new();
        };
        let (key, record) = (&self.keys[2], some.record());
        let one = |n: u64| {
            let signed = Decision {
                verdict: Verdict::Approve,
                mesh_id: record.mesh_id.clone(),
                executor: record.executor.clone(),
                proposal_id: record.proposal_id.clone(),
                digest: *some.digest(),
                operator_id: key.id().clone(),
                decided_at: self.by.now(),
                note: Some(format!("{n} {}", rng.next())),
                channel: None,
                at_node: None,
            }
            .sign(key);
            let params = json!({"decision": signed});
            Message::request(&format!("v{n}"), "proposals.decide", &params)
        };
        (0..BURST).map(one).collect()
    }
}
