//! One measurement of `browser`.
//!
//! All clients are behind the link, in one process, so that sender and receiver read the same clock.
//! The load is open: latency counts from when a signal was due.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use signalbox_loadgen::{
    browser::PageBrowser,
    client::signalbox::AGENT,
    clock::{Metronome, nanos, now_ns, sleep_until},
    latencies::{Latencies, Timeline},
    recorder::Receivers,
    target::gateway::{Gateway, Launcher},
    transport::TransportVariant,
    usage::Usage,
};
use signalbox_netem::{Direction, Impairment, LinkCounts, namespace::Network};
use signalbox_report::{Percentiles, QuantilePoint, Round, TimeSlice};
use tokio::task::JoinSet;

use super::ClientKind;
use crate::scenario::many_to_one::{self, PAUSE, SILENCE};

/// Timeout of a browser from its start to the end of the page's warm-up, without that.
const OPEN: Duration = Duration::from_secs(60);

/// Senders whose p99 is later than this, in microseconds, cause a warning.
const LAG_LIMIT_US: f64 = 5000.0;

/// The load of a measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct BrowserLoad {
    pub(super) senders: u32,
    /// Between two signals of one sender.
    pub(super) interval: Duration,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    /// Decides the link's losses and the senders' first times.
    pub(super) seed: u64,
}

impl BrowserLoad {
    /// Signals of each sender.
    fn signals(&self) -> u64 {
        nanos(self.warm_up + self.duration) / nanos(self.interval).max(1)
    }

    /// When the first signal of each sender is due, after the start.
    fn first_ns(&self) -> Vec<u64> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let interval_ns = nanos(self.interval) as f64;
        (0..self.senders).map(|_| (random.f64() * interval_ns) as u64).collect()
    }

    /// All signals in the order in which they are due: the sender's number, and the time after the
    /// start.
    fn schedule(&self) -> Vec<(usize, u64)> {
        let interval_ns = nanos(self.interval);
        let of = |(sender, first_ns): (usize, u64)| {
            (0..self.signals()).map(move |number| (sender, first_ns + number * interval_ns))
        };
        let mut all: Vec<_> = self.first_ns().into_iter().enumerate().flat_map(of).collect();
        all.sort_by_key(|(_, due_ns)| *due_ns);
        all
    }
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BrowserMeasured {
    /// Time from the due time of a signal to its arrival at the receiver.
    pub(super) latency_us: Percentiles,
    /// The same in full.
    pub(super) curve: Vec<QuantilePoint>,
    /// The same over time.
    pub(super) timeline: Vec<TimeSlice>,
    /// Time from the due time of a signal to its call of the client SDK.
    pub(super) lag_us: Percentiles,
    /// Signals received after the warm-up. None is missing.
    pub(super) signals: u64,
    /// Share of them that took longer than 1.5 times the link's round trip, if it has one.
    pub(super) late: Option<f64>,
    /// Share of the packets to the clients that did not arrive, over an emulated link.
    pub(super) packet_loss: Option<f64>,
    /// Reasons not to trust the figures.
    pub(super) warnings: Vec<String>,
}

impl Round for BrowserMeasured {
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn progress(&self) -> String {
        let Percentiles { p50, p99, max, .. } = self.latency_us;
        format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", p50 / 1e3, p99 / 1e3, max / 1e3)
    }
}

/// Observations of one measurement.
struct Observed {
    /// End of the warm-up, by the clock of the signals.
    from_ns: u64,
    /// When each signal was due, and when it arrived.
    signals: Vec<(u64, u64)>,
    lag: Latencies,
    /// Packets to the clients after the warm-up.
    to_clients: LinkCounts,
    warnings: Vec<String>,
}

/// What a measurement runs on.
struct Place<'a> {
    gateway: &'a Gateway,
    emulation: Option<&'a Network>,
    load: &'a BrowserLoad,
}

