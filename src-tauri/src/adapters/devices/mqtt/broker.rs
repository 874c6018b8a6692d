//! Where a broker is and how it is reached: TCP, or TLS with the authorities of the system or of a file.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::adapters::authorities;

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
    /// What is wrong, with the key.
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

    /// Connects.
    ///
    /// # Errors
    /// What the system or TLS says.
    pub(super) async fn dial(&self) -> io::Result<Box<dyn Wire>> {
        let found: Vec<_> = lookup_host((self.host.as_str(), self.port))
            .await?
            .collect();
        let socket = TcpStream::connect(&found[..]).await?;
        socket.set_nodelay(true)?;
        if !self.tls {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let config = match &self.ca {
            Some(file) => authorities::of_file(file)?,
            None => authorities::of_system()?,
        };
        let wire = TlsConnector::from(config).connect(name, socket).await?;
        Ok(Box::new(wire))
    }
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
}
