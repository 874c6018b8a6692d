//! How frames spread over the broadcast tree among simulated nodes that keep the rules of
//! `domain/sync/tree`, with and without liars: copies of a frame and links it crosses.
//!
//! Run by `scripts/bench spread`; prints one line per measurement, `name value unit target`. Nothing here
//! depends on the machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, dead_code)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use clawmesh::domain::base::limits::{TREE_OFFER_MS, TREE_OFFERS_PER_MESSAGE};
use clawmesh::domain::base::{DeviceId, TimeMs};
use clawmesh::domain::sync::{Asked, FrameKey, Tree};
use mesh::{Kind, Mesh};

#[path = "../src-tauri/src/domain/sync/tree/mesh.rs"]
mod mesh;

fn report(name: &str, value: f64, unit: &str, target: &str) {
    println!("{name:<44} {value:>12.2} {unit:<9} {target}");
}

fn main() {
    let liars = [
        Kind::OffersAndNeverSends,
        Kind::Invents,
        Kind::PrunesEverybody,
        Kind::AsksEndlessly,
    ];
    for (nodes, tenth_lies, even) in [
        (20, false, true),
        (100, false, true),
        (1_000, false, true),
        (1_000, false, false),
        (1_000, true, true),
    ] {
        let mut kinds = vec![Kind::Honest; nodes];
        if tenth_lies {
            for (n, kind) in kinds.iter_mut().skip(9).step_by(10).enumerate() {
                *kind = liars[n % liars.len()];
            }
        }
        // Each chooses four others, so that it has eight links on average.
        let mut mesh = Mesh::sparse(&kinds, 4, 7);
        mesh.even = even;
        mesh.spread(0..100, 100);
        let after = mesh.spread(100..200, 100);
        let name = match (tenth_lies, even) {
            (true, _) => format!("{nodes} nodes, a tenth liars"),
            (_, true) => format!("{nodes} nodes"),
            (_, false) => format!("{nodes} nodes, links of 1 to 40 ms"),
        };
        let most = match tenth_lies || !even {
            true => String::new(),
            false => format!("<={}", 2 * nodes.ilog2()),
        };
        report(
            &format!("{name}: copies a frame"),
            after.copies,
            "",
            "<=1.5",
        );
        report(
            &format!("{name}: rounds"),
            f64::from(after.rounds),
            "",
            &most,
        );
        #[allow(clippy::cast_precision_loss)]
        let lacking = mesh.lacking(0..200) as f64;
        report(&format!("{name}: frames lacking"), lacking, "", "0");
    }
}
