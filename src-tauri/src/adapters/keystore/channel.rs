//! Keys of channels, made of the device's key and a random text, so that none lies in a file: a copy of the store alone opens
//! no channel.

use ring::hkdf;
use zeroize::Zeroizing;

use crate::domain::identity::{DeviceKey, OperatorKey};

const SALT: &[u8] = b"clawmesh channel keys v1";

/// The size of a seed.
struct Seed;

impl hkdf::KeyType for Seed {
    fn len(&self) -> usize {
        32
    }
}

/// The key of the channel whose record has this nonce; `None` if no key can be made.
pub fn channel_key(device: &DeviceKey, nonce: &str) -> Option<OperatorKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT);
    let secret = salt.extract(&*device.seed());
    let mut seed = Zeroizing::new([0u8; 32]);
    let use_of = [nonce.as_bytes()];
    let out = secret.expand(&use_of, Seed).ok()?;
    out.fill(&mut *seed).ok()?;
    Some(OperatorKey::from_seed(&seed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_device_and_nonce_has_a_key_of_its_own_and_the_same_again() {
        let (one, other) = (
            DeviceKey::from_seed(&[1; 32]),
            DeviceKey::from_seed(&[2; 32]),
        );
        let id = |device, nonce| channel_key(device, nonce).unwrap().id().clone();
        assert_eq!(id(&one, "a"), id(&one, "a"));
        assert_ne!(id(&one, "a"), id(&one, "b"));
        assert_ne!(id(&one, "a"), id(&other, "a"));
        assert_ne!(id(&one, "a").as_str(), one.id().as_str());
    }
}
