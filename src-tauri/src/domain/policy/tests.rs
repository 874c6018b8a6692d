//! The policy: each check, and what must hold for every policy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::base::{Code, DeviceId, Taint, Tier, TimeMs};
use crate::domain::capability::{Capability, Params};
use crate::domain::world::{Fact, SignatureState};

const NOON: TimeMs = TimeMs(1_767_268_800_000);

fn own() -> DeviceId {
    DeviceId::of_public_key(&[1; 32])
}

fn fact(metric: &str, value: f64, signature: SignatureState) -> Fact {
    Fact {
        metric: metric.into(),
        zone: None,
        origin: own(),
        value,
        unit: None,
        frame_id: uuid::Uuid::nil().into(),
        content: Digest::of(&[b"f"]),
        claimed: Tier::T2,
        effective: Tier::T2,
        signature,
        taint: BTreeSet::new(),
        sensed_at: NOON,
        received_at: NOON,
        private: false,
    }
}

fn action(operation: &str, params: serde_json::Value) -> Action {
    let target: Capability = "actuator:mock:valve-1".parse().unwrap();
    let params: Params = params.as_object().unwrap().clone().into_iter().collect();
    Action::new(target, operation, params).unwrap()
}

fn peer() -> DeviceId {
    DeviceId::of_public_key(&[4; 32])
}

fn ask(
    policy: &Policy,
    action: &Action,
    requester: Requester,
    tainted: bool,
    facts: Vec<Fact>,
) -> Ruling {
    ask_from(policy, action, requester, &own(), tainted, facts)
}

fn ask_from(
    policy: &Policy,
    action: &Action,
    requester: Requester,
    from: &DeviceId,
    tainted: bool,
    facts: Vec<Fact>,
) -> Ruling {
    let taint = if tainted {
        [Taint::Llm].into()
    } else {
        BTreeSet::new()
    };
    let evidence = [EvidenceView {
        origin: own(),
        effective: Tier::T2,
        age_ms: 1_000,
        signature: SignatureState::Verified,
    }];
    let request = Request {
        action,
        requester,
        from,
        taint: &taint,
        evidence: &evidence,
        phase: Phase::Propose,
        by_gen1: false,
        now_set: None,
    };
    policy.evaluate(&request, &facts, &History::default(), NOON, &own())
}

fn denied(ruling: Ruling) -> Code {
    match ruling {
        Ruling::Deny(denial) => denial.code,
        Ruling::Allow(terms) => panic!("allowed: {terms:?}"),
    }
}

const L1: &str = r#"
version = 1
[[rule]]
name = "auto"
capability = "actuator:mock:valve-1"
operations = ["open"]
level = "L1"
safe_state = "close"
deadline_sec = 10
requesters = ["rules", "llm"]
[[rule.condition]]
metric = "moisture"
origin = "self"
op = "<"
value = 20.0
max_age_sec = 60
"#;

#[test]
fn the_starter_policy_passes_its_own_tests_and_a_broken_copy_names_the_test() {
    load(STARTER_POLICY).unwrap();
    let broken = STARTER_POLICY
        .replace("max = 20", "max = 4000")
        .replace("deadline_sec = 20", "deadline_sec = 4000");
    let error = load(&broken).unwrap_err().to_string();
    assert!(error.contains("not longer than 20 seconds"), "{error}");
}

