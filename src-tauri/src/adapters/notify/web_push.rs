//! What a Web Push message is made of, without a network: the text for one browser alone (RFC 8291 over RFC 8188, aes128gcm)
//! and the proof of who sends it (VAPID, RFC 8292, ES256). It must not know what is said, or where a browser is.
//!
//! It stands on `ring`, which is there for TLS. `web-push-native` brings second implementations of AES-GCM, P-256, HKDF and a
//! library of tokens with RSA and secp256k1; `web-push` brings OpenSSL or an HTTP client that follows redirects.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use ring::{aead, hkdf};
use serde_json::json;
use zeroize::Zeroizing;

use crate::domain::base::TimeMs;

/// The size of an uncompressed point of P-256.
const POINT_BYTES: usize = 65;
/// The size of a browser's secret.
const AUTH_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
/// The one record of a message; push services take 4096 bytes at least (RFC 8030 §7.2).
const RECORD_BYTES: u32 = 4_096;
/// The longest text: the record without its tag, the mark of its end and the head of 86 bytes.
pub const TEXT_MAX_BYTES: usize = 3_993;
/// How long a proof counts; a day is the most that is allowed.
const PROOF_MS: u64 = 12 * 3_600_000;

/// Why a message cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmade {
    /// The key of the browser is none.
    #[error("the browser's key does not read; subscribe again")]
    Key,
    /// The text is longer than a push service has to take.
    #[error("the text has more than {TEXT_MAX_BYTES} bytes")]
    TooLong,
    /// The system gives no random bytes, or the library fails.
    #[error("the message could not be encrypted")]
    Failed,
}

/// The keys of one browser's subscription.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserKeys {
    point: [u8; POINT_BYTES],
    auth: [u8; AUTH_BYTES],
}

impl fmt::Debug for BrowserKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserKeys")
    }
}

impl BrowserKeys {
    /// From `p256dh` and `auth` of a subscription, as a browser writes them.
    ///
    /// # Errors
    /// [`Unmade::Key`].
    pub fn of(p256dh: &str, auth: &str) -> Result<Self, Unmade> {
        let read = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let point = read(p256dh).map_err(|_| Unmade::Key)?;
        let point: [u8; POINT_BYTES] = point.try_into().map_err(|_| Unmade::Key)?;
        let auth = read(auth).map_err(|_| Unmade::Key)?;
        let auth = auth.try_into().map_err(|_| Unmade::Key)?;
        match point.first() {
            Some(0x04) => Ok(Self { point, auth }),
            _ => Err(Unmade::Key),
        }
    }

    /// Both as a browser writes them.
    pub fn written(&self) -> (String, String) {
        let write = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        (write(&self.point), write(&self.auth))
    }

    /// The body of a request that has this text, which this browser alone reads.
    ///
    /// # Errors
    /// [`Unmade`].
    pub fn encrypt(&self, text: &[u8]) -> Result<Vec<u8>, Unmade> {
        let random = SystemRandom::new();
        let own = EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random);
        let own = own.map_err(|_| Unmade::Failed)?;
        let public = own.compute_public_key().map_err(|_| Unmade::Failed)?;
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt).map_err(|_| Unmade::Failed)?;
        let theirs = UnparsedPublicKey::new(&agreement::ECDH_P256, self.point);
        let agreed = agreement::agree_ephemeral(own, &theirs, |secret| {
            self.seal(text, secret, public.as_ref(), salt)
        });
        agreed.map_err(|_| Unmade::Key)?
    }

    fn seal(
        &self,
        text: &[u8],
        secret: &[u8],
        public: &[u8],
        salt: [u8; SALT_BYTES],
    ) -> Result<Vec<u8>, Unmade> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(Unmade::TooLong);
        }
        let info = [b"WebPush: info\0".as_slice(), &self.point, public];
        let ikm = derived::<32>(&self.auth, secret, &info)?;
        let key = derived::<16>(&salt, &*ikm, &[b"Content-Encoding: aes128gcm\0".as_slice()])?;
        let nonce = derived::<12>(&salt, &*ikm, &[b"Content-Encoding: nonce\0".as_slice()])?;
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &*key).map_err(|_| Unmade::Failed)?;
        // The last and only record.
        let mut sealed = [text, &[2]].concat();
        aead::LessSafeKey::new(key)
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(*nonce),
                aead::Aad::empty(),
                &mut sealed,
            )
            .map_err(|_| Unmade::Failed)?;
        let length = u8::try_from(public.len()).map_err(|_| Unmade::Failed)?;
        let head = [&salt[..], &RECORD_BYTES.to_be_bytes(), &[length], public].concat();
        Ok([head, sealed].concat())
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derived<const N: usize>(
    salt: &[u8],
    secret: &[u8],
    info: &[&[u8]],
) -> Result<Zeroizing<[u8; N]>, Unmade> {
    let mut out = Zeroizing::new([0; N]);
    let made = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let made = made.expand(info, Length(N)).map_err(|_| Unmade::Failed)?;
    made.fill(&mut *out).map_err(|_| Unmade::Failed)?;
    Ok(out)
}

