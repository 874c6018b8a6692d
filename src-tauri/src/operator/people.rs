//! Which persons this node knows and whose word on persons it takes: functions over a store and the
//! device's key, so that they work while the node is stopped. Every change is audited in the same
//! transaction.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::dto::{IssuerView, OperatorEnroll, OperatorView};
use super::registry::{self, Desk, bad};
use super::{Answer, Door};
use crate::adapters::store::operators::{OperatorRow, SignedRevocation};
use crate::adapters::store::{StoreError, issuers, operators, records, trust};
use crate::domain::admission::{Grant, TrustRecord};
use crate::domain::base::limits::TEXT_MAX_CHARS;
use crate::domain::base::{AuditKind, Code, DeviceId, OperatorId, Refusal};
use crate::domain::gate::persons::{Persons, folded, is_plain};
use crate::domain::gate::records::Record;
use crate::domain::gate::{OperatorRecord, OperatorRevocation};
use crate::domain::identity::PublicKey;
use crate::domain::policy::Level;
use crate::node::authority;
use crate::node::context::{DURABLE, store_refusal};
use crate::node::context::{Event, Severity};

/// Default validity of an operator record, in days.
const OPERATOR_DAYS: u32 = 365;
const DAY_MS: u64 = 24 * 3_600_000;

fn refused(code: Code, why: impl Into<String>) -> StoreError {
    StoreError::Refused(Refusal::new(code, why))
}

