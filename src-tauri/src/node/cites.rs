//! Which frames a wish means by the ids that it cites. An id alone names a frame only among those of one
//! device: whoever sees another's frame on its way can make one of its own under the same id.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::context::{Context, store_refusal};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{StoreError, cited};
use crate::domain::base::limits::CITED_ORIGINS_SHOWN;
use crate::domain::base::{Code, DeviceId, FrameId, Refusal};
use crate::domain::plan::Draft;

/// The frames that a draft of `asker` cites, as far as this node holds them: each of the device that the
/// draft names for it, else of the asker, else of this node, else of the only device that uses the id.
///
/// # Errors
/// `EVIDENCE_AMBIGUOUS` if several devices use an id and nothing says which is meant.
pub(super) fn frames(
    conn: &Connection,
    draft: &Draft,
    asker: &DeviceId,
    own: &DeviceId,
) -> Result<Vec<StoredFrame>, StoreError> {
    let meant = draft.cites.iter().map(|id| match draft.origins.get(id) {
        Some(origin) => cited::of_origin(conn, id, origin),
        None => unnamed(conn, id, [asker, own]),
    });
    meant.filter_map(Result::transpose).collect()
}

fn unnamed(
    conn: &Connection,
    id: &FrameId,
    first: [&DeviceId; 2],
) -> Result<Option<StoredFrame>, StoreError> {
    for device in first {
        let found = cited::of_origin(conn, id, device)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    match cited::origins(conn, id, CITED_ORIGINS_SHOWN)?.as_slice() {
        [] => Ok(None),
        [only] => cited::of_origin(conn, id, only),
        several => {
            let several: Vec<&str> = several.iter().map(DeviceId::as_str).collect();
            let why = format!(
                "several devices use the cited frame id {id}; say whose is meant as {id}@DEVICE, with one of {}",
                several.join(", ")
            );
            Err(StoreError::Refused(Refusal::new(
                Code::EvidenceAmbiguous,
                why,
            )))
        }
    }
}

/// A draft of this node in which every cited frame that is known here is named with its device, so that
/// its executor takes no other's under the same id for it.
///
/// # Errors
/// `EVIDENCE_AMBIGUOUS`, as [`frames`].
pub(super) async fn named(context: &Context, mut draft: Draft) -> Result<Draft, Refusal> {
    let (asked, own) = (draft.clone(), context.own_id().clone());
    let read = move |c: &Connection| {
        let found = frames(c, &asked, &own, &own)?;
        Ok(found
            .into_iter()
            .map(|frame| (frame.frame_id, frame.origin))
            .collect::<BTreeMap<_, _>>())
    };
    let found = context.store.read("cites", read).await;
    draft.origins.extend(found.map_err(|e| store_refusal(&e))?);
    Ok(draft)
}
