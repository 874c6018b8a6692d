//! Admission: who may send what, and the tier that results.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::base::{FrameId, Hlc, MeshId};
use crate::domain::identity::DeviceKey;
use crate::domain::wire::frame::{FrameSpec, Stamp};
use crate::domain::wire::verify::{GoodSignatures, verify_frames};

struct Records(BTreeMap<DeviceId, TrustRecord>);

impl TrustView for Records {
    fn record(&self, device: &DeviceId) -> Option<&TrustRecord> {
        self.0.get(device)
    }
}

fn records(list: &[(&DeviceKey, &str)]) -> Records {
    let record = |(key, grants): &(&DeviceKey, &str)| {
        let grants: Grants = grants.parse().unwrap();
        (
            key.id().clone(),
            TrustRecord::new(
                key.id().clone(),
                Some(*key.public()),
                None,
                grants,
                TimeMs(0),
            ),
        )
    };
    Records(list.iter().map(record).collect())
}

fn frame(key: &DeviceKey, kind: FrameKind, tier: Tier, llm: bool, signed: bool, ms: u64) -> Frame {
    let frame = FrameSpec {
        kind,
        data: json!({"metric": "m", "value": 1})
            .as_object()
            .unwrap()
            .clone(),
        sources: vec![if llm {
            crate::domain::base::EvidenceSource::Llm
        } else {
            crate::domain::base::EvidenceSource::Sensor
        }],
        tier,
        taint: BTreeSet::new(),
        note: None,
    }
    .sign(
        key,
        "n",
        &MeshId::of_name("demo"),
        Stamp {
            frame_id: "f".parse::<FrameId>().unwrap(),
            now: TimeMs(ms),
            hlc: Hlc::default(),
            seq: 1,
        },
    )
    .unwrap();
    if signed {
        return frame;
    }
    let mut value = frame.to_wire(0);
    value.as_object_mut().unwrap().remove("sig");
    Frame::parse(value).unwrap()
}

fn run(frame: Frame, peer: &DeviceKey, trust: &Records, now: u64) -> Result<Admitted, Refusal> {
    let key_of = |id: &DeviceId| trust.record(id).and_then(|r| r.public_key);
    let verified = verify_frames(
        vec![frame],
        &MeshId::of_name("demo"),
        key_of,
        &mut GoodSignatures::default(),
    )
    .remove(0)?;
    admit(verified, peer.id(), trust, TimeMs(now))
}

#[test]
fn the_effective_tier_is_what_we_can_vouch_for() {
    let (a, b) = (
        DeviceKey::from_seed(&[1; 32]),
        DeviceKey::from_seed(&[2; 32]),
    );
    let trust = records(&[(&a, "observe:T2,relay"), (&b, "relay,read")]);
    let tier = |f: Frame, peer: &DeviceKey| {
        run(f, peer, &trust, 10).map(|x| (x.effective(), x.signature()))
    };
    let obs = FrameKind::Observation;
    // First-hand, up to the grant.
    assert_eq!(
        tier(frame(&a, obs, Tier::T3, false, true, 1), &a),
        Ok((Tier::T2, SignatureState::Verified))
    );
    assert_eq!(
        tier(frame(&a, obs, Tier::T2, false, false, 1), &a),
        Ok((Tier::T2, SignatureState::FirstHand))
    );
    // Relayed: the signature decides.
    assert_eq!(
        tier(frame(&a, obs, Tier::T2, false, true, 1), &b),
        Ok((Tier::T2, SignatureState::Verified))
    );
    assert_eq!(
        tier(frame(&a, obs, Tier::T2, false, false, 1), &b),
        Ok((Tier::T0, SignatureState::Unverifiable))
    );
    // A stranger, relayed: we hold no key.
    let stranger = DeviceKey::from_seed(&[3; 32]);
    assert_eq!(
        tier(frame(&stranger, obs, Tier::T3, false, true, 1), &b),
        Ok((Tier::T0, SignatureState::Unverifiable))
    );
    // Model output and a person's word without the grant.
    assert_eq!(
        tier(frame(&a, obs, Tier::T3, true, true, 1), &a).unwrap().0,
        Tier::T0
    );
    assert_eq!(
        tier(
            frame(&a, FrameKind::HumanInput, Tier::T3, false, true, 1),
            &a
        )
        .unwrap()
        .0,
        Tier::T1
    );
}

#[test]
fn who_may_not_send_is_refused() {
    let (a, b) = (
        DeviceKey::from_seed(&[1; 32]),
        DeviceKey::from_seed(&[2; 32]),
    );
    let trust = records(&[(&a, "read"), (&b, "observe:T2")]);
    let obs = |key| frame(key, FrameKind::Observation, Tier::T1, false, true, 1);
    assert_eq!(
        run(obs(&a), &a, &trust, 10).unwrap_err().code,
        Code::NotAuthorized
    );
    assert_eq!(
        run(obs(&a), &b, &trust, 10).unwrap_err().code,
        Code::NotAuthorized
    );
    let nobody = DeviceKey::from_seed(&[9; 32]);
    assert_eq!(
        run(obs(&nobody), &nobody, &trust, 10).unwrap_err().code,
        Code::NotAuthorized
    );
}

#[test]
fn a_time_years_ahead_never_leads() {
    let a = DeviceKey::from_seed(&[1; 32]);
    let trust = records(&[(&a, "observe:T2")]);
    let year = 365 * 24 * 3_600_000;
    let admitted = run(
        frame(
            &a,
            FrameKind::Observation,
            Tier::T2,
            false,
            true,
            1_000 + year,
        ),
        &a,
        &trust,
        1_000,
    )
    .unwrap();
    assert!(admitted.ahead());
    assert_eq!(admitted.time(), TimeMs(1_000));
}

proptest! {
    #[test]
    fn never_above_claim_or_grant(claim in 0u8..4, grant in 1u8..4, llm: bool, signed: bool, relayed: bool) {
        let (a, b) = (DeviceKey::from_seed(&[1; 32]), DeviceKey::from_seed(&[2; 32]));
        let grants = format!("observe:T{grant},relay");
        let trust = records(&[(&a, &grants), (&b, "relay")]);
        let claim = Tier::from_rank(claim);
        let f = frame(&a, FrameKind::Observation, claim, llm, signed, 1);
        let admitted = run(f, if relayed { &b } else { &a }, &trust, 10).unwrap();
        prop_assert!(admitted.effective() <= claim);
        prop_assert!(admitted.effective() <= Tier::from_rank(grant).max(Tier::T1));
        if llm { prop_assert_eq!(admitted.effective(), Tier::T0); }
        prop_assert_eq!(admitted.frame().claimed, claim, "the claim survives");
    }
}
