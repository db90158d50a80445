//! The receiving side of every measurement: signals by receiver, and their latencies.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use parking_lot::Mutex;
use signalbox_client::{Event, Events};
use tokio::task::JoinSet;

use crate::{
    client::{Arrived, ClientReceiver, OnMessage},
    clock::{nanos, now_ns},
    latencies::{Latencies, Timeline},
    payload,
};

/// Time for the last signals to arrive before they count as lost.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// The record of all receivers.
pub struct Recorder {
    /// Latencies of the signals that were due after the warm-up.
    pub timeline: Timeline,
    /// The same of quiet senders only.
    pub quiet: Latencies,
    /// Signals by receiver, with the warm-up's.
    pub received: Vec<u64>,
    /// The first failure; it voids the measurement.
    pub failure: Option<String>,
}

/// Receivers that record until they are dropped.
pub struct Receivers {
    /// Their record.
    pub recorder: Arc<Mutex<Recorder>>,
    _tasks: JoinSet<()>,
}

impl Receivers {
    /// Records the signals of clients of the SDK.
    pub fn of_sdk(events: Vec<Events>, timeline: Timeline) -> Self {
        let recorder = Arc::new(Mutex::new(Recorder::new(events.len(), timeline)));
        let mut tasks = JoinSet::new();
        for (index, events) in events.into_iter().enumerate() {
            tasks.spawn(receive(index, events, recorder.clone()));
        }
        Self { recorder, _tasks: tasks }
    }

    /// Records the signals of minimal clients.
    pub fn of_clients(receivers: Vec<ClientReceiver>, timeline: Timeline) -> Self {
        let recorder = Arc::new(Mutex::new(Recorder::new(receivers.len(), timeline)));
        let mut tasks = JoinSet::new();
        for (index, receiver) in receivers.into_iter().enumerate() {
            let own = recorder.clone();
            let on_message: OnMessage = Arc::new(move |heard: Arrived<'_>| {
                own.lock().signal(index, Some(heard.signal()?));
                Ok(())
            });
            let recorder = recorder.clone();
            tasks.spawn(async move {
                let error = receiver.run(on_message).await;
                // The first one is the cause of the others.
                recorder.lock().failure.get_or_insert_with(|| format!("{error:#}"));
            });
        }
        Self { recorder, _tasks: tasks }
    }

    /// Signals received so far, by all receivers.
    pub fn deliveries(&self) -> u64 {
        self.recorder.lock().received.iter().sum()
    }

    /// Waits until every receiver has exactly this many signals.
    pub async fn complete(&self, expected: &[u64]) -> anyhow::Result<()> {
        let deadline_ns = now_ns() + nanos(STRAGGLERS);
        while !self.recorder.lock().is_complete(expected, now_ns() > deadline_ns)? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Recorder {
    fn new(receivers: usize, timeline: Timeline) -> Self {
        let received = vec![0; receivers];
        Self { timeline, quiet: Latencies::new(), received, failure: None }
    }

    /// Records a signal.
    fn signal(&mut self, receiver: usize, data: Option<&str>) {
        let Some((data, due_ns)) = data.and_then(|data| Some((data, payload::decode(data)?)))
        else {
            self.failure = Some("a signal arrived that the benchmark did not send".into());
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

    /// When it is `late`, an incomplete record is an error.
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
                "{wrong} receivers did not receive exactly what was sent: {received} deliveries \
                 instead of {expected}, {STRAGGLERS:?} after the last signal. The measurement \
                 is void; if a lower rate is complete, the rate was too high"
            );
        }
        Ok(false)
    }
}

async fn receive(index: usize, mut events: Events, recorder: Arc<Mutex<Recorder>>) {
    while let Some(event) = events.next().await {
        let mut recorder = recorder.lock();
        match event {
            Event::Signal { data, .. } => recorder.signal(index, data.as_deref()),
            Event::Rejected { code, message, .. } => {
                recorder.failure =
                    Some(format!("the gateway refused a signal ({code:?}): {message}"));
            }
            Event::SessionReconnecting { reason, message }
            | Event::SessionDisconnected { reason, message } => {
                // The first one is the cause of the others.
                recorder.failure.get_or_insert_with(|| {
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
        let recorder = |received: [u64; 2], failure: Option<&str>| Recorder {
            received: received.to_vec(),
            failure: failure.map(str::to_owned),
            ..Recorder::new(2, Timeline::new(0, Duration::ZERO))
        };
        assert!(recorder([7, 9], None).is_complete(&[7, 9], true).unwrap());
        assert!(!recorder([7, 8], None).is_complete(&[7, 9], false).unwrap());
        for received in [[7, 8], [7, 10]] {
            let error =
                recorder(received, None).is_complete(&[7, 9], true).unwrap_err().to_string();
            assert!(error.contains("1 receivers"), "{error}");
        }
        recorder([7, 9], Some("lost")).is_complete(&[7, 9], false).unwrap_err();
    }
}
