//! The identity in a state directory: key, mesh, certificates, store, and the counts to continue from.

use std::sync::Arc;

use super::OpenError;
use crate::adapters::files;
use crate::adapters::keystore::DeviceKeys;
use crate::adapters::paths::StateDir;
use crate::adapters::random::SharedRandom;
use crate::adapters::store::{Engine, Store, StoreError, StoreOptions, frames};
use crate::adapters::system;
use crate::adapters::transport::{BrowserCertificate, Tls};
use crate::domain::base::limits::{FRAME_FUTURE_MAX_MS, SMALL_FILE_MAX_BYTES};
use crate::domain::base::{DeviceId, Hlc, MeshId, TimeMs};
use crate::domain::identity::DeviceKey;
use crate::node::config::Config;
use crate::node::context::timekeeping;
use crate::node::continuity::next_seq;
use crate::node::frame_log::Stamper;

/// Who a node is.
pub(super) struct Identified {
    pub(super) key: DeviceKey,
    pub(super) mesh: MeshId,
    pub(super) tls: Tls,
}

/// Reads the identity, or makes it at a first start.
pub(super) async fn identify(
    config: &Config,
    dir: &StateDir,
    keys: Arc<dyn DeviceKeys>,
    random: &SharedRandom,
    threads: bool,
    now: TimeMs,
) -> Result<Identified, OpenError> {
    let (home, fresh) = (dir.clone(), random.bytes()?);
    let key = match threads {
        // A keychain may wait for a person, and must not be opened on an async thread.
        true => tokio::task::spawn_blocking(move || keys.load_or_create(&home, fresh, now))
            .await
            .map_err(|_| StoreError::Closed)??,
        false => keys.load_or_create(&home, fresh, now)?,
    };
    let mesh = match &config.mesh {
        Some(mesh) => mesh.clone(),
        None => kept_mesh_id(dir, random)?,
    };
    let tls = Tls::new(&key, &browser_certificate(dir)?)?;
    Ok(Identified { key, mesh, tls })
}

/// Opens the store of the state directory.
pub(super) async fn open_store(
    dir: &StateDir,
    max_bytes: Option<u64>,
    engine: Engine,
    threads: bool,
) -> Result<Store, OpenError> {
    let file = dir.database();
    let options = StoreOptions {
        max_bytes,
        expected: dir.has_had_store(),
    };
    let open = move || {
        let store = Store::open_on(&file, options, engine)?;
        // So is the first connection that reads.
        store.read_blocking("open the store", |_| Ok(()))?;
        Ok::<_, StoreError>(store)
    };
    let store = match threads {
        true => tokio::task::spawn_blocking(open)
            .await
            .map_err(|_| StoreError::Closed)??,
        false => open()?,
    };
    Ok(store)
}

/// The certificate for browsers, made once; made anew where the file does not hold one.
fn browser_certificate(dir: &StateDir) -> Result<BrowserCertificate, OpenError> {
    let file = dir.browser_certificate_file();
    let again = |why: String| OpenError::File {
        file: file.display().to_string(),
        why: format!("{why}; make it readable, or delete it and a new one is made"),
    };
    match files::read(&file, SMALL_FILE_MAX_BYTES).map(zeroize::Zeroizing::new) {
        Ok(kept) => {
            let others = files::open(&file).and_then(|open| system::others_may_read(&open, &file));
            let private = others.is_ok_and(|others| others.is_none());
            match BrowserCertificate::from_bytes(&kept) {
                Some(kept) if private => return Ok(kept),
                // It is self-signed and not tied to the identity: with a new one, browsers warn once more.
                _ => tracing::warn!(
                    file = %file.display(),
                    "the certificate for browsers is damaged or its key could be read by others; making a new one, which browsers will ask to accept"
                ),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(again(error.to_string())),
    }
    let made = BrowserCertificate::generate()?;
    dir.write_private(&file, &made.to_bytes())?;
    Ok(made)
}

/// The random id of an unnamed mesh, made once.
fn kept_mesh_id(dir: &StateDir, random: &SharedRandom) -> Result<MeshId, OpenError> {
    let file = dir.mesh_id_file();
    let bad = |why: String| OpenError::File {
        file: file.display().to_string(),
        why,
    };
    match files::read_text(&file, SMALL_FILE_MAX_BYTES) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|e| bad(format!("{e}; restore the file or delete it"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = MeshId::from(random.uuid()?);
            dir.write_private(&file, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(bad(error.to_string())),
    }
}

/// Continues logical time and frame counts after whatever earlier runs used: those that the store knows of, and those that
/// the marks tell of where the store was put back.
pub(super) async fn resume(
    store: &Store,
    own: DeviceId,
    marked: u64,
    now: TimeMs,
) -> Result<(Stamper, u64), StoreError> {
    // As while running: what claims to lie further ahead than this does not lead.
    let believed = Hlc::new(now.plus(FRAME_FUTURE_MAX_MS), u16::MAX);
    store
        .read("own count", move |c| {
            let next = next_seq(c, &own, marked)?;
            let newest: Hlc = frames::max_hlc(c, believed)?.unwrap_or_default();
            let lived = Hlc::new(timekeeping::high_water(c)?, 0);
            Ok((Stamper::resume(newest.max(lived), next), next))
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_certificate_for_browsers_is_kept_until_it_is_no_good() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let file = dir.browser_certificate_file();
        let shown = || format!("{:?}", browser_certificate(&dir).unwrap());
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        let first = shown();
        assert_eq!((shown(), mode()), (first.clone(), 0o600));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let second = shown();
        assert_ne!(second, first, "others could read the key");
        assert_eq!((shown(), mode()), (second.clone(), 0o600));
        fs::write(&file, "damaged").unwrap();
        assert_ne!(shown(), second);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = browser_certificate(&dir).unwrap_err().to_string();
        assert!(error.contains("tls-browser.bin"), "{error}");
    }
}
