//! Telling people of alerts: what every way promises, and what a real node tells whom, when, and after a restart.

use std::sync::Arc;
use std::time::Duration;

use clawmesh::adapters::http_client::Address;
use clawmesh::adapters::keystore::{Credentials, load_device_key};
use clawmesh::adapters::notify::{Noted, Notice, Notifier, Ntfy, Token, Untold};
use clawmesh::domain::base::{Severity, Tier, TimeMs};
use clawmesh::node::RawConfig;
use clawmesh::node::context::alarms::AlarmKind;
use zeroize::Zeroizing;

use crate::alerts::{events, none_stands, stands};
use crate::bot_api::{BotApi, TOKEN as BOT_TOKEN};
use crate::channels::door;
use crate::harness::*;
use crate::ntfy_server::{NtfyServer, TOKEN, Trouble};
use crate::telegram::{ADA, EVE, enrolled, started};

const RULE: &str = "
[[alert]]
name = 'cold store'
metric = 'temperature'
above = 8
clear = 7
severity = 'critical'
words = 'close the door'
";

fn notice(text: &str) -> Notice {
    Notice {
        title: "field: critical\nX-Priority: 1".to_owned(),
        text: text.to_owned(),
        severity: Severity::Critical,
        over: false,
        alerts: vec![7],
        proposal: None,
    }
}

fn ntfy(server: &NtfyServer, token: Option<&'static str>) -> Ntfy {
    let token =
        token.map(|secret| -> Token { Arc::new(move || Ok(Zeroizing::new(secret.to_owned()))) });
    let address = Address::parse(&server.url).unwrap();
    Ntfy::new(address, None, "farm-7Qx".to_owned(), token)
}

