//! A serial line and the devices on it: one request at a time, whoever asks, and the way to the safe state first. All
//! tables of one port share one line, which is found by its port.
//!
//! Before a request the line is silent for a while, and whatever came meanwhile is thrown away. A request that was not
//! answered is remembered, as `rtu.rs` says: its answer may still come, and is never taken for one to a later request.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::rtu::{self, Answer, START_BYTES};
use super::socket::{Fault, fault, not_sent};
use super::wire::Ask;
use crate::adapters::devices::port::{Port, Wiring};
use crate::domain::base::limits::{
    RTU_FRAME_MAX_BYTES, RTU_LATE_MAX, RTU_LATE_MS, RTU_NOISE_MAX_MS, RTU_SILENCE_MIN_MS,
};

/// The lines of this process that are in use. A port is one thing however many tables and links name it, and a table that
/// stays over a change of the configuration shares it with one that comes in.
static LINES: Mutex<BTreeMap<Wiring, Weak<Line>>> = Mutex::new(BTreeMap::new());

/// Whose turn comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// The way to the safe state.
    Safety,
    /// A device's watchdog.
    Beat,
    /// An action, and what is asked for people.
    Action,
    /// A reading.
    Reading,
}

/// A line. Its port is opened when it is first used.
#[derive(Debug)]
pub(super) struct Line {
    wiring: Wiring,
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Who waits for its turn, in order.
    waiting: BTreeSet<(Rank, u64)>,
    tickets: u64,
    taken: bool,
    is_open: bool,
    /// Who has the turn has this.
    bus: Bus,
    /// The longest that one request of each table may take.
    seats: BTreeMap<u64, Duration>,
}

/// What is known of the line.
#[derive(Debug, Default)]
struct Bus {
    port: Option<Port>,
    /// Whether what is sent comes back, as some adapters have it; found out with the first answer to a reading.
    echoes: Option<bool>,
    /// The requests to each unit that were not answered, and when.
    late: BTreeMap<u8, Vec<(Instant, Ask)>>,
}

/// A table's seat at a line.
#[derive(Debug)]
pub(super) struct Seat {
    line: Arc<Line>,
    number: u64,
}

impl Seat {
    /// A seat at the line of this port; an answer there may take so long.
    pub(super) fn new(wiring: &Wiring, limit: Duration) -> Self {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.strong_count() > 0);
        let known = lines.get(wiring).and_then(Weak::upgrade);
        let line = known.unwrap_or_else(|| {
            let line = Arc::new(Line {
                wiring: wiring.clone(),
                state: Mutex::default(),
                turned: Condvar::new(),
            });
            lines.insert(wiring.clone(), Arc::downgrade(&line));
            line
        });
        drop(lines);
        let most = limit
            + wiring.time_of(2 * RTU_FRAME_MAX_BYTES)
            + Duration::from_millis(RTU_NOISE_MAX_MS);
        let mut state = line.lock();
        state.tickets += 1;
        let number = state.tickets;
        state.seats.insert(number, most);
        drop(state);
        Self { line, number }
    }

    /// The line.
    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// The longest that a request takes here: one request of every other table before it, and its own with what it may need
    /// first.
    pub(super) fn slowest(&self) -> Duration {
        let state = self.line.lock();
        let own = state.seats.get(&self.number).copied().unwrap_or_default();
        state.seats.values().sum::<Duration>() + own
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.line.lock().seats.remove(&self.number);
    }
}

/// The line of one who has the turn.
struct Turn<'a> {
    line: &'a Line,
    bus: Bus,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        state.bus = std::mem::take(&mut self.bus);
        state.is_open = state.bus.port.is_some();
        state.taken = false;
        drop(state);
        self.line.turned.notify_all();
    }
}

/// One device on an open line.
#[derive(Debug)]
pub(super) struct Station {
    line: Arc<Line>,
    unit: u8,
    limit: Duration,
}

