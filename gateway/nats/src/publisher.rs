//! The publishing side of the bus. It alone publishes, which keeps the packets in order.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, connection::State};
use signalbox_cluster::{BusPacket, Cluster, HEARTBEAT_INTERVAL};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{monitor::BusMonitor, probe::Probe, subjects::Subjects};

/// Interval of probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Time to pass a message to the client, which waits while the server reads too slowly. A packet
/// that misses it is dropped, and its channel repeats it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Time in which the other gateways confirm the last packets at shutdown: two of their heartbeats.
const CONFIRM_TIMEOUT: Duration = HEARTBEAT_INTERVAL.saturating_mul(2);

/// Time to publish the goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Packets that are published before the next look at the time.
const PACKETS_IN_A_ROW: usize = 64;

/// Publishes packets and probes.
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) subjects: Subjects,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) ready: Arc<Notify>,
    pub(crate) monitor: BusMonitor,
}

impl Publisher {
    /// Publishes until shutdown, then takes leave of the cluster.
    pub(crate) async fn run(&self, shutdown: &CancellationToken) {
        let mut probes = interval(PROBE_INTERVAL);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0;
        let mut was_connected = false;
        loop {
            let mut probe_due = false;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = probes.tick() => probe_due = true,
                () = self.ready.notified() => {}
            }
            let connected = self.has_connection();
            if connected && (probe_due || !was_connected) {
                number += 1;
                self.probe(self.subjects.own.clone(), number).await;
            }
            was_connected = connected;
            if self.publish_packets().await {
                self.ready.notify_one();
            }
        }
        self.leave().await;
    }

    fn has_connection(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Publishes packets while the bus is usable. Others stay in the links: the client would
    /// publish them late, and then wait. Returns whether there may be more.
    async fn publish_packets(&self) -> bool {
        for _ in 0..PACKETS_IN_A_ROW {
            if !self.monitor.update(self.has_connection()) {
                return false;
            }
            let Some(BusPacket { to, payload }) = self.cluster.links().take() else { return false };
            self.publish(self.subjects.of(&to), payload).await;
        }
        true
    }

    /// Publishes all packets that are left, waits until the other gateways have confirmed them, then
    /// publishes the goodbye. It uses another subject, so it could overtake them.
    async fn leave(&self) {
        let confirmed = async {
            loop {
                while self.publish_packets().await {}
                let peers = self.cluster.status(self.monitor.now()).peers;
                if peers.iter().all(|peer| peer.unconfirmed == 0) {
                    return;
                }
                // Each heartbeat of a peer notifies.
                self.ready.notified().await;
            }
        };
        timeout(CONFIRM_TIMEOUT, confirmed).await.ok();
        let goodbye = async {
            self.cluster.say_goodbye();
            self.publish_packets().await;
            // It fails if the client has ended.
            self.client.flush().await.ok();
        };
        timeout(GOODBYE_TIMEOUT, goodbye).await.ok();
    }

    /// Sends a probe.
    pub(crate) async fn probe(&self, subject: String, number: u64) {
        let epoch = self.cluster.links().instance().epoch;
        self.monitor.probe_sent(number);
        self.publish(subject, Probe { epoch, number }.encode()).await;
    }

    async fn publish(&self, subject: String, payload: Vec<u8>) {
        match timeout(PUBLISH_TIMEOUT, self.client.publish(subject, payload.into())).await {
            Ok(Ok(())) => self.monitor.count_published(),
            Ok(Err(error)) => self.monitor.dropped(error.to_string()),
            Err(_) => self.monitor.dropped("NATS reads too slowly".to_owned()),
        }
    }
}
