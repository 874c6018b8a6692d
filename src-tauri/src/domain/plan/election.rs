//! The election of gen-1 nodes: which planner acts by itself, as they compute it among the nodes they
//! are linked with. Ours stand in it as substitutes: a gen-1 planner, which has a model, comes before
//! our rules, and where there is none ours is asked.

use crate::domain::base::DeviceId;

/// The role that outranks all others in the election.
const PLANNER: &str = "planner";
/// The role that stands in where there is no planner.
const STANDBY: &str = "standby-planner";

/// The role that a node of ours tells gen-1 nodes.
pub fn role_for_gen1(role: &str) -> &str {
    match role {
        PLANNER | STANDBY => STANDBY,
        other => other,
    }
}

/// A node in the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The device.
    pub device: &'a DeviceId,
    /// Its role as gen-1 nodes are told it.
    pub role: &'a str,
}

/// Whether a role can lead.
pub fn is_eligible(role: &str) -> bool {
    matches!(role, PLANNER | STANDBY)
}

/// Who leads: the highest role, then the lowest device id; `None` without a planner.
pub fn leader<'a>(candidates: &[Candidate<'a>]) -> Option<Candidate<'a>> {
    let eligible = candidates.iter().filter(|c| is_eligible(c.role));
    eligible
        .min_by_key(|c| (c.role != PLANNER, c.device))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_comes_first_then_the_lowest_id_and_ours_give_way() {
        let mut ids = [1u8, 2, 3].map(|n| DeviceId::of_public_key(&[n; 32]));
        ids.sort();
        let of = |n: usize, role| Candidate {
            device: &ids[n],
            role,
        };
        assert_eq!(leader(&[of(0, "field"), of(1, "node")]), None);
        let standby = of(0, role_for_gen1("planner"));
        assert_eq!(
            leader(&[standby, of(1, "planner"), of(2, "planner")]),
            Some(of(1, "planner"))
        );
        assert_eq!(leader(&[of(1, STANDBY), standby]), Some(standby));
        assert_eq!(role_for_gen1("field"), "field");
    }
}
