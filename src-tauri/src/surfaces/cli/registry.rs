//! The trust, operators and audit trail of a state directory: of the running node if there is one, else
//! of the directory itself, where the same rules are applied to its store.

use std::io::Write;
use std::sync::Arc;

use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::offline::{Offline, refuse_gen1, refused, require};
use crate::adapters::keystore;
use crate::adapters::marks::{MarkPlaces, Marks};
use crate::adapters::paths::StateDir;
use crate::adapters::store::{Store, StoreError, backup};
use crate::domain::admission::TrustRecord;
use crate::domain::base::Refusal;
use crate::node::authority::Issuer;
use crate::operator::audit_export::Export;
use crate::operator::dto::{
    AuditReport, AuditView, IssuerView, OperatorEnroll, OperatorView, TrustAdd, TrustRecordView,
};
use crate::operator::people;
use crate::operator::registry::{self, Desk};
use crate::operator::shares::Usage;
use crate::surfaces::remote::Remote;

/// The trust, operators and audit trail of a state directory, running or not.
pub(super) enum Registry {
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
    pub(super) async fn open(ctx: &Context) -> Result<Self, Failure> {
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
    pub(super) async fn look(ctx: &Context) -> Result<Self, Failure> {
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
            issuer: Issuer::new(Arc::new(key)),
            now: ctx.time(),
        }))
    }

    /// As [`Registry::look`], for a state that must exist.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    pub(super) async fn look_existing(ctx: &Context) -> Result<Self, Failure> {
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
    pub(super) async fn close(self) {
        match self {
            Self::Stopped(offline) => offline.close().await,
            Self::Looked(desk) => desk.store.close().await,
            Self::Running(_) | Self::Empty => {}
        }
    }

    /// Trusts a device.
    pub(super) async fn trust_add(&self, add: &TrustAdd) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_add(add).await?),
            _ => viewed(registry::trust_add(self.desk()?, add).await),
        }
    }

    /// Every trust record.
    pub(super) async fn trust_list(&self) -> Result<Vec<TrustRecordView>, Failure> {
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
    pub(super) async fn trust_remove(&self, id: &str) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_remove(id).await?),
            _ => viewed(registry::trust_remove(self.desk()?, id).await),
        }
    }

    /// Allows a device more.
    pub(super) async fn trust_grant(
        &self,
        id: &str,
        grants: &str,
    ) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_grant(id, grants).await?),
            _ => viewed(registry::trust_grant(self.desk()?, id, grants).await),
        }
    }

    /// Allows a device less.
    pub(super) async fn trust_ungrant(
        &self,
        id: &str,
        grants: &str,
    ) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_ungrant(id, grants).await?),
            _ => viewed(registry::trust_ungrant(self.desk()?, id, grants).await),
        }
    }

    /// Ends the trust in a device for good.
    pub(super) async fn trust_revoke(&self, id: &str) -> Result<TrustRecordView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.trust_revoke(id).await?),
            _ => viewed(registry::trust_revoke(self.desk()?, id).await),
        }
    }

    /// Enrols a person.
    pub(super) async fn operator_enroll(
        &self,
        enroll: &OperatorEnroll,
    ) -> Result<OperatorView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.operator_enroll(enroll).await?),
            _ => people::operator_enroll(self.desk()?, enroll)
                .await
                .map_err(refused),
        }
    }

    /// Every operator.
    pub(super) async fn operator_list(&self) -> Result<Vec<OperatorView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.operators().await?),
            Self::Empty => Ok(Vec::new()),
            _ => people::operator_list(self.desk()?).await.map_err(refused),
        }
    }

    /// Revokes a person's key.
    pub(super) async fn operator_revoke(&self, id: &str) -> Result<OperatorView, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.operator_revoke(id, None).await?),
            _ => people::operator_revoke(self.desk()?, id, None)
                .await
                .map_err(refused),
        }
    }

    /// Revokes every key of a person.
    pub(super) async fn person_revoke(&self, id: &str) -> Result<Vec<OperatorView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.person_revoke(id).await?),
            _ => people::person_revoke(self.desk()?, id, None)
                .await
                .map_err(refused),
        }
    }

    /// Devices whose operators are accepted here, and those that could be.
    pub(super) async fn issuers(&self) -> Result<Vec<IssuerView>, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.issuers().await?),
            Self::Empty => Ok(Vec::new()),
            _ => people::issuer_list(self.desk()?).await.map_err(refused),
        }
    }

    /// Lets the operators of another device count here, or no more.
    pub(super) async fn issuer_change(
        &self,
        id: &str,
        accept: bool,
    ) -> Result<IssuerView, Failure> {
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
    pub(super) async fn audit_verify(&self) -> Result<AuditReport, Failure> {
        match self {
            Self::Running(remote) => Ok(remote.audit_verify().await?),
            _ => checked(self.desk()?).await,
        }
    }

    /// Writes the whole audit chain as JSON lines.
    pub(super) async fn audit_export(&self, to: &mut (dyn Write + Send)) -> Done {
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
    pub(super) async fn audit_show(&self, limit: usize) -> Result<Vec<AuditView>, Failure> {
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
    let inside = dir.map(|dir| Marks::new(&dir, desk.issuer.id(), &MarkPlaces::inside()));
    let noted = inside.and_then(|marks| marks.inside());
    let noted = noted.filter(|mark| mark.device == *desk.issuer.id());
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
