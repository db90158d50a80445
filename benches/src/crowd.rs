//! Many clients that join, lose their links all at once, and come back together, from a process of
//! their own.
//!
//! One child joins and says which tickets it was given. It is killed, as if all its clients' network
//! had gone: the system ends its TCP connections without a close of what they carried, and over
//! QUIC nothing more comes at all. Another child comes back with the tickets.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use signalbox_protocol::CloseReason;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    clock::{nanos, now_ns, sleep_until},
    gateway::Gateway,
    helper::Helper,
    light::{Dialer, Failure, Link},
    output::line,
    procfs,
    stats::{Latencies, Percentiles},
    transport::Transport,
};

/// Clients that join at the same time.
const JOINING: usize = 32;

/// How often each tries again, where the machine is too busy for the gateway's patience.
const JOINS: usize = 3;

/// Clients in each session.
const SESSION: usize = 10;

/// How long the whole crowd may take to join, or to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one attempt to come back may take, as in the SDK.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long a client waits at most before its second attempt, as in the SDK; ever longer later.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// What the child does; the hidden command of the same name.
#[derive(Debug, Clone, clap::Args)]
pub struct Crowd {
    /// The gateway's address, as it announces it.
    #[arg(long)]
    pub(crate) to: String,
    /// The file of its authority.
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// Over QUIC, not WebSocket.
    #[arg(long)]
    pub(crate) quic: bool,
}

/// What the child is told.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// To join, so many with each token.
    Join { tokens: Vec<String>, each: usize },
    /// To get ready to come back.
    Tickets(Vec<String>),
    /// To come back, one after the other, from a time on and within another.
    Resume { start_ns: u64, within_ns: u64 },
}

/// How the crowd has come back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resumed {
    /// From when each was to begin to when it was back.
    pub each_us: Percentiles,
    /// From when the first one began to when the last one was back, in seconds.
    pub seconds: f64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Use that the process made of its one thread meanwhile.
    pub cores: f64,
}

/// Links that are held, each in a task.
type Held = JoinSet<anyhow::Result<()>>;

impl Crowd {
    /// Does what it is told until standard input ends.
    ///
    /// # Errors
    /// If a client cannot join or come back, or a link is lost.
    pub async fn run(&self) -> anyhow::Result<()> {
        let dialer = Arc::new(Dialer::new(self.quic, &self.to, &std::fs::read(&self.ca)?)?);
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        let mut tickets = Vec::new();
        let mut held = Held::new();
        loop {
            let order = tokio::select! {
                order = orders.next_line() => order?,
                // They end only with an error.
                Some(lost) = held.join_next() => return lost?,
            };
            let Some(order) = order else { return Ok(()) };
            match serde_json::from_str(&order)? {
                Order::Join { tokens, each } => {
                    let tickets = join(&dialer, &tokens, each, &mut held).await?;
                    line(serde_json::to_string(&tickets)?)?;
                }
                Order::Tickets(told) => {
                    tickets = told;
                    line(serde_json::to_string(&tickets.len())?)?;
                }
                Order::Resume { start_ns, within_ns } => {
                    let tickets = std::mem::take(&mut tickets);
                    let resumed = resume(&dialer, tickets, start_ns, within_ns, &mut held).await?;
                    line(serde_json::to_string(&resumed)?)?;
                }
            }
        }
    }
}

async fn join(
    dialer: &Arc<Dialer>,
    tokens: &[String],
    each: usize,
    held: &mut Held,
) -> anyhow::Result<Vec<String>> {
    let places = Arc::new(Semaphore::new(JOINING));
    let mut joining = JoinSet::new();
    for token in tokens.iter().flat_map(|token| std::iter::repeat_n(token, each)) {
        let place = places.clone().acquire_owned().await?;
        let (dialer, token) = (dialer.clone(), token.clone());
        joining.spawn(async move {
            let _place = place;
            let mut joined = dialer.join(&token).await;
            for _ in 0..JOINS {
                if joined.is_err() {
                    joined = dialer.join(&token).await;
                }
            }
            joined
        });
    }
    let mut tickets = Vec::new();
    while let Some(joined) = joining.join_next().await {
        let (link, ticket) = joined?.context("a client of the crowd could not join")?;
        held.spawn(link.hold());
        tickets.push(ticket);
    }
    Ok(tickets)
}

async fn resume(
    dialer: &Arc<Dialer>,
    tickets: Vec<String>,
    start_ns: u64,
    within_ns: u64,
    held: &mut Held,
) -> anyhow::Result<Resumed> {
    let count = tickets.len().max(1) as u64;
    let own = std::process::id();
    sleep_until(start_ns).await;
    let used = procfs::cpu_time(own)?;
    let mut resuming = JoinSet::new();
    for (index, ticket) in (0..).zip(tickets) {
        let due_ns = start_ns + within_ns * index / count;
        resuming.spawn(come_back(dialer.clone(), ticket, due_ns, index));
    }
    let (mut latencies, mut retries, mut last_ns) = (Latencies::new(), 0, start_ns);
    while let Some(back) = resuming.join_next().await {
        let Back { link, due_ns, at_ns, retried } = back??;
        held.spawn(link.hold());
        latencies.record(at_ns.saturating_sub(due_ns));
        retries += retried;
        last_ns = last_ns.max(at_ns);
    }
    let used = procfs::cpu_time(own)?.saturating_sub(used).as_secs_f64();
    let seconds = last_ns.saturating_sub(start_ns) as f64 / 1e9;
    Ok(Resumed { each_us: latencies.percentiles(), seconds, retries, cores: used / seconds })
}

