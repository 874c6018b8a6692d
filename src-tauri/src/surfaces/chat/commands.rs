//! Which texts are commands.

use crate::domain::gate::ChannelKind;

/// The command of a message in small letters, without its slash, and what follows it; `None` for a question or a wish. Left out
/// are the bot's name that some clients put after a command, and what a hurried thumb does: `/Stop!` is `/stop`. In Slack,
/// whose own commands begin with a slash, a command is a word, with or without one.
pub(super) fn command(kind: ChannelKind, text: &str) -> Option<(String, &str)> {
    let text = match kind {
        ChannelKind::Slack => bare(text),
        ChannelKind::Telegram => text,
    };
    let (first, rest) = text
        .split_once(char::is_whitespace)
        .map_or((text, ""), |(command, rest)| (command, rest.trim()));
    let (slash, word) = match first.strip_prefix('/') {
        Some(word) => (true, word),
        None => (false, first),
    };
    let word = word.split('@').next().unwrap_or_default();
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    let word = word.to_lowercase();
    let is_one = slash || kind == ChannelKind::Slack && is_bare(&word, rest);
    is_one.then_some((word, rest))
}

/// A text without what stands before its first word: marks of bold, code or strike, what has no width, and the mention of the app.
fn bare(text: &str) -> &str {
    let marks = |c: char| c.is_whitespace() || "*_~`\u{200b}\u{200c}\u{200d}\u{feff}".contains(c);
    let text = text.trim_start_matches(marks);
    let after = text
        .strip_prefix("<@")
        .and_then(|rest| rest.split_once('>'))
        .map(|(_, after)| after);
    after.unwrap_or(text).trim_start_matches(marks)
}

/// Whether a word without a slash, with what follows it, is a command and no sentence. A stop always is.
fn is_bare(word: &str, rest: &str) -> bool {
    match word {
        "stop" | "approve" | "reject" => true,
        "status" | "proposals" | "help" => rest.is_empty(),
        "alerts" => matches!(rest, "" | "on" | "off"),
        "world" => rest.split_whitespace().count() <= 2,
        "start" | "enroll" => is_code(rest),
        _ => false,
    }
}

/// Whether a text is a code as `enroll` prints it.
fn is_code(text: &str) -> bool {
    let part = |part: &str| part.len() == 5 && part.bytes().all(|b| b.is_ascii_alphanumeric());
    text.split_once('-')
        .is_some_and(|(first, last)| part(first) && part(last))
}

/// The code in `/start CODE` or `/enroll CODE`; in Slack also one alone.
pub(super) fn code_in(kind: ChannelKind, text: &str) -> Option<&str> {
    if kind == ChannelKind::Slack && is_code(text) {
        return Some(text);
    }
    let (command, code) = command(kind, text)?;
    (matches!(command.as_str(), "start" | "enroll") && !code.is_empty()).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_command_and_in_slack_a_word_alone_does() {
        use ChannelKind::{Slack, Telegram};
        for (kind, text, wanted) in [
            (Telegram, "/status", Some(("status", ""))),
            (Telegram, "/Stop! fire", Some(("stop", "fire"))),
            (Telegram, "/world@bot moist", Some(("world", "moist"))),
            (Telegram, "/frobnicate", Some(("frobnicate", ""))),
            (Telegram, "stop", None),
            (Telegram, "status", None),
            (Slack, "/status", Some(("status", ""))),
            (Slack, "Status?", Some(("status", ""))),
            (Slack, "STOP!!!", Some(("stop", ""))),
            (Slack, "*stop*", Some(("stop", ""))),
            (Slack, "`stop`", Some(("stop", ""))),
            (Slack, "\u{200b}stop now", Some(("stop", "now"))),
            (Slack, "<@U0BOT> *Stop*", Some(("stop", ""))),
            (Slack, "<@U0BOT", None),
            (
                Slack,
                "stop the pump in bed 3",
                Some(("stop", "the pump in bed 3")),
            ),
            (Slack, "stopping is good", None),
            (Slack, "status of the pump", None),
            (Slack, "world bed 3", Some(("world", "bed 3"))),
            (Slack, "world peace is near", None),
            (Slack, "alerts off", Some(("alerts", "off"))),
            (Slack, "alerts are too many", None),
            (Slack, "approve", Some(("approve", ""))),
            (
                Slack,
                "reject ab12 too wet",
                Some(("reject", "ab12 too wet")),
            ),
            (Slack, "start ABCDE-FGHJK", Some(("start", "ABCDE-FGHJK"))),
            (Slack, "start irrigation", None),
            (Slack, "start bed-3", None),
            (Slack, "", None),
        ] {
            let found = command(kind, text);
            let found = found.as_ref().map(|(word, rest)| (word.as_str(), *rest));
            assert_eq!(found, wanted, "{kind} {text:?}");
        }
        assert_eq!(code_in(Slack, "ABCDE-FGHJK"), Some("ABCDE-FGHJK"));
        assert_eq!(code_in(Telegram, "ABCDE-FGHJK"), None);
        assert_eq!(code_in(Telegram, "/start ABCDEFGHJK"), Some("ABCDEFGHJK"));
        assert_eq!(code_in(Slack, "enroll ABCDE-FGHJK"), Some("ABCDE-FGHJK"));
        assert_eq!(code_in(Slack, "start"), None);
    }
}
