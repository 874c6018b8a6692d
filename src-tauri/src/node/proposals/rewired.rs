//! What waits for an actuator whose device is another one now: it was asked for, and approved, for the one before.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::standing_approvals::end_for;
use super::{Executor, open, write};
use crate::adapters::devices::Configured;
use crate::adapters::store::{StoreError, cases, kv, proposals, standing_approvals};
use crate::domain::base::Digest;
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::capability::Capability;
use crate::domain::proposal::{Status, end};
use crate::node::context::DURABLE;

/// Ends every proposal that has not begun and every standing approval for one of these actuators, and then makes the change,
/// inside the transaction of the caller; where `change` refuses, nothing has ended.
///
/// # Errors
/// Whatever the store says; nothing was changed then.
pub fn end_all_and<T, E>(
    executor: &Executor,
    conn: &Connection,
    targets: &BTreeSet<Capability>,
    change: impl FnOnce() -> Result<T, E>,
) -> Result<Result<T, E>, StoreError> {
    conn.execute_batch("SAVEPOINT rewired")?;
    end_all(executor, conn, targets)?;
    let done = change();
    conn.execute_batch(match done {
        Ok(_) => "RELEASE rewired",
        Err(_) => "ROLLBACK TO rewired; RELEASE rewired",
    })?;
    Ok(done)
}

/// The tables of the actuators of a configuration: the digest of each one's.
pub type Tables = BTreeMap<String, Digest>;

/// Where they lie.
const TABLES: &str = "actuators.tables";

/// Those of these devices.
pub fn tables(devices: &[Configured]) -> Tables {
    let each = devices.iter().flat_map(|device| {
        let digest = device.digest();
        let offers = device.offers().into_iter();
        offers.map(move |offered| (offered.capability.as_str().to_owned(), digest))
    });
    each.collect()
}

/// Notes the tables that count from here on.
///
/// # Errors
/// Whatever the store says.
pub fn keep(conn: &Connection, tables: &Tables) -> Result<(), StoreError> {
    kv::put(
        conn,
        TABLES,
        &serde_json::to_vec(tables).unwrap_or_default(),
    )
}

/// Ends, at the start of the node, what waits for an actuator whose table is another one than when the node last ran, or that
/// is no longer there. A store that an earlier version wrote notes none.
///
/// # Errors
/// Whatever the store says.
pub async fn since_the_last_run(executor: &Executor) -> Result<(), StoreError> {
    let now = tables(&executor.config.devices);
    let read = |c: &Connection| kv::get(c, TABLES);
    let kept = executor.store.read("actuator tables", read).await?;
    let before = kept.map(|bytes| serde_json::from_slice::<Tables>(&bytes));
    if matches!(&before, Some(Ok(same)) if *same == now) {
        return Ok(());
    }
    let s = executor.clone();
    let write = move |c: &Connection| {
        match &before {
            None => {}
            Some(Ok(before)) => {
                let others = before
                    .iter()
                    .filter(|(target, was)| now.get(*target) != Some(was));
                let others = others
                    .filter_map(|(target, _)| target.parse().ok())
                    .collect();
                end_all(&s, c, &others)?;
            }
            // Which have changed is not known.
            Some(Err(_)) => end_all(&s, c, &s.guards.capabilities().into_iter().collect())?,
        }
        keep(c, &now)
    };
    executor
        .store
        .write(DURABLE, "actuator tables", write)
        .await
}

/// Ends every proposal that has not begun and every standing approval for one of these actuators.
///
/// # Errors
/// Whatever the store says; nothing was changed then.
pub fn end_all(
    executor: &Executor,
    conn: &Connection,
    targets: &BTreeSet<Capability>,
) -> Result<(), StoreError> {
    let why = "its device was changed in the configuration; ask again";
    for row in proposals::own_open_all(conn, QUERY_MAX)? {
        let signed = open(executor, &row)?;
        let actuators = signed.record().actuators();
        if row.status == Status::Executing || !actuators.iter().any(|a| targets.contains(a)) {
            continue;
        }
        let (case, _) = cases::load(conn, &row.id)?;
        let step = end::void(&case, why).map_err(StoreError::Refused)?;
        write(executor, conn, &step, None)?;
    }
    for row in standing_approvals::live(conn)? {
        if targets.contains(&row.signed.approval.target) {
            end_for(executor, conn, &row.id, why, None)?;
        }
    }
    Ok(())
}
