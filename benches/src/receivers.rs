//! The receiving side of every measurement: who has received how many signals, and how late.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use parking_lot::Mutex;
use signalbox_client::{Event, Events};
use tokio::task::JoinSet;

use crate::{
    clock::{nanos, now_ns},
    curve::Timeline,
    payload,
    stats::Latencies,
    wire::{Ear, Listener},
};

/// How long the last signals may take to arrive before they count as lost.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// What the receivers write down.
pub(crate) struct Book {
    /// Of the signals that were due after the warm-up.
    pub(crate) timeline: Timeline,
    /// Of them, those of senders that are quiet among others.
    pub(crate) quiet: Latencies,
    /// Signals that each receiver has received, the warm-up's included.
    pub(crate) received: Vec<u64>,
    /// What must not happen and did.
    pub(crate) failure: Option<String>,
}

/// Receivers that write until they are dropped.
pub(crate) struct Receivers {
    pub(crate) book: Arc<Mutex<Book>>,
    _tasks: JoinSet<()>,
}

impl Receivers {
    /// Latencies are kept in the timeline.
    pub(crate) fn start(events: Vec<Events>, timeline: Timeline) -> Self {
        let book = Arc::new(Mutex::new(Book::new(events.len(), timeline)));
        let mut tasks = JoinSet::new();
        for (index, events) in events.into_iter().enumerate() {
            tasks.spawn(receive(index, events, book.clone()));
        }
        Self { book, _tasks: tasks }
    }

    /// The same with light clients.
    pub(crate) fn listen(listeners: Vec<Listener>, timeline: Timeline) -> Self {
        let book = Arc::new(Mutex::new(Book::new(listeners.len(), timeline)));
        let mut tasks = JoinSet::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let own = book.clone();
            let ear: Ear = Arc::new(move |data| own.lock().signal(index, Some(data)));
            let book = book.clone();
            tasks.spawn(async move {
                let error = listener.run(ear).await;
                // The first one is the cause of the others.
                book.lock().failure.get_or_insert_with(|| format!("{error:#}"));
            });
        }
        Self { book, _tasks: tasks }
    }

    /// Signals received so far, by all of them together.
    pub(crate) fn deliveries(&self) -> u64 {
        self.book.lock().received.iter().sum()
    }

    /// Waits until every receiver has exactly what it is to have.
    pub(crate) async fn complete(&self, expected: &[u64]) -> anyhow::Result<()> {
        let deadline_ns = now_ns() + nanos(STRAGGLERS);
        while !self.book.lock().is_complete(expected, now_ns() > deadline_ns)? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Book {
    fn new(receivers: usize, timeline: Timeline) -> Self {
        let received = vec![0; receivers];
        Self { timeline, quiet: Latencies::new(), received, failure: None }
    }

    /// Somebody has received a signal.
    fn signal(&mut self, receiver: usize, data: Option<&str>) {
        let Some((data, due_ns)) = data.and_then(|data| Some((data, payload::decode(data)?)))
        else {
            self.failure = Some("a signal came that the benchmark did not send".into());
            return;
        };
        if let Some(count) = self.received.get_mut(receiver) {
            *count += 1;
        }
        let latency_ns = now_ns().saturating_sub(due_ns);
        if self.timeline.record(due_ns, latency_ns) && payload::is_quiet(data) {
            self.quiet.record(latency_ns);
        }
    }

    /// When it is `late`, what is incomplete is an error.
    fn is_complete(&self, expected: &[u64], late: bool) -> anyhow::Result<bool> {
        if let Some(failure) = &self.failure {
            bail!("{failure}; the measurement is void");
        }
        if self.received == expected {
            return Ok(true);
        }
        if late {
            let wrong = self.received.iter().zip(expected).filter(|(a, b)| a != b).count();
            let received: u64 = self.received.iter().sum();
            let expected: u64 = expected.iter().sum();
            bail!(
                "{wrong} receivers did not get exactly what was sent: {received} deliveries \
                 instead of {expected}, {STRAGGLERS:?} after the last signal. The measurement \
                 is void; if a lower rate is complete, the rate was too high"
            );
        }
        Ok(false)
    }
}

async fn receive(index: usize, mut events: Events, book: Arc<Mutex<Book>>) {
    while let Some(event) = events.next().await {
        let mut book = book.lock();
        match event {
            Event::Signal { data, .. } => book.signal(index, data.as_deref()),
            Event::Refused { code, message, .. } => {
                book.failure = Some(format!("the gateway refused a signal ({code:?}): {message}"));
            }
            Event::SessionReconnecting { reason, message }
            | Event::SessionDisconnected { reason, message } => {
                // The first one is the cause of the others.
                book.failure.get_or_insert_with(|| {
                    format!("a client lost its connection ({reason}): {message}")
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_delivery_too_few_or_too_many_is_an_error() {
        let book = |received: [u64; 2], failure: Option<&str>| Book {
            received: received.to_vec(),
            failure: failure.map(str::to_owned),
            ..Book::new(2, Timeline::new(0, Duration::ZERO))
        };
        assert!(book([7, 9], None).is_complete(&[7, 9], true).unwrap());
        assert!(!book([7, 8], None).is_complete(&[7, 9], false).unwrap());
        for received in [[7, 8], [7, 10]] {
            let error = book(received, None).is_complete(&[7, 9], true).unwrap_err().to_string();
            assert!(error.contains("1 receivers"), "{error}");
        }
        book([7, 9], Some("lost")).is_complete(&[7, 9], false).unwrap_err();
    }
}
