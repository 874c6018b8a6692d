//! Shows the codes of proposals that one person at this node may approve alone (`domain/gate/at_node`), at the terminal that
//! `code_display` names, and nowhere else: they are in no log, store, answer or page.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;

use crate::adapters::store::{StoreError, proposals};
use crate::adapters::system;
use crate::domain::base::limits::{AT_NODE_VALID_MS, QUERY_MAX};
use crate::domain::base::text::shown;
use crate::domain::base::{Digest, ProposalId, Refusal, TimeMs};
use crate::domain::gate::at_node::Codes;
use crate::domain::gate::{AtNode, NodeCode};
use crate::domain::policy::Policy;
use crate::domain::proposal::{ProposalRecord, Status};
use crate::node::context::alarms::AlarmKind;
use crate::node::proposals::Executor;

/// Longest line of what is shown.
const LINE_MAX_CHARS: usize = 200;
/// How long nothing is looked at while a proposal waits, or the terminal takes no text.
const AGAIN: Duration = Duration::from_secs(10);

/// The codes that are shown, and word that one was used.
#[derive(Debug, Default)]
pub(super) struct Shown {
    codes: Mutex<Codes>,
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
        self.lock().take(&record.proposal_id, digest, code, now)
    }

    /// A decision that had a code was refused: another may be due.
    pub(super) fn refused(&self) {
        self.used.notify_one();
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

/// Shows what is due: how many proposals wait for a person here. `Err` where it could not be shown: an alarm says so, and it is tried again.
async fn look(executor: &Executor) -> Result<usize, ()> {
    let policy = executor.policy.current();
    let asks = policy.rules().iter().find(|rule| rule.at_node);
    let Some(asks) = asks else {
        executor.at_node.lock().keep(&[]);
        executor.alarms.clear(AlarmKind::AtNodeDisplay, "");
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
    let Ok(waiting) = waiting.await else {
        return Err(());
    };
    let keys: Vec<_> = waiting.iter().map(|one| one.key.clone()).collect();
    let now = executor.now();
    let due = {
        let mut codes = executor.at_node.lock();
        codes.keep(&keys);
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
            let why = format!(
                "the code at the node cannot be shown at {}: {why}; two must decide",
                display.display()
            );
            failed(executor, &why);
            return Err(());
        }
    }
    executor.alarms.clear(AlarmKind::AtNodeDisplay, "");
    Ok(waiting.len())
}

/// What waits here for a person at the node, the oldest first.
fn waiting(conn: &Connection, policy: &Policy) -> Result<Vec<Waiting>, StoreError> {
    let open = proposals::own_open_all(conn, QUERY_MAX)?.into_iter();
    let open = open.filter(|row| row.status == Status::AwaitingApproval);
    let read = open.filter_map(|row| {
        // What does not read is refused where it is decided.
        let record: ProposalRecord = serde_json::from_str(&row.record).ok()?;
        let action = record.action();
        let now = policy.rule_for(&action).is_some_and(|rule| rule.at_node);
        let said = format!("proposal {}: {}", row.id.short(), action.summary());
        (record.at_node && now).then(|| Waiting {
            key: (row.id, row.digest),
            said: shown(&said, LINE_MAX_CHARS).replace('\n', " "),
        })
    });
    Ok(read.collect())
}

fn failed(executor: &Executor, why: &str) {
    let advice = "see docs/code-at-node.md";
    let now = executor.now();
    let news = executor
        .alarms
        .raise(AlarmKind::AtNodeDisplay, "", why, advice, now);
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
