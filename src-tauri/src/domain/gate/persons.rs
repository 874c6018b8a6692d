//! Persons and their keys: which operator keys belong to one person, so that a quorum counts people.
//!
//! Two keys are of one person if a record says so (`person`), or if their names are the same to the eye.
//! Both rules only ever make fewer persons out of the keys, never more: where two people share a name,
//! the owner gives one of them another. Another device that may issue records makes no one person of two
//! of others: such a claim counts for none.

use std::collections::{BTreeMap, BTreeSet};

use super::operators::OperatorRecord;
use crate::domain::base::{DeviceId, OperatorId};

/// Letters with marks and look-alikes of other scripts, in small letters, each run beside the plain
/// letters it reads as.
const LOOK_ALIKES: &[(&str, &str)] = &[
    ("àáâãäåāăąǎǟǡǻȁȃȧạảấầẩẫậắằẳẵặаάἀἁαɑ", "a"),
    ("æǽ", "ae"),
    ("ḃḅḇвβ", "b"),
    ("çćĉċčсϲ", "c"),
    ("ďđðḋḍḏḑḓԁ", "d"),
    ("èéêëēĕėęěȅȇȩẹẻẽếềểễệеёєεέ", "e"),
    ("ḟƒ", "f"),
    ("ĝğġģǧǵḡɡ", "g"),
    ("ĥħȟḣḥḧḩḫһн", "h"),
    ("ìíîïĩīĭįıǐȉȋḭḯỉịіїιίϊΐɩl|1", "i"),
    ("ĵǰјϳ", "j"),
    ("ķǩḱḳḵкκ", "k"),
    ("ĺļľŀłḷḹḻḽӏ", "i"),
    ("ḿṁṃм", "m"),
    ("ñńņňŉǹṅṇṉṋη", "n"),
    ("òóôõöøōŏőǒǫǭǿȍȏȫȭȯȱọỏốồổỗộớờởỡợơоοόσ0", "o"),
    ("œ", "oe"),
    ("ṕṗрρ", "p"),
    ("ԛ", "q"),
    ("ŕŗřȑȓṙṛṝṟг", "r"),
    ("śŝşšșṡṣṥṧṩѕ5", "s"),
    ("ßẞ", "ss"),
    ("ťţŧțṫṭṯṱẗтτ", "t"),
    ("ùúûüũūŭůűųǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữựưυύцμµ", "u"),
    ("ṽṿνѵ", "v"),
    ("ŵẁẃẅẇẉẘωώԝ", "w"),
    ("ẋẍхχ", "x"),
    ("ýÿŷȳẏẙỳỵỷỹуүγ", "y"),
    ("źżžẑẓẕζ", "z"),
    ("þ", "th"),
    ("ﬀ", "ff"),
    ("ﬁ", "fi"),
    ("ﬂ", "fi"),
];

/// A name as it is compared: small letters without marks, look-alikes read as the Latin letter, and
/// nothing that is no letter or digit. Two names with equal forms are taken for one person's.
pub fn folded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for small in name.chars().map(narrow).flat_map(char::to_lowercase) {
        let known = LOOK_ALIKES.iter().find(|(from, _)| from.contains(small));
        match known {
            Some((_, to)) => out.push_str(to),
            None if small.is_alphanumeric() => out.push(small),
            None => {}
        }
    }
    match out.is_empty() {
        true => name.to_owned(),
        false => out,
    }
}

/// A full-width or mathematical letter or digit as the plain one.
fn narrow(c: char) -> char {
    let code = u32::from(c);
    let plain = match code {
        0xFF01..=0xFF5E => code - 0xFEE0,
        0x1D400..=0x1D6A3 => {
            let at = (code - 0x1D400) % 52;
            if at < 26 { 0x41 + at } else { 0x61 + at - 26 }
        }
        0x1D7CE..=0x1D7FF => 0x30 + (code - 0x1D7CE) % 10,
        _ => code,
    };
    char::from_u32(plain).unwrap_or(c)
}

/// Whether a name shows every character it has: no invisible ones and no spaces but the plain one.
pub fn is_plain(name: &str) -> bool {
    !name.chars().any(|c| {
        c.is_control()
            || (c.is_whitespace() && c != ' ')
            || matches!(u32::from(c),
                0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
                | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164
                | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0xE0000..=0xE0FFF)
    })
}

/// Which person each key belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persons {
    of: BTreeMap<OperatorId, OperatorId>,
    unclear: BTreeSet<OperatorId>,
}

