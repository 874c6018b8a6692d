//! One connection of a Slack app: opened with a ticket, kept alive, read envelope by envelope.

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Request;
use hyper::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::super::{Fault, Patience};
use crate::adapters::http_client::{Address, Wire, dial};
use crate::domain::base::limits::{
    SLACK_ENVELOPE_MAX_BYTES, SLACK_GOODBYE_MS, SLACK_PING_MS, SLACK_SILENT_MS,
};

/// A connection.
pub(super) struct Socket {
    stream: WebSocketStream<Box<dyn Wire>>,
    heard: Instant,
    asked: bool,
    /// When it began.
    pub since: Instant,
    /// Whether Slack is about to end it.
    pub ends: bool,
}

/// What was read.
pub(super) enum Next {
    /// A text.
    Text(Utf8Bytes),
    /// Nothing in time.
    Nothing,
    /// The connection is over; why.
    Gone(String),
}

fn settings() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(SLACK_ENVELOPE_MAX_BYTES))
        .max_frame_size(Some(SLACK_ENVELOPE_MAX_BYTES))
}

impl Socket {
    /// Connects; the path has a ticket in it and is not repeated.
    pub(super) async fn open(
        address: &Address,
        path: &str,
        ca: Option<&Path>,
        patience: Patience,
    ) -> Result<Self, Fault> {
        let about = address.authority();
        let lost = |why: String| Fault::Lost(format!("{about} {why}"));
        let scheme = if address.tls { "wss" } else { "ws" };
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
            .map_err(|_| lost("cannot be asked: no request can be made".to_owned()))?;
        let wire = match timeout(patience.connect, dial(address, ca)).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => return Err(lost(format!("cannot be reached: {error}"))),
            Err(_) => return Err(lost("does not take a connection".to_owned())),
        };
        let shaken = client_async_with_config(request, wire, Some(settings()));
        match timeout(patience.answer, Box::pin(shaken)).await {
            Ok(Ok((stream, _))) => Ok(Self {
                stream,
                heard: Instant::now(),
                asked: false,
                since: Instant::now(),
                ends: false,
            }),
            Ok(Err(WsError::Http(answer))) => {
                Err(lost(format!("answers {}", answer.status().as_u16())))
            }
            Ok(Err(_)) => Err(lost("broke the connection off".to_owned())),
            Err(_) => Err(lost("has not answered in time".to_owned())),
        }
    }

    /// The next text, until a moment; what is there already also after it.
    pub(super) async fn next(&mut self, until: Instant) -> Next {
        loop {
            let silent = self.heard.elapsed();
            if silent >= Duration::from_millis(SLACK_SILENT_MS) {
                return Next::Gone("Slack's connection is silent".to_owned());
            }
            let limit = if self.asked {
                SLACK_SILENT_MS
            } else {
                SLACK_PING_MS
            };
            let wake = until.min(self.heard + Duration::from_millis(limit));
            match timeout_at(wake, self.stream.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    self.is_heard();
                    return Next::Text(text);
                }
                Ok(Some(Ok(Message::Close(_)))) | Ok(None) => {
                    return Next::Gone("Slack has ended the connection".to_owned());
                }
                Ok(Some(Ok(_))) => self.is_heard(),
                Ok(Some(Err(WsError::Capacity(_)))) => {
                    return Next::Gone("Slack sent an envelope that is too large".to_owned());
                }
                Ok(Some(Err(_))) => {
                    return Next::Gone("the connection to Slack broke off".to_owned());
                }
                Err(_) if Instant::now() < until && !self.asked => {
                    self.asked = true;
                    if !self.put(Message::Ping(Vec::new().into())).await {
                        return Next::Gone("the connection to Slack broke off".to_owned());
                    }
                }
                Err(_) => {}
            }
            if Instant::now() >= until {
                return Next::Nothing;
            }
        }
    }

    fn is_heard(&mut self) {
        (self.heard, self.asked) = (Instant::now(), false);
    }

    async fn put(&mut self, message: Message) -> bool {
        let within = Duration::from_millis(SLACK_GOODBYE_MS);
        matches!(timeout(within, self.stream.send(message)).await, Ok(Ok(())))
    }

    /// Acknowledges an envelope; whether it could be sent.
    pub(super) async fn acknowledge(&mut self, envelope: &str) -> bool {
        let word = serde_json::json!({"envelope_id": envelope});
        self.put(Message::text(word.to_string())).await
    }

    /// Ends it, so that what was acknowledged has arrived.
    pub(super) async fn goodbye(mut self) {
        let end = async {
            if self.stream.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        // Slack may leave the connection open after its word: it is dropped then.
        let _ = timeout(Duration::from_millis(SLACK_GOODBYE_MS), end).await;
    }
}
