//! One port for everything: accepts TCP, serves HTTP/1 to the application's router and hands WebSocket
//! upgrades over as sockets. Authentication is not done here; until a connection's slot is promoted it
//! counts as a stranger at the doorway.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::LazyConfigAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::TransportError;
use super::doorway::{Doorway, Slot};
use super::origins::Rules;
use super::serving;
use super::socket::{ByteStream, Channel, Posture, Protection, Socket, keep_alive};
use super::tls::{EXPORTER, Tls, device_of, exported};
use crate::adapters::descriptors;
use crate::domain::base::limits::HANDSHAKE_DEADLINE_MS;

/// The first byte of a TLS connection: a handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// Pause after the system refused to accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Paths whose upgrades belong to the application.
const APP_PATHS: [&str; 6] = ["/api", "/metrics", "/healthz", "/v1", "/mcp", "/hooks"];

/// In the extensions of every HTTP request: whether it came over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secure(pub bool);

/// The listener's limits; the defaults come from `limits`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most connections that have not authenticated.
    pub unauthenticated_max: usize,
    /// Time from accept to authentication.
    pub deadline: Duration,
    /// Time for a request head, and for the pause between two requests.
    pub head_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            unauthenticated_max: descriptors::for_strangers(),
            deadline: Duration::from_millis(HANDSHAKE_DEADLINE_MS),
            head_timeout: Duration::from_millis(HANDSHAKE_DEADLINE_MS),
        }
    }
}

/// An accepted socket.
pub struct Incoming {
    /// The link.
    pub socket: Socket,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Its `Origin`, which is then on the allow list; peers send none.
    pub origin: Option<String>,
    /// Its place at the door: promote it once the peer has authenticated.
    pub slot: Slot,
}

/// A bound port that does not accept yet.
pub struct Listener {
    tcp: TcpListener,
    /// The same port where only this machine reaches it, if `tcp` is not to be reached from here.
    near: Option<TcpListener>,
    local: SocketAddr,
    doorway: Arc<Doorway>,
    settings: Settings,
}

/// Shared by every connection.
struct House {
    app: Router,
    sockets: mpsc::Sender<Incoming>,
    rules: Rules,
    tls: Option<Tls>,
    doorway: Arc<Doorway>,
    tasks: TaskTracker,
    head_timeout: Duration,
}

impl Listener {
    /// Opens the port with the default limits. Port 0 lets the system choose.
    ///
    /// # Errors
    /// The port is taken, or the system refuses it.
    pub async fn bind(addr: SocketAddr) -> Result<Listener, TransportError> {
        Listener::bind_with(addr, Settings::default()).await
    }

    /// Opens the port with other limits.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub async fn bind_with(
        addr: SocketAddr,
        settings: Settings,
    ) -> Result<Listener, TransportError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => TransportError::PortInUse { addr },
            _ => TransportError::Bind { addr, source },
        };
        let tcp = TcpListener::bind(addr).await.map_err(failed)?;
        let local = tcp.local_addr().map_err(failed)?;
        let near = near(local).await?;
        let doorway = Doorway::new(settings.unauthenticated_max, settings.deadline);
        Ok(Listener {
            tcp,
            near,
            local,
            doorway,
            settings,
        })
    }

    /// The address in use, with the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The pool of strangers, for its numbers.
    pub fn doorway(&self) -> Arc<Doorway> {
        Arc::clone(&self.doorway)
    }

    /// Accepts until `stop`, which also ends every connection. Connections run on `tasks`.
    pub async fn serve(
        self,
        app: Router,
        rules: Rules,
        tls: Option<Tls>,
        sockets: mpsc::Sender<Incoming>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let doorway = self.doorway;
        let head_timeout = self.settings.head_timeout;
        let house = Arc::new(House {
            app,
            sockets,
            rules,
            tls,
            doorway: Arc::clone(&doorway),
            tasks: tasks.clone(),
            head_timeout,
        });
        let mut next_sweep = doorway.sweep(Instant::now());
        loop {
            let accepted = tokio::select! {
               biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next_sweep) => {
                    next_sweep = doorway.sweep(Instant::now());
                    continue;
                }
                accepted = self.tcp.accept() => accepted,
                accepted = from(self.near.as_ref()) => accepted,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let slot = doorway.enter(&stop);
                    let house = Arc::clone(&house);
                    tasks.spawn(Box::pin(connection(house, stream, remote, slot)));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection; closing the oldest stranger");
                    doorway.evict_oldest();
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }
}

/// The commands and the console of this machine come by loopback, also where peers come by one address
/// of the LAN.
async fn near(local: SocketAddr) -> Result<Option<TcpListener>, TransportError> {
    let ip = match local.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => return Ok(None),
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let addr = SocketAddr::new(ip, local.port());
    match TcpListener::bind(addr).await {
        Ok(near) => Ok(Some(near)),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
            Err(TransportError::PortInUse { addr })
        }
        Err(source) => Err(TransportError::Bind { addr, source }),
    }
}

async fn from(near: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match near {
        Some(near) => near.accept().await,
        None => std::future::pending().await,
    }
}

