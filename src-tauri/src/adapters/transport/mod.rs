//! The transport: one TCP port that speaks HTTP/1 and WebSocket, and the dialing side of a link.
//!
//! `listener` accepts and tells the two apart, `doorway` keeps strangers from crowding out peers, `origins` decides who may
//! upgrade, `socket` is the link itself, `dial` opens one, and `channel` is the in-memory twin. Messages are interpreted by the
//! node: nothing here reads JSON. `local` is the Unix socket for programs of the node's own user. `meter` bounds input from
//! strangers; `tls` binds a link to the device keys of both ends; plain and TLS share the port. `away` is a port of its own for
//! browsers of other machines, over TLS alone, with a `certificate` of the operator's; `addresses` counts who knocks there.

pub mod address;
mod addresses;
pub mod away;
pub mod certificate;
pub mod channel;
pub mod dial;
pub mod doorway;
pub mod listener;
pub mod local;
mod meter;
pub mod origins;
mod serving;
pub mod socket;
pub mod tls;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;

pub use address::ListenAddress;
pub use away::{Away, AwayListener, AwayTls};
pub use certificate::{Certificate, CertificateError};
pub use dial::{Dialer, PeerUrl, Security, TcpDialer, UrlError, dial};
pub use doorway::{Connection, Doorway, DoorwayNumbers, Slot};
pub use listener::{Incoming, Listener, Secure, Settings};
pub use local::{FromOwner, LocalListener, Visit};
pub use origins::{Rules, host_allowed};
pub use socket::{
    Channel, Posture, Protection, Received, Socket, SocketError, SocketReader, SocketWriter, Text,
};

pub use tls::{BrowserCertificate, Fingerprint, Tls, TlsError};

use crate::domain::base::DeviceId;

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
        /// The OS error.
        source: io::Error,
    },
    /// The URL asks for TLS and the caller for none.
    #[error("cannot dial {url} without TLS: use a ws:// URL, or let this link use TLS")]
    TlsNeeded {
        /// The URL that was asked for.
        url: String,
    },
    /// The TLS handshake failed.
    #[error(
        "cannot dial {url}: no TLS with the other side ({why}); check that it is a ClawMesh node"
    )]
    Tls {
        /// The URL that was asked for.
        url: String,
        /// The fault.
        why: String,
    },
    /// The other side showed another certificate than the pinned one.
    #[error(
        "cannot dial {url}: its certificate is {found}, but {pin} is pinned; if the peer got a new certificate, pin that one"
    )]
    PinMismatch {
        /// The URL that was asked for.
        url: String,
        /// The pinned fingerprint.
        pin: Fingerprint,
        /// The fingerprint shown.
        found: Fingerprint,
    },
    /// Another device than the expected one answered.
    #[error("cannot dial {url}: device {found} answered where {expected} was expected")]
    WrongDevice {
        /// The URL that was asked for.
        url: String,
        /// The device that was meant.
        expected: DeviceId,
        /// The device that answered.
        found: DeviceId,
    },
    /// The host name has no address.
    #[error(
        "cannot dial {url}: the host name did not resolve ({source}); check the spelling or use an IP address"
    )]
    Resolve {
        /// The URL that was asked for.
        url: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// No address of the host accepted the connection.
    #[error("cannot dial {url}: {source}; check that the peer runs and that its port is open")]
    Connect {
        /// The URL that was asked for.
        url: String,
        /// The OS error, for the last address tried.
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
        /// Its answer.
        reason: String,
    },
}
