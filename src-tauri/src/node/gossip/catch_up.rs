//! Catching up with a gen-1 node: it sends what is new and answers `context.sync` for what we missed,
//! once per connection (gen-1 §7). One that dialed us answers nothing on its link, so it is asked on a
//! second socket (`sessions/second`). Our own kind feeds us by cursor instead.

use serde_json::{Value, json};

use crate::adapters::store::frames;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::GEN1_SYNC_MAX;
use crate::domain::wire::Frame;
use crate::domain::wire::handshake::Feature;
use crate::node::context::Context;
use crate::node::ingress::Ingress;
use crate::node::links::LinkHandle;

/// How far before the newest frame we have of a peer its answer shall begin, in milliseconds.
const OVERLAP_MS: u64 = 60_000;
/// How far back we ask a peer that we have nothing of, in milliseconds.
const FIRST_MS: u64 = 3_600_000;

/// Asks a gen-1 peer for what we missed and hands it to ingress like anything else it sends.
pub(crate) async fn ask(context: Context, ingress: Ingress, link: LinkHandle) {
    if !link.info.outbound || link.info.speaks(Feature::Sig) {
        return;
    }
    let params = question(&context, &link).await;
    match link.request("context.sync", &params).await {
        Ok(answer) => take(&context, &ingress, &link, answer, true).await,
        Err(error) => {
            tracing::info!(peer = link.info.device.short(), "no catching up: {error}");
        }
    }
}

/// The parameters of `context.sync` for what we lack of a peer.
pub(crate) async fn question(context: &Context, link: &LinkHandle) -> Value {
    let device = link.info.device.clone();
    // Only proven frames count: a claimed one with a late time would hide others.
    let known = context
        .store
        .read("catch up", move |c| frames::newest_proven(c, &device))
        .await;
    let since = match known.ok().flatten() {
        Some(time) => TimeMs(time.0.saturating_sub(OVERLAP_MS)),
        None => TimeMs(context.now().0.saturating_sub(FIRST_MS)),
    };
    json!({"since": since, "limit": GEN1_SYNC_MAX})
}

/// Hands the frames of an answer to ingress; `proven` says whether the peer had proven itself where it
/// came in.
pub(crate) async fn take(
    context: &Context,
    ingress: &Ingress,
    link: &LinkHandle,
    answer: Value,
    proven: bool,
) {
    let list = match answer {
        Value::Object(mut answer) => answer.remove("frames"),
        _ => None,
    };
    let Some(Value::Array(list)) = list else {
        return;
    };
    let (mut taken, mut refused) = (0u32, 0u32);
    for value in list.into_iter().take(GEN1_SYNC_MAX) {
        let bytes = value.to_string().len();
        match Frame::parse(value) {
            Ok(frame) => {
                match proven {
                    true => ingress.offer(link, vec![frame], bytes).await,
                    false => ingress.offer_unproven(link, vec![frame], bytes).await,
                }
                taken += 1;
            }
            Err(refusal) => {
                context.metrics.refused(refusal.code);
                refused += 1;
            }
        }
    }
    tracing::debug!(
        peer = link.info.device.short(),
        taken,
        refused,
        "caught up with a gen-1 node"
    );
}
