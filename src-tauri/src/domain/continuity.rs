//! Whether a node's state is the one that it last ran with: pure comparisons of what the store says
//! with marks kept beside it and with the node's own signed frames that peers bring back.
//!
//! A store that went backwards (a restored backup, a snapshot, a copied directory) would carry out
//! once more what was done after the copy was made. So a node in doubt observes and does not operate
//! until a person at it has said which state is the real one (invariant I6).

use serde::{Deserialize, Serialize};

use super::base::{DeviceId, Digest, TimeMs};

/// Where a state directory lies: what a copy of it does not share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Its path.
    pub path: String,
    /// Its number in the file system; a renamed directory keeps it, a copy has another.
    pub inode: u64,
    /// The machine, where the system names it.
    pub machine: Option<String>,
}

impl Place {
    /// Whether a directory that was `self` is now `found`: on the same machine, in its old place or
    /// renamed.
    fn is(&self, found: &Place) -> bool {
        self.machine == found.machine && (self.path == found.path || self.inode == found.inode)
    }
}

/// A note beside the store (inside the state directory, and outside it) of how far the store has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Whose state it is.
    pub device: DeviceId,
    /// The run that last used it; none for a directory that commands alone have used.
    pub run: Option<String>,
    /// A run that began and may not have reached the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many audit entries the store had on disk.
    pub entries: u64,
    /// The hash of the last of them.
    pub head: Digest,
    /// Where the directory lay.
    pub place: Place,
    /// When this was written.
    pub at: TimeMs,
    /// After which count the frames of its newest run begin; absent in a mark of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

impl Mark {
    /// The same without the runs: it tells how far the store has come, and not which run used it.
    pub fn without_run(self) -> Self {
        Mark {
            run: None,
            next: None,
            ..self
        }
    }
}

/// What the store says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreState {
    /// The run that last used it.
    pub run: Option<String>,
    /// Whether that run kept a mark outside the directory.
    pub marked_outside: bool,
    /// How many audit entries it has.
    pub entries: u64,
}

/// What is wrong with a node's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It is older than what this device has done.
    RolledBack,
    /// It was copied or came from another machine; the original may be running.
    Copied,
    /// A person restored it from a backup.
    Restored,
    /// Another process acts with this identity.
    RunsTwice,
}

/// A doubt about a node's state, which holds until a person at the node ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doubt {
    /// What is wrong.
    pub fault: Fault,
    /// How it was noticed, in a sentence without a full stop.
    pub why: String,
    /// When it was noticed.
    pub at: TimeMs,
}

/// Compares the store with a mark. `hash_at` gives the hash of the audit entry with a number.
fn against(
    mark: &Mark,
    whose: &str,
    store: &StoreState,
    hash_at: impl Fn(u64) -> Option<Digest>,
) -> Option<(Fault, String)> {
    let begun = mark.next.is_some() && store.run == mark.next;
    let known = mark.run.is_none() || store.run == mark.run || begun;
    if !known {
        return Some((
            Fault::RolledBack,
            format!("the store is not the one that last ran: a later run is noted {whose}"),
        ));
    }
    if store.entries < mark.entries {
        return Some((
            Fault::RolledBack,
            format!(
                "the audit trail has {} entries, {} are noted {whose}",
                store.entries, mark.entries
            ),
        ));
    }
    if mark.entries > 0 && hash_at(mark.entries) != Some(mark.head) {
        return Some((
            Fault::RolledBack,
            format!(
                "audit entry {} is another one than noted {whose}",
                mark.entries
            ),
        ));
    }
    None
}

/// What the marks tell of the store of `device` in a directory at `place`. A mark of another device
/// says nothing.
pub fn compare(
    device: &DeviceId,
    inside: Option<&Mark>,
    outside: Option<&Mark>,
    store: &StoreState,
    place: &Place,
    hash_at: impl Fn(u64) -> Option<Digest>,
) -> Option<(Fault, String)> {
    let inside = inside.filter(|m| m.device == *device);
    let outside = outside.filter(|m| m.device == *device);
    let found = outside
        .and_then(|m| against(m, "outside the state directory", store, &hash_at))
        .or_else(|| inside.and_then(|m| against(m, "in the state directory", store, &hash_at)));
    if found.is_some() {
        return found;
    }
    let copied = |from: &Place| {
        Some((
            Fault::Copied,
            format!(
                "the state directory is a copy of one that lay at {}",
                from.path
            ),
        ))
    };
    match outside {
        None if store.marked_outside => Some((
            Fault::Copied,
            "the mark that was kept outside the state directory is not on this machine, or not for this user"
                .to_owned(),
        )),
        Some(mark) if mark.run.is_some() && !mark.place.is(place) => copied(&mark.place),
        Some(_) => None,
        None => match inside {
            Some(mark) if mark.run.is_some() && !mark.place.is(place) => copied(&mark.place),
            _ => None,
        },
    }
}

