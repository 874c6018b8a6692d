//! Which state is the real one: marks are compared at the start, frames of our own that peers bring
//! back while the node runs. A node in doubt observes and does not operate until a person at it says
//! that this state is the one to go on with (invariant I6, `domain::continuity`).

pub mod footing;
mod ground;
mod marking;
mod returned;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

pub use self::footing::Footing;
pub use self::ground::{Ground, Loss};
use self::marking::{ADVICE, doubt, unmarked};
pub use self::marking::{MARK_ADVICE, ahead, ends, note, sentence, tell};
pub use self::returned::heard_back;
use super::context::timekeeping::high_water;
use super::context::{Context, DURABLE, audit_entry, void_standing_approvals, write_step};
use super::frame_log::Frames;
use crate::adapters::marks::Marks;
use crate::adapters::store::{Store, StoreError, audit, backup, cases, frames, kv, proposals};
use crate::domain::base::limits::{CONFIRM_SKIP_FRAMES, QUERY_MAX};
use crate::domain::base::{AuditKind, Code, DeviceId, Digest, Refusal, TimeMs};
use crate::domain::continuity::{Beginning, Doubt, Fault, Lost, Mark, Place, StoreState, compare};
use crate::domain::identity::DeviceKey;
use crate::domain::proposal::end;

/// What `data.type` of a presence frame says.
pub const PRESENCE: &str = "presence";

/// The run that last used the store.
const RUN: &str = "continuity.run";
/// Whether that run kept a mark outside the directory.
const OUTSIDE: &str = "continuity.outside";
/// Stands from the beginning of a run until it ends with everything stored.
const OPEN: &str = "continuity.open";
/// A doubt that no person has ended.
const DOUBT: &str = "continuity.doubt";
/// When a person last said that this state is the real one.
const CONFIRMED: &str = "continuity.confirmed";
/// The newest count of own frames that may have been used.
const NEXT_SEQ: &str = "frames.own-seq";
/// How many own frames may have been sent and are missing after a loss of power.
const UNWRITTEN_FRAMES: u64 = 1_000_000;
/// What is written every ten seconds may be missing after a crash.
const UNWRITTEN_MS: u64 = 15_000;

/// What a node knows of the continuity of its own state.
#[derive(Debug)]
pub struct Continuity {
    marks: Arc<Marks>,
    run: String,
    place: Place,
    beginning: Beginning,
    /// Whether the run before came to its end with everything stored.
    ended_well: bool,
    /// How often the store had lost frames, and what came of it.
    lost: Mutex<(u64, Option<Lost>)>,
    doubt: Mutex<Option<Doubt>>,
    /// Whether marks and store have been told of this run.
    begun: AtomicBool,
    /// Why the mark outside cannot be written.
    unmarked: Mutex<Option<String>>,
}

fn text(conn: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    Ok(kv::get(conn, key)?.and_then(|bytes| String::from_utf8(bytes).ok()))
}

fn number(conn: &Connection, key: &str) -> Result<u64, StoreError> {
    let bytes = kv::get(conn, key)?;
    Ok(bytes
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

fn put_number(conn: &Connection, key: &str, value: u64) -> Result<(), StoreError> {
    kv::put(conn, key, &value.to_be_bytes())
}

/// From where a run of `own` may count its frames: past all that may have been used, as the store and the marks say.
/// [`Continuity::begin`] writes it down before the first frame is made.
///
/// # Errors
/// Whatever the store says.
pub fn next_seq(conn: &Connection, own: &DeviceId, marked: u64) -> Result<u64, StoreError> {
    let stored = frames::max_origin_seq(conn, own)?.max(number(conn, NEXT_SEQ)?);
    let used = stored.max(marked);
    // Relaxed writes can be lost with the power: leave room for what may have been sent.
    Ok(used.saturating_add(UNWRITTEN_FRAMES))
}

/// The doubt that stands in a store. One that does not read still stands.
///
/// # Errors
/// Whatever the store says.
pub fn stored_doubt(conn: &Connection) -> Result<Option<Doubt>, StoreError> {
    Ok(kv::get(conn, DOUBT)?.map(|bytes| {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Doubt {
            fault: Fault::RolledBack,
            why: "a doubt is stored that does not read".to_owned(),
            at: TimeMs(0),
        })
    }))
}

/// Writes a doubt down, with its audit entry, inside a transaction.
///
/// # Errors
/// Whatever the store says.
pub fn store_doubt(conn: &Connection, key: &DeviceKey, doubt: &Doubt) -> Result<(), StoreError> {
    put_doubt(conn, doubt)?;
    audit_entry(
        conn,
        key,
        doubt.at,
        AuditKind::StateDoubted,
        "state",
        json!(doubt),
    )
}

fn put_doubt(conn: &Connection, doubt: &Doubt) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(doubt).unwrap_or_default();
    kv::put(conn, DOUBT, &bytes)
}

/// A fault, and how it was noticed.
type Found = (Fault, String);

