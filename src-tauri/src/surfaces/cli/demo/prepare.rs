//! The demo's two state directories: identities, mutual trust, an operator, policy, configuration.
//!
//! The directories of an earlier demo are used again; a directory that no demo made is refused.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::context::{Context, person};
use super::super::fail::{Done, Failure};
use super::super::offline::{Offline, own_operator};
use super::super::out;
use super::super::start::raw_config;
use crate::adapters::clock::{SharedClock, SystemClock};
use crate::adapters::devices;
use crate::adapters::files;
use crate::adapters::paths::{StateDir, create_private};
use crate::domain::base::limits::DEFAULT_PORT;
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::policy::STARTER_POLICY;
use crate::domain::site::{EXAMPLE_PLAN, EXAMPLE_SITE};
use crate::operator::dto::{OperatorEnroll, TrustAdd};

/// The field node's state directory inside the command centre's.
pub(super) const FIELD_DIR: &str = "demo-field";
const MESH: &str = "demo";
/// The threshold of the demo's rule until the kit's level is known, in percent.
const DRY_PERCENT: f64 = 30.0;
/// How far below the current level the threshold lies, in percent: about 12 s of drying.
const SOON_PERCENT: f64 = 4.0;
/// How long a connection of this machine to itself may take.
const LOOPBACK_WITHIN: Duration = Duration::from_secs(5);

/// Both sides, ready to start.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The command centre.
    pub center: Side,
    /// The field node.
    pub field: Side,
    /// Held as long as the demo runs.
    _claims: Vec<Claim>,
}

/// One side.
#[derive(Debug)]
pub(super) struct Side {
    /// Its state directory.
    pub dir: StateDir,
    /// Its port.
    pub port: u16,
}

/// Makes or reuses both state directories.
///
/// # Errors
/// If the directory is not a demo's, is in use, or cannot be written, or if this machine cannot reach itself.
pub(super) async fn prepare(ctx: &Context) -> Result<Prepared, Failure> {
    loopback()?;
    let center_dir = StateDir::at(&absolute(ctx)?);
    let field_dir = StateDir::at(&center_dir.root().join(FIELD_DIR));
    let fresh = ours_or_fresh(&center_dir)?;
    if !fresh && field_dir.root().exists() {
        ours_or_fresh(&field_dir)?;
    }
    center_dir.prepare().map_err(Failure::state)?;
    let mut taken = Vec::new();
    let center_port = port("command centre", &center_dir, DEFAULT_PORT, &mut taken)?;
    let field_port = port("field node", &field_dir, DEFAULT_PORT + 1, &mut taken)?;
    // The mark comes first: an interrupted preparation is recognised and finished next time.
    if fresh {
        write_config(&center_dir, &center_config(center_port, DRY_PERCENT))?;
    }
    let center = Offline::open(&center_dir, ctx.time()).await?;
    let field = Offline::open(&field_dir, ctx.time()).await?;
    let dry = dry_below(&field_dir)?;
    write_config(&center_dir, &center_config(center_port, dry))?;
    write_config(
        &field_dir,
        &field_config(field_port, center.device_id(), center_port),
    )?;
    let policy_file = field_dir.policy_file();
    if !policy_file.exists() {
        field_dir
            .write_private(&policy_file, STARTER_POLICY.as_bytes())
            .map_err(Failure::state)?;
    }
    draw(&center_dir)?;
    let linked = link(&center, &field, &center_dir, ctx.time()).await;
    center.close().await;
    field.close().await;
    linked?;
    Ok(Prepared {
        center: Side {
            dir: center_dir,
            port: center_port,
        },
        field: Side {
            dir: field_dir,
            port: field_port,
        },
        _claims: taken,
    })
}

/// A threshold a little below what the kit measures now, so that the rule fires soon.
fn dry_below(field: &StateDir) -> Result<f64, Failure> {
    let clock: SharedClock = Arc::new(SystemClock::default());
    let moisture = devices::simulated_moisture(field, &clock).map_err(Failure::state)?;
    Ok((moisture - SOON_PERCENT).clamp(10.0, 60.0).round())
}

