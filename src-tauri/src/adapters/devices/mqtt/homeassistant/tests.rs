//! What is read from discovery messages, and what is not.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn read(topic: &str, payload: &str) -> Vec<Entity> {
    entities("homeassistant", topic, payload.as_bytes())
}

fn reading(component: &str, doc: &str) -> Result<OfferedReading, String> {
    match read(&format!("homeassistant/{component}/node/probe/config"), doc).remove(0) {
        Entity::Reading(reading) => Ok(reading),
        Entity::Unfit(unfit) => Err(unfit.why),
        other @ Entity::Actuator(_) => panic!("{other:?}"),
    }
}

fn actuator(component: &str, doc: &str) -> Result<OfferedActuator, String> {
    match read(&format!("homeassistant/{component}/relay/config"), doc).remove(0) {
        Entity::Actuator(actuator) => Ok(actuator),
        Entity::Unfit(unfit) => Err(unfit.why),
        other @ Entity::Reading(_) => panic!("{other:?}"),
    }
}

#[test]
fn a_sensor_is_read_with_long_and_with_short_keys() {
    let long = reading(
        "sensor",
        r#"{"name":"Temperature","state_topic":"shed/state","unit_of_measurement":"°C","device_class":"temperature",
            "value_template":"{{ value_json.soil.t | float }}","expire_after":300,
            "device":{"name":"Shed Probe","identifiers":["x1"]}}"#,
    );
    let short = reading(
        "sensor",
        r#"{"~":"shed","name":"Temperature","stat_t":"~/state","unit_of_meas":"°C","dev_cla":"temperature",
            "val_tpl":"{{ value_json['soil']['t'] }}","exp_aft":300,"dev":{"name":"Shed Probe","ids":"x1"}}"#,
    );
    assert_eq!(long, short);
    let one = long.unwrap();
    assert_eq!(
        (&*one.metric, &*one.zone, &*one.unit, &*one.topic),
        ("temperature", "shed-probe", "Cel", "shed/state")
    );
    assert_eq!(
        (one.json.as_deref(), one.late_sec),
        (Some("/soil/t"), Some(300))
    );
    assert_eq!(one.label, "Shed Probe, Temperature");
}

#[test]
fn a_device_message_has_several() {
    let doc = r#"{"dev":{"name":"Bed"},"stat_t":"bed/state","cmps":{
        "t1":{"p":"sensor","dev_cla":"temperature","unit_of_meas":"°C","val_tpl":"{{ value_json.t }}"},
        "h1":{"p":"sensor","dev_cla":"humidity","unit_of_meas":"%","val_tpl":"{{ value_json.h }}"},
        "b1":{"p":"button","cmd_t":"bed/restart"}}}"#;
    let all = read("homeassistant/device/bed/config", doc);
    let readings = all
        .iter()
        .filter(|one| matches!(one, Entity::Reading(r) if r.topic == "bed/state"));
    assert_eq!((readings.count(), all.len()), (2, 3));
}

#[test]
fn templates_that_are_a_place_become_one_and_others_are_told() {
    for (template, wanted) in [
        ("{{ value }}", None),
        ("{{value|float}}", None),
        ("{{ value_json.a.b | float(0) | round(1) }}", Some("/a/b")),
        ("{{ value_json['a b'][\"c/d\"][0] }}", Some("/a b/c~1d/0")),
        ("{{ value_json }}", Some("")),
    ] {
        assert_eq!(
            pointer(template),
            Ok(wanted.map(str::to_owned)),
            "{template}"
        );
    }
    for template in [
        "",
        "value",
        "{{ value_json.a * 10 }}",
        "{{ value_json.a | int }}",
        "{{ value_json.a | float(states('x')) }}",
        "{{ value_json.a if value_json.b else 0 }}",
        "{% if value %}1{% endif %}",
        "{{ value_json. }}",
        "{{ value_json.9 }}",
        "{{ value_json['a }}",
        "{{ value_json[a] }}",
        "{{ value }}{{ value }}",
        "{{ values }}",
    ] {
        let why = pointer(template).unwrap_err();
        assert!(why.contains("more than a place"), "{template}: {why}");
    }
}

