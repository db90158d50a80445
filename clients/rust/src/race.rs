//! Racing attempts: they start in order, each with a head start over the next.

use std::{future::Future, iter::Peekable, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};

/// Attempts of which the first to succeed is used. Dropping it drops those that run.
pub(crate) struct Race<I: Iterator> {
    waiting: Peekable<I>,
    running: FuturesUnordered<I::Item>,
    head_start: Duration,
}

impl<I: Iterator<Item: Future>> Race<I> {
    pub(crate) fn new(attempts: I, head_start: Duration) -> Self {
        Self { waiting: attempts.peekable(), running: FuturesUnordered::new(), head_start }
    }

    /// The output of the next attempt to finish; none once all have finished. A caller asks again
    /// only after a failure, so the next attempt then starts at once.
    pub(crate) async fn next(&mut self) -> Option<<I::Item as Future>::Output> {
        self.running.extend(self.waiting.next());
        loop {
            tokio::select! {
                biased;
                Some(output) = self.running.next() => return Some(output),
                () = tokio::time::sleep(self.head_start), if self.waiting.peek().is_some() => {
                    self.running.extend(self.waiting.next());
                }
                else => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const HEAD_START: Duration = Duration::from_millis(300);

    /// Runs attempts that take this long and all fail. Returns the time of each start, and the
    /// order in which they finished, with the times, in milliseconds.
    async fn run(attempts: &[u64]) -> (Vec<u128>, Vec<(usize, u128)>) {
        let begin = Instant::now();
        let starts = parking_lot::Mutex::new(Vec::new());
        let attempts = attempts.iter().enumerate().map(|(index, ms)| {
            let starts = &starts;
            async move {
                starts.lock().push(begin.elapsed().as_millis());
                sleep(Duration::from_millis(*ms)).await;
                index
            }
        });
        let (mut race, mut finished) = (Race::new(attempts, HEAD_START), Vec::new());
        while let Some(index) = race.next().await {
            finished.push((index, begin.elapsed().as_millis()));
        }
        drop(race);
        (starts.into_inner(), finished)
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_starts_after_the_head_start_of_the_one_before() {
        let (starts, finished) = run(&[1000, 1000, 1000]).await;
        assert_eq!(starts, [0, 300, 600]);
        assert_eq!(finished, [(0, 1000), (1, 1300), (2, 1600)]);
        assert_eq!(run(&[]).await, (vec![], vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_attempt_at_once() {
        let (starts, _) = run(&[10, 20, 30]).await;
        assert_eq!(starts, [0, 10, 30]);
        // The second fails while the first still runs.
        let (starts, finished) = run(&[10_000, 50, 10]).await;
        assert_eq!(starts, [0, 300, 350]);
        assert_eq!(finished, [(1, 350), (2, 360), (0, 10_000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_two_calls_is_no_head_start() {
        let begin = Instant::now();
        let attempts = [0, 1000, 1000].into_iter().map(|ms| async move {
            sleep(Duration::from_millis(ms)).await;
            begin.elapsed().as_millis()
        });
        let mut race = Race::new(attempts, HEAD_START);
        assert_eq!(race.next().await, Some(0));
        // An opening that the gateway did not answer.
        sleep(Duration::from_millis(700)).await;
        assert_eq!(race.next().await, Some(1700));
        assert_eq!(race.next().await, Some(2000));
    }
}
