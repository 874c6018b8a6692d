//! Planning: the rules planner watches the world and sends drafts to the executors that own the
//! actuators. It has no key, and no way to approve anything.

mod held;
mod keeping;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use self::held::Held;
pub use self::waiting::retry_waiting;
use super::cites;
use super::context::{Context, DURABLE, store_refusal};
use super::guards::View;
use super::leading::Leading;
use super::links::Reach;
use super::privacy;
use super::proposals::{self as executor, Executor, mirror};
use super::routing::{self, Place};
use super::timetable::Timetable;
use crate::adapters::store::drafts::{self, DraftRow, DraftStatus};
use crate::adapters::store::facts;
use crate::domain::base::limits::{
    DRAFT_TTL_MS, DRAFTS_WAITING_MAX, LEASE_EVERY_MS, SLOT_AGE_MAX_MS,
};
use crate::domain::base::{Code, DeviceId, DraftId, ProposalId, Refusal, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::plan::Draft;
use crate::domain::plan::cron::Cron;
use crate::domain::plan::rules::{Because, Fired, Memory, Rule, step};
use crate::domain::policy::Requester;
use crate::domain::proposal::{ProposalRecord, Status};
use crate::domain::wire::handshake::Feature;
use crate::node::context::{Event, Severity};

/// Drafts: who has it asks executors for actions, this node's own among them, and can decide nothing. The executor is known
/// in this room alone.
#[derive(Clone)]
pub struct Drafts(Arc<Parts>);

/// What [`Drafts`] gives access to.
pub struct Parts {
    /// Which planner does what; beneath it the frames.
    pub leading: Leading,
    executor: Executor,
    reach: Arc<dyn Reach>,
}

impl std::ops::Deref for Drafts {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::Deref for Parts {
    type Target = Leading;

    fn deref(&self) -> &Leading {
        &self.leading
    }
}

impl Drafts {
    /// Nothing is asked for yet.
    pub fn new(leading: Leading, executor: Executor, reach: Arc<dyn Reach>) -> Self {
        Self(Arc::new(Parts {
            leading,
            executor,
            reach,
        }))
    }

    /// The operations of an actuator or a sequence of this node; none if it does not have it.
    pub fn operations(&self, target: &Capability) -> Vec<String> {
        let sequences = self.executor.policy.current();
        let of_it = sequences.sequences().iter();
        let of_it = of_it.filter(|s| s.capability == *target);
        let mut all = self.executor.guards.operations(target);
        all.extend(of_it.map(|s| s.operation.clone()));
        all
    }

    /// How an actuator of this node stands, as its guard knows it; `None` for one of another device.
    pub fn view(&self, target: &Capability) -> Option<View> {
        self.executor.guards.view(target)
    }
}

/// The state of a draft after it was sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// The executor minted a proposal.
    Proposed(ProposalId),
    /// The executor had the same wish already; nothing was added to it.
    Stood(Stood),
    /// The executor cannot be reached; the draft waits until it expires.
    Waiting(Refusal),
}

/// A wish that an executor had already when the same was asked again.
#[derive(Debug, Clone, PartialEq)]
pub struct Stood {
    /// The proposal that stands for it.
    pub id: ProposalId,
    /// Where that stands.
    pub status: Status,
    /// Since when, by the executor's clock.
    pub since: TimeMs,
}

impl Sent {
    /// The proposal, where there is one.
    pub fn proposal(&self) -> Option<&ProposalId> {
        match self {
            Self::Proposed(id) | Self::Stood(Stood { id, .. }) => Some(id),
            Self::Waiting(_) => None,
        }
    }
}

/// Runs the thresholds whenever the world changes, at most five times a second, and looks each second whether the time of
/// a schedule has come.
pub async fn run(drafts: Drafts) {
    let kept = keeping::keep(drafts.clone());
    drafts.tasks.essential("renewals", kept);
    let mut memory = Memory::default();
    let mut timetable = Timetable::of_rules(&drafts).await;
    let mut head = drafts.frames_head.subscribe();
    let mut pause = drafts.planner.watch();
    let mut held = Held::default();
    let mut tick = tokio::time::interval(Duration::from_millis(LEASE_EVERY_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = drafts.tasks.stop().cancelled() => return,
            () = timetable.looked() => {
                let fired = at_their_time(&drafts, &mut timetable).await;
                send_all(&drafts, fired, &mut held).await;
                continue;
            }
            // Before the readings, which never cease.
            _ = tick.tick(), if !held.is_empty() => {
                held.look_again(&drafts).await;
                continue;
            }
            changed = pause.changed() => if changed.is_err() { return },
            changed = head.changed() => if changed.is_err() { return },
        }
        if drafts.planner.pause().is_some() {
            continue;
        }
        let fired = beyond_their_threshold(&drafts, &mut memory).await;
        send_all(&drafts, fired, &mut held).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The wishes of thresholds.
async fn beyond_their_threshold(drafts: &Drafts, memory: &mut Memory) -> Vec<Fired> {
    let at = drafts.moment();
    let watches = drafts.config.rules.iter().filter_map(Rule::watch);
    let metrics: BTreeSet<String> = watches.map(|w| w.metric.clone()).collect();
    if metrics.is_empty() {
        return Vec::new();
    }
    let read = move |c: &rusqlite::Connection| facts::numeric_of(c, &metrics, at);
    let facts = match drafts.store.read_gathered("facts", read).await {
        Ok(facts) => facts,
        Err(error) => {
            tracing::error!(%error, "the planner cannot read the world");
            return Vec::new();
        }
    };
    let offers = routing::offers(drafts);
    let acts = |device: &DeviceId, target: &Capability| routing::offered(&offers, device, target);
    step(&drafts.config.rules, &facts, &acts, memory, drafts.now())
}

/// The wishes of schedules.
async fn at_their_time(drafts: &Drafts, timetable: &mut Timetable) -> Vec<Fired> {
    let due = timetable.due(drafts, &drafts.planner).await;
    let rules = drafts.config.rules.iter();
    let scheduled: Vec<(&Rule, &Cron)> = rules.filter_map(|r| Some((r, r.schedule()?))).collect();
    let fired = due.into_iter().filter_map(|(name, slot)| {
        let (rule, cron) = scheduled.iter().find(|(rule, _)| rule.name == name)?;
        Some(Fired::at(rule, cron, slot))
    });
    fired.collect()
}

async fn send_all(drafts: &Drafts, fired: Vec<Fired>, held: &mut Held) {
    for fired in fired {
        if drafts.planner.pause().is_some() {
            return;
        }
        drafts.planner.fired(&fired.rule, drafts.now());
        match Held::holds_back(drafts, &fired) {
            true => held.hold(drafts, fired),
            false => ask(drafts, fired).await,
        }
    }
}

/// Where a rule's wish is to be done.
fn place_of(fired: &Fired) -> Place {
    Place {
        executor: fired.executor.clone(),
        zone: None,
    }
}

/// Asks for what a rule wants.
async fn ask(drafts: &Drafts, fired: Fired) {
    let (name, place) = (fired.rule.clone(), place_of(&fired));
    let draft = match draft(drafts, fired) {
        Ok(draft) => draft,
        Err(refusal) => return tracing::error!(rule = name, "no draft: {refusal}"),
    };
    let message = format!("Rule {name:?}: {}", draft.reason);
    let mut data = json!({"rule": name, "draftId": draft.draft_id, "target": draft.action.target});
    if let Some(slot) = draft.slot {
        data["slot"] = json!(slot);
    }
    drafts
        .journal
        .record(Event::RuleFired, Severity::Info, &message, data)
        .await;
    // An executor that does not answer must not hold up the rules about others.
    let sending = drafts.clone();
    drafts.tasks.passing("rule draft", async move {
        // A refusal has been recorded; the rule rests its cooldown and asks again.
        if let Err(refusal) = submit_to(&sending, draft, &place).await {
            tracing::debug!(rule = name, "{refusal}");
        }
    });
}

fn draft(context: &Context, fired: Fired) -> Result<Draft, Refusal> {
    let now = context.now();
    let draft = Draft {
        draft_id: DraftId::from(context.fresh_id()?),
        action: fired.action,
        reason: fired.reason,
        requester: Requester::Rules,
        requester_name: fired.rule,
        taint: BTreeSet::new(),
        origins: BTreeMap::new(),
        cites: Vec::new(),
        slot: None,
        led_by: None,
        created_at: now,
        expires_at: now.plus(DRAFT_TTL_MS),
    };
    Ok(match fired.because {
        Because::Reading {
            cites,
            origin,
            taint,
        } => Draft {
            origins: [(cites.clone(), origin)].into(),
            cites: vec![cites],
            taint,
            ..draft
        },
        Because::Slot(slot) => Draft {
            slot: Some(slot),
            expires_at: slot.plus(SLOT_AGE_MAX_MS),
            ..draft
        },
    })
}

/// Sends a draft to the executor that its evidence points to; see [`submit_to`].
///
/// # Errors
/// As [`submit_to`].
pub async fn submit(drafts: &Drafts, draft: Draft) -> Result<Sent, Refusal> {
    submit_to(drafts, draft, &Place::default()).await
}

/// Sends a draft to its executor: the one that is named, or that its evidence comes from, or the only
/// one. An unreachable one makes the draft wait, visibly and durably, for that very executor.
///
/// # Errors
/// The executor's refusal; `UNKNOWN_TARGET` if nobody offers the target, `TARGET_AMBIGUOUS` if several
/// do and nothing says which.
pub async fn submit_to(drafts: &Drafts, draft: Draft, place: &Place) -> Result<Sent, Refusal> {
    let draft = draft.check(drafts.now())?;
    let target = draft.action.target.clone();
    let sent = send(drafts, draft, place).await;
    if let Err(refusal) = &sent {
        drafts
            .journal
            .refused(Event::DraftRefused, target.as_str(), refusal)
            .await;
    }
    sent
}

async fn send(drafts: &Drafts, draft: Draft, place: &Place) -> Result<Sent, Refusal> {
    leader_trusted(drafts, &draft)?;
    let draft = cites::named(drafts, draft).await?;
    let executor = routing::executor_of(drafts, &draft, place).await?;
    match deliver(drafts, &draft, &executor).await {
        Err(refusal) if waits_for(&refusal) => {
            wait(drafts, &draft, &executor, &refusal).await?;
            Ok(Sent::Waiting(refusal))
        }
        sent => sent,
    }
}

/// Drafts that another device led to end with the trust in it.
fn leader_trusted(context: &Context, draft: &Draft) -> Result<(), Refusal> {
    let leader = draft.led_by.as_ref();
    match leader.is_none_or(|device| context.trust.live(device).is_some()) {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::UntrustedPeer,
            "the device whose planner or model led to this is trusted no longer",
        )),
    }
}

fn waits_for(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::ExecutorUnreachable | Code::Timeout)
}

