//! Numbers of JSON: `10`, `10.0` and `1e1` are one number (RFC 8785 §3.2.2.3), and programs in other
//! languages write whole numbers in any of these ways.

use serde_json::{Map, Number, Value};

/// Up to here every whole number has its own double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The number, as a whole one where it is one.
pub fn plain(number: Number) -> Number {
    match number.as_f64().filter(|_| number.is_f64()) {
        // The bounds keep the conversion exact.
        #[allow(clippy::cast_possible_truncation)]
        Some(float) if float.fract() == 0.0 && float.abs() < EXACT => Number::from(float as i64),
        _ => number,
    }
}

/// The value as a whole number, zero or more, however it is written.
pub fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => plain(number.clone()).as_u64(),
        _ => None,
    }
}

/// The value with every number in it as [`plain`] has it.
pub fn all_plain(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(plain(number)),
        Value::Array(list) => list.into_iter().map(all_plain).collect(),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, all_plain(value)))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for text in ["10", "10.0", "1e1", "1.0e+1"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&value), Some(10), "{text}");
            assert_eq!(
                all_plain(json!({"a": [value]})).to_string(),
                r#"{"a":[10]}"#
            );
        }
        for text in ["10.5", "-10.0", "1e300", "\"10\"", "null"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&value), None, "{text}");
        }
        let large = json!(1e300);
        assert_eq!(all_plain(large.clone()), large);
        assert_eq!(all_plain(json!(-0.0)).to_string(), "0");
    }
}
