//! Which planner does what: this node tells the others what its planner does, hears what theirs do, and knows by that
//! whether it asks for what its rules want or stands by, and who answers questions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::config::Role;
use crate::domain::admission::Grant;
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{LEASE_EVERY_MS, LEASE_MS, LEASE_TASKS_MAX};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::plan::lease::{Leader, Lease, Leases, Rank, TaskId};
use crate::domain::plan::rules::Rule;
use crate::domain::plan::standing::Standing;
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;
use crate::node::context::{Context, Event, Severity};
use crate::node::frame_log::Frames;
use crate::node::inference::Inference;
use crate::node::links::LinkHandle;
use crate::node::pause::PlannerState;

/// How a planner tells the others of itself.
pub const LEASE: &str = "planner.lease";

/// The planners of this mesh as this node hears them, and the lease that it tells them: whether its own planner rests and
/// has a model.
#[derive(Clone)]
pub struct Leading(Arc<Parts>);

/// What [`Leading`] gives access to.
pub struct Parts {
    /// The frames and the links.
    pub frames: Frames,
    /// The language models it may ask.
    pub inference: Inference,
    /// Whether its planner rests.
    pub planner: Arc<PlannerState>,
    /// When this node began to listen, by the clock that never steps.
    since: u64,
    leases: Mutex<Leases>,
    /// The epoch since which this node leads, while it does.
    leads: Mutex<Option<u64>>,
    /// The wish that is left to another planner now.
    stands_by: Mutex<Option<StandsBy>>,
}

