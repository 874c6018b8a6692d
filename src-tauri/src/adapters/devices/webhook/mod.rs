//! The `webhook` kind: readings that others send to this node, by `POST /hooks/NAME` with a token.
//!
//! `settings.rs` reads the table; `hook.rs` is one hook: who may send, how often, and what waits; `sensor.rs` gives it to the
//! node as readings. `Hooks` finds a hook by its name. Sockets and HTTP are in `surfaces/http/hooks.rs`.

mod hook;
mod sensor;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use subtle::ConstantTimeEq as _;

pub use self::hook::{Hook, Kept};
pub(crate) use self::settings::KIND;
use crate::domain::base::{Code, Digest, Refusal};

/// Who sends, before anything of the content is read.
#[derive(Clone)]
pub struct Knock {
    /// The hook's name.
    pub name: String,
    /// The token that came with it.
    pub token: Option<String>,
    /// Whether the sender is on this machine.
    pub near: bool,
    /// Whether it came over TLS.
    pub secure: bool,
}

impl fmt::Debug for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Knock({:?})", self.name)
    }
}

/// The hooks of a node's devices, each for as long as its device is read. Clones share them.
#[derive(Clone, Default)]
pub struct Hooks(Arc<Mutex<BTreeMap<String, Weak<Hook>>>>);

impl Hooks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Hook>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a hook; it closes when its device is gone.
    fn open(&self, hook: &Arc<Hook>) {
        let mut all = self.lock();
        let open = all.get(hook.name()).and_then(Weak::upgrade);
        if open.is_none_or(|open| !Arc::ptr_eq(&open, hook)) {
            all.retain(|_, hook| hook.strong_count() > 0);
            all.insert(hook.name().to_owned(), Arc::downgrade(hook));
        }
    }

    /// The hook that this sender may use. It may read files: for threads that may block.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, the same where there is no such hook and where the token is not the hook's; with the right token
    /// `NOT_AUTHORIZED` for a way that the hook does not take, and `RATE_EXCEEDED`.
    pub fn knock(&self, knock: &Knock) -> Result<Arc<Hook>, Refusal> {
        let hook = self.lock().get(&knock.name).and_then(Weak::upgrade);
        let presented = knock.token.as_deref().unwrap_or_default();
        let presented = Digest::of(&[presented.as_bytes()]);
        let known = hook.as_ref().and_then(|hook| hook.token().ok());
        // Compared in any case, so that the time says nothing of which hooks there are.
        let same = presented.0.ct_eq(&known.unwrap_or(Digest([0; 32])).0);
        let (Some(hook), true) = (hook, known.is_some() && bool::from(same)) else {
            return Err(Refusal::new(
                Code::Unauthenticated,
                "there is no such hook, or the token is not its token: Authorization: Bearer TOKEN",
            ));
        };
        hook.admit(knock)?;
        Ok(hook)
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}
