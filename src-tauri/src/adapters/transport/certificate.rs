//! The operator's own certificate for the console of other machines: two PEM files, read, checked and held as one value that
//! cannot be had without the checks. Whom its authority is trusted by is the browsers' business.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::tls::Fingerprint;
use crate::adapters::files;
use crate::adapters::system::{self, Exposure};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::CERTIFICATE_FILE_MAX_BYTES;

/// Why a certificate cannot be used. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("console.{key}: {path}: {source}; the user of the node has to be able to read it")]
    Read {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The OS error.
        source: io::Error,
    },
    /// Others may read the key.
    #[error(
        "console.key: {path} can be read by others ({}); make it the node's own: {}",
        exposure.how,
        exposure.mend
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// How, and what ends it.
        exposure: Exposure,
    },
    /// A file does not hold what it should.
    #[error("console.{key}: {path}: {why}")]
    Content {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong; never the content.
        why: String,
    },
    /// The key is another certificate's.
    #[error(
        "console.key: {key} is not the key of the certificate in {cert}; name the two files that were made together"
    )]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate does not count at this time.
    #[error("console.cert: {path} {why}")]
    Time {
        /// The file.
        path: PathBuf,
        /// Since or from when, and what to do.
        why: String,
    },
    /// The certificate is for other names.
    #[error(
        "console.cert: {path} is not for {host}, which is one of console.hosts; browsers would refuse it: get a certificate for that name"
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// The name it lacks.
        host: String,
    },
}

/// A certificate with its key, checked.
#[derive(Clone)]
pub struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    /// The first and the last moment at which it counts.
    counts: (TimeMs, TimeMs),
    /// The hash of both files, to see whether they have changed.
    content: [u8; 32],
    fingerprint: Fingerprint,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

/// The bytes of the two files.
pub struct Files {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    /// Reads both files. Blocks.
    ///
    /// # Errors
    /// [`CertificateError::Read`], or [`CertificateError::Exposed`].
    pub fn read(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        let failed = |key, path: &Path| {
            let path = path.to_path_buf();
            move |source| CertificateError::Read { key, path, source }
        };
        let max = CERTIFICATE_FILE_MAX_BYTES;
        let chain = files::read(cert, max).map_err(failed("cert", cert))?;
        let opened = files::open(key).map_err(failed("key", key))?;
        private(&opened, key)?;
        let key = files::read_opened(opened, max).map_err(failed("key", key))?;
        Ok(Self {
            cert: chain,
            key: Zeroizing::new(key),
        })
    }

    /// What tells these contents from others.
    fn content(&self) -> [u8; 32] {
        let mut both = Sha256::new();
        both.update(Sha256::digest(&self.cert));
        both.update(Sha256::digest(&self.key));
        both.finalize().into()
    }
}

fn private(opened: &File, path: &Path) -> Result<(), CertificateError> {
    let exposed =
        system::others_may_read(opened, path).map_err(|source| CertificateError::Read {
            key: "key",
            path: path.to_path_buf(),
            source,
        })?;
    match exposed {
        None => Ok(()),
        Some(exposure) => Err(CertificateError::Exposed {
            path: path.to_path_buf(),
            exposure,
        }),
    }
}

impl Certificate {
    /// The certificate of two PEM files, if it can be used for these names at this time. Blocks.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(
        (cert, key): (&Path, &Path),
        names: &[ServerName<'static>],
        now: TimeMs,
    ) -> Result<Self, CertificateError> {
        let read = Files::read(cert, key)?;
        Self::of(&read, (cert, key), names, now)
    }

