//! A person's key under a passphrase: PBKDF2-HMAC-SHA256 makes a key of the passphrase, with which
//! ChaCha20-Poly1305 seals the secret half. The other fields of the file are its associated data, so
//! that no part can be exchanged unseen.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{aead, pbkdf2};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::domain::base::limits::{PASSPHRASE_MAX_BYTES, PASSPHRASE_MIN_CHARS};

/// Rounds of new files.
const ITERATIONS: u32 = 600_000;
/// Most rounds that are tried: a planted file must not keep the node busy.
const ITERATIONS_MAX: u32 = 6_000_000;
const KDF: &str = "pbkdf2-hmac-sha256";
const CIPHER: &str = "chacha20-poly1305";

/// A typed passphrase. Wiped after use and never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase as it was typed.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Whether it may protect a key.
    ///
    /// # Errors
    /// The fault, as text.
    pub fn good_enough(&self) -> Result<(), String> {
        if self.0.chars().count() < PASSPHRASE_MIN_CHARS {
            return Err(format!(
                "a passphrase has at least {PASSPHRASE_MIN_CHARS} characters"
            ));
        }
        if self.0.len() > PASSPHRASE_MAX_BYTES {
            return Err(format!(
                "a passphrase has at most {PASSPHRASE_MAX_BYTES} bytes"
            ));
        }
        Ok(())
    }

    /// Whether two are the same, for the person who types one twice.
    pub fn same_as(&self, other: &Passphrase) -> bool {
        *self.composed() == *other.composed()
    }

    /// It in the Unicode form NFC, in which secrets are sealed (RFC 8265 §4.2.2): keyboards differ in
    /// how they write `ä`.
    fn composed(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.nfc().collect())
    }

    /// The forms in which it may have been used, each once: a secret that an earlier version sealed is
    /// under the form that was typed then.
    fn forms(&self) -> Vec<Zeroizing<String>> {
        let mut forms = vec![self.composed()];
        for other in [Zeroizing::new(self.0.nfd().collect()), self.0.clone()] {
            if !forms.contains(&other) {
                forms.push(other);
            }
        }
        forms
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(secret)")
    }
}

/// A sealed secret as it lies in the key file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Sealed {
    kdf: String,
    iterations: u32,
    salt: String,
    cipher: String,
    nonce: String,
    text: String,
}

/// Why a sealed secret did not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// The passphrase is another one, or the file was altered; the two are indistinguishable.
    Wrong,
    /// The file is not as this program writes it.
    Malformed(String),
}

/// Associated data of the sealed secret.
fn bound(subject: &str, iterations: u32) -> String {
    format!("clawmesh operator key v2\n{subject}\n{KDF}\n{iterations}\n{CIPHER}")
}

fn sealing_key(passphrase: &str, salt: &[u8], iterations: NonZeroU32) -> Option<aead::LessSafeKey> {
    let mut key = Zeroizing::new([0u8; 32]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(
        algorithm,
        iterations,
        salt,
        passphrase.as_bytes(),
        &mut *key,
    );
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &*key).ok()?;
    Some(aead::LessSafeKey::new(key))
}

/// Seals a secret; `subject` names whose it is. `None` if the system gives no random bytes.
pub(super) fn seal(secret: &[u8; 32], passphrase: &Passphrase, subject: &str) -> Option<Sealed> {
    let (mut salt, mut nonce) = ([0u8; 16], [0u8; 12]);
    getrandom::fill(&mut salt).ok()?;
    getrandom::fill(&mut nonce).ok()?;
    let key = sealing_key(&passphrase.composed(), &salt, NonZeroU32::new(ITERATIONS)?)?;
    let mut text = Zeroizing::new(secret.to_vec());
    // Room for the tag, so that the plain bytes are not left behind by a move.
    let mut sealed = Zeroizing::new(Vec::with_capacity(secret.len() + 16));
    sealed.append(&mut text);
    let aad = aead::Aad::from(bound(subject, ITERATIONS));
    key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aad, &mut *sealed)
        .ok()?;
    Some(Sealed {
        kdf: KDF.to_owned(),
        iterations: ITERATIONS,
        salt: URL_SAFE_NO_PAD.encode(salt),
        cipher: CIPHER.to_owned(),
        nonce: URL_SAFE_NO_PAD.encode(nonce),
        text: URL_SAFE_NO_PAD.encode(&*sealed),
    })
}

