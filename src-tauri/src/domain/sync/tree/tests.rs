//! The rules of the tree: in a simulated mesh with broken links and liars, one by one, and in any order.

#![allow(clippy::unwrap_used)]
#[path = "mesh.rs"]
mod mesh;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use self::mesh::{Kind, Mesh, device, key};
use super::*;
use crate::domain::base::limits::TREE_OFFER_MS;

#[test]
fn in_a_full_mesh_a_frame_comes_about_once_after_the_tree_has_settled() {
    for (size, every_ms) in [(20, 1_000), (20, 7), (40, 11)] {
        let mut mesh = Mesh::full(&vec![Kind::Honest; size], 7);
        let before = mesh.spread(0..200, every_ms);
        let after = mesh.spread(200..400, every_ms);
        assert_eq!(mesh.lacking(0..400), 0);
        assert!(
            after.copies <= 1.5,
            "{size} nodes: {before:?} before, {after:?} after"
        );
    }
}

#[test]
fn among_a_thousand_nodes_a_frame_comes_about_once_over_few_links() {
    let mut mesh = Mesh::sparse(&[Kind::Honest; 1_000], 4, 7);
    mesh.even = true;
    mesh.spread(0..40, 300);
    let after = mesh.spread(40..60, 300);
    assert_eq!(mesh.lacking(0..60), 0);
    // 2 log2 1000 is 19.9.
    assert!(after.copies <= 1.5 && after.rounds <= 19, "{after:?}");
}

#[test]
fn where_a_node_or_a_link_of_the_tree_goes_its_frames_come_another_way() {
    for seed in 0..4 {
        let mut mesh = Mesh::full(&[Kind::Honest; 20], seed);
        mesh.spread(0..50, 20);
        for (frame, gone) in (50..62).zip([0, 3, 5, 7, 9, 11].into_iter().cycle()) {
            mesh.publish(19, frame);
            let soon = mesh.now + 15;
            mesh.run(soon);
            if frame < 54 {
                mesh.kill(gone);
            } else {
                mesh.cut(19, usize::try_from(frame).unwrap() % 9 + 10 - 1);
            }
            let soon = mesh.now + 15;
            mesh.run(soon);
        }
        let until = mesh.now + 5_000;
        mesh.run(until);
        assert_eq!(mesh.lacking(50..62), 0);
        mesh.spread(100..150, 20);
        let after = mesh.spread(150..250, 20);
        assert_eq!(mesh.lacking(100..250), 0);
        assert!(after.copies <= 1.5, "seed {seed}: {after:?}");
    }
}

#[test]
fn liars_keep_no_frame_away() {
    let lies = [
        Kind::OffersAndNeverSends,
        Kind::Invents,
        Kind::PrunesEverybody,
        Kind::AsksEndlessly,
        Kind::OffersAndNeverSends,
    ];
    for seed in 0..4 {
        let mut kinds = vec![Kind::Honest; 20];
        for (n, lie) in lies.into_iter().enumerate() {
            kinds[(n * 4 + usize::try_from(seed).unwrap()) % 20] = lie;
        }
        let mut mesh = Mesh::full(&kinds, seed);
        mesh.spread(0..100, 20);
        let after = mesh.spread(100..400, 20);
        assert_eq!(mesh.lacking(0..400), 0);
        assert!(after.copies <= 1.5, "seed {seed}: {after:?}");
        for node in &mesh.nodes {
            let kept: usize = node.tree.branches.values().map(|b| b.offers).sum();
            assert!(kept <= 20 * TREE_OFFERS_OF_LIAR_MAX, "{kept}");
        }
    }
}

#[test]
fn a_frame_that_only_liars_offer_first_is_asked_of_the_honest_one_within_seconds() {
    let mut tree = Tree::default();
    (0..8).for_each(|n| tree.joined(&device(n)));
    let (wanted, begun) = (key(1), 1_000);
    (0..8).for_each(|n| tree.offered(&device(n), wanted, TimeMs(begun)));
    let mut asked = Vec::new();
    while let Some(at) = tree.next_due() {
        asked.extend(tree.ask(at, false).into_keys().map(|peer| (at, peer)));
    }
    assert_eq!(asked.len(), 8);
    assert!(
        asked.iter().all(|(at, _)| at.0 < begun + 5_000),
        "{asked:?}"
    );
    assert!(tree.missing.is_empty() && tree.due.is_empty());
    // Next time the one that has kept an offer is asked first.
    tree.offered(&device(7), key(2), TimeMs(9_000));
    tree.ask(TimeMs(9_250), false);
    tree.got(&key(2), Some(&device(7)));
    (0..8).for_each(|n| tree.offered(&device(n), key(3), TimeMs(10_000)));
    let first = tree.ask(TimeMs(10_250), false);
    assert!(first.contains_key(&device(7)), "{first:?}");
}

#[test]
fn one_that_withholds_is_named_until_it_has_kept_several_offers() {
    let (mut tree, liar) = (Tree::default(), device(0));
    tree.joined(&liar);
    tree.paced(&liar, u64::MAX);
    let mut now = TimeMs(1_000);
    let mut offer = |tree: &mut Tree, n: u64, keeps: bool| {
        tree.offered(&liar, key(n), now);
        now = now.plus(TREE_ASK_MS);
        assert_eq!(tree.ask(now, false).len(), 1);
        if keeps {
            tree.got(&key(n), Some(&liar));
        }
        now = now.plus(TREE_ASK_AGAIN_MAX_MS);
        assert!(tree.ask(now, false).is_empty());
    };
    for n in 0..u64::from(TREE_UNMET_MAX) {
        assert!(tree.withholding().is_empty());
        offer(&mut tree, n, false);
    }
    // 64 is halved to nothing in seven steps.
    for n in 100..107 {
        assert_eq!(tree.withholding(), BTreeSet::from([device(0)]));
        offer(&mut tree, n, true);
    }
    assert!(tree.withholding().is_empty());
}

