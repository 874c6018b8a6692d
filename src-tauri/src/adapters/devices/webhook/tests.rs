//! Hooks: who may send, what is taken, how old it is, and when the sender is told that it is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;

use super::{Hook, Hooks, Knock};
use crate::adapters::clock::{Clock, ManualClock, SharedClock};
use crate::adapters::devices::config::Configured;
use crate::adapters::devices::tests::Nobody;
use crate::adapters::devices::{Around, Carrier, Keeper, Reading, Sensor, make};
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{
    HOOK_BODY_MAX_BYTES, HOOK_BURST, HOOK_TOKEN_MS, HOOK_WAITING_MAX,
};
use crate::domain::base::{Code, DeviceId, TimeMs};

const TOKEN: &str = "0123456789abcdef";
/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600_000;

/// A node with one token, which may change.
struct Tokens(Mutex<Option<String>>);

impl Keeper for Tokens {
    fn device(&self) -> Result<DeviceId, String> {
        Err("not asked".to_owned())
    }

    fn password(&self, name: &str) -> Result<zeroize::Zeroizing<String>, String> {
        let token = self.0.lock().unwrap().clone();
        let token = token.filter(|_| name == "device/shed");
        token
            .map(Into::into)
            .ok_or_else(|| format!("there is no credential {name}"))
    }
}

struct Bench {
    hooks: Hooks,
    clock: Arc<ManualClock>,
    tokens: Arc<Tokens>,
}

impl Bench {
    fn new() -> Self {
        Self {
            hooks: Hooks::default(),
            clock: Arc::new(ManualClock::at(TimeMs(NOW))),
            tokens: Arc::new(Tokens(Mutex::new(Some(TOKEN.to_owned())))),
        }
    }

    fn try_make(&self, table: &str) -> Result<Vec<Box<dyn Sensor>>, String> {
        let table = format!("{{ kind = \"webhook\", {} }}", table.replace('\n', ", "));
        let value = toml::de::DeValue::parse(&table).unwrap();
        let device = Configured::read(value, false).map_err(|e| e.message().to_owned())?;
        let clock: SharedClock = self.clock.clone();
        let carrier: Arc<dyn Carrier> = Arc::new(Nobody);
        let keeper: Arc<dyn Keeper> = self.tokens.clone();
        let temp = tempfile::tempdir().unwrap();
        let around = Around {
            dir: &StateDir::at(temp.path()),
            clock: &clock,
            carrier: &carrier,
            keeper: &keeper,
            hooks: &self.hooks,
        };
        make(&[device], &around)
            .map(|made| made.sensors)
            .map_err(|e| e.to_string())
    }

    /// The sensors of a hook, each of which was read once.
    fn open(&self, more: &str) -> Vec<Box<dyn Sensor>> {
        let table = format!("name = \"shed\"\ntoken = \"device/shed\"\n{more}");
        let mut sensors = self.try_make(&table).unwrap();
        for sensor in &mut sensors {
            assert_eq!(read(sensor), Ok(Vec::new()));
        }
        sensors
    }

    fn hook(&self) -> Arc<Hook> {
        self.hooks.knock(&knock()).unwrap()
    }

    fn refused(&self, knock: &Knock) -> (Code, String) {
        let refusal = self.hooks.knock(knock).unwrap_err();
        (refusal.code, refusal.message)
    }
}

fn read(sensor: &mut Box<dyn Sensor>) -> Result<Vec<Reading>, String> {
    sensor.read(TimeMs(0)).map_err(|e| e.to_string())
}

fn knock() -> Knock {
    Knock {
        name: "shed".to_owned(),
        token: Some(TOKEN.to_owned()),
        near: true,
        secure: false,
    }
}

const ONE: &str = "live = true\nreading = [{ metric = \"t\", unit = \"Cel\", scale = 0.1 }]";
const TWO: &str = "live = true\nreading = [{ metric = \"t\", json = \"/t\" }, { metric = \"m\", json = \"/soil/m\" }]";

#[test]
fn a_sender_without_the_token_learns_nothing_and_one_with_it_may_send() {
    let bench = Bench::new();
    // Nothing is open before the device is read.
    assert_eq!(bench.refused(&knock()).0, Code::Unauthenticated);
    let sensors = bench.open(ONE);
    bench.hook().take(b"215").unwrap();
    let unknown = bench.refused(&Knock {
        name: "barn".to_owned(),
        ..knock()
    });
    for token in [
        None,
        Some(""),
        Some("0123456789abcdeg"),
        Some("device/shed"),
    ] {
        let wrong = bench.refused(&Knock {
            token: token.map(str::to_owned),
            ..knock()
        });
        assert_eq!(wrong, unknown);
    }
    let far = Knock {
        near: false,
        secure: true,
        ..knock()
    };
    let wrong = bench.refused(&Knock {
        token: None,
        ..far.clone()
    });
    assert_eq!(wrong, unknown);
    assert_eq!(bench.refused(&far).0, Code::NotAuthorized);
    drop(sensors);
    assert_eq!(bench.refused(&knock()), unknown);
}

