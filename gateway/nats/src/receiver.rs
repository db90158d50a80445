//! The receiving side of the bus.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;
use signalbox_cluster::Cluster;
use tokio::time::{MissedTickBehavior, interval};

use crate::{error::NatsError, monitor::BusMonitor, probe::Probe, subjects::Subjects};

/// Interval of [`Cluster::tick`].
const TICK_INTERVAL: Duration = Duration::from_millis(100);

/// Receives the messages of both subscriptions.
pub(crate) struct Receiver {
    all: Subscriber,
    own: Subscriber,
    cluster: Arc<Cluster>,
    monitor: BusMonitor,
}

/// The subscription on which a message has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscribed {
    All,
    Own,
}

impl Receiver {
    pub(crate) async fn subscribe(
        client: &Client,
        subjects: &Subjects,
        cluster: Arc<Cluster>,
        monitor: BusMonitor,
    ) -> Result<Self, NatsError> {
        // It fails only if the client's task has ended: the subjects are valid.
        let subscribe = |subject: &String| client.subscribe(subject.clone());
        let all = subscribe(&subjects.all).await.map_err(|_| NatsError::Ended)?;
        let own = subscribe(&subjects.own).await.map_err(|_| NatsError::Ended)?;
        Ok(Self { all, own, cluster, monitor })
    }

    /// Receives until the client ends.
    pub(crate) async fn run(&mut self) -> NatsError {
        let mut ticks = interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.cluster.tick(self.monitor.now()),
                received = self.next() => match received {
                    Ok((_, message)) => drop(self.apply(&message)),
                    Err(error) => return error,
                },
            }
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<(Subscribed, Message), NatsError> {
        let (subscribed, message) = tokio::select! {
            message = self.all.next() => (Subscribed::All, message),
            message = self.own.next() => (Subscribed::Own, message),
        };
        message.map(|message| (subscribed, message)).ok_or(NatsError::Ended)
    }

    /// Applies a message. Returns it if it is a probe.
    pub(crate) fn apply(&self, message: &Message) -> Option<Probe> {
        let now = self.monitor.now();
        self.monitor.heard(now);
        if let Some(probe) = Probe::decode(&message.payload) {
            if probe.epoch == self.cluster.links().instance().epoch {
                self.monitor.probe_returned(probe.number, now);
            }
            return Some(probe);
        }
        self.monitor.count_received();
        if let Err(error) = self.cluster.receive(&message.payload, now) {
            self.monitor.malformed(error, now);
        }
        None
    }
}
