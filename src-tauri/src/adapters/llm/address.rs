//! How a provider is spoken to, and where it is unless the operator gives another URL.

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// As OpenAI's `/chat/completions`, which most servers offer.
    OpenAi,
    /// As Anthropic's `/v1/messages`.
    Anthropic,
}

/// The providers known by name: how they are spoken to, where they are, and the variables that usually hold their key.
const KNOWN: [(&str, Speech, &str, &[&str]); 9] = [
    (
        "openai",
        Speech::OpenAi,
        "https://api.openai.com/v1",
        &["OPENAI_API_KEY"],
    ),
    (
        "anthropic",
        Speech::Anthropic,
        "https://api.anthropic.com/v1",
        &["ANTHROPIC_API_KEY"],
    ),
    (
        "google",
        Speech::OpenAi,
        "https://generativelanguage.googleapis.com/v1beta/openai",
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    ),
    (
        "openrouter",
        Speech::OpenAi,
        "https://openrouter.ai/api/v1",
        &["OPENROUTER_API_KEY"],
    ),
    ("ollama", Speech::OpenAi, "http://127.0.0.1:11434/v1", &[]),
    ("lm-studio", Speech::OpenAi, "http://127.0.0.1:1234/v1", &[]),
    ("lmstudio", Speech::OpenAi, "http://127.0.0.1:1234/v1", &[]),
    (
        "llama-server",
        Speech::OpenAi,
        "http://127.0.0.1:8080/v1",
        &[],
    ),
    (
        "litellm",
        Speech::OpenAi,
        "http://127.0.0.1:4000/v1",
        &["LITELLM_API_KEY"],
    ),
];

/// How a provider is spoken to; as OpenAI where it is not known.
pub fn speech_of(provider: &str) -> Speech {
    known(provider).map_or(Speech::OpenAi, |(speech, ..)| speech)
}

/// Where a provider that is known by name is.
pub fn url_of(provider: &str) -> Option<&'static str> {
    known(provider).map(|(_, url, _)| url)
}

/// The variables that hold the key of a provider by custom. They are for its own place alone: a URL that the operator
/// gives is not sent a key that was meant for another server.
pub fn variables_of(provider: &str) -> &'static [&'static str] {
    known(provider).map_or(&[], |(.., variables)| variables)
}

/// Every provider known by name.
pub fn providers() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, ..)| *name)
}

fn known(provider: &str) -> Option<(Speech, &'static str, &'static [&'static str])> {
    let found = KNOWN.iter().find(|(name, ..)| *name == provider)?;
    Some((found.1, found.2, found.3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapters::http_client::Address;

    #[test]
    fn every_known_provider_has_an_address() {
        for provider in providers() {
            Address::parse(url_of(provider).unwrap()).unwrap();
        }
        assert_eq!(speech_of("anthropic"), Speech::Anthropic);
        assert_eq!(speech_of("something-else"), Speech::OpenAi);
    }
}
