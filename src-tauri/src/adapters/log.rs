//! The log of the process: events of `tracing` and panics, as lines that go to stderr by a thread of
//! their own. Nothing that logs ever waits for stderr, and nothing that happens to stderr (a reader
//! that is gone, a full disk) reaches the one who logs.
//!
//! Every message and field is cut and stands on one line: part of them is what strangers say.

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{
    FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter, format,
};
use tracing_subscriber::registry::LookupSpan;

use super::lines::Lines;
use crate::domain::base::limits::{LOG_FILE_MAX_BYTES, LOG_FLUSH_MS, LOG_TEXT_MAX_CHARS};
use crate::domain::base::text::is_direction_mark;

/// Stderr of this process, or the file in its place, once logging has begun.
static STDERR: OnceLock<Lines> = OnceLock::new();

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// As text, for the journal of systemd: each line with its level in front, as sd-daemon(3) has it.
    Journal,
}

/// Begins to log what `filter` lets through; panics are logged instead of printed.
///
/// # Errors
/// A sentence about the filter, or why there can be no log.
pub fn begin(filter: &str, form: Form) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("--log {filter:?}: {e}"))?;
    let failed = |e: &dyn fmt::Display| format!("logging cannot be set up: {e}");
    let lines = stderr().map_err(|e| failed(&e))?;
    let form = match form == Form::Text && stderr_is_the_journal() {
        true => Form::Journal,
        false => form,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Pen(lines))
        .log_internal_errors(false)
        .with_ansi(false)
        .event_format(Lined(form))
        .try_init()
        .map_err(|e| failed(&e))?;
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let what = match (
            payload.downcast_ref::<&str>(),
            payload.downcast_ref::<String>(),
        ) {
            (Some(what), _) => what,
            (None, Some(what)) => what.as_str(),
            (None, None) => "with something that is no text",
        };
        let at = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let thread = std::thread::current();
        let trace = std::backtrace::Backtrace::capture();
        match trace.status() {
            std::backtrace::BacktraceStatus::Captured => {
                tracing::error!(thread = thread.name(), at, %trace, "panicked: {what}");
            }
            _ => tracing::error!(thread = thread.name(), at, "panicked: {what}"),
        }
    }));
    Ok(())
}

/// Has the log go into a file of at most [`LOG_FILE_MAX_BYTES`] from now on, where there is no stderr: before [`begin`].
///
/// # Errors
/// If the file cannot be made or written, or the system has no thread left.
pub fn into_file(path: &Path) -> io::Result<()> {
    let lines = Lines::to_file(path, LOG_FILE_MAX_BYTES, "log", told)?;
    STDERR.get_or_init(|| lines);
    Ok(())
}

fn told(lost: u64) {
    tracing::error!(lost, "{lost} log lines were lost before this one");
}

/// Stderr as an output that never blocks.
///
/// # Errors
/// If the system has no descriptor or thread left.
pub fn stderr() -> io::Result<Lines> {
    if let Some(lines) = STDERR.get() {
        return Ok(lines.clone());
    }
    let lines = Lines::to(io::stderr(), "log", told)?;
    Ok(STDERR.get_or_init(|| lines).clone())
}

/// Whether stderr is the socket of the journal that systemd names.
fn stderr_is_the_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    super::system::journal_of_stderr().is_some_and(|stderr| named == stderr)
}

/// The priority of syslog that says a level.
fn priority(level: tracing::Level) -> u8 {
    match level {
        tracing::Level::ERROR => 3,
        tracing::Level::WARN => 4,
        tracing::Level::INFO => 6,
        tracing::Level::DEBUG | tracing::Level::TRACE => 7,
    }
}

/// Waits a moment for the lines that are not written yet; for the end of the process.
pub fn flush() {
    if let Some(lines) = STDERR.get() {
        lines.flush(Duration::from_millis(LOG_FLUSH_MS / 2));
    }
}

/// Log lines lost since the start of the process.
pub fn lost() -> u64 {
    STDERR.get().map_or(0, Lines::lost)
}

/// Whether log lines are being lost now.
pub fn is_losing() -> bool {
    STDERR.get().is_some_and(Lines::is_losing)
}

/// Hands a formatted event to the writing thread.
struct Pen(Lines);

impl<'a> MakeWriter<'a> for Pen {
    type Writer = &'a Pen;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &Pen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event on one line.
struct Lined(Form);

/// An event as JSON.
#[derive(Serialize)]
struct Object<'a> {
    timestamp: &'a str,
    level: &'a str,
    fields: &'a Map<String, Value>,
    target: &'a str,
    /// The spans around it, outermost first; absent where there is none.
    #[serde(skip_serializing_if = "str::is_empty")]
    span: &'a str,
}

