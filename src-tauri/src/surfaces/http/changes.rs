//! What a session of a browser can make the node keep: each route that leaves something behind at every call comes out of the
//! session's share of an hour. What stops, pauses, ends or takes back is never refused; where it changes nothing it leaves nothing
//! behind beyond a share either (SECURITY.md lists both).

use super::auth::route;
use crate::operator::routes::{self, Verb};

/// The routes below `admin` whose every call leaves an event, an audit entry, a row or a message to somebody.
const COUNTED: [(Verb, &str); 14] = [
    route(&routes::PLANNER_RESUME),
    route(&routes::ASK),
    route(&routes::LATER),
    route(&routes::MESSAGE_SEND),
    route(&routes::MESSAGE_AGAIN),
    route(&routes::ALERT_MUTE),
    route(&routes::NOTIFY_TEST),
    route(&routes::PROPOSE),
    route(&routes::STANDING_GIVE),
    route(&routes::CHANNEL_GIVE),
    route(&routes::CONSOLE_STANDING),
    route(&routes::ENROL_ASK),
    route(&routes::PUSH_ON),
    // A look is a reading more, which lies in the log and goes to the mesh.
    route(&routes::DEVICE_LOOK),
];

/// Whether a route comes out of the share of the session that asks.
pub(super) fn are_counted(verb: Verb, path: &str) -> bool {
    COUNTED.contains(&(verb, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::access::Scope;

    /// Those below `admin` that are not counted, and why none of them fills anything.
    const BOUNDED: [(Verb, &str); 23] = [
        // They stop: never refused. One that changes nothing is recorded within a share of its own.
        route(&routes::ESTOP_ENGAGE),
        route(&routes::PROPOSAL_STOP),
        // Its reasons are few until it is resumed, which is counted.
        route(&routes::PLANNER_PAUSE),
        // Each ends something that was begun, once.
        route(&routes::LATER_CANCEL),
        route(&routes::MESSAGE_CANCEL),
        route(&routes::ALERT_ACKNOWLEDGE),
        route(&routes::ALERT_UNMUTE),
        route(&routes::PROPOSAL_WITHDRAW),
        route(&routes::STANDING_END),
        route(&routes::CHANNEL_END),
        route(&routes::CONSOLE_STANDING_END),
        route(&routes::SESSION_END),
        route(&routes::SESSION_END_ONE),
        route(&routes::PUSH_OFF),
        // A decision is used once; one that does not count is recorded within a share of all, and passphrases are few.
        route(&routes::PROPOSAL_DECIDE),
        route(&routes::CONSOLE_DECIDE),
        // A lease of what moves: it is kept in memory, and one that is not renewed stops.
        route(&routes::PROPOSAL_HOLD),
        // A few in a minute.
        route(&routes::PUSH_TEST),
        // Models have budgets of their own, and nothing is kept of it but the sum.
        route(&routes::INFER),
        // They keep nothing, or no session may ask for them.
        route(&routes::MODELS_EXPLAIN),
        route(&routes::POLICY_EXPLAIN),
        route(&routes::ROUTING_EXPLAIN),
        route(&routes::CONSOLE_LINK),
    ];

    #[test]
    fn every_route_that_changes_something_comes_out_of_a_share_or_fills_nothing() {
        let changing = routes::ALL
            .iter()
            .filter(|route| route.verb != Verb::Get && route.scope < Scope::Admin);
        let known = |route: &&routes::Described| {
            let of = (route.verb, route.path);
            COUNTED.contains(&of) != BOUNDED.contains(&of)
        };
        let unknown: Vec<_> = changing.clone().filter(|route| !known(route)).collect();
        assert!(unknown.is_empty(), "COUNTED or BOUNDED? {unknown:?}");
        assert_eq!(changing.count(), COUNTED.len() + BOUNDED.len());
    }
}
