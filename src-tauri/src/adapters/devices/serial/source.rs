//! Where a reading stands in the lines of a device. Pure.

use serde::Deserialize;

use super::nmea::{Quantity, Sentence};
use crate::adapters::devices::value::{check_pointer, number};
use crate::domain::base::limits::{SERIAL_COLUMNS_MAX, SERIAL_LINE_MAX_BYTES};
use crate::domain::base::text::one_line;

/// What the lines of a device are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Sentences of NMEA 0183.
    Nmea,
    /// Columns.
    Csv,
    /// Names with a value behind them, such as `T=21.5 H=40`.
    Prefix,
    /// A JSON document each.
    Json,
}

/// Where a reading stands, as the configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    quantity: Option<Quantity>,
    sentence: Option<String>,
    field: Option<usize>,
    column: Option<usize>,
    prefix: Option<String>,
    json: Option<String>,
}

/// How the lines of a device are taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    /// What they are.
    pub format: Format,
    /// What is between two columns.
    pub separator: char,
    /// How many columns a line has, where that is known: one with more or less is none.
    pub columns: Option<usize>,
}

impl Source {
    /// Checks it against the lines of its device.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(super) fn check(&self, shape: &Shape) -> Result<(), String> {
        let said = [
            ("quantity", self.quantity.is_some(), Format::Nmea),
            ("sentence", self.sentence.is_some(), Format::Nmea),
            ("field", self.field.is_some(), Format::Nmea),
            ("column", self.column.is_some(), Format::Csv),
            ("prefix", self.prefix.is_some(), Format::Prefix),
            ("json", self.json.is_some(), Format::Json),
        ];
        let odd = |(_, is, of): &&(&str, bool, Format)| *is && *of != shape.format;
        if let Some((key, ..)) = said.iter().find(odd) {
            return Err(format!(
                "{key}: goes with another `format` than this device has"
            ));
        }
        let numbered = |key: &str, number: usize| match (1..=SERIAL_COLUMNS_MAX).contains(&number) {
            true => Ok(()),
            false => Err(format!("{key}: must be 1 to {SERIAL_COLUMNS_MAX}")),
        };
        match (shape.format, self) {
            (
                Format::Nmea,
                Self {
                    quantity: Some(_),
                    sentence: None,
                    field: None,
                    ..
                },
            ) => Ok(()),
            (
                Format::Nmea,
                Self {
                    quantity: None,
                    sentence: Some(sentence),
                    field: Some(field),
                    ..
                },
            ) => {
                let is_kind = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
                if sentence.len() < 3 || !sentence.bytes().all(is_kind) {
                    return Err("sentence: must be its kind, such as \"RMC\"".to_owned());
                }
                numbered("field", *field)
            }
            (Format::Nmea, _) => Err("give either quantity, or sentence and field".to_owned()),
            (
                Format::Csv,
                Self {
                    column: Some(column),
                    ..
                },
            ) => match shape.columns {
                Some(most) if *column > most => Err(format!("column: a line has {most}")),
                _ => numbered("column", *column),
            },
            (Format::Csv, _) => Err("column: is missing".to_owned()),
            (
                Format::Prefix,
                Self {
                    prefix: Some(prefix),
                    ..
                },
            ) => {
                match prefix.is_empty()
                    || prefix.chars().any(|c| c.is_whitespace() || c.is_control())
                {
                    true => Err(
                        "prefix: must be what stands before the number, without spaces".to_owned(),
                    ),
                    false => Ok(()),
                }
            }
            (Format::Prefix, _) => Err("prefix: is missing".to_owned()),
            (
                Format::Json,
                Self {
                    json: Some(json), ..
                },
            ) => check_pointer(json),
            (Format::Json, _) => Err("json: is missing".to_owned()),
        }
    }

    /// The value in a line and the kind of line that says it; `None` where this line says nothing of it.
    ///
    /// # Errors
    /// What stands there instead.
    pub(super) fn find(&self, line: &Parsed<'_>) -> Option<(Result<f64, String>, String)> {
        match line {
            Parsed::Sentence(sentence) => {
                let found = match (self.quantity, &self.sentence, self.field) {
                    (Some(quantity), ..) => sentence.quantity(quantity)?,
                    (None, Some(kind), Some(field)) if kind == sentence.kind => {
                        let text = sentence.field(field);
                        let text = text.ok_or_else(|| format!("{kind} has no field {field}"));
                        text.and_then(plain)
                    }
                    _ => return None,
                };
                Some((found, sentence.kind.to_owned()))
            }
            Parsed::Columns(columns) => {
                let column = self.column?;
                let text = columns.get(column.checked_sub(1)?);
                let text = text.ok_or_else(|| {
                    format!(
                        "a line has {} columns and no column {column}",
                        columns.len()
                    )
                });
                Some((text.and_then(|text| plain(text)), String::new()))
            }
            Parsed::Words(text) => {
                let prefix = self.prefix.as_ref()?;
                let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
                let found = words
                    .filter_map(|word| word.strip_prefix(prefix.as_str()))
                    .next()?;
                Some((plain(without_unit(found)), String::new()))
            }
            Parsed::Json(text) => {
                let pointer = self.json.as_deref();
                let found = number(text.as_bytes(), pointer, SERIAL_LINE_MAX_BYTES);
                Some((found, String::new()))
            }
        }
    }
}

fn plain(text: &str) -> Result<f64, String> {
    number(text.as_bytes(), None, SERIAL_LINE_MAX_BYTES)
}

/// A number without the letters behind it, such as `21.5C`.
fn without_unit(text: &str) -> &str {
    let bare = text.trim_end_matches(|c: char| c.is_alphabetic() || matches!(c, '%' | '°'));
    match bare.parse::<f64>() {
        Ok(_) => bare,
        Err(_) => text,
    }
}

