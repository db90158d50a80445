//! A gateway of a test, and its clients. The fuzz target uses it, too.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use signalbox_cluster::{BusPacket, Cluster, Links, SharedState};
use signalbox_protocol::{
    ConnectionId, ConnectionInfo, MediaMode, Role, SessionId, Signal, Transport,
};
use signalbox_relay::{
    Connection, Encoding, Instance, Join, JoinError, Outbox, Outgoing, Recipients, Relay,
    ResumeOptions, Settings, TicketSecret, TokenIdentity,
};

/// Heartbeats are due in each.
pub(crate) const STEP: Duration = Duration::from_millis(500);

/// A gateway, with what its clients hold.
pub(crate) struct Gateway {
    pub(crate) relay: Relay,
    pub(crate) cluster: Cluster,
    pub(crate) instance: Instance,
    pub(crate) now: Duration,
    joined: u8,
}

/// A client that is attached to a gateway.
pub(crate) struct Attached {
    pub(crate) connection: Connection,
    pub(crate) outbox: Outbox,
}

impl Gateway {
    pub(crate) fn start(name: &str, epoch: u64) -> Self {
        Self::start_with(name, epoch, Arc::new(()))
    }

    pub(crate) fn start_with(name: &str, epoch: u64, shared: Arc<dyn SharedState>) -> Self {
        let instance = Instance { gateway: name.parse().unwrap(), epoch };
        let links = Arc::new(Links::new(instance.clone(), || {}));
        let (settings, observer) = (Settings::default(), Arc::new(()));
        let relay = Relay::clustered(settings, observer, instance.clone(), links.clone());
        let cluster = Cluster::new(relay.clone(), links).with_shared_state(shared);
        Self { relay, cluster, instance, now: Duration::ZERO, joined: 0 }
    }

    /// Joins a resumable client.
    pub(crate) fn join(&mut self, session: &SessionId) -> Attached {
        self.try_join(session).unwrap()
    }

    /// The same, with the refusal of a gateway whose project has too many connections.
    pub(crate) fn try_join(&mut self, session: &SessionId) -> Result<Attached, JoinError> {
        self.joined += 1;
        let mut id = [self.joined; 16];
        id[0] = self.instance.gateway.as_str().as_bytes()[0];
        let resume = ResumeOptions {
            secret: Self::secret(self.joined),
            token_until: Duration::MAX,
            orphan_window: Duration::from_secs(30),
        };
        let id = ConnectionId::from_bytes(id);
        let join = Join {
            session: session.clone(),
            info: ConnectionInfo { id, created_at: 0, data: "data".into() },
            role: Role::Moderator,
            token: TokenIdentity::default(),
            presence: true,
            encoding: Encoding::Json,
            transport: Transport::WebSocket,
            resume: Some(resume),
        };
        let joined = self.relay.join(join, self.now)?;
        Ok(Attached { connection: joined.connection, outbox: joined.outbox })
    }

    /// The secret of a client's ticket. Clients are counted from 1.
    pub(crate) fn secret(client: u8) -> TicketSecret {
        [client; 32]
    }

    /// Opens a session as before a join.
    pub(crate) fn open(&self, session: &SessionId) -> signalbox_relay::Hold {
        self.cluster.open(session, self.now).unwrap()
    }

    pub(crate) fn signal(&self, from: &mut Attached, data: &str) {
        let signal = Signal::new(Some("type"), Some(data));
        // It fails if a message of the bus has ended the connection.
        let _ = from.connection.signal(None, signal, self.now);
    }

    pub(crate) fn server_signal(&self, session: &SessionId, data: &str) {
        let signal = Signal::new(None::<&str>, Some(data));
        let _ = self.relay.signal_from_server(session, Recipients::All, signal, self.now);
    }

    pub(crate) fn disconnect(&self, session: &SessionId, id: ConnectionId) {
        let _ = self.relay.force_disconnect(session, id, self.now);
    }

    pub(crate) fn receive(&self, payload: &[u8]) {
        // The bus counts unusable messages.
        let _ = self.cluster.receive(payload, self.now);
    }

    /// Lets time pass, and returns the packets that are due.
    pub(crate) fn step(&mut self) -> Vec<BusPacket> {
        self.now += STEP;
        self.cluster.tick(self.now);
        std::iter::from_fn(|| self.cluster.links().take()).collect()
    }
}

pub(crate) fn session(number: u8) -> SessionId {
    SessionId::mint(&"1".parse().unwrap(), MediaMode::Relayed, None, 0, [number; 24])
}

/// The frames in an outbox, as text.
pub(crate) fn take(outbox: &Outbox) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut taken = Vec::new();
    let mut batch = VecDeque::new();
    while let Poll::Ready(Ok(_)) = outbox.poll_take(&mut cx, &mut batch) {
        for outgoing in std::mem::take(&mut batch) {
            if let Outgoing::Frame(frame) = outgoing {
                taken.push(String::from_utf8_lossy(&frame).into_owned());
            }
        }
    }
    taken
}
