//! The emergency stop across the mesh: this executor and every one that can be reached, who answered
//! and who did not. A stop is asked of all at once; a release is for one node, at that node.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, Door};
use crate::domain::admission::budget::Cause;
use crate::domain::base::{Code, DeviceId};
use crate::domain::capability::offers_actuator;
use crate::domain::wire::handshake::Feature;
use crate::node::links::LinkHandle;
use crate::node::proposals::estop::{self, Halted, HaltedActuator, Latch, Told};

/// Why everything is stopped, or why it may move again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EstopRequest {
    /// The reason, for people; a release needs one.
    #[serde(default)]
    pub reason: Option<String>,
    /// The person's name, where a session does not tell it.
    #[serde(default)]
    pub name: Option<String>,
    /// Of a release: the id of the stop that the person has seen; another one is not released.
    #[serde(default)]
    pub seen: Option<String>,
}

/// Whether this node is stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EstopView {
    /// Whether the stop is latched here.
    pub latched: bool,
    /// The stop.
    pub latch: Option<Latch>,
}

/// What an emergency stop came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EstopReport {
    /// Whether every executor known here has answered that it is latched and safe.
    pub complete: bool,
    /// Each executor, this node first.
    pub executors: Vec<EstopExecutor>,
}

/// What is known of an executor after an emergency stop was asked of it. Only `latched` is a stop that
/// holds; of one that was not told, or did not answer, nothing is known but that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopKnown {
    /// It said that it is latched.
    Latched,
    /// It was told to stop, but its latch is not on disk: it ends with its run.
    UntilRestart,
    /// It answered that it does not stop for this node, or it does not know how.
    Refused,
    /// It was told and did not answer: it may have stopped or not.
    NoAnswer,
    /// It was not told: there was no link to it.
    NotTold,
}

impl StopKnown {
    /// What a failed question tells, by the code it failed with.
    fn of(code: &str) -> Self {
        match Code::from_wire(code) {
            Some(Code::StorageFailed | Code::StorageFull) => Self::UntilRestart,
            Some(Code::Busy) => Self::NotTold,
            Some(Code::Timeout | Code::ExecutorUnreachable) => Self::NoAnswer,
            _ => Self::Refused,
        }
    }
}

/// What an emergency stop came to at one executor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EstopExecutor {
    /// The device.
    pub device_id: String,
    /// Its name, where known.
    pub name: Option<String>,
    /// Whether it is the node that answers.
    pub own: bool,
    /// Whether it said that it is latched.
    pub latched: bool,
    /// What is known of it.
    pub known: StopKnown,
    /// Why not, or what else is wrong; what to do about it.
    pub problem: Option<String>,
    /// Its actuators.
    pub actuators: Vec<HaltedActuator>,
}

impl EstopExecutor {
    fn is_safe(&self) -> bool {
        self.latched && self.actuators.iter().all(|a| a.safe)
    }

    fn took(mut self, halted: Result<Halted, (StopKnown, String)>) -> Self {
        match halted {
            Ok(halted) => {
                (self.latched, self.known) = (true, StopKnown::Latched);
                self.actuators = halted.actuators;
            }
            Err((known, why)) => (self.known, self.problem) = (known, Some(why)),
        }
        self
    }
}

impl Door {
    /// Stops this executor and asks every other that is known here to stop. Nobody is waited for
    /// longer than a request may take; who did not answer is named.
    pub async fn estop(&self, asked: &EstopRequest, by: &str) -> EstopReport {
        self.estop_of(&Cause::Own, asked, by).await
    }

    /// As [`Door::estop`], on somebody's account. It stops whatever the account has used; one that changes nothing here is told
    /// within its share, and else counted.
    pub async fn estop_of(&self, cause: &Cause, asked: &EstopRequest, by: &str) -> EstopReport {
        let reason = asked.reason.clone().unwrap_or_default();
        // By this an executor knows a stop again that it has carried out.
        let stop = self.handles.fresh_id();
        let stop = stop.map_or_else(|_| self.handles.now().0.to_string(), |id| id.to_string());
        let words = (stop.as_str(), by, reason.as_str());
        let links = self.stoppable();
        let own = async {
            let told = Told::of(&self.handles, cause);
            let halted = estop::engage(&self.handles, by, &reason, told).await;
            let executor = self.executor(self.handles.own_id());
            match halted {
                Ok(halted) => executor.took(Ok(halted)),
                Err(unkept) => EstopExecutor {
                    actuators: unkept.actuators,
                    ..executor.took(Err((
                        StopKnown::of(unkept.refusal.code.as_str()),
                        unkept.refusal.to_string(),
                    )))
                },
            }
        };
        let linked: BTreeSet<DeviceId> = links.iter().map(|l| l.info.device.clone()).collect();
        let away = self.away(&linked);
        let others = links.iter().map(|link| self.ask(link, words));
        // Those that have a link are not told later because others are dialed.
        let dialed = away.iter().map(|device| self.ask_away(device, words));
        let (own, others, dialed) = tokio::join!(own, join_all(others), join_all(dialed));
        let mut executors = vec![own];
        executors.extend(others);
        executors.extend(dialed);
        let report = EstopReport {
            complete: executors.iter().all(EstopExecutor::is_safe),
            executors,
        };
        self.stop_later(&report, words).await;
        report
    }

