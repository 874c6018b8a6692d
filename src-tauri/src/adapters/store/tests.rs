//! Tests of the store: the engine under `engine`, the table families under `families` and
//! `decisions`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alerts;
mod decisions;
mod engine;
mod families;
mod gathering;
mod history;
mod messages;
mod migrations;
mod named;
mod packed;
mod private;
mod provenness;
mod shares;

use std::path::PathBuf;

use tempfile::TempDir;

use super::frames::NewFrame;
use super::{Store, StoreError, StoreOptions};
use crate::domain::base::{DeviceId, Digest, FrameId, Tier, TimeMs};
use crate::domain::wire::FrameKind;
use crate::domain::world::SignatureState;

/// A directory with a place for a database.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clawmesh.db");
    (dir, file)
}

/// The writer's own connection, for tests of plain functions.
fn conn() -> (TempDir, rusqlite::Connection) {
    let (dir, file) = place();
    let conn = super::open::connect(&file, StoreOptions::default()).unwrap();
    (dir, conn)
}

fn open(file: &std::path::Path) -> Result<Store, StoreError> {
    Store::open(file, StoreOptions::default())
}

fn device(n: u8) -> DeviceId {
    DeviceId::of_public_key(&[n; 32])
}

fn frame_id(n: u64) -> FrameId {
    format!("frame-{n}").parse().unwrap()
}

fn frame(n: u64) -> NewFrame {
    NewFrame {
        content: Digest::of(&[b"content", &n.to_be_bytes()]),
        origin: device(1),
        frame_id: frame_id(n),
        kind: FrameKind::Observation,
        claimed_at: TimeMs(n),
        time: TimeMs(n),
        received_at: TimeMs(n + 1),
        hlc: None,
        origin_seq: Some(n),
        claimed_tier: Tier::T2,
        effective_tier: Tier::T1,
        signed: true,
        signature: SignatureState::FirstHand,
        tainted: false,
        hops: 0,
        link_peer: Some(device(2)),
        ahead: false,
        private: false,
        metric: Some("moisture".into()),
        json: format!(
            r#"{{"kind":"observation","data":{{"metric":"moisture","zone":"z{}","value":{n}}}}}"#,
            n % 2
        )
        .into(),
    }
}
