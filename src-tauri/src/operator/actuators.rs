//! Every actuator this node knows of: its own with where they stand now, those of other nodes with
//! what their executors have told. Nothing here moves anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answer, Door};
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::capability::addresses_actuator;
use crate::domain::proposal::{Outcome, Status};
use crate::node::routing;

/// The longest a driver may take to say where its actuator stands.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// One actuator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ActuatorView {
    /// What it is called, for example `actuator:mock:valve-1`.
    pub target: String,
    /// The device that owns it.
    pub device_id: String,
    /// Its name, where known.
    pub device_name: Option<String>,
    /// Whether it belongs to the node that answers.
    pub own: bool,
    /// Other devices that offer an actuator of this name; a wish must say which is meant.
    pub also_offered_by: Vec<String>,
    /// Whether its executor can be asked now.
    pub reachable: bool,
    /// What it can do; empty where only its executor knows.
    pub operations: Vec<String>,
    /// Where it stands, read back from its driver now; absent where only its executor knows.
    pub position: Option<String>,
    /// Why its position is not known, where it should be.
    pub problem: Option<String>,
    /// The proposal that moves it now.
    pub running: Option<String>,
    /// The newest proposal about it.
    pub last: Option<ActuatorLast>,
}

/// The newest proposal about an actuator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ActuatorLast {
    /// Its id.
    pub proposal: String,
    /// The operation it asked for.
    pub operation: String,
    /// Its state.
    pub status: Status,
    /// When that began, in milliseconds since 1970.
    pub at: u64,
    /// What became of it, in a sentence, if it has ended.
    pub message: Option<String>,
}

fn last(row: &ProposalRow) -> ActuatorLast {
    let outcome = row.outcome.as_deref();
    let outcome = outcome.and_then(|text| serde_json::from_str::<Outcome>(text).ok());
    let said = outcome.map(|o| o.detail);
    ActuatorLast {
        proposal: row.id.as_str().to_owned(),
        operation: row.operation.clone(),
        status: row.status,
        at: row.updated_at.0,
        message: said.or_else(|| row.reason.clone()),
    }
}

/// Names beside each actuator the other devices that offer one of the same name.
fn say_who_else(list: &mut [ActuatorView]) {
    let mut offered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in list.iter() {
        let by = offered.entry(one.target.clone()).or_default();
        by.insert(one.device_id.clone());
    }
    for one in list.iter_mut() {
        let by = offered.get(&one.target).into_iter().flatten();
        one.also_offered_by = by.filter(|d| **d != one.device_id).cloned().collect();
    }
}

impl Door {
    /// Every actuator this node knows of; its own first.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn actuators(&self) -> Answer<Vec<ActuatorView>> {
        let (newest, open) = self
            .read("actuators", |c| {
                let open = proposals::open_list(c, QUERY_MAX)?;
                Ok((proposals::newest_by_target(c)?, open))
            })
            .await?;
        let moving = |device: &DeviceId, target: &str| {
            let runs = |r: &&ProposalRow| {
                r.status == Status::Executing && r.executor == *device && r.target == target
            };
            open.iter().find(runs).map(|r| r.id.as_str().to_owned())
        };
        let newest: BTreeMap<(DeviceId, String), ProposalRow> = newest
            .into_iter()
            .map(|row| ((row.executor.clone(), row.target.clone()), row))
            .collect();
        let names = self.names();
        let view = |device: &DeviceId, target: &str, reachable: bool| {
            let row = newest.get(&(device.clone(), target.to_owned()));
            ActuatorView {
                target: target.to_owned(),
                device_id: device.as_str().to_owned(),
                device_name: names.get(device).cloned(),
                own: device == self.handles.own_id(),
                also_offered_by: Vec::new(),
                reachable,
                operations: Vec::new(),
                position: None,
                problem: None,
                running: moving(device, target),
                last: row.map(last),
            }
        };
        let guards = &self.handles.guards;
        let own = guards.capabilities();
        let own = own.iter().map(|target| {
            let mut seen = view(self.handles.own_id(), target.as_str(), true);
            seen.operations = guards.operations(target);
            async move {
                match tokio::time::timeout(STATE_WAIT, guards.position(target)).await {
                    Ok(Some(Ok(position))) => seen.position = Some(position),
                    Ok(None) => {}
                    Ok(Some(Err(error))) => seen.problem = Some(error.to_string()),
                    Err(_) => {
                        seen.problem = Some("its driver did not say where it stands".to_owned());
                    }
                }
                seen
            }
        });
        let mut list = futures_util::future::join_all(own).await;
        for seen in &mut list {
            // A step of a sequence moves it, whose proposal names the sequence.
            let target = seen.target.parse().ok();
            let guard = target.and_then(|target| guards.view(&target));
            if let Some(guard) = guard.filter(|g| g.running && seen.running.is_none()) {
                seen.running = guard.proposal.map(|id| id.as_str().to_owned());
            }
        }
        let policy = self.handles.policy.current();
        list.extend(policy.sequences().iter().map(|sequence| {
            let mut seen = view(self.handles.own_id(), sequence.capability.as_str(), true);
            seen.operations = vec![sequence.operation.clone()];
            seen
        }));
        for (device, targets) in self.elsewhere() {
            let reachable = self.handles.links.get(&device).is_some()
                || self.handles.peers.is_on_demand(&device);
            list.extend(targets.iter().map(|t| view(&device, t, reachable)));
        }
        say_who_else(&mut list);
        Ok(list)
    }

    /// The actuators of other trusted devices, as they last offered them.
    fn elsewhere(&self) -> BTreeMap<DeviceId, BTreeSet<String>> {
        routing::offers(&self.handles)
            .into_iter()
            .filter(|(device, _)| device != self.handles.own_id())
            .map(|(device, all)| {
                let actuators = all.into_iter().filter(|c| addresses_actuator(c));
                (device, actuators.collect())
            })
            .collect()
    }
}