    /// The links to everybody who may move something, whether or not this node would ask it to.
    pub(super) fn stoppable(&self) -> Vec<LinkHandle> {
        let mut links = self.handles.links.all();
        links.retain(|l| l.offered().claims().any(|c| offers_actuator(c)));
        links
    }

    fn executor(&self, device: &DeviceId) -> EstopExecutor {
        EstopExecutor {
            device_id: device.as_str().to_owned(),
            name: self.names().get(device).cloned(),
            own: device == self.handles.own_id(),
            latched: false,
            known: StopKnown::NotTold,
            problem: None,
            actuators: Vec::new(),
        }
    }

    /// Asks an executor to stop: the id of the stop, who asks for it, and why.
    pub(super) async fn ask(
        &self,
        link: &LinkHandle,
        (stop, by, reason): (&str, &str, &str),
    ) -> EstopExecutor {
        let executor = self.executor(&link.info.device);
        if !link.info.speaks(Feature::Proposals) {
            let why = "it does not know the emergency stop; stop it by hand";
            return executor.took(Err((StopKnown::Refused, why.to_owned())));
        }
        let asked = json!({"id": stop, "by": by, "reason": reason});
        let answer = link.request("estop.engage", &asked).await;
        let halted = answer
            .map_err(|e| {
                let why = format!("{}: {}; stop it by hand", e.code, e.message);
                (StopKnown::of(&e.code), why)
            })
            .and_then(|v| {
                serde_json::from_value(v).map_err(|e| {
                    let why = format!("its answer does not read ({e}); stop it by hand");
                    (StopKnown::NoAnswer, why)
                })
            });
        executor.took(halted)
    }

    /// Asks an executor that has no link, if it can be reached now.
    pub(super) async fn ask_away(
        &self,
        device: &DeviceId,
        words: (&str, &str, &str),
    ) -> EstopExecutor {
        if let Some(link) = self.handles.reach.reach(device).await {
            return self.ask(&link, words).await;
        }
        let why = "it is not connected and was not told; whether it is stopped is not known here. Stop it by hand; this node goes on asking it for ten minutes, also over a restart, as long as it is stopped itself";
        self.executor(device)
            .took(Err((StopKnown::NotTold, why.to_owned())))
    }

    /// Executors that are known and have no link now.
    pub(super) fn away(&self, linked: &BTreeSet<DeviceId>) -> Vec<DeviceId> {
        let known = self.handles.known_capabilities();
        let away = known.into_iter().filter(|(device, offered)| {
            !linked.contains(device)
                && device != self.handles.own_id()
                && self.handles.trust.trusts(device)
                && offered.iter().any(|c| offers_actuator(c))
        });
        away.map(|(device, _)| device).collect()
    }

    /// Whether this node is stopped.
    pub fn estop_state(&self) -> EstopView {
        let latch = self.handles.running.latched();
        EstopView {
            latched: latch.is_some(),
            latch,
        }
    }

    /// Releases the stop at this node, and only here.
    ///
    /// # Errors
    /// `CONFLICT` if it is not latched, `INVALID_PARAMS` without a reason, or what the store says.
    pub async fn estop_release(&self, asked: &EstopRequest, by: &str) -> Answer<EstopView> {
        estop::release(
            &self.handles,
            asked.seen.as_deref(),
            by,
            asked.reason.as_deref().unwrap_or_default(),
        )
        .await?;
        Ok(self.estop_state())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said_and_nothing_more() {
        for (code, known) in [
            ("TIMEOUT", StopKnown::NoAnswer),
            ("EXECUTOR_UNREACHABLE", StopKnown::NoAnswer),
            ("BUSY", StopKnown::NotTold),
            ("STORAGE_FULL", StopKnown::UntilRestart),
            ("NOT_AUTHORIZED", StopKnown::Refused),
            ("SOMETHING_NEW", StopKnown::Refused),
        ] {
            assert_eq!(StopKnown::of(code), known, "{code}");
        }
    }
}
