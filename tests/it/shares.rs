//! Each share is looked at where it is used: a device that has used it up gets no more of it, and what
//! its executor may say of a proposal has an end.

use clawmesh::adapters::store::{Class, proposals};
use clawmesh::domain::admission::budget::Share;
use clawmesh::domain::base::limits::TEXT_MAX_CHARS;
use clawmesh::domain::base::{Code, ProposalId};
use clawmesh::domain::gate::approval::{Decision, Verdict};
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::{ProposalRecord, SignedProposal};
use clawmesh::node::proposals as wishes;
use serde_json::{Value, json};

use crate::bad_peers::refusals;
use crate::budgets::{ended, kin, node, update};
use crate::harness::{TestNode, key, until};
use crate::main_job::{draft, mint, operator};

/// Makes so many copies of what is in a table, by a statement with `{n}` in the place of the copy's number.
async fn copies(node: &TestNode, sql: &'static str, count: u64) {
    let write = move |c: &rusqlite::Connection| {
        for n in 0..count {
            c.execute(&sql.replace("{n}", &n.to_string()), [])?;
        }
        Ok(())
    };
    let store = &node.shared().store;
    store.write(Class::Durable, "t", write).await.unwrap();
}

async fn count(node: &TestNode, sql: &'static str) -> u64 {
    let read = move |c: &rusqlite::Connection| {
        let n: i64 = c.query_row(sql, [], |row| row.get(0))?;
        Ok(n.unsigned_abs())
    };
    node.shared().store.read("t", read).await.unwrap()
}

async fn over_budget(node: &TestNode, times: u64) {
    until("it is over budget", || async {
        (refusals(node, "OVER_BUDGET") >= times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_wait_are_a_share_of_the_device_that_asks() {
    let node = node().await;
    let asked = async |device: u8, seconds: i64| {
        let wish = Draft {
            requester: Requester::Llm,
            ..draft(node.shared(), seconds).await
        };
        let minted = wishes::mint(node.shared(), wish, key(device).id()).await;
        minted.map(drop).map_err(|refusal| refusal.code)
    };
    asked(2, 1).await.unwrap();
    // Made long ago, so that they are no part of an hour's share.
    let sql = "INSERT INTO proposals SELECT '{n}-' || id, executor, '{n}', status, level, target, operation, record,
        digest, signature, own, 1, expires_at, updated_at, draft_id, requester, outcome, reason, revision
        FROM proposals WHERE intent_key NOT GLOB '[0-9]*'";
    copies(&node, sql, Share::Waiting.most() - 2).await;
    asked(2, 2).await.unwrap();
    assert_eq!(asked(2, 3).await, Err(Code::OverBudget));
    mint(&node, 4).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_mirrors_are_a_share_of_their_executor() {
    let node = node().await;
    let own = mint(&node, 10).await.signed;
    let mut liar = kin(&node, 2).await;
    let shown = |n: usize| update(own.record(), n, "awaiting_approval");
    liar.event("proposal.update", shown(1)).await;
    const MIRRORS: &str = "SELECT count(*) FROM proposals WHERE own = 0";
    until("it is shown", || async {
        (count(&node, MIRRORS).await == 1).then_some(())
    })
    .await;
    let sql = "INSERT INTO proposals SELECT '{n}-' || id, executor, intent_key, status, level, target, operation,
        printf('%.*c', 100000, 'x'), digest, signature, own, created_at, expires_at, updated_at, draft_id, requester,
        outcome, reason, revision FROM proposals WHERE own = 0 AND id NOT GLOB '*-*-*-*-*-*'";
    copies(&node, sql, Share::MirrorBytes.most() / 100_000).await;
    let before = count(&node, MIRRORS).await;
    for n in 2..130 {
        liar.event("proposal.update", shown(n)).await;
    }
    over_budget(&node, 1).await;
    let bytes = count(
        &node,
        "SELECT sum(octet_length(record)) FROM proposals WHERE own = 0",
    )
    .await;
    assert!(bytes <= Share::MirrorBytes.most(), "{bytes}");
    assert!(count(&node, MIRRORS).await < before + 128);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_says_of_strangers_is_a_share_and_of_those_known_here_is_not() {
    let node = node().await;
    let mut issuer = kin(&node, 1).await;
    let page = |records: Vec<Value>| json!({"records": records});
    let unknown = |n: u8| ended(key(n).id().clone(), &key(1));
    issuer.event("records.page", page(vec![unknown(100)])).await;
    const ISSUED: &str = "SELECT count(*) FROM records WHERE acted = 1";
    until("it counts", || async {
        (count(&node, ISSUED).await == 1).then_some(())
    })
    .await;
    let sql = "INSERT INTO records SELECT 'copy{n}-' || id, json, issuer, at, received_at, acted, issuer_key, via
        FROM records WHERE id NOT GLOB 'copy*'";
    copies(&node, sql, Share::Issued.most() - 1).await;
    issuer.event("records.page", page(vec![unknown(101)])).await;
    over_budget(&node, 1).await;
    let known = ended(key(2).id().clone(), &key(1));
    issuer.event("records.page", page(vec![known])).await;
    until("who is known here is revoked all the same", || async {
        node.shared()
            .trust
            .live(key(2).id())
            .is_none()
            .then_some(())
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_executor_says_of_its_proposal_is_shown_within_limits() {
    let node = node().await;
    let own = mint(&node, 10).await.signed;
    let mut executor = kin(&node, 2).await;
    let mut record = own.record().clone();
    record.executor = key(2).id().clone();
    record.nonce = "n".into();
    record.proposal_id = ProposalRecord::id_for(&record.mesh_id, &record.executor, &record.nonce);
    // From a time that has not come.
    record.created_at = record.created_at.plus(86_400_000);
    record.expires_at = record.expires_at.plus(2 * 86_400_000);
    let id: ProposalId = record.proposal_id.clone();
    let signed = SignedProposal::mint(record.clone(), &key(2)).unwrap();
    let long = "x".repeat(3 * TEXT_MAX_CHARS);
    let noted = |note: &str, by: &OperatorKey| {
        Decision {
            verdict: Verdict::Approve,
            mesh_id: record.mesh_id.clone(),
            executor: record.executor.clone(),
            proposal_id: id.clone(),
            digest: *signed.digest(),
            operator_id: by.id().clone(),
            decided_at: node.shared().now(),
            note: Some(note.to_owned()),
            channel: None,
            at_node: None,
        }
        .sign(by)
    };
    let another = OperatorKey::from_seed(&[78; 32]);
    let mut told = signed.to_wire();
    told["status"] = json!("failed");
    told["revision"] = json!(3);
    told["reason"] = json!(long);
    told["outcome"] = json!({"status": "failed", "detail": long, "startedAt": 1, "endedAt": 2, "actuatorState": long});
    told["decisions"] = json!([noted(&long, &operator()), noted("short", &another)]);
    executor.event("proposal.update", told).await;
    let row = until("it is shown", || async {
        let of = id.clone();
        let read = move |c: &rusqlite::Connection| proposals::get(c, &of);
        node.shared().store.read("t", read).await.unwrap()
    })
    .await;
    assert!(row.created_at <= node.shared().now(), "it leads no list");
    let most = 2 * TEXT_MAX_CHARS + 500;
    let outcome = row.outcome.unwrap();
    assert!(outcome.chars().count() < most, "{}", outcome.len());
    assert!(row.reason.unwrap().chars().count() <= TEXT_MAX_CHARS);
    let decisions = "SELECT count(*) FROM approvals";
    assert_eq!(count(&node, decisions).await, 1, "the long one is left out");
    node.stop().await;
}