/// Trust in both directions, and one person enrolled at both.
async fn link(center: &Offline, field: &Offline, center_dir: &StateDir, now: TimeMs) -> Done {
    let trust = |of: &Offline, name: &str, preset: &str| TrustAdd {
        device_id: of.device_id().to_string(),
        public_key: Some(of.public_key()),
        name: Some(name.to_owned()),
        preset: Some(preset.to_owned()),
        grants: None,
    };
    field
        .trust_add_if_missing(&trust(center, "command-center", "command-center"))
        .await?;
    center
        .trust_add_if_missing(&trust(field, "field", "field"))
        .await?;
    let person = own_operator(center_dir, &person(), now)?;
    for side in [center, field] {
        let enroll = OperatorEnroll {
            public_key: person.public.to_text(),
            name: person.name.clone(),
            person: None,
            level: "L2".to_owned(),
            days: None,
        };
        side.enroll_if_missing(&enroll, &person.id).await?;
    }
    Ok(())
}

fn absolute(ctx: &Context) -> Result<PathBuf, Failure> {
    let dir = ctx.dir.root();
    std::path::absolute(dir).map_err(|e| Failure::state(format!("{}: {e}", dir.display())))
}

/// Whether the directory is missing or empty; a demo's own is neither but fine.
fn ours_or_fresh(dir: &StateDir) -> Result<bool, Failure> {
    let empty = match std::fs::read_dir(dir.root()) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(Failure::state(format!("{}: {e}", dir.root().display()))),
    };
    let made_by_demo = || {
        raw_config(dir)
            .ok()
            .flatten()
            .is_some_and(|raw| raw.demo == Some(true))
    };
    if empty || made_by_demo() {
        return Ok(empty);
    }
    Err(Failure::state(format!(
        "{} was not made by the demo and is left alone; choose another: clawmesh-node demo --state-dir <dir>",
        dir.root().display()
    )))
}

/// A port that no other demo of this machine takes while this lives, also before anything listens there.
#[derive(Debug)]
pub(super) struct Claim {
    port: u16,
    _file: Option<File>,
}

/// The nodes of a demo reach each other over the loopback interface, which a new network namespace
/// or container does not have up.
fn loopback() -> Done {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| TcpStream::connect_timeout(&listener.local_addr()?, LOOPBACK_WITHIN))
        .map(drop)
        .map_err(|error| {
            Failure::failed(format!(
                "the two nodes could not reach each other at 127.0.0.1: {error}"
            ))
            .and("is the loopback interface up? As root: ip link set lo up. Nothing was started")
        })
}

/// The port of an earlier demo if it is free, else the usual one, else any free one; says which is not.
fn port(what: &str, dir: &StateDir, usual: u16, taken: &mut Vec<Claim>) -> Result<u16, Failure> {
    let earlier = raw_config(dir).ok().flatten().and_then(|raw| raw.port);
    let wanted = earlier.unwrap_or(usual);
    let ours = |port: u16| taken.iter().any(|claim| claim.port == port);
    let claim = [wanted, usual, 0]
        .into_iter()
        .filter(|p| *p == 0 || !ours(*p))
        .find_map(|p| claim(free(p)?))
        .ok_or_else(|| Failure::failed("no free port was found on 127.0.0.1"))?;
    let found = claim.port;
    if found != wanted && !ours(wanted) {
        out::line(&format!(
            "Port {wanted} is in use by another program; the {what} takes {found}."
        ));
    }
    taken.push(claim);
    Ok(found)
}

/// Takes a port among the demos of this machine; `None` where another one has it. Two that start in the
/// same moment both find it free.
fn claim(port: u16) -> Option<Claim> {
    let path = std::env::temp_dir().join(format!("clawmesh-demo-{port}.lock"));
    let claimed = files::lock_or_make(&path);
    match claimed {
        Ok(Some(file)) => Some(Claim {
            port,
            _file: Some(file),
        }),
        Ok(None) => None,
        // The file belongs to another user: then only listening ports are seen.
        Err(_) => Some(Claim { port, _file: None }),
    }
}

