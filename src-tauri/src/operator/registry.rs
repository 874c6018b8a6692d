//! Which devices this node trusts: functions over a store and the device as an issuer, so that they work while
//! the node is stopped; `people` does the same for persons. Every change is audited in the same transaction.
//!
//! Telling a running node about a change is the business of `commands`.

use rusqlite::Connection;
use serde_json::json;

use super::Answer;
use super::dto::{
    AuditReport, GrantTableView, GrantWorstView, PresetView, ShareView, TrustAdd, TrustRecordView,
    WordsView,
};
use crate::adapters::store::{Store, StoreError, audit, records, trust};
use crate::domain::admission::{Grants, Preset, TrustRecord, worst};
use crate::domain::base::limits::NAME_MAX_BYTES;
use crate::domain::base::{AuditKind, Code, DeviceId, Refusal, TimeMs};
use crate::domain::identity::PublicKey;
use crate::node::authority::Issuer;
use crate::node::context::{DURABLE, store_refusal};

/// A store, who signs records and its audit entries, and the time: all a change needs.
#[derive(Clone)]
pub struct Desk {
    /// The store.
    pub store: Store,
    /// This device as an issuer.
    pub issuer: Issuer,
    /// The current moment.
    pub now: TimeMs,
}

pub(super) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

pub(super) fn device(text: &str) -> Answer<DeviceId> {
    text.trim()
        .parse()
        .map_err(|e: crate::domain::base::ids::IdError| bad(e.to_string()))
}

fn grants(text: &str) -> Answer<Grants> {
    text.parse().map_err(bad)
}

pub(super) fn name(text: &str) -> Answer<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > NAME_MAX_BYTES || text.chars().any(char::is_control) {
        return Err(bad("a name has 1 to 128 bytes and no control characters"));
    }
    Ok(text.to_owned())
}

/// A trust record as people see it; `connected` is known only while the node runs.
pub fn trust_view(
    record: &TrustRecord,
    connected: Option<bool>,
    usage: Vec<ShareView>,
) -> TrustRecordView {
    TrustRecordView {
        device_id: record.device_id.as_str().to_owned(),
        public_key: record.public_key.map(|k| k.to_text()),
        name: record.name.clone(),
        grants: grant_names(&record.grants),
        added_at: record.added_at.0,
        revoked_at: record.revoked_at.map(|t| t.0),
        connected,
        usage,
    }
}

/// The worst that presets and grants allow, as one table.
pub fn grant_table() -> GrantTableView {
    let words = |w: worst::Words| WordsView {
        en: w.en.to_owned(),
        de: w.de.to_owned(),
    };
    GrantTableView {
        presets: Preset::ALL
            .iter()
            .map(|p| PresetView {
                preset: p.as_str().to_owned(),
                grants: grant_names(&p.grants()),
                for_whom: words(worst::of_preset(*p)),
            })
            .collect(),
        grants: worst::GRANTS
            .iter()
            .map(|g| GrantWorstView {
                grant: g.to_string(),
                worst: words(worst::of_grant(*g)),
            })
            .collect(),
        admin_warning: words(worst::ADMIN_WARNING),
    }
}

