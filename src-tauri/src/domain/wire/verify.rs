//! Origin signatures: `Frame` in, `Verified<Frame>` out, in batches.

use crate::domain::base::{Code, DeviceId, Digest, MeshId, Refusal};
use crate::domain::identity::{DeviceKey, PublicKey, Signature, verify_batch};

use super::frame::{Frame, FrameSpec, Stamp};

/// What checking the origin's signature showed.
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

    /// What the check showed.
    pub fn checked(&self) -> Checked {
        self.checked
    }
}

/// Signs a frame of this device's own: nobody need check what was signed a moment ago.
///
/// # Errors
/// As [`FrameSpec::sign`].
pub fn sign_frame(
    spec: FrameSpec,
    key: &DeviceKey,
    name: &str,
    mesh: &MeshId,
    stamp: Stamp,
) -> Result<Verified<Frame>, Refusal> {
    let (inner, content) = spec.signed(key, name, mesh, stamp)?;
    Ok(Verified {
        inner,
        content,
        checked: Checked::Signed,
    })
}

/// What is to be checked: the signed bytes, and the signature with the key it should be of.
type Prepared = (Vec<u8>, Option<(Signature, PublicKey)>);

/// Checks a batch of frames; `key_of` finds the pinned key of a device. One bad signature costs the
/// batch its speed and only that frame its place.
///
/// # Errors
/// Per frame: `FRAME_SIGNATURE_INVALID`.
pub fn verify_frames(
    frames: Vec<Frame>,
    mesh: &MeshId,
    key_of: impl Fn(&DeviceId) -> Option<PublicKey>,
) -> Vec<Result<Verified<Frame>, Refusal>> {
    let prepared: Vec<Prepared> = frames
        .iter()
        .map(|f| {
            (
                f.signing_bytes(mesh),
                f.signature.and_then(|s| key_of(&f.origin).map(|k| (s, k))),
            )
        })
        .collect();
    let mut messages = Vec::new();
    let mut signatures = Vec::new();
    let mut keys = Vec::new();
    for (bytes, signed) in &prepared {
        if let Some((signature, key)) = signed {
            messages.push(bytes.as_slice());
            signatures.push(*signature);
            keys.push(*key);
        }
    }
    let all_good = signatures.len() > 1 && verify_batch(&messages, &signatures, &keys);
    let mut out = Vec::with_capacity(frames.len());
    for (frame, (bytes, signed)) in frames.into_iter().zip(prepared.iter()) {
        let checked = match signed {
            Some((signature, key)) if all_good || key.verify(bytes, signature) => Checked::Signed,
            Some(_) => {
                out.push(Err(Refusal::new(
                    Code::FrameSignatureInvalid,
                    format!(
                        "frame {} is not signed by {}",
                        frame.frame_id.short(),
                        frame.origin.short()
                    ),
                )));
                continue;
            }
            None if frame.signature.is_some() => Checked::UnknownKey,
            None => Checked::Unsigned,
        };
        out.push(Ok(Verified {
            content: Digest::of(&[bytes]),
            inner: frame,
            checked,
        }));
    }
    out
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
        let own = sign_frame(spec, &key, "field-1", &mesh, stamp).unwrap();
        let sent = own.get().to_wire(1).to_string();
        let got = Frame::parse(serde_json::from_str(&sent).unwrap()).unwrap();
        let seen = verify_frames(vec![got], &mesh, |_| Some(*key.public()))
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
        let out = verify_frames(vec![got, altered, frame(&key, 2)], &mesh, key_of);
        assert_eq!(out[0].as_ref().unwrap().checked(), Checked::Signed);
        assert_eq!(
            out[1].as_ref().unwrap_err().code,
            Code::FrameSignatureInvalid
        );
        assert_eq!(out[2].as_ref().unwrap().checked(), Checked::Signed);
        let elsewhere = verify_frames(vec![frame(&key, 1)], &MeshId::of_name("other"), key_of);
        assert!(
            elsewhere[0].is_err(),
            "a frame of another mesh must not verify here"
        );
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
