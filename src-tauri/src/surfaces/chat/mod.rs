//! A person talks with the node in a chat: commands, buttons, questions. The chat shows and asks the door; a decision is
//! signed by the key of the channel that the person gave, and its executor judges it. Nothing private is shown, and a chat
//! that is nobody's gets a refusal and nothing else.

mod buttons;
mod pace;
mod question;
mod talk;
mod told;
mod words;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use self::buttons::Buttons;
use self::pace::{Pace, Pause};
use self::told::Told;
use crate::adapters::channel::{BotName, Chats, Fault, Message, Update};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{CHAT_BUSY_MAX, CHAT_PAUSE_MAX_MS};
use crate::domain::gate::ChannelKind;
use crate::node::channels::Bot;
use crate::operator::Door;

const KIND: ChannelKind = ChannelKind::Telegram;

/// Runs the bot of a node's configuration as a task of the node, if it has one.
pub fn attach(door: &Door) {
    if door.context().config.telegram.is_some() {
        door.attach("telegram", run);
    }
}

/// Runs the bot of the configuration. Where there is no token yet, or its server does not take it, it looks again later.
pub async fn run(door: Door) {
    loop {
        match door.telegram().await {
            Ok(telegram) => talk(&door, Arc::new(telegram)).await,
            Err(why) => problem(&door, None, why),
        }
        tokio::time::sleep(Duration::from_millis(CHAT_PAUSE_MAX_MS)).await;
    }
}

/// Talks through a service until it does not take the token any more.
pub async fn talk(door: &Door, chats: Arc<dyn Chats>) {
    let mut pause = Pause::default();
    let bot = loop {
        match chats.bot().await {
            Ok(bot) => break bot,
            Err(fault) => {
                problem(door, None, fault.to_string());
                if matches!(fault, Fault::Token(_)) {
                    return;
                }
                tokio::time::sleep(pause.after(&fault)).await;
            }
        }
    };
    well(door, &bot);
    let talk = Talk {
        door: door.clone(),
        chats,
        bot,
        buttons: Buttons::default(),
        pace: Pace::default(),
        told: Told::default(),
        asking: Default::default(),
    };
    tokio::select! {
        () = poll(&talk) => {}
        () = told::watch(&talk) => {}
    }
}

fn problem(door: &Door, name: Option<String>, why: String) {
    tracing::warn!("the Telegram bot: {why}");
    door.channel_bot_is(Some(Bot {
        name,
        problem: Some(why),
    }));
}

fn well(door: &Door, bot: &BotName) {
    door.channel_bot_is(Some(Bot {
        name: Some(bot.name.clone()),
        problem: None,
    }));
}

/// One bot that talks.
struct Talk {
    door: Door,
    chats: Arc<dyn Chats>,
    bot: BotName,
    buttons: Buttons,
    pace: Pace,
    told: Told,
    /// Accounts whose question is being answered.
    asking: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

impl Talk {
    fn now(&self) -> TimeMs {
        self.door.context().now()
    }

    /// Sends a text in as many messages as it needs, the buttons under the last. A server that says so is left alone; a
    /// message whose fate is not known is not sent again.
    async fn say(&self, chat: &str, message: Message) -> Option<i64> {
        let mut parts = words::split(&message.text);
        let last = parts.pop()?;
        for part in parts {
            self.deliver(chat, &Message::text(part)).await?;
        }
        let message = Message {
            text: last,
            buttons: message.buttons,
        };
        self.deliver(chat, &message).await
    }

    async fn deliver(&self, chat: &str, message: &Message) -> Option<i64> {
        for _ in 0..3 {
            match self.chats.send(chat, message).await {
                Ok(id) => return Some(id),
                Err(Fault::Later(wait)) => tokio::time::sleep(wait).await,
                Err(fault) => {
                    tracing::warn!("a message of the Telegram bot was not sent: {fault}");
                    return None;
                }
            }
        }
        None
    }

    async fn change(&self, chat: &str, id: i64, message: &Message) {
        for _ in 0..3 {
            match self.chats.edit(chat, id, message).await {
                Ok(()) => return,
                Err(Fault::Later(wait)) => tokio::time::sleep(wait).await,
                Err(fault) => {
                    tracing::info!("a message of the Telegram bot was not changed: {fault}");
                    return;
                }
            }
        }
    }
}

/// Takes updates and answers them, each once: that one was taken is on disk before it is answered. Ends where the server
/// does not take the token any more.
async fn poll(talk: &Talk) {
    let mut pause = Pause::default();
    let mut next = loop {
        match talk.door.channel_next_update(KIND, &talk.bot.id).await {
            Ok(next) => break next,
            Err(refusal) => tracing::error!("the updates of the bot cannot be counted: {refusal}"),
        }
        tokio::time::sleep(Duration::from_millis(CHAT_PAUSE_MAX_MS)).await;
    };
    let ask = |from: i64, wait: Duration| {
        let chats = talk.chats.clone();
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            chats.updates(from).await
        })
    };
    let mut asked = ask(next, Duration::ZERO);
    let mut busy = FuturesUnordered::new();
    loop {
        let answer = tokio::select! {
            answer = &mut asked => answer,
            Some(()) = busy.next() => continue,
        };
        let mut wait = Duration::ZERO;
        match answer {
            Ok(updates) => {
                if !matches!(talk.door.channel_bot(), Some(Bot { problem: None, .. })) {
                    well(&talk.door, &talk.bot);
                }
                pause = Pause::default();
                for update in updates {
                    if !take(talk, &update).await {
                        continue;
                    }
                    next = update.id.saturating_add(1);
                    if busy.len() >= CHAT_BUSY_MAX {
                        busy.next().await;
                    }
                    busy.push(talk::answer(talk, update));
                }
            }
            Err(fault) => {
                problem(&talk.door, Some(talk.bot.name.clone()), fault.to_string());
                if matches!(fault, Fault::Token(_)) {
                    return;
                }
                wait = pause.after(&fault);
            }
        }
        asked = ask(next, wait);
    }
}

/// Whether an update is new here. One that cannot be written down is not answered: it may come again.
async fn take(talk: &Talk, update: &Update) -> bool {
    let taken = talk.door.channel_take_update(KIND, &talk.bot.id, update.id);
    match taken.await {
        Ok(new) => new,
        Err(refusal) => {
            tracing::error!("an update of the bot is not answered: {refusal}");
            false
        }
    }
}