impl Station {
    /// A device on this line, whose port is opened if it is not.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(super) fn on(
        line: &Arc<Line>,
        unit: u8,
        limit: Duration,
        rank: Rank,
    ) -> Result<Self, String> {
        let mut turn = line.turn(rank);
        if turn.bus.port.is_none() {
            turn.bus.port = Some(Port::open(&line.wiring)?);
            turn.bus.echoes = None;
        }
        drop(turn);
        let line = line.clone();
        Ok(Self { line, unit, limit })
    }

    /// Whether its port is open.
    pub(super) fn is_open(&self) -> bool {
        self.line.lock().is_open
    }

    /// Asks once, when it is its turn.
    ///
    /// # Errors
    /// The [`Fault`].
    pub(super) fn ask(&mut self, ask: &Ask, rank: Rank) -> Result<Vec<u16>, Fault> {
        let mut turn = self.line.turn(rank);
        let is_way_back = rank == Rank::Safety && ask.is_write();
        let late = turn.late(self.unit);
        // What is written is often answered by the same bytes, which a line that gives back what is sent has too.
        let is_unproven = ask.is_write() && turn.bus.echoes.is_none();
        if (is_unproven || !rtu::is_apart(ask, &late))
            && let Some(probe) = rtu::probe(ask, &late)
        {
            let answered = turn.exchange(&probe, self.unit, self.limit);
            let is_dumb = answered.as_ref().is_err_and(|fault| !fault.is_refusal());
            // The way to the safe state is said also to a device that does not answer.
            if is_dumb && !(is_way_back && turn.bus.port.is_some()) {
                return answered.map_err(|fault| Fault::Unsent(fault.why().to_owned()));
            }
        }
        let said = turn.exchange(ask, self.unit, self.limit)?;
        match ask.is_write() && turn.bus.echoes.is_none() {
            true => Err(Fault::Unanswered(
                "the device has not been heard since the port was opened, and the line may have given back what was sent"
                    .to_owned(),
            )),
            false => Ok(said),
        }
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else asks, and nobody who comes before waits.
    fn turn(&self, rank: Rank) -> Turn<'_> {
        let mut state = self.lock();
        state.tickets += 1;
        let own = (rank, state.tickets);
        state.waiting.insert(own);
        while state.taken || state.waiting.first() != Some(&own) {
            let waited = self.turned.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&own);
        state.taken = true;
        Turn {
            line: self,
            bus: std::mem::take(&mut state.bus),
        }
    }
}

