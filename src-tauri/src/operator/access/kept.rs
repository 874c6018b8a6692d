//! Sessions of browsers of other machines outlast a restart of the node, or a phone in the field would be shut out by an
//! update: their hashes lie in an owner-only file, which no backup has. What has ended is gone from it before that is said.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::sessions::{Browsers, Maker, PushNotes, Seat, Session, SessionId};
use crate::adapters::files;
use crate::adapters::notify::{BrowserKeys, Endpoint, Subscription};
use crate::adapters::paths::{StateDir, write_private};
use crate::domain::admission::budget::Bucket;
use crate::domain::base::limits::{
    AWAY_SESSION_NOTED_MS, AWAY_SESSION_TTL_MS, AWAY_SESSIONS_FILE_MAX_BYTES,
    AWAY_SESSIONS_RETRY_MS, NAME_MAX_BYTES, SESSIONS_LOOK_MS,
};
use crate::domain::base::{Code, Refusal, TimeMs};
use crate::node::context::Context;
use crate::node::context::timekeeping::high_water;
use crate::node::push::{Language, Phones, without_place};
use crate::operator::{Answer, Door};

/// What is on disk of the sessions in memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    changes: u64,
    written: u64,
    seen_at: TimeMs,
    /// The number of the list that was written last. The store has it too, so that an older file that somebody puts back is
    /// known and brings nobody in again.
    epoch: u64,
}

impl Noted {
    /// A session began or ended.
    pub(super) fn changed(&mut self, away: bool) {
        self.changes += u64::from(away);
    }

    /// A session was used.
    pub(super) fn used(&mut self, away: bool, now: TimeMs) {
        if away && now.since(self.seen_at) >= AWAY_SESSION_NOTED_MS {
            self.seen_at = now;
            self.changes += 1;
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    hash: String,
    by: Maker,
    scope: Scope,
    name: String,
    since: u64,
    seen_at: u64,
    from: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    push: Option<KeptPush>,
}

/// Where the browser of a session hears by push.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptPush {
    endpoint: String,
    p256dh: String,
    auth: String,
    #[serde(default)]
    language: Language,
}

impl KeptPush {
    fn of((subscription, language): &(Subscription, Language)) -> Self {
        let (p256dh, auth) = subscription.keys.written();
        Self {
            endpoint: subscription.endpoint.reveal(),
            p256dh,
            auth,
            language: *language,
        }
    }

    fn read(self) -> Option<(Subscription, Language)> {
        let endpoint = Endpoint::parse(&self.endpoint).ok()?;
        let keys = BrowserKeys::of(&self.p256dh, &self.auth).ok()?;
        Some((Subscription { endpoint, keys }, self.language))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    epoch: u64,
    sessions: Vec<Kept>,
}

impl Kept {
    fn seat(self) -> Option<Seat> {
        let hash = URL_SAFE_NO_PAD.decode(&self.hash).ok()?.try_into().ok()?;
        let good = self.name.len() <= NAME_MAX_BYTES && !self.name.chars().any(char::is_control);
        good.then(|| Seat {
            session: Session {
                id: SessionId(hash),
                by: self.by,
                scope: self.scope,
                name: self.name,
                // Made of the cookie when it comes.
                csrf: String::new(),
                expires_at: TimeMs(self.since).plus(AWAY_SESSION_TTL_MS),
                away: true,
            },
            started_at: TimeMs(self.since),
            seen_at: TimeMs(self.seen_at),
            from: self.from,
            push: self.push.and_then(KeptPush::read),
            pushes: PushNotes::default(),
            changes: Bucket::new(TimeMs(self.seen_at)),
        })
    }
}

impl Browsers {
    /// No sessions but those of other machines that the last run had; none where the node is not open for them.
    /// A list that is older than the one with the number `epoch` has sessions that were ended since: none of it counts.
    /// Those whose time was up by `lived`, a time that the node has lived through, have ended.
    pub fn restored(dir: &StateDir, open: bool, epoch: u64, lived: TimeMs) -> Self {
        let (browsers, file) = (Self::default(), dir.away_sessions_file());
        if !open {
            // Whoever opens it again later starts with nobody.
            if let Err(error) = std::fs::remove_file(&file)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(%error, file = %file.display(), "sessions of other machines could not be deleted");
            }
            return browsers;
        }
        match read(&file) {
            Ok(kept) if kept.epoch < epoch => {
                let (found, file) = (kept.epoch, file.display());
                tracing::error!(%file, found, newest = epoch, "the list of sessions of other machines is an older one that was put back; all of them have ended: make new links");
                browsers.lock().kept.epoch = epoch;
            }
            Ok(kept) => {
                browsers.lock().kept.epoch = kept.epoch;
                let seats = kept.sessions.into_iter().filter_map(Kept::seat);
                let mut state = browsers.lock();
                state.seats = seats.map(|seat| (seat.session.id, seat)).collect();
                state.kept.seen_at = lived;
                drop(state);
                browsers.end_old(lived);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                browsers.lock().kept.epoch = epoch;
            }
            Err(error) => {
                browsers.lock().kept.epoch = epoch;
                tracing::warn!(%error, file = %file.display(), "the sessions of other machines do not read; they have ended");
            }
        }
        browsers
    }

