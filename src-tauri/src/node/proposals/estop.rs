//! The emergency stop of this executor: everything that moves goes to its safe state and stays
//! there. The latch holds in memory at once, and the guards have their orders before anything is
//! written; it is on disk before anybody is answered, or the answer says that it is not. While it
//! holds, the gate refuses every action, also after a crash. Releasing it is a separate act.
//!
//! A software stop is no certified safety function (SECURITY.md).

use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::left;
use crate::adapters::store::{StoreError, kv};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    ASKED_BY_MAX_CHARS, ESTOP_WAIT_MAX_MS, NAME_MAX_BYTES, STOPPED_BY_MAX_CHARS, TEXT_MAX_CHARS,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{AuditKind, Code, DeviceId, Refusal, TimeMs};
use crate::node::context::{Context, DURABLE, internal, store_refusal};
use crate::node::context::{Event, Severity};
use crate::node::guards::{Cut, Order, Secured};
use crate::node::proposals::Executor;

/// Where the latch lies.
const LATCH: &str = "estop.latch";
/// Where the stops of other nodes lie that were carried out here.
const CARRIED_OUT: &str = "estop.carried";
/// Pause before a latch that the store did not take is written again.
const KEEP_RETRY: Duration = Duration::from_secs(1);

/// A latched emergency stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Latch {
    /// Which stop this is; another stop has another.
    pub id: String,
    /// Since when, in milliseconds since 1970.
    #[cfg_attr(test, schema(value_type = u64))]
    pub since: TimeMs,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Whether a stop is written into the audit trail and told as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// In any case.
    Always,
    /// Only where none is latched yet: whoever asks has asked very often.
    IfNew,
}

impl Told {
    /// How a stop on this account is told. The first always is; one that changes nothing within the account's share, and else it
    /// is counted. It stops in any case.
    pub fn of(executor: &Executor, cause: &Cause) -> Self {
        let is_new = executor.running.latched().is_none();
        match is_new || executor.budgets.stop(cause, executor.now()) {
            true => Told::Always,
            false => Told::IfNew,
        }
    }
}

/// What an emergency stop came to at one executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Halted {
    /// The latch, on disk.
    pub latch: Latch,
    /// Its actuators.
    pub actuators: Vec<HaltedActuator>,
}

/// An emergency stop whose latch is not on disk yet: everything was told to stop and stays so, but a
/// restart would forget it until it is written, which is tried again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unkept {
    /// Why.
    pub refusal: Refusal,
    /// Its actuators.
    pub actuators: Vec<HaltedActuator>,
}

/// An actuator after an emergency stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HaltedActuator {
    /// Which one.
    pub target: String,
    /// Whether its driver confirmed the safe state.
    pub safe: bool,
    /// Where it stands, as its driver says.
    pub position: Option<String>,
    /// What went wrong.
    pub problem: Option<String>,
}

/// The latch on disk.
///
/// # Errors
/// Whatever the store says; a latch that does not read still holds.
pub fn stored(conn: &Connection) -> Result<Option<Latch>, StoreError> {
    Ok(kv::get(conn, LATCH)?.map(|bytes| {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Latch {
            id: "unreadable".to_owned(),
            since: TimeMs(0),
            by: "unknown".to_owned(),
            reason: "the stored latch does not read".to_owned(),
        })
    }))
}

/// The refusal of every action while the stop is latched; asked inside the gate's transaction.
///
/// # Errors
/// `ESTOP` while latched, or whatever the store says.
pub(super) fn check(executor: &Executor, conn: &Connection) -> Result<(), StoreError> {
    match stored(conn)?.or_else(|| executor.running.latched()) {
        None => Ok(()),
        Some(latch) => Err(StoreError::Refused(refusal(executor, &latch))),
    }
}

/// The refusal of every action while this stop is latched.
pub(super) fn refusal(context: &Context, latch: &Latch) -> Refusal {
    Refusal::new(
        Code::Estop,
        format!(
            "the emergency stop is latched at executor {} (by {}: {}); nothing moves until it is released at that node: clawmesh-node estop release",
            context.own_id().short(),
            latch.by,
            latch.reason
        ),
    )
}

