//! `reconnect`: the time from the loss of a link to the next signal, by every way to recover and
//! over several round trips.
//!
//! Each client and a partner beside the gateway signal to each other all the time, and each must
//! receive all signals of the other, in order. Then the client's proxy is cut, with all packets in
//! flight.

mod pair;

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use signalbox_client::{Client, ConnectOptions, Events};
use signalbox_loadgen::{
    clock::{nanos, now_ns, sleep_until},
    target::gateway::Gateway,
    transport::TransportVariant,
};
use signalbox_netem::{
    LinkModel,
    proxy::{Proxy, ProxyRuntime, Targets},
};
use signalbox_report::{Chart, Column, Label, Metric, Round, Row, Spread};
use tokio::task::JoinSet;

use self::pair::{Heard, INTERVAL, Schedule, receive_all, send_all};
use super::{Columns, Outcome, Scenario, rounds::in_order};
use crate::{Bench, all::All};

/// Time of signals before the first cut.
const BEFORE: Duration = Duration::from_millis(600);

/// Time between two cuts, so that recoveries do not disturb each other.
const BETWEEN: Duration = Duration::from_millis(100);

/// Time of signals after the last cut: longer than any client needs to notice and recover.
const AFTER: Duration = Duration::from_millis(3500);

/// Time for the last signals to arrive.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// A short idle timeout: the time to notice a loss is not the question.
const SETTINGS: &[(&str, &str)] = &[("SIGNALBOX_TIMEOUTS__IDLE_MS", "1500")];
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// Time beside two round trips that a migration may take without a warning.
const ALLOWANCE_MS: f64 = 50.0;

const ROUND_TRIP: Metric<Change> =
    Metric::lower("round_trip_ms", "ms", |it| Some(it.round_trip_ms));
const RECOVERED: Metric<Change> = Metric::lower("recovered_ms", "ms", |it| Some(it.recovered_ms));
const RECOVERED_ROUND_TRIPS: Metric<Change> =
    Metric::lower("recovered_round_trips", "round trips", |it| it.recovered_round_trips);
const SILENCE: Metric<Change> = Metric::lower("silence_ms", "ms", |it| Some(it.silence_ms));
const NOTICED: Metric<Change> = Metric::lower("noticed_ms", "ms", |it| it.noticed_ms);

/// Time to the next signal when a client's network changes, by every way to recover.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Reconnect {
    /// Round trips between client and gateway, in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0,50,150")]
    #[serde(skip)]
    rtt: Vec<u32>,
    /// Rounds over all recoveries and round trips, each with new clients.
    #[arg(long, value_name = "ROUNDS", default_value_t = 5)]
    #[serde(skip)]
    repeat: usize,
}

/// The way in which a client recovers from a change of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Recovery {
    /// The application reports the change, and the link migrates.
    Migration,
    /// A new QUIC link that resumes in its first packet.
    EarlyData,
    /// A new QUIC link with a full handshake.
    Handshake,
    /// A new WebTransport session, as in browsers.
    #[serde(rename = "webtransport")]
    WebTransport,
    /// A new WebSocket over TLS.
    WebSocket,
}

impl Recovery {
    const ALL: [Self; 5] =
        [Self::Migration, Self::EarlyData, Self::Handshake, Self::WebTransport, Self::WebSocket];

    fn title(self) -> &'static str {
        match self {
            Self::Migration => "QUIC, migration",
            Self::EarlyData => "QUIC, 0-RTT resume",
            Self::Handshake => "QUIC, full handshake and resume",
            Self::WebTransport => "WebTransport, resume",
            Self::WebSocket => "WebSocket over TLS, resume",
        }
    }

    fn options(self, proxy: &Proxy, token: &str) -> anyhow::Result<ConnectOptions> {
        let options = match self {
            Self::WebTransport => TransportVariant::WebTransport.options_to(proxy.udp(), token),
            Self::WebSocket => TransportVariant::Wss.options_to(proxy.tcp(), token),
            _ => TransportVariant::Quic.options_to(proxy.udp(), token),
        };
        Ok(options?.keep_alive(KEEP_ALIVE).early_data(self != Self::Handshake))
    }
}

