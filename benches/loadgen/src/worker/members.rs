//! Members of one session from a worker process: some that read, or some that also send as fast as
//! the gateway reads.
//!
//! For each line of input, the worker reports its progress. Members whose links the gateway has
//! ended are counted and do not come back.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use signalbox_client::{Client, Connector, Event, Events};
use signalbox_protocol::CloseReason;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::Semaphore,
    task::JoinSet,
};

use super::WorkerProcess;
use crate::{
    client::{Arrived, ClientReceiver, ClientSender, OnMessage, signalbox::LinkEnded},
    clock::{nanos, now_ns, sleep_until},
    machine,
    output::line,
    payload,
    target::{Target, gateway::Gateway},
    transport::TransportVariant,
};

/// Clients that join at the same time.
const JOINING: usize = 16;

/// Signals that a sender writes before the others have a turn.
const BURST: u32 = 32;

/// Pause of a sender whose gateway takes no more bytes.
const BLOCKED: Duration = Duration::from_millis(1);

/// The part of its rate that a reader may catch up after it had nothing to read.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Timeout of a report. The first one comes when all have joined.
const REPORT: Duration = Duration::from_secs(60);

/// The worker's hidden command.
#[derive(Debug, Clone, clap::Args)]
pub struct MembersWorker {
    /// The gateway's address, as it announces it.
    #[arg(long)]
    to: SocketAddr,
    /// The file of its authority.
    #[arg(long)]
    ca: PathBuf,
    /// The transport of the members.
    #[arg(long)]
    transport: TransportVariant,
    /// Opens the session.
    #[arg(long)]
    token: String,
    /// Number of members.
    #[arg(long)]
    members: u32,
    /// All of them send to all members without a pause.
    #[arg(long)]
    sending: bool,
    /// Signals per second that each of them reads; 0 for as many as there are.
    #[arg(long, default_value_t = 0)]
    reads: u32,
}

/// Progress of the worker.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct MembersProgress {
    /// The time by the clock.
    pub at_ns: u64,
    /// Signals that its members have received.
    pub received: u64,
    /// Signals of its members that the gateway has refused.
    pub refused: u64,
    /// Members that the gateway has ended as slow consumers.
    pub slow: u64,
    /// Members that have ended for any other reason.
    pub lost: u64,
    /// Processor time of the worker so far.
    pub cpu_ns: u64,
}

type Progress = Arc<Mutex<MembersProgress>>;

impl MembersWorker {
    /// Joins, and reads or sends until standard input ends.
    pub async fn run(&self) -> anyhow::Result<()> {
        let roots = signalbox_certs::roots_from_pem(&std::fs::read(&self.ca)?)?;
        let (host, token) = (self.to.to_string(), self.token.clone());
        let target = Target::signalbox(self.transport, self.to, &host, roots, token)?;
        let progress = Progress::default();
        let mut asked = BufReader::new(tokio::io::stdin()).lines();
        // Senders begin when all have joined and the first report has been asked for.
        let mut senders = if self.reads > 0 {
            self.join_readers(&progress).await?;
            Vec::new()
        } else {
            self.join(Arc::new(target), &progress).await?
        };
        while asked.next_line().await?.is_some() {
            for sender in senders.drain(..) {
                tokio::spawn(send(sender));
            }
            let cpu_ns = nanos(machine::cpu_time(std::process::id())?);
            let now = MembersProgress { at_ns: now_ns(), cpu_ns, ..*progress.lock() };
            line(serde_json::to_string(&now)?)?;
        }
        Ok(())
    }

    /// Joins with members of the SDK, whose applications read at a rate.
    async fn join_readers(&self, progress: &Progress) -> anyhow::Result<()> {
        let connector = Connector::with_roots_pem(&std::fs::read(&self.ca)?)?;
        let options = self.transport.options_to(self.to, &self.token)?;
        for _ in 0..self.members {
            let (client, events) = connector.connect(&options).await?;
            let interval_ns = nanos(Duration::from_secs(1)) / u64::from(self.reads);
            tokio::spawn(read_at_rate(client, events, interval_ns, progress.clone()));
        }
        Ok(())
    }

