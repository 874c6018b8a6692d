//! Language models, whoever serves them: one model answers one request with a stream of pieces. Which model is asked
//! (`node/inference`), and what its words may lead to, is decided elsewhere; a model here only talks.

mod scripted;

use std::sync::Arc;

use futures_util::stream::BoxStream;

use crate::domain::inference::{Failure, InferenceRequest, ModelRef, Piece};

pub use self::scripted::{Reply, Scripted, Step};

/// What a model says, piece by piece. The last item is [`Piece::End`] or an error; dropping the stream cancels the request.
pub type Pieces = BoxStream<'static, Result<Piece, Failure>>;

/// A model that can be asked.
pub trait Model: Send + Sync {
    /// Which model it is.
    fn name(&self) -> &ModelRef;

    /// Asks it. Nothing happens before the stream is first polled.
    fn infer(&self, request: Arc<InferenceRequest>) -> Pieces;
}

/// Shared handle to a model.
pub type SharedModel = Arc<dyn Model>;
