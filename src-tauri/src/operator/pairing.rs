//! Pairing for persons: open a window, reach another node, compare, decide.

use serde::{Deserialize, Serialize};

use super::{Answer, Door};
use crate::domain::pairing::Verdict;
use crate::node::pairing::{self, PairingView};

/// Whom to pair with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairStart {
    /// The text of the other node's link, or its URL, for example `ws://192.168.1.7:18789`.
    pub target: String,
}

/// What the person says after comparing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairDecision {
    /// Which pairing.
    pub session: u64,
    /// Whether the two strings are the same and the person wants this.
    pub yes: bool,
    /// What the other node may do here: `field`, `command-center`, `owner`, `viewer` or `gen1`; needed for a yes.
    #[serde(default, rename = "as")]
    pub preset: Option<String>,
}

impl Door {
    /// Pairing on this node, all of it.
    pub fn pairing(&self) -> PairingView {
        let nearby = self.handles.nearby.strangers(&self.handles);
        pairing::view(&self.handles.pairing, nearby)
    }

    /// Opens the window.
    ///
    /// # Errors
    /// As [`pairing::open_window`].
    pub async fn pair_open(&self) -> Answer<PairingView> {
        pairing::open_window(&self.handles.pairing).await?;
        Ok(self.pairing())
    }

    /// Closes the window and ends the pairing under way.
    pub async fn pair_cancel(&self) -> PairingView {
        pairing::cancel(&self.handles.pairing).await;
        self.pairing()
    }

    /// Begins to pair with another node.
    ///
    /// # Errors
    /// As [`pairing::start`].
    pub async fn pair_start(&self, wish: &PairStart) -> Answer<PairingView> {
        pairing::start(&self.handles.pairing, &wish.target).await?;
        Ok(self.pairing())
    }

    /// Takes what the person says.
    ///
    /// # Errors
    /// As [`pairing::decide`].
    pub fn pair_decide(&self, decision: &PairDecision) -> Answer<PairingView> {
        let verdict = if decision.yes {
            Verdict::Yes
        } else {
            Verdict::No
        };
        pairing::decide(
            &self.handles.pairing,
            decision.session,
            verdict,
            decision.preset.as_deref(),
        )?;
        Ok(self.pairing())
    }
}
