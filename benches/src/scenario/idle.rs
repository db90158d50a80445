//! The scenario without signals: what the gateway's memory grows by for each idle connection, and
//! the kernel's.

use std::{fs, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::order;
use crate::{
    clients::connect,
    gateway::{Gateway, Launcher, allow_files},
    output::note,
    procfs,
    stats::Spread,
    transport::Transport,
};

/// Connections made before the first look, so that code and tables that the first ones need are
/// not charged to those that are counted.
const FIRST: usize = 50;

/// How often we look at the gateway's memory.
const LOOK: Duration = Duration::from_millis(500);

/// Memory is settled when this many looks in a row ...
const LOOKS: usize = 10;

/// ... are this close together, as a share.
const SETTLED: f64 = 0.002;

/// Looks at least: past the first pings of both transports (10 s).
const LOOKS_AT_LEAST: usize = 24;

/// Looks at most.
const LOOKS_AT_MOST: usize = 120;

/// Many connections, joined and idle.
#[derive(Debug, Clone, clap::Args)]
pub struct Idle {
    /// Transports to set side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    pub transport: Vec<Transport>,
    /// Connections. The gateway's limits by default: 100000 in a project, 15000 in a session.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
    pub connections: usize,
    /// Connections in each session.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub session_size: usize,
    /// Rounds over all transports.
    #[arg(long, value_name = "ROUNDS", default_value_t = 1)]
    pub repeat: usize,
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct IdleResult {
    /// `idle`.
    pub scenario: &'static str,
    /// Connections.
    pub connections: usize,
    /// A row for each transport.
    pub rows: Vec<IdleRow>,
}

/// All rounds of one transport.
#[derive(Debug, Serialize)]
pub struct IdleRow {
    /// The transport.
    pub transport: Transport,
    /// Memory for each connection.
    pub kib_per_connection: Spread,
    /// Memory of the whole gateway with all of them.
    pub gateway_kib: Spread,
    /// The kernel's slabs for each connection (what cannot be reclaimed, of the gateway's end).
    pub kernel_kib_per_connection: Spread,
    /// What the kernel's socket buffers hold for each connection (of the gateway's end).
    pub buffers_kib_per_connection: Spread,
    /// The single measurements.
    pub rounds: Vec<Memory>,
}

/// What one measurement found: resident memory of the gateway, in KiB.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// With the first few connections.
    pub before_kib: u64,
    /// With all of them, settled.
    pub after_kib: u64,
    /// The difference, for each.
    pub kib_per_connection: f64,
    /// What the kernel has come to hold for each, at the gateway's end.
    pub kernel: Kernel,
    /// Whether it had settled when the time was up.
    pub settled: bool,
}

/// Memory of the kernel, in KiB. The whole machine's: what else runs on it is in it, too, so the
/// figures are good only for many connections on a quiet machine.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Kernel {
    /// Slabs that cannot be reclaimed: sockets, files, what epoll knows of them. Not in it are the
    /// inode and the name of a socket, about 1 KiB, as they count as reclaimable.
    pub slabs_kib: f64,
    /// What sockets account for as buffers of TCP or UDP. Small ones are in the slabs as well, so
    /// the two must not be added.
    pub buffers_kib: f64,
}

impl Kernel {
    /// What it holds now.
    fn look(transport: Transport) -> anyhow::Result<Self> {
        let meminfo = read("/proc/meminfo")?;
        let sockstat = read("/proc/net/sockstat")?;
        let protocol = if transport.is_quic() { "UDP:" } else { "TCP:" };
        let pages = field(&sockstat, protocol, "mem").context("no memory in sockstat")?;
        let slabs = field(&meminfo, "SUnreclaim:", "").context("no slabs in meminfo")?;
        let page_kib = rustix::param::page_size() as u64 / 1024;
        Ok(Self { slabs_kib: slabs as f64, buffers_kib: (pages * page_kib) as f64 })
    }

