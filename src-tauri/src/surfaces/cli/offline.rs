//! The state directory while no node runs on it, opened under its lock.

use std::sync::Arc;

use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::rotate;
use crate::adapters::devices::DeviceError;
use crate::adapters::keystore::{self, OperatorCard};
use crate::adapters::marks::{self, Marks, place_of};
use crate::adapters::paths::{PathError, StateDir, StateLock};
use crate::adapters::store::{Class, Store, StoreOptions};
use crate::domain::base::{DeviceId, OperatorId, Refusal, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::continuity::{Doubt, Mark};
use crate::domain::identity::DeviceKey;
use crate::node::OpenError;
use crate::node::authority::Issuer;
use crate::node::context::timekeeping::{self, Righted};
use crate::node::continuity::{self, Confirmed};
use crate::node::guards::moved::{self, Moved};
use crate::node::proposals::{estop, left};
use crate::node::timetable;
use crate::operator::dto::{OperatorEnroll, OperatorView, TrustAdd};
use crate::operator::people;
use crate::operator::registry::{self, Desk};

/// 32 random bytes of the system.
///
/// # Errors
/// If the system gives none.
pub(super) fn random() -> Result<[u8; 32], Failure> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| Failure::failed(format!("the system gave no random bytes: {e}")))?;
    Ok(seed)
}

/// The failure for a node that could not open or start.
pub(super) fn failure(error: &OpenError) -> Failure {
    let exit = match error.cause() {
        OpenError::Path(_)
        | OpenError::Key(_)
        | OpenError::Store(_)
        | OpenError::Device(DeviceError::State(_))
        | OpenError::File { .. } => Exit::State,
        OpenError::Device(DeviceError::Config(_)) => Exit::Usage,
        OpenError::Transport(_)
        | OpenError::Random(_)
        | OpenError::Tls(_)
        | OpenError::Guards(_)
        | OpenError::Unsafe { .. } => Exit::Failed,
    };
    let left: &[String] = match error {
        OpenError::Unsafe { left, .. } => left,
        _ => &[],
    };
    let failure = Failure::new(exit, error.cause());
    left.iter().fold(failure, Failure::and)
}

/// The public half of the person's key in a state directory, if there is one.
///
/// # Errors
/// If the file is there and not right.
pub(super) fn operator_card(dir: &StateDir) -> Result<Option<OperatorCard>, Failure> {
    keystore::operator_card(dir).map_err(Failure::state)
}

/// The same, made without a passphrase if there is none.
///
/// # Errors
/// If the file is there and not right, or cannot be written.
pub(super) fn own_operator(
    dir: &StateDir,
    name: &str,
    now: TimeMs,
) -> Result<OperatorCard, Failure> {
    if operator_card(dir)?.is_none() {
        dir.prepare().map_err(Failure::state)?;
        keystore::create_operator_key(dir, name, random()?, now).map_err(Failure::state)?;
    }
    operator_card(dir)?.ok_or_else(|| Failure::state("the operator key was removed meanwhile"))
}

pub(super) fn refused(refusal: Refusal) -> Failure {
    Failure::refused(&refusal)
}

/// A state directory under its lock.
pub(super) struct Offline {
    pub(super) desk: Desk,
    key: Arc<DeviceKey>,
    _lock: StateLock,
}

impl Offline {
    /// Opens the directory; makes directory and identity if they are missing.
    ///
    /// # Errors
    /// If it is in use, not private, damaged, or a gen-1 node's.
    pub(super) async fn open(dir: &StateDir, now: TimeMs) -> Result<Self, Failure> {
        dir.prepare().map_err(Failure::state)?;
        let lock = dir.acquire_lock().map_err(Failure::state)?;
        let key =
            keystore::load_or_create_device_key(dir, random()?, now).map_err(Failure::state)?;
        let file = dir.database();
        let options = StoreOptions {
            expected: dir.has_had_store(),
            ..StoreOptions::default()
        };
        let opening = tokio::task::spawn_blocking(move || Store::open(&file, options));
        let store = opening
            .await
            .map_err(|e| Failure::failed(format!("opening the store was cut off: {e}")))?
            .map_err(Failure::state)?;
        marks::note_store(dir, key.id(), now);
        let key = Arc::new(key);
        let desk = Desk {
            store,
            issuer: Issuer::new(key.clone()),
            now,
        };
        Ok(Self {
            desk,
            key,
            _lock: lock,
        })
    }

    /// Opens the directory of a node that has a state.
    ///
    /// # Errors
    /// As [`Offline::open`], or that there is none.
    pub(super) async fn open_existing(ctx: &Context) -> Result<Self, Failure> {
        require(&ctx.dir)?;
        Self::open(&ctx.dir, ctx.time()).await
    }

