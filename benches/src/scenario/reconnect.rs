//! The scenario with clients whose network changes: how long it takes from the loss of a link to
//! the next signal, by every way back and over several round trips.
//!
//! Each client signals to a partner beside the gateway, and it to the client, all the time, and
//! each must get all that the other said, in order. Then the client's line is cut with all that is
//! under way on it.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use signalbox_client::{Client, ConnectOptions, Events};
use signalbox_netem::{
    LinkModel,
    proxy::{Proxy, ProxyRuntime, Targets},
};
use tokio::task::JoinSet;

use super::order;
use crate::{
    clock::{nanos, now_ns, sleep_until},
    dialogue::{Heard, INTERVAL, Plan, listen, talk},
    gateway::{Gateway, Launcher},
    output::note,
    stats::Spread,
    transport::Transport,
};

/// How long they talk before the first cut.
const BEFORE: Duration = Duration::from_millis(600);

/// From one cut to the next, so that those who come back do not get in each other's way.
const BETWEEN: Duration = Duration::from_millis(100);

/// How long they talk after the last cut: longer than anybody needs to notice it and come back.
const AFTER: Duration = Duration::from_millis(3500);

/// How long the last signals may take.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// So that a link that has fallen silent is soon taken for lost; how soon is not what is measured.
const SETTINGS: &[(&str, &str)] = &[("SIGNALBOX_TIMEOUTS__IDLE_MS", "1500")];
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// What a migration may cost beside two round trips without being worth a warning.
const ALLOWANCE_MS: f64 = 50.0;

/// How long clients hear nothing when their network changes.
#[derive(Debug, Clone, clap::Args)]
pub struct Reconnect {
    /// Round trips over the client's line, in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0,50,150")]
    pub rtt: Vec<u32>,
    /// Rounds over all ways and round trips, each with new clients.
    #[arg(long, value_name = "ROUNDS", default_value_t = 5)]
    pub repeat: usize,
}

/// How a client gets from one network to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The application says that the network has changed, and the link moves.
    Migration,
    /// A new QUIC link whose first packet says who comes back.
    EarlyData,
    /// A new QUIC link with a full handshake.
    Handshake,
    /// A new WebSocket over TLS.
    WebSocket,
}

impl Way {
    const ALL: [Self; 4] = [Self::Migration, Self::EarlyData, Self::Handshake, Self::WebSocket];

    /// For tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Migration => "QUIC, migration",
            Self::EarlyData => "QUIC, 0-RTT resume",
            Self::Handshake => "QUIC, full handshake and resume",
            Self::WebSocket => "WebSocket over TLS, resume",
        }
    }

    fn options(self, proxy: &Proxy, token: &str) -> ConnectOptions {
        let options = match self {
            Self::WebSocket => Transport::Wss.options_to(proxy.tcp(), token),
            _ => Transport::Quic.options_to(proxy.udp(), token),
        };
        options.keep_alive(KEEP_ALIVE).early_data(self != Self::Handshake)
    }
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct ReconnectResult {
    /// `reconnect`.
    pub scenario: &'static str,
    /// Between two signals, in milliseconds.
    pub interval_ms: f64,
    /// A row for each round trip and way.
    pub rows: Vec<ReconnectRow>,
}

/// All rounds of one way over one round trip. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub struct ReconnectRow {
    /// The round trip that was asked for.
    pub rtt_ms: u32,
    /// The way back.
    pub way: Way,
    /// A signal each way, before the cut: the round trip, and what the clients and the gateway add.
    pub round_trip_ms: Spread,
    /// From when the application moved the link, or from when the link was known to be lost, to
    /// the first signal that would not have come without it.
    pub back_ms: Spread,
    /// The same in round trips that were asked for; none over no distance.
    pub back_round_trips: Option<f64>,
    /// The longest time without a signal. It holds what it took to notice.
    pub silence_ms: Spread,
    /// From the cut to when the client knew; none if it was told.
    pub noticed_ms: Option<Spread>,
    /// The single rounds.
    pub rounds: Vec<Change>,
}

/// What came of one change of network, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Change {
    /// A signal each way before.
    pub round_trip_ms: f64,
    /// From the beginning of the way back to the first signal.
    pub back_ms: f64,
    /// The longest time without a signal.
    pub silence_ms: f64,
    /// From the cut to when the client knew, if nobody told it.
    pub noticed_ms: Option<f64>,
}

