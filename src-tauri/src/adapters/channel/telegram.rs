//! A Telegram bot, asked by long polling: no address of this node needs to be reachable. One request is one connection. The
//! token stands in the path of each request, as the Bot API wants it, and in nothing that is said about one.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::api::{Call, Patience, api_of, ask};
use super::{BotName, Chats, Done, Fault, Message, Update, reading};
use crate::adapters::http_client::Address;
use crate::domain::base::limits::CHAT_UPDATES_MAX;

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
        let path = Zeroizing::new(format!(
            "{}/bot{}/{method}",
            self.address.path,
            self.token.as_str()
        ));
        let call = Call {
            address: &self.address,
            ca: self.ca.as_deref(),
            path: &path,
            bearer: false,
            token: &self.token,
            body,
        };
        let answer = ask(&call, self.patience, wait).await?;
        reading::result(answer.status, &answer.body, &self.address.to_string())
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
