//! The result of a pairing in the store: the trust record, where to dial, and the mesh that was joined. All of it
//! is one transaction on the disk before anybody is told that it is done.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Pairing, Verdicted};
use crate::adapters::paths::{PathError, StateDir};
use crate::adapters::store::records;
use crate::adapters::store::{Store, StoreError, frames, kv, trust};
use crate::domain::admission::{Generation, TrustRecord};
use crate::domain::base::limits::LEARNED_PEERS_MAX;
use crate::domain::base::{AuditKind, Code, DeviceId, MeshId, Refusal};
use crate::domain::pairing::{Comparison, Joining};
use crate::node::authority;
use crate::node::context::{Context, DURABLE, store_refusal};
use crate::node::naming::MESH_FLOOR;

/// The key of the list of peers to dial.
const LEARNED: &str = "peers.learned";
/// The key of the mesh to be in from the next start on.
const JOINED: &str = "mesh.joined";

/// A peer that was learned and where it was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// The device.
    pub device: DeviceId,
    /// Where it was dialed.
    pub url: String,
    /// How the address is shown.
    pub label: String,
}

/// The peers that this node has learned by pairing and still trusts, those of earlier runs among them.
///
/// # Errors
/// Whatever the store says.
pub async fn learned(pairing: &Pairing) -> Result<Vec<Learned>, StoreError> {
    let mut all = pairing.store.read("learned peers", learned_in).await?;
    all.retain(|peer| pairing.trust.trusts(&peer.device));
    Ok(all)
}

fn learned_in(conn: &rusqlite::Connection) -> Result<Vec<Learned>, StoreError> {
    // A list that does not parse counts as empty: the peers can be paired or configured again.
    Ok(kv::get(conn, LEARNED)?
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

fn learn(conn: &rusqlite::Connection, device: &DeviceId, url: &str) -> Result<(), StoreError> {
    let mut all = learned_in(conn)?;
    all.retain(|l| l.device != *device);
    // The oldest makes room.
    let surplus = (all.len() + 1).saturating_sub(LEARNED_PEERS_MAX);
    all.drain(..surplus);
    all.push(Learned {
        device: device.clone(),
        url: url.to_owned(),
        label: "local".to_owned(),
    });
    kv::put(conn, LEARNED, json!(all).to_string().as_bytes())
}

/// Why a device cannot be paired with, before anybody compares anything.
///
/// # Errors
/// `CONFLICT` for a device that was revoked here.
pub(super) async fn check(context: &Context, device: &DeviceId) -> Result<(), Refusal> {
    let wanted = device.clone();
    let known = context
        .store
        .read("trust", move |c| trust::get(c, &wanted))
        .await
        .map_err(|e| store_refusal(&e))?;
    match known.filter(|r| !r.is_live()) {
        None => Ok(()),
        Some(record) => Err(revoked(&record)),
    }
}

fn revoked(record: &TrustRecord) -> Refusal {
    Refusal::new(
        Code::Conflict,
        format!(
            "device {} was revoked here; if it is to be trusted again, first say so: trust remove {}",
            record.device_id.short(),
            record.device_id
        ),
    )
}

/// Stores what both persons agreed on, durably. `url` is where we dialed.
///
/// # Errors
/// Whatever the store says; nothing of it is stored then.
pub(super) async fn store(
    pairing: &Pairing,
    comparison: &Comparison,
    joining: &Joining,
    given: &Verdicted,
    url: Option<String>,
) -> Result<(), Refusal> {
    let peer = comparison.peer();
    let record = TrustRecord::new(
        peer.device_id(),
        Some(peer.public_key),
        Some(peer.shown_name()),
        given.preset.grants(),
        pairing.now(),
    )
    // Gen-1 nodes cannot pair.
    .of(Generation::Clawmesh);
    let moves = joining.moves == Some(comparison.side());
    let mesh = moves.then(|| joining.mesh.clone());
    let side = comparison.side().as_str();
    let context = pairing.context.clone();
    let write = move |c: &rusqlite::Connection| {
        let mut record = record;
        if let Some(old) = trust::get(c, &record.device_id)? {
            if !old.is_live() {
                return Err(StoreError::Refused(revoked(&old)));
            }
            record.added_at = old.added_at;
        }
        if records::device_revoked(c, &record.device_id)? {
            return Err(StoreError::Refused(revoked(&record)));
        }
        trust::put(c, &record)?;
        if let Some(url) = &url {
            learn(c, &record.device_id, url)?;
        }
        if let Some(mesh) = &mesh {
            kv::put(c, JOINED, mesh.as_str().as_bytes())?;
            kv::put(c, MESH_FLOOR, &frames::max_seq(c)?.to_be_bytes())?;
        }
        let detail = json!({
            "grants": record.grants, "name": record.name, "publicKey": record.public_key,
            "side": side, "url": url, "joinedMesh": mesh,
        });
        context
            .journal
            .audit(c, AuditKind::TrustPaired, record.device_id.as_str(), detail)
    };
    pairing
        .store
        .write(DURABLE, "pairing", write)
        .await
        .map_err(|e| store_refusal(&e))?;
    pairing
        .trust
        .reload(&pairing.store)
        .await
        .map_err(|e| store_refusal(&e))?;
    authority::look_again(&pairing.authority).await;
    if !moves {
        pairing.learned.send_modify(|n| *n += 1);
    }
    Ok(())
}

/// The mesh's file or the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    /// The file that names the mesh.
    #[error(transparent)]
    File(#[from] PathError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The mesh an unnamed node is in from this start on: the one it joined by pairing, else `kept`.
///
/// # Errors
/// If the mesh's file or the store cannot be written.
pub async fn settled(store: &Store, dir: &StateDir, kept: MeshId) -> Result<MeshId, Unsettled> {
    let joined = store.read("joined mesh", |c| kv::get(c, JOINED)).await?;
    let joined = joined
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.parse::<MeshId>().ok());
    let Some(mesh) = joined else { return Ok(kept) };
    dir.write_private(&dir.mesh_id_file(), format!("{mesh}\n").as_bytes())?;
    // Only now that the file says it: after a crash in between, it is written again.
    store
        .write(DURABLE, "joined mesh", |c| kv::delete(c, JOINED))
        .await?;
    Ok(mesh)
}
