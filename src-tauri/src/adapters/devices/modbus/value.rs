//! Numbers in registers: how many registers a number takes, and in which order its bytes lie there. Pure.

use serde::Deserialize;

/// The type of a number in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    /// A bit: one of a table of bits, or bit `bit` of a register, or whether a register is not 0.
    Bool,
    /// 0 to 65535.
    U16,
    /// -32768 to 32767.
    I16,
    /// Two registers.
    U32,
    /// Two registers, signed.
    I32,
    /// Two registers, IEEE 754.
    F32,
    /// Four registers.
    U64,
    /// Four registers, signed.
    I64,
    /// Four registers, IEEE 754.
    F64,
}

/// In which order the bytes of a number lie in its registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// The highest byte first: `AB CD`.
    #[default]
    Big,
    /// The lowest register first: `CD AB`.
    LittleWord,
    /// The highest register first, in each the lower byte: `BA DC`.
    LittleByte,
    /// The lowest byte first: `DC BA`.
    Little,
}

impl Order {
    /// Every order, with its name.
    pub(super) const ALL: [(Order, &'static str); 4] = [
        (Order::Big, "big"),
        (Order::LittleWord, "little-word"),
        (Order::LittleByte, "little-byte"),
        (Order::Little, "little"),
    ];

    /// Words in this order as words with the highest byte first, and back.
    fn turned(self, words: &[u16]) -> Vec<u16> {
        let mut words = words.to_vec();
        if matches!(self, Self::LittleWord | Self::Little) {
            words.reverse();
        }
        if matches!(self, Self::LittleByte | Self::Little) {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        words
    }
}

/// The kind of a number and the order of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Its type.
    pub of: Type,
    /// How its bytes lie.
    pub order: Order,
    /// Which bit of a register; only of [`Type::Bool`].
    pub bit: Option<u8>,
}

impl Form {
    /// How many registers it takes.
    pub(super) fn registers(self) -> u16 {
        match self.of {
            Type::Bool | Type::U16 | Type::I16 => 1,
            Type::U32 | Type::I32 | Type::F32 => 2,
            Type::U64 | Type::I64 | Type::F64 => 4,
        }
    }

    /// Whether only whole numbers fit.
    pub(super) fn is_whole(self) -> bool {
        !matches!(self.of, Type::F32 | Type::F64)
    }

    /// The number in these registers, which need not be finite. `None` where there are too few.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a reading is an f64; counters beyond 2^53 lose their last digits"
    )]
    pub(super) fn number(self, words: &[u16]) -> Option<f64> {
        let words = words.get(..usize::from(self.registers()))?;
        let words = self.order.turned(words);
        let bits = words
            .iter()
            .fold(0_u64, |all, word| all << 16 | u64::from(*word));
        let bytes = bits.to_be_bytes();
        let [.., b3, b2, b1, b0] = bytes;
        Some(match self.of {
            Type::Bool => match self.bit {
                Some(bit) => (bits >> bit & 1) as f64,
                None => f64::from(u8::from(bits != 0)),
            },
            Type::U16 | Type::U32 | Type::U64 => bits as f64,
            Type::I16 => f64::from(i16::from_be_bytes([b1, b0])),
            Type::I32 => f64::from(i32::from_be_bytes([b3, b2, b1, b0])),
            Type::F32 => f64::from(f32::from_be_bytes([b3, b2, b1, b0])),
            Type::I64 => i64::from_be_bytes(bytes) as f64,
            Type::F64 => f64::from_be_bytes(bytes),
        })
    }

    /// A number as registers.
    ///
    /// # Errors
    /// Why it cannot be one of these.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the bounds of the type are checked before"
    )]
    pub(super) fn words(self, number: f64) -> Result<Vec<u16>, String> {
        if !number.is_finite() {
            return Err(format!("{number} is no number that can be written"));
        }
        let (least, most) = match self.of {
            Type::Bool => (0.0, 1.0),
            Type::U16 => (0.0, f64::from(u16::MAX)),
            Type::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
            Type::U32 => (0.0, f64::from(u32::MAX)),
            Type::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Type::F32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
            // The whole numbers that an f64 has exactly.
            Type::U64 => (0.0, WHOLE_MAX),
            Type::I64 => (-WHOLE_MAX, WHOLE_MAX),
            Type::F64 => (f64::MIN, f64::MAX),
        };
        if number < least || number > most {
            return Err(format!("{number} is beyond {least} to {most}"));
        }
        if self.is_whole() && number.fract() != 0.0 {
            return Err(format!("{number} is no whole number"));
        }
        let bits = match self.of {
            Type::F32 => u64::from((number as f32).to_bits()),
            Type::F64 => number.to_bits(),
            _ => number as i64 as u64,
        };
        let all = bits.to_be_bytes();
        let (pairs, _) = all.as_chunks::<2>();
        let words: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        let used = words.get(4 - usize::from(self.registers())..);
        Ok(self.order.turned(used.unwrap_or_default()))
    }

    /// The number that these registers are in every other order, for who looks for the right one.
    pub(super) fn otherwise(self, words: &[u16]) -> Vec<(&'static str, f64)> {
        let others = Order::ALL
            .into_iter()
            .filter(|(order, _)| *order != self.order);
        let read = others.filter_map(|(order, name)| {
            let form = Form { order, ..self };
            Some((name, form.number(words)?))
        });
        read.collect()
    }
}

