//! The demo's two state directories: identities, mutual trust, an operator, policy, configuration.
//!
//! What is there from an earlier demo is used again; a directory that no demo made is refused.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::super::context::{Context, person};
use super::super::fail::{Done, Failure};
use super::super::start::{CONFIG_FILE, raw_config};
use super::super::state::{Offline, own_operator};
use super::super::policy;
use crate::adapters::paths;
use crate::domain::base::DeviceId;
use crate::domain::policy::STARTER_POLICY;
use crate::node::config::DEFAULT_PORT;
use crate::operator::dto::{OperatorEnroll, TrustAdd};

/// The field node's state directory inside the command centre's.
pub const FIELD_DIR: &str = "demo-field";
const MESH: &str = "demo";

/// Both sides, ready to start.
#[derive(Debug)]
pub struct Prepared {
    /// The command centre.
    pub center: Side,
    /// The field node.
    pub field: Side,
}

/// One side.
#[derive(Debug)]
pub struct Side {
    /// Its state directory.
    pub dir: PathBuf,
    /// Its port.
    pub port: u16,
}

/// Makes or reuses both state directories.
///
/// # Errors
/// If the directory is not a demo's, is in use, or cannot be written.
pub async fn prepare(ctx: &Context) -> Result<Prepared, Failure> {
    let center_dir = absolute(&ctx.state_dir)?;
    let field_dir = center_dir.join(FIELD_DIR);
    let fresh = ours_or_fresh(&center_dir)?;
    if !fresh && field_dir.exists() {
        ours_or_fresh(&field_dir)?;
    }
    paths::create_private_dir(&center_dir).map_err(Failure::state)?;
    paths::create_private_dir(&field_dir).map_err(Failure::state)?;
    let mut taken = Vec::new();
    let center_port = port(&center_dir, DEFAULT_PORT, &mut taken)?;
    let field_port = port(&field_dir, DEFAULT_PORT + 1, &mut taken)?;
    // The mark comes first: an interrupted preparation is recognised and finished next time.
    write_config(&center_dir, &center_config(center_port))?;
    write_config(&field_dir, &field_config(field_port, None))?;
    let policy_file = policy::file(&field_dir);
    if !policy_file.exists() {
        paths::write_private(&policy_file, STARTER_POLICY.as_bytes()).map_err(Failure::state)?;
    }
    let center = Offline::open(ctx, &center_dir, true).await?;
    let field = Offline::open(ctx, &field_dir, true).await?;
    let linked = link(&center, &field, &center_dir).await;
    write_config(&field_dir, &field_config(field_port, Some((center.device_id(), center_port))))?;
    center.close().await;
    field.close().await;
    linked?;
    Ok(Prepared {
        center: Side { dir: center_dir, port: center_port },
        field: Side { dir: field_dir, port: field_port },
    })
}

/// Trust in both directions, and one person enrolled at both.
async fn link(center: &Offline, field: &Offline, center_dir: &Path) -> Done {
    let trust = |of: &Offline, name: &str, preset: &str| TrustAdd {
        device_id: of.device_id().to_string(),
        public_key: Some(of.public_key()),
        name: Some(name.to_owned()),
        preset: Some(preset.to_owned()),
        grants: None,
    };
    field.trust_add_if_missing(trust(center, "command-center", "command-center")).await?;
    center.trust_add_if_missing(trust(field, "field", "field")).await?;
    let (key, name) = own_operator(center_dir, &person())?;
    for side in [center, field] {
        let enroll = OperatorEnroll {
            public_key: key.public().to_text(),
            name: name.clone(),
            level: "L2".to_owned(),
            days: None,
        };
        side.enroll_if_missing(enroll, key.id()).await?;
    }
    Ok(())
}

fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(dir).map_err(|e| Failure::state(format!("{}: {e}", dir.display())))
}

