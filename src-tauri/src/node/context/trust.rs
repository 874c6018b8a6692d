//! The trust records as every task sees them: a copy in memory of what the store holds.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::adapters::store::{Store, StoreError, trust};
use crate::domain::admission::{TrustRecord, TrustView};
use crate::domain::base::DeviceId;

/// Trust records in memory, written through to the store.
#[derive(Debug, Default)]
pub struct TrustBook {
    records: RwLock<Arc<BTreeMap<DeviceId, TrustRecord>>>,
}

/// A moment's view of the trust records, revoked ones left out.
#[derive(Debug, Clone)]
pub struct TrustSnapshot(Arc<BTreeMap<DeviceId, TrustRecord>>);

impl TrustView for TrustSnapshot {
    fn record(&self, device: &DeviceId) -> Option<&TrustRecord> {
        self.0.get(device).filter(|r| r.is_live())
    }
}

impl TrustBook {
    /// The records as of now.
    pub fn snapshot(&self) -> TrustSnapshot {
        TrustSnapshot(
            self.records
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }

    /// The live record of a device.
    pub fn live(&self, device: &DeviceId) -> Option<TrustRecord> {
        self.snapshot().record(device).cloned()
    }

    /// Whether a device has a live record.
    pub fn trusts(&self, device: &DeviceId) -> bool {
        self.snapshot().record(device).is_some()
    }

    /// The live record of the device at whose address this account is.
    pub fn at_address(&self, account: &DeviceId) -> Option<TrustRecord> {
        let all = self.snapshot();
        let mut live = all.0.values().filter(|r| r.is_live());
        live.find(|r| account.is_address_of(&r.device_id)).cloned()
    }

    /// Every record, revoked ones too.
    pub fn all(&self) -> Vec<TrustRecord> {
        self.snapshot().0.values().cloned().collect()
    }

    /// Reads the records from the store again; called after every change.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let records = store.read("trust", trust::all).await?;
        let map = records
            .into_iter()
            .map(|r| (r.device_id.clone(), r))
            .collect();
        *self.records.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        Ok(())
    }
}
