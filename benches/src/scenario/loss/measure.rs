//! One measurement of `loss`.
//!
//! The senders are on the gateway's host, so that only packets from the gateway to the receiver
//! pass the link. The load is open: latency counts from when a signal was due.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::Serialize;
use signalbox_client::{Client, ConnectOptions, Connector, Events};
use signalbox_netem::{Direction, Impairment, LinkCounts, namespace::LinkControl};
use signalbox_protocol::ConnectionId;
use tokio::task::JoinSet;

use signalbox_loadgen::{
    clock::{Metronome, nanos, now_ns},
    latencies::{Latencies, Timeline},
    recorder::Receivers,
    target::gateway::{Gateway, Launcher},
    transport::TransportVariant,
    usage::{Usage, Used},
};
use signalbox_report::{Percentiles, QuantilePoint, Round, TimeSlice};

use super::arrivals::{self, SenderLateness};
use crate::scenario::many_to_one::{self, Arrival, PAUSE};

/// The load of a measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct LossLoad {
    pub(super) transport: TransportVariant,
    pub(super) senders: u32,
    /// Between two signals of one sender.
    pub(super) interval: Duration,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    /// Decides the link's losses and the senders' first times.
    pub(super) seed: u64,
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LossMeasured {
    /// Time from the due time of a signal to its arrival at the receiver.
    pub(super) latency_us: Percentiles,
    /// The same in full.
    pub(super) curve: Vec<QuantilePoint>,
    /// The same over time.
    pub(super) timeline: Vec<TimeSlice>,
    /// The same by sender, the fewest late signals first.
    pub(super) senders: Vec<SenderLateness>,
    /// Time from the due time of a signal to its call of the client SDK: the generator's own share.
    pub(super) lag_us: Percentiles,
    /// Signals received after the warm-up. None is missing.
    pub(super) signals: usize,
    /// Share of them that took longer than 1.5 times the link's delay.
    pub(super) late: f64,
    /// Share of the packets to the receiver that did not arrive.
    pub(super) packet_loss: f64,
    /// Senders that one lost packet held up, on average.
    pub(super) senders_per_loss: f64,
    /// Packets to the receiver after the warm-up.
    pub(super) to_receiver: LinkCounts,
    /// Packets from the receiver.
    pub(super) to_gateway: LinkCounts,
    /// Processors that the gateway kept busy.
    pub(super) gateway_cores: f64,
    /// Use that the generator and the link made, as a share of one processor.
    pub(super) generator_cores: f64,
    /// Use that processes outside the benchmark made of the machine.
    pub(super) other_cores: f64,
    /// Reasons not to trust the figures.
    pub(super) warnings: Vec<String>,
    /// The p99 as a multiple of the WebSocket's in the same round.
    pub(super) p99_to_wss: Option<f64>,
}

impl LossMeasured {
    /// The share of late signals as a multiple of the share of lost packets.
    pub(super) fn late_to_loss(&self) -> f64 {
        if self.packet_loss > 0.0 { self.late / self.packet_loss } else { 0.0 }
    }
}

impl Round for LossMeasured {
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn progress(&self) -> String {
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, {:.1} % late at {:.1} % loss",
            self.latency_us.p50 / 1e3,
            self.latency_us.p99 / 1e3,
            self.late * 100.0,
            self.packet_loss * 100.0,
        )
    }
}

/// Runs a load over a link of its own, with a gateway of its own.
pub(super) async fn measure(
    launcher: &Launcher,
    network: &Impairment,
    load: &LossLoad,
) -> anyhow::Result<LossMeasured> {
    let emulation = Impairment { seed: Some(load.seed), ..*network }.emulate()?;
    let gateway = launcher.start_in(Some(&emulation), &[]).await?;
    let options = gateway.options(load.transport, &gateway.token()?)?;
    let mut senders = Vec::new();
    let inside = emulation.server().enter()?;
    for _ in 0..load.senders {
        senders.push(join(&gateway, gateway.connector(), &options).await?);
    }
    drop(inside);
    let inside = emulation.client().enter()?;
    let (receiver, events) = join(&gateway, &gateway.another_connector()?, &options).await?;
    drop(inside);
    let (senders, events_of_senders): (Vec<_>, Vec<_>) = senders.into_iter().unzip();
    // They receive no signals, only failures.
    let watched = Receivers::of_sdk(events_of_senders, Timeline::new(u64::MAX, Duration::ZERO));
    let result = run(load, &gateway, emulation.link(), &senders, receiver.connection().id, events);
    let result = result.await;
    let failure = watched.recorder.lock().failure.take();
    let ran = match (result, failure) {
        (Ok(ran), None) => ran,
        (result, failure) => {
            // Either may be the cause of the other.
            let error = result.err().map(|error| format!("{error:#}"));
            let causes: Vec<_> = error.into_iter().chain(failure).collect();
            anyhow::bail!(
                "{}; the measurement is void. The end of the gateway's log:\n{}",
                causes.join("; "),
                gateway.last_words()
            );
        }
    };
    gateway.stop().await?;
    let drops = emulation.link().drops(Direction::ToClient);
    let until_ns = ran.from_ns + nanos(load.duration);
    let counted = |at_ns| (ran.from_ns..until_ns).contains(&at_ns);
    let drops: Vec<_> = drops.into_iter().filter(|it| counted(it.at_ns)).collect();
    let delay_ns = nanos(network.model(Direction::ToClient).delay);
    let late = arrivals::late(&ran.arrivals, &drops, delay_ns);
    let timeline = arrivals::timeline(&ran.arrivals, ran.from_ns, load.duration);
    let senders = arrivals::by_sender(&ran.arrivals, delay_ns);
    Ok(evaluate(&ran, late, &timeline, senders))
}

async fn join(
    gateway: &Gateway,
    connector: &Connector,
    options: &ConnectOptions,
) -> anyhow::Result<(Client, Events)> {
    connector.connect(options).await.with_context(|| {
        format!("a client could not join; the end of the gateway's log:\n{}", gateway.last_words())
    })
}

/// Observations after the warm-up.
struct Ran {
    /// End of the warm-up.
    from_ns: u64,
    arrivals: Vec<Arrival>,
    lag: Latencies,
    used: Used,
    to_receiver: LinkCounts,
    to_gateway: LinkCounts,
}

async fn run(
    load: &LossLoad,
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
    // Aborted when this function returns, on errors too.
    let mut sending = JoinSet::new();
    for sender in senders {
        let first_ns = start_ns + (random.f64() * interval_ns as f64) as u64;
        let metronome = Metronome::start(first_ns, interval_ns)?;
        sending.spawn(many_to_one::send(sender.clone(), to, metronome, signals, lag.clone()));
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
    let received = many_to_one::receive(events, signals * senders.len() as u64);
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

fn evaluate(
    ran: &Ran,
    late: arrivals::Late,
    timeline: &Timeline,
    senders: Vec<SenderLateness>,
) -> LossMeasured {
    let latencies = timeline.latencies();
    let lag_us = ran.lag.percentiles();
    let mut warnings: Vec<String> = ran.used.warnings();
    // At the default round trip a signal is late after ten of these milliseconds.
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
        p99_to_wss: None,
    }
}
