//! What every chat of a node does, whatever service it is of: the same tests run against a strict server of each.

use std::sync::Arc;
use std::time::Duration;

use clawmesh::adapters::channel::{Fault, Message, Update, What};
use clawmesh::adapters::keystore::{Credentials, create_device_key, load_device_key};
use clawmesh::adapters::paths::StateDir;
use clawmesh::domain::base::TimeMs;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals;
use clawmesh::surfaces::chat;
use serde_json::json;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::bot_api::{BotApi, Trouble};
use crate::channels::{door, give};
use crate::chat_services::{Call, Service};
use crate::harness::*;
use crate::levels::opened;
use crate::main_job::{decision, mint, operator, status};
use crate::slack_api::SlackApi;
use crate::telegram::{ADA, EVE, data, done, short};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(10);

fn texts(updates: &[Update]) -> Vec<String> {
    let text = |what: &What| match what {
        What::Said { text, .. } => text.clone(),
        other => format!("{other:?}"),
    };
    updates.iter().map(|u| text(&u.what)).collect()
}

fn after(updates: &[Update]) -> i64 {
    updates.iter().map(|u| u.id).max().unwrap() + 1
}

async fn updates_are_given_until_they_are_forgotten_and_keep_their_numbers(service: impl Service) {
    let chats = service.chats();
    let bot = chats.bot().await.unwrap();
    assert_eq!(bot, chats.bot().await.unwrap());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    assert!(
        (1..=64).contains(&bot.id.len()) && bot.id.bytes().all(plain),
        "{bot:?}"
    );
    assert_eq!(chats.updates(0, NOW).await.unwrap(), []);
    let said = service.says(ADA, "a < b & c");
    let one = chats.updates(0, LONG).await.unwrap();
    assert_eq!(texts(&one), ["a < b & c"]);
    let place = one[0].place.clone().unwrap();
    assert_eq!(
        (&place.account, place.private),
        (&service.account(ADA), true)
    );
    assert_eq!(place.chat, place.account);
    assert!(one[0].id > 0);
    assert_eq!(
        chats.updates(0, LONG).await.unwrap(),
        one,
        "nothing was forgotten"
    );
    service.says(EVE, "next");
    let next = chats.updates(after(&one), LONG).await.unwrap();
    assert_eq!(texts(&next), ["next"]);
    assert_eq!(next[0].place.clone().unwrap().account, service.account(EVE));
    assert_eq!(chats.updates(after(&next), NOW).await.unwrap(), []);
    // What comes again is the same.
    service.again(&said);
    let again = chats.updates(0, LONG).await.unwrap();
    assert_eq!(again[0].id, one[0].id);
    // Many come in their order, and none is lost.
    for n in 0..50 {
        service.says(ADA, &format!("n {n}"));
    }
    let (mut all, mut from) = (Vec::new(), after(&again));
    while all.len() < 50 {
        let some = chats.updates(from, LONG).await.unwrap();
        assert!(!some.is_empty());
        from = after(&some);
        all.extend(texts(&some));
    }
    let wanted: Vec<String> = (0..50).map(|n| format!("n {n}")).collect();
    assert_eq!(all, wanted);
    service.passes_on(ADA, "not mine");
    let passed = chats.updates(from, LONG).await.unwrap();
    assert!(matches!(
        passed[0].what,
        What::Said {
            forwarded: true,
            ..
        }
    ));
    chats.updates(after(&passed), NOW).await.unwrap();
    chats.leave();
    assert_eq!(service.wrong(), Vec::<String>::new());
}

async fn a_message_reads_exactly_as_it_was_sent_and_is_changed_and_pressed(service: impl Service) {
    let chats = service.chats();
    service.says(ADA, "hi");
    let first = chats.updates(0, LONG).await.unwrap();
    let text = "open *now* if a < b & <!channel> :fire: _x_\nactuator:fire:valve &lt;";
    let row = |words: &[&str]| {
        let button = |word: &&str| ((*word).to_owned(), format!("carries {word}"));
        words.iter().map(button).collect::<Vec<_>>()
    };
    let message = Message {
        text: text.to_owned(),
        buttons: vec![row(&["Approve…", "Reject"]), row(&["Back"])],
    };
    let ada = service.account(ADA);
    let id = chats.send(&ada, &message).await.unwrap();
    let sent = service.sent(ADA);
    assert_eq!((sent[0].id, sent[0].text.as_str()), (id, text));
    assert_eq!(sent[0].buttons, message.buttons.concat());
    chats
        .edit(&ada, id, &message)
        .await
        .expect("the same is fine");
    service.press(ADA, id, "carries Reject");
    let press = chats.updates(after(&first), LONG).await.unwrap();
    let What::Pressed {
        press: name,
        message: under,
        data,
    } = press[0].what.clone()
    else {
        panic!("{press:?}");
    };
    assert_eq!((under, data.as_str()), (id, "carries Reject"));
    chats.updates(after(&press), NOW).await.unwrap();
    chats
        .heard(&name, "it <does> not count & never did")
        .await
        .unwrap();
    chats.edit(&ada, id, &Message::text("over")).await.unwrap();
    let sent = service.sent(ADA);
    assert_eq!((sent[0].text.as_str(), sent[0].buttons.len()), ("over", 0));
    // A long text, as the node splits it, fits.
    let long = "🌱<".repeat(1_300);
    chats.send(&ada, &Message::text(&long)).await.unwrap();
    assert_eq!(service.sent(ADA)[1].text, long);
    assert_eq!(service.wrong(), Vec::<String>::new());
}

