//! Held actions at their executor: who keeps one says so again and again, and it ends when nobody does. Whether who keeps
//! one is still entitled to is asked with each renewal. Nothing here touches the disk. `domain/gate/lease.rs` has the rule,
//! the guard of the actuator the lease.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Executor, entitled};
use crate::domain::base::limits::{
    HOLDER_MAX_BYTES, HOLDS_AT_DOOR_PER_SECOND, HOLDS_PER_SECOND, RENEWERS_MAX,
};
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

/// Whose renewals share one number a second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Renewer {
    /// A device, over its link.
    Device(DeviceId),
    /// A program or a browser session at this node's own door.
    Door(String),
}

/// What each has used of its renewals: as many come free again each second, by the boot clock. Who was not heard for a
/// second is forgotten.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<BTreeMap<Renewer, (u64, u64)>>);

impl Renewals {
    /// Takes one renewal.
    ///
    /// # Errors
    /// `RATE_EXCEEDED` where none is left.
    fn take(&self, renewer: Renewer, now: u64) -> Result<(), Refusal> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (since, _)| now.saturating_sub(*since) < 1_000);
        if all.len() >= RENEWERS_MAX && !all.contains_key(&renewer) {
            let why = format!("{RENEWERS_MAX} devices and programs renew here at once already");
            return Err(Refusal::new(Code::RateExceeded, why));
        }
        let (who, most) = match renewer {
            Renewer::Device(_) => ("device", HOLDS_PER_SECOND),
            Renewer::Door(_) => ("program or session", HOLDS_AT_DOOR_PER_SECOND),
        };
        let (_, used) = all.entry(renewer).or_insert((now, 0));
        if *used >= most {
            let why = format!("a {who} may renew {most} times a second");
            return Err(Refusal::new(Code::RateExceeded, why));
        }
        *used += 1;
        Ok(())
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
    if !asked.release {
        let renewer = Renewer::Device(link.device.clone());
        executor
            .renewals
            .take(renewer, executor.guards.steady_ms())?;
        let class = executor.guards.kept_as(id, &link.device);
        if let (Some(class), Some(action)) = (class, executor.running.action(id)) {
            entitled::still(executor, &action, class, &link.device)?;
        }
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

/// Takes one renewal of a program or session at this node's door, which `seat` tells apart from others. Those that go on to
/// another executor use up what that one takes from this whole node.
///
/// # Errors
/// `INVALID_PARAMS`, or `RATE_EXCEEDED`. Letting go is never one too many.
pub fn within(executor: &Executor, seat: &str, asked: &HoldRequest) -> Result<(), Refusal> {
    asked.check()?;
    if asked.release {
        return Ok(());
    }
    let renewer = Renewer::Door(seat.to_owned());
    executor.renewals.take(renewer, executor.guards.steady_ms())
}

/// A person's session at this node's door keeps or releases it, after [`within`]. Whoever asks was looked at when the request
/// came, so a session that has ended does not come this far.
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_renews_so_often_in_a_second_and_costs_no_other() {
        let renewals = Renewals::default();
        let device = |n| Renewer::Device(DeviceId::of_public_key(&[n; 32]));
        let taken = |n: u8, now| {
            (0..10_000)
                .filter(|_| renewals.take(device(n), now).is_ok())
                .count()
        };
        let most = usize::try_from(HOLDS_PER_SECOND).unwrap_or_default();
        assert_eq!(
            (taken(1, 5_000), taken(2, 5_000), taken(1, 5_999)),
            (most, most, 0)
        );
        assert_eq!(taken(1, 6_000), most);
        // So does what asks at the door, and who was not heard for a second costs nothing.
        let seat = |n: usize| Renewer::Door(format!("session {n}"));
        for n in 0..RENEWERS_MAX - 1 {
            renewals.take(seat(n), 6_500).unwrap();
        }
        renewals.take(seat(RENEWERS_MAX), 6_500).unwrap_err();
        assert_eq!(renewals.0.lock().unwrap().len(), RENEWERS_MAX);
        assert_eq!(taken(1, 7_500), most);
        assert_eq!(renewals.0.lock().unwrap().len(), 1);
    }
}
