//! What a release offers, as its signed list of sums says: at an address, or in a folder. deploy/install.sh checks the same
//! list by the same key. `fetch` brings bytes, and `package` a package of the desktop application that has the sum of the list.

mod fetch;
pub mod package;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use minisign_verify::{PublicKey, Signature};
use semver::Version;

use self::fetch::{Sink, protected};
use crate::adapters::http_client::Address;
use crate::domain::base::limits::{RELEASE_LIST_MAX_BYTES, RELEASE_WAIT_MAX_MS};

/// The list of sums of a release, and beside it its signature (jedisct1.github.io/minisign).
const LIST: &str = "SHA256SUMS";

/// How the packages of the headless node are called.
const NODE: &str = "clawmesh-node";

/// Where releases are, and the key that they are signed with.
#[derive(Clone)]
pub struct Releases {
    place: Place,
    key: PublicKey,
    /// A PEM file of the authorities that prove the address, instead of the system's.
    ca: Option<PathBuf>,
}

#[derive(Clone)]
enum Place {
    /// Below an address.
    At(Address),
    /// In a folder.
    In(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::At(address) => address.fmt(f),
            Place::In(folder) => folder.display().fmt(f),
        }
    }
}

impl fmt::Debug for Releases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Releases")
            .field(&self.place.to_string())
            .finish()
    }
}

impl fmt::Display for Releases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// The version of this program.
///
/// # Errors
/// If it was built with one that is none.
pub fn this_version() -> Result<Version, String> {
    let text = env!("CARGO_PKG_VERSION");
    Version::parse(text).map_err(|e| format!("{text} is no version: {e}"))
}

impl Releases {
    /// Releases at `from`, an `https://` address or a folder, signed with `key`, the public key as minisign writes it.
    ///
    /// # Errors
    /// The fault, as text.
    pub fn new(from: &str, key: &str, ca: Option<PathBuf>) -> Result<Self, String> {
        let place = match from.contains("://") {
            false if Path::new(from).is_absolute() => Place::In(PathBuf::from(from)),
            false => {
                return Err("from: an https:// address, or the whole path of a folder".to_owned());
            }
            true => {
                let address = Address::parse(from).map_err(|why| format!("from: {why}"))?;
                protected(&address).map_err(|why| format!("from: {why}"))?;
                Place::At(address)
            }
        };
        let bad = "key: no minisign key; that is the line of 56 characters in the .pub file that begins with RW";
        let key = PublicKey::from_base64(key.trim()).map_err(|_| bad.to_owned())?;
        Ok(Self { place, key, ca })
    }

    /// The version that is offered for this kind of machine.
    ///
    /// # Errors
    /// If it cannot be had, is not signed with the key, or has nothing for this machine.
    pub async fn offered(&self) -> Result<Version, String> {
        let list = self.list().await?;
        version_in(&list, std::env::consts::OS, std::env::consts::ARCH)
    }

    /// The list of sums, as it is signed with the key.
    async fn list(&self) -> Result<String, String> {
        let wait = Duration::from_millis(RELEASE_WAIT_MAX_MS);
        let both = async { tokio::try_join!(self.get(LIST), self.get("SHA256SUMS.minisig")) };
        let both = tokio::time::timeout(wait, both).await;
        let (list, signature) =
            both.map_err(|_| format!("{self} did not answer within {} s", wait.as_secs()))??;
        signed(&self.key, &list, &signature)?;
        String::from_utf8(list).map_err(|_| format!("{LIST} is no text"))
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.bring(name, &mut Sink::memory(&mut bytes, RELEASE_LIST_MAX_BYTES))
            .await?;
        Ok(bytes)
    }

    /// Brings a file of the release, piece by piece.
    async fn bring(&self, name: &str, into: &mut Sink<'_>) -> Result<(), String> {
        match &self.place {
            Place::In(folder) => fetch::read(&folder.join(name), into).await,
            Place::At(address) => {
                fetch::fetch(&format!("{address}/{name}"), self.ca.as_deref(), into).await
            }
        }
    }
}

fn signed(key: &PublicKey, list: &[u8], signature: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(signature).map_err(|_| "the signature is no text".to_owned())?;
    let signature = Signature::decode(text)
        .map_err(|_| format!("{LIST}.minisig is no signature of minisign"))?;
    // Both ways of minisign: over the file, and over its hash.
    key.verify(list, &signature, true)
        .map_err(|e| format!("the signature of {LIST} is wrong, or of another key: {e}"))
}

/// A file of the list whose name says a version.
struct Listed<'a> {
    name: &'a str,
    /// Its SHA-256, in hexadecimal digits.
    sum: &'a str,
    version: Version,
}