impl Persons {
    /// Sorts keys into persons. A person's id is that of a first key that further keys name, or else of
    /// the first of its keys. Only this device's own records join persons of others: keys of which
    /// another issuer says that they belong to several persons whom it does not vouch for belong to no
    /// person, and join none.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a OperatorRecord>, own: &DeviceId) -> Self {
        let mut all: Vec<&OperatorRecord> = records.into_iter().collect();
        let mut unclear = BTreeSet::new();
        let issuers: BTreeSet<&DeviceId> = all.iter().map(|r| &r.issuer).collect();
        for issuer in issuers.iter().filter(|issuer| **issuer != own) {
            let said = |r: &&&OperatorRecord| r.issuer == **issuer;
            let theirs = Groups::of(all.iter().filter(said).copied());
            let others = Groups::of(all.iter().filter(|r| !said(r)).copied());
            let joins = theirs.0.iter().filter(|group| others.touched_by(group) > 1);
            unclear.extend(joins.flat_map(|group| group.keys.iter().cloned()));
        }
        all.retain(|r| !unclear.contains(&r.operator_id));
        let mut of = BTreeMap::new();
        for group in Groups::of(all).0 {
            let first = group.named.iter().min().or(group.keys.iter().min());
            if let Some(first) = first.cloned() {
                of.extend(group.keys.into_iter().map(|k| (k, first.clone())));
            }
        }
        Self { of, unclear }
    }

    /// The person a key belongs to; an unknown key is a person of its own.
    pub fn of_key(&self, key: &OperatorId) -> OperatorId {
        self.of.get(key).unwrap_or(key).clone()
    }

    /// Whether its issuer says of a key that it belongs to several persons of others: it decides nothing.
    pub fn is_unclear(&self, key: &OperatorId) -> bool {
        self.unclear.contains(key)
    }

    /// The keys of a person.
    pub fn keys<'a>(&'a self, person: &'a OperatorId) -> impl Iterator<Item = &'a OperatorId> {
        let of = self.of.iter().filter(move |(_, p)| *p == person);
        of.map(|(key, _)| key)
    }
}

/// Records sorted by whom they join.
struct Groups(Vec<Group>);

impl Groups {
    fn of<'a>(records: impl IntoIterator<Item = &'a OperatorRecord>) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for record in records {
            let mut new = Group::of(record);
            let (same, others): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|g| g.touches(&new));
            groups = others;
            same.into_iter().for_each(|g| new.take(g));
            groups.push(new);
        }
        Self(groups)
    }

    fn touched_by(&self, group: &Group) -> usize {
        self.0.iter().filter(|g| g.touches(group)).count()
    }
}

/// Keys, first keys named and names that are known to be of one person.
struct Group {
    keys: BTreeSet<OperatorId>,
    named: BTreeSet<OperatorId>,
    names: BTreeSet<String>,
}

impl Group {
    fn of(record: &OperatorRecord) -> Self {
        Self {
            keys: [record.operator_id.clone()].into(),
            named: record.person.iter().cloned().collect(),
            names: [folded(&record.name)].into(),
        }
    }

    fn touches(&self, other: &Group) -> bool {
        let holds = |g: &Group, id: &OperatorId| g.keys.contains(id) || g.named.contains(id);
        let mut ids = other.keys.iter().chain(&other.named);
        ids.any(|id| holds(self, id)) || !self.names.is_disjoint(&other.names)
    }

