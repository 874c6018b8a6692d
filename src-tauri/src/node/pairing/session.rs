//! One pairing over one socket, at either end: the messages, their limits, and how it ends. A stranger
//! gets here only through [`knock`], and only while a window is open.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::knocks::Origin;
use super::{Expected, PairEndView, PairStage, Pairing, Said, Ticket, Verdicted};
use super::{compare_view, keep, peer_view, persona};
use crate::adapters::transport::{PeerUrl, Received, Security, Socket, SocketReader, SocketWriter};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    DIAL_MS, PAIRING_MESSAGE_BYTES, PAIRING_STEP_MS, TEXT_MAX_CHARS,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::domain::pairing::{
    Acceptor, Comparison, Initiator, Joining, LinkSecret, Persona, Reveal, Side, SignedVerdict,
    Start, Verdict,
};
use crate::domain::wire::{Message, Reply};
use crate::node::context::{Context, Event, Severity};

/// How long a peer may take to accept a connection and upgrade it.
const DIAL_TIMEOUT: Duration = Duration::from_millis(DIAL_MS);
/// How long the other side may take where no person is asked.
const STEP: Duration = Duration::from_millis(PAIRING_STEP_MS);
/// How often the node's clock is looked at while persons think.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a node that joins another mesh waits with its restart, so that its person sees why.
const RESTART_GRACE: Duration = Duration::from_millis(1_500);

/// A stranger whose first word was taken. It holds no place yet: that takes its reveal.
pub struct Knock {
    pairing: Pairing,
    origin: Origin,
    start: Start,
    secret: LinkSecret,
    until: TimeMs,
    /// It has used a try; without one it must have read the link.
    counted: bool,
    request: String,
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.pairing.book().waiting.leave(self.origin);
    }
}

/// Takes a stranger's `pair.start`. It costs one of the tries of its address, until it has shown that
/// it has read the link.
///
/// # Errors
/// `NOT_AUTHORIZED` without a window, `BUSY` where too many ask at once, `INVALID_PARAMS`.
pub async fn knock(
    pairing: &Pairing,
    from: IpAddr,
    request: &str,
    params: Map<String, Value>,
) -> Result<Knock, Refusal> {
    let refused = match try_knock(pairing, Origin::of(from), request, params) {
        Ok(knock) => return Ok(knock),
        Err(refusal) => refusal,
    };
    pairing
        .journal
        .refused_of(Cause::Strangers, Event::PairRefused, "stranger", &refused)
        .await;
    Err(refused)
}

fn try_knock(
    pairing: &Pairing,
    origin: Origin,
    request: &str,
    params: Map<String, Value>,
) -> Result<Knock, Refusal> {
    let Some(window) = pairing.window() else {
        return Err(Refusal::new(
            Code::NotAuthorized,
            "pairing is not open here; first run `clawmesh-node pair --accept` at this node",
        ));
    };
    let start = Start::parse(Value::Object(params))?;
    let mut book = pairing.book();
    book.waiting.enter(origin)?;
    let counted = book.window.as_mut().is_some_and(|w| w.tries.take(origin));
    Ok(Knock {
        pairing: pairing.clone(),
        origin,
        start,
        secret: window.secret,
        until: window.until,
        counted,
        request: request.to_owned(),
    })
}

/// Both halves of a pairing's socket, and how it speaks.
struct Wire {
    reader: SocketReader,
    writer: SocketWriter,
}

fn broken() -> Refusal {
    Refusal::new(
        Code::DeliveryFailed,
        "the other side hung up before the pairing was done",
    )
}

fn late() -> Refusal {
    Refusal::new(
        Code::Timeout,
        "the other side took too long; begin the pairing again",
    )
}

fn odd(what: &str) -> Refusal {
    Refusal::new(
        Code::PairingOutOfOrder,
        format!("the other side sent {what} where it does not belong"),
    )
}

/// The other side's own reason, as it may be shown here.
fn from_there(code: &str, message: &str) -> Refusal {
    Refusal::new(
        Code::from_wire(code).unwrap_or(Code::PairingRejected),
        format!("the other side says: {}", one_line(message, TEXT_MAX_CHARS)),
    )
}

impl Wire {
    fn new(socket: Socket) -> Self {
        let (reader, writer) = socket.split();
        Self { reader, writer }
    }

    async fn say(&mut self, text: String) -> Result<(), Refusal> {
        let sent = async {
            self.writer.feed(text).await?;
            self.writer.flush().await
        };
        let sent = tokio::time::timeout(STEP, sent).await.map_err(|_| late())?;
        sent.map_err(|_| broken())
    }

    async fn event(&mut self, event: &str, payload: &Value) -> Result<(), Refusal> {
        self.say(Message::event(event, payload)).await
    }

