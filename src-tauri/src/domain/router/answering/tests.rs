//! Nodes of one bot: who answers, who gives way, and what a liar can do.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

const KIND: ChannelKind = ChannelKind::Telegram;

/// Devices in the order of their ids.
fn devices() -> [DeviceId; 3] {
    let mut ids = [1, 2, 3].map(|n: u8| DeviceId::of_public_key(&[n; 32]));
    ids.sort();
    ids
}

fn turns(own: &DeviceId) -> Turns {
    Turns::new(own.clone(), KIND, "7", 0)
}

fn tells(from: &Turns, to: &mut Turns, now: u64) {
    to.hear(from.own.clone(), from.claim(now), now);
}

/// Two of which the first answers since the moment 10,000.
fn two() -> (Turns, Turns) {
    let [a, b, _] = devices();
    let (mut a, mut b) = (turns(&a), turns(&b));
    for now in [0, 5_000] {
        tells(&a, &mut b, now);
        tells(&b, &mut a, now);
        assert!(a.tick(now) && b.tick(now));
    }
    assert_eq!(a.stand(false, 0), Stand::Listens);
    assert_eq!(a.stand(false, 10_000), Stand::First);
    assert_eq!(b.stand(false, 10_000), Stand::Waits(a.own.clone()));
    assert_eq!(a.take(10_000), 1);
    tells(&a, &mut b, 10_000);
    (a, b)
}

#[test]
fn one_answers_and_the_next_begins_when_it_is_not_heard_any_more() {
    let (a, mut b) = two();
    assert_eq!(a.stand(false, 10_000), Stand::Holds);
    for now in (10_000..24_000).step_by(2_000) {
        b.tick(now);
        assert_eq!(b.stand(false, now), Stand::By(a.own.clone()), "{now}");
    }
    b.tick(25_000);
    assert_eq!(b.stand(false, 25_000), Stand::First);
    assert!(b.take(25_000) > 1, "in an epoch of its own");
}

#[test]
fn who_stood_still_speaks_no_more_before_another_can_have_begun() {
    let (mut a, mut b) = two();
    assert!(a.tick(12_000) && a.speaks(21_999));
    assert!(!a.speaks(22_000), "though nobody told it yet");
    assert!(!a.tick(40_000), "and it knows");
    assert!(!a.claim(40_000).holds);
    b.take(35_000);
    tells(&b, &mut a, 40_000);
    assert_eq!(a.stand(false, 40_000), Stand::By(b.own.clone()));
    // Nobody else begins while it may speak.
    const { assert!(ANSWERING_HELD_MS < ANSWERING_HEARD_MS) }
}

#[test]
fn of_two_that_answer_the_one_with_the_lower_claim_gives_way() {
    let (mut a, mut b) = two();
    b.take(11_000);
    tells(&b, &mut a, 11_000);
    assert_eq!(a.stand(false, 11_000), Stand::By(b.own.clone()), "epoch");
    // The same epoch: the lower id.
    let (mut a, _) = two();
    let mut other = turns(&devices()[1]);
    other.take(10_000);
    tells(&other, &mut a, 10_000);
    tells(&a, &mut other, 10_000);
    assert!(a.speaks(10_000) && !other.speaks(10_000));
}

#[test]
fn who_wants_a_code_entered_has_the_bot_for_a_while_and_not_again_at_once() {
    let (mut a, mut b) = two();
    b.wants_until(600_000, 20_000);
    a.tick(19_000);
    tells(&b, &mut a, 20_000);
    assert!(!a.speaks(20_000));
    assert_eq!(a.stand(false, 20_000), Stand::Waits(b.own.clone()));
    tells(&a, &mut b, 20_000);
    assert!(b.is_handed(20_000));
    assert_eq!(b.stand(false, 20_000), Stand::First);
    b.take(20_000);
    b.wanted_no_more(21_000);
    b.tick(25_000);
    assert!(b.speaks(25_000), "what is said of it is said");
    tells(&a, &mut b, 26_000);
    b.tick(26_000);
    assert!(!b.speaks(26_000), "the other goes before it");
    // Another wish within the hour takes it from nobody.
    a.take(27_000);
    b.wants_until(600_000, 28_000);
    tells(&b, &mut a, 28_000);
    assert!(a.speaks(28_000));
}

#[test]
fn who_has_most_chats_goes_first() {
    let [a, b, c] = devices();
    let (mut a, mut b) = (turns(&a), turns(&b));
    b.serves(2);
    tells(&b, &mut a, 6_000);
    assert_eq!(a.stand(false, 6_000), Stand::Waits(b.own.clone()));
    // One that does not reach the server goes before nobody, and one that never begins not for ever.
    b.is_well(false);
    tells(&b, &mut a, 6_000);
    assert_eq!(a.stand(false, 6_000), Stand::First);
    let mut c = turns(&c);
    c.serves(9);
    for now in (7_000..60_000).step_by(2_000) {
        a.tick(now);
        tells(&c, &mut a, now);
    }
    assert_eq!(a.stand(false, 59_000), Stand::First);
}