/// What the store says of itself, and the doubt that stands in it or follows from the marks.
fn look(
    conn: &Connection,
    device: &DeviceId,
    marks: (Option<&Mark>, Option<&Mark>),
    place: &Place,
) -> Result<(Option<Doubt>, Option<Found>), StoreError> {
    let store = StoreState {
        run: text(conn, RUN)?,
        marked_outside: kv::get(conn, OUTSIDE)?.is_some_and(|v| v == b"1"),
        entries: audit::head(conn)?.seq,
    };
    let hash_at = |seq: u64| {
        let page = audit::after(conn, seq.saturating_sub(1), 1).ok()?;
        page.first().filter(|e| e.seq == seq).map(|e| e.hash)
    };
    let found = compare(device, marks.0, marks.1, &store, place, hash_at);
    Ok((stored_doubt(conn)?, found))
}

/// The doubt that stands in a store, or that its marks raise now.
///
/// # Errors
/// Whatever the store says.
pub fn standing(
    conn: &Connection,
    device: &DeviceId,
    marks: (Option<&Mark>, Option<&Mark>),
    place: &Place,
    now: TimeMs,
) -> Result<Option<Doubt>, StoreError> {
    let (stands, found) = look(conn, device, marks, place)?;
    let new = found.map(|(fault, why)| Doubt {
        fault,
        why,
        at: now,
    });
    Ok(stands.or(new))
}

/// What a run begins with.
pub struct Begin<'a> {
    /// The store.
    pub store: &'a Store,
    /// The device.
    pub device: &'a DeviceId,
    /// Its marks.
    pub marks: Marks,
    /// Where its directory lies.
    pub place: Place,
    /// A name for this run that no other has.
    pub run: String,
    /// The count after which its frames begin.
    pub first_seq: u64,
    /// The current moment.
    pub now: TimeMs,
}

/// Claims the identity on this machine; a process that just ended may hold it for a moment.
async fn claimed(marks: &Marks) -> bool {
    for _ in 0..10 {
        if marks.claim() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    marks.claim()
}

impl Continuity {
    /// Compares the state with its marks and begins a run. Without doubt the marks and the store are
    /// told of the run, as soon as the marks can be written; in doubt they stay as they are.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn begin(begin: Begin<'_>) -> Result<Self, StoreError> {
        let Begin {
            store,
            device,
            marks,
            place,
            run,
            first_seq,
            now,
        } = begin;
        let alone = claimed(&marks).await;
        let (inside, outside) = (marks.inside(), marks.outside());
        let (copy, at) = (device.clone(), place.clone());
        let (stands, found, head, confirmed, mark, ended_well, before) = store
            .read("continuity", move |c| {
                let (stands, found) = look(c, &copy, (inside.as_ref(), outside.as_ref()), &at)?;
                let confirmed = TimeMs(number(c, CONFIRMED)?);
                let ended_well = kv::get(c, OPEN)?.is_none();
                let (head, mark) = (audit::head(c)?, high_water(c)?);
                let before = text(c, RUN)?;
                Ok((stands, found, head, confirmed, mark, ended_well, before))
            })
            .await?;
        let found = match alone {
            true => found,
            false => Some((
                Fault::RunsTwice,
                "another process on this machine runs with this identity".to_owned(),
            )),
        };
        let new = found.map(|(fault, why)| Doubt {
            fault,
            why,
            at: now,
        });
        let continuity = Self {
            marks: Arc::new(marks),
            run,
            place,
            beginning: Beginning {
                first_seq,
                latest: now.max(match mark {
                    TimeMs(0) => now,
                    mark => mark.plus(UNWRITTEN_MS),
                }),
                entries: head.seq,
                confirmed,
            },
            ended_well,
            lost: Mutex::default(),
            doubt: Mutex::new(stands.or(new)),
            begun: AtomicBool::new(false),
            unmarked: Mutex::default(),
        };
        if continuity.doubt().is_some() {
            // Perhaps it was copied while it was being written.
            store.read("check a copy", backup::check).await?;
        }
        if continuity.doubt().is_none() && continuity.marks.kept() {
            let mark = continuity.first_mark(device, before, head, first_seq, now);
            match continuity.marks.begin(&mark) {
                Ok(outside) => continuity.begun(store, outside).await?,
                Err(why) => *continuity.unmarked() = Some(why),
            }
        }
        if !continuity.begun.load(Ordering::Acquire) {
            store
                .write(DURABLE, "own count", move |c| {
                    kv::put(c, OPEN, b"1")?;
                    put_number(c, NEXT_SEQ, first_seq)
                })
                .await?;
        }
        Ok(continuity)
    }

    /// The mark that tells of this run before the store does: a start that is cut off between them
    /// raises no doubt.
    fn first_mark(
        &self,
        device: &DeviceId,
        before: Option<String>,
        head: audit::Head,
        seq: u64,
        now: TimeMs,
    ) -> Mark {
        Mark {
            run: before,
            next: Some(self.run.clone()),
            ..self.mark(device, head, seq, now)
        }
    }

    /// Writes into the store that this run uses it, once the marks tell of it, and where its count of own
    /// frames begins.
    async fn begun(&self, store: &Store, outside: bool) -> Result<(), StoreError> {
        let (run, outside): (_, &[u8]) = (self.run.clone(), if outside { b"1" } else { b"0" });
        let first_seq = self.beginning.first_seq;
        store
            .write(DURABLE, "continuity", move |c| {
                if number(c, NEXT_SEQ)? < first_seq {
                    put_number(c, NEXT_SEQ, first_seq)?;
                }
                kv::put(c, OPEN, b"1")?;
                kv::put(c, RUN, run.as_bytes())?;
                kv::put(c, OUTSIDE, outside)
            })
            .await?;
        self.begun.store(true, Ordering::Release);
        Ok(())
    }

    fn unmarked(&self) -> MutexGuard<'_, Option<String>> {
        self.unmarked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Doubt>> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The doubt that stands.
    pub fn doubt(&self) -> Option<Doubt> {
        self.lock().clone()
    }

    /// Refuses to operate while a doubt stands, and while the mark outside cannot be written: a restored
    /// copy would not be noticed.
    ///
    /// # Errors
    /// `STATE_IN_DOUBT`.
    pub fn check(&self) -> Result<(), StoreError> {
        let message = match (&*self.lock(), &*self.unmarked()) {
            (None, None) => return Ok(()),
            (Some(doubt), _) => format!("{}; {ADVICE}", sentence(doubt)),
            (None, Some(why)) => format!("{}; {MARK_ADVICE}", unmarked(why)),
        };
        let refusal = Refusal::new(Code::StateInDoubt, message);
        Err(StoreError::Refused(refusal))
    }

    /// Whether the run before came to its end with everything stored.
    pub fn ended_well(&self) -> bool {
        self.ended_well
    }

    /// What this run has lost of its own frames, where the store has lost any.
    fn lost(&self, frames: &Frames) -> Option<Lost> {
        let losses = frames.store.losses();
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.0 != losses {
            let (seq, at) = (frames.stamper.newest(), frames.now());
            *lost = (losses, Some(Lost { seq, at }));
        }
        lost.1
    }

    /// Lets go of the identity; the node is about to end.
    pub fn release(&self) {
        self.marks.release();
    }

    fn mark(&self, device: &DeviceId, head: audit::Head, seq: u64, now: TimeMs) -> Mark {
        Mark {
            device: device.clone(),
            run: Some(self.run.clone()),
            next: None,
            entries: head.seq,
            head: head.hash,
            place: self.place.clone(),
            at: now,
            seq: Some(seq),
        }
    }
}

