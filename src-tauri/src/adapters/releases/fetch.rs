//! Bytes of a release, from an address over TLS or from a folder, handed on piece by piece to what takes them. It knows
//! nothing of lists, sums and signatures.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::adapters::files;
use crate::adapters::http_client::{Address, Reach, begin, dial, over};
use crate::domain::base::limits::{RELEASE_IDLE_MAX_MS, RELEASE_REDIRECTS_MAX};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 65_536;

/// What takes the bytes, no more of them than its bound.
pub(super) struct Sink<'a> {
    most: usize,
    taken: usize,
    to: To<'a>,
}

enum To<'a> {
    Memory(&'a mut Vec<u8>),
    File(&'a mut Landing),
}

/// A file that is being written, and its sum so far.
pub(super) struct Landing {
    /// The open file.
    pub file: File,
    /// The sum of what was written.
    pub sum: Sha256,
    /// Told how many bytes are there, after each piece.
    pub told: Box<dyn Fn(usize) + Send + Sync>,
}

impl<'a> Sink<'a> {
    pub(super) fn memory(bytes: &'a mut Vec<u8>, most: usize) -> Self {
        Self {
            most,
            taken: 0,
            to: To::Memory(bytes),
        }
    }

    pub(super) fn file(landing: &'a mut Landing, most: usize) -> Self {
        Self {
            most,
            taken: 0,
            to: To::File(landing),
        }
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), String> {
        self.taken = self.taken.saturating_add(piece.len());
        if self.taken > self.most {
            return Err(format!("says more than {} bytes", self.most));
        }
        match &mut self.to {
            To::Memory(bytes) => bytes.extend_from_slice(piece),
            To::File(landing) => {
                let written = landing.file.write_all(piece).await;
                written.map_err(|e| format!("could not be kept on this disk: {e}"))?;
                landing.sum.update(piece);
                (landing.told)(self.taken);
            }
        }
        Ok(())
    }
}

/// Reads a plain file.
pub(super) async fn read(path: &Path, into: &mut Sink<'_>) -> Result<(), String> {
    let lost = |why: String| format!("{}: {why}", path.display());
    let opened = path.to_path_buf();
    let opened = tokio::task::spawn_blocking(move || files::open(&opened)).await;
    let opened = opened.map_err(|e| lost(e.to_string()))?;
    let mut file = File::from_std(opened.map_err(|e| lost(e.to_string()))?);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece).await;
        match read.map_err(|e| lost(e.to_string()))? {
            0 => return Ok(()),
            n => into
                .take(piece.get(..n).unwrap_or_default())
                .await
                .map_err(lost)?,
        }
    }
}

/// Whether what comes from there cannot be changed on its way; the signature alone would not hide an older release.
pub(super) fn protected(address: &Address) -> Result<(), String> {
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

/// Fetches a file. Redirects are followed, for releases lie behind them; each goes over TLS.
pub(super) async fn fetch(url: &str, ca: Option<&Path>, into: &mut Sink<'_>) -> Result<(), String> {
    let mut url = url.to_owned();
    for _ in 0..=RELEASE_REDIRECTS_MAX {
        let (address, target) = parts(&url)?;
        protected(&address)?;
        match ask(&address, &target, ca, into).await? {
            Answer::Here => return Ok(()),
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
    Here,
    There(String),
}

/// Waits for something that a server does, no longer than it may be silent.
async fn soon<T>(what: impl Future<Output = T>) -> Result<T, String> {
    let wait = Duration::from_millis(RELEASE_IDLE_MAX_MS);
    let done = tokio::time::timeout(wait, what).await;
    done.map_err(|_| format!("was silent for {} s", wait.as_secs()))
}

async fn ask(
    address: &Address,
    target: &str,
    ca: Option<&Path>,
    into: &mut Sink<'_>,
) -> Result<Answer, String> {
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
    let wire = soon(dial(address, ca)).await.map_err(lost)?;
    let wire = wire.map_err(|e| lost(format!("cannot be reached: {e}")))?;
    let (mut sender, connection) = begin(wire).await.map_err(|e| lost(e.to_string()))?;
    let exchange = async {
        let answer = soon(sender.send_request(request)).await.map_err(lost)?;
        let answer = answer.map_err(|e| lost(format!("broke the connection off: {e}")))?;
        match answer.status() {
            StatusCode::OK => {
                take_all(answer.into_body(), into).await.map_err(lost)?;
                Ok(Answer::Here)
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

async fn take_all(mut body: Incoming, into: &mut Sink<'_>) -> Result<(), String> {
    while let Some(frame) = soon(body.frame()).await? {
        let frame = frame.map_err(|e| format!("broke off in its answer: {e}"))?;
        if let Ok(piece) = frame.into_data() {
            into.take(&piece).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_that_a_server_leads_to_keeps_its_query() {
        let (address, target) = parts("https://a.example/x/y?sig=a/b&z#f").unwrap();
        assert_eq!(
            (address.host.as_str(), target.as_str()),
            ("a.example", "/x/y?sig=a/b&z")
        );
    }
}
