//! `crash`: a gateway is killed under its clients, or shut down, another takes its place, and all
//! clients reconnect by themselves, as new connections (or, after a shutdown with a state file, as
//! the old ones).
//!
//! A client that sends nothing notices a crash late: over QUIC its next packet, at the latest the
//! next keep-alive, is answered with a reset; TCP is closed by the system at once. So quiet
//! clients, whose keep-alives are spread evenly, have rows of their own.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use signalbox_client::{Client, Event, Events};
use signalbox_loadgen::{
    clock::now_ns, files::allow_files, payload, sdk::connect_with, target::gateway::Gateway,
    transport::TransportVariant,
};
use signalbox_report::{Chart, Column, Label, Metric, Palette, Round, Row};
use tokio::{sync::watch, task::JoinSet};

use super::{Columns, Outcome, Scenario};
use crate::{Bench, all::All};

/// Clients in each session.
const SESSION_CLIENTS: usize = 10;

/// Timeout of all clients for reconnecting.
const PATIENCE: Duration = Duration::from_secs(60);

const READY: Metric<Back> = Metric::lower("ready_ms", "ms", |it| Some(it.ready_ms));
const NOTICED_P50: Metric<Back> =
    Metric::lower("noticed_p50_ms", "ms", |it| Some(it.noticed_p50()));
const P50: Metric<Back> = Metric::lower("p50_ms", "ms", |it| Some(it.back(0.5)));
const P99: Metric<Back> = Metric::lower("p99_ms", "ms", |it| Some(it.back(0.99)));
const MAX: Metric<Back> = Metric::lower("max_ms", "ms", |it| Some(it.back(1.0)));
const RETURN_MAX: Metric<Back> = Metric::lower("return_max_ms", "ms", |it| Some(it.return_max()));

/// Time to reconnect when the gateway is killed, or shut down and restarted.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Crash {
    /// Transports of the clients, which are connected at the same time.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Clients of all transports together. Half of each are quiet, the others send.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    clients: usize,
    /// Signals per second of each client that sends.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    rate: u32,
    /// Crashes, and as many restarts.
    #[arg(long, value_name = "ROUNDS", default_value_t = 2)]
    #[serde(skip)]
    repeat: usize,
}

/// The end of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Terminated,
}

impl Ending {
    const ALL: [Self; 2] = [Self::Killed, Self::Terminated];

    /// Time for which the clients are connected before.
    fn before(self) -> Duration {
        match self {
            // A client's keep-alive interval, over which the quiet ones are spread.
            Self::Killed => Duration::from_secs(10),
            Self::Terminated => Duration::from_secs(1),
        }
    }

    /// For tables.
    fn title(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Terminated => "SIGTERM",
        }
    }
}

/// One kind of clients at one ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct CrashLabel {
    ending: Ending,
    transport: TransportVariant,
    /// They send signals.
    talking: bool,
    clients: usize,
}

impl CrashLabel {
    fn talking(self) -> &'static str {
        if self.talking { "talking" } else { "quiet" }
    }
}

impl Label for CrashLabel {
    fn title(&self) -> String {
        let Self { ending, transport, clients, .. } = self;
        format!("{}: {}, {clients} {}", ending.title(), transport.title(), self.talking())
    }
}

/// One ending for one kind of clients, in milliseconds from the signal.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Back {
    /// Time at which the next gateway was ready.
    ready_ms: f64,
    /// Times at which each client noticed the loss and had reconnected, in the order of
    /// reconnecting.
    each_ms: Vec<(f64, f64)>,
}

impl Back {
    fn noticed_p50(&self) -> f64 {
        part(self.each_ms.iter().map(|it| it.0), 0.5)
    }

    fn back(&self, quantile: f64) -> f64 {
        part(self.each_ms.iter().map(|it| it.1), quantile)
    }

    fn return_max(&self) -> f64 {
        part(self.each_ms.iter().map(|it| it.1 - it.0), 1.0)
    }
}

/// The least value that this share of all does not exceed.
fn part(values: impl Iterator<Item = f64>, quantile: f64) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * quantile).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

impl Round for Back {
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn progress(&self) -> String {
        format!(
            "noticed after {:.0} ms, back after {:.0}, {:.0}, {:.0} ms (p50, p99, max); the next \
             gateway after {:.0} ms",
            self.noticed_p50(),
            self.back(0.5),
            self.back(0.99),
            self.back(1.0),
            self.ready_ms,
        )
    }
}

