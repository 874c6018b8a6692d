//! The process dies at every step of what is written ahead (`adapters/crash.rs`), and starts again: nothing that was
//! acknowledged is lost, nothing acts twice, what was interrupted is reported, and the valve is closed.

use serde_json::Value;

use crate::crash::{audit_is_whole, audited, outcomes, valve};
use crate::process::*;

/// Every way a proposal may end once it has begun.
const ENDS: [&str; 3] = ["completed", "failed", "unknown"];

/// A point on the way of one proposal from draft to outcome, and what the next start finds.
struct Point {
    /// As `CLAWMESH_CRASH` names it.
    at: &'static str,
    /// How long the valve was to be open, in seconds.
    seconds: u32,
    /// How the proposal stands after the next start; `None` where it was never stored.
    status: Option<&'static str>,
    /// How often the valve was opened.
    opened: usize,
}

const fn point(
    at: &'static str,
    seconds: u32,
    status: Option<&'static str>,
    opened: usize,
) -> Point {
    Point {
        at,
        seconds,
        status,
        opened,
    }
}

const WAITS: Option<&str> = Some("awaiting_approval");
const UNKNOWN: Option<&str> = Some("unknown");

/// What an operator asked for before the process died, and whether that was acknowledged.
struct Asked {
    proposed: Option<String>,
    approved: bool,
}

/// Whether the node answers still; one that died has closed what the command waited for.
fn lives(place: &Place) -> bool {
    matches!(place.run(&["status", "--json"]).code, 0 | 7)
}

/// Asks and approves, as a person does who is refused for a moment, until that is taken or the process has died.
fn ask(place: &Place, seconds: u32) -> Asked {
    let proposed = eventually("the wish is taken, or the node has died", || {
        let taken = place.try_propose(seconds);
        (taken.is_some() || !lives(place)).then_some(taken)
    });
    let approved = proposed.as_ref().is_some_and(|id| {
        eventually("the approval is taken, or the node has died", || {
            let said = place.run(&["approve", id, "--json"]);
            eprintln!("{said:?}");
            (said.code == 0 || !lives(place)).then_some(said.code == 0)
        })
    });
    Asked { proposed, approved }
}

fn only_proposal(place: &Place) -> Option<Value> {
    let all = place.json(&["proposals", "--all"]);
    let all = all.as_array().unwrap();
    assert!(all.len() <= 1, "{all:?}");
    all.first().cloned()
}

fn opened(place: &Place, id: &str) -> usize {
    place.moves(id).iter().filter(|p| *p == "open").count()
}

fn dies_and_starts_again(point: &Point) {
    let place = Place::new();
    place.enrolled();
    let at = point.at;
    let node = place.start_to_crash(at, &FIELD);
    let asked = ask(&place, point.seconds);
    node.was_killed(at);

    let node = place.field(&[]);
    assert_ne!(valve(&place).as_deref(), Some("open"), "{at}");
    let Some(found) = only_proposal(&place) else {
        assert_eq!((point.status, asked.proposed), (None, None), "{at}");
        assert_eq!(node.stop(), 0);
        return;
    };
    let id = found["id"].as_str().unwrap().to_owned();
    assert!(asked.proposed.is_none_or(|told| told == id), "{at}");
    assert_eq!(
        found["status"].as_str(),
        point.status,
        "{at}: {found}, acknowledged: {}",
        asked.approved
    );
    assert_eq!(opened(&place, &id), point.opened, "{at}");
    if point.status == WAITS {
        assert!(!asked.approved, "{at}: an approval that counted is lost");
        assert_eq!(audited(&place, &id, "decision.approve"), 0, "{at}");
        place.measured();
        let ended = place.json(&["approve", &id, "--wait"]);
        assert_eq!(ended["status"], "completed", "{at}: {ended}");
        assert_eq!(place.moves(&id), ["open", "closed"], "{at}");
    } else {
        let status = found["status"].as_str().unwrap();
        assert!(ENDS.contains(&status), "{at}: {found}");
        assert_eq!(audited(&place, &id, "decision.approve"), 1, "{at}");
        // What ended stays so: no second approval opens the valve.
        let again = place.run(&["approve", &id]);
        assert_eq!(again.code, 1, "{at}: {again:?}");
        assert_eq!(opened(&place, &id), point.opened, "{at}");
        assert_eq!(outcomes(&place, &id), [status], "{at}");
    }
    audit_is_whole(&place);
    assert_eq!(node.stop(), 0);
}

/// Runs what does not depend on each other beside each other.
fn each<T: Sync>(all: &[T], check: impl Fn(&T) + Sync) {
    std::thread::scope(|threads| {
        for one in all {
            threads.spawn(|| check(one));
        }
    });
}

#[test]
fn killed_at_any_step_before_the_valve_moves_it_does_not_move() {
    let points = [
        point("mint.before", 20, None, 0),
        point("mint.after", 20, WAITS, 0),
        point("decide.before", 1, WAITS, 0),
        point("decide.after", 20, UNKNOWN, 0),
        point("mark.before", 20, UNKNOWN, 0),
        point("mark.after", 20, UNKNOWN, 0),
        point("arm.before", 20, UNKNOWN, 0),
        point("act.before", 20, UNKNOWN, 0),
    ];
    each(&points, dies_and_starts_again);
}

