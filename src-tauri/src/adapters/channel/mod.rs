//! Chats: what is said to a bot and what it says. A channel carries texts and buttons; it must not know who may do what, or what a
//! text means. Texts are plain: no markup is interpreted, so none can be smuggled in.
//!
//! The clients are ours, over `http_client`. `teloxide-core` 0.13 was looked at: it stands on `reqwest`, which reads answers of any
//! size into memory, follows redirects with the token in the address, and would be a second version of it beside the desktop's.
//! `slack-morphism` 2.28 brings a stack of HTTP and TLS of its own, and acknowledges what it has handed to a callback.

mod api;
#[cfg(feature = "telegram")]
mod reading;
#[cfg(feature = "slack")]
mod slack;
#[cfg(feature = "telegram")]
mod telegram;
#[cfg(all(test, feature = "telegram"))]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::base::TimeMs;

pub use self::api::Patience;
#[cfg(feature = "slack")]
pub use self::slack::Slack;
#[cfg(feature = "telegram")]
pub use self::telegram::{Telegram, token_of};

/// Why something could not be done in a chat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server does not take the token.
    #[error("{0}")]
    Token(String),
    /// Another program asks for the updates of the same bot.
    #[error("another program polls this bot: end it, or give this node a bot of its own")]
    Conflict,
    /// The server wants to be left alone for so long.
    #[error("the server takes nothing more for {} s", .0.as_secs())]
    Later(Duration),
    /// The person does not want to hear from the bot.
    #[error("the person has blocked the bot, or never wrote to it")]
    Blocked,
    /// The server does not take what was sent.
    #[error("the server refused it: {0}")]
    Refused(String),
    /// Another node answers.
    #[error("another node answers this bot now")]
    Silent,
    /// The server cannot be reached, or its answer does not read.
    #[error("{0}")]
    Lost(String),
}

/// What a channel answers with.
pub type Done<'a, T> = BoxFuture<'a, Result<T, Fault>>;

/// A bot as its server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotName {
    /// What its server knows it by, which stays: letters, digits, `-` and `_`.
    pub id: String,
    /// Its name, by which people find it.
    pub name: String,
}

/// Where something was said, and by whom. A private chat is named as its account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The account.
    pub account: String,
    /// The chat.
    pub chat: String,
    /// Whether the chat is between the account and the bot alone.
    pub private: bool,
}

/// What came to a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A text.
    Said {
        /// The text, cut.
        text: String,
        /// Whether it is another's, passed on.
        forwarded: bool,
    },
    /// A button.
    Pressed {
        /// What the server wants back, so that the button stops waiting.
        press: String,
        /// The message under which it stands.
        message: i64,
        /// What the button carries.
        data: String,
    },
    /// Anything else.
    Other,
}

/// One update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its number, which it keeps when it comes again; above 0.
    pub id: i64,
    /// When it was sent, by the server's clock, where that says so.
    pub sent_at: Option<TimeMs>,
    /// Where and by whom, where the server says so.
    pub place: Option<Place>,
    /// What.
    pub what: What,
}

/// A message of the bot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The plain text.
    pub text: String,
    /// Rows of buttons: what each shows and carries.
    pub buttons: Vec<Vec<(String, String)>>,
}

impl Message {
    /// A text without buttons.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            buttons: Vec::new(),
        }
    }
}

/// A service in which a bot talks with persons.
pub trait Chats: Send + Sync + 'static {
    /// The bot.
    fn bot(&self) -> Done<'_, BotName>;

    /// The updates that the server has not forgotten, in the order in which they are to be answered; waits so long for one.
    /// With the number after the highest one of the last answer it first forgets what that answer had, and with 0 nothing.
    /// One of two that ask is told so: by [`Fault::Conflict`], or by [`Chats::others`].
    fn updates(&self, from: i64, wait: Duration) -> Done<'_, Vec<Update>>;

    /// Sends a message to a chat; returns its number.
    fn send<'a>(&'a self, chat: &'a str, message: &'a Message) -> Done<'a, i64>;

    /// Puts another text and other buttons into a message. One that is the same already is fine.
    fn edit<'a>(&'a self, chat: &'a str, id: i64, message: &'a Message) -> Done<'a, ()>;

    /// Says that a press was heard, with a short text.
    fn heard<'a>(&'a self, press: &'a str, text: &'a str) -> Done<'a, ()>;

    /// How many others took the updates of the same bot when this one began to, where the server counts them.
    fn others(&self) -> Option<u64> {
        None
    }

    /// Asks for no updates any more, so that the server gives them to another.
    fn leave(&self) {}
}
