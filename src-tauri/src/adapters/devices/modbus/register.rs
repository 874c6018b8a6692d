//! A register in the configuration, and how a number lies there.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

use super::value::{Form, Order, Type};
use super::wire::{Span, Table};

/// One of the four tables by its name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct TableName(pub Table);

impl TryFrom<String> for TableName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = Table::of(&name).map(Self);
        known.ok_or_else(|| {
            format!("unknown table {name:?}; there are coil, discrete, input and holding")
        })
    }
}

/// A register: `"holding:40"`, the `"40041"` of a manual, or `{ table = "holding", at = 40 }`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Register {
    /// The table.
    pub table: Table,
    /// The number, as it stands in a request.
    pub at: u16,
}

/// A register as a table of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterTable {
    table: TableName,
    at: u16,
}

impl Register {
    fn of(text: &str) -> Option<Self> {
        if let Some((table, at)) = text.split_once(':') {
            let at = at.trim().parse().ok()?;
            return Table::of(table.trim()).map(|table| Self { table, at });
        }
        // As manuals number them: the table is the first digit, and counting begins at 1.
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text
            .get(1..)
            .filter(|_| is_number && matches!(text.len(), 5 | 6))?;
        let table = match text.get(..1)? {
            "0" => Table::Coil,
            "1" => Table::Discrete,
            "3" => Table::Input,
            "4" => Table::Holding,
            _ => return None,
        };
        let at = number.parse::<u32>().ok()?.checked_sub(1)?;
        let at = u16::try_from(at).ok()?;
        Some(Self { table, at })
    }
}

impl<'de> Deserialize<'de> for Register {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Register;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a register such as \"holding:40\" or { table = \"holding\", at = 40 }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Register, E> {
                Register::of(text).ok_or_else(|| {
                    E::custom(format!(
                        "{text:?} is no register; give one such as \"holding:40\", or as a manual numbers it, \"40041\""
                    ))
                })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Register, M::Error> {
                let read = RegisterTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Register {
                    table: read.table.0,
                    at: read.at,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// How a number lies in a table.
///
/// # Errors
/// Which key is wrong, and why.
pub(super) fn form(
    table: Table,
    of: Option<Type>,
    order: Option<Order>,
    bit: Option<u8>,
) -> Result<Form, String> {
    let of = match (of, table.is_bits()) {
        (None | Some(Type::Bool), true) => Type::Bool,
        (Some(_), true) => return Err(format!("type: a {table} is always a bool; leave it out")),
        (None, false) if bit.is_some() => Type::Bool,
        (None, false) => Type::U16,
        (Some(of), false) => of,
    };
    let order = order.unwrap_or_default();
    let form = Form { of, order, bit };
    if bit.is_some_and(|bit| bit > 15 || of != Type::Bool || table.is_bits()) {
        let why = "bit: must be 0 to 15, of a register with the type bool";
        return Err(why.to_owned());
    }
    Ok(form)
}

/// The registers of a number.
///
/// # Errors
/// If the table ends before.
pub(super) fn span(table: Table, at: u16, form: Form) -> Result<Span, String> {
    let count = form.registers();
    match u32::from(at) + u32::from(count) <= 0x1_0000 {
        true => Ok(Span { table, at, count }),
        false => Err(format!("at: {table}:{at} has no {count} registers")),
    }
}
