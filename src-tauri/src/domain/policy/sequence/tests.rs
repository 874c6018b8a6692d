//! What a sequence of a policy may be, and what it takes to be allowed.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::super::{
    Class, EvidenceView, History, Level, Phase, Policy, Request, Requester, Ruling, RunView, Terms,
};
use super::*;
use crate::domain::base::{Code, DeviceId, Taint, Tier, TimeMs};

const NOW: TimeMs = TimeMs(1_767_268_800_000);

fn rule(name: &str, capability: &str, more: &str) -> String {
    let operations = "operations = [\"start\", \"open\"]\nlevel = \"L2\"\n";
    format!("[[rule]]\nname = \"{name}\"\ncapability = \"{capability}\"\n{operations}{more}\n")
}

const WHOLE: &str = "kind = \"sequence\"\ndeadline_sec = 300\n[rule.params.seconds]\ntype = \"integer\"\nmin = 1\nmax = 60\nrequired = true";
const VALVE: &str = "safe_state = \"close\"\ndeadline_sec = 120";
const PUMP: &str = "safe_state = \"stop\"\ndeadline_sec = 90\nduration_param = \"s\"\n[rule.params.s]\ntype = \"integer\"\nmin = 1\nmax = 30\nrequired = true\n[rule.caps]\nruns_per_hour = 2\ncooldown_sec = 60";
const STEPS: &str = "[[sequence.step]]\nactuator = \"actuator:valve\"\noperation = \"open\"\nuntil = \"end\"\n\
    [[sequence.step]]\nactuator = \"actuator:pump\"\noperation = \"start\"\nwait_ms = 2000\nparams = { s = \"$seconds\" }\nuntil = \"done\"\n";

fn text(whole: &str, valve: &str, pump: &str, steps: &str) -> String {
    format!(
        "version = 1\n{}{}{}[[sequence]]\ncapability = \"actuator:sequence:water\"\noperation = \"start\"\n{steps}",
        rule("water", "actuator:sequence:*", whole),
        rule("valve", "actuator:valve", valve),
        rule("pump", "actuator:pump", pump),
    )
}

fn own() -> DeviceId {
    DeviceId::of_public_key(&[1; 32])
}

struct Wish {
    seconds: u64,
    tainted: bool,
    evidence: Vec<EvidenceView>,
    runs: Vec<RunView>,
    requester: Requester,
}

const WISH: Wish = Wish {
    seconds: 30,
    tainted: false,
    evidence: Vec::new(),
    runs: Vec::new(),
    requester: Requester::Person,
};

fn ask(policy: &Policy, wish: Wish) -> Result<Terms, (Code, String)> {
    let target = "actuator:sequence:water".parse().unwrap();
    let params = Params::from([("seconds".to_owned(), wish.seconds.into())]);
    let action = Action::new(target, "start", params).unwrap();
    let taint = wish.tainted.then_some(Taint::Llm).into_iter().collect();
    let request = Request {
        action: &action,
        requester: wish.requester,
        from: &own(),
        taint: &taint,
        evidence: &wish.evidence,
        phase: Phase::Propose,
        by_gen1: false,
        now_set: None,
    };
    let (facts, history) = (Vec::new(), History { runs: wish.runs });
    match policy.evaluate(&request, &facts, &history, NOW, &own()) {
        Ruling::Allow(terms) => Ok(terms),
        Ruling::Deny(denial) => Err((denial.code, denial.message)),
    }
}

