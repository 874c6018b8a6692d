//! Pairing: two devices that do not know each other come to trust each other because the persons
//! beside both saw the same short string and said yes (DESIGN §5).
//!
//! Pure: nonces, keys and time come from the node (`node/pairing`), which also carries the messages
//! and stores the outcome. `message` is what travels, `sas` what persons compare, `machine` the order
//! of things at either end, `mesh` which mesh both are in afterwards, `link` the text of the QR code.
//!
//! # What it withstands
//!
//! 1. The initiator commits itself: SHA-256 over a fresh 256-bit nonce, its key, name, role and mesh.
//! 2. The acceptor answers with its own nonce, key, name, role and mesh, in the clear.
//! 3. The initiator reveals what it had committed to; the acceptor checks the commitment.
//! 4. Both hash the whole transcript; the short string is 42 bits of it (seven of 64 pictures) and a
//!    number of seven digits, made from one digest.
//! 5. Each person compares and decides; each device signs side, verdict and transcript with the key
//!    that is in the transcript. Trust comes of two yeses: our person's and the other's signed one.
//!
//! Somebody in the middle has to put a key of its own into both transcripts. Towards the acceptor it
//! is bound by its commitment before it learns the acceptor's nonce; towards the initiator it must
//! answer before it learns the initiator's nonce. Both strings are therefore fixed by nonces it could
//! not choose in knowledge of each other: they agree by chance alone, once in 2^42 for the pictures and
//! once in 10^7 for the digits. A second guess needs a second commitment, hence a second try, hence two
//! persons who begin again; a window allows three. A message altered on its way changes the transcript.
//! The signatures prove that each side holds its key, and the side is part of what is signed, so that a
//! verdict cannot be sent back to who gave it. Who read the link off the screen proves it with a hash
//! over the link's secret and the transcript, which nobody else can make and which is worth nothing
//! elsewhere; and it knows beforehand which device must answer.
//!
//! Not withstood: a person who says yes without comparing.

mod link;
mod machine;
mod mesh;
mod message;
mod sas;

#[cfg(test)]
mod tests;

pub use link::{LinkSecret, PairLink};
pub use machine::{Acceptor, Comparison, Initiator};
pub use mesh::{Joining, joining};
pub use message::{Persona, Reveal, SignedVerdict, Start, Verdict};
pub use sas::{EMOJI, ShortString};

use crate::domain::base::{Code, Digest, Refusal};

/// Which end of a pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Dialed and committed itself first.
    Initiator,
    /// Had a window open.
    Acceptor,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::Initiator => Side::Acceptor,
            Side::Acceptor => Side::Initiator,
        }
    }

    /// The name that is signed and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Initiator => "initiator",
            Side::Acceptor => "acceptor",
        }
    }
}

/// SHA-256 over a domain and parts whose borders cannot be moved: each has its length before it.
fn hash(domain: &str, parts: &[&[u8]]) -> Digest {
    let mut text = Vec::with_capacity(64 + parts.iter().map(|p| p.len() + 8).sum::<usize>());
    for part in std::iter::once(&domain.as_bytes()).chain(parts) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        text.extend_from_slice(&length.to_be_bytes());
        text.extend_from_slice(part);
    }
    Digest::of(&[&text])
}

fn out_of_order(what: &str) -> Refusal {
    Refusal::new(
        Code::PairingOutOfOrder,
        format!("{what} does not belong here; begin the pairing again"),
    )
}