/// A recovery over a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct RecoveryLabel {
    /// The round trip that was asked for.
    rtt_ms: u32,
    recovery: Recovery,
}

impl Label for RecoveryLabel {
    fn title(&self) -> String {
        format!("{} ms: {}", self.rtt_ms, self.recovery.title())
    }

    fn group(&self) -> String {
        format!("round trip of {} ms", self.rtt_ms)
    }

    fn member(&self) -> String {
        self.recovery.title().to_owned()
    }
}

/// One change of network, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Change {
    /// A signal in each direction before the cut: the round trip, and the time in the clients and
    /// the gateway.
    round_trip_ms: f64,
    /// Time from the report of the application, or the detection of the loss, to the first signal
    /// that would not have arrived without the recovery.
    recovered_ms: f64,
    /// The same in round trips; none over no distance.
    recovered_round_trips: Option<f64>,
    /// The longest time without a signal. It includes the time to notice.
    silence_ms: f64,
    /// Time from the cut to the detection of the loss; none if the application reported it.
    noticed_ms: Option<f64>,
}

impl Round for Change {
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn progress(&self) -> String {
        let since = self.noticed_ms.map_or_else(
            || "the application's report".to_owned(),
            |noticed| format!("the notice of the loss, which took {noticed:.0} ms"),
        );
        let Self { recovered_ms, silence_ms, .. } = self;
        format!("recovered {recovered_ms:.1} ms after {since}; silent for {silence_ms:.1} ms")
    }
}

impl Scenario for Reconnect {
    const NAME: &'static str = "reconnect";
    const TITLE: &'static str = "Reconnect";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Change>] =
        &[ROUND_TRIP, RECOVERED, RECOVERED_ROUND_TRIPS, SILENCE, NOTICED];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = &[("first signal", RECOVERED)];

    type Label = RecoveryLabel;
    type Round = Change;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        let gateway = bench.launcher.start_with(SETTINGS).await?;
        let proxies = ProxyRuntime::start()?;
        let targets = Targets { udp: gateway.quic().parse()?, tcp: gateway.https().parse()? };
        let of = |rtt: &u32| {
            let rtt_ms = *rtt;
            Recovery::ALL.map(|recovery| RecoveryLabel { rtt_ms, recovery })
        };
        let labels: Vec<_> = self.rtt.iter().flat_map(of).collect();
        let groups = vec![(0..labels.len()).collect()];
        let measure_all = async |labels: &[RecoveryLabel], round: usize| {
            let order: Vec<_> = in_order(labels, round).into_iter().copied().collect();
            let changes = measure(&gateway, (&proxies, targets), &order).await?;
            let change =
                |label: &RecoveryLabel| changes.iter().find(|it| it.0 == *label).map(|it| it.1);
            Ok(labels.iter().filter_map(change).collect())
        };
        let rows = (labels, groups);
        let outcome = Outcome::measure_groups(self, bench, self.repeat, rows, measure_all).await?;
        // Ctrl-C reaches the gateway too.
        if !bench.is_interrupted() {
            gateway.stop().await?;
        }
        Ok(outcome)
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 5);
        self.repeat > 0
    }

    fn heading(&self) -> String {
        let interval = INTERVAL.as_millis();
        format!(
            "Reconnect: a network that changes under signals in both directions, one every \
             {interval} ms"
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("round trip: recovery"),
            Column::spread("first signal after ms", &RECOVERED, 1),
            Column::greatest("at most ms", &RECOVERED, 1),
            Column::median("in round trips", &RECOVERED_ROUND_TRIPS, 2),
            Column::greatest("longest silence ms", &SILENCE, 0),
            Column::spread("noticed after ms", &NOTICED, 0),
            Column::spread("a signal there and back, before, ms", &ROUND_TRIP, 1),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let charts = [
            outcome.bars("Time to the first signal after the recovery began", &RECOVERED),
            outcome.bars("Longest time without a signal, noticing included", &SILENCE),
        ];
        charts.into_iter().flatten().collect()
    }

    fn warnings(outcome: &Outcome<Self>) -> Vec<String> {
        outcome.rows.iter().filter_map(warning).collect()
    }
}

