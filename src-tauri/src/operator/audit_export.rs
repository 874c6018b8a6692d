//! The audit chain as a file that anybody can check without the node: JSON lines, first who signed it
//! and how far it goes, then every entry. A line taken out, changed or cut off the end shows.

use std::io::BufRead;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Answer;
use super::dto::AuditReport;
use super::registry::Desk;
use crate::adapters::store::audit::{self, AuditRow, Head, Walk};
use crate::domain::base::canonical::{canonical_of, to_canonical};
use crate::domain::base::limits::AUDIT_LINE_MAX_BYTES;
use crate::domain::base::{Code, DeviceId, Digest, Refusal, TimeMs};
use crate::domain::identity::{PublicKey, Signature};
use crate::node::authority::export_message;
use crate::node::context::store_refusal;

/// The format that the first line names.
const FORMAT: &str = "clawmesh-audit/1";
/// Entries read from the store at once.
const PAGE: usize = 500;

/// The first line of an export: whose chain it is and where it ends, signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Opening {
    format: String,
    device_id: DeviceId,
    public_key: String,
    exported_at: TimeMs,
    /// How many entries follow.
    entries: u64,
    /// The hash of the last of them; zeros where there are none.
    head: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// One entry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    seq: u64,
    entry: Value,
    prev: String,
    hash: String,
    signature: String,
}

/// The signed bytes of an opening.
fn signed_part(opening: &Opening) -> Vec<u8> {
    let plain = Opening {
        signature: None,
        ..opening.clone()
    };
    // Texts and whole numbers only: there is always a canonical form.
    canonical_of(&plain).unwrap_or_default()
}

fn text(line: &impl Serialize) -> String {
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// A walk through the chain that writes it out, some entries at a time.
pub struct Export {
    desk: Desk,
    head: Head,
    /// The number of the last entry written; `None` before the first line.
    written: Option<u64>,
}

impl Export {
    /// Begins at the chain's first entry and goes to its end of now.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn begin(desk: Desk) -> Answer<Self> {
        let head = desk.store.read("audit", audit::head).await;
        let head = head.map_err(|e| store_refusal(&e))?;
        Ok(Self {
            desk,
            head,
            written: None,
        })
    }

    /// The next lines, each with its line end; `None` when all are written.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn next(&mut self) -> Answer<Option<String>> {
        let Some(written) = self.written else {
            self.written = Some(0);
            return Ok(Some(self.opening()));
        };
        if written >= self.head.seq {
            return Ok(None);
        }
        let read = move |c: &rusqlite::Connection| audit::after(c, written, PAGE);
        let rows = self.desk.store.read("audit", read).await;
        let rows = rows.map_err(|e| store_refusal(&e))?;
        let rows = rows.iter().take_while(|row| row.seq <= self.head.seq);
        let mut lines = String::new();
        let mut last = None;
        for row in rows {
            lines.push_str(&line(row));
            last = Some(row.seq);
        }
        // Entries are missing: what there is has been written, and checking the file will tell.
        self.written = Some(last.unwrap_or(self.head.seq));
        Ok((!lines.is_empty()).then_some(lines))
    }

    fn opening(&self) -> String {
        let key = self.desk.issuer.public();
        let mut opening = Opening {
            format: FORMAT.to_owned(),
            device_id: key.device_id(),
            public_key: key.to_text(),
            exported_at: self.desk.now,
            entries: self.head.seq,
            head: self.head.hash.to_hex(),
            signature: None,
        };
        opening.signature = Some(self.desk.issuer.export(&signed_part(&opening)).to_text());
        text(&opening)
    }
}

fn line(row: &AuditRow) -> String {
    text(&Line {
        seq: row.seq,
        entry: serde_json::from_str(&row.json).unwrap_or_else(|_| Value::from(row.json.as_str())),
        prev: row.prev.to_hex(),
        hash: row.hash.to_hex(),
        signature: row.signature.clone(),
    })
}

/// What checking an exported file showed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileReport {
    /// The device whose chain it is, proven by the file's own signatures.
    pub device_id: DeviceId,
    /// When it was exported, in milliseconds since 1970.
    pub exported_at: u64,
    /// What the entries are like.
    #[serde(flatten)]
    pub report: AuditReport,
}

