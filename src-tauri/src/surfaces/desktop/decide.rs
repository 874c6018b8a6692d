//! Decisions at the desktop: with the person's key, after the person's own press. The page says which
//! record it showed (by digest) and which way; what is signed is the stored record of the executor, by
//! the same path that browsers and the command line use. The key is had for one signature and wiped.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::gesture::{self, Gestures};
use super::host::Host;
use crate::domain::base::limits::{WINDOW_HOLD_MS, WINDOW_SIGN_MS};
use crate::domain::base::{Code, Refusal};
use crate::node::proposals::Standing;
use crate::operator::Answer;
use crate::operator::access::deciding::{DecideRequest, Wish};

/// The page's request for a decision.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Decided {
    proposal_id: String,
    /// The digest of the record that the person was shown.
    digest: String,
    decision: Wish,
    #[serde(default)]
    reason: Option<String>,
    /// The actuator, as the person typed it.
    #[serde(default)]
    target: Option<String>,
}

/// Takes the press that this decision needs.
fn take_press(gestures: &Gestures, wish: Wish) -> Answer<()> {
    let within = Duration::from_millis(WINDOW_SIGN_MS);
    let now = Instant::now();
    let held = Duration::from_millis(WINDOW_HOLD_MS);
    let taken = match wish {
        _ if !gesture::SEEN => true,
        // Whatever a person approves moves something.
        Wish::Approve => gestures.take_held(held, within, now),
        Wish::Reject => gestures.take(within, now),
        Wish::Withdraw => gestures.seen(within, now),
    };
    if taken {
        return Ok(());
    }
    Err(Refusal::new(
        Code::NotAuthorized,
        match wish {
            Wish::Approve => {
                "approving needs a press on the button that is held for a second and a half, by the person at the window"
            }
            _ => "deciding needs a press by the person at the window; press the button again",
        },
    ))
}

/// Decides as the person at the window.
///
/// # Errors
/// `NOT_AUTHORIZED` without the press; what the key or the decision is refused with.
pub(super) async fn by_press(host: &Host, gestures: &Gestures, asked: Decided) -> Answer<Standing> {
    let door = host.now()?.door;
    take_press(gestures, asked.decision)?;
    let request = DecideRequest {
        proposal_id: asked.proposal_id,
        digest: asked.digest,
        decision: asked.decision,
        reason: asked.reason,
        target: asked.target,
        passphrase: None,
    };
    door.decide_with(request, host.operator_key()).await
}

/// Rejects what the person was shown outside the page, in the tray or a notification.
///
/// # Errors
/// The refusal of the key or the decision.
pub(super) async fn reject(host: &Host, id: String, digest: String) -> Answer<Standing> {
    let request = DecideRequest {
        proposal_id: id,
        digest,
        decision: Wish::Reject,
        reason: None,
        target: None,
        passphrase: None,
    };
    let door = host.now()?.door;
    door.decide_with(request, host.operator_key()).await
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::gesture::Code as Pressed;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_script_alone_decides_nothing() {
        let gestures = Gestures::default();
        for wish in [Wish::Approve, Wish::Reject, Wish::Withdraw] {
            take_press(&gestures, wish).unwrap_err();
        }
        gestures.down(Pressed::Button(1), true, Instant::now());
        tokio::time::advance(Duration::from_millis(200)).await;
        gestures.up(Pressed::Button(1), Instant::now());
        take_press(&gestures, Wish::Approve).unwrap_err();
        take_press(&gestures, Wish::Reject).unwrap();
        take_press(&gestures, Wish::Reject).unwrap_err();
        gestures.down(Pressed::Button(1), true, Instant::now());
        tokio::time::advance(Duration::from_millis(WINDOW_HOLD_MS + 100)).await;
        take_press(&gestures, Wish::Approve).unwrap();
        take_press(&gestures, Wish::Approve).unwrap_err();
    }
}
