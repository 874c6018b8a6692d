//! Texts as pieces of paths and queries.

/// A text as one piece of a path or query.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A path with what is asked.
pub(super) fn with(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .filter_map(|(name, value)| value.map(|v| format!("{name}={}", escaped(v))))
        .collect();
    if pairs.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", pairs.join("&"))
    }
}
