//! Command templates, filled with the parameters of an action. Only words without a meaning in JSON or in a URL may stand
//! there.

use serde_json::Value;

use crate::domain::capability::Params;

/// The parameter that says how long a run lasts; this node ends the run itself.
const RUN_TIME: &str = "durationSec";
/// Longest word that fills a placeholder.
const WORD_MAX: usize = 40;

/// The first `{name}` of a text, with what stands before and after it.
pub(super) fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    for (at, _) in text.match_indices('{') {
        let (before, behind) = text.split_at(at);
        let behind = behind.get(1..).unwrap_or_default();
        let Some((name, after)) = behind.split_once('}') else {
            continue;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.is_empty()
            && name.chars().all(plain)
            && !name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Some((before, name, after));
        }
    }
    None
}

/// The texts with the parameters in them. Each parameter is used in one of them, but for the length of the run.
///
/// # Errors
/// Which parameter is missing, unknown or no plain word.
pub(super) fn filled<const N: usize>(
    texts: [&str; N],
    params: &Params,
) -> Result<[String; N], String> {
    let mut used = Vec::new();
    let mut whole = [const { String::new() }; N];
    for (text, out) in texts.into_iter().zip(&mut whole) {
        let mut rest = text;
        while let Some((before, name, after)) = placeholder(rest) {
            let value = params.get(name);
            let value = value.ok_or_else(|| format!("it needs the parameter {name}"))?;
            let word = match value {
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::String(text) if is_word(text) => text.clone(),
                _ => return Err(format!("the parameter {name} is no number and no word")),
            };
            out.push_str(before);
            out.push_str(&word);
            used.push(name);
            rest = after;
        }
        out.push_str(rest);
    }
    let unused = params.keys().find(|name| {
        let name = name.as_str();
        name != RUN_TIME && !used.contains(&name)
    });
    match unused {
        Some(name) => Err(format!("it has no parameter {name}")),
        None => Ok(whole),
    }
}

fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    !text.is_empty() && text.len() <= WORD_MAX && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn fill(payload: &str, params: Value) -> Result<String, String> {
        let params: Params = serde_json::from_value(params).unwrap();
        filled([payload], &params).map(|[whole]| whole)
    }

    #[test]
    fn parameters_fill_a_payload_and_nothing_else_does() {
        for (payload, params, whole) in [
            ("ON", json!({"durationSec": 5}), "ON"),
            (
                r#"{"cmd":"on","sec":{durationSec},"way":"{way}"}"#,
                json!({"durationSec": 5, "way": "left"}),
                r#"{"cmd":"on","sec":5,"way":"left"}"#,
            ),
            ("{} {1} {\"a\":1}", json!({}), "{} {1} {\"a\":1}"),
        ] {
            assert_eq!(fill(payload, params).unwrap(), whole);
        }
        for (payload, params, why) in [
            ("{way}", json!({}), "it needs the parameter way"),
            ("ON", json!({"percent": 5}), "it has no parameter percent"),
            ("{way}", json!({"way": "\",\"sec\":9"}), "no word"),
            ("{way}", json!({"way": [1]}), "no word"),
        ] {
            let told = fill(payload, params).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
