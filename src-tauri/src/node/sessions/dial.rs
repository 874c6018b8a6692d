//! The dialing side: reaches the very device it means, or says why not.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Door, introduction, life, nonce, recognise, say};
use tokio_util::sync::CancellationToken;

use crate::adapters::transport::{
    Posture, Received, Security, Socket, SocketReader, SocketWriter, TransportError,
};
use crate::domain::admission::Generation;
use crate::domain::base::limits::{DIAL_MS, HANDSHAKE_DEADLINE_MS, STRANGER_MESSAGES_MAX};
use crate::domain::base::{Code, DeviceId};
use crate::domain::wire::Message;
use crate::domain::wire::handshake::{End, Hello};
use crate::node::config::is_local;
use crate::node::gen1::actuators;
use crate::node::gossip;
use crate::node::ingress::Ingress;
use crate::node::links::PeerInfo;
use crate::node::links::target::Target;
use crate::node::sessions::Sessions;

/// How long a peer may take to accept a connection and upgrade it.
const DIAL_TIMEOUT: Duration = Duration::from_millis(DIAL_MS);

/// Why no link came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DialError {
    /// The other side will not have us, or is not who it should be; only a person can change that.
    Refused(String),
    /// It may work another time.
    Failed(String),
}

fn failed(why: impl ToString) -> DialError {
    DialError::Failed(why.to_string())
}

fn refused(why: impl ToString) -> DialError {
    DialError::Refused(why.to_string())
}

/// Reaches a device and leaves its link running.
///
/// # Errors
/// Why no link came about.
pub(crate) async fn dial(
    sessions: &Sessions,
    ingress: &Ingress,
    device: &DeviceId,
    target: &Target,
) -> Result<(), DialError> {
    let stop = sessions.tasks.stop().child_token();
    let socket = reach(sessions, device, target, &stop).await?;
    let protection = socket.protection().clone();
    if !is_local(&target.label) && protection.posture < Posture::TlsPinned {
        return Err(refused(format!(
            "the link is {}, and over {:?} it must be pinned or bound to the device's key",
            protection.posture, target.label
        )));
    }
    let posture = protection.posture;
    let door = Door {
        protection,
        same_machine: target.url.is_loopback(),
    };
    let (mut reader, mut writer) = socket.split();
    let deadline = Duration::from_millis(HANDSHAKE_DEADLINE_MS);
    let introducing = introduce(sessions, device, &door, &mut reader, &mut writer);
    let hello = match tokio::time::timeout(deadline, introducing).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(why)) => {
            writer.close(1008, "handshake refused").await;
            return Err(why);
        }
        Err(_) => return Err(failed("the handshake took too long")),
    };
    reader.trusted();
    let from = gossip::begin(sessions).await;
    let label = Some(target.label.clone());
    let info = PeerInfo::new(&hello, true, label, posture, sessions.now())
        .entitled(sessions.may_actuate(&hello.device_id))
        .acting(actuators::acts(&sessions.guards, &hello));
    match sessions.links.register(sessions.own_id(), info, stop) {
        Err(refusal) => {
            writer.close(1000, "duplicate").await;
            Err(failed(refusal.message))
        }
        Ok((link, lanes)) => {
            let life = life::run(
                sessions.protocol.clone(),
                ingress.clone(),
                link,
                reader,
                writer,
                lanes,
                from,
            );
            sessions.tasks.passing("link", life);
            Ok(())
        }
    }
}

