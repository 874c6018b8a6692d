//! Whether what the node stands on works: its log, its store, its state directory. Each that does not
//! is an alarm until it does again. It waits for none of them: a disk that does not answer is found
//! by the time its answer takes.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::context::DURABLE;
use super::context::alarms::AlarmKind;
use super::guards::Cut;
use super::shared::Shared;
use crate::adapters::log;
use crate::adapters::paths::StateDir;
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{
    DISK_FREE_MIN_BYTES, DISK_STALL_MS, HEALTH_EVERY_MS, STORE_PROBE_BYTES,
};
use crate::domain::base::{Code, Refusal};
use crate::node::context::{Event, Severity};

const LOST_ADVICE: &str =
    "stop this node, put the directory or a backup of it back in its place, and start again";
const STALL: Duration = Duration::from_millis(DISK_STALL_MS);
/// The entry that is written to see whether there is room.
const PROBE: &str = "health.probe";

/// Looks again and again until the node ends.
pub async fn run(shared: Shared) {
    let mut writes = Writes::default();
    let mut state = Looking::default();
    let mut losses = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(HEALTH_EVERY_MS));
    loop {
        tokio::select! {
            biased;
            () = shared.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        look_at_the_log(&shared);
        let (stalled, found) = state.next(&shared.ground).await;
        if let Some(found) = found {
            if told(
                &shared,
                AlarmKind::StateLost,
                found.lost.as_deref(),
                LOST_ADVICE,
            ) {
                let why = found.lost.clone().unwrap_or_default();
                shared.guards.secure_each(&Cut::MayNotOperate { why });
            }
            state.last = found;
        }
        let full = shared.store.is_full() || state.last.no_space;
        look_at_the_room(&shared, full);
        let slow = format!("the disk has not answered for {} seconds", STALL.as_secs());
        let failure = match (stalled || writes.stand_still(&shared), state.last.read_only) {
            (true, _) => Some(slow),
            (false, true) => Some("its file system is read-only".to_owned()),
            (false, false) => shared.store.failure(),
        };
        let words = failure.map(|why| format!("the store takes no writes: {why}"));
        told(
            &shared,
            AlarmKind::StoreUnwritable,
            words.as_deref(),
            "look at the disk and at the permissions of the state directory; the node goes on by itself once it can write",
        );
        if full && words.is_none() {
            try_to_write(&shared).await;
        }
        // Told once it can be stored.
        if shared.store.losses() != losses && !full && words.is_none() {
            losses = shared.store.losses();
            let message = "readings of the last seconds were lost when the store could not be written; \
                           conditions count no reading from before it";
            let journal = &shared.journal;
            let told = journal.record(Event::StoreLost, Severity::Warning, message, json!({}));
            told.await;
        }
    }
}

/// Whether the store is full, or has no room for frames though others gave way; and who fills it.
fn look_at_the_room(shared: &Shared, full: bool) {
    let words = match (full, shared.budgets.has_no_room(shared.now())) {
        (true, _) => Some("the store is full: nothing new is kept, reads go on"),
        (false, true) => Some(
            "the store is full for new frames; decisions, stops and audit entries are still kept",
        ),
        (false, false) => None,
    };
    let advice = "free disk space, raise store.max_bytes or keep fewer frames";
    match (words, shared.who_fills()) {
        (Some(words), Some((who, end_it))) => told(
            shared,
            AlarmKind::StoreFull,
            Some(&format!("{words}; {who}")),
            &format!("{end_it}; or {advice}"),
        ),
        (words, _) => told(shared, AlarmKind::StoreFull, words, advice),
    };
}

fn look_at_the_log(shared: &Shared) {
    let lost = i64::try_from(log::lost()).unwrap_or(i64::MAX);
    shared.metrics.log_lines_lost.set(lost);
    let words = log::is_losing().then(|| format!("log lines are being lost, {lost} so far"));
    told(
        shared,
        AlarmKind::LogLost,
        words.as_deref(),
        "look at what reads this program's stderr, and whether the disk it is kept on is full",
    );
}

