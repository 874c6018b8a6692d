//! Tests of the keys and of the drawing; `tests/it/tui.rs` drives the real program in a real terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;
use tokio::time::Instant;

use super::acts::Done;
use super::draw;
use super::news::{News, Shown};
use super::screen::Input;
use super::state::App;
use super::wish::{Tab, Wish};
use crate::operator::dto::{FactView, NodeView, StatusView};
use crate::operator::estop::EstopView;

/// A control character, a bidi mark, wide characters: what a stranger may call something.
const FOREIGN: &str = "\u{1b}[2J\u{202e}漢漢🙂 name";

fn status(alarm: Option<&str>) -> StatusView {
    let alarms = alarm.map(|message| {
        json!({"kind": "actuator.unsafe", "severity": "critical", "subject": "x", "since": 1, "message": message,
               "advice": ""})
    });
    let policy = json!({"digest": "ab", "rules": 1, "problem": null});
    let value = json!({
        "deviceId": "ab".repeat(32), "displayName": FOREIGN, "role": "node", "meshId": "cd".repeat(32),
        "meshName": "farm", "version": "0.1.0", "port": 1, "uptimeMs": 1, "frames": 1, "framesPerSec": 0.0,
        "storeBytes": 1, "facts": 1, "peers": [], "proposalsWaiting": 2, "draftsWaiting": 0, "capabilities": [],
        "planner": {"kind": "rules", "state": "idle", "why": "no rule has reason to act", "rules": 1, "pause": null,
                    "lastRule": null, "lastFiredAt": null},
        "policy": policy, "clockTrusted": true, "demo": false, "problems": [],
        "bots": [{"kind": "telegram", "name": "farm_bot", "answeredBy": FOREIGN, "heardAt": 1, "others": []}],
        "places": [{"name": "phones", "way": "push", "afterMs": 0, "severity": "warning", "problem": "no phone"}],
        "alarms": alarms.into_iter().collect::<Vec<_>>(),
    });
    serde_json::from_value(value).unwrap()
}

fn fact(metric: &str, age_ms: u64) -> FactView {
    let value = json!({
        "metric": metric, "zone": "zone-1", "value": 31.5, "unit": "%", "origin": "ab".repeat(32),
        "originName": FOREIGN, "frameId": "f1", "sensedAt": 1_000, "ageMs": age_ms, "claimedTier": "T2",
        "effectiveTier": "T1", "signature": "verified", "tainted": false,
    });
    serde_json::from_value(value).unwrap()
}

fn news(shown: Shown, alarm: Option<&str>) -> News {
    News {
        status: status(alarm),
        stop: EstopView {
            latched: false,
            latch: None,
        },
        shown,
        at: Instant::now(),
    }
}

fn app() -> App {
    App::new("ada".to_owned())
}

fn press(app: &mut App, code: KeyCode) -> Option<Wish> {
    app.input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn write(app: &mut App, text: &str) -> Option<Wish> {
    for c in text.chars() {
        assert!(press(app, KeyCode::Char(c)).is_none());
    }
    press(app, KeyCode::Enter)
}

fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::all(frame, app, 2_000)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let lines = buffer.content.chunks(usize::from(width));
    let line =
        |cells: &[ratatui::buffer::Cell]| cells.iter().map(|c| c.symbol()).collect::<String>();
    lines.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn this_node_says_which_ways_to_people_it_has() {
    let node = |own: bool| -> NodeView {
        let told = json!({"deviceId": "ab".repeat(32), "displayName": "farm", "own": own, "connected": true, "role": "node",
            "capabilities": [], "withheld": [], "grants": []});
        serde_json::from_value(told).unwrap()
    };
    let shown = Shown::Nodes(vec![node(true), node(false)], Vec::new());
    let rows = super::views::rows(&shown, &status(None), 2_000, 0);
    let said = rows[0].more.join("\n");
    assert!(
        said.contains("bots:     telegram farm_bot: ") && said.contains("answers"),
        "{said}"
    );
    assert!(
        said.contains("tells:    phones (push), FAILS: no phone"),
        "{said}"
    );
    assert!(!said.contains(FOREIGN), "{said}");
    assert!(!rows[1].more.join("\n").contains("bots:"));
}

#[tokio::test]
async fn readings_are_listed_filtered_and_opened() {
    let mut app = app();
    assert!(screen(&app, 80, 24).contains("asking the node"));
    press(&mut app, KeyCode::Char('2'));
    assert_eq!(app.tab(), Tab::World);
    assert!(app.take_hurry(), "another view is asked for at once");
    let facts = vec![fact("moisture", 5_000), fact("tank.level", 1_000)];
    app.hear(Ok(news(Shown::World(facts), None)));
    let shown = screen(&app, 80, 24);
    for words in [
        "moisture",
        "31.5%",
        "5 s",
        "T2→T1",
        "tank.level",
        "Approvals (2)",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown}"
    );
    press(&mut app, KeyCode::Char('/'));
    write(&mut app, "TANK");
    let shown = screen(&app, 80, 24);
    assert!(
        shown.contains("tank.level") && !shown.contains("moisture"),
        "{shown}"
    );
    press(&mut app, KeyCode::Enter);
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("frame:     f1"), "{shown}");
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Esc);
    assert!(screen(&app, 80, 24).contains("moisture"));
}