#[test]
fn with_few_links_nobody_is_told_to_push_no_more() {
    let mut tree = Tree::default();
    for n in 0..TREE_LINKS_ALL_EAGER {
        tree.joined(&device(n));
        assert!(!tree.copy(&device(0), &device(1), TimeMs(0)) && tree.is_eager(&device(0)));
    }
    tree.joined(&device(9));
    assert!(tree.copy(&device(0), &device(1), TimeMs(5_000)) && !tree.is_eager(&device(0)));
    // Once, and again only where it goes on.
    assert!(!tree.copy(&device(0), &device(1), TimeMs(5_500)));
    assert!(tree.copy(&device(0), &device(1), TimeMs(6_000)));
    // A peer that does not speak of it is always pushed to.
    assert!(tree.is_eager(&device(20)) && !tree.copy(&device(20), &device(1), TimeMs(0)));
}

#[test]
fn while_frames_wait_to_be_judged_none_is_asked_for_but_not_for_long() {
    let mut tree = Tree::default();
    tree.joined(&device(0));
    tree.offered(&device(0), key(1), TimeMs(1_000));
    let (mut now, mut asked) = (TimeMs(1_000), BTreeMap::new());
    while asked.is_empty() {
        now = tree.next_due().unwrap();
        asked = tree.ask(now, true);
    }
    assert_eq!(now.since(TimeMs(1_000)), TREE_BUSY_MAX_MS);
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(usize),
    Copy(usize, usize),
    Pruned(usize),
    Grafted(usize),
    Offer(usize, u64),
    Got(u64, usize),
    Later(u64),
    Ask(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, frame) = (0..6_usize, 0..40_u64);
    prop_oneof![
        peer.clone().prop_map(Step::Join),
        peer.clone().prop_map(Step::Leave),
        (peer.clone(), peer.clone()).prop_map(|(p, first)| Step::Copy(p, first)),
        peer.clone().prop_map(Step::Pruned),
        peer.clone().prop_map(Step::Grafted),
        (peer.clone(), frame.clone()).prop_map(|(p, f)| Step::Offer(p, f)),
        (frame, peer).prop_map(|(f, p)| Step::Got(f, p)),
        (0..1_500_u64).prop_map(Step::Later),
        any::<bool>().prop_map(Step::Ask),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// For any messages in any order: the books agree with each other, only who offered a frame is asked for
    /// it, and nothing is remembered for ever.
    #[test]
    fn the_books_agree(steps in proptest::collection::vec(step(), 1..200)) {
        let (mut tree, mut now) = (Tree::default(), TimeMs(1_000));
        let mut offered = BTreeSet::new();
        for step in steps {
            match step {
                Step::Join(p) => tree.joined(&device(p)),
                Step::Leave(p) => tree.left(&device(p)),
                Step::Copy(p, first) => drop(tree.copy(&device(p), &device(first), now)),
                Step::Pruned(p) => tree.pruned(&device(p)),
                Step::Grafted(p) => tree.grafted(&device(p)),
                Step::Offer(p, f) => {
                    offered.insert((device(p), key(f)));
                    tree.offered(&device(p), key(f), now);
                }
                Step::Got(f, p) => tree.got(&key(f), Some(&device(p))),
                Step::Later(ms) => now = now.plus(ms),
                Step::Ask(busy) => {
                    for (peer, Asked { keys, .. }) in tree.ask(now, busy) {
                        prop_assert!(tree.branches.contains_key(&peer));
                        for key in keys {
                            prop_assert!(offered.contains(&(peer.clone(), key)));
                        }
                    }
                }
            }
            let due: BTreeSet<_> = tree.missing.iter().map(|(key, m)| (m.due, *key)).collect();
            prop_assert_eq!(&due, &tree.due);
            for (peer, branch) in &tree.branches {
                let held = tree.missing.values().filter(|m| m.offers.contains(peer));
                prop_assert_eq!(held.count(), branch.offers);
                prop_assert!(branch.offers <= TREE_OFFERS_KEPT_MAX);
            }
        }
        let mut rounds = 0;
        while let Some(at) = tree.next_due() {
            tree.ask(at, false);
            rounds += 1;
            prop_assert!(rounds < 2_000);
        }
        prop_assert!(tree.missing.is_empty());
    }
}

#[test]
fn a_peer_whose_frame_is_refused_kept_its_offer() {
    let (mut tree, a, b) = (Tree::default(), device(1), device(2));
    tree.joined(&a);
    tree.joined(&b);
    let mut now = TimeMs(0);
    for n in 0..TREE_UNMET_MAX * 2 {
        let (one, two) = (key(u64::from(n) * 2), key(u64::from(n) * 2 + 1));
        for frame in [one, two] {
            tree.offered(&a, frame, now);
        }
        now = now.plus(TREE_ASK_MS);
        assert_eq!(tree.ask(now, false)[&a].keys.len(), 2);
        for frame in [one, two] {
            tree.offered(&b, frame, now);
        }
        // One is known by its key, of the other only that it was one.
        tree.refused(&one, &b, now);
        assert!(tree.overdue(now, 9).is_empty(), "another was asked for it");
        tree.refused(&one, &a, now);
        tree.refused_some(&a, 1, now);
        let asked = tree.ask(now, false);
        assert_eq!(asked[&b].keys.len(), 2, "the other is asked at once");
        tree.got(&one, Some(&b));
        tree.got(&two, Some(&b));
    }
    assert!(tree.withholding().is_empty());
}
