//! The way in for programs of the node's own user: HTTP on a Unix socket in the state directory.
//!
//! File permissions and the credentials that the kernel reports tell both ends who the other is, so
//! nothing secret has to be sent: a program that merely listens on a port of the node learns nothing.
//! Where there is no such socket, [`reach_device`] has the node prove its device key first.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::TransportError;
use super::dial::{self, PeerUrl};
use super::socket::ByteStream;
use super::tls;
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{
    HANDSHAKE_DEADLINE_MS, LOCAL_SOCKETS_MAX, REQUEST_HEAD_MAX_BYTES, REQUEST_HEADERS_MAX,
};

/// Root may do what the owner may.
const ROOT: u32 = 0;
/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// In the extensions of a request that came over the socket: its sender runs as the node's own user.
/// No other request carries it, since only this room puts it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromOwner;

/// The bound socket; its file goes away with it.
#[derive(Debug)]
pub struct LocalListener {
    unix: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl LocalListener {
    /// Makes the socket, readable and writable by its owner only. Whoever calls holds the lock of the
    /// state directory, so a socket that is there already was left by a run that ended.
    ///
    /// # Errors
    /// What the system said, also where the path is longer than a socket's may be.
    pub fn bind(path: &Path) -> io::Result<Self> {
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
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until `stop`, which also ends every connection. Connections run on `tasks`.
    pub async fn serve(self, app: Router, tasks: TaskTracker, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(LOCAL_SOCKETS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.unix.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if self.is_ours(&stream) => {
                    let (app, stop) = (app.clone(), stop.clone());
                    tasks.spawn(async move {
                        let _place = place;
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => {}
                            () = answer(stream, app) => {}
                        }
                    });
                }
                Ok(_) => tracing::warn!("another user's program knocked at the local socket"),
                Err(error) => {
                    tracing::warn!(%error, "could not accept a local connection");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }

    fn is_ours(&self, stream: &UnixStream) -> bool {
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == ROOT)
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, app: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HANDSHAKE_DEADLINE_MS))
        .max_headers(REQUEST_HEADERS_MAX)
        .max_buf_size(REQUEST_HEAD_MAX_BYTES);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let app = app.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(FromOwner);
            match app.oneshot(request).await {
                Ok(response) => Ok::<_, Infallible>(response),
                Err(never) => match never {},
            }
        }
    });
    let served = http.serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a local connection broke");
    }
}

/// Connects to the socket of a node. Whoever serves it must run as `owner`, the user who owns the
/// state directory, or as root.
///
/// # Errors
/// What the system said; `PermissionDenied` if somebody else serves it.
pub async fn reach(path: &Path, owner: u32) -> io::Result<UnixStream> {
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

/// Connects to a port of this machine by TLS, if whoever listens there proves the key of `device`.
/// Nothing is sent before that.
///
/// # Errors
/// [`TransportError`]; `WrongDevice` or `Tls` if another program has the port.
pub async fn reach_device(
    address: SocketAddr,
    device: &DeviceId,
) -> Result<Box<dyn ByteStream>, TransportError> {
    let url: PeerUrl = format!("wss://{address}/").parse().map_err(|_| {
        let why = "the address is no address of this machine".to_owned();
        let url = address.to_string();
        TransportError::Tls { url, why }
    })?;
    let failed = |why: String| TransportError::Tls {
        url: url.to_string(),
        why,
    };
    let client = tls::client_without_key().map_err(|e| failed(e.to_string()))?;
    let stream = TcpStream::connect(address)
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| TransportError::Connect {
            url: url.to_string(),
            source,
        })?;
    let (stream, protection) =
        dial::secure(&url, stream, Arc::new(client), None, Some(device)).await?;
    match protection.device.as_ref() == Some(device) {
        true => Ok(stream),
        false => Err(failed("whoever listens there proves no device".to_owned())),
    }
}
