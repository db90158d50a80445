//! The acting half of a connection.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{ConnectionId, ConnectionInfo, Role, SessionId, message::Limits};
use tokio::sync::{mpsc, watch};

use crate::{
    command_sender::{CommandSender, SignalBuilder},
    endpoints::Endpoints,
    error::SendError,
    send_queue::ClientCommand,
    session_view::SessionView,
};

/// Timeout of [`Client::disconnect`] for the gateway's goodbye: the time that the protocol gives
/// the gateway, and one round trip of a bad network.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The acting half of a connection. Clones act for the same connection; when the last is dropped,
/// the client says goodbye.
#[derive(Debug, Clone)]
pub struct Client {
    view: Arc<SessionView>,
    commands: CommandSender,
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
        let (command_sender, commands) = CommandSender::new();
        let (leaving_sender, leaving) = watch::channel(false);
        let (ended_sender, ended) = watch::channel(false);
        let client = Self {
            view,
            commands: command_sender,
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
        self.commands.signal()
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
        self.commands.send(command).await
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
}
