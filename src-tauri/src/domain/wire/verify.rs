//! Origin signatures: `Frame` in, `Verified<Frame>` out, in batches.

use std::collections::BTreeSet;

use crate::domain::base::limits::SIGNATURES_REMEMBERED_MAX;
use crate::domain::base::{Code, DeviceId, Digest, MeshId, Refusal};
use crate::domain::identity::{DeviceKey, PublicKey, Signature, verify_batch};

use super::frame::{Frame, FrameSpec, Private, Stamp};

/// The result of checking the origin's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Signed by the key of the device it names.
    Signed,
    /// It carries no signature.
    Unsigned,
    /// It is signed, but we hold no key of that device.
    UnknownKey,
}

/// A thing whose signature has been checked, by [`verify_frames`], or just made, by [`sign_frame`].
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T> {
    inner: T,
    content: Digest,
    checked: Checked,
}

impl<T> Verified<T> {
    /// The thing itself.
    pub fn get(&self) -> &T {
        &self.inner
    }

    /// The thing itself, taken out.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// The hash of what was, or would be, signed.
    pub fn content(&self) -> Digest {
        self.content
    }

    /// The result of the check.
    pub fn checked(&self) -> Checked {
        self.checked
    }
}

/// Signs a frame of this device's own, `private` or not; needs no verification.
///
/// # Errors
/// As [`FrameSpec::sign`].
pub fn sign_frame(
    spec: FrameSpec,
    key: &DeviceKey,
    name: &str,
    mesh: &MeshId,
    stamp: Stamp,
    private: Option<Private>,
) -> Result<Verified<Frame>, Refusal> {
    let (inner, content) = spec.signed(key, name, mesh, stamp, private)?;
    Ok(Verified {
        inner,
        content,
        checked: Checked::Signed,
    })
}

/// Signatures that were found good, each with the very bytes and the key it was checked with. Among
/// peers that all know each other a frame comes many times, and is checked once.
#[derive(Debug, Default)]
pub struct GoodSignatures {
    new: BTreeSet<Digest>,
    old: BTreeSet<Digest>,
}

impl GoodSignatures {
    fn has(&self, mark: &Digest) -> bool {
        self.new.contains(mark) || self.old.contains(mark)
    }

    fn add(&mut self, mark: Digest) {
        if self.new.len() >= SIGNATURES_REMEMBERED_MAX / 2 {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(mark);
    }
}

/// A frame with its data to be checked.
struct Prepared {
    bytes: Vec<u8>,
    content: Digest,
    claim: Claim,
}

/// A frame's claim of its signature.
#[expect(
    clippy::large_enum_variant,
    reason = "most frames are of the large one"
)]
enum Claim {
    None,
    UnknownKey,
    /// The same bytes, signature and key were found good before.
    Good,
    /// To be checked; the digest stands for bytes, signature and key.
    Open(Signature, PublicKey, Digest),
}

fn prepare(
    frame: &Frame,
    mesh: &MeshId,
    key: Option<PublicKey>,
    good: &GoodSignatures,
) -> Prepared {
    let bytes = frame.signing_bytes(mesh);
    let content = Digest::of(&[&bytes]);
    let claim = match (frame.signature, key) {
        (None, _) => Claim::None,
        (Some(_), None) => Claim::UnknownKey,
        (Some(signature), Some(key)) => {
            let mark = Digest::of(&[&content.0, &signature.to_bytes(), key.as_bytes()]);
            match good.has(&mark) {
                true => Claim::Good,
                false => Claim::Open(signature, key, mark),
            }
        }
    };
    Prepared {
        bytes,
        content,
        claim,
    }
}