async fn connection(house: Arc<House>, stream: TcpStream, remote: SocketAddr, slot: Slot) {
    stream.set_nodelay(true).ok();
    keep_alive(&stream);
    let (cut, expired) = (slot.cut().clone(), slot.expired().clone());
    // The doorway's deadline covers the first byte and the TLS handshake too.
    let secured = tokio::select! {
        biased;
        () = cut.cancelled() => return,
        () = expired.cancelled() => return,
        secured = secure(&house, stream, remote) => secured,
    };
    match secured {
        Ok((stream, protection)) => {
            Box::pin(serve(house, stream, protection, remote, slot)).await;
        }
        Err(error) => tracing::debug!(%remote, %error, "no TLS with this client"),
    }
}

/// Tells TLS from plain HTTP by the first byte, and shakes hands where it is TLS.
async fn secure(
    house: &House,
    stream: TcpStream,
    remote: SocketAddr,
) -> io::Result<(Box<dyn ByteStream>, Protection)> {
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Some(tls) = house.tls.as_ref().filter(|_| first[0] == TLS_HANDSHAKE) else {
        let channel = stream
            .local_addr()
            .ok()
            .map(|own| Channel::tcp(remote, own));
        return Ok((Box::new(stream), Protection::PLAIN.over(channel)));
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = tls.server(&start.client_hello());
    let stream = Box::pin(start.into_stream(config)).await?;
    let shown = stream.get_ref().1.peer_certificates();
    let device = shown.and_then(|chain| chain.first()).and_then(device_of);
    let channel = exported(|out| {
        stream
            .get_ref()
            .1
            .export_keying_material(out, EXPORTER, None)
    });
    Ok((Box::new(stream), Protection::tls(device).over(channel)))
}

async fn serve(
    house: Arc<House>,
    stream: Box<dyn ByteStream>,
    protection: Protection,
    remote: SocketAddr,
    slot: Slot,
) {
    let head_timeout = house.head_timeout;
    let answering = move |request, slot| {
        let (house, protection) = (Arc::clone(&house), protection.clone());
        async move { answer(&house, request, protection, remote, slot).await }
    };
    serving::http(stream, slot, head_timeout, answering).await;
}

async fn answer(
    house: &Arc<House>,
    mut request: Request<hyper::body::Incoming>,
    protection: Protection,
    remote: SocketAddr,
    slot: Slot,
) -> Response<Body> {
    let path = request.uri().path();
    let of_app = APP_PATHS.iter().any(|known| {
        path.strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if wants_socket(&request) {
        if let Err(refusal) = admit(house, request.headers()) {
            return refusal;
        }
        if !of_app {
            return upgrade(house, request, protection, remote, slot);
        }
    }
    request.extensions_mut().insert(ConnectInfo(remote));
    let secure = protection.posture != Posture::Insecure;
    request.extensions_mut().insert(Secure(secure));
    request.extensions_mut().insert(slot);
    request.extensions_mut().insert(protection);
    match house.app.clone().oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn wants_socket<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && has_token(request.headers(), header::CONNECTION, "upgrade")
        && has_token(request.headers(), header::UPGRADE, "websocket")
}

/// The `Origin` and `Host` rules, before anything is upgraded.
// The refusal is the answer itself and is sent right away.
#[allow(clippy::result_large_err)]
fn admit(house: &House, headers: &HeaderMap) -> Result<(), Response<Body>> {
    for origin in headers.get_all(header::ORIGIN) {
        if !origin
            .to_str()
            .is_ok_and(|origin| house.rules.origin_allowed(origin))
        {
            house
                .doorway
                .refused_origins
                .fetch_add(1, Ordering::Relaxed);
            return Err(plain(
                StatusCode::FORBIDDEN,
                "This web origin may not open a socket here.",
            ));
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(plain(
            StatusCode::BAD_REQUEST,
            "Exactly one Host header is needed.",
        ));
    };
    // Rebinding a name to this machine takes a browser, and a browser names its origin. Peers send
    // none and may reach us by any name of their DNS.
    let browser = headers.contains_key(header::ORIGIN);
    let known = host
        .to_str()
        .is_ok_and(|host| house.rules.host_allowed(host));
    if browser && !known {
        house.doorway.refused_hosts.fetch_add(1, Ordering::Relaxed);
        return Err(plain(
            StatusCode::FORBIDDEN,
            "Use the IP address of this node, or localhost.",
        ));
    }
    Ok(())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

fn upgrade(
    house: &Arc<House>,
    mut request: Request<hyper::body::Incoming>,
    protection: Protection,
    remote: SocketAddr,
    slot: Slot,
) -> Response<Body> {
    let headers = request.headers();
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let mut response = plain(
            StatusCode::UPGRADE_REQUIRED,
            "WebSocket version 13 is needed.",
        );
        response.headers_mut().insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        return response;
    }
    let accept = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else {
        return plain(
            StatusCode::BAD_REQUEST,
            "The Sec-WebSocket-Key header is missing.",
        );
    };
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|value| value.to_str().ok())
        .map(String::from);
    let pending = hyper::upgrade::on(&mut request);
    let sockets = house.sockets.clone();
    slot.mark_upgraded();
    house.tasks.spawn(async move {
        let cut = slot.cut().clone();
        let handover = async move {
            let Ok(stream) = pending.await else { return };
            let stream = Box::new(TokioIo::new(stream));
            let own = Some(slot.clone());
            let socket = Socket::new(stream, Role::Server, protection, slot.cut(), own).await;
            sockets
                .send(Incoming {
                    socket,
                    remote,
                    origin,
                    slot,
                })
                .await
                .ok();
        };
        tokio::select! {
           biased;
            () = cut.cancelled() => {}
            () = handover => {}
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}
