//! Actions, and the way to the safe state.

use std::time::Duration;

use super::slave::{Slave, Twist};
use super::{head, made};
use crate::adapters::devices::exec::tests::act;
use crate::adapters::devices::{DriverError, SharedActuator};
use crate::domain::capability::{Action, Params};
use crate::domain::gate::actuation::act_of;

const PUMP: &str = "[[actuator]]\ncapability = \"actuator:pump:p1\"\nsafe = \"stop\"\n\
    [[actuator.operation]]\nname = \"start\"\nwrite = { table = \"coil\", at = 10, value = true }\n\
    [[actuator.operation]]\nname = \"stop\"\nwrite = { table = \"coil\", at = 10, value = false }\n";

fn pump(slave: &Slave, more: &str) -> SharedActuator {
    let text = format!("{}{PUMP}{more}", head(slave));
    made(&text).unwrap().actuators.swap_remove(0)
}

/// An actuator that has been made safe once, as a guard does before anything else.
async fn safe_pump(slave: &Slave, more: &str) -> SharedActuator {
    let pump = pump(slave, more);
    pump.make_safe("start").await.unwrap();
    slave.bank().written.clear();
    pump
}

#[tokio::test]
async fn it_moves_once_tells_where_it_is_and_makes_safe_twice() {
    let slave = Slave::new();
    let pump = safe_pump(&slave, "").await;
    pump.arm("j").await.unwrap();
    pump.act(act(&*pump, "start", "j")).await.unwrap();
    assert_eq!(pump.state().await.unwrap().position, "start");
    pump.make_safe("j").await.unwrap();
    pump.make_safe("j").await.unwrap();
    assert_eq!(pump.state().await.unwrap().position, "stop");
    assert_eq!(slave.bank().written, [(1, 10, 1), (1, 10, 0), (1, 10, 0)]);
    let error = pump.act(act(&*pump, "explode", "j")).await.unwrap_err();
    assert!(error.to_string().contains("start, stop"), "{error}");
    // The safe state as an action is as good as making safe.
    pump.act(act(&*pump, "start", "k")).await.unwrap();
    pump.act(act(&*pump, "stop", "k")).await.unwrap();
    assert_eq!(slave.word(1, 10), 0);
    assert_eq!(slave.bank().connections, 1);
}

#[tokio::test]
async fn an_action_that_is_not_answered_is_said_once_and_may_have_been_done() {
    for (twist, fails) in [
        (Twist::Exception(2), true),
        (Twist::Exception(6), true),
        (Twist::Exception(4), false),
        (Twist::Exception(11), false),
        (Twist::Never, false),
        (Twist::DoneNever, false),
        (Twist::Close, false),
        (Twist::Half, false),
        (Twist::Garbage, false),
        (Twist::Long, false),
        (Twist::Transaction, false),
        (Twist::Unit, false),
        (Twist::Function, false),
        (Twist::Few, false),
        (Twist::Stale, false),
    ] {
        let slave = Slave::new();
        let pump = safe_pump(&slave, "").await;
        let writes = |slave: &Slave| slave.bank().asked.iter().filter(|(f, ..)| *f == 5).count();
        let before = writes(&slave);
        slave.next(&[twist]);
        let error = pump.act(act(&*pump, "start", "j")).await.unwrap_err();
        assert_eq!(
            matches!(error, DriverError::Failed(_)),
            fails,
            "{twist:?}: {error}"
        );
        let text = error.to_string();
        assert!(text.contains("coil:10 of unit 7 at 127.0.0.1:"), "{text}");
        assert_eq!(writes(&slave), before + 1, "{twist:?}: said once");
        pump.make_safe("j").await.unwrap();
        assert_eq!(slave.word(1, 10), 0, "{twist:?}");
        // Where a write may still be under way it is made safe again once it cannot be.
        let again = writes(&slave) - before - 1;
        assert_eq!(again, if fails { 1 } else { 2 }, "{twist:?}");
    }
}

#[tokio::test]
async fn a_device_that_is_not_there_moves_nothing_and_is_made_safe_when_it_comes_back() {
    let slave = Slave::new();
    let pump = safe_pump(&slave, "").await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let text =
        format!("{}{PUMP}", head(&slave)).replace(&slave.address.to_string(), &address.to_string());
    let away = made(&text).unwrap().actuators.swap_remove(0);
    assert_ne!(away.safe_way(), pump.safe_way());
    for error in [
        away.arm("j").await.unwrap_err(),
        away.act(act(&*away, "start", "j")).await.unwrap_err(),
        away.make_safe("j").await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(error, DriverError::Failed(_)), "{text}");
        assert!(
            text.contains("refused") && text.contains(&address.to_string()),
            "{text}"
        );
    }
    let back = away.back();
    let slave = Slave::on(std::net::TcpListener::bind(address).unwrap());
    slave.set(1, 10, 1);
    back.await;
    away.make_safe("j").await.unwrap();
    assert_eq!(slave.word(1, 10), 0);
}