/// Checks a batch of frames; `key_of` finds the pinned key of a device. A bad signature slows the batch and only
/// its frame is refused. Good frames are added to `good`; those there already are not checked again.
///
/// # Errors
/// Per frame: `FRAME_SIGNATURE_INVALID`.
pub fn verify_frames(
    frames: Vec<Frame>,
    mesh: &MeshId,
    key_of: impl Fn(&DeviceId) -> Option<PublicKey>,
    good: &mut GoodSignatures,
) -> Vec<Result<Verified<Frame>, Refusal>> {
    let prepared: Vec<Prepared> = frames
        .iter()
        .map(|frame| prepare(frame, mesh, key_of(&frame.origin), good))
        .collect();
    let found_good = check(&prepared);
    found_good.iter().for_each(|mark| good.add(*mark));
    let verdict = |frame: Frame, prepared: Prepared| {
        let checked = match prepared.claim {
            Claim::None => Checked::Unsigned,
            Claim::UnknownKey => Checked::UnknownKey,
            Claim::Good => Checked::Signed,
            Claim::Open(_, _, mark) if found_good.contains(&mark) => Checked::Signed,
            Claim::Open(..) => {
                return Err(Refusal::new(
                    Code::FrameSignatureInvalid,
                    format!(
                        "frame {} is not signed by {}",
                        frame.frame_id.short(),
                        frame.origin.short()
                    ),
                ));
            }
        };
        Ok(Verified {
            content: prepared.content,
            inner: frame,
            checked,
        })
    };
    let both = frames.into_iter().zip(prepared);
    both.map(|(frame, prepared)| verdict(frame, prepared))
        .collect()
}

