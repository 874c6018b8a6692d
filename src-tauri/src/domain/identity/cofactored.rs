//! Signatures by the equation of RFC 8032 (5.1.7) with its cofactor, `[8][S]B = [8]R + [8][k]A`, one by one and many at
//! once with the same result.
//!
//! Without the cofactor there is no such pair: who holds a key can make signatures whose points have a part of small
//! order, which a batch takes or refuses by chance and a single check refuses. Then one node would store a frame, and
//! those to whom it passes it on would refuse it. Times eight such parts are nothing, in either check. To make any
//! signature that holds still takes the key.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity as _, VartimeMultiscalarMul as _};
use sha2::{Digest as _, Sha512};

use super::{PublicKey, Signature};

/// Domain separator of the batch coefficients.
const BATCH_DOMAIN: &[u8] = b"clawmesh/batch/v1";

/// A signature, taken apart.
struct Opened {
    point: EdwardsPoint,
    scalar: Scalar,
    /// The hash of point, key and message, which the signature binds.
    hash: [u8; 64],
}

impl Opened {
    /// `None` where the number is not below the order of the base point, or the point is none or not written in the one
    /// way that RFC 8032 allows.
    fn of(message: &[u8], signature: &Signature, key: &PublicKey) -> Option<Self> {
        let bytes = signature.to_bytes();
        let (point, scalar) = bytes.split_first_chunk::<32>()?;
        let hash = Sha512::new()
            .chain_update(point)
            .chain_update(key.as_bytes())
            .chain_update(message)
            .finalize();
        Some(Self {
            point: Some(point)
                .filter(|point| is_canonical(point))
                .and_then(|point| CompressedEdwardsY(*point).decompress())?,
            scalar: Scalar::from_canonical_bytes(scalar.try_into().ok()?).into_option()?,
            hash: hash.into(),
        })
    }

    fn challenge(&self) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.hash)
    }
}

/// Whether the bytes of a point are the only ones that name it: its coordinate is below the field's prime, and where the
/// other one is zero its sign is not set (RFC 8032, section 5.1.3).
fn is_canonical(point: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = point;
    let (sign, high) = (high >> 7, high & 0x7f);
    let near_top = high == 0x7f && middle.iter().all(|&b| b == 0xff);
    let is_one = *low == 1 && high == 0 && middle.iter().all(|&b| b == 0);
    let is_minus_one = near_top && *low == 0xec;
    !(near_top && *low >= 0xed) && !(sign == 1 && (is_one || is_minus_one))
}

/// Whether `signature` is the key's over `message`.
pub(super) fn holds(message: &[u8], signature: &Signature, key: &PublicKey) -> bool {
    let Some(opened) = Opened::of(message, signature, key) else {
        return false;
    };
    let point = EdwardsPoint::vartime_double_scalar_mul_basepoint(
        &opened.challenge(),
        &-key.0.to_edwards(),
        &opened.scalar,
    );
    (point - opened.point).mul_by_cofactor().is_identity()
}

