//! Tests of the driver's commands: limits, groups, the standby, and bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::capability::{Action, Params};
use crate::domain::gate::actuation::act_of;

fn script(dir: &Path, name: &str, body: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// An actuator with `close` as its safe state and this body of `open`.
pub(crate) fn exec(dir: &Path, open: &str, timeout_ms: u64) -> ExecDriver {
    let operation = |name: &str, body: &str| ExecOperation {
        name: name.to_owned(),
        argv: vec![script(dir, name, body), "fixed".to_owned()],
    };
    ExecDriver::new(ExecConfig {
        node: dir.to_owned(),
        capability: "actuator:pump:main".parse().unwrap(),
        safe: "close".to_owned(),
        timeout_ms,
        operations: vec![operation("open", open), operation("close", "exit 0")],
    })
    .unwrap()
}

/// An act that the gate would give.
pub(crate) fn act(driver: &dyn Actuator, operation: &str, job: &str) -> Act {
    let params = Params::from([("durationSec".to_owned(), 5.into())]);
    let action = Action::new(driver.capability().clone(), operation, params);
    act_of(action.unwrap(), job)
}

#[tokio::test]
async fn exec_passes_parameters_by_environment_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let body = format!("env > {}; echo \"$@\" >> {}", out.display(), out.display());
    let driver = exec(temp.path(), &body, 5_000);
    driver.act(act(&driver, "open", "job-7")).await.unwrap();
    let seen = fs::read_to_string(out).unwrap();
    assert!(
        seen.contains("CLAWMESH_PARAM_DURATIONSEC=5") && seen.contains("CLAWMESH_JOB=job-7"),
        "{seen}"
    );
    assert!(
        seen.ends_with("fixed\n") && !seen.contains("HOME="),
        "{seen}"
    );
}

