//! Watches the configuration file: once its content has changed and then stayed the same for a while, its devices become the
//! node's. A content that is wrong changes nothing and is told of once; one that only has to wait for an actuator is tried again.

use std::io;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::{ReloadOutcome, Wiring};
use crate::adapters::files;
use crate::adapters::paths::StateDir;
use crate::domain::base::Digest;
use crate::domain::base::limits::{CONFIG_FILE_MAX_BYTES, CONFIG_LOOK_EVERY_MS};

/// After how many looks a content that had to wait is tried again.
const AGAIN_LOOKS: u32 = 5;

/// How long a file stays the same that is not being written.
const SETTLE: Duration = Duration::from_millis(150);
/// How often that is looked at before the file is taken as it is.
const SETTLE_LOOKS: u32 = 20;

/// The text of the configuration file; `None` where there is none.
pub(super) fn text(dir: &StateDir) -> io::Result<Option<String>> {
    match files::read_text(&dir.config_file(), CONFIG_FILE_MAX_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until the file has stopped changing, for as long as one that is written takes, and no longer.
pub(super) async fn settled(dir: &StateDir) {
    let mut seen = stamp(dir);
    for _ in 0..SETTLE_LOOKS {
        tokio::time::sleep(SETTLE).await;
        let now = stamp(dir);
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// The content of a file, for comparison.
pub(super) fn digest(text: &str) -> Digest {
    Digest::of(&[text.as_bytes()])
}

/// What tells cheaply that a file may have changed.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(dir: &StateDir) -> Stamp {
    let about = std::fs::metadata(dir.config_file()).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// What is known of the file between two looks.
#[derive(Default)]
struct Seen {
    stamp: Stamp,
    /// The content at the last look, where it is one that was not handled.
    new: Option<Digest>,
    /// A content that has to wait, and for how many looks.
    waits: Option<(Digest, u32)>,
}

impl Wiring {
    /// Whether the file has a content that was not handled and has been the same twice.
    fn is_due(&self, seen: &mut Seen) -> Option<Digest> {
        if let Some((content, looks)) = &mut seen.waits {
            *looks = looks.saturating_sub(1);
            let (content, due) = (*content, *looks == 0);
            let stamp = stamp(&self.0.tools.dir);
            if stamp == seen.stamp {
                return due.then_some(content);
            }
            seen.waits = None;
        }
        let stamp = stamp(&self.0.tools.dir);
        let settled = stamp == seen.stamp;
        seen.stamp = stamp;
        if settled && seen.new.is_none() {
            return None;
        }
        // A file that is gone or cannot be read is told of by who asks for it.
        let content = text(&self.0.tools.dir).ok().flatten().map(|t| digest(&t));
        let before = std::mem::replace(&mut seen.new, content);
        let content = content?;
        if self.wired().handled == Some(content) {
            seen.new = None;
            return None;
        }
        (settled && before == Some(content)).then(|| {
            seen.new = None;
            content
        })
    }
}

/// Watches the file and hears requests until the node ends.
pub async fn watch(wiring: Wiring) {
    let tasks = wiring.0.executor.tasks.clone();
    let mut tick = interval(Duration::from_millis(CONFIG_LOOK_EVERY_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            biased;
            () = tasks.stop().cancelled() => return,
            () = wiring.0.asked.notified() => {
                if let Err(why) = wiring.turn("a signal", true).await {
                    tracing::error!("the devices were not read again: {why}");
                }
                continue;
            }
            _ = tick.tick() => {}
        }
        let look = {
            let wiring = wiring.clone();
            move || {
                let mut seen = seen;
                let due = wiring.is_due(&mut seen);
                (seen, due)
            }
        };
        let looked = wiring.0.executor.work(look).await;
        let (kept, due) = looked.unwrap_or_default();
        seen = kept;
        let Some(content) = due else { continue };
        // What has to wait was told of.
        let tells = seen.waits.take().is_none_or(|(waits, _)| waits != content);
        let by = "the changed configuration file";
        match wiring.turn(by, tells).await {
            Ok(report) if report.outcome == ReloadOutcome::Refused && !report.busy.is_empty() => {
                seen.waits = Some((content, AGAIN_LOOKS));
            }
            Ok(report) => {
                if !report.restart.is_empty() {
                    let keys = report.restart.join(", ");
                    tracing::info!(
                        "changed in the configuration, and counts after a restart only: {keys}"
                    );
                }
            }
            Err(why) => {
                if tells {
                    tracing::error!("the devices were not changed: {why}");
                }
                seen.waits = Some((content, AGAIN_LOOKS));
            }
        }
    }
}
