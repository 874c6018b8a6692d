//! Devices on a serial line: some keep to the standard, some do not, and the adapter is unplugged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::bus::{Bus, Odd};
use super::made;
use crate::adapters::devices::exec::tests::act;
use crate::adapters::devices::modbus::link::Urgency;
use crate::adapters::devices::modbus::socket::Fault;
use crate::adapters::devices::modbus::wire::{Ask, Span, Table};
use crate::adapters::devices::tests::{Passwords, conforms, made_with};
use crate::adapters::devices::{DriverError, SharedActuator};

fn read(at: u16) -> Ask {
    Ask::Read(Span {
        table: Table::Holding,
        at,
        count: 1,
    })
}

fn write(at: u16, word: u16) -> Ask {
    Ask::Write {
        span: Span {
            table: Table::Coil,
            at,
            count: 1,
        },
        words: vec![word],
        many: false,
    }
}

#[tokio::test]
async fn whatever_comes_the_next_answer_is_to_the_next_request() {
    for odd in [
        Odd::Never,
        Odd::Done,
        Odd::Held,
        Odd::Instead,
        Odd::Crc,
        Odd::Garbage,
        Odd::Half,
        Odd::Unit,
        Odd::Function,
    ] {
        let bus = Bus::new(&[7]);
        (0..5).for_each(|at| bus.set(7, 3, at, 100 + at));
        let link = bus.link(7);
        assert_eq!(link.ask(read(0), Urgency::Action).await.unwrap(), [100]);
        bus.next(&[odd]);
        let fault = link.ask(read(1), Urgency::Action).await.unwrap_err();
        assert!(matches!(fault, Fault::Unanswered(_)), "{odd:?}: {fault:?}");
        let why = fault.why();
        assert!(why.starts_with("holding:1 of unit 7 at /"), "{why}");
        let mut told = 0;
        for at in 2..5 {
            match link.ask(read(at), Urgency::Action).await {
                Ok(words) => {
                    assert_eq!(words, [100 + at], "after {odd:?}");
                    told += 1;
                }
                Err(fault) => assert!(odd == Odd::Instead, "after {odd:?}: {fault:?}"),
            }
        }
        assert!(told >= 2, "{odd:?}: it is heard again");
        assert!(!bus.state().crowded);
    }
}

#[tokio::test]
async fn a_late_answer_is_never_taken_for_one_that_looks_like_it() {
    // The device answers each request only when the next one comes, whatever is asked in between.
    let bus = Bus::new(&[7]);
    (0..20).for_each(|at| bus.set(7, 3, at, 100 + at));
    let link = bus.link(7);
    link.ask(read(0), Urgency::Action).await.unwrap();
    bus.next(&[Odd::Held; 12]);
    for at in 1..8 {
        if let Ok(words) = link.ask(read(at), Urgency::Action).await {
            assert_eq!(words, [100 + at]);
        }
    }
    bus.next(&[]);
    let mut right = 0;
    for at in 8..20 {
        if let Ok(words) = link.ask(read(at), Urgency::Action).await {
            assert_eq!(words, [100 + at]);
            right += 1;
        }
    }
    assert!(right >= 10, "{right}");
    // Nor what repeats an earlier write.
    bus.next(&[Odd::Held]);
    link.ask(write(9, 1), Urgency::Action).await.unwrap_err();
    bus.next(&[Odd::Good, Odd::Never]);
    let fault = link.ask(write(9, 1), Urgency::Action).await.unwrap_err();
    assert!(matches!(fault, Fault::Unanswered(_)), "{fault:?}");
    link.ask(write(9, 1), Urgency::Action).await.unwrap();
}

#[tokio::test]
async fn an_answer_in_pieces_is_one_a_second_one_is_none_and_a_refusal_is_told() {
    let bus = Bus::new(&[7]);
    (0..4).for_each(|at| bus.set(7, 3, at, 100 + at));
    let link = bus.link(7);
    bus.next(&[Odd::Trickle, Odd::Twice]);
    for at in 0..4 {
        let said = link.ask(read(at), Urgency::Action).await.unwrap();
        assert_eq!(said, [100 + at]);
    }
    bus.next(&[Odd::Exception(2)]);
    let fault = link.ask(read(0), Urgency::Action).await.unwrap_err();
    assert!(
        fault.is_refusal() && fault.why().contains("40001 is holding:0"),
        "{fault:?}"
    );
    // Nothing waits for an answer any more.
    let before = bus.state().asked.len();
    link.ask(read(0), Urgency::Action).await.unwrap();
    assert_eq!(bus.state().asked.len(), before + 1);
}

