//! A server of releases on this machine that does everything wrong, one thing at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_futures)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;

use super::*;

/// What a server answers: these bytes, of which it promises so many.
#[derive(Clone)]
struct Answer(Vec<u8>, usize);

fn whole(bytes: &[u8]) -> Answer {
    Answer(bytes.to_vec(), bytes.len())
}

const NEW: &[u8] = b"the new program, longer than the old one";
const OLD: &[u8] = b"the old program";

/// A release with one AppImage for this machine, and the server's answers by name.
struct Release {
    key: SigningKey,
    name: String,
    answers: BTreeMap<String, Answer>,
}

impl Release {
    fn of(version: &str) -> Self {
        let (begin, end) = Package::AppImage.name(std::env::consts::ARCH);
        let name = format!("{begin}{version}{end}");
        let mut release = Self {
            key: SigningKey::from_bytes(&[7; 32]),
            answers: BTreeMap::from([(name.clone(), whole(NEW))]),
            name,
        };
        let sum: String = Sha256::digest(NEW)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let list = format!("{sum}  {}\n", release.name);
        release.sign(list.as_bytes(), &SigningKey::from_bytes(&[7; 32]));
        release
    }

    /// Signs a list as minisign does.
    fn sign(&mut self, list: &[u8], key: &SigningKey) {
        let signature = key.sign(list).to_bytes();
        let bytes = [&b"Edkey-id-8"[..], &signature].concat();
        let all = [&signature[..], b"of a test"].concat();
        let text = format!(
            "untrusted comment: a test\n{}\ntrusted comment: of a test\n{}\n",
            STANDARD.encode(bytes),
            STANDARD.encode(key.sign(&all).to_bytes())
        );
        self.answers.insert("SHA256SUMS".to_owned(), whole(list));
        let name = "SHA256SUMS.minisig".to_owned();
        self.answers.insert(name, whole(text.as_bytes()));
    }

    fn public(&self) -> String {
        let mut bytes = b"Edkey-id-8".to_vec();
        bytes.extend(self.key.verifying_key().to_bytes());
        STANDARD.encode(bytes)
    }

    /// Serves it on a port of this machine until the test's process ends.
    fn serve(self) -> Releases {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}/r", listener.local_addr().unwrap());
        let releases = Releases::new(&at, &self.public(), None).unwrap();
        let answers = self.answers;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().and_then(Result::ok).unwrap_or_default();
                while lines.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {}
                let name = first.split(' ').nth(1).unwrap_or("");
                let text = match answers.get(name.trim_start_matches("/r/")) {
                    Some(Answer(bytes, promised)) => [
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\n").as_bytes(),
                        bytes,
                    ]
                    .concat(),
                    None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
                };
                let _ = stream.write_all(&text);
            }
        });
        releases
    }
}

/// A folder with an installed program.
fn installed() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("Größe und Raum");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("ClawMesh.AppImage");
    std::fs::write(&file, OLD).unwrap();
    (dir, file)
}

fn here() -> Version {
    Version::new(0, 1, 0)
}

async fn update(releases: &Releases, to: &Path) -> Result<usize, String> {
    let offer = releases.newer(Package::AppImage, &here()).await?;
    let offer = offer.ok_or("nothing newer")?;
    let seen = Arc::new(AtomicUsize::new(0));
    let told = seen.clone();
    let told = Box::new(move |n: usize| told.store(n, Ordering::Relaxed));
    let permissions = std::fs::metadata(to).map(|m| m.permissions()).ok();
    releases
        .bring_package(&offer, to, permissions, told)
        .await?;
    Ok(seen.load(Ordering::Relaxed))
}

/// The release is refused for a reason, and everything is as it was.
async fn refused(release: Release, why: &str) {
    let (_dir, file) = installed();
    let releases = release.serve();
    let said = update(&releases, &file).await.unwrap_err();
    assert!(said.contains(why), "{said}, not {why}");
    assert_eq!(std::fs::read(&file).unwrap(), OLD, "{why}");
    let folder = std::fs::read_dir(file.parent().unwrap()).unwrap();
    assert_eq!(folder.count(), 1, "{why}: something was left");
}

#[tokio::test]
async fn a_good_package_takes_the_place_of_the_old_one() {
    let (_dir, file) = installed();
    let releases = Release::of("0.2.0").serve();
    let mut kept = std::fs::metadata(&file).unwrap().permissions();
    kept.set_readonly(true);
    std::fs::set_permissions(&file, kept).unwrap();
    let before = std::fs::metadata(&file).unwrap().permissions();
    assert_eq!(update(&releases, &file).await.unwrap(), NEW.len());
    assert_eq!(std::fs::read(&file).unwrap(), NEW);
    let after = std::fs::metadata(&file).unwrap().permissions();
    assert_eq!(before, after);
    let folder = std::fs::read_dir(file.parent().unwrap()).unwrap();
    assert_eq!(folder.count(), 1, "something was left");
}

