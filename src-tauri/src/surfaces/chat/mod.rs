//! A person talks with the node in a chat: commands, buttons, questions. The chat shows and asks the door; a decision is
//! signed by the key of the channel that the person gave, and its executor judges it. Nothing private is shown, and a chat
//! that is nobody's gets a refusal and nothing else.

mod alerts;
mod buttons;
mod commands;
mod lanes;
mod pace;
mod question;
mod stops;
mod talk;
mod told;
mod turn;
mod words;

use std::sync::Arc;
use std::time::Duration;

use self::buttons::Buttons;
use self::lanes::Ended;
use self::pace::{Pace, Pause};
use self::stops::Stops;
use self::told::Told;
use self::turn::InTurn;
use crate::adapters::channel::{BotName, Chats, Fault, Message};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{CHAT_PAUSE_MAX_MS, CHAT_WAIT_MAX_MS};
use crate::domain::gate::ChannelKind;
use crate::node::channels::Bot;
use crate::operator::Door;

/// Runs the bots of a node's configuration, each as a task of the node.
pub fn attach(door: &Door) {
    for kind in ChannelKind::ALL {
        if door.context().config.bot(kind).is_some() {
            let name = match kind {
                ChannelKind::Telegram => "telegram",
                ChannelKind::Slack => "slack",
            };
            door.attach(name, move |door| run(door, kind));
        }
    }
}

/// Runs the bot of a kind of the configuration. Where there is no token yet, or its server does not take it, it looks again
/// later.
pub async fn run(door: Door, kind: ChannelKind) {
    loop {
        match door.chats(kind).await {
            Ok(chats) => talk(&door, kind, chats).await,
            Err(why) => is_in_trouble(&door, kind, None, why),
        }
        tokio::time::sleep(Duration::from_millis(CHAT_PAUSE_MAX_MS)).await;
    }
}

/// Talks through a service until it does not take the token any more.
pub async fn talk(door: &Door, kind: ChannelKind, chats: Arc<dyn Chats>) {
    let mut pause = Pause::default();
    let bot = loop {
        match chats.bot().await {
            Ok(bot) => break bot,
            Err(fault) => {
                is_in_trouble(door, kind, None, fault.to_string());
                if matches!(fault, Fault::Token(_)) {
                    return;
                }
                tokio::time::sleep(pause.after(&fault)).await;
            }
        }
    };
    let answering = door.answering(kind);
    answering.runs(&bot.id).await;
    let chats = Arc::new(InTurn {
        chats,
        answering: answering.clone(),
    });
    let remembered = door.channel_recall(kind, &bot.id).await;
    let remembered = remembered.unwrap_or_else(|refusal| {
        tracing::warn!("what the bot remembers of its messages cannot be read: {refusal}");
        Vec::new()
    });
    let stops = door.channel_stops(kind, &bot.id).await;
    let stops = stops.unwrap_or_else(|refusal| {
        tracing::warn!("which stops of the bot were carried out cannot be read: {refusal}");
        Vec::new()
    });
    let talk = Arc::new(Talk {
        kind,
        door: door.clone(),
        chats,
        bot,
        buttons: Buttons::of(&remembered),
        pace: Pace::default(),
        told: Told::of(&remembered),
        stops: Stops::of(stops),
        asking: Default::default(),
    });
    while turn::begins(&talk).await {
        talk.door.channel_bot_hands(kind, true).await;
        let ended = tokio::select! {
            ended = lanes::poll(&talk) => ended,
            () = told::watch(&talk) => Ended::Lost,
            () = alerts::watch(&talk) => Ended::Lost,
        };
        talk.chats.leave();
        talk.door.channel_bot_hands(kind, false).await;
        if matches!(ended, Ended::Token) {
            answering.lets_go();
            return;
        }
    }
    talk.chats.leave();
}

fn problem(talk: &Talk, why: String) {
    is_in_trouble(&talk.door, talk.kind, Some(talk.bot.name.clone()), why);
}

fn is_in_trouble(door: &Door, kind: ChannelKind, name: Option<String>, why: String) {
    tracing::warn!("the {} bot: {why}", kind.title());
    let bot = Bot {
        name,
        problem: Some(why),
        stands_by: None,
    };
    door.channel_bot_is(kind, bot);
}

/// Whether a message waits for a server that wants to be left alone for so long.
fn soon(wait: Duration) -> bool {
    wait <= Duration::from_millis(CHAT_WAIT_MAX_MS)
}

/// One bot that talks.
struct Talk {
    kind: ChannelKind,
    door: Door,
    chats: Arc<dyn Chats>,
    bot: BotName,
    buttons: Buttons,
    pace: Pace,
    told: Told,
    stops: Stops,
    /// Accounts whose question is being answered.
    asking: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

impl Talk {
    fn now(&self) -> TimeMs {
        self.door.context().now()
    }

    /// Writes down what buttons mean and what was told where, so that it counts after a restart.
    async fn remember(&self) {
        let mut all = self.buttons.changes();
        all.extend(self.told.changes(self.now()));
        if all.is_empty() {
            return;
        }
        let kept = self
            .door
            .channel_remember(self.kind, &self.bot.id, all)
            .await;
        if let Err(refusal) = kept {
            tracing::warn!("what the bot shows will not be known after a restart: {refusal}");
        }
    }

    /// Sends a text in as many messages as it needs, the buttons under the last. A server that says so is left alone for a
    /// while, and where it wants longer the message is not sent; one whose fate is not known is not sent again.
    async fn say(&self, chat: &str, message: Message) -> Option<i64> {
        self.remember().await;
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
                Err(Fault::Later(wait)) if soon(wait) => tokio::time::sleep(wait).await,
                Err(fault) => {
                    tracing::warn!(
                        "a message of the {} bot was not sent: {fault}",
                        self.kind.title()
                    );
                    return None;
                }
            }
        }
        None
    }

    /// Sends a text in as many messages as it needs, the buttons under the last, and waits for nothing.
    async fn send(&self, chat: &str, message: Message) -> Result<i64, Fault> {
        self.remember().await;
        let mut parts = words::split(&message.text);
        let text = parts.pop().unwrap_or_default();
        for part in parts {
            self.chats.send(chat, &Message::text(part)).await?;
        }
        let buttons = message.buttons;
        self.chats.send(chat, &Message { text, buttons }).await
    }

    /// Sends one message, and waits for nothing: to strangers, and after an emergency stop.
    async fn say_now(&self, chat: &str, text: &str) {
        let first = words::split(text).into_iter().next().unwrap_or_default();
        if let Err(fault) = self.chats.send(chat, &Message::text(first)).await {
            tracing::warn!(
                "a message of the {} bot was not sent: {fault}",
                self.kind.title()
            );
        }
    }

    async fn change(&self, chat: &str, id: i64, message: &Message) {
        self.remember().await;
        for _ in 0..3 {
            match self.chats.edit(chat, id, message).await {
                Ok(()) => return,
                Err(Fault::Later(wait)) if soon(wait) => tokio::time::sleep(wait).await,
                Err(fault) => {
                    tracing::info!(
                        "a message of the {} bot was not changed: {fault}",
                        self.kind.title()
                    );
                    return;
                }
            }
        }
    }
}
