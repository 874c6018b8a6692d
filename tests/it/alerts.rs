//! Alerts of real nodes: what raises one, who may end it, what a person says about it, and what a restart changes of that.

use std::sync::Arc;

use clawmesh::adapters::store::{Class, alerts as store, audit};
use clawmesh::domain::base::limits::{ALERT_MUTE_GRAVE_MAX_MS, ALERT_MUTE_MAX_MS, ALERT_SAME_MS};
use clawmesh::domain::base::{Code, EvidenceSource, Severity, Tier, TimeMs};
use clawmesh::domain::wire::FrameKind;
use clawmesh::domain::wire::frame::FrameSpec;
use clawmesh::node::RawConfig;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::frame_log;
use clawmesh::operator::alerts::AlertView;
use clawmesh::operator::estop::EstopRequest;
use serde_json::json;
use tempfile::TempDir;

use crate::bad_frames::frame_of;
use crate::bad_peers::kin;
use crate::channels::door;
use crate::harness::*;
use crate::main_job::{mint, operator};

const RULES: &str = "
[[alert]]
name = 'cold store'
metric = 'temperature'
zone = 'store'
above = 8
clear = 7
severity = 'critical'
words = 'close the door'
";

fn setup(text: &str) -> Setup {
    let mut setup = field();
    let said = RawConfig::parse(text, "config.toml").unwrap();
    setup.raw = RawConfig {
        mock_sensor: None,
        mock_actuator: None,
        alert: said.alert,
        alerts: said.alerts,
        ..setup.raw
    };
    setup
}

pub async fn reads(node: &TestNode, value: f64, tier: Tier) {
    let data = json!({"metric": "temperature", "value": value, "zone": "store", "unit": "C"});
    let spec = FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().cloned().unwrap(),
        sources: vec![EvidenceSource::Sensor],
        tier,
        taint: Default::default(),
        note: None,
    };
    frame_log::publish(node.shared(), vec![spec], Class::Durable)
        .await
        .unwrap();
}

pub async fn stands(node: &TestNode, kind: &str) -> AlertView {
    until(&format!("{kind} stands"), || async {
        let all = door(node).alerts().await.unwrap();
        all.into_iter().find(|a| a.kind == kind && a.id != 0)
    })
    .await
}

pub async fn none_stands(node: &TestNode) {
    until("no alert stands", || async {
        let all = door(node).alerts().await.unwrap();
        all.is_empty().then_some(())
    })
    .await;
}