    /// The doubt about the state, if there is one.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn doubt(&self, ctx: &Context) -> Result<Option<Doubt>, Failure> {
        let device = self.key.id().clone();
        let marks = Marks::new(&ctx.dir, &device, &ctx.marks());
        let (place, now) = (place_of(&ctx.dir), self.desk.now);
        let (inside, outside) = (marks.inside(), marks.outside());
        let look = move |c: &rusqlite::Connection| {
            continuity::standing(c, &device, (inside.as_ref(), outside.as_ref()), &place, now)
        };
        let store = &self.desk.store;
        store.read("continuity", look).await.map_err(Failure::state)
    }

    /// Writes down that the state is in doubt.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn doubted(&self, doubt: Doubt) -> Done {
        let key = self.key.clone();
        let write = move |c: &rusqlite::Connection| continuity::store_doubt(c, &key, &doubt);
        let store = &self.desk.store;
        let stored = store.write(Class::Durable, "doubt", write).await;
        stored.map_err(Failure::state)
    }

    /// A person says that this state is the one to go on with.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn confirm_state(&self, ctx: &Context) -> Result<Confirmed, Failure> {
        let (key, now) = (self.key.clone(), self.desk.now);
        let run = DeviceId::of_public_key(&random()?).to_string();
        let (named, device) = (run.clone(), key.id().clone());
        let confirm = move |c: &rusqlite::Connection| continuity::confirm(c, &key, now, &named);
        let store = &self.desk.store;
        let confirmed = store.write(Class::Durable, "confirm", confirm).await;
        let confirmed = confirmed.map_err(Failure::state)?;
        let marks = Marks::new(&ctx.dir, &device, &ctx.marks());
        let written = marks.write(&Mark {
            device,
            run: Some(run),
            next: None,
            entries: confirmed.entries,
            head: confirmed.head,
            place: place_of(&ctx.dir),
            at: now,
            seq: Some(marks.used()),
        });
        written.map(|_| confirmed).map_err(|why| {
            Failure::state(format!(
                "the state is confirmed, but this cannot be noted outside the state directory ({why}), so the node goes \
                 on observing; {}, and say `state confirm` once more",
                continuity::MARK_ADVICE
            ))
        })
    }

    /// The movements after which the node has not seen an actuator safe.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn left(&self) -> Result<Vec<Moved>, Failure> {
        let all = self.desk.store.read("moved actuators", moved::all).await;
        all.map_err(Failure::state)
    }

    /// Whether the emergency stop is latched here.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn stopped(&self) -> Result<bool, Failure> {
        let latch = self.desk.store.read("estop", estop::stored).await;
        Ok(latch.map_err(Failure::state)?.is_some())
    }

    /// The devices that are trusted here, as people name them.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn trusted(&self) -> Result<Vec<String>, Failure> {
        let all = registry::trust_list(&self.desk).await.map_err(refused)?;
        let here = all.iter().filter(|record| record.revoked_at.is_none());
        let named =
            here.map(|record| rotate::named(record.device_id.as_str(), record.name.as_deref()));
        Ok(named.collect())
    }

    /// A person says that an actuator is in its safe state.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn confirm_safe(&self, target: &Capability) -> Done {
        let (key, now, target) = (self.key.clone(), self.desk.now, target.clone());
        let confirm = move |c: &rusqlite::Connection| left::confirm(c, &key, now, &target);
        let confirmed = self.desk.store.write(Class::Durable, "safe", confirm).await;
        confirmed.map(drop).map_err(Failure::state)
    }

    /// The newest time that the node has recorded.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn recorded(&self) -> Result<TimeMs, Failure> {
        let read = self.desk.store.read("clock", timekeeping::recorded).await;
        read.map_err(Failure::state)
    }

    /// A person says that the clock is right.
    ///
    /// # Errors
    /// Whatever the store says.
    pub(super) async fn confirm_clock(&self, now: TimeMs) -> Result<Righted, Failure> {
        let key = self.key.clone();
        let confirm = move |c: &rusqlite::Connection| {
            timetable::clock_confirmed(c, now)?;
            timekeeping::confirm(c, &key, now)
        };
        let store = &self.desk.store;
        let confirmed = store.write(Class::Durable, "clock", confirm).await;
        confirmed.map_err(Failure::state)
    }

    /// The device of this directory.
    pub(super) fn device_id(&self) -> &DeviceId {
        self.key.id()
    }

    /// Its public key, as text.
    pub(super) fn public_key(&self) -> String {
        self.key.public().to_text()
    }

    /// Trusts a device, unless it is trusted already: what a person changed stays.
    ///
    /// # Errors
    /// As `trust add`.
    pub(super) async fn trust_add_if_missing(&self, add: &TrustAdd) -> Done {
        let known = registry::trust_list(&self.desk).await.map_err(refused)?;
        if !known.iter().any(|r| r.device_id.as_str() == add.device_id) {
            registry::trust_add(&self.desk, add)
                .await
                .map_err(refused)?;
        }
        Ok(())
    }

    /// Enrols a person, unless they are known already: a revocation stays.
    ///
    /// # Errors
    /// As `operator enroll`.
    pub(super) async fn enroll_if_missing(&self, enroll: &OperatorEnroll, id: &OperatorId) -> Done {
        let known = people::operator_list(&self.desk).await.map_err(refused)?;
        let is = |o: &OperatorView| o.counts || o.revoked_at.is_some();
        if !known.iter().any(|o| o.operator_id == id.as_str() && is(o)) {
            people::operator_enroll(&self.desk, enroll)
                .await
                .map_err(refused)?;
        }
        Ok(())
    }

    /// Writes everything out and lets go of the directory.
    pub(super) async fn close(self) {
        self.desk.store.close().await;
    }
}

/// Refuses a state directory without a state. One that has lost its store is told so when it is opened.
///
/// # Errors
/// That there is none.
pub(super) fn require(dir: &StateDir) -> Done {
    refuse_gen1(dir)?;
    if dir.database().exists() || dir.has_had_store() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NotFound,
        format!(
            "there is no node's state in {}; name another with --state-dir",
            dir.root().display()
        ),
    ))
}

pub(super) fn refuse_gen1(dir: &StateDir) -> Done {
    if dir.is_gen1() {
        let dir = dir.root().display().to_string();
        return Err(Failure::state(PathError::Gen1 { dir }));
    }
    Ok(())
}
