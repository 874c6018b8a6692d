//! `[telegram]`: the bot through which persons see and decide. Its token is a credential and stands nowhere here.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, value};
use crate::adapters::http_client::{Address, Reach};

/// The Bot API server where none is named.
pub const API: &str = "https://api.telegram.org";

/// `[telegram]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTelegram {
    /// Whether the bot runs; it does where nothing is said.
    pub enabled: Option<bool>,
    /// The Bot API server.
    pub api: Option<String>,
    /// A file with the authorities that prove a server of one's own.
    pub ca: Option<PathBuf>,
}

/// The Telegram bot of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelegramConfig {
    /// The Bot API server.
    pub api: String,
    /// A file with the authorities that prove it.
    pub ca: Option<PathBuf>,
}

impl RawTelegram {
    /// What the flag `--telegram` says.
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
    pub(super) fn resolve(raw: Option<Self>) -> Result<Option<TelegramConfig>, ConfigError> {
        let Some(raw) = raw.filter(|t| t.enabled != Some(false)) else {
            return Ok(None);
        };
        if !cfg!(feature = "telegram") {
            let why = "this program was built without Telegram; build it with the feature telegram";
            return Err(value("telegram", why));
        }
        let api = raw.api.unwrap_or_else(|| API.to_owned());
        let address = Address::parse(&api).map_err(|why| value("telegram.api", why))?;
        if !address.tls && address.reach() != Reach::Loopback {
            let why =
                "the token would be readable on its way; use https://, or a server on this machine";
            return Err(value("telegram.api", why));
        }
        Ok(Some(TelegramConfig { api, ca: raw.ca }))
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
            telegram: super::RawTelegram::of_flag(true),
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
