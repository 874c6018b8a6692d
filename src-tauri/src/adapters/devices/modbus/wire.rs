//! Modbus TCP as bytes: one request, and the answer to exactly that request. Pure; `socket.rs` carries it. `rtu.rs` has what
//! is different over a serial line.

use std::fmt;

use crate::domain::base::limits::{MODBUS_COILS_MAX, MODBUS_LENGTH_MAX, MODBUS_REGISTERS_MAX};

/// The bytes before a request or an answer: transaction, protocol, length, unit.
pub(super) const HEAD_BYTES: usize = 7;
/// Set in the function code of an answer that is an exception.
const EXCEPTION: u8 = 0x80;
/// How a coil that is on is written.
const COIL_ON: u16 = 0xff00;

/// One of the four tables that a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Bits that can be written.
    Coil,
    /// Bits that cannot.
    Discrete,
    /// Registers that cannot be written.
    Input,
    /// Registers that can.
    Holding,
}

impl Table {
    /// The table of this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "coil" => Self::Coil,
            "discrete" => Self::Discrete,
            "input" => Self::Input,
            "holding" => Self::Holding,
            _ => return None,
        })
    }

    /// Whether it holds bits.
    pub(super) fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// The most that one request may read.
    pub(super) fn most(self) -> u16 {
        match self.is_bits() {
            true => MODBUS_COILS_MAX,
            false => MODBUS_REGISTERS_MAX,
        }
    }

    fn reads_by(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        })
    }
}

/// Registers or bits one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// In which table.
    pub table: Table,
    /// The first one, as it stands in a request: the first of all is 0.
    pub at: u16,
    /// How many.
    pub count: u16,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table, self.at)?;
        match self.count {
            0 | 1 => Ok(()),
            more => write!(f, "-{}", u32::from(self.at) + u32::from(more) - 1),
        }
    }
}

/// A request to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// To read.
    Read(Span),
    /// To write these words, one per register or bit.
    Write {
        /// Where; a table that can be written.
        span: Span,
        /// The words; a bit is 0 or 1.
        words: Vec<u16>,
        /// By the function that writes several, also where there is one.
        many: bool,
    },
}

impl Ask {
    /// Its span.
    pub(super) fn span(&self) -> Span {
        match self {
            Self::Read(span) | Self::Write { span, .. } => *span,
        }
    }

    /// Whether it changes something.
    pub(super) fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// The number of its function.
    pub(super) fn function(&self) -> u8 {
        match self {
            Self::Read(span) => span.table.reads_by(),
            Self::Write { span, words, many } => {
                match (span.table.is_bits(), *many || words.len() > 1) {
                    (true, false) => 5,
                    (false, false) => 6,
                    (true, true) => 15,
                    (false, true) => 16,
                }
            }
        }
    }

    /// What is asked, from the unit on.
    pub(super) fn body(&self, unit: u8) -> Vec<u8> {
        let mut body = vec![unit, self.function()];
        let span = self.span();
        body.extend(span.at.to_be_bytes());
        match self {
            Self::Read(_) => body.extend(span.count.to_be_bytes()),
            Self::Write { words, .. } => self.write_into(&mut body, words),
        }
        body
    }

