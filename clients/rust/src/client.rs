//! The acting half of a connection, and the builder of the signals that it sends.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use signalbox_protocol::{
    ConnectionId, ConnectionInfo, Role, SessionId, Signal,
    message::{Limits, SendSignal},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    endpoints::Endpoints,
    error::SendError,
    send_queue::{ClientCommand, Completion, QueuedSignal},
    session_view::SessionView,
};

/// Signals that may wait for the link before sending waits.
pub(crate) const COMMAND_QUEUE: usize = 256;

/// Timeout of [`Client::disconnect`] for the gateway's goodbye: the time that the protocol gives
/// the gateway, and one round trip of a bad network.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The acting half of a connection. Clones act for the same connection; when the last is dropped,
/// the client says goodbye.
#[derive(Debug, Clone)]
pub struct Client {
    view: Arc<SessionView>,
    commands: mpsc::Sender<ClientCommand>,
    /// Signals sent so far. Locked while one is queued, so that numbers and queue agree.
    sent: Arc<Mutex<u64>>,
    /// Whether the client is to leave, even if it has no link to say so. Dropping it says the same.
    leaving: Arc<watch::Sender<bool>>,
    ended: watch::Receiver<bool>,
    endpoints: Arc<Endpoints>,
}

/// The ends of a client's channels that its reconnect loop holds.
pub(crate) struct ClientChannels {
    pub(crate) commands: mpsc::Receiver<ClientCommand>,
    pub(crate) leaving: watch::Receiver<bool>,
    pub(crate) ended: watch::Sender<bool>,
}

impl Client {
    pub(crate) fn new(view: Arc<SessionView>, endpoints: Arc<Endpoints>) -> (Self, ClientChannels) {
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (leaving_sender, leaving) = watch::channel(false);
        let (ended_sender, ended) = watch::channel(false);
        let client = Self {
            view,
            commands: command_sender,
            sent: Arc::default(),
            leaving: Arc::new(leaving_sender),
            ended,
            endpoints,
        };
        (client, ClientChannels { commands, leaving, ended: ended_sender })
    }

    /// The client's own connection. It changes with
    /// [`Event::SessionRejoined`](crate::Event::SessionRejoined).
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// println!("joined as {}", client.connection().id);
    /// # Ok(()) });
    /// ```
    pub fn connection(&self) -> Arc<ConnectionInfo> {
        self.view.connection()
    }

    /// The session.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// println!("joined {}", client.session());
    /// # Ok(()) });
    /// ```
    pub fn session(&self) -> &SessionId {
        self.view.session()
    }

    /// The role that the token grants.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// use signalbox_client::Role;
    ///
    /// assert_eq!(client.role(), Role::Moderator);
    /// # Ok(()) });
    /// ```
    pub fn role(&self) -> Role {
        self.view.role()
    }

    /// The gateway's limits.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// match client.limits().signals_per_second {
    ///     0 => println!("no limit"),
    ///     limit => println!("up to {limit} signals a second"),
    /// }
    /// # Ok(()) });
    /// ```
    pub fn limits(&self) -> Limits {
        self.view.limits()
    }

    /// URLs of other gateways with which the client may resume or join, in the operator's order of
    /// preference. Usually there are none.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// for url in client.gateways() {
    ///     println!("also at {url}");
    /// }
    /// # Ok(()) });
    /// ```
    pub fn gateways(&self) -> Vec<String> {
        self.view.gateways()
    }

    /// The other connections in the session, as far as [`Events`](crate::Events) has told of them,
    /// oldest first. Empty without [`ConnectOptions::presence`](crate::ConnectOptions::presence).
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// for connection in client.presence() {
    ///     println!("{} {:?}", connection.id, connection.data);
    /// }
    /// # Ok(()) });
    /// ```
    pub fn presence(&self) -> Vec<ConnectionInfo> {
        self.view.presence()
    }

    /// Number of other members in the session when the client joined. The first
    /// [`Event::ConnectionCreated`](crate::Event::ConnectionCreated) are theirs. 0 without
    /// presence.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// assert_eq!(client.present_on_joining(), 0);
    /// # Ok(()) });
    /// ```
    pub fn present_on_joining(&self) -> u32 {
        self.view.present_on_joining()
    }

