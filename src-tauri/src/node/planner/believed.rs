//! How an answer from the leading planner to a question that was passed on is taken: as its claim, cut, at most T1, with
//! the citations of frames that are known here and say what they say here.

use serde_json::Value;

use super::{Answered, Citation, Question, Telling};
use crate::adapters::store::cited::of_origin;
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{StoreError, proposals};
use crate::domain::base::limits::{
    EVIDENCE_MAX, MODEL_ANSWER_MAX_CHARS, NAME_MAX_BYTES, TEXT_MAX_CHARS, TOOL_RESULT_MAX_CHARS,
};
use crate::domain::base::text::{one_line, shown};
use crate::domain::base::{DeviceId, FrameId, ProposalId, Refusal, TierName, TimeMs};
use crate::domain::proposal::ProposalRecord;
use crate::node::context::{Context, store_refusal};

/// A step as it may be shown.
pub(super) fn cut(step: Telling) -> Telling {
    match step {
        Telling::Thinking { route } => Telling::Thinking {
            route: one_line(&route, TEXT_MAX_CHARS),
        },
        Telling::Text { text } => Telling::Text {
            text: shown(&text, MODEL_ANSWER_MAX_CHARS),
        },
        Telling::Tool { call, result } => Telling::Tool {
            call: one_line(&call, TEXT_MAX_CHARS),
            result: shown(&result, TOOL_RESULT_MAX_CHARS),
        },
        Telling::Again { why } => Telling::Again {
            why: one_line(&why, TEXT_MAX_CHARS),
        },
        other => other,
    }
}

/// The content of a frame as this node stores it.
fn says(frame: &StoredFrame, now: TimeMs) -> String {
    let whole = serde_json::from_str::<Value>(&frame.json).unwrap_or_default();
    let member = |name: &str| match whole.get("data").and_then(|data| data.get(name)) {
        Some(Value::String(text)) => one_line(text, TEXT_MAX_CHARS).replace('|', "/"),
        Some(Value::Number(number)) => number.to_string(),
        _ => "none".to_owned(),
    };
    format!(
        "{} | zone {} | {} {} | {} s old | tier {} | from {}",
        member("metric"),
        member("zone"),
        member("value"),
        member("unit"),
        now.since(frame.time) / 1_000,
        frame.effective_tier,
        frame.origin.short(),
    )
}

/// Of these proposals those that are known here and that the device asked for.
fn asked_by(
    conn: &rusqlite::Connection,
    device: &DeviceId,
    said: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut known = Vec::new();
    for id in said.iter().filter_map(|id| id.parse::<ProposalId>().ok()) {
        let row = proposals::get(conn, &id)?;
        let record = row.and_then(|row| serde_json::from_str::<ProposalRecord>(&row.record).ok());
        if record.is_some_and(|record| record.requested_by.device_id == *device) {
            known.push(id.as_str().to_owned());
        }
    }
    Ok(known)
}

/// An answer of another planner, as far as it is taken.
pub(super) async fn believed(
    context: &Context,
    (leader, name): (&DeviceId, &str),
    question: &Question,
    said: Answered,
) -> Result<Answered, Refusal> {
    let (claimed, now, leader) = (said.citations.len(), context.now(), leader.clone());
    let by = leader.clone();
    let proposed: Vec<String> = said.proposals.into_iter().take(EVIDENCE_MAX).collect();
    let cited: Vec<Citation> = said.citations.into_iter().take(EVIDENCE_MAX).collect();
    let read = move |c: &rusqlite::Connection| {
        let mut known = Vec::new();
        for cite in cited {
            let (Ok(frame), Ok(origin)) = (
                cite.frame_id.parse::<FrameId>(),
                cite.origin.parse::<DeviceId>(),
            ) else {
                continue;
            };
            if let Some(frame) = of_origin(c, &frame, &origin)? {
                known.push(Citation {
                    summary: says(&frame, now),
                    ..cite
                });
            }
        }
        Ok((known, asked_by(c, &leader, &proposed)?))
    };
    let read = context.store.read("citations", read).await;
    let (citations, proposals) = read.map_err(|e| store_refusal(&e))?;
    let labels = &context.config.models.labels;
    let private = labels.text(&question.text).and(labels.text(&said.answer));
    Ok(Answered {
        id: question.id.clone(),
        conversation: question.conversation.clone(),
        private: private.what().to_vec(),
        question: question.text.clone(),
        asked_by: question.by.clone(),
        standing: question.is_standing(),
        answered_by: Some(name.to_owned()),
        led_by: [by].into(),
        answer: shown(&said.answer, MODEL_ANSWER_MAX_CHARS),
        citations_dropped: said.citations_dropped.min(claimed) + claimed - citations.len(),
        citations,
        proposals,
        answerer: said.answerer,
        model: said.model.map(|m| one_line(&m, NAME_MAX_BYTES)),
        tier: match said.tier {
            TierName::T0 => TierName::T0,
            _ => TierName::T1,
        },
        why: said.why.map(|w| one_line(&w, TEXT_MAX_CHARS)),
        asked_at: question.asked_at,
        took_ms: context.now().0.saturating_sub(question.asked_at),
        tokens: said.tokens,
        queued: false,
    })
}
