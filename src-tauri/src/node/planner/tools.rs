//! The tools of a model while it answers: it looks things up, and may ask for an action. Private data is withheld
//! unless the question was about it, and so went to a model that may see it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Citation;
use super::led::Led;
use super::turn::{ByFrame, citation};
use super::wishes::too_many;
use crate::adapters::store::facts;
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::domain::base::limits::{
    DRAFT_TTL_MS, MODEL_WISHES_MAX, QUERY_DEFAULT, SITUATION_OFFERS_MAX, SITUATION_PROPOSALS_MAX,
    SITUATION_READINGS_MAX,
};
use crate::domain::base::{DeviceId, DraftId, FrameId, Refusal, Taint, TimeMs};
use crate::domain::capability::{Action, Capability, offers_actuator};
use crate::domain::inference::route::Labels;
use crate::domain::plan::Draft;
use crate::domain::plan::choices::{Choices, Kind};
use crate::domain::plan::reply::{Step, Wish};
use crate::domain::plan::situation::{Known, Offer, Situation, Waiting, in_turn, reading};
use crate::domain::policy::Requester;
use crate::domain::world::Fact;
use crate::node::context::{Context, store_refusal};
use crate::node::planner::Planner;
use crate::node::planning::{self, Sent};
use crate::node::privacy;
use crate::node::routing::{self, Place};

/// The reason that goes with what a model wishes for in a private conversation.
const PRIVATE_REASON: &str =
    "asked for in a private conversation; its answer stands at the node that was asked";

/// Whether a wish came out of a private conversation.
fn asked_in_private(row: &ProposalRow) -> bool {
    let record = serde_json::from_str::<Value>(&row.record).unwrap_or_default();
    record.get("reason").and_then(Value::as_str) == Some(PRIVATE_REASON)
}

/// The name of the site, for the model.
pub(super) fn site(context: &Context) -> &str {
    context.config.mesh_name.as_deref().unwrap_or("this site")
}

/// A step as people read it.
pub(super) fn call(step: &Step) -> String {
    let any = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
    match step {
        Step::Answer(_) => "answer".to_owned(),
        Step::QueryWorld { metric, zone } => {
            format!("query_world metric={} zone={}", any(metric), any(zone))
        }
        Step::ListCapabilities => "list_capabilities".to_owned(),
        Step::ListProposals => "list_proposals".to_owned(),
        Step::Read { target } => format!("read {target}"),
        Step::SearchMemory { text } => format!("search_memory {text}"),
        Step::Propose(wish) => format!("propose {}", wish.action.summary()),
    }
}

/// The data of the tools, as of the moment the question was taken up.
pub(super) struct Tools {
    facts: Vec<Fact>,
    withheld: usize,
    offers: Vec<Offer>,
    open: Vec<Waiting>,
    all: Vec<ProposalRow>,
    labels: Labels,
    private: bool,
    now: TimeMs,
    shown: ByFrame,
    proposed: Vec<String>,
    wishes: usize,
    examples: Vec<String>,
}

fn waiting(row: &ProposalRow) -> Waiting {
    Waiting {
        id: row.id.short().to_owned(),
        summary: format!("{} {}", row.operation, row.target),
        status: row.status.to_string(),
    }
}

/// Operations of an actuator: for one of this node all that its driver has, for one of another node those that were asked
/// for before.
fn operations(
    planner: &Planner,
    executor: &DeviceId,
    target: &str,
    asked: &[ProposalRow],
) -> BTreeSet<String> {
    if executor == planner.own_id() {
        let own = target.parse().map(|target| planner.operations(&target));
        return own.unwrap_or_default().into_iter().collect();
    }
    let asked = asked
        .iter()
        .filter(|row| row.executor == *executor && row.target == target);
    asked.map(|row| row.operation.clone()).collect()
}