#[test]
fn other_machines_send_where_the_table_says_so_and_in_plain_text_where_it_says_that_too() {
    let far = |secure| Knock {
        near: false,
        secure,
        ..knock()
    };
    let bench = Bench::new();
    let kept = bench.open(&format!("remote = true\n{ONE}"));
    bench.hooks.knock(&far(true)).unwrap();
    assert_eq!(bench.refused(&far(false)).0, Code::NotAuthorized);
    drop(kept);
    let _kept = bench.open(&format!("remote = true\nplain = true\n{ONE}"));
    bench.hooks.knock(&far(false)).unwrap();
}

#[test]
fn a_token_that_is_gone_short_or_new_counts_within_seconds() {
    let bench = Bench::new();
    let mut sensors = bench.open(ONE);
    bench.hook();
    let set = |token: Option<&str>| {
        *bench.tokens.0.lock().unwrap() = token.map(str::to_owned);
        bench.clock.set(TimeMs(bench.clock.now().0 + HOOK_TOKEN_MS));
    };
    set(Some("another-token-of-16"));
    assert_eq!(bench.refused(&knock()).0, Code::Unauthenticated);
    set(Some("short"));
    let short = Knock {
        token: Some("short".to_owned()),
        ..knock()
    };
    assert_eq!(bench.refused(&short).0, Code::Unauthenticated);
    let why = read(&mut sensors[0]).unwrap_err();
    assert!(why.contains("fewer than 16 characters"), "{why}");
    set(None);
    assert_eq!(bench.refused(&knock()).0, Code::Unauthenticated);
    let why = read(&mut sensors[0]).unwrap_err();
    assert_eq!(why, "there is no credential device/shed");
    set(Some(TOKEN));
    bench.hook();
}

#[test]
fn a_hook_has_a_rate_of_its_own() {
    let bench = Bench::new();
    let _kept = bench.open(ONE);
    for _ in 0..HOOK_BURST {
        bench.hook();
    }
    assert_eq!(bench.refused(&knock()).0, Code::RateExceeded);
    // Whoever has no token uses nothing up.
    bench.clock.set(TimeMs(NOW + 200));
    for _ in 0..100 {
        bench.refused(&Knock {
            token: None,
            ..knock()
        });
    }
    bench.hook();
    assert_eq!(bench.refused(&knock()).0, Code::RateExceeded);
}

#[test]
fn the_sender_is_told_once_a_value_is_kept_or_that_it_is_not() {
    let bench = Bench::new();
    let mut sensors = bench.open(ONE);
    let hook = bench.hook();
    let mut kept = Box::pin(hook.take(b"215\n").unwrap().stored());
    let readings = read(&mut sensors[0]).unwrap();
    assert_eq!((readings[0].value, &readings[0].doubt), (21.5, &None));
    assert!((&mut kept).now_or_never().is_none());
    sensors[0].told();
    assert_eq!(
        kept.now_or_never().unwrap(),
        Ok((vec!["t".to_owned()], Vec::new()))
    );
    let kept = hook.take(b"216").unwrap();
    read(&mut sensors[0]).unwrap();
    sensors[0].untold();
    let refusal = kept.stored().now_or_never().unwrap().unwrap_err();
    assert_eq!(refusal.code, Code::StorageFailed);
    // The device goes while a value waits.
    let kept = hook.take(b"217").unwrap();
    drop((sensors, hook));
    let refusal = kept.stored().now_or_never().unwrap().unwrap_err();
    assert_eq!(refusal.code, Code::Busy);
}

