//! The marks of a running node, and its doubt: written ahead of actions and while it runs, and told to people.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::{Footing, OPEN, RUN, UNWRITTEN_FRAMES, put_doubt, stored_doubt, text};
use crate::adapters::crash;
use crate::adapters::marks::Marks;
use crate::adapters::store::{StoreError, audit, kv};
use crate::domain::base::AuditKind;
use crate::domain::base::limits::MARK_WAIT_MS;
use crate::domain::continuity::{Doubt, Fault, Mark};
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Context, DURABLE, Event, Severity};
use crate::node::guards::Cut;

/// What a person is to do about a doubt.
pub(super) const ADVICE: &str = "find out which copy is the real one; then, at the machine that shall go on, stop the node and run \
                      `clawmesh-node state confirm`, and take the other copy away";

/// The advice where the mark outside cannot be written.
pub const MARK_ADVICE: &str = "name a folder that the node can write, outside its state directory and of what is backed up with \
                           it, in CLAWMESH_MARKS_DIR; with CLAWMESH_MARKS_DIR=off the node operates without a mark, \
                           and a restored copy of it can carry out again what was done";

/// That there is no mark outside, as people read it.
pub(super) fn unmarked(why: &str) -> String {
    format!(
        "how far this node has come cannot be noted outside its state directory ({why}); the node observes and does not operate"
    )
}

fn kind_of(fault: Fault) -> AlarmKind {
    match fault {
        Fault::RunsTwice => AlarmKind::RunsTwice,
        Fault::RolledBack | Fault::Copied | Fault::Restored => AlarmKind::StateRolledBack,
    }
}

/// The doubt as people read it.
pub fn sentence(doubt: &Doubt) -> String {
    let what = match doubt.fault {
        Fault::RolledBack => "the state is older than what this node has done",
        Fault::Copied => "the state may be a copy of one that is in use elsewhere",
        Fault::Restored => "the state was restored from a backup",
        Fault::RunsTwice => "this identity is in use twice",
    };
    format!(
        "{what} ({}); the node observes and does not operate",
        doubt.why
    )
}

/// Writes the mark outside ahead of an action, so that a state from before it is known to be old.
///
/// # Errors
/// Why it is not written; the action must not begin.
pub async fn ahead(footing: &Footing) -> Result<(), String> {
    crash::point("mark", "before");
    let marked = keep(footing, Marks::write_outside).await;
    crash::point("mark", "after");
    marked
}

/// Writes down that this run ends with everything stored, where that is so.
///
/// # Errors
/// Why it could not be written.
pub async fn ends(context: &Context) -> Result<(), String> {
    let at = context.clone();
    let write = move |c: &Connection| match at.store.losses() {
        0 => kv::delete(c, OPEN).map(drop),
        _ => Ok(()),
    };
    let written = context.store.write(DURABLE, "the end", write).await;
    written.map_err(|error| {
        tracing::warn!(%error, "the end of this run is not noted: the next one counts no reading from before it");
        error.to_string()
    })
}

/// Writes the marks where the audit trail has grown, and where they could not be written before.
pub async fn note(footing: &Footing) {
    // A failure has been told already.
    let _ = keep(footing, Marks::write).await;
}

async fn keep(
    footing: &Footing,
    write: fn(&Marks, &Mark) -> Result<bool, String>,
) -> Result<(), String> {
    let continuity = &footing.continuity;
    continuity.lost(footing);
    if !continuity.marks.kept() || continuity.doubt().is_some() {
        return Ok(());
    }
    let kept = mark_now(footing, write).await;
    let why = kept.as_ref().err().cloned();
    *continuity.unmarked() = why.clone();
    tell_of_marks(footing, why.as_deref());
    kept.map_err(|why| unmarked(&why))
}

