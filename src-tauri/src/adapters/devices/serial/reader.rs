//! The thread that reads a port: it opens it, with growing pauses where that fails, and keeps the newest value of each
//! reading until it is taken.

use std::io::ErrorKind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::lines::{Line, Lines};
use super::source::{Shape, Source};
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::port::{Port, Wiring};
use crate::domain::base::limits::{
    SERIAL_LOOK_MS, SERIAL_PAUSE_FIRST_MS, SERIAL_PAUSE_MAX_MS, SERIAL_SENTENCE_MS,
};

/// What a line said of a reading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Newest {
    /// The number, or what stood there instead.
    pub value: Result<f64, String>,
    /// When, on a clock that never steps.
    pub at_ms: u64,
}

#[derive(Debug, Default)]
struct Slot {
    source: Source,
    newest: Option<Newest>,
    /// The kind of line that says it, and when it last did.
    from: Option<(String, u64)>,
    /// Tells that it is said again after a silence: whoever waits for its next turn after a failure may look now.
    news: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Slot>,
    running: bool,
    closed: bool,
    /// Why the port is not open, once that was tried.
    down: Option<String>,
    /// What is wrong with what came last, and when.
    bad: Option<(String, u64)>,
}

struct Inner {
    wiring: Wiring,
    shape: Shape,
    clock: SharedClock,
    state: Mutex<State>,
    wake: Condvar,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, or until nobody wants it any more.
    fn pause(&self, pause: Duration) {
        let state = self.lock();
        if !state.closed {
            drop(
                self.wake
                    .wait_timeout_while(state, pause, |state| !state.closed),
            );
        }
    }

    /// Takes what has come.
    fn heard(&self, line: Line, now_ms: u64) {
        let mut state = self.lock();
        let text = match line {
            Line::Whole(text) => text,
            Line::Bad(why) => {
                state.bad = Some((why, now_ms));
                return;
            }
        };
        let parsed = match self.shape.parse(&text) {
            None => return,
            Some(Ok(parsed)) => parsed,
            Some(Err(why)) => {
                state.bad = Some((why, now_ms));
                return;
            }
        };
        for slot in &mut state.slots {
            let Some((value, kind)) = slot.source.find(&parsed) else {
                continue;
            };
            // Several sentences may say the same: one of them is kept to.
            let is_other = |(known, at): &(String, u64)| {
                *known != kind && now_ms.saturating_sub(*at) < SERIAL_SENTENCE_MS
            };
            if slot.from.as_ref().is_some_and(is_other) {
                continue;
            }
            let spoke = |(_, at): &(String, u64)| now_ms.saturating_sub(*at) < SERIAL_SENTENCE_MS;
            if !slot.from.as_ref().is_some_and(spoke) {
                slot.news.notify_one();
            }
            slot.from = Some((kind, now_ms));
            slot.newest = Some(Newest {
                value,
                at_ms: now_ms,
            });
        }
    }
}

/// The reading of a port. The thread begins with the first who looks, and ends with this handle.
pub(super) struct Reader(Arc<Inner>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

/// How a port is, for a reading of which nothing came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Quiet {
    /// It is not open, and why.
    Down(String),
    /// It is; what is wrong with what comes, and when that came.
    Open(Option<(String, u64)>),
}

impl Reader {
    /// A port with readings in its lines.
    pub(super) fn new(
        wiring: Wiring,
        shape: Shape,
        sources: impl Iterator<Item = Source>,
        clock: SharedClock,
    ) -> Self {
        let slots = sources.map(|source| Slot {
            source,
            ..Slot::default()
        });
        let state = State {
            slots: slots.collect(),
            ..State::default()
        };
        Self(Arc::new(Inner {
            wiring,
            shape,
            clock,
            state: Mutex::new(state),
            wake: Condvar::new(),
        }))
    }

    /// Tells that a reading is said again after a silence.
    pub(super) fn news(&self, at: usize) -> Option<Arc<Notify>> {
        let state = self.0.lock();
        state.slots.get(at).map(|slot| slot.news.clone())
    }

    /// The port, as the configuration names it.
    pub(super) fn path(&self) -> String {
        self.0.wiring.path.display().to_string()
    }

    /// What was said of a reading since it was last taken; else how the port is.
    ///
    /// # Errors
    /// If there is no thread to read.
    pub(super) fn take(&self, at: usize) -> Result<Result<Newest, Quiet>, String> {
        self.start()?;
        let mut state = self.0.lock();
        if let Some(newest) = state.slots.get_mut(at).and_then(|slot| slot.newest.take()) {
            return Ok(Ok(newest));
        }
        Ok(Err(match &state.down {
            Some(why) => Quiet::Down(why.clone()),
            None => Quiet::Open(state.bad.clone()),
        }))
    }

    fn start(&self) -> Result<(), String> {
        let mut state = self.0.lock();
        if !state.running {
            let own = self.0.clone();
            let thread = std::thread::Builder::new().name("serial".to_owned());
            let begun = thread.spawn(move || {
                run(&own);
                let mut state = own.lock();
                state.running = false;
            });
            begun.map_err(|e| format!("no thread to read the port: {e}"))?;
            state.running = true;
        }
        Ok(())
    }
}

/// Reads until nobody wants it any more.
fn run(inner: &Inner) {
    let first = Duration::from_millis(SERIAL_PAUSE_FIRST_MS);
    let mut pause = first;
    while !inner.lock().closed {
        match Port::open(&inner.wiring) {
            Ok(port) => {
                inner.lock().down = None;
                let (why, heard) = read(inner, port);
                inner.lost(why);
                if heard {
                    pause = first;
                }
            }
            Err(why) => inner.lost(why),
        }
        inner.pause(pause);
        pause = (pause * 2).min(Duration::from_millis(SERIAL_PAUSE_MAX_MS));
    }
}

impl Inner {
    /// The port is gone, and what it said with it.
    fn lost(&self, why: String) {
        let mut state = self.lock();
        state.down = Some(why);
        state.bad = None;
        for slot in &mut state.slots {
            (slot.newest, slot.from) = (None, None);
        }
    }
}

/// Reads an open port to its end; why that is, and whether anything came.
fn read(inner: &Inner, mut port: Port) -> (String, bool) {
    let mut lines = Lines::default();
    let (mut room, mut heard) = ([0; 1_024], false);
    loop {
        if inner.lock().closed {
            return (String::new(), heard);
        }
        let come = match port.read(&mut room, Duration::from_millis(SERIAL_LOOK_MS)) {
            Ok(come) => come,
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => {
                let path = inner.wiring.path.display();
                let why = format!("{path} is gone, is the adapter plugged in? ({error})");
                return (why, heard);
            }
        };
        heard = true;
        let now_ms = inner.clock.steady_ms();
        for line in lines.take(room.get(..come).unwrap_or_default(), now_ms) {
            inner.heard(line, now_ms);
        }
    }
}
