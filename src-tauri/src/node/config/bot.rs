//! `[telegram]` and `[slack]`: the bots through which persons see and decide. Their tokens are credentials and stand nowhere
//! here.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, value};
use crate::adapters::http_client::{Address, Reach};
use crate::domain::gate::ChannelKind;

/// The server of a bot of this kind where none is named.
pub fn api(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Telegram => "https://api.telegram.org",
        ChannelKind::Slack => "https://slack.com/api",
    }
}

/// Whether this program has bots of this kind.
pub fn is_built(kind: ChannelKind) -> bool {
    match kind {
        ChannelKind::Telegram => cfg!(feature = "telegram"),
        ChannelKind::Slack => cfg!(feature = "slack"),
    }
}

/// The table of a bot.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBot {
    /// Whether the bot runs; it does where nothing is said.
    pub enabled: Option<bool>,
    /// The server.
    pub api: Option<String>,
    /// A file with the authorities that prove a server of one's own.
    pub ca: Option<PathBuf>,
}

/// A bot of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotConfig {
    /// The server.
    pub api: String,
    /// A file with the authorities that prove it.
    pub ca: Option<PathBuf>,
}

impl RawBot {
    /// What the flag of a bot says.
    pub fn of_flag(on: bool) -> Option<Self> {
        on.then(|| Self {
            enabled: Some(true),
            ..Self::default()
        })
    }

    /// The flag runs a bot that the file has or has not.
    pub(super) fn overlay(file: &mut Option<Self>, flag: Option<Self>) {
        if let Some(flag) = flag {
            file.get_or_insert_with(Self::default).enabled = flag.enabled;
        }
    }

    /// The bot, if it runs.
    pub(super) fn resolve(
        raw: Option<Self>,
        kind: ChannelKind,
    ) -> Result<Option<BotConfig>, ConfigError> {
        let Some(raw) = raw.filter(|t| t.enabled != Some(false)) else {
            return Ok(None);
        };
        if !is_built(kind) {
            let why = format!(
                "this program was built without {}; build it with the feature {kind}",
                kind.title()
            );
            return Err(value(&kind.to_string(), why));
        }
        let key = format!("{kind}.api");
        let api = raw.api.unwrap_or_else(|| api(kind).to_owned());
        let address = Address::parse(&api).map_err(|why| value(&key, why))?;
        if !address.tls && address.reach() != Reach::Loopback {
            let why =
                "the token would be readable on its way; use https://, or a server on this machine";
            return Err(value(&key, why));
        }
        Ok(Some(BotConfig { api, ca: raw.ca }))
    }
}

impl super::Config {
    /// The bot of a kind, if the node runs one.
    pub fn bot(&self, kind: ChannelKind) -> Option<&BotConfig> {
        match kind {
            ChannelKind::Telegram => self.telegram.as_ref(),
            ChannelKind::Slack => self.slack.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::node::RawConfig;

    #[test]
    fn a_bot_runs_where_the_file_or_the_flag_says_so_and_its_server_is_one_that_keeps_the_token() {
        let telegram = |text: &str| {
            let raw = RawConfig::parse(text, "config.toml").unwrap();
            raw.resolve(std::path::PathBuf::new()).map(|c| c.telegram)
        };
        assert_eq!(telegram("").unwrap(), None);
        let plain = telegram("[telegram]").unwrap().unwrap();
        assert_eq!(plain.api, "https://api.telegram.org");
        assert_eq!(telegram("[telegram]\nenabled = false").unwrap(), None);
        let own = "[telegram]\napi = 'http://127.0.0.1:8081'";
        assert!(telegram(own).unwrap().is_some());
        let slack = RawConfig::parse("[slack]", "c").unwrap();
        let slack = slack.resolve(std::path::PathBuf::new()).unwrap().slack;
        assert_eq!(slack.unwrap().api, "https://slack.com/api");
        for bad in [
            "http://example.org",
            "http://192.168.1.4:80",
            "ftp://x",
            "https://me:x@y",
        ] {
            let why = telegram(&format!("[telegram]\napi = '{bad}'")).unwrap_err();
            assert!(why.to_string().contains("telegram.api"), "{why}");
        }
        let flags = RawConfig {
            telegram: super::RawBot::of_flag(true),
            ..RawConfig::default()
        };
        let off = RawConfig::parse("[telegram]\nenabled = false", "c").unwrap();
        let both = off
            .overlay(flags)
            .resolve(std::path::PathBuf::new())
            .unwrap();
        assert!(both.telegram.is_some());
    }
}
