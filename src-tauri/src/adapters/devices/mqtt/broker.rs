//! Where a broker is and how it is reached: TCP, or TLS with the authorities of the system or of a file.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::adapters::authorities;
use crate::adapters::devices::orders::host_key;
use crate::adapters::http_client::{Reach, reach_of};
use crate::domain::base::limits::MQTT_ADDRESSES_TRIED_MAX;

/// A connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A broker, as its URL has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    tls: bool,
    /// An IPv6 address without its brackets.
    host: String,
    port: u16,
    /// A PEM file of the authorities to be trusted instead of the system's.
    ca: Option<PathBuf>,
}

impl Broker {
    /// Reads `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.
    ///
    /// # Errors
    /// The fault, with the key.
    pub(super) fn read(url: &str, ca: Option<PathBuf>) -> Result<Self, String> {
        let bad = |why: &str| {
            Err(format!(
                "broker: {why}: write mqtt://HOST:1883, or mqtts://HOST:8883 for TLS"
            ))
        };
        let (tls, rest) = match url.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return bad("it is no URL of a broker"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            // It may hold a password, so it is not repeated.
            return bad("a name and password do not belong into it (see user and password)");
        }
        let (host, port) = match rest.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, ""))) => (host, None),
            Some(Some((host, rest))) => match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return bad("its address is none"),
            },
            Some(None) => return bad("its address is none"),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let usual = if tls { 8883 } else { 1883 };
        let port = port.map_or(Ok(usual), str::parse);
        let Some(port) = port.ok().filter(|port| *port > 0) else {
            return bad("its port is none");
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return bad("its host is none");
        }
        if tls && ServerName::try_from(host.to_owned()).is_err() {
            return bad("TLS has no use for its host");
        }
        if !tls && ca.is_some() {
            return Err("ca: counts for mqtts:// alone".to_owned());
        }
        if ca.as_ref().is_some_and(|ca| !ca.is_absolute()) {
            return Err("ca: must be an absolute path".to_owned());
        }
        let host = host.to_owned();
        Ok(Self {
            tls,
            host,
            port,
            ca,
        })
    }

    /// Host and port in one spelling.
    pub(super) fn key(&self) -> String {
        format!("{}:{}", host_key(&self.host), self.port)
    }

    /// Whether the traffic can be read on the way: the broker is in a public network, and not reached over TLS.
    pub(super) fn is_plain_and_far(&self) -> bool {
        !self.tls && reach_of(&self.host) == Reach::Public
    }

    /// Connects; looking up the name and each of its addresses may take `limit`.
    ///
    /// # Errors
    /// The OS or TLS error.
    pub(super) async fn dial(&self, limit: Duration) -> io::Result<Box<dyn Wire>> {
        let tls = match (self.tls, &self.ca) {
            (false, _) => None,
            (true, Some(file)) => Some(authorities::of_file(file)?),
            (true, None) => Some(authorities::of_system()?),
        };
        let tls = tls.map(TlsConnector::from);
        let found = timeout(limit, lookup_host((self.host.as_str(), self.port))).await;
        let found = found.map_err(|_| late("its name is not looked up in time"))??;
        // Of many addresses only the first ones, so that this has an end.
        let places = found.take(MQTT_ADDRESSES_TRIED_MAX);
        first(places, limit, |place| self.reach(place, tls.as_ref())).await
    }

    async fn reach(
        &self,
        place: SocketAddr,
        tls: Option<&TlsConnector>,
    ) -> io::Result<Box<dyn Wire>> {
        let socket = TcpStream::connect(place).await?;
        socket.set_nodelay(true)?;
        let Some(tls) = tls else {
            return Ok(Box::new(socket));
        };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, socket).await?))
    }
}

/// The first place that can be reached, each within a time of its own: a dead one hides no other.
async fn first<T, F: Future<Output = io::Result<T>>>(
    places: impl Iterator<Item = SocketAddr>,
    limit: Duration,
    reach: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut why = io::Error::other("the name stands for no address");
    for place in places {
        match timeout(limit, reach(place)).await {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(error)) => why = error,
            Err(_) => why = late("it does not answer in time"),
        }
    }
    Err(why)
}

fn late(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why.to_owned())
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_broker_is_read_from_its_url() {
        for (url, shown) in [
            ("mqtt://127.0.0.1", "mqtt://127.0.0.1:1883"),
            ("mqtts://hub.farm/", "mqtts://hub.farm:8883"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
        ] {
            assert_eq!(Broker::read(url, None).unwrap().to_string(), shown);
        }
        for (url, why) in [
            ("http://x", "no URL of a broker"),
            ("mqtt://", "host"),
            ("mqtt://a:b", "port"),
            ("mqtt://a:0", "port"),
            ("mqtt://a b", "host"),
            ("mqtt://[::1", "address"),
            ("mqtt://ada:secret@hub", "user and password"),
        ] {
            let told = Broker::read(url, None).unwrap_err();
            assert!(told.contains(why) && !told.contains("secret"), "{told}");
        }
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_hides_no_other() {
        let place = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (dead, shut, good) = (place("[::1]:1"), place("127.0.0.2:1"), place("127.0.0.1:1"));
        let limit = Duration::from_millis(10);
        let reach = |place| async move {
            match place {
                _ if place == dead => std::future::pending().await,
                _ if place == shut => Err(io::ErrorKind::ConnectionRefused.into()),
                place => Ok(place),
            }
        };
        let all = [dead, shut, good].into_iter();
        assert_eq!(first(all, limit, reach).await.unwrap(), good);
        for (places, why) in [
            (vec![shut, dead], "it does not answer in time"),
            (vec![dead, shut], "connection refused"),
            (vec![], "no address"),
        ] {
            let told = first(places.into_iter(), limit, reach).await.unwrap_err();
            assert!(told.to_string().contains(why), "{told}");
        }
    }
}