    /// Whether the file does not say what is so.
    pub fn is_unwritten(&self) -> bool {
        let state = self.lock();
        state.kept.changes != state.kept.written
    }

    /// Whether it is to be written now, and not by who does so until the disk takes it.
    pub fn is_to_write(&self) -> bool {
        self.is_unwritten() && !self.written_later.load(Ordering::SeqCst)
    }

    /// Writes what is so into the file, and returns the number of that list. Blocks.
    fn write(&self, file: &Path) -> Result<u64, String> {
        let _one_after_the_other = self.writing();
        let (changes, epoch, text) = {
            let state = self.lock();
            let epoch = state.kept.epoch + 1;
            let away = state.seats.iter().filter(|(_, seat)| seat.session.away);
            let sessions = away
                .map(|(id, seat)| Kept {
                    hash: URL_SAFE_NO_PAD.encode(id.0),
                    by: seat.session.by,
                    scope: seat.session.scope,
                    name: seat.session.name.clone(),
                    since: seat.started_at.0,
                    seen_at: seat.seen_at.0,
                    from: seat.from,
                    push: seat.push.as_ref().map(KeptPush::of),
                })
                .collect();
            let text = serde_json::to_vec(&File {
                version: 1,
                epoch,
                sessions,
            });
            (state.kept.changes, epoch, text.map_err(|e| e.to_string())?)
        };
        write_private(file, &text).map_err(|e| e.to_string())?;
        let mut state = self.lock();
        (state.kept.written, state.kept.epoch) = (changes, epoch);
        Ok(epoch)
    }
}

fn read(file: &Path) -> std::io::Result<File> {
    let text = files::read_text(file, AWAY_SESSIONS_FILE_MAX_BYTES)?;
    let kept: File = serde_json::from_str(&text).map_err(std::io::Error::other)?;
    match kept.version {
        1 => Ok(kept),
        other => Err(std::io::Error::other(format!(
            "version {other} is not known here"
        ))),
    }
}

impl Door {
    /// Has the sessions of other machines on the disk as they are.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` where the disk does not take them: what has ended would come back with a start before it does. It is
    /// written again until it is taken.
    pub async fn keep_sessions(&self, browsers: &Arc<Browsers>) -> Answer<()> {
        keep(self.context(), self.handles.alerts.phones(), browsers).await
    }

    /// The number of the newest list of sessions that was written before this start, and the newest time that the node had lived
    /// through by then.
    pub fn sessions_before(&self) -> (u64, TimeMs) {
        self.handles.alerts.phones().before()
    }

    /// Ends sessions as their time runs out, so that a clock that is set back later brings none in again.
    pub fn ends_old_sessions(&self, browsers: &Arc<Browsers>) {
        let (context, browsers) = (self.context().clone(), browsers.clone());
        let phones = self.handles.alerts.phones().clone();
        let looks = async move {
            loop {
                tokio::select! {
                    biased;
                    () = context.tasks.stop().cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(SESSIONS_LOOK_MS)) => {}
                }
                end_old(&context, &phones, &browsers).await;
            }
        };
        let tasks = &self.context().tasks;
        tasks.passing("ends of sessions", looks);
    }
}

/// Ends the sessions whose time was up by the newest time that this node has lived through, and has that on the disk.
async fn end_old(context: &Context, phones: &Phones, browsers: &Arc<Browsers>) {
    match context.store.read("clock", high_water).await {
        Ok(lived) if browsers.end_old(lived) => drop(keep(context, phones, browsers).await),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "which sessions have run out is not known"),
    }
}

