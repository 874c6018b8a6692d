//! Gateways of OpenClaw that announce themselves on the LAN. Whatever they say is a stranger's word: it is shown to a person, who
//! chooses, and nothing is dialed because of it.

use std::collections::BTreeMap;
use std::time::Duration;

use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent};
use tokio::time::{Instant, timeout_at};

use super::{DiscoveryError, GOODBYE_WAIT, usable};
use crate::domain::base::limits::{GATEWAY_NAME_MAX_CHARS, GATEWAYS_MAX};
use crate::domain::base::text::seen;

const SERVICE: &str = "_openclaw-gw._tcp.local.";

/// A gateway that announces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// What it calls itself.
    pub name: String,
    /// Where it says it is.
    pub url: String,
}

fn read(service: &ResolvedService) -> Option<Announced> {
    let port = service.get_port();
    let each = service.get_addresses().iter();
    let mut places: Vec<_> = each.filter_map(|ip| usable(ip, port)).collect();
    places.sort_by_key(|place| (place.is_ipv6(), *place));
    // An address of one interface alone has no form in a URL.
    let place = places
        .into_iter()
        .find(|p| !super::is_of_one_interface(p.ip()))?;
    let tls = service.get_property_val_str("gatewayTls") == Some("1");
    let said = service.get_property_val_str("displayName");
    let host = service.get_hostname().trim_end_matches('.');
    let name = seen(said.unwrap_or(host), GATEWAY_NAME_MAX_CHARS);
    let scheme = if tls { "wss" } else { "ws" };
    (port != 0).then(|| Announced {
        name,
        url: format!("{scheme}://{place}"),
    })
}

/// Listens so long for gateways that announce themselves; the first few that do.
///
/// # Errors
/// [`DiscoveryError`] where the system has no multicast for us.
pub async fn gateways(within: Duration) -> Result<Vec<Announced>, DiscoveryError> {
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    let events = daemon.browse(SERVICE)?;
    let (until, mut found) = (Instant::now() + within, BTreeMap::new());
    while let Ok(Ok(event)) = timeout_at(until, events.recv_async()).await {
        let ServiceEvent::ServiceResolved(service) = event else {
            continue;
        };
        if found.len() < GATEWAYS_MAX
            && let Some(announced) = read(&service)
        {
            found.insert(announced.url.clone(), announced);
        }
    }
    if let Ok(done) = daemon.shutdown() {
        drop(tokio::time::timeout(GOODBYE_WAIT, done.recv_async()).await);
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use mdns_sd::ServiceInfo;

    use super::*;

    fn said(txt: &[(&str, &str)], ips: &str) -> Option<Announced> {
        let info = ServiceInfo::new(SERVICE, "x (OpenClaw)", "mac.local.", ips, 18_789, txt);
        read(&info.unwrap().as_resolved_service())
    }

    #[test]
    fn an_announcement_is_a_name_to_show_and_an_address_elsewhere() {
        let found = said(
            &[("displayName", "Mac\u{202e} Studio")],
            "fd00::7,192.168.1.7",
        )
        .unwrap();
        assert_eq!(found.name, "Mac Studio");
        assert_eq!(found.url, "ws://192.168.1.7:18789");
        let tls = said(&[("gatewayTls", "1")], "fd00::7").unwrap();
        assert_eq!(
            (tls.name.as_str(), tls.url.as_str()),
            ("mac.local", "wss://[fd00::7]:18789")
        );
        assert_eq!(said(&[], "127.0.0.1"), None);
        assert_eq!(said(&[], "fe80::1"), None);
    }
}
