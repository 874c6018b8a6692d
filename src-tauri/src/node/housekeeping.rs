//! What a node does every ten seconds: the store is pruned, the clock's high-water mark written, and what was only
//! counted is told. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use super::context::alarms::AlarmKind;
use super::context::timekeeping::{self, Settling};
use super::context::{Context, budgets};
use super::continuity::{self, Footing};
use super::peers::Peers;
use super::retention::Retention;
use super::{alike, frame_log, sessions};
use crate::adapters::store::{Class, commands, shares, usage};
use crate::adapters::transport::Doorway;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{ADDRESS_KEPT_MS, COMMANDS_KEPT_MS};

/// How often.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Where the clock stands at the start.
async fn settling(context: &Context) -> Settling {
    let mark = context.store.read("clock", timekeeping::high_water).await;
    Settling::starting(
        mark.unwrap_or_default(),
        context.now(),
        tokio::time::Instant::now(),
    )
}

/// Raises or clears the alarm of a clock that is behind what the node has lived through.
async fn clock_alarm(context: &Context, now: TimeMs) {
    let read = move |c: &rusqlite::Connection| {
        Ok((
            timekeeping::clock_trusted(c, now)?,
            timekeeping::high_water(c)?,
        ))
    };
    // No reading touches what it looks at.
    match context.store.read_committed("clock", read).await {
        Ok((true, _)) => {
            context.alarms.clear(AlarmKind::ClockUntrusted, "");
        }
        Ok((false, mark)) => {
            let message = format!(
                "the clock is {} min behind a time that this node has recorded, so it does not operate",
                mark.since(now) / 60_000
            );
            let advice = "set the clock; if it is right and the recorded time was wrong, stop the node and run \
                          `clawmesh-node clock confirm` on this machine";
            context
                .alarms
                .raise(AlarmKind::ClockUntrusted, "", &message, advice, now);
        }
        Err(error) => tracing::warn!(%error, "the clock could not be compared"),
    }
}

/// Keeps house until the node stops.
pub(super) async fn run(footing: Footing, peers: Arc<Peers>, doorway: Arc<Doorway>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    let mut settling = settling(&footing).await;
    let mut retention = Retention::default();
    loop {
        tokio::select! {
            biased;
            () = footing.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        footing.journal.tell_counted().await;
        budgets::look(&footing).await;
        alike::look(&footing, |device| peers.get(device)?.name);
        let numbers = doorway.numbers();
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        footing.metrics.sockets_unauthenticated.set(gauge(
            u64::try_from(numbers.open_unauthenticated).unwrap_or(0),
        ));
        footing
            .metrics
            .sockets_evicted
            .set(gauge(numbers.evicted_total));
        let at = footing.moment();
        let most = frame_log::most(&footing);
        let settled = settling.admits(at.wall, tokio::time::Instant::now());
        clock_alarm(&footing, at.wall).await;
        sessions::forget_clocks(&footing);
        continuity::note(&footing).await;
        let done = footing
            .store
            .write(Class::Relaxed, "housekeeping", move |c| {
                timekeeping::keep(c, at, settled)?;
                commands::prune(c, TimeMs(at.wall.0.saturating_sub(COMMANDS_KEPT_MS)))?;
                let kept = |at: TimeMs| TimeMs(at.0.saturating_sub(ADDRESS_KEPT_MS));
                usage::lapse(c, kept(at.steady), kept(at.wall))?;
                let crowd = shares::make_room_for_others(c, most)?;
                Ok((crowd, shares::all(c)?))
            })
            .await;
        match done {
            Ok((crowd, kept)) => {
                frame_log::gave_way(&footing, &crowd).await;
                footing.budgets.crowded(&kept, None);
            }
            Err(error) => tracing::error!(%error, "housekeeping failed"),
        }
        retention.keep(&footing).await;
    }
}
