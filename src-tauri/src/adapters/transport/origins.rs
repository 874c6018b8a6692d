//! Who may upgrade: pure rules over the request's `Origin` and `Host`, so that a page the operator
//! happens to visit cannot speak to the node. Authentication comes later and elsewhere.

use std::net::{IpAddr, Ipv6Addr};

/// Values an upgrade may carry beyond the defaults.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Web origins that may upgrade, such as `http://localhost:5173`. Compared without case.
    pub origins: Vec<String>,
    /// Host names that may be used for this node beyond `localhost` and IP addresses.
    pub hosts: Vec<String>,
}

impl Rules {
    /// Whether an upgrade with this `Origin` may go on. Peers send none.
    pub fn origin_allowed(&self, origin: &str) -> bool {
        self.origins
            .iter()
            .any(|known| known.eq_ignore_ascii_case(origin))
    }

    /// Whether an upgrade with this `Host` may go on.
    pub fn host_allowed(&self, host: &str) -> bool {
        host_allowed(host)
            || split_port(host).is_some_and(|name| {
                self.hosts
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name))
            })
    }
}

/// Whether a `Host` header names this machine directly: `localhost` or an IP address, each with or
/// without a port. Any other name could be one that an attacker points at us (DNS rebinding).
pub fn host_allowed(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return address.parse::<Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    split_port(host).is_some_and(|name| {
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
    })
}

/// The name before an optional port; `None` if the port is not one.
fn split_port(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => Some(host),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_addresses_name_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST:18789",
            "127.0.0.1",
            "192.168.1.7:80",
            "[::1]",
            "[fe80::1]:18789",
        ] {
            assert!(host_allowed(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:18789",
            "localhost.evil.example",
            "localhost:x",
            "127.0.0.1:",
            "127.0.0.1:99999",
            "[::1",
            "[::1]x",
            "[evil]",
            "127.0.0.1.nip.io",
            "::1",
        ] {
            assert!(!host_allowed(host), "{host}");
        }
    }

    #[test]
    fn names_and_origins_are_allowed_only_when_listed() {
        let rules = Rules {
            origins: vec!["http://a.test".into()],
            hosts: vec!["pi.local".into()],
        };
        assert!(rules.host_allowed("PI.local:1"));
        assert!(!rules.host_allowed("pi.local.evil:1"));
        assert!(rules.origin_allowed("http://A.test"));
        assert!(!rules.origin_allowed("http://a.test.evil"));
        assert!(!Rules::default().origin_allowed("null"));
    }
}