impl ReconnectRow {
    fn new(rtt_ms: u32, way: Way, rounds: Vec<Change>) -> Self {
        let spread = |pick: fn(&Change) -> f64| Spread::of(rounds.iter().map(pick));
        let back_ms = spread(|it| it.back_ms);
        let noticed: Vec<_> = rounds.iter().filter_map(|it| it.noticed_ms).collect();
        Self {
            rtt_ms,
            way,
            round_trip_ms: spread(|it| it.round_trip_ms),
            back_ms,
            back_round_trips: (rtt_ms > 0).then(|| back_ms.median / f64::from(rtt_ms)),
            silence_ms: spread(|it| it.silence_ms),
            noticed_ms: (!noticed.is_empty()).then(|| Spread::of(noticed)),
            rounds,
        }
    }

    /// A migration whose silence was longer than it should be.
    pub(crate) fn warning(&self) -> Option<String> {
        let limit = 2.0 * f64::from(self.rtt_ms) + ALLOWANCE_MS;
        (self.way == Way::Migration && self.silence_ms.max >= limit).then(|| {
            format!(
                "{} over {} ms: a silence of {:.0} ms is longer than two round trips and \
                 {ALLOWANCE_MS} ms",
                self.way.title(),
                self.rtt_ms,
                self.silence_ms.max
            )
        })
    }
}

impl Reconnect {
    /// Measures.
    ///
    /// # Errors
    /// If a gateway cannot be run, a signal is lost or comes twice, a client does not come back as
    /// it was, or anybody is told of somebody's coming or going.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<ReconnectResult> {
        ensure!(self.repeat > 0, "--repeat must be at least 1");
        let gateway = launcher.start_with(SETTINGS).await?;
        let proxies = ProxyRuntime::start()?;
        let targets = Targets { udp: gateway.quic().parse()?, tcp: gateway.https().parse()? };
        let kinds = self.rtt.iter().flat_map(|rtt| Way::ALL.map(|way| (*rtt, way)));
        let mut done: Vec<_> = kinds.map(|kind| (kind, Vec::new())).collect();
        let kinds: Vec<_> = done.iter().map(|it| it.0).collect();
        'rounds: for round in 0..self.repeat {
            let kinds = order(&kinds, round);
            let measuring = measure(&gateway, (&proxies, targets), &kinds);
            let Some(changes) = launcher.unless_interrupted(measuring).await? else {
                break 'rounds;
            };
            for (kind, change) in changes {
                let (rtt, way) = kind;
                note(format_args!(
                    "reconnect {}/{}  {}, {rtt} ms: back {:.1} ms after {}, silent for {:.1} ms",
                    round + 1,
                    self.repeat,
                    way.title(),
                    change.back_ms,
                    change.noticed_ms.map_or_else(
                        || "the application moved it".to_owned(),
                        |noticed| format!("it knew of the loss, which took {noticed:.0} ms")
                    ),
                    change.silence_ms,
                ));
                if let Some((_, rounds)) = done.iter_mut().find(|it| it.0 == kind) {
                    rounds.push(change);
                }
            }
        }
        // Interrupted, it may have gone by itself.
        if !launcher.is_interrupted() {
            gateway.stop().await?;
        }
        done.retain(|(_, rounds)| !rounds.is_empty());
        let row = |((rtt, way), rounds)| ReconnectRow::new(rtt, way, rounds);
        Ok(ReconnectResult {
            scenario: "reconnect",
            interval_ms: INTERVAL.as_secs_f64() * 1000.0,
            rows: done.into_iter().map(row).collect(),
        })
    }
}

type Kind = (u32, Way);

