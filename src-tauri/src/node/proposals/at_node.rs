//! Shows the codes of proposals that one person at this node may approve alone (`domain/gate/at_node`), at the terminal that
//! `code_display` names, and nowhere else: they are in no log, store, answer or page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;

use crate::adapters::store::{StoreError, kv, proposals};
use crate::adapters::system;
use crate::domain::base::limits::{AT_NODE_VALID_MS, AT_NODE_WRONG_PER_HOUR, QUERY_MAX};
use crate::domain::base::text::shown;
use crate::domain::base::{DeviceId, Digest, ProposalId, Refusal, TimeMs};
use crate::domain::gate::at_node::Codes;
use crate::domain::gate::{AtNode, NodeCode};
use crate::domain::policy::Policy;
use crate::domain::proposal::{ProposalRecord, Status};
use crate::node::context::alarms::AlarmKind;
use crate::node::proposals::Executor;

/// Where the number of wrong codes lies.
const TRIES: &str = "at_node.tries";
/// Longest line of what is shown.
const LINE_MAX_CHARS: usize = 200;
/// How long nothing is looked at while a proposal waits, or the terminal takes no text.
const AGAIN: Duration = Duration::from_secs(10);

/// The codes that are shown, and word that one was used.
#[derive(Debug, Default)]
pub(super) struct Shown {
    codes: Mutex<Codes>,
    /// Whether a code was used since somebody was last told.
    spent: AtomicBool,
    used: Notify,
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, Codes> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The proof that a decision about this proposal came with its code; see [`Codes::take`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn take(
        &self,
        record: &ProposalRecord,
        digest: &Digest,
        code: &NodeCode,
        now: TimeMs,
    ) -> Result<AtNode, Refusal> {
        let proof = self.lock().take(&record.proposal_id, digest, code, now)?;
        self.spent.store(true, Ordering::Relaxed);
        Ok(proof)
    }

    /// Writes down how many codes were wrong, in the transaction that refuses a decision.
    pub(super) fn write_tries(&self, conn: &Connection) -> Result<(), StoreError> {
        let tries = serde_json::to_vec(self.lock().tries());
        // It is numbers and ids, which always have a form.
        kv::put(conn, TRIES, &tries.unwrap_or_default())
    }

    /// A decision was refused: where it had the code, another may be due.
    pub(super) fn refused(&self) {
        if self.spent.swap(false, Ordering::Relaxed) {
            self.used.notify_one();
        }
    }
}

/// A proposal that may have a code, and what is shown of it.
struct Waiting {
    key: (ProposalId, Digest),
    said: String,
}

/// Shows a code for each proposal that waits for a person at the node, and a new one once it was used or is old.
pub async fn run(executor: Executor) {
    let mut changes = executor.proposals_head.subscribe();
    // Before the first code is shown, so that no restart gives further tries.
    while !take_up(&executor).await {
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
    loop {
        let wait = match look(&executor).await {
            Ok(0) => Duration::from_millis(AT_NODE_VALID_MS),
            _ => AGAIN,
        };
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => return,
            _ = changes.changed() => {}
            () = executor.at_node.used.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Takes up how many codes were wrong before; `false` if the store does not say.
async fn take_up(executor: &Executor) -> bool {
    let read = |c: &Connection| kv::get(c, TRIES);
    let Ok(before) = executor.store.read("wrong codes", read).await else {
        return false;
    };
    let before = before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    executor.at_node.lock().tried(before.unwrap_or_default());
    true
}

/// Shows what is due: how many proposals wait for a person here. `Err` where it could not be shown: an alarm says so, and it is tried again.
async fn look(executor: &Executor) -> Result<usize, ()> {
    let policy = executor.policy.current();
    let asks = policy.rules().iter().find(|rule| rule.at_node);
    let Some(asks) = asks else {
        executor.at_node.lock().keep(&[]);
        executor.alarms.clear(AlarmKind::AtNodeCodes, "");
        return Ok(0);
    };
    let Some(display) = executor.config.code_display.clone() else {
        let why = format!(
            "rule {:?} of policy.toml lets one person decide with a code that is shown at this node (at_node), and code_display is not set, so two must decide",
            asks.name
        );
        failed(executor, &why);
        return Ok(0);
    };
    let read = move |c: &Connection| waiting(c, &policy);
    let waiting = executor.store.read_committed("codes at the node", read);
    let Ok((waiting, open)) = waiting.await else {
        return Err(());
    };
    let keys: Vec<_> = waiting.iter().map(|one| one.key.clone()).collect();
    let now = executor.now();
    let due = {
        let mut codes = executor.at_node.lock();
        codes.keep(&keys);
        codes.forget_but(&open);
        if codes.tries().too_many(now) {
            let why = format!(
                "{AT_NODE_WRONG_PER_HOUR} wrong codes were given at this node within an hour; somebody who may approve guesses. None is taken \
                 now, and two must decide"
            );
            drop(codes);
            failed(executor, &why);
            return Ok(keys.len().max(1));
        }
        codes.due(&keys, now)
    };
    for key in due {
        let Some(one) = waiting.iter().find(|one| one.key == key) else {
            continue;
        };
        let Ok(random) = executor.random.bytes() else {
            failed(
                executor,
                "the system gives no random bytes for a code at the node",
            );
            return Err(());
        };
        let code = NodeCode::of_random(random);
        let id = key.0.clone();
        // It counts from before it is seen.
        executor
            .at_node
            .lock()
            .show(key.0, key.1, code.clone(), now);
        let text = format!(
            "\r\nClawMesh {}: {}\r\nCode at the node: {}, for {} minutes. Whoever approves gives it with the approval.\r\n",
            shown(&executor.config.name, LINE_MAX_CHARS),
            one.said,
            code.shown(),
            AT_NODE_VALID_MS / 60_000
        );
        if let Err(why) = write(display.clone(), text).await {
            executor.at_node.lock().hide(&id);
            let why = format!(
                "the code at the node cannot be shown at {}: {why}; two must decide",
                display.display()
            );
            failed(executor, &why);
            return Err(());
        }
    }
    executor.alarms.clear(AlarmKind::AtNodeCodes, "");
    Ok(waiting.len())
}

/// What waits here for a person at the node, of each device that asked its oldest first, and everything that waits.
fn waiting(
    conn: &Connection,
    policy: &Policy,
) -> Result<(Vec<Waiting>, BTreeSet<ProposalId>), StoreError> {
    let open = proposals::own_open_all(conn, QUERY_MAX)?.into_iter();
    let (mut all, mut asked) = (BTreeSet::new(), BTreeMap::<DeviceId, usize>::new());
    let mut with_code = Vec::new();
    for row in open.filter(|row| row.status == Status::AwaitingApproval) {
        all.insert(row.id.clone());
        // What does not read is refused where it is decided.
        let Ok(record) = serde_json::from_str::<ProposalRecord>(&row.record) else {
            continue;
        };
        let action = record.action();
        let now = policy.rule_for(&action).is_some_and(|rule| rule.at_node);
        if !record.at_node || !now {
            continue;
        }
        let place = asked.entry(record.requested_by.device_id).or_default();
        *place += 1;
        let said = format!("proposal {}: {}", row.id.short(), action.summary());
        with_code.push((
            *place,
            Waiting {
                key: (row.id, row.digest),
                said: shown(&said, LINE_MAX_CHARS).replace('\n', " "),
            },
        ));
    }
    // One device's many wishes leave no other without a code.
    with_code.sort_by_key(|(place, _)| *place);
    Ok((with_code.into_iter().map(|(_, one)| one).collect(), all))
}

fn failed(executor: &Executor, why: &str) {
    let advice = "see docs/code-at-node.md";
    let now = executor.now();
    let news = executor
        .alarms
        .raise(AlarmKind::AtNodeCodes, "", why, advice, now);
    if news {
        tracing::warn!("{why}");
    }
}

async fn write(display: PathBuf, text: String) -> Result<(), String> {
    let written = tokio::task::spawn_blocking(move || system::show_at(&display, &text)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it was not written".to_owned()),
    }
}