#[test]
fn l1_is_for_untainted_rules_whose_condition_the_executor_sees() {
    let policy = load(L1).unwrap();
    let open = action("open", json!({}));
    let dry = |s| vec![fact("moisture", 10.0, s)];
    let level = |ruling| match ruling {
        Ruling::Allow(terms) => terms.level,
        Ruling::Deny(denial) => panic!("{denial:?}"),
    };
    assert_eq!(
        level(ask(
            &policy,
            &open,
            Requester::Rules,
            false,
            dry(SignatureState::Verified)
        )),
        Level::L1
    );
    assert_eq!(
        level(ask(
            &policy,
            &open,
            Requester::Rules,
            true,
            dry(SignatureState::Verified)
        )),
        Level::L2
    );
    assert_eq!(
        level(ask(
            &policy,
            &open,
            Requester::Llm,
            false,
            dry(SignatureState::Verified)
        )),
        Level::L2
    );
    let wet = vec![fact("moisture", 30.0, SignatureState::Verified)];
    assert_eq!(
        denied(ask(&policy, &open, Requester::Rules, false, wet)),
        Code::PolicyDenied
    );
    assert_eq!(
        denied(ask(&policy, &open, Requester::Rules, false, vec![])),
        Code::PolicyDenied
    );
    assert_eq!(
        denied(ask(
            &policy,
            &open,
            Requester::Person,
            false,
            dry(SignatureState::Verified)
        )),
        Code::PolicyDenied
    );
    let mut tainted = dry(SignatureState::Verified);
    tainted[0].taint.insert(Taint::Llm);
    assert_eq!(
        denied(ask(&policy, &open, Requester::Rules, false, tainted)),
        Code::PolicyDenied
    );
}

#[test]
fn interlocks_fail_safe() {
    let policy = load(STARTER_POLICY).unwrap();
    let open = action("open", json!({"durationSec": 5}));
    let v = SignatureState::Verified;
    let ruling = |facts| ask(&policy, &open, Requester::Person, false, facts);
    assert!(matches!(
        ruling(vec![fact("tank.level", 50.0, v)]),
        Ruling::Allow(_)
    ));
    assert_eq!(denied(ruling(vec![])), Code::InterlockOpen);
    assert_eq!(
        denied(ruling(vec![fact("tank.level", f64::NAN, v)])),
        Code::InterlockOpen
    );
    assert_eq!(
        denied(ruling(vec![
            fact("tank.level", 50.0, v),
            fact("tank.level", 2.0, v)
        ])),
        Code::InterlockOpen
    );
    let mut foreign = fact("tank.level", 50.0, v);
    foreign.origin = DeviceId::of_public_key(&[9; 32]);
    assert_eq!(denied(ruling(vec![foreign])), Code::InterlockOpen);
    let mut old = fact("tank.level", 50.0, v);
    old.sensed_at = TimeMs(NOON.0 - 61_000);
    assert_eq!(denied(ruling(vec![old])), Code::InterlockOpen);
}

#[test]
fn what_an_interlock_says_of_a_private_reading_is_not_its_value() {
    let policy = load(STARTER_POLICY).unwrap();
    let open = action("open", json!({"durationSec": 5}));
    let said = |private| {
        let reading = Fact {
            private,
            ..fact("tank.level", 2.75, SignatureState::Verified)
        };
        policy
            .interlocks_hold(&open, &vec![reading], NOON, &own())
            .unwrap_err()
    };
    assert!(said(false).contains("2.75"));
    let private = said(true);
    assert!(
        private.contains("is private") && !private.contains("2.75"),
        "{private}"
    );
}

#[test]
fn caps_count_past_runs() {
    let text = L1.replace(
        "[[rule.condition]]",
        "[rule.caps]\nruns_per_hour = 2\ncooldown_sec = 600\n[[rule.condition]]",
    );
    let policy = load(&text).unwrap();
    let open = action("open", json!({}));
    let run = |ago_ms: u64| RunView {
        rule: "auto".into(),
        target: "actuator:mock:valve-1".into(),
        operation: "open".into(),
        started_at: TimeMs(NOON.0 - ago_ms),
        duration_ms: 1_000,
    };
    let taint = BTreeSet::new();
    let request = Request {
        action: &open,
        requester: Requester::Rules,
        from: &own(),
        taint: &taint,
        evidence: &[],
        phase: Phase::Execute,
        by_gen1: false,
        now_set: None,
    };
    let facts = vec![fact("moisture", 10.0, SignatureState::Verified)];
    let ruling = |runs| policy.evaluate(&request, &facts, &History { runs }, NOON, &own());
    assert!(matches!(ruling(vec![run(1_800_000)]), Ruling::Allow(_)));
    assert_eq!(
        denied(ruling(vec![run(1_800_000), run(1_200_000)])),
        Code::RateExceeded
    );
    assert_eq!(
        denied(ruling(vec![run(300_000)])),
        Code::RateExceeded,
        "cooldown"
    );
}

