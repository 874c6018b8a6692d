//! Sequences of a real node: a valve that stays open while a pump runs, and what becomes of both when something goes
//! wrong between them. Both are scripts that write what they are told into one file, so that the order is seen.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::crash::{audit_is_whole, audited, outcomes};
use crate::process::{Place, Running, Said, eventually};

const SEQUENCE: &str = "actuator:sequence:irrigate";
const VALVE: &str = "actuator:valve:north";
const PUMP: &str = "actuator:pump:main";

/// A node with a valve, a pump, and a level that a file says.
struct Garden {
    place: Place,
}

fn actuator(script: &str, capability: &str, on: &str, off: &str) -> String {
    let name = capability.split(':').nth(1).unwrap();
    let one = |operation: &str| {
        format!(
            "[[actuator.operation]]\nname = \"{operation}\"\nargv = [\"{script}\", \"{name}\", \"{operation}\"]\n"
        )
    };
    format!(
        "[[actuator]]\ncapability = \"{capability}\"\nsafe = \"{off}\"\n{}{}",
        one(on),
        one(off)
    )
}

fn rule(name: &str, capability: &str, on: &str, off: &str, more: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\ncapability = \"{capability}\"\noperations = [\"{on}\"]\nlevel = \"L2\"\n\
         safe_state = \"{off}\"\ndeadline_sec = 120\n{more}\n"
    )
}

