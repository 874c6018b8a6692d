//! Integration tests: real nodes on loopback, real processes, recorded gen-1 messages.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(clippy::disallowed_methods)]

mod alerts;
mod answering;
mod astray;
mod at_node;
mod attached;
mod audit_export;
mod bad_frames;
mod bad_peers;
mod behind;
mod bot_api;
mod budgets;
mod camera;
mod channels;
mod chat_services;
mod chats;
mod cites;
mod claims;
mod cli;
mod config_cli;
mod converge;
mod coordinator;
mod copies;
mod crash;
mod crash_points;
mod credentials;
mod demo;
mod device;
mod discover;
mod doctor;
mod endings;
mod entitled;
mod estop;
mod exchanged;
mod fallback;
mod files;
mod full_disk;
mod gate;
mod gateway_stub;
mod gateways;
mod gen1_actuators;
mod gen1_links;
mod gen1_listener;
mod gen1_talk;
mod ground;
mod handshake;
mod harness;
mod holders;
mod honest;
mod infer_cli;
mod injection;
mod install;
mod interlocks;
mod kinds;
mod leading;
mod led;
mod led_crash;
mod led_far;
mod lent;
mod levels;
mod lifecycle;
mod local_socket;
mod lost;
mod main_job;
mod mcp;
mod mesh_models;
mod message_kills;
mod messages;
mod modbus;
mod model_server;
mod modes;
#[path = "../../src-tauri/src/adapters/devices/mqtt/tests/mosquitto.rs"]
mod mosquitto;
mod mqtt;
mod names;
mod notify;
mod ntfy_server;
mod old_states;
mod pairing;
mod persons;
mod phone;
mod planner;
mod privacy;
mod process;
mod push;
mod push_service;

mod provenness;
mod questions;
mod questions_of_devices;
mod recorded;
mod records;
mod refused;
mod rehearse;
mod reload;
mod reload_bounds;
mod reserve;
mod restored;
mod room;
mod rotate;
mod rows;
mod schedules;
mod sensing;
mod sequences;
mod service;
mod shares;
mod slack;
mod slack_api;
mod slack_blocks;
mod standing;
mod standing_approvals;
mod standing_bounds;
mod standing_lies;
mod starting;
mod stops;
mod takeover;
mod telegram;
mod telegram_odd;
mod timetables;
mod topology;
mod tree;
mod tui;
mod twin;
mod vanished;
mod view;
mod watchdog;
mod webhook;
