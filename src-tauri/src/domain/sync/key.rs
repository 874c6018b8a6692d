//! Keys of frames in reconciliation.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::base::{Digest, FrameId};

/// Names a frame among all nodes of a mesh: the first 8 bytes of the SHA-256 of its id, by which a
/// store finds it, then the first 24 bytes of its content hash, which tell it from any other frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKey(pub [u8; 32]);

/// Bytes of a key that come from the frame id.
const HEAD: usize = 8;

impl FrameKey {
    /// The key of a frame with this id and content hash.
    pub fn of(id: &FrameId, content: &Digest) -> Self {
        Self::from_parts(Self::head_of(id), content)
    }

    /// The number a store finds frames with this id by.
    pub fn head_of(id: &FrameId) -> i64 {
        let hash = Digest::of(&[id.as_str().as_bytes()]).0;
        hash.first_chunk::<HEAD>()
            .map_or(0, |b| i64::from_be_bytes(*b))
    }

    /// The key from the number of the frame id and the content hash.
    pub fn from_parts(head: i64, content: &Digest) -> Self {
        let mut key = [0; 32];
        let (front, back) = key.split_at_mut(HEAD);
        front.copy_from_slice(&head.to_be_bytes());
        back.copy_from_slice(&content.0[..32 - HEAD]);
        Self(key)
    }

    /// The key of a copy of the frame that carries no signature: one that left it out on the way must
    /// not look like the frame that its origin signed.
    pub fn unsigned(mut self) -> Self {
        if let Some(last) = self.0.last_mut() {
            *last = !*last;
        }
        self
    }

    /// The number of the frame id.
    pub fn head(&self) -> i64 {
        self.0
            .first_chunk::<HEAD>()
            .map_or(0, |b| i64::from_be_bytes(*b))
    }

    /// Whether a frame with this content hash is what who names this key wants. A signed one serves
    /// also who knows only of a copy without signature.
    pub fn fits(&self, content: &Digest, signed: bool) -> bool {
        let is = |key: &Self| key.0[HEAD..] == content.0[..32 - HEAD];
        (signed && is(self)) || is(&self.unsigned())
    }

    /// The key as text on the wire: base64url without padding.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads [`FrameKey::to_text`]; `None` if it is none.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameKey({})", self.to_text())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_copy_without_signature_does_not_stand_for_the_signed_frame() {
        let (id, content) = ("f-1".parse().unwrap(), Digest::of(&[b"x"]));
        let signed = FrameKey::of(&id, &content);
        let copy = signed.unsigned();
        assert!(copy != signed && copy.head() == signed.head() && copy.unsigned() == signed);
        assert!(signed.fits(&content, true) && !signed.fits(&content, false));
        assert!(copy.fits(&content, true) && copy.fits(&content, false));
        assert!(!signed.fits(&Digest::of(&[b"y"]), true));
    }
}
