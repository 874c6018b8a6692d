//! A provider's key. It is wiped after use, and never shown: what a server answers is cleaned of it, too.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// How much of the beginning of a key tells enough of it to be hidden, in bytes.
pub(super) const HIDDEN_FROM: usize = 8;

/// See the module.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A key as the operator gave it.
    ///
    /// # Errors
    /// If it cannot stand in a header of a request.
    pub fn new(text: &Zeroizing<String>) -> Result<Self, String> {
        let text = text.trim();
        match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
            true => Ok(Self(Zeroizing::new(text.to_owned()))),
            false => {
                Err("the key is empty or has other than plain printable characters".to_owned())
            }
        }
    }

    /// The key itself, for the header alone.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Identifies this key without revealing it.
    pub fn mark(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// A text without the key in it, nor the beginning of one that was cut off.
    pub fn hide_in(&self, text: &str) -> String {
        let key = self.0.as_str();
        let mut hidden = text.to_owned();
        for length in (HIDDEN_FROM.min(key.len())..=key.len()).rev() {
            if let Some(begin) = key.get(..length) {
                hidden = hidden.replace(begin, "[key]");
            }
        }
        hidden
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a model's key comes from; asked before each request, so that a new one counts at once.
pub type Keys = Arc<dyn Fn() -> Result<Option<Secret>, String> + Send + Sync>;

/// No key.
pub fn no_keys() -> Keys {
    Arc::new(|| Ok(None))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn neither_a_key_nor_the_beginning_of_one_is_told() {
        let key = Secret::new(&Zeroizing::new("sk-0123456789abcdef".to_owned())).unwrap();
        let told = key.hide_in("wrong key sk-0123456789abcdef; got sk-0123456789ab…");
        assert_eq!(told, "wrong key [key]; got [key]…");
    }
}
