//! The scenario with a gateway that goes: it is killed under its clients, or told to go, another
//! takes its place, and all of them find back by themselves, as new connections (or, if it was told
//! and has a state file, as the old ones).
//!
//! Who asks for nothing learns of a crash late: over QUIC the next packet of its own, at the
//! latest the next keep-alive, is answered with a reset; TCP is ended by the system at once. So
//! quiet clients, which show themselves at moments of their own, have rows of their own.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use signalbox_client::{Client, Event, Events};
use tokio::{sync::watch, task::JoinSet};

use super::order;
use crate::{
    clients::connect_with,
    clock::now_ns,
    gateway::{Gateway, Launcher, allow_files},
    output::note,
    payload,
    stats::Spread,
    transport::Transport,
};

/// Clients in each session.
const SESSION: usize = 10;

/// How long everyone may take to be back.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon clients are back when their gateway is killed, or goes in good order.
#[derive(Debug, Clone, clap::Args)]
pub struct Crash {
    /// Transports of the clients, who are there together.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    pub transport: Vec<Transport>,
    /// Clients of all transports together. Half of each are quiet, the others talk.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub clients: usize,
    /// Signals per second of each client that talks.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub rate: u32,
    /// Crashes, and as many ends in good order.
    #[arg(long, value_name = "ROUNDS", default_value_t = 2)]
    pub repeat: usize,
}

/// How a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Told,
}

impl Ending {
    const ALL: [Self; 2] = [Self::Killed, Self::Told];

    /// How long the clients are there before.
    fn before(self) -> Duration {
        match self {
            // A client's keep-alive interval, so that the quiet ones are in all its parts.
            Self::Killed => Duration::from_secs(10),
            Self::Told => Duration::from_secs(1),
        }
    }

    /// For tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Told => "SIGTERM",
        }
    }
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct CrashResult {
    /// `crash`.
    pub scenario: &'static str,
    /// Clients of all rows of an ending together.
    pub clients: usize,
    /// Signals per second of each that talks.
    pub rate: u32,
    /// For each ending a row for each transport with clients that are quiet, and one with others
    /// that talk.
    pub rows: Vec<CrashRow>,
}

/// All rounds of one kind of clients. Times are in milliseconds from the signal to the gateway.
#[derive(Debug, Serialize)]
pub struct CrashRow {
    /// How the gateway ended.
    pub ending: Ending,
    /// The clients' transport.
    pub transport: Transport,
    /// Whether they send signals.
    pub talking: bool,
    /// How many they are.
    pub clients: usize,
    /// Until the next gateway was ready.
    pub ready_ms: Spread,
    /// Until half of them knew that they had lost the old one.
    pub noticed_p50_ms: Spread,
    /// Until half of them were in their session again.
    pub p50_ms: Spread,
    /// 99 %.
    pub p99_ms: Spread,
    /// All.
    pub max_ms: Spread,
    /// From noticing to being back, the longest.
    pub return_max_ms: Spread,
    /// The single rounds.
    pub rounds: Vec<Back>,
}

/// What came of one ending for one kind of clients, in milliseconds from the signal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Back {
    /// When the next gateway was ready.
    pub ready_ms: f64,
    /// When each client noticed and when it was back, the first to be back first.
    pub each_ms: Vec<(f64, f64)>,
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

/// The least value that this part of all do not exceed.
fn part(values: impl Iterator<Item = f64>, quantile: f64) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * quantile).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

impl CrashRow {
    fn new(kind: Kind, rounds: Vec<Back>) -> Self {
        let spread = |pick: fn(&Back) -> f64| Spread::of(rounds.iter().map(pick));
        Self {
            ending: kind.ending,
            transport: kind.transport,
            talking: kind.talking,
            clients: rounds.first().map_or(0, |it| it.each_ms.len()),
            ready_ms: spread(|it| it.ready_ms),
            noticed_p50_ms: spread(Back::noticed_p50),
            p50_ms: spread(|it| it.back(0.5)),
            p99_ms: spread(|it| it.back(0.99)),
            max_ms: spread(|it| it.back(1.0)),
            return_max_ms: spread(Back::return_max),
            rounds,
        }
    }

