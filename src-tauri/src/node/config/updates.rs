//! `[updates]`: where newer releases are looked for. Without this table nothing is asked of anybody.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, value};
use crate::adapters::releases::Releases;

/// `[updates]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawUpdates {
    /// Where releases are: an `https://` address, or a folder.
    pub from: Option<String>,
    /// The public key that they are signed with.
    pub key: Option<String>,
    /// A file with the authorities that prove the address.
    pub ca: Option<PathBuf>,
}

/// Where releases are looked for, if anywhere.
///
/// # Errors
/// If one of the two is missing, or no place or no key.
pub(super) fn resolve(raw: Option<RawUpdates>) -> Result<Option<Releases>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let (Some(from), Some(key)) = (raw.from, raw.key) else {
        let why =
            "needs from, where releases are, and key, the public key that they are signed with";
        return Err(value("updates", why));
    };
    let releases = Releases::new(&from, &key, raw.ca);
    releases.map(Some).map_err(|why| value("updates", why))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::node::RawConfig;

    #[test]
    fn releases_are_looked_for_where_both_are_said() {
        let updates = |text: &str| {
            let raw = RawConfig::parse(text, "config.toml").unwrap();
            raw.resolve(std::path::PathBuf::new()).map(|c| c.updates)
        };
        assert!(updates("").unwrap().is_none());
        for (text, why) in [
            ("[updates]", "needs from"),
            ("[updates]\nfrom = '/media/stick'", "needs from"),
            (
                "[updates]\nfrom = '/media/stick'\nkey = 'x'",
                "no minisign key",
            ),
        ] {
            let said = updates(text).unwrap_err().to_string();
            assert!(said.contains("updates") && said.contains(why), "{said}");
        }
    }
}
