//! What the command line takes and refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use clap::CommandFactory as _;

use super::*;
use crate::adapters::devices::Configured;

fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("clawmesh-node").chain(line.iter().copied()))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_key_that_begins_with_a_dash_is_a_key() {
    for key in ["-r6Kw_x", "-hello", "--x", "-V"] {
        let cli = parse(&["operator", "enroll", key, "--level", "L2", "--json"]).unwrap();
        let shown = format!("{:?}", cli.command);
        assert!(
            shown.contains(&format!("key: {key:?}")) && shown.contains("\"L2\""),
            "{shown}"
        );
        assert!(parse(&["trust", "add", "ab", "--public-key", key, "--as", "field"]).is_ok());
    }
    assert!(parse(&["operator", "enroll", "key", "--levle", "L2"]).is_err());
}

#[test]
fn the_contract_of_start_parses_word_by_word() {
    let id = "a".repeat(64);
    let peer = format!("{id}=ws://127.0.0.1:18789||local");
    let cli = parse(&[
        "start",
        "--name",
        "field-1",
        "--role",
        "field",
        "--mesh-name",
        "demo",
        "--port",
        "18790",
        "--no-discovery",
        "--mock-sensor",
        "--mock-actuator",
        "--peer",
        &peer,
    ])
    .unwrap();
    let Command::Start(start) = cli.command else {
        panic!("not start")
    };
    let config = start.to_raw().resolve(PathBuf::new()).unwrap();
    assert_eq!((config.port, config.peers.len()), (18_790, 1));
    assert!(config.devices.iter().any(Configured::is_practice) && !config.discovery);
    assert_eq!(config.mesh_name.as_deref(), Some("demo"));
}

#[test]
fn unknown_flags_and_commands_are_errors() {
    for line in [
        &["status", "--colour"][..],
        &["strat"],
        &["start", "--prot", "1"],
        &["approve"],
    ] {
        assert!(parse(line).is_err(), "{line:?}");
    }
}

#[test]
fn json_and_state_dir_stand_anywhere() {
    let cli = parse(&[
        "policy",
        "explain",
        "actuator:mock:valve-1",
        "open",
        "durationSec=10",
        "--json",
        "--state-dir",
        "/x",
        "--requester",
        "llm",
    ])
    .unwrap();
    assert!(cli.global.json);
    assert_eq!(cli.global.state_dir, Some(PathBuf::from("/x")));
    let Command::Policy(PolicyCommand::Explain { action, requester }) = cli.command else {
        panic!("not explain")
    };
    assert_eq!(requester, Asker::Llm);
    assert_eq!(
        action.params,
        vec![("durationSec".to_owned(), Value::from(10))]
    );
}

#[test]
fn the_long_help_lists_the_exit_codes() {
    assert!(
        Cli::command()
            .render_long_help()
            .to_string()
            .contains(EXIT_CODES)
    );
}