    /// For tables.
    pub(crate) fn title(&self) -> String {
        let Self { ending, transport, talking, clients, .. } = self;
        Kind { ending: *ending, transport: *transport, talking: *talking }.title(*clients)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    ending: Ending,
    transport: Transport,
    talking: bool,
}

impl Kind {
    fn title(self, clients: usize) -> String {
        let talking = if self.talking { "talking" } else { "quiet" };
        format!("{}: {}, {clients} {talking}", self.ending.title(), self.transport.title())
    }
}

impl Crash {
    /// Measures.
    ///
    /// # Errors
    /// If a gateway cannot be run, a client does not come back as a new connection, or the sending
    /// of a signal fails: no application is to see an error.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<CrashResult> {
        ensure!(self.repeat > 0, "--repeat must be at least 1");
        ensure!(self.rate > 0, "--rate must be at least 1");
        let each = self.clients / (2 * self.transport.len()).max(1);
        ensure!(each > 0, "--clients must be at least 2 for each transport");
        allow_files(self.clients as u64 + 100)?;
        let mut done: Vec<(Kind, Vec<Back>)> = Vec::new();
        for ending in Ending::ALL {
            for transport in self.transport.iter().copied() {
                let kind = |talking| (Kind { ending, transport, talking }, Vec::new());
                done.extend([false, true].map(kind));
            }
        }
        'rounds: for round in 0..self.repeat {
            for ending in order(&Ending::ALL, round) {
                let kinds = || done.iter().map(|it| it.0).filter(|it| it.ending == ending);
                let kinds: Vec<_> = kinds().collect();
                let measuring = self.measure(launcher, ending, &kinds, each);
                let Some(backs) = launcher.unless_interrupted(measuring).await? else {
                    break 'rounds;
                };
                for (kind, back) in kinds.into_iter().zip(backs) {
                    note(format_args!(
                        "crash {}/{}  {}: noticed after {:.0} ms, back after {:.0}, {:.0}, {:.0} ms \
                         (p50, p99, max); the next gateway after {:.0} ms",
                        round + 1,
                        self.repeat,
                        kind.title(each),
                        back.noticed_p50(),
                        back.back(0.5),
                        back.back(0.99),
                        back.back(1.0),
                        back.ready_ms,
                    ));
                    if let Some((_, rounds)) = done.iter_mut().find(|it| it.0 == kind) {
                        rounds.push(back);
                    }
                }
            }
        }
        done.retain(|(_, rounds)| !rounds.is_empty());
        Ok(CrashResult {
            scenario: "crash",
            clients: each * 2 * self.transport.len(),
            rate: self.rate,
            rows: done.into_iter().map(|(kind, rounds)| CrashRow::new(kind, rounds)).collect(),
        })
    }

    /// One ending under `each` clients of every kind.
    async fn measure(
        &self,
        launcher: &Launcher,
        ending: Ending,
        kinds: &[Kind],
        each: usize,
    ) -> anyhow::Result<Vec<Back>> {
        let gateway = launcher.start().await?;
        let before = ending.before();
        let (enough, over) = watch::channel(false);
        let mut watched = JoinSet::new();
        let mut acting = JoinSet::new();
        for (index, kind) in kinds.iter().enumerate() {
            for (number, (client, events)) in (0u32..).zip(join(&gateway, *kind, each).await?) {
                let turn = f64::from(number) / each as f64;
                if kind.talking {
                    let interval = Duration::from_secs(1) / self.rate;
                    acting.spawn(talk(client.clone(), turn, interval, over.clone()));
                } else {
                    acting.spawn(show(client.clone(), before.mul_f64(turn)));
                }
                watched.spawn(async move { (index, is_back(client, events, ending).await) });
            }
        }
        tokio::time::sleep(before).await;
        let signal_ns = now_ns();
        let gateway = match ending {
            Ending::Killed => launcher.crash(gateway).await?,
            Ending::Told => launcher.restart(gateway).await?,
        };
        let after_ms = |at_ns: u64| at_ns.saturating_sub(signal_ns) as f64 / 1e6;
        let ready_ms = after_ms(now_ns());
        let mut backs = vec![Back { ready_ms, each_ms: Vec::new() }; kinds.len()];
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
            enough.send_replace(true);
            while let Some(acted) = acting.join_next().await {
                acted?.context("an application saw an error")?;
            }
            anyhow::Ok(ends)
        };
        let ends = tokio::time::timeout(PATIENCE, all).await;
        let ends = ends.with_context(|| format!("not everyone was back in {PATIENCE:?}"))??;
        drop(ends);
        gateway.stop().await?;
        Ok(backs)
    }
}

async fn join(
    gateway: &Gateway,
    kind: Kind,
    count: usize,
) -> anyhow::Result<Vec<(Client, Events)>> {
    let options = |token: &str| kind.transport.options(gateway, token).rejoin(true);
    connect_with(gateway, count, SESSION, options).await
}

/// Sends signals until it is enough, and each is taken by a gateway, by the old one or the next.
/// `turn` is the part of an interval after which the client begins.
async fn talk(
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

/// Says one thing, to itself, at a moment of its own, from which on its keep-alives count.
async fn show(client: Client, at: Duration) -> anyhow::Result<()> {
    tokio::time::sleep(at).await;
    client.signal().to(client.connection().id).send().await?;
    Ok(())
}

/// When the client noticed and when it was in its session again, with its two ends, which keep it
/// there. A gateway with a state file knows its clients after an end in good order.
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
                let noticed_ns = noticed_ns.context("a client was back and had not been away")?;
                return Ok((noticed_ns, now_ns(), client, events));
            }
            Event::SessionReconnecting { .. } => bail!("a client lost its link once too often"),
            Event::SessionDisconnected { reason, message } => {
                bail!("a client did not come back ({reason}): {message}")
            }
            Event::Refused { code, message, .. } => {
                bail!("a client was refused something ({code}): {message}")
            }
            _ => {}
        }
    }
    bail!("a client ended without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_clients_in_their_order() {
        let each = |client: u32| {
            let noticed = f64::from(client);
            (noticed, noticed + if client == 100 { 50.0 } else { 20.0 })
        };
        let back = |shift: f64| Back {
            ready_ms: 5.0,
            each_ms: (1..=100).map(each).map(|it| (it.0 + shift, it.1 + shift)).collect(),
        };
        let kind = Kind { ending: Ending::Killed, transport: Transport::Quic, talking: true };
        let row = CrashRow::new(kind, vec![back(0.0), back(1.0), back(2.0)]);
        assert_eq!(row.clients, 100);
        assert_eq!((row.noticed_p50_ms.min, row.noticed_p50_ms.max), (50.0, 52.0));
        assert_eq!((row.p50_ms.min, row.p99_ms.min, row.max_ms.min), (70.0, 119.0, 150.0));
        assert_eq!(row.return_max_ms.median, 50.0);
        assert_eq!(row.title(), "killed: QUIC, stream per sender, 100 talking");
    }
}