#[test]
fn killed_at_any_step_after_the_valve_moved_it_is_closed_and_reported_once() {
    let points = [
        point("act.after", 20, UNKNOWN, 1),
        point("end.before", 1, UNKNOWN, 1),
        point("end.after", 1, UNKNOWN, 1),
        point("outcome.before", 1, UNKNOWN, 1),
        point("outcome.after", 1, Some("completed"), 1),
    ];
    each(&points, dies_and_starts_again);
}

#[test]
fn killed_again_while_it_recovers_it_reports_one_outcome() {
    let place = Place::new();
    place.enrolled();
    let node = place.start_to_crash("act.after", &FIELD);
    let id = ask(&place, 20).proposed.unwrap();
    node.was_killed("act.after");
    for at in ["outcome.before", "outcome.after"] {
        let started = place.start_with(&place.state(), &FIELD, &[("CLAWMESH_CRASH", at)]);
        let why = started.err().unwrap_or_else(|| panic!("{at}: it started"));
        assert!(why.contains("signal: 9"), "{at}: {why}");
    }
    let node = place.field(&[]);
    assert_eq!(place.status_of(&id), "unknown");
    assert_eq!(outcomes(&place, &id), ["unknown"]);
    assert_eq!(opened(&place, &id), 1);
    assert_eq!(valve(&place).as_deref(), Some("closed"));
    audit_is_whole(&place);
    assert_eq!(node.stop(), 0);
}

/// A node with its valve open, which dies at a point that `then` leads to.
fn with_the_valve_open(at: &str, then: &[&str]) -> (Place, String, Said) {
    let place = Place::new();
    place.enrolled();
    let node = place.start_to_crash(at, &FIELD);
    let id = ask(&place, 20).proposed.unwrap();
    eventually("the valve is open", || {
        (place.moves(&id) == ["open"]).then_some(())
    });
    let then: Vec<&str> = then
        .iter()
        .map(|word| if *word == "ID" { &id } else { *word })
        .collect();
    let said = place.run(&then);
    node.was_killed(at);
    (place, id, said)
}

#[test]
fn killed_while_a_stop_is_written_the_valve_is_closed_all_the_same() {
    each(&["stop.before", "stop.after"], |at| {
        let (place, id, said) = with_the_valve_open(at, &["stop", "ID"]);
        assert_ne!(said.code, 0, "{at}: {said:?}");
        let node = place.field(&[]);
        let status = place.status_of(&id);
        assert!(["failed", "unknown"].contains(&status.as_str()), "{status}");
        assert_eq!(outcomes(&place, &id), [status]);
        assert_eq!(opened(&place, &id), 1, "{at}");
        assert_eq!(valve(&place).as_deref(), Some("closed"), "{at}");
        audit_is_whole(&place);
        assert_eq!(node.stop(), 0);
    });
}

#[test]
fn killed_while_an_emergency_stop_is_written_it_holds_if_it_is_on_disk() {
    each(&["estop.before", "estop.after"], |at| {
        let (place, id, said) = with_the_valve_open(at, &["estop", "--reason", "smoke"]);
        assert_ne!(said.code, 0, "{at}: {said:?}");
        let node = place.field(&[]);
        let latched = place.json(&["estop", "status"])["latched"].clone();
        assert_eq!(latched, *at == "estop.after", "{at}");
        let status = place.status_of(&id);
        assert!(["failed", "unknown"].contains(&status.as_str()), "{status}");
        assert_eq!(opened(&place, &id), 1, "{at}");
        assert_eq!(valve(&place).as_deref(), Some("closed"), "{at}");
        audit_is_whole(&place);
        assert_eq!(node.stop(), 0);
    });
}

#[test]
fn killed_while_an_emergency_stop_is_released_it_holds_until_that_is_on_disk() {
    each(&["estop release.before", "estop release.after"], |at| {
        let place = Place::new();
        let node = place.start_to_crash(at, &FIELD);
        place.json(&["estop", "--reason", "smoke"]);
        let said = place.run(&["estop", "release", "--reason", "it was steam"]);
        assert_ne!(said.code, 0, "{at}: {said:?}");
        node.was_killed(at);
        let node = place.field(&[]);
        let latched = place.json(&["estop", "status"])["latched"].clone();
        assert_eq!(latched, *at == "estop release.before", "{at}");
        audit_is_whole(&place);
        assert_eq!(node.stop(), 0);
    });
}

#[test]
fn killed_while_a_no_is_written_nothing_moves_and_what_is_on_disk_stays() {
    let cases = [
        ("decide.before", "reject", "awaiting_approval"),
        ("decide.after", "reject", "rejected"),
        ("withdraw.before", "withdraw", "awaiting_approval"),
        ("withdraw.after", "withdraw", "withdrawn"),
    ];
    each(&cases, |(at, word, status)| {
        let place = Place::new();
        place.enrolled();
        let node = place.start_to_crash(at, &FIELD);
        let id = place.try_propose(20).unwrap();
        let said = place.run(&[word, &id]);
        assert_ne!(said.code, 0, "{at}: {said:?}");
        node.was_killed(at);
        let node = place.field(&[]);
        assert_eq!(place.status_of(&id), *status, "{at}");
        assert!(place.moves(&id).is_empty(), "{at}");
        audit_is_whole(&place);
        assert_eq!(node.stop(), 0);
    });
}
