//! The address a node listens on.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// An IP address to listen on. A link-local one of IPv6 names its interface: `fe80::1%eth0`
/// (RFC 4007 §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress {
    ip: IpAddr,
    /// The number of the interface; 0 where none is named.
    interface: u32,
}

impl ListenAddress {
    /// The address with a port.
    pub fn socket(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.interface).into(),
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
        }
    }
}

impl From<IpAddr> for ListenAddress {
    fn from(ip: IpAddr) -> Self {
        Self { ip, interface: 0 }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.trim_start_matches('[').trim_end_matches(']');
        let (address, zone) = match plain.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (plain, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| {
            format!(
                "{text:?} is no IP address; write one of this machine, 127.0.0.1, 0.0.0.0 or ::"
            )
        })?;
        let local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        match zone {
            None if local => Err(format!(
                "{text:?} counts on one interface only; name it, for example {address}%eth0"
            )),
            None => Ok(ip.into()),
            // The system knows its interfaces; nothing is asked of the network for an address.
            Some(_) => match (plain, 0)
                .to_socket_addrs()
                .ok()
                .and_then(|mut all| all.next())
            {
                Some(SocketAddr::V6(found)) if found.scope_id() != 0 => Ok(Self {
                    ip,
                    interface: found.scope_id(),
                }),
                _ => Err(format!(
                    "{text:?}: there is no such interface on this machine"
                )),
            },
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface {
            0 => write!(f, "{}", self.ip),
            interface => write!(f, "{}%{interface}", self.ip),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        String::deserialize(reader)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_one_interface_names_it() {
        let read = |text: &str| text.parse::<ListenAddress>();
        assert_eq!(read("::").unwrap().socket(7).to_string(), "[::]:7");
        assert_eq!(read("[::1]").unwrap().socket(7).to_string(), "[::1]:7");
        assert_eq!(read("127.0.0.1").unwrap().to_string(), "127.0.0.1");
        assert!(read("fe80::1").unwrap_err().contains("name it"));
        assert!(
            read("fe80::1%nowhere9")
                .unwrap_err()
                .contains("no such interface")
        );
        assert!(read("localhost").unwrap_err().contains("no IP address"));
        // Every machine has this interface, under whichever number.
        let own = read("fe80::1%lo").unwrap();
        assert_eq!(own.to_string().parse(), Ok(own));
        assert_eq!(own.socket(7).port(), 7);
    }
}