/// 2^53.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    fn form(of: Type, order: Order) -> Form {
        Form {
            of,
            order,
            bit: None,
        }
    }

    #[test]
    fn a_number_lies_in_registers_as_devices_have_it() {
        // 123456.789 as f32 is 0x47F12065, in each of the orders.
        for (order, words) in [
            (Order::Big, [0x47f1, 0x2065]),
            (Order::LittleWord, [0x2065, 0x47f1]),
            (Order::LittleByte, [0xf147, 0x6520]),
            (Order::Little, [0x6520, 0xf147]),
        ] {
            let form = form(Type::F32, order);
            assert_eq!(form.number(&words), Some(f64::from(123_456.79_f32)));
            assert_eq!(form.words(123_456.789).unwrap(), words);
        }
        let big = |of| form(of, Order::Big);
        assert_eq!(big(Type::I16).number(&[0xffff]), Some(-1.0));
        assert_eq!(big(Type::U16).number(&[0xffff]), Some(65_535.0));
        assert_eq!(big(Type::I32).number(&[0x8000, 0]), Some(-2_147_483_648.0));
        assert_eq!(big(Type::U32).number(&[0x8000, 0]), Some(2_147_483_648.0));
        assert_eq!(big(Type::I64).number(&[0xffff; 4]), Some(-1.0));
        assert!(big(Type::F32).number(&[0x7fc0, 0]).unwrap().is_nan());
        assert_eq!(big(Type::Bool).number(&[4]), Some(1.0));
        let third = Form {
            bit: Some(2),
            ..big(Type::Bool)
        };
        assert_eq!(
            (third.number(&[4]), third.number(&[3])),
            (Some(1.0), Some(0.0))
        );
        assert_eq!(big(Type::U32).number(&[1]), None);
        assert_eq!(big(Type::U32).number(&[]), None);
    }

    #[test]
    fn every_number_that_can_be_written_reads_the_same() {
        for (of, numbers) in [
            (Type::Bool, &[0.0, 1.0][..]),
            (Type::U16, &[0.0, 1.0, 65_535.0]),
            (Type::I16, &[-32_768.0, -1.0, 32_767.0]),
            (Type::U32, &[0.0, 4_294_967_295.0]),
            (Type::I32, &[-2_147_483_648.0, 2_147_483_647.0]),
            (Type::F32, &[0.5, -1_048_576.25]),
            (Type::U64, &[9_007_199_254_740_992.0]),
            (Type::I64, &[-9_007_199_254_740_992.0]),
            (Type::F64, &[0.1, -1e300]),
        ] {
            for (order, _) in Order::ALL {
                for number in numbers {
                    let form = form(of, order);
                    let words = form.words(*number).unwrap();
                    assert_eq!(words.len(), usize::from(form.registers()));
                    assert_eq!(form.number(&words), Some(*number), "{form:?}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (of, number) in [
            (Type::Bool, 2.0),
            (Type::U16, -1.0),
            (Type::U16, 65_536.0),
            (Type::U16, 0.5),
            (Type::I16, 32_768.0),
            (Type::I32, 2_147_483_648.0),
            (Type::F32, 1e300),
            (Type::F64, f64::NAN),
            (Type::F64, f64::INFINITY),
            (Type::U64, 1e19),
        ] {
            assert!(
                form(of, Order::Big).words(number).is_err(),
                "{of:?} {number}"
            );
        }
    }
}
