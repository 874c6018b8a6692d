//! A device on a serial line: a real node, a pseudo-terminal and the RTU of pymodbus.

use super::*;

/// A node with this device on a serial line.
fn wired(serial: &std::path::Path, more: &str) -> Place {
    let place = node(1, more);
    let config = std::fs::read_to_string(place.state().join("config.toml")).unwrap();
    let wired = format!(
        "serial = \"{}\"\nbaud = 19200\nparity = \"none\"",
        serial.display()
    );
    place.write(
        "config.toml",
        &config.replace("address = \"127.0.0.1:1\"", &wired),
    );
    place
}

#[test]
fn a_serial_line_is_read_and_moved_and_an_unplugged_adapter_is_told_of_and_got_over() {
    let dir = tempfile::tempdir().unwrap();
    let serial = dir.path().join("ttyUSB0");
    let Some(mut plc) = Plc::at(&serial.display().to_string()) else {
        return;
    };
    plc.set("holding", 40, 215);
    let more = [
        reading("level", "register = \"holding:40\"\nscale = 0.1"),
        ACTUATOR.to_owned(),
    ];
    let place = wired(&serial, &more.concat());
    let node = place.start(&[]);
    becomes(&place, "level", 21.5);
    let id = started(&place);
    eventually("it runs", || (plc.get("coil", 10) == 1).then_some(()));
    plc.tell("unplug", "done");
    let told = eventually("the unplugged adapter is told of", || {
        problem(&place, "plc level z").filter(|why| why.contains("plugged in"))
    });
    assert!(told.contains("ttyUSB0"), "{told}");
    // The run ends with the watchdog that cannot be fed, and the pump is made safe as soon as it can be reached.
    place.await_status(&id, &["failed"]);
    plc.set("holding", 40, 300);
    plc.tell("plug", "done");
    becomes(&place, "level", 30.0);
    eventually("it is told of no more", || {
        problem(&place, "plc level z").is_none().then_some(())
    });
    eventually("it is made safe", || {
        (plc.get("coil", 10) == 0).then_some(())
    });
    assert_eq!(node.stop(), 0);
}