fn parse(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[test]
fn a_record_has_every_step_with_its_parameters_and_times() {
    let terms = ask(&parse(&text(WHOLE, VALVE, PUMP, STEPS)), WISH).unwrap();
    let [valve, pump] = terms.kind.steps() else {
        panic!("{terms:?}")
    };
    assert_eq!(pump.action.summary(), "start actuator:pump (s 30)");
    assert_eq!(
        (pump.run_ms, pump.wait_ms, pump.stays),
        (30_000, 2_000, false)
    );
    // It stays as long as the pause, the pump and some time for that.
    assert_eq!((valve.run_ms, valve.stays), (42_000, true));
    assert_eq!(terms.run_ms, 52_000);
    assert_eq!((terms.level, terms.quorum), (Level::L2, 1));
    assert_eq!(terms.safe_state, SAFE);
    assert!(terms.standing.unwrap_err().contains("each time"));
    let text = serde_json::to_string(&terms.kind).unwrap();
    let read: Kind = serde_json::from_str(&text).unwrap();
    assert_eq!(read, terms.kind);
    assert!(text.contains(r#""name":"sequence""#), "{text}");
}

#[test]
fn the_strictest_of_all_rules_counts() {
    let level = |whole: &str, pump: &str, wish| {
        let policy = parse(&text(
            &format!("{whole}{WHOLE}"),
            VALVE,
            &format!("{pump}{PUMP}"),
            STEPS,
        ));
        ask(&policy, wish).map(|t| (t.level, t.quorum, t.class))
    };
    let two = |pump: &str| pump.to_owned();
    let strict = text(WHOLE, VALVE, PUMP, STEPS).replacen(
        "level = \"L2\"\nsafe_state = \"stop\"",
        "level = \"L3\"\nquorum = 3\nsafe_state = \"stop\"",
        1,
    );
    let terms = ask(&parse(&strict), WISH).unwrap();
    assert_eq!((terms.level, terms.quorum), (Level::L3, 3));
    let person = (Level::L2, 1, Class::Person);
    assert_eq!(level("", "", WISH).unwrap(), person);
    // A step whose rule lets no model ask lets none ask for the sequence.
    let people = two("requesters = [\"person\"]\n");
    let model = Wish {
        tainted: true,
        requester: Requester::Llm,
        ..WISH
    };
    let (code, why) = level("", &people, model).unwrap_err();
    assert_eq!(code, Code::PolicyDenied);
    assert!(
        why.contains("step 2") && why.contains("llm may not ask"),
        "{why}"
    );
    // Its taint keeps it at L2, also where every rule is automatic.
    let model = Wish {
        tainted: true,
        requester: Requester::Llm,
        ..WISH
    };
    assert_eq!(level("", "", model).unwrap(), (Level::L2, 1, Class::Model));
    // The evidence that one step needs the sequence needs.
    let needs = two("min_evidence = 1\nmax_evidence_age_sec = 60\n");
    let (code, why) = level("", &needs, WISH).unwrap_err();
    assert_eq!(code, Code::EvidenceMissing, "{why}");
    let reading = EvidenceView {
        origin: own(),
        effective: Tier::T2,
        age_ms: 10_000,
        signature: crate::domain::world::SignatureState::Verified,
    };
    let policy = parse(&text(WHOLE, VALVE, &format!("{needs}{PUMP}"), STEPS));
    let cites = Wish {
        evidence: vec![reading],
        ..WISH
    };
    let terms = ask(&policy, cites).unwrap();
    assert_eq!(terms.fresh_for_ms, Some(50_000));
}

#[test]
fn the_bounds_caps_and_limits_of_each_step_hold() {
    let policy = parse(&text(WHOLE, VALVE, PUMP, STEPS));
    let seconds = |seconds| Wish { seconds, ..WISH };
    for (wish, code, said) in [
        (
            seconds(61),
            Code::PolicyDenied,
            "seconds must be a whole number",
        ),
        (seconds(31), Code::PolicyDenied, "step 2: "),
    ] {
        let (found, why) = ask(&policy, wish).unwrap_err();
        assert_eq!(found, code, "{why}");
        assert!(why.contains(said), "{why}");
    }
    // What the pump did by other ways counts too.
    let run = RunView {
        rule: "pump".into(),
        target: "actuator:pump".into(),
        operation: "start".into(),
        started_at: TimeMs(NOW.0 - 1_800_000),
        duration_ms: 1_000,
    };
    let had = |n| Wish {
        runs: vec![run.clone(); n],
        ..WISH
    };
    ask(&policy, had(1)).unwrap();
    let (code, why) = ask(&policy, had(2)).unwrap_err();
    assert_eq!(code, Code::RateExceeded, "{why}");
    // A valve that may not stay open for that long.
    let short = text(WHOLE, &VALVE.replace("120", "41"), PUMP, STEPS);
    let (_, why) = ask(&parse(&short), WISH).unwrap_err();
    assert!(
        why.contains("step 1") && why.contains("lasts 42 s at most"),
        "{why}"
    );
    let short = text(&WHOLE.replace("300", "51"), VALVE, PUMP, STEPS);
    let (_, why) = ask(&parse(&short), WISH).unwrap_err();
    assert!(why.contains("lasts 52 s at most"), "{why}");
    // The pump rests for a minute between two steps of one sequence too.
    let again = "[[sequence.step]]\nactuator = \"actuator:pump\"\noperation = \"start\"\nwait_ms = 59999\nparams = { s = 1 }\nuntil = \"done\"\n";
    let twice = text(
        WHOLE,
        &VALVE.replace("120", "300"),
        PUMP,
        &format!("{STEPS}{again}"),
    );
    let (code, why) = ask(&parse(&twice), WISH).unwrap_err();
    assert_eq!(code, Code::RateExceeded, "{why}");
    assert!(why.contains("step 3"), "{why}");
    ask(&parse(&twice.replace("59999", "60000")), WISH).unwrap();
}

#[test]
fn a_sequence_that_cannot_be_is_refused_when_it_is_read() {
    let step = |actuator: &str, operation: &str, more: &str| {
        format!(
            "[[sequence.step]]\nactuator = \"{actuator}\"\noperation = \"{operation}\"\n{more}\n"
        )
    };
    let done = "until = \"done\"";
    let many = step("actuator:pump", "start", done).repeat(17);
    for (steps, said) in [
        (
            step("actuator:lamp", "start", done),
            "step 1: no rule covers \"start\" on actuator:lamp",
        ),
        (
            step("actuator:sequence:water", "start", done),
            "a sequence is no step of another",
        ),
        (
            step("actuator:sequence:other", "start", done),
            "a sequence is no step of another",
        ),
        (
            step("sensor:pump", "start", done),
            "must begin with actuator:",
        ),
        (
            step("actuator:pump", "start", "until = \"end\""),
            "nothing comes after the last step",
        ),
        (
            step("actuator:pump", "start", "until = \"soon\""),
            "must be \"done\"",
        ),
        (
            step(
                "actuator:pump",
                "start",
                &format!("{done}\nwait_ms = 3600001"),
            ),
            "at most 3600000",
        ),
        (
            step(
                "actuator:pump",
                "start",
                &format!("{done}\nparams = {{ s = \"$hours\" }}"),
            ),
            "$hours is no parameter",
        ),
        (
            step(
                "actuator:pump",
                "start",
                &format!("{done}\nnode = \"other\""),
            ),
            "unknown field",
        ),
        (String::new(), "1 to 16 steps"),
        (many, "1 to 16 steps"),
        (
            step("actuator:pump", "start", "until = \"end\"")
                + &step("actuator:pump", "start", done),
            "step 2 moves actuator:pump, which step 1 leaves where it is",
        ),
    ] {
        let error = Policy::parse(&text(WHOLE, VALVE, PUMP, &steps))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    let held = "safe_state = \"stop\"\nkind = \"held\"\nlease_sec = 5\ndeadline_sec = 60";
    let stops = PUMP.replace("\"stop\"", "\"start\"");
    for (whole, pump, said) in [
        (VALVE, PUMP, "is timed; write one with kind = \"sequence\""),
        (WHOLE, held, "a step is timed, pulse or set"),
        (WHOLE, stops.as_str(), "is the safe state of actuator:pump"),
        (
            "kind = \"sequence\"\ndeadline_sec = 5\nsafe_state = \"stop\"",
            PUMP,
            "leave safe_state out",
        ),
        (
            "kind = \"sequence\"\ndeadline_sec = 5\nstanding_approvals = true",
            PUMP,
            "leave standing_approvals out",
        ),
        ("deadline_sec = 5", PUMP, "safe_state is missing"),
    ] {
        let error = Policy::parse(&text(whole, VALVE, pump, STEPS))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    // A rule of this kind allows nothing that is no sequence of the policy.
    let none = text(WHOLE, VALVE, PUMP, STEPS).replace(
        "operation = \"start\"\n[[sequence.step]]\nactuator = \"actuator:valve\"",
        "operation = \"open\"\n[[sequence.step]]\nactuator = \"actuator:valve\"",
    );
    let (_, why) = ask(&parse(&none), WISH).unwrap_err();
    assert!(why.contains("has no such sequence"), "{why}");
}