    /// A signal to build and send.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// let seq = client.signal().signal_type("chat").data("hello").send().await?;
    /// assert_eq!(seq, 1);
    /// # Ok(()) });
    /// ```
    pub fn signal(&self) -> SignalBuilder<'_> {
        SignalBuilder { client: self, to: None, signal: Signal::default(), retry: true }
    }

    /// Disconnects another connection. Moderators only; for others the gateway rejects it with
    /// [`Event::Rejected`](crate::Event::Rejected).
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::in_session(async |session| {
    /// # use signalbox_client::{CloseReason, Event, Role};
    /// # let (moderator, _events) = session.join(Role::Moderator).await?;
    /// # let (other, mut others_events) = session.join(Role::Publisher).await?;
    /// moderator.force_disconnect(other.connection().id).await?;
    /// # while let Some(event) = others_events.next().await {
    /// #     if let Event::SessionDisconnected { reason, .. } = event {
    /// #         assert_eq!(reason, CloseReason::ForceDisconnected);
    /// #     }
    /// # }
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError::Disconnected`].
    pub async fn force_disconnect(&self, connection: ConnectionId) -> Result<(), SendError> {
        let command = ClientCommand::ForceDisconnect(connection);
        self.commands.send(command).await.map_err(|_| SendError::Disconnected)
    }

    /// Leaves the session. When this returns, the gateway has received every signal sent before,
    /// if the network still carries anything. A client without a link tries once more to
    /// reconnect; if that fails, the others see it leave when the gateway's resume window ends.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// client.signal().data("bye").enqueue().await?;
    /// client.disconnect().await;
    /// # Ok(()) });
    /// ```
    pub async fn disconnect(&self) {
        self.leaving.send_replace(true);
        let goodbye = async {
            if self.commands.send(ClientCommand::Goodbye).await.is_ok() {
                self.ended().await;
            }
        };
        let _ = tokio::time::timeout(DISCONNECT_TIMEOUT, goodbye).await;
    }

    /// Moves a QUIC link to a new UDP socket, for applications that know that the network has
    /// changed. The gateway follows (connection migration, RFC 9000 §9), and the session goes on
    /// without an event. All clients of the same [`Connector`](crate::Connector) move. A WebSocket
    /// stays on its TCP connection; if its network is gone, it reconnects as after any loss.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// client.rebind()?;
    /// client.signal().data("from another port").send().await?;
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// If the system provides no socket; then the link stays where it is.
    pub fn rebind(&self) -> std::io::Result<()> {
        self.endpoints.rebind()
    }

    /// Waits until the client is no longer in the session.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// let watcher = client.clone();
    /// let ended = tokio::spawn(async move { watcher.ended().await });
    /// client.disconnect().await;
    /// ended.await?;
    /// # Ok(()) });
    /// ```
    pub async fn ended(&self) {
        // An error means that the client's task is gone, which is the end, too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    async fn enqueue(
        &self,
        signal: SendSignal<'static>,
        retry: bool,
        completion: Option<Completion>,
    ) -> Result<u64, SendError> {
        let permit = self.commands.reserve().await.map_err(|_| SendError::Disconnected)?;
        let mut sent = self.sent.lock();
        *sent += 1;
        let number = *sent;
        permit.send(ClientCommand::Signal(QueuedSignal { number, signal, retry, completion }));
        Ok(number)
    }
}

/// A signal to be sent; made by [`Client::signal`]. With neither type nor data it is a ping.
/// Without an address it goes to everyone in the session, the sender included.
#[must_use = "a signal is sent by `send` or `enqueue`"]
#[derive(Debug)]
pub struct SignalBuilder<'a> {
    client: &'a Client,
    to: Option<ConnectionId>,
    signal: Signal<'static>,
    retry: bool,
}

