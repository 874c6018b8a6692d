//! Memory of other devices, kept over a restart: the capabilities they offered when they were last connected, and
//! whether they sign their frames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::{Mutex, PoisonError, RwLock};

use serde_json::json;

use super::offers::{Offer, Own};
use crate::adapters::store::{Class, StoreError, kv};
use crate::domain::base::DeviceId;
use crate::node::context::Context;

const OFFERS: &str = "peers.offers";
const SIGNERS: &str = "peers.signers";

/// See the module.
#[derive(Debug, Default)]
pub struct Known {
    /// What this node offers.
    pub own: Own,
    offers: Mutex<BTreeMap<DeviceId, Vec<String>>>,
    /// Unsigned frames in their name are not theirs.
    signers: RwLock<Arc<BTreeSet<DeviceId>>>,
}

impl Known {
    /// As earlier runs kept it.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn load(conn: &rusqlite::Connection) -> Result<Self, StoreError> {
        let offers = kv::get(conn, OFFERS)?;
        let offers = offers.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let signers = kv::get(conn, SIGNERS)?;
        let signers = signers.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self {
            own: Own::default(),
            offers: Mutex::new(offers.unwrap_or_default()),
            signers: RwLock::new(Arc::new(signers.unwrap_or_default())),
        })
    }

    /// The same, beside what this node offers.
    pub fn beside(self, offer: Offer) -> Self {
        let own = Own::of(offer);
        Self { own, ..self }
    }

    /// The capabilities that devices offered when they were last connected, limited to their present grants.
    pub fn capabilities(&self, context: &Context) -> BTreeMap<DeviceId, Vec<String>> {
        let mut known = self
            .offers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        context.keep_entitled(&mut known);
        known
    }

    /// Remembers what a device says it offers, so that a draft for it waits while it is away.
    pub async fn remember_offer(
        &self,
        context: &Context,
        device: &DeviceId,
        capabilities: &[String],
    ) {
        let known = {
            let mut offered = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
            offered.insert(device.clone(), capabilities.to_vec());
            json!(*offered).to_string()
        };
        let put = move |c: &rusqlite::Connection| kv::put(c, OFFERS, known.as_bytes());
        let stored = context.store.write(Class::Relaxed, "offers", put).await;
        if let Err(error) = stored {
            tracing::warn!(%error, "what a peer offers could not be stored");
        }
    }

    /// Devices that are known to sign their frames.
    pub fn signers(&self) -> Arc<BTreeSet<DeviceId>> {
        self.signers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers that a device signs its frames.
    pub async fn remember_signer(&self, context: &Context, device: &DeviceId) {
        if self.signers().contains(device) {
            return;
        }
        let text = {
            let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut signers).insert(device.clone());
            json!(**signers).to_string()
        };
        let put = move |c: &rusqlite::Connection| kv::put(c, SIGNERS, text.as_bytes());
        let stored = context.store.write(Class::Relaxed, "signers", put).await;
        if let Err(error) = stored {
            tracing::warn!(%error, "which peers sign could not be stored");
        }
    }
}
