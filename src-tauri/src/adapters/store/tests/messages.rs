//! Messages and runs in the store.

use rusqlite::Connection;

use crate::adapters::store::messages::*;
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::coordination::choose::Place;
use crate::domain::coordination::message::{Message, MessageState};

fn database() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    for migration in [
        include_str!("../migrations/0026.sql"),
        include_str!("../migrations/0027.sql"),
    ] {
        conn.execute_batch(migration).unwrap();
    }
    conn
}

fn message(id: &str, priority: i64, at: u64) -> Message {
    Message {
        id: id.into(),
        text: format!("text of {id}"),
        source: "cli".into(),
        sender: "ada".into(),
        key: Some(id.into()),
        place: Place::default(),
        priority,
        created_at: TimeMs(at),
        expires_at: TimeMs(at + 100),
        state: MessageState::Queued,
        next_at: TimeMs(0),
        rule: None,
        retry: Default::default(),
        attempts: Vec::new(),
        answer: None,
        why: None,
        ended_at: None,
    }
}

fn ids(all: &[Message]) -> Vec<&str> {
    all.iter().map(|m| m.id.as_str()).collect()
}

#[test]
fn messages_are_due_by_priority_and_one_that_is_over_changes_no_more() {
    let conn = database();
    for (id, priority, at) in [("a", 0, 1), ("b", 0, 2), ("c", 1, 3)] {
        put(&conn, &message(id, priority, at)).unwrap();
    }
    assert!(
        put(
            &conn,
            &Message {
                key: Some("a".into()),
                ..message("d", 0, 1)
            }
        )
        .is_err()
    );
    assert_eq!(ids(&due(&conn, TimeMs(5), 2).unwrap()), ["c", "a"]);
    assert_eq!(
        by_key(&conn, "cli", "ada", "b").unwrap().unwrap(),
        message("b", 0, 2)
    );
    let end = |m: &mut Message| {
        m.state = MessageState::Answered;
        m.answer = Some("Forty-two".into());
        m.ended_at = Some(TimeMs(9));
    };
    assert!(change(&conn, "a", end).unwrap().is_some());
    let again = change(&conn, "a", |m| m.answer = Some("other".into())).unwrap();
    assert_eq!(again, None);
    assert_eq!(
        get(&conn, "a").unwrap().unwrap().answer.as_deref(),
        Some("Forty-two")
    );
    let later = |m: &mut Message| m.next_at = TimeMs(50);
    change(&conn, "c", later).unwrap();
    assert_eq!(ids(&due(&conn, TimeMs(5), 9).unwrap()), ["b"]);
    wake(&conn).unwrap();
    assert_eq!(ids(&due(&conn, TimeMs(5), 9).unwrap()), ["c", "b"]);
    assert_eq!(ids(&overdue(&conn, TimeMs(102), 9).unwrap()), ["b"]);
    assert_eq!(open(&conn).unwrap(), 2);
    let found = Page {
        text: Some("FORTY".into()),
        limit: 9,
        ..Page::default()
    };
    assert_eq!(ids(&page(&conn, &found).unwrap()), ["a"]);
    let queued = Page {
        states: vec![MessageState::Queued],
        limit: 1,
        ..Page::default()
    };
    assert_eq!(ids(&page(&conn, &queued).unwrap()), ["c"]);
    assert_eq!(counts(&conn).unwrap().len(), 2);
    // Those of one moment are listed to the last, page by page.
    for id in ["x", "y", "z"] {
        put(&conn, &message(id, 0, 7)).unwrap();
    }
    let mut seen = Vec::new();
    let mut next = Page {
        limit: 2,
        ..Page::default()
    };
    loop {
        let some = page(&conn, &next).unwrap();
        let Some(last) = some.last() else { break };
        next.before = Some(last.created_at);
        next.before_id = Some(last.id.clone());
        seen.extend(some.into_iter().map(|m| m.id));
    }
    assert_eq!(seen, ["z", "y", "x", "c", "b", "a"]);
}

#[test]
fn a_run_is_begun_once_and_one_that_was_cut_off_says_so() {
    let conn = database();
    let device: DeviceId = "ab".repeat(32).parse().unwrap();
    let begin = |id: &str, agent: &str, process: Option<&str>| {
        begin_run(&conn, &device, id, (agent, process), TimeMs(1)).unwrap()
    };
    let runs = [
        ("x.1", "home/main", Some("p")),
        ("y.1", "model", None),
        ("z.1", "home/main", None),
        ("w.1", "home/main", Some("p")),
    ];
    for (id, agent, process) in runs {
        assert_eq!(begin(id, agent, process), Begun::Anew);
        assert_eq!(begin(id, agent, process), Begun::Known);
    }
    let state = |id: &str| run(&conn, &device, id).unwrap();
    let answered = RunState::Answered("yes".into());
    end_run(&conn, &device, "x.1", &answered, TimeMs(2)).unwrap();
    let late = RunState::Failed("late".into());
    end_run(&conn, &device, "x.1", &late, TimeMs(3)).unwrap();
    let ended = interrupt_runs(&conn, "model", "it ended", TimeMs(4)).unwrap();
    assert_eq!(ended, 3);
    assert_eq!(state("x.1"), Some(answered));
    let why = || "it ended".to_owned();
    assert_eq!(state("y.1"), Some(RunState::NotRun(why())));
    assert_eq!(state("z.1"), Some(RunState::Interrupted(why())));
    assert_eq!(state("w.1"), Some(RunState::Left(why())));
    // Taken up by what it was asked of then, and by the same agent alone.
    for (id, agent) in [
        ("x.1", "home/main"),
        ("y.1", "model"),
        ("z.1", "home/main"),
        ("w.1", "home/x"),
    ] {
        assert_eq!(begin(id, agent, Some("q")), Begun::Known, "{id}");
    }
    let taken_up = Begun::TakenUp {
        process: "p".to_owned(),
        began_at: TimeMs(1),
    };
    assert_eq!(begin("w.1", "home/main", Some("q")), taken_up);
    assert_eq!(state("w.1"), Some(RunState::Running));
    assert_eq!(begin("w.1", "home/main", Some("q")), Begun::Known);
    prune(&conn, TimeMs(4)).unwrap();
    assert_eq!(run(&conn, &device, "x.1").unwrap(), None);
    assert!(run(&conn, &device, "z.1").unwrap().is_some());
}
