//! Blocking work with a deadline.

use std::io;

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// The error for blocking work without a result.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeadlineError {
    #[error("it took longer than drain.timeout_ms allows")]
    Late,
    #[error("no thread could be started for it")]
    NoThread(#[source] io::Error),
    #[error("the gateway panicked; the log has the cause")]
    Panicked,
}

/// Runs blocking work on a thread of its own until a deadline. After that nothing waits for the
/// thread, not even the end of the process, which would wait for a thread of the runtime. A result
/// that comes too late goes to `late`.
pub(super) async fn run_blocking_until<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
    late: impl FnOnce(T) + Send + 'static,
) -> Result<T, DeadlineError> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("state file".into())
        .spawn(move || {
            if let Err(result) = done.send(work()) {
                late(result);
            }
        })
        .map_err(DeadlineError::NoThread)?;
    let result = timeout_at(deadline, result).await.map_err(|_| DeadlineError::Late)?;
    result.map_err(|_| DeadlineError::Panicked)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::sync_channel, time::Duration};

    use super::*;

    #[tokio::test]
    async fn late_work_is_not_waited_for() {
        let (go_on, wait) = sync_channel::<()>(1);
        let (late, was_late) = sync_channel(1);
        let work = move || wait.recv().is_ok();
        let soon = Instant::now() + Duration::from_millis(10);
        let result = run_blocking_until(soon, work, move |result| late.send(result).unwrap()).await;
        assert!(matches!(result, Err(DeadlineError::Late)));
        go_on.send(()).unwrap();
        assert_eq!(was_late.recv(), Ok(true));
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(run_blocking_until(later, || 1, |_| ()).await.unwrap(), 1);
        // A panic ends the wait at once.
        let result = run_blocking_until(later, || panic!("as a test"), |(): ()| ()).await;
        assert!(matches!(result, Err(DeadlineError::Panicked)));
    }
}
