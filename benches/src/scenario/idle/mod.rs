//! `idle`: the memory of the gateway and of the kernel for each idle connection.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use signalbox_client::{Client, Events};
use signalbox_loadgen::{
    client::MinimalClient, files::allow_files, machine, sdk::connect, target::gateway::Gateway,
    transport::TransportVariant,
};
use signalbox_report::{Chart, Column, Metric, Round, Row};
use tokio::task::JoinSet;

use super::{Columns, Outcome, Scenario, flags::TransportLabel};
use crate::{Bench, all::All};

/// Connections before the first look, so that code and tables that the first ones need are not
/// counted.
const FIRST: usize = 50;

/// Interval of looks at the gateway's memory.
const LOOK: Duration = Duration::from_millis(500);

/// Memory is settled when this many looks in a row ...
const LOOKS: usize = 10;

/// ... are this close together, as a share.
const SETTLED: f64 = 0.002;

/// Looks at least: past the first pings of both transports (10 s).
const LOOKS_AT_LEAST: usize = 24;

/// Looks at most.
const LOOKS_AT_MOST: usize = 120;

/// Connections in `all`, if the limit of open files allows them.
const CONNECTIONS_IN_ALL: usize = 10_000;
const FILES_IN_ALL: u64 = 11_000;

const EACH: Metric<Memory> =
    Metric::lower("kib_per_connection", "KiB", |it| Some(it.kib_per_connection));
const GATEWAY: Metric<Memory> = Metric::lower("gateway_kib", "KiB", |it| Some(it.after_kib as f64));
const KERNEL: Metric<Memory> =
    Metric::lower("kernel_kib_per_connection", "KiB", |it| Some(it.kernel.slabs_kib));
const BUFFERS: Metric<Memory> =
    Metric::lower("buffers_kib_per_connection", "KiB", |it| Some(it.kernel.buffers_kib));

/// Memory per idle connection.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Idle {
    /// Transports to measure side by side.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "quic,webtransport,wss"
    )]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Connections. The gateway's default limits: 100000 in a project, 15000 in a session.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
    connections: usize,
    /// Connections in each session.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    session_size: usize,
    /// Rounds over all transports.
    #[arg(long, value_name = "ROUNDS", default_value_t = 1)]
    #[serde(skip)]
    repeat: usize,
}

/// One measurement: resident memory of the gateway, in KiB.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Memory {
    /// With the first few connections.
    before_kib: u64,
    /// With all of them.
    after_kib: u64,
    /// The difference, for each connection.
    kib_per_connection: f64,
    /// The kernel's growth for each, at the gateway's end.
    kernel: Kernel,
    /// Whether it had settled in time.
    settled: bool,
}

impl Round for Memory {
    fn warnings(&self) -> Vec<String> {
        let warning = "the gateway's memory was still changing at the end";
        if self.settled { Vec::new() } else { vec![warning.to_owned()] }
    }

    fn progress(&self) -> String {
        let (each, kernel) = (self.kib_per_connection, self.kernel.slabs_kib);
        format!("{each:.1} KiB per connection, {kernel:.1} of the kernel")
    }
}

/// Memory of the kernel, in KiB, of the whole machine with all its processes: the figures are good
/// only for many connections on a quiet machine.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Kernel {
    /// Slabs that cannot be reclaimed: sockets, files, their epoll entries. The inode and the name
    /// of a socket, about 1 KiB, count as reclaimable and are not included.
    slabs_kib: f64,
    /// Buffers of TCP or UDP sockets. Small ones are in the slabs as well, so the two must not be
    /// added.
    buffers_kib: f64,
}

impl Kernel {
    /// The kernel's memory now.
    fn look(transport: TransportVariant) -> anyhow::Result<Self> {
        let sockstat = read("/proc/net/sockstat")?;
        let protocol = if transport.is_quic() { "UDP:" } else { "TCP:" };
        let pages = field(&sockstat, protocol, "mem").context("no memory in sockstat")?;
        let slabs = machine::kernel_slabs_kib()?;
        let page_kib = rustix::param::page_size() as u64 / 1024;
        Ok(Self { slabs_kib: slabs as f64, buffers_kib: (pages * page_kib) as f64 })
    }

