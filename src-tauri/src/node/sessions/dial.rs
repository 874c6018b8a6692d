//! The dialing side: reaches the very device it means, and comes back to it when it is gone.

use std::time::Duration;

use serde_json::{Value, json};

use super::{introduction, life, nonce, recognise, say};
use crate::adapters::transport::{Posture, Received, SocketReader, SocketWriter};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::HANDSHAKE_DEADLINE_MS;
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Hello;
use crate::node::config::StaticPeer;
use crate::node::ingress::Ingress;
use crate::node::links::PeerInfo;
use crate::node::shared::Shared;

/// How long a peer may take to accept a connection and upgrade it.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

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
        Ok((link, lanes)) => {
            life::run(shared.clone(), ingress.clone(), link, reader, writer, lanes).await;
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
