//! Sessions: who is at the other end, and the life of a link from handshake to goodbye.
//!
//! `accept` lets a stranger in once it has proven a device we trust, `dial` goes out to prove the very
//! device we meant to reach, `life` is what both become, `writer` is its outgoing half.

mod accept;
mod dial;
mod life;
mod pulse;
mod second;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(super) use self::accept::accepted;
pub(super) use self::dial::{DialError, dial};
use super::context::alarms::AlarmKind;
use super::context::{Context, DURABLE, store_refusal};
use super::frame_log::Frames;
use super::pairing::Pairing;
use super::protocol::Protocol;
use crate::adapters::store::trust;
use crate::adapters::transport::{Dialer, Posture, Protection, SocketWriter, Tls};
use crate::domain::admission::{Generation, TrustRecord};
use crate::domain::base::canonical::Digest;
use crate::domain::base::limits::HANDSHAKE_DEADLINE_MS;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::identity::DeviceKey;
use crate::domain::plan::election::role_for_gen1;
use crate::domain::wire::handshake::{End, Hello, Introduction, ProofFor};

/// The handle with which links are made. The key in it signs handshakes and nothing else.
#[derive(Clone)]
pub struct Sessions {
    protocol: Protocol,
    /// Whom a stranger that may not come in yet can ask.
    pairing: Pairing,
    key: Arc<DeviceKey>,
    tls: Tls,
    dialer: Arc<dyn Dialer>,
}

impl std::ops::Deref for Sessions {
    type Target = Protocol;

    fn deref(&self) -> &Protocol {
        &self.protocol
    }
}

impl Sessions {
    /// No link yet.
    pub fn new(
        protocol: Protocol,
        pairing: Pairing,
        key: Arc<DeviceKey>,
        tls: Tls,
        dialer: Arc<dyn Dialer>,
    ) -> Self {
        Self {
            protocol,
            pairing,
            key,
            tls,
            dialer,
        }
    }
}

/// The introduction of this node; `kin` are told its role, gen-1 nodes the one that stands for it there.
fn introduction(frames: &Frames, kin: bool) -> Introduction {
    let role = frames.config.role.as_str();
    Introduction {
        display_name: frames.config.name.clone(),
        capabilities: frames.known.own.now().texts(),
        mesh_id: frames.mesh.clone(),
        role: if kin { role } else { role_for_gen1(role) }.to_owned(),
    }
}