async fn each_fault_is_what_it_is_and_has_no_token_in_it(service: impl Service) {
    let chats = service.chats();
    service.fails(Call::Name, Trouble::Break);
    let lost = chats.bot().await.unwrap_err();
    assert!(matches!(lost, Fault::Lost(_)), "{lost:?}");
    service.says(ADA, "hi");
    chats.updates(0, LONG).await.unwrap();
    let ada = service.account(ADA);
    let hello = Message::text("hello");
    for (trouble, wanted) in [
        (Trouble::Later(7), Fault::Later(Duration::from_secs(7))),
        (Trouble::Status(502), Fault::Lost(String::new())),
        (Trouble::Break, Fault::Lost(String::new())),
    ] {
        service.fails(Call::Send, trouble);
        let fault = chats.send(&ada, &hello).await.unwrap_err();
        match (&fault, &wanted) {
            (Fault::Lost(_), Fault::Lost(_)) => {}
            _ => assert_eq!(fault, wanted),
        }
    }
    chats.send(&ada, &hello).await.expect("and then it works");
    // Somebody who has never written.
    let fault = chats.send(&service.account(77), &hello).await.unwrap_err();
    assert_eq!(fault, Fault::Blocked);
    let fault = chats.send("nobody's", &hello).await.unwrap_err();
    assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
    let fault = service.wrong_chats().bot().await.unwrap_err();
    assert!(matches!(fault, Fault::Token(_)), "{fault:?}");
    let said = format!("{fault} {fault:?} {lost:?}");
    assert!(
        !said.contains("SECRET") && !said.contains("HIDDEN"),
        "{said}"
    );
}

/// A node with its bot, in a directory that has the tokens.
pub async fn started<S: Service>(service: &S, mut setup: Setup, dir: Arc<TempDir>) -> TestNode {
    service.configure(&mut setup.raw);
    let state = StateDir::at(&dir.path().join("state"));
    state.prepare().unwrap();
    if load_device_key(&state).unwrap().is_none() {
        create_device_key(&state, &[1; 32], TimeMs(1)).unwrap();
    }
    let key = load_device_key(&state).unwrap().unwrap();
    let credentials = Credentials::new(&state, &key, None).unwrap();
    for (name, secret) in S::SECRETS {
        let secret = Zeroizing::new((*secret).to_owned());
        credentials.set(name, &secret, TimeMs(1)).unwrap();
    }
    let node = setup.start_in(dir, None).await;
    chat::attach(&door(&node));
    node
}

pub fn setup() -> Setup {
    field().with_operator(operator(), "L3")
}

/// Makes a chat the operator's, as `enroll` and a message do.
pub async fn enrolled<S: Service>(node: &TestNode, service: &S, user: i64) -> String {
    let made = give(node, &operator(), |channel| channel.kind = S::KIND).await;
    let made = made.unwrap();
    service.says(user, &format!("{} {}", service.word("start"), made.code));
    service.hears(user, "decides for operator").await;
    made.channel.id
}

async fn words_are_answered<S: Service>(service: &S) {
    let word = |command: &str| service.word(command);
    for (command, answer) in [
        ("world", "moisture"),
        ("proposals", "Nothing waits"),
        ("alerts", "Alerts are on"),
        ("help", &*format!("{} <id>", word("approve"))),
    ] {
        service.says(ADA, &word(command));
        service.hears(ADA, answer).await;
    }
}