#[tokio::test]
async fn an_adapter_that_gives_back_what_is_sent_is_no_device() {
    let bus = Bus::new(&[7]);
    bus.state().echoes = true;
    bus.set(7, 3, 1, 101);
    // Asked for a register whose number looks like a length.
    bus.set(7, 3, 0x0200, 7);
    let link = bus.link(7);
    link.ask(write(9, 1), Urgency::Safety).await.unwrap();
    assert_eq!(bus.word(7, 1, 9), 1);
    assert_eq!(link.ask(read(0x0200), Urgency::Action).await.unwrap(), [7]);
    assert_eq!(link.ask(read(1), Urgency::Action).await.unwrap(), [101]);
    link.ask(write(9, 0), Urgency::Action).await.unwrap();
    assert_eq!(bus.word(7, 1, 9), 0);
    // Nobody is there: what comes back proves nothing, and an action is not even said.
    let nobody = Bus::new(&[]);
    nobody.state().echoes = true;
    let link = nobody.link(7);
    let fault = link.ask(write(9, 1), Urgency::Action).await.unwrap_err();
    assert!(matches!(fault, Fault::Unsent(_)), "{fault:?}");
    assert!(
        nobody
            .state()
            .asked
            .iter()
            .all(|(_, function, _)| *function != 5)
    );
    // The way to the safe state is.
    let fault = link.ask(write(9, 0), Urgency::Safety).await.unwrap_err();
    assert!(matches!(fault, Fault::Unanswered(_)), "{fault:?}");
    let asked = nobody.state().asked.clone();
    assert_eq!(asked.last(), Some(&(7, 5, 9)));
    // A register whose number looks like a length, without an echo.
    let plain = Bus::new(&[7]);
    plain.set(7, 3, 0x0200, 0);
    let link = plain.link(7);
    assert_eq!(link.ask(read(0x0200), Urgency::Action).await.unwrap(), [0]);
    assert_eq!(link.ask(read(0x0200), Urgency::Action).await.unwrap(), [0]);
}

#[tokio::test]
async fn several_tables_share_a_line_and_a_dead_device_is_nobody_elses() {
    let bus = Bus::new(&[1, 2]);
    bus.set(1, 3, 0, 11);
    bus.set(2, 3, 0, 22);
    let (one, two, dead) = (bus.link(1), bus.link(2), bus.link(3));
    for _ in 0..5 {
        let (a, b, c) = tokio::join!(
            one.ask(read(0), Urgency::Action),
            two.ask(read(0), Urgency::Action),
            dead.ask(read(0), Urgency::Action),
        );
        assert_eq!((a.unwrap(), b.unwrap()), (vec![11], vec![22]));
        let fault = c.unwrap_err();
        assert!(
            fault.why().contains("has not answered within 150 ms"),
            "{fault:?}"
        );
    }
    assert!(!bus.state().crowded, "one at a time");
    assert!(one.slowest() > dead.place().limit * 3);
    drop((two, dead));
    assert!(one.slowest() < Duration::from_secs(3));
    // Late answers of one are none of another.
    let two = bus.link(2);
    bus.next(&[Odd::Held]);
    two.ask(read(0), Urgency::Action).await.unwrap_err();
    assert_eq!(one.ask(read(0), Urgency::Action).await.unwrap(), [11]);
    assert_eq!(two.ask(read(0), Urgency::Action).await.unwrap(), [22]);
}

#[tokio::test]
async fn the_way_to_the_safe_state_goes_before_what_others_of_the_line_ask() {
    let mut bus = Bus::new(&[1, 2, 3]);
    // Long enough that the others wait before it is over.
    bus.limit = Duration::from_millis(1_500);
    let links = [bus.link(1), bus.link(2), bus.link(3)];
    for link in &links {
        link.ask(read(0), Urgency::Action).await.unwrap();
    }
    bus.next(&[Odd::Never]);
    let before = bus.state().asked.len();
    let busy = links[0].ask(read(1), Urgency::Action);
    let in_turn = async {
        while bus.state().asked.len() == before {
            tokio::task::yield_now().await;
        }
        let action = links[1].ask(read(2), Urgency::Action);
        let safety = links[2].ask(write(3, 0), Urgency::Safety);
        let (action, safety) = tokio::join!(action, safety);
        action.unwrap();
        safety.unwrap();
    };
    let (busy, ()) = tokio::join!(busy, in_turn);
    busy.unwrap_err();
    let order: Vec<u8> = bus.state().asked[before..]
        .iter()
        .map(|(unit, ..)| *unit)
        .collect();
    assert_eq!(order, [1, 3, 2]);
}

const VALVE: &str = "[[actuator]]\ncapability = \"actuator:x:y\"\nsafe = \"close\"\n\
    [[actuator.operation]]\nname = \"open\"\nwrite = { table = \"coil\", at = 10, value = true }\n\
    [[actuator.operation]]\nname = \"close\"\nwrite = { table = \"coil\", at = 10, value = false }\n";

