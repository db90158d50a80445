//! Clients and gateway over a network that fails: an interface goes down, a protocol is blocked,
//! clients move to another address. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

#[cfg(target_os = "linux")]
mod detached;
#[cfg(target_os = "linux")]
mod failures;
#[cfg(target_os = "linux")]
mod moving;
#[cfg(target_os = "linux")]
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use signalbox_netem::namespace;
    use signalbox_test_harness::{Requirement, run, trials};

    let network = Requirement { name: "network", unavailable: namespace::unavailable };
    run(trials![
        network;
        failures::nothing_is_lost_over_quic_when_the_interface_goes_down,
        failures::nothing_is_lost_over_websocket_when_the_interface_goes_down,
        failures::nothing_is_lost_when_the_transport_has_to_change,
        failures::a_connection_that_is_not_resumed_in_time_is_destroyed_once,
        detached::connections_of_a_long_failure_are_destroyed_once_and_rejoin,
        moving::nothing_is_lost_when_clients_change_their_address,
    ])
}

/// Network namespaces are a feature of Linux.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    signalbox_test_harness::run(Vec::new())
}
