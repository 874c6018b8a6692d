//! A disk that is put back: one host of a world starts on an older copy of its own disk, while its peers
//! know what it has done since, and whoever kept a signed decision sends it again.

use clawmesh::adapters::marks::{MarkPlaces, Marks, place_of};
use clawmesh::adapters::paths::StateDir;
use clawmesh::adapters::store::{Class, audit};
use clawmesh::domain::continuity::Mark;
use clawmesh::domain::identity::DeviceKey;
use clawmesh::node::continuity;
use std::path::Path;

use crate::checks::told_entries;
use crate::disk::log_of;
use crate::world::{World, known};

/// What became of the disk that is put back, in virtual milliseconds.
#[derive(Default, Clone)]
pub struct PutBack {
    /// When the copy was made.
    pub copied: Option<u64>,
    /// When it was put back.
    pub restored: Option<u64>,
    /// Since when the node is known to doubt its state.
    pub noticed: Option<u64>,
    /// When a person said that this state is the one to go on with.
    pub confirmed: Option<u64>,
    /// Whether a peer had a frame that tells of more than this state knows to have done, so that it must be
    /// noticed in the end.
    pub known_to_peers: bool,
}

/// Everything of a state directory that a copy takes along.
fn copy(from: &Path, to: &Path) {
    let (old, new) = (StateDir::at(from), StateDir::at(to));
    new.prepare().unwrap();
    for (from, to) in [
        (old.identity_file(), new.identity_file()),
        (old.policy_file(), new.policy_file()),
        (old.database(), new.database()),
        (log_of(&old.database()), log_of(&new.database())),
    ] {
        let _ = std::fs::remove_file(&to);
        if from.exists() {
            std::fs::copy(from, to).unwrap();
        }
    }
}

impl World {
    /// Where marks outside the state directories are kept, in a world that keeps some.
    pub fn marks(&self) -> MarkPlaces {
        MarkPlaces {
            inside: false,
            outside: self
                .plan
                .put_back
                .filter(|(_, marked)| *marked)
                .map(|_| self.root.path().join("marks"))
                .into_iter()
                .collect(),
        }
    }

    /// The directory of a host has another name in each of its lives, which is no copy.
    pub fn renamed(&self, at: usize) {
        let file = format!("marks/{}.json", self.places[at].key.id());
        let file = self.root.path().join(file);
        let Ok(text) = std::fs::read(&file) else {
            return;
        };
        let mut mark: Mark = serde_json::from_slice(&text).unwrap();
        mark.place = place_of(&StateDir::at(&self.places[at].state));
        std::fs::write(file, serde_json::to_vec(&mark).unwrap()).unwrap();
    }

    /// The next step of a world in which a disk is put back: the copy, and later its way back.
    pub async fn put_back(&mut self) {
        let Some((at, marked)) = self.plan.put_back else {
            return;
        };
        let kept = self.root.path().join("kept");
        let (now, done) = (self.trace.now_ms(), self.put_back.clone());
        if done.restored.is_some() || done.copied.is_some_and(|then| now < then + 15_000) {
            return;
        }
        self.crash(at).await;
        if done.copied.is_none() {
            copy(&self.places[at].state, &kept);
            self.put_back.copied = Some(now);
            self.start(at).await;
            return;
        }
        self.fault("disk put back");
        copy(&kept, &self.places[at].state);
        self.put_back.restored = Some(now);
        // What it was told since is lost with its disk.
        self.truth
            .lock()
            .unwrap()
            .revoked
            .retain(|(n, _), _| *n != at);
        if !self.start(at).await {
            return;
        }
        let (Some(shared), own) = (self.shared(at), known(at).0) else {
            return;
        };
        if marked && shared.continuity.doubt().is_none() {
            let what = format!("NOTICED: n{at} takes an older disk for its own, against its mark");
            self.wrong.push(what);
        }
        let head = shared.store.read_blocking("audit", audit::head).unwrap();
        let others = (0..self.places.len()).filter(|n| *n != at);
        self.put_back.known_to_peers = others
            .filter_map(|n| self.shared(n))
            .any(|other| told_entries(&other, own) > head.seq);
        self.notice_doubt();
    }

    /// Sees whether the node whose disk was put back doubts its state; no other may.
    pub fn notice_doubt(&mut self) {
        if !self.plan.more {
            return;
        }
        let now = self.trace.now_ms();
        for at in 0..self.places.len() {
            let doubt = self.shared(at).and_then(|s| s.continuity.doubt());
            let Some(doubt) = doubt else { continue };
            let put_back = self.plan.put_back.is_some_and(|(n, _)| n == at);
            if !put_back || self.put_back.restored.is_none() {
                let what = format!("DOUBT: n{at} doubts a state that is its own: {}", doubt.why);
                if !self.wrong.contains(&what) {
                    self.wrong.push(what);
                }
            } else if self.put_back.confirmed.is_some() {
                let what = format!(
                    "DOUBT: n{at} doubts what a person has confirmed: {}",
                    doubt.why
                );
                if !self.wrong.contains(&what) {
                    self.wrong.push(what);
                }
            } else {
                self.put_back.noticed.get_or_insert(now);
            }
        }
    }

    /// A person at the node says that this state is the one to go on with, as the command does.
    pub async fn confirm(&mut self) {
        let Some((at, _)) = self.plan.put_back else {
            return;
        };
        let Some(shared) = self.shared(at).filter(|s| s.continuity.doubt().is_some()) else {
            return;
        };
        let (now, run) = (shared.now(), "confirmed".to_owned());
        let key = DeviceKey::from_seed(&self.places[at].key.seed());
        let named = run.clone();
        let write = move |c: &_| continuity::confirm(c, &key, now, &named);
        let Ok(confirmed) = shared.store.write(Class::Durable, "confirm", write).await else {
            return;
        };
        let device = shared.own_id().clone();
        drop(shared);
        self.crash(at).await;
        let dir = StateDir::at(&self.places[at].state);
        let marks = Marks::new(&dir, &device, &self.marks());
        let written = marks.write(&Mark {
            device,
            run: Some(run),
            next: None,
            entries: confirmed.entries,
            head: confirmed.head,
            place: place_of(&dir),
            at: now,
            seq: Some(marks.used()),
        });
        written.unwrap();
        self.put_back.confirmed = Some(self.trace.now_ms());
        self.start(at).await;
        self.notice_doubt();
    }

    /// Whether a node was put back and did not know it yet at a moment: what it does then is not promised.
    pub fn unaware(&self, at: usize, moment: u64) -> bool {
        let PutBack {
            restored, noticed, ..
        } = self.put_back;
        self.plan.put_back == Some((at, false))
            && restored.is_some_and(|since| moment >= since)
            && noticed.is_none_or(|since| moment <= since)
    }

    /// Whether a moment of a node lies in a history that its disk has lost.
    pub fn is_lost(&self, at: usize, moment: u64) -> bool {
        self.plan.put_back.is_some_and(|(n, _)| n == at)
            && self.put_back.restored.is_some_and(|then| moment <= then)
    }

    /// Whether the disk of this node was put back.
    pub fn was_put_back(&self, at: usize) -> bool {
        self.put_back.restored.is_some() && self.plan.put_back.is_some_and(|(n, _)| n == at)
    }
}
