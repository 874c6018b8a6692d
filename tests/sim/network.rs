//! The simulated network: byte pipes with latency that stall, break at any byte and fall apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clawmesh::adapters::transport::{
    Channel, Dialer, Doorway, Incoming, PeerUrl, Protection, Security, Socket, TransportError,
};
use clawmesh::domain::base::DeviceId;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use crate::rng::{Rng, Trace};

/// When a world begins, by a right clock, in milliseconds since 1970.
pub const BEGINNING_MS: u64 = 1_760_000_000_000;

/// A host that listens.
#[derive(Clone)]
pub struct Host {
    pub device: DeviceId,
    /// It knows no TLS.
    pub plain: bool,
    pub doorway: Arc<Doorway>,
    pub sockets: mpsc::Sender<Incoming>,
    pub stop: CancellationToken,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<usize, Host>,
    /// Directions in which nothing comes through.
    blocked: BTreeSet<(usize, usize)>,
    pipes: Vec<(usize, usize, CancellationToken)>,
    latency: BTreeMap<(usize, usize), (u64, Rng)>,
    calm: bool,
    /// Connections that were opened, for the name of the next.
    opened: u64,
}

#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
    rng: Rng,
    seed: u64,
    pub trace: Trace,
}

/// The host behind an address.
pub fn host_of(address: SocketAddr) -> usize {
    match address.ip() {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        std::net::IpAddr::V6(_) => usize::MAX,
    }
}

pub fn address(host: usize) -> SocketAddr {
    let last = u8::try_from(host + 1).unwrap();
    SocketAddr::from(([10, 0, 0, last], 18_789))
}

impl Net {
    pub fn new(rng: Rng, trace: Trace) -> Self {
        Self {
            state: Arc::default(),
            seed: rng.next(),
            rng,
            trace,
        }
    }

    /// A name for a connection that only its two ends know.
    fn channel(&self) -> Channel {
        let mut state = self.state.lock().unwrap();
        state.opened += 1;
        Channel::named(&state.opened.to_string())
    }

    pub fn listen(&self, at: usize, host: Host) {
        self.state.lock().unwrap().hosts.insert(at, host);
    }

    pub fn silence(&self, at: usize) {
        self.state.lock().unwrap().hosts.remove(&at);
    }

    pub fn block(&self, from: usize, to: usize) {
        self.state.lock().unwrap().blocked.insert((from, to));
    }

    /// Breaks one pipe, chosen by chance; whether there was one.
    pub fn break_one(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.pipes.retain(|(_, _, cut)| !cut.is_cancelled());
        if state.pipes.is_empty() {
            return false;
        }
        let at = self.rng.index(state.pipes.len());
        state.pipes[at].2.cancel();
        true
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().blocked.clear();
    }

    /// No more faults from now on.
    pub fn calm(&self) {
        self.heal();
        self.state.lock().unwrap().calm = true;
    }

    fn passes(&self, from: usize, to: usize) -> bool {
        !self.state.lock().unwrap().blocked.contains(&(from, to))
    }

    /// Each direction draws from a stream of its own: `tokio::sync::watch` wakes its waiters in an
    /// order that is not seeded, which must not change what another link sees.
    fn latency(&self, from: usize, to: usize) -> Duration {
        let mut state = self.state.lock().unwrap();
        let calm = state.calm;
        let seed = self.seed ^ (u64::try_from(from * 97 + to).unwrap() << 32);
        let (base, rng) = state.latency.entry((from, to)).or_insert_with(|| {
            let rng = Rng::new(seed);
            (1 + rng.below(80), rng)
        });
        let spike = rng.chance(1) && !calm;
        let (jitter, long) = (rng.below(*base / 2 + 1), rng.below(5_000));
        Duration::from_millis(*base + jitter + if spike { long } else { 0 })
    }

    /// Opens a pipe from one host to another; the near end and the host that answers.
    pub async fn connect(
        &self,
        from: usize,
        to: usize,
    ) -> io::Result<(DuplexStream, Host, DuplexStream)> {
        tokio::time::sleep(self.latency(from, to)).await;
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        if !self.passes(from, to) || !self.passes(to, from) {
            // Packets that are lost give no answer: the dialer waits until it gives up.
            std::future::pending::<()>().await;
        }
        let calm = self.state.lock().unwrap().calm;
        if !calm && self.rng.chance(5) {
            return Err(refused());
        }
        let host = self.state.lock().unwrap().hosts.get(&to).cloned();
        let host = host.ok_or_else(refused)?;
        let (near, near_net) = tokio::io::duplex(16 * 1024);
        let (far, far_net) = tokio::io::duplex(16 * 1024);
        let cut = CancellationToken::new();
        self.state
            .lock()
            .unwrap()
            .pipes
            .push((from, to, cut.clone()));
        self.trace.note(format!("net {from}->{to} open"));
        let (near_read, near_write) = tokio::io::split(near_net);
        let (far_read, far_write) = tokio::io::split(far_net);
        self.carry(from, to, near_read, far_write, cut.clone());
        self.carry(to, from, far_read, near_write, cut);
        Ok((near, host, far))
    }