impl Scenario for Crash {
    const NAME: &'static str = "crash";
    const TITLE: &'static str = "Crash";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Back>] = &[READY, NOTICED_P50, P50, P99, MAX, RETURN_MAX];

    type Label = CrashLabel;
    type Round = Back;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        ensure!(self.rate > 0, "--rate must be at least 1");
        let clients = self.clients / (2 * self.transport.len()).max(1);
        ensure!(clients > 0, "--clients must be at least 2 for each transport");
        allow_files(self.clients as u64 + 100)?;
        let (mut labels, mut groups) = (Vec::new(), Vec::new());
        for ending in Ending::ALL {
            let first = labels.len();
            for transport in self.transport.iter().copied() {
                let label = |talking| CrashLabel { ending, transport, talking, clients };
                labels.extend([false, true].map(label));
            }
            groups.push((first..labels.len()).collect());
        }
        let measure = async |labels: &[CrashLabel], _| self.measure(bench, labels).await;
        // Rounded down to equal kinds.
        let scenario = Self { clients: clients * 2 * self.transport.len(), ..self.clone() };
        let rows = (labels, groups);
        Outcome::measure_groups(&scenario, bench, self.repeat, rows, measure).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 2);
        self.repeat > 0
    }

    fn heading(&self) -> String {
        let clients = self.clients;
        format!("Crash: a gateway under {clients} clients is killed, or shut down, and restarted")
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("clients"),
            Column::spread("next gateway ready ms", &READY, 0),
            Column::spread("noticed p50 ms", &NOTICED_P50, 0),
            Column::spread("back p50 ms", &P50, 0),
            Column::spread("back p99 ms", &P99, 0),
            Column::spread("back max ms", &MAX, 0),
            Column::spread("from noticing to back, max ms", &RETURN_MAX, 0),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let same = outcome.rows.chunk_by(|a, b| a.label.ending == b.label.ending);
        same.filter_map(chart).collect()
    }
}

/// The share of the clients that are back over time, in all rounds together.
fn chart(rows: &[Row<CrashLabel, Back>]) -> Option<Chart> {
    let title = match rows.first()?.label.ending {
        Ending::Killed => "Clients that are back after their gateway was killed",
        Ending::Terminated => "Clients that are back after SIGTERM",
    };
    let description = "The share of the clients that are in their session again, over the time \
                       since the signal to the gateway.";
    let name = |it: &CrashLabel| format!("{}, {}", it.transport.title(), it.talking());
    let times = |row: &Row<CrashLabel, Back>| {
        let times = row.rounds.iter().flat_map(|it| it.each_ms.iter().map(|it| it.1));
        (name(&row.label), times.collect())
    };
    let palette = Palette::of(rows.iter().map(|it| name(&it.label)));
    let axes = ("ms since the signal to the gateway", "clients back, %");
    let rows = rows.iter().map(times).collect();
    Some(Chart::cumulative(title, description, axes, &palette, rows))
}

impl Crash {
    /// One ending, under all kinds of clients.
    async fn measure(&self, bench: &Bench, labels: &[CrashLabel]) -> anyhow::Result<Vec<Back>> {
        let ending = labels.first().context("no clients")?.ending;
        let gateway = bench.launcher.start().await?;
        let before = ending.before();
        let (done, over) = watch::channel(false);
        let mut watched = JoinSet::new();
        let mut sending = JoinSet::new();
        for (index, kind) in labels.iter().enumerate() {
            for (number, (client, events)) in (0u32..).zip(join(&gateway, kind).await?) {
                let turn = f64::from(number) / kind.clients as f64;
                if kind.talking {
                    let interval = Duration::from_secs(1) / self.rate;
                    sending.spawn(send(client.clone(), turn, interval, over.clone()));
                } else {
                    sending.spawn(send_once(client.clone(), before.mul_f64(turn)));
                }
                watched.spawn(async move { (index, is_back(client, events, ending).await) });
            }
        }
        tokio::time::sleep(before).await;
        let signal_ns = now_ns();
        let gateway = match ending {
            Ending::Killed => bench.launcher.crash(gateway).await?,
            Ending::Terminated => bench.launcher.restart(gateway).await?,
        };
        let after_ms = |at_ns: u64| at_ns.saturating_sub(signal_ns) as f64 / 1e6;
        let ready_ms = after_ms(now_ns());
        let mut backs = vec![Back { ready_ms, each_ms: Vec::new() }; labels.len()];
        let all = async {
            let mut ends = Vec::new();
            while let Some(back) = watched.join_next().await {
                let (index, back) = back?;
                let (noticed_ns, back_ns, client, events) = back?;
                if let Some(back) = backs.get_mut(index) {
                    back.each_ms.push((after_ms(noticed_ns), after_ms(back_ns)));
                }
                ends.push((client, events));
            }
            done.send_replace(true);
            while let Some(sent) = sending.join_next().await {
                sent?.context("an application saw an error")?;
            }
            anyhow::Ok(ends)
        };
        let ends = tokio::time::timeout(PATIENCE, all).await;
        let ends =
            ends.with_context(|| format!("not all clients were back within {PATIENCE:?}"))??;
        drop(ends);
        gateway.stop().await?;
        Ok(backs)
    }
}

