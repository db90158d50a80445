//! A connection that outlives its link: kept, lost, and come back.
//!
//! What was missed is not kept for each who is away but once, in the session's backlog; whoever
//! comes back says how far it has heard everyone, and gets the rest, in order, before anything
//! new: all of it under one lock, so that nothing falls between.

use std::{collections::HashMap, sync::Arc, time::Duration};

use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, GatewayId, Sender, SessionId, Transport,
    message::Lost,
};

use crate::{
    connection::Connection,
    encode::Encoding,
    kept::{Kept, Secret, Ticket},
    member::{Attached, Member},
    missed::Missed,
    outbox::{Outbox, Outgoing},
    refusals::Refusal,
    relay::{Relay, Settings},
    session::{Members, Session},
};

/// A connection whose link is lost. When this is dropped, it is over for the connection, unless it
/// has come back.
pub struct Away {
    relay: Relay,
    session: Arc<Session>,
    id: ConnectionId,
    generation: u64,
    now: Duration,
}

impl Away {
    pub(crate) fn new(
        relay: Relay,
        session: Arc<Session>,
        (id, generation): (ConnectionId, u64),
        now: Duration,
    ) -> Self {
        Self { relay, session, id, generation, now }
    }

    /// The id of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Its session.
    pub fn session_id(&self) -> &SessionId {
        self.session.id()
    }

    /// Ends the connection, unless it has come back.
    pub fn expire(mut self, now: Duration) {
        self.now = now;
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let Self { id, generation, now, .. } = *self;
        self.session.with(&self.relay.0, |members| {
            members.leave(id, generation, CloseReason::NetworkDisconnected, now);
        });
    }
}

/// Who comes back, and what it has.
#[derive(Debug)]
pub struct Comeback<'a> {
    /// Its session, from the ticket.
    pub session: &'a SessionId,
    /// Its connection, from the ticket.
    pub connection: ConnectionId,
    /// The ticket's secret.
    pub secret: Secret,
    /// Number of the attempt, among all with this ticket.
    pub attempt: u32,
    /// The secret of its next ticket.
    pub next: Secret,
    /// Presence events that it has had.
    pub events: u64,
    /// The last signal that it has of each sender.
    pub cursors: &'a HashMap<Sender, u64>,
    /// The form of what is pushed to its outbox.
    pub encoding: Encoding,
    /// Transport of its new link.
    pub transport: Transport,
}

/// What comes of a resume.
pub struct Resumed {
    /// What it missed, and what comes from now on.
    pub outbox: Outbox,
    /// Whether it wants to hear of others coming and going.
    pub presence: bool,
    /// Until when its token is good, as was said when it asked to be kept.
    pub token_until: Duration,
    /// Signals of it that have been taken.
    pub signals: u64,
    /// Those of them that were refused, as far as the client may not know.
    pub refused: Vec<Refusal>,
    /// Signals and presence events in the outbox that it missed.
    pub missed: u64,
    /// Signals that are lost.
    pub lost: Vec<Lost>,
    /// Everyone else who is there, if presence events are lost, too.
    pub present: Option<Vec<Arc<ConnectionInfo>>>,
}

/// Why a connection does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// No connection is kept for this ticket: it is forged, or has been used, or its time is over.
    #[error("the ticket is of no connection that is kept")]
    Ticket,
    /// Somebody has disconnected it, and it may not have heard.
    #[error("the connection was disconnected by a moderator or a server")]
    Dismissed,
    /// A later attempt with the same ticket has been accepted.
    #[error("a later attempt with this ticket has been accepted")]
    Superseded,
    /// It claims to have what was never sent.
    #[error("the client claims to have what it was never sent")]
    Ahead,
    /// The relay is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl ResumeError {
    /// The reason that the client is told.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::Ticket => CloseReason::InvalidTicket,
            Self::Dismissed => CloseReason::ForceDisconnected,
            Self::Superseded => CloseReason::Superseded,
            Self::Ahead => CloseReason::ProtocolError,
            Self::ShuttingDown => CloseReason::ShuttingDown,
        }
    }
}