    fn carry(
        &self,
        from: usize,
        to: usize,
        mut input: ReadHalf<DuplexStream>,
        mut output: WriteHalf<DuplexStream>,
        cut: CancellationToken,
    ) {
        let net = self.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0_u8; 16 * 1024];
            let moving = async {
                while let Ok(count) = input.read(&mut buffer).await {
                    if count == 0 {
                        break;
                    }
                    tokio::time::sleep(net.latency(from, to)).await;
                    while !net.passes(from, to) {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    net.trace.note(format!("net {from}->{to} {count}"));
                    // A fault of the path may come after any byte.
                    let breaks = cut.is_cancelled();
                    let through = if breaks { net.rng.index(count) } else { count };
                    if output.write_all(&buffer[..through]).await.is_err() || breaks {
                        break;
                    }
                }
            };
            tokio::select! {
                biased;
                () = moving => {}
                () = async { cut.cancelled().await; tokio::time::sleep(Duration::from_millis(200)).await } => {}
            }
            cut.cancel();
            net.trace.note(format!("net {from}->{to} over"));
            output.shutdown().await.ok();
        });
    }
}

/// Dials from one host.
pub struct SimDialer {
    pub net: Net,
    pub from: usize,
    pub device: DeviceId,
}

impl SimDialer {
    async fn open(
        &self,
        url: &PeerUrl,
        security: &Security,
        stop: &CancellationToken,
    ) -> Result<Socket, TransportError> {
        let last = url
            .host()
            .rsplit('.')
            .next()
            .and_then(|n| n.parse::<usize>().ok());
        let to = last.and_then(|n| n.checked_sub(1)).unwrap_or(usize::MAX);
        let (near, host, far) =
            self.net
                .connect(self.from, to)
                .await
                .map_err(|source| TransportError::Connect {
                    url: url.to_string(),
                    source,
                })?;
        let proven = match security {
            Security::Plain => return self.in_the_clear(&host, near, far, stop).await,
            Security::Tls { .. } if host.plain => {
                return Err(TransportError::Tls {
                    url: url.to_string(),
                    why: "it speaks plainly".to_owned(),
                });
            }
            Security::Tls {
                expect: Some(expect),
                ..
            } if *expect != host.device => {
                return Err(TransportError::WrongDevice {
                    url: url.to_string(),
                    expected: expect.clone(),
                    found: host.device.clone(),
                });
            }
            Security::Tls { .. } => Protection::tls(Some(self.device.clone())),
        };
        let channel = Some(self.net.channel());
        let proven = proven.over(channel.clone());
        accept(&host, Box::new(far), self.from, proven).await;
        let proven = Protection::tls(Some(host.device)).over(channel);
        Ok(Socket::new(Box::new(near), Role::Client, proven, stop, None).await)
    }

    async fn in_the_clear(
        &self,
        host: &Host,
        near: DuplexStream,
        far: DuplexStream,
        stop: &CancellationToken,
    ) -> Result<Socket, TransportError> {
        accept(host, Box::new(far), self.from, Protection::PLAIN).await;
        Ok(Socket::new(Box::new(near), Role::Client, Protection::PLAIN, stop, None).await)
    }
}

/// Hands the far end of a pipe to the host that listens there.
pub async fn accept(host: &Host, far: Box<DuplexStream>, from: usize, protection: Protection) {
    let slot = host.doorway.enter(&host.stop);
    let cut = slot.cut().clone();
    let socket = Socket::new(far, Role::Server, protection, &cut, Some(slot.clone())).await;
    let incoming = Incoming {
        socket,
        remote: address(from),
        origin: None,
        slot,
    };
    drop(host.sockets.try_send(incoming));
}

impl Dialer for SimDialer {
    fn dial<'a>(
        &'a self,
        url: &'a PeerUrl,
        security: &'a Security,
        timeout: Duration,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Socket, TransportError>> {
        Box::pin(async move {
            let opening = self.open(url, security, stop);
            tokio::time::timeout(timeout, opening)
                .await
                .unwrap_or_else(|_| {
                    Err(TransportError::TimedOut {
                        url: url.to_string(),
                        timeout_ms: timeout.as_millis(),
                    })
                })
        })
    }
}