/// The one file of the list whose name is `begin`, a version and `end`; `what` names it in an error.
fn one<'a>(list: &'a str, begin: &str, end: &str, what: &str) -> Result<Listed<'a>, String> {
    let mut found = list.lines().filter_map(|line| {
        let (sum, name) = (line.get(..64)?, line.get(66..)?);
        // The names of the node's packages begin as those of the desktop application do.
        if name.starts_with(NODE) && !begin.starts_with(NODE) {
            return None;
        }
        let version = name.strip_prefix(begin)?.strip_suffix(end)?;
        Some((name, sum, version))
    });
    let (name, sum, version) = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (None, _) => return Err(format!("the release has no {what}")),
        (Some(_), Some(_)) => return Err(format!("the release lists two files as {what}")),
    };
    let version = Version::parse(version)
        .map_err(|e| format!("the release names a version that is none: {e}"))?;
    Ok(Listed { name, sum, version })
}

/// The version of the one program of the headless node for a kind of machine: an archive, on Windows a package.
fn version_in(list: &str, system: &str, machine: &str) -> Result<Version, String> {
    let ending = match system {
        "windows" => "msi",
        _ => "tar.gz",
    };
    let (end, what) = (
        format!("-{system}-{machine}.{ending}"),
        format!("program for {system} on {machine}"),
    );
    one(list, "clawmesh-node-", &end, &what).map(|listed| listed.version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // A key, a file and a signature that minisign 0.11 made: `minisign -G`, `minisign -S -m SHA256SUMS`.
    const KEY: &str = "RWRZxx+w3gdeffAAuU8lx87Z3PQKQbgEEvD5fblUbjPd44bUKG19IKFf";
    const SUMS: &str = "0000000000000000000000000000000000000000000000000000000000000000  clawmesh-node-0.2.0-linux-x86_64.tar.gz\n";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\nRURZxx+w3gdefSJyJA3Wqx97D273cj/8Kc3pxMD1xBWDCxRVvWHB7kcUeZsMcANRYbb1rguSkdWJO+U4q2WgA0HzQFrICHn7Cg8=\ntrusted comment: clawmesh 0.2.0\ny2IMmEwraVkVFPqD2dcXnjOkvaYKZbOhYtL2qNJked3jSLgR41XQ8gGfEnudgy15QJlxFoaaD00hoDEjJqNLBQ==\n";

    #[test]
    fn what_minisign_signed_is_taken_and_nothing_that_differs() {
        let key = PublicKey::from_base64(KEY).unwrap();
        signed(&key, SUMS.as_bytes(), SIGNATURE.as_bytes()).unwrap();
        let changed = SUMS.replace("0.2.0", "9.2.0");
        assert!(signed(&key, changed.as_bytes(), SIGNATURE.as_bytes()).is_err());
        for text in ["", "untrusted comment: x", "a\nb\nc\nd\n"] {
            assert!(
                signed(&key, SUMS.as_bytes(), text.as_bytes()).is_err(),
                "{text}"
            );
        }
        let version = version_in(SUMS, "linux", "x86_64").unwrap();
        assert_eq!(version, Version::new(0, 2, 0));
    }

    #[test]
    fn one_program_of_a_release_is_for_this_machine() {
        let line = |name: &str| format!("{}  {name}\n", "a".repeat(64));
        let of = |names: &[&str]| {
            let list: String = names.iter().map(|name| line(name)).collect();
            version_in(&list, "linux", "x86_64")
        };
        let right = "clawmesh-node-1.10.0-rc.1-linux-x86_64.tar.gz";
        assert_eq!(of(&["x.deb", right]).unwrap().to_string(), "1.10.0-rc.1");
        let windows = line("clawmesh-node-1.2.3-windows-x86_64.msi");
        let of_windows = version_in(&windows, "windows", "x86_64");
        assert_eq!(of_windows.unwrap(), Version::new(1, 2, 3));
        for (names, why) in [
            (
                &["clawmesh-node-1.0.0-linux-aarch64.tar.gz"][..],
                "no program",
            ),
            (&["short"], "no program"),
            (
                &[right, "clawmesh-node-1.0.0-linux-x86_64.tar.gz"],
                "two files as program",
            ),
            (&["clawmesh-node-one-linux-x86_64.tar.gz"], "is none"),
        ] {
            let said = of(names).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_release_is_asked_for_over_tls_and_its_key_is_one() {
        let why = |from: &str, key: &str| Releases::new(from, key, None).unwrap_err();
        Releases::new("https://example.org/r", KEY, None).unwrap();
        Releases::new("/media/stick", KEY, None).unwrap();
        Releases::new("http://127.0.0.1:1/r", KEY, None).unwrap();
        assert!(why("http://example.org/r", KEY).contains("without TLS"));
        assert!(why("http://192.168.1.2/r", KEY).contains("without TLS"));
        assert!(why("releases", KEY).contains("whole path"));
        for key in ["", "RW", "RWQ", "nonsense!"] {
            assert!(
                why("/media/stick", key).contains("no minisign key"),
                "{key}"
            );
        }
    }
}