    /// The next message. Cancel-safe.
    async fn next(&mut self) -> Result<Message, Refusal> {
        match self.reader.recv().await {
            Ok(Received::Text(text)) if text.len() <= PAIRING_MESSAGE_BYTES => {
                Message::parse(&text).map_err(|bad| bad.refusal)
            }
            Ok(Received::Text(_) | Received::TooLarge { .. }) => Err(Refusal::new(
                Code::TooLarge,
                format!("a message of a pairing has at most {PAIRING_MESSAGE_BYTES} bytes"),
            )),
            Ok(Received::Closed { .. }) | Err(_) => Err(broken()),
        }
    }

    /// The next message where no person is waited for.
    async fn step(&mut self) -> Result<Message, Refusal> {
        tokio::time::timeout(STEP, self.next())
            .await
            .map_err(|_| late())?
    }

    async fn ask(&mut self, id: &str, method: &str, params: &Value) -> Result<Value, Refusal> {
        self.say(Message::request(id, method, params)).await?;
        match self.step().await? {
            Message::Response { id: got, result } if got == id => {
                result.map_err(|e| from_there(&e.code, &e.message))
            }
            other => Err(stray(other)),
        }
    }
}

/// Why a message that has no place here ends the pairing.
fn stray(message: Message) -> Refusal {
    match message {
        Message::Event { event, payload } if event == "pair.failed" => {
            let text = |member: &str| payload.get(member).and_then(Value::as_str).unwrap_or("?");
            from_there(text("code"), text("message"))
        }
        Message::Event { .. } => odd("an event"),
        Message::Request { .. } => odd("a request"),
        Message::Response { .. } => odd("a response"),
    }
}

fn json_of(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// How a pairing went well.
struct Paired {
    peer: Persona,
    joining: Joining,
    moves: bool,
    complete: Result<(), Refusal>,
}

/// Serves a stranger whose first word was taken, to the end of its pairing.
pub async fn accept(knock: Knock, reader: SocketReader, writer: SocketWriter) {
    let mut wire = Wire { reader, writer };
    let pairing = knock.pairing.clone();
    match introduce(knock, &mut wire).await {
        Ok((mut ticket, comparison, request)) => {
            let went = answer(&mut ticket, &mut wire, comparison, &request).await;
            finish(ticket, Some(wire), went).await;
        }
        Err(refusal) => {
            farewell(wire, Some(&refusal)).await;
            pairing
                .journal
                .refused_of(Cause::Strangers, Event::PairRefused, "stranger", &refusal)
                .await;
        }
    }
}

/// From a stranger's first word to its reveal. Only then it takes the place of the pairing under way,
/// and persons here hear of it. Also the id of the request that is still to be answered.
async fn introduce(knock: Knock, wire: &mut Wire) -> Result<(Ticket, Comparison, String), Refusal> {
    let (acceptor, answer) = Acceptor::answer(persona(&knock.pairing)?, &knock.start)?;
    wire.say(Reply::Ok(json_of(&answer)).to_text(&knock.request))
        .await?;
    let (id, params) = match wire.step().await? {
        Message::Request { id, method, params } if method == "pair.reveal" => (id, params),
        other => return Err(stray(other)),
    };
    match revealed(&knock, acceptor, params) {
        Ok((ticket, comparison)) => Ok((ticket, comparison, id)),
        Err(refusal) => {
            // The stranger is told the reason; no comparison has been shown to a person yet.
            wire.say(Reply::from(refusal.clone()).to_text(&id)).await?;
            Err(refusal)
        }
    }
}

fn revealed(
    knock: &Knock,
    acceptor: Acceptor,
    params: Map<String, Value>,
) -> Result<(Ticket, Comparison), Refusal> {
    let pairing = &knock.pairing;
    let reveal = Reveal::parse(Value::Object(params))?;
    // A proof that is wrong ends the pairing here.
    let has_link = reveal.proof.is_some();
    let comparison = acceptor.revealed(reveal, &knock.secret)?;
    if !has_link && !knock.counted {
        return Err(Refusal::new(
            Code::RateExceeded,
            "the tries of this address, or of this pairing window, are used; use the link that is shown at the other node, or open its window again",
        ));
    }
    if has_link
        && knock.counted
        && let Some(window) = pairing.book().window.as_mut()
    {
        window.tries.give_back(knock.origin);
    }
    let (side, until) = (Side::Acceptor, knock.until);
    let ticket = pairing.reserve(side, until, has_link)?;
    Ok((ticket, comparison))
}

async fn answer(
    ticket: &mut Ticket,
    wire: &mut Wire,
    comparison: Comparison,
    request: &str,
) -> Result<Paired, Refusal> {
    let pairing = ticket.pairing.clone();
    let data = json!({"side": "acceptor", "session": ticket.id});
    pairing
        .journal
        .caused(
            Cause::Strangers,
            Event::PairStarted,
            Severity::Info,
            "A node asks to pair",
            data,
        )
        .await;
    let checked = async {
        let joining = comparison.joining()?;
        keep::check(&pairing, &comparison.peer().device_id()).await?;
        Ok(joining)
    };
    match checked.await {
        Ok(joining) => {
            wire.say(Reply::Ok(json!({})).to_text(request)).await?;
            compare(ticket, wire, comparison, joining, None).await
        }
        Err(refusal) => {
            let refusal: Refusal = refusal;
            wire.say(Reply::from(refusal.clone()).to_text(request))
                .await?;
            Err(refusal)
        }
    }
}

/// The dialing side of a pairing, to its end.
pub(super) async fn initiate(
    mut ticket: Ticket,
    url: PeerUrl,
    expected: Expected,
    secret: Option<LinkSecret>,
) {
    // Without a link the key that TLS should show is not known yet; the persons' comparison is what
    // protects a pairing, and nothing secret is said in it.
    let security = if url.tls() || (expected.is_some() && !url.is_loopback()) {
        Security::Tls {
            tls: ticket.pairing.tls.clone(),
            pin: None,
            expect: expected.clone(),
        }
    } else {
        Security::Plain
    };
    let stop = ticket.pairing.tasks.stop().child_token();
    let dialer = ticket.pairing.dialer.clone();
    let dialed = tokio::select! {
        biased;
        () = stop.cancelled() => Err(stopping()),
        Some(_) = ticket.heard.recv() => Err(rejected("the pairing was cancelled here")),
        // The only place that dials.
        dialed = dialer.dial(&url, &security, DIAL_TIMEOUT, &stop) =>
            dialed.map_err(|e| Refusal::new(Code::DeliveryFailed, e.to_string())),
    };
    let (wire, went) = match dialed {
        Ok(socket) => {
            let mut wire = Wire::new(socket);
            let went = ask(&mut ticket, &mut wire, &url, expected, secret).await;
            (Some(wire), went)
        }
        Err(refusal) => (None, Err(refusal)),
    };
    finish(ticket, wire, went).await;
}

async fn ask(
    ticket: &mut Ticket,
    wire: &mut Wire,
    url: &PeerUrl,
    expected: Expected,
    secret: Option<LinkSecret>,
) -> Result<Paired, Refusal> {
    let pairing = ticket.pairing.clone();
    let (initiator, start) = Initiator::begin(persona(&pairing)?, expected, secret);
    let answer = wire.ask("1", "pair.start", &json_of(&start)).await?;
    let (comparison, reveal) = initiator.answered(Persona::parse(answer)?)?;
    wire.ask("2", "pair.reveal", &json_of(&reveal)).await?;
    let joining = comparison.joining()?;
    keep::check(&pairing, &comparison.peer().device_id()).await?;
    compare(ticket, wire, comparison, joining, Some(url.to_string())).await
}

fn rejected(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::PairingRejected, why)
}

