//! Who may ask for what, where a wish goes, and what is looked at again when it acts.

use std::sync::Arc;

use clawmesh::adapters::clock::SystemClock;
use clawmesh::adapters::store::{frames, proposals as rows, trust as trusted};
use clawmesh::domain::base::{Code, DeviceId, DraftId, FrameId, ProposalId, Taint, TimeMs};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::{Level, Requester, STARTER_POLICY};
use clawmesh::domain::proposal::Status;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::planning;
use clawmesh::node::proposals::{self, Minted};
use clawmesh::node::routing::Place;
use serde_json::json;

use crate::harness::*;
use crate::levels::AUTOMATIC;
use crate::main_job::{decision, draft, mint, operator, status};

const PLANNER: &str = "observe:T2,relay,read,plan";

/// A wish of a peer, as it came over its link.
async fn from_peer(node: &TestNode, peer: u8, wish: Draft) -> Result<Minted, Code> {
    let minted = proposals::mint(node.shared(), wish, key(peer).id()).await;
    minted.map_err(|refusal| refusal.code)
}

async fn wish(node: &TestNode, requester: Requester, seconds: i64) -> Draft {
    Draft {
        requester,
        ..draft(node.shared(), seconds).await
    }
}

async fn automatic(policy: String) -> TestNode {
    let mut setup = field()
        .with_operator(operator(), "L2")
        .trusting(key(5), PLANNER)
        .trusting(key(6), PLANNER)
        .trusting(key(7), "observe:T2,relay,read,plan,human");
    setup.policy = Some(policy);
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_says_of_itself_moves_nothing() {
    let named = format!("level = \"L1\"\nfrom = [\"{}\"]", key(6).id());
    let node = automatic(AUTOMATIC.replace("level = \"L1\"", &named)).await;
    let claimed = wish(&node, Requester::Rules, 1).await;
    let minted = from_peer(&node, 5, claimed).await.unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    assert_eq!(minted.signed.record().level, Level::L2);
    let person = wish(&node, Requester::Person, 2).await;
    assert_eq!(
        from_peer(&node, 5, person.clone()).await.unwrap_err(),
        Code::NotAuthorized,
        "a person's wish needs the grant human"
    );
    let minted = from_peer(&node, 7, person).await.unwrap();
    assert_eq!(minted.signed.record().level, Level::L2);
    assert_eq!(
        from_peer(&node, 9, wish(&node, Requester::Llm, 3).await)
            .await
            .unwrap_err(),
        Code::UntrustedPeer
    );
    // A gen-1 node that uses our own method proves no rule either, although the policy names it.
    let claimed = wish(&node, Requester::Rules, 4).await;
    let mut probe = Probe::connect(node.address, &key(6), MESH).await;
    let answer = probe
        .ask("proposals.draft", json!({"draft": claimed}))
        .await;
    assert_eq!(answer["payload"]["status"], "awaiting_approval", "{answer}");
    assert!(journal(node.state().root()).is_empty(), "nothing has moved");
    // The device that the rule names, over a link of our own kind.
    let claimed = wish(&node, Requester::Rules, 5).await;
    let minted = from_peer(&node, 6, claimed).await.unwrap();
    assert_eq!(minted.status, Status::Executing);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_a_later_version_taints_like_a_models() {
    let node = automatic(AUTOMATIC.to_owned()).await;
    let mut text = json!(wish(&node, Requester::Rules, 1).await);
    text["taint"] = json!(["vlm"]);
    let later: Draft = serde_json::from_value(text).unwrap();
    let own = node.shared().own_id();
    let minted = proposals::mint(node.shared(), later, own).await.unwrap();
    assert_eq!(minted.signed.record().taint, [Taint::Llm].into());
    assert_eq!(minted.status, Status::AwaitingApproval);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_says_of_itself_touches_no_other_devices_wish() {
    let node = automatic(STARTER_POLICY.to_owned()).await;
    let asked = async |peer, requester| {
        let wish = wish(&node, requester, 1).await;
        from_peer(&node, peer, wish).await.unwrap()
    };
    let model = asked(5, Requester::Llm).await;
    let rules = asked(6, Requester::Rules).await;
    let person = asked(7, Requester::Person).await;
    let all = [&model, &rules, &person];
    for (n, one) in all.iter().enumerate() {
        assert!(!one.repeated && one.superseded.is_empty(), "{n}");
        assert_eq!(status(node.shared(), one).await, Status::AwaitingApproval);
    }
    // Nor where both say the same of themselves; a device's own meet.
    for (peer, requester, new) in [
        (6, Requester::Llm, false),
        (5, Requester::Rules, true),
        (7, Requester::Person, false),
        (5, Requester::Llm, false),
    ] {
        let wish = wish(&node, requester, 1).await;
        let again = from_peer(&node, peer, wish).await.unwrap();
        assert_eq!(!again.repeated, new, "{peer} {requester:?}");
    }
    // One device's wish makes way for a better entitled one of the same device, and its asker is told.
    let row = |id: ProposalId| async {
        let read = node.shared().store.read("t", move |c| rows::get(c, &id));
        read.await.unwrap().unwrap()
    };
    let ended = row(model.signed.record().proposal_id.clone()).await;
    assert_eq!(ended.status, Status::Superseded);
    assert!(ended.reason.unwrap().contains("better entitled"));
    // And to what this executor knows for itself.
    let own = node.shared().own_id();
    let here = wish(&node, Requester::Person, 1).await;
    let here = proposals::mint(node.shared(), here, own).await.unwrap();
    assert_eq!(here.superseded.len(), 3, "{:?}", here.superseded);
    assert_eq!(status(node.shared(), &person).await, Status::Superseded);
    let late = asked(7, Requester::Person).await;
    assert!(late.repeated);
    assert_eq!(late.signed.digest(), here.signed.digest());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_ask_for_too_ends_when_it_is_done() {
    let node = automatic(STARTER_POLICY.to_owned()).await;
    let mut asked = Vec::new();
    for (peer, requester, seconds) in [
        (5, Requester::Llm, 1),
        (6, Requester::Rules, 1),
        (7, Requester::Person, 2),
    ] {
        let wish = wish(&node, requester, seconds).await;
        asked.push(from_peer(&node, peer, wish).await.unwrap());
    }
    let [model, rules, other] = &asked[..] else {
        panic!("{asked:?}")
    };
    let yes = decision(node.shared(), &rules.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes).await.unwrap();
    assert_eq!(status(node.shared(), model).await, Status::Superseded);
    assert_eq!(status(node.shared(), other).await, Status::AwaitingApproval);
    let yes = decision(node.shared(), &model.signed, &operator(), Verdict::Approve);
    let late = proposals::decide(node.shared(), yes).await.unwrap_err();
    assert_eq!(late.code, Code::ProposalNotWaiting);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_may_act_is_not_held_up_by_a_wish_that_waits_for_a_person() {
    let node = automatic(AUTOMATIC.to_owned()).await;
    let person = from_peer(&node, 7, wish(&node, Requester::Person, 1).await)
        .await
        .unwrap();
    assert_eq!(person.status, Status::AwaitingApproval);
    let rule = wish(&node, Requester::Rules, 1).await;
    let own = node.shared().own_id();
    let minted = proposals::mint(node.shared(), rule, own).await.unwrap();
    assert_eq!(minted.status, Status::Executing);
    assert_eq!(status(node.shared(), &person).await, Status::Superseded);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_may_act_by_itself_ends_no_persons_wish() {
    let named = format!("level = \"L1\"\nfrom = [\"{}\"]", key(6).id());
    let node = automatic(AUTOMATIC.replace("level = \"L1\"", &named)).await;
    let own = node.shared().own_id().clone();
    let person = wish(&node, Requester::Person, 1).await;
    let person = proposals::mint(node.shared(), person, &own).await.unwrap();
    let named = from_peer(&node, 6, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(named.status, Status::Executing);
    assert_eq!(
        status(node.shared(), &person).await,
        Status::AwaitingApproval,
        "the other it may be stopped by its asker at once"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_calls_a_persons_wish_ends_no_rule_of_this_executor() {
    let node = automatic(STARTER_POLICY.to_owned()).await;
    let rule = wish(&node, Requester::Rules, 1).await;
    let own = node.shared().own_id();
    let minted = proposals::mint(node.shared(), rule, own).await.unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    let claimed = from_peer(&node, 7, wish(&node, Requester::Person, 1).await)
        .await
        .unwrap();
    assert!(claimed.repeated && claimed.superseded.is_empty());
    assert_eq!(claimed.signed.digest(), minted.signed.digest());
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_id_belongs_to_its_device() {
    let node = automatic(STARTER_POLICY.to_owned()).await;
    let id = DraftId::from(uuid::Uuid::new_v4());
    let mine = Draft {
        draft_id: id.clone(),
        ..wish(&node, Requester::Person, 1).await
    };
    let first = from_peer(&node, 7, mine.clone()).await.unwrap();
    let theirs = Draft {
        draft_id: id,
        ..wish(&node, Requester::Llm, 2).await
    };
    let second = from_peer(&node, 5, theirs).await.unwrap();
    assert!(
        !second.repeated,
        "another's draft of that name is none of theirs"
    );
    assert_ne!(first.signed.digest(), second.signed.digest());
    let again = from_peer(&node, 7, mine).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.signed.digest(), first.signed.digest());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interlocks_reading_is_no_evidence_for_the_wish() {
    let node = field().start().await;
    let mut bare = wish(&node, Requester::Rules, 1).await;
    let cites = std::mem::take(&mut bare.cites);
    let own = node.shared().own_id();
    let refusal = proposals::mint(node.shared(), bare.clone(), own)
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::EvidenceMissing, "{refusal}");
    let minted = proposals::mint(node.shared(), Draft { cites, ..bare }, own)
        .await
        .unwrap();
    let evidence = &minted.signed.record().evidence;
    let interlocks = evidence.iter().filter(|e| e.interlock).count();
    assert_eq!(
        (evidence.len(), interlocks),
        (2, 1),
        "shown, and told apart"
    );
    // A typed wish may rest on nothing where the policy says so; the sheet says it too.
    let mut typed = wish(&node, Requester::Person, 2).await;
    typed.cites.clear();
    let minted = proposals::mint(node.shared(), typed, own).await.unwrap();
    let id = minted.signed.record().proposal_id.clone();
    let seen = proposals::checks::own(node.shared(), id).await.unwrap();
    let evidence = seen.checks.iter().find(|c| c.name == "evidence").unwrap();
    assert!(evidence.detail.contains("cites no reading"), "{evidence:?}");
    node.stop().await;
}

async fn refused(node: &TestNode, minted: &Minted) -> Code {
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let refusal = proposals::decide(node.shared(), yes).await.unwrap_err();
    assert!(refusal.message.contains("new proposal"), "{refusal}");
    assert_eq!(
        status(node.shared(), minted).await,
        Status::AwaitingApproval
    );
    refusal.code
}

/// Changes a trust record in the store alone: what is in memory may lag behind a revocation.
async fn change_trust(node: &TestNode, peer: u8, grants: &str, revoked: bool) {
    let (id, grants, now) = (
        key(peer).id().clone(),
        grants.parse().unwrap(),
        node.shared().now(),
    );
    let write = move |c: &rusqlite::Connection| {
        let mut record = trusted::get(c, &id)?.unwrap();
        record.grants = grants;
        record.revoked_at = revoked.then_some(now);
        trusted::put(c, &record)
    };
    let class = clawmesh::adapters::store::Class::Durable;
    node.shared().store.write(class, "t", write).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_looked_at_again_when_it_acts() {
    let node = automatic(STARTER_POLICY.to_owned()).await;
    let minted = from_peer(&node, 7, wish(&node, Requester::Person, 1).await)
        .await
        .unwrap();
    change_trust(&node, 7, "observe:T2,relay,read,plan", false).await;
    assert_eq!(
        refused(&node, &minted).await,
        Code::NotAuthorized,
        "no longer human"
    );
    change_trust(&node, 7, "observe:T2,relay,read,human", false).await;
    assert_eq!(
        refused(&node, &minted).await,
        Code::NotAuthorized,
        "no longer plan"
    );
    change_trust(&node, 7, "observe:T2,relay,read,plan,human", true).await;
    assert_eq!(refused(&node, &minted).await, Code::UntrustedPeer);
    assert!(journal(node.state().root()).is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_weighed_again_when_it_acts() {
    let node = field()
        .with_operator(operator(), "L2")
        .trusting(key(5), PLANNER)
        .start()
        .await;
    // The reading of a sensor that is trusted while the wish is minted.
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    let now = node.shared().now().0;
    let frame = json!({
        "kind": "observation", "gen": 1, "frameId": "of-the-sensor", "sourceDeviceId": key(5).id(),
        "timestamp": now, "data": {"metric": "moisture", "value": 12.0, "zone": "zone-9"},
        "trust": {"evidence_sources": ["sensor"], "evidence_trust_tier": "T2_operational_observation"},
    });
    probe.event("context.frame", frame).await;
    let id: FrameId = "of-the-sensor".parse().unwrap();
    until("the reading is there", || async {
        let id = id.clone();
        let read = move |c: &rusqlite::Connection| frames::by_frame_id(c, &id);
        node.shared().store.read("t", read).await.unwrap()
    })
    .await;
    let mut cited = wish(&node, Requester::Person, 1).await;
    cited.cites.push(id);
    let own = node.shared().own_id();
    let minted = proposals::mint(node.shared(), cited, own).await.unwrap();
    let seen = proposals::checks::own(node.shared(), minted.signed.record().proposal_id.clone());
    let seen = seen.await.unwrap();
    assert!(seen.allowed, "{seen:?}");
    let place = seen
        .checks
        .iter()
        .find(|c| c.name == "place of the evidence")
        .unwrap();
    assert!(place.detail.contains(key(5).id().short()), "{place:?}");
    change_trust(&node, 5, PLANNER, true).await;
    assert_eq!(refused(&node, &minted).await, Code::UntrustedPeer);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_asks_for_newer_evidence_meanwhile_counts_when_it_acts() {
    let clock = Arc::new(SystemClock::default());
    let mut setup = field().with_operator(operator(), "L2");
    setup.clock = clock.clone();
    let node = setup.start().await;
    let minted = mint(&node, 1).await;
    let left = minted.signed.record().expires_at.since(node.shared().now());
    assert!(
        left <= 900_000,
        "it waits no longer than its evidence is young enough"
    );
    let stricter =
        STARTER_POLICY.replace("max_evidence_age_sec = 900", "max_evidence_age_sec = 20");
    let file = node.state().policy_file();
    std::fs::write(&file, stricter).unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    clock.shift(25_000);
    assert_eq!(refused(&node, &minted).await, Code::EvidenceStale);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_ends_the_action_otherwise_needs_a_new_proposal() {
    let node = field().with_operator(operator(), "L2").start().await;
    let minted = mint(&node, 1).await;
    let other = STARTER_POLICY.replacen("safe_state = \"close\"", "safe_state = \"open\"", 1);
    let file = node.state().policy_file();
    std::fs::write(&file, other).unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    assert_eq!(refused(&node, &minted).await, Code::PolicyDenied);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_was_refused_never_acts_later() {
    let node = field().with_operator(operator(), "L2").start().await;
    let (first, second) = (mint(&node, 20).await, mint(&node, 19).await);
    let yes = |of: &Minted| decision(node.shared(), &of.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes(&first)).await.unwrap();
    let held = yes(&second);
    let refusal = proposals::decide(node.shared(), held.clone())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::ActuatorBusy);
    let id = first.signed.record().proposal_id.clone();
    until("the first is stopped", || async {
        let stopped = proposals::stop(node.shared(), id.as_str(), "a test").await;
        stopped.is_ok().then_some(())
    })
    .await;
    until("the valve is free", || async {
        (status(node.shared(), &first).await == Status::Failed).then_some(())
    })
    .await;
    for _ in 0..2 {
        let refusal = proposals::decide(node.shared(), held.clone())
            .await
            .unwrap_err();
        assert_eq!(refusal.code, Code::DecisionUsed, "{refusal}");
        assert!(refusal.message.contains("ACTUATOR_BUSY"), "{refusal}");
    }
    assert_eq!(
        status(node.shared(), &second).await,
        Status::AwaitingApproval
    );
    let standing = proposals::decide(node.shared(), yes(&second))
        .await
        .unwrap();
    assert_eq!(
        standing.status,
        Status::Executing,
        "a person can decide again"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_counts_already_is_answered_so_and_counts_once() {
    let mut setup = field().with_operator(operator(), "L2");
    setup.policy = Some(STARTER_POLICY.replacen("level = \"L2\"", "level = \"L2\"\nquorum = 2", 1));
    let node = setup.start().await;
    let minted = mint(&node, 1).await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    for repeated in [false, true] {
        let standing = proposals::decide(node.shared(), yes.clone()).await.unwrap();
        assert_eq!(standing.status, Status::AwaitingApproval);
        let found = (standing.repeated, standing.approvals, standing.required);
        assert_eq!(found, (repeated, 1, 2));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signers_clock_that_is_ahead_makes_no_approval_valid_for_longer() {
    let clock = Arc::new(SystemClock::default());
    let mut setup = field().with_operator(operator(), "L2");
    setup.clock = clock.clone();
    let node = setup.start().await;
    let minted = mint(&node, 1).await;
    let signed_at = |at: TimeMs| {
        let signed = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
        clawmesh::domain::gate::Decision {
            decided_at: at,
            ..signed.decision
        }
        .sign(&operator())
    };
    let ahead = signed_at(node.shared().now().plus(90_000));
    let refusal = proposals::decide(node.shared(), ahead.clone())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::ApprovalInvalid, "{refusal}");
    // When that moment comes it is used up.
    clock.shift(100_000);
    let refusal = proposals::decide(node.shared(), ahead).await.unwrap_err();
    assert_eq!(refusal.code, Code::DecisionUsed, "{refusal}");
    // The readings are old for a moment.
    let standing = until("it acts", || async {
        let little = signed_at(node.shared().now().plus(30_000));
        proposals::decide(node.shared(), little).await.ok()
    });
    assert_eq!(standing.await.status, Status::Executing);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_a_rule_that_is_never_reached_stays_in_force_under_an_alarm() {
    let mut setup = field();
    let twice = STARTER_POLICY.replacen(
        "[[test]]",
        "[[rule]]\nname = \"never\"\ncapability = \"actuator:mock:valve-1\"\noperations = [\"open\"]\n\
         level = \"L3\"\nsafe_state = \"close\"\ndeadline_sec = 5\n[[test]]",
        1,
    );
    setup.policy = Some(twice);
    let node = setup.start().await;
    let stands = || node.shared().alarms.stands(AlarmKind::PolicyWarns, "");
    until("the alarm stands", || async { stands().then_some(()) }).await;
    mint(&node, 1).await;
    let file = node.state().policy_file();
    std::fs::write(&file, STARTER_POLICY).unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    assert!(!stands());
    node.stop().await;
}

/// Two executors of one image and a planner that hears both.
struct TwoBeds {
    centre: TestNode,
    beds: [TestNode; 2],
}

async fn bed(centre: &TestNode, dir: Arc<tempfile::TempDir>, n: u8) -> TestNode {
    let mut setup = field().trusting(key(2), "plan,human,observe:T2,relay,read,llm,estop");
    let port = centre.address.port();
    setup.raw.peers = vec![format!("{}=ws://127.0.0.1:{port}||local", key(2).id())];
    setup.start_in(dir, Some(n)).await
}

async fn two_beds() -> TwoBeds {
    let fields = "observe:T2,relay,read,estop,actuate";
    let centre = centre()
        .trusting(key(1), fields)
        .trusting(key(3), fields)
        .start_in(Arc::new(tempfile::tempdir().unwrap()), Some(2))
        .await;
    let dir = || Arc::new(tempfile::tempdir().unwrap());
    let beds = [bed(&centre, dir(), 1).await, bed(&centre, dir(), 3).await];
    for bed in &beds {
        until("they are linked", || async {
            centre.shared().links.get(&bed.id())
        })
        .await;
    }
    TwoBeds { centre, beds }
}

/// A wish at the centre that cites a reading of a bed.
async fn about(field: &TwoBeds, bed: usize, seconds: i64) -> Draft {
    let origin = field.beds[bed].id();
    let own = draft(field.beds[bed].shared(), seconds).await;
    let heard = until("the centre has a reading of it", || async {
        let at = field.centre.shared().moment();
        let read = move |c: &rusqlite::Connection| clawmesh::adapters::store::facts::numeric(c, at);
        let facts = field.centre.shared().store.read("t", read).await.unwrap();
        facts
            .into_iter()
            .find(|f| f.metric == "moisture" && f.origin == origin)
    })
    .await;
    Draft {
        cites: vec![heard.frame_id],
        ..own
    }
}

async fn minted_at(field: &TwoBeds, sent: planning::Sent) -> DeviceId {
    let id = sent.proposal().unwrap().clone();
    let row = field
        .centre
        .shared()
        .store
        .read("t", move |c| rows::get(c, &id))
        .await;
    row.unwrap().unwrap().executor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_stays_with_its_evidence_among_executors_of_one_image() {
    let field = two_beds().await;
    let centre = field.centre.shared().clone();
    for bed in [0, 1] {
        let cited = about(&field, bed, 1).await;
        let sent = planning::submit(&centre.drafts, cited).await.unwrap();
        assert_eq!(minted_at(&field, sent).await, field.beds[bed].id());
    }
    // Without evidence somebody has to say which: nothing goes to the lowest id.
    let bare = Draft {
        cites: Vec::new(),
        ..about(&field, 0, 2).await
    };
    let refusal = planning::submit(&centre.drafts, bare.clone())
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::TargetAmbiguous);
    for bed in &field.beds {
        assert!(refusal.message.contains(bed.id().short()), "{refusal}");
    }
    let named = Place {
        executor: Some(field.beds[1].id().as_str().to_owned()),
        zone: None,
    };
    let cited = about(&field, 1, 3).await;
    let sent = planning::submit_to(&centre.drafts, cited, &named)
        .await
        .unwrap();
    assert_eq!(minted_at(&field, sent).await, field.beds[1].id());
    // A bed that is away keeps its wishes: they wait for it and for nobody else.
    let cited = about(&field, 1, 4).await;
    let [first, second] = field.beds;
    let dir = second.stop().await;
    until("the link is down", || async {
        (centre.links.all().len() == 1).then_some(())
    })
    .await;
    let sent = planning::submit(&centre.drafts, cited).await.unwrap();
    assert!(matches!(sent, planning::Sent::Waiting(_)), "{sent:?}");
    let second = bed(&field.centre, dir, 3).await;
    let again = second.id();
    until("it has become a proposal there", || async {
        let all = centre
            .store
            .read("t", |c| rows::open_list(c, 20))
            .await
            .unwrap();
        let waited = all
            .into_iter()
            .find(|r| r.record.contains("\"durationSec\":4"))?;
        assert_eq!(waited.executor, again);
        Some(())
    })
    .await;
    first.stop().await;
    second.stop().await;
    field.centre.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_an_absent_executor_waits_for_it_whatever_gen1_nodes_offer() {
    let node = centre()
        .trusting(key(7), "observe:T2,relay,read,actuate")
        .trusting(key(5), "observe:T2,relay,read,plan,actuate")
        .start()
        .await;
    let ours = key(7).id().clone();
    let offers = |capabilities: serde_json::Value, features: serde_json::Value| {
        move |params: &mut serde_json::Map<String, serde_json::Value>| {
            params.insert("capabilities".into(), capabilities);
            if features.is_array() {
                params.insert("features".into(), features);
            }
        }
    };
    let mut executor = Probe::open(node.address).await;
    let kin = offers(
        json!(["actuator:pump:main"]),
        json!(["sig", "proposals", "reconcile"]),
    );
    let reply = executor.handshake(&key(7), MESH, kin).await;
    assert_eq!(reply["ok"], true, "{reply}");
    until("its offer is known", || async {
        let known = node.shared().known_capabilities();
        known.contains_key(&ours).then_some(())
    })
    .await;
    drop(executor);
    until("it is away", || async {
        node.shared().links.get(&ours).is_none().then_some(())
    })
    .await;
    let mut gen1 = Probe::open(node.address).await;
    let wide = offers(json!(["actuator:pump", "actuator:pump:main"]), json!(null));
    assert_eq!(gen1.handshake(&key(5), MESH, wide).await["ok"], true);
    until("the gen-1 node's offer is known", || async {
        let offers = clawmesh::node::routing::offers(node.shared());
        offers.contains_key(key(5).id()).then_some(())
    })
    .await;
    let now = node.shared().now();
    let mut wish = Draft {
        draft_id: "d-1".parse().unwrap(),
        action: serde_json::from_value(
            json!({"target": "actuator:pump:main", "operation": "open", "params": {}}),
        )
        .unwrap(),
        reason: "test".into(),
        requester: Requester::Person,
        requester_name: "ada".into(),
        taint: Default::default(),
        cites: Vec::new(),
        origins: Default::default(),
        slot: None,
        led_by: None,
        created_at: now,
        expires_at: now.plus(60_000),
    };
    let sent = planning::submit(&node.shared().drafts, wish.clone())
        .await
        .unwrap();
    let planning::Sent::Waiting(refusal) = sent else {
        panic!("{sent:?}")
    };
    assert_eq!(refusal.code, Code::ExecutorUnreachable, "{refusal}");
    // What only the gen-1 node offers goes to nobody, and the answer says why.
    wish.draft_id = "d-2".parse().unwrap();
    wish.action.target = "actuator:pump:second".parse().unwrap();
    let refusal = planning::submit(&node.shared().drafts, wish)
        .await
        .unwrap_err();
    assert_eq!(refusal.code, Code::UnknownTarget);
    assert!(refusal.message.contains("gen-1"), "{refusal}");
    node.stop().await;
}