    /// As [`Certificate::load`], of files that were read.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn of(
        read: &Files,
        (cert, key): (&Path, &Path),
        names: &[ServerName<'static>],
        now: TimeMs,
    ) -> Result<Self, CertificateError> {
        let odd = |name, path: &Path, why: &str| CertificateError::Content {
            key: name,
            path: path.to_path_buf(),
            why: why.to_owned(),
        };
        let chain = CertificateDer::pem_slice_iter(&read.cert).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|e| odd("cert", cert, &format!("it is no PEM file: {e}")))?;
        let own = chain.first().cloned().ok_or_else(|| {
            odd(
                "cert",
                cert,
                "it holds no certificate in PEM form; name the file with the whole chain",
            )
        })?;
        // The reader's own words are left out: it is a key.
        let secret = PrivateKeyDer::from_pem_slice(&read.key).map_err(|_| {
            odd(
                "key",
                key,
                "it holds no private key in PEM form that is under no passphrase",
            )
        })?;
        let provider = rustls::crypto::ring::default_provider();
        let signing = provider.key_provider.load_private_key(secret);
        let signing = signing.map_err(|_| {
            odd(
                "key",
                key,
                "its kind of key cannot be used; use ECDSA P-256 or P-384, or RSA of 2048 bits or more",
            )
        })?;
        if signing.algorithm() == SignatureAlgorithm::ED25519 {
            let why =
                "browsers take no Ed25519; use ECDSA P-256 or P-384, or RSA of 2048 bits or more";
            return Err(odd("key", key, why));
        }
        // Browsers refuse the connection over any certificate of the chain that does not read.
        for (n, one) in chain.iter().enumerate().skip(1) {
            ParsedCertificate::try_from(one).map_err(|e| {
                odd(
                    "cert",
                    cert,
                    &format!("certificate {} of its chain: {e}", n + 1),
                )
            })?;
        }
        // The signature of an authority over itself is looked at by nobody.
        let weak = |(n, one): (usize, &CertificateDer<'_>)| {
            let said = signed_by(one).filter(|said| said.is_weak);
            said.is_some_and(|said| n == 0 || !said.by_itself)
                .then_some(n)
        };
        if let Some(n) = chain.iter().enumerate().find_map(weak) {
            let which = match n {
                0 => "it is".to_owned(),
                n => format!("certificate {} of its chain is", n + 1),
            };
            let why = format!(
                "{which} signed with SHA-1 or MD5, which browsers refuse; get one that is signed with SHA-256 or better"
            );
            return Err(odd("cert", cert, &why));
        }
        if !is_for_servers(&own) {
            let why = "it is not made for servers (extended key usage); get one with serverAuth";
            return Err(odd("cert", cert, why));
        }
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(CertificateError::Pair {
                    cert: cert.to_path_buf(),
                    key: key.to_path_buf(),
                });
            }
            Err(error) => return Err(odd("cert", cert, &error.to_string())),
        }
        let counts = validity(&own)
            .ok_or_else(|| odd("cert", cert, "it does not say from when to when it counts"))?;
        let made = Self {
            certified: Arc::new(certified),
            counts,
            content: read.content(),
            fingerprint: Fingerprint::of(&own),
        };
        made.counts_at(cert, now)?;
        let parsed =
            ParsedCertificate::try_from(&own).map_err(|e| odd("cert", cert, &e.to_string()))?;
        for name in names {
            rustls::client::verify_server_name(&parsed, name).map_err(|_| {
                CertificateError::Name {
                    path: cert.to_path_buf(),
                    host: name.to_str().into_owned(),
                }
            })?;
        }
        Ok(made)
    }

    /// Whether it counts at this time; `path` is named where it does not.
    ///
    /// # Errors
    /// [`CertificateError::Time`].
    pub fn counts_at(&self, path: &Path, now: TimeMs) -> Result<(), CertificateError> {
        let (from, to) = self.counts;
        let why = if now < from {
            format!(
                "counts only from {} on; is the clock of this machine right?",
                day(from)
            )
        } else if now > to {
            format!("has expired on {}; renew it", day(to))
        } else {
            return Ok(());
        };
        let path = path.to_path_buf();
        Err(CertificateError::Time { path, why })
    }

    /// The last moment at which it counts.
    pub fn ends(&self) -> TimeMs {
        self.counts.1
    }

    /// Whether the files that were read are those of this certificate.
    pub fn is_of(&self, read: &Files) -> bool {
        self.content == read.content()
    }
}

