//! `mesh.message.forward`: the gen-1 command gate, steps 1 to 7 in their order (gen-1 §8).
//!
//! Where a gen-1 node let something dangerous pass, this one refuses: odd spellings fold to the actuator
//! they mean, missing evidence sources are missing metadata, and a command must be recent. A passed
//! command is never executed: the caller turns it into a draft (invariant I4).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::base::limits::{COMMAND_AGE_MAX_MS, NAME_MAX_BYTES, TRUST_LIST_MAX};
use crate::domain::base::tier::taint_of_sources;
use crate::domain::base::{Code, DeviceId, EvidenceSource, Refusal, Taint, Tier, TimeMs};
use crate::domain::capability::{Action, Capability, Params, addresses_actuator};

/// The kind of a forwarded message.
#[derive(Debug, Clone, PartialEq)]
pub enum Forwarded {
    /// A well-formed actuation: it may become a draft, never an act.
    Actuation(Box<AskedActuation>),
    /// A question or request of a person to the planner, in words only.
    Intent(Intent),
    /// Something for a channel or an agent.
    Message {
        /// The channel named.
        channel: String,
        /// The recipient named.
        to: String,
    },
}

/// A person's message to the planner, by the sender's claim. It is no proof and no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The message.
    pub text: String,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// The sender's id for it.
    pub request_id: Option<String>,
}

/// A requested actuation, all seven checks passed.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedActuation {
    /// The command's id, for replay detection.
    pub command_id: String,
    /// The idempotency key, where one was sent.
    pub idempotency_key: Option<String>,
    /// The action.
    pub action: Action,
    /// Marks of the claimed evidence.
    pub taint: BTreeSet<Taint>,
    /// The sender's note.
    pub note: Option<String>,
}

struct Trust {
    action_type: String,
    sources: Option<Vec<EvidenceSource>>,
    tier: Option<Tier>,
    minimum: Option<Tier>,
    verification: Option<String>,
    satisfied: bool,
}

struct Envelope<'a> {
    command_id: &'a str,
    created_at: TimeMs,
    target: &'a str,
    operation: &'a str,
    params: Params,
    trust: Option<&'a Map<String, Value>>,
    note: Option<String>,
}

fn refuse(code: Code, message: impl Into<String>) -> Refusal {
    Refusal::new(code, message)
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    map.get(name)
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
}

/// Runs the steps over the parameters of `mesh.message.forward`.
///
/// # Errors
/// The gen-1 codes in the gen-1 order, and `COMMAND_EXPIRED` for a command that is not recent.
pub fn check(
    params: &Map<String, Value>,
    own: &DeviceId,
    now: TimeMs,
) -> Result<Forwarded, Refusal> {
    // Before the gate, as in gen-1: words for the planner. A command beside them is judged as a command.
    if let Some(intent) = intent(params) {
        return Ok(Forwarded::Intent(intent));
    }
    // 1: the routing parameters.
    let (Some(channel), Some(to), Some(origin)) = (
        text(params, "channel"),
        text(params, "to"),
        text(params, "originGatewayId"),
    ) else {
        return Err(refuse(
            Code::InvalidParams,
            "missing required forward params (channel, to, originGatewayId)",
        ));
    };
    // 2: no loops.
    if origin == own.as_str() {
        return Err(refuse(
            Code::LoopDetected,
            "message originated from this gateway; rejecting to prevent loop",
        ));
    }
    // 3: the envelope, and that both trust blocks say the same.
    let envelope = match params.get("command") {
        None | Some(Value::Null) => None,
        Some(command) => Some(read_envelope(command)?),
    };
    let outer = trust_member(params)?;
    let inner = envelope.as_ref().and_then(|e| e.trust);
    // Gen-1 counts a trust block that does not read as part of a malformed envelope.
    if let Some(Err(refusal)) = inner.map(read_trust) {
        return Err(refuse(Code::InvalidCommandEnvelope, refusal.message));
    }
    let differ = outer
        .zip(inner)
        .is_some_and(|(outer, inner)| comparable(outer) != comparable(inner));
    if differ {
        return Err(refuse(
            Code::TrustEnvelopeMismatch,
            "the trust of the command and of the message differ",
        ));
    }
    let trust = inner.or(outer);
    // 4: hardware must be declared as such, however its name is spelled (invariant I3).
    let hardware = addresses_actuator(to)
        || envelope
            .as_ref()
            .is_some_and(|e| addresses_actuator(e.target));
    let declared = trust.and_then(|t| text(t, "action_type")) == Some("actuation");
    if hardware && !declared {
        return Err(refuse(
            Code::ActuationDeclarationRequired,
            "targets beginning actuator: require a trust block with action_type actuation",
        ));
    }
    // 5 and 6: vocabulary, then completeness.
    let Some(trust) = trust.map(read_trust).transpose()? else {
        return Ok(Forwarded::Message {
            channel: channel.to_owned(),
            to: to.to_owned(),
        });
    };
    if trust.action_type != "actuation" {
        return Ok(Forwarded::Message {
            channel: channel.to_owned(),
            to: to.to_owned(),
        });
    }
    let sources = check_actuation_trust(&trust)?;
    // 7 would deliver. We look whether it could ever be a draft.
    let Some(envelope) = envelope else {
        return Err(refuse(
            Code::InvalidCommandEnvelope,
            "an actuation needs a command that names target and operation",
        ));
    };
    asked(envelope, to, &sources, params, now)
}