/// Opens a socket, by TLS wherever it leaves the machine. Without TLS only a device that is trusted
/// as gen-1, has never proven to be of our own kind and is on a local network is spoken to.
pub(super) async fn reach(
    sessions: &Sessions,
    device: &DeviceId,
    target: &Target,
    stop: &CancellationToken,
) -> Result<Socket, DialError> {
    let plainly = |security| async move {
        let dialed = sessions
            .dialer
            .dial(&target.url, &security, DIAL_TIMEOUT, stop);
        dialed.await
    };
    let url = &target.url;
    if url.is_loopback() && !url.tls() && target.pin.is_none() {
        return plainly(Security::Plain).await.map_err(failed);
    }
    let by_tls = Security::Tls {
        tls: sessions.tls.clone(),
        pin: target.pin,
        expect: Some(device.clone()),
    };
    match plainly(by_tls).await {
        Ok(socket) => Ok(socket),
        Err(error @ (TransportError::PinMismatch { .. } | TransportError::WrongDevice { .. })) => {
            Err(refused(error))
        }
        Err(error @ TransportError::Tls { .. }) => {
            let record = sessions.trust.live(device);
            let as_gen1 = record.is_some_and(|r| r.generation() == Generation::Gen1);
            let may = as_gen1 && is_local(&target.label) && !url.tls() && target.pin.is_none();
            match may {
                true => plainly(Security::Plain).await.map_err(failed),
                false => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

async fn introduce(
    sessions: &Sessions,
    expected: &DeviceId,
    door: &Door,
    reader: &mut SocketReader,
    writer: &mut SocketWriter,
) -> Result<Hello, DialError> {
    let challenge = ask(reader, writer, "1", "mesh.challenge", &json!({})).await?;
    let their_nonce = challenge
        .get("nonce")
        .and_then(Value::as_str)
        .filter(|n| !n.is_empty() && n.len() <= 128);
    let their_nonce = their_nonce.ok_or_else(|| failed("the peer's challenge has no nonce"))?;
    let our_nonce = nonce(sessions).map_err(failed)?;
    let made = door.proof_for(expected, End::Dialer, None);
    let kin = sessions
        .trust
        .live(expected)
        .is_some_and(|r| r.generation() == Generation::Clawmesh);
    let (ours, now) = (introduction(sessions, kin), sessions.now());
    let asked = Some(our_nonce.as_str());
    let params = match made {
        // A receiver can relay a gen-1 signature, except where TLS has proven the receiver's identity.
        Some(made) if kin && door.protection.posture < Posture::IdentityBound => {
            ours.sign_for_kin(&sessions.key, their_nonce, asked, now, made)
        }
        made => ours.sign(&sessions.key, their_nonce, asked, now, made),
    };
    let said = Hello::parse(&params, true).map_err(failed)?.said;
    let reply = ask(reader, writer, "2", "mesh.connect", &Value::Object(params)).await?;
    let reply = reply
        .as_object()
        .ok_or_else(|| failed("the peer's mesh.connect reply is no object"))?;
    let mut hello = Hello::parse(reply, false).map_err(failed)?;
    if hello.device_id != *expected {
        return Err(refused(format!(
            "device {} answered where {} was expected",
            hello.device_id.short(),
            expected.short()
        )));
    }
    let own = sessions.own_id();
    let made = door.proof_for(own, End::Acceptor, Some(said));
    recognise(sessions, door, &mut hello, &our_nonce, made)
        .await
        .map_err(refused)?;
    hello.check_mesh(&sessions.mesh).map_err(refused)?;
    Ok(hello)
}

/// Asks and waits for the answer; other messages are ignored.
pub(super) async fn ask(
    reader: &mut SocketReader,
    writer: &mut SocketWriter,
    id: &str,
    method: &str,
    params: &Value,
) -> Result<Value, DialError> {
    say(writer, Message::request(id, method, params))
        .await
        .ok_or_else(|| failed("the peer hung up"))?;
    for _ in 0..STRANGER_MESSAGES_MAX {
        match reader.recv().await {
            Ok(Received::Text(text)) => match Message::parse(&text) {
                Ok(Message::Response { id: got, result }) if got == id => {
                    return result.map_err(|e| match Code::from_wire(&e.code) {
                        Some(Code::Busy | Code::Timeout | Code::InternalError) => failed(e),
                        _ => refused(e),
                    });
                }
                // Other messages before the end of the handshake are ignored.
                _ => {}
            },
            Ok(Received::TooLarge { .. }) => {}
            Ok(Received::Closed { .. }) | Err(_) => {
                return Err(failed("the peer hung up during the handshake"));
            }
        }
    }
    Err(failed(format!(
        "the peer sent {STRANGER_MESSAGES_MAX} messages and no answer to {method}"
    )))
}
