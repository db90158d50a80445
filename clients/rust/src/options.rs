//! What a connection is to be like.

use std::time::Duration;

use signalbox_protocol::Streams;

use crate::{error::ConnectError, target::Target};

/// How often a QUIC client shows that it is there, unless the options say otherwise: a third of
/// the gateway's default idle timeout, and often enough to keep a NAT's mapping alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What one connection is to be like.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    pub(crate) urls: Vec<String>,
    pub(crate) token: String,
    pub(crate) presence: bool,
    pub(crate) streams: Streams,
    pub(crate) postcard: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) agent: String,
    pub(crate) resume: bool,
    pub(crate) rejoin: bool,
    pub(crate) early_data: bool,
}

impl ConnectOptions {
    /// Connects to the gateway at `url` (`quic://`, `wss://` or `ws://`) with a token from the
    /// project's server.
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            token: token.into(),
            presence: true,
            streams: Streams::PerSender,
            postcard: true,
            keep_alive: KEEP_ALIVE,
            agent: concat!("signalbox-rust/", env!("CARGO_PKG_VERSION")).into(),
            resume: true,
            rejoin: true,
            early_data: true,
        }
    }

    /// Another way to the same gateway, as `wss://` where `quic://` may be blocked. The first URL
    /// has a head start of 300 ms, then whichever answers first is taken. When the client comes
    /// back after a loss, it begins with the one that worked last. It may lead to another gateway,
    /// for when the first one goes down; there the client is another connection.
    #[must_use]
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Whether to go on as the same connection when the link is lost (default: yes), with all that
    /// was missed, as long as the gateway keeps the connection. It also makes the gateway confirm
    /// what the client sends; see [`SignalBuilder::send`](crate::SignalBuilder::send).
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Whether to join anew with the same token (default: yes), as another connection, when the
    /// link is lost and the connection could not be kept. The client tries for five minutes.
    #[must_use]
    pub fn rejoin(mut self, rejoin: bool) -> Self {
        self.rejoin = rejoin;
        self
    }

    /// Whether a QUIC client that comes back says so with its first packet (default: yes; 0-RTT,
    /// RFC 9001 §4.6), which saves a round trip. What is said so early, the resume ticket and what
    /// the client has heard of whom, is without forward secrecy.
    #[must_use]
    pub fn early_data(mut self, early_data: bool) -> Self {
        self.early_data = early_data;
        self
    }

    /// Whether to be told of others coming and going (default: yes). Large sessions do without.
    #[must_use]
    pub fn presence(mut self, presence: bool) -> Self {
        self.presence = presence;
        self
    }

    /// How a QUIC client gets its signals (default: a stream per sender).
    #[must_use]
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// Speak JSON instead of postcard on a WebSocket.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.postcard = false;
        self
    }

    /// How often a QUIC client shows that it is there (default: 10 s). Must be below the
    /// gateway's idle timeout.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval;
        self
    }

    /// The application's name and version, for the gateway's log; at most 64 bytes.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    pub(crate) fn targets(&self) -> Result<Vec<Target>, ConnectError> {
        self.urls.iter().map(|url| Target::parse(url)).collect()
    }
}
