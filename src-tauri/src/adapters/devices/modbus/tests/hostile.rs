//! Devices that keep to no standard: each costs one request, and the next one is answered rightly.

use std::time::Duration;

use super::slave::{Slave, Twist};
use crate::adapters::devices::modbus::link::{Link, Urgency};
use crate::adapters::devices::modbus::poll::Poll;
use crate::adapters::devices::modbus::socket::Fault;
use crate::adapters::devices::modbus::way::Place;
use crate::adapters::devices::modbus::wire::{Ask, Span, Table};

fn link(slave: &Slave) -> Link {
    let place = Place {
        address: slave.address.to_string(),
        wiring: None,
        unit: 7,
        limit: Duration::from_millis(300),
    };
    Link::new(place, Poll::default())
}

fn read(at: u16) -> Ask {
    Ask::Read(Span {
        table: Table::Holding,
        at,
        count: 1,
    })
}

#[tokio::test]
async fn whatever_a_device_answers_the_next_answer_is_to_the_next_request() {
    for twist in [
        Twist::Transaction,
        Twist::Unit,
        Twist::Function,
        Twist::Long,
        Twist::Few,
        Twist::Half,
        Twist::Never,
        Twist::Garbage,
        Twist::Close,
        Twist::Stale,
    ] {
        let slave = Slave::new();
        (0..4).for_each(|at| slave.set(3, at, 100 + at));
        let link = link(&slave);
        assert_eq!(link.ask(read(0), Urgency::Action).await.unwrap(), [100]);
        slave.next(&[twist]);
        let fault = link.ask(read(1), Urgency::Action).await.unwrap_err();
        assert!(
            matches!(fault, Fault::Unanswered(_)),
            "{twist:?}: {fault:?}"
        );
        assert!(
            fault.why().starts_with("holding:1 of unit 7 at "),
            "{fault:?}"
        );
        for at in 2..4 {
            let said = link.ask(read(at), Urgency::Action).await;
            assert_eq!(said.unwrap(), [100 + at], "after {twist:?}");
        }
        assert_eq!(slave.bank().connections, 2, "{twist:?}: a new connection");
    }
}

#[tokio::test]
async fn an_answer_in_pieces_is_one_and_a_second_one_is_none() {
    let slave = Slave::new();
    (0..4).for_each(|at| slave.set(3, at, 100 + at));
    let link = link(&slave);
    slave.next(&[Twist::Trickle, Twist::Twice]);
    for at in 0..4 {
        assert_eq!(
            link.ask(read(at), Urgency::Action).await.unwrap(),
            [100 + at]
        );
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_keeps_the_connection() {
    let slave = Slave::new();
    let link = link(&slave);
    for (code, word) in [
        (1, "function 3"),
        (2, "40001 is holding:0"),
        (3, "most_registers"),
        (4, "look at the device"),
        (6, "busy"),
        (10, "no way to unit 7"),
        (11, "unit 7 behind it does not"),
        (99, "exception 99"),
    ] {
        slave.next(&[Twist::Exception(code)]);
        let fault = link.ask(read(40), Urgency::Action).await.unwrap_err();
        assert!(fault.is_refusal(), "{fault:?}");
        let why = fault.why();
        assert!(
            why.starts_with("holding:40 of unit 7 at ") && why.contains(word),
            "{why}"
        );
    }
    assert_eq!(slave.bank().connections, 1);
}

#[tokio::test]
async fn what_is_urgent_goes_before_what_waits() {
    let slave = Slave::new();
    let link = link(&slave);
    link.ask(read(0), Urgency::Action).await.unwrap();
    slave.next(&[Twist::Never]);
    let asked = slave.bank().asked.len();
    let first = link.ask(read(1), Urgency::Action);
    let waits = link.ask(read(2), Urgency::Action);
    let urgent = link.ask(read(3), Urgency::Safety);
    let in_turn = async {
        while slave.bank().asked.len() == asked {
            tokio::task::yield_now().await;
        }
        let (waits, urgent) = tokio::join!(waits, urgent);
        waits.unwrap();
        urgent.unwrap();
    };
    let (first, ()) = tokio::join!(first, in_turn);
    first.unwrap_err();
    let order: Vec<u16> = slave.bank().asked.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(order, [0, 1, 3, 2]);
}

#[tokio::test]
async fn the_connection_ends_with_the_last_who_uses_it() {
    let slave = Slave::new();
    let (one, two) = (link(&slave), link(&slave));
    let other = one.clone();
    one.ask(read(0), Urgency::Action).await.unwrap();
    two.ask(read(0), Urgency::Action).await.unwrap();
    drop((one, two));
    while slave.bank().ended == 0 {
        tokio::task::yield_now().await;
    }
    other.ask(read(0), Urgency::Action).await.unwrap();
    assert_eq!(slave.bank().connections, 2);
    drop(other);
    while slave.bank().ended < 2 {
        tokio::task::yield_now().await;
    }
}
