//! `[coordinator]`: whether this node takes the place of a claw-mesh coordinator, and where. Without `listen` it does not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

/// Where a coordinator listens unless something else is said.
pub const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

/// `[coordinator]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCoordinator {
    /// The address and port to listen on.
    pub listen: Option<SocketAddr>,
    /// Whether agents may be at loopback and private addresses.
    pub allow_private: Option<bool>,
    /// Whether nodes are listed without a token.
    pub open_reading: Option<bool>,
}

/// A coordinator that is to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorConfig {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// Whether agents may be at loopback and private addresses.
    pub allow_private: bool,
    /// Whether nodes are listed without a token.
    pub open_reading: bool,
}

impl RawCoordinator {
    /// What the flag says.
    pub fn of_flag(listen: Option<SocketAddr>) -> Option<Self> {
        listen.map(|listen| Self {
            listen: Some(listen),
            ..Self::default()
        })
    }

    /// The flag says where; the rest stays as the file has it.
    pub(super) fn overlay(file: &mut Option<Self>, flag: Option<Self>) {
        if let Some(flag) = flag {
            let file = file.get_or_insert_with(Self::default);
            file.listen = flag.listen.or(file.listen);
            file.allow_private = flag.allow_private.or(file.allow_private);
            file.open_reading = flag.open_reading.or(file.open_reading);
        }
    }
}

/// Reads the table.
pub(super) fn resolve(raw: Option<RawCoordinator>) -> Option<CoordinatorConfig> {
    let raw = raw?;
    Some(CoordinatorConfig {
        listen: raw.listen?,
        allow_private: raw.allow_private.unwrap_or(false),
        open_reading: raw.open_reading.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::node::RawConfig;

    #[test]
    fn it_is_off_until_it_is_said_where_and_the_flag_leaves_the_rest() {
        let read = |text: &str, flag: Option<SocketAddr>| {
            let flags = RawConfig {
                coordinator: RawCoordinator::of_flag(flag),
                ..RawConfig::default()
            };
            let raw = RawConfig::parse(text, "config.toml").unwrap();
            let config = raw.overlay(flags).resolve(std::path::PathBuf::new());
            config.unwrap().coordinator
        };
        assert_eq!(read("", None), None);
        assert_eq!(read("[coordinator]\nallow_private = true", None), None);
        let both = read("[coordinator]\nallow_private = true", Some(USUAL)).unwrap();
        assert_eq!((both.listen, both.allow_private), (USUAL, true));
        let closed = read("[coordinator]\nlisten = '127.0.0.1:1'", None).unwrap();
        assert!(!closed.allow_private && !closed.open_reading);
    }
}
