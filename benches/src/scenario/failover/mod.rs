//! `failover`: one of three gateways of a cluster is killed under its clients, which resume on the
//! others.

mod clients;
mod ledger;
mod measure;
mod socket_io;

use std::{thread, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use signalbox_loadgen::{
    files::allow_files,
    peer::{Peer, PeerKind, nodes::SocketIoNodes},
    transport::TransportVariant,
    usage::GENERATOR_LIMIT,
};
use signalbox_report::{Chart, Column, Label, Metric, Palette, Round, Row};
use tokio::runtime::Builder;

use self::{ledger::Faults, measure::Plan};
use super::{Columns, Outcome, Scenario};
use crate::{Bench, all::All};

/// Clients in `all`.
const CONNECTIONS_IN_ALL: usize = 1000;

/// Idle timeout in `all`, in seconds: with that of a gateway's default, most of the time is waiting.
const IDLE_IN_ALL: f64 = 6.0;

/// Files of a process beside those of its clients.
const SPARE_FILES: u64 = 200;

/// Time for the clients' tasks to end.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Time within which the end of a connection that cannot be resumed is to be announced.
const ANNOUNCED_MS: f64 = 3000.0;

const NOTICED_P50: Metric<FailoverMeasured> =
    Metric::lower("noticed_p50_ms", "ms", |it| it.noticed(0.5));
const NOTICED_MAX: Metric<FailoverMeasured> =
    Metric::lower("noticed_max_ms", "ms", |it| it.noticed(1.0));
const RESUMED_P50: Metric<FailoverMeasured> =
    Metric::lower("resumed_p50_ms", "ms", |it| it.resumed(0.5));
const RESUMED_MAX: Metric<FailoverMeasured> =
    Metric::lower("resumed_max_ms", "ms", |it| it.resumed(1.0));
const RETURN_P50: Metric<FailoverMeasured> =
    Metric::lower("return_p50_ms", "ms", |it| it.returned(0.5));
const RETURN_MAX: Metric<FailoverMeasured> =
    Metric::lower("return_max_ms", "ms", |it| it.returned(1.0));
const NOT_RESUMED: Metric<FailoverMeasured> =
    Metric::lower("not_resumed", "clients", |it| it.of_resumable(it.not_resumed));
const PRESENCE: Metric<FailoverMeasured> =
    Metric::lower("wrong_presence_events", "events", |it| Some(it.presence as f64));
const SILENT: Metric<FailoverMeasured> =
    Metric::lower("lost_silently", "signals", |it| Some(it.silent as f64));
const REPORTED: Metric<FailoverMeasured> =
    Metric::lower("reported_lost", "signals", |it| Some(it.reported as f64));
const DUPLICATES: Metric<FailoverMeasured> =
    Metric::lower("duplicates", "signals", |it| Some(it.duplicates as f64));
const DESTROYED_P50: Metric<FailoverMeasured> =
    Metric::lower("destroyed_p50_ms", "ms", |it| part(&it.destroyed_ms, 0.5));
const DESTROYED_MAX: Metric<FailoverMeasured> =
    Metric::lower("destroyed_max_ms", "ms", |it| part(&it.destroyed_ms, 1.0));
const GENERATOR: Metric<FailoverMeasured> =
    Metric::neutral("generator_cores", "cores", |it| Some(it.generator_cores));

/// Time to resume on another gateway of a cluster when one is killed.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Failover {
    /// Transports to measure side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Clients of the gateway that is killed.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    connections: usize,
    /// Signals per second, of all senders together, each to the 12 clients of its session.
    #[arg(long, value_name = "NUMBER", default_value_t = 300)]
    rate: u32,
    /// Idle timeout of the gateways in seconds, after which QUIC clients notice, within a third of it:
    /// the interval of their keep-alives. The default is that of a gateway.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    idle: f64,
    /// Threads of the clients, which make thousands of handshakes at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    threads: usize,
    /// Kill one of three nodes of Socket.IO too; needs node and Redis.
    #[arg(long)]
    #[serde(skip)]
    compare_with_socket_io: bool,
    /// Rounds over all rows.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    #[serde(skip)]
    repeat: usize,
}

/// The clients of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FailoverClients {
    Resumable,
    NotResumable,
    /// Clients of Socket.IO, which ask for recovery.
    SocketIo,
}

/// Clients over one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct FailoverLabel {
    transport: TransportVariant,
    clients: FailoverClients,
    connections: usize,
}

impl FailoverLabel {
    fn is_resumable(self) -> bool {
        self.clients == FailoverClients::Resumable
    }
}

impl Label for FailoverLabel {
    fn title(&self) -> String {
        let Self { transport, clients, connections } = self;
        let transport = transport.title();
        match clients {
            FailoverClients::Resumable => format!("{transport}, {connections} resumable"),
            FailoverClients::NotResumable => format!("{transport}, {connections} not resumable"),
            FailoverClients::SocketIo => {
                format!("Socket.IO, Redis streams, WebSocket over TLS, {connections}")
            }
        }
    }

    fn may_fail(&self) -> bool {
        self.clients == FailoverClients::SocketIo
    }
}

