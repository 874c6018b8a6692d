//! What the connections of a Slack app meet: ends, copies, envelopes of every kind and size, and others of the same app.

use std::sync::Arc;
use std::time::Duration;

use clawmesh::adapters::keystore::{Credentials, create_device_key};
use clawmesh::adapters::paths::StateDir;
use clawmesh::domain::base::TimeMs;
use clawmesh::domain::gate::ChannelKind;
use clawmesh::domain::proposal::Status;
use clawmesh::operator::channels::BotView;
use clawmesh::surfaces::chat;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message as Frame;
use zeroize::Zeroizing;

use crate::bot_api::{BotApi, Trouble};
use crate::channels::{door, give};
use crate::chat_services::Service;
use crate::chats::{enrolled, setup, started};
use crate::harness::*;
use crate::main_job::{mint, operator, status};
use crate::slack_api::{SlackApi, TEAM, account_of, user_of};
use crate::telegram::{ADA, EVE, data, short};

async fn fresh(slack: &SlackApi) -> TestNode {
    started(slack, setup(), Arc::new(tempfile::tempdir().unwrap())).await
}

async fn connected(slack: &SlackApi, ever: u64) {
    until("there is one connection", || async {
        let (now, opened) = slack.connections();
        (now == 1 && opened >= ever).then_some(())
    })
    .await;
}

fn count(slack: &SlackApi, what: &str) -> usize {
    let sent = slack.sent(ADA).into_iter();
    sent.filter(|m| m.text.contains(what)).count()
}

