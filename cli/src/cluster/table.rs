//! The state of a cluster as text for people.

use std::{fmt::Write as _, time::Duration};

use signalbox_gateway::{BusReport, ClusterReport, PeerReport};
use signalbox_protocol::Printable;

/// The columns of the other gateways.
const HEADER: [&str; 7] =
    ["PEER", "EPOCH", "LEASE AGE", "SENT", "CONFIRMED", "UNCONFIRMED", "RECEIVED"];

/// The report of one gateway, without the last line break.
pub(super) fn text(report: &ClusterReport) -> String {
    let ClusterReport { name, epoch, problems, bus, peers, sessions, .. } = report;
    let state = if problems.is_empty() {
        "healthy".to_owned()
    } else {
        // They may quote an error of NATS.
        format!("degraded: {}", Printable(problems.join("; ")))
    };
    let mut text = format!("{name} (epoch {epoch}) is {state}\n");
    let _ = write!(
        text,
        "  bus       {}\n  sessions  {} open, {} shared, {} orphaned\n  repairs   {} channels restarted, \
         {} fragments resent, {} gaps",
        line(bus),
        sessions.open,
        sessions.shared,
        sessions.orphaned,
        report.channels_restarted,
        report.fragments_resent,
        report.gaps,
    );
    if peers.is_empty() {
        text += "\n  no other gateway";
    } else {
        text.push_str(&rows(peers));
    }
    text
}

fn line(bus: &BusReport) -> String {
    let connected = if bus.connected { "connected" } else { "disconnected" };
    let since = humantime::format_duration(Duration::from_secs(bus.since_ms / 1000));
    let rtt = bus.rtt_ms.map_or_else(String::new, |rtt| format!(", round trip {rtt:.2} ms"));
    let BusReport { published, received, dropped, malformed, slow, .. } = bus;
    let mut line = format!(
        "{connected} for {since}{rtt}; {published} published, {received} received, {dropped} dropped, \
         {malformed} malformed, {slow} lost"
    );
    // Otherwise it is the problem.
    if let Some(error) = bus.last_error.as_ref().filter(|_| bus.connected) {
        let _ = write!(line, "; last error: {}", Printable(error));
    }
    line
}

/// A row for each gateway, in columns as wide as needed.
fn rows(peers: &[PeerReport]) -> String {
    let cells = peers.iter().map(|peer| {
        [
            peer.name.to_string(),
            peer.epoch.clone(),
            format!("{:.1} s", Duration::from_millis(peer.lease_age_ms).as_secs_f64()),
            peer.sent.to_string(),
            peer.confirmed.to_string(),
            peer.unconfirmed.to_string(),
            peer.received.to_string(),
        ]
    });
    let rows: Vec<_> = std::iter::once(HEADER.map(str::to_owned)).chain(cells).collect();
    let mut widths = HEADER.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut text = String::new();
    for row in &rows {
        text.push_str("\n ");
        for (number, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Numbers are aligned at their ends.
            let _ = if number < 2 {
                write!(text, " {cell:<width$}")
            } else {
                write!(text, "  {cell:>width$}")
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_few_lines_and_a_table() {
        let json = serde_json::json!({
            "name": "gw-1", "epoch": "000000000000002a", "healthy": false, "settled": false,
            "problems": ["two gateways\nof one name"], "duplicate": null,
            "bus": { "connected": true, "sinceMs": 61_500, "lastError": "refused", "rttMs": 0.256,
                     "published": 1, "received": 2, "dropped": 3, "malformed": 4, "slow": 5 },
            "peers": [{ "name": "gateway-2", "epoch": "0000000000000001", "leaseAgeMs": 240,
                        "sent": 12, "confirmed": 10, "unconfirmed": 2, "received": 7 }],
            "sessions": { "open": 6, "shared": 5, "orphaned": 4 },
            "channelsRestarted": 1, "fragmentsResent": 2, "gaps": 3
        });
        let text = text(&serde_json::from_value(json).unwrap());
        let expected = "\
gw-1 (epoch 000000000000002a) is degraded: two gateways\\nof one name
  bus       connected for 1m 1s, round trip 0.26 ms; 1 published, 2 received, 3 dropped, 4 malformed, 5 lost; last error: refused
  sessions  6 open, 5 shared, 4 orphaned
  repairs   1 channels restarted, 2 fragments resent, 3 gaps
  PEER      EPOCH             LEASE AGE  SENT  CONFIRMED  UNCONFIRMED  RECEIVED
  gateway-2 0000000000000001      0.2 s    12         10            2         7";
        assert_eq!(text, expected);
    }
}
