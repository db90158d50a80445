//! Every metric of the gateway: its name, kind, unit, labels and meaning, in one declaration each.
//!
//! Names follow the conventions of Prometheus. The exposition appends the unit, and `_total` to
//! counters. The values of a label are few and known: no client can add one.

use prometheus_client::{metrics::MetricType, registry::Unit};

/// A metric as it was declared.
#[derive(Debug)]
pub(super) struct Metric {
    /// The name without unit and suffix.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: MetricUnit,
    /// Names of its labels, in the order of their values.
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

impl Kind {
    pub(super) fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricUnit {
    /// A number of things, which the name says.
    Number,
    Bytes,
    Seconds,
    /// A share of one.
    Ratio,
}

impl MetricUnit {
    pub(super) fn unit(self) -> Option<Unit> {
        match self {
            Self::Number => None,
            Self::Bytes => Some(Unit::Bytes),
            Self::Seconds => Some(Unit::Seconds),
            Self::Ratio => Some(Unit::Other("ratio".into())),
        }
    }
}

impl Metric {
    /// The name as queries use it.
    fn full_name(&self) -> String {
        let mut name = self.name.to_owned();
        if let Some(unit) = self.unit.unit() {
            name = format!("{name}_{}", unit.as_str());
        }
        match self.kind {
            Kind::Counter => name + "_total",
            Kind::Info => name + "_info",
            Kind::Gauge | Kind::Histogram => name,
        }
    }
}

macro_rules! metrics {
    ($($section:literal { $($metric:ident: $kind:ident $unit:ident $name:literal [$($label:literal),*] $help:literal;)+ })+) => {
        $($(
            pub(super) const $metric: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: MetricUnit::$unit,
                labels: &[$($label),*],
                help: $help,
            };
        )+)+

        /// All metrics, by section.
        const SECTIONS: &[(&str, &[Metric])] = &[$(($section, &[$($metric),+])),+];
    };
}

metrics! {
    "Gateway" {
        BUILD: Info Number "signalbox_build" ["version"] "Version of the gateway.";
        GATEWAY: Info Number "signalbox_gateway" ["name"] "Name of the gateway.";
        READY: Gauge Number "signalbox_ready" [] "Whether /readyz returns 200.";
        DRAINING: Gauge Number "signalbox_draining" [] "Whether the gateway is shutting down.";
        PROJECTS: Gauge Number "signalbox_projects" [] "Configured projects.";
        CERTIFICATE_EXPIRY: Gauge Seconds "signalbox_certificate_expiry_timestamp" []
            "Unix time at which the first certificate of the chain in use expires.";
        CERTIFICATE_START: Gauge Seconds "signalbox_certificate_start_timestamp" []
            "Unix time from which the chain in use is valid.";
        LINK_THREADS: Gauge Number "signalbox_link_threads" [] "Threads that carry links: process.threads.";
    }
    "Sessions and connections" {
        SESSIONS: Gauge Number "signalbox_sessions" [] "Sessions that are open on this gateway.";
        CONNECTIONS: Gauge Number "signalbox_connections" ["transport", "state"]
            "Connections of this gateway, by the transport of their latest link; detached connections may be resumed.";
        PROJECT_SESSIONS: Gauge Number "signalbox_project_sessions" ["project"]
            "Sessions that are open on this gateway, by configured project.";
        PROJECT_CONNECTIONS: Gauge Number "signalbox_project_connections" ["project"]
            "Connections of this gateway, by configured project.";
        JOINS: Counter Number "signalbox_joins" ["transport"] "Connections that have been created by a client's hello.";
    }
    "Links" {
        LINKS: Gauge Number "signalbox_links" ["transport"] "Links that are open, those before their welcome included.";
        LINKS_OPENED: Counter Number "signalbox_links_opened" ["transport"] "Links that have been opened.";
        LINKS_ENDED: Counter Number "signalbox_links_ended" ["transport", "reason"]
            "Links that have ended, by close reason. Refused clients are among them.";
        RTT: Histogram Seconds "signalbox_link_rtt" ["transport"]
            "Round-trip times of the open links, each observed once per scrape: that of QUIC, or of the latest ping over a WebSocket.";
    }
    "Signals" {
        SIGNALS_RECEIVED: Counter Number "signalbox_signals_received" ["transport"]
            "Signals of clients that were accepted.";
        SERVER_SIGNALS: Counter Number "signalbox_server_signals" [] "Signals of servers that were accepted.";
        SIGNALS_REJECTED: Counter Number "signalbox_signals_rejected" ["code"]
            "Signals and other requests of clients and servers that were rejected, by error code.";
        DELIVERIES: Counter Number "signalbox_deliveries" []
            "Signals that were put into the outbox of a receiver: one for each receiver.";
        LATENCY: Histogram Seconds "signalbox_delivery_latency" ["transport"]
            "Time from the acceptance of a signal until a receiver's link has written it. One of 16 signals of a session is measured.";
        RECEIVED: Counter Bytes "signalbox_received" ["transport"] "Bytes of messages from clients.";
        SENT: Counter Bytes "signalbox_sent" ["transport"] "Bytes of messages that links have written.";
        FRAMES_SENT: Counter Number "signalbox_frames_sent" ["transport"]
            "Messages of outboxes that links have written: signals and events.";
    }
    "Outboxes" {
        OUTBOX_FRAMES: Gauge Number "signalbox_outbox_frames" ["transport"] "Frames that wait in outboxes.";
        OUTBOX: Gauge Bytes "signalbox_outbox" ["transport"] "Bytes that wait in outboxes.";
        OUTBOX_FULLEST: Gauge Ratio "signalbox_outbox_fullest" ["transport"]
            "Fill of the fullest outbox: at 1 its connection ends as a slow consumer.";
    }
    "Admission" {
        PENDING: Gauge Number "signalbox_pending_clients" ["listener"]
            "Clients that hold an admission permit: between accept and welcome, and HTTP connections without a credential.";
        WAITING: Gauge Number "signalbox_waiting_clients" ["listener"] "Clients that wait for an admission permit.";
        PENDING_LIMIT: Gauge Number "signalbox_pending_clients_limit" ["listener"]
            "Admission permits: limits.pending_handshakes.";
        HANDSHAKES: Counter Number "signalbox_handshakes" ["listener", "result"]
            "TLS handshakes, and QUIC handshakes up to the control stream.";
        REFUSED: Counter Number "signalbox_clients_refused" ["cause"]
            "Clients that were refused before they were admitted: their address does too much, or there was no permit for them.";
        RETRIES: Counter Number "signalbox_quic_retries" []
            "QUIC clients that were asked to validate their address first.";
        TOKENS_REJECTED: Counter Number "signalbox_tokens_rejected" ["kind", "cause"]
            "Client tokens and servers' credentials that were rejected.";
    }
    "Connect webhooks" {
        CONNECT_REQUESTS: Counter Number "signalbox_connect_requests" ["project", "result"]
            "Clients about which a project's server was asked, by configured project; those that were refused because too many wait included.";
        CONNECT_DURATION: Histogram Seconds "signalbox_connect_request_duration" ["project"]
            "Time until a project's server has answered, or the gateway has given up.";
        CONNECT_WAITING: Gauge Number "signalbox_connect_waiting_clients" ["project"]
            "Clients that wait for a project's server.";
    }
    "Resumption" {
        RESUMES: Counter Number "signalbox_resumes" ["transport"] "Connections that were resumed on another link.";
        EARLY_RESUMES: Counter Number "signalbox_early_resumes" ["transport"]
            "Those that were resumed in the client's first packet (0-RTT).";
        RESUMES_REJECTED: Counter Number "signalbox_resumes_rejected" ["reason"]
            "Clients that could not resume, by close reason.";
        GAPS: Counter Number "signalbox_resume_gaps" []
            "Resumed connections that were told of a gap: the history had lost what they missed.";
        REPLAYED_FRAMES: Counter Number "signalbox_replayed_frames" [] "Messages that were replayed to resumed connections.";
        REPLAYED: Counter Bytes "signalbox_replayed" [] "Bytes that were replayed to resumed connections.";
    }
    "QUIC" {
        PACKETS_SENT: Counter Number "signalbox_quic_packets_sent" ["transport"] "QUIC packets that were sent on links.";
        PACKETS_LOST: Counter Number "signalbox_quic_packets_lost" ["transport"]
            "QUIC packets that were declared lost, and whose data was sent again.";
        MIGRATIONS: Counter Number "signalbox_quic_migrations" ["transport"]
            "Changes of the address of a client. Several between two scrapes count once.";
    }
    "Servers" {
        HTTP_REQUESTS: Counter Number "signalbox_http_requests" ["method", "route", "status"]
            "HTTP requests on the TCP port, by route.";
        HTTP_DURATION: Histogram Seconds "signalbox_http_request_duration" ["route"]
            "Time from the head of a request to the head of its response.";
        WEBHOOK_QUEUED: Gauge Number "signalbox_webhook_queued_events" ["project"] "Events that wait to be posted.";
        WEBHOOK_QUEUE: Gauge Bytes "signalbox_webhook_queue" ["project"] "Bytes of these events.";
        WEBHOOK_FAILING: Gauge Number "signalbox_webhook_failing" ["project"] "Whether the last attempt has failed.";
        WEBHOOK_ACCEPTED: Counter Number "signalbox_webhook_events_accepted" ["project"]
            "Events that the endpoint has accepted.";
        WEBHOOK_ATTEMPTS_FAILED: Counter Number "signalbox_webhook_attempts_failed" ["project"]
            "Attempts to post an event that have failed.";
        WEBHOOK_DROPPED: Counter Number "signalbox_webhook_events_dropped" ["project"]
            "Events that were dropped, because the queue was full or the endpoint has not accepted them within a day.";
    }
    "Cluster" {
        CLUSTER_CONNECTED: Gauge Number "signalbox_cluster_connected" [] "Whether NATS is reachable, and delivers.";
        CLUSTER_SETTLED: Gauge Number "signalbox_cluster_settled" []
            "Whether the gateway has been connected for long enough to have heard every live gateway.";
        CLUSTER_DUPLICATE: Gauge Number "signalbox_cluster_duplicate_name" [] "Whether another gateway has the same name.";
        CLUSTER_PEERS: Gauge Number "signalbox_cluster_peers" [] "Other live gateways.";
        CLUSTER_SESSIONS: Gauge Number "signalbox_cluster_sessions" ["state"]
            "Sessions that are open on another gateway as well (shared), or have connections of lost gateways (orphaned).";
        LEASE_AGE: Gauge Seconds "signalbox_cluster_lease_age" ["peer"] "Time since the last heartbeat of a peer.";
        CHANNEL_SENT: Gauge Number "signalbox_cluster_channel_sent" ["peer"]
            "Position of the channel to a peer: the last fragment that was sent.";
        CHANNEL_CONFIRMED: Gauge Number "signalbox_cluster_channel_confirmed" ["peer"]
            "The last fragment that the peer has confirmed.";
        CHANNEL_RECEIVED: Gauge Number "signalbox_cluster_channel_received" ["peer"]
            "Position of the channel from a peer: the last fragment that was received.";
        CHANNEL_UNCONFIRMED: Gauge Number "signalbox_cluster_channel_unconfirmed" ["peer"]
            "Fragments that the peer has not confirmed.";
        CHANNELS_RESTARTED: Counter Number "signalbox_cluster_channels_restarted" [] "Channels to peers that have started over.";
        FRAGMENTS_RESENT: Counter Number "signalbox_cluster_fragments_resent" []
            "Fragments that were sent again because a peer lacked them.";
        CLUSTER_GAPS: Counter Number "signalbox_cluster_gaps" []
            "Losses of other gateways' signals that were reported to sessions here.";
        BUS_RTT: Gauge Seconds "signalbox_bus_rtt" [] "Round-trip time of the last message of the gateway to itself over NATS.";
        BUS_MESSAGES: Counter Number "signalbox_bus_messages" ["event"]
            "Messages over NATS: published, received, dropped before NATS, malformed, or lost because the gateway received too slowly (slow).";
    }
    "Process" {
        CPU: Counter Seconds "process_cpu" [] "User and system CPU time of the process.";
        RESIDENT: Gauge Bytes "process_resident_memory" [] "Resident memory of the process.";
        VIRTUAL: Gauge Bytes "process_virtual_memory" [] "Virtual memory of the process.";
        OPEN_FDS: Gauge Number "process_open_fds" [] "Open file descriptors.";
        MAX_FDS: Gauge Number "process_max_fds" [] "Limit of open file descriptors.";
        THREADS: Gauge Number "process_threads" [] "Threads of the process.";
        START_TIME: Gauge Seconds "process_start_time" [] "Unix time at which the process started.";
    }
}

/// The metrics as Markdown: `docs/metrics.md` from its first section on.
pub fn metrics_reference() -> String {
    let mut text = String::new();
    for (section, metrics) in SECTIONS {
        text +=
            &format!("## {section}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n");
        for metric in *metrics {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            text += &format!(
                "| `{}` | {} | {} | {} |\n",
                metric.full_name(),
                metric.kind.name(),
                labels.join(", "),
                metric.help
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Names of all metrics, as queries use them.
pub fn metric_names() -> Vec<String> {
    SECTIONS.iter().flat_map(|(_, metrics)| metrics.iter().map(Metric::full_name)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_name_is_declared_once_and_follows_the_conventions() {
        let mut names = HashSet::new();
        for metric in SECTIONS.iter().flat_map(|(_, metrics)| metrics.iter()) {
            assert!(names.insert(metric.name), "{}", metric.name);
            let is_known = |prefix: &&str| metric.name.starts_with(*prefix);
            assert!(["signalbox_", "process_"].iter().any(is_known));
            assert!(!metric.name.ends_with("_total") && metric.help.ends_with('.'), "{metric:?}");
            assert!(!metric.labels.contains(&"le"));
        }
    }
}