/// Runs a load over a link of its own, with a gateway of its own.
pub(super) async fn measure(
    launcher: &Launcher,
    browser: &PageBrowser,
    clients: ClientKind,
    network: &Impairment,
    load: &BrowserLoad,
) -> anyhow::Result<BrowserMeasured> {
    ensure!(load.signals() > 0, "no signal at all would be sent: raise the rate or the duration");
    let emulation = network.start()?;
    let gateway = launcher.start_in(emulation.as_ref(), &[]).await?;
    let place = Place { gateway: &gateway, emulation: emulation.as_ref(), load };
    let observed = match clients {
        ClientKind::Quic => place.sdk().await,
        ClientKind::PageWebTransport => {
            place.page(launcher, browser, "webtransport", gateway.quic()).await
        }
        ClientKind::PageWebSocket => {
            place.page(launcher, browser, "websocket", gateway.https()).await
        }
    };
    let observed = observed.map_err(|error| {
        let words = gateway.last_words();
        anyhow::anyhow!(
            "{error:#}; the measurement is void. The end of the gateway's log:\n{words}"
        )
    })?;
    gateway.stop().await?;
    Ok(evaluate(observed, load, network.rtt.unwrap_or_default(), emulation.is_some()))
}

impl Place<'_> {
    fn to_clients(&self) -> LinkCounts {
        let counts = |it: &Network| it.link().counts(Direction::ToClient);
        self.emulation.map(counts).unwrap_or_default()
    }

    /// With clients of the Rust SDK in this process.
    async fn sdk(&self) -> anyhow::Result<Observed> {
        let Self { gateway, emulation, load } = self;
        let options = gateway.options(TransportVariant::Quic, &gateway.token()?)?;
        let inside = emulation.map(|it| it.client().enter()).transpose()?;
        let (receiver, events) = gateway.another_connector()?.connect(&options).await?;
        let mut senders = Vec::new();
        for _ in 0..load.senders {
            senders.push(gateway.connector().connect(&options).await?);
        }
        drop(inside);
        let (senders, watched): (Vec<_>, Vec<_>) = senders.into_iter().unzip();
        // They receive no signals, only failures.
        let watched = Receivers::of_sdk(watched, Timeline::new(u64::MAX, Duration::ZERO));
        let start_ns = now_ns() + nanos(PAUSE);
        let from_ns = start_ns + nanos(load.warm_up);
        let lag = Arc::new(Mutex::new(Latencies::new()));
        // Aborted when this function returns, on errors too.
        let mut sending = JoinSet::new();
        for (sender, first_ns) in senders.iter().zip(load.first_ns()) {
            let metronome = Metronome::start(start_ns + first_ns, nanos(load.interval))?;
            let (sender, to, lag) = (sender.clone(), receiver.connection().id, lag.clone());
            sending.spawn(many_to_one::send(sender, to, metronome, load.signals(), lag));
        }
        let sent = async {
            while let Some(sender) = sending.join_next().await {
                sender??;
            }
            anyhow::Ok(())
        };
        let look = || anyhow::Ok((Usage::now(Some(gateway.process()), &[])?, self.to_clients()));
        let first_look = async {
            sleep_until(from_ns).await;
            *lag.lock() = Latencies::new();
            look()
        };
        let received = many_to_one::receive(events, load.signals() * u64::from(load.senders));
        let result = tokio::try_join!(sent, first_look, received);
        if let Some(failure) = watched.recorder.lock().failure.take() {
            anyhow::bail!("a sender: {failure}");
        }
        let ((), before, arrivals) = result?;
        let (usage, packets) = look()?;
        let lag = std::mem::take(&mut *lag.lock());
        Ok(Observed {
            from_ns,
            signals: arrivals.iter().map(|it| (it.due_ns, it.at_ns)).collect(),
            lag,
            to_clients: packets.since(&before.1),
            warnings: usage.since(&before.0).warnings(),
        })
    }

    /// With sessions of the TypeScript SDK in a page.
    async fn page(
        &self,
        launcher: &Launcher,
        browser: &PageBrowser,
        transport: &'static str,
        address: &str,
    ) -> anyhow::Result<Observed> {
        let Self { gateway, emulation, load } = self;
        let from_ns = nanos(load.warm_up);
        let schedule = load.schedule();
        let task = PageTask {
            url: format!("https://{address}"),
            transport,
            token: gateway.token()?,
            certificate_sha256: gateway.certificate_sha256()?,
            agent: AGENT,
            senders: load.senders,
            first_measured: schedule.partition_point(|(_, due_ns)| *due_ns < from_ns),
            signals: schedule.iter().map(|(sender, due_ns)| (*sender, ms(*due_ns))).collect(),
            pause_ms: ms(nanos(PAUSE)),
            silence_ms: ms(nanos(SILENCE)),
        };
        let mut page = browser.open(launcher, *emulation, PAGE, &task)?;
        page.begun(OPEN + load.warm_up).await?;
        let before = self.to_clients();
        let limit = load.duration + SILENCE + OPEN;
        let signals: Vec<PageSignal> = page.result(limit).await?;
        let to_clients = self.to_clients().since(&before);
        ensure!(signals.len() == schedule.len(), "the page reported too few signals");
        let mut lag = Latencies::new();
        let measured = signals.iter().filter(|it| ns(it.due_ms) >= from_ns);
        measured.for_each(|it| lag.record(ns(it.sent_ms - it.due_ms)));
        let signals = signals.iter().map(|it| (ns(it.due_ms), ns(it.arrived_ms))).collect();
        // The processor time of a browser is that of many processes, so there is no warning about
        // others.
        Ok(Observed { from_ns, signals, lag, to_clients, warnings: Vec::new() })
    }
}