async fn write<T, F>(desk: &Desk, what: &'static str, change: F) -> Answer<T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
{
    let done = desk.store.write(DURABLE, what, change).await;
    done.map_err(|e| store_refusal(&e))
}

fn audit(
    desk: &Desk,
    c: &Connection,
    kind: AuditKind,
    id: &str,
    detail: Value,
) -> Result<(), StoreError> {
    desk.issuer.audit(c, desk.now, kind, id, detail)
}

/// A key as people see it. `counts` tells whether its issuer's word on persons counts here.
fn view(known: &OperatorRow, person: &OperatorId, counts: bool) -> OperatorView {
    let record = &known.signed.record;
    OperatorView {
        operator_id: record.operator_id.as_str().to_owned(),
        public_key: record.public_key.to_text(),
        name: record.name.clone(),
        person: person.as_str().to_owned(),
        max_level: record.max_level,
        issuer: record.issuer.as_str().to_owned(),
        issuer_name: None,
        counts,
        issued_at: record.issued_at.0,
        expires_at: record.expires_at.map(|t| t.0),
        revoked_at: known.revocation.as_ref().map(|r| r.revocation.revoked_at.0),
    }
}

/// Whether a device may issue operator records and revocations here.
fn issues(conn: &Connection, device: &DeviceId) -> Result<bool, StoreError> {
    let trusted = trust::get(conn, device)?.filter(TrustRecord::is_live);
    Ok(trusted.is_some_and(|r| r.grants.has(Grant::Admin)))
}

/// Operators that other devices have named and that no issuer accepted here vouches for.
fn named_only(conn: &Connection) -> Result<Vec<OperatorRow>, StoreError> {
    let mut found = Vec::new();
    for proven in records::waiting(conn)? {
        if let Record::Operator { signed } = proven.record()
            && operators::get(conn, &signed.record.operator_id)?.is_none()
            && issues(conn, &signed.record.issuer)?
        {
            found.push(OperatorRow {
                signed: signed.as_ref().clone(),
                revocation: None,
            });
        }
    }
    Ok(found)
}

fn list(conn: &Connection, own: &DeviceId) -> Result<Vec<OperatorView>, StoreError> {
    let persons = operators::persons(conn, own)?;
    let mut views = Vec::new();
    for known in operators::all(conn)? {
        let record = &known.signed.record;
        let accepted = record.issuer == *own
            || issuers::get(conn, &record.issuer)?.is_some() && issues(conn, &record.issuer)?;
        views.push(view(&known, &persons.of_key(&record.operator_id), accepted));
    }
    for known in named_only(conn)? {
        views.push(view(&known, &known.signed.record.operator_id, false));
    }
    let names: BTreeMap<String, String> = trust::all(conn)?
        .into_iter()
        .filter_map(|r| Some((r.device_id.as_str().to_owned(), r.name?)))
        .collect();
    for view in &mut views {
        view.issuer_name = names.get(&view.issuer).cloned();
    }
    Ok(views)
}

/// Every operator key known here: revoked ones too, and those whose issuer is not accepted.
///
/// # Errors
/// Whatever the store says.
pub async fn operator_list(desk: &Desk) -> Answer<Vec<OperatorView>> {
    let own = desk.issuer.id().clone();
    let known = desk.store.read("operators", move |c| list(c, &own)).await;
    known.map_err(|e| store_refusal(&e))
}

fn level(text: &str) -> Answer<Level> {
    [Level::L0, Level::L1, Level::L2, Level::L3]
        .into_iter()
        .find(|l| l.to_string() == text.trim())
        .ok_or_else(|| bad(format!("unknown level {text:?}; use L2 or L3")))
}

fn person_name(text: &str) -> Answer<String> {
    let name = registry::name(text)?;
    match is_plain(&name) {
        true => Ok(name),
        false => Err(bad(
            "the name has characters that cannot be seen, or other spaces than the plain one",
        )),
    }
}

/// The name and first key of a record for this key: a person's who is known here, where one is named or
/// the key is theirs already; else a new person's, whose name nobody here has.
fn who(
    conn: &Connection,
    own: &DeviceId,
    key: &OperatorId,
    enroll: &OperatorEnroll,
) -> Result<(String, Option<OperatorId>), StoreError> {
    let mut rows = operators::counting(conn, own)?;
    let before = rows
        .iter()
        .position(|r| r.signed.record.operator_id == *key);
    let before = before.map(|at| rows.swap_remove(at).signed.record);
    let persons = Persons::of(rows.iter().map(|r| &r.signed.record), own);
    let Some(wanted) = enroll.person.as_deref().map(str::trim) else {
        let name = person_name(&enroll.name).map_err(StoreError::Refused)?;
        // A record that is renewed keeps its person, if it keeps its name.
        if let Some(before) = before.filter(|b| folded(&b.name) == folded(&name)) {
            return Ok((name, before.person));
        }
        let same = rows
            .iter()
            .find(|r| folded(&r.signed.record.name) == folded(&name));
        return match same {
            None => Ok((name, None)),
            Some(known) => Err(known_already(&persons, &known.signed.record)),
        };
    };
    let fits = |r: &&OperatorRow| {
        let record = &r.signed.record;
        let person = persons.of_key(&record.operator_id);
        person.as_str() == wanted
            || wanted.len() >= 8 && person.as_str().starts_with(wanted)
            || folded(&record.name) == folded(wanted)
    };
    let Some(known) = rows.iter().find(fits) else {
        return Err(refused(
            Code::NotFound,
            format!(
                "nobody called {:?} is known here, so this is no further key of theirs; see `operator list`",
                wanted.chars().take(64).collect::<String>()
            ),
        ));
    };
    let record = &known.signed.record;
    let given = enroll.name.trim();
    if !given.is_empty() && folded(given) != folded(&record.name) {
        return Err(refused(
            Code::InvalidParams,
            format!(
                "that person is called {} here; leave the name out",
                record.name
            ),
        ));
    }
    Ok((
        record.name.clone(),
        Some(persons.of_key(&record.operator_id)),
    ))
}

fn known_already(persons: &Persons, record: &OperatorRecord) -> StoreError {
    let person = persons.of_key(&record.operator_id);
    let keys: Vec<&str> = persons.keys(&person).map(OperatorId::short).collect();
    refused(
        Code::Conflict,
        format!(
            "somebody called {} is known here already (person {}, keys {}). If this is a further key of theirs, say so \
             (--person \"{}\"): all keys of a person count once. If it is another person, give a name that tells them apart",
            record.name,
            person.short(),
            keys.join(", "),
            record.name
        ),
    )
}

/// Makes a key known as one of a person's, vouched for by this device.
///
/// # Errors
/// `OPERATOR_REVOKED` for a key that was revoked here: a revocation is for ever. `CONFLICT` for a name
/// that somebody here has, where it is not said who is meant.
pub async fn operator_enroll(desk: &Desk, enroll: &OperatorEnroll) -> Answer<OperatorView> {
    let public_key = PublicKey::from_text(enroll.public_key.trim())
        .map_err(|e| bad(format!("public key: {e}")))?;
    let max_level = level(&enroll.level)?;
    if max_level < Level::L2 {
        return Err(bad(format!(
            "{max_level} needs no approval; enroll for L2 or L3"
        )));
    }
    let days = enroll.days.unwrap_or(OPERATOR_DAYS);
    if !(1..=OPERATOR_DAYS).contains(&days) {
        return Err(bad(format!(
            "an operator record holds for 1 to {OPERATOR_DAYS} days"
        )));
    }
    let (desk2, enroll) = (desk.clone(), enroll.clone());
    let change = move |c: &Connection| {
        let (desk, own) = (&desk2, desk2.issuer.id());
        let id = public_key.operator_id();
        if operators::get(c, &id)?.is_some_and(|known| known.revocation.is_some()) {
            return Err(refused(
                Code::OperatorRevoked,
                format!(
                    "operator key {} was revoked here; make a new key with `operator init`",
                    id.short()
                ),
            ));
        }
        let (name, person) = who(c, own, &id, &enroll)?;
        let record = OperatorRecord {
            operator_id: id,
            public_key,
            name,
            person,
            max_level,
            issuer: own.clone(),
            issued_at: desk.now,
            expires_at: Some(desk.now.plus(u64::from(days) * DAY_MS)),
        };
        let signed = desk.issuer.operator(record);
        operators::put(c, &signed)?;
        let travels = Record::Operator {
            signed: Box::new(signed.clone()),
        };
        if let Some(proven) = desk.issuer.proven(travels) {
            records::put(c, &proven, false, desk.now)?;
        }
        let record = &signed.record;
        let person = operators::persons(c, own)?.of_key(&record.operator_id);
        let detail = json!({
            "name": record.name, "person": person, "maxLevel": record.max_level, "expiresAt": record.expires_at,
        });
        audit(
            desk,
            c,
            AuditKind::OperatorEnrolled,
            record.operator_id.as_str(),
            detail,
        )?;
        let row = OperatorRow {
            signed: signed.clone(),
            revocation: None,
        };
        Ok(view(&row, &person, true))
    };
    write(desk, "operators", change).await
}

fn reason(text: Option<&str>) -> Answer<String> {
    let reason = text.unwrap_or("revoked by an administrator").to_owned();
    match reason.chars().count() > TEXT_MAX_CHARS {
        true => Err(bad(format!(
            "the reason is longer than {TEXT_MAX_CHARS} characters"
        ))),
        false => Ok(reason),
    }
}

fn operator_id(text: &str) -> Answer<OperatorId> {
    let id = text.trim().parse();
    id.map_err(|e: crate::domain::base::ids::IdError| bad(e.to_string()))
}

/// Ends a key inside a transaction and says so to other nodes.
fn end_key(
    desk: &Desk,
    c: &Connection,
    known: &mut OperatorRow,
    reason: &str,
) -> Result<(), StoreError> {
    let id = known.signed.record.operator_id.clone();
    let revocation = OperatorRevocation {
        operator_id: id.clone(),
        issuer: desk.issuer.id().clone(),
        revoked_at: desk.now,
        reason: reason.to_owned(),
    };
    let signature = desk.issuer.end_of_operator(&revocation);
    let detail = json!({"reason": revocation.reason, "signature": signature});
    let travels = Record::OperatorRevocation {
        revocation: revocation.clone(),
        signature,
    };
    if let Some(proven) = desk.issuer.proven(travels) {
        records::put(c, &proven, false, desk.now)?;
    }
    let signed = SignedRevocation {
        revocation,
        signature,
    };
    operators::revoke(c, &signed)?;
    audit(desk, c, AuditKind::OperatorRevoked, id.as_str(), detail)?;
    known.revocation = Some(signed);
    Ok(())
}

/// Ends one key for good; other keys of the person go on.
///
/// # Errors
/// `OPERATOR_UNKNOWN`, `CONFLICT` if it is revoked already.
pub async fn operator_revoke(desk: &Desk, id: &str, why: Option<&str>) -> Answer<OperatorView> {
    let (id, reason, desk2) = (operator_id(id)?, reason(why)?, desk.clone());
    let change = move |c: &Connection| {
        let Some(mut known) = operators::get(c, &id)? else {
            return Err(refused(
                Code::OperatorUnknown,
                format!("operator key {} is not enrolled here", id.short()),
            ));
        };
        if known.revocation.is_some() {
            return Err(refused(
                Code::Conflict,
                format!("operator key {} has been revoked already", id.short()),
            ));
        }
        end_key(&desk2, c, &mut known, &reason)?;
        let person = operators::persons(c, desk2.issuer.id())?.of_key(&id);
        Ok(view(&known, &person, true))
    };
    write(desk, "operators", change).await
}

/// Ends every key of a person for good, and what other devices may yet say of further ones.
///
/// # Errors
/// `OPERATOR_UNKNOWN`, `CONFLICT` if every key has been revoked already.
pub async fn person_revoke(desk: &Desk, id: &str, why: Option<&str>) -> Answer<Vec<OperatorView>> {
    let (id, reason, desk2) = (operator_id(id)?, reason(why)?, desk.clone());
    let change = move |c: &Connection| {
        let persons = operators::persons(c, desk2.issuer.id())?;
        let person = persons.of_key(&id);
        let mut ended = Vec::new();
        let mut known_at_all = false;
        for key in persons.keys(&person) {
            let Some(mut known) = operators::get(c, key)? else {
                continue;
            };
            known_at_all = true;
            operators::end_person(c, &known.signed.record.name, desk2.now)?;
            if known.revocation.is_none() {
                end_key(&desk2, c, &mut known, &reason)?;
                ended.push(view(&known, &person, true));
            }
        }
        match (known_at_all, ended.is_empty()) {
            (false, _) => Err(refused(
                Code::OperatorUnknown,
                format!("person {} is not known here", id.short()),
            )),
            (true, true) => Err(refused(
                Code::Conflict,
                format!(
                    "every key of person {} has been revoked already",
                    id.short()
                ),
            )),
            (true, false) => {
                let keys: Vec<&str> = ended.iter().map(|k| k.operator_id.as_str()).collect();
                let detail = json!({"reason": reason, "keys": keys});
                audit(&desk2, c, AuditKind::PersonRevoked, person.as_str(), detail)?;
                Ok(ended)
            }
        }
    };
    write(desk, "operators", change).await
}

fn issuer_views(c: &Connection, own: &DeviceId) -> Result<Vec<IssuerView>, StoreError> {
    let mut found: BTreeMap<DeviceId, IssuerView> = BTreeMap::new();
    let blank = |device: &DeviceId| -> Result<IssuerView, StoreError> {
        Ok(IssuerView {
            device_id: device.as_str().to_owned(),
            name: trust::get(c, device)?.and_then(|r| r.name),
            accepted_at: None,
            carried: false,
            issues: issues(c, device)?,
            names: Vec::new(),
        })
    };
    for accepted in issuers::all(c)?.into_iter().filter(|a| a.device_id != *own) {
        let mut seen = blank(&accepted.device_id)?;
        seen.accepted_at = Some(accepted.accepted_at.0);
        seen.carried = accepted.carried;
        found.insert(accepted.device_id, seen);
    }
    for record in trust::all(c)? {
        let candidate = record.is_live() && record.grants.has(Grant::Admin);
        if candidate && !found.contains_key(&record.device_id) {
            found.insert(record.device_id.clone(), blank(&record.device_id)?);
        }
    }
    for proven in records::all(c)? {
        if let Record::Operator { signed } = proven.record()
            && let Some(seen) = found.get_mut(&signed.record.issuer)
        {
            let record = &signed.record;
            let ended =
                operators::get(c, &record.operator_id)?.is_some_and(|k| k.revocation.is_some());
            if !ended {
                seen.names
                    .push(format!("{} (up to {})", record.name, record.max_level));
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Devices whose operators are accepted here, and those that could be: trusted with `admin`.
///
/// # Errors
/// Whatever the store says.
pub async fn issuer_list(desk: &Desk) -> Answer<Vec<IssuerView>> {
    let own = desk.issuer.id().clone();
    let all = desk
        .store
        .read("issuers", move |c| issuer_views(c, &own))
        .await;
    all.map_err(|e| store_refusal(&e))
}

/// The state of one issuer.
fn issuer_view(c: &Connection, own: &DeviceId, id: &DeviceId) -> Result<IssuerView, StoreError> {
    let all = issuer_views(c, own)?;
    let found = all.into_iter().find(|v| v.device_id == id.as_str());
    found.ok_or_else(|| StoreError::Refused(registry::unknown(id)))
}

/// Lets the operators of another device count at this executor.
///
/// # Errors
/// `NOT_FOUND` for a device that is not trusted; `NOT_AUTHORIZED` for one without `admin`.
pub async fn issuer_accept(desk: &Desk, id: &str) -> Answer<IssuerView> {
    let (id, desk2) = (registry::device(id)?, desk.clone());
    let change = move |c: &Connection| {
        let live = trust::get(c, &id)?.filter(TrustRecord::is_live);
        let record = live.ok_or_else(|| StoreError::Refused(registry::unknown(&id)))?;
        if !record.grants.has(Grant::Admin) {
            return Err(refused(
                Code::NotAuthorized,
                format!(
                    "device {} may not issue operator records here; first: trust grant {} admin",
                    record.label(),
                    id
                ),
            ));
        }
        issuers::accept(c, &id, desk2.now)?;
        audit(
            &desk2,
            c,
            AuditKind::OperatorIssuerAccepted,
            id.as_str(),
            json!({"name": record.name}),
        )?;
        issuer_view(c, desk2.issuer.id(), &id)
    };
    write(desk, "issuers", change).await
}

/// Lets the operators of another device count here no more.
///
/// # Errors
/// `NOT_FOUND` for a device that was not accepted.
pub async fn issuer_remove(desk: &Desk, id: &str) -> Answer<IssuerView> {
    let (id, desk2) = (registry::device(id)?, desk.clone());
    let change = move |c: &Connection| {
        let mut before = issuer_view(c, desk2.issuer.id(), &id)?;
        if !issuers::remove(c, &id)? {
            return Err(refused(
                Code::NotFound,
                format!(
                    "the operators of device {} are not accepted here",
                    id.short()
                ),
            ));
        }
        audit(
            &desk2,
            c,
            AuditKind::OperatorIssuerRemoved,
            id.as_str(),
            json!({"name": before.name}),
        )?;
        (before.accepted_at, before.carried) = (None, false);
        Ok(before)
    };
    write(desk, "issuers", change).await
}

impl Door {
    /// Every operator key known here.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn operators(&self) -> Answer<Vec<OperatorView>> {
        operator_list(&self.desk()).await
    }

    /// Makes a key known as one of a person's.
    ///
    /// # Errors
    /// As [`operator_enroll`].
    pub async fn operator_enroll(&self, enroll: &OperatorEnroll) -> Answer<OperatorView> {
        let view = operator_enroll(&self.desk(), enroll).await?;
        let message = format!(
            "Operator {} may approve up to {}",
            view.name, view.max_level
        );
        let data = json!({"operatorId": view.operator_id, "person": view.person});
        self.people_changed(Event::OperatorEnrolled, &message, data)
            .await;
        Ok(view)
    }

    /// Ends one key.
    ///
    /// # Errors
    /// As [`operator_revoke`].
    pub async fn operator_revoke(&self, id: &str, reason: Option<&str>) -> Answer<OperatorView> {
        let view = operator_revoke(&self.desk(), id, reason).await?;
        let message = format!("A key of operator {} is revoked", view.name);
        let data = json!({"operatorId": view.operator_id, "person": view.person});
        self.people_changed(Event::OperatorRevoked, &message, data)
            .await;
        Ok(view)
    }

    /// Ends every key of a person.
    ///
    /// # Errors
    /// As [`person_revoke`].
    pub async fn person_revoke(&self, id: &str, reason: Option<&str>) -> Answer<Vec<OperatorView>> {
        let ended = person_revoke(&self.desk(), id, reason).await?;
        let name = ended.first().map(|k| k.name.clone()).unwrap_or_default();
        let message = format!("Operator {name} is revoked with every key");
        let data = json!({"person": ended.first().map(|k| k.person.clone())});
        self.people_changed(Event::OperatorRevoked, &message, data)
            .await;
        Ok(ended)
    }

    /// Devices whose operators are accepted here, and those that could be.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn issuers(&self) -> Answer<Vec<IssuerView>> {
        issuer_list(&self.desk()).await
    }

    /// Lets the operators of another device count here.
    ///
    /// # Errors
    /// As [`issuer_accept`].
    pub async fn issuer_accept(&self, id: &str) -> Answer<IssuerView> {
        let view = issuer_accept(&self.desk(), id).await?;
        let label = view.name.clone().unwrap_or_else(|| view.device_id.clone());
        let message = format!("The operators of {label} count here now");
        let data = json!({"issuer": view.device_id});
        self.people_changed(Event::OperatorIssuerAccepted, &message, data)
            .await;
        issuer_list(&self.desk()).await.map(|all| {
            all.into_iter()
                .find(|v| v.device_id == view.device_id)
                .unwrap_or(view)
        })
    }

    /// Lets the operators of another device count here no more.
    ///
    /// # Errors
    /// As [`issuer_remove`].
    pub async fn issuer_remove(&self, id: &str) -> Answer<IssuerView> {
        let view = issuer_remove(&self.desk(), id).await?;
        let label = view.name.clone().unwrap_or_else(|| view.device_id.clone());
        let message = format!("The operators of {label} count here no more");
        let data = json!({"issuer": view.device_id});
        self.people_changed(Event::OperatorIssuerRemoved, &message, data)
            .await;
        Ok(view)
    }

    /// The running node takes a change up: records that wait may count now, and own ones travel.
    async fn people_changed(&self, event: Event, message: &str, data: Value) {
        let s = &self.handles;
        authority::look_again(&s.authority).await;
        s.journal.record(event, Severity::Info, message, data).await;
    }
}