async fn deliver(drafts: &Drafts, draft: &Draft, executor: &DeviceId) -> Result<Sent, Refusal> {
    if executor == drafts.own_id() {
        let minted = executor::mint(&drafts.executor, draft.clone(), drafts.own_id()).await?;
        return Ok(sent(drafts, draft, minted.signed.record(), minted.status));
    }
    privacy::may_be_cited(drafts, draft, executor).await?;
    let unreachable = || {
        Refusal::new(
            Code::ExecutorUnreachable,
            format!("device {} is not connected", executor.short()),
        )
    };
    let link = drafts.reach.reach(executor).await.ok_or_else(unreachable)?;
    if !link.info.speaks(Feature::Proposals) {
        return Err(Refusal::new(
            Code::DeliveryFailed,
            format!(
                "device {} is a gen-1 node; it cannot mint proposals",
                executor.short()
            ),
        ));
    }
    // An earlier version would not hear who led to it, and count whom that device vouches for.
    if draft.led_by.is_some() && !link.info.speaks(Feature::Wishes) {
        let why = "runs an earlier version, which takes no wish that another planner led to";
        let why = format!("device {} {why}", executor.short());
        return Err(Refusal::new(Code::DeliveryFailed, why));
    }
    let answer = link.request("proposals.draft", &draft.to_wire()).await?;
    let (signed, status) = mirror::take(&drafts.executor, &link, &answer).await?;
    Ok(sent(drafts, draft, signed.record(), status))
}

