//! What waits for an actuator whose device is another one now: it was asked for, and approved, for the one before.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::standing_approvals::end_for;
use super::{Executor, open, write};
use crate::adapters::store::{StoreError, cases, proposals, standing_approvals};
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::capability::Capability;
use crate::domain::proposal::{Status, end};

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

fn end_all(
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