/// One kill.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct FailoverMeasured {
    /// Times from the kill at which each client noticed and had resumed, in the order of resuming.
    each_ms: Vec<(f64, f64)>,
    /// Resumable clients that became another connection, or did not come back.
    not_resumed: u64,
    /// Those of them that were not back at all when the measurement ended.
    not_back: u64,
    /// Presence events that no member should have seen.
    presence: u64,
    /// Times from the kill at which each member was told of the end of each client that cannot be
    /// resumed.
    destroyed_ms: Vec<f64>,
    /// Clients whose end a member was told of more or less than once.
    not_once: u64,
    /// Signals that members should have received, each by each.
    signals: u64,
    /// Those of them that are missing, and that no gap reports.
    silent: u64,
    /// Those that a gap reports.
    reported: u64,
    /// Signals that arrived again.
    duplicates: u64,
    /// Time from the kill until the last client was back.
    seconds: f64,
    /// Threads of the clients, and the cores that they used in that time.
    threads: usize,
    generator_cores: f64,
    /// The same of the gateways that are left and the bus, and of processes outside the benchmark.
    system_cores: f64,
    other_cores: f64,
}

impl FailoverMeasured {
    fn add(&mut self, faults: Faults) {
        self.silent += faults.silent;
        self.reported += faults.reported;
        self.duplicates += faults.duplicates;
    }

    fn sort(&mut self) {
        self.each_ms.sort_by(|a, b| a.1.total_cmp(&b.1));
        self.destroyed_ms.sort_by(f64::total_cmp);
    }

    fn noticed(&self, quantile: f64) -> Option<f64> {
        part(&self.each_ms.iter().map(|it| it.0).collect::<Vec<_>>(), quantile)
    }

    fn resumed(&self, quantile: f64) -> Option<f64> {
        part(&self.each_ms.iter().map(|it| it.1).collect::<Vec<_>>(), quantile)
    }

    fn returned(&self, quantile: f64) -> Option<f64> {
        part(&self.each_ms.iter().map(|it| it.1 - it.0).collect::<Vec<_>>(), quantile)
    }

    /// A figure of clients that can resume.
    fn of_resumable(&self, count: u64) -> Option<f64> {
        self.destroyed_ms.is_empty().then_some(count as f64)
    }
}

/// The least value that this share of all does not exceed.
fn part(values: &[f64], quantile: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * quantile).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

impl Round for FailoverMeasured {
    fn warnings(&self) -> Vec<String> {
        let busy = self.generator_cores / self.threads.max(1) as f64 * 100.0;
        let late = self.destroyed_ms.iter().filter(|ms| **ms > ANNOUNCED_MS).count();
        let warnings = [
            (self.not_resumed > 0, format!("{} clients did not resume", self.not_resumed)),
            (self.not_back > 0, format!("{} clients were not back in the end", self.not_back)),
            (self.presence > 0, format!("{} presence events that are wrong", self.presence)),
            (self.not_once > 0, format!("{} ends were not told exactly once", self.not_once)),
            (late > 0, format!("{late} ends were told after more than {ANNOUNCED_MS} ms")),
            (self.silent > 0, format!("{} signals were lost silently", self.silent)),
            (self.duplicates > 0, format!("{} signals arrived twice", self.duplicates)),
            (
                busy > GENERATOR_LIMIT * 100.0,
                format!(
                    "the clients used {busy:.0} % of their threads: they may have been the limit"
                ),
            ),
            (
                self.other_cores > 0.2,
                format!("other processes used {:.1} cores meanwhile", self.other_cores),
            ),
        ];
        warnings.into_iter().filter(|it| it.0).map(|it| it.1).collect()
    }

    fn progress(&self) -> String {
        let ms = |it: Option<f64>| it.map_or("none".to_owned(), |ms| format!("{ms:.0} ms"));
        let times = if self.destroyed_ms.is_empty() {
            format!(
                "noticed after {} and {}, resumed after {} and {} (p50, max)",
                ms(self.noticed(0.5)),
                ms(self.noticed(1.0)),
                ms(self.resumed(0.5)),
                ms(self.resumed(1.0)),
            )
        } else {
            let [p50, max] = [0.5, 1.0].map(|it| ms(part(&self.destroyed_ms, it)));
            format!("ends told after {p50} and {max} (p50, max)")
        };
        format!(
            "{times}; of {} signals {} lost silently, {} reported lost, {} twice",
            self.signals, self.silent, self.reported, self.duplicates
        )
    }
}