    /// Joins with all members. Returns those that send.
    async fn join(
        &self,
        target: Arc<Target>,
        progress: &Progress,
    ) -> anyhow::Result<Vec<ClientSender>> {
        let permits = Arc::new(Semaphore::new(JOINING));
        let mut joining = JoinSet::new();
        for number in 0..self.members {
            let permit = permits.clone().acquire_owned().await?;
            let target = target.clone();
            joining.spawn(async move {
                let _permit = permit;
                target.join(number).await
            });
        }
        let mut senders = Vec::new();
        while let Some(joined) = joining.join_next().await {
            let client = joined?.context("a member could not join")?;
            tokio::spawn(receive(client.receiver, progress.clone()));
            senders.push(client.sender);
        }
        if !self.sending {
            senders.clear();
        }
        Ok(senders)
    }
}

/// Counts what arrives until the link ends, and then how it ended.
async fn receive(receiver: ClientReceiver, progress: Progress) {
    let counted = progress.clone();
    let on_message: OnMessage = Arc::new(move |heard: Arrived<'_>| {
        let mut progress = counted.lock();
        match heard {
            Arrived::Signal(_) => progress.received += 1,
            Arrived::Refused(_) => progress.refused += 1,
        }
        Ok(())
    });
    let error = receiver.run(on_message).await;
    let mut progress = progress.lock();
    let reason = error.downcast_ref::<LinkEnded>().map(|it| it.reason);
    // A member that does not read may find its link closed before it reads why.
    let slow = CloseReason::SlowConsumer;
    if reason == Some(slow) || format!("{error:#}").contains(slow.name()) {
        progress.slow += 1;
    } else {
        progress.lost += 1;
    }
}

/// Reads one signal per interval, or what has gathered meanwhile, until the connection ends.
async fn read_at_rate(client: Client, mut events: Events, interval_ns: u64, progress: Progress) {
    let mut due_ns = now_ns();
    let mut reason = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Signal { .. } => progress.lock().received += 1,
            Event::SessionReconnecting { reason: why, .. }
            | Event::SessionDisconnected { reason: why, .. } => reason = reason.or(Some(why)),
            _ => {}
        }
        due_ns = now_ns().saturating_sub(nanos(CATCH_UP)).max(due_ns + interval_ns);
        if now_ns() < due_ns {
            sleep_until(due_ns).await;
        }
    }
    drop(client);
    let mut progress = progress.lock();
    if reason == Some(CloseReason::SlowConsumer) {
        progress.slow += 1;
    } else {
        progress.lost += 1;
    }
}

/// Sends without a pause until the link ends.
async fn send(sender: ClientSender) -> anyhow::Result<()> {
    let data = payload::encode(0);
    loop {
        for _ in 0..BURST {
            if sender.is_drained() {
                sender.send(None, &data)?;
            }
        }
        if sender.retry()? {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(BLOCKED).await;
        }
    }
}

/// What members do.
#[derive(Debug, Clone, Copy)]
pub enum MembersRole {
    /// Read as fast as they can.
    Read,
    /// Read this many signals per second, with the SDK.
    ReadAtRate(u32),
    /// Send as fast as the gateway reads.
    Send,
}

/// The worker, seen from the measuring process. Dropping it ends it.
pub struct Members(WorkerProcess);

impl Members {
    /// Starts a worker, and waits until all its members have joined. Those that send then begin.
    pub async fn start(
        gateway: &Gateway,
        transport: TransportVariant,
        token: &str,
        members: usize,
        role: MembersRole,
    ) -> anyhow::Result<Self> {
        let ca = gateway.ca().to_string_lossy().into_owned();
        let name = transport.to_possible_value().context("a transport without a name")?;
        let (to, members) = (gateway.address(transport), members.to_string());
        let mut arguments = vec!["--to", to, "--ca", &ca, "--transport", name.get_name()];
        arguments.extend(["--token", token, "--members", &members]);
        let reads;
        match role {
            MembersRole::Read => {}
            MembersRole::ReadAtRate(rate) => {
                reads = rate.to_string();
                arguments.extend(["--reads", &reads]);
            }
            MembersRole::Send => arguments.push("--sending"),
        }
        let mut worker = Self(WorkerProcess::start("members-worker", arguments)?);
        worker.progress().await?;
        Ok(worker)
    }

    /// `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    /// Asks for its progress.
    pub async fn progress(&mut self) -> anyhow::Result<MembersProgress> {
        self.0.send(&()).await?;
        self.0.receive(REPORT).await
    }

    /// Ends the worker.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}
