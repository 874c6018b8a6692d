//! What connections to gateways keep: tokens and the key by which gateways know this node in the credentials, sealed, and the
//! gateways' own ids in the store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

use super::saved;
use crate::adapters::gateway::{Keeper, Secrets};
use crate::adapters::keystore::{Credentials, KeyError};
use crate::node::context::{Context, DURABLE};

/// The credential of the key by which every gateway knows this node. It is not the node's own key, which signs for the mesh.
const KEY: &str = "gateway/--key";

/// The credential of the token that a person gave.
pub(super) fn token_name(id: &str) -> String {
    format!("gateway/{id}")
}

/// The credential of the token that the gateway gave.
pub(super) fn own_name(id: &str) -> String {
    format!("gateway/{id}--device")
}

/// Work on the file of the credentials, off the threads of the network.
pub(super) async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Keeps what the connection to one gateway needs.
pub(super) struct Keeping {
    pub id: String,
    pub context: Context,
    pub credentials: Credentials,
}

impl Keeping {
    async fn kept(&self) -> Result<Secrets, String> {
        let id = self.id.clone();
        let read = self.context.store.read("gateways", saved::read).await;
        let all = read.map_err(|error| error.to_string())?;
        let identity = all.into_iter().find(|one| one.id == id);
        let identity = identity.and_then(|one| one.identity);
        let (credentials, random) = (self.credentials.clone(), self.context.random.clone());
        let now = self.context.now();
        off(move || {
            let held = match credentials.get(KEY)? {
                Some(text) => URL_SAFE_NO_PAD
                    .decode(text.as_bytes())
                    .ok()
                    .map(Zeroizing::new)
                    .and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok()),
                None => None,
            };
            let seed = match held {
                Some(seed) => Zeroizing::new(seed),
                None => {
                    let seed = random.bytes::<32>().map_err(|error| KeyError::Passphrase {
                        why: error.to_string(),
                    })?;
                    let seed = Zeroizing::new(seed);
                    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(&seed[..]));
                    credentials.set(KEY, &text, now)?;
                    seed
                }
            };
            Ok(Secrets {
                seed,
                token: credentials.get(&token_name(&id))?,
                device_token: credentials.get(&own_name(&id))?,
                identity,
            })
        })
        .await
    }
}

impl Keeper for Keeping {
    fn secrets(&self) -> BoxFuture<'_, Result<Secrets, String>> {
        Box::pin(self.kept())
    }

    fn keep_token(&self, token: Option<Zeroizing<String>>) -> BoxFuture<'_, Result<(), String>> {
        let (credentials, name) = (self.credentials.clone(), own_name(&self.id));
        let (dir, now) = (self.context.state_dir(), self.context.now());
        Box::pin(off(move || match token {
            Some(token) => credentials.set(&name, &token, now),
            None => {
                let dir = crate::adapters::paths::StateDir::at(&dir);
                Credentials::remove(&dir, &name).map(drop)
            }
        }))
    }

    fn keep_identity(&self, identity: String) -> BoxFuture<'_, Result<(), String>> {
        let id = self.id.clone();
        let keep = move |c: &rusqlite::Connection| {
            let mut all = saved::read(c)?;
            for one in all.iter_mut().filter(|one| one.id == id) {
                one.identity = Some(identity.clone());
            }
            saved::write(c, &all)
        };
        Box::pin(async move {
            let kept = self.context.store.write(DURABLE, "gateway", keep).await;
            kept.map_err(|error| error.to_string())
        })
    }
}
