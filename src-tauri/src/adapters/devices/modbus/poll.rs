//! Reads of a device: adjacent registers in one request, with the results passed to each reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::socket::Fault;
use super::wire::Span;
use crate::domain::base::limits::MODBUS_FRESH_MS;

/// Words, or why there are none, and when they came.
type Newest = (Instant, Result<Vec<u16>, String>);

/// The newest words of one reading, until they are taken.
#[derive(Debug, Default)]
pub(super) struct Slot {
    newest: Mutex<Option<Newest>>,
    news: Arc<Notify>,
}

impl Slot {
    /// Tells that there is something to take.
    pub(super) fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    fn put(&self, newest: Result<Vec<u16>, String>) {
        let mut kept = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((Instant::now(), newest));
        self.news.notify_one();
    }

    /// The last result, if it was not taken and is not too old.
    pub(super) fn take(&self) -> Option<Result<Vec<u16>, String>> {
        let mut kept = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, newest) = kept.take()?;
        (at.elapsed() <= Duration::from_millis(MODBUS_FRESH_MS)).then_some(newest)
    }
}

/// One reading.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Where it is.
    pub span: Span,
    /// Who is told.
    pub slot: Arc<Slot>,
}

/// The readings, and those that are wanted now.
#[derive(Debug, Default)]
pub(super) struct Poll {
    members: Vec<Member>,
    /// The most registers that one request may ask for.
    most: u16,
    /// The members that are read together, by what is read.
    blocks: BTreeMap<Span, Vec<usize>>,
    wanted: BTreeSet<Span>,
    /// Whether the connection was lost while something was wanted.
    lost: bool,
}

impl Poll {
    /// The requests of these readings, none for more than `most` registers.
    pub(super) fn new(members: Vec<Member>, most: u16) -> Self {
        let mut poll = Self {
            members,
            most,
            ..Self::default()
        };
        poll.arrange();
        poll
    }

    /// Every reading in as few requests as there can be.
    fn arrange(&mut self) {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.sort_by_key(|at| self.members.get(*at).map(|member| member.span));
        self.blocks.clear();
        self.add(&order);
    }

    /// These members, which are in order, in as few requests as there can be; which those are.
    fn add(&mut self, order: &[usize]) -> Vec<Span> {
        let mut added = Vec::new();
        let mut block: Vec<usize> = Vec::new();
        for at in order {
            block.push(*at);
            if self.span(&block).is_none() {
                block.pop();
                added.extend(self.put(std::mem::replace(&mut block, vec![*at])));
            }
        }
        added.extend(self.put(block));
        added
    }

    fn put(&mut self, block: Vec<usize>) -> Option<Span> {
        let span = self.span(&block)?;
        self.blocks.entry(span).or_default().extend(block);
        Some(span)
    }