#[tokio::test]
async fn a_package_that_is_not_what_was_signed_is_never_installed() {
    // Cut off: with an end that is missing, and with one that looks right.
    let mut release = Release::of("0.2.0");
    let name = release.name.clone();
    let half = NEW.len() / 2;
    release
        .answers
        .insert(name.clone(), Answer(NEW[..half].to_vec(), NEW.len()));
    refused(release, "broke off in its answer").await;
    let mut release = Release::of("0.2.0");
    release.answers.insert(name.clone(), whole(&NEW[..half]));
    refused(release, "is not what the signed list says").await;
    // One byte changed.
    let mut changed = NEW.to_vec();
    changed[3] ^= 1;
    let mut release = Release::of("0.2.0");
    release.answers.insert(name.clone(), whole(&changed));
    refused(release, "is not what the signed list says").await;
    let mut release = Release::of("0.2.0");
    release.answers.remove(&name);
    refused(release, "has no /r/clawmesh_0.2.0").await;
}

#[tokio::test]
async fn a_list_that_is_not_signed_with_the_key_offers_nothing() {
    let other = SigningKey::from_bytes(&[8; 32]);
    let mut release = Release::of("0.2.0");
    let list = release.answers["SHA256SUMS"].0.clone();
    release.sign(&list, &other);
    refused(release, "the signature of SHA256SUMS is wrong").await;
    // A newer version in an old list.
    let mut release = Release::of("0.0.9");
    let text = String::from_utf8(release.answers["SHA256SUMS"].0.clone()).unwrap();
    let newer = text.replace("0.0.9", "0.2.0");
    release
        .answers
        .insert("SHA256SUMS".to_owned(), whole(newer.as_bytes()));
    refused(release, "the signature of SHA256SUMS is wrong").await;
    let mut release = Release::of("0.2.0");
    release.answers.remove("SHA256SUMS.minisig");
    refused(release, "is there a release?").await;
    // A list that does not end.
    let mut release = Release::of("0.2.0");
    let long = vec![b'x'; 200_000];
    release
        .answers
        .insert("SHA256SUMS".to_owned(), whole(&long));
    refused(release, "says more than").await;
}

#[tokio::test]
async fn an_older_or_the_same_version_is_not_offered() {
    for version in ["0.0.9", "0.1.0-rc.1", "0.1.0"] {
        refused(Release::of(version), "nothing newer").await;
    }
    let mut release = Release::of("0.2.0");
    release.sign(b"", &SigningKey::from_bytes(&[7; 32]));
    refused(release, "the release has no clawmesh_VERSION").await;
}

#[tokio::test]
async fn where_nobody_answers_or_nothing_can_be_written_that_is_said() {
    let (_dir, file) = installed();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let releases = Releases::new(&at, &Release::of("0.2.0").public(), None).unwrap();
    let said = update(&releases, &file).await.unwrap_err();
    assert!(said.contains("cannot be reached"), "{said}");
    let releases = Release::of("0.2.0").serve();
    let gone = file.parent().unwrap().join("gone/ClawMesh.AppImage");
    let said = update(&releases, &gone).await.unwrap_err();
    assert!(said.contains("cannot be written"), "{said}");
    // A folder in its place is not replaced.
    let folder = file.parent().unwrap().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let said = update(&releases, &folder).await.unwrap_err();
    assert!(said.contains("cannot be written"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), OLD);
}

#[test]
fn each_system_has_its_package() {
    let list: String = [
        "clawmesh_0.2.0_amd64.AppImage",
        "clawmesh_0.2.0_amd64.deb",
        "clawmesh-node_0.2.0_amd64.deb",
        "clawmesh-0.2.0-1.x86_64.rpm",
        "clawmesh-node-0.2.0-1.x86_64.rpm",
        "ClawMesh_0.2.0_x64_en-US.msi",
        "ClawMesh_0.2.0_aarch64.dmg",
    ]
    .iter()
    .map(|name| format!("{}  {name}\n", "a".repeat(64)))
    .collect();
    for (of, machine) in [
        (Package::AppImage, "x86_64"),
        (Package::Deb, "x86_64"),
        (Package::Rpm, "x86_64"),
        (Package::Msi, "x86_64"),
        (Package::Dmg, "aarch64"),
    ] {
        let offer = offer(&list, of, machine).unwrap();
        assert_eq!(offer.version, Version::new(0, 2, 0), "{of:?}");
    }
    offer(&list, Package::Deb, "aarch64").unwrap_err();
    let bad = list.replace("clawmesh_0.2.0_amd64.deb", "clawmesh_../x_amd64.deb");
    offer(&bad, Package::Deb, "x86_64").unwrap_err();
}
