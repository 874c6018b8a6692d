//! A serial line with devices on it, over a pseudo-terminal: it does what the standard says, or what a test makes it do instead.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::slave::{Bank, Twist};
use crate::adapters::devices::modbus::link::Link;
use crate::adapters::devices::modbus::poll::Poll;
use crate::adapters::devices::modbus::rtu::crc;
use crate::adapters::devices::modbus::way::Place;
use crate::adapters::devices::port::tests::{Far, wiring};

/// The treatment of one answer on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// As the standard says.
    Good,
    /// Not done and not answered.
    Never,
    /// Done and not answered.
    Done,
    /// Kept, and sent when the next request comes, before the answer to that one.
    Held,
    /// The same, and the next request is not answered.
    Instead,
    /// With a wrong checksum.
    Crc,
    /// Something else.
    Garbage,
    /// A part of it.
    Half,
    /// By another unit.
    Unit,
    /// To another function.
    Function,
    /// Byte by byte.
    Trickle,
    /// Twice.
    Twice,
    /// Refused.
    Exception(u8),
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub units: BTreeMap<u8, Bank>,
    pub odd: VecDeque<Odd>,
    pub echoes: bool,
    /// Each request in order, as unit, function and number.
    pub asked: Vec<(u8, u8, u16)>,
    /// Whether one came before the one before it was answered.
    pub crowded: bool,
    pub held: Vec<Vec<u8>>,
}

/// The line; its adapter can be plugged in again elsewhere, under the same name.
pub(super) struct Bus {
    state: Arc<Mutex<State>>,
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    pub name: PathBuf,
    /// How long an answer may take.
    pub limit: Duration,
    _dir: tempfile::TempDir,
}

impl Bus {
    pub(super) fn new(units: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let units = units.iter().map(|unit| (*unit, Bank::default()));
        let state = State {
            units: units.collect(),
            ..State::default()
        };
        let mut bus = Self {
            state: Arc::new(Mutex::new(state)),
            running: None,
            name: dir.path().join("adapter"),
            limit: Duration::from_millis(150),
            _dir: dir,
        };
        bus.plug();
        bus
    }

    pub(super) fn plug(&mut self) {
        let mut far = Far::new();
        let _ = std::fs::remove_file(&self.name);
        std::os::unix::fs::symlink(&far.path, &self.name).unwrap();
        let (state, goes) = (self.state.clone(), Arc::new(AtomicBool::new(true)));
        let own = goes.clone();
        let thread = std::thread::spawn(move || {
            let mut come = Vec::new();
            while own.load(Ordering::SeqCst) {
                come.extend(far.read());
                let Some(whole) = whole(&come) else { continue };
                let request: Vec<u8> = come.drain(..whole).collect();
                state.lock().unwrap().crowded |= !come.is_empty();
                serve(&mut far, &request, &state);
            }
        });
        self.running = Some((goes, thread));
    }

    pub(super) fn unplug(&mut self) {
        if let Some((goes, thread)) = self.running.take() {
            goes.store(false, Ordering::SeqCst);
            thread.join().unwrap();
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn next(&self, odd: &[Odd]) {
        self.state().odd = odd.iter().copied().collect();
    }

    pub(super) fn set(&self, unit: u8, table: u8, at: u16, word: u16) {
        let mut state = self.state();
        let bank = state.units.get_mut(&unit).unwrap();
        bank.words.insert((table, at), word);
    }

    pub(super) fn word(&self, unit: u8, table: u8, at: u16) -> u16 {
        let state = self.state();
        let words = &state.units[&unit].words;
        words.get(&(table, at)).copied().unwrap_or(0)
    }

    pub(super) fn link(&self, unit: u8) -> Link {
        let place = Place {
            address: self.name.display().to_string(),
            wiring: Some(wiring(&self.name)),
            unit,
            limit: self.limit,
        };
        Link::new(place, Poll::default())
    }

    pub(super) fn head(&self, unit: u8) -> String {
        let name = self.name.display();
        format!(
            "name = \"plc{unit}\"\nserial = \"{name}\"\nbaud = 115200\nparity = \"none\"\nunit = {unit}\ntimeout_ms = 150\n"
        )
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.unplug();
    }
}

/// How long the request is that begins so, once it is there.
fn whole(come: &[u8]) -> Option<usize> {
    let whole = match come.get(1)? {
        15 | 16 => usize::from(*come.get(6)?) + 9,
        _ => 8,
    };
    (come.len() >= whole).then_some(whole)
}

fn sealed(unit: u8, answer: &[u8]) -> Vec<u8> {
    let bytes = [&[unit], answer].concat();
    let sum = crc(&bytes);
    [&bytes[..], &sum].concat()
}

fn serve(far: &mut Far, request: &[u8], state: &Mutex<State>) {
    let (body, sum) = request.split_at(request.len() - 2);
    assert_eq!(crc(body), sum, "a request has its checksum");
    let mut state = state.lock().unwrap();
    if state.echoes {
        far.write(request);
    }
    let (unit, at) = (body[0], u16::from_be_bytes([body[2], body[3]]));
    state.asked.push((unit, body[1], at));
    let odd = state.odd.pop_front().unwrap_or(Odd::Good);
    let held = std::mem::take(&mut state.held);
    held.iter().for_each(|answer| far.write(answer));
    let Some(bank) = state.units.get_mut(&unit) else {
        return;
    };
    let twist = match odd {
        Odd::Never => return,
        Odd::Exception(code) => Twist::Exception(code),
        _ => Twist::Good,
    };
    let answer = bank.answer(&body[1..], twist);
    let mut whole = sealed(unit, &answer);
    match odd {
        Odd::Never | Odd::Done => {}
        Odd::Held => state.held.push(whole),
        Odd::Instead => {
            state.held.push(whole);
            state.odd.push_front(Odd::Never);
        }
        Odd::Crc => {
            whole[2] ^= 1;
            far.write(&whole);
        }
        Odd::Garbage => far.write(b"$GPGGA,nothing of this is Modbus\r\n"),
        Odd::Half => far.write(&whole[..whole.len() - 1]),
        Odd::Unit => far.write(&sealed(unit + 1, &answer)),
        Odd::Function => far.write(&sealed(unit, &[&[answer[0] ^ 7], &answer[1..]].concat())),
        Odd::Trickle => {
            for byte in whole {
                far.write(&[byte]);
                std::thread::yield_now();
            }
        }
        Odd::Twice => far.write(&[whole.clone(), whole].concat()),
        Odd::Good | Odd::Exception(_) => far.write(&whole),
    }
}
