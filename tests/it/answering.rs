//! Several nodes with one bot: one answers, the others stand by, whoever holds the bot can hand it over, and a device that only
//! says that it answers keeps it silent for no long time.

use std::sync::Arc;
use std::time::Duration;

use clawmesh::adapters::keystore::{Credentials, create_device_key};
use clawmesh::adapters::paths::StateDir;
use clawmesh::domain::base::TimeMs;
use clawmesh::domain::gate::ChannelKind;
use clawmesh::operator::channels::BotView;
use clawmesh::operator::estop::EstopRequest;
use clawmesh::surfaces::chat;
use serde_json::json;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::bot_api::{BotApi, TOKEN};
use crate::channels::{door, give};
use crate::harness::*;
use crate::main_job::operator;
use crate::telegram::{ADA, enrolled, setup, stop};

const GRANTS: &str = "observe:T2,relay,read,human,estop";

/// Seeds in the order of their devices' ids.
fn seeds() -> [u8; 2] {
    let mut seeds = [2, 3];
    seeds.sort_by_key(|n| key(*n).public().device_id());
    seeds
}

/// A node with its bot, which trusts these.
async fn bot_node(bot: &BotApi, seed: u8, trusts: &[u8], peers: &[&TestNode]) -> TestNode {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let state = StateDir::at(&dir.path().join("state"));
    state.prepare().unwrap();
    create_device_key(&state, &[seed; 32], TimeMs(1)).unwrap();
    bot_node_in(dir, bot, seed, trusts, peers).await
}

/// As [`bot_node`], in a directory that has the device's key.
async fn bot_node_in(
    dir: Arc<TempDir>,
    bot: &BotApi,
    seed: u8,
    trusts: &[u8],
    peers: &[&TestNode],
) -> TestNode {
    let mut setup = setup(bot);
    setup.raw.name = Some(format!("bot-{seed}"));
    for other in trusts {
        setup = setup.trusting(key(*other), GRANTS);
    }
    for peer in peers {
        let peer = format!("{}=ws://{}||local", peer.id(), peer.address);
        setup.raw.peers.push(peer);
    }
    let state = StateDir::at(&dir.path().join("state"));
    let credentials = Credentials::new(&state, &key(seed), None).unwrap();
    let token = Zeroizing::new(TOKEN.to_owned());
    credentials
        .set("channel/telegram", &token, TimeMs(1))
        .unwrap();
    let node = setup.start_in(dir, Some(seed)).await;
    chat::attach(&door(&node));
    node
}

async fn seen(node: &TestNode, what: &str, fits: impl Fn(&BotView) -> bool) -> BotView {
    until(what, || async {
        let bots = door(node).channels().await.unwrap().bots;
        bots.into_iter().find(|bot| fits(bot))
    })
    .await
}

fn answers(bot: &BotView) -> bool {
    bot.stands_by.is_none() && bot.problem.is_none() && bot.name.is_some()
}

async fn stands_by(node: &TestNode, why: &str) -> BotView {
    let fits = |bot: &BotView| {
        let said = bot.stands_by.as_deref().unwrap_or_default();
        said.starts_with("stands by: ") && said.contains(why)
    };
    seen(node, why, fits).await
}

