//! Collection of the samples of a scrape.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use signalbox_certs::Certificates;
use signalbox_protocol::Transport;
use signalbox_relay::MemberCount;
use tokio::task::yield_now;

use super::{
    coalesced::Coalesced,
    declared as metric,
    exposition::{Label, SampleNumber, Samples, Value},
    process,
};
use crate::{
    admission::{PendingCounts, RefusalCause},
    cluster::ClusterNode,
    cluster_report::ClusterReport,
    context::ServerContext,
    supervise,
    webhook::Webhooks,
};

/// Sessions that are counted in a row, so that clients do not wait.
const IN_A_ROW: usize = 64;

/// Peers of which there are metrics. A cluster has fewer.
const PEERS: usize = 64;

/// What the samples are read from.
#[derive(Clone)]
pub(crate) struct MetricSources {
    pub(crate) gateway: ServerContext,
    pub(crate) webhooks: Webhooks,
    pub(crate) certificates: Certificates,
}

/// The samples of the latest scrape, which scrapers that wait share.
#[derive(Default)]
pub(crate) struct Scraper(Coalesced<Samples>);

impl Scraper {
    /// The present samples.
    pub(crate) async fn scrape(&self, sources: &MetricSources) -> Samples {
        self.0.collect(async || sources.collect().await).await
    }
}

/// Sums over the sessions of a gateway.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) transports: BTreeMap<Transport, MemberCount>,
    /// Sessions and connections of each project.
    pub(crate) projects: BTreeMap<String, (u64, u64)>,
}

impl MetricSources {
    async fn collect(&self) -> Samples {
        let mut samples = supervise::blocking("process metrics", || {
            let mut samples = Samples::default();
            process::collect(&mut samples);
            samples
        })
        .await;
        let services = &self.gateway.services;
        let totals = self.count_sessions().await;
        let metrics = services.metrics();
        metrics.quic_links.read().await;
        let observe = |transport, rtt: Duration| {
            metrics.transport(transport).rtt.observe(rtt.as_secs_f64());
        };
        services.links().read_rtts(observe).await;
        self.gateway_state(&mut samples);
        self.sessions(&mut samples, totals);
        self.links(&mut samples);
        self.admission(&mut samples);
        self.connect_webhooks(&mut samples);
        self.resumption(&mut samples);
        self.servers(&mut samples);
        if let Some(report) = services.cluster().and_then(ClusterNode::report) {
            cluster(&mut samples, &report);
        }
        samples
    }

    /// Counts the members of all sessions, with pauses.
    pub(crate) async fn count_sessions(&self) -> Totals {
        let mut totals = Totals::default();
        // No lock is held across the yield: a session is locked while it is counted.
        for (number, session) in self.gateway.services.relay().census().enumerate() {
            let mut connections = 0;
            for (transport, count) in session.by_transport() {
                connections += count.attached + count.detached;
                totals.transports.entry(transport).or_default().add(count);
            }
            let project = session.session.project().as_str().to_owned();
            let of_project = totals.projects.entry(project).or_default();
            of_project.0 += 1;
            of_project.1 += connections;
            if number % IN_A_ROW == IN_A_ROW - 1 {
                yield_now().await;
            }
        }
        totals
    }

    fn gateway_state(&self, samples: &mut Samples) {
        let ServerContext { services, lifecycle, .. } = &self.gateway;
        samples.many(&metric::BUILD, [([env!("CARGO_PKG_VERSION").into()], Value::Info)]);
        let name = services.instance().gateway.to_string();
        samples.many(&metric::GATEWAY, [([Label::from(name)], Value::Info)]);
        samples.gauge(&metric::READY, f64::from(self.gateway.readiness().is_ok()));
        samples.gauge(&metric::DRAINING, f64::from(lifecycle.is_draining()));
        samples.gauge(&metric::PROJECTS, services.projects().iter().count() as f64);
        if let Some(validity) = self.certificates.validity() {
            let unix = |time: SystemTime| {
                time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
            };
            samples.gauge(&metric::CERTIFICATE_EXPIRY, unix(validity.not_after));
            samples.gauge(&metric::CERTIFICATE_START, unix(validity.not_before));
        }
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        samples.gauge(&metric::LINK_THREADS, threads as f64);
    }

    fn sessions(&self, samples: &mut Samples, totals: Totals) {
        let services = &self.gateway.services;
        let Totals { transports, projects: by_project } = totals;
        samples.gauge(&metric::SESSIONS, services.relay().stats().sessions as f64);
        let count = |transport| transports.get(&transport).copied().unwrap_or_default();
        samples.numbers(
            &metric::CONNECTIONS,
            Transport::ALL.into_iter().flat_map(|transport| {
                let (name, count) = (transport.as_str(), count(transport));
                [
                    ([name, "attached"], gauge(count.attached)),
                    ([name, "detached"], gauge(count.detached)),
                ]
            }),
        );
        let projects = services.projects();
        let configured = || {
            projects.iter().map(|project| {
                let key = project.key().as_str();
                (key.to_owned(), by_project.get(key).copied().unwrap_or_default())
            })
        };
        let row = |key: String, number| ([Label::from(key)], Value::Number(gauge(number)));
        samples.many(&metric::PROJECT_SESSIONS, configured().map(|(key, (it, _))| row(key, it)));
        samples.many(&metric::PROJECT_CONNECTIONS, configured().map(|(key, (_, it))| row(key, it)));
        let outboxes = |number: fn(MemberCount) -> f64| {
            Transport::ALL.map(|it| ([it.as_str()], SampleNumber::Gauge(number(count(it)))))
        };
        samples.numbers(&metric::OUTBOX_FRAMES, outboxes(|it| it.frames as f64));
        samples.numbers(&metric::OUTBOX, outboxes(|it| it.bytes as f64));
        samples.numbers(&metric::OUTBOX_FULLEST, outboxes(|it| it.fullest));
    }