/// A message that holds nothing but words for the planner.
fn intent(params: &Map<String, Value>) -> Option<Intent> {
    let to_planner =
        text(params, "channel") == Some("clawmesh") && text(params, "to") == Some("agent:pi");
    if !to_planner || params.contains_key("command") || params.contains_key("trust") {
        return None;
    }
    let operation = params.get("commandDraft")?.get("operation")?.as_object()?;
    if text(operation, "name") != Some("intent:parse") {
        return None;
    }
    let said = operation.get("params")?.as_object()?;
    let id = |name: &str| {
        let id = text(said, name).filter(|id| id.len() <= NAME_MAX_BYTES);
        id.map(str::to_owned)
    };
    Some(Intent {
        text: text(said, "text")?.to_owned(),
        conversation_id: id("conversationId"),
        request_id: id("requestId"),
    })
}

fn asked(
    envelope: Envelope<'_>,
    to: &str,
    sources: &[EvidenceSource],
    params: &Map<String, Value>,
    now: TimeMs,
) -> Result<Forwarded, Refusal> {
    let invalid = |m: String| refuse(Code::InvalidCommandEnvelope, m);
    let target = Capability::fold(envelope.target).map_err(|e| invalid(e.to_string()))?;
    if addresses_actuator(to) && Capability::fold(to).ok().as_ref() != Some(&target) {
        return Err(invalid(
            "`to` and the command's target name different actuators".to_owned(),
        ));
    }
    if now.distance(envelope.created_at) > COMMAND_AGE_MAX_MS {
        return Err(refuse(
            Code::CommandExpired,
            format!(
                "createdAtMs is {} s away from this node's clock, more than the {} s allowed",
                now.distance(envelope.created_at) / 1000,
                COMMAND_AGE_MAX_MS / 1000
            ),
        ));
    }
    let action = Action::new(target, envelope.operation, envelope.params)
        .map_err(|e| invalid(e.to_string()))?;
    Ok(Forwarded::Actuation(Box::new(AskedActuation {
        command_id: envelope.command_id.to_owned(),
        idempotency_key: text(params, "idempotencyKey")
            .filter(|k| k.len() <= NAME_MAX_BYTES)
            .map(str::to_owned),
        action,
        taint: taint_of_sources(sources),
        note: envelope.note,
    })))
}

fn read_envelope(command: &Value) -> Result<Envelope<'_>, Refusal> {
    let invalid = |m: &str| refuse(Code::InvalidCommandEnvelope, format!("command: {m}"));
    let map = command
        .as_object()
        .ok_or_else(|| invalid("must be an object"))?;
    if map.get("version").and_then(Value::as_u64) != Some(1) {
        return Err(invalid("version must be 1"));
    }
    if text(map, "kind") != Some("clawmesh.command") {
        return Err(invalid("kind must be clawmesh.command"));
    }
    let command_id = text(map, "commandId")
        .filter(|id| id.len() <= NAME_MAX_BYTES)
        .ok_or_else(|| invalid("commandId must be a text of 1 to 128 bytes"))?;
    let created_at = map
        .get("createdAtMs")
        .and_then(Value::as_u64)
        .ok_or_else(|| invalid("createdAtMs must be whole milliseconds since 1970"))?;
    if !map.get("source").is_some_and(Value::is_object) {
        return Err(invalid("source must be an object"));
    }
    let target = map
        .get("target")
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("target must be an object"))?;
    let target_kind = text(target, "kind").unwrap_or_default();
    if !["capability", "device", "peer", "task"].contains(&target_kind) {
        return Err(invalid(
            "target.kind must be capability, device, peer or task",
        ));
    }
    let target = text(target, "ref").ok_or_else(|| invalid("target.ref is missing"))?;
    let operation = map
        .get("operation")
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("operation must be an object"))?;
    let name = text(operation, "name").ok_or_else(|| invalid("operation.name is missing"))?;
    let params = match operation.get("params") {
        None | Some(Value::Null) => Params::new(),
        Some(Value::Object(params)) => params.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        Some(_) => return Err(invalid("operation.params must be an object")),
    };
    Ok(Envelope {
        command_id,
        created_at: TimeMs(created_at),
        target,
        operation: name,
        params,
        trust: trust_member(map)?,
        note: text(map, "note").map(|n| n.chars().take(500).collect()),
    })
}