#[test]
fn what_is_unsound_is_refused_with_its_place() {
    for (from, to, word) in [
        ("level = \"L1\"", "level = \"L0\"", "L0"),
        ("level = \"L1\"", "level = \"L9\"", "L9"),
        ("origin = \"self\"\n", "", "origin"),
        ("deadline_sec = 10", "deadline_sec = 0", "deadline_sec"),
        ("deadline_sec = 10", "deadline_sek = 10", "deadline_sek"),
        ("version = 1", "version = 2", "version"),
        ("actuator:mock:valve-1", "*", "actuator:"),
        ("op = \"<\"", "op = \"~\"", "op"),
    ] {
        let error = load(&L1.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(word), "{from} -> {to}: {error}");
    }
}

#[test]
fn hours_wrap_over_midnight() {
    let night = Hours {
        from_min: 22 * 60,
        to_min: 4 * 60,
        zone_min: 0,
    };
    let at = |h: u64| TimeMs(h * 3_600_000);
    assert!(
        night.contain(at(23))
            && night.contain(at(3))
            && !night.contain(at(4))
            && !night.contain(at(12))
    );
    // Two hours ahead of UTC it is night from 20 to 2 o'clock UTC.
    let east = Hours {
        zone_min: 120,
        ..night
    };
    assert!(east.contain(at(20)) && east.contain(at(1)) && !east.contain(at(2)));
    assert_eq!(east.to_string(), "22:00 to 04:00 UTC+02:00");
    let west = Hours {
        zone_min: -210,
        ..night
    };
    assert_eq!(west.to_string(), "22:00 to 04:00 UTC-03:30");
}

#[test]
fn hours_are_in_the_zone_that_is_written_and_shown_with_it() {
    let policy = |zone: &str| {
        let hours =
            format!("hours = {{ from = \"11:30\", to = \"12:30\"{zone} }}\n[[rule.condition]]");
        load(&L1.replace("[[rule.condition]]", &hours))
    };
    let open = action("open", json!({}));
    let dry = || vec![fact("moisture", 10.0, SignatureState::Verified)];
    let ruling = |zone: &str| {
        let policy = policy(zone).unwrap();
        ask(&policy, &open, Requester::Rules, false, dry())
    };
    let Ruling::Allow(terms) = ruling("") else {
        panic!("it is noon UTC")
    };
    let shown = terms.checks.iter().find(|c| c.name == "hours").unwrap();
    assert_eq!(shown.detail, "11:30 to 12:30 UTC");
    let Ruling::Deny(denial) = ruling(", zone = \"+02:00\"") else {
        panic!("it is two in the afternoon there")
    };
    assert!(denial.message.contains("UTC+02:00"), "{}", denial.message);
    for wrong in ["Europe/Berlin", "local", "+15:00", "+2", "02:00"] {
        let error = policy(&format!(", zone = \"{wrong}\""))
            .unwrap_err()
            .to_string();
        assert!(error.contains("zone"), "{wrong}: {error}");
    }
}

#[test]
fn l1_is_for_this_nodes_rules_and_for_the_devices_that_the_rule_names() {
    let named = L1.replace(
        "deadline_sec = 10",
        &format!("deadline_sec = 10\nfrom = [\"{}\"]", peer()),
    );
    let open = action("open", json!({}));
    let level = |text: &str, requester, from: &DeviceId, tainted| {
        let facts = vec![fact("moisture", 10.0, SignatureState::Verified)];
        match ask_from(&load(text).unwrap(), &open, requester, from, tainted, facts) {
            Ruling::Allow(terms) => (terms.level, terms.class),
            Ruling::Deny(denial) => panic!("{denial:?}"),
        }
    };
    let (l1, l2, rules) = (Level::L1, Level::L2, Requester::Rules);
    assert_eq!(level(L1, rules, &own(), false), (l1, Class::OwnRules));
    assert_eq!(level(L1, rules, &peer(), false), (l2, Class::PeerRules));
    assert_eq!(
        level(&named, rules, &peer(), false),
        (l1, Class::NamedRules)
    );
    assert_eq!(level(&named, rules, &peer(), true), (l2, Class::Model));
    assert_eq!(
        level(&named, Requester::Llm, &peer(), false),
        (l2, Class::Model)
    );
    let other = DeviceId::of_public_key(&[5; 32]);
    assert_eq!(level(&named, rules, &other, false), (l2, Class::PeerRules));
    let anybody = named.replace("[\"rules\", \"llm\"]", "[\"rules\", \"person\", \"llm\"]");
    for (from, class) in [(own(), Class::Person), (peer(), Class::PeerPerson)] {
        let found = level(&anybody, Requester::Person, &from, false);
        assert_eq!(found, (l2, class), "a typed wish is no verification");
    }
    let at_l2 = named.replace("level = \"L1\"", "level = \"L2\"");
    assert!(load(&at_l2).unwrap_err().to_string().contains("from"));
}