/// The module of the page.
const PAGE: &str = include_str!("page.js");

/// The task of a page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageTask {
    url: String,
    transport: &'static str,
    token: String,
    certificate_sha256: [u8; 32],
    agent: &'static str,
    senders: u32,
    /// The first signal after the warm-up.
    first_measured: usize,
    /// The number of its sender, and when it is due, for each signal.
    signals: Vec<(usize, f64)>,
    pause_ms: f64,
    silence_ms: f64,
}

/// A signal that arrived in a page, with times since the start.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageSignal {
    due_ms: f64,
    sent_ms: f64,
    arrived_ms: f64,
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Zero for less.
fn ns(ms: f64) -> u64 {
    (ms * 1e6) as u64
}

fn evaluate(
    observed: Observed,
    load: &BrowserLoad,
    rtt: Duration,
    is_emulated: bool,
) -> BrowserMeasured {
    let Observed { from_ns, signals, lag, to_clients, mut warnings } = observed;
    let mut timeline = Timeline::new(from_ns, load.duration);
    let (mut late, limit_ns) = (0, nanos(rtt) + nanos(rtt) / 2);
    for (due_ns, at_ns) in signals {
        let latency_ns = at_ns.saturating_sub(due_ns);
        if timeline.record(due_ns, latency_ns) {
            late += u64::from(latency_ns > limit_ns);
        }
    }
    let (latencies, lag_us) = (timeline.latencies(), lag.percentiles());
    if lag_us.p99 > LAG_LIMIT_US {
        warnings.push(format!(
            "the senders fell behind their schedule: one signal in a hundred left more than {:.1} \
             ms late",
            lag_us.p99 / 1e3
        ));
    }
    let LinkCounts { lost, overflowed, cut, .. } = to_clients;
    let dropped = (lost + overflowed + cut) as f64;
    BrowserMeasured {
        latency_us: latencies.percentiles(),
        curve: latencies.curve(),
        timeline: timeline.slices(),
        lag_us,
        signals: latencies.count(),
        late: (!rtt.is_zero()).then(|| late as f64 / latencies.count().max(1) as f64),
        packet_loss: is_emulated.then(|| dropped / to_clients.offered().max(1) as f64),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> BrowserLoad {
        let [interval, warm_up, duration] = [200, 400, 1000].map(Duration::from_millis);
        BrowserLoad { senders: 3, interval, warm_up, duration, seed: 1 }
    }

    #[test]
    fn a_schedule_has_the_signals_of_all_senders_in_order() {
        let schedule = load().schedule();
        assert_eq!(schedule.len(), 3 * 7);
        assert!(schedule.is_sorted_by_key(|(_, due_ns)| *due_ns));
        let of_second: Vec<_> = schedule.iter().filter(|it| it.0 == 1).collect();
        assert_eq!(of_second.len(), 7);
        assert_eq!(of_second[1].1 - of_second[0].1, nanos(load().interval));
    }

    #[test]
    fn signals_of_the_warm_up_do_not_count() {
        let ms = |ms: u64| ms * 1_000_000;
        let signals = [(100, 900), (400, 440), (500, 561), (600, 640)];
        let observed = Observed {
            from_ns: ms(400),
            signals: signals.map(|(due, at)| (ms(due), ms(at))).to_vec(),
            lag: Latencies::new(),
            to_clients: LinkCounts::default(),
            warnings: Vec::new(),
        };
        let measured = evaluate(observed, &load(), Duration::from_millis(40), false);
        assert_eq!(measured.signals, 3);
        assert_eq!(measured.late, Some(1.0 / 3.0));
        assert_eq!(measured.packet_loss, None);
        assert!((measured.latency_us.max - 61_000.0).abs() < 100.0);
    }
}
