//! The bots of this node, one of a kind: how each was last heard of, and the way to its server, with the tokens that are
//! credentials.

use std::sync::PoisonError;

use serde_json::json;

use super::Channels;
#[cfg(feature = "chat")]
use crate::adapters::channel::{Chats, Patience};
use crate::domain::base::{Severity, TimeMs};
use crate::domain::gate::ChannelKind;
use crate::node::context::Event;

/// A bot of this node, as it was last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bot {
    /// Its name, once its server told it.
    pub name: Option<String>,
    /// What stands in its way, in words.
    pub problem: Option<String>,
    /// Why this node does not answer, where another does or it looks whether one does.
    pub stands_by: Option<String>,
}

/// How it went with the server of a bot since this node began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// When the server answered last.
    pub heard_at: Option<TimeMs>,
    /// What went wrong last, and when.
    pub failed: Option<(TimeMs, String)>,
    /// Whether this node answered when that was told of last.
    answered: bool,
}

impl Channels {
    /// The bots that run here, and how each is.
    pub fn bots(&self) -> Vec<(ChannelKind, Bot, Contact)> {
        let bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
        bots.iter()
            .map(|(kind, (bot, contact))| (*kind, bot.clone(), contact.clone()))
            .collect()
    }

    /// Notes that the server of a bot has answered.
    pub fn bot_heard(&self, kind: ChannelKind) {
        let now = self.now();
        let mut bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
        bots.entry(kind).or_default().1.heard_at = Some(now);
    }

    /// Notes whether this node answers a bot; that it changes hands is an event.
    pub async fn bot_changes_hands(&self, kind: ChannelKind, answers: bool, who: Option<String>) {
        let name = {
            let mut bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
            let (bot, contact) = bots.entry(kind).or_default();
            if std::mem::replace(&mut contact.answered, answers) == answers {
                return;
            }
            bot.name.clone().unwrap_or_default()
        };
        let title = kind.title();
        let message = match (answers, &who) {
            (true, _) => format!("This node answers the {title} bot {name} from now on"),
            (false, Some(who)) => {
                format!("This node does not answer the {title} bot {name} any more; {who} does")
            }
            (false, None) => format!("This node does not answer the {title} bot {name} any more"),
        };
        let data =
            json!({"channel": kind.to_string(), "bot": name, "answers": answers, "who": who});
        self.journal
            .record(Event::ChannelHands, Severity::Info, &message, data)
            .await;
    }

    /// How the bot of a kind is; `None` where none runs here.
    pub fn bot(&self, kind: ChannelKind) -> Option<Bot> {
        let bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
        bots.get(&kind).map(|(bot, _)| bot.clone())
    }

    /// Notes how the bot of a kind is.
    pub fn bot_is(&self, kind: ChannelKind, bot: Bot) {
        let now = self.now();
        let mut bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, contact) = bots.entry(kind).or_default();
        if let Some(why) = &bot.problem {
            contact.failed = Some((now, why.clone()));
        }
        *known = bot;
    }

    /// The way to the server of the configured bot of a kind, with its tokens, which are read now.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    #[cfg(feature = "chat")]
    pub async fn chats(&self, kind: ChannelKind) -> Result<std::sync::Arc<dyn Chats>, String> {
        let Some(config) = self.config.bot(kind).cloned() else {
            return Err(format!(
                "this node runs no {} bot: start it with --{kind}",
                kind.title()
            ));
        };
        let patience = Patience::default();
        match kind {
            #[cfg(feature = "telegram")]
            ChannelKind::Telegram => {
                let token = self.token("channel/telegram").await?;
                let telegram = crate::adapters::channel::Telegram::new(
                    &config.api,
                    config.ca,
                    &token,
                    patience,
                )?;
                Ok(std::sync::Arc::new(telegram))
            }
            #[cfg(feature = "slack")]
            ChannelKind::Slack => {
                let app = self.token("channel/slack-app").await?;
                let bot = self.token("channel/slack").await?;
                let tokens = (app.as_str(), bot.as_str());
                let slack =
                    crate::adapters::channel::Slack::new(&config.api, config.ca, tokens, patience)?;
                Ok(std::sync::Arc::new(slack))
            }
            #[cfg(not(all(feature = "telegram", feature = "slack")))]
            _ => Err(format!("this program was built without {}", kind.title())),
        }
    }

    #[cfg(feature = "chat")]
    async fn token(&self, name: &'static str) -> Result<zeroize::Zeroizing<String>, String> {
        let credentials = self.0.credentials.clone();
        let read = self.work(move || credentials.get(name)).await;
        let token = read.ok_or("the credential cannot be read")?;
        token.map_err(|e| e.to_string())?.ok_or_else(|| {
            format!(
                "there is no credential {name}: set it with `clawmesh-node credential set {name}`"
            )
        })
    }
}
