//! A Slack app in Socket Mode: requests over HTTP, and updates over a connection that this node opens, so that no address of it
//! needs to be reachable. Only who asks for updates is connected; an update is acknowledged when the next ones are asked for,
//! by when it is on disk. Both tokens are in nothing that is said about a request, and so is the ticket of a connection.

mod reading;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::reading::{Heard, Own, Read, escaped, moment, moment_text};
use self::socket::{Next, Socket};
use super::api::{Call, Patience, api_of, ask};
use super::{BotName, Chats, Done, Fault, Message, Update};
use crate::adapters::http_client::Address;
use crate::domain::base::limits::{
    CHAT_ACCOUNTS_MAX, CHAT_TEXT_MAX_CHARS, CHAT_UPDATES_MAX, SLACK_COPIES_MAX, SLACK_READ_MAX,
    SLACK_RECOUNT_MAX_MS, SLACK_RECOUNT_MS, SLACK_ROW_MAX, SLACK_ROWS_MAX,
};
use crate::domain::base::text::cut;

/// The credential with the token of the app's bot.
const BOT: &str = "channel/slack";
/// The credential with the token of the app itself, which opens connections.
const APP: &str = "channel/slack-app";

/// Whether a text has the form of a token: its beginning, and a word of letters, digits and `-`.
fn token_of(text: &str, start: &str, credential: &str) -> Result<Zeroizing<String>, String> {
    let text = text.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let word = text.strip_prefix(start).unwrap_or_default();
    match (16..=512).contains(&word.len()) && word.bytes().all(plain) {
        true => Ok(Zeroizing::new(text.to_owned())),
        false => Err(format!(
            "the credential {credential} is no token of a Slack app: one begins with {start}; docs/slack.md says where it is found"
        )),
    }
}

/// See the module.
pub struct Slack {
    address: Address,
    ca: Option<PathBuf>,
    app: Zeroizing<String>,
    bot: Zeroizing<String>,
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    own: Option<Own>,
    /// The connection, while nobody reads from it.
    socket: Option<Socket>,
    /// Counts how often it was left: a reader of before gives nothing back.
    left: u64,
    waiting: VecDeque<Waiting>,
    /// The direct message channels of users.
    rooms: BTreeMap<String, String>,
    others: Option<u64>,
    /// How often others were counted one after the other.
    counts: u32,
}

/// An update that is not acknowledged.
struct Waiting {
    envelopes: Vec<String>,
    update: Update,
    shown: bool,
}

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slack({})", self.address)
    }
}

