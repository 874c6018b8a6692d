//! Naming a new device and its mesh through the API: it counts at once, lasts, and never against the
//! configuration or the devices that are trusted already.

use serde_json::{Value, json};

use crate::process::{Place, Running, eventually};

fn post(place: &Place, node: &Running, path: &str, body: &Value) -> (u16, Value) {
    let tokens = std::fs::read_to_string(place.state().join("tokens.json")).unwrap();
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let bearer = format!(
        "authorization: Bearer {}",
        tokens["admin"].as_str().unwrap()
    );
    let path = format!("/api/operator/v1{path}");
    let (status, text) = node.send("POST", &path, &[&bearer], &body.to_string());
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")),
    )
}

#[test]
fn a_new_node_is_named_and_starts_again_under_its_names() {
    let place = Place::new();
    let node = place.start(&[]);
    let before = place.json(&["status"]);
    let (status, said) = post(
        &place,
        &node,
        "/names",
        &json!({"name": "Nordhang", "meshName": "Hof Müller"}),
    );
    assert_eq!((status, &said["restarting"]), (200, &json!(true)), "{said}");
    let named = eventually("the node has its names", || {
        let said = place.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&said.out).ok()?;
        (status["displayName"] == "Nordhang").then_some(status)
    });
    assert_eq!(named["meshName"], "Hof Müller");
    assert_ne!(named["meshId"], before["meshId"]);
    assert_eq!(
        (&named["deviceId"], &named["port"]),
        (&before["deviceId"], &before["port"])
    );

    // The same again changes nothing, and nonsense is refused.
    let (_, said) = post(&place, &node, "/names", &json!({"name": "Nordhang"}));
    assert_eq!(said["restarting"], false, "{said}");
    for bad in [
        json!({"name": ""}),
        json!({"name": "a\u{7}b"}),
        json!({"meshName": "x".repeat(129)}),
    ] {
        let (status, said) = post(&place, &node, "/names", &bad);
        assert_eq!(
            (status, &said["error"]["code"]),
            (400, &json!("INVALID_PARAMS")),
            "{bad}"
        );
    }
    let trail = place.json(&["audit", "show"]).to_string();
    assert_eq!(trail.matches("node.named").count(), 1, "{trail}");
    // A damaged file is named and left as it is; one that cannot be written changes nothing.
    let file = place.state().join("names.json");
    let kept = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{\"name\": ").unwrap();
    let (status, said) = post(&place, &node, "/names", &json!({"name": "Südhang"}));
    let why = said["error"]["message"].as_str().unwrap();
    assert_eq!((status, &said["error"]["code"]), (409, &json!("CONFLICT")));
    assert!(
        why.contains("names.json") && why.contains("left as it is"),
        "{why}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"name\": ");
    std::fs::write(&file, &kept).unwrap();

    // Whoever trusts others leaves no mesh by a slip.
    let other = Place::new().device();
    place.json(&["trust", "add", &other]);
    let (status, said) = post(&place, &node, "/names", &json!({"meshName": "elsewhere"}));
    assert_eq!(
        (status, &said["error"]["code"]),
        (409, &json!("CONFLICT")),
        "{said}"
    );
    node.kill();

    // The names last; what the configuration says wins and cannot be changed here.
    let node = place.start(&["--name", "by flag"]);
    let now = place.json(&["status"]);
    assert_eq!(
        (&now["displayName"], &now["meshName"]),
        (&json!("by flag"), &json!("Hof Müller"))
    );
    let (status, said) = post(&place, &node, "/names", &json!({"name": "other"}));
    assert_eq!(
        (status, &said["error"]["code"]),
        (409, &json!("CONFLICT")),
        "{said}"
    );
    node.kill();

    // A damaged file stops the start with its name, and is left as it is.
    std::fs::write(place.state().join("names.json"), "{").unwrap();
    place
        .run(&["start", "--port", "0"])
        .fails(5, &["names.json", "delete it"]);
    assert_eq!(
        std::fs::read_to_string(place.state().join("names.json")).unwrap(),
        "{"
    );
}

#[test]
fn a_trusted_device_whose_name_looks_like_ours_is_told() {
    let place = Place::new();
    let key = |n: u8| clawmesh::domain::identity::DeviceKey::from_seed(&[n; 32]);
    let trust = |n: u8, name: &str| {
        let id = key(n).id().to_string();
        place.json(&["trust", "add", &id, "--name", name]);
    };
    let told = || {
        let status = place.json(&["status"]);
        let mut alarms = status["alarms"].as_array().unwrap().clone();
        alarms.retain(|alarm| alarm["kind"] == "names.alike");
        alarms.pop().map(|alarm| alarm["message"].to_string())
    };
    trust(3, "tank");
    let node = place.field(&[]);
    assert_eq!(told(), None);
    assert_eq!(node.stop(), 0);
    // The `e` is a Cyrillic letter.
    trust(4, "fi\u{435}ld-1");
    let node = place.field(&[]);
    let message = eventually("it is told", told);
    assert!(
        message.contains(key(4).id().short()) && !message.contains("tank"),
        "{message}"
    );
    assert_eq!(node.stop(), 0);
}
