//! The client's side of HTTP: where a server is, a connection to it, and one exchange over that. Nothing is sent twice and
//! redirects are not followed: what is sent goes where the operator said and nowhere else. Neutral ground, like the clock.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::authorities;
use crate::domain::base::limits::HTTP_HEAD_MAX_BYTES;

/// A server: scheme, host, port and the path before that of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether over TLS.
    pub tls: bool,
    /// The host, an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Prefix of a request's path, without a slash at its end.
    pub path: String,
}

/// How far away a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On this machine.
    Loopback,
    /// In a network of one's own, by its address or name.
    Private,
    /// Elsewhere.
    Public,
}

impl Address {
    /// Reads a URL: `http://` or `https://`, a host, perhaps a port and a path; no user, query or fragment.
    ///
    /// # Errors
    /// The fault, as text.
    pub fn parse(url: &str) -> Result<Self, String> {
        let bad = |what: &str| {
            Err(format!(
                "{what}; write it like http://127.0.0.1:8080/v1 or https://example.org/v1"
            ))
        };
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return bad("a URL begins with http:// or https://"),
        };
        if rest.contains(['@', '?', '#', '\\'])
            || rest.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return bad("the URL has no user, query, fragment or space");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let Some((host, after)) = inner.split_once(']') else {
                    return bad("the URL has a bracket that is not closed");
                };
                if host.parse::<Ipv6Addr>().is_err() {
                    return bad("what stands in brackets in the URL is no IPv6 address");
                }
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port.map(str::parse) {
            None if tls => 443,
            None => 80,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return bad("the URL has no good port"),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
            return bad("the URL has no good host");
        }
        let path = path.trim_end_matches('/');
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            path: match path {
                "" => String::new(),
                path => format!("/{path}"),
            },
        })
    }

    /// Host and port, as a request names them.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// How far away it is, by its host.
    pub fn reach(&self) -> Reach {
        reach_of(&self.host)
    }

    /// Whether it may be a server of the internet, by its host: a name with a dot that is none of a network of one's own, or a
    /// public address. A name that reads as a number in another notation is none.
    pub fn is_public(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => is_public(ip),
            Err(_) => {
                let last = self.host.rsplit('.').next().unwrap_or_default();
                let named = last.starts_with(|c: char| c.is_ascii_alphabetic());
                named && self.reach() == Reach::Public
            }
        }
    }
}

/// Whether an address belongs to the internet and to no special purpose (RFC 6890 and its successors).
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let s = ip.segments();
            // An IPv4 address behind a translator (RFC 6052).
            if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
                let [.., a, b, c, d] = ip.octets();
                return is_public_v4(Ipv4Addr::new(a, b, c, d));
            }
            // What is handed out, without tunnels to IPv4 addresses and what is for documents.
            let special = match s[0] {
                0x2001 => s[1] < 0x200 || s[1] == 0xdb8,
                first => matches!(first, 0x2002 | 0x3fff),
            };
            s[0] & 0xe000 == 0x2000 && !special
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = a == 0
        || a >= 224
        || ip.is_loopback()
        || is_private(ip)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 0, 2)
        || (a, b, c) == (192, 88, 99)
        || (a, b, c) == (198, 51, 100)
        || (a, b, c) == (203, 0, 113)
        || a == 198 && (b & 0xfe) == 18;
    !special
}

/// How far away a host is, by its name or address.
pub fn reach_of(host: &str) -> Reach {
    if host == "localhost" || host.ends_with(".localhost") {
        return Reach::Loopback;
    }
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => Reach::Loopback,
        Ok(IpAddr::V4(ip)) if is_private(ip) => Reach::Private,
        Ok(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => Reach::Private,
        Ok(_) => Reach::Public,
        Err(_) => {
            let ends = [".local", ".lan", ".internal", ".home.arpa"];
            let own = !host.contains('.') || ends.iter().any(|e| host.ends_with(e));
            match own {
                true => Reach::Private,
                false => Reach::Public,
            }
        }
    }
}

fn is_private(ip: Ipv4Addr) -> bool {
    // The last is what overlay networks such as Tailscale use (RFC 6598).
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// The stream of a connection.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection, which moves only while it is driven.
pub type Connection = http1::Connection<TokioIo<Box<dyn Wire>>, Full<Bytes>>;

/// A server that was found: what a connection needs besides the network.
#[derive(Clone)]
pub struct Found {
    places: Vec<SocketAddr>,
    /// How the server proves itself, over TLS.
    proven: Option<(ServerName<'static>, Arc<ClientConfig>)>,
}

/// Finds a server: its addresses, and the authorities that prove it. An address that says it is of this machine leads to
/// this machine alone, whatever a name resolves to: what may be sent there depends on it. A server over TLS is proven by the
/// authorities of the system, or by those of a file.
///
/// # Errors
/// The OS error, or what is wrong with the file.
pub async fn find(address: &Address, ca: Option<&Path>) -> io::Result<Found> {
    find_among(address, ca, Allowed::Every).await
}

/// Which addresses a name may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Every one.
    Every,
    /// Those of the internet: who chose the name is not trusted with the networks of this machine.
    Public,
}

/// As [`find`], among the addresses that are allowed. A connection goes to one of those that were looked at here, whatever the
/// name leads to by then.
///
/// # Errors
/// As [`find`].
pub async fn find_among(
    address: &Address,
    ca: Option<&Path>,
    allowed: Allowed,
) -> io::Result<Found> {
    let found = lookup_host((address.host.as_str(), address.port)).await?;
    let here = address.reach() == Reach::Loopback;
    let found = found.filter(|a| !here || a.ip().is_loopback());
    let found: Vec<_> = found
        .filter(|a| allowed == Allowed::Every || is_public(a.ip()))
        .collect();
    if found.is_empty() {
        return Err(io::Error::other(match allowed {
            Allowed::Every => "the name leads to no address of this machine",
            Allowed::Public => "the name leads to no public address",
        }));
    }
    if !address.tls {
        return Ok(Found {
            places: found,
            proven: None,
        });
    }
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| io::Error::other("TLS has no use for such a host name"))?;
    let ca = ca.map(Path::to_path_buf);
    // Both read files.
    let config = tokio::task::spawn_blocking(move || match ca {
        Some(file) => authorities::of_file(&file),
        None => authorities::of_system(),
    });
    let config = config.await.map_err(io::Error::other)??;
    Ok(Found {
        places: found,
        proven: Some((name, config)),
    })
}

