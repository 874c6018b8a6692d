//! Texts that are stored in codes, beside those that are not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::adapters::store::frames::{FrameFilter, Inserted};
use crate::adapters::store::packed::{Columns, pack, unpack};
use crate::adapters::store::series::{self, SeriesFilter};
use crate::adapters::store::{frames, packed, shares};
use crate::domain::base::{EvidenceSource, Hlc, MeshId};
use crate::domain::identity::DeviceKey;
use crate::domain::wire::frame::Stamp;
use crate::domain::wire::{Frame, FrameSpec};

/// A reading as a node of ours signs it.
fn signed(metric: &str, value: f64) -> Frame {
    let data =
        json!({"zone": "zone-1", "metric": metric, "value": value, "unit": "%", "threshold": 20});
    let spec = FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: Some("Soil moisture in zone-1: 21.8% (low)".into()),
    };
    let at = TimeMs(1_790_000_000_123);
    let stamp = Stamp {
        frame_id: uuid::Builder::from_unix_timestamp_millis(at.0, &[9; 10])
            .into_uuid()
            .into(),
        now: at,
        hlc: Hlc::new(at, 3),
        seq: 4_711,
    };
    let key = DeviceKey::from_seed(&[7; 32]);
    spec.sign(&key, "node-1", &MeshId::of_name("m"), stamp)
        .unwrap()
}

fn row(frame: &Frame) -> NewFrame {
    NewFrame {
        content: frame.content(&MeshId::of_name("m")),
        origin: frame.origin.clone(),
        frame_id: frame.frame_id.clone(),
        claimed_at: frame.timestamp,
        time: frame.timestamp,
        hlc: frame.hlc,
        origin_seq: frame.seq,
        metric: frame
            .data()
            .get("metric")
            .and_then(Value::as_str)
            .map(str::to_owned),
        json: frame.to_stored_text().into(),
        ..super::frame(1)
    }
}

fn lies(c: &rusqlite::Connection, seq: u64) -> (String, usize) {
    let sql = "SELECT typeof(json), octet_length(json) FROM frames WHERE seq = ?1";
    c.query_row(sql, [seq.to_string()], |r| {
        Ok((r.get(0)?, r.get::<_, u32>(1)? as usize))
    })
    .unwrap()
}

#[test]
fn no_code_means_two_things() {
    let mut words = packed::WORDS.to_vec();
    assert!(words.iter().all(|word| word.len() > 1 && word.is_ascii()));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), packed::WORDS.len());
    assert!(words.len() <= 128);
    // Stored texts are read by it: only ever added to.
    let given = packed::WORDS[..74].join("\n");
    assert_eq!(
        Digest::of(&[given.as_bytes()]).to_hex(),
        "672b6136753bdf87a1415f9ffc67e0764e2d0571c4a35acdb6bf254f9d789eaa"
    );
}

#[test]
fn a_signed_reading_takes_a_third_and_comes_back_byte_for_byte() {
    let (_dir, c) = conn();
    let frame = signed("moisture", 21.8);
    let new = row(&frame);
    assert_eq!(frames::insert(&c, &new).unwrap(), Inserted::Stored(1));
    let (kind, bytes) = lies(&c, 1);
    assert_eq!(kind, "blob");
    assert!(bytes * 3 < new.json.len(), "{bytes} of {}", new.json.len());
    let back = frames::by_seq(&c, 1).unwrap().unwrap();
    assert_eq!(*back.json, *new.json);
    let back = Frame::parse(serde_json::from_str(&back.json).unwrap()).unwrap();
    let mesh = MeshId::of_name("m");
    assert_eq!(back.signing_bytes(&mesh), frame.signing_bytes(&mesh));
    assert_eq!(shares::count(&c).unwrap(), 1);
}

#[test]
fn what_counts_and_times_do_not_fit_their_columns_comes_back_too() {
    let (_dir, c) = conn();
    let mut new = row(&signed("moisture", 1.0));
    new.origin_seq = Some(u64::MAX);
    new.claimed_at = TimeMs(u64::MAX);
    new.json = format!(
        r#"{{"seq":{},"timestamp":{},"a":"{}"}}"#,
        u64::MAX,
        u64::MAX,
        i64::MAX
    )
    .into();
    frames::insert(&c, &new).unwrap();
    let back = frames::by_seq(&c, 1).unwrap().unwrap();
    assert_eq!(*back.json, *new.json);
}

