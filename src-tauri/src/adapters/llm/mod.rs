//! Language models, local or remote: one model answers one request with a stream of pieces. Which model is asked
//! (`node/inference`), and what its words may lead to, is decided elsewhere; a model here only talks.
//!
//! The client is ours, over `hyper`, which the node has anyway. `genai` was tried: it brings 78 crates to the 185 of the
//! node and limits neither the size of a reply nor the time between its pieces.

mod address;
mod anthropic;
mod openai;
mod reading;
mod saying;
mod scripted;
mod secret;
mod server;
mod sse;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::domain::inference::{Failure, InferenceRequest, ModelRef, Piece};

pub use self::address::{Speech, providers, speech_of, url_of, variables_of};
pub use self::scripted::{Reply, Scripted, Step};
pub use self::secret::{Keys, Secret, no_keys};
pub use self::server::{Patience, Server};
pub use super::http_client::{Address, Reach};

/// A model's reply, piece by piece. The last item is [`Piece::End`] or an error; dropping the stream cancels the request.
pub type Pieces = BoxStream<'static, Result<Piece, Failure>>;

/// A model that can be asked.
pub trait Model: Send + Sync {
    /// Which model it is.
    fn name(&self) -> &ModelRef;

    /// Asks it. Nothing happens before the stream is first polled.
    fn infer(&self, request: Arc<InferenceRequest>) -> Pieces;

    /// Whether its server answers and takes the key, as far as can be known without a question; nothing of a question
    /// is sent. A model that cannot tell says yes: the next question shows it.
    fn probe(&self) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Shared handle to a model.
pub type SharedModel = Arc<dyn Model>;
