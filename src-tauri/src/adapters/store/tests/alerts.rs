//! Alerts as they are kept.

use super::*;
use crate::adapters::store::alerts::{self, NewAlert};
use crate::domain::base::Severity;
use crate::domain::base::limits::ALERTS_KEPT_MAX;

fn new(subject: &str, at: u64) -> NewAlert {
    NewAlert {
        kind: "alert.warning".to_owned(),
        subject: subject.to_owned(),
        severity: Severity::Warning,
        message: "m".to_owned(),
        advice: String::new(),
        private: false,
        since: TimeMs(at),
    }
}

#[test]
fn one_of_a_kind_and_subject_stands_and_the_oldest_that_are_over_go() {
    let (_dir, c) = conn();
    let stands = alerts::begin(&c, &new("stands", 1)).unwrap();
    assert_eq!(alerts::begin(&c, &new("stands", 2)).unwrap(), stands);
    let mut last = 0;
    for n in 0..u64::try_from(ALERTS_KEPT_MAX).unwrap() + 10 {
        last = alerts::begin(&c, &new("flaps", n)).unwrap();
        alerts::note_told(&c, last, "phone", TimeMs(n), false).unwrap();
        assert!(alerts::end(&c, last, TimeMs(n + 1), "over").unwrap());
    }
    alerts::begin(&c, &new("another", 9)).unwrap();
    let open = alerts::open(&c).unwrap();
    assert_eq!(open.len(), 2);
    let all = alerts::history(&c, None, 10_000).unwrap();
    assert_eq!(all.len(), ALERTS_KEPT_MAX + 2);
    assert!(
        alerts::get(&c, stands + 1).unwrap().is_none(),
        "the oldest went"
    );
    let told: i64 = c
        .query_row("SELECT count(*) FROM alert_told", [], |r| r.get(0))
        .unwrap();
    assert_eq!(
        told,
        i64::try_from(ALERTS_KEPT_MAX).unwrap(),
        "and what was told of it"
    );
    let page = alerts::history(&c, Some(last), 5).unwrap();
    assert_eq!(page.first().map(|a| a.id), Some(last - 1));
}