/// A migration whose silence was longer than it should be.
fn warning(row: &Row<RecoveryLabel, Change>) -> Option<String> {
    let RecoveryLabel { rtt_ms, recovery } = row.label;
    let longest = row.spread(&SILENCE).max;
    let limit = 2.0 * f64::from(rtt_ms) + ALLOWANCE_MS;
    (recovery == Recovery::Migration && longest >= limit).then(|| {
        format!(
            "{} over {rtt_ms} ms: a silence of {longest:.0} ms is longer than two round trips and \
             {ALLOWANCE_MS} ms",
            recovery.title()
        )
    })
}

/// Measures all at the same time, each in a session of its own, with one cut after the other.
async fn measure(
    gateway: &Gateway,
    (proxies, targets): (&ProxyRuntime, Targets),
    labels: &[RecoveryLabel],
) -> anyhow::Result<Vec<(RecoveryLabel, Change)>> {
    let mut pairs = Vec::new();
    for label in labels {
        let delay = Duration::from_millis(label.rtt_ms.into()) / 2;
        let link = LinkModel { delay, ..LinkModel::default() };
        let proxy = proxies.proxy(targets, link, link, 0).await?;
        let token = gateway.token()?;
        // Clients of one connector migrate together, so each has its own.
        let connector = gateway.another_connector()?;
        let client = connector.connect(&label.recovery.options(&proxy, &token)?).await?;
        let beside = gateway.options(TransportVariant::Quic, &token)?.keep_alive(KEEP_ALIVE);
        let partner = gateway.connector().connect(&beside.presence(true)).await?;
        pairs.push((*label, proxy, client, partner));
    }
    let start_ns = now_ns() + nanos(BEFORE / 2);
    let count = u32::try_from(labels.len())?;
    let time = BEFORE + BETWEEN * count + AFTER;
    let plan =
        Schedule { start_ns, signals: time.as_millis() as u64 / INTERVAL.as_millis() as u64 };
    let mut changes = JoinSet::new();
    for (number, (label, proxy, client, partner)) in (0..).zip(pairs) {
        let cut_ns = start_ns + nanos(BEFORE + BETWEEN * number);
        changes.spawn(async move {
            let change = change(plan, label, proxy, client, partner, cut_ns).await;
            let context = || format!("{}: the measurement is void", label.title());
            anyhow::Ok((label, change.with_context(context)?))
        });
    }
    let all = async {
        let mut done = Vec::new();
        while let Some(change) = changes.join_next().await {
            done.push(change??);
        }
        anyhow::Ok(done)
    };
    let all = tokio::time::timeout(time + STRAGGLERS, all).await;
    all.with_context(|| format!("signals were lost: not all have arrived {STRAGGLERS:?} later"))?
}

/// One client's change of network.
async fn change(
    plan: Schedule,
    label: RecoveryLabel,
    proxy: Proxy,
    client: (Client, Events),
    partner: (Client, Events),
    cut_ns: u64,
) -> anyhow::Result<Change> {
    let ((client, events), (partner, partner_events)) = (client, partner);
    let (here, there) = (client.connection().id, partner.connection().id);
    let cutting = async {
        sleep_until(cut_ns).await;
        let now_ns = now_ns();
        proxy.cut_path().await;
        if label.recovery == Recovery::Migration {
            client.rebind().context("no new socket")?;
        }
        Ok(now_ns)
    };
    let ((), (), heard, by_partner, cut_ns) = tokio::try_join!(
        send_all(plan, &client, there),
        send_all(plan, &partner, here),
        receive_all(plan, events, label.recovery != Recovery::Migration),
        receive_all(plan, partner_events, false),
        cutting,
    )?;
    evaluate(plan, label, &heard, &by_partner, cut_ns)
}

