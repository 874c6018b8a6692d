//! The actuators that a rule covers: a pattern over capabilities, segment by segment.
//!
//! `*` inside a pattern covers exactly one segment, `valve-*` the rest of its segment. `*` or `**` as
//! the last segment covers one or more segments: everything behind it. A rule is never wider than it
//! reads; patterns that route to gen-1 nodes follow gen-1 instead (`domain::capability::Pattern`).

use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::domain::base::limits::NAME_MAX_BYTES;
use crate::domain::capability::{Capability, Pattern};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// This text.
    Exact(String),
    /// Any text with this prefix.
    Prefix(String),
    /// Any one segment.
    One,
    /// One or more segments, to the end.
    Rest,
}

impl Segment {
    fn matches(&self, text: &str) -> bool {
        match self {
            Segment::Exact(own) => own == text,
            Segment::Prefix(start) => text.starts_with(start.as_str()),
            Segment::One | Segment::Rest => true,
        }
    }

    /// Whether every text of `other` is one of ours.
    fn contains(&self, other: &Segment) -> bool {
        match (self, other) {
            (Segment::One | Segment::Rest, _) => true,
            (_, Segment::Exact(text)) => self.matches(text),
            (Segment::Prefix(own), Segment::Prefix(other)) => other.starts_with(own.as_str()),
            _ => false,
        }
    }

    fn meets(&self, other: &Segment) -> bool {
        match (self, other) {
            (Segment::Prefix(a), Segment::Prefix(b)) => {
                a.starts_with(b.as_str()) || b.starts_with(a.as_str())
            }
            _ => self.contains(other) || other.contains(self),
        }
    }
}

/// The pattern of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    text: String,
    segments: Vec<Segment>,
}

impl Scope {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an actuator falls under it.
    pub fn matches(&self, capability: &Capability) -> bool {
        let mut have = capability.as_str().split(':');
        for want in &self.segments {
            match have.next() {
                Some(_) if *want == Segment::Rest => return true,
                Some(text) if want.matches(text) => {}
                _ => return false,
            }
        }
        have.next().is_none()
    }

    /// Whether everything under `other` falls under it.
    pub fn contains(&self, other: &Scope) -> bool {
        let mut theirs = other.segments.iter();
        for own in &self.segments {
            match theirs.next() {
                Some(_) if *own == Segment::Rest => return true,
                Some(segment) if *segment != Segment::Rest && own.contains(segment) => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether something falls under both.
    pub fn meets(&self, other: &Scope) -> bool {
        let mut theirs = other.segments.iter();
        for own in &self.segments {
            match theirs.next() {
                Some(segment) if *own == Segment::Rest || *segment == Segment::Rest => return true,
                Some(segment) if own.meets(segment) => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// The pattern that covers what this one covered before `*` inside it meant one segment.
    pub fn former(&self) -> Option<String> {
        let at = self.segments.iter().position(|s| *s == Segment::One)?;
        let kept: Vec<&str> = self.text.split(':').take(at).collect();
        Some(format!("{}:**", kept.join(":")))
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > NAME_MAX_BYTES {
            return Err(format!("longer than {NAME_MAX_BYTES} bytes"));
        }
        let (body, rest) = match text.strip_suffix(":**") {
            Some(body) => (body, true),
            None => (text, false),
        };
        body.parse::<Pattern>().map_err(|e| e.to_string())?;
        let count = body.split(':').count();
        let mut segments: Vec<Segment> = body
            .split(':')
            .enumerate()
            .map(|(n, part)| match part.strip_suffix('*') {
                Some("") if !rest && n + 1 == count => Segment::Rest,
                Some("") => Segment::One,
                Some(start) => Segment::Prefix(start.to_owned()),
                None => Segment::Exact(part.to_owned()),
            })
            .collect();
        if rest {
            segments.push(Segment::Rest);
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_inside_a_pattern_covers_one_segment() {
        for (pattern, capability, hit) in [
            ("actuator:*:main", "actuator:pump:main", true),
            ("actuator:*:main", "actuator:pump:spare", false),
            ("actuator:*:main", "actuator:pump", false),
            ("actuator:*:main", "actuator:pump:a:main", false),
            ("actuator:mock:valve-*", "actuator:mock:valve-1", true),
            ("actuator:mock:valve-*", "actuator:mock:valve-1:a", false),
            ("actuator:mock:*", "actuator:mock:valve-1", true),
            ("actuator:*", "actuator:mock:valve-1", true),
            ("actuator:**", "actuator:mock:valve-1", true),
            ("actuator:*:**", "actuator:mock", false),
            ("actuator:*:**", "actuator:mock:valve-1", true),
        ] {
            let capability: Capability = capability.parse().unwrap();
            assert_eq!(
                scope(pattern).matches(&capability),
                hit,
                "{pattern} {capability}"
            );
        }
        assert_eq!(scope("actuator:*:main").former().unwrap(), "actuator:**");
        assert_eq!(scope("actuator:mock:*").former(), None);
        assert!("actuator:**:main".parse::<Scope>().is_err());
    }

    fn pattern() -> impl Strategy<Value = Scope> {
        let segment = prop_oneof![Just("a"), Just("ab"), Just("a*"), Just("*"), Just("b")];
        (prop::collection::vec(segment, 1..4), any::<bool>()).prop_map(|(parts, rest)| {
            let tail = if rest { ":**" } else { "" };
            scope(&format!("actuator:{}{tail}", parts.join(":")))
        })
    }

    fn actuator() -> impl Strategy<Value = Capability> {
        let segment = prop_oneof![Just("a"), Just("ab"), Just("abc"), Just("b")];
        prop::collection::vec(segment, 1..4)
            .prop_map(|parts| format!("actuator:{}", parts.join(":")).parse().unwrap())
    }

    proptest! {
        #[test]
        fn containing_and_meeting_agree_with_matching(a in pattern(), b in pattern(), c in actuator()) {
            if a.contains(&b) && b.matches(&c) {
                prop_assert!(a.matches(&c), "{} contains {} but not {c}", a.text, b.text);
            }
            if a.matches(&c) && b.matches(&c) {
                prop_assert!(a.meets(&b), "{} and {} both cover {c}", a.text, b.text);
            }
        }
    }
}
