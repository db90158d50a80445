//! The two ends of a connection that an application holds: one to act, one to listen.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use signalbox_protocol::message::{SendSignal, Welcome};
use signalbox_protocol::{ConnectionId, ConnectionInfo, Role, SessionId, message::Limits};
use tokio::sync::{mpsc, watch};

use crate::{
    connector::{ConnectOptions, Connector},
    error::{ConnectError, SendError},
    event::Event,
    signal::SignalBuilder,
};

/// Signals that may wait for the link before [`SignalBuilder::send`] waits.
pub(crate) const SEND_QUEUE: usize = 256;

/// Events that may wait for the application. When they are not read the client stops reading
/// from the network, and in the end the gateway takes it for a slow consumer.
pub(crate) const EVENT_QUEUE: usize = 1024;

/// How long [`Client::disconnect`] waits for the farewell: what the protocol gives the gateway,
/// and one round trip of a bad network.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the application wants of the link.
#[derive(Debug)]
pub(crate) enum Command {
    Signal(SendSignal<'static>),
    ForceDisconnect(ConnectionId),
    Goodbye,
}

/// Who is in the session, as far as the application has been told.
pub(crate) type Presence = Arc<Mutex<HashMap<ConnectionId, ConnectionInfo>>>;

/// The acting end of a connection. Clones act for the same one; when the last is dropped, the
/// client says goodbye.
#[derive(Debug, Clone)]
pub struct Client {
    welcome: Arc<Welcome>,
    commands: mpsc::Sender<Command>,
    /// Signals sent so far; locked while one is queued, so that numbers and queue agree.
    sent: Arc<Mutex<u64>>,
    presence: Presence,
    ended: watch::Receiver<bool>,
}

/// The listening end of a connection. If it is dropped, events are discarded.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
}

impl Events {
    pub(crate) fn new(events: mpsc::Receiver<Event>) -> Self {
        Self { events }
    }

    /// The next event; none after [`Event::SessionDisconnected`].
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Client {
    /// Joins the session that `token` names, trusting the certificates that the system trusts.
    /// For more control there are [`Connector`] and [`ConnectOptions`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(url: &str, token: &str) -> Result<(Self, Events), ConnectError> {
        Connector::new()?.connect(&ConnectOptions::new(url, token)).await
    }

    pub(crate) fn new(
        welcome: Welcome,
        commands: mpsc::Sender<Command>,
        presence: Presence,
        ended: watch::Receiver<bool>,
    ) -> Self {
        Self { welcome: Arc::new(welcome), commands, sent: Arc::default(), presence, ended }
    }

    /// The client's own connection.
    pub fn connection(&self) -> &ConnectionInfo {
        &self.welcome.connection
    }

    /// The session.
    pub fn session(&self) -> &SessionId {
        &self.welcome.session
    }

    /// What the client may do.
    pub fn role(&self) -> Role {
        self.welcome.role
    }

    /// The gateway's limits.
    pub fn limits(&self) -> &Limits {
        &self.welcome.limits
    }

    /// The others in the session, as far as [`Events`] has told, oldest first. Empty without
    /// presence.
    pub fn presence(&self) -> Vec<ConnectionInfo> {
        let mut presence: Vec<_> = self.presence.lock().values().cloned().collect();
        presence.sort_by_key(|info| (info.created_at, info.id));
        presence
    }

    /// A signal to build and send.
    pub fn signal(&self) -> SignalBuilder<'_> {
        SignalBuilder::new(self)
    }

    /// Disconnects another connection. Moderators only; others get
    /// [`Event::Refused`](crate::Event::Refused).
    ///
    /// # Errors
    /// [`SendError::Disconnected`].
    pub async fn force_disconnect(&self, connection: ConnectionId) -> Result<(), SendError> {
        let command = Command::ForceDisconnect(connection);
        self.commands.send(command).await.map_err(|_| SendError::Disconnected)
    }

    /// Leaves the session. All signals sent before are with the gateway when this returns, if
    /// the network still carries anything.
    pub async fn disconnect(&self) {
        let farewell = async {
            if self.commands.send(Command::Goodbye).await.is_ok() {
                self.ended().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    /// Waits until the client is no longer in the session.
    pub async fn ended(&self) {
        // An error means that the link's task is gone, which is the end, too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    pub(crate) async fn send(&self, signal: SendSignal<'static>) -> Result<u64, SendError> {
        let permit = self.commands.reserve().await.map_err(|_| SendError::Disconnected)?;
        let mut sent = self.sent.lock();
        *sent += 1;
        permit.send(Command::Signal(signal));
        Ok(*sent)
    }
}
