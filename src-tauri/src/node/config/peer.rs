//! Peers that are named in the configuration, written as gen-1 nodes write them.

use std::str::FromStr;

use super::{ConfigError, value};
use crate::adapters::transport::{Fingerprint, PeerUrl};
use crate::domain::base::DeviceId;

/// A peer the node dials, as configured: `<deviceId>=<url>|<tlsFingerprint>|<transportLabel>`.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticPeer {
    /// The device that must answer.
    pub device: DeviceId,
    /// Where.
    pub url: PeerUrl,
    /// The certificate it must show.
    pub pin: Option<Fingerprint>,
    /// The transport label, for example `local` or `relay`.
    pub label: String,
}

/// Whether a transport label names a network of one's own. Over any other a link must be pinned or
/// bound to the device's key.
pub fn is_local(label: &str) -> bool {
    ["lan", "local", "mdns"].contains(&label)
}

impl FromStr for StaticPeer {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let bad = |why: String| {
            value(
                "peer",
                format!("{why}; write \"<deviceId>=<url>|<tlsFingerprint>|<label>\""),
            )
        };
        let (device, rest) = text
            .split_once('=')
            .ok_or_else(|| bad(format!("{text:?} has no '='")))?;
        let mut parts = rest.split('|');
        let url = parts.next().unwrap_or_default();
        let fingerprint = parts.next().unwrap_or_default().trim();
        let label = parts
            .next()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .unwrap_or("local")
            .to_ascii_lowercase();
        let label = label.as_str();
        if parts.next().is_some() {
            return Err(bad("too many '|'".into()));
        }
        let known = label.len() <= 32
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !known {
            return Err(bad(format!(
                "label {label:?} must be lower-case letters, digits and '-'"
            )));
        }
        let device = device.trim().to_ascii_lowercase();
        let device = device.parse().map_err(|e| bad(format!("{e}")))?;
        let url: PeerUrl = url.trim().parse().map_err(|e| bad(format!("{e}")))?;
        let pin = match fingerprint {
            "" => None,
            text => Some(text.parse().map_err(|e| bad(format!("{e}")))?),
        };
        if !is_local(label) && !url.tls() && pin.is_none() {
            return Err(value(
                "peer",
                format!(
                    "label {label:?} says that the way to this peer leaves your own network, and {url} protects nothing; \
                     write wss:// so that the link is bound to the device's key, or add the fingerprint of the peer's \
                     certificate"
                ),
            ));
        }
        Ok(Self {
            device,
            url,
            pin,
            label: label.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_peers_read_as_gen1_writes_them() {
        let id = "a".repeat(64);
        let peer: StaticPeer = format!("{id}=http://127.0.0.1:18789||local")
            .parse()
            .unwrap();
        assert_eq!(peer.label, "local");
        for bad in [
            "x",
            "x=y",
            &format!("{id}=ftp://x"),
            &format!("{id}=ws://1.2.3.4:1||relay"),
        ] {
            assert!(bad.parse::<StaticPeer>().is_err(), "{bad}");
        }
    }
}
