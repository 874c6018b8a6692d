//! Trust records with what each device has made this node keep, against its shares (invariant I11).

use std::collections::BTreeMap;

use super::dto::{ShareView, TrustRecordView};
use super::registry::{self, Desk, trust_view};
use super::{Answer, Door};
use crate::adapters::store::usage;
use crate::domain::admission::TrustRecord;
use crate::domain::admission::budget::Share;
use crate::domain::base::DeviceId;
use crate::node::context::store_refusal;
use crate::node::frame_log;

/// The usage of every device's shares as the store counts it.
pub struct Usage {
    used: BTreeMap<(String, Share), u64>,
    /// How many bytes of frames this store lets one device have.
    kept_bytes: u64,
}

impl Usage {
    /// Reads it; works on a stopped node too.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn read(desk: &Desk) -> Answer<Self> {
        let now = desk.now;
        let counted = desk
            .store
            .read("usage", move |c| usage::of_everybody(c, now))
            .await;
        counted
            .map(|used| Self {
                used,
                kept_bytes: desk.store.bytes_of_one_device(),
            })
            .map_err(|e| store_refusal(&e))
    }

    /// How much of one share a device uses.
    pub fn one(&self, device: &DeviceId, share: Share) -> u64 {
        let stored = self.used.get(&(device.as_str().to_owned(), share));
        stored.copied().unwrap_or(0)
    }

    /// The shares of one device, with those that the store counts.
    pub fn of(&self, device: &DeviceId) -> Vec<ShareView> {
        let view = |share: Share| ShareView {
            kind: share.code().to_owned(),
            used: self.one(device, share),
            limit: match share {
                Share::KeptBytes => self.kept_bytes,
                share => share.most(),
            },
            refused: 0,
        };
        Share::ALL.into_iter().map(view).collect()
    }
}

impl Door {
    /// Every trust record, with who is connected and what it uses.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn trust(&self) -> Answer<Vec<TrustRecordView>> {
        let records = registry::trust_list(&self.desk()).await?;
        let usage = Usage::read(&self.desk()).await?;
        Ok(records.iter().map(|r| self.seen(r, &usage)).collect())
    }

    /// One trust record.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn trust_one(&self, id: &str) -> Answer<TrustRecordView> {
        let record = registry::trust_show(&self.desk(), id).await?;
        self.trust_seen(&record).await
    }

    pub(super) async fn trust_seen(&self, record: &TrustRecord) -> Answer<TrustRecordView> {
        let usage = Usage::read(&self.desk()).await?;
        Ok(self.seen(record, &usage))
    }

    /// A record with what only the running node knows: the link, the frames' bytes and what was refused.
    fn seen(&self, record: &TrustRecord, usage: &Usage) -> TrustRecordView {
        let (s, device) = (&self.handles, &record.device_id);
        let mut shares = usage.of(device);
        for (share, view) in Share::ALL.into_iter().zip(&mut shares) {
            view.refused = s.budgets.refused(device, share);
            match share {
                Share::FrameBytes => view.used = s.budgets.frame_bytes(device, s.now()),
                Share::KeptFrames => view.limit = frame_log::most(s).frames,
                _ => {}
            }
        }
        let connected = s.links.get(device).is_some();
        trust_view(record, Some(connected), shares)
    }
}
