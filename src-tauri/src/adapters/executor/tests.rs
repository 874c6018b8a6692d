//! What every driver must do, and what each one does with bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::exec::{ExecConfig, ExecDriver, ExecOperation};
use super::recorder::{Mood, Recorder};
use super::sim::SimDriver;
use super::*;
use crate::adapters::sim_kit::SimKit;
use crate::domain::capability::Params;

fn script(dir: &Path, name: &str, body: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn exec(dir: &Path, open: &str, timeout_ms: u64) -> ExecDriver {
    let operation = |name: &str, body: &str| ExecOperation {
        name: name.to_owned(),
        argv: vec![script(dir, name, body), "fixed".to_owned()],
    };
    ExecDriver::new(ExecConfig {
        capability: "actuator:pump:main".parse().unwrap(),
        safe: "close".to_owned(),
        timeout_ms,
        operations: vec![operation("open", open), operation("close", "exit 0")],
    })
    .unwrap()
}

fn action(driver: &dyn Driver, operation: &str) -> Action {
    let params = Params::from([("durationSec".to_owned(), 5.into())]);
    Action::new(driver.capability().clone(), operation, params).unwrap()
}

async fn conforms(driver: &dyn Driver) {
    driver
        .apply(&action(driver, "open"), "job-1")
        .await
        .unwrap();
    let open = driver.state().await.unwrap();
    driver.make_safe("job-1").await.unwrap();
    driver.make_safe("job-1").await.unwrap();
    assert_ne!(driver.state().await.unwrap(), open);
    let error = driver
        .apply(&action(driver, "explode"), "job-2")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("open"),
        "names what there is: {error}"
    );
}

#[tokio::test]
async fn every_driver_moves_reads_back_and_makes_safe_twice() {
    let temp = tempfile::tempdir().unwrap();
    let kit = Arc::new(SimKit::real(&temp.path().join("sim")).unwrap());
    conforms(&SimDriver::all(&kit)[0]).await;
    conforms(&exec(temp.path(), "exit 0", 5_000)).await;
    conforms(&Recorder::new("actuator:x:y".parse().unwrap(), Mood::Works)).await;
}

#[tokio::test]
async fn exec_passes_parameters_by_environment_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let body = format!("env > {}; echo \"$@\" >> {}", out.display(), out.display());
    let driver = exec(temp.path(), &body, 5_000);
    driver
        .apply(&action(&driver, "open"), "job-7")
        .await
        .unwrap();
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
        .apply(&action(&driver, "open"), "j")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no water") && error.contains('3'), "{error}");
    let driver = exec(temp.path(), "exec sleep 600", 200);
    assert!(matches!(
        driver.apply(&action(&driver, "open"), "j").await,
        Err(DriverError::TooSlow { .. })
    ));
}

#[test]
fn exec_refuses_what_it_could_not_run() {
    let config = |safe: &str, program: &str| ExecConfig {
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
