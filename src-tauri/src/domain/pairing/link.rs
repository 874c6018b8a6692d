//! The text behind the QR code: `clawmesh://pair?id=<device>&url=<ws url>&k=<secret>`.
//!
//! Whoever reads it off the screen knows which device must answer, where, and a secret that proves
//! to that device that the screen was seen.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::hash;
use crate::domain::base::limits::PAIR_LINK_MAX_BYTES;
use crate::domain::base::{Code, DeviceId, Digest, Refusal};

const HEAD: &str = "clawmesh://pair?";

/// The one-time secret of a window. Not printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret([u8; 16]);

impl LinkSecret {
    /// The secret made of 16 random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// What only who knows the secret can say about a transcript.
    pub(super) fn proof(&self, transcript: &Digest) -> String {
        hash("clawmesh/pair/v1/link", &[&self.0, &transcript.0]).to_hex()
    }

    pub(super) fn proves(&self, proof: &str, transcript: &Digest) -> bool {
        let right = self.proof(transcript);
        bool::from(right.as_bytes().ct_eq(proof.as_bytes()))
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(secret)")
    }
}

/// Where a device waits to be paired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairLink {
    /// The device that must answer.
    pub device: DeviceId,
    /// Where; whether it is a URL that can be dialed is for the dialer to say.
    pub url: String,
    /// The window's secret.
    pub secret: LinkSecret,
}

impl PairLink {
    /// Whether a text means to be a link.
    pub fn looks_like(text: &str) -> bool {
        text.trim().starts_with("clawmesh:")
    }
}

impl fmt::Display for PairLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = URL_SAFE_NO_PAD.encode(self.secret.0);
        write!(f, "{HEAD}id={}&url={}&k={secret}", self.device, self.url)
    }
}

impl FromStr for PairLink {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let bad = |why: &str| {
            Refusal::new(
                Code::InvalidParams,
                format!(
                    "this is not the whole text of a pairing link ({why}); copy it again, quoted"
                ),
            )
        };
        let text = text.trim();
        if text.len() > PAIR_LINK_MAX_BYTES {
            return Err(bad("it is too long"));
        }
        let rest = text
            .strip_prefix(HEAD)
            .ok_or_else(|| bad("it does not begin with clawmesh://pair?"))?;
        let (mut device, mut url, mut secret) = (None, None, None);
        for pair in rest.split('&') {
            let (key, value) = pair.split_once('=').ok_or_else(|| bad("a part has no ="))?;
            let slot = match key {
                "id" => &mut device,
                "url" => &mut url,
                "k" => &mut secret,
                _ => return Err(bad("it has a part that is not known")),
            };
            if slot.replace(value).is_some() {
                return Err(bad("a part is there twice"));
            }
        }
        let secret = secret.ok_or_else(|| bad("k is missing"))?;
        let secret: [u8; 16] = URL_SAFE_NO_PAD
            .decode(secret)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| bad("k is not right"))?;
        Ok(Self {
            device: device
                .ok_or_else(|| bad("id is missing"))?
                .parse()
                .map_err(|_| bad("id is not right"))?,
            url: url
                .filter(|u| !u.is_empty())
                .ok_or_else(|| bad("url is missing"))?
                .to_owned(),
            secret: LinkSecret(secret),
        })
    }
}
