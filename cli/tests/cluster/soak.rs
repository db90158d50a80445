//! The failures at full length, one after the other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Duration,
};

use signalbox_tests::TransportMode;

use crate::{
    failures::{Failure, WINDOW},
    report::HEADING,
};

const FAILURES: [Failure; 15] = [
    Failure::GatewayKilled,
    Failure::GatewayCrashed,
    Failure::GatewaysKilled,
    Failure::GatewayKilledClocksApart,
    Failure::CablePulled { time: Duration::from_secs(1), window: WINDOW },
    Failure::CablePulled { time: Duration::from_secs(10), window: WINDOW },
    Failure::CablePulled { time: Duration::from_secs(10), window: Duration::from_secs(2) },
    Failure::CablePulled { time: Duration::from_secs(60), window: WINDOW },
    Failure::NatsRestarted { time: Duration::from_secs(1), window: WINDOW },
    Failure::NatsRestarted { time: Duration::from_secs(10), window: WINDOW },
    Failure::NatsRestarted { time: Duration::from_secs(10), window: Duration::from_secs(2) },
    Failure::NatsNodeKilled,
    Failure::GatewayStopped(Duration::from_secs(1)),
    Failure::GatewayStopped(Duration::from_secs(5)),
    Failure::RollingRestart,
];

const TRANSPORTS: [TransportMode; 3] =
    [TransportMode::Quic, TransportMode::WebTransport, TransportMode::WebSocketPostcard];

const MEMBERS: usize = 30;

/// Pause between two signals of a member.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs each failure several times over each transport, and prints the results.
pub(crate) fn run(runs: usize) -> ExitCode {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("{HEADING}");
    let mut failed = false;
    for failure in FAILURES.into_iter().filter(|it| it.to_string().contains(&only)) {
        for transport in TRANSPORTS {
            for _ in 0..runs {
                let run = || failure.run(&[transport], MEMBERS, PAUSE);
                match catch_unwind(AssertUnwindSafe(run)) {
                    Ok(row) => {
                        println!("{}", row.text);
                        failed |= !row.faults.is_empty();
                        eprint!("{}", row.faults.join("\n"));
                    }
                    Err(_) => {
                        println!("| {failure} | {transport:?} | failed |");
                        failed = true;
                    }
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
