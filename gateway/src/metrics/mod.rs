//! Metrics: what the gateway counts, and the answer to `GET /metrics`.
//!
//! Whatever happens for each signal is counted where it happens, in counters that threads do not share
//! ([`signalbox_relay::SharedCounter`]), once for all that a link writes at a time. What exists at a
//! moment (connections, outboxes, round trips) is not counted at all, but read for a scrape
//! ([`collect`]), a part at a time, so that clients do not wait.
//!
//! No label has a value that a client can choose: values are names of the program, configured
//! projects, and peers.

mod coalesced;
mod collect;
mod declared;
mod exposition;
pub(crate) mod http;
mod links;
mod process;
mod quic_links;
mod tally;
mod traffic;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use signalbox_protocol::{CloseReason, ErrorCode, Transport};
use signalbox_relay::SharedCounter;

pub use self::declared::{metric_names, metrics_reference};
use self::http::HttpMetrics;
pub(crate) use self::{
    coalesced::Coalesced,
    collect::{MetricSources, Scraper, Totals},
    exposition::Exposition,
    links::TransportMetrics,
    quic_links::{QuicLinks, WatchedLink},
    tally::Tally,
    traffic::{TrafficHistory, TrafficReport},
};
use crate::{clock::Clock, trace::Tracer};

/// A listener that admits clients.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listener {
    Quic,
    Tcp,
}

impl Listener {
    const ALL: [Self; 2] = [Self::Quic, Self::Tcp];

    const fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// The result of a QUIC or TLS handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HandshakeResult {
    Completed,
    Failed,
    TimedOut,
}

impl HandshakeResult {
    const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::TimedOut];

    /// The result of a handshake that was given a time.
    pub(crate) fn of<T, E, L>(finished: &Result<Result<T, E>, L>) -> Self {
        match finished {
            Ok(Ok(_)) => Self::Completed,
            Ok(Err(_)) => Self::Failed,
            Err(_) => Self::TimedOut,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timedOut",
        }
    }
}

/// Who presented a token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TokenKind {
    Client,
    Credential,
}

impl TokenKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Credential => "credential",
        }
    }
}

/// The counts of one gateway.
pub(crate) struct Metrics {
    quic: Arc<TransportMetrics>,
    websocket: Arc<TransportMetrics>,
    webtransport: Arc<TransportMetrics>,
    pub(crate) quic_links: Arc<QuicLinks>,
    pub(crate) http: HttpMetrics,
    server_signals: SharedCounter,
    rejections: Tally<[&'static str; 1]>,
    handshakes: Tally<[&'static str; 2]>,
    retries: AtomicU64,
    tokens: Tally<[&'static str; 2]>,
    resumes_rejected: Tally<[&'static str; 1]>,
    gaps: AtomicU64,
    replayed_frames: AtomicU64,
    replayed_bytes: AtomicU64,
}

impl Metrics {
    /// The clock is that of the relay.
    pub(crate) fn new(clock: Clock, tracer: &Tracer) -> Self {
        let transport =
            |transport| Arc::new(TransportMetrics::new(transport, clock, tracer.clone()));
        let handshakes = Listener::ALL
            .into_iter()
            .flat_map(|it| HandshakeResult::ALL.map(|result| [it.name(), result.name()]));
        let codes = ErrorCode::ALL.iter().map(|code| [code.name()]);
        let client = signalbox_token::TokenError::NAMES.iter().copied().chain([REVOKED]);
        let tokens = client.map(|cause| [TokenKind::Client.name(), cause]);
        Self {
            quic: transport(Transport::Quic),
            websocket: transport(Transport::WebSocket),
            webtransport: transport(Transport::WebTransport),
            quic_links: Arc::default(),
            http: HttpMetrics::default(),
            server_signals: SharedCounter::default(),
            rejections: Tally::of(codes),
            handshakes: Tally::of(handshakes),
            retries: AtomicU64::default(),
            tokens: Tally::of(tokens),
            resumes_rejected: Tally::of([[CloseReason::InvalidTicket.name()]]),
            gaps: AtomicU64::default(),
            replayed_frames: AtomicU64::default(),
            replayed_bytes: AtomicU64::default(),
        }
    }

    /// The counts of the links of a transport.
    pub(crate) fn transport(&self, transport: Transport) -> &Arc<TransportMetrics> {
        match transport {
            Transport::Quic => &self.quic,
            Transport::WebSocket => &self.websocket,
            Transport::WebTransport => &self.webtransport,
        }
    }

    pub(crate) fn handshake(&self, listener: Listener, result: HandshakeResult) {
        self.handshakes.count([listener.name(), result.name()]);
    }

    /// Counts a QUIC client that must validate its address first.
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Counts a token that is rejected for this cause, which is a constant of the program.
    pub(crate) fn token_rejected(&self, kind: TokenKind, cause: &'static str) {
        self.tokens.count([kind.name(), cause]);
    }

    /// Counts a request of a client or server that is rejected.
    pub(crate) fn rejected(&self, code: ErrorCode) {
        self.rejections.count([code.name()]);
    }

    /// Counts a signal of a server that was accepted.
    pub(crate) fn server_signal(&self) {
        self.server_signals.add(1);
    }

    /// Counts a client that cannot resume.
    pub(crate) fn resume_rejected(&self, reason: CloseReason) {
        self.resumes_rejected.count([reason.name()]);
    }

    /// Counts the replay of a resumed connection.
    pub(crate) fn replayed(&self, frames: u64, bytes: usize, gap: bool) {
        self.replayed_frames.fetch_add(frames, Relaxed);
        self.replayed_bytes.fetch_add(bytes as u64, Relaxed);
        self.gaps.fetch_add(gap.into(), Relaxed);
    }
}

/// The cause of a rejected client token that was revoked.
pub(crate) const REVOKED: &str = "revoked";
