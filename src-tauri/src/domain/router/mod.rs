//! From a capability to the node that has it: local first, then an exact match, then the nearest
//! pattern, ties to the lowest device id (gen-1 §9).

use super::base::{Code, DeviceId, Refusal};
use super::capability::{Capability, Pattern};

/// A node that could serve.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The device.
    pub device: &'a DeviceId,
    /// What it says it offers.
    pub capabilities: &'a [String],
    /// Whether it is this node.
    pub local: bool,
    /// Whether we hold a link to it now.
    pub reachable: bool,
}

fn score(offered: &str, wanted: &Capability) -> u8 {
    if offered == wanted.as_str() {
        return 3;
    }
    // A gen-1 node offers `actuator:mock` and serves `actuator:mock:valve-1`.
    if wanted
        .as_str()
        .strip_prefix(offered)
        .is_some_and(|rest| rest.starts_with(':'))
    {
        return 2;
    }
    let pattern = offered.parse::<Pattern>();
    u8::from(pattern.is_ok_and(|p| p.matches(wanted)))
}

/// Finds the node for a capability.
///
/// # Errors
/// `UNKNOWN_TARGET` if nobody offers it, `EXECUTOR_UNREACHABLE` if only absent nodes do.
pub fn route<'a>(
    wanted: &Capability,
    candidates: &[Candidate<'a>],
) -> Result<&'a DeviceId, Refusal> {
    let best = candidates
        .iter()
        .filter_map(|c| {
            let fit = c
                .capabilities
                .iter()
                .map(|offered| score(offered, wanted))
                .max()
                .unwrap_or(0);
            (fit > 0).then_some((c, fit))
        })
        .max_by(|(a, fit_a), (b, fit_b)| {
            (a.reachable, a.local, fit_a)
                .cmp(&(b.reachable, b.local, fit_b))
                .then(b.device.cmp(a.device))
        });
    match best {
        None => Err(Refusal::new(
            Code::UnknownTarget,
            format!(
                "no node known here offers {wanted}; check the spelling, or whether its node has ever connected"
            ),
        )),
        Some((c, _)) if !c.reachable => Err(Refusal::new(
            Code::ExecutorUnreachable,
            format!(
                "device {} offers {wanted} but is not connected",
                c.device.short()
            ),
        )),
        Some((c, _)) => Ok(c.device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_then_exact_then_prefix_then_pattern() {
        let ids: Vec<DeviceId> = (0..4u8)
            .map(|n| DeviceId::of_public_key(&[n; 32]))
            .collect();
        let caps = |c: &str| vec![c.to_owned()];
        let (exact, prefix, pattern) = (
            caps("actuator:mock:valve-1"),
            caps("actuator:mock"),
            caps("actuator:*"),
        );
        let wanted: Capability = "actuator:mock:valve-1".parse().unwrap();
        let c = |i: usize, capabilities, local, reachable| Candidate {
            device: &ids[i],
            capabilities,
            local,
            reachable,
        };
        let all = [
            c(0, &prefix, false, true),
            c(1, &exact, false, true),
            c(2, &pattern, false, true),
        ];
        assert_eq!(route(&wanted, &all), Ok(&ids[1]));
        let with_local = [all[1].clone(), c(3, &pattern, true, true)];
        assert_eq!(route(&wanted, &with_local), Ok(&ids[3]));
        assert_eq!(
            route(&wanted, &[c(0, &exact, false, false)])
                .unwrap_err()
                .code,
            Code::ExecutorUnreachable
        );
        let other: Capability = "actuator:pump:main".parse().unwrap();
        assert_eq!(
            route(&other, &[c(0, &exact, false, true)])
                .unwrap_err()
                .code,
            Code::UnknownTarget
        );
    }
}