fn nonce(context: &Context) -> Result<String, Refusal> {
    let bytes: [u8; 24] = context
        .random
        .bytes()
        .map_err(|e| Refusal::new(Code::InternalError, e.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The properties of a connection before the first message.
struct Door {
    protection: Protection,
    /// Whether the other end is on this machine.
    same_machine: bool,
}

impl Door {
    /// For whom and over what a proof on this connection is made; `None` where both ends have nothing
    /// in common that a stranger in between would not have.
    fn proof_for<'a>(
        &'a self,
        verifier: &'a DeviceId,
        signer: End,
        heard: Option<Digest>,
    ) -> Option<ProofFor<'a>> {
        let channel = self.protection.channel.as_ref()?.as_str();
        Some(ProofFor {
            verifier,
            signer,
            channel,
            heard,
        })
    }
}

/// Judges what the other end has proven, and remembers what may be remembered of it: its key where
/// none was pinned, and that it is of our own kind. Of a device that has proven nothing beyond the
/// gen-1 signature the features are dropped: they are not signed.
///
/// # Errors
/// `AUTH_FAILED`, `UNTRUSTED_PEER`, `PUBLIC_KEY_MISMATCH`, `TLS_REQUIRED`.
async fn recognise(
    protocol: &Protocol,
    door: &Door,
    hello: &mut Hello,
    nonce: &str,
    made: Option<ProofFor<'_>>,
) -> Result<(), Refusal> {
    let device = hello.device_id.clone();
    let Some(record) = protocol.trust.live(&device) else {
        return Err(Refusal::new(
            Code::UntrustedPeer,
            format!("peer {device} is not in the trust store"),
        ));
    };
    if record
        .public_key
        .is_some_and(|pinned| pinned != hello.public_key)
    {
        return Err(Refusal::new(
            Code::PublicKeyMismatch,
            format!("peer {device} came with another public key"),
        ));
    }
    // The clock is judged last: only a device that has proven itself is reported for its clock.
    let signed_at = hello.signed_at;
    let proven = match (&hello.proof, made) {
        (Some(_), Some(made)) => hello.check_proof(nonce, &made, signed_at).map(|()| true)?,
        _ => {
            hello.check_signature(nonce, signed_at)?;
            // Builds from before the proof: TLS has proven both devices to each other.
            door.protection.posture == Posture::IdentityBound
                && door.protection.device.as_ref() == Some(&device)
                && !hello.features.is_empty()
        }
    };
    check_binding(door, hello, proven)?;
    if !proven {
        if record.generation() == Generation::Clawmesh {
            protocol.reach.came_as_gen1(&device, protocol.now());
            return Err(Refusal::new(
                Code::AuthFailed,
                format!(
                    "device {} is trusted as one of our own kind, and has not proven itself for this connection; \
                     if it runs an older version, update it; if it is a gen-1 node, say so: trust add {device} --as gen1",
                    device.short()
                ),
            ));
        }
        hello.features.clear();
    }
    check_clock(protocol, hello)?;
    if record.public_key.is_none() || (proven && record.generation != Some(Generation::Clawmesh)) {
        learn(protocol, hello, proven).await?;
    }
    Ok(())
}

/// Ends the alarms about the clocks of devices that are trusted no longer.
pub(super) fn forget_clocks(context: &Context) {
    for alarm in context.alarms.list() {
        let gone = |d: DeviceId| !context.trust.trusts(&d);
        if alarm.kind == AlarmKind::PeerClock && alarm.subject.parse().is_ok_and(gone) {
            context.alarms.clear(alarm.kind, &alarm.subject);
        }
    }
}

/// Refuses a device whose clock and ours differ too much, and keeps an alarm standing until the
/// device comes with a clock that agrees.
fn check_clock(context: &Context, hello: &Hello) -> Result<(), Refusal> {
    let (now, device) = (context.now(), hello.device_id.as_str());
    let Err(refusal) = hello.check_clock(now) else {
        context.alarms.clear(AlarmKind::PeerClock, device);
        return Ok(());
    };
    let (way, apart) = match hello.signed_at > now {
        true => ("ahead of", hello.signed_at.since(now)),
        false => ("behind", now.since(hello.signed_at)),
    };
    let message = format!(
        "the clock of device {} is {} s {way} ours, so it is not connected",
        hello.device_id.short(),
        apart / 1000
    );
    let advice = "set the clock of whichever machine is wrong; the link comes back by itself";
    context
        .alarms
        .raise(AlarmKind::PeerClock, device, &message, advice, now);
    Err(refusal)
}

/// Writes down what a device has proven: its key, and that it is of our own kind.
async fn learn(context: &Context, hello: &Hello, proven: bool) -> Result<(), Refusal> {
    let (id, key) = (hello.device_id.clone(), hello.public_key);
    let write = move |c: &rusqlite::Connection| {
        // Read again: the device may have been revoked a moment ago.
        let known = trust::get(c, &id)?.filter(TrustRecord::is_live);
        let Some(mut known) = known else {
            return Ok(false);
        };
        // The id is the key's hash, so the key that fits the id is the right one to remember.
        known.public_key = Some(key);
        if proven {
            known.generation = Some(Generation::Clawmesh);
        }
        trust::put(c, &known).map(|()| true)
    };
    let learned = context.store.write(DURABLE, "learn key", write).await;
    if !learned.map_err(|e| store_refusal(&e))? {
        return Err(Refusal::new(
            Code::UntrustedPeer,
            format!("peer {} is trusted no longer", hello.device_id),
        ));
    }
    context
        .trust
        .reload(&context.store)
        .await
        .map_err(|e| store_refusal(&e))
}

/// Whether a link of this protection may carry this device: what TLS has proven must be who says
/// hello, and our own kind is bound to its key on every link that leaves the machine.
fn check_binding(door: &Door, hello: &Hello, proven: bool) -> Result<(), Refusal> {
    let (device, protection) = (&hello.device_id, &door.protection);
    if let Some(other) = protection.device.as_ref().filter(|p| *p != device) {
        return Err(Refusal::new(
            Code::AuthFailed,
            format!(
                "device {} says hello on a link that is bound to device {}",
                device.short(),
                other.short()
            ),
        ));
    }
    if proven && !door.same_machine && protection.posture < Posture::IdentityBound {
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