/// Raises an alarm or ends it, and logs the change; whether it is new. The store may be what fails, so
/// only the end becomes an event.
fn told(shared: &Shared, kind: AlarmKind, words: Option<&str>, advice: &str) -> bool {
    let raised = |words| shared.alarms.raise(kind, "", words, advice, shared.now());
    match words {
        Some(words) if raised(words) => {
            tracing::error!(alarm = kind.as_str(), "{words}; {advice}");
            return true;
        }
        Some(_) => {}
        None if shared.alarms.clear(kind, "") => {
            let over = shared.clone();
            shared.tasks.passing("event", async move {
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
pub fn check(shared: &Shared) -> Result<(), StoreError> {
    shared.continuity.check()?;
    if shared.alarms.stands(AlarmKind::StateLost, "") {
        return Err(lost("the state directory is gone or another one"));
    }
    check_store(shared)
}

/// Refuses while the store takes no writes.
///
/// # Errors
/// `STORAGE_FAILED`.
pub fn check_store(shared: &Shared) -> Result<(), StoreError> {
    if shared.alarms.stands(AlarmKind::StoreUnwritable, "") {
        let why = "the store takes no writes, so nothing is decided and nothing starts; what runs ends at its deadline or at a stop";
        return Err(StoreError::Refused(Refusal::new(Code::StorageFailed, why)));
    }
    Ok(())
}

/// As [`check`], and looks at the state directory itself; for a thread that may wait for the disk.
///
/// # Errors
/// As [`check`].
pub fn check_in_place(shared: &Shared) -> Result<(), StoreError> {
    check(shared)?;
    shared.ground.lost().map_or(Ok(()), |why| Err(lost(&why)))
}

fn lost(why: &str) -> StoreError {
    let message = format!("{why}; the node observes and does not operate: {LOST_ADVICE}");
    StoreError::Refused(Refusal::new(Code::StateInDoubt, message))
}

/// Sees whether the writes of the store come to an end.
#[derive(Default)]
struct Writes {
    seen: Option<(u64, Instant)>,
}

impl Writes {
    fn stand_still(&mut self, shared: &Shared) -> bool {
        let (under_way, ended) = shared.store.writes();
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
async fn try_to_write(shared: &Shared) {
    let bytes = vec![0; STORE_PROBE_BYTES];
    let kept = shared
        .store
        .write(DURABLE, "look for room", move |c| kv::put(c, PROBE, &bytes));
    let Ok(Ok(())) = tokio::time::timeout(STALL, kept).await else {
        return;
    };
    let gone = shared
        .store
        .write(DURABLE, "look for room", move |c| kv::put(c, PROBE, &[]));
    if let Ok(Ok(())) = tokio::time::timeout(STALL, gone).await {
        shared.store.has_room();
    }
}

/// The state directory a node was started on.
#[derive(Debug, Clone)]
pub struct Ground {
    dir: StateDir,
    /// Without it nothing can be said: in the simulator there is no directory.
    first: Option<Marks>,
}

impl Ground {
    /// The directory as it is now, its store in it.
    pub fn of(dir: &StateDir) -> Self {
        Self {
            dir: dir.clone(),
            first: Marks::of(dir).ok(),
        }
    }

    /// What has become of it, if it is not there any more.
    fn lost(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let shown = self.dir.root().display();
        let after = "what happens from now on is lost at the next start";
        match Marks::of(&self.dir) {
            Ok(now) if now == *first => None,
            Ok(_) => Some(format!(
                "the state directory {shown} is another one than at the start; {after}"
            )),
            Err(error) => Some(format!(
                "the state directory {shown} is gone ({error}); {after}"
            )),
        }
    }
}

/// What makes the state directory this one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marks {
    root: (u64, u64),
    database: (u64, u64),
}

impl Marks {
    fn of(dir: &StateDir) -> io::Result<Self> {
        let mark = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        Ok(Self {
            root: mark(dir.root())?,
            database: mark(&dir.database())?,
        })
    }
}

/// What a look at the state directory found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    lost: Option<String>,
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
    let disk = statvfs(ground.dir.root()).ok();
    Found {
        lost,
        read_only: disk
            .as_ref()
            .is_some_and(|d| d.f_flag.contains(StatVfsMountFlags::RDONLY)),
        no_space: disk.is_some_and(|d| {
            d.f_blocks > 0 && d.f_bavail.saturating_mul(d.f_frsize) < DISK_FREE_MIN_BYTES
        }),
    }
}
