//! The accepting side. A stranger may only say `mesh.challenge`, `mesh.connect` and `mesh.ping` until
//! it has proven a device we trust.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{Door, Sessions, introduction, life, nonce, recognise, say, second};
use crate::adapters::transport::{Incoming, Received, SocketReader, SocketWriter};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{NONCE_TTL_MS, STRANGER_MESSAGES_MAX};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::domain::wire::handshake::{End, Feature, Hello};
use crate::domain::wire::{Message, Reply};
use crate::node::context::Event;
use crate::node::gen1::actuators;
use crate::node::gossip;
use crate::node::ingress::Ingress;
use crate::node::links::{Ended, PeerInfo};
use crate::node::pairing;

/// Serves an accepted socket to its end.
pub(crate) async fn accepted(sessions: Sessions, ingress: Ingress, incoming: Incoming) {
    let Incoming {
        socket,
        remote,
        slot,
        ..
    } = incoming;
    let stop = sessions.tasks.stop().child_token();
    let from = remote.ip().to_canonical();
    let door = Door {
        protection: socket.protection().clone(),
        same_machine: from.is_loopback(),
    };
    let (mut reader, mut writer) = socket.split();
    let greeted = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        () = slot.evicted() => None,
        greeted = greet(&sessions, &door, from, &mut reader, &mut writer) => greeted,
    };
    let Some(greeted) = greeted else {
        writer.close(1008, "not authenticated").await;
        return;
    };
    if !slot.promote() {
        return;
    }
    let (hello, reply) = match greeted {
        Greeted::Peer(hello, reply) => (hello, reply),
        Greeted::Pairing(knock) => return pairing::accept(knock, reader, writer).await,
    };
    reader.trusted();
    let (origin, from) = (from, gossip::begin(&sessions).await);
    let posture = door.protection.posture;
    let info = PeerInfo::new(&hello, false, None, posture, sessions.now())
        .entitled(sessions.may_actuate(&hello.device_id))
        .acting(actuators::acts(&sessions.guards, &hello));
    match sessions.links.register(sessions.own_id(), info, stop) {
        Err(refusal) => {
            tracing::debug!(%remote, "{refusal}");
            writer.close(1013, "busy or duplicate").await;
        }
        Ok((link, lanes)) => {
            // The peer may not hear of anything before it has heard that it is welcome.
            if say(&mut writer, reply).await.is_some() {
                if !link.info.speaks(Feature::Reconcile) {
                    let ask =
                        second::fetch(sessions.clone(), ingress.clone(), link.clone(), origin);
                    sessions.tasks.passing("second socket", ask);
                }
                life::run(
                    sessions.protocol.clone(),
                    ingress,
                    link,
                    reader,
                    writer,
                    lanes,
                    from,
                )
                .await;
            } else {
                sessions.links.forget(&link, &Ended::Broke);
            }
        }
    }
    drop(slot);
}

/// The outcome of a stranger's greeting.
enum Greeted {
    /// A device we trust, with the reply it waits for.
    Peer(Box<Hello>, String),
    /// A device that wants to be trusted, while a person lets it ask.
    Pairing(pairing::Knock),
}

