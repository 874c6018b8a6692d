//! What can be seen without asking a node: its directory, configuration, policy, keys and credentials, and of the machine the
//! disk, the port, the clock and the multicast of the network.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;

use toml::Table;

use super::{Finding, fault, warning, well};
use crate::adapters::clock::Clock;
use crate::adapters::discovery::multicast;
use crate::adapters::files;
use crate::adapters::keystore::{self, Credentials, KeyError, credential_name};
use crate::adapters::llm::variables_of;
use crate::adapters::paths::StateDir;
use crate::adapters::service_manager::installed::{Manager, Service};
use crate::adapters::system;
use crate::adapters::transport::Certificate;
use crate::adapters::transport::certificate::day;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    CERTIFICATE_ENDS_SOON_MS, CLOCK_EARLIEST_MS, CONFIG_FILE_MAX_BYTES, DISK_FREE_LOW_BYTES,
    DISK_FREE_MIN_BYTES, DISK_SLOW_MS, DISK_TRIAL_BYTES,
};
use crate::domain::policy;
use crate::node::credentials::given_by;
use crate::node::hosting::{self, BootError};
use crate::node::{Config, RawConfig};

/// The machine that is looked at.
pub struct Machine<'a> {
    /// The state directory.
    pub dir: &'a StateDir,
    /// Its clock.
    pub clock: &'a dyn Clock,
    /// The environment.
    pub variables: fn(&str) -> Option<String>,
    /// Whether a node runs on the directory.
    pub running: bool,
}

/// Everything that can be seen without asking a node. Blocks: on the disk, and on the service manager.
pub fn look(machine: &Machine<'_>) -> Vec<Finding> {
    let mut all = vec![directory(machine.dir), disk(machine)];
    let config = hosting::config(machine.dir, RawConfig::default());
    all.push(config_read(machine.dir, &config));
    let config = config.ok();
    all.push(policy_read(machine.dir, config.as_ref()));
    all.extend(keys(machine.dir));
    all.extend(credentials(machine, config.as_ref()));
    all.extend(clock(machine.clock.now()));
    if let Some(config) = &config {
        if !machine.running {
            all.push(port(config));
        }
        all.push(lan(config));
        all.extend(console(machine, config));
    }
    all.push(service());
    all
}

fn directory(dir: &StateDir) -> Finding {
    let shown = dir.root().display();
    match std::fs::metadata(dir.root()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => warning(
            "directory",
            format!("{shown} is not there yet"),
            "the first start makes it; is it the one that you mean (--state-dir)?",
        ),
        Err(error) => fault(
            "directory",
            format!("{shown}: {error}"),
            "run this as the user that the node runs as",
        ),
        Ok(_) if dir.is_gen1() => fault(
            "directory",
            format!("{shown} belongs to a gen-1 node"),
            "import it with `clawmesh-node migrate`",
        ),
        Ok(_) if dir.is_open_to_others() => fault(
            "directory",
            format!("{shown} can be written by others"),
            format!("run: chmod 700 {shown}"),
        ),
        Ok(_) => well("directory", format!("{shown} is there and private")),
    }
}

fn disk(machine: &Machine<'_>) -> Finding {
    let root = machine.dir.root();
    if !root.exists() {
        return well("disk", "not looked at: there is no state directory yet");
    }
    let begun = machine.clock.steady_ms();
    if let Err(error) = trial(root) {
        let why = format!("{} takes no writes: {error}", root.display());
        return fault("disk", why, "make room, or let the node write there");
    }
    let took_ms = machine.clock.steady_ms().saturating_sub(begun);
    let free = match system::disk(root) {
        Ok(disk) => disk.free,
        Err(error) => return fault("disk", format!("{}: {error}", root.display()), ""),
    };
    let room = format!(
        "{} MiB free, written and synced in {took_ms} ms",
        free >> 20
    );
    match free {
        _ if free < DISK_FREE_MIN_BYTES => fault("disk", room, "make room: nothing new is kept"),
        _ if free < DISK_FREE_LOW_BYTES => warning(
            "disk",
            room,
            "make room soon, or set store.max_bytes so that the node keeps less",
        ),
        _ if took_ms > DISK_SLOW_MS => warning(
            "disk",
            room,
            "decisions wait for the disk: is it worn out, or busy with something else?",
        ),
        _ => well("disk", room),
    }
}

/// Writes a small file, has it on the disk, and takes it away.
fn trial(root: &Path) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix("doctor-")
        .tempfile_in(root)?;
    file.write_all(&[0; DISK_TRIAL_BYTES])?;
    file.as_file().sync_all()
}