impl Turn<'_> {
    /// The requests to a unit whose answers may still come.
    fn late(&mut self, unit: u8) -> Vec<Ask> {
        let late = self.bus.late.entry(unit).or_default();
        late.retain(|(at, _)| at.elapsed() < Duration::from_millis(RTU_LATE_MS));
        late.iter().map(|(_, ask)| ask.clone()).collect()
    }

    /// Sends a request, and takes the answer to it.
    fn exchange(&mut self, ask: &Ask, unit: u8, limit: Duration) -> Result<Vec<u16>, Fault> {
        self.silence().map_err(Fault::Unsent)?;
        let request = rtu::request(ask, unit);
        let wiring = &self.line.wiring;
        let on_wire = wiring.time_of(2 * request.len() + rtu::answer_bytes(ask));
        let over = Instant::now() + limit + on_wire;
        let said = match self.send(&request, over) {
            Ok(()) => self.receive(ask, unit, &request, over, limit),
            Err((false, why)) => return Err(not_sent(false, why)),
            Err((true, why)) => Err(why),
        };
        match said {
            Ok(body) => {
                if !ask.is_write() || self.bus.echoes.is_some() {
                    // A device answers in the order in which it was asked.
                    self.bus.late.remove(&unit);
                }
                ask.answer(&body).map_err(|bad| fault(bad, ask, unit))
            }
            Err(why) => {
                let late = self.bus.late.entry(unit).or_default();
                if late.len() >= RTU_LATE_MAX {
                    late.remove(0);
                }
                late.push((Instant::now(), ask.clone()));
                Err(Fault::Unanswered(why))
            }
        }
    }

    /// Waits until nothing comes, and throws away what does.
    fn silence(&mut self) -> Result<(), String> {
        let gap = self.line.wiring.time_of(4);
        let gap = gap.max(Duration::from_millis(RTU_SILENCE_MIN_MS));
        let over = Instant::now() + Duration::from_millis(RTU_NOISE_MAX_MS);
        let mut room = [0; RTU_FRAME_MAX_BYTES];
        while self.read(&mut room, gap)?.is_some() {
            if Instant::now() >= over {
                return Err(
                    "the line is never silent: something else talks there, or its speed is another one".to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Reads what has come; `None` where nothing came in this time. A port that fails is closed.
    fn read(&mut self, room: &mut [u8], limit: Duration) -> Result<Option<usize>, String> {
        let port = self.bus.port.as_mut();
        let port = port.ok_or_else(|| "the port is closed".to_owned())?;
        match port.read(room, limit) {
            Ok(come) => Ok(Some(come)),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&mut self, error: &std::io::Error) -> String {
        self.bus.port = None;
        let path = self.line.wiring.path.display();
        format!("{path} is gone, is the adapter plugged in? ({error})")
    }

    /// Sends all of it; else whether a part of it may have gone, and why not all.
    fn send(&mut self, request: &[u8], over: Instant) -> Result<(), (bool, String)> {
        let mut left = request;
        while !left.is_empty() {
            let begun = left.len() < request.len();
            let Some(port) = self.bus.port.as_mut() else {
                return Err((begun, "the port is closed".to_owned()));
            };
            let time = over.saturating_duration_since(Instant::now());
            match port.write(left, time) {
                Ok(sent) => left = left.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    if Instant::now() >= over {
                        return Err((begun, "the port takes nothing more".to_owned()));
                    }
                }
                Err(error) => return Err((begun, self.lost(&error))),
            }
        }
        Ok(())
    }

    /// Fills up to so many bytes.
    fn fill(
        &mut self,
        got: &mut Vec<u8>,
        whole: usize,
        over: Instant,
        limit: Duration,
    ) -> Result<(), String> {
        while got.len() < whole {
            let left = over.saturating_duration_since(Instant::now());
            let mut room = [0; RTU_FRAME_MAX_BYTES];
            let most = (whole - got.len()).min(room.len());
            let room = room.get_mut(..most).unwrap_or_default();
            let come = match left.is_zero() {
                true => None,
                false => self.read(room, left)?,
            };
            let Some(come) = come else {
                let ms = limit.as_millis();
                return Err(match got.len() {
                    0 => format!("the device has not answered within {ms} ms"),
                    some => format!("the answer ended after {some} bytes"),
                });
            };
            got.extend(room.iter().take(come));
        }
        Ok(())
    }

    /// The answer to a request, from its function on. What may be a late answer to an earlier one goes by.
    fn receive(
        &mut self,
        ask: &Ask,
        unit: u8,
        request: &[u8],
        over: Instant,
        limit: Duration,
    ) -> Result<Vec<u8>, String> {
        let mut echoed = false;
        if self.bus.echoes == Some(true) {
            let mut back = Vec::new();
            self.fill(&mut back, request.len(), over, limit)?;
            if back != request {
                return Err(
                    "what was sent came back changed: something else talks on the line".to_owned(),
                );
            }
            echoed = true;
        }
        loop {
            let mut got = Vec::new();
            self.fill(&mut got, START_BYTES, over, limit)?;
            let may_echo = self.bus.echoes.is_none() && !echoed && !ask.is_write();
            if may_echo
                && request.starts_with(&got)
                && self.is_echo(&mut got, request, over, limit)?
            {
                echoed = true;
                continue;
            }
            let start = got.first_chunk::<START_BYTES>();
            let whole = rtu::length(start.copied().unwrap_or_default())?;
            self.fill(&mut got, whole, over, limit)?;
            let Some(answer) = Answer::of(&got) else {
                return Err(
                    "the answer is damaged (its checksum is wrong); check the wiring, the terminators, and that one device alone \
                     has this unit"
                        .to_owned(),
                );
            };
            if self.is_late(&answer) {
                continue;
            }
            if answer.unit != unit {
                return Err(format!(
                    "unit {} answered, asked was unit {unit}",
                    answer.unit
                ));
            }
            if !answer.fits(ask) {
                return Err("the answer is none to what was asked".to_owned());
            }
            if !ask.is_write() {
                self.bus.echoes = Some(echoed);
            }
            return Ok(answer.body.to_vec());
        }
    }

    /// Whether what begins as the request does is the request given back, and no answer that begins so.
    fn is_echo(
        &mut self,
        got: &mut Vec<u8>,
        request: &[u8],
        over: Instant,
        limit: Duration,
    ) -> Result<bool, String> {
        let start = got.first_chunk::<START_BYTES>();
        let whole = rtu::length(start.copied().unwrap_or_default())?;
        self.fill(got, whole.min(request.len()), over, limit)?;
        if got.len() == whole && whole < request.len() && Answer::of(got).is_some() {
            return Ok(false);
        }
        self.fill(got, request.len(), over, limit)?;
        Ok(got == request)
    }

    /// Whether it may be the answer to a request that was given up; that one is not waited for any more.
    fn is_late(&mut self, answer: &Answer<'_>) -> bool {
        let late = self.bus.late.get_mut(&answer.unit);
        let Some(late) = late else { return false };
        let at = late.iter().position(|(_, ask)| answer.fits(ask));
        at.map(|at| late.remove(at)).is_some()
    }
}