fn count(bot: &BotApi, what: &str) -> usize {
    let sent = bot.sent(ADA).into_iter();
    sent.filter(|m| m.text.contains(what)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_answers_the_other_has_the_bot_for_an_enrolment_and_when_the_first_ends() {
    let bot = BotApi::start().await;
    let [first, second] = seeds();
    let a = bot_node(&bot, first, &[second], &[]).await;
    seen(&a, "the first answers", answers).await;
    enrolled(&a, &bot, ADA).await;
    let b = bot_node(&bot, second, &[first], &[&a]).await;
    let by = stands_by(&b, "answers").await;
    assert!(by.others[0].holds && by.others[0].device_id == a.id().as_str());
    bot.says(ADA, "/alerts off");
    bot.hears(ADA, "not told here any more").await;
    // A code of the second has to be entered with the second.
    let made = give(&b, &operator(), |_| {}).await.unwrap();
    seen(&b, "the second answers", answers).await;
    stands_by(&a, "answers").await;
    bot.says(ADA, &format!("/start {}", made.code));
    let said = bot.hears(ADA, &made.channel.id[..8]).await;
    assert!(said.text.contains("decides for operator"), "{}", said.text);
    // The first has it again, and says nothing of what was for the second.
    seen(&a, "the first answers again", answers).await;
    stands_by(&b, "answers").await;
    bot.says(ADA, "/alerts");
    bot.hears(ADA, "Alerts are off").await;
    a.stop().await;
    seen(&b, "the second answers", answers).await;
    bot.says(ADA, "/alerts");
    bot.hears(ADA, "Alerts are on").await;
    assert_eq!(count(&bot, "Alerts are"), 2);
    assert_eq!(count(&bot, "decides for operator"), 2);
    stop(b, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hears_no_other_yields_to_who_polls_and_both_do_not_fight() {
    let bot = BotApi::start().await;
    let [first, second] = seeds();
    let a = bot_node(&bot, first, &[second], &[]).await;
    seen(&a, "the first answers", answers).await;
    enrolled(&a, &bot, ADA).await;
    // It trusts the first and has no way to it.
    let b = bot_node(&bot, second, &[first], &[]).await;
    stands_by(&b, "another program polls").await;
    for on in ["on", "off", "on"] {
        bot.says(ADA, &format!("/alerts {on}"));
    }
    until("all are answered", || async {
        (count(&bot, "New proposals are") == 3).then_some(())
    })
    .await;
    seen(&a, "the first goes on", answers).await;
    assert!(!b.shared().answering.of(ChannelKind::Telegram).speaks());
    b.stop().await;
    stop(a, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_only_says_that_it_answers_is_found_out() {
    let bot = BotApi::start().await;
    let [first, liar] = seeds();
    let a = bot_node(&bot, first, &[liar], &[]).await;
    let (address, mesh) = (a.address, MESH);
    let mut probe = Probe::open(address).await;
    let features = json!(["answering"]);
    let liar = key(liar);
    let reply = probe.handshake(&liar, mesh, |params| {
        params.insert("features".into(), features);
    });
    assert_eq!(reply.await["ok"], true);
    let lies = tokio::spawn(async move {
        let claim = json!({
            "kind": "telegram", "bot": "123456", "epoch": u64::MAX, "holds": true, "well": true, "wants": false, "serves": 9,
        });
        loop {
            probe.event("channel.claim", claim.clone()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    stands_by(&a, "answers").await;
    seen(&a, "it answers all the same", answers).await;
    enrolled(&a, &bot, ADA).await;
    lies.abort();
    stop(a, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_a_device_without_human_counts_for_nothing() {
    let bot = BotApi::start().await;
    let [first, other] = seeds();
    let a = bot_node(&bot, first, &[], &[]).await;
    trust(a.shared(), &key(other), "observe:T2,relay,read").await;
    seen(&a, "it answers at once", answers).await;
    let mut probe = Probe::open(a.address).await;
    let other = key(other);
    let reply = probe.handshake(&other, MESH, |params| {
        params.insert("features".into(), json!(["answering"]));
    });
    assert_eq!(reply.await["ok"], true);
    let claim = json!({
        "kind": "telegram", "bot": "123456", "epoch": 9, "holds": true, "well": true, "wants": true, "serves": 9,
    });
    probe.event("channel.claim", claim).await;
    until("it is refused", || async {
        let events = door(&a).events(Default::default()).await.unwrap();
        json!(events)
            .to_string()
            .contains("answers no bot")
            .then_some(())
    })
    .await;
    assert!(a.shared().answering.of(ChannelKind::Telegram).speaks());
    stop(a, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_a_person_has_released_is_not_engaged_again_by_the_message_that_engaged_it() {
    let bot = BotApi::start().await;
    let [own, other] = seeds();
    let node = bot_node(&bot, own, &[], &[]).await;
    enrolled(&node, &bot, ADA).await;
    let mut dir = node.stop().await;
    bot.says(ADA, "/stop fire");
    let release = EstopRequest {
        reason: Some("it was steam".to_owned()),
        ..Default::default()
    };
    // It looks whether the other polls, and carries the stop out meanwhile; it ends before it answers.
    for begins in 0..2 {
        let node = bot_node_in(dir, &bot, own, &[other], &[]).await;
        if begins == 0 {
            until("everything is stopped", || async {
                door(&node).estop_state().latched.then_some(())
            })
            .await;
            door(&node).estop_release(&release, "ada").await.unwrap();
            until("that is on disk", || async {
                let door = door(&node);
                let stops = door.channel_stops(ChannelKind::Telegram, "123456").await;
                (!stops.unwrap().is_empty()).then_some(())
            })
            .await;
        } else {
            bot.hears(ADA, "EMERGENCY STOP").await;
        }
        assert!(!door(&node).estop_state().latched, "{begins}");
        dir = node.stop().await;
    }
    // The same without an end between: a look, and then the update is taken.
    bot.says(ADA, "/stop once more");
    let node = bot_node_in(dir, &bot, own, &[other], &[]).await;
    until("everything is stopped", || async {
        door(&node).estop_state().latched.then_some(())
    })
    .await;
    door(&node).estop_release(&release, "ada").await.unwrap();
    until("it is answered", || async {
        (count(&bot, "EMERGENCY STOP") == 2).then_some(())
    })
    .await;
    assert!(!door(&node).estop_state().latched);
    let events = json!(door(&node).events(Default::default()).await.unwrap()).to_string();
    assert_eq!(events.matches("\"estop.engaged\"").count(), 2, "{events}");
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_so_for_short_times_only_is_found_out_too() {
    let bot = BotApi::start().await;
    let [first, liar] = seeds();
    let a = bot_node(&bot, first, &[liar], &[]).await;
    let mut probe = Probe::open(a.address).await;
    let liar = key(liar);
    let reply = probe.handshake(&liar, MESH, |params| {
        params.insert("features".into(), json!(["answering"]));
    });
    assert_eq!(reply.await["ok"], true);
    let lies = tokio::spawn(async move {
        // Nine seconds of every twelve.
        for second in 0_u64.. {
            let claim = json!({
                "kind": "telegram", "bot": "123456", "epoch": u64::MAX, "holds": second % 12 < 9, "well": true,
                "wants": false, "serves": 9,
            });
            probe.event("channel.claim", claim).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    stands_by(&a, "answers").await;
    seen(&a, "it answers all the same", answers).await;
    lies.abort();
    stop(a, &bot).await;
}