async fn a_person_decides_stops_and_is_one_until_the_channel_ends<S: Service>(service: S) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = started(&service, setup(), dir).await;
    let (word, kind) = (|command: &str| service.word(command), S::KIND);
    service.says(EVE, &word("status"));
    let told = service.hears(EVE, "belongs to no operator").await;
    assert!(
        told.text.contains(&format!("clawmesh-node {kind} enroll")),
        "{}",
        told.text
    );
    let channel = enrolled(&node, &service, ADA).await;
    // By itself, approved after one more question as exactly what it is.
    let minted = mint(&node, 1).await;
    let about = format!("Proposal {}", short(&minted));
    let message = service.hears(ADA, &about).await;
    let approve = data(&message, "Approve…");
    service
        .answered(
            EVE,
            &service.press(EVE, message.id, &approve),
            "no operator",
        )
        .await;
    service
        .heard(&service.press(ADA, message.id, &approve))
        .await;
    let asked = service.hears(ADA, "Approve exactly this?").await;
    assert_eq!(asked.id, message.id, "in the same message");
    assert!(
        asked
            .text
            .contains("open durationSec=1 on actuator:mock:valve-1"),
        "{}",
        asked.text
    );
    assert_eq!(opened(&node), 0, "nothing before the second press");
    let again = service.press(ADA, message.id, &approve);
    service.answered(ADA, &again, "does not count").await;
    let yes = data(&asked, "Yes, approve");
    service.heard(&service.press(ADA, message.id, &yes)).await;
    done(&node, &minted, Status::Completed).await;
    let over = service.hears(ADA, "completed").await;
    assert_eq!(
        (over.id, over.buttons.len(), opened(&node)),
        (message.id, 0, 1)
    );
    let id = minted.signed.record().proposal_id.as_str().to_owned();
    let story = json!(door(&node).trace(&id).await.unwrap()).to_string();
    let how = format!(
        "through {kind} at node {} (channel {})",
        node.id().short(),
        &channel[..8]
    );
    assert!(story.contains(&how), "{story}");
    // By a word, with a reason; a forwarded one is none.
    let second = mint(&node, 2).await;
    service
        .hears(ADA, &format!("Proposal {}", short(&second)))
        .await;
    let reject = format!("{} {} not today", word("reject"), short(&second));
    service.passes_on(ADA, &reject);
    service.hears(ADA, "forwarded").await;
    assert_eq!(
        status(node.shared(), &second).await,
        Status::AwaitingApproval
    );
    service.says(ADA, &reject);
    done(&node, &second, Status::Rejected).await;
    // Decided elsewhere: the message says so and its buttons go.
    let third = mint(&node, 3).await;
    let message = service
        .hears(ADA, &format!("Proposal {}", short(&third)))
        .await;
    let no = decision(node.shared(), &third.signed, &operator(), Verdict::Reject);
    proposals::decide(node.shared(), no).await.unwrap();
    let over = until("the message says so", || async {
        let sent = service.sent(ADA).into_iter();
        sent.rev()
            .find(|m| m.id == message.id && m.text.contains("rejected by"))
    })
    .await;
    assert_eq!(over.buttons.len(), 0);
    words_are_answered(&service).await;
    service.says(ADA, &format!("{}! fire in the shed", word("Stop")));
    service.hears(ADA, "EMERGENCY STOP: every executor").await;
    assert!(door(&node).estop_state().latched);
    service.says(ADA, &word("status"));
    service.hears(ADA, "EMERGENCY STOP is latched").await;
    door(&node).channel_void(&channel, None).await.unwrap();
    service.says(ADA, &word("status"));
    service.hears(ADA, "has been revoked").await;
    assert_eq!(service.sent(EVE).len(), 1, "a stranger is told once");
    assert_eq!(
        service.wrong(),
        Vec::<String>::new(),
        "a real server refuses this"
    );
    node.stop().await;
}

macro_rules! of_each_service {
    ($service:ty, $name:ident) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn updates_are_given_until_they_are_forgotten_and_keep_their_numbers() {
                let service = <$service>::begin().await;
                super::updates_are_given_until_they_are_forgotten_and_keep_their_numbers(service)
                    .await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_message_reads_exactly_as_it_was_sent_and_is_changed_and_pressed() {
                let service = <$service>::begin().await;
                super::a_message_reads_exactly_as_it_was_sent_and_is_changed_and_pressed(service)
                    .await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn each_fault_is_what_it_is_and_has_no_token_in_it() {
                let service = <$service>::begin().await;
                super::each_fault_is_what_it_is_and_has_no_token_in_it(service).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_person_decides_stops_and_is_one_until_the_channel_ends() {
                let service = <$service>::begin().await;
                super::a_person_decides_stops_and_is_one_until_the_channel_ends(service).await;
            }
        }
    };
}

of_each_service!(BotApi, of_telegram);
of_each_service!(SlackApi, of_slack);
