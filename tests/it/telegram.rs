//! The Telegram bot of real nodes, against a strict Bot API server: enrolment, every command and button, and everything that
//! must not work.

use std::sync::Arc;

use clawmesh::adapters::clock::SystemClock;
use clawmesh::adapters::keystore::{Credentials, load_device_key};
use clawmesh::adapters::paths::StateDir;
use clawmesh::domain::base::TimeMs;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::policy::STARTER_POLICY;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals::{self, Minted};
use clawmesh::surfaces::chat;
use serde_json::json;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::bot_api::{BotApi, Sent, TOKEN, Trouble};
use crate::channels::{door, give};
use crate::harness::*;
use crate::levels::opened;
use crate::main_job::{decision, draft, mint, operator, status};

pub const ADA: i64 = 4711;
pub const EVE: i64 = 666;

pub fn setup(bot: &BotApi) -> Setup {
    let mut setup = field().with_operator(operator(), "L3");
    setup.raw.telegram = Some(bot.config());
    setup
}

/// A node with its bot, in a directory that has the token.
pub async fn started(setup: Setup, dir: Arc<TempDir>, token: &str) -> TestNode {
    let state = StateDir::at(&dir.path().join("state"));
    state.prepare().unwrap();
    if load_device_key(&state).unwrap().is_none() {
        clawmesh::adapters::keystore::create_device_key(&state, &[1; 32], TimeMs(1)).unwrap();
    }
    let key = load_device_key(&state).unwrap().unwrap();
    let secret = Zeroizing::new(token.to_owned());
    let credentials = Credentials::new(&state, &key, None).unwrap();
    credentials
        .set("channel/telegram", &secret, TimeMs(1))
        .unwrap();
    let node = setup.start_in(dir, None).await;
    chat::attach(&door(&node));
    node
}

pub async fn fresh(setup: Setup) -> TestNode {
    started(setup, Arc::new(tempfile::tempdir().unwrap()), TOKEN).await
}

/// Makes a chat the operator's, as `telegram enroll` and a message do.
pub async fn enrolled(node: &TestNode, bot: &BotApi, user: i64) -> String {
    let made = give(node, &operator(), |_| {}).await.unwrap();
    bot.says(user, &format!("/start {}", made.code));
    bot.hears(user, "decides for operator").await;
    made.channel.id
}

pub fn short(minted: &Minted) -> String {
    let id = &minted.signed.record().proposal_id;
    id.as_str().chars().take(8).collect()
}

pub fn data(message: &Sent, shown: &str) -> String {
    let found = message.buttons.iter().find(|(text, _)| text == shown);
    found
        .unwrap_or_else(|| panic!("no button {shown} in {message:?}"))
        .1
        .clone()
}

pub async fn done(node: &TestNode, minted: &Minted, wanted: Status) {
    until("the proposal stands as it should", || async {
        (status(node.shared(), minted).await == wanted).then_some(())
    })
    .await;
}

/// The message of the bot that tells of a proposal by itself.
pub async fn told(bot: &BotApi, minted: &Minted) -> Sent {
    bot.hears(ADA, &format!("Proposal {}", short(minted))).await
}