    /// Growth since `before` per connection, at the gateway's end. The clients' end
    /// is on this machine too: over TCP both have a socket for each connection, so half is the
    /// gateway's; over QUIC neither has.
    fn since(self, before: Self, transport: TransportVariant, connections: usize) -> Self {
        let ends = if transport.is_quic() { 1 } else { 2 };
        let each = |after: f64, before: f64| (after - before) / (ends * connections) as f64;
        Self {
            slabs_kib: each(self.slabs_kib, before.slabs_kib),
            buffers_kib: each(self.buffers_kib, before.buffers_kib),
        }
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// The number after `name` in the line that begins with `line`.
fn field(text: &str, line: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|it| it.strip_prefix(line))?;
    let mut words = rest.split_ascii_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

impl Scenario for Idle {
    const NAME: &'static str = "idle";
    const TITLE: &'static str = "Memory";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Memory>] = &[EACH, GATEWAY, KERNEL, BUFFERS];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] =
        &[("memory per connection", EACH)];

    type Label = TransportLabel;
    type Round = Memory;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        allow_files((self.connections + FIRST + 100) as u64)?;
        if self.transport.iter().any(|it| !it.is_quic()) {
            enough_ports(
                self.connections + FIRST,
                &read("/proc/sys/net/ipv4/ip_local_port_range")?,
            )?;
        }
        let measure = async |label: &TransportLabel, _| self.measure(bench, label.transport).await;
        let labels = TransportLabel::all(&self.transport);
        Outcome::measure(self, bench, self.repeat, labels, measure).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 1);
        if allow_files(FILES_IN_ALL).is_ok() {
            self.connections = CONNECTIONS_IN_ALL;
        }
        self.repeat > 0
    }

    fn heading(&self) -> String {
        format!("Memory: {} idle connections", self.connections)
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport"),
            Column::spread("KiB per connection", &EACH, 1),
            Column::new("the whole gateway, MiB", |row: &Row<TransportLabel, _>| {
                format!("{:.1}", row.spread(&GATEWAY).median / 1024.0)
            }),
            Column::spread("beside it: slabs of the kernel, KiB per connection", &KERNEL, 1),
            Column::spread("its socket buffers, KiB per connection", &BUFFERS, 1),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        outcome.bars("Memory per idle connection", &EACH).into_iter().collect()
    }
}

impl Idle {
    async fn measure(&self, bench: &Bench, transport: TransportVariant) -> anyhow::Result<Memory> {
        let gateway = bench.launcher.start().await?;
        let first = IdleClients::join(&gateway, transport, FIRST, self.session_size).await?;
        let (before_kib, _) = settle(&gateway).await?;
        let kernel = Kernel::look(transport)?;
        let rest =
            IdleClients::join(&gateway, transport, self.connections, self.session_size).await?;
        let (after_kib, settled) = settle(&gateway).await?;
        let kernel = Kernel::look(transport)?.since(kernel, transport, self.connections);
        for clients in [first, rest] {
            clients.assert_connected().await?;
        }
        gateway.stop().await?;
        Ok(Memory {
            before_kib,
            after_kib,
            kib_per_connection: (after_kib as f64 - before_kib as f64) / self.connections as f64,
            kernel,
            settled,
        })
    }
}

/// Clients that receive nothing but the end of their connection.
enum IdleClients {
    Sdk(Vec<(Client, Events)>),
    /// Of a transport that the SDK does not have, each in a task.
    Minimal(JoinSet<anyhow::Error>),
}

impl IdleClients {
    async fn join(
        gateway: &Gateway,
        transport: TransportVariant,
        count: usize,
        session_size: usize,
    ) -> anyhow::Result<Self> {
        if transport != TransportVariant::OpenTokJs {
            return Ok(Self::Sdk(connect(gateway, transport, count, session_size).await?));
        }
        let mut clients = JoinSet::new();
        let mut target = gateway.target(transport)?;
        for number in 0..count {
            if number > 0 && number % session_size.max(1) == 0 {
                target = gateway.target(transport)?;
            }
            let MinimalClient { sender, receiver, .. } = target.join(number as u32).await?;
            clients.spawn(async move {
                let error = receiver.run(Arc::new(|_| Ok(()))).await;
                drop(sender);
                error
            });
        }
        Ok(Self::Minimal(clients))
    }

