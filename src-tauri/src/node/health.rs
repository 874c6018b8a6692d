//! Whether what the node stands on works: its log, its store, its state directory. Each that does not
//! is an alarm until it does again. It waits for none of them: a disk that does not answer is found
//! by the time its answer takes.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::context::alarms::AlarmKind;
use super::context::{Context, DURABLE};
use super::continuity::{Footing, Ground, Loss};
use super::guards::Cut;
use crate::adapters::log;
use crate::adapters::store::{StoreError, kv};
use crate::adapters::system;
use crate::domain::base::limits::{
    DISK_FREE_MIN_BYTES, DISK_STALL_MS, HEALTH_EVERY_MS, STORE_PROBE_BYTES,
};
use crate::domain::base::{Code, Refusal};
use crate::node::context::{Event, Severity};

const STALL: Duration = Duration::from_millis(DISK_STALL_MS);
/// The entry that is written to see whether there is room.
const PROBE: &str = "health.probe";

/// Looks again and again until the node ends.
pub(super) async fn run(footing: Footing) {
    let mut writes = Writes::default();
    let mut state = Looking::default();
    let mut losses = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(HEALTH_EVERY_MS));
    loop {
        tokio::select! {
            biased;
            () = footing.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        look_at_the_log(&footing);
        look_at_the_rows(&footing);
        let (stalled, found) = state.next(&footing.ground).await;
        if let Some(found) = found {
            let words = found.lost.as_ref().map(|loss| loss.why.as_str());
            let advice = found.lost.as_ref().map_or("", Loss::advice);
            if told(&footing, AlarmKind::StateLost, words, advice) {
                let why = words.unwrap_or_default().to_owned();
                footing.guards.secure_each(&Cut::MayNotOperate { why });
            }
            if found.lost.as_ref().is_some_and(|loss| loss.of_log) {
                save(&footing).await;
            }
            state.last = found;
        }
        let full = footing.store.is_full() || state.last.no_space;
        look_at_the_room(&footing, full);
        let slow = format!("the disk has not answered for {} seconds", STALL.as_secs());
        let failure = match (
            stalled || writes.stand_still(&footing),
            state.last.read_only,
        ) {
            (true, _) => Some(slow),
            (false, true) => Some("its file system is read-only".to_owned()),
            (false, false) => footing.store.failure(),
        };
        let words = failure.map(|why| format!("the store takes no writes: {why}"));
        told(
            &footing,
            AlarmKind::StoreUnwritable,
            words.as_deref(),
            "look at the disk and at the permissions of the state directory; the node goes on by itself once it can write",
        );
        if full && words.is_none() {
            try_to_write(&footing).await;
        }
        // Told once it can be stored.
        if footing.store.losses() != losses && !full && words.is_none() {
            losses = footing.store.losses();
            let message = "readings of the last seconds were lost when the store could not be written; \
                           conditions count no reading from before it";
            let journal = &footing.journal;
            let told = journal.record(Event::StoreLost, Severity::Warning, message, json!({}));
            told.await;
        }
    }
}

/// Whether the store is full, or has no room for frames though others gave way; and who fills it.
fn look_at_the_room(context: &Context, full: bool) {
    let words = match (full, context.budgets.has_no_room(context.now())) {
        (true, _) => Some("the store is full: nothing new is kept, reads go on"),
        (false, true) => Some(
            "the store is full for new frames; decisions, stops and audit entries are still kept",
        ),
        (false, false) => None,
    };
    let advice = "free disk space, raise store.max_bytes or keep fewer frames";
    match (words, context.who_fills()) {
        (Some(words), Some((who, end_it))) => told(
            context,
            AlarmKind::StoreFull,
            Some(&format!("{words}; {who}")),
            &format!("{end_it}; or {advice}"),
        ),
        (words, _) => told(context, AlarmKind::StoreFull, words, advice),
    };
}

fn look_at_the_log(context: &Context) {
    let lost = i64::try_from(log::lost()).unwrap_or(i64::MAX);
    context.metrics.log_lines_lost.set(lost);
    let words = log::is_losing().then(|| format!("log lines are being lost, {lost} so far"));
    told(
        context,
        AlarmKind::LogLost,
        words.as_deref(),
        "look at what reads this program's stderr, and whether the disk it is kept on is full",
    );
}

fn look_at_the_rows(context: &Context) {
    let left_out = context.store.left_out();
    let each = left_out.iter().map(|(what, n)| format!("{what} {n}"));
    let each: Vec<String> = each.collect();
    let words = (!each.is_empty()).then(|| {
        format!(
            "rows of the store do not read and are left out of lists: {}",
            each.join(", ")
        )
    });
    told(
        context,
        AlarmKind::RowsUnreadable,
        words.as_deref(),
        "run `clawmesh-node audit verify`; if the disk is damaged, restore a backup onto a good one",
    );
}

