//! The output of a command that prints a reading. When its time is up, it ends with what it began and what still runs as its
//! child, by `taskkill`; what a command that has ended left behind is not found.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::adapters::devices::exec::{LAST_WORDS_MS, SAID_MAX_CHARS, listen};
use crate::adapters::system;
use crate::domain::base::limits::{EXEC_OUTPUT_MAX_BYTES, EXEC_READING_MS};
use crate::domain::base::text::one_line;

/// The output of a command, at most so many bytes of it.
pub(in crate::adapters::devices::exec) async fn run(
    argv: &[String],
    most: usize,
) -> Result<Vec<u8>, String> {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let mut command = Command::new(program);
    system::in_own_group(system::bare(&mut command))
        .args(argv.get(1..).unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let (ended, gone) = (tokio::sync::oneshot::channel::<()>(), child.id());
    let (tell, told) = ended;
    let last_words = async {
        let listening = futures_util::future::join(
            listen(output, &mut said, most),
            listen(errors, &mut complained, EXEC_OUTPUT_MAX_BYTES),
        );
        tokio::pin!(listening);
        tokio::select! {
            _ = &mut listening => {}
            _ = told => {
                // What it left running may keep the pipes open.
                let _ = timeout(Duration::from_millis(LAST_WORDS_MS), listening).await;
            }
        }
    };
    let watching = async {
        let limit = Duration::from_millis(EXEC_READING_MS);
        let status = timeout(limit, child.wait()).await;
        if status.is_err()
            && let Some(id) = gone
        {
            kill_tree(id).await;
        }
        drop(tell);
        status
    };
    let (status, ()) = futures_util::future::join(watching, last_words).await;
    match status {
        Err(_) => Err(format!(
            "did not end within {EXEC_READING_MS} ms and was killed"
        )),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(status)) if status.success() => Ok(said),
        Ok(Ok(status)) => {
            let words = String::from_utf8_lossy(&complained);
            let line = words.lines().next().unwrap_or_default();
            let between = if line.is_empty() { "" } else { ": " };
            Err(one_line(
                &format!("{status}{between}{line}"),
                SAID_MAX_CHARS,
            ))
        }
    }
}

/// Ends a process and what still runs as its child.
async fn kill_tree(id: u32) {
    let mut taskkill = Command::new(system::system_program("taskkill.exe"));
    taskkill.args(["/T", "/F", "/PID"]).arg(id.to_string());
    taskkill
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let limit = Duration::from_millis(EXEC_READING_MS);
    // One that does not answer leaves the command to `kill_on_drop`.
    let _ = timeout(limit, taskkill.status()).await;
}
