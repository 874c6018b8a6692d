//! The connections of the Slack server of tests.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{
    ErrorResponse, Request, Response as Shaken,
};

use super::{Envelope, Inside, Shared};

/// Gives what waits to the newest connection.
pub(super) fn deliver(i: &mut Inside) {
    let Some((number, socket)) = i.sockets.iter().next_back() else {
        return;
    };
    for envelope in i.waiting.iter_mut().filter(|e| e.on.is_none()) {
        i.names += 1;
        let name = format!("envelope-{}", i.names);
        let mut body = envelope.body.clone();
        body["envelope_id"] = json!(name);
        if envelope.tries > 0 {
            body["retry_attempt"] = json!(envelope.tries);
            body["retry_reason"] = json!("timeout");
        }
        envelope.tries += 1;
        envelope.on = Some((*number, name));
        let _ = socket.send(Frame::text(body.to_string()));
    }
}

#[allow(clippy::result_large_err)]
pub(super) async fn connected(shared: Arc<Shared>, stream: TcpStream) {
    let ticket = |request: &Request, response: Shaken| {
        let query = request.uri().query().unwrap_or_default();
        let ticket = query.strip_prefix("ticket=").unwrap_or_default();
        match shared.inside.lock().unwrap().tickets.remove(ticket) {
            true => Ok(response),
            false => Err(ErrorResponse::new(Some("no such ticket".to_owned()))),
        }
    };
    let Ok(mut socket) = accept_hdr_async(stream, ticket).await else {
        return;
    };
    let (tell, mut told) = unbounded_channel();
    let number = {
        let mut inside = shared.inside.lock().unwrap();
        inside.opened += 1;
        let number = inside.opened;
        let count = u64::try_from(inside.sockets.len()).unwrap() + 1 + inside.others;
        let hello = json!({"type": "hello", "num_connections": count, "connection_info": {"app_id": "A0SECRET"}});
        tell.send(Frame::text(hello.to_string())).unwrap();
        inside.sockets.insert(number, tell);
        deliver(&mut inside);
        number
    };
    loop {
        tokio::select! {
            frame = told.recv() => match frame {
                Some(frame) if socket.send(frame.clone()).await.is_ok() => {}
                _ => break,
            },
            frame = socket.next() => match frame {
                Some(Ok(Frame::Text(text))) => acknowledged(&shared, number, &text),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    let mut inside = shared.inside.lock().unwrap();
    inside.sockets.remove(&number);
    for envelope in &mut inside.waiting {
        if envelope.on.as_ref().is_some_and(|(on, _)| *on == number) {
            envelope.on = None;
        }
    }
    deliver(&mut inside);
}

fn acknowledged(shared: &Shared, number: u64, said: &str) {
    let mut inside = shared.inside.lock().unwrap();
    let word: Value = serde_json::from_str(said).unwrap_or_default();
    let name = word["envelope_id"].as_str().unwrap_or_default().to_owned();
    if word.as_object().is_none_or(|o| o.len() != 1) || name.is_empty() {
        inside.wrong.push(format!("no acknowledgement: {said}"));
        return;
    }
    let is_it = |e: &Envelope| {
        e.on.as_ref()
            .is_some_and(|(on, n)| *on == number && *n == name)
    };
    match inside.waiting.iter().position(is_it) {
        Some(at) => {
            let envelope = inside.waiting.remove(at).unwrap();
            if let Some(at) = envelope.body["payload"]["actions"][0]["action_ts"].as_str() {
                inside.presses.insert(at.to_owned(), name);
            }
            inside.acknowledged.push(envelope.body);
        }
        // An earlier copy of what came again.
        None if inside.names > 0 && name.starts_with("envelope-") => {}
        None => inside.wrong.push(format!("no such envelope: {name}")),
    }
}