fn valve(bus: &Bus) -> SharedActuator {
    made(&format!("{}{VALVE}", bus.head(7)))
        .unwrap()
        .actuators
        .swap_remove(0)
}

#[tokio::test]
async fn an_actuator_on_a_line_is_as_every_other() {
    let bus = Bus::new(&[7]);
    bus.set(7, 1, 10, 1);
    let valve = valve(&bus);
    valve.make_safe("start").await.unwrap();
    assert_eq!(bus.word(7, 1, 10), 0);
    conforms(&*valve).await;
}

#[tokio::test]
async fn an_unplugged_adapter_leaves_the_outcome_unknown_and_is_made_safe_when_it_is_back() {
    let mut bus = Bus::new(&[7]);
    let valve = valve(&bus);
    valve.make_safe("start").await.unwrap();
    // Done and not answered: the cable is pulled in between.
    bus.next(&[Odd::Done]);
    let error = valve.act(act(&*valve, "open", "j")).await.unwrap_err();
    assert!(matches!(error, DriverError::Unanswered(_)), "{error}");
    assert_eq!(bus.word(7, 1, 10), 1);
    bus.unplug();
    let error = valve.make_safe("j").await.unwrap_err().to_string();
    assert!(error.contains("is the adapter plugged in"), "{error}");
    let error = valve.act(act(&*valve, "open", "k")).await.unwrap_err();
    assert!(matches!(error, DriverError::Failed(_)), "{error}");
    let back = valve.back();
    bus.plug();
    back.await;
    valve.make_safe("j").await.unwrap();
    assert_eq!(bus.word(7, 1, 10), 0);
}

/// The tables of one configuration, or what is wrong with them.
fn problem(tables: &[&str]) -> String {
    let made = made_with(Arc::new(Passwords), tables);
    made.err().unwrap_or_else(|| "fine".to_owned())
}

#[test]
fn a_line_has_one_speed_and_a_unit_one_table() {
    let table = |name: &str, path: &Path, keys: &str| {
        let path = path.display();
        format!(
            "kind = \"modbus\"\nname = \"{name}\"\nserial = \"{path}\"\n{keys}\n\
             reading = [{{ metric = \"{name}\", register = \"input:1\" }}]"
        )
    };
    let usb = Path::new("/dev/ttyUSB77");
    let one = table("a", usb, "unit = 1\nbaud = 9600\nparity = \"even\"");
    for (keys, why) in [
        (
            "unit = 2\nbaud = 9600\nparity = \"even\"\nstop_bits = 1",
            "fine",
        ),
        (
            "unit = 2\nbaud = 19200\nparity = \"even\"",
            "serial: /dev/ttyUSB77 is Modbus at /dev/ttyUSB77, 19200 baud, 8E1 here and",
        ),
        (
            "unit = 2\nbaud = 9600\nparity = \"none\"",
            "9600 baud, 8E1 in modbus a; all tables of one port say the same of it",
        ),
        (
            "unit = 1\nbaud = 9600\nparity = \"even\"",
            "unit 1 at /dev/ttyUSB77 has a table already, modbus a",
        ),
        ("unit = 2", "baud and parity: both are needed with serial"),
        (
            "unit = 2\nbaud = 9600\nparity = \"mark\"",
            "unknown variant `mark`",
        ),
        (
            "unit = 2\nbaud = 9600\nparity = \"even\"\nstop_bits = 3",
            "stop_bits: must be 1 or 2",
        ),
        (
            "unit = 0\nbaud = 9600\nparity = \"even\"",
            "unit: must be 1 to 247 on a serial line",
        ),
        (
            "unit = 2\nbaud = 9600\nparity = \"even\"\naddress = \"plc\"",
            "give either address",
        ),
    ] {
        let problem = problem(&[&one, &table("b", usb, keys)]);
        assert!(problem.contains(why), "{keys}: {problem}");
    }
    // By another name it is the same port.
    let dir = tempfile::tempdir().unwrap();
    let (port, link) = (dir.path().join("port"), dir.path().join("link"));
    std::fs::write(&port, "").unwrap();
    std::os::unix::fs::symlink(&port, &link).unwrap();
    let keys = "baud = 9600\nparity = \"even\"\nunit = 1";
    let told = problem(&[
        &table("a", &port, keys),
        &table("b", &link, &keys.replace("= 1", "= 2")),
    ]);
    assert!(
        told.contains("all tables of one port say the same of it"),
        "{told}"
    );
    let relative = problem(&[&table("a", Path::new("ttyUSB0"), keys)]);
    assert!(
        relative.contains("serial: must be the whole path"),
        "{relative}"
    );
}