#[test]
fn values_are_read_in_the_order_in_which_they_came_and_too_many_are_refused_as_a_whole() {
    let bench = Bench::new();
    let mut sensors = bench.open(TWO);
    let hook = bench.hook();
    let wait = |n: usize| hook.take(format!("{{\"t\":{n}}}").as_bytes());
    let kept: Vec<_> = (0..HOOK_WAITING_MAX).map(|n| wait(n).unwrap()).collect();
    assert_eq!(kept[0].left_out, ["m"]);
    let both = hook.take(br#"{"t":1,"soil":{"m":2}}"#).unwrap_err();
    assert_eq!(both.code, Code::Busy);
    assert_eq!(read(&mut sensors[1]), Ok(Vec::new()));
    for n in 0..HOOK_WAITING_MAX {
        // Told again for each that waits still.
        assert!(
            sensors[0]
                .news()
                .unwrap()
                .notified()
                .now_or_never()
                .is_some()
        );
        let value = read(&mut sensors[0]).unwrap()[0].value;
        assert_eq!(value.to_string(), n.to_string());
    }
    assert!(
        sensors[0]
            .news()
            .unwrap()
            .notified()
            .now_or_never()
            .is_none()
    );
    assert_eq!(read(&mut sensors[0]), Ok(Vec::new()));
}

#[test]
fn what_is_no_reading_is_refused_and_shown_until_a_good_one_comes() {
    let bench = Bench::new();
    let mut sensors = bench.open(TWO);
    let hook = bench.hook();
    for (body, whole) in [
        (&b"{"[..], "\"{\" is no JSON"),
        (b"\xff", "it is no UTF-8 text"),
        (b"{}", "there is none of its readings in it"),
        (b"{\"t\":null}", "there is none of its readings in it"),
        (
            b"{\"t\":\"wet\",\"soil\":{\"m\":1}}",
            "t: /t: \"\\\"wet\\\"\" is no number",
        ),
        (b"{\"t\":\"1e999\"}", "t: /t: inf is no finite number"),
    ] {
        let refusal = hook.take(body).unwrap_err();
        assert_eq!(
            (refusal.code, &*refusal.message),
            (Code::InvalidParams, whole)
        );
        let why = read(&mut sensors[0]).unwrap_err();
        assert!(
            why.starts_with("what was sent to /hooks/shed is no good: "),
            "{why}"
        );
    }
    let deep = [b"{\"t\":".to_vec(), b"[".repeat(5_000)].concat();
    assert_eq!(hook.take(&deep).unwrap_err().code, Code::InvalidParams);
    let large = vec![b'1'; HOOK_BODY_MAX_BYTES + 1];
    assert_eq!(hook.take(&large).unwrap_err().code, Code::TooLarge);
    hook.take(br#"{"t":1,"soil":{"m":"2.5"}}"#).unwrap();
    assert_eq!(read(&mut sensors[0]).unwrap()[0].value.to_string(), "1");
    assert_eq!(read(&mut sensors[1]).unwrap()[0].value.to_string(), "2.5");
}

#[test]
fn a_value_is_believed_where_its_age_is_known_and_small() {
    let said = |table: &str, body: &str| {
        let bench = Bench::new();
        let mut sensors = bench.open(table);
        bench.hook().take(body.as_bytes()).unwrap();
        let mut readings = read(&mut sensors[0]).unwrap();
        let doubt = readings.remove(0).doubt;
        doubt.map_or_else(|| "believed".to_owned(), |doubt| doubt.to_string())
    };
    let unknown = "when it was measured is not known";
    assert_eq!(said("reading = [{ metric = \"t\" }]", "1"), unknown);
    assert_eq!(said(ONE, "1"), "believed");
    let timed = "time = \"/at\"\nreading = [{ metric = \"t\", json = \"/t\" }]";
    let late = timed.replace("}]", ", check = { late_sec = 600 } }]");
    for (at, plain, with_late) in [
        ("\"2026-01-01T01:00:00+01:00\"", "believed", "believed"),
        ("1767225570", "believed", "believed"),
        ("1767225300000", "measured 5 min ago", "believed"),
        (
            "\"2025-12-31T23:00:00Z\"",
            "measured 60 min ago",
            "measured 60 min ago",
        ),
        ("1767225604", "believed", "believed"),
        ("1767225606", unknown, unknown),
        ("\"yesterday\"", unknown, unknown),
        ("-1", unknown, unknown),
        ("1e300", unknown, unknown),
        ("null", unknown, unknown),
    ] {
        let body = format!("{{\"t\":1,\"at\":{at}}}");
        assert_eq!(said(timed, &body), plain, "{at}");
        assert_eq!(said(&late, &body), with_late, "{at}");
    }
    assert_eq!(said(timed, "{\"t\":1}"), unknown);
}

const TIMED: &str = "time = \"/at\"\nreading = [{ metric = \"t\", json = \"/t\" }, { metric = \"m\", json = \"/m\" }]";

#[test]
fn a_reading_says_when_it_was_measured_and_those_of_one_second_come_in_their_order() {
    let bench = Bench::new();
    let mut sensors = bench.open(&TIMED.replace("}]", ", check = { late_sec = 600 } }]"));
    let hook = bench.hook();
    let mut measured = |body: &str| {
        hook.take(body.as_bytes()).unwrap();
        let readings = read(&mut sensors[1]).unwrap();
        assert_eq!(readings[0].doubt, None);
        readings[0].measured_ms
    };
    let at = |ms: u64| Some(bench.clock.steady_ms() - ms);
    assert_eq!(measured(r#"{"m":1,"at":1767225010}"#), at(590_000));
    let (first, second) = (
        measured(r#"{"m":2,"at":1767225100}"#),
        measured(r#"{"m":3,"at":1767225100}"#),
    );
    assert_eq!(first, at(500_000));
    assert!(second > first && second < at(499_000), "{second:?}");
    assert_eq!(measured(r#"{"m":4,"at":1767225600}"#), at(0));
    assert_eq!(
        measured(r#"{"m":5,"at":1767225600}"#),
        at(0),
        "never to come"
    );
}

#[test]
fn a_value_that_was_measured_before_the_last_is_left_out() {
    let bench = Bench::new();
    let mut sensors = bench.open(TIMED);
    let hook = bench.hook();
    let sends = |body: &str| {
        let kept = hook.take(body.as_bytes()).unwrap();
        (kept.readings.join(" "), kept.left_out.join(" "))
    };
    let said = |stored: &str, left_out: &str| (stored.to_owned(), left_out.to_owned());
    assert_eq!(sends(r#"{"t":1,"at":1767225590}"#), said("t", "m"));
    assert_eq!(sends(r#"{"t":2,"m":2,"at":1767225580}"#), said("m", "t"));
    assert_eq!(sends(r#"{"t":3,"at":1767225589}"#), said("", "t m"));
    // The same once more is no older, and one of no known time is not known to be.
    assert_eq!(sends(r#"{"t":4,"at":1767225590}"#), said("t", "m"));
    assert_eq!(sends(r#"{"t":5}"#), said("t", "m"));
    for value in ["1", "4", "5"] {
        assert_eq!(read(&mut sensors[0]).unwrap()[0].value.to_string(), value);
    }
    assert_eq!(read(&mut sensors[0]), Ok(Vec::new()), "nor is it a fault");
    // The clock was wrong, and is set back.
    bench.clock.set(TimeMs(NOW - 3_600_000));
    assert_eq!(sends(r#"{"t":6,"at":1767222000}"#), said("t", "m"));
}

#[test]
fn who_waits_is_told_at_once_that_the_hook_was_closed() {
    let bench = Bench::new();
    let mut sensors = bench.open(ONE);
    let mut one = Box::pin(bench.hook().keep(b"1"));
    let mut other = Box::pin(bench.hook().keep(b"2"));
    assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
    read(&mut sensors[0]).unwrap();
    drop(sensors);
    for waits in [one, other] {
        let told = waits.now_or_never().expect("still held open");
        assert_eq!(told.unwrap_err().code, Code::Busy);
    }
}

#[test]
fn a_hook_to_which_nothing_is_sent_for_too_long_is_told() {
    let bench = Bench::new();
    let mut sensors =
        bench.open("live = true\nreading = [{ metric = \"t\", check = { late_sec = 60 } }]");
    bench.clock.set(TimeMs(NOW + 61_000));
    let why = read(&mut sensors[0]).unwrap_err();
    assert_eq!(why, "nothing was sent to /hooks/shed for 61 s");
}

#[test]
fn what_is_wrong_in_a_table_is_named() {
    let good = format!("name = \"shed\"\ntoken = \"device/shed\"\n{ONE}");
    let bench = Bench::new();
    assert!(bench.try_make(&good).is_ok());
    for (before, after, why) in [
        (
            "\"shed\"",
            "\"Shed\"",
            "name: must have 1 to 64 small letters",
        ),
        ("\"shed\"", "\"a/b\"", "name: must have"),
        (
            "device/shed",
            "0123456789abcdef",
            "token: must name a credential",
        ),
        (
            "live = true",
            "plain = true",
            "plain: says nothing without remote",
        ),
        (
            "live = true",
            "live = true\ntime = \"/at\"",
            "live: says nothing",
        ),
        (
            "live = true",
            "time = \"at\"",
            "time: must be a JSON pointer",
        ),
        ("live = true", "time = \"/at\"", "json: is needed"),
        (
            "}]",
            "}, { metric = \"u\", json = \"/u\" }]",
            "json: is needed",
        ),
        (
            "scale = 0.1",
            "json = \"t\"",
            "reading t: json: must be a JSON pointer",
        ),
        ("scale = 0.1", "path = \"/t\"", "unknown field `path`"),
    ] {
        let bad = good.replacen(before, after, 1);
        assert_ne!(bad, good);
        let told = bench.try_make(&bad).err().unwrap();
        assert!(told.contains(why), "{bad}: {told}");
        assert!(!told.contains("0123456789abcdef"), "{told}");
    }
}