/// Checks an exported file. `device` is the one whose chain it must be, where known.
///
/// # Errors
/// `INVALID_PARAMS` for what is no export, with the line; `AUTH_FAILED` for an export of another device
/// than expected or one whose first line is not signed by its key. Faults of the chain are in the report.
pub fn check_file(file: &mut dyn BufRead, device: Option<&DeviceId>) -> Answer<FileReport> {
    let mut number = 0;
    let opening = read_line(file, &mut number)?.ok_or_else(|| {
        bad(
            1,
            "the file is empty; make one with `clawmesh-node audit export`",
        )
    })?;
    let opening: Opening =
        serde_json::from_str(&opening).map_err(|e| bad(1, &format!("no audit export: {e}")))?;
    if opening.format != FORMAT {
        return Err(bad(1, &format!("the format is not {FORMAT}")));
    }
    let key = key_of(&opening)?;
    if let Some(expected) = device.filter(|d| **d != opening.device_id) {
        return Err(Refusal::new(
            Code::AuthFailed,
            format!(
                "this is the audit trail of {}, not of {expected}",
                opening.device_id
            ),
        ));
    }
    let mut walk = Walk::default();
    while let Some(text) = read_line(file, &mut number)? {
        let row = entry(&text, number)?;
        let signed = |message: &[u8], signature: &str| {
            Signature::from_text(signature).is_ok_and(|s| key.verify_strict(message, &s))
        };
        if !walk.entry(&row, signed) {
            break;
        }
    }
    let hash = Digest::from_hex(&opening.head).ok_or_else(|| bad(1, "head is no hash"))?;
    let checked = walk.end(Head {
        seq: opening.entries,
        hash,
    });
    Ok(FileReport {
        device_id: opening.device_id,
        exported_at: opening.exported_at.0,
        report: AuditReport {
            ok: checked.faults.is_empty(),
            entries: checked.entries,
            head: (checked.head.seq > 0).then(|| checked.head.hash.to_string()),
            faults: checked.faults,
        },
    })
}

/// The key that signed the opening; it is the device's, for the id is its hash.
fn key_of(opening: &Opening) -> Answer<PublicKey> {
    let forged = |why: &str| Refusal::new(Code::AuthFailed, why.to_owned());
    let key = PublicKey::from_text(&opening.public_key).map_err(|e| bad(1, &e.to_string()))?;
    if key.device_id() != opening.device_id {
        return Err(forged("the key in line 1 is not that of its device"));
    }
    let signature = opening.signature.as_deref().unwrap_or_default();
    let signed = Signature::from_text(signature)
        .is_ok_and(|s| key.verify_strict(&export_message(&signed_part(opening)), &s));
    match signed {
        true => Ok(key),
        false => Err(forged("line 1 is not signed by the key it names")),
    }
}

fn bad(line: u64, why: &str) -> Refusal {
    Refusal::new(Code::InvalidParams, format!("line {line}: {why}"))
}

fn entry(text: &str, number: u64) -> Answer<AuditRow> {
    let line: Line = serde_json::from_str(text).map_err(|e| bad(number, &e.to_string()))?;
    let hash = |text: &str| Digest::from_hex(text).ok_or_else(|| bad(number, "no hash"));
    let json = to_canonical(&line.entry).map_err(|e| bad(number, &e.to_string()))?;
    Ok(AuditRow {
        seq: line.seq,
        time: TimeMs(0),
        json: String::from_utf8(json).map_err(|e| bad(number, &e.to_string()))?,
        prev: hash(&line.prev)?,
        hash: hash(&line.hash)?,
        signature: line.signature,
    })
}

/// The next line that is not empty.
fn read_line(file: &mut dyn BufRead, number: &mut u64) -> Answer<Option<String>> {
    let most = AUDIT_LINE_MAX_BYTES;
    loop {
        *number += 1;
        let mut bytes = Vec::new();
        let read = std::io::Read::take(&mut *file, most + 1).read_until(b'\n', &mut bytes);
        let read = read.map_err(|e| bad(*number, &format!("cannot be read: {e}")))?;
        if read == 0 {
            return Ok(None);
        }
        if u64::try_from(read).unwrap_or(u64::MAX) > most {
            return Err(bad(*number, &format!("is longer than {most} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| bad(*number, "is not UTF-8"))?;
        if !text.trim().is_empty() {
            return Ok(Some(text));
        }
    }
}
