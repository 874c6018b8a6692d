//! An actuator that moved, and something else under its name after a crash. Real processes.

use serde_json::Value;

use crate::crash::critical_alarms;
use crate::reserve::{Bed, PUMP};

#[test]
fn another_command_under_the_name_of_what_moved_is_another_actuator_over_starts() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    node.kill();
    let was = std::fs::read_to_string(bed.place.state().join("config.toml")).unwrap();
    let other = was.replace("\"off\"", "\"off\", \"another\"");
    assert_ne!(was, other);

    bed.place.write("config.toml", &other);
    for start in 1..=3 {
        let node = bed.place.start(&[]);
        let alarms = critical_alarms(&bed.place);
        let of = |alarm: &Value| (alarm["kind"].clone(), alarm["subject"].clone());
        let all: Vec<_> = alarms.iter().map(of).collect();
        assert_eq!(
            all,
            [("actuator.left".into(), PUMP.into())],
            "start {start}"
        );
        let told = bed.place.proposal(&id).unwrap();
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("told nothing"), "{detail}");
        assert_eq!(node.stop(), 7, "start {start}");
    }

    // The one that moved is back and safe.
    bed.place.write("config.toml", &was);
    let node = bed.place.start(&[]);
    assert_eq!(critical_alarms(&bed.place), [] as [Value; 0]);
    assert_eq!(node.stop(), 0);
    bed.place.write("config.toml", &other);
    let node = bed.place.start(&[]);
    assert_eq!(critical_alarms(&bed.place), [] as [Value; 0]);
    assert_eq!(node.stop(), 0);
}