async fn end(node: TestNode, slack: &SlackApi) {
    assert_eq!(
        slack.wrong(),
        Vec::<String>::new(),
        "a real server refuses this"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_is_acknowledged_only_when_the_next_are_asked_for() {
    let slack = SlackApi::start().await;
    let chats = slack.chats();
    slack.says(ADA, "hi");
    let some = chats.updates(0, Duration::from_secs(10)).await.unwrap();
    chats.updates(0, Duration::ZERO).await.unwrap();
    assert_eq!(
        slack.unacknowledged(),
        1,
        "who only looks acknowledges nothing"
    );
    // A copy of it is the same update, and is acknowledged with it.
    slack.comes_again();
    assert_eq!(
        chats.updates(0, Duration::from_secs(10)).await.unwrap(),
        some
    );
    let none = chats.updates(some[0].id + 1, Duration::ZERO).await.unwrap();
    assert_eq!(none, []);
    until("it is acknowledged", || async {
        (slack.unacknowledged() == 0).then_some(())
    })
    .await;
    // What was not acknowledged comes to whoever is connected next.
    slack.says(ADA, "again");
    let some = chats.updates(0, Duration::from_secs(10)).await.unwrap();
    chats.leave();
    until("it has left", || async {
        (slack.connections().0 == 0).then_some(())
    })
    .await;
    let other = slack.chats();
    assert_eq!(
        other.updates(0, Duration::from_secs(10)).await.unwrap(),
        some
    );
    assert_eq!(other.others(), Some(0));
    assert_eq!(slack.wrong(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_answered_once_through_ends_breaks_copies_and_odd_envelopes() {
    let slack = SlackApi::start().await;
    slack.fails("auth.test", Trouble::Later(1));
    slack.fails("apps.connections.open", Trouble::Status(502));
    let node = fresh(&slack).await;
    enrolled(&node, &slack, ADA).await;
    // Slack wants the connection to be replaced: the next one stands before this one ends.
    let (_, opened) = slack.connections();
    slack.ends("warning");
    connected(&slack, opened + 1).await;
    slack.says(ADA, "alerts");
    slack.hears(ADA, "Alerts are on").await;
    let (_, opened) = slack.connections();
    slack.ends("refresh_requested");
    connected(&slack, opened + 1).await;
    // Envelopes of other types, what does not read, and one of a megabyte.
    for kind in ["slash_commands", "something_new", "options"] {
        slack.gives(kind, json!({"command": "/stop"}));
    }
    slack.gives("events_api", json!({"event": []}));
    for odd in [
        "",
        "{",
        "[[[[",
        "{\"type\":7}",
        "{\"type\":\"events_api\",\"envelope_id\":[]}",
    ] {
        slack.frames(&Frame::text(odd));
    }
    slack.frames(&Frame::binary(vec![0xff; 70_000]));
    slack.says(ADA, &format!("world {}", "y".repeat(1_000_000)));
    slack
        .hears(ADA, "No reading that may be shown here fits")
        .await;
    // One that is too large ends the connection; the next goes on.
    let (_, opened) = slack.connections();
    slack.frames(&Frame::text("z".repeat(3 * 1_048_576)));
    connected(&slack, opened + 1).await;
    let said = slack.says(ADA, "alerts off");
    slack.hears(ADA, "not told here any more").await;
    // The same message in other envelopes, and from another connection.
    slack.gives("events_api", said.clone());
    slack.ends("refresh_requested");
    slack.gives("events_api", said);
    slack.says(ADA, "alerts on");
    slack.hears(ADA, "New proposals are told here.").await;
    until("all is acknowledged", || async {
        (slack.unacknowledged() == 0).then_some(())
    })
    .await;
    assert_eq!(count(&slack, "not told here any more"), 1);
    end(node, &slack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_commands_and_what_is_no_direct_message_of_the_workspace_is_nothing() {
    let slack = SlackApi::start().await;
    let node = fresh(&slack).await;
    // A code alone is enough, whatever was written before.
    let key = operator();
    let made = give(&node, &key, |channel| {
        channel.kind = ChannelKind::Slack;
    });
    let code = made.await.unwrap().code;
    slack.says(ADA, &code);
    slack.hears(ADA, "decides for operator").await;
    let member = door(&node)
        .channel_member(ChannelKind::Slack, &account_of(ADA))
        .await;
    assert_eq!(member.unwrap().account, format!("{TEAM}:{}", user_of(ADA)));
    // A key of Slack is nobody's in Telegram, and the code is spent.
    let other = door(&node)
        .channel_member(ChannelKind::Telegram, &account_of(ADA))
        .await;
    assert!(other.is_err());
    let ada = user_of(ADA);
    for more in [
        json!({"channel_type": "channel", "channel": "C01"}),
        json!({"channel_type": "mpim", "channel": "G01"}),
        json!({"team": "T0OTHER"}),
        json!({"bot_id": "B01"}),
        json!({"subtype": "message_changed"}),
    ] {
        slack.gives("events_api", slack.message(&ada, "stop", &more));
    }
    let mut foreign = slack.message(&ada, "stop", &json!({}));
    foreign["team_id"] = json!("T0OTHER");
    slack.gives("events_api", foreign);
    for (said, answered) in [
        ("Status?", "proposals wait"),
        ("/status", "proposals wait"),
        ("/frobnicate", "/frobnicate is no command here"),
        ("approve", "start of a proposal's id"),
        ("world nothing-like-this", "fits \"nothing-like-this\""),
    ] {
        let before = slack.sent(ADA).len();
        slack.says(ADA, said);
        until(answered, || async {
            let sent = slack.sent(ADA);
            sent[before..]
                .iter()
                .any(|m| m.text.contains(answered))
                .then_some(())
        })
        .await;
    }
    assert!(!door(&node).estop_state().latched);
    // A sentence that begins with a word is a question.
    let before = slack.sent(ADA).len();
    slack.says(ADA, "status of the pump?");
    until("it is answered", || async {
        (slack.sent(ADA).len() > before).then_some(())
    })
    .await;
    assert!(!slack.sent(ADA)[before].text.contains("proposals wait"));
    slack.says(ADA, "STOP!");
    slack.hears(ADA, "EMERGENCY STOP").await;
    assert!(door(&node).estop_state().latched);
    end(node, &slack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_counts_once_in_two_chats_and_buttons_count_after_a_restart() {
    let (slack, telegram) = (SlackApi::start().await, BotApi::start().await);
    let both = |slack: &SlackApi| {
        let mut setup = setup();
        telegram.configure(&mut setup.raw);
        slack.configure(&mut setup.raw);
        setup.policy = Some(clawmesh::domain::policy::STARTER_POLICY.replacen(
            "level = \"L2\"",
            "level = \"L2\"\nquorum = 2",
            1,
        ));
        setup
    };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    has_secrets(&dir, 1, BotApi::SECRETS);
    let node = started(&slack, both(&slack), dir.clone()).await;
    enrolled(&node, &telegram, ADA).await;
    enrolled(&node, &slack, ADA).await;
    let bots = door(&node).channels().await.unwrap().bots;
    let kinds: Vec<ChannelKind> = bots.iter().map(|b| b.kind).collect();
    assert_eq!(kinds, ChannelKind::ALL);
    let minted = mint(&node, 1).await;
    let about = format!("Proposal {}", short(&minted));
    let there = telegram.hears(ADA, &about).await;
    telegram
        .heard(&telegram.presses(ADA, there.id, &data(&there, "Approve…")))
        .await;
    let asked = telegram.hears(ADA, "Approve exactly this?").await;
    telegram
        .heard(&telegram.presses(ADA, asked.id, &data(&asked, "Yes, approve")))
        .await;
    let here = slack.hears(ADA, &about).await;
    node.stop().await;
    let node = started(&slack, both(&slack), dir).await;
    slack
        .is_heard(&slack.presses(ADA, here.id, &data(&here, "Approve…")))
        .await;
    let asked = slack.hears(ADA, "Approve exactly this?").await;
    assert_eq!(asked.id, here.id);
    slack
        .is_heard(&slack.presses(ADA, asked.id, &data(&asked, "Yes, approve")))
        .await;
    until("the second yes is answered", || async {
        let sent = slack.sent(ADA).into_iter();
        sent.rev().find(|m| m.id == here.id && m.buttons.is_empty())
    })
    .await;
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval,
        "one person is one vote"
    );
    end(node, &slack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_of_the_same_app_is_said_and_a_stranger_is_refused_on_record() {
    let slack = SlackApi::start().await;
    slack.counts_others(1);
    let node = fresh(&slack).await;
    let problem = until("it is said", || async {
        let bots = door(&node).channels().await.unwrap().bots;
        bots.into_iter().find_map(|bot| bot.problem)
    })
    .await;
    assert!(
        problem.contains("another program uses its tokens"),
        "{problem}"
    );
    slack.says(EVE, "stop");
    slack.hears(EVE, "belongs to no operator").await;
    for text in ["hello", "approve x", "AAAAA-AAAAA"] {
        slack.says(EVE, text);
    }
    enrolled(&node, &slack, ADA).await;
    assert!(!door(&node).estop_state().latched);
    assert_eq!(slack.sent(EVE).len(), 1);
    let events = door(&node).events(Default::default()).await.unwrap();
    let refused: Vec<_> = events
        .iter()
        .filter(|e| e.kind == "channel.refused")
        .collect();
    let refused = json!(refused).to_string();
    assert!(
        refused.contains(&account_of(EVE)) && !refused.contains("hello"),
        "{refused}"
    );
    end(node, &slack).await;
}

const GRANTS: &str = "observe:T2,relay,read,human,estop";

/// A state directory with the key of this seed, and these credentials.
fn has_secrets(dir: &tempfile::TempDir, seed: u8, secrets: &[(&str, &str)]) {
    let state = StateDir::at(&dir.path().join("state"));
    state.prepare().unwrap();
    create_device_key(&state, &[seed; 32], TimeMs(1)).unwrap();
    let credentials = Credentials::new(&state, &key(seed), None).unwrap();
    for (name, secret) in secrets {
        let secret = Zeroizing::new((*secret).to_owned());
        credentials.set(name, &secret, TimeMs(1)).unwrap();
    }
}

async fn of_two(slack: &SlackApi, seed: u8, other: u8, peer: Option<&TestNode>) -> TestNode {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    has_secrets(&dir, seed, SlackApi::SECRETS);
    let mut setup = setup().trusting(key(other), GRANTS);
    slack.configure(&mut setup.raw);
    if let Some(peer) = peer {
        let peer = format!("{}=ws://{}||local", peer.id(), peer.address);
        setup.raw.peers.push(peer);
    }
    let node = setup.start_in(dir, Some(seed)).await;
    chat::attach(&door(&node));
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_know_slack_is_told_nothing_of_it_and_unknown_kinds_are_refused_with_words()
 {
    let (slack, telegram) = (SlackApi::start().await, BotApi::start().await);
    let mut setup = setup().trusting(key(7), GRANTS).trusting(key(8), GRANTS);
    telegram.configure(&mut setup.raw);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    has_secrets(&dir, 1, BotApi::SECRETS);
    let node = started(&slack, setup, dir).await;
    until("both bots run", || async {
        let bots = door(&node).channels().await.unwrap().bots;
        (bots.iter().filter(|b| b.name.is_some()).count() == 2).then_some(())
    })
    .await;
    let (older, newer) = (key(7), key(8));
    let mut probe = Probe::open(node.address).await;
    let reply = probe.handshake(&older, MESH, |params| {
        params.insert("features".into(), json!(["answering"]));
    });
    assert_eq!(reply.await["ok"], true);
    for _ in 0..3 {
        let claim = probe.hear("channel.claim").await;
        assert_eq!(claim["payload"]["kind"], "telegram");
    }
    let claim = json!({
        "kind": "fax", "bot": "7", "epoch": 9, "holds": true, "well": true, "wants": true, "serves": 9,
    });
    probe.event("channel.claim", claim).await;
    until("it is refused", || async {
        let events = door(&node).events(Default::default()).await.unwrap();
        json!(events)
            .to_string()
            .contains("unknown variant `fax`")
            .then_some(())
    })
    .await;
    let mut probe = Probe::open(node.address).await;
    let reply = probe.handshake(&newer, MESH, |params| {
        params.insert("features".into(), json!(["answering", "bots"]));
    });
    assert_eq!(reply.await["ok"], true);
    let kinds = [
        probe.hear("channel.claim").await,
        probe.hear("channel.claim").await,
    ];
    assert!(
        kinds
            .iter()
            .any(|claim| claim["payload"]["kind"] == "slack"),
        "{kinds:?}"
    );
    end(node, &slack).await;
}

async fn seen(node: &TestNode, what: &str, fits: impl Fn(&BotView) -> bool) {
    until(what, || async {
        let bots = door(node).channels().await.unwrap().bots;
        bots.iter().any(&fits).then_some(())
    })
    .await;
}

fn answers(bot: &BotView) -> bool {
    bot.stands_by.is_none() && bot.problem.is_none() && bot.name.is_some()
}

fn stands_by(bot: &BotView) -> bool {
    bot.stands_by
        .as_deref()
        .is_some_and(|why| why.starts_with("stands by"))
}

/// It waits for the seconds in which nodes find out who answers, as for Telegram.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_is_connected_and_the_other_when_it_ends_or_cannot_be_heard() {
    let slack = SlackApi::start().await;
    let mut seeds = [2, 3];
    seeds.sort_by_key(|n| key(*n).public().device_id());
    let [first, second] = seeds;
    let a = of_two(&slack, first, second, None).await;
    seen(&a, "the first answers", answers).await;
    enrolled(&a, &slack, ADA).await;
    // It trusts the first and has no way to it: Slack tells it that it is not alone.
    let apart = of_two(&slack, second, first, None).await;
    seen(&apart, "it stands by", stands_by).await;
    connected(&slack, 2).await;
    apart.stop().await;
    let b = of_two(&slack, second, first, Some(&a)).await;
    seen(&b, "the second stands by", stands_by).await;
    connected(&slack, 1).await;
    for on in ["off", "on"] {
        slack.says(ADA, &format!("alerts {on}"));
    }
    until("both are answered", || async {
        (count(&slack, "New proposals are") == 2).then_some(())
    })
    .await;
    a.stop().await;
    seen(&b, "the second answers", answers).await;
    connected(&slack, 2).await;
    slack.says(ADA, "status");
    slack.hears(ADA, "belongs to no operator").await;
    end(b, &slack).await;
}