    /// What has come since `before`, for each of so many connections, at the gateway's end: the
    /// other is on this machine, too. Over TCP both have a socket for each connection, so it is a
    /// half; over QUIC neither has.
    fn since(self, before: Self, transport: Transport, connections: usize) -> Self {
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

/// The number that follows `name` in the line that begins with `line`.
fn field(text: &str, line: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|it| it.strip_prefix(line))?;
    let mut words = rest.split_ascii_whitespace();
    if !name.is_empty() {
        words.find(|word| *word == name)?;
    }
    words.next()?.parse().ok()
}

impl IdleRow {
    fn new(transport: Transport, rounds: Vec<Memory>) -> Self {
        Self {
            transport,
            kib_per_connection: Spread::of(rounds.iter().map(|it| it.kib_per_connection)),
            gateway_kib: Spread::of(rounds.iter().map(|it| it.after_kib as f64)),
            kernel_kib_per_connection: Spread::of(rounds.iter().map(|it| it.kernel.slabs_kib)),
            buffers_kib_per_connection: Spread::of(rounds.iter().map(|it| it.kernel.buffers_kib)),
            rounds,
        }
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        self.rounds.iter().filter(|it| !it.settled).map(|_| {
            let name = self.transport.title();
            format!("{name}: the gateway's memory was still changing when the time was up")
        })
    }
}

impl Idle {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run or a connection is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<IdleResult> {
        anyhow::ensure!(self.repeat > 0, "--repeat must be at least 1");
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        allow_files((self.connections + FIRST + 100) as u64)?;
        if self.transport.iter().any(|it| !it.is_quic()) {
            enough_ports(
                self.connections + FIRST,
                &read("/proc/sys/net/ipv4/ip_local_port_range")?,
            )?;
        }
        let mut done: Vec<(Transport, Vec<Memory>)> =
            self.transport.iter().map(|it| (*it, Vec::new())).collect();
        'rounds: for round in 0..self.repeat {
            for transport in order(&self.transport, round) {
                let measuring = self.measure(launcher, transport);
                let Some(memory) = launcher.unless_interrupted(measuring).await? else {
                    break 'rounds;
                };
                note(format_args!(
                    "idle {}/{}  {:<30} {:.1} KiB per connection, {:.1} of the kernel{}",
                    round + 1,
                    self.repeat,
                    transport.title(),
                    memory.kib_per_connection,
                    memory.kernel.slabs_kib,
                    if memory.settled { "" } else { " (not settled)" }
                ));
                if let Some((_, rounds)) = done.iter_mut().find(|(it, _)| *it == transport) {
                    rounds.push(memory);
                }
            }
        }
        done.retain(|(_, rounds)| !rounds.is_empty());
        Ok(IdleResult {
            scenario: "idle",
            connections: self.connections,
            rows: done
                .into_iter()
                .map(|(transport, rounds)| IdleRow::new(transport, rounds))
                .collect(),
        })
    }

    async fn measure(&self, launcher: &Launcher, transport: Transport) -> anyhow::Result<Memory> {
        let gateway = launcher.start().await?;
        let first = connect(&gateway, transport, FIRST, self.session_size).await?;
        let (before_kib, _) = settle(&gateway).await?;
        let kernel = Kernel::look(transport)?;
        let rest = connect(&gateway, transport, self.connections, self.session_size).await?;
        let (after_kib, settled) = settle(&gateway).await?;
        let kernel = Kernel::look(transport)?.since(kernel, transport, self.connections);
        // Idle clients read nothing but their own end.
        for (client, mut events) in first.into_iter().chain(rest) {
            let ended = client.ended();
            let over = tokio::time::timeout(Duration::ZERO, ended).await.is_ok();
            if over {
                let mut last = None;
                while let Some(event) = events.next().await {
                    last = Some(event);
                }
                anyhow::bail!("an idle client lost its connection: {last:?}");
            }
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

/// A TCP connection to one address needs a port of its own on this side; QUIC shares one.
fn enough_ports(needed: usize, range: &str) -> anyhow::Result<()> {
    let mut ends = range.split_ascii_whitespace().filter_map(|it| it.parse::<usize>().ok());
    let (Some(first), Some(last)) = (ends.next(), ends.next()) else {
        anyhow::bail!("the system's range of ports has another form than expected: {range:?}");
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

/// Waits until the gateway's memory no longer changes; what it is then, and whether it came to
/// that.
async fn settle(gateway: &Gateway) -> anyhow::Result<(u64, bool)> {
    let mut looks = Vec::new();
    while looks.len() < LOOKS_AT_MOST {
        tokio::time::sleep(LOOK).await;
        looks.push(procfs::resident_kib(gateway.pid())?);
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
        let meminfo = "Slab:  905800 kB\nSUnreclaim:  104420 kB\n";
        assert_eq!(field(meminfo, "SUnreclaim:", ""), Some(104_420));
        Kernel::look(Transport::Quic).unwrap();
    }

    #[test]
    fn both_ends_of_a_tcp_connection_are_here() {
        let kernel = |kib| Kernel { slabs_kib: kib, buffers_kib: kib };
        assert_eq!(kernel(500.0).since(kernel(100.0), Transport::Wss, 100).slabs_kib, 2.0);
        assert_eq!(kernel(500.0).since(kernel(100.0), Transport::Quic, 100).buffers_kib, 4.0);
    }

    #[test]
    fn too_few_ports_are_said_with_the_next_step() {
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