    fn links(&self, samples: &mut Samples) {
        let metrics = self.gateway.services.metrics();
        let transports = Transport::ALL.map(|transport| metrics.transport(transport));
        let each = |count: fn(&super::TransportMetrics) -> SampleNumber| {
            transports.map(|it| ([it.transport.as_str()], count(it)))
        };
        samples.numbers(&metric::LINKS, each(|it| gauge(it.open_links())));
        samples.numbers(&metric::LINKS_OPENED, each(|it| counter(&it.opened)));
        let ended = transports.iter().flat_map(|it| it.ended.all());
        samples.numbers(
            &metric::LINKS_ENDED,
            ended.map(|(it, count)| (it, SampleNumber::Counter(count))),
        );
        samples.numbers(&metric::JOINS, each(|it| counter(&it.joins)));
        samples.numbers(&metric::RESUMES, each(|it| counter(&it.resumes)));
        samples.numbers(&metric::EARLY_RESUMES, each(|it| counter(&it.early_resumes)));
        samples
            .numbers(&metric::SIGNALS_RECEIVED, each(|it| SampleNumber::Counter(it.signals.sum())));
        samples
            .numbers(&metric::RECEIVED, each(|it| SampleNumber::Counter(it.received_bytes.sum())));
        samples.numbers(&metric::SENT, each(|it| SampleNumber::Counter(it.sent_bytes.sum())));
        samples
            .numbers(&metric::FRAMES_SENT, each(|it| SampleNumber::Counter(it.sent_frames.sum())));
        let latency = transports
            .map(|it| ([it.transport.as_str().into()], Value::Histogram(it.latency.clone())));
        samples.many(&metric::LATENCY, latency);
        samples.counter(&metric::SERVER_SIGNALS, metrics.server_signals.sum());
        samples.tally(&metric::SIGNALS_REJECTED, &metrics.rejections);
        samples.counter(&metric::DELIVERIES, self.gateway.services.relay().deliveries());

        let packets = || {
            Transport::ALL
                .into_iter()
                .filter_map(|it| Some((it.as_str(), metrics.quic_links.counts(it)?)))
        };
        samples.numbers(
            &metric::PACKETS_SENT,
            packets().map(|(name, it)| ([name], counter(&it.sent))),
        );
        samples.numbers(
            &metric::PACKETS_LOST,
            packets().map(|(name, it)| ([name], counter(&it.lost))),
        );
        samples.numbers(
            &metric::MIGRATIONS,
            packets().map(|(name, it)| ([name], counter(&it.migrations))),
        );
        let rtt =
            transports.map(|it| ([it.transport.as_str().into()], Value::Histogram(it.rtt.clone())));
        samples.many(&metric::RTT, rtt);
    }

    fn admission(&self, samples: &mut Samples) {
        let (services, admission) = (&self.gateway.services, &self.gateway.admission);
        let metrics = services.metrics();
        let limit = SampleNumber::Gauge(services.policy().limits.pending_handshakes as f64);
        let pending = admission.pending();
        let each = |number: fn(&PendingCounts) -> usize| {
            pending.each_ref().map(|it| ([it.listener], gauge(number(it) as u64)))
        };
        samples.numbers(&metric::PENDING, each(|it| it.admitted));
        samples.numbers(&metric::WAITING, each(|it| it.waiting));
        samples
            .numbers(&metric::PENDING_LIMIT, pending.each_ref().map(|it| ([it.listener], limit)));
        samples.tally(&metric::HANDSHAKES, &metrics.handshakes);
        let refusals = admission.refusals();
        let refused = RefusalCause::ALL
            .map(|cause| ([cause.name()], SampleNumber::Counter(refusals.count(cause))));
        samples.numbers(&metric::REFUSED, refused);
        samples.counter(&metric::RETRIES, metrics.retries.load(Relaxed));
        samples.tally(&metric::TOKENS_REJECTED, &metrics.tokens);
    }

