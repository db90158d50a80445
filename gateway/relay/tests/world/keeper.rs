//! A client that asks to be kept, and comes back.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use signalbox_protocol::{
    ConnectionId, GatewayId, Role, Sender, SessionId, Transport, message::Lost,
};
use signalbox_relay::{Away, Comeback, Connection, Encoding, ResumeError, Resumed, Secret};

use super::{Client, Told, World};

pub(crate) const FORMS: [Encoding; 3] = [Encoding::PerSender, Encoding::Shared, Encoding::Json];

/// A client that asked to be kept, with what it remembers from link to link.
pub(crate) struct Keeper {
    pub(crate) client: Option<Client>,
    pub(crate) session: SessionId,
    pub(crate) id: ConnectionId,
    pub(crate) presence: bool,
    pub(crate) secret: Secret,
    /// Attempts to resume, over all tickets.
    pub(crate) attempts: u32,
    pub(crate) events: u64,
    pub(crate) cursors: HashMap<Sender, u64>,
    /// All that it was told, but for confirmations.
    pub(crate) told: Vec<Told>,
    /// What the present link has brought and the client has not read.
    waiting: VecDeque<Told>,
    pub(crate) accepted: u64,
}

/// The answer to a resume.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) signals: u64,
    pub(crate) lost: Vec<Lost>,
    pub(crate) present: Option<Vec<ConnectionId>>,
}

/// The answer when nothing is lost.
pub(crate) fn whole(signals: u64) -> Answer {
    Answer { signals, lost: vec![], present: None }
}

pub(crate) fn secret(id: ConnectionId, number: u32) -> Secret {
    let mut secret = [0; 32];
    secret[..16].copy_from_slice(id.as_bytes());
    secret[16..20].copy_from_slice(&number.to_be_bytes());
    secret
}

impl Keeper {
    pub(crate) fn join(world: &mut World, session: &SessionId, form: Encoding) -> Self {
        Self::join_with(world, session, form, true)
    }

    pub(crate) fn join_with(
        world: &mut World,
        session: &SessionId,
        form: Encoding,
        presence: bool,
    ) -> Self {
        let client = world.try_join(session, Role::Moderator, presence, form).unwrap();
        let id = client.id;
        assert!(client.connection.keep(secret(id, 0), Duration::ZERO));
        assert!(!client.connection.keep(secret(id, u32::MAX), Duration::ZERO), "once");
        Self {
            client: Some(client),
            session: session.clone(),
            id,
            presence,
            secret: secret(id, 0),
            attempts: 0,
            events: 0,
            cursors: HashMap::new(),
            told: Vec::new(),
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
        for told in self.waiting.drain(..some) {
            match &told {
                // For its link alone, which ends the sender's stream.
                Told::Destroyed(..) if !self.presence => continue,
                Told::Created(_) | Told::Destroyed(..) => self.events += 1,
                Told::Signal { from, seq, .. } => {
                    let last = self.cursors.insert(from.clone(), *seq).unwrap_or(0);
                    assert!(last < *seq, "in order, none twice");
                }
                Told::Accepted(signals) => {
                    assert!(self.accepted < *signals, "news");
                    self.accepted = *signals;
                    continue;
                }
                Told::Error { .. } | Told::GoAway(_) => {}
            }
            self.told.push(told);
        }
    }

    /// What it has been told since it was last asked.
    pub(crate) fn news(&mut self) -> Vec<Told> {
        self.read();
        std::mem::take(&mut self.told)
    }

    pub(crate) fn lose(&mut self, world: &World) -> Away {
        self.waiting.clear();
        self.client.take().unwrap().connection.lost(world.now).unwrap()
    }

    pub(crate) fn comeback(&self, form: Encoding, next: Secret) -> Comeback<'_> {
        Comeback {
            session: &self.session,
            connection: self.id,
            secret: self.secret,
            attempt: self.attempts,
            next,
            events: self.events,
            cursors: &self.cursors,
            encoding: form,
            transport: Transport::WebSocket,
        }
    }

    pub(crate) fn resume(&mut self, world: &World, form: Encoding) -> Result<Answer, ResumeError> {
        let (connection, resumed) = self.attempt(world, form)?;
        Ok(self.adopt(connection, resumed, form))
    }

    /// Tries to resume, and reads nothing more from the old link. The client does not know the answer
    /// yet.
    pub(crate) fn attempt(
        &mut self,
        world: &World,
        form: Encoding,
    ) -> Result<(Connection, Resumed), ResumeError> {
        self.attempts += 1;
        self.waiting.clear();
        let next = secret(self.id, self.attempts);
        world.relay.resume(&self.comeback(form, next), world.now)
    }

    /// The client has read the answer to its latest attempt.
    pub(crate) fn adopt(
        &mut self,
        connection: Connection,
        resumed: Resumed,
        form: Encoding,
    ) -> Answer {
        self.secret = secret(self.id, self.attempts);
        self.waiting.clear();
        for lost in &resumed.lost {
            self.cursors.insert(lost.from.clone(), lost.until);
        }
        let present = resumed.present.as_ref();
        if present.is_some() {
            self.events = 0;
        }
        let answer = Answer {
            signals: resumed.signals,
            present: present.map(|present| present.iter().map(|info| info.id).collect()),
            lost: resumed.lost,
        };
        let returned = Client::returned(self.id, connection, resumed.outbox, form);
        self.client = Some(returned);
        answer
    }
}

/// The servers of the world's gateway.
pub(crate) fn servers() -> Sender {
    GatewayId::default().into()
}

pub(crate) fn signal(from: impl Into<Sender>, seq: u64, data: &str) -> Told {
    Told::Signal { from: from.into(), seq, data: data.into() }
}