/// Raises an alarm or ends it, and logs the change; whether it is new. The store may be what fails, so
/// only the end becomes an event.
pub(super) fn told(context: &Context, kind: AlarmKind, words: Option<&str>, advice: &str) -> bool {
    let raised = |words| context.alarms.raise(kind, "", words, advice, context.now());
    match words {
        Some(words) if raised(words) => {
            tracing::error!(alarm = kind.as_str(), "{words}; {advice}");
            return true;
        }
        Some(_) => {}
        None if context.alarms.clear(kind, "") => {
            let over = context.clone();
            context.tasks.passing("event", async move {
                let message = format!("The alarm {} is over", kind.as_str());
                let data = json!({"alarm": kind.as_str()});
                over.journal
                    .record(Event::AlarmOver, Severity::Info, &message, data)
                    .await;
            });
        }
        None => {}
    }
    false
}

/// Refuses to operate while the node is in doubt about its state, has lost it, or cannot write what it
/// does. As far as is known: it looks at nothing.
///
/// # Errors
/// `STATE_IN_DOUBT` or `STORAGE_FAILED`.
pub(super) fn check(footing: &Footing) -> Result<(), StoreError> {
    footing.continuity.check()?;
    if footing.alarms.stands(AlarmKind::StateLost, "") {
        let mut alarms = footing.alarms.list().into_iter();
        let alarm = alarms.find(|alarm| alarm.kind == AlarmKind::StateLost);
        // Without it the condition has ended this moment.
        if let Some(alarm) = alarm {
            return Err(lost(&alarm.message, &alarm.advice));
        }
    }
    check_store(footing)
}

/// Refuses while the store takes no writes.
///
/// # Errors
/// `STORAGE_FAILED`.
pub(super) fn check_store(context: &Context) -> Result<(), StoreError> {
    if context.alarms.stands(AlarmKind::StoreUnwritable, "") {
        let why = "the store takes no writes, so nothing is decided and nothing starts; what runs ends at its deadline or at a stop";
        return Err(StoreError::Refused(Refusal::new(Code::StorageFailed, why)));
    }
    Ok(())
}

/// As [`check`], and looks at the state directory itself; for a thread that may wait for the disk.
///
/// # Errors
/// As [`check`].
pub(super) fn check_in_place(footing: &Footing) -> Result<(), StoreError> {
    check(footing)?;
    match footing.ground.lost() {
        None => Ok(()),
        Some(loss) => Err(lost(&loss.why, loss.advice())),
    }
}

fn lost(why: &str, advice: &str) -> StoreError {
    let message = format!("{why}; the node observes and does not operate: {advice}");
    StoreError::Refused(Refusal::new(Code::StateInDoubt, message))
}

/// Sees whether the writes of the store come to an end.
#[derive(Default)]
struct Writes {
    seen: Option<(u64, Instant)>,
}

impl Writes {
    fn stand_still(&mut self, context: &Context) -> bool {
        let (under_way, ended) = context.store.writes();
        let now = Instant::now();
        let since = match self.seen {
            Some((before, since)) if before == ended && under_way > 0 => since,
            _ => now,
        };
        self.seen = Some((ended, since));
        now.duration_since(since) >= STALL
    }
}

/// Writes as much as a burst of frames takes: if that works, there is room again.
async fn try_to_write(context: &Context) {
    let bytes = vec![0; STORE_PROBE_BYTES];
    let kept = context
        .store
        .write(DURABLE, "look for room", move |c| kv::put(c, PROBE, &bytes));
    let Ok(Ok(())) = tokio::time::timeout(STALL, kept).await else {
        return;
    };
    let gone = context
        .store
        .write(DURABLE, "look for room", move |c| kv::put(c, PROBE, &[]));
    if let Ok(Ok(())) = tokio::time::timeout(STALL, gone).await {
        context.store.has_room();
    }
}

/// Writes what the log of the store holds into the database: a file that was removed can be used by the process that
/// has it open, and by no other program later.
async fn save(context: &Context) {
    match tokio::time::timeout(STALL, context.store.write_out()).await {
        Ok(Ok(true)) => tracing::info!("all that was acknowledged until now is in the database"),
        // The next look tries again.
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, "the store's log is not written into the database")
        }
    }
}

/// The result of a look at the state directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    lost: Option<Loss>,
    read_only: bool,
    no_space: bool,
}

/// A look at the state directory, on a thread that may block.
#[derive(Default)]
struct Looking {
    under_way: Option<(JoinHandle<Found>, Instant)>,
    last: Found,
}

impl Looking {
    /// Takes what the last look found and begins another; whether it does not come back.
    async fn next(&mut self, ground: &Ground) -> (bool, Option<Found>) {
        let found = match self.under_way.take() {
            Some((look, since)) if !look.is_finished() => {
                let stalled = since.elapsed() >= STALL;
                self.under_way = Some((look, since));
                return (stalled, None);
            }
            Some((look, _)) => look.await.ok(),
            None => None,
        };
        let ground = ground.clone();
        let look = tokio::task::spawn_blocking(move || look(&ground));
        self.under_way = Some((look, Instant::now()));
        (false, found)
    }
}

fn look(ground: &Ground) -> Found {
    let lost = ground.lost();
    let disk = system::disk(ground.dir.root()).ok();
    Found {
        lost,
        read_only: disk.is_some_and(|d| d.read_only),
        no_space: disk.is_some_and(|d| d.whole > 0 && d.free < DISK_FREE_MIN_BYTES),
    }
}
