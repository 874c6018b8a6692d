//! Discovery: who is on the LAN, by mDNS and DNS-SD (RFC 6762, RFC 6763) as gen-1 nodes do it.
//!
//! Finding is all it does: everything here comes from strangers and is checked for form and size
//! only. Whom to trust and whom to dial is decided elsewhere. The daemon of `mdns-sd` has a thread of
//! its own, so that nothing here blocks.

mod gateways;
mod table;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};

use tokio::sync::Notify;

pub use self::gateways::{Announced, gateways};
use self::table::Table;
use crate::adapters::system;
use crate::domain::base::limits::{NAME_MAX_BYTES, NEARBY_ADDRESSES_MAX};
use crate::domain::base::text::one_line;
use crate::domain::base::{DeviceId, MeshId};

/// The service of every node (gen-1 §4).
const SERVICE: &str = "_clawmesh._tcp.local.";
/// Where mDNS is spoken (RFC 6762).
const MDNS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_PORT: u16 = 5_353;
/// How long a device that is asked whether it is still there may take.
const VERIFY_WAIT: Duration = Duration::from_secs(2);
/// How long a goodbye may take to leave.
const GOODBYE_WAIT: Duration = Duration::from_millis(500);

/// Pause before the daemon is asked to tell again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Joins the group by which nodes are found and leaves it again: whether this machine can hear it at all.
///
/// # Errors
/// The system's error.
pub fn multicast() -> std::io::Result<()> {
    let protocol = Some(socket2::Protocol::UDP);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, protocol)?;
    socket.set_reuse_address(true)?;
    system::share_port(&socket)?;
    let port = SocketAddr::from((Ipv4Addr::UNSPECIFIED, MDNS_PORT));
    socket.bind(&port.into())?;
    socket.join_multicast_v4(&MDNS_GROUP, &Ipv4Addr::UNSPECIFIED)
}

/// This node's announcement on the LAN.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Its device.
    pub device: DeviceId,
    /// Its name for people.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its mesh.
    pub mesh: MeshId,
    /// The name of its mesh, where it has one.
    pub mesh_name: Option<String>,
    /// Where it listens; an unspecified address is every address of this machine.
    pub listens: SocketAddr,
}

/// A node on the LAN, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its device; nothing proves it yet.
    pub device: DeviceId,
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// Its mesh; gen-1 nodes do not say.
    pub mesh: Option<MeshId>,
    /// The name of its mesh.
    pub mesh_name: Option<String>,
    /// Whether it is being paired right now.
    pub pairing: bool,
    /// Where it listens, the likeliest address first.
    pub addresses: Vec<SocketAddr>,
}

/// A change on the LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// A node is there, or says something new of itself.
    Seen(Sighting),
    /// A node is there no more.
    Gone(DeviceId),
}

