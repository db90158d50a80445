//! A small world of sessions and clients without sockets or time, so that a test is a story.
#![allow(dead_code, reason = "each test binary uses its part of the world")]

pub(crate) mod resumable;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, ErrorCode, GatewayMessage,
    MediaMode, Role, Sender, SenderMessage, SessionId, Signal, Transport, binary, frame, json,
};
use signalbox_relay::{
    Backplane, Connection, Detached, Encoding, Instance, Join, JoinError, Observer, Outbox,
    Outgoing, Recipients, RejectionReason, Relay, ResumeOptions, Settings, SignalError, Stats,
    TokenIdentity,
};

/// A session of project `project`.
pub(crate) fn session(project: u32, number: u8) -> SessionId {
    let key = project.to_string().parse().unwrap();
    SessionId::mint(&key, MediaMode::Relayed, None, 0, [number; 24])
}

/// A message that a client has received, decoded from its encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    Created(ConnectionId),
    Destroyed(ConnectionId, DisconnectReason),
    Signal { from: Sender, seq: u64, data: String },
    Error { signal: Option<u64>, code: ErrorCode },
    Accepted(u64),
    GoAway(u32),
    Heartbeat,
}

/// A client with its connection and outbox in hand.
pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    pub(crate) connection: Connection,
    pub(crate) outbox: Outbox,
    pub(crate) present: Vec<ConnectionId>,
    encoding: Encoding,
}

/// What an observer hears: which session, which connection, and the reason once it is gone.
pub(crate) type Observed = (SessionId, ConnectionId, Option<DisconnectReason>);

/// An observer that writes everything down.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Vec<Observed>>);

impl Observer for Journal {
    fn created(&self, session: &SessionId, connection: &ConnectionInfo) {
        self.0.lock().push((session.clone(), connection.id, None));
    }

    fn destroyed(
        &self,
        session: &SessionId,
        connection: &ConnectionInfo,
        reason: DisconnectReason,
    ) {
        self.0.lock().push((session.clone(), connection.id, Some(reason)));
    }
}

impl Journal {
    pub(crate) fn take(&self) -> Vec<Observed> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Makes clients with ids 1, 2, 3 …
pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) journal: Arc<Journal>,
    /// Simulated time; tests advance it.
    pub(crate) now: Duration,
    /// The connection data of clients that join.
    pub(crate) user: &'static str,
    settings: Settings,
    next: u64,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let journal = Arc::new(Journal::default());
        let relay = Relay::new(settings.clone(), journal.clone());
        Self { relay, journal, now: Duration::ZERO, user: "", settings, next: 0 }
    }

    /// A gateway in a cluster.
    pub(crate) fn clustered(instance: Instance, backplane: Arc<dyn Backplane>) -> Self {
        let (journal, settings) = (Arc::new(Journal::default()), Settings::default());
        let relay = Relay::clustered(settings.clone(), journal.clone(), instance, backplane);
        Self { relay, journal, now: Duration::ZERO, user: "", settings, next: 0 }
    }

    /// Another run of the gateway takes over from this one.
    pub(crate) fn restart(&mut self) -> Vec<Detached> {
        let snapshot = self.relay.snapshot(usize::MAX, self.now);
        assert_eq!(self.relay.stats(), Stats { sessions: 0, connections: 0 });
        assert_eq!(snapshot.left_out, 0);
        self.relay = Relay::new(self.settings.clone(), self.journal.clone());
        self.now = Duration::ZERO;
        let away = self.relay.restore(&snapshot.bytes, self.now).unwrap();
        assert_eq!(away.len(), snapshot.connections);
        away
    }

    /// Sends a signal as a server does.
    pub(crate) fn send_from_server(
        &self,
        session: &SessionId,
        to: Recipients<'_>,
        data: &str,
    ) -> Result<Vec<ConnectionId>, RejectionReason> {
        let signal = Signal::new(None::<&str>, Some(data));
        self.relay.signal_from_server(session, to, signal, self.now)
    }

    pub(crate) fn join(&mut self, session: &SessionId, role: Role) -> Client {
        self.try_join(session, role, true, Encoding::Shared).unwrap()
    }

    pub(crate) fn try_join(
        &mut self,
        session: &SessionId,
        role: Role,
        presence: bool,
        encoding: Encoding,
    ) -> Result<Client, JoinError> {
        self.join_with(session, role, presence, encoding, |_| None)
    }

    pub(crate) fn join_with(
        &mut self,
        session: &SessionId,
        role: Role,
        presence: bool,
        encoding: Encoding,
        resume: impl FnOnce(ConnectionId) -> Option<ResumeOptions>,
    ) -> Result<Client, JoinError> {
        self.next += 1;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.next.to_be_bytes());
        let id = ConnectionId::from_bytes(bytes);
        let info = ConnectionInfo { id, created_at: self.next, data: self.user.into() };
        let session = session.clone();
        let transport = Transport::WebSocket;
        let resume = resume(id);
        let token = TokenIdentity { id: Some(*id.as_bytes()), issued_at: self.next };
        let join = Join { session, info, role, token, presence, encoding, transport, resume };
        let joined = self.relay.join(join, self.now)?;
        Ok(Client {
            id,
            connection: joined.connection,
            outbox: joined.outbox,
            present: joined.present.iter().map(|info| info.id).collect(),
            encoding,
        })
    }
}

