//! Actuators.

use std::sync::Arc;

use super::super::super::exec::tests::act;
use super::super::super::rescue::{Ground, rescue};
use super::super::super::{DriverError, Keeper, SharedActuator};
use super::mosquitto::{Mosquitto, Probe, is_here};
use super::scripted::Scripted;
use super::{PUMP, Passwords, devices, pump_that_tells};

fn driver(broker: &str, more: &str) -> SharedActuator {
    devices(broker, more).actuators.swap_remove(0)
}

async fn why_unsafe(driver: &SharedActuator) -> String {
    driver.make_safe("job").await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_pump_is_told_once_and_made_safe() {
    if !is_here("actuators over MQTT") {
        return;
    }
    let broker = Mosquitto::start();
    let mut probe = Probe::new(&broker, &["farm/#"]);
    let pump = driver(&broker.url(), PUMP);
    let early = pump.act(act(&*pump, "open", "job")).await.unwrap_err();
    assert!(
        early.to_string().contains("is not connected yet"),
        "{early}"
    );
    pump.make_safe("job").await.unwrap();
    pump.arm("job").await.unwrap();
    pump.act(act(&*pump, "open", "job")).await.unwrap();
    assert_eq!(pump.state().await.unwrap().position, "after open");
    pump.make_safe("job").await.unwrap();
    pump.make_safe("job").await.unwrap();
    let unknown = pump.act(act(&*pump, "explode", "job")).await.unwrap_err();
    assert!(
        unknown.to_string().contains("it has close, open"),
        "{unknown}"
    );
    let said = ["OFF", "ON 5", "OFF", "OFF"].map(|what| format!("farm/pump/set {what}"));
    assert_eq!(probe.all(), said);
    // No message is retained for later subscribers.
    assert_eq!(Probe::new(&broker, &["farm/#"]).all(), [""; 0]);
    // The broker makes it safe when we are gone.
    drop(pump);
    assert_eq!(probe.next().payload, b"OFF");
}

#[tokio::test]
async fn a_pump_that_tells_its_state_is_safe_when_it_says_so_afterwards() {
    if !is_here("the state of actuators over MQTT") {
        return;
    }
    let broker = Mosquitto::start();
    let mut device = Probe::new(&broker, &["farm/pump/set"]);
    device.retain("farm/pump/state", "OFF");
    assert_eq!(device.all(), [""; 0]);
    let pump = driver(&broker.url(), &pump_that_tells());
    let why = why_unsafe(&pump).await;
    assert_eq!(
        why,
        "farm/pump/state did not say \"OFF\" within 2 s; last it said \"nothing that is read\""
    );
    assert_eq!(device.next().payload, b"OFF");
    let making = pump.make_safe("job");
    let answering = tokio::task::spawn_blocking(move || {
        assert_eq!(device.next().payload, b"OFF");
        device.publish("farm/pump/state", "ON");
        device.publish("farm/pump/state", b"\xff\xfe");
        device.publish("farm/pump/state", vec![b'O'; 1 << 20]);
        device.publish("farm/pump/state", "OFF\n");
    });
    let (made, answered) = tokio::join!(making, answering);
    made.unwrap();
    answered.unwrap();
    assert_eq!(pump.state().await.unwrap().position, "OFF");
}

#[tokio::test]
async fn a_broker_that_dies_ends_the_run_and_is_made_safe_when_it_is_back() {
    if !is_here("a broker that dies") {
        return;
    }
    let mut broker = Mosquitto::start();
    let pump = driver(&broker.url(), PUMP);
    pump.make_safe("job").await.unwrap();
    pump.act(act(&*pump, "open", "job")).await.unwrap();
    let lost = pump.lost();
    broker.kill();
    let why = lost.await;
    assert!(
        why.starts_with("the connection to the broker was lost (mqtt://"),
        "{why}"
    );
    let why = why_unsafe(&pump).await;
    assert!(why.contains(&broker.url()), "{why}");
    let refused = pump.act(act(&*pump, "open", "job-2")).await.unwrap_err();
    assert!(matches!(refused, DriverError::Failed(_)), "{refused}");
    assert!(pump.arm("job-2").await.is_err());
    let back = pump.back();
    broker.restart();
    let mut probe = Probe::new(&broker, &["farm/#"]);
    back.await;
    pump.make_safe("job").await.unwrap();
    assert_eq!(probe.all(), ["farm/pump/set OFF"]);
    // While it stands there is nothing to be back from.
    assert!(futures_util::FutureExt::now_or_never(pump.back()).is_none());
}

#[tokio::test]
async fn a_start_that_was_not_acknowledged_is_never_said_again() {
    let broker = Scripted::start();
    let pump = driver(&broker.url, PUMP);
    let mut guest = {
        let making = pump.make_safe("job");
        let hosting = tokio::task::spawn_blocking(move || {
            let mut guest = broker.guest();
            let (said, id) = guest.message();
            assert_eq!(said, "OFF");
            guest.acknowledge(id);
            (broker, guest)
        });
        let (made, hosted) = tokio::join!(making, hosting);
        made.unwrap();
        hosted.unwrap()
    };
    let acting = pump.act(act(&*pump, "open", "job"));
    let hosting = tokio::task::spawn_blocking(move || {
        assert_eq!(guest.1.message().0, "ON 5");
        let first = guest.1.name.clone();
        drop(guest.1);
        // It is dialed again, under the same name, and says nothing by itself.
        (first, guest.0.guest(), guest.0)
    });
    let (acted, hosted) = tokio::join!(acting, hosting);
    let error = acted.unwrap_err();
    assert!(matches!(error, DriverError::Unanswered(_)), "{error}");
    let (first, mut again, _broker) = hosted.unwrap();
    assert_eq!(again.name, first);
    assert!(first.len() <= 23, "{first}");
    let hosting = tokio::task::spawn_blocking(move || {
        let (said, id) = again.message();
        again.acknowledge(id);
        (said, again)
    });
    let making = async {
        // The first attempt may find the connection on its way.
        if pump.make_safe("job").await.is_err() {
            pump.back().await;
            pump.make_safe("job").await.unwrap();
        }
    };
    let ((), hosted) = tokio::join!(making, hosting);
    assert_eq!(
        hosted.unwrap().0,
        "OFF",
        "the first message of the new connection"
    );
}

#[tokio::test]
async fn a_start_that_lay_on_the_way_to_a_frozen_broker_comes_before_the_stop_or_never() {
    if !is_here("a broker that does not answer") {
        return;
    }
    let broker = Mosquitto::start();
    let mut probe = Probe::new(&broker, &["farm/#"]);
    let pump = driver(&broker.url(), PUMP);
    pump.make_safe("job").await.unwrap();
    broker.freeze(true);
    let error = pump.act(act(&*pump, "open", "job")).await.unwrap_err();
    assert!(matches!(error, DriverError::Unanswered(_)), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("did not acknowledge it within 2 s")
    );
    // Until the connection is given up, and a new one may wait to be accepted.
    let why = pump.lost().await;
    assert!(why.contains("the broker has not answered for"), "{why}");
    let back = pump.back();
    broker.freeze(false);
    back.await;
    while pump.make_safe("job").await.is_err() {
        pump.back().await;
    }
    let said = probe.all();
    assert_eq!(said.last().map(String::as_str), Some("farm/pump/set OFF"));
    let starts = said.iter().filter(|what| what.contains("ON")).count();
    assert!(starts <= 1, "{said:?}");
}

fn pem(what: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}

#[tokio::test]
async fn a_broker_asks_for_a_password_and_proves_itself() {
    if !is_here("passwords and TLS over MQTT") {
        return;
    }
    let broker = Mosquitto::with(|dir| {
        let file = dir.join("passwords");
        let mut command = std::process::Command::new("mosquitto_passwd");
        let made = command
            .args(["-c", "-b"])
            .arg(&file)
            .args(["field", "green"])
            .status();
        assert!(made.unwrap().success());
        let names = vec!["127.0.0.1".to_owned()];
        let proof = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(dir.join("cert.pem"), pem("CERTIFICATE", proof.cert.der())).unwrap();
        std::fs::write(
            dir.join("key.pem"),
            pem("PRIVATE KEY", &proof.signing_key.serialize_der()),
        )
        .unwrap();
        let dir = dir.display();
        format!(
            "allow_anonymous false\npassword_file {dir}/passwords\ncertfile {dir}/cert.pem\nkeyfile {dir}/key.pem\n"
        )
    });
    let url = broker.url().replace("mqtt:", "mqtts:");
    let ca = broker.dir.path().join("cert.pem");
    let with = |more: &str| {
        let more = format!("ca = \"{}\"\n{more}{PUMP}", ca.display());
        driver(&url, &more)
    };
    with("user = \"field\"\npassword = \"device/shed\"\n")
        .make_safe("job")
        .await
        .unwrap();
    for (keys, told) in [
        ("", "let this user in"),
        (
            "user = \"field\"\npassword = \"device/old\"\n",
            "let this user in",
        ),
        (
            "user = \"field\"\npassword = \"device/none\"\n",
            "there is no credential device/none",
        ),
    ] {
        let why = why_unsafe(&with(keys)).await;
        assert!(why.contains(told), "{why}");
        assert!(!why.contains("gray"), "{why}");
    }
    let why = why_unsafe(&driver(&url, PUMP)).await;
    assert!(why.contains("it cannot be reached"), "{why}");
}

/// The actuators that a damaged file tells of.
fn ways(file: &str) -> Vec<SharedActuator> {
    let keeper: Arc<dyn Keeper> = Arc::new(Passwords);
    let ground = Ground {
        dir: std::path::Path::new("/"),
        keeper: &keeper,
    };
    rescue(file.as_bytes(), &ground)
}

fn found(file: &str) -> Vec<String> {
    ways(file)
        .iter()
        .map(|a| format!("{} {:?}", a.capability(), a.operations()))
        .collect()
}

#[test]
fn the_way_to_the_safe_state_is_found_in_a_damaged_file() {
    let pump = |name: &str| {
        format!(
            "[[device.actuator]]\ncapability = \"actuator:pump:{name}\"\nsafe = \"stop\"\n\
             [[device.actuator.operation]]\nname = \"start\"\ntopic = \"p\"\npayload = \"ON\"\n\
             [[device.actuator.operation]]\nname = \"stop\"\ntopic = \"p\"\npayload = \"OFF {name}\"\n"
        )
    };
    let head = "[[device]]\nkind = \"mqtt\"\nname = \"shed\"\nbroker = \"mqtt://127.0.0.1:1\"\n";
    let reading = "[[device.reading]]\nmetric = 3\n";
    let good = format!("{head}{reading}{}{}", pump("a"), pump("b"));
    let both = ["actuator:pump:a [\"stop\"]", "actuator:pump:b [\"stop\"]"];
    for file in [
        good.clone(),
        format!("port = = 1\n{good}"),
        good.replace("kind = \"mqtt\"", "kind = \"mqqt\""),
        good.replace("name = \"shed\"", "nmae = = 3"),
        good.replace("payload = \"ON\"", "payload = 7"),
        format!("{good}[[device]]\nkind = \"host\"\n"),
        good.replace("name = \"shed\"", "timeout_sec = \"2\""),
        good.replace("name = \"shed\"", "timeout_sec = -1"),
        good.replace("name = \"shed\"", "user = 3\npassword = \"device/shed\""),
        good.replace("name = \"shed\"", "user = \"u\"\npassword = \"green\""),
        good.replace("name = \"shed\"", "ca = 7"),
        good.replace(
            "safe = \"stop\"",
            "safe = \"stop\"\nstate = { topic = \"p/#\", safe = \"OFF\" }",
        ),
    ] {
        assert_eq!(found(&file), both, "{file}");
    }
    for (before, after) in [
        ("payload = \"OFF a\"", "payload = 7"),
        ("payload = \"OFF a\"", "paylaod = \"OFF a\""),
        ("payload = \"OFF a\"", "payload = \"OFF \u{fffd}\""),
        ("payload = \"OFF a\"", "payload = \"OFF {sec}\""),
        ("safe = \"stop\"", "safe = \"halt\""),
    ] {
        assert_eq!(
            found(&good.replacen(before, after, 1)),
            both[1..],
            "{after}"
        );
    }
    assert_eq!(found(&good.replace("broker =", "brokre =")), [""; 0]);
    // No other authority is trusted instead.
    let tls = good.replace("mqtt://", "mqtts://");
    assert_eq!(found(&tls), both);
    assert_eq!(found(&tls.replace("name = \"shed\"", "ca = 7")), [""; 0]);
}

#[tokio::test]
async fn in_a_damaged_file_too_the_own_message_proves_no_safe_state() {
    let broker = Scripted::start();
    let file = format!(
        "[[device]]\nkind = \"mqtt\"\nname = \"shed\"\nbroker = \"{}\"\n{}",
        broker.url,
        PUMP.replace(
            "safe = \"close\"",
            "safe = \"close\", state = { topic = \"farm/pump/set\", safe = \"OFF\" }"
        )
    );
    let pump = ways(&file).swap_remove(0);
    let making = pump.make_safe("job");
    let hosting = tokio::task::spawn_blocking(move || {
        // It subscribes to nothing: its first packet is the safe message, and what counts is that the broker has it.
        let mut guest = broker.guest();
        let (said, id) = guest.message();
        guest.acknowledge(id);
        (said, guest)
    });
    let (made, hosted) = tokio::join!(making, hosting);
    made.unwrap();
    assert_eq!(hosted.unwrap().0, "OFF");
}

#[tokio::test]
async fn two_tables_of_one_name_are_two_clients() {
    let broker = Scripted::start();
    let of = |topic: &str| {
        let table = format!("reading = [{{ metric = \"m\", topic = \"{topic}\" }}]");
        devices(&broker.url, &table).sensors.swap_remove(0)
    };
    let mut names = Vec::new();
    for topic in ["a", "b"] {
        let mut sensor = of(topic);
        sensor.read(crate::domain::base::TimeMs(1)).unwrap();
        names.push(broker.guest().name);
    }
    assert_ne!(names[0], names[1]);
}
