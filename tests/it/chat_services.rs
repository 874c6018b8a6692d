//! The services of the tests that every chat passes, each with the strict server that plays it.

use std::sync::Arc;

use clawmesh::adapters::channel::{Chats, Patience, Slack, Telegram};
use clawmesh::domain::gate::ChannelKind;
use clawmesh::node::RawConfig;
use serde_json::{Value, json};

use crate::bot_api::{BotApi, Sent, TOKEN, Trouble};
use crate::harness::until;
use crate::slack_api::{APP_TOKEN, BOT_TOKEN, SlackApi, account_of, user_of};

/// What a test fails.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    Name,
    Send,
}

/// A service as a test plays it. Persons have numbers.
pub trait Service: Clone + Send + Sync + 'static {
    const KIND: ChannelKind;
    /// The credentials of the bot.
    const SECRETS: &'static [(&'static str, &'static str)];

    fn begin() -> impl Future<Output = Self> + Send;
    fn configure(&self, raw: &mut RawConfig);
    fn chats(&self) -> Arc<dyn Chats>;
    /// With a token that it does not take.
    fn wrong_chats(&self) -> Arc<dyn Chats>;
    fn account(&self, user: i64) -> String;
    fn says(&self, user: i64, text: &str) -> Value;
    fn passes_on(&self, user: i64, text: &str);
    /// The same update comes once more.
    fn again(&self, said: &Value);
    fn press(&self, user: i64, message: i64, data: &str) -> String;
    /// Waits until the press is heard.
    fn heard(&self, press: &str) -> impl Future<Output = ()> + Send;
    /// Waits until a press was answered with this.
    fn answered(&self, user: i64, press: &str, what: &str) -> impl Future<Output = ()> + Send;
    fn sent(&self, user: i64) -> Vec<Sent>;
    fn wrong(&self) -> Vec<String>;
    fn fails(&self, call: Call, trouble: Trouble);
    /// A command as a person writes it there.
    fn word(&self, command: &str) -> String;

    fn hears(&self, user: i64, what: &str) -> impl Future<Output = Sent> + Send {
        async move {
            until(what, || async {
                let sent = self.sent(user).into_iter();
                sent.rev().find(|m| m.text.contains(what))
            })
            .await
        }
    }
}

impl Service for BotApi {
    const KIND: ChannelKind = ChannelKind::Telegram;
    const SECRETS: &'static [(&'static str, &'static str)] = &[("channel/telegram", TOKEN)];

    async fn begin() -> Self {
        Self::start().await
    }
    fn configure(&self, raw: &mut RawConfig) {
        raw.telegram = Some(self.config());
    }
    fn chats(&self) -> Arc<dyn Chats> {
        Arc::new(Telegram::new(&self.url, None, TOKEN, Patience::default()).unwrap())
    }
    fn wrong_chats(&self) -> Arc<dyn Chats> {
        let other = TOKEN.replace("SECRET", "HIDDEN");
        Arc::new(Telegram::new(&self.url, None, &other, Patience::default()).unwrap())
    }
    fn account(&self, user: i64) -> String {
        user.to_string()
    }
    fn says(&self, user: i64, text: &str) -> Value {
        let mut message = self.message(user, user, text, &json!({}));
        message["again"] = json!(self.sends(message.clone()));
        message
    }
    fn passes_on(&self, user: i64, text: &str) {
        let forwarded = json!({"forward_origin": {"type": "user"}});
        self.sends(self.message(user, user, text, &forwarded));
    }
    fn again(&self, said: &Value) {
        self.again(said["again"].as_i64().unwrap(), said.clone());
    }
    fn press(&self, user: i64, message: i64, data: &str) -> String {
        self.presses(user, message, data)
    }
    async fn heard(&self, press: &str) {
        self.heard(press).await;
    }
    async fn answered(&self, _user: i64, press: &str, what: &str) {
        let heard = self.heard(press).await;
        assert!(heard.contains(what), "{heard}");
    }
    fn sent(&self, user: i64) -> Vec<Sent> {
        self.sent(user)
    }
    fn wrong(&self) -> Vec<String> {
        self.wrong()
    }
    fn fails(&self, call: Call, trouble: Trouble) {
        let method = match call {
            Call::Name => "getMe",
            Call::Send => "sendMessage",
        };
        self.fails(method, trouble);
    }
    fn word(&self, command: &str) -> String {
        format!("/{command}")
    }
}

impl Service for SlackApi {
    const KIND: ChannelKind = ChannelKind::Slack;
    const SECRETS: &'static [(&'static str, &'static str)] = &[
        ("channel/slack-app", APP_TOKEN),
        ("channel/slack", BOT_TOKEN),
    ];

    async fn begin() -> Self {
        Self::start().await
    }
    fn configure(&self, raw: &mut RawConfig) {
        raw.slack = Some(self.config());
    }
    fn chats(&self) -> Arc<dyn Chats> {
        let tokens = (APP_TOKEN, BOT_TOKEN);
        Arc::new(Slack::new(&self.url, None, tokens, Patience::default()).unwrap())
    }
    fn wrong_chats(&self) -> Arc<dyn Chats> {
        let other = BOT_TOKEN.replace("HIDDEN", "SECRET");
        let tokens = (APP_TOKEN, other.as_str());
        Arc::new(Slack::new(&self.url, None, tokens, Patience::default()).unwrap())
    }
    fn account(&self, user: i64) -> String {
        account_of(user)
    }
    fn says(&self, user: i64, text: &str) -> Value {
        self.says(user, text)
    }
    fn passes_on(&self, user: i64, text: &str) {
        let shared = json!({"attachments": [{"is_share": true, "text": "x"}]});
        self.gives("events_api", self.message(&user_of(user), text, &shared));
    }
    fn again(&self, said: &Value) {
        self.gives("events_api", said.clone());
    }
    fn press(&self, user: i64, message: i64, data: &str) -> String {
        self.presses(user, message, data)
    }
    async fn heard(&self, press: &str) {
        self.is_heard(press).await;
    }
    async fn answered(&self, user: i64, press: &str, what: &str) {
        self.is_heard(press).await;
        self.whispers(user, what).await;
    }
    fn sent(&self, user: i64) -> Vec<Sent> {
        self.sent(user)
    }
    fn wrong(&self) -> Vec<String> {
        self.wrong()
    }
    fn fails(&self, call: Call, trouble: Trouble) {
        let method = match call {
            Call::Name => "auth.test",
            Call::Send => "chat.postMessage",
        };
        self.fails(method, trouble);
    }
    fn word(&self, command: &str) -> String {
        command.to_owned()
    }
}
