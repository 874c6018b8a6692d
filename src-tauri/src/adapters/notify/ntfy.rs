//! ntfy: one JSON document to the root of a server, which passes it to whoever has subscribed to its topic (docs.ntfy.sh,
//! "Publish as JSON"). One message is one request on a connection of its own; it is sent once, and redirects are not followed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Notice, Notifier, Telling, Untold};
use crate::adapters::http_client::{Address, begin, dial, over};
use crate::domain::base::Severity;
use crate::domain::base::limits::{
    NOTIFY_ANSWER_MAX_BYTES, NOTIFY_PAUSE_MAX_MS, NTFY_MESSAGE_MAX_BYTES,
};
use crate::domain::base::text::one_line;

/// Gives the token of a server when a message is sent, or says why there is none.
pub type Token = Arc<dyn Fn() -> Result<Zeroizing<String>, String> + Send + Sync>;

/// A topic of an ntfy server.
pub struct Ntfy {
    address: Address,
    /// A PEM file of the authorities to be trusted instead of the system's.
    ca: Option<PathBuf>,
    topic: String,
    token: Option<Token>,
}

/// Whether a text is a topic: 1 to 64 letters, digits, `-` and `_`.
///
/// # Errors
/// The fault, without the text: who knows a topic of a public server reads it.
pub fn check_topic(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(()),
        false => Err("topic: must have 1 to 64 letters, digits, - and _".to_owned()),
    }
}

/// As much of a text as a server passes on as a message: what is longer becomes an attachment, or is refused.
fn fitting(text: &str) -> &str {
    let most = text.len().min(NTFY_MESSAGE_MAX_BYTES);
    let parts = (0..=most).rev().find_map(|end| text.get(..end));
    parts.unwrap_or_default()
}

impl Ntfy {
    /// A topic of a server; nothing is asked yet.
    pub fn new(address: Address, ca: Option<PathBuf>, topic: String, token: Option<Token>) -> Self {
        Self {
            address,
            ca,
            topic,
            token,
        }
    }

    fn body(&self, notice: &Notice) -> Value {
        let (priority, tag) = match (notice.over, notice.severity) {
            (true, _) => (3, "white_check_mark"),
            (false, Severity::Critical) => (5, "rotating_light"),
            (false, Severity::Warning) => (4, "warning"),
            (false, Severity::Info) => (3, "information_source"),
        };
        json!({
            "topic": self.topic,
            "title": one_line(&notice.title, 200),
            "message": fitting(&notice.text),
            "priority": priority,
            "tags": [tag],
        })
    }

    async fn request(&self, notice: &Notice) -> Result<Request<Full<Bytes>>, Untold> {
        let mut built = Request::builder()
            .method("POST")
            .uri(format!("{}/", self.address.path))
            .header(HOST, self.address.authority())
            .header(
                USER_AGENT,
                concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
            )
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = self.token.clone() {
            // It may read a file.
            let token = tokio::task::spawn_blocking(move || token()).await;
            let token = token.map_err(|e| Untold::Lost(e.to_string()))?;
            let token = token.map_err(Untold::Refused)?;
            let proof = Zeroizing::new(format!("Bearer {}", token.trim()));
            let mut proof = HeaderValue::from_str(&proof)
                .map_err(|_| Untold::Refused("its token cannot stand in a request".to_owned()))?;
            proof.set_sensitive(true);
            built = built.header(AUTHORIZATION, proof);
        }
        let body = Full::new(Bytes::from(self.body(notice).to_string()));
        built
            .body(body)
            .map_err(|e| Untold::Refused(format!("no request can be made: {e}")))
    }

    async fn send(&self, notice: &Notice) -> Result<(), Untold> {
        let lost = |why: String| Untold::Lost(format!("{self} {why}"));
        let request = self.request(notice).await?;
        let wire = dial(&self.address, self.ca.as_deref()).await;
        let wire = wire.map_err(|e| lost(format!("cannot be reached: {e}")))?;
        let begun = begin(wire).await;
        let (mut sender, connection) = begun.map_err(|e| lost(e.to_string()))?;
        let exchange = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|e| lost(format!("broke the connection off: {e}")))?;
            let status = answer.status();
            if status != StatusCode::OK {
                let after = answer
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|v| v.to_str().ok());
                return Err(self.refusal(status, after.and_then(|text| text.parse().ok())));
            }
            let body = Limited::new(answer.into_body(), NOTIFY_ANSWER_MAX_BYTES).collect();
            let body = body
                .await
                .map_err(|e| lost(format!("broke off in its answer, or says too much: {e}")))?;
            self.arrived(&body.to_bytes())
        };
        over(connection, exchange).await
    }

    /// Whether an answer says that the server has the message: a server that is none answers with anything.
    fn arrived(&self, body: &[u8]) -> Result<(), Untold> {
        let said: Option<Value> = serde_json::from_slice(body).ok();
        let has = |name: &str| {
            said.as_ref()
                .and_then(|s| s.get(name))
                .and_then(Value::as_str)
        };
        match has("id").is_some_and(|id| !id.is_empty())
            && has("topic") == Some(self.topic.as_str())
        {
            true => Ok(()),
            false => Err(Untold::Refused(format!(
                "{self} does not answer as an ntfy server does; look at the URL"
            ))),
        }
    }

    fn refusal(&self, status: StatusCode, after_sec: Option<u64>) -> Untold {
        match status.as_u16() {
            429 => {
                let ms = after_sec.unwrap_or(60).saturating_mul(1_000);
                Untold::Later(Duration::from_millis(ms.clamp(1_000, NOTIFY_PAUSE_MAX_MS)))
            }
            401 | 403 => Untold::Refused(format!(
                "{self} does not let this node publish there (status {status}); look at topic and token"
            )),
            300..=399 => Untold::Refused(format!(
                "{self} sends on to another place (status {status}), which is not followed"
            )),
            400..=499 => Untold::Refused(format!("{self} refuses the message (status {status})")),
            _ => Untold::Lost(format!("{self} failed with status {status}")),
        }
    }
}

impl Notifier for Ntfy {
    fn tell<'a>(&'a self, notice: &'a Notice) -> Telling<'a> {
        Box::pin(self.send(notice))
    }
}

/// The server, without the topic.
impl fmt::Display for Ntfy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Debug for Ntfy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ntfy({})", self.address)
    }
}
