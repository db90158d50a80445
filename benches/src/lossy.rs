//! Many senders, one receiver behind an emulated link: one measurement.
//!
//! The senders are on the gateway's host, so that only what the gateway sends to the receiver is
//! subject to the link. The load is open, as in `load`: latency counts from when a
//! signal was due.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::Serialize;
use signalbox_client::{Client, ConnectOptions, Connector, Event, Events};
use signalbox_netem::{Direction, Impairment, LinkCounts, namespace::LinkControl};
use signalbox_protocol::ConnectionId;
use tokio::task::JoinSet;

use crate::{
    arrivals::{self, Arrival, Sender},
    clock::{Metronome, nanos, now_ns},
    curve::{Point, Slice, Timeline},
    gateway::{Gateway, Launcher},
    payload,
    receivers::Receivers,
    stats::{Latencies, Percentiles},
    transport::Transport,
    usage::{Usage, Used},
};

/// From the last connect to the first signal.
const PAUSE: Duration = Duration::from_millis(500);

/// For so long nothing arrives only if something is broken: longer than TCP waits until it sends
/// for the fifth time.
const SILENCE: Duration = Duration::from_secs(15);

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) transport: Transport,
    pub(crate) senders: u32,
    /// Between two signals of one sender.
    pub(crate) interval: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    /// For the link, and for when each sender begins.
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct LossMeasured {
    /// From when a signal was due to when the receiver had it.
    pub latency_us: Percentiles,
    /// The same in full.
    pub curve: Vec<Point>,
    /// And how it went over time.
    pub timeline: Vec<Slice>,
    /// And by sender; those with the fewest late signals come first.
    pub senders: Vec<Sender>,
    /// From when a signal was due to when it was handed to the client SDK: the generator's own part.
    pub lag_us: Percentiles,
    /// Signals received after the warm-up. None is missing.
    pub signals: usize,
    /// Share of them that took longer than 1.5 times what the link takes one way.
    pub late: f64,
    /// Share of the packets to the receiver that did not arrive.
    pub packet_loss: f64,
    /// How many senders one lost packet held up, on average.
    pub senders_per_loss: f64,
    /// What the link did with the packets to the receiver, after the warm-up.
    pub to_receiver: LinkCounts,
    /// And with those of the receiver.
    pub to_gateway: LinkCounts,
    /// Processors that the gateway kept busy.
    pub gateway_cores: f64,
    /// Use that the generator and the link made, as a share of one processor.
    pub generator_cores: f64,
    /// Use that processes outside the benchmark made of the machine.
    pub other_cores: f64,
    /// Why the figures are not to be trusted; empty if they are.
    pub warnings: Vec<String>,
}

impl LossMeasured {
    /// Late signals for each lost packet, as if there were as many of the one as of the other.
    pub(crate) fn late_to_loss(&self) -> f64 {
        if self.packet_loss > 0.0 { self.late / self.packet_loss } else { 0.0 }
    }
}

/// Runs a load over a link and against a gateway of its own.
pub(crate) async fn measure(
    launcher: &Launcher,
    network: &Impairment,
    load: &Load,
) -> anyhow::Result<LossMeasured> {
    let emulation = Impairment { seed: Some(load.seed), ..*network }.emulate()?;
    let gateway = launcher.start_in(Some(&emulation), &[]).await?;
    let options = load.transport.options(&gateway, &gateway.token()?);
    let mut senders = Vec::new();
    let inside = emulation.server().enter()?;
    for _ in 0..load.senders {
        senders.push(join(&gateway, gateway.connector(), &options).await?);
    }
    drop(inside);
    let inside = emulation.client().enter()?;
    let (receiver, events) = join(&gateway, &gateway.another_connector()?, &options).await?;
    drop(inside);
    let (senders, told): (Vec<_>, Vec<_>) = senders.into_iter().unzip();
    // Nobody signals to them: they only tell if something goes wrong.
    let told = Receivers::start(told, Timeline::new(u64::MAX, Duration::ZERO));
    let result = run(load, &gateway, emulation.link(), &senders, receiver.connection().id, events);
    let result = result.await;
    let failure = told.book.lock().failure.take();
    let ran = match (result, failure) {
        (Ok(ran), None) => ran,
        (result, failure) => {
            // Either may be the cause of the other.
            let error = result.err().map(|error| format!("{error:#}"));
            let said: Vec<_> = error.into_iter().chain(failure).collect();
            anyhow::bail!(
                "{}; the measurement is void. The gateway's own words:\n{}",
                said.join("; "),
                gateway.last_words()
            );
        }
    };
    gateway.stop().await?;
    let drops = emulation.link().drops(Direction::ToClient);
    let until_ns = ran.from_ns + nanos(load.duration);
    let counted = |at_ns| (ran.from_ns..until_ns).contains(&at_ns);
    let drops: Vec<_> = drops.into_iter().filter(|it| counted(it.at_ns)).collect();
    let way_ns = nanos(network.model(Direction::ToClient).delay);
    let late = arrivals::late(&ran.arrivals, &drops, way_ns);
    let timeline = arrivals::timeline(&ran.arrivals, ran.from_ns, load.duration);
    let senders = arrivals::by_sender(&ran.arrivals, way_ns);
    Ok(evaluate(&ran, late, &timeline, senders))
}

async fn join(
    gateway: &Gateway,
    connector: &Connector,
    options: &ConnectOptions,
) -> anyhow::Result<(Client, Events)> {
    connector.connect(options).await.with_context(|| {
        format!("a client could not join; the gateway's own words:\n{}", gateway.last_words())
    })
}

