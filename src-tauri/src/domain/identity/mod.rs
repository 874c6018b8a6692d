//! Ed25519 keys of devices and operators: validated on construction, never printed.
//!
//! Two key types that look alike are kept apart on purpose: a device signs handshakes, frames and
//! proposals; an operator signs approvals. No function takes one where the other is meant.

mod cofactored;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature as DalekSignature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::base::{DeviceId, OperatorId};

/// Why a key or signature text is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not base64url without padding of the right length.
    #[error("{what} must be {bytes} bytes as base64url without padding")]
    Encoding {
        /// The item being read.
        what: &'static str,
        /// How many bytes it should have.
        bytes: usize,
    },
    /// The bytes are no point on the curve, or one whose signatures prove nothing.
    #[error("the public key is not a usable Ed25519 key")]
    Point,
}

fn decode<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], KeyError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| KeyError::Encoding { what, bytes: N })?;
    bytes
        .try_into()
        .map_err(|_| KeyError::Encoding { what, bytes: N })
}

/// An Ed25519 public key; base64url without padding in text (gen-1 §3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// A key from its 32 raw bytes; small-order points are refused.
    pub fn from_bytes(raw: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(raw).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            Err(KeyError::Point)
        } else {
            Ok(Self(key))
        }
    }

    /// A key from its text form.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&decode::<32>("a public key", text)?)
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.as_bytes())
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The device id of this key.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::of_public_key(self.as_bytes())
    }

    /// The operator id of this key.
    pub fn operator_id(&self) -> OperatorId {
        OperatorId::of_public_key(self.as_bytes())
    }

    /// Whether `signature` is this key's over `message`, by the strict rules that leave no second
    /// valid form of a signature. Used for handshakes, commands, proposals and approvals.
    pub fn verify_strict(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify_strict(message, &signature.0).is_ok()
    }

    /// Whether `signature` is this key's over `message`, by the rules of RFC 8032 (see `cofactored`).
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        cofactored::holds(message, signature, self)
    }
}

/// Verifies many signatures at once; `true` exactly if [`PublicKey::verify`] says so of every one, in less than half of
/// the time. On `false` the caller finds the culprit with that.
pub fn verify_batch(messages: &[&[u8]], signatures: &[Signature], keys: &[PublicKey]) -> bool {
    cofactored::all_hold(messages, signatures, keys)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_text())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        PublicKey::from_text(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

/// An Ed25519 signature; base64url without padding in text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(DalekSignature);

impl Signature {
    /// A signature from its text form; only the length is checked here.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        Ok(Self(DalekSignature::from_bytes(&decode::<64>(
            "a signature",
            text,
        )?)))
    }

    /// Its raw bytes.
    pub fn to_bytes(&self) -> [u8; 64] {
        self.0.to_bytes()
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.to_bytes())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Signature({}…)",
            self.to_text().get(..8).unwrap_or_default()
        )
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Signature::from_text(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

/// The secret key of this device. Never printed, never serialised here; zeroed when dropped.
pub struct DeviceKey {
    key: SigningKey,
    public: PublicKey,
    id: DeviceId,
}

/// The secret key of a person. Held by the person's client, never by the planner.
pub struct OperatorKey {
    key: SigningKey,
    public: PublicKey,
    id: OperatorId,
}

macro_rules! secret_key {
    ($name:ident, $id:ty, $id_of:ident) => {
        impl $name {
            /// The key grown from 32 random bytes.
            pub fn from_seed(seed: &[u8; 32]) -> Self {
                let key = SigningKey::from_bytes(seed);
                let public = PublicKey(key.verifying_key());
                Self {
                    id: public.$id_of(),
                    key,
                    public,
                }
            }

            /// The 32 secret bytes, for the key store alone.
            pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
                zeroize::Zeroizing::new(self.key.to_bytes())
            }

            /// The public half.
            pub fn public(&self) -> &PublicKey {
                &self.public
            }

            /// The id of the public half.
            pub fn id(&self) -> &$id {
                &self.id
            }

            /// A signature over `message`; the caller puts a domain in front of it.
            pub fn sign(&self, message: &[u8]) -> Signature {
                Signature(self.key.sign(message))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}, secret)", stringify!($name), self.id.short())
            }
        }
    };
}
secret_key!(DeviceKey, DeviceId, device_id);
secret_key!(OperatorKey, OperatorId, operator_id);

impl DeviceKey {
    /// The key as PKCS#8 (RFC 8410), for the certificate of this device; `None` if it cannot be
    /// written. Wiped when dropped.
    pub fn to_pkcs8(&self) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        use ed25519_dalek::pkcs8::EncodePrivateKey as _;
        let document = self.key.to_pkcs8_der().ok()?;
        Some(zeroize::Zeroizing::new(document.as_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed() {
        let key = DeviceKey::from_seed(&[7; 32]);
        let shown = format!("{key:?}");
        assert!(shown.contains("secret"));
        assert!(!shown.contains(&URL_SAFE_NO_PAD.encode([7; 32])));
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        let mut identity_point = [0u8; 32];
        identity_point[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity_point), Err(KeyError::Point));
        assert!(PublicKey::from_text("abc").is_err());
        assert!(PublicKey::from_text(&"=".repeat(43)).is_err());
        assert!(Signature::from_text("").is_err());
    }

    #[test]
    fn a_batch_fails_as_a_whole() {
        let key = DeviceKey::from_seed(&[1; 32]);
        let good = key.sign(b"one");
        let keys = [*key.public(), *key.public()];
        assert!(verify_batch(&[b"one", b"one"], &[good, good], &keys));
        assert!(!verify_batch(&[b"one", b"two"], &[good, good], &keys));
        assert!(key.public().verify_strict(b"one", &good));
        assert!(!key.public().verify_strict(b"two", &good));
    }
}
