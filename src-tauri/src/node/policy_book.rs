//! The executor's policy in force, and how it changes: a file whose own tests pass replaces it, one
//! whose tests fail is refused and the last good one stays.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::json;

use super::context::alarms::AlarmKind;
use super::context::{Context, DURABLE};
use crate::adapters::files;
use crate::adapters::store::{Store, StoreError, kv};
use crate::domain::base::AuditKind;
use crate::domain::base::limits::CONFIG_FILE_MAX_BYTES;
use crate::domain::policy::{self, Offered, Policy};
use crate::node::context::{Event, Severity};

const LAST_GOOD: &str = "policy.last-good";

/// The policy in force.
#[derive(Debug)]
pub struct PolicyBook {
    current: RwLock<Arc<Policy>>,
    problem: RwLock<Option<String>>,
}

impl Default for PolicyBook {
    /// Until one is loaded, nothing is allowed.
    fn default() -> Self {
        Self {
            current: RwLock::new(Arc::new(Policy::deny_all())),
            problem: RwLock::default(),
        }
    }
}

impl PolicyBook {
    /// The policy in force.
    pub fn current(&self) -> Arc<Policy> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Why the policy file is not the policy in force, if it is not.
    pub fn problem(&self) -> Option<String> {
        self.problem
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, policy: Policy) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        *self.problem.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn refuse(&self, why: String) {
        *self.problem.write().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Loads the file at start, or the last good policy if the file is refused.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn open(&self, store: &Store, file: &Path) -> Result<(), StoreError> {
        match read(file) {
            Ok(None) => {}
            Ok(Some(text)) => match policy::load(&text) {
                Ok(policy) => {
                    self.set(policy);
                    return keep(store, text).await;
                }
                Err(error) => self.refuse(format!("{}: {error}", file.display())),
            },
            Err(why) => self.refuse(why),
        }
        if let Some(why) = self.problem() {
            tracing::error!("the policy file is refused: {why}");
            let last = store.read("policy", |c| kv::get(c, LAST_GOOD)).await?;
            let last = last
                .and_then(|b| String::from_utf8(b).ok())
                .and_then(|t| policy::load(&t).ok());
            match last {
                Some(policy) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy)
                }
                None => {
                    tracing::error!("there is no earlier good policy: every actuation is denied")
                }
            }
        }
        Ok(())
    }
}

/// Reads a policy file; `None` if there is none.
///
/// # Errors
/// A sentence that names the file.
pub fn read(file: &Path) -> Result<Option<String>, String> {
    match files::read_text(file, CONFIG_FILE_MAX_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Raises an alarm while the policy in force says something that is probably not meant: an update of
/// the program never leaves a node without its policy. `policy test` fails on the same.
pub fn judge(context: &Context, book: &PolicyBook, offered: &[Offered]) {
    let faults = book.current().faults(offered);
    let kind = AlarmKind::PolicyWarns;
    let Some(first) = faults.first() else {
        context.alarms.clear(kind, "");
        return;
    };
    let message = match faults.len() {
        1 => format!("policy.toml, {first}"),
        n => format!("policy.toml, {first} (and {} more)", n - 1),
    };
    let advice =
        "the policy stays in force as it stands; mend the file, `policy test` names every fault";
    if context
        .alarms
        .raise(kind, "", &message, advice, context.now())
    {
        tracing::warn!("{message}");
    }
}

async fn keep(store: &Store, text: String) -> Result<(), StoreError> {
    store
        .write(DURABLE, "policy", move |c| {
            kv::put(c, LAST_GOOD, text.as_bytes())
        })
        .await
}

/// Takes the policy file again after a change.
///
/// # Errors
/// Why it is refused; the policy in force stays.
pub async fn reload(
    context: &Context,
    book: &PolicyBook,
    offered: &[Offered],
    file: &Path,
) -> Result<(), String> {
    let loaded = match read(file)? {
        None => Err(format!("{}: there is no such file", file.display())),
        Some(text) => policy::load(&text)
            .map(|p| (p, text))
            .map_err(|e| format!("{}: {e}", file.display())),
    };
    match loaded {
        Ok((policy, text)) => {
            let (digest, rules) = (policy.digest(), policy.rules().len());
            keep(&context.store, text)
                .await
                .map_err(|e| e.to_string())?;
            let s = context.clone();
            let detail = json!({"digest": digest, "rules": rules});
            let audited = context
                .store
                .write(DURABLE, "audit", move |c| {
                    s.journal
                        .audit(c, AuditKind::PolicyLoaded, "policy", detail)
                })
                .await;
            audited.map_err(|e| e.to_string())?;
            book.set(policy);
            judge(context, book, offered);
            let message = format!("Policy {digest:?} is in force: {rules} rules");
            context
                .journal
                .record(
                    Event::PolicyLoaded,
                    Severity::Info,
                    &message,
                    json!({"digest": digest}),
                )
                .await;
            Ok(())
        }
        Err(why) => {
            book.refuse(why.clone());
            let message = format!("The policy file is refused, the last good policy stays: {why}");
            context
                .journal
                .record(
                    Event::PolicyRefused,
                    Severity::Critical,
                    &message,
                    json!({}),
                )
                .await;
            Err(why)
        }
    }
}
