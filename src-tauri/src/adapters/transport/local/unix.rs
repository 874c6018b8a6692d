//! A Unix socket. The kernel says who is on either end.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Root may do what the owner may.
const ROOT: u32 = 0;

/// A connection.
pub(super) type Stream = UnixStream;

/// The number of a user.
pub type Owner = u32;

/// The bound socket; its file goes away with it.
#[derive(Debug)]
pub(super) struct Socket {
    unix: UnixListener,
    path: PathBuf,
    owner: Owner,
}

impl Socket {
    /// See [`super::LocalListener::bind`].
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let unix = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(path)?.uid();
        Ok(Self {
            unix,
            path: path.to_owned(),
            owner,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection and its process, where the system names it; `None` for one of another user.
    pub(super) async fn accept(&self) -> io::Result<Option<(Stream, Option<i32>)>> {
        let (stream, _) = self.unix.accept().await?;
        let peer = stream.peer_cred().ok();
        let peer = peer.filter(|peer| peer.uid() == self.owner || peer.uid() == ROOT);
        Ok(peer.map(|peer| (stream, peer.pid())))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Who owns a state directory.
///
/// # Errors
/// The OS error.
pub fn owner_of(state_dir: &Path) -> io::Result<Owner> {
    fs::metadata(state_dir).map(|meta| meta.uid())
}

/// Connects to the socket of a node. The server must run as `owner`, the user who owns the state directory, or
/// as root.
///
/// # Errors
/// The OS error; `PermissionDenied` if another user serves it.
pub async fn reach(path: &Path, owner: Owner) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    let server = stream.peer_cred()?.uid();
    match server == owner || server == ROOT {
        true => Ok(stream),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it is served by user {server}, not by the owner of the state directory"),
        )),
    }
}