/// Opens a sealed secret. Takes some tenths of a second: keep it off the async threads.
///
/// # Errors
/// [`NotOpened`].
pub(super) fn open(
    sealed: &Sealed,
    passphrase: &Passphrase,
    subject: &str,
) -> Result<Zeroizing<[u8; 32]>, NotOpened> {
    let odd = |what: &str| NotOpened::Malformed(format!("{what} is not what this program writes"));
    if sealed.kdf != KDF || sealed.cipher != CIPHER {
        return Err(odd("kdf or cipher"));
    }
    let rounds = NonZeroU32::new(sealed.iterations)
        .filter(|n| (ITERATIONS..=ITERATIONS_MAX).contains(&n.get()))
        .ok_or_else(|| odd("iterations"))?;
    let bytes = |text: &str, name: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| odd(name));
    let salt = bytes(&sealed.salt, "salt")?;
    let nonce: [u8; 12] = bytes(&sealed.nonce, "nonce")?
        .try_into()
        .map_err(|_| odd("nonce"))?;
    let secret = bytes(&sealed.text, "text")?;
    for form in passphrase.forms() {
        let mut text = Zeroizing::new(secret.clone());
        let key = sealing_key(&form, &salt, rounds).ok_or_else(|| odd("key"))?;
        let aad = aead::Aad::from(bound(subject, sealed.iterations));
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        if let Ok(plain) = key.open_in_place(nonce, aad, &mut text) {
            return <[u8; 32]>::try_from(&*plain)
                .map(Zeroizing::new)
                .map_err(|_| odd("text"));
        }
    }
    Err(NotOpened::Wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn phrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn only_the_right_passphrase_opens_and_nothing_can_be_exchanged() {
        let sealed = seal(&[7; 32], &phrase("correct horse"), "ada").unwrap();
        let other = seal(&[7; 32], &phrase("correct horse"), "ada").unwrap();
        assert_ne!(sealed.text, other.text);
        assert_eq!(
            *open(&sealed, &phrase("correct horse"), "ada").unwrap(),
            [7; 32]
        );
        let wrong = NotOpened::Wrong;
        assert_eq!(
            open(&sealed, &phrase("correct hors"), "ada").unwrap_err(),
            wrong
        );
        assert_eq!(
            open(&sealed, &phrase("correct horse"), "eve").unwrap_err(),
            wrong
        );
        let mixed = Sealed {
            salt: other.salt.clone(),
            ..sealed.clone()
        };
        assert_eq!(
            open(&mixed, &phrase("correct horse"), "ada").unwrap_err(),
            wrong
        );
        for bad in [
            Sealed {
                iterations: 1,
                ..sealed.clone()
            },
            Sealed {
                iterations: u32::MAX,
                ..sealed.clone()
            },
            Sealed {
                kdf: "none".into(),
                ..sealed.clone()
            },
            Sealed {
                nonce: "AA".into(),
                ..sealed.clone()
            },
        ] {
            let error = open(&bad, &phrase("correct horse"), "ada").unwrap_err();
            assert!(matches!(error, NotOpened::Malformed(_)), "{error:?}");
        }
    }

    #[test]
    fn one_passphrase_opens_in_whichever_form_a_keyboard_writes_it() {
        let (composed, apart) = (
            phrase("sch\u{e4}fer am see"),
            phrase("scha\u{308}fer am see"),
        );
        assert!(composed.same_as(&apart));
        let sealed = seal(&[7; 32], &apart, "ada").unwrap();
        assert_eq!(*open(&sealed, &composed, "ada").unwrap(), [7; 32]);
        assert_eq!(*open(&sealed, &apart, "ada").unwrap(), [7; 32]);
        assert_eq!(phrase("plain ascii").forms().len(), 1);
        assert_eq!(apart.forms().len(), 2);
    }

    #[test]
    fn a_short_passphrase_protects_nothing_and_none_is_shown() {
        assert!(phrase("1234567").good_enough().is_err());
        assert!(phrase("12345678").good_enough().is_ok());
        assert!(
            phrase(&"x".repeat(PASSPHRASE_MAX_BYTES + 1))
                .good_enough()
                .is_err()
        );
        assert!(!format!("{:?}", phrase("hush hush")).contains("hush"));
    }
}
