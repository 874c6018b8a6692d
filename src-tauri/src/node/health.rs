//! Whether what the node stands on works: its log, its store, its state directory. Each that does not
//! is an alarm until it does again. It waits for none of them: a disk that does not answer is found
//! by the time its answer takes.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::context::alarms::AlarmKind;
use super::context::{Context, DURABLE};
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
const LOG_ADVICE: &str = "stop this node (not with kill -9) and start it again; what it has acknowledged is written into the database \
                          meanwhile. Let nothing remove the files beside the database of a running node";
const STALL: Duration = Duration::from_millis(DISK_STALL_MS);
/// The entry that is written to see whether there is room.
const PROBE: &str = "health.probe";

/// Looks again and again until the node ends.
pub(super) async fn run(shared: Shared) {
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
        look_at_the_rows(&shared);
        let (stalled, found) = state.next(&shared.ground).await;
        if let Some(found) = found {
            let words = found.lost.as_ref().map(|loss| loss.why.as_str());
            let advice = found.lost.as_ref().map_or("", Loss::advice);
            if told(&shared, AlarmKind::StateLost, words, advice) {
                let why = words.unwrap_or_default().to_owned();
                shared.guards.secure_each(&Cut::MayNotOperate { why });
            }
            if found.lost.as_ref().is_some_and(|loss| loss.of_log) {
                save(&shared).await;
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
pub(super) fn check(shared: &Shared) -> Result<(), StoreError> {
    shared.continuity.check()?;
    if shared.alarms.stands(AlarmKind::StateLost, "") {
        let mut alarms = shared.alarms.list().into_iter();
        let alarm = alarms.find(|alarm| alarm.kind == AlarmKind::StateLost);
        // Without it the condition has ended this moment.
        if let Some(alarm) = alarm {
            return Err(lost(&alarm.message, &alarm.advice));
        }
    }
    check_store(shared)
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
pub(super) fn check_in_place(shared: &Shared) -> Result<(), StoreError> {
    check(shared)?;
    match shared.ground.lost() {
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
/// has it open, and by nobody later.
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

/// The state directory a node was started on.
#[derive(Debug, Clone)]
pub struct Ground {
    dir: StateDir,
    /// Without it nothing can be said: in the simulator there is no directory.
    first: Option<Marks>,
    /// How long the database has been, in bytes: it never becomes shorter. [`u64::MAX`] once it did.
    longest: Arc<AtomicU64>,
}

/// What has become of what a node stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loss {
    why: String,
    /// Whether the database is in its place and only what lies beside it is not.
    of_log: bool,
}

impl Loss {
    fn advice(&self) -> &'static str {
        match self.of_log {
            true => LOG_ADVICE,
            false => LOST_ADVICE,
        }
    }
}

impl Ground {
    /// The directory as it is now, its store in it.
    pub fn of(dir: &StateDir) -> Self {
        Self {
            dir: dir.clone(),
            first: Marks::of(dir).ok(),
            longest: Arc::default(),
        }
    }

    /// What has become of it, if it is not there any more.
    fn lost(&self) -> Option<Loss> {
        let first = self.first.as_ref()?;
        let shown = self.dir.root().display();
        let after = "what happens from now on is lost at the next start";
        let loss = |why: String| Some(Loss { why, of_log: false });
        // Read before the file is looked at, as it may grow meanwhile.
        let longest = self.longest.load(Ordering::Relaxed);
        let now = match Marks::of(&self.dir) {
            Ok(now) => now,
            Err(error) => {
                return loss(format!(
                    "the state directory {shown} is gone ({error}); {after}"
                ));
            }
        };
        if (now.root, now.database) != (first.root, first.database) {
            return loss(format!(
                "the state directory {shown} is another one than at the start; {after}"
            ));
        }
        self.longest
            .fetch_max(now.database_bytes, Ordering::Relaxed);
        if now.database_bytes < longest {
            self.longest.store(u64::MAX, Ordering::Relaxed);
            let database = self.dir.database();
            return loss(format!(
                "the database {} was cut short while this node runs; {after}",
                database.display()
            ));
        }
        let beside = self.dir.files_of_database();
        let mut each = beside.iter().zip(first.beside.iter().zip(now.beside));
        let (file, _) = each.find(|(_, (was, is))| was.is_some_and(|was| Some(was) != *is))?;
        Some(Loss {
            why: format!(
                "{} is gone or another file than at the start; {after}",
                file.display()
            ),
            of_log: true,
        })
    }
}

/// A file: its device and its number there.
type FileId = (u64, u64);

/// What makes the state directory this one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marks {
    root: FileId,
    database: FileId,
    database_bytes: u64,
    /// As long as the node runs these stay; nobody but the last to close the database removes them.
    beside: [Option<FileId>; 2],
}

impl Marks {
    fn of(dir: &StateDir) -> io::Result<Self> {
        let id = |meta: &Metadata| (meta.dev(), meta.ino());
        let database = std::fs::metadata(dir.database())?;
        let beside = dir.files_of_database();
        Ok(Self {
            root: id(&std::fs::metadata(dir.root())?),
            database: id(&database),
            database_bytes: database.len(),
            beside: beside.map(|file| std::fs::metadata(file).ok().as_ref().map(id)),
        })
    }
}

/// What a look at the state directory found.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_database_that_was_cut_short_is_not_whole_again_by_growing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let [log, index] = dir.files_of_database();
        for file in [&dir.database(), &log, &index] {
            fs::write(file, [7; 8_192]).unwrap();
        }
        let ground = Ground::of(&dir);
        assert_eq!(ground.lost(), None);
        let database = fs::File::options().write(true).open(dir.database());
        let database = database.unwrap();
        // The log may become shorter, the database only longer.
        fs::write(&log, "").unwrap();
        database.set_len(12_288).unwrap();
        assert_eq!(ground.lost(), None);
        for bytes in [4_096, 16_384] {
            database.set_len(bytes).unwrap();
            let loss = ground.clone().lost().unwrap();
            assert!(loss.why.contains("cut short") && !loss.of_log, "{loss:?}");
        }
    }

    #[test]
    fn a_file_beside_the_database_that_is_another_one_is_told_until_its_own_is_back() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let [log, index] = dir.files_of_database();
        for file in [&dir.database(), &log, &index] {
            fs::write(file, "x").unwrap();
        }
        let (ground, away) = (Ground::of(&dir), temp.path().join("away"));
        for file in [log, index] {
            fs::rename(&file, &away).unwrap();
            assert!(ground.lost().unwrap().of_log);
            fs::write(&file, "x").unwrap();
            let loss = ground.lost().unwrap();
            let name = file.display().to_string();
            assert!(loss.of_log && loss.why.contains(&name), "{loss:?}");
            fs::rename(&away, &file).unwrap();
            assert_eq!(ground.lost(), None);
        }
    }
}