#[tokio::test]
async fn exec_reports_failures_and_ends_what_hangs() {
    let temp = tempfile::tempdir().unwrap();
    let driver = exec(temp.path(), "echo no water >&2; exit 3", 5_000);
    let error = driver
        .act(act(&driver, "open", "j"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no water") && error.contains('3'), "{error}");
    let driver = exec(temp.path(), "exec sleep 600", 200);
    assert!(matches!(
        driver.act(act(&driver, "open", "j")).await,
        Err(DriverError::TooSlow { .. })
    ));
}

#[test]
fn exec_refuses_what_it_could_not_run() {
    let config = |safe: &str, program: &str| ExecConfig {
        node: "/a/node".into(),
        capability: "actuator:pump:main".parse().unwrap(),
        safe: safe.to_owned(),
        timeout_ms: 1_000,
        operations: vec![ExecOperation {
            name: "open".into(),
            argv: vec![program.to_owned()],
        }],
    };
    for (safe, program, word) in [
        ("open", "true", "absolute"),
        ("open", "/nonexistent/x", "no program"),
        ("close", "/bin/sh", "safe"),
    ] {
        let error = ExecDriver::new(config(safe, program))
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn exec_ends_what_a_command_started_when_its_time_is_up() {
    let temp = tempfile::tempdir().unwrap();
    let pid_file = temp.path().join("pid");
    let body = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
    let driver = exec(temp.path(), &body, 500);
    let result = driver.act(act(&driver, "open", "j")).await;
    assert!(
        matches!(result, Err(DriverError::TooSlow { .. })),
        "{result:?}"
    );
    let pid = fs::read_to_string(&pid_file).unwrap();
    let alive = || alive(pid.trim());
    let mut left = 200;
    while alive() && left > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        left -= 1;
    }
    assert!(!alive(), "process {} outlived its command", pid.trim());
}

#[tokio::test]
async fn exec_is_not_failed_by_a_talkative_command() {
    let temp = tempfile::tempdir().unwrap();
    let body = "i=0; while [ $i -lt 4000 ]; do echo 0123456789012345678901234567890123456789 >&2 || exit 9; i=$((i+1)); done";
    let driver = exec(temp.path(), body, 20_000);
    driver.act(act(&driver, "open", "j")).await.unwrap();
}

#[tokio::test]
async fn exec_does_not_wait_for_what_a_command_left_behind() {
    let temp = tempfile::tempdir().unwrap();
    let pid_file = temp.path().join("pid");
    let body = format!("sleep 30 & echo $! > {}", pid_file.display());
    let driver = exec(temp.path(), &body, 5_000);
    let result = driver.act(act(&driver, "open", "j")).await;
    let pid = fs::read_to_string(&pid_file).unwrap();
    let pid = pid
        .trim()
        .parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let _ = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL);
    result.unwrap();
}

#[tokio::test]
async fn parameters_that_cannot_be_told_apart_are_errors() {
    let temp = tempfile::tempdir().unwrap();
    let driver = exec(temp.path(), "exit 0", 5_000);
    let params = Params::from([("flow".to_owned(), 1.into()), ("FLOW".to_owned(), 9.into())]);
    let open = Action::new(driver.capability().clone(), "open", params).unwrap();
    let error = driver.act(act_of(open, "j")).await.unwrap_err().to_string();
    assert!(error.contains("flow"), "{error}");
}

/// Whether a process runs; an uncollected zombie counts as dead.
fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let state = stat
        .ok()
        .and_then(|s| s.rsplit(") ").next().map(str::to_owned));
    state.is_some_and(|rest| !rest.starts_with('Z'))
}

/// An actuator whose movements are lines of a file.
struct Written {
    dir: tempfile::TempDir,
    driver: Option<ExecDriver>,
}

impl Written {
    fn new(open: &str, close: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let enter = format!("cd {}", dir.path().display());
        let operation = |name: &str, body: &str| ExecOperation {
            name: name.to_owned(),
            argv: vec![script(dir.path(), name, &format!("{enter}\n{body}"))],
        };
        let operations = vec![operation("open", open), operation("close", close)];
        let driver = ExecDriver::new(ExecConfig {
            node: dir.path().to_owned(),
            capability: "actuator:pump:main".parse().unwrap(),
            safe: "close".to_owned(),
            timeout_ms: 20_000,
            operations,
        });
        let driver = Some(driver.unwrap());
        Self { dir, driver }
    }

    fn driver(&self) -> &ExecDriver {
        self.driver.as_ref().unwrap()
    }

    fn moves(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("moves")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The line that a script wrote into a file.
    async fn said(&self, name: &str) -> String {
        let read = || fs::read_to_string(self.dir.path().join(name)).ok();
        loop {
            match read().filter(|text| text.ends_with('\n')) {
                Some(text) => return text.trim().to_owned(),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

#[tokio::test]
async fn what_a_called_off_start_began_is_gone_before_the_actuator_counts_as_safe() {
    // Its child moves the actuator again and again, and neither hears a polite request.
    let open =
        "trap '' TERM HUP INT; (while :; do echo open >> moves; done) & echo $! > child; wait";
    let made = Written::new(open, "echo close >> moves");
    made.driver().arm("j").await.unwrap();
    let child = tokio::select! {
        _ = made.driver().act(act(made.driver(), "open", "j")) => panic!("it ended"),
        child = made.said("child") => child,
    };
    made.driver().make_safe("j").await.unwrap();
    assert_eq!(made.moves().last().unwrap(), "close");
    assert!(!alive(&child), "something of the start command is left");
}

#[tokio::test]
async fn what_a_start_command_left_running_is_ended_and_the_safe_command_has_the_last_word() {
    // It hears a request to end, and stays all the same.
    let left =
        "trap 'echo heard >> moves; : > told' TERM; echo $$ > left; while :; do sleep 0.01; done";
    let open = format!("sh -c \"{left}\" & while [ ! -s left ]; do :; done; echo open >> moves")
        .replace("$$", "\\$\\$");
    let close =
        "[ -e told ] || kill $(cat left); while [ ! -e told ]; do :; done; echo close >> moves";
    let made = Written::new(&open, close);
    made.driver().arm("j").await.unwrap();
    made.driver()
        .act(act(made.driver(), "open", "j"))
        .await
        .unwrap();
    made.driver().make_safe("j").await.unwrap();
    assert_eq!(made.moves(), ["open", "heard", "close", "close"]);
    // And what has ended by itself costs no second safe command.
    let made = Written::new("echo open >> moves", "echo close >> moves");
    made.driver().arm("j").await.unwrap();
    made.driver()
        .act(act(made.driver(), "open", "j"))
        .await
        .unwrap();
    made.driver().make_safe("j").await.unwrap();
    assert_eq!(made.moves(), ["open", "close"]);
}

#[tokio::test]
async fn a_command_that_nobody_lets_begin_does_not() {
    let made = Written::new("echo open >> moves", "echo close >> moves");
    let script = made.dir.path().join("open").display().to_string();
    let line = |job: &str| {
        let mark = "a node and its actuator".into();
        command::Line::new(
            std::slice::from_ref(&script),
            &mark,
            "open",
            job,
            Default::default(),
        )
    };
    let prepare = |job: &str| command::Group::prepare(&line(job), Arc::default());
    let mut told = prepare("told").await.unwrap().unwrap();
    told.go().await.unwrap();
    let ended = told.watch(Duration::from_secs(20)).await.unwrap().unwrap();
    assert!(ended.status.success());
    let mut left = prepare("left").await.unwrap().unwrap();
    left.leave();
    let ended = left.watch(Duration::from_secs(20)).await.unwrap().unwrap();
    assert!(!ended.status.success());
    assert_eq!(made.moves(), ["open"]);
}

#[tokio::test]
async fn the_standby_makes_safe_when_nobody_is_left_to_do_it() {
    let open = "(while :; do echo open >> moves; done) & echo $$ > group; wait";
    let mut made = Written::new(open, "echo close >> moves; echo $$ > done");
    made.driver().arm("j").await.unwrap();
    tokio::select! {
        _ = made.driver().act(act(made.driver(), "open", "j")) => panic!("it ended"),
        _ = made.said("group") => {}
    }
    drop(made.driver.take());
    made.said("done").await;
    assert_eq!(made.moves().last().unwrap(), "close");
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_a_standby_for_the_next() {
    let close = "[ -e works ] || exit 1; echo close >> moves; echo $$ > done";
    let mut made = Written::new("echo open >> moves", close);
    made.driver().arm("j").await.unwrap();
    made.driver()
        .act(act(made.driver(), "open", "j"))
        .await
        .unwrap();
    for _ in 0..3 {
        made.driver().make_safe("j").await.unwrap_err();
    }
    fs::write(made.dir.path().join("works"), "").unwrap();
    drop(made.driver.take());
    made.said("done").await;
    assert_eq!(made.moves(), ["open", "close"]);
}
