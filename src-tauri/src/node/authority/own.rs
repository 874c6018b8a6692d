//! Records that this node issues itself: what persons have changed here goes to other nodes, and stays confirmed.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::Value;

use super::effect::{apply, believed, store, took_effect};
use super::{Authority, DURABLE, held, spread, store_refusal};
use crate::adapters::store::{StoreError, records, trust};
use crate::domain::base::limits::CONFIRM_EVERY_MS;
use crate::domain::base::{AuditKind, DeviceId, Refusal, TimeMs};
use crate::domain::gate::ChannelEnd;
use crate::domain::gate::operators::{OperatorRecord, OperatorRevocation, SignedOperator};
use crate::domain::gate::records::{Confirmation, DeviceRevocation, Proven, Record};
use crate::domain::identity::{DeviceKey, PublicKey, Signature};
use crate::node::context::audit_entry;

/// The domain of signatures under exported audit chains.
const EXPORT_DOMAIN: &[u8] = b"clawmesh/audit-export/v1\n";

/// The bytes that are signed for an exported audit chain.
pub fn export_message(opening: &[u8]) -> Vec<u8> {
    [EXPORT_DOMAIN, opening].concat()
}

/// This device as an issuer. The key in it signs records and audit entries, and leaves it in no other way.
#[derive(Clone)]
pub struct Issuer(Arc<DeviceKey>);

impl Issuer {
    /// Issues with this key.
    pub fn new(key: Arc<DeviceKey>) -> Self {
        Self(key)
    }

    /// The device.
    pub fn id(&self) -> &DeviceId {
        self.0.id()
    }

    /// The public half of its key.
    pub fn public(&self) -> &PublicKey {
        self.0.public()
    }

    /// Signs the record of an operator.
    pub fn operator(&self, record: OperatorRecord) -> SignedOperator {
        SignedOperator::issue(record, &self.0)
    }

    /// Signs the end of an operator's key.
    pub fn end_of_operator(&self, revocation: &OperatorRevocation) -> Signature {
        revocation.sign(&self.0)
    }

    /// Signs the end of a channel key, as other nodes are sent it; `None` for one of another issuer.
    pub fn end_of_channel(&self, end: ChannelEnd) -> Option<Proven> {
        self.proven(Record::end_channel(end, &self.0))
    }

    /// A record of this device's own, as other nodes are sent it; `None` for one of another issuer.
    pub fn proven(&self, record: Record) -> Option<Proven> {
        Proven::own(record, &self.0)
    }

    /// Writes an entry into the audit chain, inside the transaction of what it tells.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn audit(
        &self,
        conn: &Connection,
        now: TimeMs,
        kind: AuditKind,
        subject: &str,
        detail: Value,
    ) -> Result<(), StoreError> {
        audit_entry(conn, &self.0, now, kind, subject, detail)
    }

    /// Signs the opening of an exported audit chain.
    pub fn export(&self, opening: &[u8]) -> Signature {
        self.0.sign(&export_message(opening))
    }
}

/// Spreads what this node's own operator commands have put into the store since it last looked, and
/// lets records take effect whose issuer has become trusted. Called after every such change.
pub async fn look_again(authority: &Authority) {
    if let Err(refusal) = say_revoked(authority).await {
        tracing::error!(%refusal, "a revocation could not be signed for others");
    }
    let waiting = authority.store.read("records", records::waiting).await;
    let waiting = match waiting {
        Ok(waiting) => waiting,
        Err(error) => return tracing::error!(%error, "the records could not be read"),
    };
    if waiting.is_empty() {
        return;
    }
    let inner = authority.clone();
    let write = move |conn: &Connection| {
        let mut ready = Vec::new();
        for proven in waiting {
            if believed(&inner, conn, proven.record())? && apply(&inner, conn, &proven)? {
                records::put(conn, &proven, true, inner.now())?;
                ready.push(proven);
            }
        }
        Ok(ready)
    };
    let ready = match authority.store.write(DURABLE, "records", write).await {
        Ok(ready) => ready,
        Err(error) => return tracing::error!(%error, "waiting records could not take effect"),
    };
    if ready.is_empty() {
        return;
    }
    if let Err(refusal) = took_effect(authority, &ready).await {
        tracing::error!(%refusal, "waiting records took effect only in part");
    }
    spread(authority, ready, None).await;
}

/// Signs a revocation for every device whose trust was ended here and of which nobody has said so yet.
async fn say_revoked(authority: &Authority) -> Result<(), Refusal> {
    let inner = authority.clone();
    let write = move |conn: &Connection| {
        records::sign_for(conn, inner.own_id(), &inner.public_key)?;
        for ended in trust::all(conn)? {
            let Some(revoked_at) = ended.revoked_at else {
                continue;
            };
            if records::device_revoked(conn, &ended.device_id)? {
                continue;
            }
            let revocation = DeviceRevocation {
                mesh_id: inner.mesh.clone(),
                device_id: ended.device_id,
                issuer: inner.own_id().clone(),
                revoked_at,
            };
            let record = Record::revoke_device(revocation, &inner.issuer.0);
            if let Some(proven) = inner.issuer.proven(record) {
                records::put(conn, &proven, false, inner.now())?;
            }
        }
        Ok(())
    };
    let done = authority.store.write(DURABLE, "revocations", write).await;
    done.map_err(|e| store_refusal(&e))
}

/// Confirms now and then what this node has issued, until it stops.
pub async fn confirm(authority: Authority) {
    loop {
        look_again(&authority).await;
        if let Err(refusal) = confirm_once(&authority).await {
            tracing::error!(%refusal, "what this node issued could not be confirmed");
        }
        tokio::select! {
            biased;
            () = authority.tasks.stop().cancelled() => return,
            () = tokio::time::sleep(std::time::Duration::from_millis(CONFIRM_EVERY_MS)) => {}
        }
    }
}

async fn confirm_once(authority: &Authority) -> Result<(), Refusal> {
    let own = authority.own_id().clone();
    let all = held(authority).await.map_err(|e| store_refusal(&e))?;
    let issued = |r: &Record| matches!(r, Record::Operator { .. }) && *r.issuer() == own;
    if !all.iter().map(Proven::record).any(issued) {
        return Ok(());
    }
    let confirmation = Confirmation {
        mesh_id: authority.mesh.clone(),
        issuer: own.clone(),
        confirmed_at: authority.now(),
    };
    let record = Record::confirm(confirmation, &authority.issuer.0);
    let own = authority.issuer.proven(record).into_iter().collect();
    let new = store(authority, own, None).await?;
    spread(authority, new, None).await;
    Ok(())
}
