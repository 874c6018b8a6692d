//! What one trusted device may make this node keep (invariant I11): a share of its own for each kind
//! of thing, so that whoever uses up theirs takes nothing from anybody else.
//!
//! This node's own readings, proposals and records, stops, and what a trusted issuer says about
//! devices and operators that are known here are no part of any device's share.

use crate::domain::base::limits::{
    ADDRESS_CONFLICTS, ADDRESS_FACTS, ADDRESS_FRAME_BYTES, ADDRESS_KEPT_BYTES, ADDRESS_KEPT_FRAMES,
    ADDRESS_ORIGINS, BUDGET_CONFLICTS, BUDGET_FACTS, BUDGET_FRAME_BYTES, BUDGET_FRAME_REFILL_MS,
    BUDGET_ISSUED_RECORDS, BUDGET_KEPT_BYTES, BUDGET_KEPT_FRAMES, BUDGET_MINTED_PER_HOUR,
    BUDGET_MIRROR_BYTES, BUDGET_MIRRORS, BUDGET_ORIGINS, BUDGET_RECORDS, BUDGET_WAITING,
};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};

/// On whose account something happens: whose share of events it uses, and whose older events it may push
/// out of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// This node, its persons and its actuators.
    Own,
    /// A trusted device, or whoever answers at an address of one (see [`DeviceId::at_address`]).
    Device(DeviceId),
    /// A session of a browser, such as a phone's, or somebody in a chat: what people see of it.
    Session(String),
    /// Strangers, all together: what they say of themselves proves nothing.
    Strangers,
}

impl Cause {
    /// What a device does that may be this node itself.
    pub fn of(device: &DeviceId, own: &DeviceId) -> Self {
        match device == own {
            true => Cause::Own,
            false => Cause::Device(device.clone()),
        }
    }
}

/// A kind of thing that a device can make us keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Readings that stand: different metrics and zones.
    Facts,
    /// Devices that nobody proves and that it alone told of.
    Origins,
    /// Frames that came with an id already used for something else.
    Conflicts,
    /// Its proposals, shown here.
    Mirrors,
    /// The bytes of those.
    MirrorBytes,
    /// Proposals that it asked for here and that wait for a person.
    Waiting,
    /// Proposals that were minted here for it within the last hour.
    Minted,
    /// Records of issuers that are not believed here, brought by it.
    Records,
    /// Records that it issued and that count here.
    Issued,
    /// Its frames in the store; over it, its own oldest go.
    KeptFrames,
    /// The bytes of those.
    KeptBytes,
    /// Bytes of frames in a day, which come free again with time.
    FrameBytes,
}

impl Share {
    /// Those whose use the store counts.
    pub const STORED: [Share; 11] = [
        Share::Facts,
        Share::Origins,
        Share::Conflicts,
        Share::Mirrors,
        Share::MirrorBytes,
        Share::Waiting,
        Share::Minted,
        Share::Records,
        Share::Issued,
        Share::KeptFrames,
        Share::KeptBytes,
    ];

    /// All of them, in the order in which they are shown.
    pub const ALL: [Share; 12] = [
        Share::Records,
        Share::Issued,
        Share::Mirrors,
        Share::MirrorBytes,
        Share::Waiting,
        Share::Minted,
        Share::Facts,
        Share::Origins,
        Share::Conflicts,
        Share::KeptFrames,
        Share::KeptBytes,
        Share::FrameBytes,
    ];

