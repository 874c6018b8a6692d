//! The demonstration as a real process with its two nodes.

use crate::process::{Demo, Place};

#[test]
fn a_demo_whose_nodes_both_died_ends_with_an_error_that_says_how() {
    let place = Place::new();
    let mut demo = Demo::start(&place);
    let [center, field] = demo.pids();
    Demo::kill(field);
    demo.says(&["field", "SIGKILL", "Start it again"]);
    Demo::kill(center);
    let (code, err) = demo.end();
    assert_eq!(code, 1, "{err}");
    for word in ["no node of the demo is left", "center", "field", "SIGKILL"] {
        assert!(err.contains(word), "{word:?} is missing: {err}");
    }
}
