//! Signals that ask a client command to leave its session and stop.

use std::task::Poll;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT (ctrl-c), SIGTERM and SIGHUP (the terminal was closed). A signal that was ignored when the
/// process started stays ignored: that is how `nohup` and shells protect background processes.
pub(crate) struct StopSignals {
    signals: Vec<Signal>,
}

impl StopSignals {
    /// Handles these signals from now on: they no longer end the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let ignored = ignored();
        let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .into_iter()
            .filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0)
            .map(signal)
            .collect::<Result<_, _>>()
            .context("cannot listen for signals")?;
        Ok(Self { signals })
    }

    /// Waits for one of the signals.
    pub(crate) async fn requested(&mut self) {
        std::future::poll_fn(|context| {
            let mut received = false;
            for signal in &mut self.signals {
                // All are polled, so that each of them wakes this task.
                received |= signal.poll_recv(context).is_ready();
            }
            if received { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The set of ignored signals: bit `n - 1` is signal `n`. Empty on systems without this file.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
