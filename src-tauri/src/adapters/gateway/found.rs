//! Gateways that the configuration of OpenClaw on this machine names, for a person to choose from.

use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::adapters::files;
use crate::domain::base::limits::GATEWAY_FILE_MAX_BYTES;

/// The port of a gateway that names none.
const PORT: u16 = 18_789;

/// A gateway that was found.
pub struct Found {
    /// Its address.
    pub url: String,
    /// Where it was found.
    pub place: PathBuf,
    /// Its token, where the file has one in plain text.
    pub token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found({}, {})", self.url, self.place.display())
    }
}

/// Where OpenClaw of this user has its configuration.
fn file_of(variables: fn(&str) -> Option<String>) -> Option<PathBuf> {
    let named = |name: &str| variables(name).filter(|value| !value.is_empty());
    if let Some(file) = named("OPENCLAW_CONFIG_PATH") {
        return Some(PathBuf::from(file));
    }
    if let Some(dir) = named("OPENCLAW_STATE_DIR") {
        return Some(Path::new(&dir).join("openclaw.json"));
    }
    let home = named("HOME").or_else(|| named("USERPROFILE"))?;
    Some(Path::new(&home).join(".openclaw").join("openclaw.json"))
}

fn read(text: &[u8], place: PathBuf) -> Found {
    // Comments and the like are not read; then its usual address is what is known.
    let config: Value = serde_json::from_slice(text).unwrap_or_default();
    let gateway = &config["gateway"];
    let port = gateway["port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok());
    let scheme = match gateway["tls"]["enabled"] == true {
        true => "wss",
        false => "ws",
    };
    let token = gateway["auth"]["token"].as_str();
    // `${NAME}` stands for something that this process does not have.
    let token = token.filter(|t| !t.is_empty() && !t.contains("${"));
    Found {
        url: format!("{scheme}://127.0.0.1:{}", port.unwrap_or(PORT)),
        place,
        token: token.map(|token| Zeroizing::new(token.to_owned())),
    }
}

/// The gateway of this user on this machine, if OpenClaw is set up.
pub fn at_home(variables: fn(&str) -> Option<String>) -> Option<Found> {
    let place = file_of(variables)?;
    let text = Zeroizing::new(files::read(&place, GATEWAY_FILE_MAX_BYTES).ok()?);
    Some(read(&text, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (String, Option<String>) {
        let found = read(text.as_bytes(), PathBuf::from("openclaw.json"));
        (found.url, found.token.map(|token| token.to_string()))
    }

    #[test]
    fn a_configuration_names_port_and_token_and_anything_else_the_usual_port() {
        let usual = ("ws://127.0.0.1:18789".to_owned(), None);
        assert_eq!(
            found(r#"{"gateway": {"port": 18911, "auth": {"token": "abc"}}}"#),
            ("ws://127.0.0.1:18911".to_owned(), Some("abc".to_owned()))
        );
        assert_eq!(
            found(r#"{"gateway": {"auth": {"token": "${TOKEN}"}}}"#),
            usual
        );
        for odd in [
            "",
            "// a comment\n{}",
            r#"{"gateway": {"port": 99999}}"#,
            "[1]",
        ] {
            assert_eq!(found(odd), usual, "{odd}");
        }
    }
}
