//! A cluster of real processes with failures: gateways that are killed, stopped or cut off, and NATS
//! servers that go. Members on all gateways talk meanwhile. Needs root and nats-server.
//!
//! `SIGNALBOX_SOAK` sets the number of runs of each failure at full length, for each transport. They
//! run one after the other, and print a table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's panic is its answer"
)]

#[cfg(target_os = "linux")]
mod failures;
#[cfg(target_os = "linux")]
mod isolation;
#[cfg(target_os = "linux")]
mod record;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod scene;
#[cfg(target_os = "linux")]
mod short;
#[cfg(target_os = "linux")]
mod soak;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod traffic;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use signalbox_test_harness::{Requirement, run, trials};

    if let Ok(runs) = std::env::var("SIGNALBOX_SOAK") {
        return soak::run(runs.parse().expect("SIGNALBOX_SOAK is a number of runs"));
    }
    let network = Requirement { name: "network", unavailable: scene::unavailable };
    let clocks = Requirement { name: "clocks", unavailable: scene::clocks_unavailable };
    let mut all = trials![clocks; short::a_gateway_is_killed_and_clocks_differ];
    all.extend(trials![
        network;
        short::a_gateway_is_killed,
        short::a_gateway_crashes,
        short::two_gateways_are_killed,
        short::a_gateway_is_cut_off_for_a_second,
        short::a_gateway_is_cut_off_for_longer_than_its_lease,
        short::a_gateway_is_cut_off_for_longer_than_the_resume_window,
        short::nats_is_restarted,
        short::nats_is_away_for_longer_than_the_resume_window,
        short::a_node_of_nats_is_killed,
        short::a_gateway_stands_still,
        short::all_gateways_are_restarted_in_turn,
        isolation::namespaces_on_one_nats_do_not_meet,
        isolation::session_ids_are_in_no_subject,
    ]);
    run(all)
}

/// Network namespaces are a feature of Linux.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    signalbox_test_harness::run(Vec::new())
}
