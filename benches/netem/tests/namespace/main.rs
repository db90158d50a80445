//! The namespace back end with real sockets. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

#[cfg(target_os = "linux")]
mod network;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use signalbox_netem::namespace;
    use signalbox_test_harness::{Requirement, run, trials};

    let requirement = Requirement { name: "network", unavailable: namespace::unavailable };
    run(trials![
        requirement;
        network::datagrams_take_the_delay_of_their_direction,
        network::a_seed_reproduces_the_lost_datagrams_and_jitter_keeps_the_order,
        network::lost_packets_are_counted_and_logged,
        network::a_cut_ends_with_its_time,
        network::tcp_gets_through_bursts_of_loss_reordering_and_a_small_queue,
        network::a_thread_enters_and_leaves_hosts,
        network::an_unplugged_interface_comes_back,
        network::a_client_moves_to_another_address,
    ])
}

/// Network namespaces are a feature of Linux.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    signalbox_test_harness::run(Vec::new())
}