impl Slack {
    /// The app of these tokens, its own and its bot's, at a server; `ca` has the authorities that prove one of one's own.
    ///
    /// # Errors
    /// For a token that is none, and a server that is neither on this machine nor over TLS.
    pub fn new(
        api: &str,
        ca: Option<PathBuf>,
        (app, bot): (&str, &str),
        patience: Patience,
    ) -> Result<Self, String> {
        Ok(Self {
            address: api_of(api)?,
            ca,
            app: token_of(app, "xapp-", APP)?,
            bot: token_of(bot, "xoxb-", BOT)?,
            patience,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, credential: &str, method: &str, body: &Value) -> Result<Value, Fault> {
        let token = if credential == APP {
            &self.app
        } else {
            &self.bot
        };
        let path = format!("{}/{method}", self.address.path);
        let call = Call {
            address: &self.address,
            ca: self.ca.as_deref(),
            path: &path,
            bearer: true,
            token,
            body,
        };
        let answer = ask(&call, self.patience, Duration::ZERO).await?;
        let head = (answer.status, answer.retry_after);
        let about = self.address.to_string();
        reading::result(head, &answer.body, &about, credential)
    }

    fn odd(&self, what: &str) -> Fault {
        Fault::Lost(format!(
            "{} answers with {what} that does not read",
            self.address
        ))
    }

    async fn own(&self) -> Result<Own, Fault> {
        if let Some(own) = self.state().own.clone() {
            return Ok(own);
        }
        let told = self.ask(BOT, "auth.test", &json!({})).await?;
        let own = reading::own(&told, reading::app_of(&self.app))?;
        self.state().own = Some(own.clone());
        Ok(own)
    }

    /// The direct message channel of an account.
    async fn room(&self, chat: &str) -> Result<String, Fault> {
        let own = self.own().await?;
        let user = chat.split_once(':').filter(|(team, _)| *team == own.team);
        let Some((_, user)) = user.filter(|(_, user)| reading::is_id(user)) else {
            let why = "a chat of this app is named by its workspace and a user";
            return Err(Fault::Refused(why.to_owned()));
        };
        if let Some(room) = self.state().rooms.get(user).cloned() {
            return Ok(room);
        }
        let body = json!({"users": user});
        let told = self.ask(BOT, "conversations.open", &body).await?;
        let room = told.get("channel").and_then(|c| c.get("id")?.as_str());
        let room = room.filter(|room| reading::is_id(room));
        let room = room.ok_or_else(|| self.odd("a channel"))?.to_owned();
        self.knows(user, &room);
        Ok(room)
    }

    fn knows(&self, user: &str, room: &str) {
        let mut state = self.state();
        if state.rooms.len() >= CHAT_ACCOUNTS_MAX && !state.rooms.contains_key(user) {
            state.rooms.clear();
        }
        state.rooms.insert(user.to_owned(), room.to_owned());
    }

    /// Opens a connection, beside an earlier one that still stands or not, and hears how many there are.
    async fn connect(&self, own: &Own, earlier: bool) -> Result<Socket, Fault> {
        let told = self.ask(APP, "apps.connections.open", &json!({})).await?;
        let url = told.get("url").and_then(Value::as_str);
        let url = Zeroizing::new(url.ok_or_else(|| self.odd("a connection"))?.to_owned());
        let (address, path) = reading::socket_of(&url, &self.address)?;
        let path = Zeroizing::new(path);
        let ca = self.ca.as_deref();
        let mut socket = Socket::open(&address, &path, ca, self.patience).await?;
        let end = Instant::now() + self.patience.answer;
        let count = match socket.next(end).await {
            Next::Text(said) => match reading::envelope(&said, own) {
                Read::Hello(count) => count,
                Read::Ends(why) => return Err(ended(&why)),
                _ => return Err(self.odd("a connection's first word")),
            },
            Next::Nothing => return Err(self.odd("nothing on a connection")),
            Next::Gone(why) => return Err(Fault::Lost(why)),
        };
        let others = count.map(|count| count.saturating_sub(1 + u64::from(earlier)));
        let mut state = self.state();
        state.counts = match others {
            Some(1..) => state.counts.saturating_add(1),
            _ => 0,
        };
        state.others = others;
        Ok(socket)
    }

    /// Whether a connection is to be replaced: Slack ends it, or others are to be counted anew.
    fn is_due(&self, socket: &Socket) -> bool {
        let counts = self.state().counts;
        let wait = SLACK_RECOUNT_MS
            .saturating_mul(1 << counts.saturating_sub(1).min(8))
            .min(SLACK_RECOUNT_MAX_MS);
        socket.ends || counts > 0 && socket.since.elapsed() >= Duration::from_millis(wait)
    }

    /// Takes what was read into the queue; whether it is an update. What concerns nobody is acknowledged.
    async fn take(&self, socket: &mut Socket, read: Read) -> Result<bool, Fault> {
        match read {
            Read::Update(envelope, heard) => {
                self.queue(envelope, *heard);
                return Ok(true);
            }
            Read::Other(envelope) => {
                if !socket.acknowledge(&envelope).await {
                    return Err(Fault::Lost("the connection to Slack broke off".to_owned()));
                }
            }
            Read::Ends(why) if matches!(why.as_str(), "warning" | "refresh_requested") => {
                socket.ends = true;
            }
            Read::Ends(why) => return Err(ended(&why)),
            Read::Hello(_) | Read::Nothing => {}
        }
        Ok(false)
    }

    fn queue(&self, envelope: String, heard: Heard) {
        self.knows(&heard.user, &heard.room);
        let mut state = self.state();
        let mut all = state.waiting.iter_mut();
        match all.find(|w| w.update.id == heard.update.id) {
            Some(known) if known.envelopes.len() >= SLACK_COPIES_MAX => {}
            Some(known) => known.envelopes.push(envelope),
            None => state.waiting.push_back(Waiting {
                envelopes: vec![envelope],
                update: heard.update,
                shown: false,
            }),
        }
    }

    /// The updates that wait, which are shown now.
    fn show(&self) -> Vec<Update> {
        let mut state = self.state();
        let each = state.waiting.iter_mut();
        each.map(|waiting| {
            waiting.shown = true;
            waiting.update.clone()
        })
        .collect()
    }

    /// Acknowledges what was shown. Where that does not reach Slack it comes again, and is known by its number.
    async fn confirm(&self, socket: Option<&mut Socket>) -> bool {
        let shown: Vec<String> = {
            let mut state = self.state();
            let all = std::mem::take(&mut state.waiting).into_iter();
            let (shown, rest): (VecDeque<_>, VecDeque<_>) = all.partition(|w| w.shown);
            state.waiting = rest;
            shown.into_iter().flat_map(|w| w.envelopes).collect()
        };
        let Some(socket) = socket else {
            return false;
        };
        for envelope in shown {
            if !socket.acknowledge(&envelope).await {
                return false;
            }
        }
        true
    }

    /// Replaces a connection that is due, or makes one where there is none.
    async fn renewed(&self, own: &Own, socket: Option<Socket>) -> Result<Socket, Fault> {
        match socket {
            Some(socket) if !self.is_due(&socket) => Ok(socket),
            Some(old) => {
                let new = self.connect(own, true).await?;
                old.goodbye().await;
                Ok(new)
            }
            None => self.connect(own, false).await,
        }
    }

    async fn heard_until(&self, own: &Own, until: Instant) -> Result<Vec<Update>, Fault> {
        let (left, socket) = {
            let mut state = self.state();
            (state.left, state.socket.take())
        };
        let mut socket = self.renewed(own, socket).await?;
        let mut until = until;
        for _ in 0..SLACK_READ_MAX {
            if self.state().waiting.len() >= CHAT_UPDATES_MAX {
                break;
            }
            match socket.next(until).await {
                Next::Text(said) => {
                    let read = reading::envelope(&said, own);
                    drop(said);
                    if self.take(&mut socket, read).await? || socket.ends {
                        // What came with it is taken too, and nothing waited for.
                        until = Instant::now();
                    }
                }
                Next::Nothing => break,
                Next::Gone(why) if self.state().waiting.is_empty() => return Err(Fault::Lost(why)),
                Next::Gone(_) => return Ok(self.show()),
            }
        }
        let mut state = self.state();
        if state.left == left {
            state.socket = Some(socket);
        }
        drop(state);
        Ok(self.show())
    }

    async fn confirmed(&self) {
        let (left, socket) = {
            let mut state = self.state();
            (state.left, state.socket.take())
        };
        let Some(mut socket) = socket else {
            self.confirm(None).await;
            return;
        };
        let sent = self.confirm(Some(&mut socket)).await;
        let mut state = self.state();
        if sent && state.left == left {
            state.socket = Some(socket);
        }
    }
}

/// Why a connection ended for another reason than that it is to be replaced.
fn ended(why: &str) -> Fault {
    Fault::Lost(match why {
        "link_disabled" => {
            "Socket Mode is turned off for the app: turn it on at api.slack.com/apps".to_owned()
        }
        "too_many_websockets" => {
            "the app has as many connections as Slack allows: other programs use its tokens"
                .to_owned()
        }
        _ => format!("Slack has ended the connection ({why})"),
    })
}

/// A message as Slack takes it. The text stands in a block that knows no markup, so that an action reads exactly as it is; what
/// notifications show is read as markup, and escaped.
fn filled(mut body: Value, message: &Message) -> Value {
    let section =
        json!({"type": "rich_text_section", "elements": [{"type": "text", "text": message.text}]});
    let mut blocks = vec![json!({"type": "rich_text", "elements": [section]})];
    for (row, buttons) in message.buttons.iter().take(SLACK_ROWS_MAX).enumerate() {
        let button = |(at, (text, data)): (usize, &(String, String))| {
            json!({
                "type": "button", "action_id": format!("b{row}.{at}"), "value": data,
                "text": {"type": "plain_text", "text": cut(text, 75), "emoji": false},
            })
        };
        let buttons = buttons.iter().take(SLACK_ROW_MAX).enumerate().map(button);
        let buttons: Vec<Value> = buttons.collect();
        if !buttons.is_empty() {
            blocks.push(json!({"type": "actions", "elements": buttons}));
        }
    }
    body["text"] = json!(escaped(&cut(&message.text, CHAT_TEXT_MAX_CHARS)));
    body["parse"] = json!("none");
    body["blocks"] = json!(blocks);
    body
}

impl Chats for Slack {
    fn bot(&self) -> Done<'_, BotName> {
        Box::pin(async move {
            let own = self.own().await?;
            Ok(BotName {
                id: format!("{}-{}", own.team, own.user).to_lowercase(),
                name: own.name,
            })
        })
    }

    fn updates(&self, from: i64, wait: Duration) -> Done<'_, Vec<Update>> {
        Box::pin(async move {
            let own = self.own().await?;
            if from != 0 {
                self.confirmed().await;
            }
            let until = match self.state().waiting.is_empty() {
                true => Instant::now() + wait,
                false => Instant::now(),
            };
            self.heard_until(&own, until).await
        })
    }