/// A client that is back.
struct Back {
    link: Link,
    due_ns: u64,
    at_ns: u64,
    retried: u64,
}

/// Tries until it is back.
async fn come_back(
    dialer: Arc<Dialer>,
    ticket: String,
    due_ns: u64,
    index: u64,
) -> anyhow::Result<Back> {
    sleep_until(due_ns).await;
    let mut attempt = 1;
    loop {
        let answer = tokio::time::timeout(ATTEMPT, dialer.resume(&ticket, attempt)).await;
        let why = match answer {
            Ok(Ok((link, _))) => {
                let retried = u64::from(attempt - 1);
                return Ok(Back { link, due_ns, at_ns: now_ns(), retried });
            }
            Ok(Err(Failure::Refused(CloseReason::InvalidTicket))) => {
                bail!("a connection of the crowd was not kept until its client came back")
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("no answer within {ATTEMPT:?}"),
        };
        if now_ns() > due_ns + nanos(PATIENCE) {
            bail!("a client of the crowd cannot come back: {why}");
        }
        tokio::time::sleep(pause(index, attempt.into())).await;
        attempt += 1;
    }
}

/// How long to wait after so many attempts in vain. Whoever comes one after the other has parts of
/// it that are spread evenly.
fn pause(index: u64, attempts: u64) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).saturating_sub(1).min(16);
    // The golden ratio leaves no two neighbours close together.
    let part = ((index + attempts) as f64 * 0.618_033_988_75).fract();
    FIRST.saturating_mul(1 << doublings).min(LONGEST).mul_f64(part)
}

/// The child, seen from the process that measures. Dropping it ends it.
pub(crate) struct Running(Helper);

impl Running {
    /// Joins with so many clients, over the transport's carrier, and loses them all. Returns their
    /// tickets. The gateway notices at once over TCP, and when they have been silent for long
    /// enough over QUIC.
    pub(crate) async fn lost(
        gateway: &Gateway,
        transport: Transport,
        clients: usize,
    ) -> anyhow::Result<Vec<String>> {
        let sessions = clients.div_ceil(SESSION);
        let tokens = (0..sessions).map(|_| gateway.token()).collect::<anyhow::Result<_>>()?;
        let mut crowd = Self::start(gateway, transport)?;
        crowd.0.tell(&Order::Join { tokens, each: SESSION }).await?;
        let mut tickets: Vec<String> = crowd.0.answer(PATIENCE).await?;
        crowd.0.kill().await?;
        tickets.truncate(clients);
        Ok(tickets)
    }

    /// Clients that are ready to come back with these tickets.
    pub(crate) async fn ready(
        gateway: &Gateway,
        transport: Transport,
        tickets: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut crowd = Self::start(gateway, transport)?;
        crowd.0.tell(&Order::Tickets(tickets)).await?;
        let _: usize = crowd.0.answer(PATIENCE).await?;
        Ok(crowd)
    }

    fn start(gateway: &Gateway, transport: Transport) -> anyhow::Result<Self> {
        let ca = gateway.ca().to_string_lossy().into_owned();
        let to = if transport.is_quic() { gateway.quic() } else { gateway.https() };
        let arguments = ["--to", to, "--ca", &ca].into_iter();
        Ok(Self(Helper::start("crowd", arguments.chain(transport.is_quic().then_some("--quic")))?))
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    /// They begin to come back at a time, evenly within another.
    pub(crate) async fn go(&mut self, start_ns: u64, within: Duration) -> anyhow::Result<()> {
        self.0.tell(&Order::Resume { start_ns, within_ns: nanos(within) }).await
    }

    /// How they have come back, when all have.
    pub(crate) async fn resumed(&mut self) -> anyhow::Result<Resumed> {
        self.0.answer(PATIENCE + PATIENCE).await
    }

    /// Ends it; what it has to complain of is an error here, too.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_wait_for_different_times_and_ever_longer() {
        let pauses: Vec<_> = (0..100).map(|index| pause(index, 1)).collect();
        assert!(pauses.iter().all(|pause| *pause < FIRST));
        for pair in pauses.windows(2) {
            assert!(pair[0].abs_diff(pair[1]) > FIRST / 4, "{pair:?}");
        }
        let longest = |attempts| (0..100).map(|index| pause(index, attempts)).max().unwrap();
        assert!(longest(2) > FIRST && longest(3) > 2 * FIRST);
        assert!(longest(1000) > LONGEST / 2 && longest(1000) < LONGEST);
    }
}
