//! Tests of the rules of messages.
#![allow(clippy::unwrap_used)]
use super::*;

fn rule(text: &str) -> Result<Routes, String> {
    Routes::parse(&format!("version = 1\n[[rule]]\nname = \"a\"\n{text}"))
}

fn said<'a>(text: &'a str, source: &'a str) -> Incoming<'a> {
    Incoming {
        text,
        source,
        sender: "ada",
    }
}

#[test]
fn everything_that_a_rule_says_of_a_message_has_to_hold() {
    let routes = rule(
        "message = { source = [\"cli\", \"mcp\"], prefix = \"/Build\", words = [\"ios\"], regex = \"v[0-9]+\" }",
    )
    .unwrap();
    let rule = &routes.rules()[0];
    assert_eq!(
        rule.refuses(&Reading::of(&said("/build the iOS app v12", "cli"))),
        None
    );
    for (text, source, says) in [
        ("/build the ios app v12", "http", "comes from"),
        ("build the ios app v12", "cli", "begin"),
        ("/build the iostream v12", "cli", "word"),
        ("/build the ios app", "cli", "v[0-9]+"),
    ] {
        let why = rule.refuses(&Reading::of(&said(text, source))).unwrap();
        assert!(why.contains(says), "{text}: {why}");
    }
}

#[test]
fn a_rule_that_cannot_be_meant_is_refused_by_name() {
    for (text, says) in [
        ("colour = 1", "colour"),
        ("message = { regex = \"(\" }", "message.regex"),
        ("message = { regex = \"[ab]{0,900}\" }", "message.regex"),
        ("message = { prefix = \"\" }", "message.prefix"),
        ("strategy = \"fastest\"", "fastest"),
        ("weights = { a = 2 }", "weights"),
        ("timeout_s = 0", "timeout_s"),
        ("node = { skill_kind = \"tols\" }", "skill_kind"),
        ("node = { group = \"g\" }", "no group"),
        ("[[group]]\nname = \"g\"\nnode = {}", "group \"g\""),
        ("[[rule]]\nname = \"a\"", "two rules"),
        ("[[test]]\nmessage = \"x\"\nrule = \"b\"", "test 1"),
        (
            "disabled = true\n[[test]]\nmessage = \"x\"\nrule = \"a\"",
            "no rule",
        ),
    ] {
        let why = rule(text).unwrap_err();
        assert!(why.contains(says), "{text}: {why}");
    }
    assert!(
        Routes::parse("version = 2")
            .unwrap_err()
            .contains("version")
    );
    let many = "[[rule]]\nname = \"x\"\n".repeat(ROUTE_RULES_MAX + 1);
    assert!(Routes::parse(&format!("version = 1\n{many}")).is_err());
    assert!(Routes::parse(&" ".repeat(ROUTES_MAX_BYTES + 1)).is_err());
}

#[test]
fn the_tests_of_the_rules_hold_or_the_rules_are_refused() {
    let routes = rule(
        "message = { words = [\"ios\"] }\n[[rule]]\nname = \"rest\"\n\
         [[test]]\nmessage = \"an ios build\"\nrule = \"a\"\n[[test]]\nmessage = \"hello\"\nrule = \"rest\"",
    );
    assert_eq!(routes.unwrap().tests(), 2);
}

#[test]
fn patterns_are_few_and_look_at_the_begin_of_a_message_alone() {
    let many: String = (0..=ROUTE_PATTERNS_MAX)
        .map(|n| format!("[[rule]]\nname = \"r{n}\"\nmessage = {{ regex = \"x\" }}\n"))
        .collect();
    let refused = Routes::parse(&format!("version = 1\n{many}")).unwrap_err();
    assert!(refused.contains("regex"), "{refused}");
    let routes = rule("message = { regex = \"needle\" }").unwrap();
    let hay = "é".repeat(ROUTE_PATTERN_TEXT_MAX_BYTES);
    for (text, found) in [
        (format!("needle {hay}"), true),
        (format!("{hay} needle"), false),
    ] {
        let refuses = routes.rules()[0].refuses(&Reading::of(&said(&text, "cli")));
        assert_eq!(refuses.is_none(), found);
    }
}
