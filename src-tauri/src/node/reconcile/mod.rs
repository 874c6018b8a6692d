//! Convergence: after any partition two nodes end with the same frames (feature `reconcile`).
//!
//! The side that dialed asks, on connect and then now and again; the other side only answers. What
//! the asking side has and the other lacks goes to its own feeder, what it lacks it asks the other's
//! feeder for; both then travel like any frame, at the receiver's pace. What is older than the
//! horizon of either side is left out, so that nothing pruned comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::context::store_refusal;
use super::frame_log::Frames;
use super::links::LinkHandle;
use crate::domain::base::limits::{
    RECONCILE_ANSWERS_PER_MINUTE, RECONCILE_DIFFERENCES_MAX, RECONCILE_EVERY_MS,
    RECONCILE_FUTILE_MAX, RECONCILE_HORIZONS_MAX, WANTED_MAX,
};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::domain::sync::{self, Differences, FrameKey, Initiator};

/// The request that carries one round.
pub const ROUND: &str = "reconcile.round";
/// The request for frames by their keys.
pub const FETCH: &str = "reconcile.fetch";

/// How soon to look again after differences were found, in milliseconds.
const AGAIN_MS: u64 = 2_000;
/// How soon to try again after a failure, in milliseconds.
const RETRY_MS: u64 = 10_000;
/// How long to wait before asking a busy peer for more frames, in milliseconds.
const BUSY_MS: u64 = 200;
/// Keeps the peer of a link and this node at the same frames until the link ends.
pub async fn keep(log: Frames, link: LinkHandle) {
    let mut tried = Tried::default();
    loop {
        let wait_ms = tokio::select! {
            biased;
            () = link.stop.cancelled() => return,
            result = once(&log, &link, &mut tried) => match result {
                Ok(0) => RECONCILE_EVERY_MS / 2 + log.random.below(RECONCILE_EVERY_MS),
                Ok(_) => AGAIN_MS,
                Err(why) => {
                    tracing::info!(peer = link.info.device.short(), "reconciliation: {why}");
                    RETRY_MS
                }
            }
        };
        tokio::select! {
            biased;
            () = link.stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
    }
}

/// Frames that a reconciliation has already tried to move over this link. One that is refused at
/// the other end, or here, would otherwise travel every time.
#[derive(Default)]
struct Tried(BTreeSet<FrameKey>);

impl Tried {
    /// The keys that have not been tried; all of them are then remembered.
    fn fresh(&mut self, keys: Vec<FrameKey>) -> Vec<FrameKey> {
        if self.0.len() + keys.len() > RECONCILE_FUTILE_MAX {
            self.0.clear();
        }
        keys.into_iter().filter(|k| self.0.insert(*k)).collect()
    }
}

/// One reconciliation; returns how many differences are being mended.
async fn once(log: &Frames, link: &LinkHandle, tried: &mut Tried) -> Result<usize, String> {
    let found = compare(log, link, tried).await?;
    log.metrics.reconciliations.inc();
    if found.is_empty() {
        tried.0.clear();
        return Ok(0);
    }
    let (have, need) = (tried.fresh(found.have), tried.fresh(found.need));
    let moving = have.len() + need.len();
    if moving == 0 {
        return Ok(0);
    }
    log.metrics
        .reconcile_differences
        .inc_by(u64::try_from(moving).unwrap_or(u64::MAX));
    tracing::info!(
        peer = link.info.device.short(),
        lacks = have.len(),
        missing = need.len(),
        "reconciling"
    );
    let push = async {
        for part in have.chunks(WANTED_MAX) {
            if !link.want_soon(part.to_vec()).await {
                return Err("the link ended".to_owned());
            }
        }
        Ok(())
    };
    let (pushed, pulled) = tokio::join!(push, pull(link, &need));
    pushed.and(pulled).map(|()| moving)
}

/// Finds out what each side lacks.
async fn compare(log: &Frames, link: &LinkHandle, tried: &Tried) -> Result<Differences, String> {
    let mut since = log.held.horizon();
    'start: for _ in 0..RECONCILE_HORIZONS_MAX {
        let set = log.held.now(log).await.map_err(|e| e.to_string())?;
        let begun = {
            let set = set.clone();
            log.work(move || Initiator::begin(&set, since)).await
        };
        let (mut side, mut message) = begun
            .ok_or("the comparison failed")?
            .map_err(|e| e.to_string())?;
        loop {
            let params = json!({"since": since, "message": message});
            let answer = link.request(ROUND, &params).await;
            let answer = answer.map_err(|e| e.to_string())?;
            if let Some(theirs) = answer.get("since").and_then(Value::as_u64) {
                // Their horizon is newer than ours: begin again above it.
                if TimeMs(theirs) <= since {
                    return Err("the peer named a horizon that is not newer".to_owned());
                }
                since = TimeMs(theirs);
                continue 'start;
            }
            let answer = answer
                .get("message")
                .and_then(Value::as_str)
                .ok_or("the peer's answer holds no message")?
                .to_owned();
            let held = set.clone();
            let heard = log.work(move || {
                let next = side.hear(&held, &answer);
                (side, next)
            });
            let (back, next) = heard.await.ok_or("the comparison failed")?;
            side = back;
            match next.map_err(|e| e.to_string())? {
                // Keys that were tried in vain are skipped, so that later ones are reached.
                Some(next)
                    if side.found(|key| !tried.0.contains(key)) < RECONCILE_DIFFERENCES_MAX =>
                {
                    message = next;
                }
                _ => return Ok(side.end()),
            }
        }
    }
    Err("the peer's horizon moved all the time".to_owned())
}

