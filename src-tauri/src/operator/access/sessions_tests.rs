//! Links and sessions of browsers: once, in time, where they were made for, and bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::Scope;
use super::sessions::*;
use crate::domain::base::limits::*;
use crate::domain::base::{Code, TimeMs};

const T: TimeMs = TimeMs(1_000_000_000);

fn seated(browsers: &Browsers, now: TimeMs) -> (String, Session) {
    let (code, _) = browsers
        .link(Maker::Owner, Scope::Operate, "ada", false, now)
        .unwrap();
    browsers.open(&code, Place::Here, now).unwrap()
}

#[test]
fn a_code_opens_one_session_once_and_only_in_time() {
    let browsers = Browsers::default();
    let (code, ends) = browsers
        .link(Maker::Owner, Scope::Read, "ada", false, T)
        .unwrap();
    assert_eq!(ends, T.plus(CONSOLE_LINK_TTL_MS));
    assert_eq!(
        browsers.open("x", Place::Here, T).unwrap_err(),
        NotOpened::Unknown
    );
    let (cookie, session) = browsers.open(&code, Place::Here, T).unwrap();
    assert_eq!((session.scope, session.name.as_str()), (Scope::Read, "ada"));
    assert_eq!(
        browsers.open(&code, Place::Here, T).unwrap_err(),
        NotOpened::Unknown
    );
    assert_eq!(browsers.session(&cookie, Place::Here, T).unwrap(), session);
    assert!(browsers.session(&code, Place::Here, T).is_none());
    let (late, ends) = browsers
        .link(Maker::Owner, Scope::Read, "ada", false, T)
        .unwrap();
    assert_eq!(
        browsers.open(&late, Place::Here, ends).unwrap_err(),
        NotOpened::Unknown
    );
    assert!(
        browsers
            .link(Maker::Owner, Scope::Read, "a\nb", false, T)
            .is_err()
    );
}

#[test]
fn a_session_ends_by_age_by_idleness_by_a_clock_set_back_and_by_hand() {
    let browsers = Browsers::default();
    let (cookie, _) = seated(&browsers, T);
    assert!(
        browsers
            .session(&cookie, Place::Here, T.plus(BROWSER_SESSION_IDLE_MS))
            .is_none()
    );
    let (cookie, session) = seated(&browsers, T);
    let mut now = T;
    while now < T.plus(BROWSER_SESSION_TTL_MS) {
        assert!(
            browsers.session(&cookie, Place::Here, now).is_some(),
            "{now:?}"
        );
        now = now.plus(BROWSER_SESSION_IDLE_MS - 1);
    }
    assert!(!browsers.alive(&session.id, now));
    let (cookie, _) = seated(&browsers, T);
    assert!(
        browsers
            .session(&cookie, Place::Here, TimeMs(T.0 - CLOCK_BEHIND_MAX_MS - 1))
            .is_none()
    );
    let (cookie, session) = seated(&browsers, T);
    assert!(browsers.end(&session.id) && !browsers.end(&session.id));
    assert!(browsers.session(&cookie, Place::Here, T).is_none());
}

#[test]
fn links_and_sessions_are_bounded() {
    let browsers = Browsers::default();
    let first = browsers
        .link(Maker::Owner, Scope::Read, "a", false, T)
        .unwrap()
        .0;
    for _ in 0..CONSOLE_LINKS_MAX {
        browsers
            .link(Maker::Owner, Scope::Read, "a", false, T)
            .unwrap();
    }
    assert!(browsers.open(&first, Place::Here, T).is_err());
    // Another maker's links are no part of that.
    let other = Maker::Token(Scope::Read);
    let theirs = browsers.link(other, Scope::Read, "a", false, T).unwrap().0;
    for _ in 0..2 * CONSOLE_LINKS_MAX {
        browsers
            .link(Maker::Owner, Scope::Read, "a", false, T)
            .unwrap();
    }
    let (theirs, _) = browsers.open(&theirs, Place::Here, T).unwrap();
    let (oldest, _) = seated(&browsers, T);
    let (kept, _) = seated(&browsers, T);
    for n in 1..BROWSER_SESSIONS_MAX as u64 {
        assert!(browsers.session(&kept, Place::Here, T.plus(n)).is_some());
        seated(&browsers, T.plus(n));
    }
    assert!(browsers.session(&oldest, Place::Here, T.plus(99)).is_none());
    assert!(browsers.session(&kept, Place::Here, T.plus(99)).is_some());
    assert!(browsers.session(&theirs, Place::Here, T.plus(99)).is_some());
    assert_eq!(browsers.lock().seats.len(), BROWSER_SESSIONS_MAX + 1);
}

#[test]
fn failures_are_counted_and_a_good_code_opens_all_the_same() {
    let browsers = Browsers::default();
    let (code, _) = browsers
        .link(Maker::Owner, Scope::Read, "a", false, T)
        .unwrap();
    for _ in 0..CONSOLE_FAILURES_MAX {
        assert_eq!(
            browsers.open("x", Place::Here, T).unwrap_err(),
            NotOpened::Unknown
        );
    }
    assert_eq!(
        browsers.open("x", Place::Here, T).unwrap_err(),
        NotOpened::TooMany
    );
    assert!(browsers.open(&code, Place::Here, T).is_ok());
    let later = T.plus(BROWSER_FAILURE_WINDOW_MS);
    assert_eq!(
        browsers.open("x", Place::Here, later).unwrap_err(),
        NotOpened::Unknown
    );
}

#[test]
fn a_csrf_token_is_of_one_session() {
    let browsers = Browsers::default();
    let (a, b) = (seated(&browsers, T).1, seated(&browsers, T).1);
    assert!(a.csrf_matches(&a.csrf) && !a.csrf_matches(&b.csrf) && !a.csrf_matches(""));
}

#[test]
fn a_phone_is_never_put_out_by_another_and_the_one_too_many_is_told() {
    let browsers = Browsers::default();
    let away = Place::Away("192.0.2.7".parse().unwrap());
    let link = || browsers.link(Maker::Owner, Scope::Operate, "ada", true, T);
    let late = link().unwrap().0;
    let mut all = Vec::new();
    for _ in 0..AWAY_SESSIONS_MAX {
        all.push(browsers.open(&link().unwrap().0, away, T).unwrap());
    }
    let refused = link().unwrap_err();
    assert_eq!(refused.code, Code::RateExceeded);
    assert!(refused.message.contains("console end"), "{refused}");
    assert_eq!(browsers.open(&late, away, T).unwrap_err(), NotOpened::Full);
    for (cookie, _) in &all {
        assert!(browsers.session(cookie, away, T).is_some());
    }
    // The link stays good until one has been ended.
    assert!(browsers.end(&all[0].1.id));
    assert!(browsers.open(&late, away, T).is_ok());
    for odd in ["a\u{202e}da", "ada\u{200b}", " "] {
        assert!(
            browsers
                .link(Maker::Owner, Scope::Read, odd, true, T)
                .is_err()
        );
    }
}
