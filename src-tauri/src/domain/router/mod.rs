//! From a wish to the executor that acts: the one that is named, the one its evidence comes from, or
//! the only one there is. Several that fit are never chosen between by chance: the wish is refused
//! with the choice, because two nodes of one image offer the same actuator over different beds.

pub mod answering;

use std::collections::BTreeSet;

use super::base::{Code, DeviceId, Refusal};
use super::capability::{Capability, Pattern};

/// A node that could serve.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The device.
    pub device: &'a DeviceId,
    /// Its name for people.
    pub name: &'a str,
    /// What it says it offers.
    pub capabilities: &'a [String],
    /// The zones it has readings of.
    pub zones: BTreeSet<&'a str>,
    /// Whether it mints proposals: our own kind does, a gen-1 node cannot.
    pub mints: bool,
}

impl Candidate<'_> {
    fn shown(&self) -> String {
        format!("{} ({})", self.name, self.device.short())
    }
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The actuator.
    pub target: &'a Capability,
    /// The executor the asker names.
    pub executor: Option<&'a DeviceId>,
    /// The zone the asker names.
    pub zone: Option<&'a str>,
    /// The devices that the cited evidence comes from.
    pub origins: &'a [DeviceId],
    /// The zones that the cited evidence is about.
    pub evidence_zones: &'a [String],
}

/// Whether an offer covers the target without naming it, as a gen-1 node's `actuator:mock` covers
/// `actuator:mock:valve-1`.
fn covers(offered: &str, wanted: &Capability) -> bool {
    let prefix = wanted.as_str().strip_prefix(offered);
    prefix.is_some_and(|rest| rest.starts_with(':'))
        || offered.parse::<Pattern>().is_ok_and(|p| p.matches(wanted))
}

/// Finds the executor for a wish, whether or not it can be reached now: a wish waits for its executor
/// instead of going to another. Only who can mint a proposal for exactly this target is one.
///
/// # Errors
/// `UNKNOWN_TARGET` if nobody offers it, or not the named executor or zone; `TARGET_AMBIGUOUS` with
/// the choice if several fit.
pub fn route<'a>(
    wanted: &Wanted<'_>,
    candidates: &[Candidate<'a>],
) -> Result<&'a DeviceId, Refusal> {
    let target = wanted.target;
    let unknown = |why: String| Err(Refusal::new(Code::UnknownTarget, why));
    let fit = |c: &Candidate<'a>| c.capabilities.iter().any(|o| o == target.as_str());
    if let Some(executor) = wanted.executor {
        return match candidates.iter().find(|c| c.device == executor) {
            Some(c) if !c.mints => unknown(no_executor(c, target)),
            Some(c) if fit(c) => Ok(c.device),
            Some(c) => unknown(format!("{} does not offer {target}", c.shown())),
            None => unknown(format!(
                "device {} is not known here, so nothing says that it offers {target}",
                executor.short()
            )),
        };
    }
    let mut fits: Vec<&Candidate<'a>> = candidates.iter().filter(|c| c.mints && fit(c)).collect();
    if fits.is_empty() {
        let near = |c: &&Candidate<'a>| {
            let offers = &c.capabilities;
            fit(c) || offers.iter().any(|o| covers(o, target))
        };
        return unknown(match candidates.iter().filter(|c| !c.mints).find(near) {
            Some(c) => no_executor(c, target),
            None => format!(
                "no node known here offers {target}; check the spelling, or whether its node has ever connected"
            ),
        });
    }
    if let Some(zone) = wanted.zone {
        fits.retain(|c| c.zones.contains(zone));
        if fits.is_empty() {
            return unknown(format!(
                "no node that offers {target} has readings of zone {zone:?}"
            ));
        }
    }
    narrow(&mut fits, |c| wanted.origins.contains(c.device));
    if fits.len() > 1 {
        narrow(&mut fits, |c| {
            wanted
                .evidence_zones
                .iter()
                .any(|z| c.zones.contains(z.as_str()))
        });
    }
    match fits.as_slice() {
        [one] => Ok(one.device),
        several => {
            let choice: Vec<String> = several.iter().take(8).map(|c| c.shown()).collect();
            Err(Refusal::new(
                Code::TargetAmbiguous,
                format!(
                    "{} nodes offer {target}: {}; name the executor or its zone",
                    several.len(),
                    choice.join(", ")
                ),
            ))
        }
    }
}

fn no_executor(candidate: &Candidate<'_>, target: &Capability) -> String {
    format!(
        "{} offers {target} but is a gen-1 node, which mints no proposals",
        candidate.shown()
    )
}

