//! The state directory while no node runs on it, and the choice between it and the running node.
//!
//! Whatever changes trust or operators goes through the running node if there is one; else the
//! directory is opened under its lock and the same rules are applied to its store.

use std::io::Write;
use std::sync::Arc;

use super::context::Context;
use super::fail::{Done, Exit, Failure};
use crate::adapters::keystore::{self, OperatorCard};
use crate::adapters::marks::{self, MarkPlaces, Marks, place_of};
use crate::adapters::paths::{PathError, StateDir, StateLock};
use crate::adapters::store::{Class, Store, StoreError, StoreOptions, backup};
use crate::domain::admission::TrustRecord;
use crate::domain::base::{DeviceId, OperatorId, Refusal, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::continuity::{Doubt, Mark};
use crate::node::OpenError;
use crate::node::context::timekeeping::{self, Righted};
use crate::node::continuity::{self, Confirmed};
use crate::node::guards::moved;
use crate::node::proposals::left;
use crate::operator::audit_export::Export;
use crate::operator::dto::{
    AuditReport, AuditView, IssuerView, OperatorEnroll, OperatorView, TrustAdd, TrustRecordView,
};
use crate::operator::people;
use crate::operator::registry::{self, Desk, KeyOf};
use crate::operator::shares::Usage;
use crate::surfaces::remote::Remote;

/// 32 random bytes of the system.
///
/// # Errors
/// If the system gives none.
pub fn random() -> Result<[u8; 32], Failure> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| Failure::failed(format!("the system gave no random bytes: {e}")))?;
    Ok(seed)
}

/// The failure for a node that could not open or start.
pub fn failure(error: &OpenError) -> Failure {
    let exit = match error {
        OpenError::Path(_)
        | OpenError::Key(_)
        | OpenError::Store(_)
        | OpenError::Kit(_)
        | OpenError::File { .. } => Exit::State,
        OpenError::Actuator(_) => Exit::Usage,
        OpenError::Transport(_)
        | OpenError::Random(_)
        | OpenError::Tls(_)
        | OpenError::Guards(_) => Exit::Failed,
    };
    Failure::new(exit, error)
}

/// The public half of the person's key in a state directory, if there is one.
///
/// # Errors
/// If the file is there and not right.
pub fn operator_card(dir: &StateDir) -> Result<Option<OperatorCard>, Failure> {
    keystore::operator_card(dir).map_err(Failure::state)
}

/// The same, made without a passphrase if there is none.
///
/// # Errors
/// If the file is there and not right, or cannot be written.
pub fn own_operator(dir: &StateDir, name: &str, now: TimeMs) -> Result<OperatorCard, Failure> {
    if operator_card(dir)?.is_none() {
        dir.prepare().map_err(Failure::state)?;
        keystore::create_operator_key(dir, name, random()?, now).map_err(Failure::state)?;
    }
    operator_card(dir)?.ok_or_else(|| Failure::state("the operator key was removed meanwhile"))
}

fn refused(refusal: Refusal) -> Failure {
    Failure::refused(&refusal)
}

/// A state directory under its lock.
pub struct Offline {
    desk: Desk,
    _lock: StateLock,
}

impl Offline {
    /// Opens the directory; makes directory and identity if they are missing.
    ///
    /// # Errors
    /// If it is in use, not private, damaged, or a gen-1 node's.
    pub async fn open(dir: &StateDir, now: TimeMs) -> Result<Self, Failure> {
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
        let desk = Desk {
            store,
            key: KeyOf::Own(Arc::new(key)),
            now,
        };
        Ok(Self { desk, _lock: lock })
    }

    /// Opens the directory of a node that has a state.
    ///
    /// # Errors
    /// As [`Offline::open`], or that there is none.
    pub async fn open_existing(ctx: &Context) -> Result<Self, Failure> {
        require(&ctx.dir)?;
        Self::open(&ctx.dir, ctx.time()).await
    }

