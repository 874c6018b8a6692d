//! What a running node tells of itself and of its peers.

use std::fmt::Write as _;

use super::{Finding, fault, warning, well};
use crate::domain::base::limits::FRAME_FUTURE_MAX_MS;
use crate::domain::base::text::one_line;
use crate::node::context::Severity;
use crate::operator::dto::{PeerView, StatusView, TrustRecordView};

/// How far a peer's clock may be from ours before that is told, in milliseconds.
const SKEW_TOLD_MS: u64 = 2_000;
/// The longest that a text of others is told here, in characters.
const TOLD_CHARS: usize = 120;

/// What no node runs means.
pub fn none() -> Finding {
    warning(
        "node",
        "no node runs on this directory; peers and alarms are not known",
        "start it: clawmesh-node start, or clawmesh-node service install",
    )
}

/// What a node tells: that it runs, its alarms, its clock.
pub fn node(status: &StatusView) -> Vec<Finding> {
    let mut all = vec![well(
        "node",
        format!(
            "version {} runs and listens on port {}",
            status.version, status.port
        ),
    )];
    if !status.clock_trusted {
        all.push(fault(
            "clock",
            "the node does not believe this clock: it has recorded a later time, and does not operate",
            "set the clock right; if it is right, stop the node and run `clawmesh-node clock confirm`",
        ));
    }
    for alarm in &status.alarms {
        let message = match alarm.subject.as_str() {
            "" => alarm.message.clone(),
            subject => format!("{subject}: {}", alarm.message),
        };
        all.push(match alarm.severity {
            Severity::Critical => fault("alarm", message, alarm.advice.clone()),
            _ => warning("alarm", message, alarm.advice.clone()),
        });
    }
    if let Some(problem) = &status.policy.problem {
        let advice = "the last good policy is in force; `clawmesh-node policy test` says more";
        all.push(fault("policy", problem.clone(), advice));
    }
    all
}

/// The trusted devices: whether each is heard, and how far its clock is from ours.
pub fn peers(trusted: &[TrustRecordView], peers: &[PeerView], now: u64) -> Vec<Finding> {
    let trusted: Vec<_> = trusted.iter().filter(|t| t.revoked_at.is_none()).collect();
    if trusted.is_empty() {
        let how =
            "no other device is trusted; `clawmesh-node pair` makes two nodes trust each other";
        return vec![well("peers", how)];
    }
    let each = trusted.iter().map(|record| {
        let peer = peers.iter().find(|peer| peer.device_id == record.device_id);
        of_peer(record, peer, now)
    });
    each.collect()
}

fn of_peer(record: &TrustRecordView, peer: Option<&PeerView>, now: u64) -> Finding {
    let id = record.device_id.get(..6).unwrap_or(&record.device_id);
    let name = record.name.as_deref();
    let name = name.or_else(|| peer.and_then(|peer| peer.display_name.as_deref()));
    let mut told = match name {
        Some(name) => format!("{} ({id})", one_line(name, TOLD_CHARS)),
        None => id.to_owned(),
    };
    let heard = peer.and_then(|peer| peer.heard_at);
    let _ = match heard {
        Some(at) => write!(told, ", heard {} s ago", now.saturating_sub(at) / 1_000),
        None => write!(told, ", not heard since this node started"),
    };
    let Some(peer) = peer else {
        return warning(
            "peers",
            told,
            "is it running, and can it be reached? `clawmesh-node peers` says more",
        );
    };
    if peer.connected_at.is_none() && record.connected != Some(true) {
        let reason = one_line(&peer.reason, TOLD_CHARS);
        let _ = write!(told, ", not connected: {reason}");
        let advice = match peer.addresses.is_empty() {
            true => {
                "no address is known: is it on this LAN? else name it under `peers` in config.toml"
            }
            false => "is it running, and does a firewall stand between?",
        };
        return warning("peers", told, advice);
    }
    let skew = peer.skew_ms.unwrap_or_default();
    if skew.unsigned_abs() > SKEW_TOLD_MS {
        let (by, way) = (
            skew.unsigned_abs() / 1_000,
            if skew > 0 { "ahead of" } else { "behind" },
        );
        let _ = write!(told, ", its clock is {by} s {way} ours");
        let advice = "have both clocks kept right: timedatectl set-ntp true";
        return match skew.unsigned_abs() > FRAME_FUTURE_MAX_MS {
            true => fault("peers", told, advice),
            false => warning("peers", told, advice),
        };
    }
    well("peers", told + ", connected")
}