fn trust_member(map: &Map<String, Value>) -> Result<Option<&Map<String, Value>>, Refusal> {
    match map.get("trust") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(trust)) => Ok(Some(trust)),
        Some(_) => Err(refuse(
            Code::InvalidCommandEnvelope,
            "trust must be an object",
        )),
    }
}

const TRUST_MEMBERS: [&str; 7] = [
    "action_type",
    "evidence_sources",
    "evidence_trust_tier",
    "minimum_trust_tier",
    "verification_required",
    "verification_satisfied",
    "approved_by",
];

/// The seven known members with their lists sorted, for comparison.
fn comparable(trust: &Map<String, Value>) -> Vec<Option<Value>> {
    TRUST_MEMBERS
        .iter()
        .map(|name| match trust.get(*name) {
            Some(Value::Array(items)) => {
                let mut items: Vec<String> = items.iter().map(Value::to_string).collect();
                items.sort();
                Some(Value::from(items))
            }
            other => other.cloned(),
        })
        .collect()
}

/// Whether every source is a word of gen-1: a command with another is refused, as it always was.
fn all_known(sources: &[Value]) -> bool {
    const WORDS: [&str; 5] = ["llm", "sensor", "device", "human", "mixed"];
    sources
        .iter()
        .all(|s| s.as_str().is_some_and(|s| WORDS.contains(&s)))
}

fn read_trust(map: &Map<String, Value>) -> Result<Trust, Refusal> {
    let unknown = |what: &str| {
        refuse(
            Code::InvalidTrustPolicy,
            format!("unknown {what} in the trust block"),
        )
    };
    let tier = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(t)) => [Tier::T0, Tier::T1, Tier::T2, Tier::T3]
            .into_iter()
            .find(|tier| tier.wire_name() == t)
            .map(Some)
            .ok_or_else(|| unknown(name)),
        Some(_) => Err(unknown(name)),
    };
    let word = |name: &str, allowed: &[&str]| match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(t)) if allowed.contains(&t.as_str()) => Ok(Some(t.clone())),
        Some(_) => Err(unknown(name)),
    };
    let sources = match map.get("evidence_sources") {
        None | Some(Value::Null) => None,
        Some(list @ Value::Array(items)) if items.len() <= TRUST_LIST_MAX && all_known(items) => {
            Some(
                serde_json::from_value::<Vec<EvidenceSource>>(list.clone())
                    .map_err(|_| unknown("evidence_sources"))?,
            )
        }
        Some(_) => return Err(unknown("evidence_sources")),
    };
    Ok(Trust {
        action_type: word(
            "action_type",
            &["communication", "observation", "actuation"],
        )?
        .ok_or_else(|| unknown("action_type"))?,
        sources,
        tier: tier("evidence_trust_tier")?,
        minimum: tier("minimum_trust_tier")?,
        verification: word(
            "verification_required",
            &["none", "device", "human", "device_or_human"],
        )?,
        satisfied: map.get("verification_satisfied") == Some(&Value::Bool(true)),
    })
}

fn check_actuation_trust(trust: &Trust) -> Result<Vec<EvidenceSource>, Refusal> {
    let (Some(tier), Some(minimum), Some(verification)) =
        (trust.tier, trust.minimum, &trust.verification)
    else {
        return Err(refuse(
            Code::TrustMetadataRequired,
            "actuation commands must provide evidence_trust_tier, minimum_trust_tier, and verification_required",
        ));
    };
    let Some(sources) = trust.sources.clone().filter(|s| !s.is_empty()) else {
        return Err(refuse(
            Code::TrustMetadataRequired,
            "actuation commands must name at least one of their evidence_sources",
        ));
    };
    if sources.iter().all(|s| *s == EvidenceSource::Llm) {
        return Err(refuse(
            Code::LlmOnlyActuationBlocked,
            "actuation cannot be executed from LLM-only evidence; require sensor/device or human input",
        ));
    }
    if tier < minimum {
        return Err(refuse(
            Code::InsufficientTrustTier,
            format!(
                "evidence_trust_tier {} is below required {}",
                tier.wire_name(),
                minimum.wire_name()
            ),
        ));
    }
    if verification != "none" && !trust.satisfied {
        return Err(refuse(
            Code::VerificationRequired,
            format!("verification_required={verification} but verification_satisfied is not true"),
        ));
    }
    Ok(sources)
}
