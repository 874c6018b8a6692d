//! `config` of the real program: written, shown with where each value comes from, changed in place, and never left wrong.

use serde_json::{Value, json};

use crate::process::*;

fn shown(
    place: &Place,
    variables: &[(&str, &str)],
    flags: &[&str],
) -> impl Fn(&str) -> (Value, Value) {
    let mut command = place.command();
    command.envs(variables.iter().copied());
    command
        .args(["config", "show", "--json", "--state-dir"])
        .arg(place.state());
    let said = command.args(flags).output().unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let all: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
    move |key| {
        let one = all.iter().find(|one| one["key"] == key);
        let one = one.unwrap_or_else(|| panic!("{key}: {all:?}"));
        (one["value"].clone(), one["from"].clone())
    }
}

#[test]
fn a_file_is_written_changed_and_shown_and_a_node_starts_by_it_alone() {
    let place = Place::new();
    let file = place.state().join("config.toml");
    let path = place.run(&["config", "path"]);
    assert_eq!(path.out.trim(), file.to_str().unwrap());
    assert_eq!(place.run(&["config", "init"]).code, 0);
    let first = std::fs::read_to_string(&file).unwrap();
    place.run(&["config", "init"]).fails(1, &["left as it is"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);

    for (key, value) in [
        ("name", "barn"),
        ("port", "0"),
        ("discovery", "false"),
        ("mock_sensor", "true"),
        ("store.keep_readings_days", "30"),
    ] {
        let said = place.run(&["config", "set", key, value]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        text.lines().count(),
        first.lines().count(),
        "lines were switched on in their places"
    );
    for (args, words) in [
        (["config", "set", "prot", "1"], "did you mean port?"),
        (["config", "set", "port", "99999"], "0 to 65535"),
        (["config", "set", "role", "boss"], "boss"),
    ] {
        place
            .run(&args)
            .fails_on_lines(2, &[words, "nothing was changed"]);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    let of = shown(
        &place,
        &[("CLAWMESH_ROLE", "field"), ("CLAWMESH_PORT", "5")],
        &["--port", "6"],
    );
    assert_eq!(of("port"), (json!(6), json!(["flag"])));
    assert_eq!(of("role"), (json!("field"), json!(["environment"])));
    assert_eq!(of("name"), (json!("barn"), json!(["file"])));
    assert_eq!(of("store.keep_readings_days"), (json!(30), json!(["file"])));
    assert_eq!(of("ping_interval_ms"), (json!(15_000), json!(["default"])));

    // Bare `start`, with one value of the environment.
    let mut command = place.command();
    command
        .env("CLAWMESH_STATE_DIR", place.state())
        .env("CLAWMESH_ROLE", "sensor");
    command
        .args(["start", "--json"])
        .stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::null());
    let node = Running::of(command.spawn().unwrap());
    let status = place.json(&["status"]);
    assert_eq!(
        (&status["displayName"], &status["role"]),
        (&json!("barn"), &json!("sensor"))
    );
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_wrong_file_or_variable_is_told_and_a_start_is_refused() {
    let place = Place::new();
    place.write("config.toml", "port = 1\nnmae = 'x'\n");
    let said = place.run(&["config", "set", "port", "2"]);
    said.fails_on_lines(
        2,
        &[
            "line 2: unknown field `nmae`, did you mean `name`?",
            "nothing was changed",
        ],
    );
    let said = place.run(&["config", "show"]);
    assert!(
        said.code == 2 && said.err.contains("did you mean `name`?"),
        "{said:?}"
    );
    place.write("config.toml", "");
    let started = place.start_with(&place.state(), &[], &[("CLAWMESH_DISCOVERY", "maybe")]);
    let why = started.map(|_| ()).unwrap_err();
    assert!(why.contains("CLAWMESH_DISCOVERY"), "{why}");
}
