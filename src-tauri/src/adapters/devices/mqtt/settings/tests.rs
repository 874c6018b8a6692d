//! Tests of the keys of MQTT devices.

#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn the_way_to_the_safe_state_tells_no_login_in_plain_text_unless_that_is_said() {
    for (scheme, host, more, tells) in [
        ("mqtt", "hub.example.org", "", false),
        ("mqtt", "8.8.8.8", "plain = false", false),
        ("mqtt", "8.8.8.8", "plain = 1", false),
        ("mqtt", "hub.example.org", "plain = true", true),
        ("mqtts", "hub.example.org", "", true),
        ("mqtt", "192.168.1.4", "", true),
        ("mqtt", "127.0.0.1", "", true),
    ] {
        let text = format!(
            "broker = \"{scheme}://{host}\"\nuser = \"field\"\npassword = \"device/shed\"\n{more}"
        );
        let access = Access::rescued(&text.parse().unwrap()).unwrap();
        assert_eq!(access.password.is_some(), tells, "{text}");
    }
}
