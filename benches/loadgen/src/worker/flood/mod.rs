//! Floods from strangers, from a worker process: sending them must not delay the measuring thread.
//!
//! The worker prepares the flood and says so. It begins with the first line of input, and reports its
//! progress for each line.

mod held;
mod initials;
mod requests;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    task::JoinSet,
};

use super::WorkerProcess;
use crate::{
    clock::{nanos, now_ns},
    machine,
    output::line,
    target::gateway::Gateway,
};

/// Connections are opened over this time, not at once.
const RAMP: Duration = Duration::from_secs(1);

/// Timeout of a report. The worker does not report while it prepares and opens connections.
const REPORT: Duration = Duration::from_secs(20);

/// A kind of flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FloodKind {
    /// Requests without a credential over kept-alive connections.
    KeptAlive,
    /// Requests without a credential, each over a new connection.
    Fresh,
    /// Health checks over kept-alive connections.
    Health,
    /// Requests with an invalid credential over kept-alive connections.
    BadCredential,
    /// First packets of QUIC handshakes from changing ports, with nobody to read the answer.
    Initials,
    /// QUIC connections that never open a stream.
    Handshakes,
    /// TCP connections that send nothing.
    HalfOpen,
    /// TLS connections that send half of the head of a request.
    SlowHeads,
    /// WebSockets that never send a hello.
    SilentWebsockets,
}

impl FloodKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::KeptAlive,
        Self::Fresh,
        Self::Health,
        Self::BadCredential,
        Self::Initials,
        Self::Handshakes,
        Self::HalfOpen,
        Self::SlowHeads,
        Self::SilentWebsockets,
    ];

    /// For tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::KeptAlive => "kept-alive requests",
            Self::Fresh => "requests over new connections",
            Self::Health => "health checks",
            Self::BadCredential => "invalid credentials",
            Self::Initials => "QUIC Initials",
            Self::Handshakes => "held QUIC handshakes",
            Self::HalfOpen => "half-open TLS",
            Self::SlowHeads => "slow heads",
            Self::SilentWebsockets => "silent WebSockets",
        }
    }

    /// Whether it consists of connections that are held open, and not of requests at a rate.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Handshakes | Self::HalfOpen | Self::SlowHeads | Self::SilentWebsockets)
    }

    /// The name of the flag's value.
    fn name(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
    }
}

/// The worker's hidden command.
#[derive(Debug, Clone, clap::Args)]
pub struct FloodWorker {
    /// The kind of flood.
    #[arg(long)]
    kind: FloodKind,
    /// The gateway's HTTPS address, as it announces it.
    #[arg(long)]
    https: String,
    /// Its QUIC address.
    #[arg(long)]
    quic: String,
    /// The file of its authority.
    #[arg(long)]
    ca: PathBuf,
    /// Path of the requests.
    #[arg(long)]
    path: String,
    /// Requests or packets per second.
    #[arg(long)]
    rate: u32,
    /// Connections at a time.
    #[arg(long)]
    connections: u32,
    /// Addresses of the loopback from which it comes.
    #[arg(long)]
    addresses: u32,
}

/// Progress of the worker.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct FloodProgress {
    /// The time by the clock.
    pub at_ns: u64,
    /// Requests that were answered as they should be, or packets sent.
    pub answered: u64,
    /// Requests and connections that the gateway refused or closed.
    pub refused: u64,
    /// Connections established.
    pub connected: u64,
    /// Processor time of the worker so far.
    pub cpu_ns: u64,
}

/// The progress that all tasks of a worker share.
type SharedProgress = Arc<Mutex<FloodProgress>>;

