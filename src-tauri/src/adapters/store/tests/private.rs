//! Private frames in the frame log.

use super::*;
use crate::adapters::store::{frame_sync, frames, private};
use crate::domain::sync::Times;

#[test]
fn private_frames_are_in_nothing_that_is_offered_and_found_by_their_index() {
    let (_dir, c) = conn();
    for n in 1..=6 {
        let new = frames::NewFrame {
            private: n % 2 == 0,
            link_peer: (n == 6).then(|| device(1)),
            ..frame(n)
        };
        assert_eq!(
            frames::insert(&c, &new).unwrap(),
            frames::Inserted::Stored(n)
        );
    }
    let places = |page: Vec<frames::StoredFrame>| page.iter().map(|f| f.seq).collect::<Vec<_>>();
    let offered = frames::after(&c, 0, 10, usize::MAX, None).unwrap();
    assert_eq!(places(offered), [1, 3, 5]);
    let filter = frames::FrameFilter {
        public: true,
        ..Default::default()
    };
    assert_eq!(places(frames::page(&c, &filter).unwrap()), [5, 3, 1]);
    let all = frames::page(&c, &frames::FrameFilter::default()).unwrap();
    assert_eq!(all.iter().filter(|f| f.private).count(), 3);
    let held = frame_sync::keyed_after(&c, 0, 10).unwrap();
    let named: Vec<u64> = held
        .iter()
        .filter(|(_, k)| k.is_some())
        .map(|(n, _)| *n)
        .collect();
    assert_eq!((held.len(), named), (6, vec![1, 3, 5]));
    let keys: Vec<_> = all
        .iter()
        .map(|f| crate::domain::sync::FrameKey::of(&f.frame_id, &f.content))
        .collect();
    let keys: Vec<_> = keys.iter().flat_map(|k| [*k, k.unsigned()]).collect();
    let mut set = crate::domain::sync::KeySet::default();
    set.extend(held.iter().filter_map(|(_, k)| *k));
    let times: Times = set.times(&keys);
    let (found, _) = frame_sync::by_keys(&c, &keys, &times, usize::MAX).unwrap();
    assert!(found.iter().all(|f| !f.private));
    // Those of this node, and not the one that another one brought.
    assert_eq!(
        places(private::own_after(&c, 0, 10, usize::MAX).unwrap()),
        [2, 4]
    );
    assert_eq!(
        places(private::own_after(&c, 2, 10, usize::MAX).unwrap()),
        [4]
    );
    assert_eq!(private::own_before(&c, 9, 1).unwrap(), 2);
    assert_eq!(private::own_before(&c, 9, 5).unwrap(), 0);
    let explain = format!("EXPLAIN QUERY PLAN {}", private::own_after_sql());
    let mut plan = c.prepare(&explain).unwrap();
    let rows = plan
        .query_map((0, 1), |row| row.get::<_, String>(3))
        .unwrap();
    let plan: String = rows.map(Result::unwrap).collect();
    assert!(plan.contains("frames_private"), "{plan}");
}