/// Has the sessions of other machines on the disk as they are, and that no older list counts; what the disk does not take now
/// is written as soon as it does.
///
/// # Errors
/// As [`Door::keep_sessions`].
pub(crate) async fn keep(
    context: &Context,
    phones: &Phones,
    browsers: &Arc<Browsers>,
) -> Answer<()> {
    let written = keep_once(context, phones, browsers).await;
    written.map_err(|why| {
        if !browsers.written_later.swap(true, Ordering::SeqCst) {
            tracing::error!("the sessions of other machines could not be written and are written later: {why}");
            let later = keep_later(context.clone(), phones.clone(), browsers.clone());
            context.tasks.passing("sessions of browsers", later);
        }
        let why = format!(
            "what became of this session holds, but is not on the disk of the node yet: {why}. The node tries again until it is; after a restart before that, a session that has ended is open again, and a new one is gone"
        );
        Refusal::new(Code::InternalError, why)
    })
}

async fn keep_once(
    context: &Context,
    phones: &Phones,
    browsers: &Arc<Browsers>,
) -> Result<(), String> {
    let file = StateDir::at(&context.state_dir()).away_sessions_file();
    let (there, known) = (file.clone(), browsers.clone());
    let written = tokio::task::spawn_blocking(move || known.write(&there)).await;
    let written = written.unwrap_or_else(|_| Err("the write was cut off".to_owned()));
    let epoch = written.map_err(|why| without_place(&why, &file))?;
    let noted = phones.note_epoch(epoch).await;
    noted.map_err(|refusal| refusal.message)
}

