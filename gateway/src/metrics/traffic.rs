//! The recent past of a few counts, for the admin page: what `/metrics` leaves to Prometheus.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use signalbox_protocol::Transport;
use tokio::time::{MissedTickBehavior, interval};

use crate::services::Services;

/// Time between two samples. A sample adds up some fifty counters.
const SAMPLE: Duration = Duration::from_secs(2);

/// Samples that are kept: of five minutes. Beyond it the oldest is forgotten.
const SAMPLES: usize = 151;

/// Samples over which a rate is the mean: ten seconds.
const RATE_SAMPLES: usize = 5;

/// Samples of the recent past.
#[derive(Default)]
pub(crate) struct TrafficHistory(Mutex<VecDeque<TrafficSample>>);

/// The counts at one time.
#[derive(Clone, Default)]
struct TrafficSample {
    at: Duration,
    counts: TrafficCounts,
    /// Links that have ended, by the name of their close reason.
    ended: BTreeMap<&'static str, u64>,
}

/// What has been counted since the gateway started.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrafficCounts {
    /// Signals of clients and servers that were accepted.
    signals: u64,
    /// Signals that were pushed to connections, once for each receiver.
    deliveries: u64,
    /// Bytes of clients' messages.
    received_bytes: u64,
    /// Bytes written to clients.
    sent_bytes: u64,
    /// Connections that a hello has created.
    joins: u64,
    /// Connections that were resumed.
    resumes: u64,
}

/// The counts of one transport since the gateway started.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TransportTraffic {
    transport: Transport,
    /// Links that are open, those that are not admitted yet included.
    links: u64,
    /// Signals that were accepted.
    signals: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

/// Means of the latest ten seconds, per second.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrafficRates {
    signals: f64,
    deliveries: f64,
    received_bytes: f64,
    sent_bytes: f64,
    joins: f64,
    resumes: f64,
}

/// Rates of the latest five minutes, per second, the oldest first.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateSeries {
    /// Time between two values.
    interval_ms: u64,
    signals: Vec<f64>,
    deliveries: Vec<f64>,
}

/// Links that have ended for one reason.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndCount {
    reason: &'static str,
    /// In the latest five minutes, or since the gateway started.
    recent: u64,
    /// Since the gateway started.
    total: u64,
}

/// Everything about signals and links.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrafficReport {
    totals: TrafficCounts,
    rates: TrafficRates,
    series: RateSeries,
    transports: [TransportTraffic; Transport::ALL.len()],
    /// The most frequent reason of the latest five minutes first; reasons without a link are left out.
    ends: Vec<EndCount>,
}

impl TrafficHistory {
    /// Takes samples until it is dropped.
    pub(crate) async fn keep(&self, services: &Services) {
        let mut ticks = interval(SAMPLE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.push(TrafficSample::now(services));
        }
    }