/// Whether the directory is missing or empty; a demo's own is neither but fine.
fn ours_or_fresh(dir: &Path) -> Result<bool, Failure> {
    let empty = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(Failure::state(format!("{}: {e}", dir.display()))),
    };
    let made_by_demo = || raw_config(dir).ok().flatten().is_some_and(|raw| raw.demo == Some(true));
    if empty || made_by_demo() {
        return Ok(empty);
    }
    Err(Failure::state(format!(
        "{} was not made by the demo and is left alone; choose another: clawmesh-node demo --state-dir <dir>",
        dir.display()
    )))
}

/// The port of an earlier demo if it is free, else the usual one, else any free one.
fn port(dir: &Path, usual: u16, taken: &mut Vec<u16>) -> Result<u16, Failure> {
    let earlier = raw_config(dir).ok().flatten().and_then(|raw| raw.port);
    let found = [earlier, Some(usual), Some(0)]
        .into_iter()
        .flatten()
        .filter(|p| *p == 0 || !taken.contains(p))
        .find_map(free)
        .ok_or_else(|| Failure::failed("no free port was found on 127.0.0.1"))?;
    taken.push(found);
    Ok(found)
}

/// The port, if nothing listens there now; 0 finds one.
fn free(port: u16) -> Option<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    listener.local_addr().ok().map(|a| a.port())
}

fn write_config(dir: &Path, text: &str) -> Done {
    paths::write_private(&dir.join(CONFIG_FILE), text.as_bytes()).map_err(Failure::state)
}

fn center_config(port: u16) -> String {
    format!(
        r#"# Written by `clawmesh-node demo`, which writes it again when it runs.
demo = true
name = "command-center"
role = "planner"
mesh_name = "{MESH}"
host = "127.0.0.1"
port = {port}
discovery = false

[[rule]]
name = "dry soil"
metric = "moisture"
below = 30.0
cooldown_sec = 60
target = "actuator:mock:valve-1"
operation = "open"
params = {{ durationSec = 10 }}
"#
    )
}

fn field_config(port: u16, center: Option<(&DeviceId, u16)>) -> String {
    let peers = center
        .map(|(id, port)| format!("\"{id}=ws://127.0.0.1:{port}||local\""))
        .unwrap_or_default();
    format!(
        r#"# Written by `clawmesh-node demo`, which writes it again when it runs.
demo = true
name = "field-1"
role = "field"
mesh_name = "{MESH}"
host = "127.0.0.1"
port = {port}
discovery = false
peers = [{peers}]
sensor_interval_ms = 1000
host_sensor = true
mock_sensor = true
mock_actuator = true
mock_pace = 1.0
"#
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::node::RawConfig;

    #[test]
    fn the_configurations_are_ones_start_takes() {
        let id: DeviceId = "a".repeat(64).parse().unwrap();
        for text in [center_config(1), field_config(2, Some((&id, 1))), field_config(2, None)] {
            let raw = RawConfig::parse(&text, "x").unwrap();
            assert_eq!(raw.demo, Some(true));
            raw.resolve(PathBuf::new()).unwrap();
        }
    }

    #[test]
    fn only_a_demos_own_directory_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ours_or_fresh(dir.path()).unwrap());
        assert!(ours_or_fresh(&dir.path().join("missing")).unwrap());
        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        assert!(ours_or_fresh(dir.path()).unwrap_err().message.contains("--state-dir"));
        std::fs::write(dir.path().join(CONFIG_FILE), "name = 'mine'\n").unwrap();
        assert!(ours_or_fresh(dir.path()).is_err());
        std::fs::write(dir.path().join(CONFIG_FILE), center_config(1)).unwrap();
        assert!(!ours_or_fresh(dir.path()).unwrap());
    }

    #[test]
    fn a_taken_port_is_not_chosen() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let busy = holder.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let found = port(dir.path(), busy, &mut Vec::new()).unwrap();
        assert_ne!(found, busy);
        let mut taken = vec![found];
        assert_ne!(port(dir.path(), found, &mut taken).unwrap(), found);
    }
}
