//! Unreachable: some attempts have failed. Others are asked whether they see the device: if so the
//! way between us is broken, if not it is probably down.

use serde_json::{Value, json};

use super::{Next, Peer, State, next};
use crate::domain::wire::handshake::Feature;
use crate::node::links::target::SEEN;

/// How many others are asked.
const ASKED_MAX: usize = 3;
const REST_MS: u64 = 20_000;

/// Asks others, then rests.
pub(super) async fn run(peer: &mut Peer, failures: u32, why: &str) -> Next {
    let mut others = peer.supervising.links.all();
    others.retain(|link| link.info.speaks(Feature::Reconcile) && link.info.device != peer.device);
    let first =
        usize::try_from(peer.supervising.random.below(64)).unwrap_or(0) % others.len().max(1);
    others.rotate_left(first);
    let (mut asked, mut seen_by) = (0, None);
    for link in others.iter().take(ASKED_MAX) {
        let params = json!({"deviceId": peer.device});
        if let Ok(answer) = link.request(SEEN, &params).await {
            asked += 1;
            if answer.get("connected").and_then(Value::as_bool) == Some(true) {
                seen_by = Some(link.info.shown().to_owned());
                break;
            }
        }
    }
    let attempts = attempts(failures);
    let Some(seen_by) = seen_by else {
        let others = match asked {
            0 => "there is nobody else to ask".to_owned(),
            1 => "the other node that was asked does not see it either".to_owned(),
            n => format!("{n} other nodes that were asked do not see it either"),
        };
        let why = why.split(" (").next().unwrap_or(why);
        return next(
            State::Down { failures },
            format!("{why} ({attempts}; {others})"),
        );
    };
    let why = why.split(" (").next().unwrap_or(why).to_owned();
    let why = format!("{why} ({attempts}; {seen_by} is connected to it)");
    peer.supervising.peers.enter(
        &peer.device,
        State::Unreachable { failures },
        why.clone(),
        peer.supervising.now(),
    );
    let woke = peer.rest(REST_MS).await;
    peer.after(&woke, failures, State::Unreachable { failures }, &why)
}

fn attempts(failures: u32) -> String {
    match failures {
        1 => "one attempt failed".to_owned(),
        n => format!("{n} attempts failed"),
    }
}
