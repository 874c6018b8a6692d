//! Phones that hear by push: to which of them a message goes, the key by which their push services know this node, and how the
//! last one fared. Which browsers have subscribed is told by who keeps their sessions; a subscription lives as long as its
//! session. It must not know what an alert is, and nothing that comes back decides about anything.

mod outbox;
mod words;

use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, Path};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::future::{BoxFuture, join_all};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, mpsc, oneshot};

pub use self::outbox::run;
use super::context::timekeeping::high_water;
use super::context::{Context, store_refusal};
use crate::adapters::keystore::push_key;
use crate::adapters::notify::{
    Notice, Notifier, OwnServices, Sender, Subscription, Telling, Undelivered, Untold,
};
use crate::adapters::paths::StateDir;
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{PUSH_QUEUE, PUSH_WHY_MAX_CHARS};
use crate::domain::base::text::seen;
use crate::domain::base::{Refusal, TimeMs};

/// Up to which number the lists of sessions of other machines that were written count, in the store.
const EPOCH: &str = "console.sessions";

/// The language in which a phone is told, where its words are this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

/// A phone that hears by push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// Its session, as people and the API name it.
    pub session: String,
    /// The person's name, as the link had it.
    pub person: String,
    /// In which language.
    pub language: Language,
    /// Where it hears.
    pub subscription: Subscription,
    /// When its session ends if it is not used before.
    pub ends_at: TimeMs,
}

/// Who knows which sessions live and which of them have subscribed.
pub trait Sitters: Send + Sync + 'static {
    /// Those that live and have subscribed.
    fn phones(&self) -> Vec<Phone>;

    /// Forgets the subscription of a session, and has that on the disk.
    fn forget<'a>(&'a self, phones: &'a Phones, session: &'a str) -> BoxFuture<'a, ()>;
}

/// How the messages to one phone fare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fared {
    /// When its push service took one last.
    pub taken_at: Option<TimeMs>,
    /// Why the last one was not taken.
    pub problem: Option<String>,
}

/// One message to one phone, and who waits for what becomes of the first try.
struct Post {
    phone: Phone,
    notice: Notice,
    heard: oneshot::Sender<Result<(), Undelivered>>,
}

/// What [`Phones`] gives access to.
struct Parts {
    context: Context,
    before: (u64, TimeMs),
    sitters: OnceLock<Arc<dyn Sitters>>,
    key: OnceCell<Arc<Sender>>,
    post: mpsc::Sender<Post>,
    posted: Mutex<Option<mpsc::Receiver<Post>>>,
    fared: Mutex<BTreeMap<String, Fared>>,
}

/// The phones that hear by push; clones share them.
#[derive(Clone)]
pub struct Phones(Arc<Parts>);

