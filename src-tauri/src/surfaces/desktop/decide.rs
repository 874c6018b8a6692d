//! Decisions at the desktop: with the person's key, after the person's own press. The page says which
//! record it showed (by digest) and which way; what is signed is the stored record of the executor, by
//! the same path that browsers and the command line use. The key is had for one signature and wiped.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::gesture::Gestures;
use super::host::Host;
use super::summary::title;
use super::system;
use crate::domain::base::limits::{WINDOW_HOLD_MS, WINDOW_SIGN_MS};
use crate::domain::base::text::one_line;
use crate::domain::base::{Code, Refusal};
use crate::domain::gate::NodeCode;
use crate::node::proposals::Standing;
use crate::operator::access::deciding::{DecideRequest, Wish};
use crate::operator::{Answer, Door};

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
    /// The code that the executor shows at its own console.
    #[serde(default)]
    at_node: Option<NodeCode>,
}

/// Longest part of a record that is shown in a dialog, in characters.
const SHOWN_CHARS: usize = 300;

/// Takes the press that this decision needs.
fn take_press(gestures: &Gestures, wish: Wish) -> Answer<()> {
    let within = Duration::from_millis(WINDOW_SIGN_MS);
    let now = Instant::now();
    let held = Duration::from_millis(WINDOW_HOLD_MS);
    let taken = match wish {
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

/// Asks in a window of the system's own, where no press in ours is seen. It shows what this node knows of the proposal and
/// nothing that the page says but its digest, which is compared with the record when that is signed.
async fn said_yes(door: &Door, asked: &Decided) -> Answer<()> {
    let p = door.proposal(&asked.proposal_id).await?;
    let way = match asked.decision {
        Wish::Approve => "Approve and sign",
        Wish::Reject => "Reject",
        Wish::Withdraw => "Withdraw your decision on",
    };
    let executor = p.executor_name.as_deref().unwrap_or(&p.executor);
    let question = format!(
        "{way} this proposal?\n\n{}\n{} on {}\nparameters: {}\nlevel {}, reason: {}\ndigest {}",
        title(&p),
        one_line(&p.target, SHOWN_CHARS),
        one_line(executor, SHOWN_CHARS),
        one_line(&p.params.to_string(), SHOWN_CHARS),
        p.level,
        one_line(&p.reason, SHOWN_CHARS),
        asked.digest.chars().take(12).collect::<String>(),
    );
    match system::confirmed(question).await {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::NotAuthorized,
            "nothing was signed: deciding needs a yes in the system's own dialog",
        )),
    }
}

/// Decides as the person at the window.
///
/// # Errors
/// `NOT_AUTHORIZED` without the press; what the key or the decision is refused with.
pub(super) async fn by_press(host: &Host, gestures: &Gestures, asked: Decided) -> Answer<Standing> {
    let door = host.now()?.door;
    match system::SEEN {
        true => take_press(gestures, asked.decision)?,
        false => said_yes(&door, &asked).await?,
    }
    let request = DecideRequest {
        proposal_id: asked.proposal_id,
        digest: asked.digest,
        decision: asked.decision,
        reason: asked.reason,
        target: asked.target,
        at_node: asked.at_node,
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
        at_node: None,
        passphrase: None,
    };
    let door = host.now()?.door;
    door.decide_with(request, host.operator_key()).await
}

#[cfg(test)]
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
