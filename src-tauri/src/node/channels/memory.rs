//! What a bot remembers of its messages over a restart. It must not know what that is.

use rusqlite::Connection;

use super::Channels;
pub use crate::adapters::store::chat_memory::Memory;
use crate::adapters::store::{Class, chat_memory};
use crate::domain::base::Refusal;
use crate::domain::gate::ChannelKind;
use crate::node::context::store_refusal;

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
}
