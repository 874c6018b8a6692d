//! Devices that were learned by pairing: they are dialed as those of the configuration are.

use std::sync::Arc;

use super::Peers;
use crate::domain::base::TimeMs;
use crate::node::links::target::{Source, Target};
use crate::node::pairing::{self, Learned, Pairing};

/// Has the devices that were learned dialed, those of earlier runs and those that come.
pub async fn run(pairing: Pairing, peers: Arc<Peers>) {
    let mut changes = pairing.watch_learned();
    loop {
        match pairing::learned(&pairing).await {
            Ok(all) => all
                .into_iter()
                .for_each(|peer| add(&peers, peer, pairing.now())),
            Err(error) => tracing::error!(%error, "the learned peers cannot be read"),
        }
        tokio::select! {
            biased;
            () = pairing.tasks.stop().cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

fn add(peers: &Peers, peer: Learned, now: TimeMs) {
    let Learned { device, url, label } = peer;
    match url.parse() {
        Ok(url) => {
            let source = Source::Learned;
            let target = Target {
                url,
                pin: None,
                label,
                source,
            };
            if !peers.add(&device, target, now) {
                tracing::warn!(
                    peer = device.short(),
                    "too many peers; one that was paired is not dialed"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "a learned peer cannot be dialed"),
    }
}
