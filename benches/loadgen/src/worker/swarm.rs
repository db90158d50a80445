//! A swarm of clients that join, lose their links together and reconnect, from a worker process.
//!
//! One worker joins and reports the tickets of its clients. It is killed, as if the network of all
//! its clients had failed: the system closes its TCP connections without a WebSocket close, and
//! nothing more arrives over QUIC. Another worker resumes with the tickets.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use signalbox_client::Backoff;
use signalbox_protocol::{CloseReason, Codec};
use signalbox_report::Percentiles;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::Semaphore,
    task::JoinSet,
};

use super::WorkerProcess;
use crate::{
    client::{
        MinimalClient,
        quic::{Purpose, QuicDialer},
        signalbox::{Entry, LinkEnded, SignalboxProtocol},
        stream::StreamDialer,
    },
    clock::{nanos, now_ns, sleep_until},
    latencies::Latencies,
    machine,
    output::line,
    target::gateway::Gateway,
    transport::TransportVariant,
};

/// Clients that join at the same time.
const JOINING: usize = 32;

/// Further attempts to join, for machines too busy for the gateway's timeouts.
const JOIN_RETRIES: usize = 3;

/// Clients in each session.
const SESSION_CLIENTS: usize = 10;

/// Timeout of the whole swarm for joining or resuming.
const PATIENCE: Duration = Duration::from_secs(60);

/// The worker's hidden command.
#[derive(Debug, Clone, clap::Args)]
pub struct SwarmWorker {
    /// The gateway's address, as it announces it.
    #[arg(long)]
    to: SocketAddr,
    /// The file of its authority.
    #[arg(long)]
    ca: PathBuf,
    /// The transport of its clients.
    #[arg(long)]
    transport: TransportVariant,
}

/// A command to the worker, one a line.
#[derive(Debug, Serialize, Deserialize)]
enum SwarmCommand {
    /// Join with this number of clients for each token.
    Join { tokens: Vec<String>, each: usize },
    /// Prepare to resume.
    Tickets(Vec<String>),
    /// Resume one after the other, from a time on and within another.
    Resume { start_ns: u64, within_ns: u64 },
}

/// The times in which the swarm has resumed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwarmResult {
    /// Time of each client from its due start to its resumption.
    pub each_us: Percentiles,
    /// Time from the start of the first client to the resumption of the last, in seconds.
    pub seconds: f64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// The worker's use of its one thread in that time.
    pub cores: f64,
}

/// Clients that stay connected, each in a task.
type Held = JoinSet<anyhow::Result<()>>;

/// Connects idle clients to one gateway.
enum SwarmDialer {
    Quic(Box<QuicDialer>),
    WebSocket { dialer: StreamDialer, host: String },
}

impl SwarmDialer {
    fn new(transport: TransportVariant, to: SocketAddr, ca: &[u8]) -> anyhow::Result<Self> {
        let roots = signalbox_certs::roots_from_pem(ca)?;
        let alpn: &[&[u8]] = if transport.is_quic() { &[] } else { &[b"http/1.1"] };
        let tls = signalbox_certs::client(roots, alpn);
        if transport.is_quic() {
            let (name, protocol) = (to.ip().to_string(), transport.quic_protocol());
            let dialer = QuicDialer::new(to, &name, tls, protocol, Purpose::Idle)?;
            return Ok(Self::Quic(Box::new(dialer)));
        }
        let dialer = StreamDialer::new(to, ServerName::from(to.ip()), Some(tls.into())).idle();
        Ok(Self::WebSocket { dialer, host: to.to_string() })
    }

    async fn join(&self, entry: &Entry) -> anyhow::Result<(MinimalClient, String)> {
        let client = match self {
            Self::Quic(dialer) => dialer.join(entry).await?,
            Self::WebSocket { dialer, host } => {
                let protocol = SignalboxProtocol::new(host, Codec::Postcard, entry.clone());
                dialer.join(Box::new(protocol)).await?
            }
        };
        let ticket = client.ticket.clone().context("a client got no ticket")?;
        Ok((client, ticket))
    }
}

