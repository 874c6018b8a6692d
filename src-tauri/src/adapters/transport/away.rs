//! A port of its own for browsers of other machines: TLS 1.3 alone, with the operator's certificate, HTTP/1 and no upgrade.
//! Every request carries [`Away`], by which the surface knows it. Strangers here have a pool of their own, so that none of
//! them takes a place from a peer, and an address has so many connections. It must not know who may do what.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::addresses::{Addresses, Knock, counted};
use super::certificate::Certificate;
use super::doorway::{Doorway, Slot};
use super::listener::Secure;
use super::socket::keep_alive;
use super::{TransportError, serving};
use crate::domain::base::limits::{AWAY_STRANGERS_MAX, HANDSHAKE_DEADLINE_MS};

/// Pause after the system refused to accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_millis(HANDSHAKE_DEADLINE_MS);

/// In the extensions of every request of a browser of another machine, and of no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    from: IpAddr,
}

impl Away {
    /// The address it came from as it is counted: of IPv6 the network.
    pub fn from(self) -> IpAddr {
        self.from
    }

    /// As this port marks a request, for tests of the router.
    #[cfg(test)]
    pub fn of(from: IpAddr) -> Self {
        Self {
            from: counted(from),
        }
    }
}

/// The certificate in use, which can be replaced while connections stand.
struct InUse(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InUse")
    }
}

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.0
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

/// TLS of this port. Clones share the certificate.
#[derive(Clone)]
pub struct AwayTls {
    config: Arc<ServerConfig>,
    in_use: Arc<InUse>,
}

impl fmt::Debug for AwayTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwayTls")
    }
}

impl AwayTls {
    /// TLS with a certificate.
    ///
    /// # Errors
    /// If the library refuses its own versions.
    pub fn new(certificate: &Certificate) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let in_use = Arc::new(InUse(RwLock::new(certificate.certified.clone())));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(in_use.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            in_use,
        })
    }

    /// New connections get this certificate.
    pub fn replace(&self, certificate: &Certificate) {
        let mut in_use = self
            .in_use
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *in_use = certificate.certified.clone();
    }
}

/// The bound port, which does not accept yet.
#[derive(Debug)]
pub struct AwayListener {
    tcp: TcpListener,
    local: SocketAddr,
    doorway: Arc<Doorway>,
}

impl AwayListener {
    /// Opens the port; 0 lets the system choose.
    ///
    /// # Errors
    /// The port is taken, or the system refuses it.
    pub async fn bind(addr: SocketAddr) -> Result<Self, TransportError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => TransportError::PortInUse { addr },
            _ => TransportError::Bind { addr, source },
        };
        let tcp = TcpListener::bind(addr).await.map_err(failed)?;
        let local = tcp.local_addr().map_err(failed)?;
        Ok(Self {
            tcp,
            local,
            doorway: Doorway::new(AWAY_STRANGERS_MAX, DEADLINE),
        })
    }

    /// The address in use, with the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts until `stop`, which also ends every connection. Connections run on `tasks`.
    pub async fn serve(
        self,
        app: Router,
        tls: AwayTls,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let (addresses, begun) = (Addresses::default(), Instant::now());
        let mut next_sweep = self.doorway.sweep(Instant::now());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next_sweep) => {
                    next_sweep = self.doorway.sweep(Instant::now());
                    continue;
                }
                accepted = self.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let Some(knock) = addresses.knock(remote.ip(), ms) else {
                        tracing::debug!(%remote, "too many connections of this address; closed");
                        continue;
                    };
                    let slot = self.doorway.enter(&stop);
                    let (app, tls) = (app.clone(), tls.clone());
                    tasks.spawn(Box::pin(connection(
                        app,
                        tls,
                        (stream, remote),
                        slot,
                        knock,
                    )));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection of the console; closing the oldest stranger");
                    self.doorway.evict_oldest();
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

async fn connection(
    app: Router,
    tls: AwayTls,
    (stream, remote): (TcpStream, SocketAddr),
    slot: Slot,
    knock: Knock,
) {
    let _until_it_ends = knock;
    stream.set_nodelay(true).ok();
    keep_alive(&stream);
    let (cut, expired) = (slot.cut().clone(), slot.expired().clone());
    let handshake = TlsAcceptor::from(tls.config).accept(stream);
    // The doorway's deadline covers the handshake; what does not begin with one ends here.
    let secured = tokio::select! {
        biased;
        () = cut.cancelled() => return,
        () = expired.cancelled() => return,
        secured = Box::pin(handshake) => secured,
    };
    let stream = match secured {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%remote, %error, "no TLS with this client of the console");
            return;
        }
    };
    let answering = move |request, slot: Slot| answer(app.clone(), request, remote, slot);
    serving::http(Box::new(stream), slot, DEADLINE, answering).await;
}

async fn answer(
    app: Router,
    request: Request<hyper::body::Incoming>,
    remote: SocketAddr,
    slot: Slot,
) -> Response<Body> {
    let mut request = request.map(Body::new);
    // What could become a socket is answered as a request, which has no place for one.
    let extensions = request.extensions_mut();
    extensions.remove::<hyper::upgrade::OnUpgrade>();
    extensions.insert(Away {
        from: counted(remote.ip()),
    });
    extensions.insert(ConnectInfo(remote));
    extensions.insert(Secure(true));
    extensions.insert(slot);
    match app.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
