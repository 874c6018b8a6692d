//! The connection to one device, owned by one thread: it asks one thing at a time, the most urgent first, and
//! connects, or opens a port, again with growing pauses. The thread is its own, as those of the guards are, so that neither a busy
//! node nor a slow device holds up the way to the safe state of another one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::line::{Rank, Seat};
use super::name::Name;
use super::poll::Poll;
use super::socket::Fault;
use super::way::{Place, Way};
use super::wire::{Ask, Span};
use crate::domain::base::limits::{
    MODBUS_BEATS_LOST, MODBUS_PAUSE_FIRST_MS, MODBUS_PAUSE_MAX_MS, MODBUS_WAITING_MAX,
};

/// Priorities of requests; readings come after all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// The way to the safe state.
    Safety,
    /// An action, and what is asked for people.
    Action,
}

/// A value that is written again and again while an actuator is away from its safe state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    /// Where.
    pub span: Span,
    /// How often.
    pub every: Duration,
    /// The value; without one it counts, and a bit changes.
    pub fixed: Option<u16>,
}

/// A request and its waiting caller. Once the channel is closed, no caller waits.
struct Job {
    ask: Ask,
    reply: oneshot::Sender<Result<Vec<u16>, Fault>>,
}

/// A beat that goes on.
struct Beating {
    beat: Beat,
    due: Instant,
    /// When it ends by itself: a guard that hangs must not keep a device going.
    over: Instant,
    count: u16,
    /// How many in a row were not written.
    missed: u32,
}

#[derive(Default)]
struct State {
    safety: VecDeque<Job>,
    action: VecDeque<Job>,
    beats: BTreeMap<usize, Beating>,
    poll: Poll,
    /// How many wait for the connection to be made again.
    waiting: usize,
    running: bool,
    closed: bool,
}

struct Inner {
    place: Place,
    /// The place at a serial line.
    seat: Option<Seat>,
    state: Mutex<State>,
    wake: Condvar,
    /// Counts the connections that were made.
    made: watch::Sender<u64>,
    /// The actuators whose beat is not written, and why.
    missed: watch::Sender<BTreeMap<usize, String>>,
}

/// The thread has ended: waiting callers are told, and the next request begins another.
struct Ends(Arc<Inner>);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running = false;
        state.safety.clear();
        state.action.clear();
        state.poll.lost("the thread of the connection has ended");
    }
}

/// A handle of the connection. The thread ends with the last one.
#[derive(Clone)]
pub(super) struct Link(Arc<Owner>);

