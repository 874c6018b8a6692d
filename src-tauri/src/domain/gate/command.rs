//! The command envelope to a gen-1 node, inside `mesh.message.forward` (gen-1 §8). All its content is
//! from this executor's own record; none is made up for the gate at the other end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Act;
use super::actuation::Grounds;
use super::forward::{self, Forwarded};
use crate::domain::base::{Code, DeviceId, EvidenceSource, Refusal, Tier, TimeMs};
use crate::domain::capability::Action;

/// What a gen-1 node is told to do, exactly; a person agrees to this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Gen1Command {
    /// The gen-1 node.
    #[cfg_attr(test, schema(value_type = String))]
    pub device_id: DeviceId,
    /// What it calls the actuator, the operation and the parameters.
    pub action: Action,
}

impl Gen1Command {
    /// The warning for people, in one sentence.
    pub fn warning(&self) -> String {
        format!(
            "a gen-1 node acts on it, {}, which does not check who approved, may act twice or never, and tells \
             only whether it accepted",
            self.device_id
        )
    }
}

/// Why something is said.
#[derive(Debug, Clone, Copy)]
pub enum Behind<'a> {
    /// People approved.
    Act(&'a Act),
    /// The way back to the safe state, which needs no approval.
    Safety,
}

/// Who says it, and when.
#[derive(Debug, Clone, Copy)]
pub struct Saying<'a> {
    /// The executor.
    pub from: &'a DeviceId,
    /// Its role, as gen-1 nodes are told it.
    pub role: &'a str,
    /// Its id, never used twice.
    pub id: &'a str,
    /// Now.
    pub at: TimeMs,
}

/// The parameters of `mesh.message.forward`, checked as the gate at the other end should check them.
///
/// # Errors
/// The refusal of that gate.
pub fn forward_params(
    command: &Gen1Command,
    behind: Behind<'_>,
    saying: Saying<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let action = &command.action;
    let trust = trust(behind);
    let note = match behind {
        Behind::Act(act) => format!("proposal {} of {}", act.proposal_id(), saying.from.short()),
        Behind::Safety => "back to the safe state".to_owned(),
    };
    let params = json!({
        "channel": "clawmesh", "to": action.target, "originGatewayId": saying.from,
        "idempotencyKey": saying.id,
        "command": {
            "version": 1, "kind": "clawmesh.command", "commandId": saying.id, "createdAtMs": saying.at,
            "source": {"nodeId": saying.from, "role": saying.role},
            "target": {"kind": "capability", "ref": action.target},
            "operation": {"name": action.operation, "params": action.params},
            "trust": trust, "note": note,
        },
        "trust": trust,
    });
    let Value::Object(params) = params else {
        return Err(Refusal::new(Code::InternalError, "no object"));
    };
    // As a sender has to, before anything is sent.
    match forward::check(&params, &command.device_id, saying.at)? {
        Forwarded::Actuation(asked) if asked.action == *action => Ok(params),
        _ => Err(Refusal::new(
            Code::InvalidCommandEnvelope,
            "the command does not say what was approved",
        )),
    }
}

fn trust(behind: Behind<'_>) -> Value {
    match behind {
        Behind::Act(act) => {
            let Grounds {
                tier,
                minimum,
                sources,
            } = act.grounds();
            // A person's decision is what it is verified by; without one it is not.
            let people = act.approved_by();
            json!({
                "action_type": "actuation", "evidence_sources": sources,
                "evidence_trust_tier": tier.wire_name(), "minimum_trust_tier": minimum.wire_name(),
                "verification_required": "human", "verification_satisfied": !people.is_empty(),
                "approved_by": people,
            })
        }
        Behind::Safety => json!({
            "action_type": "actuation", "evidence_sources": BTreeSet::from([EvidenceSource::Device]),
            "evidence_trust_tier": Tier::T2.wire_name(), "minimum_trust_tier": Tier::T2.wire_name(),
            "verification_required": "none",
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::base::Digest;
    use crate::domain::capability::Params;
    use crate::domain::gate::{ActuationRuling, ExecutionRequest, actuation};
    use crate::domain::policy::{Class, Level, Terms};

    fn device(n: u8) -> DeviceId {
        DeviceId::of_public_key(&[n; 32])
    }

    fn command() -> Gen1Command {
        let valve = "actuator:mock:valve-1".parse().unwrap();
        let params = Params::from([("durationSec".to_owned(), 5.into())]);
        Gen1Command {
            device_id: device(2),
            action: Action::new(valve, "open", params).unwrap(),
        }
    }

    /// The gate's answer about an action that no person has approved.
    fn without_people(by_gen1: bool) -> ActuationRuling {
        let (own, action) = (device(1), command().action);
        let request = ExecutionRequest {
            proposal_id: &"p".parse().unwrap(),
            digest: &Digest::of(&[b"record"]),
            executor: &own,
            asked_by: &own,
            own: &own,
            action: &action,
            level: Level::L1,
            quorum: 0,
            at_node: false,
            run_ms: 1_000,
            taint: &BTreeSet::new(),
            sources: &BTreeSet::from([EvidenceSource::Sensor]),
            by_gen1,
            replaces: None,
            expires_at: TimeMs(1_000),
        };
        let terms = Terms {
            rule: "auto".into(),
            class: Class::OwnRules,
            level: Level::L1,
            quorum: 0,
            at_node: false,
            kind: Default::default(),
            deadline_ms: 1_000,
            run_ms: 1_000,
            safe_state: "close".into(),
            fresh_for_ms: None,
            tier: Some(Tier::T2),
            min_tier: Tier::T2,
            standing: Err("no".into()),
            checks: Vec::new(),
        };
        actuation::rule(&request, &terms, &[], true, TimeMs(5))
    }

    #[test]
    fn the_gate_lets_no_gen1_node_act_without_a_person_at_any_level() {
        let needs = ActuationRuling::NeedsApproval {
            required: 1,
            have: 0,
        };
        assert_eq!(without_people(true), needs);
        assert!(matches!(without_people(false), ActuationRuling::Allow(_)));
    }

    #[test]
    fn what_nobody_approved_is_never_told_as_verified() {
        let act = actuation::act_of(command().action, "p");
        let (own, id) = (device(1), "p");
        let saying = Saying {
            from: &own,
            role: "field",
            id,
            at: TimeMs(5),
        };
        let refused = forward_params(&command(), Behind::Act(&act), saying).unwrap_err();
        assert_eq!(refused.code, Code::VerificationRequired);
        let safe = forward_params(&command(), Behind::Safety, saying).unwrap();
        assert_eq!(safe["trust"], safe["command"]["trust"]);
        assert_eq!(safe["trust"]["verification_required"], "none");
        assert_eq!(safe["trust"].get("approved_by"), None);
    }
}
