//! The client of a running node's operator API, for the commands of the same machine. It finds the
//! node through `run.json` and `tokens.json` of the state directory and speaks HTTP to loopback.
//!
//! One connection per request, no pool, no task: a command asks once or twice and ends.

mod calls;

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
use tokio::net::TcpStream;

use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{
    REMOTE_ANSWER_MAX_BYTES, REMOTE_ANSWER_MS, REMOTE_CONNECT_MS, RUN_FILE_MAX_BYTES,
};
use crate::operator::access::{API_ROOT, Scope, Tokens, TokensError};
use crate::operator::dto::ErrorBody;

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
        /// What is wrong.
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
        /// What happened.
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
        /// What happened.
        source: std::io::Error,
    },
    /// The answer is not what this program expects.
    #[error("the node at {address} answered something this program does not understand: {why}")]
    Answer {
        /// Where it is.
        address: SocketAddr,
        /// What is wrong.
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
}

/// A running node.
#[derive(Debug, Clone)]
pub struct Remote {
    address: SocketAddr,
    tokens: Tokens,
}

type Asked<T> = Result<T, RemoteError>;

/// Where the pieces of a long answer go.
pub type Sink<'a> = dyn FnMut(&[u8]) -> std::io::Result<()> + Send + 'a;

fn run_file(state_dir: &Path) -> Asked<Option<SocketAddr>> {
    let path = StateDir::at(state_dir).run_file();
    let file = |why: String| RemoteError::File {
        path: path.clone(),
        why,
    };
    match std::fs::metadata(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file(e.to_string())),
        Ok(meta) if meta.len() > RUN_FILE_MAX_BYTES => {
            return Err(file("too large for what a node writes".into()));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(&path).map_err(|e| file(e.to_string()))?;
    let run: RunFile = serde_json::from_str(&text)
        .map_err(|e| file(format!("is not what a node writes ({e})")))?;
    // The API answers loopback only, so a node that listens everywhere is asked there.
    let ip = match run.host {
        Some(ip) if ip.is_loopback() => ip,
        Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Ok(Some(SocketAddr::new(ip, run.port)))
}

impl Remote {
    /// The node that runs on the state directory; `None` if none does. A `run.json` left behind by
    /// a crash names a port where nobody listens, or where somebody else does who is no node of ours.
    ///
    /// # Errors
    /// If its files cannot be used, or something listens there but does not answer.
    pub async fn connect(state_dir: &Path) -> Asked<Option<Remote>> {
        let Some(address) = run_file(state_dir)? else {
            return Ok(None);
        };
        let Some(tokens) = Tokens::load(state_dir)? else {
            return Ok(None);
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(None),
            Ok(Err(e)) => {
                return Err(RemoteError::Unreachable {
                    address,
                    why: e.to_string(),
                });
            }
            Err(_) => {
                return Err(RemoteError::TimedOut {
                    address,
                    seconds: CONNECT_TIMEOUT.as_secs(),
                });
            }
        }
        // The port may belong to another program by now: no token is sent while the lock is free.
        if lock_is_free(state_dir) {
            return Ok(None);
        }
        Ok(Some(Remote { address, tokens }))
    }

    /// A node at a known address, for tests and the demo.
    pub fn at(address: SocketAddr, tokens: Tokens) -> Self {
        Self { address, tokens }
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        scope: Scope,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Asked<T> {
        let asking = self.exchange(scope, method, path, body, None);
        let (status, bytes) = tokio::time::timeout(ANSWER_TIMEOUT, asking)
            .await
            .map_err(|_| RemoteError::TimedOut {
                address: self.address,
                seconds: ANSWER_TIMEOUT.as_secs(),
            })??;
        let odd = |why: String| RemoteError::Answer {
            address: self.address,
            why,
        };
        match status.is_success() {
            true => serde_json::from_slice(&bytes).map_err(|e| odd(e.to_string())),
            false => Err(self.refused(status, &bytes)),
        }
    }

    /// What a node that did not answer with success said.
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
    async fn stream(&self, path: &str, sink: &mut Sink<'_>) -> Asked<()> {
        let asking = self.exchange(Scope::Read, Method::GET, path, None, Some(sink));
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
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        sink: Option<&mut Sink<'_>>,
    ) -> Asked<(StatusCode, Bytes)> {
        let lost = |why: String| RemoteError::Unreachable {
            address: self.address,
            why,
        };
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|e| lost(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| lost(e.to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| lost(e.to_string()))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{API_ROOT}{path}"))
            .header(header::HOST, self.address.to_string())
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.tokens.of(scope)),
            )
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

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Asked<T> {
        self.ask(Scope::Read, Method::GET, path, None).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        scope: Scope,
        path: &str,
        body: &impl Serialize,
    ) -> Asked<T> {
        let bytes = serde_json::to_vec(body).map_err(|e| RemoteError::Answer {
            address: self.address,
            why: format!("the request has no JSON form: {e}"),
        })?;
        self.ask(scope, Method::POST, path, Some(bytes)).await
    }
}

/// Hands a body on piece by piece; a node that stays silent in the middle of it is given up.
async fn pour(mut body: Incoming, sink: &mut Sink<'_>) -> Asked<()> {
    let failed = |source: std::io::Error| RemoteError::Sink { source };
    loop {
        let piece = tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await;
        let Some(piece) = piece.map_err(|e| failed(std::io::Error::other(e)))? else {
            return Ok(());
        };
        let piece = piece.map_err(|e| failed(std::io::Error::other(e)))?;
        if let Some(bytes) = piece.data_ref() {
            sink(bytes).map_err(failed)?;
        }
    }
}

/// Whether no node holds the state directory's lock.
fn lock_is_free(state_dir: &Path) -> bool {
    match std::fs::File::open(StateDir::at(state_dir).lock_file()) {
        Ok(file) => file.try_lock_shared().is_ok(),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// A text as one piece of a path or query.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn with(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .filter_map(|(name, value)| value.map(|v| format!("{name}={}", escaped(v))))
        .collect();
    if pairs.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_people_type_stays_one_piece() {
        assert_eq!(escaped("a/b?c&d é"), "a%2Fb%3Fc%26d%20%C3%A9");
        assert_eq!(
            with("/world", &[("metric", Some("a&b")), ("zone", None)]),
            "/world?metric=a%26b"
        );
    }

    #[tokio::test]
    async fn no_node_is_not_an_error_but_a_broken_file_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Remote::connect(dir.path()).await.unwrap().is_none());
        Tokens::open(dir.path()).unwrap();
        // A port that was free a moment ago, as after a crash.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let run = StateDir::at(dir.path()).run_file();
        std::fs::write(&run, format!(r#"{{"pid":1,"port":{port},"startedAt":0}}"#)).unwrap();
        assert!(Remote::connect(dir.path()).await.unwrap().is_none());
        std::fs::write(&run, "{").unwrap();
        assert!(
            Remote::connect(dir.path())
                .await
                .unwrap_err()
                .to_string()
                .contains("run.json")
        );
    }

    #[tokio::test]
    async fn a_stranger_on_the_old_port_never_sees_a_token() {
        let dir = tempfile::tempdir().unwrap();
        Tokens::open(dir.path()).unwrap();
        let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        std::fs::write(
            StateDir::at(dir.path()).run_file(),
            format!(r#"{{"port":{port}}}"#),
        )
        .unwrap();
        assert!(Remote::connect(dir.path()).await.unwrap().is_none());
    }
}
