//! Pairing on a running node: the window a person opens, the one pairing that may be under way, and
//! what persons say to it. `session` carries the messages, `keep` stores the outcome, the rules are in
//! `domain/pairing`.
//!
//! Windows and pairings live in memory only: a node that starts again has forgotten them.

mod keep;
mod knocks;
mod session;
mod view;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::json;
use tokio::sync::{mpsc, watch};

pub use self::keep::{Learned, Unsettled, learned, settled};
use self::knocks::{Tries, Waiting};
pub use self::session::{Knock, accept, knock};
pub use self::view::{
    Nearby, PairCompareView, PairEmoji, PairEndView, PairPeerView, PairSessionView, PairStage,
    PairWindowView, PairingView,
};
use crate::adapters::transport::{Dialer, PeerUrl, Tls};
use crate::domain::admission::Preset;
use crate::domain::base::limits::{PAIRING_TRIES, PAIRING_WINDOW_MS};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::identity::DeviceKey;
use crate::domain::pairing::{Comparison, Joining, LinkSecret, PairLink, Persona, Side, Verdict};
use crate::node::authority::Authority;
use crate::node::config::Role;
use crate::node::context::{Context, Event, Severity};

/// Pairing on one node. The key in it signs verdicts of pairings and leaves this room in no other way.
#[derive(Clone)]
pub struct Pairing(Arc<Parts>);

/// What [`Pairing`] gives access to.
pub struct Parts {
    context: Context,
    authority: Authority,
    key: Arc<DeviceKey>,
    tls: Tls,
    dialer: Arc<dyn Dialer>,
    book: Mutex<Book>,
    /// Counts up when a peer to dial was learned.
    learned: watch::Sender<u64>,
    address: OnceLock<SocketAddr>,
}

