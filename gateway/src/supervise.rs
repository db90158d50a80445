//! Supervision of tasks: what happens when one panics, or ends although it should not.
//!
//! A task that panics takes nobody with it, so by itself it ends unnoticed. Each task is therefore one of these:
//!
//! - A client's task ends alone; the panic is logged (`isolated`).
//! - A background task that can begin again does so after a pause ([`keep_running`]).
//! - If the gateway cannot serve without it, the gateway ends in good order, with an error (`Failure`).

use std::{
    any::Any,
    fmt::Display,
    future::Future,
    io,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use signalbox_quic::{Supervise, Task};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Pauses before a task is started again: doubled from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// After which time work that blocks is reported as slow.
const SLOW: Duration = Duration::from_secs(30);

/// Runs a background task until it ends by itself. If it panics, that is logged, and it is started
/// again after a pause.
pub async fn keep_running<T, F: Future<Output = T>>(
    task: &'static str,
    mut start: impl FnMut() -> F,
) -> T {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let cause = match catch(async { start().await }).await {
            Ok(result) => return result,
            Err(cause) => cause,
        };
        if started.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        error!(task, cause, restart_in = ?pause, "background task panicked");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Does something that blocks, such as reading files, on a thread for that. If it panics, so does
/// this, for [`keep_running`] to notice; if it takes long, as on a dead network disk, that is logged.
pub async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let mut work = tokio::task::spawn_blocking(work);
    let result = match timeout(SLOW, &mut work).await {
        Ok(result) => result,
        Err(_) => {
            warn!(work = name, after = ?SLOW, "work on files has not ended; still waiting");
            work.await
        }
    };
    match result {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(cause) => resume_unwind(cause),
            // The runtime is being shut down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A client's task, whose panic is logged and ends it alone.
pub(crate) fn isolated(
    client: impl Display,
    task: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    catch(task).map(move |result| {
        if let Err(cause) = result {
            error!(%client, cause, "client task panicked; its link has ended");
        }
    })
}

/// Why a running gateway ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing is received over QUIC any more. The log has the system's error, or our panic.
    #[error("the QUIC endpoint has failed; the log says why: start the gateway again")]
    Quic,
    /// No connection can be accepted any more.
    #[error("the TCP listener has failed: start the gateway again")]
    Tcp(#[source] io::Error),
}

/// Ends the gateway when a part of it has failed that it cannot do without. Its clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<State>);

#[derive(Debug, Default)]
struct State {
    error: Mutex<Option<RunError>>,
    reported: CancellationToken,
}

impl Failure {
    /// Reports a part that has failed. Only the first report counts.
    pub(crate) fn report(&self, failed: RunError) {
        let source = std::error::Error::source(&failed).map(tracing::field::display);
        error!(error = %failed, source, "going down: the gateway cannot serve any more");
        self.0.error.lock().get_or_insert(failed);
        self.0.reported.cancel();
    }

    /// Waits until something has failed.
    pub(crate) async fn reported(&self) {
        self.0.reported.cancelled().await;
    }

    /// Takes the first report, if there is one.
    pub(crate) fn take(&self) -> Option<RunError> {
        self.0.error.lock().take()
    }
}

impl Supervise for Failure {
    /// Its panic is a failure of QUIC as a whole.
    fn endpoint_task(&self, task: Task) -> Task {
        let failure = self.clone();
        Box::pin(async move {
            let mut task = std::pin::pin!(catch(task));
            // The rest of the task is dropped later, and may panic again.
            if task.as_mut().await.is_err() {
                failure.report(RunError::Quic);
            }
        })
    }

    fn connection_task(&self, task: Task) -> Task {
        Box::pin(isolated("QUIC connection after its link", task))
    }
}

/// The result of a task, or the message of its panic.
pub(crate) fn catch<T>(task: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    AssertUnwindSafe(task).catch_unwind().map(|result| result.map_err(text))
}

fn text(cause: Box<dyn Any + Send>) -> String {
    match cause.downcast::<String>() {
        Ok(text) => *text,
        Err(cause) => cause.downcast_ref::<&str>().unwrap_or(&"unknown").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_after_longer_and_longer_pauses() {
        let (starts, began) = (AtomicU32::new(0), Instant::now());
        let task = || async {
            let start = starts.fetch_add(1, Relaxed);
            assert!(start == 4, "a fault at start {start}");
            began.elapsed()
        };
        let elapsed = keep_running("test", task).await;
        assert_eq!(starts.into_inner(), 5);
        assert_eq!(elapsed.as_millis(), 100 + 200 + 400 + 800);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_before_the_task_begins_is_caught_too() {
        let mut starts = 0;
        let task = || {
            starts += 1;
            assert!(starts > 1, "a fault");
            std::future::ready(())
        };
        keep_running("test", task).await;
        assert_eq!(starts, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_on_another_thread_is_that_of_the_task() {
        let starts = Arc::new(AtomicU32::new(0));
        let task = || {
            let starts = starts.clone();
            blocking("test", move || assert!(starts.fetch_add(1, Relaxed) == 1, "a fault"))
        };
        keep_running("test", task).await;
        assert_eq!(starts.load(Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_slow_is_waited_for() {
        let (go_on, told) = std::sync::mpsc::sync_channel(1);
        let work = tokio::spawn(blocking("test", move || told.recv().unwrap()));
        tokio::task::yield_now().await;
        tokio::time::advance(2 * SLOW).await;
        tokio::task::yield_now().await;
        assert!(!work.is_finished());
        go_on.send(5).unwrap();
        assert_eq!(work.await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_client_that_panics_ends_alone() {
        isolated("client", async { panic!("a fault") }).await;
        isolated("client", async {}).await;
    }

    #[tokio::test]
    async fn the_first_failure_ends_the_gateway() {
        let failure = Failure::default();
        failure.endpoint_task(Box::pin(async {})).await;
        assert!(failure.take().is_none(), "that is how it ends when it is to");
        failure.endpoint_task(Box::pin(async { panic!("a fault") })).await;
        failure.report(RunError::Tcp(io::Error::other("another")));
        failure.reported().await;
        assert!(matches!(failure.take(), Some(RunError::Quic)));
    }

    #[test]
    fn what_a_panic_says_is_known() {
        assert_eq!(text(Box::new("a fault")), "a fault");
        assert_eq!(text(Box::new("a fault".to_owned())), "a fault");
        assert_eq!(text(Box::new(5)), "unknown");
    }
}
