//! Which mesh two devices are in once they have paired. Both ends compute it from the same words, so
//! they agree. A device that belongs nowhere yet moves; one that belongs somewhere never does.

use super::Side;
use super::message::Persona;
use crate::domain::base::{Code, MeshId, Refusal};

/// What pairing does to the meshes of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// Where both are afterwards.
    pub mesh: MeshId,
    /// Who moves there, if anybody has to.
    pub moves: Option<Side>,
}

/// Decides it.
///
/// # Errors
/// `MESH_ID_MISMATCH` if both belong to different meshes already.
pub fn joining(initiator: &Persona, acceptor: &Persona) -> Result<Joining, Refusal> {
    let at = |persona: &Persona, moves| Joining {
        mesh: persona.mesh_id.clone(),
        moves,
    };
    if initiator.mesh_id == acceptor.mesh_id {
        return Ok(at(acceptor, None));
    }
    match (initiator.new, acceptor.new) {
        // Both new: whoever asked to be let in moves.
        (true, _) => Ok(at(acceptor, Some(Side::Initiator))),
        (false, true) => Ok(at(initiator, Some(Side::Acceptor))),
        (false, false) => Err(Refusal::new(
            Code::MeshIdMismatch,
            format!(
                "{} is in mesh {} and {} is in mesh {}, and neither is new; start both with the same --mesh-name, \
                 or pair from a node with a new state directory",
                initiator.shown_name(),
                initiator.shown_mesh(),
                acceptor.shown_name(),
                acceptor.shown_mesh()
            ),
        )),
    }
}
