//! The planner's pause: it asks for nothing while a person holds it, also after a crash, and what a
//! person asks for goes on. And what else a node tells of its planner and its actuators.

use serde_json::{Value, json};

use crate::process::{Place, VALVE, eventually};

/// A rule that always wants water, as often as it may.
const THIRSTY: &str = r#"
[[rule]]
name = "always dry"
metric = "moisture"
below = 101
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 1 }
cooldown_sec = 1
"#;

/// A node that plans and also owns the simulated valve.
fn planner(place: &Place) -> crate::process::Running {
    let kit = [
        "--mock-sensor",
        "--mock-actuator",
        "--sensor-interval",
        "100",
    ];
    place.start(&[&["--role", "planner", "--mesh-name", "test"][..], &kit].concat())
}

fn of_rules(place: &Place) -> usize {
    let all = place.json(&["proposals", "--all"]);
    let all: &Vec<Value> = all.as_array().unwrap();
    all.iter()
        .filter(|p| p["requestedBy"]["kind"] == "rules")
        .count()
}

#[test]
fn a_paused_planner_asks_for_nothing_until_it_is_let_go_on_also_after_a_crash() {
    let place = Place::new();
    place.write("config.toml", THIRSTY);
    let node = planner(&place);
    place.enrolled();
    let paused = place.json(&["planner", "pause", "--reason", "pump service"]);
    assert_eq!(paused["state"], "paused", "{paused}");
    assert_eq!(paused["pause"]["reason"], "pump service", "{paused}");
    let twice = place.json(&["planner", "pause", "--reason", "people inside"]);
    assert_eq!(twice["pause"]["since"], paused["pause"]["since"], "{twice}");
    assert_eq!(twice["pause"]["reason"], "pump service", "{twice}");
    assert_eq!(twice["pause"]["also"][0]["reason"], "people inside");
    let told = place.run(&["planner"]).out;
    assert!(
        told.contains("pump service") && told.contains("people inside"),
        "{told}"
    );
    // Whatever it asked for before is taken back, so that only what comes now counts.
    for open in place.json(&["proposals"]).as_array().unwrap() {
        place.json(&["withdraw", open["id"].as_str().unwrap()]);
    }
    let before = of_rules(&place);
    node.kill();

    let node = planner(&place);
    assert_eq!(place.json(&["planner"])["state"], "paused");
    // A person's wish is none of the planner's; by the time it is minted many readings have gone by.
    let frames = place.json(&["status"])["frames"].as_u64().unwrap();
    let id = place.propose(3);
    eventually("many readings later", || {
        (place.json(&["status"])["frames"].as_u64().unwrap() > frames + 20).then_some(())
    });
    assert_eq!(
        of_rules(&place),
        before,
        "{}",
        place.json(&["proposals", "--all"])
    );
    place.json(&["withdraw", &id]);
    let on = place.json(&["planner", "resume"]);
    assert_eq!((&on["state"], &on["pause"]), (&json!("idle"), &Value::Null));
    eventually("the planner asks again", || {
        (of_rules(&place) > before).then_some(())
    });
    let told = place.json(&["planner"]);
    assert_eq!(told["lastRule"], "always dry", "{told}");
    place.run(&["planner", "resume"]).fails(1, &["CONFLICT"]);
    let trail = place.json(&["audit", "show"]).to_string();
    assert!(trail.contains("planner.paused") && trail.contains("planner.resumed"));
    node.kill();
}

#[test]
fn a_node_tells_where_its_actuators_stand_and_what_moved_them_last() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let api = |path: &str| {
        let tokens = std::fs::read_to_string(place.state().join("tokens.json")).unwrap();
        let tokens: Value = serde_json::from_str(&tokens).unwrap();
        let bearer = format!("authorization: Bearer {}", tokens["read"].as_str().unwrap());
        let (status, body) = node.http("GET", &format!("/api/operator/v1{path}"), &[&bearer]);
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
        (status, body)
    };
    let valve = || {
        let (_, all) = api("/actuators");
        let mut all = all.as_array().unwrap().clone();
        all.retain(|a| a["target"] == VALVE);
        all.pop().unwrap()
    };
    let still = valve();
    assert_eq!(
        (&still["position"], &still["own"]),
        (&json!("closed"), &json!(true))
    );
    assert!(
        still["operations"]
            .as_array()
            .unwrap()
            .contains(&json!("open"))
    );

    let id = place.propose(2);
    place.json(&["approve", &id]);
    let moving = eventually("the valve is open", || {
        Some(valve()).filter(|v| v["position"] == "open")
    });
    assert_eq!(moving["running"], id, "{moving}");
    place.await_status(&id, &["completed"]);
    let done = valve();
    assert_eq!(
        (&done["position"], &done["running"]),
        (&json!("closed"), &Value::Null)
    );
    assert_eq!(done["last"]["proposal"], id, "{done}");
    assert_eq!(done["last"]["status"], "completed", "{done}");

    // One frame by its id, the policy's own tests, limits in a series, and the store's size.
    let (_, world) = api("/world?metric=moisture");
    let cited = world[0]["frameId"].as_str().unwrap();
    let (status, frame) = api(&format!("/frames/{cited}"));
    assert_eq!((status, &frame["frameId"]), (200, &json!(cited)));
    let (status, none) = api("/frames/6d9e7a4e-0000-4000-8000-000000000000");
    assert_eq!((status, &none["error"]["code"]), (404, &json!("NOT_FOUND")));
    let (_, tests) = api("/policy/tests");
    let tests = tests.as_array().unwrap();
    assert!(
        !tests.is_empty() && tests.iter().all(|t| t["passed"] == true),
        "{tests:?}"
    );
    let (_, series) = api("/series?metric=tank.level");
    let interlock = json!("interlock");
    assert!(
        series["thresholds"]
            .as_array()
            .unwrap()
            .iter()
            .any(|t| t["of"] == interlock),
        "{series}"
    );
    let status = place.json(&["status"]);
    assert!(status["storeBytes"].as_u64().unwrap() > 4_096, "{status}");
    eventually("readings are counted", || {
        let rate = place.json(&["status"])["framesPerSec"].as_f64().unwrap();
        (rate > 0.5).then_some(())
    });
}
