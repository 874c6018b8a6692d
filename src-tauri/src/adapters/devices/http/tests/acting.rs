//! Actuators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::super::exec::tests::act;
use super::super::super::rescue::{Ground, rescue};
use super::super::super::tests::{Passwords, conforms, made_with};
use super::super::super::{DriverError, Keeper, SharedActuator};
use super::server::{Does, Server};
use super::{PUMP, devices, pump_that_tells};

fn driver(url: &str, more: &str) -> SharedActuator {
    devices(url, more).actuators.swap_remove(0)
}

const OPEN: &str = "POST /relay/0 {\"on\":true,\"sec\":5}";
const CLOSE: &str = "GET /relay/0?turn=off";

/// A relay that works.
fn relay() -> (Server, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(false));
    let is = on.clone();
    let server = Server::start(move |line| {
        match line {
            OPEN => on.store(true, Ordering::SeqCst),
            CLOSE => on.store(false, Ordering::SeqCst),
            _ => {}
        }
        Does::Says(200, format!("{{\"on\":{}}}", on.load(Ordering::SeqCst)))
    });
    (server, is)
}

#[tokio::test]
async fn a_pump_is_told_once_and_made_safe() {
    let (server, on) = relay();
    for (more, away, back) in [
        (PUMP.to_owned(), "after open", "after close"),
        (pump_that_tells(), "true", "false"),
    ] {
        let pump = driver(&server.url, &more);
        pump.make_safe("job").await.unwrap();
        pump.arm("job").await.unwrap();
        let before = server.lines().len();
        pump.act(act(&*pump, "open", "job")).await.unwrap();
        assert_eq!(server.lines()[before..], [OPEN]);
        assert!(on.load(Ordering::SeqCst));
        assert_eq!(pump.state().await.unwrap().position, away);
        pump.make_safe("job").await.unwrap();
        pump.make_safe("job").await.unwrap();
        assert!(!on.load(Ordering::SeqCst));
        assert_eq!(pump.state().await.unwrap().position, back);
        let unknown = pump.act(act(&*pump, "explode", "job")).await.unwrap_err();
        assert!(
            unknown.to_string().contains("it has close, open"),
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn it_does_what_every_driver_does() {
    let server = Server::start({
        let on = AtomicBool::new(false);
        move |line| {
            match line {
                "POST /relay/0 on" => on.store(true, Ordering::SeqCst),
                CLOSE => on.store(false, Ordering::SeqCst),
                _ => {}
            }
            Does::Says(200, format!("{{\"on\":{}}}", on.load(Ordering::SeqCst)))
        }
    });
    let body = "body = \"{\\\"on\\\":true,\\\"sec\\\":{durationSec}}\"";
    let pump = pump_that_tells();
    assert!(pump.contains(body), "{pump}");
    conforms(&*driver(&server.url, &pump.replace(body, "body = \"on\""))).await;
}

/// Knows its password until it is forgotten.
struct Forgets(Arc<AtomicBool>);

impl Keeper for Forgets {
    fn device(&self) -> Result<crate::domain::base::DeviceId, String> {
        Passwords.device()
    }

    fn password(&self, name: &str) -> Result<zeroize::Zeroizing<String>, String> {
        match self.0.load(Ordering::SeqCst) {
            true => Err("the file is gone".to_owned()),
            false => Passwords.password(name),
        }
    }
}

#[tokio::test]
async fn the_way_back_needs_nothing_that_was_there_when_it_was_reserved() {
    let (server, on) = relay();
    let gone = Arc::new(AtomicBool::new(false));
    let table = format!(
        "kind = \"http\"\nname = \"shed\"\nurl = \"{}\"\ntoken = \"device/shed\"\n{}",
        server.url,
        pump_that_tells()
    );
    let made = made_with(Arc::new(Forgets(gone.clone())), &[&table]).unwrap();
    let pump = &made.actuators[0];
    pump.make_safe("job").await.unwrap();
    pump.arm("job").await.unwrap();
    pump.act(act(&**pump, "open", "job")).await.unwrap();
    gone.store(true, Ordering::SeqCst);
    pump.make_safe("job").await.unwrap();
    assert!(!on.load(Ordering::SeqCst));
    let last = server.came().pop().unwrap();
    assert!(
        last.head.contains("authorization: Bearer green"),
        "{last:?}"
    );
    // What is not reserved is read, and a start without it is refused.
    assert!(pump.arm("job").await.is_err());
}

#[tokio::test]
async fn a_start_without_an_answer_is_unknown_never_made_again_and_waited_for() {
    let server = Server::start(|line| match line {
        OPEN => Does::Hangs,
        _ => Does::Says(200, String::new()),
    });
    let pump = driver(&server.url, PUMP);
    pump.make_safe("job").await.unwrap();
    let before = server.lines().len();
    let lost = pump.act(act(&*pump, "open", "job")).await.unwrap_err();
    assert!(matches!(lost, DriverError::Unanswered(_)), "{lost}");
    pump.make_safe("job").await.unwrap();
    let after = server.lines()[before..].to_vec();
    assert_eq!(after[0], OPEN);
    // It may be heard late, so the safe request was made again after that.
    assert!(
        after.len() >= 3 && after[1..].iter().all(|line| line == CLOSE),
        "{after:?}"
    );
    let settled = server.lines().len();
    pump.make_safe("job").await.unwrap();
    assert_eq!(server.lines().len(), settled + 1);
}

#[tokio::test]
async fn a_start_that_is_called_off_is_waited_for_too() {
    let server = Server::start(|line| match line {
        OPEN => Does::Hangs,
        _ => Does::Says(200, String::new()),
    });
    let pump = driver(&server.url, PUMP);
    pump.make_safe("job").await.unwrap();
    let before = server.lines().len();
    let acting = pump.act(act(&*pump, "open", "job"));
    let heard = async {
        while server.lines().len() == before {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = acting => panic!("it was answered"),
        () = heard => {}
    }
    pump.make_safe("job").await.unwrap();
    assert!(server.lines().len() >= before + 3);
}

#[tokio::test]
async fn what_a_device_refuses_has_failed_and_what_it_breaks_off_is_unknown() {
    for (status, unknown) in [
        (400, false),
        (403, false),
        // Small servers answer a POST that they have done with a redirect.
        (303, true),
        (307, true),
        (408, true),
        (500, true),
        (503, true),
    ] {
        let server = Server::start(move |line| match line {
            OPEN => Does::Says(status, String::new()),
            _ => Does::Says(200, String::new()),
        });
        let pump = driver(&server.url, PUMP);
        pump.make_safe("job").await.unwrap();
        let error = pump.act(act(&*pump, "open", "job")).await.unwrap_err();
        let is = matches!(error, DriverError::Unanswered(_));
        assert_eq!(is, unknown, "{status}: {error}");
        let opened = server.lines().iter().filter(|line| *line == OPEN).count();
        assert_eq!(opened, 1);
    }
}

#[tokio::test]
async fn a_device_that_is_gone_starts_nothing_and_is_not_safe() {
    let pump = driver("http://127.0.0.1:1", PUMP);
    for why in [
        pump.make_safe("job").await.unwrap_err(),
        pump.arm("job").await.unwrap_err(),
        pump.act(act(&*pump, "open", "job")).await.unwrap_err(),
    ] {
        assert!(matches!(why, DriverError::Failed(_)), "{why}");
        assert!(why.to_string().contains("cannot be reached"), "{why}");
    }
}

#[tokio::test]
async fn a_pump_that_does_not_say_that_it_is_safe_is_not() {
    for (said, why) in [
        (
            "{\"on\":true}",
            "did not say \"false\" at /relay/0 within 1 s",
        ),
        ("{}", "/relay/0 says nothing that is read"),
        ("\u{0}", "/relay/0 says nothing that is read"),
    ] {
        let server = Server::start(move |_| Does::Says(200, said.to_owned()));
        let pump = driver(&server.url, &pump_that_tells());
        let told = pump.make_safe("job").await.unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn a_run_ends_when_the_device_is_back_by_itself_or_gone() {
    let (server, on) = relay();
    let pump = driver(&server.url, &pump_that_tells());
    pump.make_safe("job").await.unwrap();
    pump.act(act(&*pump, "open", "job")).await.unwrap();
    let stopped = async {
        let seen = server.lines().len();
        while server.lines().len() == seen {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        on.store(false, Ordering::SeqCst);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        why = pump.lost() => assert_eq!(why, "the device says that it is in its safe state"),
        () = stopped => {}
    }
}

#[tokio::test]
async fn a_run_ends_where_the_device_answers_and_never_leaves_its_safe_state() {
    let server = Server::start(|_| Does::Says(200, "{\"on\":false}".to_owned()));
    let pump = driver(&server.url, &pump_that_tells());
    pump.make_safe("job").await.unwrap();
    pump.act(act(&*pump, "open", "job")).await.unwrap();
    let why = pump.lost().await;
    assert!(
        why.ends_with("it is in its safe state: it did not move"),
        "{why}"
    );
}

#[tokio::test]
async fn a_damaged_table_gives_the_way_to_the_safe_state_and_nothing_else() {
    let (server, _) = relay();
    let keeper: Arc<dyn Keeper> = Arc::new(Passwords);
    let ground = Ground {
        dir: std::path::Path::new("/"),
        keeper: &keeper,
    };
    let whole = format!(
        "[[device]]\nkind = \"http\"\nname = \"shed\"\nurl = \"{}\"\n[[device.actuator]]\ncapability = \"actuator:pump:p1\"\n\
         safe = \"close\"\n[[device.actuator.operation]]\nname = \"open\"\npath = \"/relay/0\"\nbody = \"on\"\n\
         [[device.actuator.operation]]\nname = \"close\"\nmethod = \"GET\"\npath = \"/relay/0?turn=off\"\n",
        server.url
    );
    let found = |file: &str| rescue(file.as_bytes(), &ground);
    for damage in [
        whole.clone(),
        whole.replace("name = \"shed\"", "name = \"shed\"\nevery_ms = = 3"),
        whole.replace("body = \"on\"", "bdoy = 3"),
        whole.replace("kind = \"http\"", "kind = \"htpt\""),
    ] {
        let all = found(&damage);
        assert_eq!(all.len(), 1, "{damage}");
        assert_eq!(all[0].operations(), ["close"]);
    }
    for (before, after) in [
        ("url = \"http", "url = 3 # \"http"),
        ("method = \"GET\"", "method = GET"),
        ("path = \"/relay/0?turn=off\"", "path = \"/relay/\u{fffd}\""),
        ("name = \"close\"", "name = \"halt\""),
    ] {
        let damage = whole.replace(before, after);
        assert_ne!(damage, whole);
        assert_eq!(found(&damage).len(), 0, "{damage}");
    }
    let safe = found(&whole).remove(0);
    safe.make_safe("job").await.unwrap();
    // It is told, and where its state does not read nothing proves that it is safe.
    let state = "[device.actuator.state]\npath = \"/relay/0\"\nsafe = 0\n[[device.actuator.operation]]\nname = \"open\"";
    let damage = whole.replace("[[device.actuator.operation]]\nname = \"open\"", state);
    let told = server.lines().len();
    let why = found(&damage).remove(0).make_safe("job").await.unwrap_err();
    assert!(
        why.to_string().contains("nothing proves that it is safe"),
        "{why}"
    );
    assert_eq!(server.lines()[told..], [CLOSE]);
    assert!(server.lines().iter().all(|line| line == CLOSE));
}

#[tokio::test]
async fn a_refused_configuration_makes_nothing_safe_by_what_starts_another() {
    let keeper: Arc<dyn Keeper> = Arc::new(Passwords);
    let ground = Ground {
        dir: std::path::Path::new("/"),
        keeper: &keeper,
    };
    let pump = |name: &str, start: &str, stop: &str| {
        format!(
            "[[device]]\nkind = \"http\"\nname = \"{name}\"\nurl = \"http://hub\"\n[[device.actuator]]\n\
             capability = \"actuator:pump:{name}\"\nsafe = \"stop\"\noperation = [\
             {{ name = \"start\", path = \"{start}\" }}, {{ name = \"stop\", path = \"{stop}\" }}]\n"
        )
    };
    let found = |second: String| {
        let file = pump("a", "/on", "/off") + &second;
        let all = rescue(file.as_bytes(), &ground);
        let names = all.iter().map(|actuator| actuator.capability().to_string());
        names.collect::<Vec<_>>()
    };
    let both = ["actuator:pump:a", "actuator:pump:b"];
    assert_eq!(found(pump("b", "/b-on", "/off")), both);
    assert_eq!(found(pump("b", "/b-on", "/on")), both[..1]);
    assert_eq!(found(pump("b", "/off", "/on")), [""; 0]);
    assert_eq!(found(pump("b", "/b", "/b")), both[..1]);
}
