//! What this node says that it can do: its machine, looked at again and again, and its tags.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Messages;
use crate::adapters::abilities;
use crate::adapters::store::{Store, StoreError, kv};
use crate::domain::base::limits::TAGS_MAX;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::coordination::choose::Candidate;
use crate::domain::coordination::profile::{Profile, is_tag};
use crate::node::context::{DURABLE, store_refusal};

/// Where the tags lie.
const TAGS: &str = "node.tags";

/// The profile of this node.
#[derive(Debug, Default)]
pub(super) struct Own(Mutex<Arc<Profile>>);

fn read(c: &rusqlite::Connection) -> Result<BTreeSet<String>, StoreError> {
    let bytes = kv::get(c, TAGS)?.unwrap_or_default();
    let tags: BTreeSet<String> = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(tags
        .into_iter()
        .filter(|tag| is_tag(tag))
        .take(TAGS_MAX)
        .collect())
}

impl Own {
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let tags = store.read("tags", read).await?;
        Ok(Self(Mutex::new(Arc::new(Profile {
            tags,
            ..Profile::default()
        }))))
    }

    fn now(&self) -> Arc<Profile> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn becomes(&self, change: impl FnOnce(&mut Profile)) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut own));
    }
}

/// Looks at the machine again.
pub(super) async fn look(messages: &Messages) {
    let path = std::env::var_os("PATH");
    let looked = messages
        .work(move || abilities::of_machine(path.as_deref()))
        .await;
    match looked.map(Profile::checked) {
        Some(Ok(found)) => messages.0.own.becomes(|own| {
            *own = Profile {
                tags: std::mem::take(&mut own.tags),
                ..found
            }
        }),
        Some(Err(why)) => tracing::warn!("what this machine can do is not told: {why}"),
        None => tracing::warn!("what this machine can do could not be looked at"),
    }
}

impl Messages {
    /// What this node says that it can do.
    pub fn own_profile(&self) -> Profile {
        (*self.0.own.now()).clone()
    }

    /// This node and every device that it trusts, with what each says that it can do.
    pub fn abilities(&self) -> Vec<Candidate> {
        self.candidates("")
    }

    /// Gives this node tags and takes others away.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what is no tag or for too many, or what the store says.
    pub async fn tag(
        &self,
        add: Vec<String>,
        remove: &[String],
    ) -> Result<BTreeSet<String>, Refusal> {
        let invalid = |why: String| Err(Refusal::new(Code::InvalidParams, why));
        if let Some(bad) = add.iter().find(|tag| !is_tag(tag)) {
            return invalid(format!(
                "{bad:?} is no tag: write 1 to 32 small letters, digits, - _ . and :"
            ));
        }
        let remove: BTreeSet<String> = remove.iter().cloned().collect();
        let write = move |c: &rusqlite::Connection| {
            let mut tags = read(c)?;
            tags.retain(|tag| !remove.contains(tag));
            tags.extend(add);
            if tags.len() > TAGS_MAX {
                return Ok(None);
            }
            kv::put(c, TAGS, &serde_json::to_vec(&tags).unwrap_or_default())?;
            Ok(Some(tags))
        };
        let written = self.store.write(DURABLE, "tags", write).await;
        let Some(tags) = written.map_err(|e| store_refusal(&e))? else {
            return invalid(format!("a node has at most {TAGS_MAX} tags"));
        };
        let new = tags.clone();
        self.0.own.becomes(|own| own.tags = new);
        self.wake();
        Ok(tags)
    }

    /// What a device says that it can do, if it said anything.
    pub fn profile_of(&self, device: &DeviceId) -> Option<Profile> {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(device).map(|told| told.profile.clone())
    }
}
