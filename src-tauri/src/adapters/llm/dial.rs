//! A connection to a model's server, over TLS with the certificates that this system trusts.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::address::{Address, Reach};
use crate::adapters::authorities;

/// A connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Connects. An address that says it is of this machine leads to this machine alone, whatever a name resolves to: what
/// may be sent there depends on it.
///
/// # Errors
/// What the system or TLS says.
pub(super) async fn dial(address: &Address) -> io::Result<Box<dyn Wire>> {
    let found = lookup_host((address.host.as_str(), address.port)).await?;
    let here = address.reach() == Reach::Loopback;
    let found: Vec<_> = found.filter(|a| !here || a.ip().is_loopback()).collect();
    if found.is_empty() {
        return Err(io::Error::other(
            "the name leads to no address of this machine",
        ));
    }
    let socket = TcpStream::connect(&found[..]).await?;
    socket.set_nodelay(true)?;
    if !address.tls {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| io::Error::other("TLS has no use for such a host name"))?;
    let config = authorities::of_system()?;
    Ok(Box::new(
        TlsConnector::from(config).connect(name, socket).await?,
    ))
}