/// Connects to a server that was found.
///
/// # Errors
/// The OS or TLS error.
pub async fn connect(found: &Found) -> io::Result<Box<dyn Wire>> {
    let socket = TcpStream::connect(&found.places[..]).await?;
    socket.set_nodelay(true)?;
    // Dropped, it is reset: the kernel must not go on sending a request that was given up.
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    let Some((name, config)) = found.proven.clone() else {
        return Ok(Box::new(socket));
    };
    let wire = TlsConnector::from(config).connect(name, socket).await?;
    Ok(Box::new(wire))
}

/// Finds a server and connects to it.
///
/// # Errors
/// As [`find`] and [`connect`].
pub async fn dial(address: &Address, ca: Option<&Path>) -> io::Result<Box<dyn Wire>> {
    connect(&find(address, ca).await?).await
}

/// Makes a connection ready for requests.
///
/// # Errors
/// If it broke off.
pub async fn begin(wire: Box<dyn Wire>) -> hyper::Result<(SendRequest<Full<Bytes>>, Connection)> {
    http1::Builder::new()
        .max_buf_size(HTTP_HEAD_MAX_BYTES)
        .handshake(TokioIo::new(wire))
        .await
}

/// Moves a connection while something is exchanged over it; it may end before the answer is read.
pub async fn over<T>(connection: Connection, exchange: impl Future<Output = T>) -> T {
    tokio::pin!(exchange, connection);
    tokio::select! {
        done = &mut exchange => done,
        _ = &mut connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn a_url_is_read_and_written_the_same() {
        for (url, host, port, reach) in [
            (
                "http://127.0.0.1:8080/v1",
                "127.0.0.1",
                8080,
                Reach::Loopback,
            ),
            ("http://localhost", "localhost", 80, Reach::Loopback),
            (
                "https://api.openai.com/v1",
                "api.openai.com",
                443,
                Reach::Public,
            ),
            ("http://[::1]:9/v1", "::1", 9, Reach::Loopback),
            ("http://nas.local:1/x/y", "nas.local", 1, Reach::Private),
            (
                "http://192.168.1.4:4000/v1",
                "192.168.1.4",
                4000,
                Reach::Private,
            ),
            ("http://8.8.8.8/v1", "8.8.8.8", 80, Reach::Public),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.reach(), reach, "{url}");
            assert_eq!(address.to_string(), url);
        }
        let slash = Address::parse("http://a:1/v1/").unwrap();
        assert_eq!(slash.to_string(), "http://a:1/v1");
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for url in [
            "",
            "127.0.0.1:80",
            "ftp://a/",
            "http://",
            "http://a:0/",
            "http://a:99999",
            "http://me:secret@a/v1",
            "http://a/v1?key=secret",
            "http://a/v1#x",
            "http://[::1/v1",
            "http://[nonsense]/v1",
            "http://a b/v1",
            "http://a\r\nHost: b/",
        ] {
            let why = Address::parse(url).unwrap_err();
            assert!(!why.contains("secret") && why.contains("http"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_trusted_leads_to_public_addresses_alone() {
        for (ip, public) in [
            ("8.8.8.8", true),
            ("142.250.74.138", true),
            ("2a00:1450:4001:82a::200a", true),
            ("64:ff9b::808:808", true),
            ("64:ff9b::7f00:1", false),
            ("0.0.0.0", false),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("169.254.169.254", false),
            ("100.100.100.100", false),
            ("192.0.0.8", false),
            ("198.18.0.1", false),
            ("203.0.113.4", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
            ("::10.0.0.1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
        // A name that leads here is refused when it is connected to, whatever it looks like.
        let here = Address::parse("https://localhost").unwrap();
        assert!(find_among(&here, None, Allowed::Public).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_is_reset_and_nothing_of_it_is_sent_later() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let address = Address::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let mut wire = dial(&address, None).await.unwrap();
        let (mut device, _) = server.accept().unwrap();
        // More than the device has room for: the kernel holds what it has not taken.
        let chunk = vec![b'x'; 65_536];
        while let Some(Ok(_)) = wire.write(&chunk).now_or_never() {}
        drop(wire);
        let end = std::io::Read::read_to_end(&mut device, &mut Vec::new());
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
