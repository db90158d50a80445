//! The command line: real processes on real ports, one module per promise.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod bench;
mod certificates;
mod chaos;
mod cluster;
mod config;
mod config_check;
mod configured;
mod connecting;
mod dev;
mod doctor;
mod drain;
mod failures;
mod fleet;
mod gateway;
mod health;
mod leaving;
mod log_ids;
mod logging;
mod ops;
mod packaging;
mod page;
mod projects;
mod reload;
mod restart;
mod service_manager;
mod signals;
mod slow_consumers;
mod state_file;
#[path = "../support/mod.rs"]
mod support;
mod tail;
mod talking_clients;
mod terminal;
mod tokens;
mod untrusted_text;
mod usage;

use self::{
    gateway::{Gateway, run, with_default_signals},
    support::{Process, TIMEOUT, signalbox, stdout},
};