#[tokio::test]
async fn a_safe_state_that_does_not_hold_is_none() {
    let slave = Slave::new();
    let pump = safe_pump(&slave, "").await;
    pump.act(act(&*pump, "start", "j")).await.unwrap();
    slave.bank().deaf = true;
    let error = pump.make_safe("j").await.unwrap_err().to_string();
    assert!(
        error.contains("stop was written and accepted, and coil:10 is [1]"),
        "{error}"
    );
    slave.bank().deaf = false;
    pump.make_safe("j").await.unwrap();
}

const FEEDBACK: &str = "[actuator.feedback]\ntable = \"input\"\nat = 3\ntype = \"i16\"\nvalue = 0\ntolerance = 2\n\
    within_ms = 3000\n";

#[tokio::test]
async fn the_feedback_of_the_device_decides_and_may_take_its_time() {
    let slave = Slave::new();
    let text = PUMP.replace(
        "[[actuator.operation]]\nname = \"start\"",
        &format!("{FEEDBACK}[[actuator.operation]]\nname = \"start\""),
    );
    let text = format!("{}{text}", head(&slave));
    let pump = made(&text).unwrap().actuators.swap_remove(0);
    pump.make_safe("start").await.unwrap();
    slave.set(4, 3, 40);
    assert_eq!(pump.state().await.unwrap().position, "input:3 is 40");
    let looked = |slave: &Slave| slave.bank().asked.iter().filter(|(f, ..)| *f == 4).count();
    let before = looked(&slave);
    let comes = async {
        while looked(&slave) < before + 2 {
            tokio::task::yield_now().await;
        }
        slave.set(4, 3, u16::MAX);
    };
    let (safe, ()) = tokio::join!(pump.make_safe("j"), comes);
    safe.unwrap();
    assert_eq!(pump.state().await.unwrap().position, "stop");
    // One that cannot be read: the way back is not there, so nothing starts.
    slave.bank().holes.push((4, 3));
    let error = pump.arm("j").await.unwrap_err().to_string();
    assert!(
        error.contains("input:3 of unit 7") && error.contains("no such register"),
        "{error}"
    );
}

