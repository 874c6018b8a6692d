//! The transport: one TCP port that speaks HTTP/1 and WebSocket, and the dialing side of a link.
//!
//! `listener` accepts and tells the two apart, `doorway` keeps strangers from crowding out peers,
//! `rules` decides who may upgrade, `socket` is the link itself, `dial` opens one, and `channel` is
//! the in-memory twin. What a message means is the node's business: nothing here reads JSON.
//! There is no TLS yet; `Socket` is built over any byte stream, which is where it will fit in.

pub mod channel;
pub mod dial;
pub mod doorway;
pub mod listener;
pub mod rules;
pub mod socket;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;

pub use dial::{Dialer, PeerUrl, TcpDialer, UrlError, dial};
pub use doorway::{Doorway, DoorwayNumbers, Slot};
pub use listener::{Incoming, Listener, Settings};
pub use rules::{Rules, host_allowed};
pub use socket::{Posture, Received, Socket, SocketError, SocketReader, SocketWriter, Text};

/// Why a port could not be opened or a peer could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Another program holds the port.
    #[error(
        "port {} on {} is already in use: choose another with --port, or stop the program that holds it", .addr.port(), .addr.ip()
    )]
    PortInUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The system refused to open the port for another reason.
    #[error("could not listen on {addr}: {source}; check the address and the port")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The URL asks for TLS, which this release does not speak.
    #[error("cannot dial {url}: TLS links come with a later release; use a ws:// URL")]
    TlsNotYet {
        /// The URL that was asked for.
        url: String,
    },
    /// The host name has no address.
    #[error(
        "cannot dial {url}: the host name did not resolve ({source}); check the spelling or use an IP address"
    )]
    Resolve {
        /// The URL that was asked for.
        url: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the host accepted the connection.
    #[error("cannot dial {url}: {source}; check that the peer runs and that its port is open")]
    Connect {
        /// The URL that was asked for.
        url: String,
        /// What the system said, for the last address tried.
        source: io::Error,
    },
    /// The peer did not answer within the time allowed.
    #[error(
        "cannot dial {url}: no answer within {timeout_ms} ms; check that the peer is reachable"
    )]
    TimedOut {
        /// The URL that was asked for.
        url: String,
        /// The time that was allowed, in milliseconds.
        timeout_ms: u128,
    },
    /// The peer answered, but not with a WebSocket.
    #[error(
        "cannot dial {url}: the other side refused the WebSocket ({reason}); check that it is a ClawMesh node"
    )]
    Refused {
        /// The URL that was asked for.
        url: String,
        /// What it answered.
        reason: String,
    },
}
