//! The bots of this node, one of a kind: how each was last heard of, and the way to its server, with the tokens that are
//! credentials.

use std::sync::PoisonError;

use super::Channels;
#[cfg(feature = "chat")]
use crate::adapters::channel::{Chats, Patience};
use crate::domain::gate::ChannelKind;

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

impl Channels {
    /// The bots that run here, and how each is.
    pub fn bots(&self) -> Vec<(ChannelKind, Bot)> {
        let bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
        bots.iter()
            .map(|(kind, bot)| (*kind, bot.clone()))
            .collect()
    }

    /// How the bot of a kind is; `None` where none runs here.
    pub fn bot(&self, kind: ChannelKind) -> Option<Bot> {
        let bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
        bots.get(&kind).cloned()
    }

    /// Notes how the bot of a kind is.
    pub fn bot_is(&self, kind: ChannelKind, bot: Bot) {
        let mut bots = self.0.bots.lock().unwrap_or_else(PoisonError::into_inner);
        bots.insert(kind, bot);
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