/// All of them at the same time, each with a session of its own, and cut one after the other.
async fn measure(
    gateway: &Gateway,
    (proxies, targets): (&ProxyRuntime, Targets),
    kinds: &[Kind],
) -> anyhow::Result<Vec<(Kind, Change)>> {
    let mut pairs = Vec::new();
    for (rtt, way) in kinds {
        let delay = Duration::from_millis((*rtt).into()) / 2;
        let link = LinkModel { delay, ..LinkModel::default() };
        let proxy = proxies.proxy(targets, link, link, 0).await?;
        let token = gateway.token()?;
        // Of its own: clients of one move together.
        let connector = gateway.another_connector()?;
        let client = connector.connect(&way.options(&proxy, &token)).await?;
        let beside = Transport::Quic.options(gateway, &token).keep_alive(KEEP_ALIVE);
        let partner = gateway.connector().connect(&beside.presence(true)).await?;
        pairs.push((*rtt, *way, proxy, client, partner));
    }
    let start_ns = now_ns() + nanos(BEFORE / 2);
    let count = u32::try_from(kinds.len())?;
    let time = BEFORE + BETWEEN * count + AFTER;
    let plan = Plan { start_ns, signals: time.as_millis() as u64 / INTERVAL.as_millis() as u64 };
    let mut changes = JoinSet::new();
    for (number, (rtt, way, proxy, client, partner)) in (0..).zip(pairs) {
        let cut_ns = start_ns + nanos(BEFORE + BETWEEN * number);
        changes.spawn(async move {
            let change = change(plan, rtt, way, proxy, client, partner, cut_ns).await;
            let context = || format!("{}, {rtt} ms: the measurement is void", way.title());
            anyhow::Ok(((rtt, way), change.with_context(context)?))
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
    all.with_context(|| format!("signals were lost: not all are there {STRAGGLERS:?} later"))?
}

/// One client's change of network.
async fn change(
    plan: Plan,
    rtt: u32,
    way: Way,
    proxy: Proxy,
    client: (Client, Events),
    partner: (Client, Events),
    cut_ns: u64,
) -> anyhow::Result<Change> {
    let ((client, events), (partner, beside)) = (client, partner);
    let (here, there) = (client.connection().id, partner.connection().id);
    let cutting = async {
        sleep_until(cut_ns).await;
        let now_ns = now_ns();
        proxy.cut_path().await;
        if way == Way::Migration {
            client.rebind().context("no new socket")?;
        }
        Ok(now_ns)
    };
    let ((), (), heard, beside, cut_ns) = tokio::try_join!(
        talk(plan, &client, there),
        talk(plan, &partner, here),
        listen(plan, events, way != Way::Migration),
        listen(plan, beside, false),
        cutting,
    )?;
    evaluate(plan, rtt, way, &heard, &beside, cut_ns)
}

fn evaluate(
    plan: Plan,
    rtt: u32,
    way: Way,
    heard: &Heard,
    beside: &Heard,
    cut_ns: u64,
) -> anyhow::Result<Change> {
    let delay_ns = nanos(Duration::from_millis(rtt.into())) / 2;
    let latency_ms = |heard: &Heard| {
        let early = (0..).zip(&heard.at_ns).map(|(number, at)| (plan.due_ns(number), *at));
        let early = early.filter(|(due, _)| due + 2 * delay_ns < cut_ns);
        Spread::of(early.map(|(due, at)| ms(due, at))).median
    };
    let (begun_ns, first) = match (way, heard.lost) {
        // Signals that were due earlier were there before the cut, however late they were heard.
        (Way::Migration, _) => {
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
    Ok(Change {
        round_trip_ms: latency_ms(heard) + latency_ms(beside),
        back_ms: ms(begun_ns, first_ns),
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

    /// Signals every 10 ms that come 26 ms later; those from the fourth on come by the new way.
    fn heard(at_ms: [u64; 8], lost: Option<(u64, usize)>) -> Heard {
        Heard { at_ns: at_ms.map(|at| at * MS).to_vec(), lost }
    }

    #[test]
    fn a_way_back_ends_with_the_first_signal_that_comes_by_it() {
        let plan = Plan { start_ns: 0, signals: 8 };
        let beside = heard([25, 35, 45, 55, 65, 75, 85, 95], None);
        // Cut at 60 ms: what was due by 35 ms was there.
        let moved = heard([26, 36, 46, 66, 166, 166, 167, 168], None);
        let change = evaluate(plan, 50, Way::Migration, &moved, &beside, 60 * MS).unwrap();
        assert_eq!((change.back_ms, change.silence_ms), (106.0, 100.0));
        assert_eq!((change.round_trip_ms, change.noticed_ms), (51.0, None));

        let lost = heard([26, 36, 46, 66, 1650, 1651, 1652, 1653], Some((1600 * MS, 4)));
        let change = evaluate(plan, 50, Way::EarlyData, &lost, &beside, 60 * MS).unwrap();
        assert_eq!((change.back_ms, change.silence_ms), (50.0, 1584.0));
        assert_eq!(change.noticed_ms, Some(1540.0));
        evaluate(plan, 50, Way::EarlyData, &moved, &beside, 60 * MS).unwrap_err();
    }

    #[test]
    fn a_migration_that_is_silent_for_too_long_is_said() {
        let change = |silence_ms| Change {
            round_trip_ms: 50.0,
            back_ms: 60.0,
            silence_ms,
            noticed_ms: None,
        };
        let row = |way, longest| ReconnectRow::new(50, way, vec![change(60.0), change(longest)]);
        assert_eq!(row(Way::Migration, 149.0).warning(), None);
        assert!(row(Way::Migration, 151.0).warning().unwrap().contains("151 ms"));
        assert_eq!(row(Way::Handshake, 151.0).warning(), None);
        assert_eq!(row(Way::Handshake, 60.0).back_round_trips, Some(1.2));
    }
}