pub async fn stop(node: TestNode, bot: &BotApi) {
    assert_eq!(
        bot.wrong(),
        Vec::<String>::new(),
        "a real server refuses this"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_comes_by_itself_and_is_approved_after_one_more_question_as_what_it_is() {
    let bot = BotApi::start().await;
    let node = fresh(setup(&bot)).await;
    let channel = enrolled(&node, &bot, ADA).await;
    let minted = mint(&node, 1).await;
    let message = told(&bot, &minted).await;
    for part in [
        "open durationSec=1 on actuator:mock:valve-1",
        "then close",
        "L2",
        "moisture",
        "waits until",
    ] {
        assert!(message.text.contains(part), "{part}: {}", message.text);
    }
    bot.heard(&bot.presses(ADA, message.id, &data(&message, "Approve…")))
        .await;
    let asked = bot.hears(ADA, "Approve exactly this?").await;
    assert_eq!(asked.id, message.id, "in the same message");
    assert!(
        asked
            .text
            .contains("open durationSec=1 on actuator:mock:valve-1")
    );
    assert_eq!(opened(&node), 0, "nothing before the second press");
    bot.heard(&bot.presses(ADA, message.id, &data(&asked, "Yes, approve")))
        .await;
    done(&node, &minted, Status::Completed).await;
    assert_eq!(opened(&node), 1);
    let after = bot.hears(ADA, "completed").await;
    assert_eq!((after.id, after.buttons.len()), (message.id, 0));
    // It stands in the story as what it was.
    let id = minted.signed.record().proposal_id.as_str().to_owned();
    let story = json!(door(&node).trace(&id).await.unwrap()).to_string();
    let how = format!(
        "through telegram at node {} (channel {})",
        node.id().short(),
        &channel[..8]
    );
    assert!(story.contains(&how), "{story}");
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_and_private_readings_are_in_no_answer() {
    let bot = BotApi::start().await;
    let mut setup = setup(&bot);
    setup.raw.privacy.metrics = vec!["tank.level".into()];
    let node = fresh(setup).await;
    enrolled(&node, &bot, ADA).await;
    bot.says(ADA, "/status");
    bot.hears(ADA, "proposals wait").await;
    until("readings are there", || async {
        let facts = door(&node).facts(Default::default()).await.unwrap();
        (facts.iter().any(|f| f.private) && facts.len() > 1).then_some(())
    })
    .await;
    bot.says(ADA, "/world@mesh_test_bot moist");
    let world = bot.hears(ADA, "moisture").await;
    assert!(!world.text.contains("valve"), "{}", world.text);
    assert!(
        world.text.contains("Private readings are not shown"),
        "{}",
        world.text
    );
    bot.says(ADA, "/world tank");
    bot.hears(ADA, "fits \"tank\"").await;
    bot.says(ADA, "/world nothing-like-this");
    bot.hears(ADA, "fits \"nothing-like-this\"").await;
    bot.says(ADA, "/help");
    bot.hears(ADA, "/alerts on|off").await;
    bot.says(ADA, "/frobnicate");
    bot.hears(ADA, "/frobnicate is no command").await;
    bot.says(ADA, "/proposals");
    bot.hears(ADA, "Nothing waits").await;
    bot.says(ADA, "/alerts off");
    bot.hears(ADA, "not told here any more").await;
    let minted = mint(&node, 1).await;
    bot.says(ADA, "/proposals");
    bot.hears(ADA, &format!("{} · L2", short(&minted))).await;
    let before = bot.sent(ADA).len();
    bot.says(ADA, "/approve");
    bot.hears(ADA, "start of a proposal's id").await;
    bot.says(ADA, "/approve zzzzzzzz");
    bot.hears(ADA, "there is no proposal").await;
    bot.says(ADA, &format!("/approve {}", short(&minted)));
    let asked = bot.hears(ADA, "Approve exactly this?").await;
    bot.heard(&bot.presses(ADA, asked.id, &data(&asked, "Back")))
        .await;
    bot.hears(ADA, "Asked for by").await;
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    bot.says(ADA, &format!("/reject {} not today", short(&minted)));
    done(&node, &minted, Status::Rejected).await;
    bot.says(ADA, &format!("/approve {}", short(&minted)));
    bot.hears(ADA, "rejected by").await;
    assert!(bot.sent(ADA).len() > before);
    // A question: no model is here, the rules answer.
    bot.says(ADA, "is the soil dry?");
    let asked = bot.asked("sendMessage");
    until("the question is answered", || async {
        (bot.asked("sendMessage") >= asked).then_some(())
    })
    .await;
    bot.says(ADA, "/stop fire in the shed");
    bot.hears(
        ADA,
        "EMERGENCY STOP: every executor known here is latched and safe",
    )
    .await;
    assert!(door(&node).estop_state().latched);
    bot.says(ADA, "/status");
    bot.hears(ADA, "EMERGENCY STOP is latched").await;
    let all = bot
        .sent(ADA)
        .iter()
        .map(|m| m.text.clone())
        .collect::<String>();
    assert!(!all.contains("tank.level"), "{all}");
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_on_private_readings_shows_neither_them_nor_its_reason() {
    let bot = BotApi::start().await;
    let mut setup = setup(&bot);
    setup.raw.privacy.metrics = vec!["moisture".into()];
    let node = fresh(setup).await;
    enrolled(&node, &bot, ADA).await;
    let mut wish = draft(node.shared(), 1).await;
    wish.reason = "it says 12.5".into();
    let own = node.shared().own_id();
    let minted = proposals::mint(node.shared(), wish, own).await.unwrap();
    let message = told(&bot, &minted).await;
    assert!(
        message.text.contains("a private reading, not shown here"),
        "{}",
        message.text
    );
    assert!(
        message.text.contains("open durationSec=1"),
        "{}",
        message.text
    );
    let told = ["12.5", "moisture"]
        .iter()
        .any(|part| message.text.contains(part));
    assert!(!told, "{}", message.text);
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_groups_forwarded_and_replayed_presses_get_nothing() {
    let bot = BotApi::start().await;
    let node = fresh(setup(&bot)).await;
    enrolled(&node, &bot, ADA).await;
    let minted = mint(&node, 1).await;
    let message = told(&bot, &minted).await;
    let approve = data(&message, "Approve…");
    // A stranger is told so once, also for a press of somebody else's button.
    for text in ["/status", "/approve x", "hello", "/stop"] {
        bot.says(EVE, text);
    }
    bot.hears(EVE, "belongs to no operator").await;
    bot.says(EVE, "/start AAAAA-AAAAA");
    let heard = bot.heard(&bot.presses(EVE, message.id, &approve)).await;
    assert!(heard.contains("no operator"), "{heard}");
    assert!(!door(&node).estop_state().latched);
    let events = door(&node).events(Default::default()).await.unwrap();
    let refused: Vec<_> = events
        .iter()
        .filter(|e| e.kind == "channel.refused")
        .collect();
    assert!(!refused.is_empty(), "it is on record");
    assert!(
        !json!(refused).to_string().contains("hello"),
        "but not what they wrote"
    );
    // In a group nothing is shown, whoever asks.
    bot.sends(bot.message(ADA, -5, "/proposals", &json!({})));
    bot.hears(-5, "private chat").await;
    bot.sends(bot.message(EVE, -5, "/proposals", &json!({})));
    // Somebody else's words, passed on by the operator.
    let forwarded = json!({"forward_origin": {"type": "user"}});
    let text = format!("/reject {}", short(&minted));
    bot.sends(bot.message(ADA, ADA, &text, &forwarded));
    bot.hears(ADA, "forwarded").await;
    // Made up, and pressed twice.
    let heard = bot
        .heard(&bot.presses(ADA, message.id, "a:approve:1"))
        .await;
    assert!(heard.contains("does not count"), "{heard}");
    bot.heard(&bot.presses(ADA, message.id, &approve)).await;
    let asked = bot.hears(ADA, "Approve exactly this?").await;
    let yes = data(&asked, "Yes, approve");
    for old in [approve, data(&message, "Reject")] {
        let heard = bot.heard(&bot.presses(ADA, message.id, &old)).await;
        assert!(heard.contains("does not count"), "{heard}");
    }
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    bot.heard(&bot.presses(ADA, message.id, &yes)).await;
    done(&node, &minted, Status::Completed).await;
    let heard = bot.heard(&bot.presses(ADA, message.id, &yes)).await;
    assert!(heard.contains("does not count"), "{heard}");
    assert_eq!(opened(&node), 1);
    assert_eq!(bot.sent(-5).len(), 1);
    assert_eq!(
        bot.sent(EVE).len(),
        1,
        "also of a wrong code once in a while"
    );
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_when_its_proposal_was_decided_elsewhere_or_ran_out() {
    let bot = BotApi::start().await;
    let clock = Arc::new(SystemClock::default());
    let mut setup = setup(&bot);
    setup.clock = clock.clone();
    let node = fresh(setup).await;
    enrolled(&node, &bot, ADA).await;
    let minted = mint(&node, 1).await;
    let message = told(&bot, &minted).await;
    let no = decision(node.shared(), &minted.signed, &operator(), Verdict::Reject);
    proposals::decide(node.shared(), no).await.unwrap();
    let after = bot.hears(ADA, "rejected by").await;
    assert_eq!((after.id, after.buttons.len()), (message.id, 0));
    // The press comes too late.
    bot.heard(&bot.presses(ADA, message.id, &data(&message, "Approve…")))
        .await;
    let second = mint(&node, 2).await;
    let message = told(&bot, &second).await;
    clock.shift(24 * 3_600_000);
    let after = bot.hears(ADA, "expired").await;
    assert_eq!((after.id, after.buttons.len()), (message.id, 0));
    assert_eq!(opened(&node), 0);
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l3_has_no_button_the_rate_is_the_executors_and_a_revoked_chat_is_a_strangers() {
    let bot = BotApi::start().await;
    let mut strict = setup(&bot);
    let policy = STARTER_POLICY.replace("level = \"L2\"", "level = \"L3\"");
    strict.policy = Some(policy.replace("expect = \"L2\"", "expect = \"L3\""));
    let node = fresh(strict).await;
    enrolled(&node, &bot, ADA).await;
    let minted = mint(&node, 1).await;
    let message = told(&bot, &minted).await;
    let shown: Vec<&str> = message
        .buttons
        .iter()
        .map(|(text, _)| text.as_str())
        .collect();
    assert_eq!(shown, ["Reject"], "{}", message.text);
    bot.says(ADA, &format!("/approve {}", short(&minted)));
    bot.hears(ADA, "with your own key").await;
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    stop(node, &bot).await;

    let bot = BotApi::start().await;
    let node = fresh(setup(&bot)).await;
    let channel = enrolled(&node, &bot, ADA).await;
    for seconds in [1, 2, 3] {
        let minted = mint(&node, seconds).await;
        let answer = until("a decision counts or is one too many", || async {
            bot.says(ADA, &format!("/approve {}", short(&minted)));
            let asked = until("asked", || async {
                let sent = bot.sent(ADA).into_iter().rev();
                let mut sent = sent.filter(|m| m.text.contains(&short(&minted)));
                sent.find(|m| m.buttons.iter().any(|(text, _)| text == "Yes, approve"))
            })
            .await;
            bot.heard(&bot.presses(ADA, asked.id, &data(&asked, "Yes, approve")))
                .await;
            until("answered", || async {
                let sent = bot.sent(ADA);
                let message = sent.iter().find(|m| m.id == asked.id)?;
                message.buttons.is_empty().then(|| message.text.clone())
            })
            .await
            .into()
        })
        .await;
        match seconds {
            3 => assert!(answer.contains("last hour"), "{answer}"),
            _ => done(&node, &minted, Status::Completed).await,
        }
    }
    assert_eq!(opened(&node), 2);
    door(&node).channel_void(&channel, None).await.unwrap();
    bot.says(ADA, "/status");
    bot.hears(ADA, "has been revoked").await;
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_answered_once_through_conflicts_limits_lost_connections_and_a_restart() {
    let bot = BotApi::start().await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    bot.fails("getMe", Trouble::Break);
    bot.fails("getMe", Trouble::Later(1));
    bot.fails("getUpdates", Trouble::Status(409));
    bot.fails("getUpdates", Trouble::Break);
    let node = started(setup(&bot), dir.clone(), TOKEN).await;
    enrolled(&node, &bot, ADA).await;
    let bots = door(&node).channels().await.unwrap().bots;
    assert_eq!(bots[0].name.as_deref(), Some("mesh_test_bot"));
    // The answer has to wait, and comes once.
    bot.fails("sendMessage", Trouble::Later(1));
    let message = bot.message(ADA, ADA, "/alerts", &json!({}));
    let update = bot.sends(message.clone());
    bot.hears(ADA, "Alerts are on").await;
    // The same update comes again, before and after others.
    bot.again(update, message.clone());
    bot.says(ADA, "/alerts off");
    bot.hears(ADA, "not told here any more").await;
    bot.again(update, message.clone());
    bot.fails("getUpdates", Trouble::Status(502));
    bot.says(ADA, "/alerts on");
    bot.hears(ADA, "New proposals are told here.").await;
    let count = |what: &str| {
        bot.sent(ADA)
            .iter()
            .filter(|m| m.text.contains(what))
            .count()
    };
    assert_eq!(count("Alerts are on"), 1);
    assert_eq!(bot.wrong(), Vec::<String>::new());
    node.stop().await;

    bot.again(update, message);
    let node = started(setup(&bot), dir, TOKEN).await;
    bot.says(ADA, "/status");
    bot.hears(ADA, "proposals wait").await;
    assert_eq!(count("Alerts are on"), 1, "not after a restart either");
    stop(node, &bot).await;
}