    /// What is in doubt about the state.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn doubt(&self, ctx: &Context) -> Result<Option<Doubt>, Failure> {
        let device = self.desk.key.id().clone();
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
    pub async fn doubted(&self, doubt: Doubt) -> Done {
        let key = self.desk.key.clone();
        let write = move |c: &rusqlite::Connection| continuity::store_doubt(c, &key, &doubt);
        let store = &self.desk.store;
        let stored = store.write(Class::Durable, "doubt", write).await;
        stored.map_err(Failure::state)
    }

    /// A person says that this state is the one to go on with.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn confirm_state(&self, ctx: &Context) -> Result<Confirmed, Failure> {
        let (key, now) = (self.desk.key.clone(), self.desk.now);
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
        });
        written.map(|_| confirmed).map_err(|why| {
            Failure::state(format!(
                "the state is confirmed, but this cannot be noted outside the state directory ({why}), so the node goes \
                 on observing; {}, and say `state confirm` once more",
                continuity::MARK_ADVICE
            ))
        })
    }

    /// Whether the node has moved an actuator and not seen it safe again.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn was_left(&self, target: &Capability) -> Result<bool, Failure> {
        let all = self.desk.store.read("moved actuators", moved::all).await;
        let all = all.map_err(Failure::state)?;
        Ok(all.iter().any(|moved| moved.target == *target))
    }

    /// A person says that an actuator is in its safe state.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn confirm_safe(&self, target: &Capability) -> Done {
        let (key, now, target) = (self.desk.key.clone(), self.desk.now, target.clone());
        let confirm = move |c: &rusqlite::Connection| left::confirm(c, &key, now, &target);
        let confirmed = self.desk.store.write(Class::Durable, "safe", confirm).await;
        confirmed.map(drop).map_err(Failure::state)
    }

    /// The newest time that the node has recorded.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn recorded(&self) -> Result<TimeMs, Failure> {
        let read = self.desk.store.read("clock", timekeeping::recorded).await;
        read.map_err(Failure::state)
    }

    /// A person says that the clock is right.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn confirm_clock(&self, now: TimeMs) -> Result<Righted, Failure> {
        let key = self.desk.key.clone();
        let confirm = move |c: &rusqlite::Connection| timekeeping::confirm(c, &key, now);
        let store = &self.desk.store;
        let confirmed = store.write(Class::Durable, "clock", confirm).await;
        confirmed.map_err(Failure::state)
    }

    /// The device of this directory.
    pub fn device_id(&self) -> &DeviceId {
        self.desk.key.id()
    }

    /// Its public key, as text.
    pub fn public_key(&self) -> String {
        self.desk.key.public().to_text()
    }

    /// Trusts a device, unless it is trusted already: what a person changed stays.
    ///
    /// # Errors
    /// As `trust add`.
    pub async fn trust_add_if_missing(&self, add: &TrustAdd) -> Done {
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
    pub async fn enroll_if_missing(&self, enroll: &OperatorEnroll, id: &OperatorId) -> Done {
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
    pub async fn close(self) {
        self.desk.store.close().await;
    }
}

/// The trust, operators and audit trail of a state directory, running or not.
pub enum Registry {
    /// Through the running node.
    Running(Remote),
    /// In the directory, under its lock.
    Stopped(Offline),
    /// In the directory, only to look at.
    Looked(Desk),
    /// A directory that has no state yet.
    Empty,
}

impl Registry {
    /// The registry of the command's state directory.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub async fn open(ctx: &Context) -> Result<Self, Failure> {
        Ok(match ctx.running().await? {
            Some(remote) => Self::Running(remote),
            None => Self::Stopped(Offline::open(&ctx.dir, ctx.time()).await?),
        })
    }

    /// The registry of the command's state directory, to look at: nothing is made or changed in it, and it
    /// may lie on a read-only medium. What another directory's node answers is not asked.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub async fn look(ctx: &Context) -> Result<Self, Failure> {
        let dir = &ctx.dir;
        refuse_gen1(dir)?;
        if dir.in_use()
            && let Some(remote) = ctx.running().await?
        {
            return Ok(Self::Running(remote));
        }
        if !dir.database().exists() && !dir.has_had_store() {
            return Ok(Self::Empty);
        }
        let file = dir.database();
        let opening = tokio::task::spawn_blocking(move || Store::open_to_read(&file));
        let store = opening
            .await
            .map_err(|e| Failure::failed(format!("opening the store was cut off: {e}")))?
            .map_err(Failure::state)?;
        let key = keystore::load_device_key(dir).map_err(Failure::state)?;
        let key = key.ok_or_else(|| {
            Failure::state(format!(
                "{} is missing, so nothing says whose state this is",
                dir.identity_file().display()
            ))
        })?;
        Ok(Self::Looked(Desk {
            store,
            key: KeyOf::Own(Arc::new(key)),
            now: ctx.time(),
        }))
    }

    /// As [`Registry::look`], for a state that must exist.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    pub async fn look_existing(ctx: &Context) -> Result<Self, Failure> {
        require(&ctx.dir)?;
        Self::look(ctx).await
    }

    /// The store of the directory while no node runs on it.
    fn desk(&self) -> Result<&Desk, Failure> {
        match self {
            Self::Stopped(offline) => Ok(&offline.desk),
            Self::Looked(desk) => Ok(desk),
            Self::Running(_) | Self::Empty => Err(Failure::failed("there is no state here yet")),
        }
    }

    /// Lets go of it.
    pub async fn close(self) {
        match self {
            Self::Stopped(offline) => offline.close().await,
            Self::Looked(desk) => desk.store.close().await,
            Self::Running(_) | Self::Empty => {}
        }
    }

    /// Trusts a device.
    pub async fn trust_add(&self, add: &TrustAdd) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_add(add).await?),
            _ => viewed(registry::trust_add(self.desk()?, add).await),
        }
    }

    /// Every trust record.
    pub async fn trust_list(&self) -> Result<Vec<TrustRecordView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust().await?),
            Self::Empty => Ok(Vec::new()),
            _ => {
                let desk = self.desk()?;
                let records = registry::trust_list(desk).await.map_err(refused)?;
                let usage = Usage::read(desk).await.map_err(refused)?;
                let view = |r: &TrustRecord| registry::trust_view(r, None, usage.of(&r.device_id));
                Ok(records.iter().map(view).collect())
            }
        }
    }

    /// Forgets a device.
    pub async fn trust_remove(&self, id: &str) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_remove(id).await?),
            _ => viewed(registry::trust_remove(self.desk()?, id).await),
        }
    }

    /// Allows a device more.
    pub async fn trust_grant(&self, id: &str, grants: &str) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_grant(id, grants).await?),
            _ => viewed(registry::trust_grant(self.desk()?, id, grants).await),
        }
    }

    /// Allows a device less.
    pub async fn trust_ungrant(&self, id: &str, grants: &str) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_ungrant(id, grants).await?),
            _ => viewed(registry::trust_ungrant(self.desk()?, id, grants).await),
        }
    }

    /// Ends the trust in a device for good.
    pub async fn trust_revoke(&self, id: &str) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_revoke(id).await?),
            _ => viewed(registry::trust_revoke(self.desk()?, id).await),
        }
    }

    /// Enrols a person.
    pub async fn operator_enroll(&self, enroll: &OperatorEnroll) -> Result<OperatorView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.operator_enroll(enroll).await?),
            _ => people::operator_enroll(self.desk()?, enroll)
                .await
                .map_err(refused),
        }
    }

    /// Every operator.
    pub async fn operator_list(&self) -> Result<Vec<OperatorView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.operators().await?),
            Self::Empty => Ok(Vec::new()),
            _ => people::operator_list(self.desk()?).await.map_err(refused),
        }
    }

    /// Revokes a person's key.
    pub async fn operator_revoke(&self, id: &str) -> Result<OperatorView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.operator_revoke(id, None).await?),
            _ => people::operator_revoke(self.desk()?, id, None)
                .await
                .map_err(refused),
        }
    }

    /// Revokes every key of a person.
    pub async fn person_revoke(&self, id: &str) -> Result<Vec<OperatorView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.person_revoke(id).await?),
            _ => people::person_revoke(self.desk()?, id, None)
                .await
                .map_err(refused),
        }
    }

    /// Devices whose operators are accepted here, and those that could be.
    pub async fn issuers(&self) -> Result<Vec<IssuerView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.issuers().await?),
            Self::Empty => Ok(Vec::new()),
            _ => people::issuer_list(self.desk()?).await.map_err(refused),
        }
    }

    /// Lets the operators of another device count here, or no more.
    pub async fn issuer_change(&self, id: &str, accept: bool) -> Result<IssuerView, Failure> {
        match (self, accept) {
            (Self::Running(remote), _) => Ok(remote.issuer_change(id, accept).await?),
            (_, true) => people::issuer_accept(self.desk()?, id)
                .await
                .map_err(refused),
            (_, false) => people::issuer_remove(self.desk()?, id)
                .await
                .map_err(refused),
        }
    }

    /// Checks the audit chain.
    pub async fn audit_verify(&self) -> Result<AuditReport, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.audit_verify().await?),
            _ => checked(self.desk()?).await,
        }
    }

    /// Writes the whole audit chain as JSON lines.
    pub async fn audit_export(&self, to: &mut (dyn Write + Send)) -> Done {
        let mut put = |lines: &[u8]| to.write_all(lines).and_then(|()| to.flush());
        match self {
            Self::Running(remote) => remote.audit_export(&mut put).await?,
            _ => {
                let mut export = Export::begin(self.desk()?.clone()).await.map_err(refused)?;
                while let Some(lines) = export.next().await.map_err(refused)? {
                    put(lines.as_bytes()).map_err(|e| {
                        Failure::failed(format!("the trail could not be written: {e}"))
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The newest audit entries.
    pub async fn audit_show(&self, limit: usize) -> Result<Vec<AuditView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.audit(None, limit).await?),
            _ => Err(Failure::new(
                Exit::NotRunning,
                "audit show needs the running node; audit verify works while it is stopped",
            )),
        }
    }
}

fn viewed(answer: Result<TrustRecord, Refusal>) -> Result<TrustRecordView, Failure> {
    answer
        .map(|r| registry::trust_view(&r, None, Vec::new()))
        .map_err(refused)
}

/// Refuses a state directory without a state. One that has lost its store is told so when it is opened.
///
/// # Errors
/// That there is none.
pub fn require(dir: &StateDir) -> Done {
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

/// Checks the chain of a stopped node, every page of its database, and that it reaches as far as the
/// note beside it says: a copy may be torn.
async fn checked(desk: &Desk) -> Result<AuditReport, Failure> {
    let damaged = |why: String| AuditReport {
        ok: false,
        entries: 0,
        head: None,
        faults: vec![why],
    };
    match desk.store.read("check the database", backup::check).await {
        Ok(()) => {}
        Err(error @ (StoreError::Corrupt { .. } | StoreError::Invalid { .. })) => {
            return Ok(damaged(error.to_string()));
        }
        Err(error) => return Err(Failure::state(error)),
    }
    let mut report = registry::audit_verify(desk).await.map_err(refused)?;
    let dir = desk.store.path().parent().map(StateDir::at);
    let inside = dir.map(|dir| Marks::new(&dir, desk.key.id(), &MarkPlaces::inside()));
    let noted = inside.and_then(|marks| marks.inside());
    let noted = noted.filter(|mark| mark.device == *desk.key.id());
    if let Some(mark) = noted.filter(|mark| mark.entries > report.entries) {
        report.ok = false;
        report.faults.push(format!(
            "the trail has {} entries, the note beside the database tells of {}: the database is older than the \
             directory, or its -wal file is missing",
            report.entries, mark.entries
        ));
    }
    Ok(report)
}

fn refuse_gen1(dir: &StateDir) -> Done {
    if dir.is_gen1() {
        let dir = dir.root().display().to_string();
        return Err(Failure::state(PathError::Gen1 { dir }));
    }
    Ok(())
}
