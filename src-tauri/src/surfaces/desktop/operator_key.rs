//! The person at this desktop: with a new identity they get an operator key in the same place, enrolled
//! at this node. A note in the state directory says that this is still to be done; it is written before
//! the identity and goes when the person is enrolled, so that a start which was cut short, or whose
//! keychain was closed, is finished by a later one. A directory that the window did not begin, a
//! demonstration, and a person who was revoked are left as they are.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::adapters::clock::{Clock as _, SystemClock};
use crate::adapters::files;
use crate::adapters::keystore::keychain::{Keychain, identity_is_ours};
use crate::adapters::keystore::{self, KeyError, OperatorCard, Passphrase};
use crate::adapters::paths::{PathError, StateDir};
use crate::adapters::random::SharedRandom;
use crate::domain::base::limits::SMALL_FILE_MAX_BYTES;
use crate::domain::base::text::one_line;
use crate::operator::Door;
use crate::operator::dto::{OperatorEnroll, OperatorView};

/// The marker file in the state directory while the person is not enrolled yet.
const NOTE: &str = "desktop-first-start";
/// Longest name of a person, in characters.
const NAME_CHARS: usize = 64;

/// Where new keys are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In the system's keychain.
    Keychain,
    /// In owner-only files.
    File,
}

fn note(dir: &StateDir) -> PathBuf {
    dir.root().join(NOTE)
}

/// Notes down, before a first start makes the identity, that the person comes after it.
///
/// # Errors
/// The system's error.
pub(super) fn begin(dir: &StateDir) -> Result<(), PathError> {
    if dir.identity_file().exists() {
        return Ok(());
    }
    dir.prepare()?;
    dir.write_private(
        &note(dir),
        b"the operator key of this desktop is still to be made\n",
    )
}

/// A headless demo puts its operator key under a passphrase for browsers; in the window a press decides.
fn take_off_demo_passphrase(dir: &StateDir) -> Result<(), String> {
    let kept = files::read_text(&dir.demo_passphrase_file(), SMALL_FILE_MAX_BYTES);
    let card = keystore::operator_card(dir).map_err(|e| e.to_string())?;
    let (Ok(kept), true) = (kept, card.is_some_and(|card| card.protected)) else {
        return Ok(());
    };
    let known = Passphrase::new(Zeroizing::new(kept.trim().to_owned()));
    // A person's own passphrase is not the demo's, and stays.
    let _ = keystore::unprotect_operator_key(dir, &known);
    Ok(())
}

/// Makes the person's key and enrols it, if that is still to be done here.
///
/// # Errors
/// Why it could not be done now, as a sentence; a later start tries again.
pub(super) async fn finish(
    door: &Door,
    keychain: &Keychain,
    dir: &StateDir,
    home: Home,
) -> Result<(), String> {
    if door.context().config.demo {
        return take_off_demo_passphrase(dir);
    }
    let card = keystore::operator_card(dir).map_err(|e| e.to_string())?;
    let people = door.operators().await.map_err(|e| e.to_string())?;
    if !is_due(dir, card.as_ref(), &people)? {
        let _ = std::fs::remove_file(note(dir));
        return Ok(());
    }
    let (public_key, name) = match card {
        Some(card) => (card.public.to_text(), card.name),
        None => make(keychain, dir, home).await?,
    };
    let enroll = OperatorEnroll {
        public_key,
        name,
        person: None,
        level: "L2".to_owned(),
        days: None,
    };
    let enrolled = door.operator_enroll(&enroll).await;
    enrolled.map_err(|e| e.to_string())?;
    let _ = std::fs::remove_file(note(dir));
    Ok(())
}

/// Whether the person is still to be enrolled: the first start of this window was not finished, or an
/// earlier version left an identity in the keychain and no operator.
fn is_due(
    dir: &StateDir,
    card: Option<&OperatorCard>,
    people: &[OperatorView],
) -> Result<bool, String> {
    let known: Vec<_> = people
        .iter()
        .filter(|p| p.counts || p.revoked_at.is_some())
        .collect();
    // A key that was ever enrolled here, revoked or not, is not enrolled again.
    if card.is_some_and(|c| known.iter().any(|p| p.operator_id == c.id.to_string())) {
        return Ok(false);
    }
    let begun = note(dir).exists();
    let ours = || identity_is_ours(dir).map_err(|e| e.to_string());
    Ok(begun || (known.is_empty() && ours()?))
}

async fn make(keychain: &Keychain, dir: &StateDir, home: Home) -> Result<(String, String), String> {
    let fresh = SharedRandom::system().bytes().map_err(|e| e.to_string())?;
    let (keychain, dir) = (keychain.clone(), dir.clone());
    let now = SystemClock::default().now();
    let person = std::env::var("USER").unwrap_or_default();
    let person = one_line(person.trim(), NAME_CHARS);
    let person = match person.is_empty() {
        true => "operator".to_owned(),
        false => person,
    };
    let made = tokio::task::spawn_blocking(move || {
        let named = match home {
            Home::Keychain => keychain.create_operator_key(&dir, &person, fresh, now)?,
            Home::File => keystore::create_operator_key(&dir, &person, fresh, now)?,
        };
        Ok::<_, KeyError>((named.key.public().to_text(), named.name))
    });
    let made = made.await.map_err(|e| e.to_string())?;
    made.map_err(|e| e.to_string())
}