impl std::ops::Deref for Pairing {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::Deref for Parts {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

#[derive(Debug, Default)]
struct Book {
    window: Option<Window>,
    waiting: Waiting,
    session: Option<Session>,
    last: Option<PairEndView>,
    count: u64,
}

#[derive(Debug, Clone)]
struct Window {
    until: TimeMs,
    tries: Tries,
    secret: LinkSecret,
}

#[derive(Debug)]
struct Session {
    view: PairSessionView,
    until: TimeMs,
    say: mpsc::Sender<Said>,
    /// The other side is one that a person here chose: it was dialed, or it has read the link.
    chosen: bool,
}

/// The local person's answer to the pairing under way.
#[derive(Debug)]
enum Said {
    Yes(Verdicted),
    No,
    Cancel,
}

/// The choices that come with a yes.
#[derive(Debug, Clone)]
struct Verdicted {
    /// The grants of the other side here.
    preset: Preset,
}

/// Holds the place of the pairing under way; the place is free again when this is dropped.
pub struct Ticket {
    pairing: Pairing,
    id: u64,
    side: Side,
    until: TimeMs,
    heard: mpsc::Receiver<Said>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut book = self.pairing.book();
        if book.session.as_ref().is_some_and(|s| s.view.id == self.id) {
            // An orderly end has removed it from the book already.
            let session = book.session.take();
            book.last = Some(PairEndView {
                id: self.id,
                stored: false,
                complete: false,
                code: Some(Code::PairingRejected.as_str().to_owned()),
                message: "the pairing was broken off".to_owned(),
                peer: session.and_then(|s| s.view.compare).map(|c| c.peer),
                restarting: false,
            });
        }
    }
}

impl Pairing {
    /// No window is open and no pairing is under way.
    pub fn new(
        authority: Authority,
        key: Arc<DeviceKey>,
        tls: Tls,
        dialer: Arc<dyn Dialer>,
    ) -> Self {
        Self(Arc::new(Parts {
            context: authority.context.clone(),
            authority,
            key,
            tls,
            dialer,
            book: Mutex::default(),
            learned: watch::Sender::default(),
            address: OnceLock::new(),
        }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where this node listens, for the links it shows.
    pub fn listens_on(&self, address: SocketAddr) {
        // Told once; a second telling would say the same.
        let _ = self.address.set(address);
    }

    /// Where this node listens, once it does; with port 0 in its configuration, the port it was given.
    pub fn listens_at(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    /// Counts up when a peer to dial was learned.
    pub fn watch_learned(&self) -> watch::Receiver<u64> {
        self.learned.subscribe()
    }

    /// The window, if it is open now. One whose time is over is closed by looking at it.
    fn window(&self) -> Option<Window> {
        let now = self.now();
        let mut book = self.book();
        if book.window.as_ref().is_some_and(|w| now >= w.until) {
            book.window = None;
        }
        book.window.clone()
    }

    /// Takes the place of the pairing under way. One that a person `chose` ends the pairing of a
    /// stranger that nobody here has said yes to.
    fn reserve(&self, side: Side, until: TimeMs, chosen: bool) -> Result<Ticket, Refusal> {
        let mut book = self.book();
        let gives_way = |s: &Session| chosen && !s.chosen && s.view.ours.is_none();
        if let Some(stranger) = book.session.take_if(|s| gives_way(s)) {
            // One that is ending by itself hears nothing, and needs nothing.
            let _ = stranger.say.try_send(Said::Cancel);
        }
        if book.session.is_some() {
            return Err(Refusal::new(
                Code::Busy,
                "another pairing is under way here; wait until it has ended",
            ));
        }
        book.count += 1;
        let id = book.count;
        let (say, heard) = mpsc::channel(4);
        let view = PairSessionView {
            id,
            side: side.as_str().to_owned(),
            stage: PairStage::Exchanging,
            until: until.0,
            compare: None,
            ours: None,
            theirs: None,
        };
        book.session = Some(Session {
            view,
            until,
            say,
            chosen,
        });
        Ok(Ticket {
            pairing: self.clone(),
            id,
            side,
            until,
            heard,
        })
    }

    fn update(&self, id: u64, change: impl FnOnce(&mut PairSessionView)) {
        if let Some(session) = self.book().session.as_mut().filter(|s| s.view.id == id) {
            change(&mut session.view);
        }
    }
}

/// Who this node says it is to a device it does not know.
fn persona(context: &Context) -> Result<Persona, Refusal> {
    let nonce = context
        .random
        .bytes()
        .map_err(|e| Refusal::new(Code::InternalError, e.to_string()))?;
    let trusts_nobody = !context.trust.all().iter().any(|r| r.is_live());
    Ok(Persona::new(
        &nonce,
        &context.public_key,
        &context.config.name,
        context.config.role.as_str(),
        context.mesh.clone(),
        context.config.mesh.is_none() && trusts_nobody,
    ))
}

fn peer_view(peer: &Persona) -> PairPeerView {
    PairPeerView {
        device_id: peer.device_id().as_str().to_owned(),
        name: peer.shown_name(),
        role: peer.shown_role(),
        mesh: peer.shown_mesh(),
    }
}

/// Default preset for a role; unknown roles get `viewer`.
fn suggested(role: &str) -> &'static str {
    match role.parse::<Role>() {
        Ok(Role::Field | Role::Sensor | Role::Actuator) => "field",
        Ok(role) if role.plans() => "command-center",
        _ => "viewer",
    }
}

fn compare_view(comparison: &Comparison, joining: &Joining) -> PairCompareView {
    let peer = peer_view(comparison.peer());
    let string = comparison.short_string();
    let joins = joining.moves.map(|side| {
        let who = if side == comparison.side() {
            "this node".to_owned()
        } else {
            peer.name.clone()
        };
        format!("{who} joins mesh {}", joining.mesh)
    });
    PairCompareView {
        suggested: suggested(&peer.role).to_owned(),
        emoji: string.emoji().into_iter().map(PairEmoji::from).collect(),
        digits: string.digits(),
        joins,
        peer,
    }
}

/// Whether a window is open now.
pub fn is_open(pairing: &Pairing) -> bool {
    pairing.window().is_some()
}

/// Where another machine reaches this node, as far as this node can tell.
fn own_url(pairing: &Pairing) -> String {
    let address = pairing.listens_at();
    let address = address.unwrap_or_else(|| pairing.config.host.socket(pairing.config.port));
    let ip = match address.ip() {
        ip if ip.is_unspecified() => outward().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ip => ip,
    };
    format!("ws://{}", SocketAddr::new(ip, address.port()))
}

/// The address this machine would send from; nothing is sent.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Pairing on this node, as persons see it; `nearby` are the devices on the LAN that they could pair with.
pub fn view(pairing: &Pairing, nearby: Vec<Nearby>) -> PairingView {
    let window = pairing.window();
    let window = window.map(|w| PairWindowView {
        until: w.until.0,
        tries_left: w.tries.left(),
        link: PairLink {
            device: pairing.own_id().clone(),
            url: own_url(pairing),
            secret: w.secret,
        }
        .to_string(),
    });
    let book = pairing.book();
    PairingView {
        window,
        session: book.session.as_ref().map(|s| s.view.clone()),
        last: book.last.clone(),
        nearby,
    }
}

/// Opens the window, or opens it anew: other secret, full time, all tries.
///
/// # Errors
/// `CONFLICT` while a pairing is under way.
pub async fn open_window(pairing: &Pairing) -> Result<(), Refusal> {
    let bytes = pairing
        .random
        .bytes()
        .map_err(|e| Refusal::new(Code::InternalError, e.to_string()))?;
    let until = pairing.now().plus(PAIRING_WINDOW_MS);
    {
        let mut book = pairing.book();
        if book.session.is_some() {
            return Err(Refusal::new(
                Code::Conflict,
                "a pairing is under way; end it first: clawmesh-node pair --cancel",
            ));
        }
        book.window = Some(Window {
            until,
            tries: Tries::default(),
            secret: LinkSecret::from_bytes(bytes),
        });
    }
    let message = format!(
        "Pairing is open for {} minutes, {PAIRING_TRIES} tries for each address",
        PAIRING_WINDOW_MS / 60_000
    );
    let data = json!({"open": true, "until": until});
    pairing
        .journal
        .record(Event::PairWindow, Severity::Info, &message, data)
        .await;
    Ok(())
}

/// Closes the window and ends the pairing under way.
pub async fn cancel(pairing: &Pairing) {
    let (open, say) = {
        let mut book = pairing.book();
        let say = book.session.as_ref().map(|s| s.say.clone());
        (book.window.take().is_some(), say)
    };
    if let Some(say) = say {
        // A pairing that ended meanwhile hears nothing, and needs nothing.
        let _ = say.try_send(Said::Cancel);
    }
    if open {
        let data = json!({"open": false, "reason": "cancelled"});
        pairing
            .journal
            .record(Event::PairWindow, Severity::Info, "Pairing is closed", data)
            .await;
    }
}

/// Begins to pair with the node behind a link's text or a URL.
///
/// # Errors
/// `INVALID_PARAMS` for neither, `BUSY` while another pairing is under way.
pub async fn start(pairing: &Pairing, target: &str) -> Result<(), Refusal> {
    let (url, device, secret) = if PairLink::looks_like(target) {
        let link: PairLink = target.parse()?;
        (link.url, Some(link.device), Some(link.secret))
    } else {
        (target.trim().to_owned(), None, None)
    };
    let url: PeerUrl = url
        .parse()
        .map_err(|e| Refusal::new(Code::InvalidParams, format!("{e}")))?;
    if device.as_ref() == Some(pairing.own_id()) {
        return Err(Refusal::new(
            Code::Conflict,
            "this link is this node's own; use it at the other node",
        ));
    }
    let until = pairing.now().plus(PAIRING_WINDOW_MS);
    if url.tls() && device.is_none() {
        return Err(Refusal::new(
            Code::InvalidParams,
            "a wss:// link is bound to a device, and an address alone names none; use the other node's link, or ws://",
        ));
    }
    let ticket = pairing.reserve(Side::Initiator, until, true)?;
    let data = json!({"side": "initiator", "url": url.to_string(), "session": ticket.id});
    let message = format!("Pairing with {url} begins");
    pairing
        .journal
        .record(Event::PairStarted, Severity::Info, &message, data)
        .await;
    pairing
        .tasks
        .passing("pairing", session::initiate(ticket, url, device, secret));
    Ok(())
}

/// What our person says to the pairing `id`.
///
/// # Errors
/// `NOT_FOUND` if it is not under way, `PAIRING_OUT_OF_ORDER` if there is nothing to decide yet or any
/// more, `TIMEOUT` after its time, `INVALID_PARAMS` for a yes without a preset.
pub fn decide(
    pairing: &Pairing,
    id: u64,
    verdict: Verdict,
    preset: Option<&str>,
) -> Result<(), Refusal> {
    let said = match (verdict, preset) {
        (Verdict::No, _) => Said::No,
        (Verdict::Yes, Some(preset)) => Said::Yes(Verdicted {
            preset: preset
                .parse()
                .map_err(|e: String| Refusal::new(Code::InvalidParams, e))?,
        }),
        (Verdict::Yes, None) => {
            return Err(Refusal::new(
                Code::InvalidParams,
                "a yes says what the other node may do here: field, command-center, owner, viewer or gen1",
            ));
        }
    };
    let out_of_order = |why: &str| Refusal::new(Code::PairingOutOfOrder, why);
    {
        let mut book = pairing.book();
        let session = book.session.as_mut().filter(|s| s.view.id == id);
        let session = session.ok_or_else(|| {
            Refusal::new(
                Code::NotFound,
                format!("pairing {id} is not under way any more; see its end in the events"),
            )
        })?;
        if pairing.now() >= session.until {
            return Err(Refusal::new(
                Code::Timeout,
                "the time for this pairing is over; begin again",
            ));
        }
        if session.view.stage != PairStage::Comparing {
            return Err(out_of_order("there is nothing to decide now"));
        }
        if session.view.ours.is_some() {
            return Err(out_of_order("this has been decided already"));
        }
        session
            .say
            .try_send(said)
            .map_err(|_| out_of_order("the pairing is ending"))?;
        if verdict == Verdict::Yes {
            session.view.ours = Some("yes".to_owned());
        }
    }
    Ok(())
}

/// The dialing side's expectation, for readers of `session`.
type Expected = Option<DeviceId>;