    /// # Errors
    /// One of them has lost its connection.
    async fn assert_connected(self) -> anyhow::Result<()> {
        match self {
            Self::Sdk(clients) => {
                for (client, mut events) in clients {
                    if tokio::time::timeout(Duration::ZERO, client.ended()).await.is_ok() {
                        let mut last = None;
                        while let Some(event) = events.next().await {
                            last = Some(event);
                        }
                        anyhow::bail!("an idle client lost its connection: {last:?}");
                    }
                }
            }
            Self::Minimal(mut clients) => {
                if let Some(error) = clients.try_join_next() {
                    return Err(error?.context("an idle client lost its connection"));
                }
            }
        }
        Ok(())
    }
}

/// Each TCP connection to one address needs a local port of its own; QUIC shares one.
fn enough_ports(needed: usize, range: &str) -> anyhow::Result<()> {
    let mut ends = range.split_ascii_whitespace().filter_map(|it| it.parse::<usize>().ok());
    let (Some(first), Some(last)) = (ends.next(), ends.next()) else {
        anyhow::bail!("cannot parse the system's range of ports: {range:?}");
    };
    let ports = (last + 1).saturating_sub(first);
    anyhow::ensure!(
        needed <= ports,
        "this needs {needed} ports for TCP connections to one address and the system has {ports}: \
         widen net.ipv4.ip_local_port_range (as root, with sysctl), use fewer --connections, or \
         --transport quic"
    );
    Ok(())
}

/// Waits until the gateway's memory no longer changes. Returns it, and whether it settled in time.
async fn settle(gateway: &Gateway) -> anyhow::Result<(u64, bool)> {
    let mut looks = Vec::new();
    while looks.len() < LOOKS_AT_MOST {
        tokio::time::sleep(LOOK).await;
        looks.push(machine::resident_kib(gateway.pid())?);
        if looks.len() >= LOOKS_AT_LEAST && is_settled(&looks) {
            return Ok((looks.last().copied().unwrap_or_default(), true));
        }
    }
    Ok((looks.last().copied().unwrap_or_default(), false))
}

fn is_settled(looks: &[u64]) -> bool {
    let recent = looks.get(looks.len().saturating_sub(LOOKS)..).unwrap_or_default();
    match (recent.iter().min(), recent.iter().max()) {
        (Some(min), Some(max)) => (max - min) as f64 <= *max as f64 * SETTLED,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_memory_is_found() {
        let sockstat = "sockets: used 16\nTCP: inuse 1 orphan 0 tw 8 alloc 1 mem 487\n\
                        UDP: inuse 0 mem 83\nUDPLITE: inuse 0\n";
        assert_eq!(field(sockstat, "TCP:", "mem"), Some(487));
        assert_eq!(field(sockstat, "UDP:", "mem"), Some(83));
        assert_eq!(field(sockstat, "UDPLITE:", "mem"), None);
        Kernel::look(TransportVariant::Quic).unwrap();
    }

    #[test]
    fn both_ends_of_a_tcp_connection_are_here() {
        let kernel = |kib| Kernel { slabs_kib: kib, buffers_kib: kib };
        assert_eq!(kernel(500.0).since(kernel(100.0), TransportVariant::Wss, 100).slabs_kib, 2.0);
        assert_eq!(
            kernel(500.0).since(kernel(100.0), TransportVariant::Quic, 100).buffers_kib,
            4.0
        );
    }

    #[test]
    fn the_error_for_too_few_ports_has_the_next_step() {
        enough_ports(28_232, "32768\t60999\n").unwrap();
        let error = enough_ports(28_233, "32768\t60999\n").unwrap_err().to_string();
        assert!(error.contains("ip_local_port_range"), "{error}");
        enough_ports(1, "?").unwrap_err();
    }

    #[test]
    fn memory_is_settled_when_the_last_looks_agree() {
        assert!(!is_settled(&[]));
        assert!(is_settled(&[5000; 10]));
        assert!(is_settled(&[[1, 2, 3].as_slice(), &[5000; 10]].concat()));
        assert!(!is_settled(&[[5000; 9].as_slice(), &[5100]].concat()));
    }
}
