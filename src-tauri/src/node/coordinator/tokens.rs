//! Tokens of the coordinator. The one of its owner lies with the credentials and is read at each use, so that another one counts at
//! once. That of an agent is made of a secret key, the agent's id and a number of its registration: it is kept nowhere.

use ring::hmac;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::adapters::keystore::{Credentials, KeyError};
use crate::domain::base::TimeMs;

/// The credential of the owner's token.
const ADMIN: &str = "gateway/--coordinator";
/// The credential of the key that tokens of agents are made with.
const KEY: &str = "gateway/--coordinator-key";

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    use std::fmt::Write as _;
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn kept(
    credentials: &Credentials,
    name: &str,
    random: &[u8],
    now: TimeMs,
    anew: bool,
) -> Result<Zeroizing<String>, KeyError> {
    if let Some(token) = credentials.get(name)?.filter(|_| !anew) {
        return Ok(token);
    }
    let token = hex(random);
    credentials.set(name, &token, now)?;
    Ok(token)
}

/// The owner's token; made of `random` where there is none, or another one is wanted.
///
/// # Errors
/// What is wrong with the credentials.
pub fn admin(
    credentials: &Credentials,
    random: [u8; 32],
    now: TimeMs,
    anew: bool,
) -> Result<Zeroizing<String>, KeyError> {
    let random = Zeroizing::new(random);
    kept(credentials, ADMIN, &random[..], now, anew)
}

/// Whether a token is the owner's.
///
/// # Errors
/// What is wrong with the credentials.
pub(super) fn is_admin(credentials: &Credentials, token: &str) -> Result<bool, KeyError> {
    let own = credentials.get(ADMIN)?;
    Ok(own.is_some_and(|own| same(&own, token)))
}

/// Makes the tokens of agents.
pub(super) struct Maker(hmac::Key);

impl Maker {
    /// With the key that is kept; with one of `random` where there is none.
    pub(super) fn open(
        credentials: &Credentials,
        random: [u8; 32],
        now: TimeMs,
    ) -> Result<Self, KeyError> {
        let random = Zeroizing::new(random);
        let key = kept(credentials, KEY, &random[..], now, false)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))
    }

    /// The token of an agent.
    pub(super) fn token(&self, id: &str, registration: u64) -> Zeroizing<String> {
        let words = format!("claw-mesh agent\0{id}\0{registration}");
        let tag = hmac::sign(&self.0, words.as_bytes());
        hex(tag.as_ref().get(..16).unwrap_or_default())
    }
}

/// Compares in a time that says nothing of where two tokens differ.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_an_agent_is_of_one_registration() {
        let maker = Maker(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
        let token = maker.token("node-1", 1);
        assert_eq!(token.len(), 32);
        assert!(same(&token, &maker.token("node-1", 1)));
        for (id, registration) in [("node-1", 2), ("node-2", 1)] {
            assert!(!same(&token, &maker.token(id, registration)));
        }
        assert!(!same(&token, "") && !same(&token, &token[..31]));
    }
}
