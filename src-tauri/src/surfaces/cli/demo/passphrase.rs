//! The demo's passphrase: the operator key of a headless demo is under one, so that a browser can
//! decide at once, and the demo prints it. It is kept beside the key and so protects nothing more
//! than the directory does. A person puts one of their own there with `operator key unprotect` and `protect`.

use zeroize::Zeroizing;

use super::super::fail::Failure;
use super::super::offline::random;
use crate::adapters::files;
use crate::adapters::keystore::{self, Passphrase};
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::SMALL_FILE_MAX_BYTES;

/// Letters and digits that are not taken for each other; 32 of them.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Groups of four, which make 80 bits.
const GROUPS: usize = 4;

/// The passphrase that a demo keeps in this directory.
pub(crate) fn kept(dir: &StateDir) -> Option<Zeroizing<String>> {
    let text = files::read_text(&dir.demo_passphrase_file(), SMALL_FILE_MAX_BYTES).ok()?;
    let text = Zeroizing::new(text);
    let line = text.lines().next().map(str::trim)?;
    (!line.is_empty()).then(|| Zeroizing::new(line.to_owned()))
}

/// The passphrase of this demo's operator key, made where the key is under none; nothing where a
/// person has chosen their own, or where the key is not in a file.
///
/// # Errors
/// If it cannot be written down or the key cannot be put under it.
pub(crate) fn settle(dir: &StateDir) -> Result<Option<Zeroizing<String>>, Failure> {
    let card = keystore::operator_card(dir).map_err(|e| Failure::key(&e))?;
    let Some(card) = card.filter(|card| !card.in_keychain) else {
        return Ok(None);
    };
    if card.protected {
        let opens = |text: &Zeroizing<String>| {
            keystore::unlock_operator_key(dir, &Passphrase::new(text.clone())).is_ok()
        };
        return Ok(kept(dir).filter(opens));
    }
    // Written to the file first: a key under an unknown passphrase would be lost.
    let text = match kept(dir) {
        Some(text) => text,
        None => make()?,
    };
    dir.write_private(
        &dir.demo_passphrase_file(),
        format!("{}\n", *text).as_bytes(),
    )
    .map_err(Failure::state)?;
    keystore::protect_operator_key(dir, &Passphrase::new(text.clone()))
        .map_err(|e| Failure::key(&e))?;
    Ok(Some(text))
}

fn make() -> Result<Zeroizing<String>, Failure> {
    let bytes = random()?;
    let mut text = Zeroizing::new(String::with_capacity(GROUPS * 5));
    for (at, byte) in bytes.iter().take(GROUPS * 4).enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    Ok(text)
}
