//! One connection to a gateway: opened within limits, its messages as JSON.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Request;
use hyper::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::reading::said;
use crate::adapters::http_client::{Address, Wire, dial};
use crate::domain::base::limits::{
    GATEWAY_ANSWER_MS, GATEWAY_CONNECT_MS, GATEWAY_MESSAGE_MAX_BYTES, GATEWAY_SEND_MS,
    JSON_MAX_DEPTH,
};

/// A connection.
pub(super) struct Link {
    stream: WebSocketStream<Box<dyn Wire>>,
    asked: u64,
    /// When something came last.
    pub heard: Instant,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gone {
    /// It broke off.
    Lost(String),
    /// The gateway said that it ends, or starts again.
    Closes,
    /// A message was larger than is read.
    TooLarge,
}

impl Gone {
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Lost(why) => why.clone(),
            Self::Closes => "the gateway ends or starts again".to_owned(),
            Self::TooLarge => format!(
                "the gateway sent a message of more than {} MiB, which is not read",
                GATEWAY_MESSAGE_MAX_BYTES / 1_048_576
            ),
        }
    }
}

fn lost(why: impl Into<String>) -> Gone {
    Gone::Lost(why.into())
}

fn settings() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1_024)
        .max_message_size(Some(GATEWAY_MESSAGE_MAX_BYTES))
        .max_frame_size(Some(GATEWAY_MESSAGE_MAX_BYTES))
}

/// Whether nothing is nested deeper than is read anywhere else.
fn is_flat(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(all) => left > 0 && all.iter().all(|v| is_flat(v, left - 1)),
        Value::Object(all) => left > 0 && all.values().all(|v| is_flat(v, left - 1)),
        _ => true,
    }
}

impl Link {
    /// Connects.
    pub(super) async fn open(address: &Address) -> Result<Self, Gone> {
        let about = address.authority();
        let scheme = if address.tls { "wss" } else { "ws" };
        let path = if address.path.is_empty() {
            "/"
        } else {
            &address.path
        };
        let request = Request::builder()
            .uri(format!("{scheme}://{about}{path}"))
            .header(HOST, about.as_str())
            .header(
                USER_AGENT,
                concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
            )
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key())
            .body(())
            .map_err(|_| lost("the address makes no request"))?;
        let within = Duration::from_millis(GATEWAY_CONNECT_MS);
        let wire = match timeout(within, dial(address, None)).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => return Err(lost(format!("{about} cannot be reached: {error}"))),
            Err(_) => return Err(lost(format!("{about} does not take a connection"))),
        };
        let shaken = client_async_with_config(request, wire, Some(settings()));
        match timeout(Duration::from_millis(GATEWAY_ANSWER_MS), Box::pin(shaken)).await {
            Ok(Ok((stream, _))) => Ok(Self {
                stream,
                asked: 0,
                heard: Instant::now(),
            }),
            Ok(Err(WsError::Http(answer))) => Err(lost(format!(
                "{about} answers {}, which is no gateway's answer",
                answer.status().as_u16()
            ))),
            Ok(Err(_)) => Err(lost(format!("{about} is no gateway, or broke off"))),
            Err(_) => Err(lost(format!("{about} has not answered in time"))),
        }
    }

    /// The next message that reads.
    pub(super) async fn next(&mut self) -> Result<Value, Gone> {
        loop {
            let next = self.stream.next().await;
            self.heard = Instant::now();
            match next {
                Some(Ok(Message::Text(text))) => {
                    // What does not read is nothing that was asked for.
                    let read = serde_json::from_str::<Value>(&text).ok();
                    if let Some(value) = read.filter(|v| is_flat(v, JSON_MAX_DEPTH)) {
                        return Ok(value);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let Some(frame) = frame else {
                        return Err(lost("the gateway closed the connection"));
                    };
                    return match u16::from(frame.code) {
                        1012 | 1001 => Err(Gone::Closes),
                        code => Err(lost(format!(
                            "the gateway closed the connection ({code} {})",
                            said(&frame.reason)
                        ))),
                    };
                }
                None => return Err(lost("the gateway closed the connection")),
                Some(Ok(_)) => {}
                Some(Err(WsError::Capacity(_))) => return Err(Gone::TooLarge),
                Some(Err(_)) => return Err(lost("the connection to the gateway broke off")),
            }
        }
    }

    /// Sends a request; its id.
    pub(super) async fn ask(&mut self, method: &str, params: Value) -> Result<String, Gone> {
        self.asked += 1;
        let id = format!("cm{}", self.asked);
        let message = json!({"type": "req", "id": id, "method": method, "params": params});
        let within = Duration::from_millis(GATEWAY_SEND_MS);
        let sent = self.stream.send(Message::text(message.to_string()));
        match timeout(within, sent).await {
            Ok(Ok(())) => Ok(id),
            _ => Err(lost("the gateway takes no messages")),
        }
    }

    /// The answer to a request, before anything else is asked.
    pub(super) async fn answer(&mut self, id: &str) -> Result<Value, Gone> {
        let read = async {
            loop {
                let message = self.next().await?;
                if message["type"] == "res" && message["id"] == id {
                    return Ok(message);
                }
            }
        };
        match timeout(Duration::from_millis(GATEWAY_ANSWER_MS), read).await {
            Ok(read) => read,
            Err(_) => Err(lost("the gateway has not answered in time")),
        }
    }

    /// The first message, within the time for it.
    pub(super) async fn first(&mut self) -> Result<Value, Gone> {
        match timeout(Duration::from_millis(GATEWAY_ANSWER_MS), self.next()).await {
            Ok(read) => read,
            Err(_) => Err(lost("the gateway has not said anything in time")),
        }
    }

    /// Ends it.
    pub(super) async fn close(mut self) {
        let within = Duration::from_millis(GATEWAY_SEND_MS.min(1_000));
        let _ = timeout(within, self.stream.close(None)).await;
    }
}