/// The port, if nothing listens there now; 0 finds one.
fn free(port: u16) -> Option<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    listener.local_addr().ok().map(|a| a.port())
}

fn write_config(dir: &StateDir, text: &str) -> Done {
    dir.write_private(&dir.config_file(), text.as_bytes())
        .map_err(Failure::state)
}

/// Puts the farm's `site.toml` and its plan where neither is yet: what a person wrote stays.
fn draw(dir: &StateDir) -> Done {
    let (site, plan) = (dir.site_file(), dir.root().join("plan.svg"));
    let there = |path: &Path| path.symlink_metadata().is_ok();
    if there(&site) || there(&plan) {
        return Ok(());
    }
    // The plan first: a reader between the two writes finds no site yet, instead of one without a plan.
    create_private(&plan, EXAMPLE_PLAN.as_bytes()).map_err(Failure::state)?;
    create_private(&site, EXAMPLE_SITE.as_bytes()).map_err(Failure::state)
}

fn center_config(port: u16, dry: f64) -> String {
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
below = {dry:.1}
cooldown_sec = 60
target = "actuator:mock:valve-1"
operation = "open"
params = {{ durationSec = 10 }}
"#
    )
}

fn field_config(port: u16, center: &DeviceId, center_port: u16) -> String {
    format!(
        r#"# Written by `clawmesh-node demo`, which writes it again when it runs.
demo = true
name = "field-1"
role = "field"
mesh_name = "{MESH}"
host = "127.0.0.1"
port = {port}
discovery = false
peers = ["{center}=ws://127.0.0.1:{center_port}||local"]
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
        for text in [center_config(1, 30.0), field_config(2, &id, 1)] {
            let raw = RawConfig::parse(&text, "x").unwrap();
            assert_eq!(raw.demo, Some(true));
            raw.resolve(PathBuf::new()).unwrap();
        }
    }

    #[test]
    fn only_a_demos_own_directory_is_touched() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        assert!(ours_or_fresh(&dir).unwrap());
        assert!(ours_or_fresh(&StateDir::at(&temp.path().join("missing"))).unwrap());
        std::fs::write(temp.path().join("notes.txt"), "mine").unwrap();
        assert!(
            ours_or_fresh(&dir)
                .unwrap_err()
                .message
                .contains("--state-dir")
        );
        std::fs::write(dir.config_file(), "name = 'mine'\n").unwrap();
        assert!(ours_or_fresh(&dir).is_err());
        std::fs::write(dir.config_file(), center_config(1, 30.0)).unwrap();
        assert!(!ours_or_fresh(&dir).unwrap());
    }

    #[test]
    fn the_farm_is_drawn_once_and_nothing_is_written_over() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        draw(&dir).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.site_file()).unwrap(),
            EXAMPLE_SITE
        );
        std::fs::write(dir.site_file(), "mine").unwrap();
        std::fs::remove_file(temp.path().join("plan.svg")).unwrap();
        draw(&dir).unwrap();
        assert_eq!(std::fs::read_to_string(dir.site_file()).unwrap(), "mine");
        assert!(!temp.path().join("plan.svg").exists());
    }

    #[test]
    fn a_taken_port_is_not_chosen() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let busy = holder.local_addr().unwrap().port();
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path());
        let found = port("node", &dir, busy, &mut Vec::new()).unwrap();
        assert_ne!(found, busy);
        let mut taken = Vec::new();
        let found = port("node", &dir, found, &mut taken).unwrap();
        assert_ne!(port("node", &dir, found, &mut taken).unwrap(), found);
        // Another demo that starts in the same moment: nothing listens there yet.
        assert_ne!(port("node", &dir, found, &mut Vec::new()).unwrap(), found);
    }
}
