//! The way in for programs of the node's own user: HTTP on a socket in the state directory, where the system has such
//! sockets (`unix.rs`; `windows.rs` says why there is none).
//!
//! File permissions and the credentials that the kernel reports tell both ends who the other is, so
//! nothing secret has to be sent: a program that merely listens on a port of the node learns nothing.
//! Where there is no such socket, [`reach_device`] has the node prove its device key first.
//!
//! Accepting never waits. A connection that waits for its client (for a request, or for an answer to be taken)
//! gives way when there are too many of them; how much is worked for at once is for the router to bound.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as here;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub use self::here::{Owner, owner_of, reach};
use self::here::{Socket, Stream};
use super::TransportError;
use super::dial::{self, PeerUrl};
use super::socket::ByteStream;
use super::tls;
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{
    HANDSHAKE_DEADLINE_MS, LOCAL_WAITING_MAX, REQUEST_HEAD_MAX_BYTES, REQUEST_HEADERS_MAX,
};

/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// In the extensions of a request that came over the socket: its sender runs as the node's own user.
/// No other request carries it, since only this room puts it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromOwner;

/// The connections that wait for their clients.
#[derive(Debug, Default)]
struct Crowd(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Keyed by when the wait began, so that the first waits longest.
    by_age: BTreeMap<u64, Waiter>,
    begun: u64,
}

#[derive(Debug)]
struct Waiter {
    /// The client's process, where the system names it.
    of: Option<i32>,
    cut: CancellationToken,
}

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more waits. If they are too many, the one that waits longest of the process that has the most gives
    /// way, so that a crowd of one program pushes out none but its own.
    fn enter(&self, of: Option<i32>, cut: &CancellationToken) -> u64 {
        let mut waiting = self.lock();
        let number = waiting.begun;
        waiting.begun += 1;
        let cut = cut.clone();
        waiting.by_age.insert(number, Waiter { of, cut });
        if waiting.by_age.len() > LOCAL_WAITING_MAX {
            waiting.close_one();
        }
        number
    }

    /// Closes one that waits, if any does; for a system that has no descriptor left.
    fn close_one(&self) {
        self.lock().close_one();
    }
}

impl Waiting {
    fn close_one(&mut self) {
        let mut of_process: BTreeMap<Option<i32>, (usize, u64)> = BTreeMap::new();
        for (number, waiter) in &self.by_age {
            of_process.entry(waiter.of).or_insert((0, *number)).0 += 1;
        }
        let most = of_process
            .into_values()
            .max_by_key(|(count, oldest)| (*count, u64::MAX - oldest));
        let left = most.and_then(|(_, oldest)| self.by_age.remove(&oldest));
        if let Some(waiter) = left {
            waiter.cut.cancel();
        }
    }
}

/// In the extensions of a request that came over the socket: whether its connection waits for its client,
/// and so may be closed to make room, or is worked for.
#[derive(Debug, Clone)]
pub struct Visit(Arc<Visitor>);

#[derive(Debug)]
struct Visitor {
    crowd: Arc<Crowd>,
    of: Option<i32>,
    cut: CancellationToken,
    waits: Mutex<Option<u64>>,
}

impl Visit {
    fn begin(crowd: &Arc<Crowd>, of: Option<i32>) -> Self {
        let cut = CancellationToken::new();
        let number = crowd.enter(of, &cut);
        Self(Arc::new(Visitor {
            crowd: crowd.clone(),
            of,
            cut,
            waits: Mutex::new(Some(number)),
        }))
    }

    fn place(&self) -> MutexGuard<'_, Option<u64>> {
        self.0.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request has come whole and is worked for: nothing closes the connection until it is answered.
    pub fn is_worked_for(&self) {
        if let Some(number) = self.place().take() {
            self.0.crowd.lock().by_age.remove(&number);
        }
    }

    /// The client has to do something next.
    fn waits(&self) {
        let mut place = self.place();
        if let Some(number) = *place {
            self.0.crowd.lock().by_age.remove(&number);
        }
        *place = Some(self.0.crowd.enter(self.0.of, &self.0.cut));
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let waits = self.waits.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = waits.take() {
            self.crowd.lock().by_age.remove(&number);
        }
    }
}

/// The bound socket; its file goes away with it.
#[derive(Debug)]
pub struct LocalListener(Socket);

impl LocalListener {
    /// Makes the socket, readable and writable by its owner only. The caller holds the lock of the state
    /// directory, so a socket that is there already was left by a run that ended.
    ///
    /// # Errors
    /// The OS error, also where the path is longer than a socket's may be.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Socket::bind(path).map(Self)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Answers until `stop`, which also ends every connection. Connections run on `tasks`.
    pub async fn serve(self, app: Router, tasks: TaskTracker, stop: CancellationToken) {
        let crowd = Arc::new(Crowd::default());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.0.accept() => accepted,
            };
            match accepted {
                Ok(Some((stream, of))) => {
                    let (app, stop) = (app.clone(), stop.clone());
                    let visit = Visit::begin(&crowd, of);
                    tasks.spawn(async move {
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => {}
                            () = visit.0.cut.cancelled() => {}
                            () = answer(stream, app, visit.clone()) => {}
                        }
                    });
                    // Read accepted connections before accepting more.
                    tokio::task::yield_now().await;
                }
                Ok(None) => tracing::warn!("another user's program knocked at the local socket"),
                Err(error) => {
                    tracing::warn!(%error, "could not accept a local connection; closing one that waits");
                    crowd.close_one();
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

async fn answer(stream: Stream, app: Router, visit: Visit) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HANDSHAKE_DEADLINE_MS))
        .max_headers(REQUEST_HEADERS_MAX)
        .max_buf_size(REQUEST_HEAD_MAX_BYTES);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (app, visit) = (app.clone(), visit.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(FromOwner);
            request.extensions_mut().insert(visit.clone());
            match app.oneshot(request).await {
                Ok(response) => Ok::<_, Infallible>(taken(response, visit)),
                Err(never) => match never {},
            }
        }
    });
    let served = http.serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a local connection broke");
    }
}

/// A finished answer only waits to be taken; one that is still made, such as a stream of events, is worked for
/// until it ends.
fn taken(response: Response<Body>, visit: Visit) -> Response<Body> {
    if response.body().size_hint().exact().is_some() {
        visit.waits();
        return response;
    }
    let ends = Ends(visit);
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _until_it_ends = &ends;
            frame
        }))
    })
}

struct Ends(Visit);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.waits();
    }
}

/// Connects to a port of this machine by TLS, if the listener proves the key of `device`. Nothing is sent
/// before that.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_one_process_pushes_out_its_own_and_nothing_that_is_worked_for() {
        let crowd = Arc::new(Crowd::default());
        let (first, other) = (Visit::begin(&crowd, Some(1)), Visit::begin(&crowd, Some(2)));
        first.is_worked_for();
        let many: Vec<Visit> = (0..2 * LOCAL_WAITING_MAX)
            .map(|_| Visit::begin(&crowd, Some(1)))
            .collect();
        let closed = |visit: &Visit| visit.0.cut.is_cancelled();
        assert!(!closed(&first) && !closed(&other));
        let left = many.iter().filter(|visit| !closed(visit)).count();
        assert_eq!(left, LOCAL_WAITING_MAX - 1);
        assert!(many.last().is_some_and(|newest| !closed(newest)));
        // It waits again, as the newest.
        first.waits();
        assert!(!closed(&first));
        drop((first, other, many));
        assert!(crowd.lock().by_age.is_empty());
    }
}