    fn take(&mut self, other: Group) {
        self.keys.extend(other.keys);
        self.named.extend(other.named);
        self.names.extend(other.names);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::domain::base::TimeMs;
    use crate::domain::identity::{DeviceKey, OperatorKey};
    use crate::domain::policy::Level;

    fn issuer(n: u8) -> DeviceId {
        DeviceKey::from_seed(&[n; 32]).id().clone()
    }

    fn record(seed: u8, name: &str, person: Option<u8>) -> OperatorRecord {
        let key = OperatorKey::from_seed(&[seed; 32]);
        let id = |n: u8| OperatorKey::from_seed(&[n; 32]).id().clone();
        OperatorRecord {
            operator_id: key.id().clone(),
            public_key: *key.public(),
            name: name.to_owned(),
            person: person.map(id),
            max_level: Level::L3,
            issuer: issuer(200),
            issued_at: TimeMs(1),
            expires_at: None,
        }
    }

    fn count(records: &[OperatorRecord]) -> usize {
        let persons = Persons::of(records, &issuer(200));
        let all: std::collections::BTreeSet<_> = records
            .iter()
            .map(|r| persons.of_key(&r.operator_id))
            .collect();
        all.len()
    }

    #[test]
    fn names_that_look_the_same_are_one_persons() {
        for other in [
            "ana",
            "ANA",
            " Ana ",
            "a n a",
            "an\u{200b}a",
            "аnа",
            "Ａｎａ",
            "áná",
            "a\u{301}na",
            "ana.",
            "𝐚𝐧𝐚",
            "an\u{ad}a",
            "ana\u{a0}",
        ] {
            assert_eq!(folded(other), "ana", "{other:?}");
            assert_eq!(count(&[record(1, "ana", None), record(2, other, None)]), 1);
        }
        for other in ["anna", "ana north", "ben", "艾娜"] {
            assert_ne!(folded(other), "ana", "{other:?}");
            assert_eq!(count(&[record(1, "ana", None), record(2, other, None)]), 2);
        }
        assert_ne!(folded("…"), folded("!!"));
    }

    #[test]
    fn keys_join_by_link_and_by_name_in_any_order_and_the_first_key_is_the_person() {
        let mut all = vec![
            record(1, "ana", None),
            record(2, "Ana at the office", Some(1)),
            record(3, "ana at the OFFICE", None),
            record(4, "ben", None),
        ];
        for _ in 0..all.len() {
            assert_eq!(count(&all), 2);
            let persons = Persons::of(&all, &issuer(200));
            let ana = record(1, "ana", None).operator_id;
            for key in [1, 2, 3] {
                assert_eq!(persons.of_key(&record(key, "", None).operator_id), ana);
            }
            assert_eq!(persons.keys(&ana).count(), 3);
            all.rotate_left(1);
        }
    }

    #[test]
    fn another_issuer_makes_no_one_person_of_two_of_others() {
        let by = |n: u8, record: OperatorRecord| OperatorRecord {
            issuer: issuer(n),
            ..record
        };
        let id = |seed: u8| record(seed, "", None).operator_id;
        let (ana, ben) = (record(1, "ana", None), record(2, "ben", None));
        let cleo = by(3, record(3, "cleo", None));
        // Joined by one record, or by two that name each other, or two of a third issuer's people.
        let one = vec![by(4, record(10, "ben", Some(1)))];
        let two = vec![
            by(4, record(10, "zoe", Some(1))),
            by(4, record(11, "ben", Some(10))),
        ];
        let third = vec![by(4, record(10, "cleo", Some(2)))];
        for lies in [one, two, third] {
            let all = [vec![ana.clone(), ben.clone(), cleo.clone()], lies.clone()].concat();
            let persons = Persons::of(&all, &issuer(200));
            let of: BTreeSet<_> = [1, 2, 3].map(|n| persons.of_key(&id(n))).into();
            assert_eq!(of.len(), 3, "{lies:?}");
            for lie in lies {
                assert!(persons.is_unclear(&lie.operator_id));
            }
        }
        // One more key of one person joins that person, and this device's own word joins whom it says.
        let further = by(4, record(10, "ana", None));
        let own = record(12, "cleo", Some(1));
        let persons = Persons::of(&[ana, ben, cleo, further, own], &issuer(200));
        assert_eq!(persons.of_key(&id(10)), id(1));
        assert_eq!(persons.of_key(&id(3)), id(1));
        assert!(!persons.is_unclear(&id(10)) && !persons.is_unclear(&id(12)));
    }

    #[test]
    fn further_keys_of_a_first_key_that_is_not_known_here_are_one_person() {
        assert_eq!(
            count(&[record(2, "a", Some(1)), record(3, "b", Some(1))]),
            1
        );
        // Also in a chain.
        let chain = [
            record(1, "a", Some(3)),
            record(2, "b", Some(1)),
            record(3, "c", None),
        ];
        assert_eq!(count(&chain), 1);
    }

    #[test]
    fn what_cannot_be_seen_is_no_plain_name() {
        assert!(is_plain("Ana Müller-Ødegård 艾娜"));
        for hidden in [
            "a\u{200b}",
            "a\u{a0}b",
            "a\tb",
            "\u{202e}a",
            "a\u{feff}",
            "ㅤ",
        ] {
            assert!(!is_plain(hidden), "{hidden:?}");
        }
    }
}
