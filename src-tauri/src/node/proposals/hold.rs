//! Held actions at their executor: who keeps one says so again and again, and it ends when nobody does. Nothing here
//! touches the disk. `domain/gate/lease.rs` has the rule, the guard of the actuator the lease.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Executor;
use crate::domain::base::limits::{HOLDER_MAX_BYTES, HOLDS_PER_SECOND};
use crate::domain::base::text::type_in_words;
use crate::domain::base::{Code, DeviceId, ProposalId, Refusal};
use crate::domain::gate::lease::{self, Keeper, Kept, Source, Wish};
use crate::node::links::PeerInfo;

/// The method by which one of our own kind keeps or releases what it asked for (feature `hold`):
/// `{"proposalId", "asked": {"holder", "by", "counter", "release"}}`.
pub const HOLD: &str = "proposals.hold";

/// The method by which one of our own kind asks how a held action stands (feature `hold`): `{"proposalId"}`.
pub const HELD: &str = "proposals.held";

/// What a keeper asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoldRequest {
    /// A text of the keeper's own choice, the same in each of its renewals: by it two keepers are told apart.
    pub holder: String,
    /// Its name, which is shown.
    #[serde(default)]
    pub by: String,
    /// Larger with each renewal; one that comes late or again changes nothing.
    #[serde(default)]
    pub counter: u64,
    /// Whether it lets go instead: the action ends at once.
    #[serde(default)]
    pub release: bool,
}

impl HoldRequest {
    fn wish(&self) -> Wish {
        match self.release {
            true => Wish::Release,
            false => Wish::Keep(self.counter),
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        match (1..=HOLDER_MAX_BYTES).contains(&self.holder.len()) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::InvalidParams,
                format!("holder must be 1 to {HOLDER_MAX_BYTES} bytes"),
            )),
        }
    }
}

/// How a held action stands after a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    /// After how many milliseconds it ends unless it is renewed.
    pub lapses_in_ms: u64,
    /// After how many milliseconds it ends in any case.
    pub ends_in_ms: u64,
    /// The largest counter so far: the next one has to be larger.
    pub counter: u64,
    /// Whether it was released.
    pub released: bool,
}

impl From<Kept> for HoldView {
    fn from(kept: Kept) -> Self {
        Self {
            lapses_in_ms: kept.lapses_in_ms,
            ends_in_ms: kept.ends_in_ms,
            counter: kept.counter,
            released: kept.released,
        }
    }
}

/// How a held action stands, for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// Who holds it, as its executor shows it; absent while nobody does.
    #[serde(default)]
    pub holder: Option<String>,
    /// After how many milliseconds it ends unless it is renewed.
    pub lapses_in_ms: u64,
    /// After how many milliseconds it ends in any case.
    pub ends_in_ms: u64,
}

/// What each device has used of its renewals: as many come free again each second, by the boot clock.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<BTreeMap<DeviceId, (u64, u64)>>);

impl Renewals {
    /// Whether a device has one left, which is then used. Only trusted devices come this far, so the map stays small.
    fn take(&self, device: &DeviceId, now: u64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, used) = all.entry(device.clone()).or_insert((now, 0));
        if now.saturating_sub(*since) >= 1_000 {
            (*since, *used) = (now, 0);
        }
        let left = *used < HOLDS_PER_SECOND;
        *used += u64::from(left);
        left
    }
}

/// A renewal or a release as it comes over a link.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OverLink {
    proposal_id: ProposalId,
    asked: HoldRequest,
}

/// Answers a renewal or a release of a device, in memory alone.
///
/// # Errors
/// `INVALID_PARAMS`, or as [`by_device`].
pub fn asked(
    executor: &Executor,
    link: &PeerInfo,
    params: Map<String, Value>,
) -> Result<Value, Refusal> {
    let read = serde_json::from_value::<OverLink>(Value::Object(params));
    let said = read.map_err(|e| {
        let why = type_in_words(&e.to_string());
        Refusal::new(Code::InvalidParams, why)
    })?;
    let kept = by_device(executor, link, &said.proposal_id, &said.asked)?;
    Ok(json!(kept))
}

