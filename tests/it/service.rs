//! The files of `service install`: what is printed is what systemd takes. Nothing of this machine is changed.

use std::path::Path;
use std::process::Command;

use crate::process::*;

/// What `service install --dry-run` would write.
fn unit(place: &Place, args: &[&str]) -> String {
    let all = [&["service", "install", "--dry-run", "--json"], args].concat();
    let said = place.run(&all).json();
    let steps = said.as_array().unwrap().clone();
    let written = steps.iter().find_map(|step| step["text"].as_str());
    written.unwrap_or_else(|| panic!("{steps:?}")).to_owned()
}

/// What systemd says against a unit.
fn verified(place: &Place, text: &str, user: bool) -> String {
    let file = place.beside("clawmesh-node.service");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.arg(if user { "--user" } else { "--system" });
    // Without the machine's other units and manual pages.
    command
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file);
    command.env("XDG_RUNTIME_DIR", place.beside("."));
    let said = command.output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    let ours = text.lines().filter(|line| line.contains("clawmesh-node"));
    let ours: Vec<&str> = ours.collect();
    match said.status.success() {
        true => ours.join("\n"),
        false => format!("{}: {text}", said.status),
    }
}

#[test]
fn units_are_what_systemd_takes() {
    let place = Place::new();
    let known = Command::new("systemd-analyze").arg("--version").output();
    if !known.is_ok_and(|said| said.status.success()) {
        return skipped("systemd units", "systemd-analyze is not there");
    }
    let program = env!("CARGO_BIN_EXE_clawmesh-node");
    let as_root = [
        "--system",
        "--manager=systemd",
        "--run-as=root",
        "--program",
        program,
    ];
    let own = ["--user", "--manager=systemd", "--program", program];
    let system = unit(&place, &as_root);
    assert_eq!(verified(&place, &system, false), "");
    assert_eq!(verified(&place, &unit(&place, &own), true), "");
    // It is looked at: a unit with a mistake does not pass.
    let wrong = system.replace("WatchdogSec=30", "WatchdogSec=often");
    assert_ne!(verified(&place, &wrong, false), "");
}

#[test]
fn the_unit_of_deploy_is_the_one_that_is_installed() {
    let place = Place::new();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/clawmesh-node.service");
    let deploy = std::fs::read_to_string(deploy).unwrap();
    let mut command = place.command();
    command.args([
        "service",
        "install",
        "--dry-run",
        "--json",
        "--system",
        "--manager=systemd",
    ]);
    command.args(["--program", "/usr/bin/clawmesh-node"]);
    let said = command.output().unwrap();
    let steps: Vec<serde_json::Value> = serde_json::from_slice(&said.stdout).unwrap();
    let written: Vec<_> = steps
        .iter()
        .filter_map(|step| step["text"].as_str())
        .collect();
    assert_eq!(written, [deploy.as_str()]);
    let runs: Vec<String> = steps
        .iter()
        .filter_map(|step| Some(step["run"].as_array()?.last()?.to_string()))
        .collect();
    assert!(
        runs.iter().any(|run| run.contains("daemon-reload")),
        "{steps:?}"
    );
}

#[test]
fn a_service_that_is_not_there_is_not_found() {
    let place = Place::new();
    for manager in ["systemd", "launchd"] {
        let manager = format!("--manager={manager}");
        place
            .run(&["service", "status", "--user", &manager])
            .fails(3, &["service install"]);
        place
            .run(&["service", "uninstall", "--user", &manager])
            .fails(3, &["service install"]);
    }
    // A file of somebody else is not touched.
    let folder = place.beside(".config/systemd/user");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("clawmesh-node.service");
    std::fs::write(&file, "[Service]\nExecStart=/bin/mine\n").unwrap();
    let said = place.run(&["service", "uninstall", "--user", "--manager=systemd"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("/bin/mine")
    );
}

#[test]
fn lines_for_the_journal_carry_their_level() {
    use std::os::unix::fs::MetadataExt as _;

    let place = Place::new();
    place.write("config.toml", "port = 0\ndiscovery = false\n");
    // A policy that does not read is told in the log of each start.
    place.write("policy.toml", "version = 'x'\n");
    let levels = |named: &dyn Fn(&std::fs::Metadata) -> String| {
        let log = place.beside("journal.log");
        let file = std::fs::File::create(&log).unwrap();
        let mut command = place.command();
        command.env("JOURNAL_STREAM", named(&file.metadata().unwrap()));
        command
            .args(["start", "--json", "--state-dir"])
            .arg(place.state());
        command.stdout(std::process::Stdio::piped()).stderr(file);
        let node = Running::of(command.spawn().unwrap());
        assert_eq!(node.stop(), 0);
        let text = std::fs::read_to_string(log).unwrap();
        assert!(!text.is_empty());
        let first = text
            .lines()
            .map(|line| line.chars().take(3).collect::<String>());
        first.collect::<Vec<_>>()
    };
    let journal = levels(&|file| format!("{}:{}", file.dev(), file.ino()));
    assert!(
        journal
            .iter()
            .all(|line| ["<3>", "<4>", "<6>", "<7>"].contains(&line.as_str())),
        "{journal:?}"
    );
    // Another file than the one that is named is none.
    let plain = levels(&|file| format!("{}:{}", file.dev(), file.ino() + 1));
    assert!(plain.iter().all(|line| !line.starts_with('<')), "{plain:?}");
}

#[test]
fn windows_gives_the_service_an_account_of_its_own_and_the_directory_to_that_alone() {
    let place = Place::new();
    let install = [
        "service",
        "install",
        "--dry-run",
        "--json",
        "--manager=windows",
    ];
    let said = place.run(&install).json();
    let steps = said.as_array().unwrap().clone();
    let run = |step: &serde_json::Value| -> Option<String> {
        let words = step["run"].as_array()?.iter();
        Some(
            words
                .map(|word| word.as_str().unwrap())
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    let runs: Vec<String> = steps.iter().filter_map(run).collect();
    let at = |words: &str| {
        let found = runs.iter().position(|run| run.contains(words));
        found.unwrap_or_else(|| panic!("{words} in {runs:?}"))
    };
    assert!(at("/inheritance:r") < at("sc.exe create"), "{runs:?}");
    assert!(at("sc.exe create") < at("net.exe start"), "{runs:?}");
    let state = place.state().display().to_string();
    let create = &runs[at("sc.exe create")];
    for words in [
        "start= auto",
        r"obj= NT SERVICE\clawmesh-node",
        "start --as-service --state-dir",
        &state,
    ] {
        assert!(create.contains(words), "{words}: {create}");
    }
    // No group of people is granted anything.
    let granted = runs[at("/inheritance:r")]
        .split(' ')
        .filter(|word| word.starts_with('*'));
    let granted: Vec<&str> = granted
        .map(|word| word.split(':').next().unwrap())
        .collect();
    let account = "*S-1-5-80-326923544-3975239612-1228487156-1269689144-1426928730";
    assert_eq!(granted, ["*S-1-5-18", "*S-1-5-32-544", account]);

    let refused = |more: &str| place.run(&[&install[..], &[more]].concat()).code;
    assert_eq!((refused("--user"), refused("--run-as=ada")), (2, 2));
    // Started by a person, a service of Windows says so and does nothing.
    place
        .run(&["start", "--as-service"])
        .fails(2, &["service manager of Windows"]);
    assert!(!place.state().exists(), "nothing was made");
}
