//! `cluster`: signals between clients of several gateways, beside those of one gateway and beside
//! requests over NATS alone.

use serde::Serialize;
use signalbox_loadgen::{
    load::{Load, Measured, Pattern},
    peer::{nodes::SocketIoNodes, requests::NatsRequests},
    system::{ClusterVariant, System},
    transport::TransportVariant,
};
use signalbox_netem::Impairment;
use signalbox_report::{Chart, Column, Metric};

use super::{
    Columns, Outcome, Rounds, Scenario,
    at_rate::{self, CPU, GENERATOR, LAG, LoadLabel, MAX, P50, P90, P99, P999},
};
use crate::{Bench, all::All};

/// Gateways of the cluster in which single signals are measured.
const PAIR: usize = 2;

const GATEWAYS: Metric<Measured> =
    Metric::lower("gateways_us_per_delivery", "µs", |it| Some(nodes(it)?.iter().sum()));
const BUSIEST: Metric<Measured> = Metric::lower("busiest_us_per_own_delivery", "µs", |it| {
    let nodes = nodes(it)?;
    // Each has the same number of clients.
    Some(nodes.iter().fold(0.0, |most: f64, us| most.max(*us)) * nodes.len() as f64)
});
const BUS: Metric<Measured> =
    Metric::lower("bus_us_per_delivery", "µs", |it| it.processes_us_per_delivery.last().copied());

/// The figures of the nodes of a system; the last process is the bus.
fn nodes(measured: &Measured) -> Option<&[f64]> {
    measured.processes_us_per_delivery.split_last().map(|it| it.1)
}

/// Latency and CPU of signals between the gateways of a cluster.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Cluster {
    /// Transports of the clients.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Measure Socket.IO on several nodes too; needs node and Redis.
    #[arg(long)]
    #[serde(skip)]
    compare_with_socket_io: bool,
    /// Single signals per second, from one client to another.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    rate: u32,
    /// Members of the session in which all signal to all.
    #[arg(long, value_name = "NUMBER", default_value_t = 60)]
    members: usize,
    /// Deliveries per second in that session.
    #[arg(long, value_name = "NUMBER", default_value_t = 12_000)]
    deliveries: u32,
    /// Numbers of gateways for that session.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "1,2,3")]
    #[serde(skip)]
    gateways: Vec<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
}

impl Scenario for Cluster {
    const NAME: &'static str = "cluster";
    const TITLE: &'static str = "Cluster";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Measured>] =
        &[CPU, GATEWAYS, BUSIEST, BUS, P50, P90, P99, P999, MAX, LAG, GENERATOR];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = at_rate::RELATIVE;

    type Label = LoadLabel;
    type Round = Measured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.members > 0, "--members must be at least 1");
        let members = self.members;
        let all_divide = self.gateways.iter().all(|it| *it > 0 && members.is_multiple_of(*it));
        anyhow::ensure!(
            all_divide,
            "--members {members} must be a multiple of each number of --gateways, so that each \
             gateway has as many members"
        );
        let repeat = self.rounds.repeat;
        at_rate::run(self, bench, repeat, self.labels()?, Impairment::default()).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        let included = self.rounds.adapt(Self::NAME, all);
        included && all.can(Self::NAME, NatsRequests::title())
    }

    fn heading(&self) -> String {
        let Self { rate, members, deliveries, .. } = self;
        format!(
            "Cluster: {rate} signals per second from one client to another, and {deliveries} \
             deliveries per second among {members} members"
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("clients"),
            Column::spread("p50 µs", &P50, 0),
            Column::spread("p99 µs", &P99, 0),
            Column::spread("CPU of the gateways, µs per delivery", &GATEWAYS, 1),
            Column::spread("of the busiest, per delivery of its own", &BUSIEST, 1),
            Column::spread("CPU of the bus, µs per delivery", &BUS, 1),
            Column::percent("generator's use of its thread", &GENERATOR),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        at_rate::charts(outcome)
    }
}

impl Cluster {
    /// The rows: single signals within a gateway and between two, and a session on several.
    fn labels(&self) -> anyhow::Result<Vec<LoadLabel>> {
        let single = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let rate = f64::from(self.deliveries) / self.members as f64;
        let mesh = self.rounds.load(self.members, Pattern::Mesh, rate);
        let pairs: Vec<_> = (1..=PAIR).map(|occupied| (PAIR, occupied)).collect();
        let whole: Vec<_> = self.gateways.iter().map(|count| (*count, *count)).collect();
        let mut systems = vec![System::NatsRequests(NatsRequests::title()?)];
        systems.extend(self.systems(&pairs)?);
        let mut labels = rows(&systems, &single, ", one signal at a time");
        let name = format!(", {} members", self.members);
        labels.extend(rows(&self.systems(&whole)?, &mesh, &name));
        Ok(labels)
    }

    /// A system for each transport and each pair of numbers: gateways, and those that have members.
    fn systems(&self, clusters: &[(usize, usize)]) -> anyhow::Result<Vec<System>> {
        let of = |transport: &TransportVariant| {
            let transport = *transport;
            clusters.iter().map(move |(gateways, occupied)| {
                let (gateways, occupied) = (*gateways, *occupied);
                System::Cluster(ClusterVariant { transport, gateways, occupied })
            })
        };
        let mut systems: Vec<_> = self.transport.iter().flat_map(of).collect();
        if self.compare_with_socket_io {
            for (nodes, occupied) in clusters {
                systems.push(System::Nodes(SocketIoNodes::find(*nodes, *occupied)?));
            }
        }
        Ok(systems)
    }
}

/// Rows with one load, under its name.
fn rows(systems: &[System], load: &Load, name: &str) -> Vec<LoadLabel> {
    let mut labels = LoadLabel::all(systems, &[(*load, name.to_owned())]);
    for label in &mut labels {
        label.variant = name.to_owned();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_process_is_the_bus() {
        let processes_us_per_delivery = vec![3.0, 4.0, 1.0];
        let measured = Measured { processes_us_per_delivery, ..Measured::with_p99(1.0) };
        let figures =
            [&GATEWAYS, &BUSIEST, &BUS].map(|it| it.spread(std::slice::from_ref(&measured)));
        assert_eq!(figures.map(|it| it.map(|it| it.median)), [Some(7.0), Some(8.0), Some(1.0)]);
        let one = [Measured::with_p99(1.0)];
        assert!(GATEWAYS.spread(&one).is_none() && BUS.spread(&one).is_none());
    }
}