/// Holds a client; that its connection ends is an error.
async fn hold(client: MinimalClient) -> anyhow::Result<()> {
    Err(client.receiver.run(Arc::new(|_| Ok(()))).await.context("a link of the swarm ended"))
}

impl SwarmWorker {
    /// Executes commands until standard input ends.
    pub async fn run(&self) -> anyhow::Result<()> {
        let dialer =
            Arc::new(SwarmDialer::new(self.transport, self.to, &std::fs::read(&self.ca)?)?);
        let mut commands = BufReader::new(tokio::io::stdin()).lines();
        let mut tickets = Vec::new();
        let mut held = Held::new();
        loop {
            let command = tokio::select! {
                command = commands.next_line() => command?,
                // They end only with an error.
                Some(lost) = held.join_next() => return lost?,
            };
            let Some(command) = command else { return Ok(()) };
            match serde_json::from_str(&command)? {
                SwarmCommand::Join { tokens, each } => {
                    let tickets = join(&dialer, &tokens, each, &mut held).await?;
                    line(serde_json::to_string(&tickets)?)?;
                }
                SwarmCommand::Tickets(given) => {
                    tickets = given;
                    line(serde_json::to_string(&tickets.len())?)?;
                }
                SwarmCommand::Resume { start_ns, within_ns } => {
                    let tickets = std::mem::take(&mut tickets);
                    let result = resume(&dialer, tickets, start_ns, within_ns, &mut held).await?;
                    line(serde_json::to_string(&result)?)?;
                }
            }
        }
    }
}

async fn join(
    dialer: &Arc<SwarmDialer>,
    tokens: &[String],
    each: usize,
    held: &mut Held,
) -> anyhow::Result<Vec<String>> {
    let permits = Arc::new(Semaphore::new(JOINING));
    let mut joining = JoinSet::new();
    for token in tokens.iter().flat_map(|token| std::iter::repeat_n(token, each)) {
        let permit = permits.clone().acquire_owned().await?;
        let dialer = dialer.clone();
        let entry = Entry::Join { token: token.clone(), resumable: true };
        joining.spawn(async move {
            let _permit = permit;
            let mut joined = dialer.join(&entry).await;
            for _ in 0..JOIN_RETRIES {
                if joined.is_err() {
                    joined = dialer.join(&entry).await;
                }
            }
            joined
        });
    }
    let mut tickets = Vec::new();
    while let Some(joined) = joining.join_next().await {
        let (client, ticket) = joined?.context("a client of the swarm could not join")?;
        held.spawn(hold(client));
        tickets.push(ticket);
    }
    Ok(tickets)
}

async fn resume(
    dialer: &Arc<SwarmDialer>,
    tickets: Vec<String>,
    start_ns: u64,
    within_ns: u64,
    held: &mut Held,
) -> anyhow::Result<SwarmResult> {
    let count = tickets.len().max(1) as u64;
    let own = std::process::id();
    sleep_until(start_ns).await;
    let used = machine::cpu_time(own)?;
    let mut resuming = JoinSet::new();
    for (index, ticket) in (0..).zip(tickets) {
        let due_ns = start_ns + within_ns * index / count;
        resuming.spawn(resume_one(dialer.clone(), ticket, due_ns));
    }
    let (mut latencies, mut retries, mut last_ns) = (Latencies::new(), 0, start_ns);
    while let Some(resumed) = resuming.join_next().await {
        let ResumedClient { client, due_ns, at_ns, retried } = resumed??;
        held.spawn(hold(client));
        latencies.record(at_ns.saturating_sub(due_ns));
        retries += retried;
        last_ns = last_ns.max(at_ns);
    }
    let used = machine::cpu_time(own)?.saturating_sub(used).as_secs_f64();
    let seconds = last_ns.saturating_sub(start_ns) as f64 / 1e9;
    Ok(SwarmResult { each_us: latencies.percentiles(), seconds, retries, cores: used / seconds })
}

