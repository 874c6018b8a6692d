//! What a release offers, as its signed list of sums says: at an address, or in a folder. Nothing is installed here; see
//! deploy/install.sh, which checks the same list by the same key.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode};
use minisign_verify::{PublicKey, Signature};
use semver::Version;

use crate::adapters::http_client::{Address, Reach, begin, dial, over};
use crate::domain::base::limits::{
    RELEASE_LIST_MAX_BYTES, RELEASE_REDIRECTS_MAX, RELEASE_WAIT_MAX_MS,
};

/// The list of sums of a release, and beside it its signature (jedisct1.github.io/minisign).
const LIST: &str = "SHA256SUMS";

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
        let wait = Duration::from_millis(RELEASE_WAIT_MAX_MS);
        let both = async { tokio::try_join!(self.get(LIST), self.get("SHA256SUMS.minisig")) };
        let both = tokio::time::timeout(wait, both).await;
        let (list, signature) =
            both.map_err(|_| format!("{self} did not answer within {} s", wait.as_secs()))??;
        signed(&self.key, &list, &signature)?;
        version_in(&list, std::env::consts::OS, std::env::consts::ARCH)
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, String> {
        match &self.place {
            Place::In(folder) => {
                let file = folder.join(name);
                let read = tokio::task::spawn_blocking(move || read(&file)).await;
                read.map_err(|e| e.to_string())?
            }
            Place::At(address) => fetch(&format!("{address}/{name}"), self.ca.as_deref()).await,
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let most = u64::try_from(RELEASE_LIST_MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|f| f.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|e| format!("{}: {e}", file.display()))?;
    match bytes.len() > RELEASE_LIST_MAX_BYTES {
        true => Err(format!("{} is larger than {most} bytes", file.display())),
        false => Ok(bytes),
    }
}

/// Whether what comes from there cannot be changed on its way; the signature alone would not hide an older release.
fn protected(address: &Address) -> Result<(), String> {
    match address.tls || address.reach() == Reach::Loopback {
        true => Ok(()),
        false => Err(format!("{address} is without TLS; use https://")),
    }
}

/// A URL as the server to ask and what to ask it for. A query counts, for an address that a server leads to has one.
fn parts(url: &str) -> Result<(Address, String), String> {
    let url = url.split('#').next().unwrap_or_default();
    let (plain, query) = url
        .split_once('?')
        .map_or((url, None), |(p, q)| (p, Some(q)));
    let address = Address::parse(plain)?;
    let path = match address.path.as_str() {
        "" => "/",
        path => path,
    };
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Ok((address, target))
}

/// Fetches a small file. Redirects are followed, for releases lie behind them; each goes over TLS.
async fn fetch(url: &str, ca: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut url = url.to_owned();
    for _ in 0..=RELEASE_REDIRECTS_MAX {
        let (address, target) = parts(&url)?;
        protected(&address)?;
        match ask(&address, &target, ca).await? {
            Answer::Here(bytes) => return Ok(bytes),
            Answer::There(next) if next.starts_with('/') => {
                let root = Address {
                    path: String::new(),
                    ..address
                };
                url = format!("{root}{next}");
            }
            Answer::There(next) => url = next,
        }
    }
    Err(format!(
        "{url}: more than {RELEASE_REDIRECTS_MAX} redirects"
    ))
}

enum Answer {
    Here(Vec<u8>),
    There(String),
}

async fn ask(address: &Address, target: &str, ca: Option<&Path>) -> Result<Answer, String> {
    let lost = |why: String| format!("{} {why}", address.authority());
    let request = Request::builder()
        .uri(target)
        .header(HOST, address.authority())
        .header(
            USER_AGENT,
            concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::new()))
        .map_err(|e| lost(format!("cannot be asked: {e}")))?;
    let wire = dial(address, ca).await;
    let wire = wire.map_err(|e| lost(format!("cannot be reached: {e}")))?;
    let (mut sender, connection) = begin(wire).await.map_err(|e| lost(e.to_string()))?;
    let exchange = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|e| lost(format!("broke the connection off: {e}")))?;
        match answer.status() {
            StatusCode::OK => {
                let body = Limited::new(answer.into_body(), RELEASE_LIST_MAX_BYTES).collect();
                let body = body
                    .await
                    .map_err(|e| lost(format!("broke off in its answer, or says too much: {e}")))?;
                Ok(Answer::Here(body.to_bytes().to_vec()))
            }
            status if status.is_redirection() => {
                let next = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok());
                let next =
                    next.ok_or_else(|| lost("leads elsewhere and does not say where".to_owned()))?;
                Ok(Answer::There(next.to_owned()))
            }
            StatusCode::NOT_FOUND => Err(lost(format!("has no {target}: is there a release?"))),
            status => Err(lost(format!("answered with {status}"))),
        }
    };
    over(connection, exchange).await
}

fn signed(key: &PublicKey, list: &[u8], signature: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(signature).map_err(|_| "the signature is no text".to_owned())?;
    let signature = Signature::decode(text)
        .map_err(|_| format!("{LIST}.minisig is no signature of minisign"))?;
    // Both ways of minisign: over the file, and over its hash.
    key.verify(list, &signature, true)
        .map_err(|e| format!("the signature of {LIST} is wrong, or of another key: {e}"))
}

/// The version of the one archive of the headless node for a kind of machine.
fn version_in(list: &[u8], system: &str, machine: &str) -> Result<Version, String> {
    let text = std::str::from_utf8(list).map_err(|_| format!("{LIST} is no text"))?;
    let end = format!("-{system}-{machine}.tar.gz");
    let names = text.lines().filter_map(|line| line.get(66..));
    let mut versions = names.filter_map(|name| {
        let version = name.strip_prefix("clawmesh-node-")?.strip_suffix(&end)?;
        Some(Version::parse(version))
    });
    match (versions.next(), versions.next()) {
        (Some(Ok(version)), None) => Ok(version),
        (None, _) => Err(format!(
            "the release has no program for {system} on {machine}"
        )),
        (Some(Err(e)), _) => Err(format!("the release names a version that is none: {e}")),
        (Some(_), Some(_)) => Err(format!(
            "the release lists two programs for {system} on {machine}"
        )),
    }
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
        let version = version_in(SUMS.as_bytes(), "linux", "x86_64").unwrap();
        assert_eq!(version, Version::new(0, 2, 0));
    }

    #[test]
    fn one_program_of_a_release_is_for_this_machine() {
        let line = |name: &str| format!("{}  {name}\n", "a".repeat(64));
        let of = |names: &[&str]| {
            let list: String = names.iter().map(|name| line(name)).collect();
            version_in(list.as_bytes(), "linux", "x86_64")
        };
        let right = "clawmesh-node-1.10.0-rc.1-linux-x86_64.tar.gz";
        assert_eq!(of(&["x.deb", right]).unwrap().to_string(), "1.10.0-rc.1");
        for (names, why) in [
            (
                &["clawmesh-node-1.0.0-linux-aarch64.tar.gz"][..],
                "no program",
            ),
            (&["short"], "no program"),
            (
                &[right, "clawmesh-node-1.0.0-linux-x86_64.tar.gz"],
                "two programs",
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
        let (address, target) = parts("https://a.example/x/y?sig=a/b&z#f").unwrap();
        assert_eq!(
            (address.host.as_str(), target.as_str()),
            ("a.example", "/x/y?sig=a/b&z")
        );
    }
}
