//! A proposal's record, verified here, and what is printed of it.
//!
//! Everything a person reads before deciding comes from the bytes that the executor signed. What only the
//! serving node says (where the proposal stands, how it ended) is shown apart and named as such.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::context::{Context, proposal};
use super::fail::{Done, Failure};
use super::moves::moves;
use super::show::tier;
use super::{clean, format, layout, out};
use crate::adapters::keystore;
use crate::adapters::store::trust;
use crate::domain::admission::TrustRecord;
use crate::domain::base::DeviceId;
use crate::domain::gate::{Gen1Command, SignedDecision};
use crate::domain::identity::{PublicKey, Signature};
use crate::domain::proposal::{Evidence, ProposalRecord, SignedProposal, Status};
use crate::operator::dto::{ProposalRecordView, ProposalView};

/// Longest text of a record that is printed whole, in characters.
pub(super) const TEXT_SHOWN_CHARS: usize = 600;
/// Longest name that is printed whole, in characters.
pub(super) const NAME_SHOWN_CHARS: usize = 80;

/// A record's executor according to this state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Executor {
    /// The device of this state directory.
    Own,
    /// A device it trusts, by its name.
    Trusted(String),
    /// It is not known here, and why.
    Unknown(String),
}

/// What may take the place of the second operator.
const OR_AT_NODE: &str = ", or one with the code shown at the executor (--at-node)";

/// A record whose signature was checked here, beside what the node says of it.
#[derive(Debug)]
pub(super) struct Checked {
    /// The record as its executor signed it.
    pub signed: SignedProposal,
    /// Who that is.
    pub executor: Executor,
    /// Names in this state directory of the devices that the record names.
    names: BTreeMap<DeviceId, String>,
    /// The node's own description.
    told: ProposalRecordView,
}

/// Asks the node for a proposal and checks its record here. `wanted` is an id or a start of one that
/// fits only one; the node finds it without sending others.
///
/// # Errors
/// If there is none or more than one, or the record is not its executor's.
pub(super) async fn fetch(ctx: &Context, wanted: &str) -> Result<Checked, Failure> {
    let told = ctx.remote().await?.proposal(proposal(wanted)?).await?;
    let signed = open(&told, wanted)?;
    let executor = executor(ctx, &signed.record().executor);
    let names = names(ctx, signed.record());
    Ok(Checked {
        signed,
        executor,
        names,
        told,
    })
}

/// The record, if the device whose id it names signed it and it is the one that was asked for.
fn open(told: &ProposalRecordView, wanted: &str) -> Result<SignedProposal, Failure> {
    let no = |why: String| Failure::failed(format!("proposal {wanted}: {why}"));
    // The id of a device is the hash of its key: a key that fits the id is the device's own.
    let key = PublicKey::from_text(&told.executor_key)
        .map_err(|e| no(format!("the executor's key is not usable ({e})")))?;
    let signature = Signature::from_text(&told.signature)
        .map_err(|e| no(format!("the executor's signature is not readable ({e})")))?;
    let signed = SignedProposal::open(&told.record, signature, &key)
        .map_err(|refusal| no(refusal.message))?;
    let record = signed.record();
    if !record.has_own_id() {
        return Err(no(
            "its id does not follow from its executor and nonce".to_owned()
        ));
    }
    if !record.proposal_id.as_str().starts_with(wanted) {
        return Err(no(format!(
            "the node answered with another proposal, {}",
            record.proposal_id
        )));
    }
    Ok(signed)
}

/// A device according to the files of the state directory; the serving node is not asked.
fn executor(ctx: &Context, id: &DeviceId) -> Executor {
    let own = match keystore::device_public_key(&ctx.dir) {
        Ok(key) => key.map(|key| key.device_id()),
        Err(error) => return Executor::Unknown(error.to_string()),
    };
    if own.as_ref() == Some(id) {
        return Executor::Own;
    }
    match trust::peek(&ctx.dir.database(), id) {
        Ok(Some(record)) if record.is_live() => Executor::Trusted(label(&record)),
        Ok(Some(_)) => Executor::Unknown("trust in this device was revoked here".to_owned()),
        Ok(None) => {
            Executor::Unknown("no trust record of this state directory names it".to_owned())
        }
        Err(error) => Executor::Unknown(format!("the trust records cannot be read ({error})")),
    }
}