    /// A block in two, those with the same registers together; `None` where all have the same.
    fn halves<'a>(&self, block: &'a [usize]) -> Option<(&'a [usize], &'a [usize])> {
        let span = |at: &usize| self.members.get(*at).map(|member| member.span);
        let parts: Vec<&[usize]> = block.chunk_by(|a, b| span(a) == span(b)).collect();
        let left = parts.iter().take(parts.len() / 2).map(|part| part.len());
        (parts.len() > 1).then(|| block.split_at(left.sum()))
    }

    /// The registers to read for these members, which are in order; `None` where one request cannot.
    fn span(&self, block: &[usize]) -> Option<Span> {
        let mut spans = block
            .iter()
            .filter_map(|at| self.members.get(*at))
            .map(|m| m.span);
        let first = spans.next()?;
        let mut alone = true;
        let start = u32::from(first.at);
        let mut end = start + u32::from(first.count);
        for span in spans {
            if span.table != first.table || u32::from(span.at) > end {
                return None;
            }
            end = end.max(u32::from(span.at) + u32::from(span.count));
            alone &= span == first;
        }
        let most = match first.table.is_bits() {
            true => first.table.most(),
            false => self.most.min(first.table.most()),
        };
        let count = u16::try_from(end - start).ok()?;
        // A span that cannot be split is read whatever its length.
        (count <= most || alone).then_some(Span { count, ..first })
    }

    /// A reading is wanted.
    pub(super) fn want(&mut self, member: usize) {
        let mut blocks = self.blocks.iter();
        if let Some((span, _)) = blocks.find(|(_, block)| block.contains(&member)) {
            self.wanted.insert(*span);
        }
    }

    /// What came for a reading since it was last taken; else it is wanted from now on. Both in one step: an answer for several
    /// readings comes to one after the other, and the last must not be asked for anew because the first was quicker.
    pub(super) fn take_or_want(&mut self, member: usize) -> Option<Result<Vec<u16>, String>> {
        let taken = self.members.get(member).and_then(|own| own.slot.take());
        if taken.is_none() {
            self.want(member);
        }
        taken
    }

    /// The next span to read.
    pub(super) fn next(&mut self) -> Option<Span> {
        self.wanted.pop_first()
    }

    /// Takes the result of a request. A refused one is repeated in halves, so that a wrong register costs only the
    /// readings that need it.
    pub(super) fn answered(&mut self, span: Span, said: Result<Vec<u16>, Fault>) {
        let block = self.blocks.get(&span).cloned().unwrap_or_default();
        match said {
            Ok(words) => {
                for member in block.iter().filter_map(|at| self.members.get(*at)) {
                    let from = usize::from(member.span.at.saturating_sub(span.at));
                    let own = words.get(from..from + usize::from(member.span.count));
                    let own = own.map(<[u16]>::to_vec);
                    let short = || "the answer is too short".to_owned();
                    member.slot.put(own.ok_or_else(short));
                }
            }
            Err(fault) => {
                let is_split = matches!(fault, Fault::Refused { code: 1..=4, .. });
                let halves = self.halves(&block).filter(|_| is_split);
                let Some((left, right)) = halves else {
                    self.tell(&block, fault.why());
                    self.lost |= !fault.is_refusal();
                    return;
                };
                self.blocks.remove(&span);
                for half in [left, right] {
                    let spans = self.add(half);
                    self.wanted.extend(spans);
                }
            }
        }
    }

    fn tell(&self, block: &[usize], why: &str) {
        for member in block.iter().filter_map(|at| self.members.get(*at)) {
            member.slot.put(Err(why.to_owned()));
        }
    }

    /// Fails all that is wanted: there is no connection.
    pub(super) fn lost(&mut self, why: &str) {
        while let Some(span) = self.wanted.pop_first() {
            let block = self.blocks.get(&span).cloned().unwrap_or_default();
            self.tell(&block, why);
            self.lost = true;
        }
    }

    /// Whether a connection is wanted for what could not be read.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// There is a connection: what could not be read is read now, and as at the beginning.
    pub(super) fn found(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.arrange();
            self.wanted = self.blocks.keys().copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::super::wire::Table;
    use super::*;

    fn span(table: Table, at: u16, count: u16) -> Span {
        Span { table, at, count }
    }

    fn poll(spans: &[Span], most: u16) -> Poll {
        let member = |span: &Span| Member {
            span: *span,
            slot: Arc::default(),
        };
        Poll::new(spans.iter().map(member).collect(), most)
    }

    fn all(poll: &mut Poll) -> Vec<Span> {
        std::iter::from_fn(|| poll.next()).collect()
    }

    fn want_all(poll: &mut Poll) {
        (0..poll.members.len()).for_each(|at| poll.want(at));
    }

    fn refused(code: u8) -> Result<Vec<u16>, Fault> {
        let why = "no such register".to_owned();
        Err(Fault::Refused { code, why })
    }

    #[test]
    fn registers_side_by_side_are_one_request_and_none_is_too_long() {
        let holding = |at, count| span(Table::Holding, at, count);
        let spans = [
            holding(4, 2),
            holding(0, 2),
            holding(2, 2),
            holding(3, 1),
            holding(9, 1),
        ];
        let mut poll = super::tests::poll(&spans, 125);
        want_all(&mut poll);
        assert_eq!(all(&mut poll), [holding(0, 6), holding(9, 1)]);
        assert_eq!(all(&mut poll), []);
        // Each table by itself, and no more than the standard or the device allows.
        let other = [holding(0, 1), span(Table::Input, 1, 1)];
        assert_eq!(super::tests::poll(&other, 125).blocks.len(), 2);
        let many: Vec<Span> = (0..200).map(|at| holding(at, 1)).collect();
        let most = |most| super::tests::poll(&many, most).blocks;
        assert!(most(125).keys().eq([&holding(0, 125), &holding(125, 75)]));
        assert_eq!(most(10).len(), 20);
        let coils: Vec<Span> = (0..3_000).map(|at| span(Table::Coil, at, 1)).collect();
        let blocks = super::tests::poll(&coils, 125).blocks;
        let counts: Vec<u16> = blocks.keys().map(|span| span.count).collect();
        assert_eq!(counts, [2_000, 1_000]);
        // The last register of all.
        let last = [holding(65_535, 1), holding(65_534, 2)];
        assert!(
            super::tests::poll(&last, 125)
                .blocks
                .keys()
                .eq([&holding(65_534, 2)])
        );
    }

    #[test]
    fn each_reading_is_told_its_own_words_and_a_wrong_register_costs_its_own_alone() {
        let spans: Vec<Span> = (0..8).map(|at| span(Table::Input, at, 1)).collect();
        let mut poll = poll(&spans, 125);
        poll.want(3);
        let mut asked = 0;
        while let Some(span) = poll.next() {
            asked += 1;
            let has_bad = span.at <= 5 && span.at + span.count > 5;
            let words = (span.at..span.at + span.count).collect();
            poll.answered(span, if has_bad { refused(2) } else { Ok(words) });
        }
        assert_eq!(asked, 7, "halves, not one by one");
        for (at, member) in poll.members.iter().enumerate() {
            let taken = member.slot.take().unwrap();
            assert_eq!(taken.is_err(), at == 5, "{at}: {taken:?}");
            if let Ok(words) = taken {
                assert_eq!(words, [u16::try_from(at).unwrap()]);
            }
            assert_eq!(member.slot.take(), None, "taken once");
        }
        // The next time only what is right is asked for together.
        want_all(&mut poll);
        let again: Vec<u16> = all(&mut poll).iter().map(|span| span.count).collect();
        assert_eq!(again, [4, 1, 1, 2]);
    }

    #[test]
    fn what_has_come_is_taken_and_not_asked_for_again() {
        let spans: Vec<Span> = (0..2).map(|at| span(Table::Input, at, 1)).collect();
        let mut poll = poll(&spans, 125);
        assert_eq!(poll.take_or_want(0), None);
        let asked = poll.next().unwrap();
        poll.answered(asked, Ok(vec![7, 8]));
        assert_eq!(poll.take_or_want(0), Some(Ok(vec![7])));
        assert_eq!(poll.take_or_want(1), Some(Ok(vec![8])));
        assert_eq!(poll.next(), None);
        assert_eq!(poll.take_or_want(1), None);
        assert_eq!(poll.next(), Some(asked));
    }

    #[test]
    fn a_lost_connection_fails_what_is_wanted_and_all_is_read_when_it_is_back() {
        let spans = [span(Table::Input, 0, 1), span(Table::Holding, 0, 1)];
        let mut poll = poll(&spans, 125);
        poll.found();
        assert_eq!(all(&mut poll), [], "nobody has asked yet");
        poll.want(0);
        poll.lost("refused");
        assert!(poll.is_lost());
        assert_eq!(poll.members[0].slot.take(), Some(Err("refused".to_owned())));
        assert_eq!(poll.members[1].slot.take(), None);
        poll.found();
        assert_eq!(all(&mut poll).len(), 2);
        assert!(!poll.is_lost());
        // A refusal is no lost connection.
        poll.answered(spans[0], refused(6));
        assert!(!poll.is_lost());
        let gone = Err(Fault::Unanswered("too late".to_owned()));
        poll.answered(spans[0], gone);
        assert!(poll.is_lost());
    }

    /// Asks for everything once, of a device that refuses these registers; how many requests that took.
    fn round(poll: &mut Poll, bad: &BTreeSet<(Table, u16)>) -> usize {
        want_all(poll);
        let mut asked = 0;
        while let Some(span) = poll.next() {
            asked += 1;
            assert!(asked <= 2 * poll.members.len(), "it has no end");
            let mut all = span.at..span.at + span.count;
            let is_bad = all.any(|at| bad.contains(&(span.table, at)));
            let words = (span.at..span.at + span.count).collect();
            poll.answered(span, if is_bad { refused(2) } else { Ok(words) });
        }
        asked
    }

    fn check_told(poll: &Poll, bad: &BTreeSet<(Table, u16)>) {
        for Member { span, slot } in &poll.members {
            let own: Vec<u16> = (span.at..span.at + span.count).collect();
            let is_bad = own.iter().any(|at| bad.contains(&(span.table, *at)));
            let right = if is_bad {
                Err("no such register".to_owned())
            } else {
                Ok(own)
            };
            assert_eq!(slot.take(), Some(right), "{span}");
        }
    }

    #[test]
    fn readings_of_the_same_registers_are_refused_together_and_once() {
        let holding = |at, count| span(Table::Holding, at, count);
        let same = [holding(0, 1), holding(0, 1), holding(5, 1)];
        let mut poll = super::tests::poll(&same, 125);
        let bad = BTreeSet::from([(Table::Holding, 0)]);
        assert_eq!(round(&mut poll, &bad), 2);
        check_told(&poll, &bad);
        // Also those that are longer than a request of this device may be.
        let long = [holding(0, 4), holding(0, 4)];
        let mut poll = super::tests::poll(&long, 2);
        assert_eq!(round(&mut poll, &bad), 1);
        check_told(&poll, &bad);
    }

    #[test]
    fn readings_that_overlap_are_told_a_refusal_of_their_own_alone() {
        let holding = |at, count| span(Table::Holding, at, count);
        let mut poll = poll(&[holding(0, 4), holding(1, 1), holding(3, 1)], 125);
        let bad = BTreeSet::from([(Table::Holding, 2)]);
        assert_eq!(round(&mut poll, &bad), 4);
        check_told(&poll, &bad);
        assert_eq!(round(&mut poll, &bad), 3, "without what was refused");
        check_told(&poll, &bad);
    }

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let table = prop_oneof![Just(Table::Holding), Just(Table::Coil)];
        let one =
            (table, 0..12_u16, 1..=4_u16).prop_map(|(table, at, count)| span(table, at, count));
        prop::collection::vec(one, 0..16)
    }

    fn some_bad() -> impl Strategy<Value = BTreeSet<(Table, u16)>> {
        let table = prop_oneof![Just(Table::Holding), Just(Table::Coil)];
        prop::collection::btree_set((table, 0..16_u16), 0..6)
    }

    proptest! {
        #[test]
        fn every_reading_is_told_its_value_or_the_refusal_and_a_round_ends(
            spans in spans(),
            most in 1..=16_u16,
            first in some_bad(),
            second in some_bad(),
        ) {
            let mut poll = poll(&spans, most);
            // The refused registers change, and split spans stay split.
            for bad in [&first, &first, &second] {
                round(&mut poll, bad);
                check_told(&poll, bad);
            }
        }
    }
}