/// Keeps those that hold, if any does.
fn narrow<'a, 'b>(fits: &mut Vec<&'b Candidate<'a>>, holds: impl Fn(&Candidate<'a>) -> bool) {
    if fits.iter().any(|c| holds(c)) {
        fits.retain(|c| holds(c));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(n: u8) -> DeviceId {
        DeviceId::of_public_key(&[n; 32])
    }

    fn caps(c: &str) -> Vec<String> {
        vec![c.to_owned()]
    }

    #[test]
    fn only_who_mints_and_names_the_target_is_an_executor() {
        let ids: Vec<DeviceId> = (0..4u8).map(id).collect();
        let (exact, prefix, pattern) = (
            caps("actuator:mock:valve-1"),
            caps("actuator:mock"),
            caps("actuator:*"),
        );
        let c = |i: usize, capabilities| Candidate {
            device: &ids[i],
            name: "n",
            capabilities,
            zones: BTreeSet::new(),
            mints: true,
        };
        let gen1 = |i: usize, capabilities| Candidate {
            mints: false,
            ..c(i, capabilities)
        };
        // One node is absent, for all that is known here; that changes nothing.
        let all = [
            gen1(0, &exact),
            c(1, &exact),
            c(2, &pattern),
            gen1(3, &prefix),
        ];
        let target: Capability = "actuator:mock:valve-1".parse().unwrap();
        let mut wanted = Wanted {
            target: &target,
            executor: None,
            zone: None,
            origins: &[],
            evidence_zones: &[],
        };
        assert_eq!(route(&wanted, &all), Ok(&ids[1]));
        let refusal = |wanted: &Wanted<'_>| route(wanted, &all).unwrap_err();
        for other in [0, 2, 3] {
            wanted.executor = Some(&ids[other]);
            assert_eq!(refusal(&wanted).code, Code::UnknownTarget);
        }
        let second: Capability = "actuator:mock:valve-2".parse().unwrap();
        let not_ours = Wanted {
            target: &second,
            executor: None,
            ..wanted
        };
        assert!(refusal(&not_ours).message.contains("gen-1"));
        let code = |wanted: &Wanted<'_>| refusal(wanted).code;
        let other: Capability = "actuator:pump:main".parse().unwrap();
        wanted = Wanted {
            target: &other,
            executor: Some(&ids[1]),
            ..wanted
        };
        assert_eq!(code(&wanted), Code::UnknownTarget);
    }

    #[test]
    fn a_wish_stays_with_its_evidence_and_is_never_sent_by_chance() {
        let (ids, offered) = ([id(1), id(2), id(3)], caps("actuator:mock:valve-1"));
        let node = |n: usize, name, zones: &[&'static str]| Candidate {
            device: &ids[n],
            name,
            capabilities: &offered,
            zones: zones.iter().copied().collect(),
            mints: true,
        };
        let all = [
            node(0, "north", &["a", "roof"]),
            node(1, "south", &["b", "roof"]),
            node(2, "west", &[]),
        ];
        let target: Capability = "actuator:mock:valve-1".parse().unwrap();
        let plain = Wanted {
            target: &target,
            executor: None,
            zone: None,
            origins: &[],
            evidence_zones: &[],
        };
        let refusal = route(&plain, &all).unwrap_err();
        assert_eq!(refusal.code, Code::TargetAmbiguous);
        assert!(refusal.message.contains("north") && refusal.message.contains("south"));
        for id in &ids[..3] {
            let cited = Wanted {
                origins: std::slice::from_ref(id),
                ..plain.clone()
            };
            assert_eq!(route(&cited, &all), Ok(id));
        }
        let both = [ids[0].clone(), ids[1].clone()];
        let cited = Wanted {
            origins: &both,
            ..plain.clone()
        };
        assert_eq!(route(&cited, &all).unwrap_err().code, Code::TargetAmbiguous);
        // A sensor of its own in zone b; and a zone that two of them have.
        let (sensor, b, roof) = ([id(9)], ["b".to_owned()], ["roof".to_owned()]);
        let cited = |zones| Wanted {
            origins: &sensor,
            evidence_zones: zones,
            ..plain.clone()
        };
        assert_eq!(route(&cited(&b), &all), Ok(&ids[1]));
        let code = |wanted: &Wanted<'_>| route(wanted, &all).unwrap_err().code;
        assert_eq!(code(&cited(&roof)), Code::TargetAmbiguous);
        let named = |zone| Wanted {
            zone: Some(zone),
            ..plain.clone()
        };
        assert_eq!(route(&named("a"), &all), Ok(&ids[0]));
        assert_eq!(code(&named("c")), Code::UnknownTarget);
    }
}