/// Takes the latch of an earlier run up, before anything else.
///
/// # Errors
/// Whatever the store says; a node that does not know whether it is stopped does not start.
pub(super) async fn resume(executor: &Executor) -> Result<(), StoreError> {
    let read = |c: &Connection| kv::get(c, CARRIED_OUT);
    let known = executor.store.read("estops carried out", read).await?;
    // One that does not read is carried out again, which errs to the safe side.
    let known = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    executor
        .running
        .carried_out_before(known.unwrap_or_default());
    if let Some(latch) = executor.store.read("estop", stored).await? {
        tracing::warn!(by = %latch.by, reason = %latch.reason, "the emergency stop is latched");
        executor.running.latch(latch);
        executor.metrics.estop_latched.set(1);
    }
    Ok(())
}

fn said(what: &str, text: &str, most: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if text.chars().count() > most || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Refusal::new(
            Code::InvalidParams,
            format!("{what} has at most {most} characters and no control characters"),
        ));
    }
    Ok(text.to_owned())
}

impl From<Secured> for HaltedActuator {
    fn from(secured: Secured) -> Self {
        Self {
            target: secured.target.as_str().to_owned(),
            safe: secured.safe,
            position: secured.position,
            problem: secured.problem,
        }
    }
}

/// As [`engage`], for a stop of another node, by the device and its id of the stop where it gives one. A node that had no answer
/// asks for its stop again: one that was carried out here and released since is over.
///
/// # Errors
/// `CONFLICT` for a stop that is over, or the refusal of [`Unkept`].
pub async fn engage_of(
    executor: &Executor,
    stop: Option<(&DeviceId, &str)>,
    (by, reason): (&str, &str),
    told: Told,
) -> Result<Halted, Refusal> {
    let fits = |id: &str| !id.is_empty() && id.len() <= NAME_MAX_BYTES;
    let stop = stop.filter(|(_, id)| fits(id));
    if let Some((device, id)) = stop {
        let key = format!("{device}/{id}");
        if executor.running.is_carried_out(&key) && executor.running.latched().is_none() {
            return Err(Refusal::new(
                Code::Conflict,
                "this stop was carried out here, and a person has released it since",
            ));
        }
        executor.running.carry_out(key);
    }
    let halted = engage(executor, by, reason, told).await;
    halted.map_err(|unkept| unkept.refusal)
}

/// Stops everything here and latches. Stopping comes first, and goes on even if the caller goes away.
/// The answer comes once the latch is on disk and the actuators are safe, but never later than twice
/// [`ESTOP_WAIT_MAX_MS`]: then it says what is not reached yet.
///
/// # Errors
/// [`Unkept`] if the latch is not on disk yet: then everything has been stopped and stays so, and the
/// latch is written as soon as the store takes it.
pub async fn engage(
    executor: &Executor,
    by: &str,
    reason: &str,
    told: Told,
) -> Result<Halted, Unkept> {
    let latch = Latch {
        // Two stops in one millisecond are one to a person; the random part keeps them apart.
        id: executor
            .fresh_id()
            .map_or_else(|_| executor.now().0.to_string(), |id| id.to_string()),
        since: executor.now(),
        by: match one_line(by.trim(), STOPPED_BY_MAX_CHARS) {
            name if name.is_empty() => "somebody".to_owned(),
            name => name,
        },
        reason: match said("the reason", reason, TEXT_MAX_CHARS) {
            Ok(text) if !text.is_empty() => text,
            // A stop is not refused for want of words.
            _ => "no reason was given".to_owned(),
        },
    };
    let again = told == Told::IfNew && executor.running.latched().is_some();
    // From here on nothing new moves and what moves ends; no await stands before this.
    executor.running.latch(latch.clone());
    let orders = executor.guards.secure_each(&Cut::EmergencyStop);
    executor.metrics.estop_latched.set(1);
    let (tell, told) = oneshot::channel();
    let (s, copy) = (executor.clone(), latch.clone());
    executor.tasks.passing("emergency stop", async move {
        let kept = keep(&s, &copy, again).await;
        let failed = kept.is_err();
        // Whoever asked may have gone; the stop holds all the same.
        let _ = tell.send(kept);
        if failed {
            keep_later(&s, &copy, again).await;
        }
    });
    let wait = Duration::from_millis(ESTOP_WAIT_MAX_MS);
    let (actuators, kept) =
        tokio::join!(settled(executor, &orders), tokio::time::timeout(wait, told));
    let kept = match kept {
        Ok(Ok(kept)) => kept,
        Ok(Err(_)) => Err(internal(
            "the emergency stop was cut off while the node ended",
        )),
        Err(_) => Err(Refusal::new(
            Code::StorageFailed,
            "the disk has not answered yet; it is still being written",
        )),
    };
    executor.metrics.estops.inc();
    let halted = Halted { latch, actuators };
    let (s, copy, failed) = (executor.clone(), halted.clone(), kept.clone().err());
    let (tell, told) = oneshot::channel();
    executor
        .tasks
        .passing("emergency stop's record", async move {
            if !again || failed.is_some() {
                record(&s, &copy, failed).await;
            }
            // As above.
            let _ = tell.send(());
        });
    if kept.is_ok() {
        // The disk answers; the event is there with the answer, or soon after.
        let _ = tokio::time::timeout(wait, told).await;
    }
    match kept {
        Ok(()) => Ok(halted),
        Err(refusal) => Err(Unkept {
            refusal: Refusal::new(
                refusal.code,
                format!(
                    "everything was told to stop, but the latch is not on disk yet and a restart would forget it; it is tried again: {}",
                    refusal.message
                ),
            ),
            actuators: halted.actuators,
        }),
    }
}