impl Garden {
    /// The valve is open from the start, the pump runs for so many seconds after a pause.
    fn new(wait_ms: u32) -> Self {
        let place = Place::new();
        let script = place.beside("part");
        let home = script.parent().unwrap().display().to_string();
        let text = format!(
            "#!/bin/sh\ncd {home}\n[ -e \"slow-$1-$2\" ] && sleep 0.5\necho \"$1 $2\" >> moves\n[ ! -e \"refuses-$1-$2\" ]\n"
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let script = script.display().to_string();
        let level = place.beside("level");
        std::fs::write(&level, "50\n").unwrap();
        place.write(
            "config.toml",
            &format!(
                "sensor_interval_ms = 100\n{}{}[[device]]\nkind = \"file\"\nname = \"tank\"\n[[device.reading]]\n\
                 metric = \"level\"\nunit = \"%\"\npath = \"{}\"\n",
                actuator(&script, VALVE, "open", "close"),
                actuator(&script, PUMP, "start", "stop"),
                level.display()
            ),
        );
        let interlock = "[[rule.interlock]]\nmetric = \"level\"\norigin = \"self\"\nop = \">\"\nvalue = 10.0\nmax_age_sec = 5\n";
        let seconds =
            "[rule.params.seconds]\ntype = \"integer\"\nmin = 1\nmax = 60\nrequired = true\n";
        place.write(
            "policy.toml",
            &format!(
                "version = 1\n{}{}{}\
                 [[sequence]]\ncapability = \"{SEQUENCE}\"\noperation = \"start\"\n\
                 [[sequence.step]]\nactuator = \"{VALVE}\"\noperation = \"open\"\nuntil = \"end\"\n\
                 [[sequence.step]]\nwait_ms = {wait_ms}\nactuator = \"{PUMP}\"\noperation = \"start\"\n\
                 params = {{ seconds = \"$seconds\" }}\nuntil = \"done\"\n",
                rule("water", VALVE, "open", "close", interlock),
                rule(
                    "pump",
                    PUMP,
                    "start",
                    "stop",
                    &format!("duration_param = \"seconds\"\n{seconds}[rule.caps]\nruns_per_hour = 2\n")
                ),
                format_args!(
                    "[[rule]]\nname = \"irrigate\"\ncapability = \"{SEQUENCE}\"\noperations = [\"start\"]\nlevel = \"L2\"\n\
                     kind = \"sequence\"\ndeadline_sec = 300\n{seconds}"
                ),
            ),
        );
        place.enrolled();
        Self { place }
    }

    fn start(&self) -> Running {
        self.known(self.place.start(&[]))
    }

    /// Waits until the level of this run is known.
    fn known(&self, node: Running) -> Running {
        eventually("the level is known", || {
            let status: Value =
                serde_json::from_str(&self.place.run(&["status", "--json"]).out).ok()?;
            let up = status["uptimeMs"].as_u64()?;
            let world = self.place.json(&["world"]);
            let known = |f: &&Value| {
                f["metric"] == "level" && f["ageMs"].as_u64().is_some_and(|age| age < up)
            };
            world.as_array().unwrap().iter().find(known).map(drop)
        });
        node
    }

    fn ask(&self, seconds: u32) -> Said {
        let seconds = format!("seconds={seconds}");
        self.place.run(&[
            "propose", SEQUENCE, "start", &seconds, "--reason", "dry", "--json",
        ])
    }

    fn proposed(&self, seconds: u32) -> String {
        let draft = self.ask(seconds).json();
        let id = draft["proposalId"].as_str();
        id.unwrap_or_else(|| panic!("{draft}")).to_owned()
    }

    /// Approved, and begun.
    fn begun(&self, seconds: u32) -> String {
        let id = self.proposed(seconds);
        let standing = self.place.json(&["approve", &id]);
        assert_eq!(standing["status"], "executing", "{standing}");
        id
    }

    /// What the scripts were told since the node was safe at its start.
    fn moves(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.place.beside("moves")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what was told so far.
    fn forget(&self) {
        std::fs::write(self.place.beside("moves"), "").unwrap();
    }

    fn told(&self, what: &str) {
        eventually(what, || {
            self.moves().iter().any(|m| m == what).then_some(())
        });
    }

    fn ended(&self, id: &str, status: &str) -> String {
        self.place.await_status(id, &[status]);
        let outcome = self.place.proposal(id).unwrap()["outcome"].clone();
        outcome["detail"].as_str().unwrap().to_owned()
    }
}

const WHOLE: [&str; 4] = ["valve open", "pump start", "pump stop", "valve close"];

#[test]
fn a_sequence_moves_its_steps_in_order_and_its_record_says_each_of_them() {
    let garden = Garden::new(200);
    let node = garden.start();
    garden.forget();
    // Nothing composes one: neither a name that is none, nor a step of one by hand.
    let place = &garden.place;
    let words = [
        "propose",
        "actuator:sequence:other",
        "start",
        "--reason",
        "x",
    ];
    place.run(&words).fails(1, &["actuator:sequence:other"]);
    garden.ask(61).fails(1, &["POLICY_DENIED", "seconds"]);

    let id = garden.proposed(1);
    let shown = place.run(&["show", &id]).out.replace('\n', " ");
    for said in [
        "open actuator:valve:north",
        "until the later steps have ended",
        "start actuator:pump:main (seconds 1) for 1 s, then stop",
    ] {
        let squeezed = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(said), "{said}: {squeezed}");
    }
    let standing = place.json(&["approve", &id]);
    assert_eq!(standing["status"], "executing", "{standing}");
    // Its actuators are its own meanwhile.
    let other = place.json(&["propose", VALVE, "open", "--reason", "also"]);
    let other = other["proposalId"].as_str().unwrap();
    place.run(&["approve", other]).fails(1, &["ACTUATOR_BUSY"]);
    let how = garden.ended(&id, "completed");
    assert!(how.contains("all 2 steps were done"), "{how}");
    assert_eq!(garden.moves(), WHOLE);
    assert_eq!(audited(place, &id, "proposal.step"), 2);
    let trace = place.run(&["trace", &id]).out;
    assert!(trace.contains("step 2"), "{trace}");

    // The pump's own cap counts what the sequence moved: two runs in an hour, by whatever way.
    let alone = place.json(&["propose", PUMP, "start", "seconds=1", "--reason", "alone"]);
    place.json(&["approve", alone["proposalId"].as_str().unwrap(), "--wait"]);
    garden.ask(2).fails(1, &["RATE_EXCEEDED", "step 2"]);
    audit_is_whole(place);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_step_that_fails_ends_the_sequence_in_reverse_order() {
    let garden = Garden::new(0);
    let node = garden.start();
    garden.forget();
    std::fs::write(garden.place.beside("refuses-pump-start"), "").unwrap();
    let id = garden.begun(30);
    let how = garden.ended(&id, "failed");
    assert!(how.contains("step 2 of 2") && how.contains("pump"), "{how}");
    assert_eq!(garden.moves(), WHOLE);
    assert_eq!(node.stop(), 0);
}

/// What happens while the valve is open and the pump runs.
fn cut_short(what: &dyn Fn(&Garden, &str), said: &str) {
    let garden = Garden::new(0);
    let node = garden.start();
    garden.forget();
    let id = garden.begun(60);
    garden.told("pump start");
    // The valve waits for the pump.
    std::fs::write(garden.place.beside("slow-pump-stop"), "").unwrap();
    what(&garden, &id);
    let how = garden.ended(&id, "failed");
    assert!(how.contains(said), "{said}: {how}");
    let moves = garden.moves();
    // An emergency stop tells those that are safe already once more.
    assert_eq!(moves[..4], WHOLE, "{moves:?}");
    assert!(
        !moves[4..]
            .iter()
            .any(|m| m.ends_with("open") || m.ends_with("start"))
    );
    audit_is_whole(&garden.place);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_stop_in_the_middle_ends_it_in_reverse_order() {
    let stop = |garden: &Garden, id: &str| {
        let said = garden.place.json(&["stop", id])["stopped"].clone();
        assert_eq!(
            (&said["safe"], &said["target"]),
            (&true.into(), &SEQUENCE.into()),
            "{said}"
        );
    };
    cut_short(&stop, "an operator of this node stopped it");
}

#[test]
fn an_emergency_stop_in_the_middle_ends_it_in_reverse_order() {
    let halt = |garden: &Garden, _: &str| {
        garden.place.json(&["estop", "--reason", "smoke"]);
    };
    cut_short(&halt, "the emergency stop");
}

#[test]
fn an_interlock_of_the_first_step_that_opens_during_the_second_ends_both() {
    let dry = |garden: &Garden, _: &str| {
        std::fs::write(garden.place.beside("level"), "3\n").unwrap();
    };
    cut_short(&dry, "level");
}

#[test]
fn killed_while_both_are_away_the_next_start_makes_them_safe_in_reverse_order() {
    let garden = Garden::new(0);
    let node = garden.start();
    garden.forget();
    let id = garden.begun(60);
    garden.told("pump start");
    eventually("both are noted outside the store", || {
        let moved = std::fs::read_to_string(garden.place.state().join("moved.json")).ok()?;
        (moved.contains(VALVE) && moved.contains(PUMP)).then_some(())
    });
    node.kill();
    // Each has a process of its own that makes it safe, in no order.
    eventually("both were made safe", || {
        (garden.moves().len() == 4).then_some(())
    });
    garden.forget();
    std::fs::write(garden.place.beside("slow-pump-stop"), "").unwrap();
    let node = garden.start();
    let how = garden.ended(&id, "unknown");
    assert!(how.contains("step 2 of 2"), "{how}");
    assert_eq!(garden.moves(), ["pump stop", "valve close"]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_stop_between_two_steps_lets_nothing_further_begin() {
    let garden = Garden::new(60_000);
    let node = garden.start();
    garden.forget();
    let id = garden.begun(5);
    garden.told("valve open");
    let said = garden.place.json(&["stop", &id])["stopped"].clone();
    assert_eq!(said["safe"], true, "{said}");
    let how = garden.ended(&id, "failed");
    assert!(how.contains("step 2 was not begun"), "{how}");
    assert_eq!(garden.moves(), ["valve open", "valve close"]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn killed_between_two_steps_it_is_made_safe_and_reported_as_unknown_with_the_step() {
    // Before the first step, and before and after the second was written ahead.
    let points = [
        ("first step.before", &[][..], "before its first step"),
        ("first step.after", &[][..], "step 1 of 2"),
        ("later step.before", &["valve open"][..], "step 1 of 2"),
        ("later step.after", &["valve open"][..], "step 2 of 2"),
    ];
    std::thread::scope(|threads| {
        for (point, moved, said) in points {
            threads.spawn(move || {
                let garden = Garden::new(0);
                let node = garden.place.start_to_crash(point, &[]);
                let node = garden.known(node);
                garden.forget();
                let id = garden.proposed(30);
                // It may die before it answers.
                garden.place.run(&["approve", &id]);
                node.was_killed(point);
                let node = garden.start();
                let how = garden.ended(&id, "unknown");
                assert!(how.contains(said), "{point}: {how}");
                let moves = garden.moves();
                let away = |m: &&String| m.ends_with("open") || m.ends_with("start");
                let away: Vec<&String> = moves.iter().filter(away).collect();
                assert_eq!(away, moved, "{point}: {moves:?}");
                assert!(
                    moves.contains(&"valve close".to_owned()),
                    "{point}: {moves:?}"
                );
                assert_eq!(outcomes(&garden.place, &id), ["unknown"]);
                // It never goes on.
                let again = garden.place.run(&["approve", &id]);
                assert_eq!(again.code, 1, "{again:?}");
                audit_is_whole(&garden.place);
                assert_eq!(node.stop(), 0);
            });
        }
    });
}
