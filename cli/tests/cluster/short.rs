//! The failures in the short form that runs with all tests: on two transports at once.

use std::time::Duration;

use signalbox_tests::TransportMode;

use crate::failures::{Failure, WINDOW};

const TRANSPORTS: [TransportMode; 2] = [TransportMode::Quic, TransportMode::WebSocketPostcard];

/// Pause between two signals of a member.
const PAUSE: Duration = Duration::from_millis(60);

fn run(failure: Failure, members: usize) {
    let row = failure.run(&TRANSPORTS, members, PAUSE);
    assert!(row.faults.is_empty(), "{}\n{}", row.text, row.faults.join("\n"));
}

pub(crate) fn a_gateway_is_killed() {
    run(Failure::GatewayKilled, 30);
}

pub(crate) fn a_gateway_crashes() {
    run(Failure::GatewayCrashed, 12);
}

pub(crate) fn two_gateways_are_killed() {
    run(Failure::GatewaysKilled, 12);
}

pub(crate) fn a_gateway_is_killed_and_clocks_differ() {
    run(Failure::GatewayKilledClocksApart, 12);
}

pub(crate) fn a_gateway_is_cut_off_for_a_second() {
    run(Failure::CablePulled { time: Duration::from_secs(1), window: WINDOW }, 12);
}

pub(crate) fn a_gateway_is_cut_off_for_longer_than_its_lease() {
    run(Failure::CablePulled { time: Duration::from_secs(6), window: WINDOW }, 12);
}

pub(crate) fn a_gateway_is_cut_off_for_longer_than_the_resume_window() {
    let (time, window) = (Duration::from_secs(8), Duration::from_secs(2));
    run(Failure::CablePulled { time, window }, 12);
}

pub(crate) fn nats_is_restarted() {
    run(Failure::NatsRestarted { time: Duration::from_secs(1), window: WINDOW }, 12);
}

pub(crate) fn nats_is_away_for_longer_than_the_resume_window() {
    let (time, window) = (Duration::from_secs(6), Duration::from_secs(2));
    run(Failure::NatsRestarted { time, window }, 12);
}

pub(crate) fn a_node_of_nats_is_killed() {
    run(Failure::NatsNodeKilled, 12);
}

pub(crate) fn a_gateway_stands_still() {
    run(Failure::GatewayStopped(Duration::from_secs(5)), 12);
}

pub(crate) fn all_gateways_are_restarted_in_turn() {
    run(Failure::RollingRestart, 12);
}
