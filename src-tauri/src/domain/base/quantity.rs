//! Numbers with their units as people read them.

use serde_json::Value;

use super::limits::TEXT_MAX_CHARS;
use super::text::one_line;

/// The most characters of a unit that is shown.
const UNIT_CHARS: usize = 24;

/// A number of bytes as people read it: `72 GiB`.
pub fn bytes(n: u64) -> String {
    const STEPS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut rest, mut step) = (n, 0, None);
    for unit in STEPS {
        if whole < 1_024 {
            break;
        }
        (whole, rest, step) = (whole / 1_024, whole % 1_024, Some(unit));
    }
    match step {
        None => format!("{n} B"),
        Some(unit) if whole < 10 => format!("{whole}.{} {unit}", rest * 10 / 1_024),
        Some(unit) => format!("{whole} {unit}"),
    }
}

/// A value with its unit as people read it: `72 GiB`, `31.8%`, `21.4 °C`.
pub fn reading(told: &Value, unit: Option<&str>) -> String {
    let amount = || {
        let whole = told.as_f64().filter(|n| *n >= 0.0);
        let whole = whole.and_then(|n| format!("{n:.0}").parse().ok());
        whole.map_or_else(|| format!("{} B", value(told)), bytes)
    };
    match (unit.unwrap_or_default(), told.is_number()) {
        ("bytes" | "B", true) => amount(),
        ("bytes/s" | "B/s", true) => format!("{}/s", amount()),
        ("%", true) => format!("{}%", value(told)),
        ("C" | "celsius", true) => format!("{} °C", value(told)),
        ("F" | "fahrenheit", true) => format!("{} °F", value(told)),
        ("", _) => value(told),
        (unit, _) => format!("{} {}", value(told), one_line(unit, UNIT_CHARS)),
    }
}

/// A span in the largest fitting unit, for example `12 s` or `3 h`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// A value as a person would write it, on one line.
fn value(value: &Value) -> String {
    match value {
        Value::String(text) => one_line(text, TEXT_MAX_CHARS),
        Value::Null => "-".to_owned(),
        Value::Number(n) if n.is_f64() => number(n.as_f64().unwrap_or_default()),
        other => one_line(&other.to_string(), TEXT_MAX_CHARS),
    }
}

/// A number with two decimals at most; one that is very large or very small with two digits that count.
pub fn number(n: f64) -> String {
    let trim = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    match n.abs() {
        0.0 => "0".to_owned(),
        0.01..1e15 => trim(&format!("{n:.2}")),
        0.0001..0.01 => trim(&format!("{n:.5}")),
        _ => {
            let shown = format!("{n:.1e}");
            let (digits, power) = shown.split_once('e').unwrap_or((&shown, "0"));
            format!("{}e{power}", trim(digits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_by_people() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(2_047), "1.9 KiB");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
        assert_eq!(bytes(77_653_012_480), "72 GiB");
        assert_eq!(bytes(u64::MAX), "16777215 TiB");
        let told = |n: f64, unit| reading(&Value::from(n), Some(unit));
        assert_eq!(told(77_653_012_480.0, "bytes"), "72 GiB");
        assert_eq!(told(21.4, "C"), "21.4 °C");
        assert_eq!(told(31.84, "%"), "31.84%");
        assert_eq!(told(-5.0, "bytes"), "-5 B");
        assert_eq!(reading(&Value::from("open"), Some("")), "open");
        assert_eq!(reading(&Value::from(3), None), "3");
    }

    #[test]
    fn a_number_is_short_and_never_shown_as_zero_when_it_is_not() {
        for (n, shown) in [
            (0.0, "0"),
            (-0.0, "0"),
            (21.40, "21.4"),
            (-5.0, "-5"),
            (0.01, "0.01"),
            (0.0042, "0.0042"),
            (-0.000_12, "-0.00012"),
            (0.000_000_31, "3.1e-7"),
            (-1e308, "-1e308"),
            (1_234_567.891, "1234567.89"),
        ] {
            assert_eq!(number(n), shown);
        }
    }
}