impl SignalBuilder<'_> {
    /// The type: at most 128 bytes of `A-Z a-z 0-9 - . _ ~`.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// use signalbox_client::SendError;
    ///
    /// client.signal().signal_type("chat").send().await?;
    /// let rejected = client.signal().signal_type("a type with spaces").send().await;
    /// assert!(matches!(rejected, Err(SendError::Invalid(_))));
    /// # Ok(()) });
    /// ```
    pub fn signal_type(mut self, signal_type: impl Into<String>) -> Self {
        self.signal.signal_type = Some(signal_type.into().into());
        self
    }

    /// The data: at most 8192 bytes.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// client.signal().signal_type("offer").data("v=0 …").send().await?;
    /// # Ok(()) });
    /// ```
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.signal.data = Some(data.into().into());
        self
    }

    /// Sends to this connection only.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::in_session(async |session| {
    /// # use signalbox_client::{Event, Role};
    /// # let (alice, _events) = session.join(Role::Publisher).await?;
    /// # let (bob, mut bobs_events) = session.join(Role::Publisher).await?;
    /// alice.signal().to(bob.connection().id).data("just you").send().await?;
    /// # loop {
    /// #     if let Some(Event::Signal { from, .. }) = bobs_events.next().await {
    /// #         break Ok(assert_eq!(format!("{from:?}").contains(&alice.connection().id.to_string()), true));
    /// #     }
    /// # }
    /// # });
    /// ```
    pub fn to(mut self, connection: ConnectionId) -> Self {
        self.to = Some(connection);
        self
    }

    /// Whether to send the signal again if the link is lost before the gateway has confirmed it
    /// (default: yes). A signal that is only useful now should not be: then it is not sent while
    /// the client has no link either, [`send`](Self::send) fails with [`SendError::NotSent`], and
    /// a signal that was enqueued is dropped without notice.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// client.signal().signal_type("cursor").data("12,7").retry_after_reconnect(false).send().await?;
    /// # Ok(()) });
    /// ```
    pub fn retry_after_reconnect(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    /// Sends the signal and waits until the gateway has accepted it: it has been delivered to, or
    /// is queued for, every receiver. If the link is lost meanwhile, that may take until the client
    /// has reconnected. Returns the signal's sequence number, which receivers see.
    ///
    /// It does not wait for the gateway if
    /// [`ConnectOptions::resume`](crate::ConnectOptions::resume) is off, nor if the application has
    /// left so many events unread that the confirmation cannot be read. A rejection then comes as
    /// [`Event::Rejected`](crate::Event::Rejected).
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// use signalbox_client::{ConnectionId, ErrorCode, SendError};
    ///
    /// assert_eq!(client.signal().data("first").send().await?, 1);
    /// let nobody = ConnectionId::from_bytes([0; 16]);
    /// let rejected = client.signal().to(nobody).data("second").send().await;
    /// assert!(matches!(rejected, Err(SendError::Rejected { code: ErrorCode::NotFound, .. })));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`]. With [`SendError::Disconnected`] and [`SendError::NotSent`] the gateway may
    /// have accepted the signal and only the confirmation been lost. A rejection that is lost with
    /// the link and not repeated by the gateway counts as success.
    pub async fn send(self) -> Result<u64, SendError> {
        self.signal.check()?;
        let (completion, outcome) = oneshot::channel();
        let signal = SendSignal::new(self.to, self.signal);
        self.client.enqueue(signal, self.retry, Some(completion)).await?;
        outcome.await.map_err(|_| SendError::Disconnected)?
    }

    /// Queues the signal and does not wait for the gateway; for many signals in a row. Waits while
    /// the limit of unconfirmed signals is reached. Returns the signal's number among all that this
    /// client has sent, from 1, by which [`Event::Rejected`](crate::Event::Rejected) names it.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/gateway.rs")); }
    /// # support::with_client(async |client, _events| {
    /// for line in ["one", "two", "three"] {
    ///     client.signal().data(line).enqueue().await?;
    /// }
    /// client.disconnect().await; // returns after the gateway has received all three
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`], and then nothing was sent. Success does not mean that the signal was
    /// received.
    pub async fn enqueue(self) -> Result<u64, SendError> {
        self.signal.check()?;
        let signal = SendSignal::new(self.to, self.signal);
        self.client.enqueue(signal, self.retry, None).await
    }
}
