//! Tests of the keys of HTTP devices.

#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn the_way_to_the_safe_state_tells_no_login_in_plain_text_unless_that_is_said() {
    for (scheme, host, more, tells) in [
        ("http", "hub.example.org", "", false),
        ("http", "8.8.8.8", "plain = false", false),
        ("http", "8.8.8.8", "plain = 1", false),
        ("http", "hub.example.org", "plain = true", true),
        ("https", "hub.example.org", "", true),
        ("http", "192.168.1.4", "", true),
        ("http", "127.0.0.1", "", true),
    ] {
        let text = format!("url = \"{scheme}://{host}\"\ntoken = \"device/shed\"\n{more}");
        let access = Access::rescued(&text.parse().unwrap()).unwrap();
        assert_eq!(access.login().unwrap().is_some(), tells, "{text}");
    }
}
