//! `deploy/install.sh`: what is signed is installed, and nothing else ever is. The program in these releases is a few lines of
//! shell; `scripts/release check` installs the real one.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::process::*;

/// Everything that the script may call; `minisign` is left out, so that its own check is the one that is tried.
const TOOLS: [&str; 31] = [
    "awk",
    "cat",
    "chmod",
    "cmp",
    "cp",
    "curl",
    "cut",
    "dd",
    "dirname",
    "grep",
    "gzip",
    "head",
    "id",
    "mkdir",
    "mktemp",
    "mv",
    "openssl",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "sort",
    "sync",
    "tar",
    "touch",
    "tr",
    "uname",
    "wc",
    "true",
    "find",
    "timeout",
];

struct Release {
    dir: TempDir,
    tools: TempDir,
    key: SigningKey,
}

impl Release {
    /// A release of `version`, whose program says so; `None` where the script cannot check signatures.
    fn of(version: &str) -> Option<Self> {
        let openssl = Command::new("openssl").arg("version").output();
        let new = openssl.is_ok_and(|said| said.stdout.starts_with(b"OpenSSL 3"));
        if !new || !Path::new("/usr/bin/curl").exists() {
            skipped("install.sh", "curl or OpenSSL 3 is not there");
            return None;
        }
        let tools = tempfile::tempdir().unwrap();
        for tool in TOOLS {
            let at = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
            let at = at.iter().find(|at| at.exists()).expect(tool);
            symlink(at, tools.path().join(tool)).unwrap();
        }
        let release = Self {
            dir: tempfile::tempdir().unwrap(),
            tools,
            key: SigningKey::from_bytes(&[7; 32]),
        };
        release.pack(version, &format!("echo clawmesh-node {version}"));
        release.sign(&release.key, "ED");
        Some(release)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a program of one line into the archive of `version`, and the archive into the list.
    fn pack(&self, version: &str, line: &str) {
        let name = format!("clawmesh-node-{version}-linux-{}", std::env::consts::ARCH);
        fs::create_dir_all(self.at(&name)).unwrap();
        let program = self.at(&name).join("clawmesh-node");
        fs::write(&program, format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let archive = self.at(&format!("{name}.tar.gz"));
        let packed = Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .args([self.dir.path(), Path::new(&name)])
            .status();
        assert!(packed.unwrap().success());
        fs::remove_dir_all(self.at(&name)).unwrap();
        let sum = Sha256::digest(fs::read(&archive).unwrap());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(self.at("SHA256SUMS"), format!("{sum}  {name}.tar.gz\n")).unwrap();
    }

    /// Signs the list as minisign does: over itself (`Ed`), or over its BLAKE2b (`ED`).
    fn sign(&self, key: &SigningKey, how: &str) {
        let list = self.at("SHA256SUMS");
        let signed = match how {
            "ED" => {
                let args = ["dgst", "-blake2b512", "-binary"];
                let hashed = Command::new("openssl").args(args).arg(&list).output();
                hashed.unwrap().stdout
            }
            _ => fs::read(&list).unwrap(),
        };
        let signature = key.sign(&signed).to_bytes();
        let bytes = [how.as_bytes(), b"key-id-8", &signature].concat();
        let comment = "trusted comment: of a test";
        let whole = [&signature[..], b"of a test"].concat();
        let whole = STANDARD.encode(key.sign(&whole).to_bytes());
        let text = format!(
            "untrusted comment: a test\n{}\n{comment}\n{whole}\n",
            STANDARD.encode(bytes)
        );
        fs::write(self.at("SHA256SUMS.minisig"), text).unwrap();
    }

    fn public(&self) -> String {
        let mut bytes = b"Edkey-id-8".to_vec();
        bytes.extend(self.key.verifying_key().to_bytes());
        STANDARD.encode(bytes)
    }

    fn run(&self, prefix: &Path, args: &[&str]) -> Said {
        let from = self.dir.path().to_str().unwrap().to_owned();
        self.run_from(&from, prefix, args)
    }

    fn run_from(&self, from: &str, prefix: &Path, args: &[&str]) -> Said {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.sh");
        let mut command = Command::new("/bin/sh");
        command
            .arg(script)
            .args(["--from", from, "--key", &self.public(), "--prefix"]);
        command.arg(prefix).args(args);
        command.env_clear().env("PATH", self.tools.path());
        Said(command.output().unwrap())
    }
}

struct Said(Output);

impl Said {
    fn ok(self) -> String {
        assert!(self.0.status.success(), "{:?}", self.0);
        String::from_utf8(self.0.stdout).unwrap()
    }

    fn fails(self, why: &str) {
        let said = String::from_utf8_lossy(&self.0.stderr).into_owned();
        assert!(
            !self.0.status.success() && said.contains(why),
            "{:?}",
            self.0
        );
    }
}

fn installed(prefix: &Path) -> Option<String> {
    let program = prefix.join("bin/clawmesh-node");
    let said = program
        .exists()
        .then(|| Command::new(&program).output().unwrap());
    said.map(|said| String::from_utf8(said.stdout).unwrap().trim().to_owned())
}

#[test]
fn what_is_signed_is_installed_and_taken_away_again() {
    let Some(release) = Release::of("1.2.3") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let prefix = home.path().join("Größe und Raum");
    let dry = release.run(&prefix, &["--dry-run"]).ok();
    assert!(dry.contains("1.2.3") && !prefix.exists(), "{dry}");
    let said = release.run(&prefix, &[]).ok();
    assert!(said.contains("signed with the expected key"), "{said}");
    assert_eq!(installed(&prefix).as_deref(), Some("clawmesh-node 1.2.3"));
    // Signed in minisign's older way; the same again is no mistake.
    release.sign(&release.key, "Ed");
    let again = release.run(&prefix, &["--version", "1.2.3"]).ok();
    assert!(again.contains("(was 1.2.3)"), "{again}");
    release.run(&prefix, &["--uninstall"]).ok();
    assert_eq!(installed(&prefix), None);
    release.run(&prefix, &["--uninstall"]).fails("is not there");
}

#[test]
fn what_is_not_signed_is_never_installed() {
    let Some(release) = Release::of("1.2.3") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let prefix = home.path().join("p");
    let list = fs::read_to_string(release.at("SHA256SUMS")).unwrap();
    let refused = |why: &str| {
        release.run(&prefix, &[]).fails(why);
        assert!(!prefix.exists(), "{why}");
    };
    // The list changed, or signed by somebody else with the same key id, or not at all.
    for how in ["Ed", "ED"] {
        release.sign(&release.key, how);
        fs::write(release.at("SHA256SUMS"), format!("{list}\n")).unwrap();
        refused("the signature of SHA256SUMS is wrong");
        fs::write(release.at("SHA256SUMS"), &list).unwrap();
        release.sign(&SigningKey::from_bytes(&[8; 32]), how);
        refused("the signature of SHA256SUMS is wrong");
    }
    for text in [
        "",
        "untrusted comment: x\n",
        "untrusted comment: x\nAAAA\n",
        "a\nb\nc\nd\n",
    ] {
        fs::write(release.at("SHA256SUMS.minisig"), text).unwrap();
        refused("is no signature of minisign");
    }
    fs::remove_file(release.at("SHA256SUMS.minisig")).unwrap();
    refused("SHA256SUMS.minisig is not there");
    // The list is right; the archive is cut off, or too large to be one.
    release.sign(&release.key, "ED");
    let archive = release.at(list[66..].trim());
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    refused("is not what the signed list says");
    fs::File::create(&archive)
        .unwrap()
        .set_len(200_000_000)
        .unwrap();
    refused("is larger than");
}

#[test]
fn a_program_that_does_not_fit_leaves_the_one_that_is_there() {
    let Some(release) = Release::of("1.10.0") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let prefix = home.path().join("p");
    release.run(&prefix, &[]).ok();
    let stays = |release: &Release, args: &[&str], why: &str| {
        release.run(&prefix, args).fails(why);
        assert_eq!(
            installed(&prefix).as_deref(),
            Some("clawmesh-node 1.10.0"),
            "{why}"
        );
    };
    // 1.9.9 is before 1.10.0, and a candidate is before its release.
    for older in ["1.9.9", "1.10.0-rc.1"] {
        let before = Release::of(older).unwrap();
        stays(&before, &[], "newer than");
    }
    stays(
        &release,
        &["--version", "1.11.0"],
        "offers 1.10.0, not 1.11.0",
    );
    release.pack("1.11.0", "exit 3");
    release.sign(&release.key, "ED");
    stays(&release, &[], "does not run here");
    // Nor one that is another than its name says.
    release.pack("1.11.0", "echo clawmesh-node 0.0.9");
    release.sign(&release.key, "ED");
    stays(&release, &[], "another version (0.0.9)");
    let list = fs::read_to_string(release.at("SHA256SUMS")).unwrap();
    fs::write(
        release.at("SHA256SUMS"),
        list.replace(std::env::consts::ARCH, "riscv64"),
    )
    .unwrap();
    release.sign(&release.key, "ED");
    stays(&release, &[], "the release has no program for linux");
    fs::write(release.at("SHA256SUMS"), format!("{list}{list}")).unwrap();
    release.sign(&release.key, "ED");
    stays(&release, &[], "two programs");
    // Asked for, an older one is put in its place.
    let before = Release::of("1.9.9").unwrap();
    // What lies beside it under the name of the new one is not written through.
    let other = home.path().join("other");
    fs::write(&other, "mine").unwrap();
    symlink(&other, prefix.join("bin/clawmesh-node.new")).unwrap();
    before.run(&prefix, &["--downgrade"]).ok();
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    assert_eq!(installed(&prefix).as_deref(), Some("clawmesh-node 1.9.9"));
    let taken = home.path().join("taken");
    fs::create_dir_all(taken.join("bin/clawmesh-node")).unwrap();
    before.run(&taken, &[]).fails("is a folder");
}

#[test]
fn over_a_network_only_with_tls() {
    let Some(release) = Release::of("1.2.3") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let prefix = home.path().join("p");
    release
        .run_from("http://field.example/r", &prefix, &[])
        .fails("is without TLS");
    // A server of this machine that sends everything elsewhere, without TLS: not followed.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{BufRead as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let elsewhere =
            format!("HTTP/1.1 302 Found\r\nLocation: http://{at}/x\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(elsewhere.as_bytes()).unwrap();
        // A second connection would be the redirect that must not be followed.
        drop(stream);
        listener.set_nonblocking(true).unwrap();
        listener
    });
    release
        .run_from(&format!("http://{at}"), &prefix, &[])
        .fails("could not be fetched");
    let listener = server.join().unwrap();
    assert!(
        listener.accept().is_err(),
        "a redirect without TLS was followed"
    );
    assert!(!prefix.exists());
}

#[test]
fn half_a_script_does_nothing() {
    let Some(release) = Release::of("1.2.3") else {
        return;
    };
    let script =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.sh")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let prefix = home.path().join("p");
    let lines: Vec<&str> = script.lines().collect();
    for cut in (0..lines.len() - 1).step_by(7) {
        let half = release.at("half.sh");
        fs::write(&half, lines[..cut].join("\n")).unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg(&half).arg("--from").arg(release.dir.path());
        command
            .args(["--key", &release.public(), "--prefix"])
            .arg(&prefix);
        command.env_clear().env("PATH", release.tools.path());
        let said = command.output().unwrap();
        assert!(
            said.stdout.is_empty() && !prefix.exists(),
            "{cut}: {said:?}"
        );
    }
}

#[test]
fn a_newer_release_is_told_and_not_installed() {
    let Some(release) = Release::of("99.0.0") else {
        return;
    };
    let place = Place::new();
    place.json(&["config", "init"]);
    let from = release.dir.path().to_str().unwrap();
    let key = release.public();
    place.run(&["update"]).fails(2, &["[updates]"]);
    let said = place.json(&["update", "--from", from, "--key", &key]);
    assert_eq!(
        (&said["offered"], &said["newer"]),
        (&"99.0.0".into(), &true.into()),
        "{said}"
    );
    let config = place.state().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let table = format!("{text}\n[updates]\nfrom = \"{from}\"\nkey = \"{key}\"\n");
    fs::write(&config, table).unwrap();
    let offered = || {
        let status = place.json(&["status"]);
        let mut alarms = status["alarms"].as_array().unwrap().clone().into_iter();
        alarms.find(|alarm| alarm["kind"] == "update.offered")
    };
    let node = place.start(&["--no-discovery"]);
    let alarm = eventually("the newer release is told", offered);
    assert!(
        alarm["message"].as_str().unwrap().contains("99.0.0"),
        "{alarm}"
    );
    node.kill();
    // Within the day it is not asked for again, and what was found is not forgotten.
    fs::remove_file(release.at("SHA256SUMS")).unwrap();
    let node = place.start(&["--no-discovery"]);
    eventually("it is told at once", offered);
    assert_eq!(node.stop(), 0);
    // What another key has signed is not told.
    release.pack("99.0.0", "echo");
    release.sign(&SigningKey::from_bytes(&[8; 32]), "ED");
    place
        .run(&["update"])
        .fails(1, &["the signature of SHA256SUMS is wrong"]);
}
