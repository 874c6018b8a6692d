//! Actions that a model wants in answer to a question of another device. The planner that answers asks for nothing: it notes
//! them, and the device that asked hears of them with the answer. There each one is what a model says, whoever says it:
//! checked anew, with evidence that this node holds itself, sent to the executor in this node's name as a draft with the
//! taint `llm`, and never one that a person counts for whom the planner that answered alone vouches for.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tools::Tools;
use crate::adapters::store::cited::of_origin;
use crate::domain::base::limits::{EVIDENCE_MAX, MODEL_WISHES_MAX, NAME_MAX_BYTES, TEXT_MAX_CHARS};
use crate::domain::base::text::{one_line, shown};
use crate::domain::base::{Code, DeviceId, FrameId, Refusal};
use crate::domain::capability::{Action, Params};
use crate::domain::inference::route::Labels;
use crate::domain::plan::reply::Wish;
use crate::node::context::{Context, store_refusal};

/// A wish on its way to the device that asked. What that decides itself has no member here: levels, tiers, votes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Told {
    actuator: String,
    operation: String,
    params: Params,
    reason: String,
    /// Names differ from node to node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    executor: Option<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    cites: Vec<Cited>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cited {
    frame_id: FrameId,
    origin: DeviceId,
}

/// The wishes that came of a question of another device so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted(Arc<Mutex<Vec<Value>>>);

impl Noted {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question that is asked anew has led to none.
    pub(super) fn clear(&self) {
        self.all().clear();
    }

    /// The message to the device that asked.
    pub(super) fn told(&self) -> Vec<Value> {
        self.all().clone()
    }

    /// Notes one, and says to the model what becomes of it.
    pub(super) fn note(&self, wish: Wish, tools: &Tools) -> String {
        let mut all = self.all();
        if all.len() >= MODEL_WISHES_MAX {
            return format!("Refused: {}", too_many());
        }
        let executor = match wish.executor.map(|name| tools.executor(&name)) {
            Some(None) => return "Refused: no device of that name offers an actuator.".to_owned(),
            Some(known) => known,
            None => None,
        };
        let cites = wish.cites.into_iter();
        let told = Told {
            actuator: wish.action.target.as_str().to_owned(),
            operation: wish.action.operation,
            params: wish.action.params,
            reason: wish.reason,
            executor,
            zone: wish.zone,
            cites: cites
                .map(|(frame_id, origin)| Cited { frame_id, origin })
                .collect(),
        };
        all.push(json!(told));
        "Noted. The device that asked hears of it with your answer and may propose it in its own name; nothing has moved."
            .to_owned()
    }
}

pub(super) fn too_many() -> Refusal {
    let why = format!("at most {MODEL_WISHES_MAX} actions for one question");
    Refusal::new(Code::RateExceeded, why)
}

/// A wish of the planner that answered, as this node may ask for it.
pub(super) async fn checked(
    context: &Context,
    labels: &Labels,
    told: &Value,
) -> Result<Wish, Refusal> {
    let bad = |why: String| Refusal::new(Code::InvalidParams, one_line(&why, TEXT_MAX_CHARS));
    let told: Told = serde_json::from_value(told.clone())
        .map_err(|e| bad(format!("the wish does not read: {e}")))?;
    let target = told.actuator.parse();
    let target = target.map_err(|e| bad(format!("actuator: {e}")))?;
    let action = Action::new(target, &told.operation, told.params);
    let action = action.map_err(|e| bad(e.to_string()))?;
    let reason = shown(told.reason.trim(), TEXT_MAX_CHARS - 1);
    if labels.text(&reason).is_private() {
        return Err(bad("the reason names what is private".to_owned()));
    }
    let cites = told.cites.into_iter().map(|c| (c.frame_id, c.origin));
    let cites: Vec<(FrameId, DeviceId)> = cites.collect();
    if cites.len() > EVIDENCE_MAX {
        return Err(bad(format!("more than {EVIDENCE_MAX} frames are cited")));
    }
    let cited = cites.clone();
    let read = move |c: &rusqlite::Connection| {
        for (frame, origin) in &cited {
            if of_origin(c, frame, origin)?.is_none() {
                return Ok(Some(frame.clone()));
            }
        }
        Ok(None)
    };
    let missing = context.store.read("evidence of a wish", read).await;
    if let Some(frame) = missing.map_err(|e| store_refusal(&e))? {
        let why = format!("frame {} is not held here", frame.short());
        return Err(Refusal::new(Code::EvidenceMissing, why));
    }
    Ok(Wish {
        action,
        reason,
        executor: told.executor.map(|id| id.as_str().to_owned()),
        zone: told.zone.map(|zone| one_line(&zone, NAME_MAX_BYTES)),
        cites,
        dropped: 0,
    })
}