impl Scenario for Failover {
    const NAME: &'static str = "failover";
    const TITLE: &'static str = "Failover";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<FailoverMeasured>] = &[
        NOTICED_P50,
        NOTICED_MAX,
        RESUMED_P50,
        RESUMED_MAX,
        RETURN_P50,
        RETURN_MAX,
        NOT_RESUMED,
        DESTROYED_P50,
        DESTROYED_MAX,
        PRESENCE,
        SILENT,
        REPORTED,
        DUPLICATES,
        GENERATOR,
    ];

    type Label = FailoverLabel;
    type Round = FailoverMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.rate > 0, "--rate must be at least 1");
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        anyhow::ensure!((1.0..=60.0).contains(&self.idle), "--idle must be from 1 to 60 seconds");
        anyhow::ensure!(self.threads > 0, "--threads must be at least 1");
        allow_files(clients::count(self.connections) as u64 + SPARE_FILES)?;
        let connections = self.connections;
        let of = |transport: &TransportVariant| {
            let transport = *transport;
            let kinds = [FailoverClients::Resumable, FailoverClients::NotResumable];
            kinds.map(|clients| FailoverLabel { transport, clients, connections })
        };
        let mut labels: Vec<_> = self.transport.iter().flat_map(of).collect();
        if self.compare_with_socket_io {
            SocketIoNodes::find(1, 1)?;
            let (transport, clients) = (TransportVariant::Wss, FailoverClients::SocketIo);
            labels.push(FailoverLabel { transport, clients, connections });
        }
        let idle = Duration::from_secs_f64(self.idle);
        let plan = Plan { rate: f64::from(self.rate), idle, threads: self.threads };
        let mut clients = Builder::new_multi_thread();
        let clients = clients.worker_threads(self.threads).enable_all().build()?;
        let measure = async |label: &FailoverLabel, _| {
            if label.clients == FailoverClients::SocketIo {
                return socket_io::measure(&bench.launcher, connections, self.rate).await;
            }
            let cluster = measure::start(&bench.launcher, label.transport, plan.idle).await?;
            let measuring = clients.spawn(measure::measure(cluster, *label, plan));
            measuring.await.context("the measurement stopped")?
        };
        let outcome = Outcome::measure(self, bench, self.repeat, labels, measure).await;
        // Ends the gateways of an interrupted measurement, whose task owns them. It must not be dropped
        // here, which would block a runtime.
        let _ = thread::spawn(move || clients.shutdown_timeout(SHUTDOWN)).join();
        outcome
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 1);
        self.connections = CONNECTIONS_IN_ALL;
        self.idle = IDLE_IN_ALL;
        self.repeat > 0 && all.can(Self::NAME, Peer::find(PeerKind::Nats))
    }

    fn heading(&self) -> String {
        let Self { connections, rate, idle, threads, .. } = self;
        format!(
            "Failover: one of three gateways is killed under {connections} clients and {rate} \
             signals per second; idle timeout {idle} s, clients on {threads} threads"
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("clients"),
            Column::spread("noticed p50 ms", &NOTICED_P50, 0),
            Column::spread("noticed max ms", &NOTICED_MAX, 0),
            Column::spread("resumed p50 ms", &RESUMED_P50, 0),
            Column::spread("resumed max ms", &RESUMED_MAX, 0),
            Column::spread("from noticing to resumed p50 ms", &RETURN_P50, 0),
            Column::spread("max ms", &RETURN_MAX, 0),
            Column::spread("end announced max ms", &DESTROYED_MAX, 0),
            Column::greatest("not resumed", &NOT_RESUMED, 0),
            Column::greatest("wrong presence events", &PRESENCE, 0),
            Column::greatest("signals lost silently", &SILENT, 0),
            Column::greatest("reported as lost", &REPORTED, 0),
            Column::greatest("twice", &DUPLICATES, 0),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let resumable =
            outcome.rows.iter().filter(|it| it.rounds.iter().any(|it| !it.each_ms.is_empty()));
        let times = |row: &Row<FailoverLabel, FailoverMeasured>| {
            let times = row.rounds.iter().flat_map(|it| it.each_ms.iter().map(|it| it.1));
            (row.label.title(), times.collect())
        };
        let rows: Vec<_> = resumable.map(times).collect();
        let palette = Palette::of(rows.iter().map(|it: &(String, Vec<f64>)| it.0.clone()));
        let description = "The share of the clients that have resumed on another gateway, over the \
                           time since the kill.";
        let axes = ("ms since the kill", "clients resumed, %");
        let title = "Clients that have resumed after their gateway was killed";
        let chart = Chart::cumulative(title, description, axes, &palette, rows);
        vec![chart]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_percentiles_of_the_clients() {
        let mut measured = FailoverMeasured {
            each_ms: vec![(5.0, 90.0), (1.0, 11.0), (2.0, 30.0)],
            ..FailoverMeasured::default()
        };
        measured.sort();
        assert_eq!((measured.noticed(0.5), measured.noticed(1.0)), (Some(2.0), Some(5.0)));
        assert_eq!((measured.resumed(0.5), measured.resumed(1.0)), (Some(30.0), Some(90.0)));
        assert_eq!(measured.returned(1.0), Some(85.0));
        assert_eq!(measured.warnings(), [""; 0]);
    }

    #[test]
    fn every_fault_is_a_warning() {
        let measured = FailoverMeasured {
            not_resumed: 1,
            presence: 2,
            destroyed_ms: vec![3001.0],
            not_once: 3,
            silent: 4,
            duplicates: 5,
            generator_cores: 0.9,
            other_cores: 0.5,
            ..FailoverMeasured::default()
        };
        assert_eq!(measured.warnings().len(), 8, "{:?}", measured.warnings());
    }
}
