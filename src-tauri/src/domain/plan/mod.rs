//! Planning: what somebody wants done. A [`Draft`] asks; only an executor turns it into a proposal.
//!
//! `rules` is the planner that needs no model, `cron` and `slots` are its schedules; `situation` is what a model is told,
//! `earlier` what was said before, `choices` what it may say, `reply` what is read of it, `queue` what waits for it,
//! `standing` what it is asked without a person, `lease` who of several planners does what. Nothing here can approve or act.

pub mod answer;
pub mod choices;
pub mod cron;
pub mod earlier;
pub mod election;
pub mod lease;
pub mod queue;
pub mod reply;
pub mod rules;
pub mod situation;
pub mod slots;
pub mod standing;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::base::limits::{
    EVIDENCE_MAX, SLOT_AGE_MAX_MS, SLOT_AHEAD_MAX_MS, SLOT_MS, TEXT_MAX_CHARS,
};
use super::base::{Code, DeviceId, DraftId, FrameId, Refusal, Taint, TimeMs};
use super::capability::Action;
use super::policy::Requester;

/// A request for an action, with its reason and the frames it cites. It proves nothing: the
/// executor looks every cited frame up itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Draft {
    /// Chosen by whoever asks; repeating it is recognised as the same request.
    pub draft_id: DraftId,
    /// What is to happen.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
    /// What kind of asker: rules, a person, or a model.
    pub requester: Requester,
    /// The asker's name, for people: a rule's name, a person's name.
    pub requester_name: String,
    /// Marks of everything it was derived from.
    #[serde(default)]
    pub taint: BTreeSet<Taint>,
    /// The frames it rests on.
    #[serde(default)]
    pub cites: Vec<FrameId>,
    /// The devices that made them, as far as the asker says: an id alone may be used by several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<FrameId, DeviceId>,
    /// The time of a schedule that it asks for instead of resting on anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<TimeMs>,
    /// The device whose planner or model led to it, where another one's did: that one cannot vouch for who approves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_by: Option<DeviceId>,
    /// When it was made.
    pub created_at: TimeMs,
    /// When it stops being wanted.
    pub expires_at: TimeMs,
}

impl Draft {
    /// The draft for an executor. Whose the cited frames are, the time of a schedule and who led to it go beside it: an
    /// earlier version takes no draft with a member that it does not know.
    pub fn to_wire(&self) -> Value {
        let plain = Draft {
            origins: BTreeMap::new(),
            slot: None,
            led_by: None,
            ..self.clone()
        };
        let mut value = json!({"draft": plain, "origins": self.origins});
        if let Some(slot) = self.slot {
            value["slot"] = json!(slot);
        }
        if let Some(leader) = &self.led_by {
            value["ledBy"] = json!(leader);
        }
        value
    }

    /// Whether a schedule may ask with this draft now.
    fn check_slot(&self, slot: TimeMs, now: TimeMs) -> Result<(), Refusal> {
        if self.requester != Requester::Rules || !self.cites.is_empty() {
            return Err(Refusal::new(
                Code::InvalidParams,
                "slot: only a rule asks at a time of its schedule, and cites nothing then",
            ));
        }
        if !slot.0.is_multiple_of(SLOT_MS) {
            return Err(Refusal::new(
                Code::InvalidParams,
                "slot: a schedule's times are whole minutes",
            ));
        }
        if slot > now.plus(SLOT_AHEAD_MAX_MS) {
            let why = format!(
                "the time of the schedule lies {} s ahead; the clocks differ",
                slot.since(now) / 1_000
            );
            return Err(Refusal::new(Code::ClockUntrusted, why));
        }
        if now.since(slot) > SLOT_AGE_MAX_MS {
            let why = format!(
                "the time of the schedule is {} s ago, and is not made up for",
                now.since(slot) / 1_000
            );
            return Err(Refusal::new(Code::CommandExpired, why));
        }
        Ok(())
    }

    /// Checks what a stranger may have put into it.
    ///
    /// # Errors
    /// `INVALID_PARAMS` naming the member, `COMMAND_EXPIRED` for one that is no longer wanted.
    pub fn check(mut self, now: TimeMs) -> Result<Draft, Refusal> {
        let bad = |m: String| Refusal::new(Code::InvalidParams, m);
        self.action = Action::new(
            self.action.target,
            &self.action.operation,
            self.action.params,
        )
        .map_err(|e| bad(e.to_string()))?;
        if !self.action.target.is_actuator() {
            return Err(bad(format!("{} is no actuator", self.action.target)));
        }
        for (name, text) in [
            ("reason", &self.reason),
            ("requesterName", &self.requester_name),
        ] {
            if text.chars().count() > TEXT_MAX_CHARS {
                return Err(bad(format!(
                    "{name} is longer than {TEXT_MAX_CHARS} characters"
                )));
            }
        }
        if self.cites.len() > EVIDENCE_MAX {
            return Err(bad(format!(
                "{} frames cited, at most {EVIDENCE_MAX} are allowed",
                self.cites.len()
            )));
        }
        let mut seen = BTreeSet::new();
        self.cites.retain(|id| seen.insert(id.clone()));
        self.origins.retain(|id, _| self.cites.contains(id));
        if self.led_by.is_some() && self.requester != Requester::Llm {
            return Err(bad("ledBy: only a model's wish is led to".to_owned()));
        }
        if self.requester == Requester::Llm {
            self.taint.insert(Taint::Llm);
        }
        if let Some(slot) = self.slot {
            self.check_slot(slot, now)?;
        }
        if now >= self.expires_at {
            return Err(Refusal::new(
                Code::CommandExpired,
                "the draft has expired; ask again if it is still wanted",
            ));
        }
        Ok(self)
    }
}