/// The grants as a list of their names.
pub fn grant_names(grants: &Grants) -> Vec<String> {
    grants
        .to_string()
        .split(',')
        .filter(|g| !g.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Every trust record, revoked ones too.
///
/// # Errors
/// Whatever the store says.
pub async fn trust_list(desk: &Desk) -> Answer<Vec<TrustRecord>> {
    desk.store
        .read("trust", trust::all)
        .await
        .map_err(|e| store_refusal(&e))
}

/// One trust record.
///
/// # Errors
/// `NOT_FOUND`, or `INVALID_PARAMS` for what is no device id.
pub async fn trust_show(desk: &Desk, id: &str) -> Answer<TrustRecord> {
    let id = device(id)?;
    trust_list(desk)
        .await?
        .into_iter()
        .find(|r| r.device_id == id)
        .ok_or_else(|| unknown(&id))
}

pub(super) fn unknown(id: &DeviceId) -> Refusal {
    Refusal::new(
        Code::NotFound,
        format!(
            "device {} is not in the trust list; see `trust list`",
            id.short()
        ),
    )
}

/// The record that `add` describes, every value checked.
fn described(add: &TrustAdd, now: TimeMs) -> Answer<TrustRecord> {
    let id = device(&add.device_id)?;
    let key = match add.public_key.as_deref() {
        None => None,
        Some(text) => {
            Some(PublicKey::from_text(text.trim()).map_err(|e| bad(format!("public key: {e}")))?)
        }
    };
    if key.is_some_and(|k| k.device_id() != id) {
        return Err(Refusal::new(
            Code::PublicKeyMismatch,
            format!(
                "the public key is not the one of device {}: a device id is the hash of its key",
                id.short()
            ),
        ));
    }
    let mut wanted = Grants::default();
    if let Some(preset) = add.preset.as_deref() {
        wanted.add(&preset.parse::<Preset>().map_err(bad)?.grants());
    }
    if let Some(list) = add.grants.as_deref() {
        wanted.add(&grants(list)?);
    }
    if add.preset.is_none() && add.grants.is_none() {
        wanted = Preset::Gen1.grants();
    }
    if wanted.is_empty() {
        return Err(bad(
            "no grant is named; leave --grant out for the gen1 preset",
        ));
    }
    let name = add.name.as_deref().map(name).transpose()?;
    let preset = add.preset.as_deref().map(str::parse::<Preset>);
    let mut record = TrustRecord::new(id, key, name, wanted, now);
    record.generation = preset.transpose().map_err(bad)?.map(Preset::generation);
    Ok(record)
}

/// Trusts a device. Adding a live one again replaces its name and grants and keeps its pinned key.
///
/// # Errors
/// `CONFLICT` for a revoked device, `PUBLIC_KEY_MISMATCH` for a key that is not the device's.
pub async fn trust_add(desk: &Desk, add: &TrustAdd) -> Answer<TrustRecord> {
    let wanted = described(add, desk.now)?;
    if wanted.device_id == *desk.issuer.id() {
        return Err(bad(
            "this is the device's own id; a device trusts itself already",
        ));
    }
    change_trust(desk, &wanted.device_id.clone(), AuditKind::TrustAdded, move |old| {
        let Some(old) = old else { return Ok(wanted) };
        if !old.is_live() {
            return Err(Refusal::new(
                Code::Conflict,
                format!(
                    "device {} was revoked; if it is to be trusted again, first say so: trust remove {}",
                    old.device_id.short(),
                    old.device_id
                ),
            ));
        }
        Ok(TrustRecord {
            public_key: wanted.public_key.or(old.public_key),
            name: wanted.name.or(old.name),
            added_at: old.added_at,
            // The generation that it has proven stays until a person changes it.
            generation: wanted.generation.or(old.generation),
            ..wanted
        })
    })
    .await
}

/// Forgets a device altogether, also a revoked one.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn trust_remove(desk: &Desk, id: &str) -> Answer<TrustRecord> {
    let (id, desk2) = (device(id)?, desk.clone());
    let write = move |c: &Connection| {
        let old = find(c, &id)?.ok_or_else(|| StoreError::Refused(unknown(&id)))?;
        if !old.is_live() && !records::device_revoked(c, &id)? {
            // Without its record nothing would be left that says so.
            return Err(StoreError::Refused(Refusal::new(
                Code::Conflict,
                format!(
                    "device {} was revoked, and no other node has been told yet; start this node once before its record is removed",
                    id.short()
                ),
            )));
        }
        trust::remove(c, &id)?;
        let detail = json!({"grants": old.grants, "revokedAt": old.revoked_at});
        let (issuer, now) = (&desk2.issuer, desk2.now);
        issuer.audit(c, now, AuditKind::TrustRemoved, id.as_str(), detail)?;
        Ok(old)
    };
    desk.store
        .write(DURABLE, "trust", write)
        .await
        .map_err(|e| store_refusal(&e))
}

/// Gives a device more grants; a new `observe` replaces the old one.
///
/// # Errors
/// `NOT_FOUND`, `CONFLICT` for a revoked device, `INVALID_PARAMS` for an unknown grant.
pub async fn trust_grant(desk: &Desk, id: &str, list: &str) -> Answer<TrustRecord> {
    let more = grants(list)?;
    change_live(desk, id, AuditKind::TrustGranted, move |record| {
        record.grants.add(&more);
        Ok(())
    })
    .await
}

/// Takes grants away from a device.
///
/// # Errors
/// As [`trust_grant`].
pub async fn trust_ungrant(desk: &Desk, id: &str, list: &str) -> Answer<TrustRecord> {
    let less = grants(list)?;
    change_live(desk, id, AuditKind::TrustUngranted, move |record| {
        record.grants.remove(&less);
        Ok(())
    })
    .await
}

/// Ends the trust in a device; the record stays, so that nothing re-introduces it.
///
/// # Errors
/// `NOT_FOUND`, `CONFLICT` if it is revoked already.
pub async fn trust_revoke(desk: &Desk, id: &str) -> Answer<TrustRecord> {
    let now = desk.now;
    change_live(desk, id, AuditKind::TrustRevoked, move |record| {
        record.revoked_at = Some(now);
        Ok(())
    })
    .await
}

async fn change_live<F>(desk: &Desk, id: &str, kind: AuditKind, change: F) -> Answer<TrustRecord>
where
    F: FnOnce(&mut TrustRecord) -> Answer<()> + Send + 'static,
{
    let id = device(id)?;
    let missing = unknown(&id);
    change_trust(desk, &id, kind, move |old| {
        let mut record = old.ok_or(missing)?;
        if !record.is_live() {
            return Err(Refusal::new(
                Code::Conflict,
                format!("device {} has been revoked", record.device_id.short()),
            ));
        }
        change(&mut record)?;
        Ok(record)
    })
    .await
}

/// Replaces a record by what `change` makes of it, with its audit entry, in one transaction.
async fn change_trust<F>(
    desk: &Desk,
    id: &DeviceId,
    kind: AuditKind,
    change: F,
) -> Answer<TrustRecord>
where
    F: FnOnce(Option<TrustRecord>) -> Answer<TrustRecord> + Send + 'static,
{
    let (id, desk2) = (id.clone(), desk.clone());
    let write = move |c: &Connection| {
        let record = change(find(c, &id)?).map_err(StoreError::Refused)?;
        if record.is_live() && records::device_revoked(c, &id)? {
            return Err(StoreError::Refused(Refusal::new(
                Code::Conflict,
                format!(
                    "device {} has been revoked for good; it needs a new identity",
                    id.short()
                ),
            )));
        }
        trust::put(c, &record)?;
        let detail =
            json!({"grants": record.grants, "name": record.name, "publicKey": record.public_key});
        let (issuer, now) = (&desk2.issuer, desk2.now);
        issuer.audit(c, now, kind, id.as_str(), detail)?;
        Ok(record)
    };
    desk.store
        .write(DURABLE, "trust", write)
        .await
        .map_err(|e| store_refusal(&e))
}

fn find(conn: &Connection, id: &DeviceId) -> Result<Option<TrustRecord>, StoreError> {
    trust::get(conn, id)
}

/// Computes the audit chain again from its first entry.
///
/// # Errors
/// Whatever the store says; faults of the chain are in the report.
pub async fn audit_verify(desk: &Desk) -> Answer<AuditReport> {
    let public = *desk.issuer.public();
    desk.store
        .read("audit", move |c| {
            let found = audit::check(c, |message, signature| {
                crate::domain::identity::Signature::from_text(signature)
                    .is_ok_and(|s| public.verify_strict(message, &s))
            })?;
            Ok(AuditReport {
                ok: found.faults.is_empty(),
                entries: found.entries,
                head: (found.head.seq > 0).then(|| found.head.hash.to_string()),
                faults: found.faults,
            })
        })
        .await
        .map_err(|e| store_refusal(&e))
}
