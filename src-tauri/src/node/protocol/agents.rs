//! Messages to agents, as other nodes ask for them.

use serde_json::{Map, Value};

use super::{Protocol, need};
use crate::domain::admission::Grant;
use crate::domain::base::Refusal;
use crate::domain::wire::handshake::Feature;
use crate::node::links::LinkHandle;
use crate::node::messages;

/// Whether a method is about messages, on a link that speaks of them.
pub(super) fn is_one(method: &str, link: &LinkHandle) -> bool {
    [messages::RUN, messages::TOLD, messages::CANCEL].contains(&method)
        && link.info.speaks(Feature::Messages)
}

/// Answers one. Only the first needs the grant: what was begun is told, and ended, also after it was taken.
pub(super) async fn answer(
    protocol: &Protocol,
    link: &LinkHandle,
    method: &str,
    params: Map<String, Value>,
) -> Result<Value, Refusal> {
    match method {
        messages::RUN => {
            need(protocol, link, Grant::Llm)?;
            messages::asked(&protocol.messages, link, params).await
        }
        messages::TOLD => messages::told(&protocol.messages, link, &params).await,
        _ => messages::cancelled(&protocol.messages, link, &params),
    }
}
