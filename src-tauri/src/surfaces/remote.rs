//! The client of a running node's operator API, for the commands of the same machine. It finds the
//! node through `run.json` and `tokens.json` of the state directory and speaks HTTP to loopback.
//!
//! One connection per request, no pool, no task: a command asks once or twice and ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::adapters::paths::StateDir;
use crate::domain::gate::SignedDecision;
use crate::node::pairing::PairingView;
use crate::node::proposals::Standing;
use crate::operator::access::{API_ROOT, Scope, Tokens, TokensError};
use crate::operator::browser::{LinkRequest, LinkView};
use crate::operator::dto::{
    AuditReport, AuditView, DraftRequest, DraftView, ErrorBody, EventView, ExplainRequest,
    ExplainView, FactView, FrameView, GrantChange, NodeView, OperatorEnroll, OperatorView,
    PeerView, PolicyState, PolicyView, ProposalRecordView, ProposalView, StatusView, TraceView,
    TrustAdd, TrustRecordView, Why,
};
use crate::operator::estop::{EstopReport, EstopRequest, EstopView};
use crate::operator::meshes::{Admittance, MeshPolicyChange, MeshView};
use crate::operator::pairing::{PairDecision, PairStart};

/// How long the node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take; a little more than the node gives itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Largest `run.json`, in bytes.
const RUN_FILE_MAX_BYTES: u64 = 4_096;

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
        let asking = self.exchange(scope, method, path, body);
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
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| odd(e.to_string()));
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => Err(RemoteError::Refused {
                code: body.error.code,
                message: body.error.message,
            }),
            Err(_) => Err(odd(format!("HTTP status {status}"))),
        }
    }

    async fn exchange(
        &self,
        scope: Scope,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
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
            let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES)
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

    /// The node at a glance.
    ///
    /// # Errors
    /// As every call here: [`RemoteError`], `Refused` with the node's own code.
    pub async fn status(&self) -> Asked<StatusView> {
        self.get("/status").await
    }

    /// Every device of the mesh that the node knows.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn nodes(&self) -> Asked<Vec<NodeView>> {
        self.get("/nodes").await
    }

    /// The connected peers.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn peers(&self) -> Asked<Vec<PeerView>> {
        self.get("/peers").await
    }

    /// The newest value of each metric, zone and origin.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn world(
        &self,
        metric: Option<&str>,
        zone: Option<&str>,
        origin: Option<&str>,
    ) -> Asked<Vec<FactView>> {
        self.get(&with(
            "/world",
            &[("metric", metric), ("zone", zone), ("origin", origin)],
        ))
        .await
    }

    /// Stored frames, newest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn frames(
        &self,
        kind: Option<&str>,
        origin: Option<&str>,
        limit: usize,
    ) -> Asked<Vec<FrameView>> {
        let limit = limit.to_string();
        self.get(&with(
            "/frames",
            &[("kind", kind), ("origin", origin), ("limit", Some(&limit))],
        ))
        .await
    }

    /// Events after a number, or the newest; oldest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn events(
        &self,
        since: Option<u64>,
        kind: Option<&str>,
        limit: usize,
    ) -> Asked<Vec<EventView>> {
        let (since, limit) = (since.map(|s| s.to_string()), limit.to_string());
        self.get(&with(
            "/events",
            &[
                ("since", since.as_deref()),
                ("kind", kind),
                ("limit", Some(&limit)),
            ],
        ))
        .await
    }

    /// Open proposals, or all.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn proposals(&self, all: bool) -> Asked<Vec<ProposalView>> {
        self.get(if all {
            "/proposals?all=true"
        } else {
            "/proposals"
        })
        .await
    }

    /// A proposal with the record its executor signed.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn proposal(&self, id: &str) -> Asked<ProposalRecordView> {
        self.get(&format!("/proposals/{}/record", escaped(id)))
            .await
    }

    /// A proposal without its record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn proposal_view(&self, id: &str) -> Asked<ProposalView> {
        self.get(&format!("/proposals/{}", escaped(id))).await
    }

    /// A proposal's story.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trace(&self, id: &str) -> Asked<TraceView> {
        self.get(&format!("/proposals/{}/trace", escaped(id))).await
    }

    /// Takes a signed decision to the executor.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn decide(&self, id: &str, signed: &SignedDecision) -> Asked<Standing> {
        self.post(
            Scope::Operate,
            &format!("/proposals/{}/decision", escaped(id)),
            signed,
        )
        .await
    }

    /// Takes a waiting proposal back.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn withdraw(&self, id: &str) -> Asked<Standing> {
        self.post(
            Scope::Operate,
            &format!("/proposals/{}/withdraw", escaped(id)),
            &Why::default(),
        )
        .await
    }

    /// Stops a proposal's running action.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn stop(&self, id: &str) -> Asked<ProposalView> {
        self.post(
            Scope::Operate,
            &format!("/proposals/{}/stop", escaped(id)),
            &serde_json::json!({}),
        )
        .await
    }

    /// Drafts of the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn drafts(&self) -> Asked<Vec<DraftView>> {
        self.get("/drafts").await
    }

    /// Asks for an action.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn propose(&self, wish: &DraftRequest) -> Asked<DraftView> {
        self.post(Scope::Operate, "/drafts", wish).await
    }

    /// The policy in force.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy(&self) -> Asked<PolicyView> {
        self.get("/policy").await
    }

    /// Makes the node read its policy file again.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy_reload(&self) -> Asked<PolicyState> {
        self.ask(Scope::Admin, Method::POST, "/policy/reload", None)
            .await
    }

    /// What the node's policy says of an action now.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn policy_explain(&self, asked: &ExplainRequest) -> Asked<ExplainView> {
        self.post(Scope::Read, "/policy/explain", asked).await
    }

    /// Audit entries after a number, or the newest; oldest first.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn audit(&self, since: Option<u64>, limit: usize) -> Asked<Vec<AuditView>> {
        let (since, limit) = (since.map(|s| s.to_string()), limit.to_string());
        self.get(&with(
            "/audit",
            &[("since", since.as_deref()), ("limit", Some(&limit))],
        ))
        .await
    }

    /// Checks the audit chain.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn audit_verify(&self) -> Asked<AuditReport> {
        self.get("/audit/verify").await
    }

    /// Every trust record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust(&self) -> Asked<Vec<TrustRecordView>> {
        self.get("/trust").await
    }

    /// One trust record.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_show(&self, id: &str) -> Asked<TrustRecordView> {
        self.get(&format!("/trust/{}", escaped(id))).await
    }

    /// Trusts a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_add(&self, add: &TrustAdd) -> Asked<TrustRecordView> {
        self.post(Scope::Admin, "/trust", add).await
    }

    /// Pairing on the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pairing(&self) -> Asked<PairingView> {
        self.ask(Scope::Admin, Method::GET, "/pairing", None).await
    }

    /// Lets others ask to be paired with.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_open(&self) -> Asked<PairingView> {
        self.ask(Scope::Admin, Method::POST, "/pairing/window", None)
            .await
    }

    /// Closes the window and ends the pairing under way.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_cancel(&self) -> Asked<PairingView> {
        self.ask(Scope::Admin, Method::DELETE, "/pairing", None)
            .await
    }

    /// Asks another node to pair.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_start(&self, wish: &PairStart) -> Asked<PairingView> {
        self.post(Scope::Admin, "/pairing/start", wish).await
    }

    /// Says what the person says.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pair_decide(&self, decision: &PairDecision) -> Asked<PairingView> {
        self.post(Scope::Admin, "/pairing/decision", decision).await
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_remove(&self, id: &str) -> Asked<TrustRecordView> {
        self.ask(
            Scope::Admin,
            Method::DELETE,
            &format!("/trust/{}", escaped(id)),
            None,
        )
        .await
    }

    /// Gives a device more grants.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_grant(&self, id: &str, grants: &str) -> Asked<TrustRecordView> {
        let change = GrantChange {
            grants: grants.to_owned(),
        };
        self.post(
            Scope::Admin,
            &format!("/trust/{}/grant", escaped(id)),
            &change,
        )
        .await
    }

    /// Takes grants away from a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_ungrant(&self, id: &str, grants: &str) -> Asked<TrustRecordView> {
        let change = GrantChange {
            grants: grants.to_owned(),
        };
        self.post(
            Scope::Admin,
            &format!("/trust/{}/ungrant", escaped(id)),
            &change,
        )
        .await
    }

    /// Ends the trust in a device.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn trust_revoke(&self, id: &str) -> Asked<TrustRecordView> {
        self.ask(
            Scope::Admin,
            Method::POST,
            &format!("/trust/{}/revoke", escaped(id)),
            None,
        )
        .await
    }

    /// A one-time link that opens the console with `scope`, in the name of a person.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn console_link(&self, scope: Scope, name: &str) -> Asked<LinkView> {
        let asked = LinkRequest {
            scope: Some(scope),
            name: Some(name.to_owned()),
        };
        self.post(scope, "/console/link", &asked).await
    }

    /// The meshes on the LAN.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn meshes(&self) -> Asked<Vec<MeshView>> {
        self.get("/meshes").await
    }

    /// Sets a mesh's join policy.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn set_mesh_policy(&self, change: &MeshPolicyChange) -> Asked<Vec<MeshView>> {
        self.post(Scope::Admin, "/meshes/policy", change).await
    }

    /// Lets a device in that the join policy asks about.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn admit_nearby(&self, wish: &Admittance) -> Asked<Vec<MeshView>> {
        self.post(Scope::Admin, "/meshes/admit", wish).await
    }

    /// Whether the node is stopped.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop_state(&self) -> Asked<EstopView> {
        self.get("/estop").await
    }

    /// Stops every executor that the node can reach.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop(&self, asked: &EstopRequest) -> Asked<EstopReport> {
        self.post(Scope::Operate, "/estop", asked).await
    }

    /// Releases the stop at the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn estop_release(&self, asked: &EstopRequest) -> Asked<EstopView> {
        self.post(Scope::Admin, "/estop/release", asked).await
    }

    /// Every operator known to the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operators(&self) -> Asked<Vec<OperatorView>> {
        self.get("/operators").await
    }

    /// Makes a person known as an operator.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operator_enroll(&self, enroll: &OperatorEnroll) -> Asked<OperatorView> {
        self.post(Scope::Admin, "/operators", enroll).await
    }

    /// Ends an operator's key.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn operator_revoke(&self, id: &str, reason: Option<&str>) -> Asked<OperatorView> {
        let why = Why {
            reason: reason.map(str::to_owned),
        };
        self.post(
            Scope::Admin,
            &format!("/operators/{}/revoke", escaped(id)),
            &why,
        )
        .await
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
