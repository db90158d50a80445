//! A client that asks to be kept, and comes back.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use signalbox_protocol::{
    ConnectionId, GatewayId, Role, Sender, SessionId, Transport, message::Lost,
};
use signalbox_relay::{
    Connection, Detached, Encoding, ResumeError, ResumeOptions, ResumeRequest, Resumed,
    TicketSecret,
};

use super::{Client, Received, World};

pub(crate) const ENCODINGS: [Encoding; 3] = [Encoding::PerSender, Encoding::Shared, Encoding::Json];

/// A client that asked to be kept, with what it remembers from link to link.
pub(crate) struct ResumableClient {
    pub(crate) client: Option<Client>,
    pub(crate) session: SessionId,
    pub(crate) id: ConnectionId,
    pub(crate) presence: bool,
    pub(crate) secret: TicketSecret,
    /// Attempts to resume, over all tickets.
    pub(crate) attempts: u32,
    pub(crate) events: u64,
    pub(crate) cursors: HashMap<Sender, u64>,
    /// Everything received, except confirmations.
    pub(crate) received: Vec<Received>,
    /// What the present link has brought and the client has not read.
    waiting: VecDeque<Received>,
    pub(crate) accepted: u64,
}

/// The answer to a resume.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResumeAnswer {
    pub(crate) signals: u64,
    pub(crate) lost: Vec<Lost>,
    pub(crate) present: Option<Vec<ConnectionId>>,
}

/// The answer when nothing is lost.
pub(crate) fn complete(signals: u64) -> ResumeAnswer {
    ResumeAnswer { signals, lost: vec![], present: None }
}

pub(crate) fn secret(id: ConnectionId, number: u32) -> TicketSecret {
    let mut secret = [0; 32];
    secret[..16].copy_from_slice(id.as_bytes());
    secret[16..20].copy_from_slice(&number.to_be_bytes());
    secret
}

impl ResumableClient {
    pub(crate) fn join(world: &mut World, session: &SessionId, encoding: Encoding) -> Self {
        Self::join_with(world, session, encoding, true)
    }

    pub(crate) fn join_with(
        world: &mut World,
        session: &SessionId,
        encoding: Encoding,
        presence: bool,
    ) -> Self {
        let resume = |id| {
            Some(ResumeOptions {
                secret: secret(id, 0),
                token_until: Duration::ZERO,
                orphan_window: Duration::from_secs(30),
            })
        };
        let role = Role::Moderator;
        let client = world.join_with(session, role, presence, encoding, resume).unwrap();
        let id = client.id;
        Self {
            client: Some(client),
            session: session.clone(),
            id,
            presence,
            secret: secret(id, 0),
            attempts: 0,
            events: 0,
            cursors: HashMap::new(),
            received: Vec::new(),
            waiting: VecDeque::new(),
            accepted: 0,
        }
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        self.client.as_mut().unwrap()
    }

    /// Reads all that waits.
    pub(crate) fn read(&mut self) {
        self.read_some(usize::MAX);
    }

    /// Reads at most this many of the messages that wait.
    pub(crate) fn read_some(&mut self, most: usize) {
        self.waiting.extend(self.client.as_ref().map(Client::read).unwrap_or_default());
        let some = most.min(self.waiting.len());
        for received in self.waiting.drain(..some) {
            match &received {
                // For its link alone, which frees the sender's stream.
                Received::Destroyed(..) if !self.presence => continue,
                Received::Created(_) | Received::Destroyed(..) => self.events += 1,
                Received::Signal { from, seq, .. } => {
                    let last = self.cursors.insert(from.clone(), *seq).unwrap_or(0);
                    assert!(last < *seq, "in order, none twice");
                }
                Received::Accepted(signals) => {
                    assert!(self.accepted < *signals, "news");
                    self.accepted = *signals;
                    continue;
                }
                Received::Error { .. } | Received::GoAway(_) | Received::Heartbeat => {}
            }
            self.received.push(received);
        }
    }

    /// Everything received since the last call.
    pub(crate) fn take_received(&mut self) -> Vec<Received> {
        self.read();
        std::mem::take(&mut self.received)
    }

