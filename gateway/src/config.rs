//! What a gateway is told: where it listens, whom it knows, what it allows.
//!
//! The types here are the configuration file (TOML), field by field; every field has a default,
//! and a name that is not known is an error. Where the values come from (file, environment,
//! flags) is the command line's business.

mod check;
mod entry;
mod forms;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{DEFAULT_PORT, GatewayId};

pub use self::{
    check::Problem,
    entry::{OwnLimits, ProjectEntry, Webhook},
    forms::accepted,
};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The gateway's name, unique among the gateways that serve the same sessions.
    pub name: GatewayId,
    /// Where the gateway listens.
    pub listen: Listen,
    /// Its certificate.
    pub tls: Tls,
    /// Its tenants. Without one nobody can join.
    pub projects: Vec<ProjectEntry>,
    /// What clients may use of it.
    pub limits: Limits,
    /// How links are treated.
    pub links: Links,
    /// How connections outlive their links.
    pub resume: Resume,
    /// What whoever runs the process wants of it.
    pub process: Process,
}

/// Where the gateway listens. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// UDP address for QUIC.
    pub quic: SocketAddr,
    /// TCP address for WebSocket and HTTP.
    pub tcp: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT));
        Self { quic: everywhere, tcp: everywhere }
    }
}

/// The certificate, for QUIC and TCP alike. Files that change are loaded anew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key.
    pub key: Option<PathBuf>,
    /// Speak plaintext on the TCP port, for a proxy in front that ends TLS. QUIC has TLS always.
    pub plaintext_tcp: bool,
}

/// What clients may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections that one session may have.
    pub connections_per_session: usize,
    /// Connections that one project may have.
    pub connections_per_project: usize,
    /// Sessions with a connection that one project may have.
    pub sessions_per_project: usize,
    /// Signals per second that one project may send, its clients and servers together; 0 means
    /// no limit.
    pub signals_per_second_per_project: u32,
    /// Signals per second that one connection may send; 0 means no limit.
    pub signals_per_second: u32,
    /// Frames that may wait for one connection before it is ended as a slow consumer.
    pub outbox_frames: usize,
    /// Bytes that may wait for one connection before it is ended as a slow consumer.
    pub outbox_bytes: usize,
    /// Streams that one QUIC client may have open towards it, one per sender; beyond that the
    /// sender that has been quiet longest loses its stream until it speaks again.
    pub streams_per_link: usize,
    /// Clients that may be in the middle of a handshake or of an HTTP request.
    pub handshakes: usize,
    /// HTTP connections of servers with a credential that may be kept open between requests.
    pub server_connections: usize,
    /// Bytes of events that may wait for one project's webhook; beyond that the oldest go.
    pub webhook_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let relay = signalbox_relay::Settings::default();
        Self {
            connections_per_session: relay.connections_per_session,
            connections_per_project: relay.project.connections,
            sessions_per_project: relay.project.sessions,
            signals_per_second_per_project: relay.project.signals_per_second,
            signals_per_second: relay.signals_per_second,
            outbox_frames: relay.outbox_frames,
            outbox_bytes: relay.outbox_bytes,
            streams_per_link: 256,
            handshakes: 1024,
            server_connections: 256,
            // Some fifteen thousand events of usual size.
            webhook_bytes: 4 * 1024 * 1024,
        }
    }
}

