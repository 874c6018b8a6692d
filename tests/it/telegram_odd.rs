//! What a Telegram bot meets that is no conversation: a wrong token, floods, texts of a megabyte.

use std::sync::Arc;

use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals::{self, Minted};
use serde_json::json;

use crate::bot_api::{BotApi, TOKEN, Trouble};
use crate::channels::{door, give};
use crate::harness::*;
use crate::main_job::{decision, mint, operator, status};
use crate::telegram::{ADA, EVE, data, done, enrolled, fresh, setup, short, started, stop, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_said_and_no_token_lies_in_what_the_node_keeps_or_shows() {
    let bot = BotApi::start().await;
    let other = TOKEN.replace("SECRET", "HIDDEN");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = started(setup(&bot), dir.clone(), &other).await;
    let problem = until("the bot says what is wrong", || async {
        let bots = door(&node).channels().await.unwrap().bots;
        bots.into_iter().find_map(|bot| bot.problem)
    })
    .await;
    assert!(problem.contains("does not take the token"), "{problem}");
    let status = json!(door(&node).status().await.unwrap()).to_string();
    let events = json!(door(&node).events(Default::default()).await.unwrap()).to_string();
    let dir = node.stop().await;
    let mut files = vec![dir.path().to_path_buf()];
    let mut kept = status.into_bytes();
    kept.extend(events.into_bytes());
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else if path.is_file() {
            kept.extend(std::fs::read(path).unwrap());
        }
    }
    let word = other.split_once(':').unwrap().1.as_bytes();
    assert!(!kept.windows(word.len()).any(|part| part == word));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_and_huge_texts_are_bounded_and_the_rest_of_the_node_goes_on() {
    let bot = BotApi::start().await;
    let node = fresh(setup(&bot)).await;
    enrolled(&node, &bot, ADA).await;
    for n in 0..200 {
        bot.says(EVE, &format!("{n} {}", "x".repeat(2_000)));
    }
    bot.hears(EVE, "belongs to no operator").await;
    // The operator is read in between.
    bot.says(ADA, &format!("/world {}", "y".repeat(1_000_000)));
    bot.hears(ADA, "No reading that may be shown here fits")
        .await;
    assert_eq!(bot.sent(EVE).len(), 1);
    for _ in 0..60 {
        bot.says(ADA, "/alerts");
    }
    bot.says(EVE, "end");
    until("all was taken", || async {
        let next = door(&node)
            .channel_next_update(clawmesh::domain::gate::ChannelKind::Telegram, "123456")
            .await;
        (next.unwrap() > 262).then_some(())
    })
    .await;
    let alerts = bot
        .sent(ADA)
        .iter()
        .filter(|m| m.text.contains("Alerts are"))
        .count();
    assert!(alerts <= 30, "{alerts}");
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_stop_waits_behind_no_crowd_no_held_up_answer_and_no_limit() {
    let bot = BotApi::start().await;
    let node = fresh(setup(&bot)).await;
    enrolled(&node, &bot, ADA).await;
    // Answers to strangers, and then the operator's own, are held up for minutes.
    for _ in 0..40 {
        bot.fails("sendMessage", Trouble::Later(300));
    }
    for n in 0..30 {
        bot.says(EVE, &format!("/start AAAAA-{n:05}"));
    }
    // More accounts than are counted at a time.
    for stranger in 0..1_030 {
        bot.says(10_000 + stranger, "hi");
    }
    for _ in 0..60 {
        bot.says(ADA, "/alerts");
    }
    bot.says(ADA, "/Stop! fire in the shed");
    until("everything is stopped", || async {
        door(&node).estop_state().latched.then_some(())
    })
    .await;
    let strangers = bot.asked("sendMessage");
    assert!(strangers < 200, "{strangers} answers to a crowd");
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_whose_updates_are_numbered_anew_is_heard() {
    let bot = BotApi::start().await;
    bot.numbers_from(i64::MAX - 2);
    let node = fresh(setup(&bot)).await;
    let made = give(&node, &operator(), |_| {}).await.unwrap();
    bot.says(ADA, &format!("/start {}", made.code));
    bot.hears(ADA, "decides for operator").await;
    bot.says(ADA, "/alerts off");
    bot.hears(ADA, "not told here any more").await;
    bot.numbers_from(5);
    bot.says(ADA, "/alerts on");
    bot.hears(ADA, "New proposals are told here.").await;
    bot.says(ADA, "/stop after a quiet week");
    bot.hears(ADA, "EMERGENCY STOP").await;
    assert!(door(&node).estop_state().latched);
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_buttons_count_nothing_is_told_again_and_messages_are_kept_up_to_date() {
    let bot = BotApi::start().await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = started(setup(&bot), dir.clone(), TOKEN).await;
    enrolled(&node, &bot, ADA).await;
    let (first, second) = (mint(&node, 1).await, mint(&node, 2).await);
    let (one, two) = (told(&bot, &first).await, told(&bot, &second).await);
    node.stop().await;

    let node = started(setup(&bot), dir.clone(), TOKEN).await;
    bot.says(ADA, "/status");
    bot.hears(ADA, "2 proposals wait").await;
    let count = |minted: &Minted| {
        let about = format!("Proposal {}", short(minted));
        let sent = bot.sent(ADA).into_iter();
        sent.filter(|m| m.text.contains(&about)).count()
    };
    assert_eq!((count(&first), count(&second)), (1, 1), "not told again");
    bot.heard(&bot.presses(ADA, one.id, &data(&one, "Approve…")))
        .await;
    let asked = bot.hears(ADA, "Approve exactly this?").await;
    assert_eq!(asked.id, one.id);
    // Once more, between the question and its answer.
    node.stop().await;
    let node = started(setup(&bot), dir, TOKEN).await;
    let yes = data(&asked, "Yes, approve");
    bot.heard(&bot.presses(ADA, one.id, &yes)).await;
    done(&node, &first, Status::Completed).await;
    bot.hears(ADA, "completed").await;
    let heard = bot.heard(&bot.presses(ADA, one.id, &yes)).await;
    assert!(heard.contains("does not count"), "{heard}");
    // The other is decided elsewhere: its message of two runs ago says so.
    let no = decision(node.shared(), &second.signed, &operator(), Verdict::Reject);
    proposals::decide(node.shared(), no).await.unwrap();
    let after = bot.hears(ADA, "rejected by").await;
    assert_eq!((after.id, after.buttons.len()), (two.id, 0));
    stop(node, &bot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_that_is_not_known_shows_how_its_record_stands_and_decides_nothing() {
    let bot = BotApi::start().await;
    let node = fresh(setup(&bot)).await;
    enrolled(&node, &bot, ADA).await;
    let minted = mint(&node, 1).await;
    let message = told(&bot, &minted).await;
    let reject = data(&message, "Reject");
    // As another node would have made it: the record is the same, the word is its own.
    let (word, about) = reject.split_once('.').unwrap();
    let theirs = format!("{}.{about}", "x".repeat(word.len()));
    let heard = bot.heard(&bot.presses(ADA, message.id, &theirs)).await;
    assert!(heard.contains("does not count"), "{heard}");
    let anew = until("it is shown anew", || async {
        let sent = bot.sent(ADA).into_iter();
        sent.rev().find(|m| m.id == message.id && m.edited > 0)
    })
    .await;
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    // Of another record than the one that is stored, it shows nothing.
    let other = format!("{}.{}.{}", "y".repeat(24), &about[..16], "0".repeat(16));
    bot.heard(&bot.presses(ADA, message.id, &other)).await;
    bot.heard(&bot.presses(ADA, message.id, &data(&anew, "Reject")))
        .await;
    done(&node, &minted, Status::Rejected).await;
    bot.heard(&bot.presses(ADA, message.id, &theirs)).await;
    let after = bot.hears(ADA, "rejected").await;
    assert_eq!((after.id, after.buttons.len()), (message.id, 0));
    stop(node, &bot).await;
}