/// Rules of one line each: name, capability, operations, level.
fn rules(list: &[(&str, &str, &str, &str)]) -> Policy {
    let rule = |(name, capability, operations, level): &(&str, &str, &str, &str)| {
        format!(
            "[[rule]]\nname = \"{name}\"\ncapability = \"{capability}\"\noperations = [{operations}]\n\
             level = \"{level}\"\nsafe_state = \"close\"\ndeadline_sec = 5\n"
        )
    };
    let text: String = list.iter().map(rule).collect();
    load(&format!("version = 1\n{text}")).unwrap()
}

#[test]
fn a_rule_that_is_never_reached_and_a_weaker_one_before_a_stronger_are_told_with_their_lines() {
    let faults = |list: &[(&str, &str, &str, &str)]| rules(list).faults(&[]);
    let all = ("all", "actuator:*", "\"*\"", "L2");
    let valve = ("valve", "actuator:mock:valve-*", "\"open\"", "L3");
    let found = faults(&[all, valve]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("line 10, rule \"valve\"") && found[0].contains("never be reached"),
        "{found:?}"
    );
    assert_eq!(
        faults(&[valve, all]),
        [""; 0],
        "the narrower rule first is an exception"
    );
    let relaxed = ("valve", "actuator:mock:valve-*", "\"open\"", "L2");
    let strict = ("all", "actuator:*", "\"*\"", "L3");
    assert_eq!(
        faults(&[relaxed, strict]),
        [""; 0],
        "also where it is the weaker one"
    );
    let some = ("some", "actuator:mock:valve-1", "\"open\", \"close\"", "L2");
    let found = faults(&[("one", "actuator:mock:*", "\"open\"", "L2"), some]);
    assert!(found[0].contains("never reached for \"open\""), "{found:?}");
    let found = faults(&[
        ("north", "actuator:*:valve-1", "\"open\"", "L2"),
        ("mock", "actuator:mock:*", "\"open\"", "L3"),
    ]);
    assert!(found[0].contains("weaker rule \"north\""), "{found:?}");
    assert_eq!(load(STARTER_POLICY).unwrap().faults(&[]), [""; 0]);
}