fn config_read(dir: &StateDir, config: &Result<Config, BootError>) -> Finding {
    let file = dir.config_file();
    match config {
        Ok(_) if !file.exists() => well(
            "config",
            "no config.toml: defaults are used (`clawmesh-node config init` writes one)",
        ),
        Ok(_) => well("config", format!("{} reads", file.display())),
        Err(error) => fault(
            "config",
            error.to_string(),
            "a node does not start with this; config.example.toml documents every key",
        ),
    }
}

fn policy_read(dir: &StateDir, config: Option<&Config>) -> Finding {
    let file = dir.policy_file();
    let shown = file.display();
    let moves = config.is_some_and(|config| {
        let mut devices = config.devices.iter();
        devices.any(|device| !device.offers().is_empty())
    });
    match files::read_text(&file, CONFIG_FILE_MAX_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && moves => warning(
            "policy",
            format!("there is no {shown}: every action of this node's actuators is refused"),
            "write one; README.md shows how, and `clawmesh-node policy test` tries it",
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            well("policy", "none, and no actuator that needs one")
        }
        Err(error) => fault(
            "policy",
            format!("{shown}: {error}"),
            "a node cannot read it",
        ),
        Ok(text) => match policy::load(&text) {
            Ok(_) => well("policy", format!("{shown} reads and its tests pass")),
            Err(error) => fault(
                "policy",
                format!("{shown}: {error}"),
                "a node keeps the last good one; `clawmesh-node policy test` says more",
            ),
        },
    }
}

fn keys(dir: &StateDir) -> Vec<Finding> {
    let device = match keystore::load_device_key(dir) {
        Ok(Some(key)) => well(
            "identity",
            format!("device {}, its key in an owner-only file", key.id().short()),
        ),
        Ok(None) => well("identity", "none yet; the first start makes it"),
        Err(KeyError::InKeychain { .. }) => well(
            "identity",
            "its key is in the keychain of the desktop application, which alone opens it",
        ),
        Err(error) => fault(
            "identity",
            error.to_string(),
            "a node does not start without its key",
        ),
    };
    let person = match keystore::operator_card(dir) {
        Ok(None) => None,
        Ok(Some(card)) if card.protected || card.in_keychain => Some(well(
            "operator key",
            format!(
                "the key of {} is under a passphrase or in a keychain",
                card.name
            ),
        )),
        Ok(Some(card)) => Some(warning(
            "operator key",
            format!("the key of {} is in a file without a passphrase", card.name),
            "put it under one: clawmesh-node operator key protect",
        )),
        Err(error) => Some(fault("operator key", error.to_string(), "")),
    };
    [Some(device), person].into_iter().flatten().collect()
}

fn credentials(machine: &Machine<'_>, config: Option<&Config>) -> Vec<Finding> {
    let set = match Credentials::list(machine.dir) {
        Ok(cards) => cards,
        Err(error) => {
            let advice = "no provider, device or channel gets its secret until it reads";
            return vec![fault("credentials", error.to_string(), advice)];
        }
    };
    let names: BTreeSet<&str> = set.iter().map(|card| card.name.as_str()).collect();
    let wanted = wanted(machine, config);
    let missing = wanted.iter().filter(|name| !names.contains(name.as_str()));
    let mut all: Vec<Finding> = missing
        .map(|name| {
            warning(
                "credentials",
                format!("the configuration names {name}, which is not set"),
                format!("set it: clawmesh-node credential set {name}"),
            )
        })
        .collect();
    let key = keystore::load_device_key(machine.dir).ok().flatten();
    let service = given_by(machine.variables);
    let opened = key.map(|key| Credentials::new(machine.dir, &key, service.as_deref()));
    let closed = match opened {
        Some(Ok(opened)) => opened.closed().unwrap_or_default(),
        Some(Err(error)) => vec![(String::new(), error.to_string())],
        None => Vec::new(),
    };
    // A running node may have a key that this process has not.
    all.extend(
        closed
            .into_iter()
            .map(|(_, why)| warning("credentials", why, "")),
    );
    if all.is_empty() {
        all.push(well(
            "credentials",
            format!("{} set, none missing", set.len()),
        ));
    }
    all
}

/// The credentials that the configuration names and that nothing else stands in for.
fn wanted(machine: &Machine<'_>, config: Option<&Config>) -> BTreeSet<String> {
    let set = |name: &str| (machine.variables)(name).is_some_and(|text| !text.is_empty());
    let models = config.into_iter().flat_map(|config| &config.models.all);
    let models = models.filter(|model| {
        let mut usual = variables_of(model.model.provider()).iter();
        let from_environment = model.usual && usual.any(|name| set(name));
        !model.local() && !model.model.is_of_mesh() && !from_environment
    });
    let mut all: BTreeSet<String> = models.map(|model| model.key.clone()).collect();
    let text = hosting::text(machine.dir)
        .ok()
        .flatten()
        .unwrap_or_default();
    let file: Table = text.parse().unwrap_or_default();
    let tables = file.get("device").and_then(|v| v.as_array());
    for table in tables.into_iter().flatten() {
        let named = ["password", "token"].map(|key| table.get(key).and_then(|v| v.as_str()));
        let named = named.into_iter().flatten();
        all.extend(
            named
                .filter(|name| credential_name(name).is_ok())
                .map(str::to_owned),
        );
    }
    all
}

