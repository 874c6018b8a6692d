//! The end of a channel: by the signed word of an operator, or by this device as its administrator. It is stored among the
//! records of issuers and goes to every node.

use rusqlite::Connection;

use super::Channels;
use crate::adapters::store::channels as store;
use crate::adapters::store::operators;
use crate::domain::base::{Code, Digest, Refusal};
use crate::domain::gate::records::{Carried, Record};
use crate::domain::gate::{ChannelEnd, SignedChannelEnd};
use crate::node::authority;
use crate::node::context::store_refusal;

impl Channels {
    /// Takes the word of an operator that a channel ends, here and wherever it becomes known.
    ///
    /// # Errors
    /// `APPROVAL_INVALID` for one that is not signed by the key it names, `NOT_FOUND` for a channel that is not of this node
    /// and an operator who is not known here.
    pub async fn end(&self, signed: SignedChannelEnd) -> Result<(), Refusal> {
        let SignedChannelEnd {
            end,
            key,
            signature,
        } = signed;
        end.check_form()?;
        if end.mesh_id != self.mesh {
            return Err(Refusal::new(
                Code::WrongMesh,
                "the channel is of another mesh",
            ));
        }
        let (channel, operator) = (end.channel, key.operator_id());
        let record = Record::ChannelEnd { end, signature };
        let proven = Carried { key, record }.prove().ok_or_else(|| {
            let why = "the end of the channel is not signed by the key it names";
            Refusal::new(Code::ApprovalInvalid, why)
        })?;
        let read = move |conn: &Connection| {
            let held = store::get(conn, &channel)?;
            let theirs = held.is_some_and(|row| row.signed.channel.operator_id == operator);
            Ok(theirs || operators::get(conn, &operator)?.is_some())
        };
        let known = self.store.read("channel", read).await;
        if !known.map_err(|e| store_refusal(&e))? {
            let why = "this node does not know the channel or the operator who ends it; say it at the node of the channel, or at an executor";
            return Err(Refusal::new(Code::NotFound, why));
        }
        authority::end_channel(self, proven).await?;
        self.0.codes.forget(&channel, self.now());
        Ok(())
    }

    /// Ends a channel as this device, which counts wherever it may administer.
    ///
    /// # Errors
    /// `NOT_FOUND` for a channel that is not of this node.
    pub async fn void(&self, id: Digest, note: Option<String>) -> Result<(), Refusal> {
        let s = self.clone();
        let read = move |conn: &Connection| s.known_in(conn, &id);
        let known = self.store.read("channel", read).await;
        let channel = known.map_err(|e| store_refusal(&e))?.row.signed.channel;
        let end = ChannelEnd {
            mesh_id: self.mesh.clone(),
            channel: id,
            operator_id: channel.operator_id,
            issuer: self.own_id().clone(),
            ended_at: self.now(),
            note,
        };
        end.check_form()?;
        if let Some(proven) = self.issuer().end_of_channel(end) {
            authority::end_channel(self, proven).await?;
        }
        self.0.codes.forget(&id, self.now());
        Ok(())
    }
}
