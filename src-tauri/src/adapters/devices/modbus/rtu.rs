//! Modbus RTU as bytes: requests and answers between unit and checksum, and which answer may be to which request. Pure;
//! `line.rs` carries it.
//!
//! An answer over a serial line does not say to which request it is. So a request that was not answered is remembered, and
//! whatever could be its late answer is never taken for another one.

use super::wire::{Ask, Span, Table};

/// The bytes that tell how long an answer is.
pub(super) const START_BYTES: usize = 3;
/// Set in the function code of an answer that is an exception.
const EXCEPTION: u8 = 0x80;

/// The checksum of these bytes.
pub(super) fn crc(bytes: &[u8]) -> [u8; 2] {
    let sum = bytes.iter().fold(0xffff_u16, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0xa001,
            _ => sum >> 1,
        })
    });
    sum.to_le_bytes()
}

/// A request to a unit, whole.
pub(super) fn request(ask: &Ask, unit: u8) -> Vec<u8> {
    let mut bytes = ask.body(unit);
    let sum = crc(&bytes);
    bytes.extend(sum);
    bytes
}

/// How long the answer is that begins so.
///
/// # Errors
/// If no answer does.
pub(super) fn length(start: [u8; START_BYTES]) -> Result<usize, String> {
    let [_, function, third] = start;
    match function {
        1..=4 => Ok(usize::from(third) + 5),
        5 | 6 | 15 | 16 => Ok(8),
        0x81..=0x90 => Ok(5),
        _ => Err(
            "what came is no Modbus RTU; check baud, parity and stop_bits, both wires of the bus and its terminators"
                .to_owned(),
        ),
    }
}

/// An answer whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    /// Who gave it.
    pub unit: u8,
    /// What it says, from the function on.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The answer that these bytes are; `None` where their checksum is wrong.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
        let (unit, said) = body.split_first()?;
        (crc(body) == *sum).then_some(Self {
            unit: *unit,
            body: said,
        })
    }

    /// Whether it may be an answer to this request: it repeats what was written, has as many bytes as were asked for, or is
    /// an exception of that function.
    pub(super) fn fits(&self, ask: &Ask) -> bool {
        let function = ask.function();
        match self.body {
            [code, _] => *code == function | EXCEPTION,
            [code, count, ..] if !ask.is_write() => {
                *code == function && usize::from(*count) == data_bytes(ask.span())
            }
            _ => ask.answer(self.body).is_ok(),
        }
    }
}

/// The bytes in an answer that hold what was read.
fn data_bytes(span: Span) -> usize {
    let count = usize::from(span.count);
    match span.table.is_bits() {
        true => count.div_ceil(8),
        false => count * 2,
    }
}

/// Bytes of the answer to a request, at most.
pub(super) fn answer_bytes(ask: &Ask) -> usize {
    match ask {
        Ask::Read(span) => data_bytes(*span) + 5,
        Ask::Write { .. } => 8,
    }
}

/// Whether an answer to the one might be taken for one to the other.
fn alike(one: &Ask, other: &Ask) -> bool {
    let lengths = || data_bytes(one.span()) == data_bytes(other.span());
    one.function() == other.function() && (one.is_write() || lengths())
}

/// Whether a request can be asked although these have not been answered: no answer to them could be one to it.
pub(super) fn is_apart(ask: &Ask, late: &[Ask]) -> bool {
    late.iter().all(|late| late.function() != ask.function())
}

