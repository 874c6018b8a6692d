//! Whether a gen-1 node at the other end of a link is still there. It has no ping of its own and may be
//! silent for minutes, but every WebSocket answers pings by itself, and they are not counted there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::base::limits::{GEN1_PING_PART, GEN1_PINGS_MISSED_MAX};
use crate::node::context::Context;
use crate::node::links::LinkHandle;

/// Pings until the link ends, and gives it up when several pings in a row stay without an answer while
/// nothing else comes either.
pub(super) async fn keep(context: Context, link: LinkHandle, mut pongs: watch::Receiver<u64>) {
    let every = Duration::from_millis(context.config.ping_interval_ms / GEN1_PING_PART);
    let mut missed = 0;
    while missed < GEN1_PINGS_MISSED_MAX {
        pongs.mark_unchanged();
        let (heard, sent) = (link.vitals.reading().heard_at, tokio::time::Instant::now());
        link.ping();
        let answered = tokio::select! {
            biased;
            () = link.stop.cancelled() => return,
            answered = tokio::time::timeout(every, pongs.changed()) => matches!(answered, Ok(Ok(()))),
        };
        if answered {
            let now = context.now();
            link.vitals.heard(now, 0);
            link.vitals
                .pinged(sent.elapsed().as_secs_f64() * 1_000.0, None, now);
        }
        // While this node works on a message of the other side it reads no answers either.
        let alive = answered
            || link.vitals.reading().heard_at > heard
            || link.taking.load(Ordering::Acquire);
        missed = if alive { 0 } else { missed + 1 };
        tokio::select! {
            biased;
            () = link.stop.cancelled() => return,
            () = tokio::time::sleep_until(sent + every) => {}
        }
    }
    link.close(1001, "silent for too long");
}