/// Waits until every actuator has carried out its order, or has had its time.
async fn settled(executor: &Executor, orders: &[Order]) -> Vec<HaltedActuator> {
    let wait = Duration::from_millis(ESTOP_WAIT_MAX_MS);
    let each = orders
        .iter()
        .map(|order| executor.guards.settled(order, wait));
    let mut all = futures_util::future::join_all(each).await;
    all.extend(left::standing(executor));
    all.into_iter().map(HaltedActuator::from).collect()
}

async fn record(executor: &Executor, halted: &Halted, failed: Option<Refusal>) {
    let Halted { latch, actuators } = halted;
    let unsafe_ones = actuators.iter().filter(|a| !a.safe).count();
    let safe = |a: &&HaltedActuator| a.safe;
    let by_gen1 = actuators
        .iter()
        .filter(safe)
        .filter_map(|a| a.target.parse().ok());
    let by_gen1 = by_gen1.filter(|target| executor.guards.gen1(target).is_some());
    let came_to = match (actuators.len(), unsafe_ones) {
        (0, _) => "this node has no actuators".to_owned(),
        (n, 0) if by_gen1.clone().count() > 0 => format!(
            "{n} actuators told to go to their safe states; gen-1 nodes accepted that for {} and do not say whether \
             they are there",
            by_gen1.count()
        ),
        (1, 0) => "its actuator is in its safe state".to_owned(),
        (n, 0) => format!("its {n} actuators are in their safe states"),
        (n, bad) => format!("{bad} of {n} actuators NOT confirmed safe"),
    };
    let message = format!(
        "Emergency stop by {}: {} ({came_to})",
        latch.by, latch.reason
    );
    let data = json!({"id": latch.id, "by": latch.by, "actuators": actuators});
    executor
        .journal
        .record(Event::EstopEngaged, Severity::Critical, &message, data)
        .await;
    if let Some(refusal) = failed {
        executor
            .journal
            .refused(Event::EstopNotStored, latch.id.as_str(), &refusal)
            .await;
    }
}

/// Writes the latch that holds, with the audit entry of this one; synced before it returns. A stop that came `again` has no
/// entry of its own where the one before it is on disk. One that has been released is not written any more.
async fn keep(executor: &Executor, latch: &Latch, again: bool) -> Result<(), Refusal> {
    let (s, latch) = (executor.clone(), latch.clone());
    let written = executor.store.write(DURABLE, "estop", move |c| {
        let Some(now) = s.running.latched() else {
            return Ok(());
        };
        if s.running.is_lifted(&now.id) {
            return Err(super::refused(Code::Conflict, "it is being released"));
        }
        let held = stored(c)?.is_some();
        kv::put(c, LATCH, json!(now).to_string().as_bytes())?;
        let carried_out = json!(s.running.carried_out()).to_string();
        kv::put(c, CARRIED_OUT, carried_out.as_bytes())?;
        if again && held {
            return Ok(());
        }
        s.journal
            .audit(c, AuditKind::EstopEngaged, &latch.id, json!(latch))
    });
    written.await.map_err(|e| store_refusal(&e))
}

