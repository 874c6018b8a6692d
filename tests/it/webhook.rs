//! Readings that others send to a node: a real node, requests by hand, kills and reloads.

use serde_json::{Value, json};

use crate::process::*;

const TOKEN: &str = "planted-0a1b2c3d4e5f";

fn hook(name: &str, more: &str) -> String {
    format!(
        "[[device]]\nkind = \"webhook\"\nname = \"{name}\"\ntoken = \"device/{name}\"\n{more}\n\
         [[device.reading]]\nmetric = \"moisture\"\nzone = \"{name}\"\nunit = \"%\"\njson = \"/soil/m\"\nscale = 0.1\n\
         check = {{ range = [0, 100] }}\n\
         [[device.reading]]\nmetric = \"t\"\nzone = \"{name}\"\nunit = \"Cel\"\njson = \"/t\"\n"
    )
}

fn set(place: &Place, name: &str, token: &str) {
    let args = ["credential", "set", &format!("device/{name}")];
    let said = place.typing(&place.state(), &args, &format!("{token}\n"));
    assert_eq!(said.code, 0, "{said:?}");
}

fn send(node: &Running, hook: &str, token: &str, body: &str) -> (u16, Value) {
    let bearer = format!("Authorization: Bearer {token}");
    let (status, said) = node.send("POST", &format!("/hooks/{hook}"), &[&bearer], body);
    (status, serde_json::from_str(&said).unwrap_or_default())
}

/// Sends until the hook is open: a device is opened with its first reading.
fn sent(node: &Running, hook: &str, body: &str) -> Value {
    eventually("the hook takes it", || {
        let (status, said) = send(node, hook, TOKEN, body);
        assert!(status == 202 || status == 401, "{status} {said}");
        (status == 202).then_some(said)
    })
}

fn values(place: &Place, metric: &str) -> Vec<Value> {
    let all = place.json(&["world", "--metric", metric]);
    all.as_array().cloned().unwrap_or_default()
}