/// A request whose answer is none to any of these: once it has come, nothing of them comes any more, since a device answers in
/// the order in which it was asked. `None` where every one might be.
pub(super) fn probe(ask: &Ask, late: &[Ask]) -> Option<Ask> {
    let own = ask.span();
    let read = |table: Table, count: u16| {
        let fits = u32::from(own.at) + u32::from(count) <= 0x1_0000;
        fits.then_some(Ask::Read(Span {
            table,
            at: own.at,
            count,
        }))
    };
    let counts: [u16; 3] = match own.table.is_bits() {
        true => [1, 9, 17],
        false => [1, 2, 3],
    };
    let others = [Table::Holding, Table::Input, Table::Coil, Table::Discrete];
    // Less of the same first: a device that gives more gives that. Then what no answer of the others looks like.
    let first = (own.count > 1).then(|| read(own.table, 1)).flatten();
    let by_function = std::iter::once(own.table).chain(others);
    let by_function = by_function
        .filter_map(|table| read(table, 1))
        .filter(|ask| is_apart(ask, late));
    let by_length = counts
        .into_iter()
        .filter_map(|count| read(own.table, count));
    let mut each = first.into_iter().chain(by_function).chain(by_length);
    each.find(|probe| !late.iter().any(|late| alike(probe, late)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(table: Table, at: u16, count: u16) -> Ask {
        Ask::Read(Span { table, at, count })
    }

    fn write(at: u16, word: u16) -> Ask {
        Ask::Write {
            span: Span {
                table: Table::Coil,
                at,
                count: 1,
            },
            words: vec![word],
            many: false,
        }
    }

    fn sealed(bytes: &[u8]) -> Vec<u8> {
        [bytes, &crc(bytes)].concat()
    }

    #[test]
    fn requests_end_with_the_checksum_of_the_standard() {
        // From the standard's own examples and those of a manual.
        for (bytes, sum) in [
            (&[2, 7][..], [0x41, 0x12]),
            (&[1, 3, 0, 0, 0, 10], [0xc5, 0xcd]),
            (&[0x11, 3, 0, 0x6b, 0, 3], [0x76, 0x87]),
        ] {
            assert_eq!(crc(bytes), sum, "{bytes:?}");
        }
        let asked = request(&read(Table::Holding, 0x6b, 3), 0x11);
        assert_eq!(asked, [0x11, 3, 0, 0x6b, 0, 3, 0x76, 0x87]);
    }

    #[test]
    fn an_answer_tells_its_length_and_damage_shows() {
        assert_eq!(length([1, 3, 4]), Ok(9));
        assert_eq!(length([1, 5, 0]), Ok(8));
        assert_eq!(length([1, 0x83, 2]), Ok(5));
        assert!(length([1, 0, 0]).is_err() && length([1, b'T', b'P']).is_err());
        let good = sealed(&[7, 3, 2, 0, 5]);
        assert_eq!(Answer::of(&good).unwrap().body, [3, 2, 0, 5]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(Answer::of(&bad).is_none(), "{at}");
        }
        assert!(Answer::of(&[]).is_none() && Answer::of(&[1]).is_none());
    }

    #[test]
    fn an_answer_fits_what_it_may_be_an_answer_to() {
        let two = read(Table::Holding, 0, 2);
        let fits = |bytes: &[u8], ask: &Ask| Answer::of(&sealed(bytes)).unwrap().fits(ask);
        assert!(fits(&[7, 3, 4, 0, 1, 0, 2], &two));
        assert!(fits(&[7, 3, 4, 0, 1, 0, 2], &read(Table::Holding, 90, 2)));
        assert!(fits(&[7, 0x83, 2], &two));
        assert!(!fits(&[7, 3, 2, 0, 1], &two));
        assert!(!fits(&[7, 4, 4, 0, 1, 0, 2], &two));
        assert!(!fits(&[7, 0x84, 2], &two));
        assert!(fits(&[7, 5, 0, 9, 0xff, 0], &write(9, 1)));
        assert!(!fits(&[7, 5, 0, 9, 0, 0], &write(9, 1)));
    }

    #[test]
    fn a_probe_has_an_answer_like_none_that_may_still_come() {
        for ask in [
            read(Table::Holding, 0, 1),
            read(Table::Holding, 65_535, 1),
            read(Table::Input, 4, 20),
            read(Table::Coil, 7, 9),
            write(9, 0),
        ] {
            let mut late = vec![ask.clone()];
            // Each that is not answered either is one more.
            for _ in 0..3 {
                let probe = probe(&ask, &late).unwrap();
                assert!(!probe.is_write());
                assert!(
                    !late.iter().any(|late| alike(&probe, late)),
                    "{probe:?} {late:?}"
                );
                late.push(probe);
            }
            while let Some(probe) = probe(&ask, &late) {
                late.push(probe);
                assert!(late.len() < 9, "it has an end");
            }
        }
        let many = read(Table::Holding, 8, 20);
        let less = probe(&many, std::slice::from_ref(&many)).unwrap();
        assert_eq!(less, read(Table::Holding, 8, 1));
    }
}
