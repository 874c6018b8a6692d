//! Models that devices use of each other (gen-1 §10). `serve.rs` answers trusted devices with the grant `llm` out of the
//! models that are shared here, each device within its share of the day (`share.rs`); `remote.rs` asks a model of another
//! device. What a model says is text either way: nothing here proposes, decides or moves anything.
//!
//! Pieces of a reply have a lane of their own on a link, behind answers and decisions. Towards a device of our own kind
//! they go out as far as it has taken those before; a gen-1 node is limited by how fast its socket takes them.

mod remote;
mod serve;
mod share;

use std::sync::Arc;

use serde_json::{Map, Value, json};

pub(super) use self::remote::Elsewhere;
use self::remote::Hearings;
use self::serve::Serving;
use self::share::Shares;
use crate::adapters::llm::Pieces;
use crate::adapters::store::StoreError;
use crate::domain::admission::Grant;
use crate::domain::admission::budget::Cause;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::inference::budget::most_of;
use crate::domain::inference::route::{About, Route};
use crate::domain::inference::{InferenceRequest, exchange};
use crate::node::context::{Context, Event};
use crate::node::frame_log::Frames;
use crate::node::inference::{Inference, Wanted};
use crate::node::links::{LinkHandle, Reach};

/// The requests to models of other devices and for other devices.
#[derive(Debug, Default)]
pub struct Traffic {
    serving: Serving,
    shares: Shares,
    hearings: Hearings,
}

impl Traffic {
    /// Begins with what each device has used today.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn load(conn: &rusqlite::Connection) -> Result<Self, StoreError> {
        Ok(Self {
            shares: Shares::load(conn)?,
            ..Self::default()
        })
    }
}

/// The models of this node, and what it takes to use those of others and to answer for them. It acts on nothing.
#[derive(Clone)]
pub struct MeshModels {
    /// The frames, for the links and what devices offer.
    pub frames: Frames,
    /// The language models it may ask.
    pub inference: Inference,
    /// Dials those with which no link is needed otherwise.
    pub reach: Arc<dyn Reach>,
    /// The requests under way.
    pub traffic: Arc<Traffic>,
}

impl std::ops::Deref for MeshModels {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

impl MeshModels {
    /// How many requests of other devices are answered now.
    pub fn serving(&self) -> usize {
        self.traffic.serving.len()
    }
}

/// Asks the models that are shared here for a device whose question this node answers. It counts as its own request.
///
/// # Errors
/// `OVER_BUDGET` where it has used its share of the day.
pub(super) async fn ask_for(
    mesh_models: &MeshModels,
    device: &DeviceId,
    request: InferenceRequest,
    about: &About,
) -> Result<(Route, Pieces), Refusal> {
    let shares = &mesh_models.traffic.shares;
    let lent = shares.reserve(mesh_models, device, most_of(&request))?;
    shares.keep(mesh_models).await;
    let wanted = Wanted::AllShared;
    let (route, pieces) = mesh_models.inference.ask_of(&wanted, request, about).await;
    Ok((route, lent.counting(pieces)))
}

fn may(context: &Context, device: &DeviceId) -> bool {
    let record = context.trust.live(device);
    record.is_some_and(|r| r.grants.has(Grant::Llm))
}

/// Begins to answer a request of another device; the answer goes out when the model has ended.
///
/// # Errors
/// Why it is not begun; it is recorded.
pub(super) async fn infer(
    mesh_models: &MeshModels,
    link: &LinkHandle,
    rpc: &str,
    params: &Map<String, Value>,
) -> Result<(), Refusal> {
    let device = &link.info.device;
    let begun = match may(mesh_models, device) {
        // As gen-1 nodes that serve no model.
        _ if mesh_models.inference.is_empty() => Err(Refusal::new(
            Code::UnknownMethod,
            "unknown method: llm.infer; no model is served here",
        )),
        true => serve::begin(mesh_models, link, rpc, params),
        false => Err(Refusal::new(
            Code::NotAuthorized,
            format!(
                "device {} does not hold the grant llm here; an operator can give it with `trust grant`",
                device.short()
            ),
        )),
    };
    if let Err(refusal) = &begun {
        let cause = Cause::Device(device.clone());
        let journal = &mesh_models.journal;
        journal
            .refused_of(cause, Event::RequestRefused, device.as_str(), refusal)
            .await;
    }
    begun
}

/// Takes a request of another device back.
///
/// # Errors
/// `LLM_CANCELLED` if it has none of this id.
pub(super) fn cancel(
    mesh_models: &MeshModels,
    link: &LinkHandle,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let id = exchange::request_id(params)?;
    match mesh_models.traffic.serving.cancel(&link.info.device, &id) {
        true => Ok(json!({"requestId": id, "cancelled": true})),
        false => Err(Refusal::new(
            Code::LlmCancelled,
            format!("no active llm request {id}"),
        )),
    }
}

/// A device has taken some of a reply.
///
/// # Errors
/// `INVALID_PARAMS` for no number, or for more than was sent.
pub(super) fn taken(
    mesh_models: &MeshModels,
    link: &LinkHandle,
    payload: &Value,
) -> Result<(), Refusal> {
    mesh_models
        .traffic
        .serving
        .taken(&link.info.device, payload)
}

/// A piece of a reply of another device. One without a waiting request is dropped.
pub(super) fn chunk(mesh_models: &MeshModels, link: &LinkHandle, payload: &Value) {
    mesh_models
        .traffic
        .hearings
        .heard(&link.info.device, payload);
}