impl Phones {
    /// Nobody hears yet.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn open(context: Context) -> Result<Self, StoreError> {
        let read = |c: &rusqlite::Connection| {
            let kept = kv::get(c, EPOCH)?.and_then(|bytes| bytes.try_into().ok());
            Ok((kept.map_or(0, u64::from_be_bytes), high_water(c)?))
        };
        let before = context.store.read("sessions of browsers", read).await?;
        let (post, posted) = mpsc::channel(PUSH_QUEUE);
        Ok(Self(Arc::new(Parts {
            context,
            before,
            sitters: OnceLock::new(),
            key: OnceCell::new(),
            post,
            posted: Mutex::new(Some(posted)),
            fared: Mutex::default(),
        })))
    }

    /// The number of the newest list of sessions that was written before this start, and the newest time that the node had lived
    /// through by then.
    pub fn before(&self) -> (u64, TimeMs) {
        self.0.before
    }

    /// Notes that a list of sessions with this number was written: an older one counts no more.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn note_epoch(&self, epoch: u64) -> Result<(), Refusal> {
        let work = move |c: &rusqlite::Connection| {
            let kept = kv::get(c, EPOCH)?.and_then(|bytes| bytes.try_into().ok());
            if kept.map_or(0, u64::from_be_bytes) < epoch {
                kv::put(c, EPOCH, &epoch.to_be_bytes())?;
            }
            Ok(())
        };
        let class = super::context::DURABLE;
        let noted = self
            .0
            .context
            .store
            .write(class, "sessions of browsers", work);
        noted.await.map_err(|e| store_refusal(&e))
    }

    /// Says who knows the sessions; the first counts.
    pub fn are_known_by(&self, sitters: Arc<dyn Sitters>) {
        // A second surface over the same node has the same sessions.
        let _ = self.0.sitters.set(sitters);
    }

    /// The push services of this node's own network.
    pub fn own_services(&self) -> OwnServices {
        let console = self.0.context.config.console.as_ref();
        console.map(|c| c.services.clone()).unwrap_or_default()
    }

    /// How push services reach who runs this node.
    fn contact(&self) -> String {
        let console = self.0.context.config.console.as_ref();
        let host = console.and_then(|c| c.hosts.first());
        format!("https://{}", host.map_or("localhost", |h| h.name.as_str()))
    }

    /// The key by which push services know this node; it is made where there is none.
    ///
    /// # Errors
    /// Why it cannot be had.
    async fn key(&self) -> Result<Arc<Sender>, String> {
        let file = StateDir::at(&self.0.context.state_dir()).push_key_file();
        let make = || async {
            let place = file.clone();
            let made = tokio::task::spawn_blocking(move || {
                let fresh = Sender::generate().map_err(|e| e.to_string())?;
                let kept = push_key(&file, &fresh).map_err(|e| e.to_string())?;
                Sender::of(&kept).map_err(|_| format!("{} holds no key for push", file.display()))
            });
            let made = made.await.map_err(|e| e.to_string())?;
            made.map(Arc::new)
                .map_err(|why| without_place(&why, &place))
        };
        self.0.key.get_or_try_init(make).await.cloned()
    }

    /// What a browser subscribes for: the public half of the key.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn public_key(&self) -> Result<String, String> {
        Ok(self.key().await?.public())
    }

    /// The phones of a person, or of everybody.
    fn of(&self, person: Option<&str>) -> Vec<Phone> {
        let known = self.0.sitters.get();
        let mut all = known.map(|known| known.phones()).unwrap_or_default();
        all.retain(|phone| person.is_none_or(|person| phone.person == person));
        all
    }

    /// How the messages to a phone fare.
    pub fn fared(&self, session: &str) -> Fared {
        let all = self.0.fared.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(session).cloned().unwrap_or_default()
    }

    /// Notes how a message fared; of phones that are there no more nothing is kept.
    fn note(&self, session: &str, done: &Result<(), Undelivered>) {
        let now = self.0.context.now();
        let known: Vec<String> = self.of(None).into_iter().map(|p| p.session).collect();
        let mut all = self.0.fared.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|session, _| known.contains(session));
        if known.iter().any(|known| known == session) {
            let one = all.entry(session.to_owned()).or_default();
            match done {
                Ok(()) => (one.taken_at, one.problem) = (Some(now), None),
                Err(why) => one.problem = Some(seen(&why.to_string(), PUSH_WHY_MAX_CHARS)),
            }
        }
    }

    /// Forgets how the messages to a phone fared.
    pub fn is_new(&self, session: &str) {
        let mut all = self.0.fared.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(session);
    }

    /// Tells phones, each once now and those whose push service fails again later; returns what became of the first tries.
    async fn tell(&self, phones: Vec<Phone>, notice: &Notice) -> Vec<Result<(), Undelivered>> {
        let tries = phones.into_iter().map(|phone| async move {
            let full = || Undelivered::Lost("too many messages wait for phones".to_owned());
            let (heard, hears) = oneshot::channel();
            let post = Post {
                phone,
                notice: notice.clone(),
                heard,
            };
            self.0.post.try_send(post).map_err(|_| full())?;
            hears.await.unwrap_or_else(|_| Err(full()))
        });
        join_all(tries).await
    }

    /// Tells one phone, by its session.
    ///
    /// # Errors
    /// Why it was not told.
    pub async fn tell_one(&self, session: &str, notice: &Notice) -> Result<(), Untold> {
        let mut all = self.of(None);
        all.retain(|phone| phone.session == session);
        let told = self.tell(all, notice).await.into_iter().next();
        told.unwrap_or(Err(Undelivered::Gone)).map_err(untold)
    }
}

/// A reason without where on the disk the file lies: a phone reads it.
pub fn without_place(why: &str, file: &Path) -> String {
    let Some(dir) = file.parent() else {
        return why.to_owned();
    };
    let dir = dir.display().to_string();
    if dir.is_empty() {
        return why.to_owned();
    }
    why.replace(&format!("{dir}{MAIN_SEPARATOR}"), "")
        .replace(&dir, "the state directory")
}

impl std::fmt::Debug for Phones {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phones")
    }
}

fn untold(why: Undelivered) -> Untold {
    match why {
        Undelivered::Later(wait) => Untold::Later(wait),
        Undelivered::Lost(why) => Untold::Lost(why),
        gone @ (Undelivered::Gone | Undelivered::Refused(_)) => Untold::Refused(gone.to_string()),
    }
}

/// The phones of a person, or of everybody, as a place where people are told.
#[derive(Debug)]
pub struct ByPush {
    /// The phones.
    pub phones: Phones,
    /// The person; everybody where absent.
    pub person: Option<String>,
    /// Whether nobody may be there without that being a fault.
    pub may_be_empty: bool,
}

impl Notifier for ByPush {
    fn tell<'a>(&'a self, notice: &'a Notice) -> Telling<'a> {
        Box::pin(async move {
            let phones = self.phones.of(self.person.as_deref());
            if phones.is_empty() {
                let whose = self.person.as_ref();
                let whose = whose.map_or(String::new(), |name| format!(" of {name}"));
                return Err(Untold::Refused(format!(
                    "no phone{whose} has push turned on; open the console on it and turn it on in Settings (docs/phone.md)"
                )));
            }
            // One that took it is enough; the others are tried again.
            let mut worst = None;
            for done in self.phones.tell(phones, notice).await {
                match done {
                    Ok(()) => return Ok(()),
                    Err(why) => worst = worst.or(Some(why)),
                }
            }
            worst.map_or(Ok(()), |why| Err(untold(why)))
        })
    }

    fn is_idle(&self) -> bool {
        self.may_be_empty && self.phones.of(self.person.as_deref()).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_for_a_phone_names_the_file_and_not_its_place() {
        let file = Path::new("state").join("push-key.json");
        let why = without_place(&format!("{}: it is no key file", file.display()), &file);
        assert_eq!(why, "push-key.json: it is no key file");
    }
}
