//! A device on a port of its own that does what the standard says, or what a test makes it do instead.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// The treatment of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twist {
    /// As the standard says.
    Good,
    /// With the number of another request.
    Transaction,
    /// From another unit.
    Unit,
    /// To another function.
    Function,
    /// Says it is longer than it may be.
    Long,
    /// Less than was asked for, in a whole frame.
    Few,
    /// The connection is closed in the middle.
    Half,
    /// Byte by byte.
    Trickle,
    /// Not at all; the connection stays.
    Never,
    /// Done, and not answered.
    DoneNever,
    /// Something else than Modbus.
    Garbage,
    /// Closed before it is answered.
    Close,
    /// Refused.
    Exception(u8),
    /// Twice.
    Twice,
    /// Before it, the answer to the request before.
    Stale,
}

/// The device's registers, and the requests so far.
#[derive(Debug, Default)]
pub(super) struct Bank {
    /// Words by function table (1 coil, 2 discrete, 3 holding, 4 input) and number.
    pub words: BTreeMap<(u8, u16), u16>,
    /// The treatment of the next answers.
    pub twists: VecDeque<Twist>,
    /// Where there is nothing: asked for, it is exception 2.
    pub holes: Vec<(u8, u16)>,
    /// Whether it takes writes and does not do them.
    pub deaf: bool,
    /// Every request, as function, number and what follows.
    pub asked: Vec<(u8, u16, Vec<u8>)>,
    /// Every write in order, as table, number and word.
    pub written: Vec<(u8, u16, u16)>,
    /// How many connections there were, and how many of them have ended.
    pub connections: usize,
    pub ended: usize,
    last: Vec<u8>,
}

/// The device. It ends with the test.
pub(super) struct Slave {
    pub address: SocketAddr,
    bank: Arc<Mutex<Bank>>,
}

impl Slave {
    pub(super) fn new() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(super) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let bank: Arc<Mutex<Bank>> = Arc::default();
        let own = bank.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, bank) = (stream.unwrap(), own.clone());
                bank.lock().unwrap().connections += 1;
                std::thread::spawn(move || {
                    serve(stream, &bank);
                    bank.lock().unwrap().ended += 1;
                });
            }
        });
        Self { address, bank }
    }

    pub(super) fn bank(&self) -> MutexGuard<'_, Bank> {
        self.bank.lock().unwrap()
    }

    pub(super) fn set(&self, table: u8, at: u16, word: u16) {
        self.bank().words.insert((table, at), word);
    }

    pub(super) fn word(&self, table: u8, at: u16) -> u16 {
        self.bank().words.get(&(table, at)).copied().unwrap_or(0)
    }

    pub(super) fn next(&self, twists: &[Twist]) {
        self.bank().twists = twists.iter().copied().collect();
    }
}

/// One connection, to its end.
fn serve(mut stream: TcpStream, bank: &Mutex<Bank>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    loop {
        let mut head = [0; 7];
        stream.read_exact(&mut head).ok()?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
        stream.read_exact(&mut body).ok()?;
        let (answer, twist, last) = {
            let mut bank = bank.lock().unwrap();
            let twist = bank.twists.pop_front().unwrap_or(Twist::Good);
            let answer = bank.answer(&body, twist);
            let whole = framed(&head, &answer);
            let last = std::mem::replace(&mut bank.last, whole);
            (answer, twist, last)
        };
        let whole = framed(&head, &answer);
        match twist {
            Twist::Good | Twist::Exception(_) => stream.write_all(&whole).ok()?,
            Twist::Twice => stream.write_all(&[whole.clone(), whole].concat()).ok()?,
            Twist::Stale => stream.write_all(&[last, whole].concat()).ok()?,
            Twist::Transaction => write_with(&mut stream, whole, 1, |byte| byte ^ 1)?,
            Twist::Unit => write_with(&mut stream, whole, 6, |byte| byte ^ 1)?,
            Twist::Function => write_with(&mut stream, whole, 7, |byte| byte ^ 7)?,
            Twist::Long => write_with(&mut stream, whole, 4, |_| 0xff)?,
            Twist::Few => {
                let few = &answer[..answer.len() - 1];
                stream.write_all(&framed(&head, few)).ok()?;
            }
            Twist::Half => {
                stream.write_all(&whole[..whole.len() - 1]).ok()?;
                return None;
            }
            Twist::Trickle => {
                for byte in whole {
                    stream.write_all(&[byte]).ok()?;
                    std::thread::yield_now();
                }
            }
            Twist::Garbage => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok()?,
            Twist::Close => return None,
            Twist::Never | Twist::DoneNever => {}
        }
    }
}

fn write_with(
    stream: &mut TcpStream,
    mut bytes: Vec<u8>,
    at: usize,
    change: impl Fn(u8) -> u8,
) -> Option<()> {
    bytes[at] = change(bytes[at]);
    stream.write_all(&bytes).ok()
}

fn framed(head: &[u8; 7], answer: &[u8]) -> Vec<u8> {
    let length = u16::try_from(answer.len() + 1).unwrap().to_be_bytes();
    let [t1, t0, .., unit] = *head;
    [&[t1, t0, 0, 0, length[0], length[1], unit], answer].concat()
}

impl Bank {
    pub(super) fn answer(&mut self, body: &[u8], twist: Twist) -> Vec<u8> {
        let (function, rest) = (body[0], &body[1..]);
        let at = u16::from_be_bytes([rest[0], rest[1]]);
        let second = u16::from_be_bytes([rest[2], rest[3]]);
        self.asked.push((function, at, rest[2..].to_vec()));
        if let Twist::Exception(code) = twist {
            return vec![function | 0x80, code];
        }
        let (table, count) = match function {
            5 => (1, 1),
            6 => (3, 1),
            15 => (1, second),
            16 => (3, second),
            reads => (reads, second),
        };
        let all = at..at + count;
        if all.clone().any(|at| self.holes.contains(&(table, at))) {
            return vec![function | 0x80, 2];
        }
        let undone = matches!(twist, Twist::Never | Twist::Close) || self.deaf;
        let words: Vec<u16> = match function {
            5 => vec![u16::from(second != 0)],
            6 => vec![second],
            15 => {
                let bit = |at: u16| u16::from(rest[5 + usize::from(at / 8)] >> (at % 8) & 1);
                (0..count).map(bit).collect()
            }
            16 => {
                let pairs = rest[5..].chunks(2);
                pairs.map(|p| u16::from_be_bytes([p[0], p[1]])).collect()
            }
            _ => {
                let read = all.map(|at| self.words.get(&(table, at)).copied().unwrap_or(0));
                return said(function, &read.collect::<Vec<u16>>());
            }
        };
        for (at, word) in all.zip(words) {
            self.written.push((table, at, word));
            if !undone {
                self.words.insert((table, at), word);
            }
        }
        [&[function], &rest[..4]].concat()
    }
}

fn said(function: u8, words: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = match function {
        1 | 2 => {
            let byte = |bits: &[u16]| {
                let bit = |(at, word): (usize, &u16)| u8::from(*word != 0) << at;
                bits.iter().enumerate().map(bit).sum()
            };
            words.chunks(8).map(byte).collect()
        }
        _ => words.iter().flat_map(|word| word.to_be_bytes()).collect(),
    };
    let length = u8::try_from(bytes.len()).unwrap();
    [&[function, length], &bytes[..]].concat()
}
