//! Supervision of tasks: every task of the gateway is started through here, so that no panic goes
//! unnoticed.
//!
//! - The task of a client ends alone, and the panic is logged (`isolated`).
//! - A background task that can start again does so after a delay ([`keep_running`]).
//! - If the gateway cannot serve without a task, its panic drains the gateway
//!   (`Failure`, in `failure.rs`).

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

use crate::backoff::RetryDelays;

/// The first and the longest delay before a task is restarted.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Duration of blocking work after which it is logged as slow.
const SLOW: Duration = Duration::from_secs(30);

/// Runs a background task until it completes. A panic is logged, and the task is restarted after a
/// delay.
pub async fn keep_running<T, F: Future<Output = T>>(
    task: &'static str,
    mut start: impl FnMut() -> F,
) -> T {
    let mut delays = RetryDelays::new(FIRST_DELAY, LONGEST_DELAY);
    loop {
        let started = Instant::now();
        let cause = match catch(async { start().await }).await {
            Ok(result) => return result,
            Err(cause) => cause,
        };
        if started.elapsed() > LONGEST_DELAY {
            delays.reset();
        }
        let delay = delays.advance();
        error!(task, cause, restart_in = ?delay, "background task panicked");
        sleep(delay).await;
    }
}

/// Runs blocking work, such as reading files, on a thread for such work. A panic is passed on, for
/// [`keep_running`] to catch. Slow work, as on an unreachable network disk, is logged.
pub async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let mut work = tokio::task::spawn_blocking(work);
    let result = match timeout(SLOW, &mut work).await {
        Ok(result) => result,
        Err(_) => {
            warn!(work = name, after = ?SLOW, "blocking work is slow; still waiting");
            work.await
        }
    };
    match result {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(cause) => resume_unwind(cause),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Wraps the task of a client. A panic is logged and ends this task alone.
pub(crate) fn isolated(
    name: &'static str,
    task: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    catch(task).map(move |result| {
        if let Err(cause) = result {
            error!(task = name, cause, "client task panicked; link closed");
        }
    })
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
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_restarted_after_growing_delays() {
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
    async fn a_panic_in_the_closure_is_caught_too() {
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
    async fn a_panic_of_blocking_work_is_passed_on() {
        let starts = Arc::new(AtomicU32::new(0));
        let task = || {
            let starts = starts.clone();
            blocking("test", move || assert!(starts.fetch_add(1, Relaxed) == 1, "a fault"))
        };
        keep_running("test", task).await;
        assert_eq!(starts.load(Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_work_is_awaited() {
        let (go_on, wait) = std::sync::mpsc::sync_channel(1);
        let work = tokio::spawn(blocking("test", move || wait.recv().unwrap()));
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

    #[test]
    fn the_message_of_a_panic_is_kept() {
        assert_eq!(text(Box::new("a fault")), "a fault");
        assert_eq!(text(Box::new("a fault".to_owned())), "a fault");
        assert_eq!(text(Box::new(5)), "unknown");
    }
}