/// Checks what is open, each copy once; what was found good.
fn check(prepared: &[Prepared]) -> BTreeSet<Digest> {
    let (mut open, mut seen) = (Vec::new(), BTreeSet::new());
    for one in prepared {
        if let Claim::Open(signature, key, mark) = &one.claim
            && seen.insert(*mark)
        {
            open.push((one.bytes.as_slice(), *signature, *key, *mark));
        }
    }
    let messages: Vec<&[u8]> = open.iter().map(|(bytes, ..)| *bytes).collect();
    let signatures: Vec<Signature> = open.iter().map(|(_, signature, ..)| *signature).collect();
    let keys: Vec<PublicKey> = open.iter().map(|(_, _, key, _)| *key).collect();
    if open.len() > 1 && verify_batch(&messages, &signatures, &keys) {
        return seen;
    }
    let valid = open
        .into_iter()
        .filter(|(bytes, signature, key, _)| key.verify(bytes, signature));
    valid.map(|(.., mark)| mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::{EvidenceSource, FrameId, Hlc, Taint, Tier, TimeMs};
    use crate::domain::wire::frame::FrameKind;
    use serde_json::{Value, json};

    fn frame(key: &DeviceKey, n: u64) -> Frame {
        let data = json!({"metric": "moisture", "value": 21.8, "zone": "zone-1"});
        FrameSpec {
            kind: FrameKind::Observation,
            data: data.as_object().unwrap().clone(),
            sources: vec![EvidenceSource::Sensor],
            tier: Tier::T2,
            taint: Default::default(),
            note: None,
        }
        .sign(
            key,
            "field-1",
            &MeshId::of_name("demo"),
            Stamp {
                frame_id: format!("f-{n}").parse::<FrameId>().unwrap(),
                now: TimeMs(1_000 + n),
                hlc: Hlc::new(TimeMs(1_000 + n), 0),
                seq: n,
            },
        )
        .unwrap()
    }

    #[test]
    fn what_is_signed_here_verifies_elsewhere_with_the_same_content() {
        let (key, mesh) = (DeviceKey::from_seed(&[5; 32]), MeshId::of_name("demo"));
        let spec = FrameSpec {
            kind: FrameKind::Event,
            data: json!({"x": 1.5}).as_object().unwrap().clone(),
            sources: vec![EvidenceSource::Device],
            tier: Tier::T1,
            taint: [Taint::Llm].into(),
            note: Some("a note".into()),
        };
        let stamp = Stamp {
            frame_id: "f-1".parse::<FrameId>().unwrap(),
            now: TimeMs(1_000),
            hlc: Hlc::new(TimeMs(1_000), 0),
            seq: 1,
        };
        let own = sign_frame(spec, &key, "field-1", &mesh, stamp, None).unwrap();
        let sent = own.get().to_wire(1).to_string();
        let got = Frame::parse(serde_json::from_str(&sent).unwrap()).unwrap();
        let seen = verify_frames(
            vec![got],
            &mesh,
            |_| Some(*key.public()),
            &mut GoodSignatures::default(),
        )
        .remove(0)
        .unwrap();
        assert_eq!(
            (seen.checked(), own.checked()),
            (Checked::Signed, Checked::Signed)
        );
        assert_eq!(seen.content(), own.content());
    }

    #[test]
    fn a_relayed_frame_keeps_its_signature_and_an_altered_one_loses_it() {
        let key = DeviceKey::from_seed(&[5; 32]);
        let mesh = MeshId::of_name("demo");
        let key_of = |_: &DeviceId| Some(*key.public());
        let sent = frame(&key, 1).to_wire(3).to_string();
        let got = Frame::parse(serde_json::from_str(&sent).unwrap()).unwrap();
        assert_eq!(got.hops, 3);
        let mut altered: Value = serde_json::from_str(&sent).unwrap();
        altered["data"]["value"] = json!(99.0);
        let altered = Frame::parse(altered).unwrap();
        let good = &mut GoodSignatures::default();
        let out = verify_frames(vec![got, altered, frame(&key, 2)], &mesh, key_of, good);
        assert_eq!(out[0].as_ref().unwrap().checked(), Checked::Signed);
        assert_eq!(
            out[1].as_ref().unwrap_err().code,
            Code::FrameSignatureInvalid
        );
        assert_eq!(out[2].as_ref().unwrap().checked(), Checked::Signed);
        let elsewhere = verify_frames(
            vec![frame(&key, 1)],
            &MeshId::of_name("other"),
            key_of,
            good,
        );
        assert!(
            elsewhere[0].is_err(),
            "a frame of another mesh must not verify here"
        );
    }

    #[test]
    fn a_signature_found_good_stands_for_no_other_content_key_or_signature() {
        let (key, mesh) = (DeviceKey::from_seed(&[5; 32]), MeshId::of_name("demo"));
        let other = DeviceKey::from_seed(&[6; 32]);
        let good = &mut GoodSignatures::default();
        let mut signed = |value: &Value, key: &DeviceKey| {
            let frame = Frame::parse(value.clone()).unwrap();
            let out = verify_frames(vec![frame], &mesh, |_| Some(*key.public()), good).remove(0);
            out.map(|v| v.checked())
        };
        let real = frame(&key, 1).to_wire(0);
        assert_eq!(signed(&real, &key), Ok(Checked::Signed));
        assert_eq!(signed(&real, &key), Ok(Checked::Signed));
        assert!(signed(&real, &other).is_err(), "another key is pinned now");
        let mut altered = real.clone();
        altered["data"]["value"] = json!(99.0);
        assert!(signed(&altered, &key).is_err());
        let mut foreign = real.clone();
        foreign["sig"] = frame(&key, 2).to_wire(0)["sig"].clone();
        assert!(signed(&foreign, &key).is_err());
        assert!(
            signed(&foreign, &key).is_err(),
            "a bad one is not remembered"
        );
        assert_eq!(signed(&real, &key), Ok(Checked::Signed));
    }

    #[test]
    fn copies_in_one_batch_are_judged_alike_and_what_is_remembered_is_bounded() {
        let (key, mesh) = (DeviceKey::from_seed(&[5; 32]), MeshId::of_name("demo"));
        let mut bad = frame(&key, 2).to_wire(0);
        bad["data"]["value"] = json!(0);
        let bad = || Frame::parse(bad.clone()).unwrap();
        let batch = vec![frame(&key, 1), bad(), frame(&key, 1), bad()];
        let good = &mut GoodSignatures::default();
        let out = verify_frames(batch, &mesh, |_| Some(*key.public()), good);
        let valid: Vec<bool> = out.iter().map(Result::is_ok).collect();
        assert_eq!(valid, [true, false, true, false]);
        assert_eq!(good.new.len(), 1);
        for n in 0..2 * SIGNATURES_REMEMBERED_MAX as u64 {
            good.add(Digest::of(&[&n.to_be_bytes()]));
        }
        assert!(good.new.len() + good.old.len() <= SIGNATURES_REMEMBERED_MAX);
    }

    #[test]
    fn for_whom_a_private_frame_is_is_signed_and_its_content_is_not_to_be_guessed() {
        let (key, mesh) = (DeviceKey::from_seed(&[5; 32]), MeshId::of_name("demo"));
        let hub = DeviceKey::from_seed(&[6; 32]).id().clone();
        let made = |salt| {
            let spec = FrameSpec {
                kind: FrameKind::Observation,
                data: json!({"metric": "presence", "value": 1})
                    .as_object()
                    .unwrap()
                    .clone(),
                sources: vec![EvidenceSource::Sensor],
                tier: Tier::T2,
                taint: Default::default(),
                note: None,
            };
            let stamp = Stamp {
                frame_id: "f-1".parse::<FrameId>().unwrap(),
                now: TimeMs(1_000),
                hlc: Hlc::new(TimeMs(1_000), 0),
                seq: 1,
            };
            let private = Private {
                devices: [hub.clone()].into(),
                salt: [salt; 16],
            };
            sign_frame(spec, &key, "field-1", &mesh, stamp, Some(private)).unwrap()
        };
        let own = made(1);
        assert_eq!(own.get().private, Some([hub.clone()].into()));
        assert_ne!(own.content(), made(2).content());
        let checked = |value: Value| {
            let frame = Frame::parse(value).unwrap();
            let good = &mut GoodSignatures::default();
            verify_frames(vec![frame], &mesh, |_| Some(*key.public()), good).remove(0)
        };
        let sent = own.get().to_wire(0);
        assert!(checked(sent.clone()).is_ok());
        let mut wider = sent.clone();
        wider["private"]["for"] = json!([hub, key.id()]);
        assert!(checked(wider).is_err());
        let mut public = sent.clone();
        public.as_object_mut().unwrap().remove("private");
        assert!(checked(public).is_err());
        for wrong in [
            json!(true),
            json!({}),
            json!({"for": "x"}),
            json!({"for": [1]}),
            json!(null),
        ] {
            let mut frame = sent.clone();
            frame["private"] = wrong;
            assert_eq!(Frame::parse(frame).unwrap_err().code, Code::InvalidFrame);
        }
    }

    #[test]
    fn what_the_gen1_node_died_of_is_an_error_with_a_name() {
        let good = frame(&DeviceKey::from_seed(&[5; 32]), 1).to_wire(0);
        for (member, word) in [
            ("data", "data"),
            ("trust", "trust"),
            ("kind", "kind"),
            ("timestamp", "timestamp"),
        ] {
            let mut value = good.clone();
            value.as_object_mut().unwrap().remove(member);
            let error = Frame::parse(value).unwrap_err();
            assert!(error.message.contains(word), "{error}");
        }
        for (member, value) in [
            ("hops", json!(-1)),
            ("hops", json!(1e9)),
            ("kind", json!("gossip")),
            ("gen", json!(2)),
            ("timestamp", json!(-5)),
            ("frameId", json!("")),
            ("sourceDeviceId", json!("x")),
            (
                "trust",
                json!({"evidence_sources": [], "evidence_trust_tier": "T2_operational_observation"}),
            ),
            (
                "trust",
                json!({"evidence_sources": ["sensor"], "evidence_trust_tier": "T9"}),
            ),
            ("data", json!([])),
            ("hlc", json!("zz")),
            ("sig", json!("zz")),
            ("seq", json!(-1)),
            ("taint", json!("llm")),
        ] {
            let mut frame = good.clone();
            frame[member] = value;
            assert_eq!(
                Frame::parse(frame).unwrap_err().code,
                Code::InvalidFrame,
                "{member}"
            );
        }
        let mut big = good.clone();
        big["data"]["blob"] = json!("x".repeat(600_000));
        assert_eq!(Frame::parse(big).unwrap_err().code, Code::DataTooLarge);
        assert_eq!(
            Frame::parse(Value::Null).unwrap_err().code,
            Code::InvalidFrame
        );
    }

    #[test]
    fn model_output_is_tainted_whatever_it_claims() {
        let mut value = frame(&DeviceKey::from_seed(&[5; 32]), 1).to_wire(0);
        value["kind"] = json!("inference");
        assert!(
            Frame::parse(value.clone())
                .unwrap()
                .taint
                .contains(&Taint::Llm)
        );
        value["kind"] = json!("observation");
        value["taint"] = json!(["something-new"]);
        assert!(Frame::parse(value).unwrap().taint.contains(&Taint::Llm));
    }

    #[test]
    fn gen1_peers_see_our_tier_beside_the_claim() {
        let frame = frame(&DeviceKey::from_seed(&[5; 32]), 1);
        let shown = frame.to_gen1_wire(1, Tier::T1);
        assert_eq!(
            shown["trust"]["evidence_trust_tier"],
            "T1_unverified_observation"
        );
        assert_eq!(shown["trust"]["claimedTier"], "T2_operational_observation");
    }
}