/// Why nothing can be discovered.
#[derive(Debug, thiserror::Error)]
#[error("discovery does not work here: {0}; static peers (--peer) work without it")]
pub struct DiscoveryError(#[from] mdns_sd::Error);

/// Discovery by mDNS.
pub struct Mdns {
    daemon: ServiceDaemon,
    announced: Announcement,
    table: Mutex<Table>,
    news: Notify,
}

impl Mdns {
    /// Announces this node and begins to look for others.
    ///
    /// # Errors
    /// [`DiscoveryError`] where the system has no multicast for us.
    pub fn start(announced: Announcement) -> Result<Self, DiscoveryError> {
        let daemon = ServiceDaemon::new()?;
        // Packets there reach this machine only, which hears it on its other interfaces too.
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let mdns = Self {
            daemon,
            announced,
            table: Mutex::default(),
            news: Notify::new(),
        };
        mdns.announce(false)?;
        Ok(mdns)
    }

    /// Announces whether this node is being paired.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub fn announce(&self, pairing: bool) -> Result<(), DiscoveryError> {
        let a = &self.announced;
        let ip = a.listens.ip().to_canonical();
        if ip.is_loopback() {
            // No host that hears it could connect.
            return Ok(());
        }
        let mut txt = vec![
            ("deviceId", a.device.as_str().to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("name", a.name.chars().take(60).collect()),
            ("role", a.role.clone()),
            ("meshId", a.mesh.as_str().to_owned()),
        ];
        if let Some(name) = &a.mesh_name {
            txt.push(("meshName", name.chars().take(60).collect()));
        }
        if pairing {
            txt.push(("pairing", "1".to_owned()));
        }
        let instance = instance(&a.device);
        let host = format!("{instance}.local.");
        let port = a.listens.port();
        let mut info = match ip.is_unspecified() {
            true => {
                ServiceInfo::new(SERVICE, &instance, &host, (), port, &txt[..])?.enable_addr_auto()
            }
            false => ServiceInfo::new(SERVICE, &instance, &host, ip, port, &txt[..])?,
        };
        // Both names are made of the hash of a key: they are unique, and probing would only take time
        // (RFC 6762 §8.1).
        info.set_requires_probe(false);
        self.daemon.register(info)?;
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the daemon tells, until discovery has ended. It must be polled beside other work,
    /// for the daemon drops a listener that falls behind. A device that `keep` names finds a place
    /// however many others there are.
    pub async fn gather(&self, keep: impl Fn(&DeviceId) -> bool) {
        loop {
            let Ok(events) = self.daemon.browse(SERVICE) else {
                return;
            };
            while let Ok(event) = events.recv_async().await {
                match event {
                    ServiceEvent::ServiceResolved(service) => {
                        let sighting = read(&service);
                        let Some(sighting) = sighting.filter(|s| s.device != self.announced.device)
                        else {
                            continue;
                        };
                        self.table().resolved(&service.fullname, sighting, &keep);
                    }
                    ServiceEvent::ServiceRemoved(_, name) => self.table().removed(&name),
                    _ => continue,
                }
                self.news.notify_one();
            }
            // The daemon dropped this listener; asked again it tells all it knows.
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Changes since the last call; waits until there are some. Also how many services found no place.
    pub async fn next(&self) -> (Vec<Sight>, u64) {
        self.news.notified().await;
        let mut table = self.table();
        (table.take(), table.take_passed_over())
    }

    /// Asks whether a device is still there: one that crashed is otherwise remembered for minutes.
    pub fn verify(&self, device: &DeviceId) {
        let names = self.table().names(device);
        for name in names {
            if let Err(error) = self.daemon.verify(name, VERIFY_WAIT) {
                tracing::debug!(%error, "not verified");
            }
        }
    }

    /// Says goodbye and ends.
    pub async fn stop(self) {
        let instance = format!("{}.{SERVICE}", instance(&self.announced.device));
        if let Ok(done) = self.daemon.unregister(&instance) {
            drop(tokio::time::timeout(GOODBYE_WAIT, done.recv_async()).await);
        }
        if let Ok(done) = self.daemon.shutdown() {
            drop(tokio::time::timeout(GOODBYE_WAIT, done.recv_async()).await);
        }
    }
}

/// The name under which nodes of our kind announce themselves.
fn instance(device: &DeviceId) -> String {
    format!("clawmesh-{}", device.short())
}

/// The announcement of a service, if it is one of ours.
fn read(service: &ResolvedService) -> Option<Sighting> {
    let text = |name: &str| {
        let value = service.get_property_val_str(name)?;
        let value = one_line(value, NAME_MAX_BYTES);
        (!value.is_empty()).then_some(value)
    };
    let port = service.get_port();
    let mut addresses: Vec<SocketAddr> = service
        .get_addresses()
        .iter()
        .filter_map(|ip| usable(ip, port))
        .collect();
    // The older protocol is the likelier to be open, and an address that counts on one interface only
    // the least lasting; the order is the same for the same set.
    addresses.sort_by_key(|a| (a.is_ipv6(), is_of_one_interface(a.ip()), *a));
    addresses.truncate(NEARBY_ADDRESSES_MAX);
    if addresses.is_empty() || port == 0 {
        return None;
    }
    Some(Sighting {
        device: text("deviceId")?.parse().ok()?,
        name: text("name").or_else(|| text("displayName")),
        version: text("version"),
        role: text("role"),
        mesh: text("meshId").and_then(|m| m.parse().ok()),
        mesh_name: text("meshName"),
        pairing: text("pairing").is_some_and(|p| p == "1"),
        addresses,
    })
}

/// Whether an address counts only on one of our interfaces.
fn is_of_one_interface(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// An address as it can be dialed: one that counts only on one of our interfaces names the one on which
/// it was heard. One of this very machine is no place where a stranger on the LAN could be.
fn usable(found: &ScopedIp, port: u16) -> Option<SocketAddr> {
    let ip = found.to_ip_addr();
    let plain = ip.to_canonical();
    if plain.is_unspecified() || plain.is_multicast() || plain.is_loopback() {
        return None;
    }
    match (ip, found) {
        (IpAddr::V6(v6), ScopedIp::V6(scoped)) if v6.is_unicast_link_local() => {
            let interface = scoped.scope_id().index;
            (interface != 0).then(|| SocketAddrV6::new(v6, port, 0, interface).into())
        }
        _ => Some(SocketAddr::new(ip, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(txt: &[(&str, &str)], ips: &str) -> ResolvedService {
        ServiceInfo::new(SERVICE, "x", "x.local.", ips, 18_789, txt)
            .unwrap()
            .as_resolved_service()
    }

    #[test]
    fn what_strangers_say_is_bounded_and_cleaned() {
        let id = "ab".repeat(32);
        let long = "n\u{202e}".repeat(60);
        let seen = read(&service(
            &[
                ("deviceId", &id),
                ("name", &long),
                ("meshId", "bad mesh id!"),
                ("pairing", "yes"),
            ],
            "192.168.1.7,fe80::1,fd00::7",
        ))
        .unwrap();
        assert_eq!(seen.device.as_str(), id);
        assert!(seen.name.unwrap().chars().all(|c| c == 'n'));
        assert!(!seen.pairing);
        let shown: Vec<String> = seen.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.168.1.7:18789", "[fd00::7]:18789"]);
        assert!(read(&service(&[("deviceId", "xyz")], "192.168.1.7")).is_none());
        assert!(read(&service(&[], "192.168.1.7")).is_none());
        for nowhere in [
            "fe80::1",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
        ] {
            let said = service(&[("deviceId", &id)], nowhere);
            assert!(read(&said).is_none(), "{nowhere}");
        }
    }
}