/// What a run remembers of its beginning, to tell its own lost frames from frames that something else
/// signed with its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Every frame of this run has a higher count, every frame of an earlier run a lower one.
    pub first_seq: u64,
    /// No earlier run of this state was alive after this moment.
    pub latest: TimeMs,
    /// How many audit entries there were.
    pub entries: u64,
    /// When a person last said that this state is the real one.
    pub confirmed: TimeMs,
}

/// An own signed frame that a peer brought and that the store did not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// Its count.
    pub seq: Option<u64>,
    /// When it was made, as it says.
    pub at: TimeMs,
    /// How many audit entries its maker had, if it says.
    pub entries: Option<u64>,
    /// Whether it is the outcome of an action that the store does not know as ended.
    pub unknown_outcome: bool,
}

/// What a run has lost of its own frames, which it had sent: those up to a count and a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The newest count it had given.
    pub seq: u64,
    /// When it noticed.
    pub at: TimeMs,
}

impl Lost {
    fn has(self, frame: &Returned) -> bool {
        frame.seq.is_some_and(|seq| seq <= self.seq) && frame.at <= self.at
    }
}

/// What such a frame proves. Frames that were written without waiting for the disk are lost with the
/// power, or with a commit that failed (`lost`), and come back from peers; that proves nothing. Another process
/// with this identity goes on, and its later frames prove it.
pub fn proves(
    frame: &Returned,
    beginning: &Beginning,
    lost: Option<Lost>,
) -> Option<(Fault, String)> {
    let of_this_run = frame.seq.is_some_and(|seq| seq > beginning.first_seq);
    if of_this_run && !frame.unknown_outcome && lost.is_some_and(|lost| lost.has(frame)) {
        return None;
    }
    let alive = frame.at > beginning.latest;
    if alive || frame.seq.is_some_and(|seq| seq > beginning.first_seq) {
        return Some(match alive {
            true => (
                Fault::RunsTwice,
                "a peer has a frame that was signed with this identity after this run began, and not by it"
                    .to_owned(),
            ),
            false => (
                Fault::RolledBack,
                "a peer has frames of a later run with this identity than this state knows".to_owned(),
            ),
        });
    }
    // What a person has already judged is not news.
    if frame.at <= beginning.confirmed {
        return None;
    }
    if frame.unknown_outcome {
        return Some((
            Fault::RolledBack,
            "a peer has the signed outcome of an action that this state does not know".to_owned(),
        ));
    }
    let more = frame.entries.filter(|n| *n > beginning.entries)?;
    Some((
        Fault::RolledBack,
        format!(
            "a peer has a signed frame that tells of {more} audit entries; this state began with {}",
            beginning.entries
        ),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn hash(n: u64) -> Digest {
        Digest::of(&[&n.to_be_bytes()])
    }

    fn place(path: &str, inode: u64) -> Place {
        Place {
            path: path.into(),
            inode,
            machine: Some("m".into()),
        }
    }

    fn mark(run: &str, entries: u64) -> Mark {
        Mark {
            device: DeviceId::of_public_key(&[1; 32]),
            run: Some(run.into()),
            next: None,
            entries,
            head: hash(entries),
            place: place("/a", 7),
            at: TimeMs(1),
            seq: None,
        }
    }

    fn store(run: &str, entries: u64) -> StoreState {
        StoreState {
            run: Some(run.into()),
            marked_outside: true,
            entries,
        }
    }

    fn judged(
        inside: Option<Mark>,
        outside: Option<Mark>,
        store: StoreState,
        at: Place,
    ) -> Option<Fault> {
        let entries = store.entries;
        let device = DeviceId::of_public_key(&[1; 32]);
        let hash_at = move |n: u64| (n <= entries).then(|| hash(n));
        compare(
            &device,
            inside.as_ref(),
            outside.as_ref(),
            &store,
            &at,
            hash_at,
        )
        .map(|(f, _)| f)
    }

    #[test]
    fn the_state_that_ran_last_raises_no_doubt() {
        let here = place("/a", 7);
        let both = |m: Mark| (Some(m.clone()), Some(m));
        let (inside, outside) = both(mark("r1", 5));
        assert_eq!(judged(inside, outside, store("r1", 9), here.clone()), None);
        // A start that was cut off between mark and store, on either side.
        let begun = Mark {
            next: Some("r2".into()),
            ..mark("r1", 5)
        };
        for run in ["r1", "r2"] {
            let (inside, outside) = both(begun.clone());
            assert_eq!(judged(inside, outside, store(run, 5), here.clone()), None);
        }
        // Moved on one disk; or first started by this version; or kept where no mark can be.
        let (inside, outside) = both(mark("r1", 5));
        assert_eq!(
            judged(inside, outside, store("r1", 5), place("/b", 7)),
            None
        );
        assert_eq!(
            judged(None, None, StoreState::default(), here.clone()),
            None
        );
        let unmarked = StoreState {
            marked_outside: false,
            ..store("r1", 5)
        };
        assert_eq!(judged(Some(mark("r1", 5)), None, unmarked, here), None);
    }

    #[test]
    fn older_foreign_and_copied_states_raise_doubt() {
        let here = place("/a", 7);
        let rolled = Some(Fault::RolledBack);
        let outside = |m: Mark| (None, Some(m));
        for (m, s) in [
            (mark("r2", 5), store("r1", 5)),
            (mark("r1", 6), store("r1", 5)),
            (
                mark("r1", 5),
                StoreState {
                    entries: 5,
                    ..StoreState::default()
                },
            ),
            (
                Mark {
                    head: hash(99),
                    ..mark("r1", 5)
                },
                store("r1", 8),
            ),
        ] {
            let (inside, out) = outside(m.clone());
            assert_eq!(
                judged(inside, out, s.clone(), here.clone()),
                rolled,
                "{m:?}"
            );
            // The same mark inside: a database without its log, or one put back alone.
            let s = StoreState {
                marked_outside: false,
                ..s
            };
            assert_eq!(judged(Some(m), None, s, here.clone()), rolled);
        }
        let copied = Some(Fault::Copied);
        assert_eq!(
            judged(Some(mark("r1", 5)), None, store("r1", 5), here.clone()),
            copied
        );
        assert_eq!(
            judged(None, Some(mark("r1", 5)), store("r1", 5), place("/b", 8)),
            copied
        );
        let elsewhere = Place {
            machine: Some("n".into()),
            ..here
        };
        assert_eq!(
            judged(None, Some(mark("r1", 5)), store("r1", 5), elsewhere),
            copied
        );
    }

    #[test]
    fn lost_frames_prove_nothing_and_foreign_ones_do() {
        let beginning = Beginning {
            first_seq: 2_000_000,
            latest: TimeMs(10_000),
            entries: 40,
            confirmed: TimeMs(5_000),
        };
        let lost = Returned {
            seq: Some(1_000_007),
            at: TimeMs(9_000),
            entries: Some(40),
            unknown_outcome: false,
        };
        let fault = |r: Returned| proves(&r, &beginning, None).map(|(f, _)| f);
        assert_eq!(fault(lost), None);
        let rolled = Some(Fault::RolledBack);
        let seq = Some(2_000_001);
        assert_eq!(fault(Returned { seq, ..lost }), rolled);
        let at = TimeMs(10_001);
        assert_eq!(fault(Returned { at, ..lost }), Some(Fault::RunsTwice));
        let entries = Some(41);
        assert_eq!(fault(Returned { entries, ..lost }), rolled);
        let unknown_outcome = true;
        assert_eq!(
            fault(Returned {
                unknown_outcome,
                ..lost
            }),
            rolled
        );
        let at = TimeMs(5_000);
        let judged_before = Returned {
            at,
            entries,
            unknown_outcome,
            ..lost
        };
        assert_eq!(fault(judged_before), None);
        // What this run has lost itself, and what came after it.
        let gone = Lost {
            seq: 2_000_050,
            at: TimeMs(20_000),
        };
        let fault = |r: Returned| proves(&r, &beginning, Some(gone)).map(|(f, _)| f);
        let own = Returned {
            seq: Some(gone.seq),
            at: gone.at,
            entries: Some(90),
            ..lost
        };
        assert_eq!(fault(own), None);
        let twice = Some(Fault::RunsTwice);
        let seq = Some(gone.seq + 1);
        assert_eq!(fault(Returned { seq, ..own }), twice);
        let at = TimeMs(20_001);
        assert_eq!(fault(Returned { at, ..own }), twice);
        assert_eq!(
            fault(Returned {
                unknown_outcome: true,
                ..own
            }),
            twice
        );
        let seq = None;
        assert_eq!(fault(Returned { seq, ..own }), twice, "ours have a count");
    }
}