impl std::ops::Deref for Leading {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::Deref for Parts {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

/// A wish of a rule that this node leaves to the planner that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandsBy {
    /// The rule.
    pub rule: String,
    /// Who leads.
    pub leader: DeviceId,
    /// Whether that one says that a person has paused it.
    pub paused: bool,
    /// Since when the wish waits.
    pub since: TimeMs,
    /// For how long, by the clock that never steps.
    pub held_ms: u64,
}

impl StandsBy {
    /// For people.
    pub fn in_words(&self, context: &Context) -> String {
        let leader = crate::node::routing::name(context, &self.leader);
        let says = match self.paused {
            true => ", and says that a person has paused it",
            false => "",
        };
        format!(
            "the wish of rule {:?} has been left to {leader} for {} s: it leads{says}",
            self.rule,
            self.held_ms / 1_000
        )
    }
}

impl Leading {
    /// Begins to listen.
    pub fn new(frames: Frames, inference: Inference, planner: Arc<PlannerState>) -> Self {
        Self(Arc::new(Parts {
            since: frames.clock.steady_ms(),
            frames,
            inference,
            planner,
            leases: Mutex::default(),
            leads: Mutex::default(),
            stands_by: Mutex::default(),
        }))
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leads(&self) -> MutexGuard<'_, Option<u64>> {
        self.0.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is left to another planner now.
    pub fn stands_by(&self, now: Option<StandsBy>) {
        *self.left_to_another() = now;
    }

    /// The wish that is left to another planner now; the oldest where there are several.
    pub fn left(&self) -> Option<StandsBy> {
        self.left_to_another().clone()
    }

    fn left_to_another(&self) -> MutexGuard<'_, Option<StandsBy>> {
        let stands_by = &self.0.stands_by;
        stands_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch since which this node leads, while it does.
    pub fn epoch(&self) -> Option<u64> {
        *self.leads()
    }
}

/// The rank of this node, if it plans.
fn rank(context: &Context) -> Option<Rank> {
    match context.config.role {
        Role::Planner => Some(Rank::Planner),
        Role::StandbyPlanner => Some(Rank::StandbyPlanner),
        _ => None,
    }
}

fn tasks(context: &Context) -> BTreeSet<TaskId> {
    let (rules, questions) = (&context.config.rules, &context.config.questions);
    let rules = rules.iter().map(|r| TaskId::of_rule(r, context.own_id()));
    let all = rules.chain(questions.iter().map(TaskId::of_question));
    // A planner that tells of more is not believed anything.
    all.take(LEASE_TASKS_MAX).collect()
}

/// The planner that watches over a rule instead of this node, as far as is heard.
pub fn instead(leading: &Leading, rule: &Rule) -> Option<Leader> {
    does(leading, &TaskId::of_rule(rule, leading.own_id()))
}

/// The planner that asks a standing question instead of this node: one that has a model, where this node has one.
pub fn asks_instead(leading: &Leading, question: &Standing) -> Option<Leader> {
    let leader = does(leading, &TaskId::of_question(question))?;
    (leader.lease.answers || leading.inference.is_empty()).then_some(leader)
}

fn does(leading: &Leading, task: &TaskId) -> Option<Leader> {
    if !leading.config.stand_by {
        return None;
    }
    let own = (rank(leading)?, leading.own_id());
    let leases = leading.leases();
    leases.instead(own, task, leading.clock.steady_ms())
}

/// Whether another device may plan here at all.
pub fn has_others(context: &Context) -> bool {
    let all = context.trust.all();
    all.iter()
        .any(|r| r.is_live() && r.grants.has(Grant::Plan) && r.device_id != *context.own_id())
}

/// Whether this node has not listened long enough yet to know who else plans.
pub fn settles(leading: &Leading) -> bool {
    let listened = leading.clock.steady_ms().saturating_sub(leading.since);
    leading.config.stand_by && listened < LEASE_MS && has_others(leading)
}

/// The planner that goes before this node, if another does; for a node that plans nothing the first of all.
pub fn before(leading: &Leading) -> Option<Leader> {
    let (leases, now) = (leading.leases(), leading.clock.steady_ms());
    match rank(leading) {
        Some(_) if !leading.config.stand_by => None,
        Some(rank) => leases.before((rank, leading.own_id()), now),
        None => leases.first(now),
    }
}

/// A neighbour tells of its planner.
///
/// # Errors
/// `NOT_AUTHORIZED` without the grant `plan`, `INVALID_PARAMS` for what does not read.
pub fn heard(leading: &Leading, link: &LinkHandle, payload: Value) -> Result<(), Refusal> {
    let device = &link.info.device;
    let record = leading.trust.live(device);
    if !record.is_some_and(|r| r.grants.has(Grant::Plan)) {
        return Err(Refusal::new(
            Code::NotAuthorized,
            format!(
                "device {} may not plan here, so it leads nobody",
                device.short()
            ),
        ));
    }
    let lease = Lease::parse(payload)?;
    let now = leading.clock.steady_ms();
    leading.leases().hear(device.clone(), lease, now);
    Ok(())
}

/// Whether a planner that was heard may still count: over a link that stands, with the grant.
fn may_lead(leading: &Leading, device: &DeviceId) -> bool {
    let record = leading.trust.live(device);
    record.is_some_and(|r| r.grants.has(Grant::Plan)) && leading.links.get(device).is_some()
}

/// Tells the others every second, and at once when a link comes or a pause begins or ends.
pub async fn run(leading: Leading) {
    let mut links = leading.links.watch();
    let mut pause = leading.planner.watch();
    let mut tick = tokio::time::interval(Duration::from_millis(LEASE_EVERY_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before_us = None;
    loop {
        tokio::select! {
            biased;
            () = leading.tasks.stop().cancelled() => return,
            changed = links.changed() => if changed.is_err() { return },
            changed = pause.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
        let gone: Vec<DeviceId> = {
            let leases = leading.leases();
            let devices = leases.devices();
            devices
                .filter(|d| !may_lead(&leading, d))
                .cloned()
                .collect()
        };
        for device in &gone {
            leading.leases().gone(device);
        }
        let Some(role) = rank(&leading) else {
            continue;
        };
        let leader = before(&leading).map(|l| l.device);
        let epoch = stand(&leading, leader.is_none());
        if before_us != Some(leader.clone()) {
            let was = before_us.replace(leader.clone());
            let by = leader.as_ref().or(was.as_ref().and_then(Option::as_ref));
            told(&leading, was.is_some(), leader.as_ref(), by, epoch).await;
        }
        let lease = Lease {
            epoch,
            role,
            tasks: tasks(&leading),
            answers: leading.inference.answers(),
            paused: leading.planner.pause().is_some(),
        };
        let message = Message::event(LEASE, &json!(lease));
        for link in leading.links.all() {
            if link.info.speaks(Feature::Lease) {
                link.tell(message.clone());
            }
        }
    }
}

/// Begins or ceases to lead; the epoch that is told: our own while we lead, else the newest that was heard.
fn stand(leading: &Leading, leads: bool) -> u64 {
    let (leases, mut own) = (leading.leases(), leading.leads());
    let next = leases.next_epoch();
    match (leads, *own) {
        (true, Some(epoch)) => epoch,
        (true, None) => *own.insert(next),
        (false, _) => {
            *own = None;
            next - 1
        }
    }
}

/// Writes down who leads now. That a node leads when it starts alone is no news; a change is `by` the device that came or
/// went, out of whose share of events it is told.
async fn told(
    context: &Context,
    changed: bool,
    leader: Option<&DeviceId>,
    by: Option<&DeviceId>,
    epoch: u64,
) {
    if !changed && leader.is_none() {
        return;
    }
    let message = match leader {
        Some(leader) => format!(
            "The planner of this node stands by: {} leads",
            crate::node::routing::name(context, leader)
        ),
        None => format!("The planner of this node leads (epoch {epoch})"),
    };
    let data = json!({"leader": leader.unwrap_or(context.own_id()), "epoch": epoch});
    let cause = by.map_or(Cause::Own, |device| Cause::Device(device.clone()));
    context
        .journal
        .caused(cause, Event::PlannerLeads, Severity::Info, &message, data)
        .await;
}