/// The names of the devices that a record's asker and evidence come from, as far as they are known here.
fn names(ctx: &Context, record: &ProposalRecord) -> BTreeMap<DeviceId, String> {
    let asker = std::iter::once(&record.requested_by.device_id);
    let devices: BTreeSet<&DeviceId> = asker
        .chain(&record.led_by)
        .chain(record.evidence.iter().map(|e| &e.origin))
        .collect();
    let known = |id: &DeviceId| match executor(ctx, id) {
        Executor::Own => Some("this node".to_owned()),
        Executor::Trusted(name) => Some(name),
        Executor::Unknown(_) => None,
    };
    let named = devices.into_iter();
    named
        .filter_map(|id| Some((id.clone(), known(id)?)))
        .collect()
}

fn label(record: &TrustRecord) -> String {
    clean::visible(record.label(), NAME_SHOWN_CHARS)
}

impl Checked {
    /// The record.
    pub(super) fn record(&self) -> &ProposalRecord {
        self.signed.record()
    }

    /// A device by the name it has here.
    fn who(&self, id: &DeviceId) -> String {
        format::who(self.names.get(id).map(String::as_str), id.as_str())
    }

    /// The start of the id that tables show.
    pub(super) fn short(&self) -> String {
        format::short(self.record().proposal_id.as_str())
    }

    /// Refuses a record about which no decision should be signed.
    ///
    /// # Errors
    /// If its executor is not known here, or the node describes it otherwise than its executor did.
    pub(super) fn fit_to_sign(&self) -> Done {
        if let Executor::Unknown(why) = &self.executor {
            return Err(Failure::failed(format!(
                "proposal {}: its executor {} is not verified here: {why}; nothing was signed",
                self.short(),
                self.record().executor
            )));
        }
        if let Err(refusal) = self.record().check_texts() {
            return Err(Failure::failed(format!(
                "proposal {}: {refusal}; nothing was signed",
                self.short()
            )));
        }
        match self.lies().as_slice() {
            [] => Ok(()),
            lies => Err(Failure::failed(format!(
                "proposal {}: the node shows other content than the executor signed ({}); nothing was signed",
                self.short(),
                lies.join(", ")
            ))),
        }
    }

    /// The fields that the node describes otherwise than the executor signed them.
    fn lies(&self) -> Vec<String> {
        let (shown, told) = (json!(self.view()), json!(self.told.proposal));
        let empty = serde_json::Map::new();
        let (shown, told) = (
            shown.as_object().unwrap_or(&empty),
            told.as_object().unwrap_or(&empty),
        );
        let differs = |(name, value): &(&String, &Value)| told.get(*name) != Some(*value);
        let lies = shown.iter().filter(differs);
        lies.map(|(name, _)| name.clone()).collect()
    }

    /// The proposal as lists show it, with everything that is signed taken from the record.
    fn view(&self) -> ProposalView {
        let (record, told) = (self.record().clone(), &self.told.proposal);
        ProposalView {
            id: record.proposal_id.as_str().to_owned(),
            level: record.level,
            target: record.target.as_str().to_owned(),
            operation: record.operation,
            params: serde_json::to_value(&record.params).unwrap_or_default(),
            executor: record.executor.as_str().to_owned(),
            executor_name: told.executor_name.clone(),
            created_at: record.created_at.0,
            expires_at: record.expires_at.0,
            evidence: record.evidence,
            reason: record.reason,
            requested_by: record.requested_by,
            led_by: record.led_by,
            led_by_name: told.led_by_name.clone(),
            rule: record.rule,
            quorum: record.quorum,
            at_node: record.at_node,
            tainted: !record.taint.is_empty(),
            run_ms: record.run_ms,
            safe_state: record.safe_state,
            gen1: record.gen1,
            kind: record.kind,
            digest: self.signed.digest().to_string(),
            own: self.executor == Executor::Own,
            status: told.status,
            revision: told.revision,
            updated_at: told.updated_at,
            detail: told.detail.clone(),
            outcome: told.outcome.clone(),
        }
    }

