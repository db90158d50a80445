//! Connection options.

use std::time::Duration;

use signalbox_protocol::Streams;

use crate::gateway_list::GatewayUrls;

/// Default interval of QUIC keep-alives: a third of the gateway's default idle timeout, and often
/// enough to keep a NAT's mapping alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The gateways, the token and the behaviour of one connection.
///
/// ```
/// use signalbox_client::ConnectOptions;
///
/// let options = ConnectOptions::new("quic://signal.example.com", "token").agent("example/1.0");
/// ```
#[must_use = "options do nothing until a `Connector` connects with them"]
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    pub(crate) urls: GatewayUrls,
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
    /// Connects with a token from the project's server to the gateway at a URL (`quic://`,
    /// `https://` for WebTransport, `wss://` or `ws://`), or at one of several URLs.
    ///
    /// ```
    /// # use signalbox_client::ConnectOptions;
    /// let options = ConnectOptions::new("wss://signal.example.com:443", "token");
    /// ```
    ///
    /// Several URLs are several transports of a gateway, several gateways, or both, in order of
    /// preference. Each has a head start of 300 ms over the next; if it fails, or its gateway shuts
    /// down, the next is tried at once. The first gateway to answer is used. A reconnect begins
    /// with the URL that answered last, or, if its gateway shuts down, with the other gateways,
    /// and each has a head start of a second.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::in_session(async |session| {
    /// # use signalbox_client::{ConnectOptions, Role};
    /// # let (connector, token) = (&session.connector, session.token(Role::Publisher));
    /// # let (quic, wss) = ("quic://127.0.0.1:9", session.wss.as_str());
    /// // WebSocket where QUIC is blocked.
    /// let options = ConnectOptions::new([quic, wss], token);
    /// let (client, events) = connector.connect(&options).await?;
    /// # Ok(()) });
    /// ```
    pub fn new(urls: impl Into<GatewayUrls>, token: impl Into<String>) -> Self {
        Self {
            urls: urls.into(),
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

    /// Whether to continue as the same connection when the link is lost (default: yes), and to
    /// receive what was missed, while the gateway can resume the connection. It also makes the
    /// gateway confirm signals; see [`SignalBuilder::send`](crate::SignalBuilder::send).
    ///
    /// ```
    /// # use signalbox_client::ConnectOptions;
    /// let options = ConnectOptions::new("quic://signal.example.com", "token").resume(false);
    /// ```
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Whether to join again with the same token, as another connection, when the link is lost and
    /// the connection cannot be resumed (default: yes). The client tries for five minutes.
    ///
    /// ```
    /// # use signalbox_client::ConnectOptions;
    /// let options = ConnectOptions::new("quic://signal.example.com", "token").rejoin(false);
    /// ```
    pub fn rejoin(mut self, rejoin: bool) -> Self {
        self.rejoin = rejoin;
        self
    }

    /// Whether a QUIC client resumes with its first packet (default: yes; 0-RTT, RFC 9001 §4.6),
    /// which saves a round trip. Early data has no forward secrecy: it carries the resume ticket
    /// and the last sequence number of each sender.
    ///
    /// ```
    /// # use signalbox_client::ConnectOptions;
    /// let options = ConnectOptions::new("quic://signal.example.com", "token").early_data(false);
    /// ```
    pub fn early_data(mut self, early_data: bool) -> Self {
        self.early_data = early_data;
        self
    }

    /// Whether to receive [`Event::ConnectionCreated`](crate::Event::ConnectionCreated) and
    /// [`Event::ConnectionDestroyed`](crate::Event::ConnectionDestroyed) of others (default: yes).
    /// Large sessions do without.
    ///
    /// ```
    /// # use signalbox_client::ConnectOptions;
    /// let options = ConnectOptions::new("quic://signal.example.com", "token").presence(false);
    /// ```
    pub fn presence(mut self, presence: bool) -> Self {
        self.presence = presence;
        self
    }

    /// The stream layout of the signals to a QUIC client (default: one stream per sender).
    ///
    /// ```
    /// # use signalbox_client::{ConnectOptions, Streams};
    /// let options =
    ///     ConnectOptions::new("quic://signal.example.com", "token").streams(Streams::Single);
    /// ```
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// Speaks JSON instead of postcard on a WebSocket.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::in_session(async |session| {
    /// # use signalbox_client::{ConnectOptions, Role};
    /// # let (connector, wss) = (&session.connector, &session.wss);
    /// # let token = session.token(Role::Publisher);
    /// let (client, events) = connector.connect(&ConnectOptions::new(wss, token).json()).await?;
    /// # Ok(()) });
    /// ```
    pub fn json(mut self) -> Self {
        self.postcard = false;
        self
    }

    /// The interval of QUIC keep-alives (default: 10 s). Must be below the gateway's idle timeout.
    ///
    /// A link on which nothing arrives for three intervals, or for the gateway's idle timeout, is
    /// lost, and the client resumes. Over QUIC, a client notices only so that its gateway was killed.
    /// A shorter interval costs more packets.
    ///
    /// ```
    /// # use signalbox_client::ConnectOptions;
    /// use std::time::Duration;
    ///
    /// let options = ConnectOptions::new("quic://signal.example.com", "token")
    ///     .keep_alive(Duration::from_secs(5));
    /// ```
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval;
        self
    }

    /// The application's name and version, for the gateway's log; at most 64 bytes.
    ///
    /// ```
    /// # use signalbox_client::ConnectOptions;
    /// let options = ConnectOptions::new("quic://signal.example.com", "token").agent("shop/2.3");
    /// ```
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }
}
