//! Sessions: who is at the other end, and the life of a link from handshake to goodbye.
//!
//! An accepted socket may only say `mesh.challenge`, `mesh.connect` and `mesh.ping` until it has
//! proven a device we trust. A dialed one must prove the very device we meant to reach.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::catch_up;
use super::config::StaticPeer;
use super::gossip;
use super::ingress::Ingress;
use super::links::{LinkHandle, Outgoing, PeerInfo};
use super::methods;
use super::shared::{DURABLE, Shared, store_refusal};
use crate::adapters::store::trust;
use crate::adapters::transport::{Incoming, Posture, Received, SocketReader, SocketWriter};
use crate::domain::admission::TrustRecord;
use crate::domain::base::limits::{HANDSHAKE_DEADLINE_MS, NONCE_TTL_MS};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::wire::handshake::{Hello, Introduction};
use crate::domain::wire::{Message, Reply};

/// Messages a socket may send before it has authenticated.
const STRANGER_MESSAGES_MAX: usize = 32;
/// How long a peer may leave our writes unread before the link is given up.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// How long a peer may take to accept a connection and upgrade it.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages written before the socket is flushed.
const FLUSH_EVERY: usize = 64;

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
            let learned = record.clone();
            let done = shared
                .store
                .write(DURABLE, "learn key", move |c| trust::put(c, &learned))
                .await;
            done.map_err(|e| store_refusal(&e))?;
            shared
                .trust
                .reload(&shared.store)
                .await
                .map_err(|e| store_refusal(&e))?;
        }
    }
    Ok(record)
}

/// Serves an accepted socket to its end.
pub async fn accepted(shared: Shared, ingress: Ingress, incoming: Incoming) {
    let Incoming {
        socket,
        remote,
        slot,
        ..
    } = incoming;
    let stop = shared.tasks.stop().child_token();
    let (mut reader, mut writer) = socket.split();
    let greeted = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        () = slot.evicted() => None,
        greeted = greet(&shared, &mut reader, &mut writer) => greeted,
    };
    let Some((hello, reply)) = greeted else {
        writer.close(1008, "not authenticated").await;
        return;
    };
    if !slot.promote() {
        return;
    }
    let info = PeerInfo::new(&hello, false, None, Posture::Insecure, shared.now());
    match shared.links.register(shared.own_id(), info, stop) {
        Err(refusal) => {
            tracing::debug!(%remote, "{refusal}");
            writer.close(1013, "busy or duplicate").await;
        }
        Ok((link, outbox)) => {
            // The peer may not hear of anything before it has heard that it is welcome.
            if writer.feed(reply).await.is_ok() && writer.flush().await.is_ok() {
                run_link(shared.clone(), ingress, link, reader, writer, outbox).await;
            } else {
                shared.links.forget(&link);
            }
        }
    }
    drop(slot);
}