impl<S, N> FormatEvent<S, N> for Lined
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut format::Writer::new(&mut timestamp))?;
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let mut parts = Parts::default();
        event.record(&mut parts);
        let span = spans(context);
        match self.0 {
            Form::Text | Form::Journal => {
                let (message, rest) = (&parts.message, &parts.text);
                let within = if span.is_empty() { "" } else { " in " };
                if self.0 == Form::Journal {
                    write!(out, "<{}>", priority(*level))?;
                }
                writeln!(
                    out,
                    "{timestamp} {level:>5} {target}: {message}{rest}{within}{span}"
                )
            }
            Form::Json => {
                let message = std::mem::take(&mut parts.message);
                parts.fields.insert("message".to_owned(), message.into());
                let level = level.as_str();
                let object = Object {
                    timestamp: &timestamp,
                    level,
                    fields: &parts.fields,
                    target,
                    span: &span,
                };
                let json = serde_json::to_string(&object).map_err(|_| fmt::Error)?;
                writeln!(out, "{json}")
            }
        }
    }
}

/// The spans around an event, such as `task{name="peers"}:peer{device=mn4k7q}`. They hold what this program says,
/// never what others say of themselves.
fn spans<S, N>(context: &FmtContext<'_, S, N>) -> String
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut text = String::new();
    for span in context
        .event_scope()
        .into_iter()
        .flat_map(|s| s.from_root())
    {
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<N>>();
        let fields = fields.map_or("", |fields| fields.fields.as_str());
        let between = if text.is_empty() { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = match fields {
            "" => write!(text, "{between}{}", span.name()),
            fields => write!(text, "{between}{}{{{fields}}}", span.name()),
        };
    }
    text
}

/// The message and the fields of an event, cut.
#[derive(Default)]
struct Parts {
    message: String,
    /// ` name=value` for each field.
    text: String,
    fields: Map<String, Value>,
}

impl Parts {
    fn keep(&mut self, field: &Field, value: Value) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, " {}={value}", field.name());
        self.fields.insert(field.name().to_owned(), value);
    }

    fn keep_text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut cut = Cut::default();
        let _ = cut.write_fmt(value);
        if field.name() == "message" {
            self.message = cut.kept;
            return;
        }
        let _ = write!(self.text, " {}={}", field.name(), cut.kept);
        self.fields.insert(field.name().to_owned(), cut.kept.into());
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep_text(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }
}

/// Takes the beginning of a text, on one line and without what moves a terminal's cursor.
#[derive(Default)]
struct Cut {
    kept: String,
    chars: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match self.chars.cmp(&LOG_TEXT_MAX_CHARS) {
                std::cmp::Ordering::Greater => return Err(fmt::Error),
                std::cmp::Ordering::Equal => self.kept.push('…'),
                std::cmp::Ordering::Less if c.is_control() || is_direction_mark(c) => {
                    self.kept.extend(c.escape_default());
                }
                std::cmp::Ordering::Less => self.kept.push(c),
            }
            self.chars += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<String>>);

    impl io::Write for Kept {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let text = std::str::from_utf8(line).unwrap();
            self.0.lock().unwrap().push_str(text);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let pen = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || pen.clone())
            .with_ansi(false)
            .event_format(Lined(form))
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = kept.0.lock().unwrap();
        text.clone()
    }

    #[test]
    fn what_strangers_say_is_cut_and_stays_on_its_line() {
        let name = format!(
            "\u{1b}[2Jevil\n2026-01-01 ERROR forged\u{202e}{}",
            "x".repeat(60_000)
        );
        for form in [Form::Text, Form::Json] {
            let line = logged(form, || tracing::warn!(name, "from {name}"));
            assert!(line.len() < 3 * LOG_TEXT_MAX_CHARS, "{} bytes", line.len());
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line}");
        }
    }

    #[test]
    fn both_forms_carry_the_same() {
        let log = || tracing::info!(port = 7, why = "gone", "started");
        let text = logged(Form::Text, log);
        assert!(text.contains("  INFO clawmesh::adapters::log::tests: started port=7 why=gone\n"));
        let json: Value = serde_json::from_str(&logged(Form::Json, log)).unwrap();
        let fields = serde_json::json!({"message": "started", "port": 7, "why": "gone"});
        assert_eq!((&json["level"], &json["fields"]), (&"INFO".into(), &fields));
        assert_eq!(json["target"], "clawmesh::adapters::log::tests");
        assert_eq!(json.get("span"), None);
    }

    #[test]
    fn a_line_says_in_which_spans_it_was_written() {
        let log = || {
            let task = tracing::info_span!("task", name = "peers").entered();
            let peer = tracing::info_span!("peer", device = %"mn4k7q").entered();
            tracing::info!("connected");
            drop((peer, task));
        };
        let spans = "task{name=\"peers\"}:peer{device=mn4k7q}";
        let text = logged(Form::Text, log);
        assert!(
            text.ends_with(&format!(": connected in {spans}\n")),
            "{text}"
        );
        let json: Value = serde_json::from_str(&logged(Form::Json, log)).unwrap();
        assert_eq!(json["span"], spans);
    }

    #[test]
    fn a_filter_picks_what_happens_in_one_span() {
        let kept = Kept::default();
        let pen = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new("warn,[peer{device=mn4k7q}]=debug").unwrap())
            .with_writer(move || pen.clone())
            .event_format(Lined(Form::Text))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for device in ["mn4k7q", "other0"] {
                let peer = tracing::info_span!("peer", device = %device).entered();
                tracing::debug!("heard from {device}");
                drop(peer);
            }
            tracing::debug!("elsewhere");
        });
        let text = kept.0.lock().unwrap().clone();
        assert!(text.contains("heard from mn4k7q"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
