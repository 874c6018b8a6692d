//! One request to the server of a chat over HTTP: a connection of its own, bounded in size and time. The token is in nothing
//! that is said about one.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use serde_json::Value;
use tokio::time::timeout;

use super::Fault;
use crate::adapters::http_client::{Address, Reach, begin, dial, over};
use crate::domain::base::limits::{
    CHAT_ANSWER_MAX_BYTES, CHAT_CONNECT_MS, CHAT_REQUEST_MS, CHAT_RETRY_MAX_MS,
};

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To be connected to.
    pub connect: Duration,
    /// To answer.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(CHAT_CONNECT_MS),
            answer: Duration::from_millis(CHAT_REQUEST_MS),
        }
    }
}

/// A request with a JSON body.
pub(super) struct Call<'a> {
    pub address: &'a Address,
    pub ca: Option<&'a Path>,
    /// What follows the host, which may have the token in it.
    pub path: &'a str,
    /// Whether the token stands in the head.
    pub bearer: bool,
    /// The token, which is left out of the answer wherever it stands in it.
    pub token: &'a str,
    pub body: &'a Value,
}

/// What a server answered.
pub(super) struct Answer {
    pub status: u16,
    /// How long the head wants it to be left alone, in seconds.
    #[cfg_attr(not(feature = "slack"), allow(dead_code))]
    pub retry_after: Option<u64>,
    pub body: Vec<u8>,
}

/// The address of a chat's server, to which a token may be sent.
pub(super) fn api_of(api: &str) -> Result<Address, String> {
    let address = Address::parse(api)?;
    if !address.tls && address.reach() != Reach::Loopback {
        return Err(format!(
            "the token is not sent to {address}, where others on the way could read it; use https://, or a server on this machine"
        ));
    }
    Ok(address)
}

/// A time that a server wants to be left alone, within bounds.
pub(super) fn later(seconds: u64) -> Fault {
    let ms = seconds
        .saturating_mul(1_000)
        .clamp(1_000, CHAT_RETRY_MAX_MS);
    Fault::Later(Duration::from_millis(ms))
}

fn request(call: &Call<'_>) -> Option<Request<Full<Bytes>>> {
    let kind = match call.bearer {
        true => "application/json; charset=utf-8",
        false => "application/json",
    };
    let mut request = Request::builder()
        .method("POST")
        .uri(call.path)
        .header(HOST, call.address.authority())
        .header(
            USER_AGENT,
            concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONTENT_TYPE, kind)
        .header(CONNECTION, "close");
    if call.bearer {
        let mut word = HeaderValue::from_str(&format!("Bearer {}", call.token)).ok()?;
        word.set_sensitive(true);
        request = request.header(AUTHORIZATION, word);
    }
    // What is wrong with a request may repeat its path.
    request
        .body(Full::new(Bytes::from(call.body.to_string())))
        .ok()
}

/// Asks, and waits so much longer for the answer.
///
/// # Errors
/// `Lost`, in words without the token.
pub(super) async fn ask(
    call: &Call<'_>,
    patience: Patience,
    wait: Duration,
) -> Result<Answer, Fault> {
    let about = call.address.to_string();
    let lost = |why: String| Fault::Lost(format!("{about} {why}"));
    let request =
        request(call).ok_or_else(|| lost("cannot be asked: no request can be made".to_owned()))?;
    let wire = match timeout(patience.connect, dial(call.address, call.ca)).await {
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => return Err(lost(format!("cannot be reached: {error}"))),
        Err(_) => return Err(lost("does not take a connection".to_owned())),
    };
    let broke = || lost("broke the connection off".to_owned());
    let (mut sender, connection) = begin(wire).await.map_err(|_| broke())?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|_| broke())?;
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER);
        let retry_after = after.and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let body = Limited::new(response.into_body(), CHAT_ANSWER_MAX_BYTES).collect();
        let body = body
            .await
            .map_err(|_| lost("broke off in its answer, or its answer is too large".to_owned()))?;
        Ok(Answer {
            status,
            retry_after,
            // What a server or a proxy says of a request may repeat its path.
            body: without(&body.to_bytes(), call.token),
        })
    };
    match timeout(patience.answer + wait, over(connection, exchange)).await {
        Ok(done) => done,
        Err(_) => Err(lost("has not answered in time".to_owned())),
    }
}

/// An answer without the token, wherever it stands in it.
pub(super) fn without(body: &[u8], token: &str) -> Vec<u8> {
    let token = token.as_bytes();
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.windows(token.len().max(1)).position(|w| w == token) {
        kept.extend_from_slice(&rest[..at]);
        kept.extend_from_slice(b"<token>");
        rest = &rest[at + token.len()..];
    }
    kept.extend_from_slice(rest);
    kept
}
