//! What a phone is sent: a few members, of which its service worker makes a notification in the phone's language.

use serde_json::json;

use super::Phone;
use crate::adapters::notify::{Letter, Notice, Urgency};
use crate::domain::base::limits::{PUSH_ALERT_TTL_MS, PUSH_SHORT_TTL_MS, PUSH_TEXT_MAX_CHARS};
use crate::domain::base::text::{cut, one_line};
use crate::domain::base::{Digest, Severity, TimeMs};

/// What a notice is about, by which a later one takes the place of an earlier one.
pub(super) fn tag(notice: &Notice) -> String {
    match (&notice.proposal, notice.alerts.as_slice()) {
        (Some(id), _) => format!("proposal {id}"),
        (None, [id]) => format!("alert {id}"),
        (None, []) if notice.severity == Severity::Info => "test".to_owned(),
        (None, _) => "alerts".to_owned(),
    }
}

/// How long a notice is worth telling, in milliseconds.
pub(super) fn worth_ms(notice: &Notice) -> u64 {
    match tag(notice).as_str() {
        "test" => PUSH_SHORT_TTL_MS,
        _ if notice.proposal.is_some() => PUSH_SHORT_TTL_MS,
        _ => PUSH_ALERT_TTL_MS,
    }
}

/// By what a later word about the end of a session takes the place of an earlier one.
pub(super) const SESSION: &str = "session";

/// The message to a phone whose session ends soon: it would hear nothing more, and nobody would know.
pub(super) fn ending(node: &str, phone: &Phone, now: TimeMs) -> Letter {
    let text = json!({
        "v": 1,
        "kind": "ends",
        "node": one_line(node, 60),
        "lang": phone.language,
        "tag": SESSION,
        "at": now.0,
    });
    Letter {
        text: text.to_string().into_bytes(),
        ttl_s: PUSH_ALERT_TTL_MS / 1_000,
        urgency: Urgency::Normal,
        topic: topic(phone, SESSION),
    }
}

fn topic(phone: &Phone, tag: &str) -> String {
    let digest = Digest::of(&[b"push topic", phone.session.as_bytes(), tag.as_bytes()]);
    digest.to_hex().chars().take(32).collect()
}

/// The message to a phone.
pub(super) fn letter(node: &str, phone: &Phone, notice: &Notice, now: TimeMs) -> Letter {
    let tag = tag(notice);
    let kind = match (notice.over, &notice.proposal, tag.as_str()) {
        (true, ..) => "over",
        (false, Some(_), _) => "proposal",
        (false, None, "test") => "test",
        (false, None, "alerts") => "alerts",
        (false, None, _) => "alert",
    };
    let text = json!({
        "v": 1,
        "kind": kind,
        "node": one_line(node, 60),
        "lang": phone.language,
        "severity": notice.severity,
        "n": notice.alerts.len(),
        "text": cut(&notice.text, PUSH_TEXT_MAX_CHARS),
        "tag": tag,
        "proposal": notice.proposal,
        "at": now.0,
    });
    let urgent = notice.severity == Severity::Critical || notice.proposal.is_some();
    Letter {
        text: text.to_string().into_bytes(),
        ttl_s: worth_ms(notice) / 1_000,
        urgency: match urgent && !notice.over {
            true => Urgency::High,
            false => Urgency::Normal,
        },
        topic: topic(phone, &tag),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapters::notify::{BrowserKeys, Endpoint, Subscription, TEXT_MAX_BYTES};
    use crate::node::push::Language;

    #[test]
    fn a_message_fits_and_says_what_it_is_about() {
        let point = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let phone = Phone {
            session: "a1b2".to_owned(),
            person: "ada".to_owned(),
            language: Language::De,
            subscription: Subscription {
                endpoint: Endpoint::parse("https://push.example/x").unwrap(),
                keys: BrowserKeys::of(point, "BTBZMqHH6r4Tts7J_aSIgg").unwrap(),
            },
            ends_at: TimeMs(9),
        };
        let notice = |alerts: &[u64], proposal: Option<&str>| Notice {
            title: String::new(),
            text: "\u{1f331}\"".repeat(4_000),
            severity: Severity::Critical,
            over: false,
            alerts: alerts.to_vec(),
            proposal: proposal.map(str::to_owned),
        };
        for (about, kind, tag, ttl_s) in [
            (notice(&[7], None), "alert", "alert 7", 86_400),
            (notice(&[7, 8], None), "alerts", "alerts", 86_400),
            (notice(&[7], Some("p1")), "proposal", "proposal p1", 3_600),
        ] {
            let letter = letter(&"n".repeat(300), &phone, &about, TimeMs(5));
            assert!(letter.text.len() <= TEXT_MAX_BYTES, "{}", letter.text.len());
            let said: serde_json::Value = serde_json::from_slice(&letter.text).unwrap();
            assert_eq!((&said["kind"], &said["tag"]), (&kind.into(), &tag.into()));
            assert_eq!(said["lang"], "de");
            assert_eq!((letter.ttl_s, letter.topic.len()), (ttl_s, 32));
            assert_eq!(letter.urgency, Urgency::High);
        }
    }
}