/// How many audit entries there are, for peers to remember.
pub async fn entries(context: &Context) -> Option<u64> {
    let head = context.store.read("audit head", audit::head).await;
    head.ok().map(|h| h.seq)
}

/// What a person's word came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The doubt it ended.
    pub doubt: Option<Doubt>,
    /// How many proposals were superseded.
    pub superseded: usize,
    /// How many audit entries there are now, and the hash of the last.
    pub entries: u64,
    /// See `entries`.
    pub head: Digest,
}

/// A person at this machine says that this state is the real one, inside one transaction: the doubt
/// ends, and whatever was open in the state is void, with every approval of it.
///
/// # Errors
/// Whatever the store says.
pub fn confirm(
    conn: &Connection,
    key: &DeviceKey,
    now: TimeMs,
    run: &str,
) -> Result<Confirmed, StoreError> {
    let doubt = stored_doubt(conn)?;
    let why = "void: it was open in a state that was restored or copied; ask again";
    let mut superseded = 0;
    for row in proposals::own_open_all(conn, QUERY_MAX)? {
        let case = cases::case_of(conn, &row)?;
        let step = end::void(&case, why).map_err(StoreError::Refused)?;
        write_step(conn, key, now, &step, None)?;
        superseded += 1;
    }
    void_standing_approvals(conn, key, now, why)?;
    // Frames of the lost history may have counts up to here and beyond.
    let next = number(conn, NEXT_SEQ)?.saturating_add(CONFIRM_SKIP_FRAMES);
    put_number(conn, NEXT_SEQ, next)?;
    kv::delete(conn, DOUBT)?;
    kv::put(conn, RUN, run.as_bytes())?;
    kv::put(conn, OUTSIDE, b"0")?;
    kv::put(conn, CONFIRMED, &now.0.to_be_bytes())?;
    let detail = json!({"doubt": doubt, "superseded": superseded});
    audit_entry(conn, key, now, AuditKind::StateConfirmed, "state", detail)?;
    let head = audit::head(conn)?;
    Ok(Confirmed {
        doubt,
        superseded,
        entries: head.seq,
        head: head.hash,
    })
}
