//! The executor: the only room that begins an action.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::at_node::Shown;
use super::hold::Renewals;
use super::{Running, Unrecorded};
use crate::domain::base::limits::MIRRORS_OWED_MAX;
use crate::domain::identity::DeviceKey;
use crate::node::continuity::Footing;
use crate::node::guards::RunStarter;
use crate::node::policy_book::{self, PolicyBook};

/// What proposals are minted, decided and carried out with. The key in it signs their records and leaves this room in no
/// other way; who has the handle can ask for an action, and what may be done is decided here.
#[derive(Clone)]
pub struct Executor(Arc<Parts>);

/// What [`Executor`] gives access to.
pub struct Parts {
    /// What the node stands on.
    pub footing: Footing,
    /// Begins runs.
    pub(super) starter: RunStarter,
    /// Signs the records of proposals.
    pub(super) key: Arc<DeviceKey>,
    /// What it allows.
    pub policy: PolicyBook,
    /// What its actuators are doing.
    pub running: Running,
    /// How many renewals of held actions each device has sent lately.
    pub(super) renewals: Renewals,
    /// The codes that are shown at this node.
    pub(super) at_node: Shown,
    /// Decisions refused while nothing could be written.
    pub(super) unrecorded: Arc<Unrecorded>,
    /// Places for updates of others' proposals that the disk refused and that are tried again.
    pub(super) mirrors_owed: Arc<Semaphore>,
}

impl std::ops::Deref for Executor {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::Deref for Parts {
    type Target = Footing;

    fn deref(&self) -> &Footing {
        &self.footing
    }
}

impl Executor {
    /// An executor that does nothing yet.
    pub fn new(
        footing: Footing,
        starter: RunStarter,
        key: Arc<DeviceKey>,
        policy: PolicyBook,
    ) -> Self {
        Self(Arc::new(Parts {
            footing,
            starter,
            key,
            policy,
            running: Running::default(),
            renewals: Renewals::default(),
            at_node: Shown::default(),
            unrecorded: Arc::default(),
            mirrors_owed: Arc::new(Semaphore::new(MIRRORS_OWED_MAX)),
        }))
    }

    /// Raises an alarm while the policy in force says something that is probably not meant.
    pub fn judge_policy(&self) {
        policy_book::judge(self, &self.policy, &self.guards.offered());
    }

    /// Takes the policy file again after a change.
    ///
    /// # Errors
    /// Why it is refused; the policy in force stays.
    pub async fn reload_policy(&self, file: &Path) -> Result<(), String> {
        policy_book::reload(self, &self.policy, &self.guards.offered(), file).await?;
        self.offer_again();
        Ok(())
    }

    /// Watches the policy file and reloads it when it changes.
    pub async fn watch_policy(self, file: PathBuf) {
        self.judge_policy();
        let stamp = |file: &Path| std::fs::metadata(file).and_then(|m| m.modified()).ok();
        let mut seen = stamp(&file);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                () = self.tasks.stop().cancelled() => return,
                _ = tick.tick() => {}
            }
            let now = stamp(&file);
            if now.is_some() && now != seen {
                seen = now;
                if let Err(why) = self.reload_policy(&file).await {
                    tracing::error!("{why}");
                }
            }
        }
    }
}
