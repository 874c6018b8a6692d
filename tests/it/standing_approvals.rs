//! Standing approvals: what a person signed ahead of time begins as often as it says and no more, at the executor that it
//! names, for its persons and rules, and never for a model, a peer's word, a replay or a state that went backwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clawmesh::adapters::clock::{Clock, SystemClock};
use clawmesh::adapters::store::standing_approvals as store;
use clawmesh::domain::admission::budget::Cause;
use clawmesh::domain::base::{Code, DeviceId, Refusal, Taint, TimeMs};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::gate::standing_approval::{Allowed, StandingEnd};
use clawmesh::domain::gate::{SignedStanding, StandingApproval};
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::Status;
use clawmesh::node::Handles;
use clawmesh::node::proposals::standing_approvals::{
    ApprovalView, ParamKind, StandingState, give, list,
};
use clawmesh::node::proposals::{self, Minted, estop};
use clawmesh::operator::Door;

use crate::harness::*;
use crate::levels::{AUTOMATIC, opened};
use crate::main_job::{COMMAND_CENTRE, decision, draft, operator, status};
use crate::process::VALVE;

/// A person must agree, and may have done so ahead of time.
pub fn policy() -> String {
    AUTOMATIC.replace(
        "level = \"L1\"",
        "level = \"L2\"\nstanding_approvals = true",
    )
}

pub fn setup() -> Setup {
    let mut setup = field()
        .with_operator(operator(), "L2")
        .trusting(key(5), "observe:T2,relay,read,plan")
        .trusting(key(7), "observe:T2,relay,read,plan,human");
    setup.policy = Some(policy());
    setup
}

/// The valve, for up to two seconds, twice, in the next hour.
pub fn approval(shared: &Handles, key: &OperatorKey, nonce: u8) -> StandingApproval {
    let now = shared.now();
    let seconds = Allowed::Range {
        min: 1.into(),
        max: 2.into(),
    };
    StandingApproval {
        version: 1,
        mesh_id: shared.mesh.clone(),
        executor: shared.own_id().clone(),
        operator_id: key.id().clone(),
        target: VALVE.parse().unwrap(),
        operation: "open".into(),
        params: [("durationSec".to_owned(), seconds)].into(),
        askers: [Requester::Rules, Requester::Person].into(),
        run_max_ms: 2_000,
        uses_max: 2,
        valid_from: TimeMs(now.0 - 1),
        valid_until: now.plus(3_600_000),
        given_at: now,
        nonce: format!("0123456789abcdef-{nonce}"),
        note: None,
    }
}

pub async fn given(node: &TestNode, signed: SignedStanding) -> Result<ApprovalView, Code> {
    let given = give(node.shared(), Cause::Own, signed).await;
    given.map_err(|refusal| refusal.code)
}

pub async fn gave(node: &TestNode) -> ApprovalView {
    let signed = approval(node.shared(), &operator(), 0).sign(&operator());
    given(node, signed).await.unwrap()
}

pub fn ending(shared: &Handles, of: &StandingApproval, key: &OperatorKey) -> StandingEnd {
    StandingEnd {
        mesh_id: shared.mesh.clone(),
        executor: of.executor.clone(),
        approval: of.id(),
        operator_id: key.id().clone(),
        ended_at: shared.now(),
        note: None,
    }
}