/// An executor's answer to a draft. A proposal of another draft is an equal wish that it had already.
fn sent(context: &Context, draft: &Draft, record: &ProposalRecord, status: Status) -> Sent {
    let id = record.proposal_id.clone();
    // Another device may have used the same id for a draft of its own.
    let ours = record.requested_by.device_id == *context.own_id();
    if ours && record.draft_id == draft.draft_id {
        return Sent::Proposed(id);
    }
    Sent::Stood(Stood {
        id,
        status,
        since: record.created_at,
    })
}

async fn wait(
    context: &Context,
    draft: &Draft,
    executor: &DeviceId,
    refusal: &Refusal,
) -> Result<(), Refusal> {
    let row = DraftRow {
        id: draft.draft_id.clone(),
        executor: Some(executor.clone()),
        target: draft.action.target.as_str().to_owned(),
        json: serde_json::to_string(draft).unwrap_or_default(),
        status: DraftStatus::Waiting,
        code: Some(refusal.code.as_str().to_owned()),
        message: Some(refusal.message.clone()),
        created_at: draft.created_at,
        expires_at: draft.expires_at,
        proposal_id: None,
    };
    let stored = context
        .store
        .write(DURABLE, "draft", move |c| {
            if drafts::waiting_count(c)? >= DRAFTS_WAITING_MAX {
                let full = format!("{DRAFTS_WAITING_MAX} drafts wait for executors already");
                return Err(Refusal::new(Code::Busy, full).into());
            }
            drafts::put(c, &row)
        })
        .await;
    stored.map_err(|e| store_refusal(&e))?;
    let message = format!(
        "Draft {} waits: {}",
        draft.draft_id.short(),
        refusal.message
    );
    let data = json!({"draftId": draft.draft_id, "target": draft.action.target});
    context
        .journal
        .record(Event::DraftWaiting, Severity::Warning, &message, data)
        .await;
    Ok(())
}
