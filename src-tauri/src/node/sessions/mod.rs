//! Sessions: who is at the other end, and the life of a link from handshake to goodbye.
//!
//! `accept` lets a stranger in once it has proven a device we trust, `dial` goes out to prove the very
//! device we meant to reach, `life` is what both become, `writer` is its outgoing half.

mod accept;
mod dial;
mod life;
mod writer;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use self::accept::accepted;
pub use self::dial::{DialError, dial};
use super::shared::{DURABLE, Shared, store_refusal};
use crate::adapters::store::trust;
use crate::adapters::transport::{Posture, Protection, SocketWriter};
use crate::domain::admission::TrustRecord;
use crate::domain::base::limits::HANDSHAKE_DEADLINE_MS;
use crate::domain::base::{Code, Refusal};
use crate::domain::wire::handshake::{Feature, Hello, Introduction};

fn introduction(shared: &Shared) -> Introduction {
    Introduction {
        display_name: shared.config.name.clone(),
        capabilities: shared
            .capabilities
            .iter()
            .map(|c| c.as_str().to_owned())
            .collect(),
        mesh_id: shared.mesh.clone(),
        role: shared.config.role.as_str().to_owned(),
    }
}

fn nonce(shared: &Shared) -> Result<String, Refusal> {
    let bytes: [u8; 24] = shared
        .random
        .bytes()
        .map_err(|e| Refusal::new(Code::InternalError, e.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The trust record of whoever says hello, its key checked and learned where it was not pinned.
async fn recognise(shared: &Shared, hello: &Hello) -> Result<TrustRecord, Refusal> {
    let device = &hello.device_id;
    let Some(mut record) = shared.trust.live(device) else {
        return Err(Refusal::new(
            Code::UntrustedPeer,
            format!("peer {device} is not in the trust store"),
        ));
    };
    match record.public_key {
        Some(pinned) if pinned != hello.public_key => {
            return Err(Refusal::new(
                Code::PublicKeyMismatch,
                format!("peer {device} came with another public key"),
            ));
        }
        Some(_) => {}
        // The id is the key's hash, so the key that fits the id is the right one to remember.
        None => {
            record.public_key = Some(hello.public_key);
            let (id, key) = (device.clone(), hello.public_key);
            let learn = move |c: &rusqlite::Connection| {
                // Read again: the device may have been revoked a moment ago.
                let known = trust::get(c, &id)?.filter(TrustRecord::is_live);
                let Some(mut known) = known else {
                    return Ok(false);
                };
                known.public_key = Some(key);
                trust::put(c, &known).map(|()| true)
            };
            let learned = shared.store.write(DURABLE, "learn key", learn).await;
            if !learned.map_err(|e| store_refusal(&e))? {
                return Err(Refusal::new(
                    Code::UntrustedPeer,
                    format!("peer {device} is trusted no longer"),
                ));
            }
            shared
                .trust
                .reload(&shared.store)
                .await
                .map_err(|e| store_refusal(&e))?;
        }
    }
    Ok(record)
}

/// Whether a link of this protection may carry this device: what TLS has proven must be who says
/// hello, and our own kind is bound to its key on every link that leaves the machine.
fn check_binding(
    shared: &Shared,
    hello: &Hello,
    protection: &Protection,
    same_machine: bool,
) -> Result<(), Refusal> {
    let device = &hello.device_id;
    if let Some(proven) = protection.device.as_ref().filter(|p| *p != device) {
        return Err(Refusal::new(
            Code::AuthFailed,
            format!(
                "device {} says hello on a link that is bound to device {}",
                device.short(),
                proven.short()
            ),
        ));
    }
    let kin = hello.features.contains(&Feature::Sig) || shared.known_signers().contains(device);
    if kin && !same_machine && protection.posture < Posture::IdentityBound {
        return Err(Refusal::new(
            Code::TlsRequired,
            format!(
                "device {} is of our own kind, so its link must be TLS bound to its key; this one is {}",
                device.short(),
                protection.posture
            ),
        ));
    }
    Ok(())
}

async fn say(writer: &mut SocketWriter, text: String) -> Option<()> {
    let sent = async {
        writer.feed(text).await?;
        writer.flush().await
    };
    tokio::time::timeout(Duration::from_millis(HANDSHAKE_DEADLINE_MS), sent)
        .await
        .ok()?
        .ok()
}