    /// The JSON of `show`: `verification` says what was checked here, `told` what only the node says.
    pub(super) fn json(&self) -> Value {
        let view = ProposalRecordView {
            proposal: self.view(),
            ..self.told.clone()
        };
        let (executor, name, why) = match &self.executor {
            Executor::Own => ("own", None, None),
            Executor::Trusted(name) => ("trusted", Some(name), None),
            Executor::Unknown(why) => ("unknown", None, Some(why)),
        };
        let mut out = json!(view);
        out["verification"] = json!({
            "signature": "valid", "executor": executor, "executorName": name, "notVerifiedHere": why,
            "differsFromNode": self.lies(),
        });
        out["told"] = json!([
            "proposal.status",
            "proposal.detail",
            "proposal.outcome",
            "proposal.revision",
            "proposal.updatedAt",
            "decisions",
            "standing"
        ]);
        out
    }

    /// Everything a person should see before deciding, as text for `width` columns.
    pub(super) fn text(&self, now: u64, width: usize) -> String {
        let mut out = layout::facts(&self.signed_facts(now), width);
        let rows: Vec<Vec<String>> = self
            .record()
            .evidence
            .iter()
            .map(|e| evidence_row(e, &self.record().executor, &self.who(&e.origin), now))
            .collect();
        let head = [
            "EVIDENCE",
            "SAYS",
            "AGE THEN",
            "AGE NOW",
            "ORIGIN",
            "TIER",
            "SIGNATURE",
        ];
        out.push('\n');
        match rows.is_empty() {
            true => out.push_str("it rests on no evidence\n"),
            false => out.push_str(&layout::table(&head, &rows, width)),
        }
        out.push_str("\nTold by the node that was asked; nobody signed this:\n");
        out.push_str(&layout::facts(&self.told_facts(now), width));
        out
    }

    fn signed_facts(&self, now: u64) -> Vec<(&'static str, String)> {
        let r = self.record();
        let params = clean::exact_pairs(&serde_json::to_value(&r.params).unwrap_or_default());
        // Text that may be signed is never cut.
        let params = match r.check_texts() {
            Ok(()) => params,
            Err(_) => clean::visible(&params, TEXT_SHOWN_CHARS),
        };
        let with = match params.is_empty() {
            true => String::new(),
            false => format!(" ({params})"),
        };
        let executor = match &self.executor {
            Executor::Own => format!("{} (this node)", r.executor),
            Executor::Trusted(name) => {
                format!("{}, {} (trusted here)", format::name(name), r.executor)
            }
            Executor::Unknown(why) => format!("{}; not verified here: {why}", r.executor),
        };
        let marks: Vec<String> = r
            .taint
            .iter()
            .map(|t| format::value(&serde_json::to_value(t).unwrap_or_default()))
            .collect();
        let taint = match marks.is_empty() {
            true => String::new(),
            false => format!(
                "{}: a model had a part in this; only a person can let it act",
                marks.join(", ")
            ),
        };
        let (asker, device) = (&r.requested_by, self.who(&r.requested_by.device_id));
        let mut facts = vec![("proposal", r.proposal_id.as_str().to_owned())];
        facts.extend(moves(r, &with));
        facts.extend([
            (
                "by gen-1",
                r.gen1.as_ref().map_or_else(String::new, told_to_gen1),
            ),
            ("why", clean::visible(&r.reason, TEXT_SHOWN_CHARS)),
            (
                "asked by",
                format!(
                    "{} ({}) on device {device}",
                    clean::visible(&asker.name, NAME_SHOWN_CHARS),
                    asker.kind,
                ),
            ),
            (
                "led by",
                r.led_by.as_ref().map_or_else(String::new, |leader| {
                    format!(
                        "the planner or model of {}; whom that device alone vouches for does not count",
                        self.who(leader)
                    )
                }),
            ),
            (
                "needs",
                format!(
                    "{}: {} operator(s){}; rule \"{}\" of the executor's policy",
                    r.level,
                    r.quorum,
                    if r.at_node { OR_AT_NODE } else { "" },
                    clean::visible(&r.rule, NAME_SHOWN_CHARS)
                ),
            ),
            ("taint", taint),
            ("executor", executor),
            (
                "minted",
                format!(
                    "{} ({} ago)",
                    format::moment(r.created_at.0),
                    format::age(now, r.created_at.0)
                ),
            ),
            ("expires", format::moment(r.expires_at.0)),
            ("digest", self.signed.digest().to_string()),
        ]);
        facts
    }