#[test]
fn what_is_no_number_is_told_with_the_reason() {
    for (component, doc, why) in [
        ("sensor", "[]", "no JSON object"),
        ("sensor", "{", "no JSON object"),
        ("sensor", r#"{"unit_of_meas":"%"}"#, "no state_topic"),
        (
            "sensor",
            r#"{"stat_t":"a/#","unit_of_meas":"%"}"#,
            "without + and #",
        ),
        (
            "sensor",
            r#"{"stat_t":7,"unit_of_meas":"%"}"#,
            "state_topic is no text",
        ),
        ("sensor", r#"{"stat_t":"a"}"#, "no unit"),
        (
            "sensor",
            r#"{"stat_t":"a","dev_cla":"timestamp"}"#,
            "not numbers",
        ),
        (
            "sensor",
            r#"{"stat_t":"a","unit_of_meas":"a\nb"}"#,
            "control characters",
        ),
        (
            "binary_sensor",
            r#"{"stat_t":"a","pl_on":"open"}"#,
            "\"open\", which is no number",
        ),
        ("climate", "{}", "a climate is no number"),
    ] {
        let told = reading(component, doc).unwrap_err();
        assert!(told.contains(why), "{doc}: {told}");
    }
    let long = format!(r#"{{"stat_t":"a","unit_of_meas":"{}"}}"#, "x".repeat(100));
    assert!(
        reading("sensor", &long)
            .unwrap_err()
            .contains("its unit has more than")
    );
    let long = format!(r#"{{"stat_t":"{}","unit_of_meas":"%"}}"#, "x".repeat(5_000));
    assert!(
        reading("sensor", &long)
            .unwrap_err()
            .contains("has more than")
    );
    assert!(reading("binary_sensor", r#"{"stat_t":"a","dev_cla":"door"}"#).is_ok());
    // An empty message takes back what was offered.
    assert!(read("homeassistant/sensor/x/config", "").is_empty());
    assert!(read("other/sensor/x/config", "{}").is_empty());
    let many: Vec<String> = (0..=DISCOVERED_PARTS_MAX)
        .map(|n| format!("\"c{n}\":{{}}"))
        .collect();
    let doc = format!("{{\"cmps\":{{{}}}}}", many.join(","));
    let all = read("homeassistant/device/x/config", &doc);
    assert!(matches!(&all[..], [Entity::Unfit(unfit)] if unfit.why.contains("components")));
}

#[test]
fn what_can_be_told_has_two_operations_and_its_state_where_that_is_plain() {
    let switch = actuator(
        "switch",
        r#"{"~":"shed/pump","cmd_t":"~/set","stat_t":"~/state","val_tpl":"{{ value_json.power }}","dev":{"name":"Pump"}}"#,
    )
    .unwrap();
    assert_eq!(switch.capability, "actuator:switch:pump-relay");
    let operations = [("on", "ON"), ("off", "OFF")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(
        (&*switch.topic, &switch.operations),
        ("shed/pump/set", &operations)
    );
    let state = (
        "shed/pump/state".to_owned(),
        Some("/power".to_owned()),
        "OFF".to_owned(),
    );
    assert_eq!(switch.state, Some(state));
    let valve = actuator(
        "valve",
        r#"{"cmd_t":"v/set","stat_t":"v/state","pl_cls":"shut"}"#,
    )
    .unwrap();
    assert_eq!(valve.operations[1], ("close".to_owned(), "shut".to_owned()));
    assert_eq!(valve.state.unwrap().2, "closed");
    for (doc, why) in [
        (r#"{}"#, "no command_topic"),
        (
            r#"{"cmd_t":"a","cmd_tpl":"{{ value }}"}"#,
            "command_template",
        ),
        (r#"{"cmd_t":"a","schema":"json"}"#, "schema"),
        (
            r#"{"cmd_t":"a","pl_on":"ON {seconds}"}"#,
            "a place for a parameter",
        ),
    ] {
        let told = actuator("switch", doc).unwrap_err();
        assert!(told.contains(why), "{doc}: {told}");
    }
}