async fn join(gateway: &Gateway, label: &CrashLabel) -> anyhow::Result<Vec<(Client, Events)>> {
    let options = |token: &str| Ok(gateway.options(label.transport, token)?.rejoin(true));
    connect_with(gateway, label.clients, SESSION_CLIENTS, options).await
}

/// Sends signals until it is over. Each must be accepted, by the old gateway or the next. `turn` is
/// the part of an interval after which the client begins.
async fn send(
    client: Client,
    turn: f64,
    interval: Duration,
    mut over: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut due =
        tokio::time::interval_at(tokio::time::Instant::now() + interval.mul_f64(turn), interval);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            _ = over.wait_for(|over| *over) => return Ok(()),
        }
        client.signal().data(payload::encode(now_ns())).send().await?;
    }
}

/// Sends one signal, to itself: its keep-alives count from there.
async fn send_once(client: Client, at: Duration) -> anyhow::Result<()> {
    tokio::time::sleep(at).await;
    client.signal().to(client.connection().id).send().await?;
    Ok(())
}

/// The times at which the client noticed and at which it was in its session again, with the client,
/// which must stay connected. After a shutdown, a gateway with a state file knows its clients.
async fn is_back(
    client: Client,
    mut events: Events,
    ending: Ending,
) -> anyhow::Result<(u64, u64, Client, Events)> {
    let mut noticed_ns = None;
    while let Some(event) = events.next().await {
        match event {
            Event::SessionReconnecting { .. } if noticed_ns.is_none() => {
                noticed_ns = Some(now_ns());
            }
            Event::SessionReconnected { .. } if ending == Ending::Killed => {
                bail!("a client was resumed by a gateway that cannot know it")
            }
            Event::SessionRejoined { .. } | Event::SessionReconnected { .. } => {
                let noticed_ns =
                    noticed_ns.context("a client was back without having lost its link")?;
                return Ok((noticed_ns, now_ns(), client, events));
            }
            Event::SessionReconnecting { .. } => bail!("a client lost its link twice"),
            Event::SessionDisconnected { reason, message } => {
                bail!("a client did not come back ({reason}): {message}")
            }
            Event::Rejected { code, message, .. } => {
                bail!("a client was refused something ({code}): {message}")
            }
            _ => {}
        }
    }
    bail!("a client ended without an event")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_percentiles_of_the_clients() {
        let each = |client: u32| {
            let noticed = f64::from(client);
            (noticed, noticed + if client == 100 { 50.0 } else { 20.0 })
        };
        let back = |shift: f64| Back {
            ready_ms: 5.0,
            each_ms: (1..=100).map(each).map(|it| (it.0 + shift, it.1 + shift)).collect(),
        };
        let (ending, transport) = (Ending::Killed, TransportVariant::Quic);
        let label = CrashLabel { ending, transport, talking: true, clients: 100 };
        let row = Row { label, rounds: vec![back(0.0), back(1.0), back(2.0)] };
        let noticed = row.spread(&NOTICED_P50);
        assert_eq!((noticed.min, noticed.max), (50.0, 52.0));
        let least = [&P50, &P99, &MAX].map(|metric| row.spread(metric).min);
        assert_eq!(least, [70.0, 119.0, 150.0]);
        assert_eq!(row.spread(&RETURN_MAX).median, 50.0);
        assert_eq!(row.label.title(), "killed: QUIC, stream per sender, 100 talking");
    }
}