pub async fn events(node: &TestNode, kind: &'static str) -> Vec<String> {
    let read = move |c: &rusqlite::Connection| {
        let mut query = c.prepare("SELECT message FROM events WHERE kind = ?1 ORDER BY seq")?;
        let rows = query.query_map([kind], |r| r.get::<_, String>(0))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    };
    node.shared().store.read("t", read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_beyond_its_threshold_is_an_alert_until_one_that_is_believed_is_back() {
    let node = setup(RULES).start().await;
    reads(&node, 9.5, Tier::T2).await;
    let alert = stands(&node, "alert.critical").await;
    assert_eq!(alert.severity, Severity::Critical);
    assert!(
        alert.message.contains("9.5") && alert.message.contains("this node"),
        "{}",
        alert.message
    );
    assert_eq!(alert.advice, "close the door");
    assert_eq!(
        door(&node).health().alarms,
        [""; 0],
        "a warm room says nothing of the node"
    );
    reads(&node, 2.0, Tier::T1).await;
    until("the doubt is told", || async {
        let all = door(&node).alerts().await.unwrap();
        all[0].message.contains("not believed").then_some(())
    })
    .await;
    reads(&node, 6.0, Tier::T2).await;
    none_stands(&node).await;
    let over = door(&node).alert_history(None, None).await.unwrap();
    assert_eq!((over.len(), over[0].id), (1, alert.id));
    assert!(
        over[0].ended_why.as_ref().unwrap().contains('6'),
        "{over:?}"
    );
    assert_eq!(events(&node, "alert.began").await.len(), 1);
    assert!(events(&node, "alert.ended").await[0].contains("over after"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_has_a_person_and_outlasts_a_restart_and_the_words_of_a_second_one() {
    let node = setup(RULES).start().await;
    reads(&node, 9.5, Tier::T2).await;
    let id = stands(&node, "alert.critical").await.id.to_string();
    let d = door(&node);
    let note = Some("on my way".to_owned());
    d.alert_acknowledge(&id, note, "ada").await.unwrap();
    let again = d.alert_acknowledge(&id, None, "eve").await.unwrap();
    assert_eq!(again.acknowledged.unwrap().by, "ada");
    let read = |c: &rusqlite::Connection| audit::after(c, 0, 100);
    let entries = node.shared().store.read("t", read).await.unwrap();
    let entries: Vec<String> = entries.iter().map(|e| format!("{e:?}")).collect();
    let said = entries.iter().filter(|e| e.contains("alert.acknowledged"));
    let said: Vec<&String> = said.collect();
    assert!(
        said.len() == 1 && said[0].contains("ada") && said[0].contains("on my way"),
        "{entries:?}"
    );
    let dir = node.stop().await;
    let node = setup(RULES).start_in(dir, None).await;
    let after = stands(&node, "alert.critical").await;
    assert_eq!(after.id.to_string(), id, "it is the same one");
    assert_eq!(
        after.acknowledged.unwrap().note.as_deref(),
        Some("on my way")
    );
    reads(&node, 6.0, Tier::T2).await;
    none_stands(&node).await;
    let refused = door(&node)
        .alert_acknowledge(&id, None, "ada")
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    let unknown = door(&node)
        .alert_acknowledge("99", None, "ada")
        .await
        .unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    node.stop().await;
}

async fn seen_long_ago(dir: &Arc<TempDir>) {
    let file = dir.path().join("state/clawmesh.db");
    let conn = rusqlite::Connection::open(file).unwrap();
    let seen = store::seen(&conn).unwrap().unwrap();
    store::note_seen(&conn, TimeMs(seen.0 - ALERT_SAME_MS - 60_000)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_again_after_the_node_was_off_for_long_is_another_alert() {
    let node = setup(RULES).start().await;
    reads(&node, 9.5, Tier::T2).await;
    let id = stands(&node, "alert.critical").await.id;
    door(&node)
        .alert_acknowledge(&id.to_string(), None, "ada")
        .await
        .unwrap();
    until("it is seen to stand", || async {
        let read = |c: &rusqlite::Connection| store::seen(c);
        node.shared().store.read("t", read).await.unwrap()
    })
    .await;
    let dir = node.stop().await;
    seen_long_ago(&dir).await;
    let node = setup(RULES).start_in(dir, None).await;
    let after = until("another one stands", || async {
        let all = door(&node).alerts().await.unwrap();
        all.into_iter().find(|a| a.id > id)
    })
    .await;
    assert!(after.acknowledged.is_none(), "{after:?}");
    let before = door(&node).alert(&id.to_string()).await.unwrap();
    assert!(before.ended_why.unwrap().contains("was off"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_ends_by_itself_and_what_may_move_is_muted_for_minutes_only() {
    let node = setup(RULES).start().await;
    reads(&node, 9.5, Tier::T2).await;
    let id = stands(&node, "alert.critical").await.id.to_string();
    let d = door(&node);
    for wrong in [0, ALERT_MUTE_MAX_MS + 1] {
        let refused = d.alert_mute(&id, wrong, "ada").await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidParams);
    }
    let muted = d.alert_mute(&id, ALERT_MUTE_MAX_MS, "ada").await.unwrap();
    assert_eq!(muted.muted.unwrap().by, "ada");
    assert!(d.alert_unmute(&id, "ada").await.unwrap().muted.is_none());
    let short = d.alert_mute(&id, 1, "ada").await.unwrap();
    drop(short);
    until("the mute is over", || async {
        let all = d.alerts().await.unwrap();
        all[0].muted.is_none().then_some(())
    })
    .await;
    let shared = node.shared();
    shared.alarms.raise(
        AlarmKind::ActuatorUnsafe,
        "actuator:x",
        "it moves",
        "look",
        shared.now(),
    );
    let id = stands(&node, "actuator.unsafe").await.id.to_string();
    let refused = d
        .alert_mute(&id, ALERT_MUTE_GRAVE_MAX_MS + 1, "ada")
        .await
        .unwrap_err();
    assert!(
        refused.message.contains("acknowledge"),
        "{}",
        refused.message
    );
    d.alert_mute(&id, ALERT_MUTE_GRAVE_MAX_MS, "ada")
        .await
        .unwrap();
    d.alert_acknowledge(&id, None, "ada").await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_linked_and_is_gone_is_missed_until_it_is_back_or_trusted_no_more() {
    let mut setup = setup("[alerts]\npeer_lost = '1s'").trusting(key(2), "observe:T2,relay,read");
    setup.kin = true;
    setup = setup.trusting(key(3), "observe:T2,relay,read");
    let node = setup.start().await;
    let peer = kin(&node, 2).await;
    until(
        "it is linked for longer than the first look takes",
        || async {
            let linked = node.shared().links.get(key(2).id()).is_some();
            let looked = node.shared().moment().wall.since(node.shared().started_at) > 7_000;
            (linked && looked).then_some(())
        },
    )
    .await;
    assert!(door(&node).alerts().await.unwrap().is_empty());
    drop(peer);
    let missed = stands(&node, "peer.lost").await;
    assert_eq!(
        missed.subject,
        key(2).id().as_str(),
        "the one that was never there is not missed"
    );
    let peer = kin(&node, 2).await;
    none_stands(&node).await;
    drop(peer);
    stands(&node, "peer.lost").await;
    door(&node)
        .trust_revoke(key(2).id().as_str())
        .await
        .unwrap();
    none_stands(&node).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_waits_for_long_and_an_emergency_stop_are_alerts_and_end() {
    let mut setup = field().with_operator(operator(), "L3");
    setup.raw.alerts = RawConfig::parse("[alerts]\nproposal_waits = '1s'", "x")
        .unwrap()
        .alerts;
    let node = setup.start().await;
    let minted = mint(&node, 5).await;
    let alert = stands(&node, "proposal.waits").await;
    assert_eq!(alert.subject, minted.signed.record().proposal_id.as_str());
    let asked = EstopRequest {
        reason: Some("smoke".to_owned()),
        ..Default::default()
    };
    door(&node).estop(&asked, "ada").await;
    let stop = stands(&node, "estop.latched").await;
    assert!(stop.message.contains("smoke") && stop.message.contains("ada"));
    let refused = door(&node)
        .alert_mute(&stop.id.to_string(), 3_600_000, "ada")
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::InvalidParams);
    assert!(
        door(&node)
            .alarms()
            .iter()
            .all(|a| a.kind != "estop.latched"),
        "status tells it by itself"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_reading_is_gone_stands_after_a_restart_until_one_that_is_believed_comes() {
    for long in [false, true] {
        let node = setup(RULES).start().await;
        reads(&node, 9.5, Tier::T2).await;
        let id = stands(&node, "alert.critical").await.id;
        until("it is seen to stand", || async {
            let read = |c: &rusqlite::Connection| store::seen(c);
            node.shared().store.read("t", read).await.unwrap()
        })
        .await;
        let dir = node.stop().await;
        let file = dir.path().join("state/clawmesh.db");
        let conn = rusqlite::Connection::open(file).unwrap();
        conn.execute("DELETE FROM facts", []).unwrap();
        drop(conn);
        if long {
            seen_long_ago(&dir).await;
        }
        let node = setup(RULES).start_in(dir, None).await;
        let after = until("it stands on, or another one does", || async {
            let all = door(&node).alerts().await.unwrap();
            let said = |a: &AlertView| a.message.contains("no reading has come since");
            all.into_iter().find(|a| a.id != 0 && said(a))
        })
        .await;
        assert_eq!(after.id != id, long, "{after:?}");
        reads(&node, 6.0, Tier::T2).await;
        none_stands(&node).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_not_believed_hides_no_alert_of_this_node_and_its_events_are_its_own() {
    let any = "[[alert]]\nname = 'any'\nmetric = 'm'\nabove = 1\nseverity = 'critical'\n";
    let setup = setup(&format!("{RULES}{any}")).trusting(key(5), "observe:T1,relay,read");
    let node = setup.start().await;
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    for n in 0..70 {
        let mut frame = frame_of(5, &format!("flood-{n}"));
        frame["data"]["zone"] = json!(format!("z{n}"));
        probe.event("context.frame", frame).await;
    }
    let stands = |text: &'static str| {
        let node = &node;
        async move {
            let all = door(node).alerts().await.unwrap();
            all.into_iter()
                .find(|a| a.id != 0 && a.message.contains(text))
        }
    };
    until("those that do not fit are told of", || {
        stands("and 62 more")
    })
    .await;
    reads(&node, 9.5, Tier::T2).await;
    until("the node's own stands", || stands("9.5")).await;
    let device = key(5).id().as_str().to_owned();
    let read = move |c: &rusqlite::Connection| {
        let sql = "SELECT sum(room = 'own'), sum(room LIKE ?1 || '%') FROM events WHERE kind = 'alert.began'";
        Ok(c.query_row(sql, [device], |r| {
            Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?))
        })?)
    };
    let (own, of_device) = node.shared().store.read("t", read).await.unwrap();
    assert!(own == 2 && of_device >= 1, "{own} and {of_device}");
    node.stop().await;
}
