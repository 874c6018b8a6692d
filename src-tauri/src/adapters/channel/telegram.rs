//! A Telegram bot, asked by long polling: no address of this node needs to be reachable. One request is one connection. The
//! token stands in the path of each request, as the Bot API wants it, and in nothing that is said about one.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use serde_json::{Value, json};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{BotName, Chats, Done, Fault, Message, Update, reading};
use crate::adapters::http_client::{Address, Reach, begin, dial, over};
use crate::domain::base::limits::{
    CHAT_ANSWER_MAX_BYTES, CHAT_CONNECT_MS, CHAT_REQUEST_MS, CHAT_UPDATES_MAX,
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

/// Whether a text has the form of a bot's token: a number, a colon and a word of letters, digits, `-` and `_`.
///
/// # Errors
/// How one looks; the text is not repeated.
pub fn token_of(text: &str) -> Result<Zeroizing<String>, String> {
    let text = text.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let good = text.split_once(':').is_some_and(|(number, word)| {
        (1..=20).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && (20..=128).contains(&word.len())
            && word.bytes().all(plain)
    });
    match good {
        true => Ok(Zeroizing::new(text.to_owned())),
        false => Err("the credential channel/telegram is no token of a bot: one looks like 123456:ABC-DEF…, as @BotFather gives it".to_owned()),
    }
}

/// See the module.
pub struct Telegram {
    address: Address,
    ca: Option<PathBuf>,
    token: Zeroizing<String>,
    patience: Patience,
}

impl std::fmt::Debug for Telegram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Telegram({})", self.address)
    }
}

impl Telegram {
    /// The bot of this token at a Bot API server; `ca` has the authorities that prove one of one's own.
    ///
    /// # Errors
    /// For a token that is none, and a server that is neither on this machine nor over TLS.
    pub fn new(
        api: &str,
        ca: Option<PathBuf>,
        token: &str,
        patience: Patience,
    ) -> Result<Self, String> {
        let address = api_of(api)?;
        Ok(Self {
            address,
            ca,
            token: token_of(token)?,
            patience,
        })
    }

    async fn ask(&self, method: &str, body: &Value, wait: Duration) -> Result<Value, Fault> {
        let about = self.address.to_string();
        let lost = |why: String| Fault::Lost(format!("{about} {why}"));
        let path = Zeroizing::new(format!(
            "{}/bot{}/{method}",
            self.address.path,
            self.token.as_str()
        ));
        let request = Request::builder()
            .method("POST")
            .uri(path.as_str())
            .header(HOST, self.address.authority())
            .header(
                USER_AGENT,
                concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
            )
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(Full::new(Bytes::from(body.to_string())))
            // What is wrong with a request may repeat its path.
            .map_err(|_| lost("cannot be asked: no request can be made".to_owned()))?;
        let dialed = dial(&self.address, self.ca.as_deref());
        let wire = match timeout(self.patience.connect, dialed).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => return Err(lost(format!("cannot be reached: {error}"))),
            Err(_) => return Err(lost("does not take a connection".to_owned())),
        };
        let (mut sender, connection) = begin(wire)
            .await
            .map_err(|_| lost("broke the connection off".to_owned()))?;
        let exchange = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|_| lost("broke the connection off".to_owned()))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), CHAT_ANSWER_MAX_BYTES).collect();
            let body = body.await.map_err(|_| {
                lost("broke off in its answer, or its answer is too large".to_owned())
            })?;
            // What a server or a proxy says of a request may repeat its path.
            let body = without(&body.to_bytes(), &self.token);
            reading::result(status, &body, &about)
        };
        match timeout(self.patience.answer + wait, over(connection, exchange)).await {
            Ok(done) => done,
            Err(_) => Err(lost("has not answered in time".to_owned())),
        }
    }

    async fn simply(&self, method: &str, body: &Value) -> Result<Value, Fault> {
        self.ask(method, body, Duration::ZERO).await
    }

    fn odd(&self, what: &str) -> Fault {
        Fault::Lost(format!(
            "{} answers with {what} that does not read",
            self.address
        ))
    }
}

/// The address of a Bot API server.
fn api_of(api: &str) -> Result<Address, String> {
    let address = Address::parse(api)?;
    if !address.tls && address.reach() != Reach::Loopback {
        return Err(format!(
            "the token is not sent to {address}, where others on the way could read it; use https://, or a server on this machine"
        ));
    }
    Ok(address)
}

/// A chat as the server takes it: by its number.
fn number(chat: &str) -> Result<i64, Fault> {
    let number = chat.parse();
    number.map_err(|_| Fault::Refused("a chat has a number".to_owned()))
}

fn filled(body: &mut Value, message: &Message) {
    body["text"] = json!(message.text);
    body["link_preview_options"] = json!({"is_disabled": true});
    let button = |(text, data): &(String, String)| json!({"text": text, "callback_data": data});
    let rows: Vec<Vec<Value>> = message
        .buttons
        .iter()
        .map(|row| row.iter().map(button).collect())
        .collect();
    // A message that is edited without buttons loses those it had.
    if !rows.is_empty() {
        body["reply_markup"] = json!({"inline_keyboard": rows});
    }
}

impl Chats for Telegram {
    fn bot(&self) -> Done<'_, BotName> {
        Box::pin(async move {
            let told = self.simply("getMe", &json!({})).await?;
            reading::bot(&told).ok_or_else(|| self.odd("a bot"))
        })
    }

    fn updates(&self, from: i64, wait: Duration) -> Done<'_, Vec<Update>> {
        Box::pin(async move {
            let body = json!({
                "offset": from, "limit": CHAT_UPDATES_MAX, "timeout": wait.as_secs(),
                "allowed_updates": ["message", "callback_query"],
            });
            let told = self.ask("getUpdates", &body, wait).await?;
            Ok(reading::updates(&told))
        })
    }

    fn send<'a>(&'a self, chat: &'a str, message: &'a Message) -> Done<'a, i64> {
        Box::pin(async move {
            let mut body = json!({"chat_id": number(chat)?});
            filled(&mut body, message);
            let told = self.simply("sendMessage", &body).await?;
            let id = told.get("message_id").and_then(Value::as_i64);
            id.ok_or_else(|| self.odd("a message"))
        })
    }

    fn edit<'a>(&'a self, chat: &'a str, id: i64, message: &'a Message) -> Done<'a, ()> {
        Box::pin(async move {
            let mut body = json!({"chat_id": number(chat)?, "message_id": id});
            filled(&mut body, message);
            match self.simply("editMessageText", &body).await {
                Err(Fault::Refused(why)) if why.contains("message is not modified") => Ok(()),
                done => done.map(drop),
            }
        })
    }

    fn heard<'a>(&'a self, press: &'a str, text: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            let body = json!({"callback_query_id": press, "text": text});
            self.simply("answerCallbackQuery", &body).await.map(drop)
        })
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
