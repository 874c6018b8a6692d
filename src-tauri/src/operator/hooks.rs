//! Readings that others send: who may send to which hook, and what becomes of it. It has a token of its own for each hook,
//! which opens nothing else.

use std::sync::Arc;

use super::{Answer, Door};
use crate::adapters::devices::{Hook, Knock};
use crate::domain::base::{Code, Refusal};

/// What was kept of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookView {
    /// The readings that are kept.
    pub stored: Vec<String>,
    /// The hook's readings of which there was nothing in it, or a value measured before the last one that was taken.
    pub left_out: Vec<String>,
}

impl Door {
    /// The hook that this sender may use.
    ///
    /// # Errors
    /// See [`Hooks::knock`](crate::adapters::devices::Hooks::knock).
    pub async fn hook(&self, knock: Knock) -> Answer<Arc<Hook>> {
        let hooks = self.handles.wiring.hooks().clone();
        let knocked = self.context().work(move || hooks.knock(&knock)).await;
        knocked.unwrap_or_else(|| {
            let why = "the hook could not be looked up";
            Err(Refusal::new(Code::InternalError, why))
        })
    }

    /// Takes what was sent; answers once it is on the disk.
    ///
    /// # Errors
    /// Why it is no reading, or is not kept.
    pub async fn take(&self, hook: Arc<Hook>, body: &[u8]) -> Answer<HookView> {
        let stop = self.context().tasks.stop();
        tokio::select! {
            biased;
            stored = hook.keep(body) => {
                let (stored, left_out) = stored?;
                Ok(HookView { stored, left_out })
            }
            () = stop.cancelled() => {
                let why = "the node is ending, and what was sent may not be kept; send it again";
                Err(Refusal::new(Code::Busy, why))
            }
        }
    }
}