struct Owner(Arc<Inner>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl Link {
    /// A connection that is made when it is first used, and what is to be read over it.
    pub(super) fn new(place: Place, poll: Poll) -> Self {
        let state = State {
            poll,
            ..State::default()
        };
        let wiring = place.wiring.as_ref();
        let seat = wiring.map(|wiring| Seat::new(wiring, place.limit));
        Self(Arc::new(Owner(Arc::new(Inner {
            place,
            seat,
            state: Mutex::new(state),
            wake: Condvar::new(),
            made: watch::Sender::new(0),
            missed: watch::Sender::default(),
        }))))
    }

    /// Where it goes to.
    pub(super) fn place(&self) -> &Place {
        &self.0.0.place
    }

    /// The longest that one request takes, once it is asked.
    pub(super) fn slowest(&self) -> Duration {
        let seat = self.0.0.seat.as_ref();
        seat.map_or(self.place().limit, Seat::slowest)
    }

    /// Changes what is known and wakes the thread.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Fault> {
        let inner = &self.0.0;
        let mut state = inner.lock();
        if !state.running {
            let (own, name) = (inner.clone(), format!("modbus {}", inner.place.address));
            let begun = std::thread::Builder::new().name(name).spawn(move || {
                let ends = Ends(own);
                Work::new(ends.0.clone()).run();
            });
            begun.map_err(|e| Fault::Unsent(format!("no thread for the connection: {e}")))?;
            state.running = true;
        }
        let done = change(&mut state);
        drop(state);
        inner.wake.notify_all();
        Ok(done)
    }

    /// Asks, and waits for the answer; dropped before its turn it is not asked at all.
    ///
    /// # Errors
    /// The [`Fault`].
    pub(super) async fn ask(&self, ask: Ask, urgency: Urgency) -> Result<Vec<u16>, Fault> {
        let (reply, answer) = oneshot::channel();
        let named = self.named(&ask);
        let full = self.change(|state| {
            let queue = match urgency {
                Urgency::Safety => &mut state.safety,
                Urgency::Action => &mut state.action,
            };
            queue.retain(|job| !job.reply.is_closed());
            let full = queue.len() >= MODBUS_WAITING_MAX;
            if !full {
                queue.push_back(Job { ask, reply });
            }
            full
        })?;
        if full {
            let why = "too much waits for the device to answer".to_owned();
            return Err(Fault::Unsent(format!("{named}: {why}")));
        }
        answer.await.unwrap_or_else(|_| {
            let why = format!("{named}: the thread of the connection has ended");
            Err(Fault::Unanswered(why))
        })
    }

    fn named(&self, ask: &Ask) -> String {
        named(self.place(), ask)
    }

    /// Writes a beat for this actuator from now on, for no longer than so long.
    pub(super) fn beat(&self, actuator: usize, beat: &Beat, lasts: Duration) {
        let now = Instant::now();
        self.0
            .0
            .missed
            .send_if_modified(|missed| missed.remove(&actuator).is_some());
        // Without a thread nothing is asked at all, which who asks is told.
        let _ = self.change(|state| {
            let known = state.beats.remove(&actuator);
            let (due, count) = known.map_or((now, 0), |known| (known.due, known.count));
            let beating = Beating {
                beat: beat.clone(),
                due,
                over: now + lasts,
                count,
                missed: 0,
            };
            state.beats.insert(actuator, beating);
        });
    }

    /// Ends the beat of this actuator.
    pub(super) fn rest(&self, actuator: usize) {
        self.0.0.lock().beats.remove(&actuator);
    }

    /// Resolves, with why, when the beat of this actuator is not written.
    pub(super) async fn missed(&self, actuator: usize) -> String {
        let mut missed = self.0.0.missed.subscribe();
        let found = missed
            .wait_for(|missed| missed.contains_key(&actuator))
            .await;
        let why = found.ok().and_then(|missed| missed.get(&actuator).cloned());
        why.unwrap_or_default()
    }

    /// Works on what is to be read.
    ///
    /// # Errors
    /// Why there is no thread that reads.
    pub(super) fn poll<T>(&self, with: impl FnOnce(&mut Poll) -> T) -> Result<T, Fault> {
        self.change(|state| with(&mut state.poll))
    }

    /// Resolves when the connection has been made again; meanwhile that is tried.
    pub(super) async fn back(&self) {
        let mut made = self.0.0.made.subscribe();
        made.mark_unchanged();
        let _waits = Waits::new(self.clone());
        // It ends with this handle alone.
        let _ = made.changed().await;
    }
}

/// A caller that waits for the connection.
struct Waits(Link);

impl Waits {
    fn new(link: Link) -> Self {
        let _ = link.change(|state| state.waiting += 1);
        Self(link)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut state = self.0.0.0.lock();
        state.waiting = state.waiting.saturating_sub(1);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the result of a beat. One that comes late is made up for by the next.
    fn beaten(&self, actuator: usize, said: Result<Vec<u16>, Fault>) {
        let mut state = self.lock();
        let Some(beating) = state.beats.get_mut(&actuator) else {
            return;
        };
        beating.missed = match said {
            Ok(_) => 0,
            Err(_) => beating.missed.saturating_add(1),
        };
        if let Err(fault) = said
            && beating.missed >= MODBUS_BEATS_LOST
        {
            let why = format!("its heartbeat cannot be written: {}", fault.why());
            self.missed
                .send_modify(|missed| drop(missed.insert(actuator, why)));
        }
    }
}

/// A register as errors name it.
fn named(place: &Place, ask: &Ask) -> String {
    let Place { address, unit, .. } = place;
    format!("{} of unit {unit} at {address}", ask.span())
}

/// The thread's next work.
enum Next {
    Job(Rank, Job),
    Beat(usize, Ask),
    Read(Span),
    Connect,
    End,
}

/// The thread's own.
struct Work {
    inner: Arc<Inner>,
    name: Name,
    way: Option<Way>,
    transaction: u16,
    /// When it is tried to connect again, how long the pause before that is, and why it is not connected.
    again: Instant,
    pause: Duration,
    why: String,
    /// Whether this connection has answered anything.
    answered: bool,
}

const PAUSE_FIRST: Duration = Duration::from_millis(MODBUS_PAUSE_FIRST_MS);

impl Work {
    fn new(inner: Arc<Inner>) -> Self {
        Self {
            name: Name::new(&inner.place.address),
            inner,
            way: None,
            transaction: 0,
            again: Instant::now(),
            pause: PAUSE_FIRST,
            why: "not connected yet".to_owned(),
            answered: false,
        }
    }

