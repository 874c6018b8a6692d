//! No socket. A named pipe tells a client who serves it only through functions that are not safe, and its name can be taken by
//! any program; so commands come by the port, over TLS in which the node has proven its device key before a token of the
//! state directory is shown ([`super::reach_device`]).

use std::io;
use std::path::Path;

use tokio::io::DuplexStream;

/// A connection, of which there are none.
pub(super) type Stream = DuplexStream;

/// Who owns a state directory: not asked here.
pub type Owner = ();

/// A socket, of which there are none.
#[derive(Debug)]
pub(super) enum Socket {}

fn none() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no sockets that say who is on the other end",
    )
}

impl Socket {
    /// See [`super::LocalListener::bind`].
    pub(super) fn bind(_path: &Path) -> io::Result<Self> {
        Err(none())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        match *self {}
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Option<(Stream, Option<i32>)>> {
        match *self {}
    }
}

/// Who owns a state directory.
///
/// # Errors
/// None.
pub fn owner_of(_state_dir: &Path) -> io::Result<Owner> {
    Ok(())
}

/// Connects to the socket of a node.
///
/// # Errors
/// Always: there is none.
pub async fn reach(_path: &Path, _owner: Owner) -> io::Result<DuplexStream> {
    Err(none())
}
