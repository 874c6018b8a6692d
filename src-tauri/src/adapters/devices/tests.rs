//! What every driver must do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use super::exec::tests::{act, exec};
use super::recorder::{Mood, Recorder};
use super::sim::{SimDriver, SimKit};
use super::*;
use crate::domain::capability::{Action, Params};
use crate::domain::gate::actuation::act_of;

async fn conforms(driver: &dyn Actuator) {
    driver.act(act(driver, "open", "job-1")).await.unwrap();
    let open = driver.state().await.unwrap();
    driver.make_safe("job-1").await.unwrap();
    driver.make_safe("job-1").await.unwrap();
    assert_ne!(driver.state().await.unwrap(), open);
    let error = driver
        .act(act(driver, "explode", "job-2"))
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
async fn the_kit_refuses_a_parameter_that_it_does_not_know() {
    let temp = tempfile::tempdir().unwrap();
    let kit = Arc::new(SimKit::real(&temp.path().join("sim")).unwrap());
    let valve = &SimDriver::all(&kit)[0];
    let params = Params::from([("percent".to_owned(), 30.into())]);
    let open = Action::new(valve.capability().clone(), "open", params).unwrap();
    let error = valve.act(act_of(open, "j")).await.unwrap_err().to_string();
    assert!(error.contains("percent"), "{error}");
    assert!(!kit.look().valve_open);
}
