//! Ids as types: a device id can never be passed where a proposal id is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::limits::NAME_MAX_BYTES;

/// Why a text is not the id it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {want}, got {got:?}")]
pub struct IdError {
    what: &'static str,
    want: &'static str,
    got: String,
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_MAX_BYTES
        && text.chars().all(|c| !c.is_control() && !c.is_whitespace())
}

/// Whether a text reads as the id of a device, whole or short. It is the name of none.
pub fn reads_as_id(text: &str) -> bool {
    matches!(text.len(), 12 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $want:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The full text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve characters, for people; never for comparison.
            pub fn short(&self) -> &str {
                self.0.get(..12).unwrap_or(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let ok: fn(&str) -> bool = $ok;
                if ok(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { what: $what, want: $want, got: shown(text) })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A device: lowercase hex SHA-256 of its raw Ed25519 public key (gen-1 §3).
    DeviceId, "device id", "64 lowercase hex digits", is_hex64
);
text_id!(
    /// A person's operator key: lowercase hex SHA-256 of the raw Ed25519 public key.
    OperatorId, "operator id", "64 lowercase hex digits", is_hex64
);
text_id!(
    /// A mesh: hex SHA-256 of `clawmesh|mesh|<name>`, or a random UUID where no name was given.
    MeshId, "mesh id", "1 to 128 visible characters without spaces", is_plain
);
text_id!(
    /// A context frame's id as its origin chose it; a UUID from our nodes, any short text from others.
    FrameId, "frame id", "1 to 128 visible characters without spaces", is_plain
);
text_id!(
    /// A proposal, minted by the executor that will act.
    ProposalId, "proposal id", "1 to 128 visible characters without spaces", is_plain
);
text_id!(
    /// A draft, named by the asker; the executor uses it to recognise a repeated request.
    DraftId, "draft id", "1 to 128 visible characters without spaces", is_plain
);

impl DeviceId {
    /// The id that belongs to a raw Ed25519 public key.
    pub fn of_public_key(raw: &[u8; 32]) -> Self {
        Self(super::canonical::Digest::of(&[raw]).to_hex())
    }
}

/// How the accounts of [`DeviceId::at_address`] begin. That an id of a key begins so has a chance of one in 2^64.
pub const AT_ADDRESS: &str = "0000000000000000";

impl DeviceId {
    /// The account of an unproven peer at an address of this device. It stands in place of a device id; it is the
    /// id of no device.
    pub fn at_address(&self) -> Self {
        let whose = self.0.get(..64 - AT_ADDRESS.len()).unwrap_or_default();
        Self(format!("{AT_ADDRESS}{whose}"))
    }

    /// Whether this is such an account.
    pub fn is_at_address(&self) -> bool {
        self.0.starts_with(AT_ADDRESS)
    }

    /// Whether this is the account of an address of that device.
    pub fn is_address_of(&self, device: &Self) -> bool {
        let whose = self.0.strip_prefix(AT_ADDRESS);
        whose.is_some_and(|whose| device.0.starts_with(whose))
    }

    /// Who it is, for people.
    pub fn who(&self) -> String {
        match self.is_at_address() {
            false => format!("device {}", self.short()),
            true => format!(
                "whoever answers at an address of device {}",
                self.0.get(16..28).unwrap_or_default()
            ),
        }
    }
}

impl OperatorId {
    /// The id that belongs to a raw Ed25519 public key.
    pub fn of_public_key(raw: &[u8; 32]) -> Self {
        Self(super::canonical::Digest::of(&[raw]).to_hex())
    }
}

impl MeshId {
    /// The id of a named mesh (gen-1 §5.2).
    pub fn of_name(name: &str) -> Self {
        Self(super::canonical::Digest::of(&[b"clawmesh|mesh|", name.as_bytes()]).to_hex())
    }
}

macro_rules! from_uuid {
    ($($name:ident),*) => { $(
        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id.to_string())
            }
        }
    )* };
}
from_uuid!(FrameId, ProposalId, DraftId, MeshId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesh_id_of_a_name_is_the_gen1_hash() {
        // The recorded nodes were started with `--mesh-name lab`; any name gives 64 hex digits.
        assert!(is_hex64(MeshId::of_name("demo").as_str()));
        assert_ne!(MeshId::of_name("demo"), MeshId::of_name("demo2"));
    }

    #[test]
    fn the_account_of_an_address_is_no_devices_and_tells_whose_address_it_is() {
        let device = DeviceId::of_public_key(&[7; 32]);
        let account = device.at_address();
        assert!(account.is_at_address() && !device.is_at_address());
        assert!(account.as_str().parse::<DeviceId>().is_ok());
        assert!(account.who().contains(device.short()));
        let other = DeviceId::of_public_key(&[8; 32]);
        assert!(account.is_address_of(&device) && !account.is_address_of(&other));
    }

    #[test]
    fn ids_refuse_what_could_confuse() {
        for bad in ["", "has space", "a\nb", &"x".repeat(129)] {
            assert!(bad.parse::<FrameId>().is_err(), "{bad:?}");
        }
        for bad in ["", "ABCDEF", &"A".repeat(64), &"0".repeat(63)] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }
}