fn stopping() -> Refusal {
    rejected("this node is stopping")
}

/// The persons compare; then both ends store, and tell each other that they have.
async fn compare(
    ticket: &mut Ticket,
    wire: &mut Wire,
    mut comparison: Comparison,
    joining: Joining,
    url: Option<String>,
) -> Result<Paired, Refusal> {
    let pairing = ticket.pairing.clone();
    let seen = compare_view(&comparison, &joining);
    let data = json!({"session": ticket.id, "peer": seen.peer, "emoji": seen.emoji, "digits": seen.digits});
    let message = format!("Compare with {}: {}", seen.peer.name, seen.digits);
    pairing.update(ticket.id, |view| {
        view.stage = PairStage::Comparing;
        view.compare = Some(seen);
    });
    pairing
        .journal
        .record(Event::PairSas, Severity::Info, &message, data)
        .await;
    let given = agree(ticket, wire, &mut comparison).await?;
    pairing.update(ticket.id, |view| view.stage = PairStage::Storing);
    keep::store(&pairing, &comparison, &joining, &given, url).await?;
    let complete = tell_stored(wire).await;
    let moves = joining.moves == Some(comparison.side());
    Ok(Paired {
        peer: comparison.peer().clone(),
        joining,
        moves,
        complete,
    })
}

