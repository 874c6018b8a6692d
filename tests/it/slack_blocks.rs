//! What a Slack server takes of a message, and what it refuses.

use std::collections::BTreeSet;

use serde_json::Value;

/// Whether a text that Slack reads as markup has none in it.
pub fn is_escaped(text: &str) -> bool {
    let entities = ["&amp;", "&lt;", "&gt;"];
    let mut parts = text.match_indices('&');
    !text.contains(['<', '>'])
        && parts.all(|(at, _)| entities.iter().any(|e| text[at..].starts_with(e)))
}

/// The text and buttons of a message, as far as a real server takes them.
pub fn checked(asked: &Value, known: &[&str]) -> Result<(String, Vec<(String, String)>), String> {
    let fields = asked.as_object().unwrap();
    if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("unknown field {name}"));
    }
    let shown = asked["text"].as_str().unwrap_or_default();
    if shown.trim().is_empty() || shown.chars().count() > 40_000 || !is_escaped(shown) {
        return Err(format!(
            "the text is empty, too long or not escaped: {shown}"
        ));
    }
    let blocks = asked["blocks"].as_array().ok_or("no blocks")?;
    if blocks.len() > 50 {
        return Err("too many blocks".into());
    }
    let (mut text, mut buttons, mut names) = (String::new(), Vec::new(), BTreeSet::new());
    for block in blocks {
        match block["type"].as_str() {
            Some("rich_text") => {
                let element = &block["elements"][0]["elements"][0];
                let part = element["text"]
                    .as_str()
                    .filter(|t| !t.is_empty())
                    .ok_or("no text")?;
                if element["type"] != "text" || part.chars().count() > 4_000 {
                    return Err("invalid_blocks".into());
                }
                text.push_str(part);
            }
            Some("actions") => {
                let elements = block["elements"].as_array().ok_or("no elements")?;
                if elements.is_empty() || elements.len() > 25 {
                    return Err("invalid_blocks: elements".into());
                }
                for one in elements {
                    let (shown, data) = (one["text"]["text"].as_str(), one["value"].as_str());
                    let (Some(shown), Some(data)) = (shown, data) else {
                        return Err("a button without text or value".into());
                    };
                    let plain = one["type"] == "button" && one["text"]["type"] == "plain_text";
                    let fits = shown.chars().count() <= 75 && data.len() <= 2_000;
                    if !plain || !fits || !names.insert(one["action_id"].to_string()) {
                        return Err(format!("invalid_blocks: {one}"));
                    }
                    buttons.push((shown.to_owned(), data.to_owned()));
                }
            }
            _ => return Err(format!("invalid_blocks: {block}")),
        }
    }
    Ok((text, buttons))
}
