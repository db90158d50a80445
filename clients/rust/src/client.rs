//! The two ends of a connection that an application holds: one to act, one to listen.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use signalbox_protocol::{
    ConnectionId, ConnectionInfo, Role, SessionId,
    message::{Limits, SendSignal, Welcome},
};
use tokio::sync::{mpsc, watch};

use crate::{
    endpoints::Endpoints,
    error::SendError,
    event::Event,
    outbox::{Command, Done, Outgoing},
    signal::SignalBuilder,
};

/// Signals that may wait for the link to take them before sending waits.
pub(crate) const SEND_QUEUE: usize = 256;

/// Events that may wait for the application. When they are not read the client stops reading
/// from the network, and in the end the gateway takes it for a slow consumer.
pub(crate) const EVENT_QUEUE: usize = 1024;

/// How long [`Client::disconnect`] waits for the farewell: what the protocol gives the gateway,
/// and one round trip of a bad network.
const FAREWELL: Duration = Duration::from_secs(2);

/// What both ends know of the connection, as far as the application has been told.
#[derive(Debug)]
pub(crate) struct Shared {
    session: SessionId,
    role: Role,
    present_on_joining: u32,
    present: Mutex<Present>,
}

/// What changes.
#[derive(Debug)]
struct Present {
    connection: Arc<ConnectionInfo>,
    limits: Limits,
    others: HashMap<ConnectionId, ConnectionInfo>,
}

impl Shared {
    pub(crate) fn new(welcome: &Welcome) -> Self {
        let present = Present {
            connection: Arc::new(welcome.connection.clone()),
            limits: welcome.limits.clone(),
            others: HashMap::new(),
        };
        let Welcome { ref session, role, present: present_on_joining, .. } = *welcome;
        Self { session: session.clone(), role, present_on_joining, present: Mutex::new(present) }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.present.lock().limits.clone()
    }

    /// The gateway may have been configured anew.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.present.lock().limits = limits;
    }

    /// Takes note of what the application is told.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::ConnectionCreated(info) => {
                self.present.lock().others.insert(info.id, info.clone());
            }
            Event::ConnectionDestroyed { id, .. } => {
                self.present.lock().others.remove(id);
            }
            Event::SessionRejoined { connection } => {
                let mut present = self.present.lock();
                present.connection = Arc::new(connection.clone());
                present.others.clear();
            }
            _ => {}
        }
    }
}

/// The acting end of a connection. Clones act for the same one; when the last is dropped, the
/// client says goodbye.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Signals sent so far; locked while one is queued, so that numbers and queue agree.
    pub(crate) sent: Arc<Mutex<u64>>,
    /// Whether the client is to leave, even if it has no link by which to say so. Dropping it
    /// says the same.
    pub(crate) leaving: Arc<watch::Sender<bool>>,
    pub(crate) ended: watch::Receiver<bool>,
    pub(crate) endpoints: Arc<Endpoints>,
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
    /// The client's own connection. After an [`Event::SessionRejoined`] it is another.
    pub fn connection(&self) -> Arc<ConnectionInfo> {
        self.shared.present.lock().connection.clone()
    }

    /// The session.
    pub fn session(&self) -> &SessionId {
        &self.shared.session
    }

    /// What the client may do.
    pub fn role(&self) -> Role {
        self.shared.role
    }

    /// The gateway's limits.
    pub fn limits(&self) -> Limits {
        self.shared.limits()
    }

    /// The others in the session, as far as [`Events`] has told, oldest first. Empty without
    /// presence.
    pub fn presence(&self) -> Vec<ConnectionInfo> {
        let mut presence: Vec<_> = self.shared.present.lock().others.values().cloned().collect();
        presence.sort_by_key(|info| (info.created_at, info.id));
        presence
    }

    /// How many others were in the session when the client joined. The first
    /// [`Event::ConnectionCreated`] are theirs. 0 without presence.
    pub fn present_on_joining(&self) -> u32 {
        self.shared.present_on_joining
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
    /// the network still carries anything. A client that is away tries once more to come back; if
    /// it cannot, it has left for the others once the gateway keeps its connection no longer.
    pub async fn disconnect(&self) {
        self.leaving.send_replace(true);
        let farewell = async {
            if self.commands.send(Command::Goodbye).await.is_ok() {
                self.ended().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    /// Moves a QUIC link to a new UDP socket, for applications that know that the network has
    /// changed: the gateway follows (connection migration, RFC 9000 §9), and nobody notices. All
    /// clients of the same [`Connector`](crate::Connector) move. A WebSocket stays where it is; if its network is
    /// gone, it comes back as after any loss.
    ///
    /// # Errors
    /// If the system gives no socket; then the link stays where it is.
    pub fn rebind(&self) -> std::io::Result<()> {
        self.endpoints.rebind()
    }

    /// Waits until the client is no longer in the session.
    pub async fn ended(&self) {
        // An error means that the link's task is gone, which is the end, too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    pub(crate) async fn enqueue(
        &self,
        signal: SendSignal<'static>,
        retry: bool,
        done: Option<Done>,
    ) -> Result<u64, SendError> {
        let permit = self.commands.reserve().await.map_err(|_| SendError::Disconnected)?;
        let mut sent = self.sent.lock();
        *sent += 1;
        permit.send(Command::Signal(Outgoing { number: *sent, signal, retry, done }));
        Ok(*sent)
    }
}
