//! Chance from a seed (SplitMix64), and the log whose digest two runs of a seed must share.

use std::sync::{Arc, Mutex};

use clawmesh::adapters::random::{NoRandom, Random};

/// A stream of chance; clones share it.
#[derive(Clone)]
pub struct Rng(Arc<Mutex<u64>>);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed ^ 0x9E37_79B9_7F4A_7C15)))
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }

    /// True in `percent` of all cases.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Another stream that does not depend on how much of this one is used.
    pub fn fork(&self) -> Rng {
        Rng::new(self.next())
    }
}

impl Random for Rng {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// What happened, as a running digest, and as text where a person asks for it.
///
/// `tokio::sync::watch` wakes its waiters in an order that no seed decides, so the lines of one
/// millisecond count together, whatever their order.
#[derive(Clone)]
pub struct Trace {
    state: Arc<Mutex<Written>>,
    begun: tokio::time::Instant,
    aloud: bool,
}

#[derive(Default)]
struct Written {
    before: u64,
    now_ms: u64,
    now: u64,
    lines: u64,
}

fn hash(start: u64, bytes: &[u8]) -> u64 {
    // FNV-1a, then mixed, so that sums of hashes say something.
    let mut hash = bytes
        .iter()
        .fold(start ^ 0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
    hash ^= hash >> 29;
    hash.wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

impl Trace {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            begun: tokio::time::Instant::now(),
            aloud: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    /// Virtual milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    pub fn note(&self, what: impl AsRef<str>) {
        let (now_ms, what) = (self.now_ms(), what.as_ref());
        let mut state = self.state.lock().unwrap();
        if state.now_ms != now_ms {
            state.before = hash(state.before, &state.now.to_le_bytes());
            (state.now_ms, state.now) = (now_ms, 0);
        }
        state.now = state.now.wrapping_add(hash(now_ms, what.as_bytes()));
        state.lines += 1;
        if self.aloud {
            eprintln!("{now_ms:>9} {what}");
        }
    }

    /// The digest and the number of lines.
    pub fn digest(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (hash(state.before, &state.now.to_le_bytes()), state.lines)
    }
}