/// Whether each of them [`holds`]. Their equations are added up, each times a number of 128 bits that hangs on all of
/// them, so that no others than right ones come to nothing together. Keys that sign several are counted once.
pub(super) fn all_hold(messages: &[&[u8]], signatures: &[Signature], keys: &[PublicKey]) -> bool {
    if messages.len() != signatures.len() || messages.len() != keys.len() {
        return false;
    }
    let each = messages.iter().zip(signatures).zip(keys);
    let opened: Option<Vec<Opened>> = each.map(|((m, s), k)| Opened::of(m, s, k)).collect();
    let Some(opened) = opened else { return false };
    let mut seed = Sha512::new().chain_update(BATCH_DOMAIN);
    for one in &opened {
        seed.update(one.hash);
        seed.update(one.scalar.as_bytes());
    }
    let seed = seed.finalize();
    let mut base = Scalar::ZERO;
    let mut of_keys: Vec<(&PublicKey, Scalar)> = Vec::new();
    let mut terms: Vec<(Scalar, EdwardsPoint)> = Vec::with_capacity(opened.len() + 2);
    for ((nth, one), key) in (0_u64..).zip(&opened).zip(keys) {
        let number = Sha512::new()
            .chain_update(seed)
            .chain_update(nth.to_be_bytes())
            .finalize();
        let Some(number) = number.first_chunk::<16>() else {
            return false;
        };
        let number = Scalar::from(u128::from_be_bytes(*number));
        base -= number * one.scalar;
        terms.push((number, one.point));
        let challenge = number * one.challenge();
        match of_keys.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => *sum += challenge,
            None => of_keys.push((key, challenge)),
        }
    }
    terms.push((base, ED25519_BASEPOINT_POINT));
    terms.extend(of_keys.iter().map(|(key, sum)| (*sum, key.0.to_edwards())));
    let sum = EdwardsPoint::vartime_multiscalar_mul(
        terms.iter().map(|(number, _)| number),
        terms.iter().map(|(_, point)| point),
    );
    sum.mul_by_cofactor().is_identity()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signature as DalekSignature, VerifyingKey};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::identity::DeviceKey;

    /// A signature made by hand, with a part of small order in its point, its key, or both.
    fn crooked(message: &[u8], in_point: usize, in_key: usize) -> (Signature, PublicKey) {
        let (secret, nonce) = (Scalar::from(123_456_789_u64), Scalar::from(987_654_321_u64));
        let key = ED25519_BASEPOINT_POINT * secret + EIGHT_TORSION[in_key];
        let point = (ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[in_point]).compress();
        let hash = Sha512::new()
            .chain_update(point.as_bytes())
            .chain_update(key.compress().as_bytes())
            .chain_update(message)
            .finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
        let scalar = nonce + challenge * secret;
        let bytes = [*point.as_bytes(), scalar.to_bytes()].concat();
        let signature = Signature(DalekSignature::from_bytes(&bytes.try_into().unwrap()));
        (signature, PublicKey(VerifyingKey::from(key)))
    }

    /// The neutral point by its two coordinates, of which one is zero: it can be written in ways that no signer uses.
    #[test]
    fn a_point_counts_only_in_the_one_way_of_writing_it() {
        let secret = Scalar::from(123_456_789_u64);
        let key = PublicKey(VerifyingKey::from(ED25519_BASEPOINT_POINT * secret));
        let signed = |point: [u8; 32]| {
            let hash = Sha512::new()
                .chain_update(point)
                .chain_update(key.as_bytes())
                .chain_update(b"m")
                .finalize();
            let scalar = Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
            let bytes = [point, scalar.to_bytes()].concat();
            let signature = Signature(DalekSignature::from_bytes(&bytes.try_into().unwrap()));
            let alone = holds(b"m", &signature, &key);
            assert_eq!(alone, all_hold(&[b"m"], &[signature], &[key]));
            alone
        };
        let mut one = [0; 32];
        one[0] = 1;
        assert!(signed(one));
        one[31] = 0x80;
        assert!(!signed(one), "its sign");
        let mut large = [0xff; 32];
        (large[0], large[31]) = (0xee, 0x7f);
        assert!(!signed(large), "above the prime");
        large[31] = 0xff;
        assert!(!signed(large), "both");
    }

    #[test]
    fn parts_of_small_order_count_alike_alone_and_among_others() {
        let honest = DeviceKey::from_seed(&[1; 32]);
        for round in 0..8_u8 {
            for (in_point, in_key) in [(0, 0), (1, 0), (4, 0), (7, 0), (0, 1), (3, 5), (2, 4)] {
                let message = [b'm', round];
                let (signature, key) = crooked(&message, in_point, in_key);
                let alone = holds(&message, &signature, &key);
                let among = all_hold(
                    &[&message, b"other"],
                    &[signature, honest.sign(b"other")],
                    &[key, *honest.public()],
                );
                assert!(
                    alone && among,
                    "{round} {in_point} {in_key}: {alone}, {among}"
                );
                assert!(!holds(b"another", &signature, &key));
            }
        }
    }

    #[test]
    fn a_number_above_the_order_and_a_point_that_is_none_are_refused() {
        let key = DeviceKey::from_seed(&[1; 32]);
        let good = key.sign(b"one");
        let refused = |bytes: [u8; 64]| {
            let bad = Signature(DalekSignature::from_bytes(&bytes));
            assert!(!holds(b"one", &bad, key.public()));
            let keys = [*key.public(), *key.public()];
            assert!(!all_hold(&[b"one", b"one"], &[good, bad], &keys));
        };
        // The order of the base point, added to the number: the same remainder.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut above = good.to_bytes();
        let mut carry = 0;
        for (byte, more) in above[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        refused(above);
        let mut no_point = good.to_bytes();
        no_point[..32].copy_from_slice(&[2; 32]);
        assert!(CompressedEdwardsY([2; 32]).decompress().is_none());
        refused(no_point);
        assert!(!all_hold(&[b"one"], &[good, good], &[*key.public()]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_signed_holds_and_what_is_altered_does_not(
            texts in proptest::collection::vec("[a-z]{0,40}", 1..12), seeds in 1_u8..4, altered in any::<prop::sample::Index>(), bit in 0_usize..512,
        ) {
            let keys: Vec<DeviceKey> = (0_u8..).zip(&texts).map(|(n, _)| DeviceKey::from_seed(&[n % seeds; 32])).collect();
            let messages: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
            let mut signatures: Vec<Signature> = keys.iter().zip(&messages).map(|(k, m)| k.sign(m)).collect();
            let publics: Vec<PublicKey> = keys.iter().map(|k| *k.public()).collect();
            for ((m, s), k) in messages.iter().zip(&signatures).zip(&publics) {
                prop_assert!(holds(m, s, k) && k.verify_strict(m, s));
            }
            prop_assert!(all_hold(&messages, &signatures, &publics));
            let at = altered.index(texts.len());
            let mut bytes = signatures[at].to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            signatures[at] = Signature(DalekSignature::from_bytes(&bytes));
            prop_assert!(!holds(messages[at], &signatures[at], &publics[at]));
            prop_assert!(!all_hold(&messages, &signatures, &publics));
        }
    }
}
