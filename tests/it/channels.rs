//! Channel keys: a chat decides for the person who gave it a key, up to the ceiling and rate that the person signed, as every
//! executor judges for itself, until the channel is revoked anywhere.

use std::sync::Arc;

use clawmesh::adapters::clock::SystemClock;
use clawmesh::adapters::store::{audit, records as rows};
use clawmesh::domain::base::{Code, Digest, TimeMs};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::gate::{Channel, ChannelEnd, ChannelKind, SignedDecision};
use clawmesh::domain::identity::{OperatorKey, PublicKey};
use clawmesh::domain::policy::STARTER_POLICY;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals::{self, Minted, Standing};
use clawmesh::operator::Door;
use clawmesh::operator::channels::{ChannelCode, ChannelGive, ChannelState, ChannelsView};
use serde_json::json;

use crate::harness::*;
use crate::levels::AUTOMATIC;
use crate::main_job::{decision, mint, operator, status};

const TELEGRAM: ChannelKind = ChannelKind::Telegram;
const CHAT: &str = "4711";

pub fn door(node: &TestNode) -> Door {
    Door::new(node.shared().clone())
}

/// A channel of the operator's at this node, as the person may change it before they sign.
pub async fn give(
    node: &TestNode,
    key: &OperatorKey,
    change: impl FnOnce(&mut Channel),
) -> Result<ChannelCode, Code> {
    let door = door(node);
    let offer = door.channel_offer().unwrap();
    let now = node.shared().now();
    let mut channel = Channel {
        version: 1,
        mesh_id: offer.mesh_id.parse().unwrap(),
        kind: TELEGRAM,
        node: offer.node.parse().unwrap(),
        operator_id: key.id().clone(),
        channel_key: PublicKey::from_text(&offer.channel_key).unwrap(),
        max_level: "L2".parse().unwrap(),
        actions_per_hour: 2,
        own_wishes: true,
        given_at: now,
        valid_until: now.plus(3_600_000 * 24),
        nonce: offer.nonce,
    };
    change(&mut channel);
    let give = ChannelGive {
        given: channel.sign(key),
        operator_key: key.public().to_text(),
    };
    door.channel_give(give).await.map_err(|r| r.code)
}

pub async fn enrolled(node: &TestNode, chat: &str) -> String {
    let made = give(node, &operator(), |_| {}).await.unwrap();
    let door = door(node);
    let member = door.channel_enter(TELEGRAM, chat, &made.code).await;
    assert_eq!(member.unwrap().channel.id().to_hex(), made.channel.id);
    made.channel.id
}

async fn says(
    node: &TestNode,
    chat: &str,
    minted: &Minted,
    verdict: Verdict,
) -> Result<Standing, Code> {
    let record = minted.signed.record();
    let about = (
        record.proposal_id.as_str(),
        &*minted.signed.digest().to_string(),
    );
    let door = door(node);
    let said = door.channel_decide((TELEGRAM, chat), about, verdict, None);
    said.await.map_err(|refusal| refusal.code)
}

/// What the channel of a chat signs, as a node that lies could send it.
async fn signed(node: &TestNode, chat: &str, minted: &Minted) -> SignedDecision {
    let plain = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let channels = &node.shared().channels;
    channels.sign(TELEGRAM, chat, plain.decision).await.unwrap()
}

async fn ended(node: &TestNode, minted: &Minted) {
    until("it has ended", || async {
        (!status(node.shared(), minted).await.is_open()).then_some(())
    })
    .await;
}

/// A yes, again while a reading is too old for a moment or the valve is busy.
async fn yes(node: &TestNode, chat: &str, minted: &Minted) -> Result<Standing, Code> {
    until("the evidence counts", || async {
        match says(node, chat, minted, Verdict::Approve).await {
            Err(Code::EvidenceStale | Code::ActuatorBusy) => None,
            said => Some(said),
        }
    })
    .await
}

fn end_of(node: &TestNode, channel: &str, key: &OperatorKey) -> ChannelEnd {
    ChannelEnd {
        mesh_id: node.shared().mesh.clone(),
        channel: Digest::from_hex(channel).unwrap(),
        operator_id: operator().id().clone(),
        issuer: key.public().device_id(),
        ended_at: node.shared().now(),
        note: None,
    }
}

