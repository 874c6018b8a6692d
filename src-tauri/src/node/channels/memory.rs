//! What a bot remembers of its messages over a restart, and which emergency stops were carried out. It must not know what
//! the messages are.

use rusqlite::Connection;

use super::Channels;
pub use crate::adapters::store::chat_memory::Memory;
use crate::adapters::store::{Class, channels, chat_memory};
use crate::domain::base::{Refusal, TimeMs};
use crate::domain::gate::ChannelKind;
use crate::node::context::{DURABLE, store_refusal};

impl Channels {
    /// Remembers and forgets for a bot; it survives the end of the process.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn remember(
        &self,
        kind: ChannelKind,
        bot: &str,
        all: Vec<Memory>,
    ) -> Result<(), Refusal> {
        let (bot, now) = (format!("{kind}.{bot}"), self.now());
        let work = move |conn: &Connection| chat_memory::remember(conn, &bot, &all, now);
        let done = self.store.write(Class::Relaxed, "chat memory", work).await;
        done.map_err(|e| store_refusal(&e))
    }

    /// What a bot remembers: names and records.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn recall(
        &self,
        kind: ChannelKind,
        bot: &str,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let (bot, now) = (format!("{kind}.{bot}"), self.now());
        let read = move |conn: &Connection| chat_memory::recall(conn, &bot, now);
        let all = self.store.read("chat memory", read).await;
        all.map_err(|e| store_refusal(&e))
    }

    /// Notes that the emergency stop of an update was carried out; on disk before it returns.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn note_stop(
        &self,
        kind: ChannelKind,
        bot: &str,
        update: i64,
    ) -> Result<(), Refusal> {
        let (bot, now) = (bot.to_owned(), self.now());
        let work = move |conn: &Connection| channels::note_stop(conn, kind, &bot, update, now);
        let done = self.store.write(DURABLE, "channel stop", work).await;
        done.map_err(|e| store_refusal(&e))
    }

    /// The updates whose emergency stops were carried out, and when.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn stops(&self, kind: ChannelKind, bot: &str) -> Result<Vec<(i64, TimeMs)>, Refusal> {
        let bot = bot.to_owned();
        let read = move |conn: &Connection| channels::stops(conn, kind, &bot);
        let all = self.store.read("channel stops", read).await;
        all.map_err(|e| store_refusal(&e))
    }
}