#[tokio::test]
async fn an_action_that_is_called_off_before_its_turn_is_not_said() {
    let slave = Slave::new();
    let pump = safe_pump(&slave, "").await;
    // The device does not answer, so that what follows waits for its turn.
    slave.next(&[Twist::Never]);
    let asked = slave.bank().asked.len();
    let (busy, start) = (pump.state(), pump.act(act(&*pump, "start", "j")));
    tokio::pin!(busy);
    let reached = async {
        while slave.bank().asked.len() == asked {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut busy => panic!("it was answered"),
        () = reached => {}
    }
    assert!(tokio::time::timeout(Duration::ZERO, start).await.is_err());
    pump.make_safe("j").await.unwrap();
    assert_eq!(
        slave.bank().written,
        [(1, 10, 0), (1, 10, 0)],
        "safe twice and nothing else"
    );
}

const VALVE: &str = "[[actuator]]\ncapability = \"actuator:valve:v1\"\nsafe = \"close\"\n\
    [[actuator.operation]]\nname = \"open\"\n\
    write = { table = \"holding\", at = 5, from = \"percent\", scale = 0.1, min = 0, max = 80, type = \"i32\", order = \"little-word\" }\n\
    [[actuator.operation]]\nname = \"close\"\nwrite = { table = \"holding\", at = 5, value = 0, type = \"i32\" }\n";

#[tokio::test]
async fn a_parameter_is_scaled_and_bounded_and_a_strange_one_refused() {
    let slave = Slave::new();
    let valve = made(&format!("{}{VALVE}", head(&slave)))
        .unwrap()
        .actuators
        .swap_remove(0);
    valve.make_safe("start").await.unwrap();
    let open = |params: &[(&str, serde_json::Value)]| {
        let params = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let params: Params = params.collect();
        act_of(
            Action::new(valve.capability().clone(), "open", params).unwrap(),
            "j",
        )
    };
    slave.bank().written.clear();
    for (params, word) in [
        (&[][..], "percent: is missing"),
        (&[("percent", 81.into())], "81 is beyond 0 to 80"),
        (&[("percent", (-1).into())], "beyond"),
        (&[("percent", "half".into())], "is no number"),
        (
            &[("percent", 5.into()), ("speed", 1.into())],
            "no parameter \"speed\"",
        ),
    ] {
        let error = valve.act(open(params)).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(slave.bank().written, []);
    valve
        .act(open(&[("percent", 33.3.into()), ("durationSec", 5.into())]))
        .await
        .unwrap();
    assert_eq!(slave.bank().written, [(3, 5, 333), (3, 6, 0)]);
    assert_eq!(
        valve.state().await.unwrap().position,
        "holding:5-6 is [333, 0]"
    );
    valve.make_safe("j").await.unwrap();
    assert_eq!(slave.word(3, 5), 0);
}

#[tokio::test]
async fn a_heartbeat_goes_from_arming_to_making_safe_and_its_loss_ends_the_run() {
    let slave = Slave::new();
    let beat = "[actuator.heartbeat]\ntable = \"holding\"\nat = 100\nevery_sec = 0.1\n";
    let text = PUMP.replace(
        "[[actuator.operation]]\nname = \"start\"",
        &format!("{beat}[[actuator.operation]]\nname = \"start\""),
    );
    let pump = made(&format!("{}{text}", head(&slave)))
        .unwrap()
        .actuators
        .swap_remove(0);
    pump.make_safe("start").await.unwrap();
    let beats = |slave: &Slave| -> Vec<u16> {
        let bank = slave.bank();
        let beats = bank
            .written
            .iter()
            .filter(|(table, at, _)| (*table, *at) == (3, 100));
        beats.map(|(.., word)| *word).collect()
    };
    assert_eq!(beats(&slave), [0; 0]);
    pump.arm("j").await.unwrap();
    pump.act(act(&*pump, "start", "j")).await.unwrap();
    while beats(&slave).len() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(beats(&slave)[..4], [0, 1, 2, 3], "it counts");
    // It goes on after the device was away.
    slave.next(&[Twist::Never; 6]);
    let why = pump.lost().await;
    slave.next(&[]);
    assert!(
        why.contains("heartbeat cannot be written: holding:100 of unit 7"),
        "{why}"
    );
    pump.make_safe("j").await.unwrap();
    let then = beats(&slave).len();
    pump.make_safe("j").await.unwrap();
    pump.make_safe("j").await.unwrap();
    assert_eq!(beats(&slave).len(), then, "it has ended");
    // A device whose watchdog cannot be fed is not started.
    slave.bank().holes.push((3, 100));
    let error = pump.arm("k").await.unwrap_err().to_string();
    assert!(error.contains("holding:100"), "{error}");
}

/// The reason why a run ends, once something happened to the device that was looked at so often during it.
async fn ends(slave: &Slave, pump: &SharedActuator, looks: usize, then: impl FnOnce()) -> String {
    let reads = |slave: &Slave| slave.bank().asked.iter().filter(|(f, ..)| *f < 5).count();
    pump.act(act(&**pump, "start", "j")).await.unwrap();
    let before = reads(slave);
    let happens = async {
        while reads(slave) < before + looks {
            tokio::task::yield_now().await;
        }
        then();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        why = pump.lost() => why,
        () = happens => unreachable!(),
    }
}

#[tokio::test]
async fn a_device_that_falls_back_or_is_written_to_by_another_ends_the_run() {
    let slave = Slave::new();
    let pump = safe_pump(&slave, "").await;
    for looks in [0, 2] {
        let why = ends(&slave, &pump, looks, || slave.set(1, 10, 0)).await;
        assert!(why.contains("coil:10 is [0]"), "{why}");
    }
    let valve = VALVE.replace(
        "from = \"percent\", scale = 0.1, min = 0, max = 80",
        "value = 400",
    );
    let valve = valve.replace("\"open\"", "\"start\"");
    let text = format!("{}{valve}", head(&slave));
    let valve = made(&text).unwrap().actuators.swap_remove(0);
    let why = ends(&slave, &valve, 1, || slave.set(3, 5, 200)).await;
    assert!(why.contains("holding:5-6 is [200, 0]"), "{why}");
    // One that cannot be read any more.
    let why = ends(&slave, &pump, 1, || slave.bank().holes.push((1, 10))).await;
    assert!(
        why.contains("cannot be read") && why.contains("no such register"),
        "{why}"
    );
}

#[tokio::test]
async fn the_feedback_may_follow_late_and_differ_and_its_way_back_ends_the_run() {
    let slave = Slave::new();
    let text = PUMP.replace(
        "[[actuator.operation]]\nname = \"start\"",
        &format!("{FEEDBACK}[[actuator.operation]]\nname = \"start\""),
    );
    let pump = made(&format!("{}{text}", head(&slave)))
        .unwrap()
        .actuators
        .swap_remove(0);
    pump.make_safe("start").await.unwrap();
    pump.act(act(&*pump, "start", "j")).await.unwrap();
    let looked = |slave: &Slave| slave.bank().asked.iter().filter(|(f, ..)| *f == 4).count();
    let mut seen = looked(&slave);
    let told = async {
        for word in [0, 40, 41, 2] {
            slave.set(4, 3, word);
            seen += 1;
            while looked(&slave) <= seen {
                tokio::task::yield_now().await;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        why = pump.lost() => assert!(why.contains("input:3 is 2"), "{why}"),
        () = told => {}
    }
}

#[tokio::test]
async fn a_device_that_takes_the_write_and_does_not_move_ends_the_run() {
    let slave = Slave::new();
    let feedback = FEEDBACK.replace("3000", "100");
    let text = PUMP.replace(
        "[[actuator.operation]]\nname = \"start\"",
        &format!("{feedback}[[actuator.operation]]\nname = \"start\""),
    );
    let pump = made(&format!("{}{text}", head(&slave)))
        .unwrap()
        .actuators
        .swap_remove(0);
    pump.make_safe("start").await.unwrap();
    pump.act(act(&*pump, "start", "j")).await.unwrap();
    let why = pump.lost().await;
    assert!(why.contains("did not move: input:3 is 0"), "{why}");
}
