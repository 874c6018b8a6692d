//! Readings of files: what is published, and what happens to one that is not believed.

use std::fs;

use serde_json::Value;

use crate::process::{Place, eventually};

/// What is known of the temperature, once `fits` of it.
fn temperature(place: &Place, fits: impl Fn(&Value) -> bool) -> Value {
    eventually("there is such a temperature", || {
        let all = place.json(&["world", "--metric", "temperature"]);
        all.get(0).filter(|reading| fits(reading)).cloned()
    })
}

fn alarm(place: &Place) -> Option<Value> {
    let status = place.json(&["status"]);
    let all = status["alarms"].as_array().unwrap().clone();
    all.into_iter().find(|a| a["kind"] == "reading.doubted")
}

#[test]
fn a_reading_out_of_its_range_is_unverified_and_told_until_it_is_believed_again() {
    let place = Place::new();
    let file = place.beside("temp");
    fs::write(&file, "21500\n").unwrap();
    let path = file.display();
    place.write(
        "config.toml",
        &format!(
            "[[device]]\nkind = \"file\"\nname = \"board\"\nevery_ms = 50\n\
             [[device.reading]]\nmetric = \"temperature\"\nzone = \"board\"\nunit = \"Cel\"\n\
             path = \"{path}\"\nscale = 0.001\ncheck = {{ range = [-40, 85] }}\n"
        ),
    );
    let node = place.start(&["--role", "field"]);
    let good = temperature(&place, |reading| reading["value"] == 21.5);
    assert_eq!(good["effectiveTier"], "T2", "{good}");
    assert_eq!(good["unit"], "Cel");
    assert!(alarm(&place).is_none());

    fs::write(&file, "6553500\n").unwrap();
    let bad = temperature(&place, |reading| reading["value"] == 6553.5);
    assert_eq!(bad["effectiveTier"], "T1", "{bad}");
    let told = eventually("it is told", || alarm(&place));
    let message = told["message"].as_str().unwrap();
    assert_eq!(
        message,
        "the reading temperature board (board temperature board) is not believed: 6553.5 Cel, outside its range of -40 to 85"
    );
    let frame = place.json(&["frames", "--limit", "20"]);
    assert!(frame.to_string().contains("out_of_range"), "{frame}");

    fs::write(&file, "22000\n").unwrap();
    eventually("it is told to be believed again", || {
        alarm(&place).is_none().then_some(())
    });
    let back = temperature(&place, |reading| reading["value"] == 22.0);
    assert_eq!(back["effectiveTier"], "T2");
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_device_that_goes_away_is_one_alarm_that_says_how_many_readings_are_missing() {
    let place = Place::new();
    let dir = place.beside("board");
    let file = |zone: &str| dir.join(zone);
    fs::create_dir(&dir).unwrap();
    let mut text = "[[device]]\nkind = \"file\"\nname = \"board\"\nevery_ms = 50\n".to_owned();
    for zone in ["a", "b", "c"] {
        fs::write(file(zone), "20").unwrap();
        let path = file(zone).display().to_string();
        text += &format!(
            "[[device.reading]]\nmetric = \"temperature\"\nzone = \"{zone}\"\npath = \"{path}\"\n"
        );
    }
    place.write("config.toml", &text);
    let node = place.start(&["--role", "field"]);
    let failing = || {
        let status = place.json(&["status"]);
        let all = status["alarms"].as_array().unwrap().clone();
        let of = all.into_iter().filter(|a| a["kind"] == "sensor.failing");
        of.collect::<Vec<Value>>()
    };
    let says = |what: &str, words: &str| {
        eventually(what, || {
            let all = failing();
            assert!(all.len() < 2, "{all:?}");
            let alarm = all.first()?;
            assert_eq!(alarm["subject"], "board");
            let message = alarm["message"].as_str().unwrap();
            message.starts_with(words).then_some(())
        });
    };
    fs::remove_file(file("a")).unwrap();
    says(
        "one is missing",
        "1 of 3 readings of the device board are missing; board temperature a: ",
    );
    fs::remove_dir_all(&dir).unwrap();
    says(
        "all are missing",
        "the device board gives none of its 3 readings: ",
    );
    fs::create_dir(&dir).unwrap();
    for zone in ["b", "c"] {
        fs::write(file(zone), "20").unwrap();
    }
    says(
        "one is missing still",
        "1 of 3 readings of the device board are missing; board temperature a: ",
    );
    fs::write(file("a"), "20").unwrap();
    eventually("it is over", || failing().is_empty().then_some(()));
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_mistake_in_a_reading_is_told_with_its_place() {
    let place = Place::new();
    let device = "[[device]]\nkind = \"file\"\nname = \"board\"\n";
    for (reading, words) in [
        (
            "metric = \"t\"\npath = \"/x\"\ntopic = \"y\"",
            "reading t: unknown field `topic`, expected `path` or `json`",
        ),
        (
            "metric = \"t\"\npath = \"temp\"",
            "reading t: path: temp must be an absolute path",
        ),
        (
            "metric = \"t\"\npath = \"/x\"\ncheck = { range = [1, 0] }",
            "reading t: check.range: ",
        ),
        (
            "metric = \"t\"\npath = \"/x\"\njson = \"a\"",
            "reading t: json: must be a JSON pointer",
        ),
        (
            "metric = \"t\"\npath = \"/x\"\n[[device.reading]]\nmetric = \"t\"\npath = \"/y\"",
            "reading t: configured twice",
        ),
        (
            "metric = \"t\"\npath = \"/x\"\n[[device]]\nkind = \"file\"\nname = \"shed\"\n\
             [[device.reading]]\nmetric = \"t\"\npath = \"/y\"",
            "file shed: reading t: board has a reading of this metric and zone already",
        ),
    ] {
        place.write(
            "config.toml",
            &format!("{device}[[device.reading]]\n{reading}\n"),
        );
        let said = place.run(&["start", "--port", "0"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("config.toml, line "), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
}
