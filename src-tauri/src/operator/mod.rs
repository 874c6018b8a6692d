//! The only door for people and programs: queries and commands on a running node, the shapes they
//! are answered in, and the codes they fail with. Surfaces translate and call; they decide nothing.
//!
//! `registry` and `people` also work on a stopped node's store; the rest needs a running one.

pub mod access;
pub mod actuators;
pub mod alerts;
mod attach;
pub mod audit_export;
pub mod channels;
pub mod commands;
pub mod coordinator;
pub mod device_check;
#[cfg(test)]
mod device_tests;
pub mod devices;
pub mod doctor;
pub mod dto;
pub mod enrolling;
pub mod estop;
pub mod gateways;
mod holding;
pub mod hooks;
pub mod inference;
mod late_stops;
pub mod mcp;
pub mod meshes;
pub mod messages;
pub mod model_token;
pub mod models;
pub mod names;
pub mod pairing;
mod peers;
pub mod people;
pub mod pictures;
pub mod planner;
mod proposals;
pub mod queries;
pub mod registry;
pub mod routes;
pub mod routing;
pub mod series;
pub mod shares;
pub mod standing_approvals;
pub mod stopping;
pub mod topology;
mod trace;
pub mod twin;
mod views;

use tokio::sync::watch;

use crate::adapters::store::StoreError;
use crate::domain::base::{Code, Refusal};
use crate::node::Handles;
use crate::node::context::Context;
use crate::node::context::store_refusal;

/// The result of a call of the door; every one may be refused.
pub type Answer<T> = Result<T, Refusal>;

/// The door of a running node.
#[derive(Clone)]
pub struct Door {
    handles: Handles,
}

impl Door {
    /// The door of this node.
    pub fn new(handles: Handles) -> Self {
        Self { handles }
    }

    /// The parts of the node that a surface may use besides the door's own calls: clock, configuration, journal,
    /// metrics, tasks. It can neither sign nor move anything.
    pub fn context(&self) -> &Context {
        &self.handles.context
    }

    /// Counts up with every change of a proposal.
    pub fn proposal_changes(&self) -> watch::Receiver<u64> {
        self.handles.proposals_head.subscribe()
    }

    /// Reads the store; `what` names the read in logs.
    async fn read<T, F>(&self, what: &'static str, read: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.handles
            .store
            .read(what, read)
            .await
            .map_err(|e| store_refusal(&e))
    }
}

/// The HTTP status a refusal is answered with.
pub fn http_status(code: Code) -> u16 {
    match code {
        Code::InvalidJson | Code::InvalidType | Code::InvalidParams => 400,
        Code::Unauthenticated => 401,
        Code::NotAuthorized
        | Code::OperatorUnknown
        | Code::OperatorRevoked
        | Code::OperatorExpired
        | Code::OperatorLevelTooLow
        | Code::IssuerNotAccepted
        | Code::SelfVouched
        | Code::ApprovalInvalid
        | Code::PassphraseWrong
        | Code::KeyUnprotected
        | Code::PolicyDenied => 403,
        Code::NotFound | Code::ProposalNotFound | Code::UnknownTarget => 404,
        Code::UnknownMethod => 405,
        Code::Timeout | Code::LlmTimeout => 504,
        Code::Conflict
        | Code::ProposalAmbiguous
        | Code::TargetAmbiguous
        | Code::EvidenceAmbiguous
        | Code::PlannerPaused
        | Code::DecisionUsed
        | Code::ProposalNotWaiting
        | Code::ProposalExpired
        | Code::ActuatorBusy
        | Code::ActuatorUnsafe => 409,
        Code::TooLarge | Code::DataTooLarge => 413,
        Code::Estop => 423,
        Code::RateExceeded | Code::OverBudget | Code::LlmBusy => 429,
        Code::InternalError | Code::StorageFailed => 500,
        Code::ExecutorUnreachable | Code::LlmBackpressure => 502,
        Code::Busy | Code::LlmModelUnavailable | Code::ClockUntrusted | Code::StateInDoubt => 503,
        Code::StorageFull => 507,
        _ => 422,
    }
}