    pub(crate) fn detach(&mut self, world: &World) -> Detached {
        self.waiting.clear();
        self.client.take().unwrap().connection.detach(world.now).unwrap()
    }

    pub(crate) fn request(&self, encoding: Encoding, next: TicketSecret) -> ResumeRequest<'_> {
        ResumeRequest {
            session: &self.session,
            connection: self.id,
            secret: self.secret,
            attempt: self.attempts,
            next_secret: next,
            events: self.events,
            accepted: self.accepted,
            cursors: &self.cursors,
            encoding,
            transport: Transport::WebSocket,
        }
    }

    pub(crate) fn resume(
        &mut self,
        world: &World,
        encoding: Encoding,
    ) -> Result<ResumeAnswer, ResumeError> {
        let (connection, resumed) = self.attempt(world, encoding)?;
        Ok(self.adopt(connection, resumed, encoding))
    }

    /// Tries to resume, and reads nothing more from the old link. The client does not know the answer
    /// yet.
    pub(crate) fn attempt(
        &mut self,
        world: &World,
        encoding: Encoding,
    ) -> Result<(Connection, Resumed), ResumeError> {
        self.attempts += 1;
        self.waiting.clear();
        let next = secret(self.id, self.attempts);
        world.relay.resume(&self.request(encoding, next), world.now)
    }

    /// The client has read the answer to its latest attempt.
    pub(crate) fn adopt(
        &mut self,
        connection: Connection,
        resumed: Resumed,
        encoding: Encoding,
    ) -> ResumeAnswer {
        self.secret = secret(self.id, self.attempts);
        self.waiting.clear();
        for lost in &resumed.lost {
            self.cursors.insert(lost.from.clone(), lost.until);
        }
        let present = resumed.present.as_ref();
        if present.is_some() {
            self.events = 0;
        }
        let answer = ResumeAnswer {
            signals: resumed.signals,
            present: present.map(|present| present.iter().map(|info| info.id).collect()),
            lost: resumed.lost,
        };
        let returned = Client::attached(self.id, connection, resumed.outbox, encoding);
        self.client = Some(returned);
        answer
    }
}

/// The servers of the world's gateway.
pub(crate) fn servers() -> Sender {
    GatewayId::default().into()
}

pub(crate) fn signal(from: impl Into<Sender>, seq: u64, data: &str) -> Received {
    Received::Signal { from: from.into(), seq, data: data.into() }
}

/// An attempt that is still on its way when its client gives it up.
pub(crate) struct ResumeAttempt {
    pub(crate) number: u32,
    pub(crate) secret: TicketSecret,
    events: u64,
    cursors: HashMap<Sender, u64>,
}

impl ResumeAttempt {
    pub(crate) fn of(resumable: &mut ResumableClient) -> Self {
        resumable.attempts += 1;
        let ResumableClient { attempts, secret, events, ref cursors, .. } = *resumable;
        Self { number: attempts, secret, events, cursors: cursors.clone() }
    }

    pub(crate) fn arrive(
        &self,
        of: &ResumableClient,
        world: &World,
    ) -> Result<(Connection, Resumed), ResumeError> {
        let request = ResumeRequest {
            session: &of.session,
            connection: of.id,
            secret: self.secret,
            attempt: self.number,
            next_secret: secret(of.id, self.number),
            events: self.events,
            accepted: of.accepted,
            cursors: &self.cursors,
            encoding: Encoding::Json,
            transport: Transport::WebSocket,
        };
        world.relay.resume(&request, world.now)
    }
}

/// Restarts the gateway: all clients lose their links, and are detached in the new process.
pub(crate) fn restart<'a>(
    world: &mut World,
    clients: impl Iterator<Item = (&'a mut ResumableClient, &'a mut Option<Detached>)>,
) {
    let restored = world.restart();
    let mut restored: HashMap<_, _> = restored.into_iter().map(|it| (it.id(), it)).collect();
    for (resumable, detached) in clients {
        resumable.client = None;
        *detached = restored.remove(&resumable.id);
        assert!(detached.is_some(), "every resumable connection is restored");
    }
    assert!(restored.is_empty(), "nothing else is restored");
}