/// Writes the latch at the end of a run where it is not on disk yet, without its audit entry where there is no room for both.
///
/// # Errors
/// That the next start will not know of the stop, and why.
pub async fn keep_at_end(executor: &Executor) -> Result<(), String> {
    let Some(latch) = executor.running.latched() else {
        return Ok(());
    };
    if matches!(executor.store.read("estop", stored).await, Ok(Some(_)))
        || keep(executor, &latch, false).await.is_ok()
    {
        return Ok(());
    }
    let alone = move |c: &Connection| kv::put(c, LATCH, json!(latch).to_string().as_bytes());
    let written = executor.store.write(DURABLE, "estop", alone).await;
    written.map_err(|e| {
        format!("the emergency stop is latched and that is not on disk, so the next start does not know of it: {e}")
    })
}

/// Writes a latch that the store did not take as soon as it does, unless it is released before, another
/// stop has one of its own, or the node ends.
async fn keep_later(executor: &Executor, latch: &Latch, again: bool) {
    let mut failed = Ok(());
    loop {
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => break,
            () = tokio::time::sleep(KEEP_RETRY) => {}
        }
        if executor.running.latched().is_none_or(|l| l.id != latch.id) {
            return;
        }
        failed = keep(executor, latch, again).await;
        if failed.is_ok() {
            return tracing::info!("the latch of the emergency stop is on disk now");
        }
    }
    if let Err(refusal) = failed {
        tracing::error!(
            "the node ends and the latch of the emergency stop is not on disk: {refusal}"
        );
    }
}

/// The refusal of a release while another stop holds than the one that it is about.
fn another(now: &Latch) -> Refusal {
    Refusal::new(
        Code::Conflict,
        format!(
            "another emergency stop came meanwhile (by {}: {}) and holds; look at it and release again",
            now.by, now.reason
        ),
    )
}

/// Lets actions happen again. Nothing starts by itself: what was stopped has ended. Whoever releases may say which stop they
/// have `seen`, by its id.
///
/// # Errors
/// `CONFLICT` if nothing is latched, or another stop than the one that was to be released, `INVALID_PARAMS` without a reason, or what the store says: then
/// the latch holds.
pub async fn release(
    executor: &Executor,
    seen: Option<&str>,
    by: &str,
    reason: &str,
) -> Result<Latch, Refusal> {
    let reason = said("the reason", reason, TEXT_MAX_CHARS)?;
    if reason.is_empty() {
        return Err(Refusal::new(
            Code::InvalidParams,
            "say why the emergency stop may be released",
        ));
    }
    let by = said("the name", by, ASKED_BY_MAX_CHARS)?;
    let Some(held) = executor.running.latched() else {
        return Err(Refusal::new(
            Code::Conflict,
            "the emergency stop is not latched here",
        ));
    };
    if seen.is_some_and(|id| id != held.id) {
        return Err(another(&held));
    }
    let (s, latch, who) = (executor.clone(), held.clone(), by.clone());
    let released = executor
        .store
        .write(DURABLE, "estop release", move |c| {
            // A stop that came meanwhile is not lifted by this release.
            if let Some(now) = s.running.latched().filter(|now| now.id != latch.id) {
                return Err(StoreError::Refused(another(&now)));
            }
            // One that is not on disk yet is not written any more.
            s.running.lift(&latch.id);
            kv::delete(c, LATCH)?;
            s.journal.audit(
                c,
                AuditKind::EstopReleased,
                &latch.id,
                json!({"by": who, "reason": reason, "latch": latch}),
            )?;
            Ok((latch, reason))
        })
        .await;
    let (latch, reason) = released.map_err(|e| {
        executor.running.not_lifted(&held.id);
        store_refusal(&e)
    })?;
    if executor.running.unlatch(&latch.id) {
        executor.metrics.estop_latched.set(0);
    }
    let message = format!("Emergency stop released by {by}: {reason}");
    let data = json!({"id": latch.id, "by": by});
    executor
        .journal
        .record(Event::EstopReleased, Severity::Warning, &message, data)
        .await;
    Ok(latch)
}
