//! Clients that join during a flood, one after the other, from an address that does not take part in it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use signalbox_loadgen::{latencies::Latencies, target::Target};
use signalbox_report::Percentiles;
use tokio::{
    task::JoinSet,
    time::{Instant, interval_at, timeout},
};

/// Time between two joins.
const INTERVAL: Duration = Duration::from_millis(200);

/// Time in which a join should have succeeded.
const IN_TIME: Duration = Duration::from_millis(500);

/// Time after which a join has failed.
const FAILED: Duration = Duration::from_secs(10);

/// Joins of one measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Joins {
    /// Joins that were attempted.
    pub(super) attempts: u64,
    /// Share of them that succeeded within half a second.
    pub(super) in_time: f64,
    /// Share of them that did not succeed within 10 seconds, or before the measurement ended.
    pub(super) failed: f64,
    /// Time from dialling to the end of joining, of those that succeeded.
    pub(super) joined_us: Percentiles,
}

#[derive(Default)]
struct JoinCounts {
    attempts: u64,
    in_time: u64,
    joined: u64,
    latencies: Latencies,
}

/// Joins while `measurement` runs, after a time. Each client joins the session of `target` and leaves.
pub(super) async fn join_during<T>(
    target: Target,
    after: Duration,
    measurement: impl Future<Output = T>,
) -> (T, Joins) {
    let (target, counts) = (Arc::new(target), Arc::new(Mutex::new(JoinCounts::default())));
    let joining = async {
        let mut due = interval_at(Instant::now() + after, INTERVAL);
        let mut running = JoinSet::new();
        loop {
            due.tick().await;
            let (target, counts) = (target.clone(), counts.clone());
            running.spawn(async move {
                let began = Instant::now();
                let mut joined = Box::pin(timeout(FAILED, target.join(0)));
                // One that has not succeeded by then counts, even if the measurement ends before it.
                let early = timeout(IN_TIME, &mut joined).await;
                counts.lock().attempts += 1;
                let joined = match early {
                    Ok(joined) => joined,
                    Err(_) => joined.await,
                };
                let took = began.elapsed();
                if matches!(joined, Ok(Ok(_))) {
                    let mut counts = counts.lock();
                    counts.joined += 1;
                    counts.in_time += u64::from(took <= IN_TIME);
                    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                    counts.latencies.record(ns);
                }
            });
            while running.try_join_next().is_some() {}
        }
    };
    let mut joining = pin!(joining);
    let mut measurement = pin!(measurement);
    // Joining never ends.
    let result = poll_fn(|cx| {
        let _: Poll<()> = joining.as_mut().poll(cx);
        measurement.as_mut().poll(cx)
    })
    .await;
    let counts = counts.lock();
    let share = |count: u64| count as f64 / counts.attempts.max(1) as f64;
    let joins = Joins {
        attempts: counts.attempts,
        in_time: share(counts.in_time),
        failed: share(counts.attempts - counts.joined),
        joined_us: counts.latencies.percentiles(),
    };
    (result, joins)
}