/// What every way promises: a text arrives once, whatever is in it; a fault is said as what it is, and nothing is sent again by
/// itself.
async fn keeps_its_promises(
    notifier: &dyn Notifier,
    arrived: impl Fn() -> usize,
    fails: impl Fn(Untold),
) {
    for text in ["plain", "Grüße 🌡\nzwei Zeilen\u{7}", &"🌱".repeat(3_000)] {
        let before = arrived();
        notifier.tell(&notice(text)).await.unwrap();
        assert_eq!(arrived(), before + 1, "once");
    }
    let before = arrived();
    let faults = [
        Untold::Later(Duration::from_secs(7)),
        Untold::Refused(String::new()),
        Untold::Lost(String::new()),
    ];
    for fault in faults {
        fails(fault.clone());
        let said = notifier.tell(&notice("not heard")).await.unwrap_err();
        match (&fault, &said) {
            (Untold::Later(wait), Untold::Later(told)) => assert_eq!(wait, told),
            (Untold::Refused(_), Untold::Refused(_)) | (Untold::Lost(_), Untold::Lost(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(arrived(), before, "none of them arrived");
    notifier.tell(&notice("heard")).await.unwrap();
    assert_eq!(arrived(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_tell_keeps_the_same_promises() {
    let twin = Noted::default();
    keeps_its_promises(&twin, || twin.told().len(), |fault| twin.fails(fault)).await;
    let server = NtfyServer::start().await;
    server.needs_token();
    let real = ntfy(&server, Some(TOKEN));
    let fails = |fault: Untold| {
        server.fails(match fault {
            Untold::Later(wait) => Trouble::Later(wait.as_secs()),
            Untold::Refused(_) => Trouble::Status(413),
            Untold::Lost(_) => Trouble::Status(503),
        });
    };
    keeps_its_promises(&real, || server.published().len(), fails).await;
    assert_eq!(server.wrong(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ntfy_server_is_told_what_it_needs_and_no_secret_is_in_an_error() {
    let server = NtfyServer::start().await;
    ntfy(&server, None).tell(&notice("warm")).await.unwrap();
    let said = server.published().remove(0);
    assert_eq!(
        (&said["priority"], &said["topic"]),
        (&5.into(), &"farm-7Qx".into())
    );
    assert_eq!(said["tags"][0], "rotating_light");
    let over = Notice {
        over: true,
        ..notice("cool")
    };
    ntfy(&server, None).tell(&over).await.unwrap();
    assert_eq!(server.published()[1]["priority"], 3);
    server.needs_token();
    for token in [None, Some("tk_other")] {
        let real = ntfy(&server, token);
        let said = real.tell(&notice("x")).await.unwrap_err();
        let shown = format!("{said:?} {said} {real:?}");
        assert!(
            matches!(said, Untold::Refused(_)) && shown.contains("token"),
            "{shown}"
        );
        assert!(
            !shown.contains("farm-7Qx") && !shown.contains("tk_"),
            "{shown}"
        );
    }
    let real = ntfy(&server, Some(TOKEN));
    for trouble in [Trouble::Redirect, Trouble::Other] {
        server.fails(trouble);
        let said = real.tell(&notice("x")).await.unwrap_err();
        assert!(matches!(said, Untold::Refused(_)), "{said:?}");
    }
    let nobody = Address::parse("http://127.0.0.1:1").unwrap();
    let nobody = Ntfy::new(nobody, None, "t".to_owned(), None);
    assert!(matches!(
        nobody.tell(&notice("x")).await.unwrap_err(),
        Untold::Lost(_)
    ));
}

async fn reads(node: &TestNode, value: f64) {
    crate::alerts::reads(node, value, Tier::T2).await;
}

fn setup(text: &str) -> Setup {
    let mut setup = field();
    let said = RawConfig::parse(&format!("{RULE}{text}"), "config.toml").unwrap();
    setup.raw = RawConfig {
        mock_sensor: None,
        mock_actuator: None,
        alert: said.alert,
        alerts: said.alerts,
        notify: said.notify,
        privacy: said.privacy,
        ..setup.raw
    };
    setup
}

fn phone(server: &NtfyServer, rest: &str) -> String {
    format!(
        "[[notify]]\nname = 'phone'\nkind = 'ntfy'\nurl = '{}'\ntopic = 'farm-7Qx'\n{rest}\n",
        server.url
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_first_who_next_and_that_it_is_over_and_a_restart_repeats_nothing() {
    let (first, next) = (NtfyServer::start().await, NtfyServer::start().await);
    let text = phone(&first, "") + &phone(&next, "after = '3s'").replace("'phone'", "'next'");
    let node = setup(&text).start().await;
    reads(&node, 9.5).await;
    let said = first.hears("9.5").await;
    assert!(
        said["message"].as_str().unwrap().contains("close the door"),
        "{said}"
    );
    assert!(next.published().is_empty(), "it has not stood for so long");
    next.hears("9.5").await;
    until("it is written down", || async {
        let all = door(&node).alerts().await.unwrap();
        (all[0].told.len() == 2).then_some(())
    })
    .await;
    let dir = node.stop().await;
    let node = setup(&text).start_in(dir, None).await;
    stands(&node, "alert.critical").await;
    reads(&node, 5.0).await;
    none_stands(&node).await;
    for server in [&first, &next] {
        let said = server.hears("over after").await;
        assert_eq!(said["tags"][0], "white_check_mark");
        assert_eq!(server.published().len(), 2, "{:?}", server.published());
        assert_eq!(server.wrong(), [""; 0]);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_stops_the_next_step_and_those_who_were_told_hear_of_the_end() {
    let (first, next) = (NtfyServer::start().await, NtfyServer::start().await);
    let text = phone(&first, "") + &phone(&next, "after = '4s'").replace("'phone'", "'next'");
    let node = setup(&text).start().await;
    reads(&node, 9.5).await;
    let id = stands(&node, "alert.critical").await.id;
    door(&node)
        .alert_acknowledge(&id.to_string(), None, "ada")
        .await
        .unwrap();
    first.hears("9.5").await;
    // Longer than the next step would have waited.
    let since = node.shared().moment().wall;
    until("the next step would have come", || async {
        (node.shared().moment().wall.since(since) > 6_000).then_some(())
    })
    .await;
    assert_eq!(next.asked(), 0);
    reads(&node, 5.0).await;
    first.hears("over after").await;
    assert_eq!(next.asked(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_fails_is_an_alert_itself_and_holds_up_no_other() {
    let (broken, well) = (NtfyServer::start().await, NtfyServer::start().await);
    broken.fails(Trouble::Status(403));
    let text = phone(&broken, "") + &phone(&well, "after = '1s'").replace("'phone'", "'well'");
    let node = setup(&text).start().await;
    reads(&node, 9.5).await;
    well.hears("9.5").await;
    well.hears("cannot be told of alerts at phone").await;
    let alert = stands(&node, "notify.failing").await;
    assert!(
        alert.subject == "phone" && !alert.message.contains("farm-7Qx"),
        "{alert:?}"
    );
    // It is tried again, and then that is over too.
    broken.hears("9.5").await;
    until("it works again", || async {
        let all = door(&node).alerts().await.unwrap();
        all.iter().all(|a| a.kind != "notify.failing").then_some(())
    })
    .await;
    assert!(
        broken
            .published()
            .iter()
            .all(|m| !m.to_string().contains("cannot be told"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_leaves_in_a_message() {
    let server = NtfyServer::start().await;
    let text = phone(&server, "") + "[privacy]\nmetrics = ['temperature']\n";
    let node = setup(&text).start().await;
    reads(&node, 9.5).await;
    let alert = stands(&node, "alert.critical").await;
    assert!(alert.private && alert.message.contains("9.5"), "{alert:?}");
    let said = server
        .hears(&format!("an alert about {}, look at the console", alert.id))
        .await
        .to_string();
    assert!(
        !said.contains("9.5") && !said.contains("cold store") && !said.contains("temperature"),
        "{said}"
    );
    // Another alarm that speaks of it.
    let shared = node.shared();
    let why = "temperature: 9.5 is not believed";
    shared
        .alarms
        .raise(AlarmKind::ReadingDoubted, "sensor x", why, "", shared.now());
    let alert = stands(&node, "reading.doubted").await;
    server
        .hears(&format!("an alert about {}, look at the console", alert.id))
        .await;
    assert!(
        server
            .published()
            .iter()
            .all(|m| !m.to_string().contains("9.5"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_a_credential_and_a_test_says_what_is_wrong() {
    let server = NtfyServer::start().await;
    server.needs_token();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let text = phone(&server, "token = 'channel/ntfy'");
    let node = setup(&text).start_in(dir, Some(1)).await;
    let tried = door(&node).notify_test(None, "ada").await.unwrap();
    let why = tried[0].problem.clone().unwrap();
    assert!(why.contains("credential set channel/ntfy"), "{why}");
    let key = load_device_key(&node.state()).unwrap().unwrap();
    let credentials = Credentials::new(&node.state(), &key, None).unwrap();
    let secret = Zeroizing::new(TOKEN.to_owned());
    credentials.set("channel/ntfy", &secret, TimeMs(1)).unwrap();
    let tried = door(&node).notify_test(Some("phone"), "ada").await.unwrap();
    assert_eq!(tried[0].problem, None);
    let said = server.hears("a test").await.to_string();
    assert!(said.contains("ada"), "{said}");
    assert!(door(&node).notify_test(Some("fax"), "ada").await.is_err());
    door(&node).notify_test(None, "ada").await.unwrap();
    let tried = door(&node).notify_test(None, "ada").await.unwrap();
    let why = tried[0].problem.clone().unwrap();
    assert!(
        why.contains("takes nothing more for"),
        "a few a minute: {why}"
    );
    assert_eq!(server.published().len(), 2);
    let shown = serde_json::to_string(&door(&node).notify_places()).unwrap();
    assert!(
        shown.contains("phone") && !shown.contains("farm-7Qx"),
        "{shown}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_in_their_chat_and_says_there_that_they_have_seen_it() {
    let bot = BotApi::start().await;
    let server = NtfyServer::start().await;
    let person = "[[notify]]\nname = 'ada'\nkind = 'telegram'\nperson = 'ada'\n";
    let nobody = person.replace("'ada'", "'bob'");
    let text = format!("{person}{nobody}{}", phone(&server, "after = '1h'"));
    let mut setup = setup(&text).with_operator(crate::main_job::operator(), "L3");
    setup.raw.telegram = Some(bot.config());
    let node = started(setup, Arc::new(tempfile::tempdir().unwrap()), BOT_TOKEN).await;
    enrolled(&node, &bot, ADA).await;
    reads(&node, 9.5).await;
    let said = bot.hears(ADA, "9.5").await;
    assert!(said.text.contains("close the door"), "{said:?}");
    stands(&node, "notify.failing").await;
    let (_, press) = said.buttons[0].clone();
    bot.presses(EVE, said.id, &press);
    bot.presses(ADA, said.id, &press);
    let alert = until("it is acknowledged", || async {
        let all = door(&node).alerts().await.unwrap();
        let one = all.into_iter().find(|a| a.kind == "alert.critical")?;
        one.acknowledged.is_some().then_some(one)
    })
    .await;
    assert_eq!(alert.acknowledged.unwrap().by, "ada through telegram");
    bot.says(ADA, "/alerts");
    bot.hears(ADA, "seen by ada through telegram").await;
    reads(&node, 5.0).await;
    bot.hears(ADA, "over after").await;
    assert_eq!(events(&node, "alert.acknowledged").await.len(), 1);
    assert_eq!(bot.wrong(), [""; 0]);
    node.stop().await;
}
