//! From a wish to its executor, as this node knows the others: who offers what, which zones each has
//! readings of, and where the cited frames come from. The choice itself is `domain::router`.

use std::collections::{BTreeMap, BTreeSet};

use super::cites;
use super::context::{Context, store_refusal};
use super::frame_log::Frames;
use crate::adapters::store::facts;
use crate::domain::admission::Generation;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::capability::Capability;
use crate::domain::plan::Draft;
use crate::domain::router::{Candidate, Wanted, route};
use crate::domain::wire::handshake::Feature;

/// Shortest start of a device id that names an executor.
const PREFIX_MIN: usize = 8;

/// Where a wish is to go, as far as the asker says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The executor: a name, a device id or the start of one, or `self`.
    pub executor: Option<String>,
    /// A zone that the executor has readings of.
    pub zone: Option<String>,
}

/// The offers of each executor known here: this node, connected ones, and ones that were connected before.
pub fn offers(frames: &Frames) -> BTreeMap<DeviceId, Vec<String>> {
    let mut offers = frames.known_capabilities();
    for link in frames.links.all() {
        let offered = link.offered().capabilities.clone();
        offers.insert(link.info.device.clone(), offered);
    }
    // Trust and grants may have changed since a link began.
    frames.keep_entitled(&mut offers);
    let own = frames.known.own.now();
    let own = own
        .actuators
        .iter()
        .map(|c| c.as_str().to_owned())
        .collect();
    offers.insert(frames.own_id().clone(), own);
    offers
}

/// Whether a device offers exactly this target.
pub fn offered(
    offers: &BTreeMap<DeviceId, Vec<String>>,
    device: &DeviceId,
    target: &Capability,
) -> bool {
    let offers = offers.get(device);
    offers.is_some_and(|list| list.iter().any(|c| c == target.as_str()))
}

/// The place of a draft according to its cited frames.
#[derive(Default)]
struct Evidence {
    origins: Vec<DeviceId>,
    zones: Vec<String>,
}

/// The executor for a draft of this node.
///
/// # Errors
/// As [`route`] and [`cites::frames`]; `TARGET_AMBIGUOUS` and `UNKNOWN_TARGET` also for a name that fits several or none.
pub async fn executor_of(
    frames: &Frames,
    draft: &Draft,
    place: &Place,
) -> Result<DeviceId, Refusal> {
    let at = frames.moment();
    let (asked, own) = (draft.clone(), frames.own_id().clone());
    let read = move |c: &rusqlite::Connection| {
        let mut zones: BTreeMap<DeviceId, BTreeSet<String>> = BTreeMap::new();
        for fact in facts::numeric(c, at)? {
            if let Some(zone) = fact.zone {
                zones.entry(fact.origin).or_default().insert(zone);
            }
        }
        let mut evidence = Evidence::default();
        for stored in cites::frames(c, &asked, &own, &own)? {
            let frame: serde_json::Value = serde_json::from_str(&stored.json).unwrap_or_default();
            let zone = frame.pointer("/data/zone").and_then(|z| z.as_str());
            evidence.zones.extend(zone.map(str::to_owned));
            evidence.origins.push(stored.origin);
        }
        Ok((zones, evidence))
    };
    let (zones, evidence) = frames
        .store
        .read("routing", read)
        .await
        .map_err(|e| store_refusal(&e))?;
    let offers = offers(frames);
    let names: BTreeMap<&DeviceId, String> = offers.keys().map(|d| (d, name(frames, d))).collect();
    let candidates: Vec<Candidate<'_>> = offers
        .iter()
        .map(|(device, capabilities)| Candidate {
            device,
            name: names.get(device).map_or("", String::as_str),
            capabilities,
            zones: zones
                .get(device)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
            mints: mints(frames, device),
        })
        .collect();
    let executor = place
        .executor
        .as_deref()
        .map(|wanted| named(frames, wanted, &candidates))
        .transpose()?;
    let wanted = Wanted {
        target: &draft.action.target,
        executor: executor.as_ref(),
        zone: place.zone.as_deref(),
        origins: &evidence.origins,
        evidence_zones: &evidence.zones,
    };
    route(&wanted, &candidates).cloned()
}

/// Whether a device mints proposals: this node, and every other of our own kind. What it speaks is
/// taken from its link, and while it is away from what it has proven before.
fn mints(frames: &Frames, device: &DeviceId) -> bool {
    if device == frames.own_id() {
        return true;
    }
    match frames.links.get(device) {
        Some(link) => link.info.speaks(Feature::Proposals),
        None => {
            let record = frames.trust.live(device);
            record.is_some_and(|r| r.generation() == Generation::Clawmesh)
        }
    }
}

/// The name of a device for people.
pub fn name(context: &Context, device: &DeviceId) -> String {
    if device == context.own_id() {
        return context.config.name.clone();
    }
    let record = context.trust.live(device);
    record.map_or_else(|| device.short().to_owned(), |r| r.label().to_owned())
}

/// The device that a name, an id, the start of an id or `self` stands for.
fn named(
    context: &Context,
    wanted: &str,
    candidates: &[Candidate<'_>],
) -> Result<DeviceId, Refusal> {
    if wanted == "self" {
        return Ok(context.own_id().clone());
    }
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let fits: Vec<&Candidate<'_>> = candidates
        .iter()
        .filter(|c| {
            c.name == wanted
                || (wanted.len() >= PREFIX_MIN && c.device.as_str().starts_with(wanted))
        })
        .collect();
    match fits.as_slice() {
        [one] => Ok(one.device.clone()),
        [] => Err(Refusal::new(
            Code::UnknownTarget,
            format!(
                "no executor known here is called {wanted:?}; use its name, its device id or self"
            ),
        )),
        several => {
            let ids: Vec<&str> = several.iter().map(|c| c.device.short()).collect();
            Err(Refusal::new(
                Code::TargetAmbiguous,
                format!(
                    "{wanted:?} fits several devices: {}; use the device id",
                    ids.join(", ")
                ),
            ))
        }
    }
}