#[test]
fn what_was_answered_with_202_is_kept_even_if_the_node_is_killed_at_once() {
    let place = Place::new();
    place.write("config.toml", &hook("shed", "live = true"));
    set(&place, "shed", TOKEN);
    let node = place.start(&["--role", "field"]);
    let said = sent(&node, "shed", r#"{"soil":{"m":215},"t":17.5}"#);
    assert_eq!(
        said,
        json!({"stored": ["moisture shed", "t shed"], "leftOut": []})
    );
    node.kill();
    let node = place.start(&["--role", "field"]);
    let kept = values(&place, "moisture");
    assert_eq!(kept[0]["value"], 21.5, "{kept:?}");
    assert_eq!(kept[0]["effectiveTier"], "T2", "{kept:?}");
    // The value that came is what a look gives, with its age; nothing is made up after a restart.
    let read = place.run(&["device", "read", "shed"]);
    assert_eq!((read.code, read.out.as_str()), (0, ""), "{read:?}");
    let said = sent(&node, "shed", r#"{"t":-3}"#);
    assert_eq!(said["leftOut"], json!(["moisture shed"]));
    let read = place.json(&["device", "read", "shed t shed"]);
    assert_eq!(read[0]["values"][0]["value"], -3.0, "{read}");
    // A value outside its bounds is kept as well, and not believed.
    sent(&node, "shed", r#"{"soil":{"m":5000}}"#);
    let kept = values(&place, "moisture");
    assert_eq!(
        (&kept[0]["value"], &kept[0]["effectiveTier"]),
        (&json!(500.0), &json!("T1"))
    );
    assert!(!place.log().contains(TOKEN));
}

#[test]
fn who_has_no_token_learns_nothing_and_a_web_page_is_not_answered() {
    let place = Place::new();
    place.write("config.toml", &hook("shed", "live = true"));
    set(&place, "shed", TOKEN);
    let node = place.start(&["--role", "field"]);
    let good = r#"{"t":1}"#;
    sent(&node, "shed", good);
    let unknown = node.send("POST", "/hooks/barn", &[], good);
    assert_eq!(unknown.0, 401);
    let large = "1".repeat(1_000_000);
    for (path, header, body) in [
        ("/hooks/shed", "X-Nothing: 1", good),
        ("/hooks/shed", "Authorization: Bearer wrong", good),
        (
            "/hooks/barn",
            "Authorization: Bearer planted-0a1b2c3d4e5f",
            good,
        ),
        (
            "/hooks/sh%65d",
            "Authorization: Bearer planted-0a1b2c3d4e5f",
            good,
        ),
        // Of what is sent without the token nothing is read.
        ("/hooks/barn", "X-Nothing: 1", large.get(..20_000).unwrap()),
    ] {
        assert_eq!(
            node.send("POST", path, &[header], body),
            unknown,
            "{header}"
        );
    }
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for origin in [
        "http://evil.example".to_owned(),
        format!("http://127.0.0.1:{}", node.port()),
    ] {
        let headers = [bearer.clone(), format!("Origin: {origin}")];
        let headers = headers.each_ref().map(String::as_str);
        assert_eq!(node.send("POST", "/hooks/shed", &headers, good).0, 403);
    }
    assert_eq!(node.http("GET", "/hooks/shed", &[&bearer]).0, 405);
    let (status, said) = send(&node, "shed", TOKEN, r#"{"t":"wet"}"#);
    assert_eq!(status, 400, "{said}");
    let why = said["error"]["message"].as_str().unwrap();
    assert_eq!(why, "t shed: /t: \"\\\"wet\\\"\" is no number");
    let (status, said) = send(&node, "shed", TOKEN, large.get(..20_000).unwrap());
    assert_eq!(status, 413, "{said}");
    // A token of a hook opens nothing else.
    assert_eq!(
        node.http("GET", "/api/operator/v1/status", &[&bearer]).0,
        401
    );
    // More of them than the hook's rate allows.
    let busy = (0..100).find_map(|_| {
        let (status, said) = send(&node, "shed", TOKEN, good);
        (status != 202).then_some((status, said))
    });
    assert_eq!(busy.unwrap().0, 429);
}

#[test]
fn hooks_come_and_go_with_the_configuration_and_a_missing_token_is_told() {
    let place = Place::new();
    let (shed, barn) = (hook("shed", "live = true"), hook("barn", ""));
    place.write("config.toml", &shed);
    let said = place.run(&["device", "test"]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(
        said.out.contains("there is no credential device/shed"),
        "{said:?}"
    );
    set(&place, "shed", TOKEN);
    let said = place.run(&["device", "test"]);
    assert_eq!(said.code, 0, "{said:?}");
    let node = place.start(&["--role", "field"]);
    sent(&node, "shed", r#"{"t":1}"#);
    set(&place, "barn", TOKEN);
    place.write("config.toml", &barn);
    let report = place.json(&["device", "reload"]);
    assert_eq!(report["outcome"], "applied", "{report}");
    sent(&node, "barn", r#"{"t":2}"#);
    assert_eq!(send(&node, "shed", TOKEN, r#"{"t":3}"#).0, 401);
    // Without `live` or a time nothing is known of its age.
    let kept = values(&place, "t");
    let barn = kept.iter().find(|fact| fact["zone"] == "barn").unwrap();
    assert_eq!(barn["effectiveTier"], "T1", "{barn}");
    // The same hook with other readings takes the place of the one before.
    place.write("config.toml", &hook("barn", "live = true"));
    place.json(&["device", "reload"]);
    eventually("it is believed", || {
        sent(&node, "barn", r#"{"t":4}"#);
        let kept = values(&place, "t");
        let barn = kept.iter().find(|fact| fact["zone"] == "barn")?;
        (barn["effectiveTier"] == "T2").then_some(())
    });
}

#[test]
fn the_age_of_a_value_counts_from_when_it_was_measured_and_nothing_older_replaces_it() {
    let place = Place::new();
    let timed = hook("shed", "time = \"/at\"");
    let timed = timed.replace("[0, 100]", "[0, 100], late_sec = 600");
    place.write("config.toml", &timed);
    set(&place, "shed", TOKEN);
    let node = place.start(&["--role", "field"]);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let body =
        |value: u64, ago: u64| format!("{{\"soil\":{{\"m\":{value}}},\"at\":{}}}", now - ago);
    let fact = || values(&place, "moisture").remove(0);
    sent(&node, "shed", &body(100, 500));
    let kept = fact();
    assert_eq!(
        (&kept["value"], &kept["effectiveTier"]),
        (&json!(10.0), &json!("T2")),
        "{kept}"
    );
    assert!(kept["ageMs"].as_u64().unwrap() >= 499_000, "{kept}");
    assert!(
        kept["sensedAt"].as_u64().unwrap() <= (now - 499) * 1_000,
        "{kept}"
    );
    let look = place.json(&["device", "read", "shed moisture shed"]);
    assert_eq!(look[0]["values"][0]["value"], 10.0, "{look}");
    sent(&node, "shed", &body(200, 100));
    let said = sent(&node, "shed", &body(300, 400));
    assert_eq!(
        said,
        json!({"stored": [], "leftOut": ["moisture shed", "t shed"]})
    );
    assert_eq!(fact()["value"], 20.0);
    // After a restart the hook does not know the last one; what the node knows does.
    node.kill();
    let node = place.start(&["--role", "field"]);
    let said = sent(&node, "shed", &body(400, 300));
    assert_eq!(said["stored"], json!(["moisture shed"]));
    assert_eq!(fact()["value"], 20.0);
    sent(&node, "shed", &body(500, 50));
    assert_eq!(fact()["value"], 50.0);
}
