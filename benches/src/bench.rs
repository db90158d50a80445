//! A run of the benchmark: what scenarios need, and its interruption.

use std::time::Duration;

use signalbox_loadgen::target::gateway::Launcher;
use tokio::sync::watch;

/// Time for which a failed measurement waits to learn of an interruption: Ctrl-C reaches the
/// gateways too, which may end before the benchmark learns of it.
const INTERRUPT_DELAY: Duration = Duration::from_millis(200);

/// The run.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) launcher: Launcher,
    interrupted: watch::Sender<bool>,
}

impl Bench {
    /// A run with gateways of this launcher.
    pub(crate) fn new(launcher: Launcher) -> Self {
        Self { launcher, interrupted: watch::Sender::new(false) }
    }

    /// Ends the current measurement; no other is begun.
    pub(crate) fn interrupt(&self) {
        self.interrupted.send_replace(true);
    }

    /// Whether the run was interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// The result of a measurement; `None` if it is interrupted first.
    pub(crate) async fn unless_interrupted<T>(
        &self,
        measurement: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        let mut interrupted = self.interrupted.subscribe();
        let result = tokio::select! {
            biased;
            _ = interrupted.wait_for(|it| *it) => return Ok(None),
            result = measurement => result,
        };
        if result.is_err() {
            let interruption = interrupted.wait_for(|it| *it);
            if tokio::time::timeout(INTERRUPT_DELAY, interruption).await.is_ok() {
                return Ok(None);
            }
        }
        result.map(Some)
    }
}