impl Tools {
    /// Reads what is known. Without `private` what is labelled so is left out.
    pub(super) async fn load(
        planner: &Planner,
        labels: &Labels,
        private: bool,
    ) -> Result<Self, Refusal> {
        let at = planner.moment();
        let read = move |c: &rusqlite::Connection| {
            Ok((
                facts::numeric(c, at)?,
                proposals::open_list(c, QUERY_DEFAULT)?,
                proposals::list(c, false, QUERY_DEFAULT)?,
            ))
        };
        let read = planner.store.read("question", read).await;
        let (mut facts, open, mut all) = read.map_err(|e| store_refusal(&e))?;
        let before = facts.len();
        let may = |f: &Fact| private || !privacy::is_private(labels, f);
        facts.retain(may);
        let said = |row: &ProposalRow| {
            private || !labels.text(&row.record).is_private() && !asked_in_private(row)
        };
        all.retain(said);
        let mut zones: BTreeMap<DeviceId, BTreeSet<String>> = BTreeMap::new();
        for fact in &facts {
            if let Some(zone) = &fact.zone {
                let of = zones.entry(fact.origin.clone()).or_default();
                of.insert(zone.clone());
            }
        }
        let mut offers = Vec::new();
        for (executor, offered) in routing::offers(planner) {
            for target in offered.iter().filter(|c| offers_actuator(c)) {
                offers.push(Offer {
                    executor: executor.clone(),
                    name: routing::name(planner, &executor),
                    target: target.clone(),
                    zones: zones.get(&executor).cloned().unwrap_or_default(),
                    operations: operations(planner, &executor, target, &all),
                });
            }
        }
        let public = |text: &str| private || !labels.text(text).is_private();
        offers.retain(|o| public(&o.target) && public(&o.name));
        let example = |action: &Action| {
            let params = action
                .params
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let params: Vec<String> = params.collect();
            format!(
                "actuator {}, operation {}, params {}",
                action.target,
                action.operation,
                params.join(", ")
            )
        };
        let rules = planner.config.rules.iter();
        Ok(Self {
            withheld: before - facts.len(),
            facts,
            offers,
            open: open.iter().filter(|row| said(row)).map(waiting).collect(),
            all,
            labels: labels.clone(),
            private,
            now: planner.now(),
            shown: ByFrame::new(),
            proposed: Vec::new(),
            wishes: 0,
            examples: rules
                .map(|rule| example(&rule.action))
                .filter(|text| public(text))
                .collect(),
        })
    }

