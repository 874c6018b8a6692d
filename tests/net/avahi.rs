//! A third party that is no ClawMesh: Avahi, with a bus and a run directory of its own.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::lab::{Host, PORT, installed, reads, until};

/// Avahi on a host; ended when dropped.
pub struct Avahi {
    bus: Child,
    daemon: Child,
    address: String,
    _home: TempDir,
}

/// Why Avahi cannot run here, if it cannot.
pub fn hindrance() -> Option<String> {
    let needed = [
        "avahi-daemon",
        "avahi-browse",
        "avahi-publish",
        "dbus-daemon",
        "unshare",
    ];
    let missing: Vec<&str> = needed.into_iter().filter(|p| !installed(p)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "{} not installed; as root: apt-get install avahi-daemon avahi-utils",
            missing.join(", ")
        )
    })
}

impl Avahi {
    pub fn start(host: &Host) -> Avahi {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("bus");
        let address = format!("unix:path={}", socket.display());
        // A session bus lets anybody of this user own any name.
        let mut bus = host.command("dbus-daemon");
        bus.args([
            "--session",
            "--nofork",
            "--nopidfile",
            "--address",
            &address,
        ]);
        let bus = quiet(&mut bus).spawn().unwrap();
        until("the bus is there", || socket.exists().then_some(()));
        let conf = home.path().join("avahi.conf");
        std::fs::write(&conf, "[server]\nhost-name=third-party\nallow-interfaces=eth0\nuse-ipv6=yes\n[publish]\npublish-workstation=no\n").unwrap();
        // Its run directory has a fixed name: a private one is mounted over it.
        let script = format!(
            "mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && \
             exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {}",
            conf.display()
        );
        let mut daemon = host.command("unshare");
        daemon
            .args(["-m", "sh", "-c", &script])
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        let daemon = quiet(&mut daemon).spawn().unwrap();
        until("avahi answers", || {
            let mut browse = host.command("avahi-browse");
            browse.args(["-pt", "_clawmesh._tcp"]);
            browse.env("DBUS_SYSTEM_BUS_ADDRESS", &address);
            quiet(&mut browse).status().unwrap().success().then_some(())
        });
        Avahi {
            bus,
            daemon,
            address,
            _home: home,
        }
    }

    /// What `avahi-browse -rpt _clawmesh._tcp` prints.
    pub fn browse(&self, host: &Host) -> String {
        let mut browse = host.command("avahi-browse");
        browse
            .args(["-rpt", "_clawmesh._tcp"])
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
        reads(
            &mut browse
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Announces a node that is not there, until the child is ended with this value.
    pub fn publish(&self, host: &Host, addresses: &[&str], device: &str) -> Published {
        let name = format!("{}.local", &device[..8]);
        let with = |args: &[&str]| {
            let mut publish = host.command("avahi-publish");
            publish
                .args(args)
                .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
            quiet(&mut publish).spawn().unwrap()
        };
        let port = PORT.to_string();
        let txt = format!("deviceId={device}");
        let mut said: Vec<Child> = addresses
            .iter()
            .map(|address| with(&["-a", "-R", &name, address]))
            .collect();
        said.push(with(&[
            "-s",
            "-H",
            &name,
            &device[..8],
            "_clawmesh._tcp",
            &port,
            &txt,
        ]));
        Published(said)
    }
}

/// Announcements; they end when dropped.
pub struct Published(Vec<Child>);

impl Drop for Published {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

impl Drop for Avahi {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
