//! The output of a command that prints a reading.

use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::command::Group;
use crate::adapters::devices::exec::{LAST_WORDS_MS, SAID_MAX_CHARS, listen};
use crate::domain::base::limits::EXEC_READING_MS;
use crate::domain::base::text::one_line;

/// Becomes the command, beside a watcher that ends the process group where the pipe on its input ends: so also when this
/// process is killed.
const WATCHED: &str = r#"
exec 3<&0 </dev/null
(read -r x <&3; kill -s KILL -- "-$$") >/dev/null 2>&1 &
exec 3<&-
unset PWD OLDPWD SHLVL
exec "$@"
"#;

/// The output of a command, at most so many bytes of it. Nothing that it began goes on after it.
pub(in crate::adapters::devices::exec) async fn run(
    argv: &[String],
    most: usize,
) -> Result<Vec<u8>, String> {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", WATCHED, "reading"])
        .args(argv)
        .env_clear()
        .envs([
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
        ])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    // Held until the group was ended.
    let _alive = child.stdin.take();
    let (output, mut said) = (child.stdout.take(), Vec::new());
    let mut group = Group::of(child).map_err(|e| e.to_string())?;
    let ended = {
        let mut listening = pin!(listen(output, &mut said, most).fuse());
        let ended = {
            let mut watching = pin!(group.watch(Duration::from_millis(EXEC_READING_MS)));
            tokio::select! {
                biased;
                ended = &mut watching => ended,
                () = &mut listening => watching.await,
            }
        };
        // It is not collected yet, so its group number is not reused.
        group.kill();
        if !listening.is_terminated() {
            // Processes that left the group may keep the pipe open.
            let _ = timeout(Duration::from_millis(LAST_WORDS_MS), listening).await;
        }
        ended
    };
    match ended.map_err(|e| e.to_string())? {
        None => Err(format!(
            "did not end within {EXEC_READING_MS} ms and was killed"
        )),
        Some(ended) => match ended.complaint() {
            Some(complaint) => Err(one_line(&complaint, SAID_MAX_CHARS)),
            None => Ok(said),
        },
    }
}