/// Whether the machine's time can be right, and whether something keeps it so.
fn clock(now: TimeMs) -> Vec<Finding> {
    if now.0 < CLOCK_EARLIEST_MS {
        return vec![fault(
            "clock",
            "the clock of this machine is years behind",
            "set it, and have it kept right: timedatectl set-ntp true",
        )];
    }
    let synced = Path::new("/run/systemd/timesync/synchronized").exists();
    let others = [
        "/run/chrony/chronyd.pid",
        "/run/chronyd.pid",
        "/run/ntpd.pid",
        "/var/run/ntpd.pid",
    ];
    let other = others.iter().any(|file| Path::new(file).exists());
    vec![match (synced, other) {
        (true, _) => well("clock", "kept right by systemd-timesyncd"),
        (false, true) => well("clock", "a time service runs"),
        (false, false) => warning(
            "clock",
            "nothing is known to keep the clock of this machine right",
            "have it kept right: timedatectl set-ntp true (or chrony); a container has its host's clock",
        ),
    }]
}

fn port(config: &Config) -> Finding {
    let address = config.host.socket(config.port);
    match TcpListener::bind(address) {
        Ok(_) => well("port", format!("{address} is free")),
        Err(error) => fault(
            "port",
            format!("{address} cannot be listened on: {error}"),
            "another program has it: end that, or choose another with `clawmesh-node config set port N`",
        ),
    }
}

/// Whether the console can be opened for other machines, where it is to be.
fn console(machine: &Machine<'_>, config: &Config) -> Option<Finding> {
    let console = config.console.as_ref()?;
    let files = (console.cert.as_path(), console.key.as_path());
    let now = machine.clock.now();
    let certificate = match Certificate::load(files, &console.names(), now) {
        Ok(certificate) => certificate,
        Err(error) => {
            let advice = "the console is not open for other machines, or goes on with the certificate that it has; docs/phone.md";
            return Some(fault("console", error.to_string(), advice));
        }
    };
    if !machine.running
        && let Err(error) = TcpListener::bind(console.listen)
    {
        let why = format!("{} cannot be listened on: {error}", console.listen);
        return Some(fault(
            "console",
            why,
            "end the program that has it, or change console.listen",
        ));
    }
    let names: Vec<&str> = console
        .hosts
        .iter()
        .map(|host| host.name.as_str())
        .collect();
    let until = day(certificate.ends());
    let said = format!(
        "the certificate is for {} and counts until {until}",
        names.join(", ")
    );
    Some(
        match certificate.ends().since(now) < CERTIFICATE_ENDS_SOON_MS {
            true => warning(
                "console",
                said,
                "renew it; whatever does so should have done it by now",
            ),
            false => well("console", said),
        },
    )
}

fn lan(config: &Config) -> Finding {
    if !config.discovery {
        return well(
            "mdns",
            "discovery is off: peers are dialed by their addresses alone",
        );
    }
    match multicast() {
        Ok(()) => well("mdns", "multicast of the LAN can be heard"),
        Err(error) => warning(
            "mdns",
            format!("multicast of the LAN cannot be heard: {error}"),
            "nodes do not find each other: look at the network and its firewall (UDP 5353), or name peers by address",
        ),
    }
}

fn service() -> Finding {
    let manager = Manager::here();
    let (start_it, its_log) = match manager {
        Manager::Windows => (
            "run: sc.exe config clawmesh-node start= auto",
            "its log says why: node.log in the state directory of the service",
        ),
        _ => (
            "run: systemctl enable clawmesh-node",
            "its log says why: journalctl -u clawmesh-node",
        ),
    };
    let places = [true, false];
    let found = places
        .into_iter()
        .find_map(|system| Service::of(manager, system, |name| std::env::var_os(name))?.state());
    match found {
        None => well(
            "service",
            "not installed as a service (`clawmesh-node service install` does it)",
        ),
        Some(state) if state.active && state.enabled != Some(false) => well(
            "service",
            format!("{}: {}", state.file.display(), state.words),
        ),
        Some(state) if state.active => warning(
            "service",
            format!(
                "{}: {}, and does not start with the machine",
                state.file.display(),
                state.words
            ),
            start_it,
        ),
        Some(state) => warning(
            "service",
            format!("{}: {}", state.file.display(), state.words),
            its_log,
        ),
    }
}
