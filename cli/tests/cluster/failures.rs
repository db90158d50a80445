//! The failures: what happens to gateways, cables and NATS servers while members talk.

use std::{collections::BTreeSet, fmt, future::pending, time::Duration};

use signalbox_client::ConnectionId;
use signalbox_tests::TransportMode;
use tokio::time::{Instant, timeout};

use crate::{
    report::Row,
    scene::{GATEWAYS, Scene, SceneSettings, with_scene},
    traffic::Traffic,
};

/// Something that fails and, mostly, comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A gateway is killed.
    GatewayKilled,
    /// A gateway is killed, and started again at once with the same name.
    GatewayCrashed,
    /// Two of three gateways are killed.
    GatewaysKilled,
    /// A gateway is killed. The clock of a gateway on which clients resume is ten minutes ahead.
    GatewayKilledClocksApart,
    /// A gateway is cut off from NATS. It has this resume window.
    CablePulled { time: Duration, window: Duration },
    /// The only NATS server is killed, and comes back after this time.
    NatsRestarted { time: Duration, window: Duration },
    /// One of three nodes of a NATS cluster is killed.
    NatsNodeKilled,
    /// The process of a gateway is stopped and continued.
    GatewayStopped(Duration),
    /// All gateways are restarted, one after the other.
    RollingRestart,
}

/// The resume window, unless the failure has another.
pub(crate) const WINDOW: Duration = Duration::from_secs(30);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GatewayKilled => f.write_str("gateway killed (`kill -9`)"),
            Self::GatewayKilledClocksApart => {
                f.write_str("gateway killed, clocks ten minutes apart")
            }
            Self::GatewayCrashed => f.write_str("gateway killed, started again at once"),
            Self::GatewaysKilled => f.write_str("two of three gateways killed"),
            Self::CablePulled { time, window } => {
                write!(f, "gateway cut off from NATS for {time:?}, resume window {window:?}")
            }
            Self::NatsRestarted { time, window } => {
                write!(f, "NATS killed, started again after {time:?}, resume window {window:?}")
            }
            Self::NatsNodeKilled => f.write_str("one of three NATS nodes killed"),
            Self::GatewayStopped(time) => write!(f, "gateway stopped (`SIGSTOP`) for {time:?}"),
            Self::RollingRestart => f.write_str("rolling restart of all gateways"),
        }
    }
}

impl Failure {
    /// Whether connections cannot survive it.
    fn outlasts_window(self) -> bool {
        match self {
            Self::CablePulled { time, window } | Self::NatsRestarted { time, window } => {
                time > window
            }
            _ => false,
        }
    }

    /// Lets it happen. Returns when things should get better from.
    async fn happen(self, scene: &mut Scene, traffic: &Traffic) -> Instant {
        match self {
            Self::GatewayKilled => {
                scene.kill(0);
                Instant::now()
            }
            Self::GatewayCrashed => {
                scene.kill(0);
                scene.launch(0);
                let killed = Instant::now();
                scene.is_up(0);
                killed
            }
            Self::GatewaysKilled => {
                scene.kill(0);
                scene.kill(1);
                Instant::now()
            }
            Self::GatewayKilledClocksApart => {
                scene.kill(1);
                Instant::now()
            }
            Self::CablePulled { time, .. } => {
                scene.pull_cable(0);
                lasts(time).await;
                scene.plug_cable();
                Instant::now()
            }
            Self::NatsRestarted { time, .. } => {
                scene.nats[0].kill().await;
                lasts(time).await;
                scene.nats[0].restart().await;
                Instant::now()
            }
            Self::NatsNodeKilled => {
                // Gateways connect to a random node. One of these has some.
                scene.nats[0].kill().await;
                Instant::now()
            }
            Self::GatewayStopped(time) => {
                scene.process(0).signal("-STOP");
                lasts(time).await;
                scene.process(0).signal("-CONT");
                Instant::now()
            }
            Self::RollingRestart => {
                let mut restarted = Instant::now();
                for gateway in 0..GATEWAYS {
                    scene.stop(gateway).await;
                    scene.launch(gateway);
                    scene.is_up(gateway);
                    scene.are_settled().await;
                    restarted = Instant::now();
                    traffic.flows_since(restarted).await;
                }
                restarted
            }
        }
    }

    fn settings(self) -> SceneSettings {
        let settings = SceneSettings::default();
        match self {
            Self::CablePulled { window, .. } | Self::NatsRestarted { window, .. } => {
                SceneSettings { window, ..settings }
            }
            Self::GatewayKilledClocksApart => SceneSettings { clock_ahead: true, ..settings },
            Self::NatsNodeKilled => SceneSettings { nats_nodes: 3, ..settings },
            _ => settings,
        }
    }

    /// Lets it happen while members talk over these transports.
    pub(crate) fn run(self, transports: &[TransportMode], members: usize, pause: Duration) -> Row {
        with_scene(self.settings(), async |scene| {
            let mut traffic = Traffic::start(scene, transports, members, pause).await;
            let better_from = self.happen(scene, &traffic).await;
            traffic.flows_since(better_from).await;
            let lists = scene.all_list(&traffic.connections()).await;
            let delays = traffic.delays_since(better_from);
            let tally = traffic.stop().await;
            let mut faults = tally.faults.clone();
            faults.extend(lists.err());
            faults.extend(self.presence_faults(&traffic));
            if !faults.is_empty() {
                faults.push(scene.logs());
            }
            Row::new(self, transports, &traffic, &tally, &delays, faults)
        })
    }

    /// Presence events that should not have been there, or are missing. A connection that came and
    /// went on a gateway that was cut off may be unknown to others.
    fn presence_faults(self, traffic: &Traffic) -> Vec<String> {
        let mut faults = Vec::new();
        let records: Vec<_> = traffic.members.iter().map(|it| it.record.lock().clone()).collect();
        let first = records.iter().map(|record| record.connections[0]);
        let first: BTreeSet<ConnectionId> = first.collect();
        let latest: BTreeSet<_> =
            records.iter().filter_map(|record| record.connections.last().copied()).collect();
        for (index, record) in records.iter().enumerate() {
            if let Some(end) = &record.ended {
                faults.push(format!("member {index} has ended: {end}"));
            }
            if record.rejoins() > 0 {
                let expected = self.outlasts_window();
                // Other gateways serve the clients of one that is cut off.
                let others_serve = matches!(self, Self::CablePulled { .. });
                if !expected || others_serve && record.rejoins() > 1 {
                    let rejoins = record.rejoins();
                    faults.push(format!("member {index} has joined again, {rejoins} times"));
                }
                continue; // it has read a new list
            }
            let mut known = first.clone();
            let (created, destroyed) = (&record.created, &record.destroyed);
            let once = created.iter().all(|id| known.insert(*id))
                && destroyed.iter().all(|id| known.remove(id));
            if !once || known != latest {
                faults.push(format!(
                    "member {index} was told of {created:?} and the end of {destroyed:?}"
                ));
            }
        }
        faults
    }
}

/// A failure lasts for this time.
async fn lasts(time: Duration) {
    let _ = timeout(time, pending::<()>()).await;
}
