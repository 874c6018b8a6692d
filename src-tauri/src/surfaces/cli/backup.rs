//! `backup` and `restore`: one file with a consistent copy of a node's store, its configuration, policy
//! and, under a passphrase, its keys; and a node made of it that observes until a person confirms it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::offline::{Offline, require};
use super::{format, out, passphrase};
use crate::adapters::files;
use crate::adapters::keystore::{Passphrase, keys_to_back_up, restore_key};
use crate::adapters::paths::StateDir;
use crate::adapters::store::backup::{self, Kept};
use crate::adapters::system;
use crate::domain::base::limits::BACKUP_FILE_MAX_BYTES;
use crate::domain::continuity::{Doubt, Fault};

/// Files that go into a backup as they are. Tokens, the browser certificate and notes about the running
/// node do not: they are made anew. Credentials are sealed with a key made of the device's, which goes under the passphrase.
const PLAIN: [&str; 6] = [
    "credentials.json",
    "config.toml",
    "policy.toml",
    "site.toml",
    "names.json",
    "mesh-id",
];
const KEYS: [&str; 2] = ["identity.json", "operator-key.json"];

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Failure::failed(format!("the work was cut off: {e}")))?
}

/// `backup FILE`; the node may run.
///
/// # Errors
/// If there is no state, the file is there already, or something cannot be read or written.
pub(super) async fn backup(ctx: &Context, file: &Path) -> Done {
    require(&ctx.dir)?;
    refuse_existing(file)?;
    let typed = passphrase::ask_new("A passphrase for the keys in the backup: ")?;
    let (dir, to) = (ctx.dir.clone(), file.to_path_buf());
    let bytes = off_thread(move || write(&dir, &to, &typed)).await?;
    let shown = file.display();
    if ctx.json {
        return out::json(&json!({"file": shown.to_string(), "bytes": bytes}));
    }
    out::line(&format!(
        "{shown} holds the node's state, {}, read back and checked. Its keys open only with the passphrase; \
         put it back with: clawmesh-node restore {shown} --state-dir DIR",
        format::bytes(bytes)
    ));
    Ok(())
}

fn refuse_existing(file: &Path) -> Done {
    match file.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(Failure::failed(format!(
            "{} is there already and is left as it is; name another file",
            file.display()
        ))),
    }
}

fn write(dir: &StateDir, to: &Path, typed: &Passphrase) -> Result<u64, Failure> {
    let mut kept = Vec::new();
    for name in PLAIN {
        match files::read(&dir.root().join(name), BACKUP_FILE_MAX_BYTES) {
            Ok(bytes) => kept.push(Kept {
                name: name.to_owned(),
                bytes,
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::state(format!("{name}: {error}"))),
        }
    }
    let keys = keys_to_back_up(dir, typed).map_err(|e| Failure::key(&e))?;
    kept.extend(keys.into_iter().map(|(name, bytes)| Kept { name, bytes }));
    let part = beside(to);
    let failed = |what: &str, e: std::io::Error| {
        Failure::failed(format!("{} cannot be {what}: {e}", to.display()))
    };
    private_file(&part).map_err(|e| failed("made", e))?;
    let written = backup::write(&dir.database(), &part, &kept)
        .map_err(Failure::state)
        // A link, unlike a rename, refuses a name that was taken meanwhile.
        .and_then(|()| fs::hard_link(&part, to).map_err(|e| failed("written", e)));
    let _ = fs::remove_file(&part);
    written?;
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty());
    let synced = fs::File::open(folder.unwrap_or(Path::new("."))).and_then(|d| d.sync_all());
    synced.map_err(|e| failed("synced", e))?;
    fs::metadata(to)
        .map(|meta| meta.len())
        .map_err(|e| failed("read back", e))
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    name.into()
}

fn private_file(path: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    system::for_owner(&mut options).open(path).map(drop)
}

/// `restore FILE`, into an empty state directory. The node observes until `state confirm`.
///
/// # Errors
/// If the directory holds anything, the file is no whole backup, or the passphrase is another one.
pub(super) async fn restore(ctx: &Context, file: &Path) -> Done {
    refuse_used(&ctx.dir)?;
    let shown = file.display().to_string();
    let from = file.to_path_buf();
    let kept = off_thread(move || {
        backup::read(&from)
            .map_err(|e| Failure::new(Exit::Unverified, format!("{}: {e}", from.display())))
    })
    .await?;
    let typed = passphrase::ask("The passphrase of the backup: ", true)?;
    let (dir, from) = (ctx.dir.clone(), file.to_path_buf());
    off_thread(move || unpack(&dir, &from, &kept, &typed)).await?;
    let offline = Offline::open_existing(ctx).await?;
    let doubt = Doubt {
        fault: Fault::Restored,
        why: format!("from {shown}"),
        at: ctx.time(),
    };
    let stored = offline.doubted(doubt).await;
    let device = offline.device_id().clone();
    offline.close().await;
    stored?;
    if ctx.json {
        return out::json(&json!({"restored": shown, "deviceId": device}));
    }
    out::line(&format!(
        "device {} is restored in {}. It observes and does not operate until you say that no other copy of it is in \
         use: clawmesh-node state confirm --state-dir {}",
        device.short(),
        ctx.dir.root().display(),
        ctx.dir.root().display()
    ));
    Ok(())
}

fn refuse_used(dir: &StateDir) -> Done {
    let used = fs::read_dir(dir.root()).is_ok_and(|mut entries| entries.next().is_some());
    match used {
        true => Err(Failure::state(format!(
            "{} is not empty; a backup is restored into an empty or new directory",
            dir.root().display()
        ))),
        false => Ok(()),
    }
}

fn unpack(dir: &StateDir, from: &Path, kept: &[Kept], typed: &Passphrase) -> Done {
    dir.prepare().map_err(Failure::state)?;
    let _lock = dir.acquire_lock().map_err(Failure::state)?;
    let known = |file: &&Kept| KEYS.contains(&file.name.as_str());
    // The keys first: with another passphrase nothing is left behind.
    let done = kept.iter().filter(known).try_for_each(|file| {
        restore_key(dir, &file.name, &file.bytes, typed).map_err(|e| Failure::key(&e))
    });
    if let Err(failure) = done {
        for name in KEYS {
            let _ = fs::remove_file(dir.root().join(name));
        }
        let _ = fs::remove_file(dir.lock_file());
        return Err(failure);
    }
    let plain = |file: &&Kept| PLAIN.contains(&file.name.as_str());
    for file in kept.iter().filter(plain) {
        dir.write_private(&dir.root().join(&file.name), &file.bytes)
            .map_err(Failure::state)?;
    }
    backup::unpack(from, &dir.database()).map_err(Failure::state)
}