    /// The stable code of the operator API.
    pub fn code(self) -> &'static str {
        match self {
            Share::Facts => "facts",
            Share::Origins => "origins",
            Share::Conflicts => "conflicts",
            Share::Mirrors => "mirrors",
            Share::MirrorBytes => "mirror-bytes",
            Share::Waiting => "waiting",
            Share::Minted => "minted",
            Share::Records => "records",
            Share::Issued => "issued",
            Share::KeptFrames => "kept-frames",
            Share::KeptBytes => "kept-bytes",
            Share::FrameBytes => "frame-bytes",
        }
    }

    /// The name on the wire and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Share::Facts => "facts",
            Share::Origins => "unproven devices",
            Share::Conflicts => "conflicts",
            Share::Mirrors => "mirrors",
            Share::MirrorBytes => "mirror bytes",
            Share::Waiting => "waiting proposals",
            Share::Minted => "proposals an hour",
            Share::Records => "records brought",
            Share::Issued => "records issued",
            Share::KeptFrames => "frames kept",
            Share::KeptBytes => "bytes of frames kept",
            Share::FrameBytes => "bytes of frames a day",
        }
    }

    /// How much of it one device may use.
    pub fn most(self) -> u64 {
        match self {
            Share::Facts => BUDGET_FACTS,
            Share::Origins => BUDGET_ORIGINS,
            Share::Conflicts => BUDGET_CONFLICTS,
            Share::Mirrors => BUDGET_MIRRORS,
            Share::MirrorBytes => BUDGET_MIRROR_BYTES,
            Share::Waiting => BUDGET_WAITING,
            Share::Minted => BUDGET_MINTED_PER_HOUR,
            Share::Records => BUDGET_RECORDS,
            Share::Issued => BUDGET_ISSUED_RECORDS,
            Share::KeptFrames => BUDGET_KEPT_FRAMES,
            Share::KeptBytes => BUDGET_KEPT_BYTES,
            Share::FrameBytes => BUDGET_FRAME_BYTES,
        }
    }

    /// How much of it may be used on one account: of a device, or of whoever answers at a device's address,
    /// who makes us keep frames and nothing else.
    pub fn most_of(self, account: &DeviceId) -> u64 {
        match self {
            share if !account.is_at_address() => share.most(),
            Share::Facts => ADDRESS_FACTS,
            Share::Origins => ADDRESS_ORIGINS,
            Share::Conflicts => ADDRESS_CONFLICTS,
            Share::KeptFrames => ADDRESS_KEPT_FRAMES,
            Share::KeptBytes => ADDRESS_KEPT_BYTES,
            Share::FrameBytes => ADDRESS_FRAME_BYTES,
            _ => 0,
        }
    }

    /// Whether `more` still fits beside what the device uses.
    ///
    /// # Errors
    /// `OVER_BUDGET`.
    pub fn admit(self, device: &DeviceId, used: u64, more: u64) -> Result<(), Refusal> {
        match used.saturating_add(more) <= self.most_of(device) {
            true => Ok(()),
            false => Err(self.refusal(device)),
        }
    }

    /// Why a device gets no more of this.
    pub fn refusal(self, device: &DeviceId) -> Refusal {
        Refusal::new(
            Code::OverBudget,
            format!(
                "{} has used up its share here: {} {}",
                device.who(),
                self.most_of(device),
                self.as_str()
            ),
        )
    }
}

/// A share that is used up by a flood and comes free again with time.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    used: u64,
    at: TimeMs,
}

impl Bucket {
    /// One of which nothing is used.
    pub fn new(now: TimeMs) -> Self {
        Self { used: 0, at: now }
    }

    /// Takes `more` of `most`, all of which comes free again in `refill_ms`; `false`, and nothing
    /// taken, where that is too much.
    pub fn take(&mut self, more: u64, most: u64, refill_ms: u64, now: TimeMs) -> bool {
        self.refill(most, refill_ms, now);
        let total = self.used.saturating_add(more);
        let fits = total <= most;
        if fits {
            self.used = total;
        }
        fits
    }

    fn refill(&mut self, most: u64, refill_ms: u64, now: TimeMs) {
        // A clock that was set back frees nothing, and takes nothing away.
        let passed = now.since(self.at);
        let freed = u128::from(most) * u128::from(passed) / u128::from(refill_ms.max(1));
        let freed = u64::try_from(freed).unwrap_or(u64::MAX);
        if freed > 0 || now < self.at {
            self.used = self.used.saturating_sub(freed);
            self.at = now;
        }
    }

    /// Whether all of `most` bytes of frames are used.
    pub fn frames_used_up(&mut self, most: u64, now: TimeMs) -> bool {
        self.refill(most, BUDGET_FRAME_REFILL_MS, now);
        self.used >= most
    }

    /// Takes the bytes of frames that are stored, also beyond the share of `most`.
    pub fn charge_frames(&mut self, bytes: u64, most: u64, now: TimeMs) {
        self.refill(most, BUDGET_FRAME_REFILL_MS, now);
        self.used = self.used.saturating_add(bytes);
    }

    /// What is used.
    pub fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_is_used_up_refuses_with_its_code() {
        let device = DeviceId::of_public_key(&[7; 32]);
        assert!(Share::Facts.admit(&device, BUDGET_FACTS - 1, 1).is_ok());
        let refusal = Share::Facts.admit(&device, BUDGET_FACTS, 1).unwrap_err();
        assert_eq!(refusal.code, Code::OverBudget);
        assert!(Share::Waiting.admit(&device, u64::MAX, 1).is_err());
    }

    #[test]
    fn a_bucket_comes_free_again_and_no_clock_frees_it_early() {
        let mut bucket = Bucket::new(TimeMs(1_000));
        assert!(bucket.take(100, 100, 1_000, TimeMs(1_000)));
        assert!(!bucket.take(1, 100, 1_000, TimeMs(1_000)));
        assert!(!bucket.take(1, 100, 1_000, TimeMs(5)), "set back");
        assert!(bucket.take(50, 100, 1_000, TimeMs(505)));
        assert!(!bucket.take(1, 100, 1_000, TimeMs(505)));
        assert_eq!(bucket.used(), 100);
    }
}