    /// The situation that the model is given with the question.
    pub(super) fn known(&mut self) -> Known<'_> {
        for fact in &self.facts {
            let frame = (fact.frame_id.clone(), fact.origin.clone());
            self.shown.insert(frame, fact.clone());
        }
        Known {
            facts: self.facts.iter().collect(),
            withheld: self.withheld,
            offers: self.offers.clone(),
            proposals: self.open.clone(),
            examples: self.examples.clone(),
        }
    }

    /// What the model may choose from: what the situation tells anyway is no step of its own. Whoever may not ask for
    /// actions has a model that is not told how.
    pub(super) fn choices(&self, context: &Context, propose: bool) -> Choices {
        let acts = !self.offers.is_empty();
        let own = context.own_id();
        let steps = Kind::ALL.into_iter().filter(|kind| match kind {
            Kind::Answer => true,
            Kind::ListProposals | Kind::SearchMemory => !self.all.is_empty(),
            Kind::Propose => acts && propose,
            Kind::QueryWorld => self.facts.len() > SITUATION_READINGS_MAX,
            Kind::ListCapabilities => self.offers.len() > SITUATION_OFFERS_MAX,
            Kind::Read => self.offers.iter().any(|o| o.executor == *own),
        });
        let offers = || self.offers.iter();
        Choices {
            steps: steps.collect(),
            labels: BTreeSet::new(),
            actuators: offers().map(|o| o.target.clone()).collect(),
            executors: offers().map(|o| o.name.clone()).collect(),
            zones: offers().flat_map(|o| o.zones.iter().cloned()).collect(),
        }
    }

    /// The proposals that the model's wishes led to.
    pub(super) fn proposed(&self) -> Vec<String> {
        self.proposed.clone()
    }

    /// A frame that the model was shown, as an answer cites it.
    pub(super) fn citation(&self, frame: &(FrameId, DeviceId), now: TimeMs) -> Citation {
        match self.shown.get(frame) {
            Some(fact) => citation(fact, now),
            None => Citation {
                frame_id: frame.0.as_str().to_owned(),
                origin: frame.1.as_str().to_owned(),
                summary: String::new(),
            },
        }
    }

    /// Does what the model wants, and says what came of it, without the lines that name what is private: a refusal may
    /// tell of the reading that an interlock looks at.
    pub(super) async fn run(
        &mut self,
        planner: &Planner,
        step: Step,
        by: By<'_>,
        situation: &mut Situation,
    ) -> String {
        let result = self.done(planner, step, by, situation).await;
        if self.private {
            return result;
        }
        let lines = result
            .lines()
            .map(|line| match self.labels.text(line).is_private() {
                true => "(This line is private and withheld.)",
                false => line,
            });
        lines.collect::<Vec<_>>().join("\n")
    }

    async fn done(
        &mut self,
        planner: &Planner,
        step: Step,
        by: By<'_>,
        situation: &mut Situation,
    ) -> String {
        match step {
            Step::Answer(_) => String::new(),
            Step::QueryWorld { metric, zone } => {
                self.query(metric.as_deref(), zone.as_deref(), situation)
            }
            Step::ListCapabilities => {
                let lines = self.offers.iter().map(|o| {
                    let zones: Vec<&str> = o.zones.iter().map(String::as_str).collect();
                    format!(
                        "{} | executor {} | zones {}",
                        o.target,
                        o.name,
                        zones.join(", ")
                    )
                });
                listed(lines, "Nobody offers an actuator.")
            }
            Step::ListProposals => {
                let newest = self.all.iter().take(SITUATION_PROPOSALS_MAX).map(line_of);
                listed(newest, "There are no proposals.")
            }
            Step::SearchMemory { text } => {
                let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
                let fits = |row: &&ProposalRow| {
                    // In what it is shown alone: whatever else matched, it could find out word by word.
                    let said = line_of(row).to_lowercase();
                    words.iter().all(|word| said.contains(word))
                };
                let found = self.all.iter().filter(fits);
                let found = found.take(SITUATION_PROPOSALS_MAX).map(line_of);
                listed(found, "Nothing was found.")
            }
            Step::Read { target } => read(planner, &target),
            Step::Propose(wish) => self.propose(planner, wish, by).await,
        }
    }

    fn query(&self, metric: Option<&str>, zone: Option<&str>, situation: &mut Situation) -> String {
        let like = |text: &str, wanted: &str| text.to_lowercase().contains(&wanted.to_lowercase());
        let fits = |f: &&Fact| {
            metric.is_none_or(|m| like(&f.metric, m))
                && zone.is_none_or(|z| f.zone.as_deref().is_some_and(|zone| like(zone, z)))
        };
        let found = in_turn(self.facts.iter().filter(fits)).into_iter();
        let lines = found
            .take(SITUATION_READINGS_MAX)
            .map(|f| format!("{} | {}", situation.label(f), reading(f, self.now)));
        let lines: Vec<String> = lines.collect();
        let withheld = match self.private || self.withheld == 0 {
            true => String::new(),
            false => format!("\n({} private readings are withheld.)", self.withheld),
        };
        format!(
            "{}{withheld}",
            listed(lines.into_iter(), "No reading fits.")
        )
    }

    /// A model's wish goes to an executor as a draft with the taint `llm`: whatever it cites, a person decides.
    async fn propose(&mut self, planner: &Planner, wish: Wish, by: By<'_>) -> String {
        if self.wishes >= MODEL_WISHES_MAX {
            return format!("Refused: {}", too_many());
        }
        self.wishes += 1;
        if let Some(pause) = planner.planner.pause() {
            return format!("Refused: {}", pause.refusal());
        }
        if !self.private && self.labels.text(&wish.reason).is_private() {
            return "Refused: the reason names what is private.".to_owned();
        }
        let wish = match self.private {
            // Everybody reads it who reads of the proposal.
            true => Wish {
                reason: PRIVATE_REASON.to_owned(),
                ..wish
            },
            false => wish,
        };
        let led_by = match by.led.one() {
            Ok(led_by) => led_by.cloned(),
            Err(refusal) => return format!("Refused: {refusal}"),
        };
        let (said, id) = submit(planner, wish, by.model, led_by).await;
        if let Some(id) = id.filter(|id| !self.proposed.contains(id)) {
            self.proposed.push(id);
        }
        said
    }

    /// The device that the model means by a name that it was told.
    pub(super) fn executor(&self, name: &str) -> Option<DeviceId> {
        let named = |o: &&Offer| o.name == name || o.executor.as_str() == name;
        let mut all = self.offers.iter().filter(named).map(|o| &o.executor);
        let first = all.next()?;
        all.all(|other| other == first).then(|| first.clone())
    }
}

