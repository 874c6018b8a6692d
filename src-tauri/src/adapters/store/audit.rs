//! The audit chain: signed entries, each of which contains the hash of the one before. An altered,
//! inserted or missing entry shows, and so does a missing end, because the head is kept apart.

use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::{StoreError, kv, row};
use crate::domain::base::canonical::to_canonical;
use crate::domain::base::{Digest, TimeMs};

const HEAD: &str = "audit.head";
const DOMAIN: &[u8] = b"clawmesh/audit/v1\n";
/// Faults after which checking says no more.
const FAULTS_MAX: usize = 20;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When it was written.
    pub time: TimeMs,
    /// Its content: canonical JSON.
    pub json: String,
    /// The hash of the entry before; zeros for the first.
    pub prev: Digest,
    /// Its hash.
    pub hash: Digest,
    /// The device's signature over [`signing_bytes`].
    pub signature: String,
}

/// The newest entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 if there is none.
    pub seq: u64,
    /// Its hash; zeros if there is none.
    pub hash: Digest,
}

/// The result of checking the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How many entries were looked at.
    pub entries: u64,
    /// The newest entry.
    pub head: Head,
    /// The faults, the first few, each with its entry's number; empty when all is well.
    pub faults: Vec<String>,
}

/// The hash of an entry.
fn hash_of(seq: u64, prev: &Digest, json: &str) -> Digest {
    Digest::of(&[DOMAIN, &seq.to_be_bytes(), &prev.0, json.as_bytes()])
}

/// The bytes that the device signs for an entry with this hash.
pub fn signing_bytes(hash: &Digest) -> Vec<u8> {
    [DOMAIN, &hash.0].concat()
}

/// Adds an entry at the head of the chain. `sign` gets [`signing_bytes`] and gives a signature text.
///
/// # Errors
/// [`StoreError::Invalid`] if the entry has no canonical form.
pub fn append(
    conn: &Connection,
    now: TimeMs,
    entry: &Value,
    sign: impl FnOnce(&[u8]) -> String,
) -> Result<(), StoreError> {
    let invalid = |why: String| StoreError::Invalid {
        what: "write an audit entry",
        why,
    };
    let json = to_canonical(entry).map_err(|e| invalid(e.to_string()))?;
    let json = String::from_utf8(json).map_err(|e| invalid(e.to_string()))?;
    let before = head(conn)?;
    let seq = before.seq + 1;
    let hash = hash_of(seq, &before.hash, &json);
    conn.prepare_cached("INSERT INTO audit (seq, time, json, prev, hash, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![row::number(seq), now.to_i64(), json, before.hash.0, hash.0, sign(&signing_bytes(&hash))])?;
    let mut value = seq.to_be_bytes().to_vec();
    value.extend(hash.0);
    kv::put(conn, HEAD, &value)
}

/// The newest entry, as it was noted when it was written.
///
/// # Errors
/// [`StoreError::Invalid`] if the note does not read.
pub fn head(conn: &Connection) -> Result<Head, StoreError> {
    let Some(value) = kv::get(conn, HEAD)? else {
        return Ok(Head {
            seq: 0,
            hash: Digest([0; 32]),
        });
    };
    let read = || {
        let (seq, hash) = value.split_first_chunk::<8>()?;
        Some(Head {
            seq: u64::from_be_bytes(*seq),
            hash: Digest(hash.try_into().ok()?),
        })
    };
    read().ok_or_else(|| StoreError::Invalid {
        what: "read the audit chain",
        why: "its head does not read; the database has been altered by hand".to_owned(),
    })
}

const SELECT: &str = "SELECT seq, time, json, prev, hash, signature FROM audit";
const AFTER: &str =
    "SELECT seq, time, json, prev, hash, signature FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";

fn read(found: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        seq: row::count(found, 0)?,
        time: row::time(found, 1)?,
        json: found.get(2)?,
        prev: row::digest(found, 3)?,
        hash: row::digest(found, 4)?,
        signature: found.get(5)?,
    })
}