    fn connect_webhooks(&self, samples: &mut Samples) {
        let (mut requests, mut durations, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let services = &self.gateway.services;
        let projects = services.projects();
        for project in projects.iter().filter(|it| it.connect_webhook().is_some()) {
            let counts = services.connect_webhooks().counts(project.key());
            let project = project.key().as_str().to_owned();
            for (result, count) in counts.results {
                let labels = [Label::from(project.clone()), result.into()];
                requests.push((labels, Value::Number(SampleNumber::Counter(count))));
            }
            durations.push(([Label::from(project.clone())], Value::Histogram(counts.duration)));
            waiting.push(([Label::from(project)], Value::Number(gauge(counts.waiting))));
        }
        samples.many(&metric::CONNECT_REQUESTS, requests);
        samples.many(&metric::CONNECT_DURATION, durations);
        samples.many(&metric::CONNECT_WAITING, waiting);
    }

    fn resumption(&self, samples: &mut Samples) {
        let metrics = self.gateway.services.metrics();
        samples.tally(&metric::RESUMES_REJECTED, &metrics.resumes_rejected);
        samples.counter(&metric::GAPS, metrics.gaps.load(Relaxed));
        samples.counter(&metric::REPLAYED_FRAMES, metrics.replayed_frames.load(Relaxed));
        samples.counter(&metric::REPLAYED, metrics.replayed_bytes.load(Relaxed));
    }

    fn servers(&self, samples: &mut Samples) {
        let services = &self.gateway.services;
        let (mut requests, mut durations) = (Vec::new(), Vec::new());
        services.metrics().http.each(|route, counts| {
            for ((method, status), count) in &counts.requests {
                let labels =
                    [(*method).into(), Label::from(route.to_owned()), status.to_string().into()];
                requests.push((labels, Value::Number(SampleNumber::Counter(*count))));
            }
            let labels = [Label::from(route.to_owned())];
            durations.push((labels, Value::Histogram(counts.duration.clone())));
        });
        samples.many(&metric::HTTP_REQUESTS, requests);
        samples.many(&metric::HTTP_DURATION, durations);

        let counts = self.webhooks.counts();
        let mut each = |metric, number: fn(&crate::webhook::QueueCounts) -> SampleNumber| {
            let row = |(project, counts): &(String, _)| {
                ([Label::from(project.clone())], Value::Number(number(counts)))
            };
            samples.many(metric, counts.iter().map(row));
        };
        each(&metric::WEBHOOK_QUEUED, |it| gauge(it.queued));
        each(&metric::WEBHOOK_QUEUE, |it| gauge(it.bytes));
        each(&metric::WEBHOOK_FAILING, |it| gauge(it.failing.into()));
        each(&metric::WEBHOOK_ACCEPTED, |it| SampleNumber::Counter(it.accepted));
        each(&metric::WEBHOOK_ATTEMPTS_FAILED, |it| SampleNumber::Counter(it.attempts_failed));
        each(&metric::WEBHOOK_DROPPED, |it| SampleNumber::Counter(it.dropped));
    }
}

fn cluster(samples: &mut Samples, report: &ClusterReport) {
    let flag = f64::from;
    samples.gauge(&metric::CLUSTER_CONNECTED, flag(report.bus.connected));
    samples.gauge(&metric::CLUSTER_SETTLED, flag(report.settled));
    samples.gauge(&metric::CLUSTER_DUPLICATE, flag(report.duplicate.is_some()));
    samples.gauge(&metric::CLUSTER_PEERS, report.peers.len() as f64);
    samples.numbers(
        &metric::CLUSTER_SESSIONS,
        [
            (["shared"], gauge(report.sessions.shared as u64)),
            (["orphaned"], gauge(report.sessions.orphaned as u64)),
        ],
    );
    let mut each = |metric, number: fn(&crate::PeerReport) -> f64| {
        let row = |peer: &crate::PeerReport| {
            let number = SampleNumber::Gauge(number(peer));
            ([Label::from(peer.name.to_string())], Value::Number(number))
        };
        samples.many(metric, report.peers.iter().take(PEERS).map(row));
    };
    each(&metric::LEASE_AGE, |peer| peer.lease_age_ms as f64 / 1000.0);
    each(&metric::CHANNEL_SENT, |peer| peer.sent as f64);
    each(&metric::CHANNEL_CONFIRMED, |peer| peer.confirmed as f64);
    each(&metric::CHANNEL_RECEIVED, |peer| peer.received as f64);
    each(&metric::CHANNEL_UNCONFIRMED, |peer| peer.unconfirmed as f64);
    samples.counter(&metric::CHANNELS_RESTARTED, report.channels_restarted);
    samples.counter(&metric::FRAGMENTS_RESENT, report.fragments_resent);
    samples.counter(&metric::CLUSTER_GAPS, report.gaps);
    if let Some(rtt) = report.bus.rtt_ms {
        samples.gauge(&metric::BUS_RTT, rtt / 1000.0);
    }
    let bus = &report.bus;
    let messages = [
        (["published"], bus.published),
        (["received"], bus.received),
        (["dropped"], bus.dropped),
        (["malformed"], bus.malformed),
        (["slow"], bus.slow),
    ];
    let messages = messages.map(|(event, count)| (event, SampleNumber::Counter(count)));
    samples.numbers(&metric::BUS_MESSAGES, messages);
}

fn gauge(number: u64) -> SampleNumber {
    SampleNumber::Gauge(number as f64)
}

fn counter(count: &AtomicU64) -> SampleNumber {
    SampleNumber::Counter(count.load(Relaxed))
}