    /// The whole request.
    pub(super) fn bytes(&self, transaction: u16, unit: u8) -> Vec<u8> {
        let body = self.body(unit);
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        bytes.extend(transaction.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn write_into(&self, body: &mut Vec<u8>, words: &[u16]) {
        let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
        let first = words.first().copied().unwrap_or_default();
        let bits = || words.chunks(8).map(packed).collect::<Vec<u8>>();
        match self.function() {
            5 if first == 0 => body.extend([0, 0]),
            5 => body.extend(COIL_ON.to_be_bytes()),
            6 => body.extend(first.to_be_bytes()),
            15 => counted(body, count, &bits()),
            _ => {
                let all: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                counted(body, count, &all);
            }
        }
    }

    /// The words of the answer; none after a write.
    ///
    /// # Errors
    /// The exception that the device gave, or what is wrong with its answer.
    pub(super) fn answer(&self, body: &[u8]) -> Result<Vec<u16>, Bad> {
        let odd = |why: &str| Err(Bad::Odd(why.to_owned()));
        let Some((&function, rest)) = body.split_first() else {
            return odd("the answer is empty");
        };
        if function == self.function() | EXCEPTION {
            return match rest {
                [code] => Err(Bad::Exception(*code)),
                _ => odd("the exception in the answer has no code"),
            };
        }
        if function != self.function() {
            let why = format!(
                "the answer is to function {function}, asked was {}",
                self.function()
            );
            return Err(Bad::Odd(why));
        }
        match self {
            Self::Read(span) => read(*span, rest),
            Self::Write { span, words, .. } => {
                let said = match self.function() {
                    5 if words.first().is_some_and(|word| *word != 0) => COIL_ON,
                    5 | 6 => words.first().copied().unwrap_or_default(),
                    _ => span.count,
                };
                let expected = [span.at.to_be_bytes(), said.to_be_bytes()].concat();
                match rest == expected {
                    true => Ok(Vec::new()),
                    false => odd("the answer does not repeat what was written"),
                }
            }
        }
    }
}

/// Up to eight bits as a byte, the first one lowest.
fn packed(bits: &[u16]) -> u8 {
    let bit = |(at, word): (usize, &u16)| u8::from(*word != 0) << at;
    bits.iter().enumerate().map(bit).sum()
}

fn counted(body: &mut Vec<u8>, count: u16, bytes: &[u8]) {
    body.extend(count.to_be_bytes());
    body.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    body.extend(bytes);
}

/// The words of an answer to a reading.
fn read(span: Span, rest: &[u8]) -> Result<Vec<u16>, Bad> {
    let count = usize::from(span.count);
    let due = match span.table.is_bits() {
        true => count.div_ceil(8),
        false => count * 2,
    };
    let bytes = match rest.split_first() {
        Some((&said, bytes)) if usize::from(said) == bytes.len() && bytes.len() == due => bytes,
        _ => {
            let why = format!("the answer has not the {due} bytes that were asked for");
            return Err(Bad::Odd(why));
        }
    };
    if span.table.is_bits() {
        let bit = |at: usize| {
            bytes
                .get(at / 8)
                .map_or(0, |byte| u16::from(byte >> (at % 8) & 1))
        };
        return Ok((0..count).map(bit).collect());
    }
    let (pairs, _) = bytes.as_chunks::<2>();
    Ok(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// Why an answer is no good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bad {
    /// The device refused, with this code.
    Exception(u8),
    /// It is no answer to the request.
    Odd(String),
}

/// How many bytes follow the head of an answer to this request.
///
/// # Errors
/// The fault in the head.
pub(super) fn follows(head: [u8; HEAD_BYTES], transaction: u16, unit: u8) -> Result<usize, String> {
    let [t1, t0, p1, p0, l1, l0, from] = head;
    let length = usize::from(u16::from_be_bytes([l1, l0]));
    let answered = u16::from_be_bytes([t1, t0]);
    if [p1, p0] != [0, 0] || !(3..=MODBUS_LENGTH_MAX).contains(&length) {
        return Err("what answers there is no Modbus TCP".to_owned());
    }
    if answered != transaction {
        return Err(format!(
            "the answer is to request {answered}, asked was {transaction}"
        ));
    }
    if from != unit {
        return Err(format!("unit {from} answered, asked was unit {unit}"));
    }
    Ok(length - 1)
}

/// An exception of a device, in a sentence that says what to do.
pub(super) fn exception(code: u8, ask: &Ask, unit: u8) -> String {
    let function = ask.function();
    match code {
        1 => format!(
            "the device does not know function {function} for this table; look in its manual which table and function it has"
        ),
        2 => "the device has no such register; compare table and number with its manual, whose 40001 is holding:0 and \
              30001 input:0, and the type, which says how many registers are used"
            .to_owned(),
        3 if ask.is_write() => {
            "the device does not accept this value there; compare type and bounds with its manual".to_owned()
        }
        3 => "the device does not give so many registers at once; set most_registers lower".to_owned(),
        4 => "the device failed at it; look at the device".to_owned(),
        5 => "the device accepted it and is still at it".to_owned(),
        6 => "the device is busy with something else; ask it less often".to_owned(),
        8 => "the device says that its memory is damaged; look at the device".to_owned(),
        10 => format!(
            "the gateway has no way to unit {unit}; check `unit` and the gateway's settings"
        ),
        11 => format!(
            "the gateway answers, and unit {unit} behind it does not; check `unit`, its power and its bus wiring"
        ),
        code => format!("the device refused with exception {code}, which the standard does not have"),
    }
}

/// Whether a write that was refused so has certainly not been done: else the device, or one behind the gateway, may
/// have done it or be at it.
pub(super) fn is_undone(code: u8) -> bool {
    matches!(code, 1 | 2 | 3 | 6 | 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn span(table: Table, at: u16, count: u16) -> Span {
        Span { table, at, count }
    }

    fn write(table: Table, at: u16, words: &[u16], many: bool) -> Ask {
        let count = u16::try_from(words.len()).unwrap();
        Ask::Write {
            span: span(table, at, count),
            words: words.to_vec(),
            many,
        }
    }

    #[test]
    fn requests_are_the_bytes_of_the_standard() {
        for (ask, body) in [
            (
                Ask::Read(span(Table::Coil, 0x13, 0x13)),
                &[1, 0, 0x13, 0, 0x13][..],
            ),
            (
                Ask::Read(span(Table::Discrete, 0xc4, 0x16)),
                &[2, 0, 0xc4, 0, 0x16],
            ),
            (
                Ask::Read(span(Table::Holding, 0x6b, 3)),
                &[3, 0, 0x6b, 0, 3],
            ),
            (Ask::Read(span(Table::Input, 8, 1)), &[4, 0, 8, 0, 1]),
            (
                write(Table::Coil, 0xac, &[1], false),
                &[5, 0, 0xac, 0xff, 0],
            ),
            (write(Table::Coil, 0xac, &[0], false), &[5, 0, 0xac, 0, 0]),
            (write(Table::Holding, 1, &[3], false), &[6, 0, 1, 0, 3]),
            (
                write(Table::Coil, 0x13, &[1, 0, 1, 1, 0, 0, 1, 1, 1, 0], false),
                &[15, 0, 0x13, 0, 10, 2, 0xcd, 1],
            ),
            (
                write(Table::Holding, 1, &[10, 0x102], false),
                &[16, 0, 1, 0, 2, 4, 0, 10, 1, 2],
            ),
            (
                write(Table::Holding, 1, &[10], true),
                &[16, 0, 1, 0, 1, 2, 0, 10],
            ),
        ] {
            let length = u8::try_from(body.len() + 1).unwrap();
            let whole = [&[0x12, 0x34, 0, 0, 0, length, 7], body].concat();
            assert_eq!(ask.bytes(0x1234, 7), whole, "{ask:?}");
        }
    }

    #[test]
    fn answers_are_read_and_anything_else_is_none() {
        let coils = Ask::Read(span(Table::Coil, 0, 10));
        assert_eq!(
            coils.answer(&[1, 2, 0xcd, 1]).unwrap(),
            [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]
        );
        let two = Ask::Read(span(Table::Holding, 0, 2));
        assert_eq!(two.answer(&[3, 4, 0, 10, 1, 2]).unwrap(), [10, 0x102]);
        let on = write(Table::Coil, 5, &[1], false);
        assert_eq!(on.answer(&[5, 0, 5, 0xff, 0]).unwrap(), [0; 0]);
        let set = write(Table::Holding, 5, &[9, 9], false);
        assert_eq!(set.answer(&[16, 0, 5, 0, 2]).unwrap(), [0; 0]);
        assert_eq!(two.answer(&[0x83, 2]), Err(Bad::Exception(2)));
        for odd in [
            &[][..],
            &[3],
            &[3, 4, 0, 10, 1],
            &[3, 2, 0, 10],
            &[3, 6, 0, 1, 0, 2, 0, 3],
            &[3, 5, 0, 10, 1, 2],
            &[4, 4, 0, 10, 1, 2],
            &[0x83],
            &[0x83, 2, 2],
            &[0x84, 2],
        ] {
            assert!(matches!(two.answer(odd), Err(Bad::Odd(_))), "{odd:?}");
        }
        for odd in [&[5, 0, 5, 0, 0][..], &[5, 0, 6, 0xff, 0], &[5, 0, 5, 0xff]] {
            assert!(matches!(on.answer(odd), Err(Bad::Odd(_))), "{odd:?}");
        }
        assert!(matches!(set.answer(&[16, 0, 5, 0, 1]), Err(Bad::Odd(_))));
    }

    #[test]
    fn a_head_of_another_answer_is_refused() {
        let good = [0, 9, 0, 0, 0, 5, 7];
        assert_eq!(follows(good, 9, 7).unwrap(), 4);
        for (at, byte) in [(1, 8), (2, 1), (4, 1), (5, 2), (5, 255), (6, 8)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(follows(bad, 9, 7).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_write_counts_as_undone_only_where_nobody_can_have_done_it() {
        let undone: Vec<u8> = (0..=255).filter(|code| is_undone(*code)).collect();
        assert_eq!(undone, [1, 2, 3, 6, 10]);
    }
}