/// Waits for both yeses; returns what came with ours.
async fn agree(
    ticket: &mut Ticket,
    wire: &mut Wire,
    comparison: &mut Comparison,
) -> Result<Verdicted, Refusal> {
    let pairing = ticket.pairing.clone();
    let stop = pairing.tasks.stop().clone();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut given = None;
    loop {
        if comparison.agreed()
            && let Some(given) = given.take()
        {
            return Ok(given);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(stopping()),
            said = ticket.heard.recv() => {
                let verdict = match said {
                    Some(Said::Yes(with)) => {
                        given = Some(with);
                        Verdict::Yes
                    }
                    Some(Said::No) => Verdict::No,
                    Some(Said::Cancel) | None => return Err(rejected("the pairing was cancelled here")),
                };
                let signed = comparison.say(verdict, &pairing.key)?;
                wire.event("pair.verdict", &json_of(&signed)).await?;
                if verdict == Verdict::No {
                    return Err(rejected("the person at this node said no"));
                }
            }
            message = wire.next() => match message? {
                Message::Event { event, payload } if event == "pair.verdict" => {
                    let verdict = comparison.heard(&SignedVerdict::parse(payload)?)?;
                    if verdict == Verdict::No {
                        return Err(rejected("the person at the other node said no"));
                    }
                    pairing.update(ticket.id, |view| view.theirs = Some("yes".to_owned()));
                }
                other => return Err(stray(other)),
            },
            _ = look.tick() => if pairing.now() >= ticket.until {
                return Err(Refusal::new(Code::Timeout, "not both said yes in time; begin the pairing again"));
            },
        }
    }
}

/// Tells the other side that trust is stored here, and hears the same from it.
async fn tell_stored(wire: &mut Wire) -> Result<(), Refusal> {
    wire.event("pair.stored", &json!({})).await?;
    match wire.step().await? {
        Message::Event { event, .. } if event == "pair.stored" => Ok(()),
        other => Err(stray(other)),
    }
}

async fn farewell(mut wire: Wire, failed: Option<&Refusal>) {
    if let Some(refusal) = failed {
        let why = json!({"code": refusal.code, "message": refusal.message});
        // Fails if the peer has hung up already.
        let _ = wire.event("pair.failed", &why).await;
    }
    wire.writer.close(1000, "pairing is over").await;
}

/// Frees the place, says goodbye, and writes down how it ended.
async fn finish(ticket: Ticket, wire: Option<Wire>, went: Result<Paired, Refusal>) {
    let pairing = ticket.pairing.clone();
    if let Some(wire) = wire {
        farewell(wire, went.as_ref().err()).await;
    }
    let end = match &went {
        Ok(paired) => paired_end(&ticket, paired),
        Err(refusal) => PairEndView {
            id: ticket.id,
            stored: false,
            complete: false,
            code: Some(refusal.code.as_str().to_owned()),
            message: refusal.message.clone(),
            peer: None,
            restarting: false,
        },
    };
    let closed = close(&ticket, &end);
    drop(ticket);
    match went {
        Ok(paired) => {
            let data = json!({"deviceId": paired.peer.device_id(), "complete": end.complete, "mesh": paired.joining.mesh});
            pairing
                .journal
                .record(Event::PairConfirmed, Severity::Info, &end.message, data)
                .await;
            if paired.moves {
                restart(&pairing, &paired);
            }
        }
        Err(refusal) => {
            pairing
                .journal
                .refused(Event::PairFailed, "pairing", &refusal)
                .await
        }
    }
    if let Some(why) = closed {
        let data = json!({"open": false, "reason": why});
        pairing
            .journal
            .record(Event::PairWindow, Severity::Info, "Pairing is closed", data)
            .await;
    }
}

fn paired_end(ticket: &Ticket, paired: &Paired) -> PairEndView {
    let name = paired.peer.shown_name();
    let mut message = format!("Paired with {name}");
    if paired.moves {
        message.push_str(&format!(
            "; joined mesh {}, restarting",
            paired.joining.mesh
        ));
    }
    if let Err(why) = &paired.complete {
        message.push_str(&format!(
            ". {name} did not say that it stored this ({}): if the two do not connect, pair them again",
            why.message
        ));
    }
    PairEndView {
        id: ticket.id,
        stored: true,
        complete: paired.complete.is_ok(),
        code: None,
        message,
        peer: Some(peer_view(&paired.peer)),
        restarting: paired.moves,
    }
}

/// Takes the pairing out of the book; says why the window is closed by it, if it is.
fn close(ticket: &Ticket, end: &PairEndView) -> Option<&'static str> {
    let mut book = ticket.pairing.book();
    // Another may have taken its place meanwhile.
    let known = book.session.take_if(|s| s.view.id == ticket.id)?;
    let peer = known.view.compare.map(|c| c.peer);
    book.last = Some(PairEndView {
        peer: end.peer.clone().or(peer),
        ..end.clone()
    });
    let paired = ticket.side == Side::Acceptor && end.stored;
    (paired && book.window.take().is_some()).then_some("paired")
}

/// The mesh of a running node is fixed: the node starts again in the one it joined.
fn restart(context: &Context, paired: &Paired) {
    let why = format!("joined mesh {}, restarting", paired.joining.mesh);
    let tasks = context.tasks.clone();
    context.tasks.passing("restart", async move {
        tokio::time::sleep(RESTART_GRACE).await;
        tasks.restart(why);
    });
}
