//! Spans of time as a configuration or a command writes them: `30s`, `5m`, `2h`, `1d`.

/// How a span that does not read is refused.
pub const DURATION_HELP: &str =
    "write a number with s, m, h or d, such as \"30s\", \"5m\" or \"2h\"";

/// The milliseconds of a span such as `30s`, `5m`, `2h` or `1d`.
///
/// # Errors
/// [`DURATION_HELP`], with what was written.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no span of time: {DURATION_HELP}");
    let text = text.trim();
    let unit = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => return Err(bad()),
    };
    let digits = text.get(..text.len() - 1).unwrap_or_default();
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: Option<u64> = plain.then(|| digits.parse().ok()).flatten();
    number.and_then(|n| n.checked_mul(unit)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_span_is_a_number_with_its_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("30s", 30_000),
            ("5m", 300_000),
            (" 2h ", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration_ms(text).unwrap(), ms, "{text}");
        }
        for wrong in [
            "",
            "5",
            "m",
            "-5m",
            "1.5h",
            "5 m",
            "5M",
            "99999999999999999999s",
            "9999999999999999999d",
            "٣m",
            "5ü",
        ] {
            assert!(duration_ms(wrong).unwrap_err().contains("5m"), "{wrong}");
        }
    }
}
