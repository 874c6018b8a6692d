//! The steps of every program that hosts a node: the configuration of a state directory under
//! the program's own settings, the policy a simulated kit starts with, and the note that tells the
//! commands of this machine where the node listens. It starts nothing and decides nothing.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::config::shown::{Layers, Shown};
use super::config::{Config, ConfigError, RawConfig, environment};
use super::{Node, naming, surroundings};
use crate::adapters::devices::Configured;
use crate::adapters::files;
use crate::adapters::paths::{PathError, StateDir, write_private_for_this_run};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{CONFIG_FILE_MAX_BYTES, STORE_LAST_WORDS_MS};
use crate::domain::policy::STARTER_POLICY;

/// Why a state directory's settings cannot be used. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The file is there and cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is too long to be a configuration.
    #[error("{file} is larger than {CONFIG_FILE_MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        file: String,
    },
    /// The names that a person gave do not read.
    #[error("{0}")]
    Names(String),
    /// A key or value is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The configuration: the file of the state directory, if there is one, under the environment, under `flags`.
///
/// # Errors
/// If the directory is a gen-1 node's, or a key or value is wrong, naming it.
pub fn config(dir: &StateDir, flags: RawConfig) -> Result<Config, BootError> {
    let (said, _) = environment::read(surroundings::environment)?;
    let flags = said.overlay(flags);
    let raw = raw_config(dir)?.unwrap_or_default();
    let raw = naming::fill_in(dir, raw.overlay(flags.clone())).map_err(BootError::Names)?;
    let config = raw.resolve(dir.root().to_path_buf())?;
    Ok(Config {
        flags: Some(Box::new(flags)),
        ..config
    })
}

/// Every value of [`config`], and where each comes from.
///
/// # Errors
/// As [`config`].
pub fn shown(dir: &StateDir, flags: RawConfig) -> Result<Vec<Shown>, BootError> {
    let config = config(dir, flags.clone())?;
    let (_, environment) = environment::read(surroundings::environment)?;
    let layers = Layers {
        file: text(dir)?.unwrap_or_default().parse().unwrap_or_default(),
        environment,
        flags,
    };
    Ok(layers.shown(&config))
}

/// The text of a state directory's configuration file, if there is one.
///
/// # Errors
/// If it cannot be read or is too long to be one.
pub fn text(dir: &StateDir) -> Result<Option<String>, BootError> {
    let path = dir.config_file();
    let file = path.display().to_string();
    match files::read_text(&path, CONFIG_FILE_MAX_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == ErrorKind::FileTooLarge => Err(BootError::TooLarge { file }),
        Err(source) => Err(BootError::Read { file, source }),
    }
}

/// The configuration file of a state directory, if there is one.
///
/// # Errors
/// If it cannot be read or has an unknown key.
pub fn raw_config(dir: &StateDir) -> Result<Option<RawConfig>, BootError> {
    let file = dir.config_file().display().to_string();
    match text(dir)? {
        Some(text) => Ok(Some(RawConfig::parse(&text, &file)?)),
        None => Ok(None),
    }
}

/// Refuses a gen-1 directory, and gives a node with the simulated kit a policy if it has none.
///
/// # Errors
/// [`PathError`].
pub fn prepare(dir: &StateDir, config: &Config) -> Result<(), PathError> {
    if dir.is_gen1() {
        let dir = dir.root().display().to_string();
        return Err(PathError::Gen1 { dir });
    }
    let file = dir.policy_file();
    let practises = config.devices.iter().any(Configured::is_practice);
    if !practises || file.exists() {
        return Ok(());
    }
    dir.prepare()?;
    dir.write_private(&file, STARTER_POLICY.as_bytes())?;
    tracing::info!(file = %file.display(), "there was no policy; the starter policy has been written");
    Ok(())
}

/// The note about a running node, for the commands of this machine; gone when withdrawn.
#[derive(Debug)]
pub struct RunFile(PathBuf);

impl RunFile {
    /// Writes down where the node listens and which process it is.
    ///
    /// # Errors
    /// [`PathError`] if it cannot be written.
    pub fn write(dir: &StateDir, node: &Node, now: TimeMs) -> Result<Self, PathError> {
        let address = node.address();
        // Commands of this machine reach the node where only this machine can.
        let here = match address.ip().is_unspecified() {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => address.ip(),
        };
        let run = json!({
            "pid": std::process::id(), "port": address.port(), "host": here,
            "startedAt": now.0, "name": node.context().config.name,
            "socket": node.local_socket(),
        });
        let file = dir.run_file();
        write_private_for_this_run(&file, format!("{run}\n").as_bytes())?;
        Ok(Self(file))
    }

    /// Takes the note away, before the port closes: no command may look for the node where another
    /// program may listen next. One that is gone already is fine. What moves is told to go to its safe
    /// state before the disk is touched, and a disk that does not answer is not waited for.
    pub async fn withdraw(self, node: &Node) {
        node.make_safe();
        let gone = tokio::task::spawn_blocking(move || std::fs::remove_file(&self.0));
        // Either the file is gone, or commands find that no node listens there.
        let _ = tokio::time::timeout(Duration::from_millis(STORE_LAST_WORDS_MS), gone).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn flags_beat_the_file_and_unknown_keys_stop_the_start() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        std::fs::write(dir.config_file(), "name = 'a'\nport = 1\n").unwrap();
        let flags = RawConfig {
            port: Some(2),
            ..RawConfig::default()
        };
        let config = config(&dir, flags).unwrap();
        assert_eq!((config.name.as_str(), config.port), ("a", 2));
        std::fs::write(dir.config_file(), "nmae = 'a'\n").unwrap();
        let error = raw_config(&dir).unwrap_err();
        assert!(matches!(error, BootError::Config(_)));
        assert!(error.to_string().contains("nmae"), "{error}");
    }

    #[test]
    fn the_starter_policy_is_written_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(&temp.path().join("state"));
        let raw = RawConfig {
            mock_actuator: Some(true),
            ..RawConfig::default()
        };
        let config = raw.resolve(dir.root().to_path_buf()).unwrap();
        prepare(&dir, &config).unwrap();
        let file = dir.policy_file();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), STARTER_POLICY);
        std::fs::write(&file, "version = 1\n").unwrap();
        prepare(&dir, &config).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "version = 1\n");
    }
}