/// Talks to a stranger until it has proven who it is or may pair. `None` if it went away or was shown
/// out.
async fn greet(
    sessions: &Sessions,
    door: &Door,
    from: IpAddr,
    reader: &mut SocketReader,
    writer: &mut SocketWriter,
) -> Option<Greeted> {
    let mut issued: Option<(String, TimeMs)> = None;
    for _ in 0..STRANGER_MESSAGES_MAX {
        let text = match reader.recv().await {
            Ok(Received::Text(text)) => text,
            Ok(Received::TooLarge { .. }) => {
                let refusal = Refusal::new(Code::TooLarge, "the message is larger than 1 MiB");
                say(writer, Reply::from(refusal).to_text("")).await?;
                continue;
            }
            Ok(Received::Closed { .. }) | Err(_) => return None,
        };
        let (id, method, params) = match Message::parse(&text) {
            Ok(Message::Request { id, method, params }) => (id, method, params),
            // Events and responses of strangers are counted and ignored.
            Ok(_) => {
                sessions.metrics.refused(Code::NotAuthorized);
                continue;
            }
            Err(bad) => {
                sessions.metrics.refused(bad.refusal.code);
                say(
                    writer,
                    Reply::from(bad.refusal).to_text(bad.id.as_deref().unwrap_or_default()),
                )
                .await?;
                continue;
            }
        };
        let reply = match method.as_str() {
            "mesh.ping" => Reply::Ok(json!({"pong": true, "timestamp": sessions.now()})),
            "mesh.challenge" => match nonce(sessions) {
                Ok(fresh) => {
                    issued = Some((fresh.clone(), sessions.now()));
                    Reply::Ok(json!({"nonce": fresh}))
                }
                Err(refusal) => refusal.into(),
            },
            "mesh.connect" => match connect(sessions, door, &params, &mut issued).await {
                Ok((hello, payload)) => {
                    let reply = Reply::Ok(payload).to_text(&id);
                    return Some(Greeted::Peer(Box::new(hello), reply));
                }
                Err(refusal) => {
                    let who = params
                        .get("deviceId")
                        .and_then(Value::as_str)
                        .unwrap_or("?");
                    sessions
                        .journal
                        .refused_of(
                            Cause::Strangers,
                            Event::PeerRefused,
                            who.get(..64).unwrap_or(who),
                            &refusal,
                        )
                        .await;
                    refusal.into()
                }
            },
            "pair.start" => match pairing::knock(&sessions.pairing, from, &id, params).await {
                Ok(knock) => return Some(Greeted::Pairing(knock)),
                Err(refusal) => refusal.into(),
            },
            _ => {
                sessions.metrics.refused(Code::NotAuthorized);
                Refusal::new(
                    Code::NotAuthorized,
                    "authenticate first: mesh.challenge, then mesh.connect",
                )
                .into()
            }
        };
        say(writer, reply.to_text(&id)).await?;
    }
    None
}

/// `mesh.connect`, in the gen-1 order of checks, with ours added.
async fn connect(
    sessions: &Sessions,
    door: &Door,
    params: &Map<String, Value>,
    issued: &mut Option<(String, TimeMs)>,
) -> Result<(Hello, Value), Refusal> {
    let mut hello = Hello::parse(params, true)?;
    let now = sessions.now();
    let invalid = || {
        Refusal::new(
            Code::AuthNonceInvalid,
            "nonce was not issued for this connection, already used, or expired",
        )
    };
    let fresh = issued
        .as_ref()
        .is_some_and(|(n, at)| *n == hello.nonce && now.since(*at) <= NONCE_TTL_MS);
    if !fresh {
        return Err(invalid());
    }
    let (expected, _) = issued.take().ok_or_else(invalid)?;
    if hello.device_id == *sessions.own_id() {
        return Err(Refusal::new(
            Code::UntrustedPeer,
            "this is my own device id",
        ));
    }
    let trusted = sessions.trust.live(&hello.device_id);
    if let Some(pinned) = trusted.and_then(|r| r.public_key) {
        if pinned != hello.public_key {
            return Err(Refusal::new(
                Code::PublicKeyMismatch,
                format!("peer {} came with another public key", hello.device_id),
            ));
        }
    } else if sessions.trust.live(&hello.device_id).is_none() {
        return Err(Refusal::new(
            Code::UntrustedPeer,
            format!("peer {} is not in the trust store", hello.device_id),
        ));
    }
    let made = door.proof_for(sessions.own_id(), End::Dialer, None);
    recognise(sessions, door, &mut hello, &expected, made).await?;
    hello.check_mesh(&sessions.mesh)?;
    let acts = actuators::acts(&sessions.guards, &hello);
    sessions.links.may_come_in(&hello.device_id, acts)?;
    let client_nonce = hello.client_nonce.clone().unwrap_or_default();
    let ours = introduction(sessions, !hello.features.is_empty());
    let answers = door.proof_for(&hello.device_id, End::Acceptor, Some(hello.said));
    let payload = match answers.filter(|_| hello.proof.is_some()) {
        Some(made) => ours.sign_for_kin(&sessions.key, &client_nonce, None, now, made),
        None => ours.sign(&sessions.key, &client_nonce, None, now, None),
    };
    Ok((hello, Value::Object(payload)))
}