/// A line, taken apart.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    /// A sentence.
    Sentence(Sentence<'a>),
    /// Columns.
    Columns(Vec<&'a str>),
    /// Names with values.
    Words(&'a str),
    /// JSON.
    Json(&'a str),
}

impl Shape {
    /// Takes a line apart; `None` where it is none of this format and says nothing.
    ///
    /// # Errors
    /// If it is damaged.
    pub(super) fn parse<'a>(&self, line: &'a str) -> Option<Result<Parsed<'a>, String>> {
        let shown = |why: &str| format!("{why}: {:?}", one_line(line, 40));
        Some(match self.format {
            Format::Nmea => match Sentence::of(line)? {
                Ok(sentence) => Ok(Parsed::Sentence(sentence)),
                Err(why) => Err(shown(&why)),
            },
            Format::Csv => {
                let columns: Vec<&str> = line.split(self.separator).collect();
                match self.columns {
                    Some(count) if columns.len() != count => Err(shown(&format!(
                        "a line has {} columns, not {count}",
                        columns.len()
                    ))),
                    _ => Ok(Parsed::Columns(columns)),
                }
            }
            Format::Prefix => Ok(Parsed::Words(line)),
            Format::Json => Ok(Parsed::Json(line)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::nmea::tests::sealed;
    use super::*;

    fn shape(format: Format) -> Shape {
        Shape {
            format,
            separator: ',',
            columns: None,
        }
    }

    fn source(keys: &str) -> Source {
        toml::from_str(keys).unwrap()
    }

    fn found(shape: &Shape, keys: &str, line: &str) -> Option<Result<f64, String>> {
        let source = source(keys);
        source.check(shape).unwrap();
        source
            .find(&shape.parse(line)?.unwrap())
            .map(|(found, _)| found)
    }

    #[test]
    fn numbers_are_found_where_the_configuration_says() {
        let nmea = sealed("GPRMC,1,A,4807.038,N,01131.000,E,10,084.4,230394,,");
        for (format, keys, line, value) in [
            (
                Format::Nmea,
                "sentence = \"RMC\"\nfield = 8",
                nmea.as_str(),
                Some(84.4),
            ),
            (Format::Nmea, "sentence = \"GGA\"\nfield = 8", &nmea, None),
            (Format::Nmea, "quantity = \"course\"", &nmea, Some(84.4)),
            (Format::Nmea, "quantity = \"course\"", "boot v1.2", None),
            (Format::Csv, "column = 2", "1, 21.5 ,3", Some(21.5)),
            (
                Format::Prefix,
                "prefix = \"T=\"",
                "id=7 T=21.5C;H=40%",
                Some(21.5),
            ),
            (
                Format::Prefix,
                "prefix = \"H=\"",
                "id=7 T=21.5C;H=40%",
                Some(40.0),
            ),
            (Format::Prefix, "prefix = \"T=\"", "OUT=5", None),
            (Format::Prefix, "prefix = \"P:\"", "P:1.5e3", Some(1_500.0)),
            (Format::Prefix, "prefix = \"D=\"", "D=on", Some(1.0)),
            (Format::Json, "json = \"/t\"", "{\"t\":-4}", Some(-4.0)),
        ] {
            let found = found(&shape(format), keys, line);
            assert_eq!(found, value.map(Ok), "{keys} in {line}");
        }
    }

    #[test]
    fn what_is_no_number_is_told() {
        for (format, keys, line, why) in [
            (Format::Csv, "column = 2", "1,wet", "\"wet\" is no number"),
            (
                Format::Csv,
                "column = 3",
                "1,2",
                "a line has 2 columns and no column 3",
            ),
            (
                Format::Prefix,
                "prefix = \"T=\"",
                "T=--",
                "\"--\" is no number",
            ),
            (Format::Json, "json = \"/t\"", "{\"t\":", "is no JSON"),
        ] {
            let told = found(&shape(format), keys, line).unwrap().unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let three = Shape {
            columns: Some(3),
            ..shape(Format::Csv)
        };
        let why = three.parse("1,2").unwrap().unwrap_err();
        assert!(why.starts_with("a line has 2 columns, not 3"), "{why}");
        assert_eq!(found(&three, "column = 3", "1,2,3"), Some(Ok(3.0)));
    }

    #[test]
    fn a_mistake_is_named_with_its_key() {
        for (format, keys, why) in [
            (
                Format::Nmea,
                "",
                "give either quantity, or sentence and field",
            ),
            (Format::Nmea, "sentence = \"RMC\"", "give either quantity"),
            (
                Format::Nmea,
                "quantity = \"speed\"\nsentence = \"RMC\"\nfield = 1",
                "give either quantity",
            ),
            (
                Format::Nmea,
                "sentence = \"rmc\"\nfield = 1",
                "sentence: must be its kind",
            ),
            (
                Format::Nmea,
                "sentence = \"RMC\"\nfield = 0",
                "field: must be 1 to 256",
            ),
            (
                Format::Nmea,
                "column = 1",
                "column: goes with another `format`",
            ),
            (Format::Csv, "", "column: is missing"),
            (Format::Csv, "column = 0", "column: must be 1 to 256"),
            (
                Format::Prefix,
                "prefix = \"a b\"",
                "prefix: must be what stands before",
            ),
            (Format::Json, "json = \"t\"", "json: must be a JSON pointer"),
        ] {
            let told = source(keys).check(&shape(format)).unwrap_err();
            assert!(told.contains(why), "{keys}: {told}");
        }
        assert!(toml::from_str::<Source>("quantity = \"luck\"").is_err());
    }
}