/// Whether a certificate may prove a server: it says so, or does not say what it is for (RFC 5280 §4.2.1.12).
fn is_for_servers(der: &[u8]) -> bool {
    const USAGE: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x25];
    const ANY: [u8; 6] = [0x06, 0x04, 0x55, 0x1d, 0x25, 0x00];
    const SERVER: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    let has = |oid: &[u8]| der.windows(oid.len()).any(|part| part == oid);
    !has(&USAGE) || has(&ANY) || has(&SERVER)
}

/// How a certificate is signed.
struct SignedBy {
    /// By an algorithm that browsers do not count any more.
    is_weak: bool,
    /// By whom it is about.
    by_itself: bool,
}

/// How a certificate is signed, where it reads (RFC 5280 §4.1).
fn signed_by(der: &[u8]) -> Option<SignedBy> {
    // ECDSA with SHA-1; RSA with MD2, MD4, MD5 and SHA-1; DSA with SHA-1.
    const WEAK: [&[u8]; 6] = [
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x02],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x03],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
        &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03],
    ];
    let (certificate, _) = member(der, 0x30)?;
    let (signed, rest) = member(certificate, 0x30)?;
    let (algorithm, _) = member(rest, 0x30)?;
    let (oid, _) = member(algorithm, 0x06)?;
    let rest = match member(signed, 0xa0) {
        Some((_, rest)) => rest,
        None => signed,
    };
    let (_, rest) = member(rest, 0x02)?;
    let (_, rest) = member(rest, 0x30)?;
    let (issuer, rest) = member(rest, 0x30)?;
    let (_, rest) = member(rest, 0x30)?;
    let (subject, _) = member(rest, 0x30)?;
    Some(SignedBy {
        is_weak: WEAK.contains(&oid),
        by_itself: issuer == subject,
    })
}

/// The day of a moment, as people write it.
pub fn day(at: TimeMs) -> String {
    let seconds = i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| "a day far away".to_owned(), |t| t.date().to_string())
}

/// From when to when a certificate counts (RFC 5280 §4.1.2.5).
fn validity(der: &[u8]) -> Option<(TimeMs, TimeMs)> {
    let (certificate, _) = member(der, 0x30)?;
    let (signed, _) = member(certificate, 0x30)?;
    // The version is left out of the oldest kind.
    let rest = match member(signed, 0xa0) {
        Some((_, rest)) => rest,
        None => signed,
    };
    let (_, rest) = member(rest, 0x02)?;
    let (_, rest) = member(rest, 0x30)?;
    let (_, rest) = member(rest, 0x30)?;
    let (times, _) = member(rest, 0x30)?;
    let (from, rest) = moment(times)?;
    let (to, _) = moment(rest)?;
    Some((from, to))
}

/// The content of the DER member with this tag, and what follows it.
fn member(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long @ 0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A UTCTime or GeneralizedTime, and what follows it.
fn moment(der: &[u8]) -> Option<(TimeMs, &[u8])> {
    let (text, rest, short) = match member(der, 0x17) {
        Some((text, rest)) => (text, rest, true),
        None => {
            let (text, rest) = member(der, 0x18)?;
            (text, rest, false)
        }
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, text) = text.split_at_checked(if short { 2 } else { 4 })?;
    let year: i32 = year.parse().ok()?;
    let year = match (short, year) {
        (true, 0..50) => 2000 + year,
        (true, _) => 1900 + year,
        (false, _) => year,
    };
    let two = |at: usize| text.get(at..at + 2).and_then(|t| t.parse::<u8>().ok());
    let month = time::Month::try_from(two(0)?).ok()?;
    let date = time::Date::from_calendar_date(year, month, two(2)?).ok()?;
    let at = date.with_hms(two(4)?, two(6)?, two(8)?).ok()?.assume_utc();
    let seconds = u64::try_from(at.unix_timestamp()).unwrap_or(0);
    Some((TimeMs(seconds.saturating_mul(1_000)), rest))
}

#[cfg(test)]
mod tests;
