//! A capability is claimed by its owner: what a device says of actuators counts only with the grant
//! `actuate`, and nobody else's word takes an executor's wishes or tells how they ended.

use std::sync::Arc;

use clawmesh::domain::base::DeviceId;
use clawmesh::operator::Door;
use clawmesh::operator::dto::{DraftView, EventView};
use clawmesh::operator::queries::{EventQuery, ProposalQuery};
use serde_json::json;

use crate::harness::*;
use crate::main_job::draft;

const VALVE: &str = "actuator:mock:valve-1";
const EXECUTOR: &str = "observe:T2,relay,read,actuate";

/// A centre, its field node, and a device that says it has the same valve, with a lower id.
struct Yard {
    centre: TestNode,
    field: TestNode,
    claimant: TestNode,
}

/// Starts the three; the centre trusts the claimant with `grants`.
async fn yard(grants: &'static str) -> Yard {
    let (low, high) = match key(11).id() < key(12).id() {
        true => (11, 12),
        false => (12, 11),
    };
    let dir = || Arc::new(tempfile::tempdir().unwrap());
    let setup = centre()
        .trusting(key(high), EXECUTOR)
        .trusting(key(low), grants);
    let centre = setup.start_in(dir(), Some(13)).await;
    let node = |seed: u8, name: &'static str| {
        let mut setup = field().trusting(key(13), "observe:T2,human,plan,relay,read,estop");
        setup.raw.name = Some(name.into());
        setup.raw.peers = vec![format!("{}=ws://{}||local", centre.id(), centre.address)];
        setup.start_in(dir(), Some(seed))
    };
    let field = node(high, "owner").await;
    let claimant = node(low, "claimant").await;
    until("both are connected", || async {
        let links = &centre.shared().links;
        links.get(&field.id()).and(links.get(&claimant.id()))
    })
    .await;
    Yard {
        centre,
        field,
        claimant,
    }
}

impl Yard {
    fn door(&self) -> Door {
        Door::new(self.centre.shared().clone())
    }

    /// A wish of a person at the centre, on a reading of the field node.
    async fn wish(&self, seconds: i64) -> DraftView {
        let field = self.field.id();
        let cite = until("the centre has a reading of the field node", || async {
            let facts = self.door().facts(Default::default()).await.unwrap();
            let of_field = |metric: &str| {
                let mut all = facts.iter();
                all.find(|f| f.origin == field.as_str() && f.metric == metric)
            };
            of_field("tank.level")?;
            Some(of_field("moisture")?.frame_id.clone())
        })
        .await;
        let wish = json!({"target": VALVE, "operation": "open", "params": {"durationSec": seconds},
            "reason": "dry", "name": "ada", "cites": [cite]});
        let wish = serde_json::from_value(wish).unwrap();
        self.door().propose(wish).await.unwrap()
    }

    async fn event(&self, kind: &str, about: &DeviceId) -> EventView {
        until(&format!("{kind} about {}", about.short()), || async {
            let query = EventQuery {
                kind: Some(kind.to_owned()),
                ..EventQuery::default()
            };
            let events = self.door().events(query).await.unwrap();
            events
                .into_iter()
                .find(|e| e.data["subject"] == about.as_str())
        })
        .await
    }

    async fn stop(self) {
        for node in [self.field, self.claimant, self.centre] {
            node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_the_grant_takes_no_wish_and_shows_no_proposal() {
    let yard = yard("read").await;
    let (field, claimant) = (yard.field.id(), yard.claimant.id());
    assert!(claimant < field);
    let event = yard.event("capability.refused", &claimant).await;
    assert_eq!(event.data["code"], "NOT_AUTHORIZED", "{event:?}");
    assert!(
        event.message.contains("claimant") && event.message.contains("trust grant"),
        "{event:?}"
    );
    let draft_view = yard.wish(3).await;
    let id = draft_view.proposal_id.clone().unwrap();
    let proposal = yard.door().proposal(&id).await.unwrap();
    assert_eq!(proposal.executor, field.as_str(), "the owner got the wish");
    let actuators = yard.door().actuators().await.unwrap();
    let owners: Vec<&str> = actuators
        .iter()
        .filter(|a| a.target == VALVE)
        .map(|a| a.device_id.as_str())
        .collect();
    assert_eq!(owners, [field.as_str()]);
    let nodes = yard.door().nodes();
    let shown = nodes
        .iter()
        .find(|n| n.device_id == claimant.as_str())
        .unwrap();
    assert!(!shown.capabilities.iter().any(|c| c.contains("actuator")));
    assert!(shown.withheld.iter().any(|c| c == VALVE), "{shown:?}");

    // What it mints itself is shown to nobody here.
    let own = draft(yard.claimant.shared(), 4).await;
    let minted = clawmesh::node::proposals::mint(yard.claimant.shared(), own, &claimant)
        .await
        .unwrap();
    let event = yard.event("event.refused", &claimant).await;
    assert!(event.message.contains("no proposals"), "{event:?}");
    let all = ProposalQuery {
        all: true,
        ..ProposalQuery::default()
    };
    let all = yard.door().proposals_page(all).await.unwrap();
    let ids: Vec<&str> = all.iter().map(|p| p.id.as_str()).collect();
    assert!(!ids.contains(&minted.signed.record().proposal_id.as_str()));
    assert_eq!(ids, [id.as_str()]);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_given_or_taken_counts_at_once_and_two_owners_are_both_shown() {
    let yard = yard("read").await;
    let (field, claimant) = (yard.field.id(), yard.claimant.id());
    let owners = || async {
        let actuators = yard.door().actuators().await.unwrap();
        let valves = actuators.into_iter().filter(|a| a.target == VALVE);
        valves
            .map(|a| (a.device_id, a.also_offered_by))
            .collect::<Vec<_>>()
    };
    assert_eq!(owners().await.len(), 1);
    let low = match *key(11).id() == claimant {
        true => key(11),
        false => key(12),
    };
    trust(yard.centre.shared(), &low, "read,actuate").await;
    until("both are shown", || async {
        let mut owners = owners().await;
        owners.sort();
        let (low, high) = (claimant.to_string(), field.to_string());
        let wanted = [(low.clone(), vec![high.clone()]), (high, vec![low])];
        (owners == wanted).then_some(())
    })
    .await;
    trust(yard.centre.shared(), &low, "read").await;
    until("one is left", || async {
        let owners = owners().await;
        (owners == [(field.to_string(), Vec::new())]).then_some(())
    })
    .await;
    yard.stop().await;
}
