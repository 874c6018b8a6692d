//! Keys of providers and passwords of devices, set and forgotten by a person at the running node. What is written down of it names the credential
//! and the person, never the key; nothing here gives a key out.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::json;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::context::{Context, DURABLE, store_refusal};
use super::inference::Inference;
use crate::adapters::devices::Keeper;
use crate::adapters::keystore::{
    CredentialCard, Credentials, KeyError, SERVICE_DIRECTORY_ENV, credential_name,
    device_public_key, load_device_key,
};
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::CREDENTIAL_MAX_BYTES;
use crate::domain::base::{AuditKind, Code, DeviceId, Refusal};
use crate::node::context::{Event, Severity};

/// The credentials of a running node; one change at a time.
#[derive(Debug)]
pub struct Kept {
    dir: StateDir,
    credentials: Credentials,
    changing: Mutex<()>,
}

impl Kept {
    /// Those of a state directory.
    pub fn new(dir: StateDir, credentials: Credentials) -> Self {
        Self {
            dir,
            credentials,
            changing: Mutex::default(),
        }
    }
}

/// The node as its devices know it, from before it has read who it is.
#[derive(Debug)]
pub struct Own {
    dir: StateDir,
    service: Option<PathBuf>,
    credentials: OnceLock<Credentials>,
}

impl Own {
    /// The node of a state directory; `variables` is its environment.
    pub fn of(dir: StateDir, variables: fn(&str) -> Option<String>) -> Self {
        Self {
            dir,
            service: given_by(variables),
            credentials: OnceLock::new(),
        }
    }

    /// The credentials are open, wherever the device's key was.
    pub fn opened(&self, credentials: Credentials) {
        // They are opened once.
        let _ = self.credentials.set(credentials);
    }
}

impl Keeper for Own {
    fn device(&self) -> Result<DeviceId, String> {
        let public = device_public_key(&self.dir).map_err(|e| e.to_string())?;
        let public = public.ok_or("this node has no identity yet")?;
        Ok(DeviceId::of_public_key(public.as_bytes()))
    }

    fn password(&self, name: &str) -> Result<Zeroizing<String>, String> {
        let found = match self.credentials.get() {
            Some(credentials) => credentials.get(name),
            // A key in a keychain is an error here: it may wait for a person.
            None => load_device_key(&self.dir).and_then(|key| match key {
                Some(key) => Credentials::new(&self.dir, &key, self.service.as_deref())?.get(name),
                None => Ok(None),
            }),
        };
        let found = found.map_err(|e| e.to_string())?;
        found.ok_or_else(|| {
            format!(
                "there is no credential {name}: set it with `clawmesh-node credential set {name}`"
            )
        })
    }
}

/// Where the service manager has put what it gives to this process, if one has.
pub fn given_by(variables: fn(&str) -> Option<String>) -> Option<PathBuf> {
    let named = variables(SERVICE_DIRECTORY_ENV);
    named.filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Seals what was sealed with an earlier key with the one in use, and tells what does not open. A fault of the file is told
/// and stays: the node runs without them.
pub fn take_over(credentials: &Credentials) {
    match credentials.take_over() {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "credentials are sealed with the key in use now"),
        Err(error) => tracing::warn!(%error, "the credentials stay sealed as they are"),
    }
    for (name, why) in credentials.closed().unwrap_or_default() {
        tracing::warn!(name, why, "a credential does not open");
    }
}

fn refused(error: &KeyError) -> Refusal {
    Refusal::new(Code::StorageFailed, error.to_string())
}

/// Work on the file, off the threads of the network.
async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| refused(&error)),
        Err(error) => Err(Refusal::new(Code::InternalError, error.to_string())),
    }
}

/// Every credential by name, without its key.
///
/// # Errors
/// `STORAGE_FAILED` where the file cannot be read.
pub async fn list(kept: &Kept) -> Result<Vec<CredentialCard>, Refusal> {
    let dir = kept.dir.clone();
    off(move || Credentials::list(&dir)).await
}

/// Sets the key of a name; it counts from the next question on.
///
/// # Errors
/// `INVALID_PARAMS` for a name or key that is none, `STORAGE_FAILED` where it cannot be kept.
pub async fn set(
    context: &Context,
    (held, models): (&Kept, &Inference),
    name: &str,
    secret: Zeroizing<String>,
    by: &str,
) -> Result<(), Refusal> {
    let bad = |why: String| Refusal::new(Code::InvalidParams, why);
    credential_name(name).map_err(|why| bad(format!("name: {why}")))?;
    let secret = Zeroizing::new(secret.trim().to_owned());
    let plain = secret.bytes().all(|b| b.is_ascii_graphic());
    if secret.is_empty() || secret.len() > CREDENTIAL_MAX_BYTES || !plain {
        let why = format!(
            "secret: a key has 1 to {CREDENTIAL_MAX_BYTES} letters, digits and signs, without spaces"
        );
        return Err(bad(why));
    }
    let _turn = held.changing.lock().await;
    let (credentials, now) = (held.credentials.clone(), context.now());
    let kept = name.to_owned();
    off(move || credentials.set(&kept, &secret, now)).await?;
    let said = format!("{by} set the key of {name}");
    let kinds = (AuditKind::CredentialSet, Event::CredentialSet);
    written(context, kinds, name, by, &said).await?;
    models.look();
    Ok(())
}

/// Forgets a name.
///
/// # Errors
/// `NOT_FOUND` where it is not set, `STORAGE_FAILED` where it cannot be forgotten.
pub async fn remove(context: &Context, held: &Kept, name: &str, by: &str) -> Result<(), Refusal> {
    let _turn = held.changing.lock().await;
    let (dir, gone) = (held.dir.clone(), name.to_owned());
    if !off(move || Credentials::remove(&dir, &gone)).await? {
        let why = "no key is set under this name";
        return Err(Refusal::new(Code::NotFound, why));
    }
    let said = format!("{by} removed the key of {name}");
    let kinds = (AuditKind::CredentialRemoved, Event::CredentialRemoved);
    written(context, kinds, name, by, &said).await
}

async fn written(
    context: &Context,
    (kind, event): (AuditKind, Event),
    name: &str,
    by: &str,
    message: &str,
) -> Result<(), Refusal> {
    let detail = json!({"name": name, "by": by});
    let (s, data, subject) = (context.clone(), detail.clone(), name.to_owned());
    let write = move |c: &rusqlite::Connection| s.journal.audit(c, kind, &subject, detail);
    let stored = context.store.write(DURABLE, "credential", write).await;
    stored.map_err(|e| store_refusal(&e))?;
    let journal = &context.journal;
    journal
        .record(event, Severity::Warning, message, data)
        .await;
    Ok(())
}