/// How links are treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// How long a client may take from its first packet, or from its WebSocket upgrade, to its
    /// hello, in milliseconds.
    pub hello_timeout_ms: u64,
    /// How long an HTTP connection of a server may be idle between requests, in milliseconds. A
    /// load balancer must close its idle connections before that.
    pub http_keep_alive_ms: u64,
    /// After how long a silence a link is taken for lost, in milliseconds.
    pub idle_timeout_ms: u32,
    /// How long the gateway goes on as before when it is told to go down, but for saying at
    /// `/readyz` that it is not ready, so that nobody is sent to it any more; in milliseconds.
    pub drain_notice_ms: u64,
    /// How long the gateway waits for its clients to take their leave when it goes down, in
    /// milliseconds.
    pub drain_ms: u64,
    /// Over how long the ends of its links are spread then, in milliseconds; at most until a
    /// second before `drain_ms` are over. 0 ends all of them at once, unasked.
    pub drain_spread_ms: u64,
    /// Origins (RFC 6454) whose pages may open a WebSocket; `*` means any. Clients that are no
    /// browsers send none and are let in.
    pub allowed_origins: Vec<String>,
    /// Whether clients may join with tokens of the legacy form `T1==`.
    pub t1_tokens: bool,
    /// Whether subscribers may send signals.
    pub subscribers_may_send: bool,
    /// Whether a connection ends when its token expires; if not, the token's time matters only
    /// when joining, as with the vendor.
    pub end_when_token_expires: bool,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            hello_timeout_ms: 5000,
            // nginx and the usual load balancers keep a connection for 60 seconds.
            http_keep_alive_ms: 75_000,
            idle_timeout_ms: 30_000,
            drain_notice_ms: 0,
            drain_ms: 10_000,
            drain_spread_ms: 3000,
            allowed_origins: vec!["*".into()],
            t1_tokens: true,
            subscribers_may_send: false,
            end_when_token_expires: false,
        }
    }
}

/// How connections outlive their links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resume {
    /// How long a connection whose client asked for it is kept when its link is lost, in
    /// milliseconds; 0 means not at all.
    pub window_ms: u32,
    /// Bytes of signals and events that a session keeps for those who are away.
    pub backlog_bytes: usize,
    /// File by which connections outlive a clean restart of the gateway, if they are kept. It is for
    /// its owner alone, as whoever has it can come back in their place. Its directory must exist; a
    /// file with the same name and `.key` appended holds the secret that authenticates it.
    pub state_file: Option<PathBuf>,
    /// Bytes that it may have; sessions that find no room in it end.
    pub state_bytes: usize,
}

impl Default for Resume {
    fn default() -> Self {
        Self {
            window_ms: 30_000,
            backlog_bytes: 1024 * 1024,
            state_file: None,
            state_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What whoever runs the process wants of it. The program's business, not the gateway's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// File that names the process while it runs, for `signalbox drain`.
    pub pid_file: Option<PathBuf>,
    /// Threads that carry links. Waking one thread from another costs more than all else that is
    /// done for a signal, so one thread does most until it is busy all the time.
    pub threads: usize,
}

impl Default for Process {
    fn default() -> Self {
        Self { pid_file: None, threads: 1 }
    }
}

impl Config {
    /// For how long what happens is kept, with this window: a link may have been dead for the idle
    /// time before that was noticed, and then the connection may be away for the whole window.
    pub(crate) fn backlog_age(&self, window_ms: u32) -> Duration {
        if window_ms == 0 {
            return Duration::ZERO;
        }
        // A WebSocket's silence is noticed up to a third later.
        Duration::from_millis(window_ms.into()) + self.links.idle_timeout() * 4 / 3
    }

    pub(crate) fn relay_settings(&self) -> signalbox_relay::Settings {
        signalbox_relay::Settings {
            gateway: self.name.clone(),
            connections_per_session: self.limits.connections_per_session,
            project: signalbox_relay::ProjectLimits {
                connections: self.limits.connections_per_project,
                sessions: self.limits.sessions_per_project,
                signals_per_second: self.limits.signals_per_second_per_project,
                backlog_age: self.backlog_age(self.resume.window_ms),
            },
            outbox_frames: self.limits.outbox_frames,
            outbox_bytes: self.limits.outbox_bytes,
            signals_per_second: self.limits.signals_per_second,
            subscribers_may_send: self.links.subscribers_may_send,
            backlog_bytes: self.resume.backlog_bytes,
        }
    }
}

impl Links {
    pub(crate) fn hello_timeout(&self) -> Duration {
        Duration::from_millis(self.hello_timeout_ms)
    }

    pub(crate) fn http_keep_alive(&self) -> Duration {
        Duration::from_millis(self.http_keep_alive_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.into())
    }

    pub(crate) fn drain_notice(&self) -> Duration {
        Duration::from_millis(self.drain_notice_ms)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    pub(crate) fn drain_spread(&self) -> Duration {
        Duration::from_millis(self.drain_spread_ms)
    }
}