#[test]
fn operations_are_known_to_an_actuator_or_all_of_them() {
    let offered: Vec<Offered> = vec![Offered {
        capability: "actuator:mock:valve-1".parse().unwrap(),
        operations: vec!["open".to_owned(), "close".to_owned()],
        safe: Some("close".to_owned()),
        by_gen1: false,
    }];
    let found =
        |operations: &str| rules(&[("a", "actuator:mock:*", operations, "L2")]).faults(&offered);
    assert_eq!(found("\"open\""), [""; 0]);
    assert_eq!(found("\"*\""), [""; 0]);
    assert!(found("\"open\", \"opne\"")[0].contains("opne"));
    let elsewhere = rules(&[("a", "actuator:crane:*", "\"lift\"", "L2")]).faults(&offered);
    assert_eq!(
        elsewhere, [""; 0],
        "what this node does not have it cannot judge"
    );
    let policy = rules(&[("a", "actuator:mock:*", "\"*\"", "L2")]);
    assert!(policy.rules()[0].covers(&action("anything", json!({}))));
    let error = load(&L1.replace("[\"open\"]", "[\"op*\"]"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("op*"), "{error}");
}

#[test]
fn the_evidence_tells_how_long_the_proposal_may_wait() {
    let policy = load(STARTER_POLICY).unwrap();
    let open = action("open", json!({"durationSec": 5}));
    let facts = vec![fact("tank.level", 50.0, SignatureState::Verified)];
    let Ruling::Allow(terms) = ask(&policy, &open, Requester::Person, false, facts) else {
        panic!("denied")
    };
    assert_eq!(terms.fresh_for_ms, Some(899_000));
}

const STANDING: &str = r#"
version = 1
[[rule]]
name = "pump"
capability = "actuator:mock:valve-1"
operations = ["open"]
level = "L2"
standing_approvals = true
safe_state = "close"
deadline_sec = 10
from = ["PEER"]
[[rule.condition]]
metric = "moisture"
origin = "self"
op = "<"
value = 20.0
max_age_sec = 60
"#;

#[test]
fn a_standing_approval_may_count_for_a_person_here_and_a_named_rule_and_never_for_what_a_model_or_a_peer_says()
 {
    let text = STANDING.replace("PEER", peer().as_str());
    let policy = load(&text).unwrap();
    let open = action("open", json!({}));
    let said = |policy: &Policy, requester, from: &DeviceId, tainted, moisture| {
        let facts = vec![fact("moisture", moisture, SignatureState::Verified)];
        match ask_from(policy, &open, requester, from, tainted, facts) {
            Ruling::Allow(terms) => {
                assert_eq!(terms.level, Level::L2, "it is L2 in any case");
                terms.standing
            }
            Ruling::Deny(denial) => panic!("denied: {denial:?}"),
        }
    };
    let (own, peer, other) = (own(), peer(), DeviceId::of_public_key(&[9; 32]));
    for (requester, from) in [
        (Requester::Person, &own),
        (Requester::Rules, &own),
        (Requester::Rules, &peer),
    ] {
        said(&policy, requester, from, false, 10.0).unwrap();
        said(&policy, requester, from, true, 10.0).unwrap_err();
        said(&policy, requester, from, false, 30.0).unwrap_err();
    }
    for (requester, from) in [
        (Requester::Llm, &own),
        (Requester::Llm, &peer),
        (Requester::Person, &peer),
        (Requester::Rules, &other),
    ] {
        said(&policy, requester, from, false, 10.0).unwrap_err();
    }
    let silent = text
        .replace("standing_approvals = true", "")
        .replace("from = ", "# ");
    let silent = load(&silent).unwrap();
    said(&silent, Requester::Rules, &own, false, 10.0).unwrap_err();
}

#[test]
fn standing_approvals_go_with_l2_alone() {
    for level in ["L1", "L3"] {
        let text = STANDING.replace("\"L2\"", &format!("{level:?}"));
        let text = text.replace("PEER", peer().as_str());
        let why = load(&text).unwrap_err().to_string();
        assert!(why.contains("standing_approvals"), "{why}");
    }
}

#[test]
fn standing_approvals_stand_on_no_rule_for_which_none_can_count() {
    let text = STANDING.replace("PEER", peer().as_str());
    for kind in ["kind = \"held\"\nlease_sec = 5", "kind = \"set\""] {
        let text = text.replace("safe_state", &format!("{kind}\nsafe_state"));
        let why = load(&text).unwrap_err().to_string();
        assert!(why.contains("a person approves each time"), "{why}");
    }
    let offered = |by_gen1| {
        [Offered {
            capability: "actuator:mock:valve-1".parse().unwrap(),
            operations: vec!["open".into(), "close".into()],
            safe: None,
            by_gen1,
        }]
    };
    let policy = load(&text).unwrap();
    assert_eq!(policy.faults(&offered(false)), [""; 0]);
    let faults = policy.faults(&offered(true));
    assert!(
        faults[0].contains("no standing approval counts there"),
        "{faults:?}"
    );
}

proptest! {
    #[test]
    fn nothing_outside_the_bounds_is_ever_allowed(seconds in prop_oneof![any::<i64>(), -5i64..40]) {
        let policy = load(STARTER_POLICY).unwrap();
        let open = action("open", json!({"durationSec": seconds}));
        let facts = vec![fact("tank.level", 50.0, SignatureState::Verified)];
        match ask(&policy, &open, Requester::Person, false, facts) {
            Ruling::Allow(terms) => {
                prop_assert!((1..=20).contains(&seconds));
                prop_assert_eq!(terms.run_ms, u64::try_from(seconds).unwrap() * 1_000);
            }
            Ruling::Deny(_) => prop_assert!(!(1..=20).contains(&seconds)),
        }
    }

    #[test]
    fn taint_never_helps(seconds in -2i64..30, level in 0.0f64..100.0, moisture in 0.0f64..40.0, auto: bool) {
        let policy = load(if auto { L1 } else { STARTER_POLICY }).unwrap();
        let params = if auto { json!({}) } else { json!({"durationSec": seconds}) };
        let open = action("open", params);
        let v = SignatureState::Verified;
        let facts = || vec![fact("tank.level", level, v), fact("moisture", moisture, v)];
        let clean = ask(&policy, &open, Requester::Rules, false, facts());
        let tainted = ask(&policy, &open, Requester::Rules, true, facts());
        match (clean, tainted) {
            (Ruling::Allow(a), Ruling::Allow(b)) => prop_assert!(b.level >= a.level && b.level >= Level::L2),
            (Ruling::Deny(_), Ruling::Allow(_)) => prop_assert!(false, "taint turned a no into a yes"),
            _ => {}
        }
    }

    #[test]
    fn without_its_rule_nothing_is_allowed(keep in 0usize..3) {
        let mut policy = load(STARTER_POLICY).unwrap();
        let open = action("open", json!({"durationSec": 5}));
        policy.rules.retain(|r| !r.covers(&open));
        policy.rules.truncate(keep);
        let facts = vec![fact("tank.level", 50.0, SignatureState::Verified)];
        prop_assert_eq!(denied(ask(&policy, &open, Requester::Person, false, facts)), Code::PolicyDenied);
    }

    #[test]
    fn no_text_panics(text in ".{0,300}", at in 0usize..2_000) {
        let _ = load(&text);
        let cut: String = STARTER_POLICY.chars().take(at).collect();
        let _ = load(&cut);
    }
}

#[test]
fn a_safe_state_that_the_device_does_not_bring_about_is_a_fault() {
    let valve = |safe: Option<&str>| {
        vec![Offered {
            capability: "actuator:mock:valve-1".parse().unwrap(),
            operations: vec!["open".to_owned(), "close".to_owned(), "half".to_owned()],
            safe: safe.map(str::to_owned),
            by_gen1: false,
        }]
    };
    let policy = rules(&[("a", "actuator:mock:*", "\"open\"", "L2")]);
    assert_eq!(policy.faults(&valve(Some("close"))), [""; 0]);
    assert_eq!(policy.faults(&valve(None)), [""; 0]);
    let faults = policy.faults(&valve(Some("half")));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("its safe state is \"close\"")
            && faults[0].contains("brought to \"half\""),
        "{faults:?}"
    );
}

#[test]
fn the_code_at_the_node_goes_with_two_persons_at_l3_alone() {
    let file = |level: &str, more: &str| {
        format!(
            "version = 1\n[[rule]]\nname = \"pump\"\ncapability = \"actuator:pump:*\"\noperations = [\"start\"]\n\
             level = \"{level}\"\nsafe_state = \"stop\"\ndeadline_sec = 5\n{more}\n"
        )
    };
    let at_node = |level: &str, more: &str| {
        let policy: Result<Policy, _> = Policy::parse(&file(level, more));
        policy.map(|policy| policy.rules()[0].at_node)
    };
    assert!(!at_node("L3", "").unwrap());
    assert!(at_node("L3", "at_node = true").unwrap());
    assert!(at_node("L3", "at_node = true\nquorum = 2").unwrap());
    for (level, more) in [
        ("L2", "at_node = true"),
        ("L2", "at_node = true\nquorum = 2"),
        ("L3", "at_node = true\nquorum = 3"),
    ] {
        let why = at_node(level, more).unwrap_err().to_string();
        assert!(why.contains("at_node goes with L3"), "{why}");
    }
}