/// A device that asked for it keeps or releases it, over its own link. Letting go is never one too many.
///
/// # Errors
/// `RATE_EXCEEDED`, or as [`Guards::keep`](crate::node::guards::Guards::keep).
pub fn by_device(
    executor: &Executor,
    link: &PeerInfo,
    id: &ProposalId,
    asked: &HoldRequest,
) -> Result<HoldView, Refusal> {
    asked.check()?;
    let now = executor.guards.steady_ms();
    if !executor.renewals.take(&link.device, now) && !asked.release {
        return Err(Refusal::new(
            Code::RateExceeded,
            format!("a device may renew {HOLDS_PER_SECOND} times a second"),
        ));
    }
    let at = link.shown();
    let shown = match asked.by.is_empty() {
        true => at.to_owned(),
        false => format!("{} at {at}", asked.by),
    };
    let source = Source::Device(link.device.clone());
    let keeper = Keeper::new(source, &asked.holder, &shown);
    let kept = executor.guards.keep(id, &keeper, asked.wish())?;
    Ok(kept.into())
}

/// How a held action of this executor stands, from memory alone. Looking keeps nothing.
///
/// # Errors
/// `CONFLICT` if it does not run here.
pub fn look(executor: &Executor, id: &ProposalId) -> Result<HeldView, Refusal> {
    let shown = executor.guards.held(id).ok_or_else(|| lease::ended(id))?;
    Ok(HeldView {
        holder: shown.holder,
        lapses_in_ms: shown.lapses_in_ms,
        ends_in_ms: shown.ends_in_ms,
    })
}

/// Answers a device that looks.
///
/// # Errors
/// `INVALID_PARAMS`, or as [`look`].
pub fn told(executor: &Executor, mut params: Map<String, Value>) -> Result<Value, Refusal> {
    let id = params.remove("proposalId").unwrap_or_default();
    let id: ProposalId = serde_json::from_value(id)
        .map_err(|e| Refusal::new(Code::InvalidParams, type_in_words(&e.to_string())))?;
    Ok(json!(look(executor, &id)?))
}

/// A person's session at this node's door keeps or releases it.
///
/// # Errors
/// As [`Guards::keep`](crate::node::guards::Guards::keep).
pub fn by_session(
    executor: &Executor,
    id: &ProposalId,
    asked: &HoldRequest,
) -> Result<HoldView, Refusal> {
    asked.check()?;
    let shown = match asked.by.is_empty() {
        true => "an operator of this node",
        false => asked.by.as_str(),
    };
    let keeper = Keeper::new(Source::Session, &asked.holder, shown);
    let kept = executor.guards.keep(id, &keeper, asked.wish())?;
    Ok(kept.into())
}

/// A rule of this node keeps what it asked for.
///
/// # Errors
/// As [`Guards::keep`](crate::node::guards::Guards::keep).
pub fn by_rule(
    executor: &Executor,
    id: &ProposalId,
    rule: &str,
    counter: u64,
) -> Result<(), Refusal> {
    let keeper = Keeper::new(Source::OwnRules, "", &format!("rule {rule:?}"));
    executor
        .guards
        .keep(id, &keeper, Wish::Keep(counter))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_renews_so_often_in_a_second_and_costs_no_other() {
        let (renewals, device) = (Renewals::default(), |n| DeviceId::of_public_key(&[n; 32]));
        let taken = |n: u8, now| {
            (0..10_000)
                .filter(|_| renewals.take(&device(n), now))
                .count()
        };
        let most = usize::try_from(HOLDS_PER_SECOND).unwrap_or_default();
        assert_eq!(
            (taken(1, 5_000), taken(2, 5_000), taken(1, 5_999)),
            (most, most, 0)
        );
        assert_eq!(taken(1, 6_000), most);
    }
}
