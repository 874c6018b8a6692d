//! What stands in the way of a change of the devices. What is told here is tried again; it is no mistake of the file.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::Wiring;
use crate::adapters::devices::{Configured, SharedWay};
use crate::adapters::store::{StoreError, proposals};
use crate::domain::base::AuditKind;
use crate::domain::capability::Capability;
use crate::node::context::DURABLE;
use crate::node::guards::moved;
use crate::node::proposals::{Executor, rewired};

/// How soon a change that the store did not take is written again.
const SETTLE_AGAIN: Duration = Duration::from_secs(2);

/// Actuators that come in and would be made safe by something else than what the policy in force calls their safe state: it
/// is carried out as soon as they are there, so both have to say the same before.
pub(super) fn of_policy<'a>(
    executor: &Executor,
    coming: impl Iterator<Item = &'a Configured>,
) -> Vec<String> {
    let offered: Vec<_> = coming.flat_map(Configured::offers).collect();
    let policy = executor.policy.current();
    policy.other_safe_states(&offered)
}

/// Actuators that are to be taken out and act, or are not written down as safe; and those that move and would be told
/// something by what makes one safe that comes in. Inside the transaction by which no action begins meanwhile.
///
/// # Errors
/// Whatever the store says.
pub(super) fn now(
    wiring: &Wiring,
    conn: &Connection,
    out: &BTreeSet<Capability>,
    shared: &[SharedWay],
) -> Result<Vec<String>, StoreError> {
    let inner = &wiring.0;
    let noted = moved::all(conn)?;
    let acts = |target: &Capability| -> Result<Option<String>, StoreError> {
        let acting = proposals::executing_on(conn, target.as_str())?;
        if let Some(id) = acting.first() {
            return Ok(Some(format!(
                "is part of what proposal {} does",
                id.short()
            )));
        }
        let is_noted = |m: &moved::Moved| m.target == *target && m.is_in(&inner.executor.guards);
        let why = "was moved, and it is not written down yet that it is safe again";
        Ok(noted.iter().any(is_noted).then(|| why.to_owned()))
    };
    let mut busy = Vec::new();
    for target in out {
        busy.extend(acts(target)?.map(|why| format!("{target} {why}")));
    }
    for SharedWay {
        coming,
        staying,
        shown,
    } in shared
    {
        let Ok(target) = staying.parse::<Capability>() else {
            continue;
        };
        let why = match inner.fitter.moves(&target) {
            Some(moves) => Some(moves),
            None => acts(&target)?,
        };
        busy.extend(why.map(|why| {
            format!(
                "{coming} would be made safe by {shown}, where {staying} is told too, which {why}"
            )
        }));
    }
    Ok(busy)
}

/// Writes down a change of the devices whose transaction was lost though the guards are in their places, as soon as the store
/// takes it: what was asked for of those before ends. Until then nothing begins at these actuators; a node that is started
/// before finds the same by itself.
pub(super) async fn settle_later(wiring: Wiring, targets: BTreeSet<Capability>) {
    let executor = &wiring.0.executor;
    loop {
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => return,
            () = tokio::time::sleep(SETTLE_AGAIN) => {}
        }
        let (s, all) = (wiring.clone(), targets.clone());
        let write = move |c: &Connection| {
            let executor = &s.0.executor;
            rewired::end_all(executor, c, &all)?;
            rewired::keep(c, &rewired::tables(&s.devices()))?;
            let detail = json!({"late": true, "actuators": all});
            executor
                .journal
                .audit(c, AuditKind::DevicesReloaded, "devices", detail)
        };
        match executor.store.write(DURABLE, "late refit", write).await {
            Ok(()) => break,
            Err(error) => tracing::warn!(%error, "a change of the devices is not on disk yet"),
        }
    }
    executor.running.settle(&targets);
    executor.proposals_changed();
    tracing::info!("the change of the devices is on disk now");
}
