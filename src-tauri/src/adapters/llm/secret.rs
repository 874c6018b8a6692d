//! A provider's key. It is wiped after use, and never shown: what a server answers is cleaned of it, too.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

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

    /// A text without the key in it.
    pub fn hide_in(&self, text: &str) -> String {
        text.replace(self.0.as_str(), "[key]")
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