/// The key with which a node proves to push services that it is who subscribed a browser.
pub struct Sender(EcdsaKeyPair);

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// A new key, as PKCS#8.
    ///
    /// # Errors
    /// [`Unmade::Failed`].
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, Unmade> {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let made = made.map_err(|_| Unmade::Failed)?;
        Ok(Zeroizing::new(made.as_ref().to_vec()))
    }

    /// The key of these bytes.
    ///
    /// # Errors
    /// [`Unmade::Failed`].
    pub fn of(pkcs8: &[u8]) -> Result<Self, Unmade> {
        EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            pkcs8,
            &SystemRandom::new(),
        )
        .map(Self)
        .map_err(|_| Unmade::Failed)
    }

    /// What a browser is told to subscribe for: the public key as base64url.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref())
    }

    /// The value of `Authorization` for a push service of this origin; `contact` is a `mailto:` or `https:` address.
    ///
    /// # Errors
    /// [`Unmade::Failed`].
    pub fn proof(&self, origin: &str, contact: &str, now: TimeMs) -> Result<String, Unmade> {
        let head = json!({"typ": "JWT", "alg": "ES256"}).to_string();
        let until = now.plus(PROOF_MS).0 / 1_000;
        let claims = json!({"aud": origin, "exp": until, "sub": contact}).to_string();
        let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{head}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| Unmade::Failed)?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("vapid t={signed}.{signature}, k={}", self.public()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // RFC 8291, section 5 and appendix A.
    const TEXT: &[u8] = b"When I grow up, I want to be a watermelon";
    const POINT: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
    const OWN: &str =
        "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
    const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
    const SECRET: &str = "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs";
    const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc_comes_out_byte_for_byte() {
        let keys = BrowserKeys::of(POINT, AUTH).unwrap();
        let salt = bytes(SALT).try_into().unwrap();
        let body = keys.seal(TEXT, &bytes(SECRET), &bytes(OWN), salt).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(body), BODY);
    }

    #[test]
    fn each_message_has_a_key_and_salt_of_its_own_and_a_bound() {
        let keys = BrowserKeys::of(POINT, AUTH).unwrap();
        let [one, other] = [keys.encrypt(TEXT).unwrap(), keys.encrypt(TEXT).unwrap()];
        assert_ne!(one[..16], other[..16]);
        assert_ne!(one[21..86], other[21..86]);
        assert_eq!(one.len(), 86 + TEXT.len() + 17);
        assert_eq!(
            keys.encrypt(&vec![b'x'; TEXT_MAX_BYTES]).unwrap().len(),
            4_096
        );
        let long = vec![b'x'; TEXT_MAX_BYTES + 1];
        assert_eq!(keys.encrypt(&long).unwrap_err(), Unmade::TooLong);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let off = format!("BA{}", "A".repeat(85));
        assert_eq!(
            BrowserKeys::of(&off, AUTH).unwrap().encrypt(TEXT),
            Err(Unmade::Key)
        );
        for (point, auth) in [
            ("", AUTH),
            (POINT, ""),
            (AUTH, AUTH),
            (POINT, POINT),
            ("!", AUTH),
        ] {
            assert_eq!(
                BrowserKeys::of(point, auth),
                Err(Unmade::Key),
                "{point} {auth}"
            );
        }
    }

    #[test]
    fn the_proof_is_signed_by_the_key_that_it_names() {
        let sender = Sender::of(&Sender::generate().unwrap()).unwrap();
        let proof = sender
            .proof(
                "https://push.example",
                "https://field.example",
                TimeMs(5_000),
            )
            .unwrap();
        let (token, key) = proof
            .strip_prefix("vapid t=")
            .unwrap()
            .split_once(", k=")
            .unwrap();
        assert_eq!(key, sender.public());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_FIXED,
            bytes(key),
        )
        .verify(signed.as_bytes(), &bytes(signature))
        .unwrap();
        let claims = bytes(signed.split_once('.').unwrap().1);
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], "https://push.example");
        assert_eq!(claims["exp"], 5 + PROOF_MS / 1_000);
        assert_eq!(claims["sub"], "https://field.example");
    }
}