    /// The standing approval by which it began.
    fn approved_ahead(&self) -> String {
        let by = self.told.standing.as_ref().map(|by| {
            let name = by.name.as_deref();
            let id: String = by.id.chars().take(8).collect();
            let who = format::who(name, &by.operator_id);
            format!(
                "{who}: standing approval {id}, use {} of {}",
                by.number, by.of
            )
        });
        clean::visible(&by.unwrap_or_default(), NAME_SHOWN_CHARS)
    }

    /// The decisions that came through channels.
    fn through_channels(&self) -> String {
        let read = |told: &Value| serde_json::from_value::<SignedDecision>(told.clone()).ok();
        let through = |signed: SignedDecision| {
            let decision = signed.decision;
            let given = decision.channel?;
            let (verdict, by) = (format::code(decision.verdict), decision.operator_id.short());
            Some(format!(
                "{verdict} by operator {by} through {}",
                given.channel.shown()
            ))
        };
        let each = self.told.decisions.iter().filter_map(read);
        let each: Vec<String> = each.filter_map(through).collect();
        clean::visible(&each.join("; "), TEXT_SHOWN_CHARS)
    }

    fn told_facts(&self, now: u64) -> Vec<(&'static str, String)> {
        let (told, expires) = (&self.told.proposal, self.record().expires_at.0);
        let left = match told.status == Status::AwaitingApproval {
            true if expires > now => format::span(expires - now),
            true => "none: it has expired by the clock of this machine".to_owned(),
            false => String::new(),
        };
        let lies = self.lies();
        let outcome = told.outcome.as_ref();
        vec![
            ("status", told.status.to_string()),
            ("time left", left),
            ("approved ahead", self.approved_ahead()),
            ("through a channel", self.through_channels()),
            (
                "detail",
                clean::visible(told.detail.as_deref().unwrap_or_default(), TEXT_SHOWN_CHARS),
            ),
            (
                "outcome",
                outcome.map_or_else(String::new, |o| {
                    let took = format::span(o.ended_at.since(o.started_at));
                    let detail = clean::visible(&o.detail, TEXT_SHOWN_CHARS);
                    format!("{}: {detail} (after {took})", o.status)
                }),
            ),
            (
                "actuator",
                outcome
                    .and_then(|o| o.actuator_state.as_deref())
                    .map_or_else(String::new, |s| clean::visible(s, NAME_SHOWN_CHARS)),
            ),
            (
                "warning",
                match lies.is_empty() {
                    true => String::new(),
                    false => format!(
                        "the node describes this otherwise than its executor signed it ({})",
                        lies.join(", ")
                    ),
                },
            ),
        ]
    }
}

/// The exact command to a gen-1 node, and how little it guarantees.
fn told_to_gen1(command: &Gen1Command) -> String {
    let action = &command.action;
    let params = serde_json::to_value(&action.params).unwrap_or_default();
    format!(
        "{}. It is told: {} {} {}",
        command.warning(),
        clean::visible(&action.operation, NAME_SHOWN_CHARS),
        clean::visible(action.target.as_str(), TEXT_SHOWN_CHARS),
        clean::exact_pairs(&params),
    )
}

fn evidence_row(e: &Evidence, executor: &DeviceId, origin: &str, now: u64) -> Vec<String> {
    let place = match (e.interlock, e.origin == *executor) {
        (true, _) => " (for an interlock; no evidence for the wish)",
        (false, true) => "",
        (false, false) => " (of another device than the executor)",
    };
    let signature = serde_json::to_value(e.signature)
        .map(|v| format::value(&v))
        .unwrap_or_default();
    vec![
        format::short_frame(e.frame_id.as_str()),
        clean::visible(&e.summary, TEXT_SHOWN_CHARS) + place,
        format::span(e.age_ms),
        format::age(now, e.sensed_at.0),
        origin.to_owned(),
        tier(
            e.claimed_tier.into(),
            e.effective_tier.into(),
            !e.taint.is_empty(),
        ),
        signature,
    ]
}

/// `show`.
///
/// # Errors
/// If there is no such proposal, its record is not its executor's, or the node does not answer.
pub(super) async fn show(ctx: &Context, wanted: &str) -> Done {
    let checked = fetch(ctx, wanted).await?;
    if ctx.json {
        return out::json(&checked.json());
    }
    out::print(&checked.text(ctx.now(), out::width()));
    Ok(())
}