/// Who takes a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    /// The model, by its name.
    pub(super) model: &'a str,
    /// Who led to it.
    pub(super) led: &'a Led,
}

/// Sends a wish of a model to an executor, as a draft with the taint `llm`: whatever it cites, a person decides. What came of
/// it, in words, and the proposal.
pub(super) async fn submit(
    planner: &Planner,
    wish: Wish,
    model: &str,
    led_by: Option<DeviceId>,
) -> (String, Option<String>) {
    let place = Place {
        executor: wish.executor.clone(),
        zone: wish.zone.clone(),
    };
    let draft = match draft(planner, wish, model) {
        Ok(draft) => draft,
        Err(refusal) => return (format!("Refused: {refusal}"), None),
    };
    let draft = Draft { led_by, ..draft };
    let draft_id = draft.draft_id.short().to_owned();
    match planning::submit_to(planner, draft, &place).await {
        Ok(Sent::Waiting(refusal)) => {
            let waits = format!("Draft {draft_id} waits for its executor: {refusal}");
            (waits, None)
        }
        Ok(sent) => {
            let id = sent.proposal().map(|id| id.as_str().to_owned());
            let id = id.unwrap_or_default();
            let stood = match &sent {
                Sent::Stood(_) => " It stood already; nothing was added.",
                _ => "",
            };
            let short = id.get(..12).unwrap_or(&id);
            let said = format!(
                "Proposal {short} waits for a person to approve it; nothing has moved.{stood}"
            );
            (said, Some(id))
        }
        Err(refusal) => (format!("Refused: {refusal}"), None),
    }
}

/// The draft of a model's wish.
fn draft(context: &Context, wish: Wish, model: &str) -> Result<Draft, Refusal> {
    let now = context.now();
    Ok(Draft {
        draft_id: DraftId::from(context.fresh_id()?),
        action: wish.action,
        reason: wish.reason,
        requester: Requester::Llm,
        requester_name: model.to_owned(),
        taint: [Taint::Llm].into(),
        origins: wish.cites.iter().cloned().collect(),
        slot: None,
        led_by: None,
        cites: wish.cites.into_iter().map(|(id, _)| id).collect(),
        created_at: now,
        expires_at: now.plus(DRAFT_TTL_MS),
    })
}

fn line_of(row: &ProposalRow) -> String {
    let why = row.reason.as_deref().unwrap_or_default();
    format!(
        "{} | {} {} | {} | {} | {why}",
        row.id.short(),
        row.operation,
        row.target,
        row.level,
        row.status
    )
}

fn listed(lines: impl Iterator<Item = String>, nothing: &str) -> String {
    let lines: Vec<String> = lines.map(|l| l.replace(['\n', '\r'], " ")).collect();
    match lines.is_empty() {
        true => nothing.to_owned(),
        false => lines.join("\n"),
    }
}

/// Where an actuator of this node stands.
fn read(planner: &Planner, target: &str) -> String {
    let Ok(target) = target.parse::<Capability>() else {
        return format!("{target:?} is no actuator; list_capabilities names them.");
    };
    match planner.view(&target) {
        Some(view) => format!(
            "{target}: {}, {}",
            if view.running {
                "running"
            } else {
                "not running"
            },
            if view.safe {
                "confirmed safe"
            } else {
                "not confirmed to be in its safe state"
            },
        ),
        None => {
            format!("{target} belongs to another device, which tells of it in its proposals alone.")
        }
    }
}