async fn mark_now(
    footing: &Footing,
    write: fn(&Marks, &Mark) -> Result<bool, String>,
) -> Result<(), String> {
    let continuity = &footing.continuity;
    let read = |c: &Connection| Ok((audit::head(c)?, text(c, RUN)?));
    let (head, run) = footing
        .store
        .read("audit head", read)
        .await
        .map_err(|error| format!("how far the store has come does not read: {error}"))?;
    let (device, seq, now) = (footing.own_id(), footing.stamper.newest(), footing.now());
    let begun = continuity.begun.load(Ordering::Acquire);
    let mark = match begun {
        true => continuity.mark(device, head, seq, now),
        false => continuity.first_mark(device, run, head, seq, now),
    };
    let last = continuity.marks.last();
    let says_it = |last: Mark| {
        let counted = last
            .seq
            .is_some_and(|s| s.saturating_add(UNWRITTEN_FRAMES / 2) >= seq);
        last.entries == head.seq && last.next.is_none() && counted
    };
    if begun && last.is_some_and(says_it) {
        return Ok(());
    }
    let marks = continuity.marks.clone();
    let writing = footing.work(move || write(&marks, &mark));
    let within = Duration::from_millis(MARK_WAIT_MS);
    let outside = match tokio::time::timeout(within, writing).await {
        Err(_) => Err("its folder does not answer".to_owned()),
        Ok(None) => Err("the write was cut off".to_owned()),
        Ok(Some(written)) => written,
    }?;
    if !begun {
        let stored = continuity.begun(&footing.store, outside).await;
        stored.map_err(|error| format!("the store takes no note of it: {error}"))?;
    }
    Ok(())
}

/// Raises the alarm of marks that cannot be written, or ends it.
fn tell_of_marks(context: &Context, why: Option<&str>) {
    let kind = AlarmKind::MarksUnwritable;
    let Some(why) = why else {
        if context.alarms.clear(kind, "") {
            tracing::info!("the mark outside the state directory is written again");
        }
        return;
    };
    let message = unmarked(why);
    if context
        .alarms
        .raise(kind, "", &message, MARK_ADVICE, context.now())
    {
        tracing::error!("{message}; {MARK_ADVICE}");
    }
}

/// Lets a doubt take effect: in memory at once, then on disk and told.
pub(super) async fn doubt(footing: &Footing, doubt: Doubt) {
    {
        let mut stands = footing.continuity.lock();
        if stands.is_some() {
            return;
        }
        *stands = Some(doubt.clone());
    }
    // Actions from before the doubt end with it; no await stands before this.
    let why = sentence(&doubt);
    footing.guards.secure_each(&Cut::MayNotOperate { why });
    if let Err(error) = tell(footing).await {
        tracing::error!(%error, "the doubt about this state could not be stored; it holds until the next start");
    }
}

/// Raises the alarm of the doubt that stands and writes it down, if one does.
///
/// # Errors
/// Whatever the store says.
pub async fn tell(footing: &Footing) -> Result<(), StoreError> {
    let why = footing.continuity.unmarked().clone();
    tell_of_marks(footing, why.as_deref());
    let Some(doubt) = footing.continuity.doubt() else {
        return Ok(());
    };
    let (kind, message) = (kind_of(doubt.fault), sentence(&doubt));
    let now = footing.now();
    footing.alarms.raise(kind, "", &message, ADVICE, now);
    let (s, copy) = (footing.clone(), doubt.clone());
    let new = footing
        .store
        .write(DURABLE, "doubt", move |c| match stored_doubt(c)? {
            Some(_) => Ok(false),
            None => {
                put_doubt(c, &copy)?;
                let (journal, at) = (&s.journal, copy.at);
                journal.audit_at(c, at, AuditKind::StateDoubted, "state", json!(copy))?;
                Ok(true)
            }
        })
        .await?;
    if new {
        let data = json!(doubt);
        footing
            .journal
            .record(Event::StateDoubted, Severity::Critical, &message, data)
            .await;
    }
    Ok(())
}