async fn revoke(node: &TestNode, channel: &str, key: &OperatorKey) -> Result<ChannelsView, Code> {
    let end = end_of(node, channel, key).sign(key);
    let door = door(node);
    let ended = door.channel_end(channel, end);
    ended.await.map_err(|refusal| refusal.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_approves_as_its_person_so_many_times_an_hour_and_is_named_as_what_it_is() {
    let clock = Arc::new(SystemClock::default());
    let mut setup = field().with_operator(operator(), "L3");
    setup.clock = clock.clone();
    let node = setup.start().await;
    let channel = enrolled(&node, CHAT).await;
    for seconds in [1, 2] {
        let minted = mint(&node, seconds).await;
        let standing = yes(&node, CHAT, &minted).await.unwrap();
        assert_eq!(standing.status, Status::Executing);
        let words = format!(
            "approved by {} through telegram at node {} (channel {})",
            name_of(&operator()),
            node.id().short(),
            &channel[..8]
        );
        assert!(standing.detail.contains(&words), "{}", standing.detail);
        ended(&node, &minted).await;
        let trace = door(&node)
            .trace(minted.signed.record().proposal_id.as_str())
            .await
            .unwrap();
        let told = json!(trace).to_string();
        assert!(
            told.contains(&words[words.find("through").unwrap()..]),
            "{told}"
        );
    }
    // The audit trail says it too, with the whole id of the channel.
    let entries = node.shared().store.read("t", |c| audit::after(c, 0, 1_000));
    let entries = format!("{:?}", entries.await.unwrap());
    assert!(entries.contains(&channel), "{entries}");
    // One too many: nothing moves, and the person's own key still counts.
    let third = mint(&node, 3).await;
    assert_eq!(yes(&node, CHAT, &third).await, Err(Code::RateExceeded));
    // A node that lies about what it was told gets no further.
    let forced = signed(&node, CHAT, &third).await;
    let refused = proposals::decide(node.shared(), forced).await.unwrap_err();
    assert_eq!(refused.code, Code::RateExceeded);
    assert_eq!(
        status(node.shared(), &third).await,
        Status::AwaitingApproval
    );
    // An hour later there is room again.
    clock.shift(3_600_001);
    let fourth = mint(&node, 4).await;
    let standing = yes(&node, CHAT, &fourth).await.unwrap();
    assert_eq!(standing.status, Status::Executing);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_l3_a_chat_counts_for_nothing_and_with_a_desktop_it_is_one_person() {
    let mut setup = field().with_operator(operator(), "L3");
    let quorum = AUTOMATIC.replace("level = \"L1\"", "level = \"L2\"\nquorum = 2");
    setup.policy = Some(quorum);
    let node = setup.start().await;
    enrolled(&node, CHAT).await;
    let minted = mint(&node, 1).await;
    let standing = yes(&node, CHAT, &minted).await.unwrap();
    assert_eq!((standing.approvals, standing.required), (1, 2));
    let own = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let standing = proposals::decide(node.shared(), own).await.unwrap();
    assert_eq!((standing.approvals, standing.required), (1, 2));
    node.stop().await;

    let mut setup = field().with_operator(operator(), "L3");
    let strict = STARTER_POLICY.replace("level = \"L2\"", "level = \"L3\"");
    setup.policy = Some(strict.replace("expect = \"L2\"", "expect = \"L3\""));
    let node = setup.start().await;
    enrolled(&node, CHAT).await;
    let minted = mint(&node, 1).await;
    assert_eq!(
        says(&node, CHAT, &minted, Verdict::Approve).await,
        Err(Code::OperatorLevelTooLow)
    );
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    // A no counts at any level.
    let no = says(&node, CHAT, &minted, Verdict::Reject).await.unwrap();
    assert_eq!(no.status, Status::Rejected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_person_gives_a_channel_and_only_who_has_the_code_gets_it() {
    let node = field().with_operator(operator(), "L2").start().await;
    let (other, ada) = (OperatorKey::from_seed(&[78; 32]), operator());
    // In another person's name, with a raised ceiling, for a key that is not this node's, for another node.
    let stolen = give(&node, &other, |c| c.operator_id = operator().id().clone());
    assert_eq!(stolen.await.unwrap_err(), Code::ApprovalInvalid);
    let high = give(&node, &ada, |c| c.max_level = "L3".parse().unwrap());
    assert_eq!(high.await.unwrap_err(), Code::InvalidParams);
    let fast = give(&node, &ada, |c| c.actions_per_hour = 61);
    assert_eq!(fast.await.unwrap_err(), Code::InvalidParams);
    let foreign = give(&node, &ada, |c| c.channel_key = *other.public());
    assert_eq!(foreign.await.unwrap_err(), Code::ApprovalInvalid);
    let elsewhere = give(&node, &ada, |c| c.node = key(9).id().clone());
    assert_eq!(elsewhere.await.unwrap_err(), Code::WrongExecutor);
    assert_eq!(door(&node).channels().await.unwrap().list.len(), 0);

    let made = give(&node, &operator(), |_| {}).await.unwrap();
    assert_eq!(made.channel.state, ChannelState::Waiting);
    let door = door(&node);
    let enter = async |chat: &str, code: &str| {
        let entered = door.channel_enter(TELEGRAM, chat, code).await;
        entered.map(drop).map_err(|r| r.code)
    };
    assert_eq!(enter("1", "AAAAA-AAAAA").await, Err(Code::NotFound));
    let minted = mint(&node, 1).await;
    let stranger = says(&node, "1", &minted, Verdict::Approve).await;
    assert_eq!(stranger, Err(Code::NotAuthorized));
    assert_eq!(enter(CHAT, &made.code).await, Ok(()));
    assert_eq!(enter("2", &made.code).await, Err(Code::NotFound), "once");
    let listed = door.channels().await.unwrap().list;
    assert_eq!(listed[0].state, ChannelState::Counts);
    assert_eq!(listed[0].account.as_deref(), Some(CHAT));
    // Another chat is nobody's still.
    let stranger = says(&node, "2", &minted, Verdict::Reject).await;
    assert_eq!(stranger, Err(Code::NotAuthorized));
    // About another record than the one that was shown.
    let id = minted.signed.record().proposal_id.as_str();
    let old = Digest([1; 32]).to_string();
    let said = door.channel_decide((TELEGRAM, CHAT), (id, &old), Verdict::Approve, None);
    assert_eq!(said.await.unwrap_err().code, Code::DigestMismatch);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_channel_ends_at_executors_that_hear_of_it_only_through_others() {
    // The chat is at A; C executes and knows A only through B.
    let peer = "observe:T2,relay,read,plan,human";
    let place = || Arc::new(tempfile::tempdir().unwrap());
    let dialing = |mut setup: Setup, peer: u8, node: &TestNode| {
        let url = format!("{}=ws://{}||local", key(peer).id(), node.address);
        setup.raw.peers.push(url);
        setup
    };
    let b = centre().trusting(key(1), peer).trusting(key(3), peer);
    let b = b.start_in(place(), Some(2)).await;
    let a = centre().with_operator(operator(), "L2");
    let a = dialing(a.trusting(key(2), peer), 2, &b);
    let a = a.start_in(place(), Some(1)).await;
    let c = field().trusting(key(1), peer).trusting(key(2), peer);
    let c = dialing(c.with_operator(operator(), "L2"), 2, &b);
    let c = c.start_in(place(), Some(3)).await;
    let channel = enrolled(&a, CHAT).await;
    let first = mint(&c, 1).await;
    let stands = signed(&a, CHAT, &first).await;
    let standing = until("the evidence counts", || async {
        let plain = decision(c.shared(), &first.signed, &operator(), Verdict::Approve);
        let signed = a
            .shared()
            .channels
            .sign(TELEGRAM, CHAT, plain.decision)
            .await
            .unwrap();
        match proposals::decide(c.shared(), signed).await {
            Err(refusal) if refusal.code == Code::EvidenceStale => None,
            said => Some(said),
        }
    })
    .await;
    assert_eq!(standing.unwrap().status, Status::Executing);
    ended(&c, &first).await;

    // A stranger's word ends nothing, nor does an altered one.
    let stranger = OperatorKey::from_seed(&[78; 32]);
    assert_eq!(
        revoke(&a, &channel, &stranger).await.map(drop),
        Err(Code::NotFound)
    );
    let mut altered = end_of(&a, &channel, &operator()).sign(&operator());
    altered.end.ended_at = TimeMs(1);
    let refused = door(&a).channel_end(&channel, altered).await.unwrap_err();
    assert_eq!(refused.code, Code::ApprovalInvalid);

    let second = mint(&c, 2).await;
    let before = signed(&a, CHAT, &second).await;
    let after = revoke(&a, &channel, &operator()).await.unwrap();
    assert_eq!(after.list[0].state, ChannelState::Ended);
    // The chat is nobody's at once; what was signed before ends where it is delivered late.
    let here = a.shared().channels.member(TELEGRAM, CHAT).await;
    assert_eq!(here.unwrap_err().code, Code::OperatorRevoked);
    let id = Digest::from_hex(&channel).unwrap();
    until("the end has come to the executor", || async {
        let known = c.shared().store.read("t", move |conn| {
            rows::channel_ended(conn, &id, operator().id())
        });
        known.await.unwrap().then_some(())
    })
    .await;
    let refused = proposals::decide(c.shared(), before).await.unwrap_err();
    assert_eq!(refused.code, Code::OperatorRevoked);
    let refused = proposals::decide(c.shared(), stands).await;
    assert_ne!(refused.map(|s| s.repeated), Ok(false));
    assert_eq!(status(c.shared(), &second).await, Status::AwaitingApproval);
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_a_node_that_is_not_trusted_any_more_counts_for_nothing() {
    let place = || Arc::new(tempfile::tempdir().unwrap());
    let a = centre().with_operator(operator(), "L2");
    let a = a.start_in(place(), Some(1));
    let a = a.await;
    let c = field().with_operator(operator(), "L2").start().await;
    enrolled(&a, CHAT).await;
    let minted = mint(&c, 1).await;
    let yes = signed(&a, CHAT, &minted).await;
    let refused = proposals::decide(c.shared(), yes).await.unwrap_err();
    assert_eq!(refused.code, Code::NotAuthorized);
    assert_eq!(status(c.shared(), &minted).await, Status::AwaitingApproval);
    c.stop().await;
    // Trusted for all but people's words: by whatever way the decision comes, it is that node's.
    for (grants, right) in [
        ("observe:T2,relay,read,plan", Some(Code::NotAuthorized)),
        ("observe:T2,relay,read,plan,human", None),
    ] {
        let c = field().with_operator(operator(), "L2");
        let c = c.trusting(key(1), grants).start_in(place(), Some(3)).await;
        let minted = mint(&c, 1).await;
        let yes = signed(&a, CHAT, &minted).await;
        let said = proposals::decide(c.shared(), yes).await;
        assert_eq!(said.err().map(|refusal| refusal.code), right, "{grants}");
        c.stop().await;
    }
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_a_key_that_the_node_does_not_know_is_not_taken() {
    let node = field().start().await;
    let refused = give(&node, &operator(), |_| {}).await.unwrap_err();
    assert_eq!(refused, Code::OperatorUnknown);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_ends_a_channel_without_a_key_and_with_the_person_all_of_theirs_end() {
    let node = field().with_operator(operator(), "L2").start().await;
    let channel = enrolled(&node, CHAT).await;
    let door = door(&node);
    let after = door.channel_void(&channel, None).await.unwrap();
    assert_eq!(after.list[0].state, ChannelState::Ended);
    let minted = mint(&node, 1).await;
    let said = says(&node, CHAT, &minted, Verdict::Approve).await;
    assert_eq!(said, Err(Code::OperatorRevoked));
    // A new one counts; with the person's key it ends too.
    enrolled(&node, CHAT).await;
    assert!(door.channel_member(TELEGRAM, CHAT).await.is_ok());
    let id = operator().id().as_str().to_owned();
    door.operator_revoke(&id, None).await.unwrap();
    let said = says(&node, CHAT, &minted, Verdict::Approve).await;
    assert_eq!(said, Err(Code::OperatorRevoked));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_bot_is_taken_once_also_after_a_restart() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = field().start_in(dir.clone(), Some(1)).await;
    let bot = door(&node);
    assert_eq!(bot.channel_next_update(TELEGRAM, "7").await.unwrap(), 0);
    // After a quiet week the numbers may begin anew below the earlier ones.
    for (update, new) in [(5, true), (5, false), (4, true), (5, false), (6, true)] {
        let taken = bot.channel_take_update(TELEGRAM, "7", update).await;
        assert_eq!(taken.unwrap(), new, "{update}");
    }
    drop(bot);
    node.stop().await;
    let node = field().start_in(dir, Some(1)).await;
    let bot = door(&node);
    assert_eq!(bot.channel_next_update(TELEGRAM, "7").await.unwrap(), 7);
    assert!(!bot.channel_take_update(TELEGRAM, "7", 6).await.unwrap());
    assert!(
        bot.channel_take_update(TELEGRAM, "8", 6).await.unwrap(),
        "of another bot"
    );
    drop(bot);
    node.stop().await;
}