impl Relay {
    /// Whether a connection is kept for this ticket: what can be asked before its client says all
    /// that it has to say.
    ///
    /// # Errors
    /// [`ResumeError`] if there is none.
    pub fn check_ticket(
        &self,
        session: &SessionId,
        connection: ConnectionId,
        secret: &Secret,
        attempt: u32,
    ) -> Result<(), ResumeError> {
        let unknown = || self.unknown(connection, secret);
        let session = self.0.find(session).ok_or_else(unknown)?;
        session.with(&self.0, |members| {
            let kept = members.by_id.get(&connection).and_then(|it| it.kept.as_ref());
            let kept = kept.ok_or_else(unknown)?;
            kept.presented(secret, attempt).map(|_| ()).map_err(|error| match error {
                ResumeError::Ticket => unknown(),
                error => error,
            })
        })
    }

    /// Why nothing is kept for a ticket.
    fn unknown(&self, connection: ConnectionId, secret: &Secret) -> ResumeError {
        if self.0.dismissed.knows(connection, secret) {
            ResumeError::Dismissed
        } else if self.0.is_closing() {
            // It may have been put away just now, and then its ticket is still good.
            ResumeError::ShuttingDown
        } else {
            ResumeError::Ticket
        }
    }

    /// Brings a connection back on a new link; an old one that it may still have is ended. Returns
    /// the membership for the new link, and what there is to say on it.
    ///
    /// # Errors
    /// [`ResumeError`], and then nothing has changed.
    pub fn resume(
        &self,
        comeback: &Comeback<'_>,
        now: Duration,
    ) -> Result<(Connection, Resumed), ResumeError> {
        if self.0.is_closing() {
            return Err(ResumeError::ShuttingDown);
        }
        let unknown = || self.unknown(comeback.connection, &comeback.secret);
        let session = self.0.find(comeback.session).ok_or_else(unknown)?;
        let resumed =
            session.with(&self.0, |members| members.resume(comeback, &self.0.settings, now));
        let (generation, resumed) = resumed.map_err(|error| match error {
            ResumeError::Ticket => unknown(),
            error => error,
        })?;
        if self.0.is_closing() {
            // The end of all may have passed this session before the link was in it.
            resumed.outbox.end(CloseReason::ShuttingDown);
        }
        let (id, sent) = (comeback.connection, resumed.signals);
        Ok((Connection::new(self.clone(), session, id, generation, sent), resumed))
    }
}

impl Connection {
    /// Keeps the connection, from now on, when its link is lost. `token_until` is remembered for
    /// whoever brings it back. `false` if it is kept already.
    pub fn keep(&self, secret: Secret, token_until: Duration) -> bool {
        let (id, generation) = (self.id(), self.generation());
        self.session()
            .with(&self.relay().0, |members| members.keep(id, generation, secret, token_until))
    }

    /// Its session.
    pub fn session_id(&self) -> &SessionId {
        self.session().id()
    }

    /// The client has shown that it has its present ticket: the one before is good no more.
    pub fn has_ticket(&self) {
        let (id, generation) = (self.id(), self.generation());
        self.session().with(&self.relay().0, |members| {
            if let Some(Member { kept: Some(kept), .. }) = members.member(id, generation) {
                kept.confirm_ticket();
            }
        });
    }

    /// The link is lost, and the client did not say goodbye. A kept connection is away from now
    /// on; for another this is the end.
    pub fn lost(self, now: Duration) -> Option<Away> {
        let (id, generation) = (self.id(), self.generation());
        let (relay, session) = (self.relay().clone(), self.session().clone());
        let away = session.with(&relay.0, |members| members.lose(id, generation));
        if away {
            self.forget();
            Some(Away::new(relay, session, (id, generation), now))
        } else {
            self.leave(CloseReason::NetworkDisconnected, now);
            None
        }
    }
}

impl Members {
    fn keep(
        &mut self,
        id: ConnectionId,
        generation: u64,
        secret: Secret,
        token_until: Duration,
    ) -> bool {
        let Some(member) = self.member(id, generation).filter(|member| member.kept.is_none())
        else {
            return false;
        };
        let (position, events) = (member.joined_at, member.joined_event);
        let ticket = Ticket { secret, position, events };
        member.kept = Some(Kept::new(ticket, token_until));
        if let (Some(link), 1..) = (&member.link, member.sent) {
            link.outbox.accept(member.sent);
        }
        self.kept += 1;
        true
    }