/// Up to `limit` entries before a number (`None`: from the newest), newest first.
///
/// # Errors
/// Any SQLite error.
pub fn page(
    conn: &Connection,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<AuditRow>, StoreError> {
    let before = before.map_or(i64::MAX, row::number);
    let mut query = conn.prepare_cached(&format!(
        "{SELECT} WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"
    ))?;
    let rows = query.query_map((before, row::limit(limit)), read)?;
    row::readable(rows)
}

/// Up to `limit` entries after a number, oldest first; one that does not read is an error.
///
/// # Errors
/// Any SQLite error.
pub fn after(conn: &Connection, seq: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = conn.prepare_cached(AFTER)?;
    let rows = query.query_map((row::number(seq), row::limit(limit)), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// As [`after`], for a list: entries that do not read are left out of it.
///
/// # Errors
/// Any SQLite error.
pub fn shown_after(conn: &Connection, seq: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = conn.prepare_cached(AFTER)?;
    let rows = query.query_map((row::number(seq), row::limit(limit)), read)?;
    row::readable(rows)
}

/// The newest entries about a subject, newest first.
///
/// # Errors
/// Any SQLite error.
pub fn about(conn: &Connection, subject: &str, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let sql =
        format!("{SELECT} WHERE json_extract(json, '$.subject') = ?1 ORDER BY seq DESC LIMIT ?2");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((subject, row::limit(limit)), read)?;
    row::readable(rows)
}

/// A walk along a chain, entry by entry from its first.
#[derive(Debug)]
pub struct Walk {
    seq: u64,
    prev: Digest,
    entries: u64,
    faults: Vec<String>,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            seq: 0,
            prev: Digest([0; 32]),
            entries: 0,
            faults: Vec::new(),
        }
    }
}

impl Walk {
    /// Looks at the next entry; false once there are so many faults that going on tells nothing more.
    /// `verify` gets what was signed and the signature.
    pub fn entry(&mut self, entry: &AuditRow, verify: impl Fn(&[u8], &str) -> bool) -> bool {
        self.entries += 1;
        self.seq += 1;
        let seq = self.seq;
        let late = entry.seq < seq;
        let mut fault = |why: String| self.faults.push(why);
        if entry.seq > seq {
            let last = entry.seq - 1;
            fault(match last == seq {
                true => format!("entry {seq} is missing"),
                false => format!("entries {seq} to {last} are missing"),
            });
        } else if late {
            // Numbers only run upwards: what comes again or late was put there by hand.
            let before = seq - 1;
            fault(format!(
                "entry {} stands after entry {before}: it is there twice or out of order",
                entry.seq
            ));
        } else if entry.prev != self.prev {
            fault(format!("entry {seq} does not follow the entry before it"));
        }
        let before = self.seq - 1;
        let seq = entry.seq;
        if hash_of(seq, &entry.prev, &entry.json) != entry.hash {
            fault(format!("entry {seq} has been altered"));
        }
        if !verify(&signing_bytes(&entry.hash), &entry.signature) {
            fault(format!("entry {seq} is not signed by this device"));
        }
        if late {
            // The walk goes on where it was: the next entry is held against the one before this.
            self.seq = before;
        } else {
            self.seq = seq;
            self.prev = entry.hash;
        }
        if self.faults.len() >= FAULTS_MAX {
            self.faults.truncate(FAULTS_MAX);
            self.faults
                .push("there may be more faults; checking stopped here".to_owned());
            return false;
        }
        true
    }

    /// Ends the walk at what was noted as the chain's end.
    pub fn end(mut self, head: Head) -> Checked {
        if self.faults.len() <= FAULTS_MAX && (self.seq, self.prev) != (head.seq, head.hash) {
            self.faults.push(format!(
                "the chain ends at entry {}, it was written up to entry {}",
                self.seq, head.seq
            ));
        }
        Checked {
            entries: self.entries,
            head,
            faults: self.faults,
        }
    }
}

/// Walks the whole chain, one entry at a time. `verify` gets the signed bytes and the signature.
///
/// # Errors
/// Any SQLite error; a broken chain is no error but a fault in the answer.
pub fn check(
    conn: &Connection,
    verify: impl Fn(&[u8], &str) -> bool,
) -> Result<Checked, StoreError> {
    let head = head(conn)?;
    let mut walk = Walk::default();
    let mut query = conn.prepare(&format!("{SELECT} ORDER BY seq"))?;
    for entry in query.query_map([], read)? {
        if !walk.entry(&entry?, &verify) {
            break;
        }
    }
    Ok(walk.end(head))
}