fn evaluate(
    plan: Schedule,
    label: RecoveryLabel,
    heard: &Heard,
    by_partner: &Heard,
    cut_ns: u64,
) -> anyhow::Result<Change> {
    let delay_ns = nanos(Duration::from_millis(label.rtt_ms.into())) / 2;
    let latency_ms = |heard: &Heard| {
        let early = (0..).zip(&heard.at_ns).map(|(number, at)| (plan.due_ns(number), *at));
        let early = early.filter(|(due, _)| due + 2 * delay_ns < cut_ns);
        Spread::of(early.map(|(due, at)| ms(due, at))).median
    };
    let (begun_ns, first) = match (label.recovery, heard.lost) {
        // Signals that were due earlier had arrived before the cut, however late they were read.
        (Recovery::Migration, _) => {
            let late = |number: &u64| plan.due_ns(*number) + delay_ns > cut_ns;
            (cut_ns, (0..plan.signals).find(late).map(|it| it as usize))
        }
        (_, Some((lost_ns, before))) => (lost_ns, Some(before)),
        (_, None) => bail!("the client has not lost its link"),
    };
    let first = first.and_then(|index| heard.at_ns.get(index));
    let first_ns = *first.context("no signal came after the cut")?;
    let silence = heard.at_ns.windows(2).map(|pair| match pair {
        [one, next] => ms(*one, *next),
        _ => 0.0,
    });
    let recovered_ms = ms(begun_ns, first_ns);
    Ok(Change {
        round_trip_ms: latency_ms(heard) + latency_ms(by_partner),
        recovered_ms,
        recovered_round_trips: (label.rtt_ms > 0).then(|| recovered_ms / f64::from(label.rtt_ms)),
        silence_ms: silence.fold(0.0, f64::max),
        noticed_ms: heard.lost.map(|(lost_ns, _)| ms(cut_ns, lost_ns)),
    })
}

fn ms(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Signals every 10 ms that arrive 26 ms later; from the fourth on over the new path.
    fn heard(at_ms: [u64; 8], lost: Option<(u64, usize)>) -> Heard {
        Heard { at_ns: at_ms.map(|at| at * MS).to_vec(), lost }
    }

    #[test]
    fn a_recovery_ends_with_the_first_signal_over_the_new_path() {
        let plan = Schedule { start_ns: 0, signals: 8 };
        let label = |recovery| RecoveryLabel { rtt_ms: 50, recovery };
        let by_partner = heard([25, 35, 45, 55, 65, 75, 85, 95], None);
        // Cut at 60 ms: signals due by 35 ms had arrived.
        let moved = heard([26, 36, 46, 66, 166, 166, 167, 168], None);
        let change =
            evaluate(plan, label(Recovery::Migration), &moved, &by_partner, 60 * MS).unwrap();
        assert_eq!((change.recovered_ms, change.silence_ms), (106.0, 100.0));
        assert_eq!((change.round_trip_ms, change.noticed_ms), (51.0, None));

        let lost = heard([26, 36, 46, 66, 1650, 1651, 1652, 1653], Some((1600 * MS, 4)));
        let change =
            evaluate(plan, label(Recovery::EarlyData), &lost, &by_partner, 60 * MS).unwrap();
        assert_eq!((change.recovered_ms, change.silence_ms), (50.0, 1584.0));
        assert_eq!(change.noticed_ms, Some(1540.0));
        evaluate(plan, label(Recovery::EarlyData), &moved, &by_partner, 60 * MS).unwrap_err();
    }

    #[test]
    fn a_long_silence_of_a_migration_causes_a_warning() {
        let change = |silence_ms| Change {
            round_trip_ms: 50.0,
            recovered_ms: 60.0,
            recovered_round_trips: Some(1.2),
            silence_ms,
            noticed_ms: None,
        };
        let row = |recovery, longest| Row {
            label: RecoveryLabel { rtt_ms: 50, recovery },
            rounds: vec![change(60.0), change(longest)],
        };
        assert_eq!(warning(&row(Recovery::Migration, 149.0)), None);
        assert!(warning(&row(Recovery::Migration, 151.0)).unwrap().contains("151 ms"));
        assert_eq!(warning(&row(Recovery::Handshake, 151.0)), None);
    }
}