    fn run(mut self) {
        loop {
            match self.next() {
                Next::End => return,
                Next::Connect => drop(self.connected(Rank::Action)),
                Next::Job(rank, job) => {
                    // Who asked is gone: a call that was dropped before its turn is called off.
                    if !job.reply.is_closed() {
                        let said = self.ask(&job.ask, rank);
                        // As above, during it.
                        let _ = job.reply.send(said);
                    }
                }
                Next::Beat(actuator, ask) => {
                    let said = self.ask(&ask, Rank::Beat);
                    self.inner.beaten(actuator, said);
                }
                Next::Read(span) => {
                    let said = self.ask(&Ask::Read(span), Rank::Reading);
                    self.inner.lock().poll.answered(span, said);
                }
            }
        }
    }

    /// Waits for something to do.
    fn next(&self) -> Next {
        let inner = &self.inner;
        let mut state = inner.lock();
        loop {
            if state.closed {
                return Next::End;
            }
            let now = Instant::now();
            if let Some(job) = state.safety.pop_front() {
                return Next::Job(Rank::Safety, job);
            }
            if let Some((actuator, ask)) = due(&mut state.beats, now) {
                return Next::Beat(actuator, ask);
            }
            if let Some(job) = state.action.pop_front() {
                return Next::Job(Rank::Action, job);
            }
            let connects = self.way.is_some() || now >= self.again;
            if connects && let Some(span) = state.poll.next() {
                return Next::Read(span);
            }
            if !connects {
                state.poll.lost(&self.why);
            }
            let wanted = state.waiting > 0 || state.poll.is_lost();
            let dials = self.way.is_none() && wanted;
            if dials && now >= self.again {
                return Next::Connect;
            }
            let beats = state
                .beats
                .values()
                .map(|beating| beating.due.min(beating.over));
            let dial = dials.then_some(self.again);
            let until = beats.chain(dial).min();
            state = match until {
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    let waited = inner.wake.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => inner
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Asks once; connects before where that is needed. Only a reading waits for a pause.
    fn ask(&mut self, ask: &Ask, rank: Rank) -> Result<Vec<u16>, Fault> {
        let place = self.inner.place.clone();
        let said = self.connected(rank).map_err(Fault::Unsent).and_then(|()| {
            self.transaction = self.transaction.wrapping_add(1);
            let transaction = self.transaction;
            match &mut self.way {
                Some(way) => way.ask(ask, transaction, place.unit, rank),
                None => Err(Fault::Unsent(self.why.clone())),
            }
        });
        match &said {
            Ok(_) => self.answered = true,
            Err(fault) if fault.is_refusal() => self.answered = true,
            Err(fault) if self.way.take().is_some() => self.lost(fault.why().to_owned()),
            Err(_) => {}
        }
        let name = |why: String| format!("{}: {why}", named(&place, ask));
        said.map_err(|fault| match fault {
            Fault::Unsent(why) => Fault::Unsent(name(why)),
            Fault::Unanswered(why) => Fault::Unanswered(name(why)),
            Fault::Refused { code, why } => Fault::Refused {
                code,
                why: name(why),
            },
        })
    }

    /// The connection is gone; the pause before the next one grows while none answers.
    fn lost(&mut self, why: String) {
        self.pause = match self.answered {
            true => PAUSE_FIRST,
            false => (self.pause * 2).min(Duration::from_millis(MODBUS_PAUSE_MAX_MS)),
        };
        (self.answered, self.why) = (false, why);
        self.again = Instant::now() + self.pause;
    }

    fn connected(&mut self, rank: Rank) -> Result<(), String> {
        let urgent = rank != Rank::Reading;
        if self.way.as_ref().is_some_and(|way| !way.is_good()) {
            self.way = None;
        } else if self.way.is_some() {
            return Ok(());
        } else if !urgent && Instant::now() < self.again {
            return Err(self.why.clone());
        }
        let opened = Way::open(
            &self.inner.place,
            self.inner.seat.as_ref(),
            &mut self.name,
            rank,
        );
        match opened {
            Ok(way) => {
                self.way = Some(way);
                self.inner.made.send_modify(|made| *made += 1);
                self.inner.lock().poll.found();
                Ok(())
            }
            Err(why) => {
                self.lost(why.clone());
                Err(why)
            }
        }
    }
}

/// The beat whose time has come, as what is asked; those that are over end.
fn due(beats: &mut BTreeMap<usize, Beating>, now: Instant) -> Option<(usize, Ask)> {
    beats.retain(|_, beating| now < beating.over);
    let (actuator, beating) = beats.iter_mut().find(|(_, beating)| now >= beating.due)?;
    beating.due = now + beating.beat.every;
    beating.count = beating.count.wrapping_add(1);
    let (span, count) = (beating.beat.span, beating.count);
    let counted = match span.table.is_bits() {
        true => count & 1,
        false => count,
    };
    let words = vec![beating.beat.fixed.unwrap_or(counted)];
    let ask = Ask::Write {
        span,
        words,
        many: false,
    };
    Some((*actuator, ask))
}