#[test]
fn series_and_pages_find_packed_texts_and_those_of_older_versions() {
    let (_dir, c) = conn();
    for n in 1..=6_u64 {
        let frame = signed(["moisture", "battery"][usize::from(n % 3 == 0)], n as f64);
        let new = NewFrame {
            content: super::frame(n).content,
            frame_id: frame_id(n),
            time: TimeMs(n),
            ..row(&frame)
        };
        frames::insert(&c, &new).unwrap();
        if n % 2 == 0 {
            // As it lay before texts were packed.
            let sql =
                "UPDATE frames SET json = ?2, kind = 'observation', metric = NULL WHERE seq = ?1";
            c.execute(sql, (n.to_string(), &*new.json)).unwrap();
        }
        assert_eq!(lies(&c, n).0, ["text", "blob"][usize::from(n % 2 == 1)]);
    }
    let series = |limit, zone: Option<&str>| -> Vec<f64> {
        let filter = SeriesFilter {
            metric: "moisture".into(),
            zone: zone.map(str::to_owned),
            origin: None,
            from: TimeMs(0),
            to: TimeMs(9),
            limit,
        };
        let samples = series::samples(&c, &filter).unwrap();
        samples.into_iter().map(|s| s.value).collect()
    };
    assert_eq!(series(9, None), [1.0, 2.0, 4.0, 5.0]);
    assert_eq!(series(3, Some("zone-1")), [2.0, 4.0, 5.0]);
    assert!(series(9, Some("zone-2")).is_empty());
    let page = |filter: FrameFilter| -> Vec<u64> {
        let page = frames::page(&c, &filter).unwrap();
        page.iter().map(|f| f.seq).collect()
    };
    let (kind, zone) = (Some(FrameKind::Observation), Some("zone-1".to_owned()));
    let metric = Some("battery".to_owned());
    let all = FrameFilter::default();
    assert_eq!(
        page(FrameFilter {
            kind,
            zone,
            limit: 5,
            ..all.clone()
        }),
        [6, 5, 4, 3, 2]
    );
    assert_eq!(
        page(FrameFilter {
            metric,
            ..all.clone()
        }),
        [6, 3]
    );
    let kind = Some(FrameKind::Event);
    assert!(page(FrameFilter { kind, ..all }).is_empty());
}

#[test]
fn a_text_that_gets_its_signature_is_packed_also_where_it_lay_as_text() {
    let (_dir, c) = conn();
    let signed = NewFrame {
        signature: SignatureState::Verified,
        ..row(&signed("moisture", 1.0))
    };
    let copy = NewFrame {
        signed: false,
        signature: SignatureState::Unverifiable,
        json: signed.json.replace(r#","sig":""#, r#","gis":""#).into(),
        ..signed.clone()
    };
    frames::insert(&c, &copy).unwrap();
    let sql = "UPDATE frames SET json = ?1, kind = 'observation', metric = NULL";
    c.execute(sql, [&*copy.json]).unwrap();
    assert_eq!(frames::insert(&c, &signed).unwrap(), Inserted::Proven(1));
    assert_eq!(lies(&c, 1).0, "blob");
    let back = frames::by_seq(&c, 1).unwrap().unwrap();
    assert_eq!(*back.json, *signed.json);
}

fn columns() -> Columns {
    let (at, hlc) = (TimeMs(1_790_000_000_000), Hlc::from_i64(77));
    let (origin, kind) = (device(1), FrameKind::Observation);
    Columns::new(
        origin.as_str(),
        "frame-1",
        at,
        Some(hlc),
        Some(12),
        kind,
        Some("moisture".to_owned()),
    )
}

proptest! {
    #[test]
    fn any_text_comes_back(text in ".*") {
        if let Some(packed) = pack(&text, &columns()) {
            prop_assert!(packed.len() < text.len());
            prop_assert_eq!(unpack(&packed, &columns()), Some(text));
        }
    }

    #[test]
    fn any_frame_comes_back(name in "\\PC{0,20}", value in any::<f64>(), hash in "[0-9a-f]{60,70}", sig in "[A-Za-z0-9_-]{84,88}") {
        let frame = json!({
            "data": {"metric": name, "value": value, "x": hash, name.clone(): [true, null, {"zone": "zone-1"}]},
            "sig": sig, "sourceDeviceId": device(1), "frameId": "frame-1", "timestamp": 1_790_000_000_000_u64, "seq": 12,
        }).to_string();
        let packed = pack(&frame, &columns());
        prop_assert_eq!(packed.and_then(|p| unpack(&p, &columns())), Some(frame));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = unpack(&bytes, &columns());
    }
}