/// Writes the list until the disk takes it, and a last time when the node ends.
async fn keep_later(context: Context, phones: Phones, browsers: Arc<Browsers>) {
    loop {
        let ends = tokio::select! {
            biased;
            () = context.tasks.stop().cancelled() => true,
            () = tokio::time::sleep(Duration::from_millis(AWAY_SESSIONS_RETRY_MS)) => false,
        };
        match keep_once(&context, &phones, &browsers).await {
            Ok(()) => {
                browsers.written_later.store(false, Ordering::SeqCst);
                // Another change may have failed to be written just before that.
                if ends
                    || !browsers.is_unwritten()
                    || browsers.written_later.swap(true, Ordering::SeqCst)
                {
                    return tracing::info!("the sessions of other machines are on disk now");
                }
            }
            Err(why) if ends => {
                return tracing::error!(
                    "the node ends and the sessions of other machines are not on disk; those that were ended come back: {why}"
                );
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::sessions::Place;
    use super::*;
    use crate::domain::base::limits::AWAY_SESSION_IDLE_MS;

    const T: TimeMs = TimeMs(1_000_000_000);

    fn opened(browsers: &Browsers, place: Place) -> (String, Session) {
        let away = place != Place::Here;
        let link = browsers.link(Maker::Owner, Scope::Operate, "ada", away, T);
        browsers.open(&link.unwrap().0, place, T).unwrap()
    }

    #[test]
    fn a_phone_stays_in_over_a_restart_until_it_is_ended_and_this_machine_does_not() {
        let place = tempfile::tempdir().unwrap();
        let dir = StateDir::at(place.path());
        let (file, away) = (
            dir.away_sessions_file(),
            Place::Away("192.0.2.7".parse().unwrap()),
        );
        let browsers = Browsers::restored(&dir, true, 0, T);
        assert!(!browsers.is_unwritten());
        let (cookie, session) = opened(&browsers, away);
        let (here, _) = opened(&browsers, Place::Here);
        assert!(browsers.is_unwritten());
        browsers.write(&file).unwrap();
        assert!(!browsers.is_unwritten());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains(&cookie) && !text.contains(&session.csrf),
            "{text}"
        );

        let again = Browsers::restored(&dir, true, 0, T);
        assert_eq!(again.session(&cookie, away, T).unwrap(), session);
        assert!(again.session(&here, Place::Here, T).is_none());
        assert!(again.end(&session.id));
        again.write(&file).unwrap();
        let ended = Browsers::restored(&dir, true, 0, T);
        assert!(ended.session(&cookie, away, T).is_none());

        browsers.write(&file).unwrap();
        assert!(
            Browsers::restored(&dir, false, 0, T)
                .session(&cookie, away, T)
                .is_none()
        );
        assert!(!file.exists());
    }

    #[test]
    fn an_older_list_that_somebody_puts_back_brings_nobody_in() {
        let place = tempfile::tempdir().unwrap();
        let dir = StateDir::at(place.path());
        let (file, away) = (
            dir.away_sessions_file(),
            Place::Away("192.0.2.7".parse().unwrap()),
        );
        let browsers = Browsers::restored(&dir, true, 0, T);
        let (cookie, session) = opened(&browsers, away);
        browsers.write(&file).unwrap();
        let older = std::fs::read(&file).unwrap();
        assert!(browsers.end(&session.id));
        let epoch = browsers.write(&file).unwrap();
        std::fs::write(&file, older).unwrap();
        let again = Browsers::restored(&dir, true, epoch, T);
        assert!(again.session(&cookie, away, T).is_none());
        // The next list counts on from there.
        let (cookie, _) = opened(&again, away);
        let next = again.write(&file).unwrap();
        assert!(next > epoch);
        let last = Browsers::restored(&dir, true, next, T);
        assert!(last.session(&cookie, away, T).is_some());
    }

    #[test]
    fn one_that_is_too_old_or_damaged_ends() {
        let place = tempfile::tempdir().unwrap();
        let dir = StateDir::at(place.path());
        let (file, away) = (
            dir.away_sessions_file(),
            Place::Away("192.0.2.7".parse().unwrap()),
        );
        let browsers = Browsers::default();
        let (cookie, _) = opened(&browsers, away);
        browsers.write(&file).unwrap();
        // A clock that starts behind lets nobody in and ends nothing.
        let early = Browsers::restored(&dir, true, 0, TimeMs(5));
        assert!(early.session(&cookie, away, TimeMs(6)).is_none());
        assert!(early.session(&cookie, away, T).is_some());
        let late = T.plus(AWAY_SESSION_TTL_MS);
        let again = Browsers::restored(&dir, true, 0, late);
        assert!(again.session(&cookie, away, late).is_none());
        std::fs::write(&file, "{\"version\":1,\"sessions\":[{}]}").unwrap();
        assert!(
            Browsers::restored(&dir, true, 0, T)
                .session(&cookie, away, T)
                .is_none()
        );
    }

    #[test]
    fn a_clock_set_back_brings_no_session_in_that_has_run_out() {
        let place = tempfile::tempdir().unwrap();
        let dir = StateDir::at(place.path());
        let (file, away) = (
            dir.away_sessions_file(),
            Place::Away("192.0.2.7".parse().unwrap()),
        );
        let browsers = Browsers::restored(&dir, true, 0, T);
        let (asked, asked_for) = opened(&browsers, away);
        let (quiet, quiet_one) = opened(&browsers, away);
        browsers.write(&file).unwrap();
        let late = T.plus(AWAY_SESSION_IDLE_MS);
        // One comes too late; that it has ended is to be written, or the next start would know it again.
        assert!(browsers.session(&asked, away, late).is_none());
        assert!(browsers.is_to_write() && !browsers.alive(&asked_for.id, T));
        browsers.write(&file).unwrap();
        assert!(
            Browsers::restored(&dir, true, 0, T)
                .session(&asked, away, T)
                .is_none()
        );
        // The other one never comes; the node lives through its end all the same.
        assert!(!browsers.end_old(TimeMs(late.0 - 1)) && browsers.alive(&quiet_one.id, T));
        assert!(browsers.end_old(late) && browsers.is_to_write());
        browsers.write(&file).unwrap();
        let again = Browsers::restored(&dir, true, 0, T);
        assert!(
            browsers.session(&quiet, away, T).is_none() && again.list(None, None, T).is_empty()
        );
    }

    #[test]
    fn use_is_written_now_and_then() {
        let browsers = Browsers::default();
        let away = Place::Away("192.0.2.7".parse().unwrap());
        let (cookie, _) = opened(&browsers, away);
        let mut noted = 0;
        for hour in 0..24 {
            let now = T.plus(hour * 3_600_000);
            let before = browsers.lock().kept.changes;
            browsers.session(&cookie, away, now).unwrap();
            noted += browsers.lock().kept.changes - before;
        }
        assert_eq!(noted, 4);
    }
}
