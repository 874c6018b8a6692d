//! Dialing a peer: a URL parsed once, a bounded connect, the WebSocket upgrade. No `Origin` is sent.
//! Retrying and choosing among addresses of a peer is the node's business.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, header};
use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_util::sync::CancellationToken;

use super::TransportError;
use super::meter::Metered;
use super::socket::{ByteStream, Channel, Posture, Protection, Socket, config, keep_alive};
use super::tls::{EXPORTER, Fingerprint, Tls, device_of, exported};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{DEFAULT_PORT, URL_MAX_BYTES};

/// The address of a peer: `ws://host[:port][/path]`, or `wss`, `http`, `https` read accordingly.
/// A missing port is that of a node for `ws`, and that of the web, 80 or 443, for the others. A link-local
/// address of IPv6 names its interface: `ws://[fe80::1%eth0]` (RFC 4007 §11), also as `%25eth0` (RFC 6874).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// A fault in a peer URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{url}\" is no peer URL: {problem}; write it like ws://192.168.1.7:18789")]
pub struct UrlError {
    /// The text that was given, shortened.
    pub url: String,
    /// The fault.
    pub problem: String,
}

impl PeerUrl {
    /// Whether the URL asks for TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }
    /// The host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// Whether the address is of this very machine.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for PeerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text).map_err(|problem| UrlError {
            url: text.chars().take(100).collect(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<PeerUrl, String> {
    if text.len() > URL_MAX_BYTES {
        return Err(format!("it is longer than {URL_MAX_BYTES} bytes"));
    }
    if text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
        return Err("it holds a space or a character outside ASCII".into());
    }
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => false,
        "wss" | "https" => true,
        other => return Err(format!("the scheme \"{other}\" is not ws or wss")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(at);
    if authority.contains('@') {
        return Err("user names and passwords do not belong in it".into());
    }
    let (host, port) = split_authority(authority)?;
    // Names know no case; those of interfaces do.
    let host = match host.split_once('%') {
        Some((ip, zone)) => {
            let zone = zone
                .strip_prefix("25")
                .filter(|z| !z.is_empty())
                .unwrap_or(zone);
            format!("{}%{zone}", ip.to_ascii_lowercase())
        }
        None => host.to_ascii_lowercase(),
    };
    let path = if tail.starts_with('/') {
        tail.to_owned()
    } else {
        format!("/{tail}")
    };
    let port = match port {
        None if scheme.eq_ignore_ascii_case("ws") => DEFAULT_PORT,
        None if tls => 443,
        None => 80,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 => number,
            _ => return Err(format!("\"{port}\" is not a port between 1 and 65535")),
        },
    };
    Ok(PeerUrl {
        tls,
        host,
        port,
        path,
    })
}

fn split_authority(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or("the bracket of the address is not closed")?;
        let (ip, zone) = host.split_once('%').unwrap_or((host, "1"));
        ip.parse::<Ipv6Addr>()
            .map_err(|_| format!("\"{ip}\" is not an IPv6 address"))?;
        let named = |b: u8| b.is_ascii_alphanumeric() || b"-._@%".contains(&b);
        if zone.is_empty() || !zone.bytes().all(named) {
            return Err(format!("\"{zone}\" is not the name of an interface"));
        }
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if port.is_empty() => Ok((host, None)),
            None => Err(format!("\"{port}\" follows the address")),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if port.is_some_and(|port| port.contains(':')) {
        return Err("an IPv6 address needs brackets".into());
    }
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    if !host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    {
        return Err(format!("\"{host}\" is not a host name"));
    }
    Ok((host, port))
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        let path = if self.path == "/" { "" } else { &self.path };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}{path}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}{path}", self.host, self.port)
        }
    }
}

/// How a link is to be protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all; a `wss://` URL is then refused.
    Plain,
    /// By TLS, also towards a `ws://` URL.
    Tls {
        /// Our side of it.
        tls: Tls,
        /// The certificate that must be shown.
        pin: Option<Fingerprint>,
        /// The device that a certificate of an Ed25519 key must be of. Without one, the device that answers
        /// is reported but not bound.
        expect: Option<DeviceId>,
    },
}

/// Opens a link to a peer within `timeout`, from name lookup to upgrade. `stop` cuts the link later.
/// Nothing of the mesh is said before the other side's certificate has been judged.
///
/// # Errors
/// Says which step failed; all of them may be tried again, except [`TransportError::TlsNeeded`].
pub async fn dial(
    url: &PeerUrl,
    security: &Security,
    timeout: Duration,
    stop: &CancellationToken,
) -> Result<Socket, TransportError> {
    if url.tls && matches!(security, Security::Plain) {
        return Err(TransportError::TlsNeeded {
            url: url.to_string(),
        });
    }
    match tokio::time::timeout(timeout, Box::pin(open(url, security, stop))).await {
        Ok(result) => result,
        Err(_) => Err(TransportError::TimedOut {
            url: url.to_string(),
            timeout_ms: timeout.as_millis(),
        }),
    }
}

