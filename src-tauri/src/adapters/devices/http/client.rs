//! One request to a device, on a connection of its own. It is never sent again, and redirects are not followed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use zeroize::Zeroizing;

use crate::adapters::devices::Keeper;
use crate::adapters::http_client::{Address, Found, Reach, begin, connect, find, over};
use crate::domain::base::limits::{HTTP_ANSWER_MAX_BYTES, HTTP_PATH_MAX_BYTES, NAME_MAX_BYTES};

/// Who this node is at a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A user, and the name of the credential with the password.
    User(String, String),
    /// The name of the credential with a token.
    Token(String),
}

/// A device, and how it is reached.
#[derive(Clone)]
pub(super) struct Client {
    pub address: Address,
    /// A PEM file of the authorities to be trusted instead of the system's.
    pub ca: Option<PathBuf>,
    pub login: Option<Login>,
    pub keeper: Arc<dyn Keeper>,
}

/// All that a request needs besides the network, taken before it is needed: where the device is, who proves it, and what
/// proves this node.
#[derive(Clone)]
pub(super) struct Ready {
    found: Found,
    proof: Option<HeaderValue>,
}

/// A request to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub method: Method,
    /// The path with its query.
    pub path: String,
    pub content_type: &'static str,
    pub body: String,
}

impl Ask {
    /// To read what is there.
    pub(super) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            content_type: "",
            body: String::new(),
        }
    }
}

/// Why there is no answer, in a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nothing of it has left this machine, or the device said no.
    Not(String),
    /// It may have come there.
    Maybe(String),
}

impl NoAnswer {
    pub(super) fn why(self) -> String {
        match self {
            Self::Not(why) | Self::Maybe(why) => why,
        }
    }
}

/// Checks a path with its query.
///
/// # Errors
/// The fault, as text.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(format!("path: {path:?} must begin with one /"));
    }
    if path.len() > HTTP_PATH_MAX_BYTES {
        return Err(format!("path: at most {HTTP_PATH_MAX_BYTES} bytes"));
    }
    let plain = |b: u8| b.is_ascii_graphic() && !b"#\\\"<>^`|".contains(&b);
    match path.bytes().all(plain) {
        true => Ok(()),
        false => Err(format!(
            "path: {path:?} must be written as it goes over the wire (a space as %20), without #"
        )),
    }
}

impl Client {
    /// Whether what proves this node would go over a network in plain text.
    pub(super) fn tells_in_plain(&self) -> bool {
        self.login.is_some() && !self.address.tls && self.address.reach() == Reach::Public
    }

    /// Takes what a request needs: looks the name up, and reads the authorities and the credential.
    ///
    /// # Errors
    /// What is missing.
    pub(super) async fn ready(&self) -> Result<Ready, String> {
        let proof = match &self.login {
            None => None,
            Some(login) => {
                let proof = self.proof(login).await;
                Some(proof.map_err(|why| format!("{self}: {why}"))?)
            }
        };
        let found = find(&self.address, self.ca.as_deref()).await;
        let found = found.map_err(|e| format!("{self} cannot be reached: {e}"))?;
        Ok(Ready { found, proof })
    }

    /// Connects and says nothing.
    pub(super) async fn reach(&self, ready: &Ready) -> Result<(), String> {
        let dialed = connect(&ready.found).await;
        dialed
            .map(drop)
            .map_err(|e| format!("{self} cannot be reached: {e}"))
    }

