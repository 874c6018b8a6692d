//! The client of our own HTTP API, for the commands and other programs of the node's user. It finds the
//! node through `run.json` of the state directory.
//!
//! It asks over the Unix socket in the state directory, where the kernel says who serves it and no token
//! is sent. Where a node has no such socket it asks by the port, over TLS in which the node has proven the
//! device key of the directory before any token is sent: a program that merely has the port learns nothing.
//!
//! One connection per request, no pool, no task: a command asks once or twice and ends.

mod alerts;
mod approvals;
mod calls;
mod channels;
mod console;
mod gateways;
mod mcp;
mod messages;
mod path;
mod pictures;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::path::{escaped, with};
use crate::adapters::files;
use crate::adapters::keystore;
use crate::adapters::paths::StateDir;
use crate::adapters::transport::socket::ByteStream;
use crate::adapters::transport::{TransportError, local};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{
    REMOTE_ANSWER_MAX_BYTES, REMOTE_ANSWER_MS, REMOTE_CONNECT_MS, RUN_FILE_MAX_BYTES,
};
use crate::operator::access::{API_ROOT, Scope, Tokens, TokensError};
use crate::operator::dto::ErrorBody;
use crate::operator::routes::{Lines, Route, Verb};

/// How long the node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(REMOTE_CONNECT_MS);
/// How long an answer may take; a little more than the node gives itself.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(REMOTE_ANSWER_MS);
/// Why the running node could not be asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The node refused.
    #[error("{code}: {message}")]
    Refused {
        /// The stable code.
        code: String,
        /// The node's sentence.
        message: String,
    },
    /// A file of the state directory cannot be used.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// The fault.
        why: String,
    },
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The node cannot be reached.
    #[error("the node at {address} cannot be reached: {why}")]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// The error.
        why: String,
    },
    /// The node took too long.
    #[error("the node at {address} did not answer within {seconds} s")]
    TimedOut {
        /// Where it is.
        address: SocketAddr,
        /// How long we waited.
        seconds: u64,
    },
    /// A long answer broke off, or could not be written on.
    #[error("the answer could not be written whole: {source}")]
    Sink {
        /// The error.
        source: io::Error,
    },
    /// The answer is not what this program expects.
    #[error("the node at {address} answered something this program does not understand: {why}")]
    Answer {
        /// Where it is.
        address: SocketAddr,
        /// The fault.
        why: String,
    },
}