pub async fn one(node: &TestNode) -> ApprovalView {
    let mut all = list(node.shared()).await.unwrap().list;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

pub async fn wish(node: &TestNode, requester: Requester, seconds: i64) -> Draft {
    Draft {
        requester,
        ..draft(node.shared(), seconds).await
    }
}

/// What a rule asks for, as soon as a reading is newer than the last time.
pub async fn asked(node: &TestNode, wish: Draft) -> Result<Minted, Refusal> {
    until("a reading is new", || async {
        let mut wish = wish.clone();
        wish.cites = draft(node.shared(), 1).await.cites;
        let minted = proposals::mint(node.shared(), wish, node.shared().own_id()).await;
        match minted {
            Err(refusal) if refusal.code == Code::EvidenceStale => None,
            minted => Some(minted),
        }
    })
    .await
}

pub async fn ended(node: &TestNode, minted: &Minted) {
    until("it has ended", || async {
        (!status(node.shared(), minted).await.is_open()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_ahead_begins_as_often_as_it_says_and_the_next_waits() {
    let node = setup().start().await;
    let given = gave(&node).await;
    assert_eq!((given.state, given.used), (StandingState::Counts, 0));
    // A longer one is not what was approved.
    let long = asked(&node, wish(&node, Requester::Rules, 3).await)
        .await
        .unwrap();
    assert_eq!(long.status, Status::AwaitingApproval);
    for (n, requester) in [(1, Requester::Rules), (2, Requester::Person)] {
        let minted = asked(&node, wish(&node, requester, n).await).await.unwrap();
        assert_eq!(minted.status, Status::Executing, "use {n}");
        let said = minted.standing.clone().unwrap();
        let short = given.id.get(..8).unwrap();
        let words = format!("approved by ada (standing approval {short}, use {n} of 2)");
        assert_eq!(said, words);
        ended(&node, &minted).await;
        let id = minted.signed.record().proposal_id.clone();
        let used = node
            .shared()
            .store
            .read("t", move |c| store::used_by(c, &id));
        let (used, by) = used.await.unwrap().unwrap();
        assert_eq!(
            (used.number, &by),
            (u32::try_from(n).unwrap(), operator().id())
        );
    }
    let over = asked(&node, wish(&node, Requester::Rules, 2).await)
        .await
        .unwrap();
    assert_eq!(over.status, Status::AwaitingApproval, "it is used up");
    assert_eq!(opened(&node), 2);
    let last = one(&node).await;
    assert_eq!((last.state, last.used), (StandingState::Ended, 2));
    assert_eq!(last.why.as_deref(), Some("used up"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_and_a_peer_that_propose_exactly_what_was_approved_wait_for_a_person() {
    let node = setup().start().await;
    gave(&node).await;
    let waits = |wish: Draft, from: DeviceId| {
        let shared = node.shared().clone();
        async move {
            let minted = proposals::mint(&shared, wish, &from).await.unwrap();
            assert_eq!(minted.status, Status::AwaitingApproval);
            let id = minted.signed.record().proposal_id.clone();
            proposals::withdraw(&shared, id, "test".into())
                .await
                .unwrap();
        }
    };
    let own = node.id();
    waits(wish(&node, Requester::Llm, 1).await, own.clone()).await;
    for requester in [Requester::Rules, Requester::Person] {
        let mut tainted = wish(&node, requester, 1).await;
        tainted.taint.insert(Taint::Llm);
        waits(tainted, own.clone()).await;
    }
    let mut led = wish(&node, Requester::Llm, 1).await;
    led.led_by = Some(key(7).id().clone());
    waits(led, own.clone()).await;
    // What a device says of itself proves nothing, whatever it may ask for.
    for (requester, peer) in [
        (Requester::Llm, 5),
        (Requester::Rules, 5),
        (Requester::Rules, 7),
        (Requester::Person, 7),
    ] {
        waits(wish(&node, requester, 1).await, key(peer).id().clone()).await;
    }
    assert_eq!((opened(&node), one(&node).await.used), (0, 0));
    // The same wish of the executor's own rule begins.
    let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::Executing);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_does_not_say_so_and_a_stricter_level_take_no_standing_approval() {
    for changed in [
        policy().replace("standing_approvals = true", ""),
        policy()
            .replace("standing_approvals = true", "")
            .replace("level = \"L2\"", "level = \"L3\""),
    ] {
        let mut setup = setup();
        setup.policy = Some(policy());
        let node = setup.start().await;
        gave(&node).await;
        // What can be approved ahead of time is told with what the policy allows of it, and nothing else.
        let door = Door::new(node.shared().clone());
        let known = door.standing().await.unwrap();
        assert_eq!(known.answered, [node.id().as_str()]);
        let told: Vec<_> = known.allowed.iter().filter(|o| o.target == VALVE).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            (told[0].operation.as_str(), told[0].executor.as_str()),
            ("open", node.id().as_str())
        );
        let seconds = &told[0].params["durationSec"];
        assert_eq!(told[0].duration_param.as_deref(), Some("durationSec"));
        assert!(seconds.is == ParamKind::Integer, "{seconds:?}");
        assert!(
            seconds.min.is_some() && seconds.max.is_some(),
            "{seconds:?}"
        );
        // It was given, and the policy has become stricter since.
        std::fs::write(node.state().policy_file(), changed).unwrap();
        let file = node.state().policy_file();
        node.shared().reload_policy(&file).await.unwrap();
        let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
            .await
            .unwrap();
        assert_eq!(minted.status, Status::AwaitingApproval);
        assert_eq!(one(&node).await.state, StandingState::Held);
        assert_eq!(door.standing().await.unwrap().allowed, []);
        let again = approval(node.shared(), &operator(), 1).sign(&operator());
        assert_eq!(given(&node, again).await, Err(Code::PolicyDenied));
        assert_eq!(opened(&node), 0);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_quorum_a_standing_approval_is_one_person_and_its_giver_is_no_second() {
    let mut setup = setup();
    setup.policy = Some(policy().replace("level = \"L2\"", "level = \"L2\"\nquorum = 2"));
    let node = setup.start().await;
    let ben = OperatorKey::from_seed(&[78; 32]);
    enroll(node.shared(), &ben, "L2").await;
    gave(&node).await;
    // Two standing approvals are not two persons who looked at it.
    let of_ben = approval(node.shared(), &ben, 1).sign(&ben);
    given(&node, of_ben).await.unwrap();
    let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    let giver = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let standing = proposals::decide(node.shared(), giver).await.unwrap();
    assert_eq!(standing.status, Status::Executing, "{standing:?}");
    assert!(standing.detail.contains("use 1 of 2"), "{standing:?}");
    let used = list(node.shared()).await.unwrap().list;
    let used: u32 = used.iter().map(|view| view.used).sum();
    assert_eq!(used, 1, "one of them");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_stop_holds_it_up_and_uses_nothing() {
    let node = setup().start().await;
    gave(&node).await;
    let engaged = estop::engage(node.shared(), "ada", "", estop::Told::Always).await;
    engaged.map_err(|unkept| unkept.refusal).unwrap();
    let rules = wish(&node, Requester::Rules, 1).await;
    let refused = asked(&node, rules.clone()).await.unwrap_err();
    assert_eq!(refused.code, Code::Estop);
    let held = one(&node).await;
    assert_eq!((held.state, held.used), (StandingState::Held, 0));
    estop::release(node.shared(), None, "ada", "over")
        .await
        .unwrap();
    let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::Executing);
    assert_eq!(one(&node).await.used, 1);
    node.stop().await;
}

/// The system's clock, put forward or back by so many milliseconds.
#[derive(Debug, Default)]
struct Shifted(AtomicU64, SystemClock);

const BACK_MS: u64 = 7_200_000;

impl Shifted {
    fn by(&self, ms: i64) {
        let ahead = BACK_MS.checked_add_signed(ms).unwrap();
        self.0.store(ahead, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> TimeMs {
        TimeMs(self.1.now().0 - BACK_MS + self.0.load(Ordering::SeqCst))
    }

    fn steady_ms(&self) -> u64 {
        self.1.steady_ms()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_counts_in_its_time_by_the_executors_clock_and_once_over_stays_over() {
    let clock = Arc::new(Shifted::default());
    clock.by(0);
    let mut setup = setup();
    setup.clock = clock.clone();
    let node = setup.start().await;
    let mut later = approval(node.shared(), &operator(), 1);
    later.valid_from = later.given_at.plus(1_800_000);
    given(&node, later.sign(&operator())).await.unwrap();
    let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval, "it begins later");
    let id = minted.signed.record().proposal_id.clone();
    proposals::withdraw(node.shared(), id, "test".into())
        .await
        .unwrap();
    assert_eq!(one(&node).await.state, StandingState::Later);
    clock.by(2_000_000);
    let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::Executing);
    ended(&node, &minted).await;
    // The clock is set back: nothing begins.
    clock.by(0);
    let refused = asked(&node, wish(&node, Requester::Person, 2).await)
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::ClockUntrusted);
    assert_eq!(one(&node).await.state, StandingState::Held);
    clock.by(3_700_000);
    until("its time has run out, on disk", || async {
        let live = node.shared().store.read("t", store::live).await.unwrap();
        live.is_empty().then_some(())
    })
    .await;
    clock.by(2_000_000);
    assert_eq!(one(&node).await.state, StandingState::Ended);
    assert_eq!(opened(&node), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_at_one_node_for_another_a_rule_there_uses_it_and_the_next_waits() {
    let centre_dir = Arc::new(tempfile::tempdir().unwrap());
    let centre = centre()
        .trusting(key(1), "observe:T2,relay,read,actuate")
        .start_in(centre_dir, Some(2))
        .await;
    let mut setup = field()
        .trusting(key(2), COMMAND_CENTRE)
        .with_operator(operator(), "L2");
    setup.policy = Some(policy());
    setup.raw.peers = vec![format!("{}=ws://{}||local", centre.id(), centre.address)];
    let field = setup
        .start_in(Arc::new(tempfile::tempdir().unwrap()), Some(1))
        .await;
    let door = Door::new(centre.shared().clone());
    let of = StandingApproval {
        mesh_id: centre.shared().mesh.clone(),
        ..approval(field.shared(), &operator(), 0)
    };
    let signed = of.clone().sign(&operator());
    let view = until("the field can be reached", || async {
        match door.standing_give(signed.clone()).await {
            Err(refusal) if refusal.code == Code::ExecutorUnreachable => None,
            given => Some(given.unwrap()),
        }
    })
    .await;
    assert_eq!(view.executor, field.id().as_str());
    for n in 1..=3 {
        let minted = asked(&field, wish(&field, Requester::Rules, 1).await)
            .await
            .unwrap();
        let begins = match n {
            3 => Status::AwaitingApproval,
            _ => Status::Executing,
        };
        assert_eq!(minted.status, begins, "wish {n}");
        if n < 3 {
            ended(&field, &minted).await;
        }
    }
    // Both nodes tell of it, and a new one is ended from afar.
    let listed = door.standing().await.unwrap();
    assert_eq!(
        (listed.list.len(), listed.list[0].used),
        (1, 2),
        "{listed:?}"
    );
    let at_field = |id: &String| id == field.id().as_str();
    assert!(listed.answered.iter().any(at_field), "{listed:?}");
    let mut allowed = listed.allowed.iter();
    assert!(
        allowed.any(|o| at_field(&o.executor) && o.target == VALVE),
        "{listed:?}"
    );
    let next = approval(field.shared(), &operator(), 1);
    door.standing_give(next.clone().sign(&operator()))
        .await
        .unwrap();
    let word = ending(field.shared(), &next, &operator()).sign(&operator());
    let ended = door.standing_end(&next.id().to_hex(), word).await.unwrap();
    assert_eq!(ended.state, StandingState::Ended);
    let minted = asked(&field, wish(&field, Requester::Person, 2).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    field.stop().await;
    centre.stop().await;
}
