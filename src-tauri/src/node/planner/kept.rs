//! The questions that were answered last. Those of machines take the place of no more than a part of them.

use std::collections::VecDeque;

use serde_json::json;

use super::Answered;
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::Refusal;
use crate::domain::base::limits::{QUESTIONS_KEPT_MAX, STANDING_KEPT_MAX};
use crate::node::context::{Context, DURABLE, store_refusal};

/// Where the answered questions lie.
pub(super) const KEPT: &str = "planner.answered";

/// The questions that were answered last, newest first.
///
/// # Errors
/// Whatever the store says.
pub async fn answered(context: &Context) -> Result<Vec<Answered>, Refusal> {
    let read = |c: &rusqlite::Connection| kv::get(c, KEPT);
    let kept = context.store.read("answers", read).await;
    Ok(parsed(kept.map_err(|e| store_refusal(&e))?).into())
}

/// One list that does not read is no reason to answer nothing any more.
pub(super) fn parsed(bytes: Option<Vec<u8>>) -> VecDeque<Answered> {
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Keeps an answer.
pub(super) async fn keep(context: &Context, answered: Answered) -> Result<(), StoreError> {
    context
        .store
        .write(DURABLE, "answer", move |c| {
            let mut kept = parsed(kv::get(c, KEPT)?);
            // One that was asked again has its place anew.
            kept.retain(|one| one.id != answered.id);
            kept.push_front(answered);
            let mut standing = 0;
            kept.retain(|one| {
                standing += usize::from(one.standing);
                !one.standing || standing <= STANDING_KEPT_MAX
            });
            kept.truncate(QUESTIONS_KEPT_MAX);
            kv::put(c, KEPT, json!(kept).to_string().as_bytes())
        })
        .await
}