    fn send<'a>(&'a self, chat: &'a str, message: &'a Message) -> Done<'a, i64> {
        Box::pin(async move {
            let room = self.room(chat).await?;
            let body = json!({"channel": room, "unfurl_links": false, "unfurl_media": false});
            let body = filled(body, message);
            let told = self.ask(BOT, "chat.postMessage", &body).await?;
            let at = told.get("ts").and_then(Value::as_str).and_then(moment);
            at.ok_or_else(|| self.odd("a message"))
        })
    }

    fn edit<'a>(&'a self, chat: &'a str, id: i64, message: &'a Message) -> Done<'a, ()> {
        Box::pin(async move {
            let body = json!({"channel": self.room(chat).await?, "ts": moment_text(id)});
            let body = filled(body, message);
            self.ask(BOT, "chat.update", &body).await.map(drop)
        })
    }

    fn heard<'a>(&'a self, press: &'a str, text: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            // The press itself is acknowledged with its envelope.
            let Some((room, user)) = press.split_once(' ').filter(|_| !text.is_empty()) else {
                return Ok(());
            };
            let body =
                json!({"channel": room, "user": user, "text": escaped(text), "parse": "none"});
            self.ask(BOT, "chat.postEphemeral", &body).await.map(drop)
        })
    }

    fn others(&self) -> Option<u64> {
        self.state().others
    }

    fn leave(&self) {
        let gone = {
            let mut state = self.state();
            state.left += 1;
            state.others = None;
            state.counts = 0;
            // What was not acknowledged comes again, to whoever is connected then.
            state.waiting.clear();
            state.socket.take()
        };
        drop(gone);
    }
}
