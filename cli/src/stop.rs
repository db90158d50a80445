//! The signals that ask a client command to stop, so that it can leave its session first.

use std::task::Poll;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT (ctrl-c), SIGTERM and SIGHUP (the terminal is gone). One that the process was started
/// with as ignored stays ignored: that is how `nohup` and shells protect what runs in the
/// background.
pub(crate) struct Stop {
    signals: Vec<Signal>,
}

impl Stop {
    /// From now on these signals no longer end the process.
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
            let mut arrived = false;
            for signal in &mut self.signals {
                // Each is polled, so that each wakes this task.
                arrived |= signal.poll_recv(context).is_ready();
            }
            if arrived { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The set of ignored signals: bit `n - 1` is signal `n`. Empty where the system does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