impl RemoteError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            RemoteError::Refused { code, .. } => code,
            RemoteError::File { .. } | RemoteError::Tokens(_) => "STATE_UNUSABLE",
            RemoteError::Unreachable { .. } => "NODE_UNREACHABLE",
            RemoteError::TimedOut { .. } => "TIMEOUT",
            RemoteError::Sink { .. } => "ANSWER_BROKEN_OFF",
            RemoteError::Answer { .. } => "ANSWER_INVALID",
        }
    }

    /// The sentence for people, without the code.
    pub fn message(&self) -> String {
        match self {
            RemoteError::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunFile {
    port: u16,
    #[serde(default)]
    host: Option<IpAddr>,
    #[serde(default)]
    socket: Option<PathBuf>,
}

/// A running node.
#[derive(Debug, Clone)]
pub struct Remote {
    address: SocketAddr,
    way: Way,
}

/// How a running node is reached.
#[derive(Debug, Clone)]
enum Way {
    /// Over its Unix socket, which must be served by this user.
    Socket {
        /// Where it is.
        path: PathBuf,
        /// Who owns the state directory.
        owner: local::Owner,
    },
    /// By its port, once it has proven to be this device.
    Proven {
        /// The device of the state directory.
        device: DeviceId,
        /// What is shown to it then.
        tokens: Tokens,
    },
}

type Asked<T> = Result<T, RemoteError>;

/// Where the pieces of a long answer go.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

fn run_file(state_dir: &Path) -> Asked<Option<(SocketAddr, Option<PathBuf>)>> {
    let path = StateDir::at(state_dir).run_file();
    let file = |why: String| RemoteError::File {
        path: path.clone(),
        why,
    };
    let text = match files::read_text(&path, RUN_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file(e.to_string())),
    };
    // It is not synced to the disk: a loss of power may leave it empty, and then no node runs.
    if text.is_empty() {
        return Ok(None);
    }
    let run: RunFile = serde_json::from_str(&text)
        .map_err(|e| file(format!("is not what a node writes ({e})")))?;
    // By its port the API answers loopback only, so a node that listens everywhere is asked there.
    let ip = match run.host {
        Some(ip) if ip.is_loopback() => ip,
        Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Ok(Some((SocketAddr::new(ip, run.port), run.socket)))
}

impl Remote {
    /// The node that runs on the state directory; `None` if none does. A `run.json` left behind by
    /// a crash names a socket and a port where nobody listens, or where somebody else does who is no
    /// node of ours and is told nothing.
    ///
    /// # Errors
    /// If its files cannot be used, or something listens there that is not this directory's node.
    pub async fn connect(state_dir: &Path) -> Asked<Option<Remote>> {
        let Some((address, socket)) = run_file(state_dir)? else {
            return Ok(None);
        };
        let remote = match socket {
            Some(path) => {
                let owner = local::owner_of(state_dir).map_err(|e| RemoteError::File {
                    path: state_dir.to_owned(),
                    why: e.to_string(),
                })?;
                let way = Way::Socket { path, owner };
                Remote { address, way }
            }
            // A run that has ended has let go of the lock; then its port may be anybody's.
            None if lock_is_free(state_dir) => return Ok(None),
            None => match Self::proven(state_dir, address)? {
                Some(remote) => remote,
                None => return Ok(None),
            },
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, remote.open()).await {
            Ok(Ok(_)) => Ok(Some(remote)),
            Ok(Err(e)) if is_gone(&e) => Ok(None),
            Ok(Err(e)) => Err(remote.lost(e.to_string())),
            Err(_) => Err(RemoteError::TimedOut {
                address,
                seconds: CONNECT_TIMEOUT.as_secs(),
            }),
        }
    }

    /// A node that must prove to be the device of the state directory before it is told anything.
    fn proven(state_dir: &Path, address: SocketAddr) -> Asked<Option<Remote>> {
        let dir = StateDir::at(state_dir);
        let key = keystore::device_public_key(&dir).map_err(|e| RemoteError::File {
            path: dir.identity_file(),
            why: e.to_string(),
        })?;
        let (Some(key), Some(tokens)) = (key, Tokens::load(state_dir)?) else {
            return Ok(None);
        };
        let device = key.device_id();
        let way = Way::Proven { device, tokens };
        Ok(Some(Remote { address, way }))
    }

    /// A connection to the node, which has proven itself.
    async fn open(&self) -> io::Result<Box<dyn ByteStream>> {
        match &self.way {
            Way::Socket { path, owner } => Ok(Box::new(local::reach(path, *owner).await?)),
            Way::Proven { device, .. } => {
                local::reach_device(self.address, device)
                    .await
                    .map_err(|error| match error {
                        TransportError::Connect { source, .. } => source,
                        other => io::Error::other(other),
                    })
            }
        }
    }

    fn lost(&self, why: String) -> RemoteError {
        RemoteError::Unreachable {
            address: self.address,
            why,
        }
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn ask<B, A: DeserializeOwned>(
        &self,
        route: &Route<B, A>,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Asked<A> {
        let method = match route.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Delete => Method::DELETE,
        };
        let asking = self.exchange(route.scope, (method, path, &[]), body, None);
        let (status, bytes) = self.in_time(Box::pin(asking)).await?;
        let odd = |why: String| RemoteError::Answer {
            address: self.address,
            why,
        };
        match status.is_success() {
            true => serde_json::from_slice(&bytes).map_err(|e| odd(e.to_string())),
            false => Err(self.refused(status, &bytes)),
        }
    }

    /// What is asked, no longer than an answer may take.
    async fn in_time<T>(&self, asking: impl Future<Output = Asked<T>>) -> Asked<T> {
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, asking).await;
        asked.unwrap_or(Err(RemoteError::TimedOut {
            address: self.address,
            seconds: ANSWER_TIMEOUT.as_secs(),
        }))
    }

    /// The refusal of a node that did not answer with success.
    fn refused(&self, status: StatusCode, bytes: &[u8]) -> RemoteError {
        match serde_json::from_slice::<ErrorBody>(bytes) {
            Ok(body) => RemoteError::Refused {
                code: body.error.code,
                message: body.error.message,
            },
            Err(_) => RemoteError::Answer {
                address: self.address,
                why: format!("HTTP status {status}"),
            },
        }
    }

    /// Asks for an answer of any length, which goes to `sink` piece by piece.
    async fn stream<B: Serialize>(
        &self,
        route: Route<B, Lines>,
        body: Option<&B>,
        sink: &mut Sink<'_>,
    ) -> Asked<()> {
        let (method, body) = match body {
            Some(body) => (Method::POST, serde_json::to_vec(body).ok()),
            None => (Method::GET, None),
        };
        let asked = (method, route.path, &[][..]);
        let asking = self.exchange(route.scope, asked, body, Some(sink));
        let (status, bytes) = asking.await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(self.refused(status, &bytes)),
        }
    }

    /// One request on a connection of its own. With a sink a good answer goes there, else it is kept.
    async fn exchange(
        &self,
        scope: Scope,
        (method, path, headers): (Method, &str, &[(&str, &str)]),
        body: Option<Vec<u8>>,
        sink: Option<&mut Sink<'_>>,
    ) -> Asked<(StatusCode, Bytes)> {
        let lost = |why: String| self.lost(why);
        let stream = self.open().await.map_err(|e| lost(e.to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| lost(e.to_string()))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{API_ROOT}{path}"))
            .header(header::HOST, self.address.to_string());
        if let Way::Proven { tokens, .. } = &self.way {
            let token = format!("Bearer {}", tokens.of(scope));
            request = request.header(header::AUTHORIZATION, token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|e| lost(e.to_string()))?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|e| lost(e.to_string()))?;
            let status = response.status();
            if let Some(sink) = sink.filter(|_| status.is_success()) {
                return pour(response.into_body(), sink)
                    .await
                    .map(|()| (status, Bytes::new()));
            }
            let body = Limited::new(response.into_body(), REMOTE_ANSWER_MAX_BYTES)
                .collect()
                .await;
            let body = body.map_err(|e| RemoteError::Answer {
                address: self.address,
                why: e.to_string(),
            })?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        // The connection moves only while it is polled, and it may end before the answer is read.
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => match exchange.await {
                Err(RemoteError::Unreachable { .. }) if ended.is_err() =>
                    Err(lost(ended.err().map(|e| e.to_string()).unwrap_or_default())),
                answer => answer,
            },
        }
    }

    /// Asks a route that has no body and no place in its path.
    async fn read<A: DeserializeOwned>(&self, route: Route<(), A>) -> Asked<A> {
        let path = route.path;
        self.ask(&route, path, None).await
    }

    /// Asks a route with a query.
    async fn find<A: DeserializeOwned>(
        &self,
        route: Route<(), A>,
        query: &[(&str, Option<&str>)],
    ) -> Asked<A> {
        let path = with(route.path, query);
        self.ask(&route, &path, None).await
    }

    /// Asks a route about the one with this id.
    async fn of<A: DeserializeOwned>(&self, route: Route<(), A>, id: &str) -> Asked<A> {
        let path = route.path.replace("{id}", &escaped(id));
        self.ask(&route, &path, None).await
    }

    /// Sends a body to a route.
    async fn send<B: Serialize, A: DeserializeOwned>(
        &self,
        route: Route<B, A>,
        body: &B,
    ) -> Asked<A> {
        self.send_to(route, "", body).await
    }

    /// Sends a body to a route about the one with this id.
    async fn send_to<B: Serialize, A: DeserializeOwned>(
        &self,
        route: Route<B, A>,
        id: &str,
        body: &B,
    ) -> Asked<A> {
        let bytes = serde_json::to_vec(body).map_err(|e| RemoteError::Answer {
            address: self.address,
            why: format!("the request has no JSON form: {e}"),
        })?;
        let path = route.path.replace("{id}", &escaped(id));
        self.ask(&route, &path, Some(bytes)).await
    }
}

/// Hands a body on piece by piece; a node that stays silent in the middle of it is given up.
async fn pour(mut body: Incoming, sink: &mut Sink<'_>) -> Asked<()> {
    let failed = |source: io::Error| RemoteError::Sink { source };
    loop {
        let piece = tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await;
        let Some(piece) = piece.map_err(|e| failed(io::Error::other(e)))? else {
            return Ok(());
        };
        let piece = piece.map_err(|e| failed(io::Error::other(e)))?;
        if let Some(bytes) = piece.data_ref() {
            sink(bytes).map_err(failed)?;
        }
    }
}

/// Whether the port is no longer listened on.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// Whether no node holds the state directory's lock.
fn lock_is_free(state_dir: &Path) -> bool {
    match files::open(&StateDir::at(state_dir).lock_file()) {
        Ok(file) => file.try_lock_shared().is_ok(),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}
