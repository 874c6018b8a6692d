//! `rehearse` as a person runs it: real nodes with twins of the configured actuators, and a report that can be believed.

use serde_json::Value;

use crate::process::*;

const POLICY: &str = r#"
version = 1
[[rule]]
name = "pump"
capability = "actuator:mock:pump-1"
operations = ["start"]
level = "L3"
safe_state = "stop"
deadline_sec = 30
duration_param = "durationSec"
[rule.params.durationSec]
type = "integer"
min = 1
max = 30
required = true
[rule.caps]
runs_per_hour = 1
[[rule.interlock]]
metric = "tank.level"
origin = "self"
op = "<"
value = 95
max_age_sec = 2
"#;

fn case<'a>(report: &'a Value, name: &str) -> &'a Value {
    let cases = report["cases"].as_array().unwrap();
    let found = cases.iter().find(|c| c["case"] == name);
    found.unwrap_or_else(|| panic!("no case {name}: {report}"))
}

#[test]
fn a_rehearsal_plays_every_case_and_moves_nothing_of_the_node() {
    let place = Place::new();
    place.write("config.toml", "mock_actuator = true\nmock_sensor = true\n");
    place.write("policy.toml", POLICY);
    let report = place.json(&["rehearse", "actuator:mock:pump-1"]);
    assert_eq!(
        (&report["unsafe"], &report["notRehearsed"]),
        (&0.into(), &0.into()),
        "{report}"
    );
    let cases = [
        ("its time is up", "completed"),
        ("a person stops it", "stopped it"),
        ("emergency stop", "emergency stop"),
        ("the node is told to end", ""),
        ("the node is killed", "started again"),
        ("the actuator takes no orders for a while", "an alarm stood"),
        ("tank.level becomes 95", "tank.level"),
        ("tank.level falls silent", "tank.level"),
    ];
    for (name, note) in cases {
        let case = case(&report, name);
        assert_eq!(case["safe"], true, "{case}");
        assert!(case["note"].as_str().unwrap().contains(note), "{case}");
    }
    assert_eq!(
        report["cases"].as_array().unwrap().len(),
        cases.len(),
        "{report}"
    );
    let mut left: Vec<String> = std::fs::read_dir(place.state())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["config.toml", "policy.toml"],
        "the node's own state is only read"
    );
}

#[test]
fn what_cannot_be_rehearsed_is_said() {
    let place = Place::new();
    place.run(&["rehearse"]).fails(3, &["policy.toml"]);
    place.write("policy.toml", POLICY);
    place.run(&["rehearse"]).fails(3, &["no actuator"]);
    place.write("config.toml", "mock_actuator = true\n");
    place
        .run(&["rehearse", "actuator:mock:pump-9"])
        .fails(3, &["no actuator actuator:mock:pump-9"]);
    let valve = place.json(&["rehearse", "actuator:mock:valve-1"]);
    assert_eq!(valve["notRehearsed"], 2, "{valve}");
    let why = valve["cases"][0]["notRehearsed"].as_str().unwrap();
    assert!(why.contains("no rule of the policy covers it"), "{why}");
}

/// Whether a process runs; one that has ended and was not waited for does not.
fn runs(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

#[test]
fn a_rehearsal_that_is_cut_off_leaves_no_node_behind() {
    let place = Place::new();
    place.write("config.toml", "mock_actuator = true\n");
    place.write(
        "policy.toml",
        POLICY.split("[[rule.interlock]]").next().unwrap(),
    );
    for (signal, code) in [("INT", Some(1)), ("KILL", None)] {
        let folder = place.beside(signal);
        std::fs::create_dir(&folder).unwrap();
        let mut command = place.command();
        command
            .arg("rehearse")
            .arg("--state-dir")
            .arg(place.state())
            .env("TMPDIR", &folder);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let nodes = || -> Vec<u64> {
            let homes = std::fs::read_dir(&folder).unwrap().flatten();
            let run = homes.filter_map(|home| {
                std::fs::read_to_string(home.path().join("state/run.json")).ok()
            });
            let run = run.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
            run.filter_map(|run| run["pid"].as_u64()).collect()
        };
        let pids = eventually("its nodes run", || {
            Some(nodes()).filter(|pids| !pids.is_empty())
        });
        assert!(pids.iter().all(|pid| runs(*pid)));
        signal_to(child.id(), signal);
        assert_eq!(child.wait().unwrap().code(), code);
        eventually("no node is left", || {
            pids.iter().all(|pid| !runs(*pid)).then_some(())
        });
        if code.is_some() {
            let left = std::fs::read_dir(&folder).unwrap().count();
            assert_eq!(left, 0, "nor a directory");
        }
    }
}