struct ResumedClient {
    client: MinimalClient,
    due_ns: u64,
    at_ns: u64,
    retried: u64,
}

/// Tries until the client has resumed.
async fn resume_one(
    dialer: Arc<SwarmDialer>,
    ticket: String,
    due_ns: u64,
) -> anyhow::Result<ResumedClient> {
    sleep_until(due_ns).await;
    let (mut attempt, mut backoff) = (1, Backoff::default());
    loop {
        let now = Instant::now();
        tokio::time::sleep(backoff.next_pause(now)).await;
        let entry = Entry::Resume { ticket: ticket.clone(), attempt };
        let limit = backoff.attempt_timeout(now);
        let why = match tokio::time::timeout(limit, dialer.join(&entry)).await {
            Ok(Ok((client, _))) => {
                let retried = u64::from(attempt - 1);
                return Ok(ResumedClient { client, due_ns, at_ns: now_ns(), retried });
            }
            Ok(Err(error)) if refused(&error) == Some(CloseReason::InvalidTicket) => {
                bail!("a connection of the swarm was not kept until its client resumed")
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {limit:?}"),
        };
        if now_ns() > due_ns + nanos(PATIENCE) {
            bail!("a client of the swarm cannot resume: {why}");
        }
        attempt += 1;
    }
}

/// The reason for which the gateway ended a link, if it did.
fn refused(error: &anyhow::Error) -> Option<CloseReason> {
    error.downcast_ref::<LinkEnded>().map(|it| it.reason)
}

/// The worker, seen from the measuring process. Dropping it ends it.
pub struct ReconnectSwarm(WorkerProcess);

impl ReconnectSwarm {
    /// Joins with `clients` clients and loses all their links. Returns their tickets. The gateway
    /// notices at once over TCP, and after its idle timeout over QUIC.
    pub async fn join_and_lose(
        gateway: &Gateway,
        transport: TransportVariant,
        clients: usize,
    ) -> anyhow::Result<Vec<String>> {
        let sessions = clients.div_ceil(SESSION_CLIENTS);
        let tokens = (0..sessions).map(|_| gateway.token()).collect::<anyhow::Result<_>>()?;
        let mut swarm = Self::start(gateway, transport)?;
        swarm.0.send(&SwarmCommand::Join { tokens, each: SESSION_CLIENTS }).await?;
        let mut tickets: Vec<String> = swarm.0.receive(PATIENCE).await?;
        swarm.0.kill().await?;
        tickets.truncate(clients);
        Ok(tickets)
    }

    /// Starts a worker that is ready to resume with these tickets.
    pub async fn prepare(
        gateway: &Gateway,
        transport: TransportVariant,
        tickets: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut swarm = Self::start(gateway, transport)?;
        swarm.0.send(&SwarmCommand::Tickets(tickets)).await?;
        let _: usize = swarm.0.receive(PATIENCE).await?;
        Ok(swarm)
    }

    fn start(gateway: &Gateway, transport: TransportVariant) -> anyhow::Result<Self> {
        let ca = gateway.ca().to_string_lossy().into_owned();
        let to = if transport.is_quic() { gateway.quic() } else { gateway.https() };
        let name = transport.to_possible_value().context("a transport without a name")?;
        let flags = ["--to", to, "--ca", &ca, "--transport", name.get_name()];
        Ok(Self(WorkerProcess::start("swarm-worker", flags)?))
    }

    /// `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    /// Starts to resume at a time, evenly within another.
    pub async fn resume(&mut self, start_ns: u64, within: Duration) -> anyhow::Result<()> {
        self.0.send(&SwarmCommand::Resume { start_ns, within_ns: nanos(within) }).await
    }

    /// Waits until all have resumed.
    pub async fn result(&mut self) -> anyhow::Result<SwarmResult> {
        self.0.receive(PATIENCE + PATIENCE).await
    }

    /// Ends the worker.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}