#[test]
fn who_only_says_that_it_answers_is_looked_at_and_not_believed_for_an_hour() {
    let (mut a, mut b) = two();
    let lie = Claim {
        epoch: u64::MAX,
        ..a.claim(10_000)
    };
    let liar = devices()[2].clone();
    b.hear(liar.clone(), lie.clone(), 11_000);
    assert_eq!(b.stand(false, 11_000), Stand::By(liar.clone()));
    a.tick(12_000);
    a.hear(liar.clone(), lie.clone(), 12_000);
    assert!(!a.speaks(12_000), "the lie is believed at first");
    assert_eq!(a.to_check(31_000), None);
    let again = |turns: &mut Turns, now: u64| turns.hear(liar.clone(), lie.clone(), now);
    for now in (13_000..60_000).step_by(1_000) {
        again(&mut a, now);
        a.tick(now);
    }
    assert_eq!(a.to_check(59_000), Some(liar.clone()));
    a.checked(&liar, 59_000);
    assert_eq!(a.to_check(59_000), None, "it is there");
    again(&mut a, 700_000);
    a.doubt(&liar, 700_000);
    a.tick(700_000);
    assert_eq!(a.stand(false, 700_000), Stand::First);
    a.take(700_000);
    again(&mut a, 701_000);
    assert!(a.speaks(701_000));
    assert!(a.newest < 1 << 24, "made-up epochs do not use up the rest");
}

#[test]
fn who_says_so_for_short_times_only_is_looked_at_as_one_that_goes_on() {
    let [own, _, liar] = devices();
    let liar = turns(&liar);
    let says = |turns: &mut Turns, holds: bool, now: u64| {
        let claim = Claim {
            holds,
            serves: 9,
            ..liar.claim(now)
        };
        turns.hear(liar.own.clone(), claim, now);
        turns.tick(now);
    };
    // Fourteen seconds in thirty; told to go or only silent.
    for tells_end in [true, false] {
        let mut one = turns(&own);
        let due = (0..100_000).step_by(1_000).find(|now| {
            let holds = now % 30_000 < 14_000;
            if holds || tells_end {
                says(&mut one, holds, *now);
            }
            one.to_check(*now).is_some()
        });
        assert!(due.is_some_and(|due| due < 45_000), "{due:?}");
        let due = due.unwrap();
        let mut found = one.clone();
        found.checked(&liar.own, due);
        says(&mut found, true, due + 1_000);
        assert_eq!(found.to_check(due + 1_000), None, "it is there");
        one.doubt(&liar.own, due);
        says(&mut one, true, due + 1_000);
        assert_eq!(one.stand(false, due + 1_000), Stand::First);
    }
    // What was more than an hour ago counts no more.
    let mut one = turns(&own);
    says(&mut one, true, 0);
    says(&mut one, false, 14_000);
    says(&mut one, false, 3_000_000);
    says(&mut one, true, 4_000_000);
    says(&mut one, true, 4_010_000);
    assert_eq!(one.to_check(4_010_000), None);
}

#[test]
fn a_claim_reads_or_is_refused() {
    let good = json!({"kind": "telegram", "bot": "7", "epoch": 1, "holds": true, "well": true, "wants": false, "serves": 1});
    assert!(Claim::parse(good.clone()).is_ok());
    for (name, odd) in [
        ("kind", json!("fax")),
        ("bot", json!("")),
        ("bot", json!("7".repeat(300))),
        ("bot", json!("7 8")),
        ("epoch", json!(-1)),
        ("holds", json!("yes")),
    ] {
        let mut bad = good.clone();
        bad[name] = odd;
        assert!(Claim::parse(bad).is_err(), "{name}");
    }
    for kind in ChannelKind::ALL {
        let mut other = good.clone();
        other["kind"] = json!(kind.to_string());
        assert_eq!(Claim::parse(other).unwrap().kind, kind);
    }
    let mut later = good.clone();
    later["kind"] = json!("fax");
    let why = Claim::parse(later).unwrap_err().message;
    assert!(why.contains("`fax`") && why.contains("`slack`"), "{why}");
    let mut a = turns(&devices()[0]);
    for n in 0..=255 {
        let claim = Claim::parse(good.clone()).unwrap();
        a.hear(DeviceId::of_public_key(&[n; 32]), claim, 0);
    }
    assert!(a.heard.len() <= ANSWERING_NODES_MAX);
}

proptest! {
    /// Nodes that all hear each other agree on who begins.
    #[test]
    fn exactly_one_begins(serves in prop::collection::vec(0_u32..3, 1..=3)) {
        let mut all: Vec<Turns> = devices().iter().take(serves.len()).map(turns).collect();
        for (one, n) in all.iter_mut().zip(&serves) {
            one.serves(*n);
        }
        let claims: Vec<(DeviceId, Claim)> = all.iter().map(|t| (t.own.clone(), t.claim(6_000))).collect();
        for one in &mut all {
            for (device, claim) in &claims {
                one.hear(device.clone(), claim.clone(), 6_000);
            }
        }
        let first = all.iter().filter(|t| t.stand(false, 6_000) == Stand::First);
        prop_assert_eq!(first.count(), 1);
    }
}