impl FloodWorker {
    /// Floods until standard input ends.
    pub async fn run(&self) -> anyhow::Result<()> {
        let progress = SharedProgress::default();
        let mut senders = JoinSet::new();
        let packets = match self.kind {
            FloodKind::Initials => self.make_initials().await?,
            _ => Vec::new(),
        };
        let report = || -> anyhow::Result<()> {
            let cpu_ns = nanos(machine::cpu_time(std::process::id())?);
            let now = FloodProgress { at_ns: now_ns(), cpu_ns, ..*progress.lock() };
            Ok(line(serde_json::to_string(&now)?)?)
        };
        report()?;
        let mut asked = BufReader::new(tokio::io::stdin()).lines();
        if asked.next_line().await?.is_none() {
            return Ok(());
        }
        match self.kind {
            FloodKind::KeptAlive
            | FloodKind::Fresh
            | FloodKind::Health
            | FloodKind::BadCredential => self.start_requests(&progress, &mut senders)?,
            FloodKind::Initials => self.send_initials(packets, &progress, &mut senders)?,
            _ => self.start_held(&progress, &mut senders)?,
        }
        let reporting = async {
            tokio::time::sleep(RAMP).await;
            report()?;
            while asked.next_line().await?.is_some() {
                report()?;
            }
            Ok(())
        };
        tokio::select! {
            result = reporting => result,
            // They end only with an error.
            Some(failed) = senders.join_next() => failed?,
        }
    }

    /// The authority's certificate.
    fn ca(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(&self.ca).context("cannot read the gateway's authority")
    }

    /// The source address of a connection. The measuring clients have 127.0.0.1.
    fn source(&self, index: u32) -> IpAddr {
        let last = 2 + index % self.addresses.clamp(1, 250);
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(last).unwrap_or(u8::MAX)))
    }
}

/// The worker, seen from the measuring process. Dropping it ends it.
pub struct FloodGenerator(WorkerProcess);

/// A flood to start.
#[derive(Debug, Clone, Copy)]
pub struct FloodOrder {
    /// The kind of flood.
    pub kind: FloodKind,
    /// Requests or packets per second.
    pub rate: u32,
    /// Connections at a time.
    pub connections: u32,
    /// Addresses from which it comes, at most 250.
    pub addresses: u32,
}

impl FloodGenerator {
    /// Starts a worker and waits until it can begin.
    pub async fn prepare(gateway: &Gateway, order: FloodOrder) -> anyhow::Result<Self> {
        let FloodOrder { kind, rate, connections, addresses } = order;
        let ca = gateway.ca().to_string_lossy().into_owned();
        let path = gateway.signal_path(&gateway.session()?);
        let [rate, connections, addresses] =
            [rate, connections, addresses].map(|number| number.to_string());
        let kind = kind.name();
        let mut arguments = vec!["--kind", &kind, "--https", gateway.https()];
        arguments.extend(["--quic", gateway.quic(), "--ca", &ca, "--path", &path]);
        arguments.extend(["--rate", &rate, "--connections", &connections]);
        arguments.extend(["--addresses", &addresses]);
        let mut flood = Self(WorkerProcess::start("flood-worker", arguments)?);
        let _: FloodProgress = flood.0.receive(REPORT).await?;
        Ok(flood)
    }

    /// Begins the flood and waits until its connections have been opened.
    pub async fn begin(&mut self) -> anyhow::Result<FloodProgress> {
        self.progress().await
    }

    /// `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    /// Asks for its progress.
    pub async fn progress(&mut self) -> anyhow::Result<FloodProgress> {
        self.0.send(&()).await?;
        self.0.receive(REPORT).await
    }

    /// Ends the worker.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that is not run.
    pub(super) fn worker(kind: FloodKind) -> FloodWorker {
        FloodWorker {
            kind,
            https: String::new(),
            quic: String::new(),
            ca: PathBuf::new(),
            path: String::new(),
            rate: 10_000,
            connections: 50,
            addresses: 3,
        }
    }

    #[test]
    fn connections_come_from_all_addresses_in_turn() {
        let worker = worker(FloodKind::HalfOpen);
        let sources: Vec<_> = (0..4).map(|index| worker.source(index).to_string()).collect();
        assert_eq!(sources, ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.2"]);
    }
}
