//! The operator API's description is a contract: it is generated from the types, committed, and any
//! difference is a decision that shows up in a review. The node serves the committed text, so that the
//! generator is built for tests alone.

use std::path::Path;

use super::openapi;
use crate::domain::admission::budget::Share;
use crate::domain::base::{AuditKind, Code};
use crate::node::context::Event;
use crate::node::context::alarms::AlarmKind;
use crate::operator::http_status;

type Checked = Result<(), Box<dyn std::error::Error>>;

#[test]
fn the_committed_description_is_the_generated_one() -> Checked {
    same("contract/operator.openapi.json", &openapi::text())
}

#[test]
fn the_committed_list_of_events_alarms_entries_and_codes_is_the_generated_one() -> Checked {
    let mut text = String::from(
        "# Events, alarms and error codes\n\nPrinted from the program by a test; \
         `UPDATE_CONTRACT=1 cargo test --locked --lib contract` writes it anew. Kinds and codes are stable: \
         new ones come, none changes its meaning.\n\n\
         ## Events\n\n`clawmesh-node events`, `/api/v1/events` and the console show them; `--kind` takes the first column.\n\n\
         | kind | recorded when |\n|---|---|\n",
    );
    for event in Event::ALL {
        text.push_str(&format!("| `{}` | {} |\n", event.kind(), event.meaning()));
    }
    text.push_str(
        "\n## Alarms\n\nThey stand until the condition has ended: in `status`, `/healthz`, `/metrics` and the console.\n\n\
         | kind | severity | stands while |\n|---|---|---|\n",
    );
    for alarm in AlarmKind::ALL {
        let (kind, severity) = (alarm.as_str(), alarm.severity().as_str());
        text.push_str(&format!(
            "| `{kind}` | {severity} | {} |\n",
            alarm.meaning()
        ));
    }
    text.push_str(
        "\n## Audit entries\n\n`clawmesh-node audit show` and `audit export` show them; each is signed and chained to the one before.\n\n\
         | kind | written when |\n|---|---|\n",
    );
    for kind in AuditKind::ALL {
        text.push_str(&format!("| `{}` | {} |\n", kind.as_str(), kind.meaning()));
    }
    text.push_str(
        "\n## Error codes\n\nThe answer of the API, of a peer and, with `--json`, of a command carries one; \
         the HTTP status is the API's.\n\n| code | HTTP | says |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        text.push_str(&format!(
            "| `{code}` | {} | {} |\n",
            http_status(*code),
            code.meaning()
        ));
    }
    same("docs/events.md", &text)
}

/// Compares a committed file with what the program prints; writes it where that is asked for.
fn same(name: &str, generated: &str) -> Checked {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(&file, generated)?;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if committed == generated {
        return Ok(());
    }
    let line = committed
        .lines()
        .zip(generated.lines())
        .position(|(a, b)| a != b);
    Err(format!(
        "{name} differs from the program, first at line {}; if the change is meant, run \
         UPDATE_CONTRACT=1 cargo test --locked --lib contract and commit the file",
        line.map_or_else(|| "the end".to_owned(), |n| (n + 1).to_string())
    )
    .into())
}

/// The console shows an alarm and a refusal in its own languages by the code; the compiler keeps its
/// other tables equal to the English one.
#[test]
fn the_console_has_words_for_every_alarm_and_every_refusal() {
    let table = include_str!("../../../../frontend/src/lib/languages/en.ts");
    // A page of events shows refusals of every kind, also those that only peers hear.
    let has = |key: &str| {
        let (plain, quoted) = (format!("\n  {key}: "), format!("\n  \"{key}\": "));
        let broken = [format!("\n  {key}:\n"), format!("\n  \"{key}\":\n")];
        let ways = [plain, quoted].into_iter().chain(broken);
        ways.into_iter().any(|way| table.contains(&way))
    };
    let alarms = AlarmKind::ALL
        .iter()
        .flat_map(|kind| ["al_", "ad_"].map(|of| format!("{of}{}", kind.as_str())));
    let refusals = Code::ALL.iter().map(|code| format!("er_{code}"));
    let shares = Share::ALL
        .iter()
        .map(|share| format!("sh_{}", share.code()));
    let missing: Vec<String> = alarms
        .chain(refusals)
        .chain(shares)
        .filter(|key| !has(key))
        .collect();
    assert!(
        missing.is_empty(),
        "frontend/src/lib/languages: no words for {missing:?}"
    );
}