/// Asks for frames by their keys, as fast as the peer takes the wishes.
async fn pull(link: &LinkHandle, need: &[FrameKey]) -> Result<(), String> {
    for part in need.chunks(WANTED_MAX) {
        let keys: Vec<String> = part.iter().map(FrameKey::to_text).collect();
        let params = json!({"keys": keys});
        while let Err(error) = link.request(FETCH, &params).await {
            if error.code != Code::Busy.as_str() {
                return Err(error.to_string());
            }
            tokio::time::sleep(Duration::from_millis(BUSY_MS)).await;
        }
    }
    Ok(())
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

/// Answers one round.
///
/// # Errors
/// `INVALID_PARAMS` for what is no round, `RATE_EXCEEDED` for too many of them.
pub async fn answer_round(
    log: &Frames,
    link: &LinkHandle,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    if !link.rounds.admits(RECONCILE_ANSWERS_PER_MINUTE, log.now()) {
        return Err(Refusal::new(
            Code::RateExceeded,
            format!("more than {RECONCILE_ANSWERS_PER_MINUTE} rounds in a minute"),
        ));
    }
    let since = params
        .get("since")
        .and_then(Value::as_u64)
        .map(TimeMs)
        .ok_or_else(|| bad("since must be a time in milliseconds"))?;
    let message = params
        .get("message")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("message must be a text"))?
        .to_owned();
    let horizon = log.held.horizon();
    if horizon > since {
        return Ok(json!({"since": horizon}));
    }
    let set = log.held.now(log).await.map_err(|e| store_refusal(&e))?;
    let answer = log.work(move || sync::answer(&set, since, &message));
    let answer = answer
        .await
        .ok_or_else(|| super::context::internal("the comparison failed"))?;
    let answer = answer.map_err(|e| bad(e.to_string()))?;
    Ok(json!({"message": answer}))
}

/// Takes a wish for frames.
///
/// # Errors
/// `INVALID_PARAMS` for what is no list of keys, `BUSY` while earlier wishes are being sent.
pub fn answer_fetch(link: &LinkHandle, params: &Map<String, Value>) -> Result<Value, Refusal> {
    let keys = params
        .get("keys")
        .and_then(Value::as_array)
        .filter(|keys| keys.len() <= WANTED_MAX)
        .ok_or_else(|| bad(format!("keys must be a list of at most {WANTED_MAX}")))?;
    let keys: Option<Vec<FrameKey>> = keys
        .iter()
        .map(|key| key.as_str().and_then(FrameKey::from_text))
        .collect();
    let keys = keys.ok_or_else(|| bad("a key is 32 bytes as base64url"))?;
    let count = keys.len();
    if !link.want(keys) {
        return Err(Refusal::new(
            Code::Busy,
            "earlier wishes are still being sent",
        ));
    }
    Ok(json!({"sending": count}))
}