    /// Asks once; the body of an answer that says yes. The caller limits the time.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Bytes, NoAnswer> {
        let ready = self.ready().await.map_err(NoAnswer::Not)?;
        self.ask_by(ask, &ready).await
    }

    /// As [`Client::ask`], with what was taken before.
    pub(super) async fn ask_by(&self, ask: &Ask, ready: &Ready) -> Result<Bytes, NoAnswer> {
        let not = |why: String| NoAnswer::Not(format!("{self} {why}"));
        let maybe = |why: String| NoAnswer::Maybe(format!("{self} {why}"));
        let request = self.request(ask, ready)?;
        let wire = connect(&ready.found).await;
        let wire = wire.map_err(|e| not(format!("cannot be reached: {e}")))?;
        let ready = begin(wire).await;
        let (mut sender, connection) = ready.map_err(|e| not(e.to_string()))?;
        let exchange = async {
            let sent = sender.send_request(request).await;
            let answer = sent.map_err(|e| maybe(format!("broke the connection off: {e}")))?;
            let status = answer.status();
            if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT {
                return Err(not(refusal(status)));
            }
            if status.is_redirection() {
                return Err(maybe(refusal(status)));
            }
            if !status.is_success() {
                return Err(maybe(format!("failed with status {status}")));
            }
            let body = Limited::new(answer.into_body(), HTTP_ANSWER_MAX_BYTES).collect();
            let body = body.await.map_err(|error| {
                let large = error.downcast_ref::<http_body_util::LengthLimitError>();
                maybe(match large {
                    Some(_) => format!(
                        "answers with more than {HTTP_ANSWER_MAX_BYTES} bytes, which is not read"
                    ),
                    None => format!("broke off in its answer: {error}"),
                })
            })?;
            Ok(body.to_bytes())
        };
        over(connection, exchange).await
    }

    fn request(&self, ask: &Ask, ready: &Ready) -> Result<Request<Full<Bytes>>, NoAnswer> {
        let not = |why: String| NoAnswer::Not(format!("{self}: {why}"));
        let mut built = Request::builder()
            .method(ask.method.clone())
            .uri(&ask.path)
            .header(HOST, self.address.authority())
            .header(
                USER_AGENT,
                concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
            )
            .header(CONNECTION, "close");
        if !ask.content_type.is_empty() {
            built = built.header(CONTENT_TYPE, ask.content_type);
        }
        if let Some(proof) = &ready.proof {
            built = built.header(AUTHORIZATION, proof);
        }
        let body = Full::new(Bytes::from(ask.body.clone()));
        built
            .body(body)
            .map_err(|e| not(format!("no request can be made: {e}")))
    }

    async fn proof(&self, login: &Login) -> Result<HeaderValue, String> {
        let name = match login {
            Login::User(_, name) | Login::Token(name) => name.clone(),
        };
        let keeper = self.keeper.clone();
        // It may read a file.
        let secret = tokio::task::spawn_blocking(move || keeper.password(&name)).await;
        let secret = secret.map_err(|e| e.to_string())??;
        let proof = match login {
            Login::Token(_) => format!("Bearer {}", secret.trim()),
            Login::User(user, _) => {
                let plain = Zeroizing::new(format!("{user}:{}", *secret));
                format!("Basic {}", STANDARD.encode(plain.as_bytes()))
            }
        };
        let mut value = HeaderValue::from_str(&Zeroizing::new(proof))
            .map_err(|_| "its credential cannot stand in a request".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn refusal(status: StatusCode) -> String {
    match status.as_u16() {
        401 | 403 => {
            format!("does not let this node in (status {status}); look at user, password and token")
        }
        404 => format!("has no such path (status {status})"),
        300..=399 => format!("sends on to another place (status {status}), which is not followed"),
        _ => format!("refuses (status {status})"),
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Checks who this node is at a device.
///
/// # Errors
/// The key that is wrong, and why.
pub(super) fn login(
    user: Option<&String>,
    password: Option<&String>,
    token: Option<&String>,
) -> Result<Option<Login>, String> {
    use crate::adapters::devices::config::check_credential;
    match (user, password, token) {
        (None, None, None) => Ok(None),
        (None, None, Some(token)) => {
            check_credential("token", token)?;
            Ok(Some(Login::Token(token.clone())))
        }
        (Some(user), Some(password), None) => {
            let plain = |c: char| !c.is_control() && c != ':';
            if user.is_empty() || user.len() > NAME_MAX_BYTES || !user.chars().all(plain) {
                return Err(format!(
                    "user: must have 1 to {NAME_MAX_BYTES} bytes, without a colon"
                ));
            }
            check_credential("password", password)?;
            Ok(Some(Login::User(user.clone(), password.clone())))
        }
        (_, _, Some(_)) => Err("token: either a token, or a user and a password".to_owned()),
        (Some(_), None, None) => Err("user: needs a password".to_owned()),
        (None, Some(_), None) => Err("password: needs a user".to_owned()),
    }
}
