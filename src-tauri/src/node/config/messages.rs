//! `[messages]`: which agents of this node's gateways answer messages of other devices. Without it none does; its language model
//! answers where `[[model]] share` says so.

use serde::Deserialize;

use super::{ConfigError, value};
use crate::domain::base::limits::AGENTS_OF_NODE_MAX;
use crate::domain::coordination::choose::AgentRef;

/// `[messages]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMessages {
    /// Agents that trusted devices with the grant `llm` may ask: `GATEWAY/AGENT`, or `GATEWAY/*` for all of one gateway.
    pub share_agents: Vec<String>,
}

/// The agents that other devices may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedAgents(Vec<AgentRef>);

impl SharedAgents {
    /// Whether other devices may ask this agent of a gateway.
    pub fn has(&self, agent: &AgentRef) -> bool {
        let is = |shared: &AgentRef| {
            shared.gateway == agent.gateway && (shared.agent == "*" || shared.agent == agent.agent)
        };
        agent.gateway.is_some() && self.0.iter().any(is)
    }
}

/// Reads the table.
///
/// # Errors
/// If an entry names no agent of a gateway.
pub(super) fn resolve(raw: Option<RawMessages>) -> Result<SharedAgents, ConfigError> {
    let raw = raw.unwrap_or_default();
    if raw.share_agents.len() > AGENTS_OF_NODE_MAX {
        let why = format!("at most {AGENTS_OF_NODE_MAX} entries");
        return Err(value("messages.share_agents", &why));
    }
    let read = |text: &String| {
        let agent = text
            .parse::<AgentRef>()
            .ok()
            .filter(|a| a.gateway.is_some());
        agent.ok_or_else(|| {
            let why =
                format!("{text:?} is no agent of a gateway: write GATEWAY/AGENT, or GATEWAY/*");
            value("messages.share_agents", &why)
        })
    };
    let shared: Result<Vec<_>, _> = raw.share_agents.iter().map(read).collect();
    shared.map(SharedAgents)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::node::RawConfig;

    #[test]
    fn an_agent_is_shared_where_the_table_names_it() {
        let shared = |text: &str| {
            let raw = RawConfig::parse(text, "config.toml").unwrap();
            raw.resolve(std::path::PathBuf::new())
                .map(|c| c.shared_agents)
        };
        let agent = |text: &str| text.parse().unwrap();
        assert!(!shared("").unwrap().has(&agent("home/main")));
        let some = shared("[messages]\nshare_agents = ['home/main', 'vps/*']").unwrap();
        for (name, is) in [
            ("home/main", true),
            ("home/work", false),
            ("vps/any", true),
            ("model", false),
        ] {
            assert_eq!(some.has(&agent(name)), is, "{name}");
        }
        let wrong = shared("[messages]\nshare_agents = ['model']")
            .unwrap_err()
            .to_string();
        assert!(
            wrong.contains("messages.share_agents") && wrong.contains("model"),
            "{wrong}"
        );
    }
}