    /// Remembers a refusal for a member that is kept, if this is still its link.
    pub(crate) fn remember(&mut self, id: ConnectionId, generation: u64, refusal: Refusal) {
        if let Some(Member { kept: Some(kept), .. }) = self.member(id, generation) {
            kept.refuse(refusal);
        }
    }

    fn lose(&mut self, id: ConnectionId, generation: u64) -> bool {
        let member = self.member(id, generation).filter(|member| member.kept.is_some());
        let Some(link) = member.and_then(|member| member.link.take()) else { return false };
        // For whoever still looks at it; what is in it is kept elsewhere.
        link.outbox.end(CloseReason::NetworkDisconnected);
        true
    }

    fn resume(
        &mut self,
        comeback: &Comeback<'_>,
        settings: &Settings,
        now: Duration,
    ) -> Result<(u64, Resumed), ResumeError> {
        self.backlog.trim(now, self.bounds);
        let id = comeback.connection;
        let member = self.by_id.get(&id).ok_or(ResumeError::Ticket)?;
        let kept = member.kept.as_ref().ok_or(ResumeError::Ticket)?;
        let shown = *kept.presented(&comeback.secret, comeback.attempt)?;
        self.check_claims(&shown, comeback, &settings.gateway)?;

        let Missed { lost, all_anew, replay } = self.missed(member, &shown, comeback);
        let missed = replay.len() as u64;
        let bytes = replay.iter().map(Outgoing::cost).sum::<usize>();
        // What was missed has its own bound, the backlog's, and does not count against the outbox's.
        let outbox =
            Outbox::new(settings.outbox_frames + replay.len(), settings.outbox_bytes + bytes);
        for outgoing in replay {
            // It fits, as it has just been counted.
            let _ = outbox.push(outgoing);
        }
        let present = all_anew.then(|| {
            let mut present = if member.presence { self.present() } else { Vec::new() };
            present.retain(|info| info.id != id);
            present
        });
        // After a gap in presence the client counts events from here. What the backlog still has is
        // on its way to the client, and is due again if this link breaks before it has arrived.
        let next = if all_anew {
            let (position, events) = (self.backlog.oldest(), self.events);
            Ticket { secret: comeback.next, position, events }
        } else {
            Ticket { secret: comeback.next, ..shown }
        };
        let Some(member) = self.by_id.get_mut(&id) else { return Err(ResumeError::Ticket) };
        let link = Attached { encoding: comeback.encoding, outbox: outbox.clone() };
        if let Some(old) = member.link.replace(link) {
            old.outbox.end(CloseReason::Superseded);
        }
        member.generation += 1;
        member.transport = comeback.transport;
        member.codec = comeback.encoding.codec();
        let (mut token_until, mut refused) = (Duration::ZERO, Vec::new());
        if let Some(kept) = &mut member.kept {
            kept.exchange(shown, comeback.attempt, next);
            token_until = kept.token_until();
            refused = kept.refused();
        }
        let (presence, signals) = (member.presence, member.sent);
        let resumed =
            Resumed { outbox, presence, token_until, signals, refused, missed, lost, present };
        Ok((member.generation, resumed))
    }

    /// Whether the client can have what it says that it has.
    fn check_claims(
        &self,
        shown: &Ticket,
        comeback: &Comeback<'_>,
        gateway: &GatewayId,
    ) -> Result<(), ResumeError> {
        let events = self.events.saturating_sub(shown.events);
        let sent = |from: &Sender| match from {
            Sender::Server(from) => (from == gateway).then_some(self.server_seq),
            // The count of a connection that is gone is not kept.
            Sender::Connection(id) => self.by_id.get(id).map(|sender| sender.sent),
        };
        let ahead = comeback.events > events
            || comeback
                .cursors
                .iter()
                .any(|(from, seq)| sent(from).is_some_and(|sent| *seq > sent));
        if ahead { Err(ResumeError::Ahead) } else { Ok(()) }
    }
}