    fn push(&self, sample: TrafficSample) {
        let mut samples = self.0.lock();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The present counts, and the recent past.
    pub(crate) fn report(&self, services: &Services) -> TrafficReport {
        let now = TrafficSample::now(services);
        let samples = self.0.lock();
        let metrics = services.metrics();
        TrafficReport {
            totals: now.counts,
            rates: rates(&samples),
            series: series(&samples),
            transports: Transport::ALL.map(|transport| {
                let counts = metrics.transport(transport);
                TransportTraffic {
                    transport,
                    links: counts.open_links(),
                    signals: counts.signals.sum(),
                    received_bytes: counts.received_bytes.sum(),
                    sent_bytes: counts.sent_bytes.sum(),
                }
            }),
            ends: ends(samples.front(), &now),
        }
    }
}

impl TrafficSample {
    fn now(services: &Services) -> Self {
        let metrics = services.metrics();
        let mut counts = TrafficCounts {
            signals: metrics.server_signals.sum(),
            deliveries: services.relay().deliveries(),
            ..TrafficCounts::default()
        };
        let mut ended = BTreeMap::new();
        for transport in Transport::ALL.map(|transport| metrics.transport(transport)) {
            counts.signals += transport.signals.sum();
            counts.received_bytes += transport.received_bytes.sum();
            counts.sent_bytes += transport.sent_bytes.sum();
            counts.joins += transport.joins();
            counts.resumes += transport.resumes();
            for ([_, reason], links) in transport.ended.all() {
                *ended.entry(reason).or_default() += links;
            }
        }
        Self { at: services.uptime(), counts, ended }
    }
}

/// The mean rate of a count between two samples.
fn rate(from: &TrafficSample, to: &TrafficSample, count: fn(&TrafficCounts) -> u64) -> f64 {
    let seconds = to.at.saturating_sub(from.at).as_secs_f64();
    let events = count(&to.counts).saturating_sub(count(&from.counts));
    if seconds > 0.0 { events as f64 / seconds } else { 0.0 }
}

fn rates(samples: &VecDeque<TrafficSample>) -> TrafficRates {
    let first = samples.len().saturating_sub(RATE_SAMPLES + 1);
    let (Some(from), Some(to)) = (samples.get(first), samples.back()) else {
        return TrafficRates::default();
    };
    TrafficRates {
        signals: rate(from, to, |it| it.signals),
        deliveries: rate(from, to, |it| it.deliveries),
        received_bytes: rate(from, to, |it| it.received_bytes),
        sent_bytes: rate(from, to, |it| it.sent_bytes),
        joins: rate(from, to, |it| it.joins),
        resumes: rate(from, to, |it| it.resumes),
    }
}

fn series(samples: &VecDeque<TrafficSample>) -> RateSeries {
    let each = |count: fn(&TrafficCounts) -> u64| {
        let pairs = samples.iter().zip(samples.iter().skip(1));
        pairs.map(|(from, to)| rate(from, to, count)).collect()
    };
    RateSeries {
        interval_ms: crate::clock::millis(SAMPLE),
        signals: each(|it| it.signals),
        deliveries: each(|it| it.deliveries),
    }
}

fn ends(oldest: Option<&TrafficSample>, now: &TrafficSample) -> Vec<EndCount> {
    let ended = now.ended.iter().filter(|(_, total)| **total > 0);
    let mut ends: Vec<_> = ended
        .map(|(&reason, &total)| {
            let before = oldest.and_then(|it| it.ended.get(reason)).copied().unwrap_or_default();
            EndCount { reason, recent: total.saturating_sub(before), total }
        })
        .collect();
    ends.sort_by_key(|end| (std::cmp::Reverse((end.recent, end.total)), end.reason));
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, signals: u64, ended: &[(&'static str, u64)]) -> TrafficSample {
        let counts = TrafficCounts { signals, ..TrafficCounts::default() };
        TrafficSample {
            at: Duration::from_secs(seconds),
            counts,
            ended: ended.iter().copied().collect(),
        }
    }

    #[test]
    fn rates_are_means_of_ten_seconds() {
        let history = TrafficHistory::default();
        assert_eq!(rates(&history.0.lock()).signals, 0.0, "without a sample");
        for second in [0, 2, 4, 6, 8, 10, 12] {
            // 100 per second at first, and then none.
            history.push(sample(second, 100 * second.min(4), &[]));
        }
        let samples = history.0.lock();
        assert_eq!(rates(&samples).signals, 20.0, "from 2 to 12 seconds");
        assert_eq!(series(&samples).signals, [100.0, 100.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn only_five_minutes_are_kept() {
        let history = TrafficHistory::default();
        for number in 0..1000 {
            history.push(sample(2 * number, number, &[]));
        }
        let samples = history.0.lock();
        assert_eq!(samples.len(), SAMPLES);
        let kept = samples.back().unwrap().at - samples.front().unwrap().at;
        assert_eq!(kept, Duration::from_secs(300));
    }

    #[test]
    fn reasons_are_sorted_by_their_recent_number() {
        let oldest = sample(0, 0, &[("slowConsumer", 5), ("clientDisconnected", 100)]);
        let now = sample(
            300,
            0,
            &[("slowConsumer", 8), ("clientDisconnected", 101), ("helloTimeout", 0)],
        );
        let ends: Vec<_> = ends(Some(&oldest), &now)
            .into_iter()
            .map(|it| (it.reason, it.recent, it.total))
            .collect();
        assert_eq!(ends, [("slowConsumer", 3, 8), ("clientDisconnected", 1, 101)]);
    }
}
