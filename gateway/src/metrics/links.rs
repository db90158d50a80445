//! Counts of the links of one transport.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;
use signalbox_protocol::{CloseReason, Transport};
use signalbox_relay::SharedCounter;

use super::tally::Tally;
use crate::{clock::Clock, trace::Tracer};

/// Bounds of the buckets of a latency within a gateway, in seconds.
const LATENCY: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// Bounds of the buckets of a round trip, in seconds.
const RTT: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Counts of the links of one transport. What happens for each signal is counted in parts by thread.
pub(crate) struct TransportMetrics {
    pub(crate) transport: Transport,
    clock: Clock,
    tracer: Tracer,
    pub(super) signals: SharedCounter,
    pub(super) received_bytes: SharedCounter,
    pub(super) sent_frames: SharedCounter,
    pub(super) sent_bytes: SharedCounter,
    pub(super) latency: Histogram,
    pub(super) rtt: Histogram,
    pub(super) opened: AtomicU64,
    /// By close reason.
    pub(super) ended: Tally<[&'static str; 2]>,
    pub(super) joins: AtomicU64,
    pub(super) resumes: AtomicU64,
    pub(super) early_resumes: AtomicU64,
}

impl TransportMetrics {
    pub(super) fn new(transport: Transport, clock: Clock, tracer: Tracer) -> Self {
        let known = CloseReason::ALL.iter().map(|reason| [transport.as_str(), reason.name()]);
        Self {
            transport,
            clock,
            tracer,
            signals: SharedCounter::default(),
            received_bytes: SharedCounter::default(),
            sent_frames: SharedCounter::default(),
            sent_bytes: SharedCounter::default(),
            latency: Histogram::new(LATENCY),
            rtt: Histogram::new(RTT),
            opened: AtomicU64::default(),
            ended: Tally::of(known),
            joins: AtomicU64::default(),
            resumes: AtomicU64::default(),
            early_resumes: AtomicU64::default(),
        }
    }

    /// Counts a link that has been opened. It ends with the returned value.
    pub(crate) fn open(self: &Arc<Self>) -> OpenLink {
        self.opened.fetch_add(1, Relaxed);
        OpenLink { metrics: self.clone(), reason: CloseReason::InternalError }
    }

    /// Counts a signal that was accepted.
    pub(crate) fn signal(&self) {
        self.signals.add(1);
    }

    /// Counts bytes of a client's messages.
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
    }

    /// Counts what a link has written of an outbox. `measured` is when the relay accepted a signal
    /// among it whose latency is measured.
    pub(crate) fn written(&self, frames: usize, bytes: usize, measured: Option<Duration>) {
        self.sent_frames.add(frames as u64);
        self.sent_bytes.add(bytes as u64);
        if let Some(accepted) = measured {
            let latency = self.clock.uptime().saturating_sub(accepted);
            self.latency.observe(latency.as_secs_f64());
            self.tracer.delivered(accepted, latency, self.transport);
        }
    }

    /// Counts a connection that a hello has created.
    pub(crate) fn joined(&self) {
        self.joins.fetch_add(1, Relaxed);
    }

    /// Counts a connection that was resumed.
    pub(crate) fn resumed(&self, early: bool) {
        self.resumes.fetch_add(1, Relaxed);
        self.early_resumes.fetch_add(early.into(), Relaxed);
    }

    /// Connections that a hello has created.
    pub(super) fn joins(&self) -> u64 {
        self.joins.load(Relaxed)
    }

    /// Connections that were resumed.
    pub(super) fn resumes(&self) -> u64 {
        self.resumes.load(Relaxed)
    }

    /// Links that are open.
    pub(super) fn open_links(&self) -> u64 {
        let ended: u64 = self.ended.all().iter().map(|(_, count)| count).sum();
        // A link may have been opened and have ended in between.
        self.opened.load(Relaxed).saturating_sub(ended)
    }
}

/// An open link. Its end is counted when it is dropped, so that one whose task panics counts, too.
pub(crate) struct OpenLink {
    metrics: Arc<TransportMetrics>,
    reason: CloseReason,
}

impl OpenLink {
    /// The link ends for this reason.
    pub(crate) fn end(mut self, reason: CloseReason) {
        self.reason = reason;
    }

    /// Its transport's counts.
    pub(crate) fn transport(&self) -> &TransportMetrics {
        &self.metrics
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.metrics.ended.count([self.metrics.transport.as_str(), self.reason.name()]);
    }
}
