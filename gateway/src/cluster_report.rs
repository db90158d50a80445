//! The state of the cluster for operators: the answer to `GET /cluster`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use signalbox_cluster::{ClusterStatus, LEASE, PeerStatus};
use signalbox_nats::BusStatus;
use signalbox_protocol::GatewayId;

use crate::clock::millis;

/// The cluster as one gateway sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReport {
    /// The gateway itself.
    pub name: GatewayId,
    /// Its run, in hexadecimal.
    pub epoch: String,
    /// Whether there are no problems.
    pub healthy: bool,
    /// Reasons for which the gateway is not a full part of the cluster at the moment.
    pub problems: Vec<String>,
    /// Whether it has been connected for long enough to have heard every live gateway.
    pub settled: bool,
    /// Epoch of another gateway with the same name, if one has been heard within the lease.
    pub duplicate: Option<String>,
    /// The bus.
    pub bus: BusReport,
    /// The other live gateways.
    pub peers: Vec<PeerReport>,
    /// Sessions on this gateway.
    pub sessions: SessionsReport,
    /// Channels to peers that have started over.
    pub channels_restarted: u64,
    /// Fragments that were sent again because a peer lacked them.
    pub fragments_resent: u64,
    /// Gaps in the signals of other gateways that were reported to sessions here.
    pub gaps: u64,
}

/// The bus. Its counters count since the gateway started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BusReport {
    /// Whether NATS is reachable, and delivers.
    pub connected: bool,
    /// Time in this state.
    pub since_ms: u64,
    /// The last error, even if it has been overcome.
    pub last_error: Option<String>,
    /// Round-trip time of the last message of the gateway to itself.
    pub rtt_ms: Option<f64>,
    /// Messages passed to NATS.
    pub published: u64,
    /// Messages received, its own included.
    pub received: u64,
    /// Messages that could not be passed to NATS.
    pub dropped: u64,
    /// Received messages that were unusable.
    pub malformed: u64,
    /// Messages that were lost because the gateway received too slowly.
    pub slow: u64,
}

/// Another live gateway, and the channels to it and from it. Fragments are counted from 1 since a
/// channel started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Its name.
    pub name: GatewayId,
    /// Its run, in hexadecimal.
    pub epoch: String,
    /// Time since its last heartbeat.
    pub lease_age_ms: u64,
    /// The last fragment that was sent to it.
    pub sent: u64,
    /// The last fragment that it has confirmed.
    pub confirmed: u64,
    /// Fragments that it has not confirmed.
    pub unconfirmed: usize,
    /// The last fragment that was received from it.
    pub received: u64,
}

/// Numbers of sessions on a gateway.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsReport {
    /// All of them.
    pub open: usize,
    /// Those that are open on another gateway as well.
    pub shared: usize,
    /// Those with resumable connections of lost gateways.
    pub orphaned: usize,
}

impl ClusterReport {
    /// The report at a time of the gateway's clock.
    pub(crate) fn new(cluster: ClusterStatus, bus: BusStatus, now: Duration) -> Self {
        let problems = problems(&cluster, &bus, now);
        Self {
            name: cluster.instance.gateway,
            epoch: hex(cluster.instance.epoch),
            healthy: problems.is_empty(),
            problems,
            settled: cluster.settled,
            duplicate: cluster.duplicate.map(|other| hex(other.epoch)),
            bus: BusReport {
                connected: bus.connected,
                since_ms: millis(now.saturating_sub(bus.since)),
                last_error: bus.last_error,
                rtt_ms: bus.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
                published: bus.published,
                received: bus.received,
                dropped: bus.dropped,
                malformed: bus.malformed,
                slow: bus.slow,
            },
            peers: cluster.peers.into_iter().map(PeerReport::from).collect(),
            sessions: SessionsReport {
                open: cluster.sessions,
                shared: cluster.shared_sessions,
                orphaned: cluster.orphaned_sessions,
            },
            channels_restarted: cluster.restarts,
            fragments_resent: cluster.resent,
            gaps: cluster.gaps,
        }
    }
}

impl From<PeerStatus> for PeerReport {
    fn from(peer: PeerStatus) -> Self {
        Self {
            name: peer.instance.gateway,
            epoch: hex(peer.instance.epoch),
            lease_age_ms: millis(peer.heartbeat_age),
            sent: peer.sent,
            confirmed: peer.confirmed,
            unconfirmed: peer.unconfirmed,
            received: peer.received,
        }
    }
}

fn hex(epoch: u64) -> String {
    format!("{epoch:016x}")
}

/// One line for each problem.
fn problems(cluster: &ClusterStatus, bus: &BusStatus, now: Duration) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(other) = &cluster.duplicate {
        problems.push(format!(
            "another gateway is named {} (epoch {:016x}): set another `name` for one of them",
            other.gateway, other.epoch
        ));
    }
    if !bus.connected {
        let seconds = now.saturating_sub(bus.since).as_secs();
        let error = bus.last_error.as_deref().unwrap_or("no error was reported");
        problems.push(format!("NATS has not been reachable for {seconds} s: {error}"));
    } else if !cluster.settled {
        let lease = LEASE.as_secs();
        problems.push(format!("connected to NATS for less than {lease} s: not settled yet"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use signalbox_relay::Instance;

    use super::*;

    fn instance(epoch: u64) -> Instance {
        Instance { gateway: "gw-1".parse().unwrap(), epoch }
    }

    fn cluster() -> ClusterStatus {
        ClusterStatus {
            instance: instance(1),
            echo_age: Some(Duration::ZERO),
            settled: true,
            duplicate: None,
            peers: Vec::new(),
            restarts: 0,
            resent: 0,
            gaps: 0,
            sessions: 0,
            shared_sessions: 0,
            orphaned_sessions: 0,
        }
    }

    fn bus() -> BusStatus {
        BusStatus {
            connected: true,
            since: Duration::from_secs(1),
            last_error: Some("an earlier one".into()),
            rtt: None,
            published: 0,
            received: 0,
            dropped: 0,
            malformed: 0,
            slow: 0,
        }
    }

    fn said(cluster: ClusterStatus, bus: BusStatus) -> String {
        let report = ClusterReport::new(cluster, bus, Duration::from_secs(5));
        assert_eq!(report.healthy, report.problems.is_empty());
        report.problems.join("; ")
    }

    #[test]
    fn each_problem_is_one_line() {
        assert_eq!(said(cluster(), bus()), "");
        let unsettled = ClusterStatus { settled: false, ..cluster() };
        assert!(said(unsettled.clone(), bus()).contains("not settled"));
        let cut_off = BusStatus { connected: false, ..bus() };
        let line = "NATS has not been reachable for 4 s: an earlier one";
        assert_eq!(said(unsettled, cut_off), line, "not settled follows from it");
        let twice = ClusterStatus { duplicate: Some(instance(255)), ..cluster() };
        assert!(said(twice, bus()).contains("is named gw-1 (epoch 00000000000000ff)"));
    }
}