/// A list of recipients.
pub(crate) fn ids_of<const N: usize>(clients: [&Client; N]) -> HashSet<ConnectionId> {
    clients.into_iter().map(|client| client.id).collect()
}

impl Client {
    /// A client on another link of its connection.
    pub(crate) fn attached(
        id: ConnectionId,
        connection: Connection,
        outbox: Outbox,
        encoding: Encoding,
    ) -> Self {
        Self { id, connection, outbox, present: Vec::new(), encoding }
    }

    pub(crate) fn send(&mut self, data: &str) -> Result<(), SignalError> {
        let signal = Signal::new(None::<&str>, Some(data));
        self.connection.signal(None, signal, Duration::ZERO).map(drop)
    }

    pub(crate) fn send_to(&mut self, to: ConnectionId, data: &str) -> Result<(), SignalError> {
        let signal = Signal::new(None::<&str>, Some(data));
        self.connection.signal(Some(to), signal, Duration::ZERO).map(drop)
    }

    /// Takes all that waits, as a link whose client keeps up.
    pub(crate) fn take(&self) -> VecDeque<Outgoing> {
        let mut taken = VecDeque::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(())) = self.outbox.poll_take(&mut cx, &mut taken) {}
        let _ = self.outbox.written(taken.len(), taken.iter().map(Outgoing::cost).sum());
        taken
    }

    /// Reads all that waits.
    pub(crate) fn read(&self) -> Vec<Received> {
        self.take().iter().map(|outgoing| self.decode(outgoing)).collect()
    }

    /// The data of all signals that wait.
    pub(crate) fn signals(&self) -> Vec<String> {
        let data = |received| match received {
            Received::Signal { data, .. } => Some(data),
            _ => None,
        };
        self.read().into_iter().filter_map(data).collect()
    }

    /// The reason for which the connection was closed, if it was.
    pub(crate) fn closed(&self) -> Option<CloseReason> {
        match self.outbox.poll_closed(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(reason) => Some(reason),
            Poll::Pending => None,
        }
    }

    fn decode(&self, outgoing: &Outgoing) -> Received {
        match (outgoing, self.encoding) {
            (Outgoing::Destroyed { id, reason, .. }, _) => Received::Destroyed(*id, *reason),
            (Outgoing::Accepted { signals }, _) => Received::Accepted(*signals),
            (Outgoing::GoAway { within_ms }, _) => Received::GoAway(*within_ms),
            (Outgoing::Heartbeat, _) => Received::Heartbeat,
            (Outgoing::Signal { from, frame, .. }, encoding) => {
                assert_eq!(encoding, Encoding::PerSender, "its receiver has a stream per sender");
                let message = binary::decode(frame::message_of(frame)).unwrap().unwrap();
                let SenderMessage::Signal(signal) = message else { panic!("{message:?}") };
                let data = signal.data.unwrap().into_string();
                Received::Signal { from: from.clone(), seq: signal.seq, data }
            }
            (Outgoing::Frame(frame), Encoding::Json) => {
                received(json::decode(std::str::from_utf8(frame).unwrap()).unwrap().unwrap())
            }
            (Outgoing::Frame(frame), _) => {
                received(binary::decode(frame::message_of(frame)).unwrap().unwrap())
            }
        }
    }
}

fn received(message: GatewayMessage<'_>) -> Received {
    match message {
        GatewayMessage::ConnectionCreated(info) => Received::Created(info.id),
        GatewayMessage::ConnectionDestroyed { id, reason, .. } => Received::Destroyed(id, reason),
        GatewayMessage::Signal(signal) => Received::Signal {
            from: signal.from,
            seq: signal.seq,
            data: signal.data.unwrap().into_string(),
        },
        GatewayMessage::Error { signal, code, .. } => Received::Error { signal, code },
        other => panic!("the relay never pushes {other:?}"),
    }
}
