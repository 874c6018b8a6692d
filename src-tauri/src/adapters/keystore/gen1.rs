//! The identity and trusted peers of a gen-1 node, read and never written, for `migrate`.

use std::path::Path;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::KeyError;
use crate::adapters::files;
use crate::domain::base::MeshId;
use crate::domain::base::limits::{
    CONFIG_FILE_MAX_BYTES, KEY_FILE_MAX_BYTES, SMALL_FILE_MAX_BYTES,
};

/// The parts of a gen-1 state directory to import.
#[derive(Debug)]
pub struct Gen1State {
    /// The secret seed of its identity.
    pub seed: Zeroizing<[u8; 32]>,
    /// The devices it trusts.
    pub peers: Vec<Gen1Peer>,
    /// The id of its mesh; a mesh with a name has none there, because the name was given at each start.
    pub mesh: Option<MeshId>,
    /// Files that are there and have no counterpart in our state.
    pub left: Vec<&'static str>,
}

/// Files of a gen-1 node that are not imported.
const NOT_IMPORTED: [&str; 5] = [
    "credentials.json",
    "mesh/gateways.json",
    "mesh/patterns.json",
    "world-model-snapshot.json",
    ".env",
];

/// A peer a gen-1 node trusts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gen1Peer {
    /// The device.
    pub device_id: String,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Its key, where it was pinned.
    #[serde(default)]
    pub public_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    private_key_pem: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Trusted {
    peers: Vec<Gen1Peer>,
}

/// Reads a gen-1 state directory.
///
/// # Errors
/// [`KeyError`] naming the file that is missing or not right.
pub fn read(root: &Path) -> Result<Gen1State, KeyError> {
    let path = root.join("identity/device.json");
    let file = path.display().to_string();
    let damaged = |why: String| KeyError::Damaged {
        file: file.clone(),
        why,
    };
    let text = files::read_text(&path, KEY_FILE_MAX_BYTES).map_err(|source| KeyError::Read {
        file: file.clone(),
        source,
    })?;
    let identity: Identity = serde_json::from_str(&Zeroizing::new(text))
        .map_err(|e| damaged(format!("it is no gen-1 identity: {e}")))?;
    let key = SigningKey::from_pkcs8_pem(&identity.private_key_pem)
        .map_err(|e| damaged(format!("privateKeyPem is no Ed25519 key: {e}")))?;
    let path = root.join("mesh/trusted-peers.json");
    let peers = match files::read_text(&path, CONFIG_FILE_MAX_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            return Err(KeyError::Read {
                file: path.display().to_string(),
                source,
            });
        }
        Ok(text) => {
            let trusted: Trusted = serde_json::from_str(&text).map_err(|e| KeyError::Damaged {
                file: path.display().to_string(),
                why: format!("it is no gen-1 trust store: {e}"),
            })?;
            trusted.peers
        }
    };
    let path = root.join("mesh/mesh-id");
    let mesh = match files::read_text(&path, SMALL_FILE_MAX_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(KeyError::Read {
                file: path.display().to_string(),
                source,
            });
        }
        Ok(text) => {
            let id = text.trim().parse::<MeshId>();
            Some(id.map_err(|why| KeyError::Damaged {
                file: path.display().to_string(),
                why: format!("it holds no mesh id: {why}"),
            })?)
        }
    };
    let left = NOT_IMPORTED.into_iter();
    Ok(Gen1State {
        seed: Zeroizing::new(key.to_bytes()),
        peers,
        mesh,
        left: left.filter(|name| root.join(name).exists()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;

    #[test]
    fn reads_what_a_gen1_node_wrote() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("identity")).unwrap();
        fs::create_dir_all(temp.path().join("mesh")).unwrap();
        let pem = SigningKey::from_bytes(&[3; 32])
            .to_pkcs8_pem(Default::default())
            .unwrap();
        let identity = serde_json::json!({"version": 1, "deviceId": "x", "privateKeyPem": *pem, "createdAtMs": 1});
        fs::write(
            temp.path().join("identity/device.json"),
            identity.to_string(),
        )
        .unwrap();
        let peers = r#"{"version":1,"peers":[{"deviceId":"ab","displayName":"field","addedAt":"2026-01-01"}]}"#;
        fs::write(temp.path().join("mesh/trusted-peers.json"), peers).unwrap();
        let state = read(temp.path()).unwrap();
        assert_eq!(*state.seed, [3; 32]);
        assert_eq!(state.peers[0].display_name.as_deref(), Some("field"));
        assert_eq!((&state.mesh, state.left.len()), (&None, 0));
        let id = "0f0e0d0c-1111-4222-8333-444455556666";
        fs::write(temp.path().join("mesh/mesh-id"), format!("{id}\n")).unwrap();
        fs::write(temp.path().join("mesh/patterns.json"), "{}").unwrap();
        let state = read(temp.path()).unwrap();
        assert_eq!(state.mesh.unwrap().as_str(), id);
        assert_eq!(state.left, ["mesh/patterns.json"]);
        fs::write(temp.path().join("mesh/trusted-peers.json"), "{").unwrap();
        assert!(read(temp.path()).is_err());
    }

    #[test]
    fn the_secret_is_never_printed() {
        let state = Gen1State {
            seed: Zeroizing::new([203; 32]),
            peers: Vec::new(),
            mesh: None,
            left: Vec::new(),
        };
        assert!(!format!("{state:?}").contains("203"));
    }
}
