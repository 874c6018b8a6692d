//! What the commands ask a running node about messages and their rules.

use super::{Asked, Remote};
use crate::operator::messages::{MessageSend, MessageView, MessagesView};
use crate::operator::routes;
use crate::operator::routing::{
    AbleView, RouteAsk, RoutedView, RulesSet, RulesView, TagsChange, TagsView,
};

impl Remote {
    /// Sends a message.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn message_send(&self, message: &MessageSend) -> Asked<MessageView> {
        self.send(routes::MESSAGE_SEND, message).await
    }

    /// Messages, newest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn messages(
        &self,
        state: Option<&str>,
        text: Option<&str>,
        limit: usize,
    ) -> Asked<MessagesView> {
        let limit = limit.to_string();
        let asked = [("state", state), ("text", text), ("limit", Some(&limit))];
        self.find(routes::MESSAGES, &asked).await
    }

    /// One message.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn message(&self, id: &str) -> Asked<MessageView> {
        self.of(routes::MESSAGE, id).await
    }

    /// Takes a message back.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn message_cancel(&self, id: &str) -> Asked<MessageView> {
        self.of(routes::MESSAGE_CANCEL, id).await
    }

    /// Sends a message once more.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn message_again(&self, id: &str) -> Asked<MessageView> {
        self.of(routes::MESSAGE_AGAIN, id).await
    }

    /// The nodes that messages may go to.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn abilities(&self) -> Asked<Vec<AbleView>> {
        self.read(routes::ABILITIES).await
    }

    /// Gives the node tags and takes others away.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn tag(&self, change: &TagsChange) -> Asked<TagsView> {
        self.send(routes::TAG, change).await
    }

    /// The rules of messages.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn routing(&self) -> Asked<RulesView> {
        self.read(routes::ROUTING).await
    }

    /// Puts other rules in force.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn routing_set(&self, rules: &RulesSet) -> Asked<RulesView> {
        self.send(routes::ROUTING_SET, rules).await
    }

    /// Where a message would go.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn routing_explain(&self, asked: &RouteAsk) -> Asked<RoutedView> {
        self.send(routes::ROUTING_EXPLAIN, asked).await
    }
}