/// Talks to a stranger until it has proven who it is. Returns its hello and the reply to send, or
/// `None` if it went away or was shown out.
async fn greet(
    shared: &Shared,
    reader: &mut SocketReader,
    writer: &mut SocketWriter,
) -> Option<(Hello, String)> {
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
            // A stranger's events and responses are nothing to us.
            Ok(_) => {
                shared.metrics.refused(Code::NotAuthorized);
                continue;
            }
            Err(bad) => {
                shared.metrics.refused(bad.refusal.code);
                say(
                    writer,
                    Reply::from(bad.refusal).to_text(bad.id.as_deref().unwrap_or_default()),
                )
                .await?;
                continue;
            }
        };
        let reply = match method.as_str() {
            "mesh.ping" => Reply::Ok(json!({"pong": true, "timestamp": shared.now()})),
            "mesh.challenge" => match nonce(shared) {
                Ok(fresh) => {
                    issued = Some((fresh.clone(), shared.now()));
                    Reply::Ok(json!({"nonce": fresh}))
                }
                Err(refusal) => refusal.into(),
            },
            "mesh.connect" => match connect(shared, &params, &mut issued).await {
                Ok((hello, payload)) => return Some((hello, Reply::Ok(payload).to_text(&id))),
                Err(refusal) => {
                    let who = params
                        .get("deviceId")
                        .and_then(Value::as_str)
                        .unwrap_or("?");
                    shared
                        .refused("peer.refused", who.get(..64).unwrap_or(who), &refusal)
                        .await;
                    refusal.into()
                }
            },
            _ => {
                shared.metrics.refused(Code::NotAuthorized);
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

/// `mesh.connect`, in the gen-1 order of checks, with ours added.
async fn connect(
    shared: &Shared,
    params: &Map<String, Value>,
    issued: &mut Option<(String, TimeMs)>,
) -> Result<(Hello, Value), Refusal> {
    let hello = Hello::parse(params, true)?;
    let now = shared.now();
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
    if hello.device_id == *shared.own_id() {
        return Err(Refusal::new(
            Code::UntrustedPeer,
            "this is my own device id",
        ));
    }
    let trusted = shared.trust.live(&hello.device_id);
    if let Some(pinned) = trusted.and_then(|r| r.public_key) {
        if pinned != hello.public_key {
            return Err(Refusal::new(
                Code::PublicKeyMismatch,
                format!("peer {} came with another public key", hello.device_id),
            ));
        }
    } else if shared.trust.live(&hello.device_id).is_none() {
        return Err(Refusal::new(
            Code::UntrustedPeer,
            format!("peer {} is not in the trust store", hello.device_id),
        ));
    }
    hello.check_signature(&expected, now)?;
    hello.check_mesh(&shared.mesh)?;
    recognise(shared, &hello).await?;
    let client_nonce = hello.client_nonce.clone().unwrap_or_default();
    let payload = introduction(shared).sign(&shared.key, &client_nonce, None, now);
    Ok((hello, Value::Object(payload)))
}

/// Dials a configured peer and serves the link to its end.
///
/// # Errors
/// Why no link came about; the caller waits and tries again.
pub async fn dialed(shared: &Shared, ingress: &Ingress, peer: &StaticPeer) -> Result<(), String> {
    let stop = shared.tasks.stop().child_token();
    let socket = shared
        .dialer
        .dial(&peer.url, DIAL_TIMEOUT, &stop)
        .await
        .map_err(|e| e.to_string())?;
    let (mut reader, mut writer) = socket.split();
    let deadline = Duration::from_millis(HANDSHAKE_DEADLINE_MS);
    let hello = match tokio::time::timeout(
        deadline,
        introduce(shared, &peer.device, &mut reader, &mut writer),
    )
    .await
    {
        Ok(Ok(hello)) => hello,
        Ok(Err(why)) => {
            writer.close(1008, "handshake refused").await;
            return Err(why);
        }
        Err(_) => return Err("the handshake took too long".to_owned()),
    };
    let info = PeerInfo::new(
        &hello,
        true,
        Some(peer.label.clone()),
        Posture::Insecure,
        shared.now(),
    );
    match shared.links.register(shared.own_id(), info, stop) {
        Err(refusal) => {
            writer.close(1000, "duplicate").await;
            Err(refusal.message)
        }
        Ok((link, outbox)) => {
            run_link(
                shared.clone(),
                ingress.clone(),
                link,
                reader,
                writer,
                outbox,
            )
            .await;
            Ok(())
        }
    }
}

async fn introduce(
    shared: &Shared,
    expected: &DeviceId,
    reader: &mut SocketReader,
    writer: &mut SocketWriter,
) -> Result<Hello, String> {
    let challenge = ask(reader, writer, "1", "mesh.challenge", &json!({})).await?;
    let their_nonce = challenge
        .get("nonce")
        .and_then(Value::as_str)
        .filter(|n| !n.is_empty() && n.len() <= 128);
    let their_nonce = their_nonce.ok_or("the peer's challenge has no nonce")?;
    let our_nonce = nonce(shared).map_err(|e| e.message)?;
    let params =
        introduction(shared).sign(&shared.key, their_nonce, Some(&our_nonce), shared.now());
    let reply = ask(reader, writer, "2", "mesh.connect", &Value::Object(params)).await?;
    let reply = reply
        .as_object()
        .ok_or("the peer's mesh.connect reply is no object")?;
    let hello = Hello::parse(reply, false).map_err(|e| e.to_string())?;
    if hello.device_id != *expected {
        return Err(format!(
            "device {} answered where {} was expected",
            hello.device_id.short(),
            expected.short()
        ));
    }
    hello
        .check_signature(&our_nonce, shared.now())
        .map_err(|e| e.to_string())?;
    hello.check_mesh(&shared.mesh).map_err(|e| e.to_string())?;
    recognise(shared, &hello).await.map_err(|e| e.to_string())?;
    Ok(hello)
}

async fn ask(
    reader: &mut SocketReader,
    writer: &mut SocketWriter,
    id: &str,
    method: &str,
    params: &Value,
) -> Result<Value, String> {
    say(writer, Message::request(id, method, params))
        .await
        .ok_or("the peer hung up")?;
    loop {
        match reader.recv().await {
            Ok(Received::Text(text)) => match Message::parse(&text) {
                Ok(Message::Response { id: got, result }) if got == id => {
                    return result.map_err(|e| e.to_string());
                }
                // Whatever else comes before the handshake is over is nothing to us.
                _ => {}
            },
            Ok(Received::TooLarge { .. }) => {}
            Ok(Received::Closed { .. }) | Err(_) => {
                return Err("the peer hung up during the handshake".to_owned());
            }
        }
    }
}

/// The life of a link: one task writes, one feeds gossip, this one reads.
async fn run_link(
    shared: Shared,
    ingress: Ingress,
    link: LinkHandle,
    mut reader: SocketReader,
    writer: SocketWriter,
    outbox: mpsc::Receiver<Outgoing>,
) {
    let info = &link.info;
    shared.metrics.peers_connected.inc();
    shared
        .remember_offer(&info.device, &info.capabilities)
        .await;
    let name = info.name.as_deref().unwrap_or_else(|| info.device.short());
    let data = json!({"deviceId": info.device, "outbound": info.outbound, "posture": info.posture.to_string()});
    shared
        .events
        .record(
            &shared,
            "peer.connect",
            "info",
            &format!("Connected: {name}"),
            data,
        )
        .await;
    shared
        .tasks
        .passing("link writer", write_loop(writer, outbox, link.stop.clone()));
    shared.tasks.passing(
        "catch up",
        catch_up::ask(shared.clone(), ingress.clone(), link.clone()),
    );
    shared
        .tasks
        .passing("link feeder", gossip::feed(shared.clone(), link.clone()));
    let why = tokio::select! {
        biased;
        () = link.stop.cancelled() => "closed by this node",
        why = read_loop(&shared, &ingress, &link, &mut reader) => why,
    };
    link.close(1000, "bye");
    shared.links.forget(&link);
    shared.metrics.peers_connected.dec();
    let data = json!({"deviceId": info.device, "reason": why});
    shared
        .events
        .record(
            &shared,
            "peer.disconnect",
            "info",
            &format!("Disconnected: {name} ({why})"),
            data,
        )
        .await;
}

async fn read_loop(
    shared: &Shared,
    ingress: &Ingress,
    link: &LinkHandle,
    reader: &mut SocketReader,
) -> &'static str {
    loop {
        let text = match reader.recv().await {
            Ok(Received::Text(text)) => text,
            Ok(Received::TooLarge { bytes }) => {
                let refusal = Refusal::new(
                    Code::TooLarge,
                    format!("a message of {bytes} bytes; at most 1 MiB is read"),
                );
                shared
                    .refused("message.refused", link.info.device.as_str(), &refusal)
                    .await;
                if !link.send(Reply::from(refusal).to_text("")).await {
                    return "the link's writer ended";
                }
                continue;
            }
            Ok(Received::Closed { .. }) => return "socket closed",
            Err(error) => {
                tracing::debug!(peer = link.info.device.short(), %error, "link broke");
                return "socket failed";
            }
        };
        shared.metrics.messages_received.inc();
        // Trust can end while the link is up: look every time.
        if !shared.trust.trusts(&link.info.device) {
            return "no longer trusted";
        }
        match Message::parse(&text) {
            Ok(Message::Request { id, method, params }) => {
                let reply = methods::answer(shared, link, &method, params).await;
                if !link.send(reply.to_text(&id)).await {
                    return "the link's writer ended";
                }
            }
            Ok(Message::Response { id, result }) => {
                if !link.answer(&id, result) {
                    tracing::debug!(
                        peer = link.info.device.short(),
                        "an answer nobody waits for"
                    );
                }
            }
            Ok(Message::Event { event, payload }) => {
                methods::event(shared, ingress, link, &event, payload, text.len()).await;
            }
            Err(bad) => {
                shared
                    .refused("message.refused", link.info.device.as_str(), &bad.refusal)
                    .await;
                let id = bad.id.unwrap_or_default();
                if !link.send(Reply::from(bad.refusal).to_text(&id)).await {
                    return "the link's writer ended";
                }
            }
        }
    }
}

async fn write_loop(
    mut writer: SocketWriter,
    mut outbox: mpsc::Receiver<Outgoing>,
    stop: CancellationToken,
) {
    loop {
        let first = tokio::select! {
           biased;
            next = outbox.recv() => next,
            () = stop.cancelled() => break,
        };
        let Some(first) = first else { break };
        match tokio::time::timeout(WRITE_STALL_MAX, write_some(&mut writer, first, &mut outbox))
            .await
        {
            Ok(Ok(())) => {}
            Ok(Err((code, reason))) => {
                writer.close(code, reason).await;
                stop.cancel();
                return;
            }
            Err(_) => {
                tracing::warn!(
                    "a peer did not read for {} s; the link is given up",
                    WRITE_STALL_MAX.as_secs()
                );
                break;
            }
        }
    }
    stop.cancel();
    writer.close(1000, "bye").await;
}

/// Writes what waits, then flushes once. An error carries how to close.
async fn write_some(
    writer: &mut SocketWriter,
    first: Outgoing,
    outbox: &mut mpsc::Receiver<Outgoing>,
) -> Result<(), (u16, &'static str)> {
    let mut next = Some(first);
    let mut written = 0;
    while let Some(out) = next {
        match out {
            Outgoing::Text(text) => writer
                .feed(text)
                .await
                .map_err(|_| (1001, "write failed"))?,
            Outgoing::Close(code, reason) => return Err((code, reason)),
        }
        written += 1;
        next = if written < FLUSH_EVERY {
            outbox.try_recv().ok()
        } else {
            None
        };
    }
    writer.flush().await.map_err(|_| (1001, "write failed"))
}

/// Keeps one configured peer connected: dials, waits longer after each failure, and stands down
/// while the peer's own connection is up.
pub async fn keep_dialing(shared: Shared, ingress: Ingress, peer: StaticPeer) {
    const FIRST_WAIT_MS: u64 = 250;
    const LONGEST_WAIT_MS: u64 = 30_000;
    let mut wait_ms = FIRST_WAIT_MS;
    let mut changes = shared.links.watch();
    let stop = shared.tasks.stop().clone();
    while !stop.is_cancelled() {
        if shared.links.get(&peer.device).is_some() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let started = tokio::time::Instant::now();
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            result = dialed(&shared, &ingress, &peer) => result,
        };
        match result {
            // A link that lived a while was a good one: start over quickly.
            Ok(()) if started.elapsed() > Duration::from_secs(5) => wait_ms = FIRST_WAIT_MS,
            Ok(()) => {}
            Err(why) => {
                tracing::info!(peer = peer.device.short(), url = %peer.url, wait_ms, "not connected: {why}")
            }
        }
        let jitter = shared.random.below(wait_ms / 2 + 1);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(wait_ms / 2 + jitter)) => {}
        }
        wait_ms = (wait_ms * 2).min(LONGEST_WAIT_MS);
    }
}
