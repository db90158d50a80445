//! The bus: connects to NATS, then runs until shutdown.

use std::{sync::Arc, time::Duration};

use signalbox_cluster::{Cluster, HEARTBEAT_INTERVAL};
use tokio::{
    sync::Notify,
    time::{Instant, interval, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{self, MIN_PAYLOAD},
    error::NatsError,
    monitor::{BusClock, BusMonitor},
    options::NatsOptions,
    probe::Probe,
    publisher::Publisher,
    receiver::{Receiver, Subscribed},
    subjects::Subjects,
};

/// Time in which the first probes must come back.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for which a gateway listens for another one of its name: a bit more than one interval of
/// heartbeats.
const LISTENING: Duration = HEARTBEAT_INTERVAL.saturating_add(Duration::from_millis(200));

/// Interval of probes meanwhile. Two gateways that start at the same time see each other's.
const LISTENING_PROBES: Duration = Duration::from_millis(100);

/// A connected bus.
pub struct Bus {
    namespace: String,
    publisher: Publisher,
    receiver: Receiver,
    monitor: BusMonitor,
}

impl Bus {
    /// Connects to NATS, and checks that this gateway can be a part of the cluster.
    ///
    /// `ready` is notified by the wake callback of the cluster's links.
    ///
    /// # Errors
    /// [`NatsError`] names the fault and the remedy.
    pub async fn connect(
        options: &NatsOptions,
        cluster: Arc<Cluster>,
        ready: Arc<Notify>,
        clock: BusClock,
    ) -> Result<Self, NatsError> {
        let gateway = cluster.links().instance().gateway.clone();
        let monitor = BusMonitor::new(clock, ready.clone());
        let client = client::connect(options, &gateway, &monitor).await?;
        let limit = client.server_info().max_payload;
        if limit < MIN_PAYLOAD {
            return Err(NatsError::PayloadLimit { limit, needed: MIN_PAYLOAD });
        }
        let subjects = Subjects::new(&options.namespace, &gateway);
        let receiver =
            Receiver::subscribe(&client, &subjects, cluster.clone(), monitor.clone()).await?;
        let publisher = Publisher { client, subjects, cluster, ready, monitor: monitor.clone() };
        let mut bus = Self { namespace: options.namespace.clone(), publisher, receiver, monitor };
        bus.await_probes().await?;
        bus.listen().await?;
        Ok(bus)
    }

    /// A handle to the state of the bus.
    pub fn monitor(&self) -> BusMonitor {
        self.monitor.clone()
    }

    /// Carries messages until shutdown, then publishes the rest and a goodbye, which takes 2 s at
    /// most. Reconnects for ever.
    ///
    /// # Errors
    /// [`NatsError::Ended`] if the client has ended by itself.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), NatsError> {
        tokio::select! {
            () = self.publisher.run(&shutdown) => Ok(()),
            error = self.receiver.run() => Err(error),
        }
    }

    /// Sends a probe to each kind of subject, and waits until those with a subscription come back.
    /// NATS reports missing permissions only later, and a server that has stalled not at all.
    async fn await_probes(&mut self) -> Result<(), NatsError> {
        let subjects = self.publisher.subjects.clone();
        let (mut all, mut own) = (false, false);
        let exchange = async {
            for (subject, number) in
                [&subjects.nobody, &subjects.all, &subjects.own].into_iter().zip(0..)
            {
                self.publisher.probe(subject.clone(), number).await;
            }
            while !(all && own) {
                let (subscribed, probe) = self.next_probe().await?;
                if self.is_own(probe) {
                    match subscribed {
                        Subscribed::All => all = true,
                        Subscribed::Own => own = true,
                    }
                }
            }
            Ok(())
        };
        timeout(PROBE_TIMEOUT, exchange).await.unwrap_or_else(|_| {
            let subject = if all { subjects.own } else { subjects.all };
            Err(NatsError::NotDelivered { subject, limit: PROBE_TIMEOUT })
        })
    }

    /// Listens for another gateway of the same name.
    async fn listen(&mut self) -> Result<(), NatsError> {
        let mut probes = interval(LISTENING_PROBES);
        let end = Instant::now() + LISTENING;
        // Numbers of the first probes were lower.
        let mut number = 100;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(()),
                _ = probes.tick() => {
                    number += 1;
                    let own = self.publisher.subjects.own.clone();
                    // A probe that waits for the server must not delay the end.
                    timeout_at(end, self.publisher.probe(own, number)).await.ok();
                }
                received = self.next_probe() => {
                    let (subscribed, probe) = received?;
                    if subscribed == Subscribed::Own && !self.is_own(probe) {
                        return Err(self.duplicate());
                    }
                }
            }
        }
    }

    /// Applies messages until a probe arrives.
    async fn next_probe(&mut self) -> Result<(Subscribed, Probe), NatsError> {
        loop {
            let received = tokio::select! {
                received = self.receiver.next() => received,
                violation = self.monitor.violation() => {
                    let namespace = self.namespace.clone();
                    return Err(NatsError::Denied { violation, namespace });
                }
            };
            let (subscribed, message) = received?;
            if let Some(probe) = self.receiver.apply(&message) {
                return Ok((subscribed, probe));
            }
            if self.publisher.cluster.status(self.monitor.now()).duplicate.is_some() {
                return Err(self.duplicate());
            }
        }
    }

    fn is_own(&self, probe: Probe) -> bool {
        probe.epoch == self.publisher.cluster.links().instance().epoch
    }

    fn duplicate(&self) -> NatsError {
        let name = self.publisher.cluster.links().instance().gateway.to_string();
        NatsError::Duplicate { name }
    }
}
