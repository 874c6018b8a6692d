//! Who may tell us what, and how far we believe it: `Verified<Frame>` in, `Admitted` out.
//!
//! The claimed tier stays as it is; the *effective* tier is what this node can vouch for, and the
//! only one that gates anything (invariant I7).

pub mod budget;
pub mod trust;
pub mod worst;

pub use trust::{Generation, Grant, Grants, Preset, TrustRecord};

use std::collections::BTreeSet;
use std::sync::Arc;

use super::base::limits::FRAME_FUTURE_MAX_MS;
use super::base::{Code, DeviceId, Digest, Refusal, SignatureState, Taint, Tier, TimeMs};
use super::wire::{Checked, Frame, FrameKind, Verified};

/// A frame that may enter the world model, with what we make of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    frame: Frame,
    content: Digest,
    effective: Tier,
    signature: SignatureState,
    time: TimeMs,
    ahead: bool,
    received_at: TimeMs,
    link_peer: Option<DeviceId>,
    text: Arc<str>,
}

impl Admitted {
    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Its JSON without `hops`, as it is stored and sent on.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Its content hash.
    pub fn content(&self) -> Digest {
        self.content
    }

    /// The tier this node vouches for.
    pub fn effective(&self) -> Tier {
        self.effective
    }

    /// What is known of its signature.
    pub fn signature(&self) -> SignatureState {
        self.signature
    }

    /// The moment we order it by: its timestamp, or the receipt time if that claims to lie ahead.
    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// Whether its timestamp lay too far ahead to be believed.
    pub fn ahead(&self) -> bool {
        self.ahead
    }

    /// When we got it.
    pub fn received_at(&self) -> TimeMs {
        self.received_at
    }

    /// The peer it came from, or the account of whoever answered at its address; `None` for our own frames.
    pub fn link_peer(&self) -> Option<&DeviceId> {
        self.link_peer.as_ref()
    }

    /// Whose share it uses: its origin's where that is proven, else that of the device that brought it;
    /// `None` for our own frames.
    pub fn charged(&self) -> Option<&DeviceId> {
        let peer = self.link_peer.as_ref()?;
        match self.signature {
            SignatureState::Unverifiable => Some(peer),
            SignatureState::Verified | SignatureState::FirstHand => Some(&self.frame.origin),
        }
    }

    /// Marks that stay for ever.
    pub fn taint(&self) -> &BTreeSet<Taint> {
        &self.frame.taint
    }
}

/// What admission looks things up in.
pub trait TrustView {
    /// The live trust record of a device; a revoked one counts as none.
    fn record(&self, device: &DeviceId) -> Option<&TrustRecord>;
}

/// Admits a frame that came over the authenticated link of `peer`.
///
/// # Errors
/// `NOT_AUTHORIZED` if the peer may not send it: first-hand frames need `observe`, `human` or
/// `plan`, frames of others need `relay`.
pub fn admit(
    verified: Verified<Frame>,
    peer: &DeviceId,
    trust: &impl TrustView,
    now: TimeMs,
) -> Result<Admitted, Refusal> {
    admit_over(verified, peer, true, trust, now)
}

/// Admits a frame that somebody at an address of `peer` has answered, without having proven to be it:
/// what carries no signature of its origin is believed by nobody's word, and is on the account of that
/// address, not of the device.
///
/// # Errors
/// As [`admit`].
pub fn admit_unproven(
    verified: Verified<Frame>,
    peer: &DeviceId,
    trust: &impl TrustView,
    now: TimeMs,
) -> Result<Admitted, Refusal> {
    admit_over(verified, peer, false, trust, now)
}

/// Whether a device that is trusted may send the frames of an origin: first-hand ones, or those of others.
///
/// # Errors
/// `NOT_AUTHORIZED`, as for [`admit`].
pub fn may_bring(peer: &TrustRecord, origin: &DeviceId) -> Result<(), Refusal> {
    let (grants, first_hand) = (&peer.grants, *origin == peer.device_id);
    let why = match first_hand {
        true if !grants.may_originate() => {
            "holds none of observe, human and plan, so it may not send frames"
        }
        false if !grants.has(Grant::Relay) => {
            "does not hold relay, so it may not pass on frames of others"
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(
        Code::NotAuthorized,
        format!("device {} {why}", peer.device_id.short()),
    ))
}

fn admit_over(
    verified: Verified<Frame>,
    peer: &DeviceId,
    proven: bool,
    trust: &impl TrustView,
    now: TimeMs,
) -> Result<Admitted, Refusal> {
    let checked = verified.checked();
    let content = verified.content();
    let frame = verified.into_inner();
    let first_hand = frame.origin == *peer;
    let Some(link) = trust.record(peer) else {
        return Err(Refusal::new(
            Code::NotAuthorized,
            format!("device {} is not trusted here", peer.short()),
        ));
    };
    may_bring(link, &frame.origin)?;
    if frame.private.is_some() && !(first_hand && proven && checked == Checked::Signed) {
        return Err(Refusal::new(
            Code::NotAuthorized,
            format!(
                "frame {} is private: it is taken signed from {} itself alone, and {} brought it",
                frame.frame_id.short(),
                frame.origin.short(),
                peer.short()
            ),
        ));
    }
    let signature = match checked {
        Checked::Signed => SignatureState::Verified,
        _ if first_hand && proven => SignatureState::FirstHand,
        _ => SignatureState::Unverifiable,
    };
    let cap = ceiling(&frame, signature, trust.record(&frame.origin));
    let ahead = frame.timestamp > now.plus(FRAME_FUTURE_MAX_MS);
    Ok(Admitted {
        effective: frame.claimed.min(cap),
        time: if ahead { now } else { frame.timestamp },
        content,
        signature,
        ahead,
        received_at: now,
        link_peer: Some(match proven {
            true => peer.clone(),
            false => peer.at_address(),
        }),
        text: frame.to_stored_text().into(),
        frame,
    })
}

/// Admits a frame this node made itself, from its own sensors, executor or operator door.
pub fn admit_own(verified: Verified<Frame>, now: TimeMs) -> Admitted {
    let content = verified.content();
    let frame = verified.into_inner();
    let cap = if frame.taint.is_empty() {
        Tier::T3
    } else {
        Tier::T0
    };
    Admitted {
        effective: frame.claimed.min(cap),
        time: frame.timestamp,
        content,
        signature: SignatureState::Verified,
        ahead: false,
        received_at: now,
        link_peer: None,
        text: frame.to_stored_text().into(),
        frame,
    }
}

/// The highest tier we can vouch for.
fn ceiling(frame: &Frame, signature: SignatureState, origin: Option<&TrustRecord>) -> Tier {
    if !frame.taint.is_empty() {
        return Tier::T0;
    }
    // Whoever brought it may have made it up.
    let Some(origin) = origin.filter(|_| signature != SignatureState::Unverifiable) else {
        return Tier::T0;
    };
    if frame.kind == FrameKind::HumanInput {
        return if origin.grants.has(Grant::Human) {
            Tier::T3
        } else {
            Tier::T1
        };
    }
    origin.grants.observe().unwrap_or(Tier::T0)
}

#[cfg(test)]
mod tests;