/// What was seen after the warm-up.
struct Ran {
    /// When the warm-up was over.
    from_ns: u64,
    arrivals: Vec<Arrival>,
    lag: Latencies,
    used: Used,
    to_receiver: LinkCounts,
    to_gateway: LinkCounts,
}

async fn run(
    load: &Load,
    gateway: &Gateway,
    link: &LinkControl,
    senders: &[Client],
    to: ConnectionId,
    events: Events,
) -> anyhow::Result<Ran> {
    let start_ns = now_ns() + nanos(PAUSE);
    let from_ns = start_ns + nanos(load.warm_up);
    let interval_ns = nanos(load.interval);
    let signals = nanos(load.warm_up + load.duration) / interval_ns.max(1);
    anyhow::ensure!(signals > 0, "no signal at all would be sent: raise the rate or the duration");
    let lag = Arc::new(Mutex::new(Latencies::new()));
    let mut random = fastrand::Rng::with_seed(load.seed);
    // Aborted when this is over, whatever the reason.
    let mut sending = JoinSet::new();
    for sender in senders {
        let first_ns = start_ns + (random.f64() * interval_ns as f64) as u64;
        let metronome = Metronome::start(first_ns, interval_ns)?;
        sending.spawn(send(sender.clone(), to, metronome, signals, lag.clone()));
    }
    let sent = async {
        while let Some(sender) = sending.join_next().await {
            sender??;
        }
        anyhow::Ok(())
    };
    let look = || {
        let [to_receiver, to_gateway] =
            [Direction::ToClient, Direction::ToServer].map(|it| link.counts(it));
        anyhow::Ok((Usage::now(Some(gateway.process()), &[])?, to_receiver, to_gateway))
    };
    let first_look = async {
        tokio::time::sleep(Duration::from_nanos(from_ns.saturating_sub(now_ns()))).await;
        look()
    };
    let received = receive(events, signals * senders.len() as u64);
    let ((), before, mut arrivals) = tokio::try_join!(sent, first_look, received)?;
    let after = look()?;
    arrivals.retain(|it| it.due_ns >= from_ns);
    let lag = std::mem::replace(&mut *lag.lock(), Latencies::new());
    Ok(Ran {
        from_ns,
        arrivals,
        lag,
        used: after.0.since(&before.0),
        to_receiver: after.1.since(&before.1),
        to_gateway: after.2.since(&before.2),
    })
}

async fn send(
    client: Client,
    to: ConnectionId,
    mut metronome: Metronome,
    signals: u64,
    lag: Arc<Mutex<Latencies>>,
) -> anyhow::Result<()> {
    for _ in 0..signals {
        let due_ns = metronome.tick().await?;
        lag.lock().record(now_ns().saturating_sub(due_ns));
        let signal = client.signal().data(payload::encode(due_ns)).to(to);
        signal.enqueue().await.context("a sender cannot send")?;
    }
    Ok(())
}

/// All signals, none of them missing.
async fn receive(mut events: Events, signals: u64) -> anyhow::Result<Vec<Arrival>> {
    let mut arrivals = Vec::new();
    while (arrivals.len() as u64) < signals {
        let event = tokio::time::timeout(SILENCE, events.next()).await.with_context(|| {
            let received = arrivals.len();
            format!("nothing more came for {SILENCE:?}, after {received} of {signals} signals")
        })?;
        match event.context("the receiver's connection is over")? {
            Event::Signal { from: signalbox_client::Sender::Connection(from), data, .. } => {
                let due_ns = data.as_deref().and_then(payload::decode);
                let due_ns = due_ns.context("a signal came that the benchmark did not send")?;
                arrivals.push(Arrival { from, due_ns, at_ns: now_ns() });
            }
            Event::SessionReconnecting { reason, message }
            | Event::SessionDisconnected { reason, message } => {
                anyhow::bail!("the receiver lost its connection ({reason}): {message}");
            }
            _ => {}
        }
    }
    Ok(arrivals)
}

fn evaluate(
    ran: &Ran,
    late: arrivals::Late,
    timeline: &Timeline,
    senders: Vec<Sender>,
) -> LossMeasured {
    let latencies = timeline.latencies();
    let lag_us = ran.lag.percentiles();
    let mut warnings: Vec<String> = ran.used.warnings();
    // A millisecond is a tenth of what makes a signal late at the default round trip.
    if lag_us.p99 > 1000.0 {
        warnings.push(format!(
            "the generator fell behind its schedule: one signal in a hundred left more than \
             {:.1} ms late",
            lag_us.p99 / 1000.0
        ));
    }
    let LinkCounts { lost, overflowed, cut, .. } = ran.to_receiver;
    let dropped = lost + overflowed + cut;
    LossMeasured {
        latency_us: latencies.percentiles(),
        curve: latencies.curve(),
        timeline: timeline.slices(),
        senders,
        lag_us,
        signals: ran.arrivals.len(),
        late: late.share,
        packet_loss: dropped as f64 / ran.to_receiver.offered().max(1) as f64,
        senders_per_loss: late.senders_per_loss,
        to_receiver: ran.to_receiver,
        to_gateway: ran.to_gateway,
        gateway_cores: ran.used.gateway_cores(),
        generator_cores: ran.used.generator_cores(),
        other_cores: ran.used.other_cores,
        warnings,
    }
}