#[tokio::test]
async fn an_answer_for_another_view_is_not_shown_in_this_one() {
    let mut app = app();
    press(&mut app, KeyCode::Char('2'));
    app.hear(Ok(news(Shown::Planner, None)));
    assert!(app.shown.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_told_and_ages_go_on() {
    let mut app = app();
    press(&mut app, KeyCode::Char('2'));
    app.hear(Ok(news(Shown::World(vec![fact("moisture", 5_000)]), None)));
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    app.hear(Err("no node runs on /x".to_owned()));
    let shown = screen(&app, 80, 24);
    for words in ["NO ANSWER: no node runs on /x", "60 s old", "65 s"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    app.hear(Ok(news(Shown::Planner, Some("the valve is not safe"))));
    let shown = screen(&app, 80, 24);
    assert!(
        shown.contains("CRITICAL: the valve is not safe") && !shown.contains("NO ANSWER"),
        "{shown}"
    );
}

#[tokio::test]
async fn everything_is_stopped_by_the_word_only() {
    let mut app = app();
    press(&mut app, KeyCode::Char('!'));
    assert!(write(&mut app, "yes").is_none());
    assert!(screen(&app, 80, 24).contains("nothing was stopped"));
    press(&mut app, KeyCode::Char('!'));
    assert!(press(&mut app, KeyCode::Esc).is_none());
    press(&mut app, KeyCode::Char('!'));
    assert!(matches!(write(&mut app, "stop"), Some(Wish::Estop(None))));
}

#[tokio::test]
async fn what_cannot_be_seen_is_not_answered() {
    let mut app = app();
    screen(&app, 59, 24);
    press(&mut app, KeyCode::Char('!'));
    assert!(write(&mut app, "stop").is_none());
    screen(&app, 60, 10);
    press(&mut app, KeyCode::Char('!'));
    screen(&app, 60, 9);
    assert!(write(&mut app, "stop").is_none());
    screen(&app, 60, 10);
    assert!(matches!(write(&mut app, "stop"), Some(Wish::Estop(None))));
    screen(&app, 1, 1);
    press(&mut app, KeyCode::Char('q'));
    assert!(app.over());
}

#[tokio::test]
async fn commands_do_what_they_say_or_say_what_is_wrong() {
    let command = |line: &str| {
        let mut app = app();
        press(&mut app, KeyCode::Char(':'));
        let wish = write(&mut app, line);
        (wish, app)
    };
    assert!(matches!(command("stop 17a2").0, Some(Wish::Stop(id)) if id == "17a2"));
    assert!(
        matches!(command("pause lunch break").0, Some(Wish::Pause(Some(why))) if why == "lunch break")
    );
    assert!(matches!(command("resume").0, Some(Wish::Resume)));
    assert!(matches!(command("ask is it dry?").0, Some(Wish::Ask(q)) if q == "is it dry?"));
    // Nothing is approved that has not been seen.
    assert!(matches!(command("approve 17a2").0, Some(Wish::Look(id)) if id == "17a2"));
    assert_eq!(command("events").1.tab(), Tab::Events);
    assert!(command("quit").1.over());
    for wrong in ["stop", "approve", "dance", "dance now", "resume it"] {
        let (wish, app) = command(wrong);
        assert!(wish.is_none(), "{wrong}");
        let (said, bad) = app.message.unwrap();
        assert!(bad && said.contains("press ?"), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn ctrl_c_leaves_whatever_is_asked_for() {
    let mut app = app();
    press(&mut app, KeyCode::Char(':'));
    app.input(Input::Key(KeyEvent::new(
        KeyCode::Char('c'),
        KeyModifiers::CONTROL,
    )));
    assert!(app.over());
}

fn key() -> impl Strategy<Value = KeyCode> {
    prop_oneof![
        any::<char>().prop_map(KeyCode::Char),
        prop::sample::select("12345/:!?qgGjkhlars ".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        prop::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::PageUp,
            KeyCode::PageDown,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::Backspace,
            KeyCode::F(1),
        ]),
    ]
}

proptest! {
    #[test]
    fn no_keys_and_no_size_of_a_terminal_end_it(
        keys in proptest::collection::vec(key(), 0..60),
        sizes in proptest::collection::vec((1..200u16, 1..60u16), 1..4),
        text in any::<String>(),
    ) {
        let mut app = app();
        let facts = vec![fact(&text, 5_000), fact("tank.level", 1_000)];
        app.hear(Ok(news(Shown::World(facts), Some(&text))));
        for code in keys {
            press(&mut app, code);
            let facts = vec![fact(&text, 5_000), fact("tank.level", 1_000)];
            app.hear(Ok(news(Shown::World(facts), Some(&text))));
        }
        app.done(Done::Text(text.clone(), vec![text.clone(); 50]));
        for (width, height) in &sizes {
            screen(&app, *width, *height);
        }
        press(&mut app, KeyCode::Esc);
        for (width, height) in sizes {
            screen(&app, width, height);
        }
    }
}