async fn open(
    url: &PeerUrl,
    security: &Security,
    stop: &CancellationToken,
) -> Result<Socket, TransportError> {
    let stream = connect(url).await?;
    keep_alive(&stream);
    let peer = stream
        .peer_addr()
        .and_then(|peer| stream.set_nodelay(true).map(|()| peer));
    let peer = peer.map_err(|source| TransportError::Connect {
        url: url.to_string(),
        source,
    })?;
    let refused = |reason: String| TransportError::Refused {
        url: url.to_string(),
        reason,
    };
    let (stream, protection) = match security {
        Security::Plain => {
            let channel = stream.local_addr().ok().map(|own| Channel::tcp(own, peer));
            let protection = Protection::PLAIN.over(channel);
            (Box::new(stream) as Box<dyn ByteStream>, protection)
        }
        Security::Tls { tls, pin, expect } => {
            secure(url, stream, tls.client(), *pin, expect.as_ref()).await?
        }
    };
    // The address, not the name: a node refuses host names it does not know (DNS rebinding). The
    // interface counts on this machine only (RFC 6874 §4).
    let there = SocketAddr::new(peer.ip(), peer.port());
    let request = Request::builder()
        .uri(format!("ws://{there}{}", url.path))
        .header(header::HOST, there.to_string())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .body(())
        .map_err(|error| refused(error.to_string()))?;
    let (stream, settings) = (Metered::after_head(stream), Some(config()));
    match Box::pin(client_async_with_config(request, stream, settings)).await {
        Ok((stream, _)) => Ok(Socket::wrap(stream, protection, stop, None)),
        Err(WsError::Http(answer)) => Err(refused(format!("HTTP {}", answer.status()))),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// Shakes hands and judges the certificate: the pin first, then whose key it is of.
pub(super) async fn secure(
    url: &PeerUrl,
    stream: TcpStream,
    client: Arc<ClientConfig>,
    pin: Option<Fingerprint>,
    expect: Option<&DeviceId>,
) -> Result<(Box<dyn ByteStream>, Protection), TransportError> {
    let failed = |why: String| TransportError::Tls {
        url: url.to_string(),
        why,
    };
    let name = Tls::server_name().ok_or_else(|| failed("no server name".to_owned()))?;
    let connector = TlsConnector::from(client);
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|e| failed(e.to_string()))?;
    let shown = stream.get_ref().1.peer_certificates();
    let certificate = shown
        .and_then(|chain| chain.first())
        .ok_or_else(|| failed("the peer showed no certificate".to_owned()))?;
    let found = Fingerprint::of(certificate);
    if let Some(pin) = pin.filter(|pin| *pin != found) {
        return Err(TransportError::PinMismatch {
            url: url.to_string(),
            pin,
            found,
        });
    }
    let protection = match (device_of(certificate), expect) {
        (Some(device), Some(expected)) if device == *expected => Protection::tls(Some(device)),
        (Some(device), Some(expected)) => {
            return Err(TransportError::WrongDevice {
                url: url.to_string(),
                expected: expected.clone(),
                found: device,
            });
        }
        (device, _) => Protection {
            posture: match pin {
                Some(_) => Posture::TlsPinned,
                None => Posture::TlsUnpinned,
            },
            device,
            channel: None,
        },
    };
    let channel = exported(|out| {
        stream
            .get_ref()
            .1
            .export_keying_material(out, EXPORTER, None)
    });
    Ok((Box::new(stream), protection.over(channel)))
}

async fn connect(url: &PeerUrl) -> Result<TcpStream, TransportError> {
    let addresses: Vec<SocketAddr> = match url.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, url.port)],
        Err(_) => tokio::net::lookup_host((url.host.as_str(), url.port))
            .await
            .map_err(|source| TransportError::Resolve {
                url: url.to_string(),
                source,
            })?
            .collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(TransportError::Connect {
        url: url.to_string(),
        source: last,
    })
}

/// Opens links: TCP in the real world, a simulated network in tests.
pub trait Dialer: Send + Sync {
    /// As [`dial`].
    fn dial<'a>(
        &'a self,
        url: &'a PeerUrl,
        security: &'a Security,
        timeout: Duration,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Socket, TransportError>>;
}

/// Opens links over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

impl Dialer for TcpDialer {
    fn dial<'a>(
        &'a self,
        url: &'a PeerUrl,
        security: &'a Security,
        timeout: Duration,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Socket, TransportError>> {
        Box::pin(dial(url, security, timeout, stop))
    }
}
