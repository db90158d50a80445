//! The scenario without signals: what the gateway's memory grows by for each idle connection.

use std::time::Duration;

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
    /// Whether it had settled when the time was up.
    pub settled: bool,
}

impl IdleRow {
    fn new(transport: Transport, rounds: Vec<Memory>) -> Self {
        Self {
            transport,
            kib_per_connection: Spread::of(rounds.iter().map(|it| it.kib_per_connection)),
            gateway_kib: Spread::of(rounds.iter().map(|it| it.after_kib as f64)),
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
        let mut done: Vec<(Transport, Vec<Memory>)> =
            self.transport.iter().map(|it| (*it, Vec::new())).collect();
        for round in 0..self.repeat {
            for transport in order(&self.transport, round) {
                let memory = self.measure(launcher, transport).await?;
                note(format_args!(
                    "idle {}/{}  {:<30} {:.1} KiB per connection{}",
                    round + 1,
                    self.repeat,
                    transport.title(),
                    memory.kib_per_connection,
                    if memory.settled { "" } else { " (not settled)" }
                ));
                if let Some((_, rounds)) = done.iter_mut().find(|(it, _)| *it == transport) {
                    rounds.push(memory);
                }
            }
        }
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
        let rest = connect(&gateway, transport, self.connections, self.session_size).await?;
        let (after_kib, settled) = settle(&gateway).await?;
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
            settled,
        })
    }
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
    fn memory_is_settled_when_the_last_looks_agree() {
        assert!(!is_settled(&[]));
        assert!(is_settled(&[5000; 10]));
        assert!(is_settled(&[[1, 2, 3].as_slice(), &[5000; 10]].concat()));
        assert!(!is_settled(&[[5000; 9].as_slice(), &[5100]].concat()));
    }
}
