//! One session: its members, and what is pushed to them.

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::{Mutex, MutexGuard};
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, GatewayMessage, Role, SessionId,
    Signal,
};

use crate::{
    connection::Refused,
    encode::{Encoding, Encodings, EventEncodings},
    observer::Observer,
    outbox::{Outbox, Outgoing},
    rate,
    server::{Listed, Recipients},
};

/// A connection as its session sees it.
pub(crate) struct Member {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) role: Role,
    pub(crate) presence: bool,
    pub(crate) encoding: Encoding,
    pub(crate) transport: &'static str,
    pub(crate) outbox: Outbox,
    /// Whether it has sent a signal that somebody may have received.
    pub(crate) has_sent: bool,
}

/// A session that at least one connection has joined. Created by the first, gone with the last.
pub(crate) struct Session {
    id: SessionId,
    rate: Arc<rate::Shared>,
    members: Mutex<Members>,
}

impl Session {
    /// An empty session whose signals count in `rate`.
    pub(crate) fn new(id: SessionId, rate: Arc<rate::Shared>, observer: Arc<dyn Observer>) -> Self {
        let members = Members {
            id: id.clone(),
            observer,
            by_id: IndexMap::new(),
            server_seq: 0,
            overflowed: Vec::new(),
            closed: false,
        };
        Self { id, rate, members: Mutex::new(members) }
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    /// How many signals the session's project may send.
    pub(crate) fn rate(&self) -> &rate::Shared {
        &self.rate
    }

    /// The members, locked. Nothing awaits or waits while this is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock()
    }
}

/// What the session's lock protects.
pub(crate) struct Members {
    id: SessionId,
    /// Told under the lock, so that it hears in the order in which it was.
    observer: Arc<dyn Observer>,
    by_id: IndexMap<ConnectionId, Member>,
    /// Signals that servers have sent: together they are one sender.
    server_seq: u64,
    /// Members whose outbox overflowed while something was pushed to all. They are ended when
    /// the push is done (`settle`), as ending one pushes to the others, who may overflow in turn.
    overflowed: Vec<ConnectionId>,
    /// The session has left the directory; whoever still holds it must look there again.
    closed: bool,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Closes the session if nobody is in it.
    pub(crate) fn close_if_empty(&mut self) -> bool {
        self.closed |= self.by_id.is_empty();
        self.closed
    }

    /// Adds a member, tells the others, and returns who was there before, oldest first.
    pub(crate) fn join(&mut self, member: Member) -> Vec<Arc<ConnectionInfo>> {
        let mut present: Vec<_> = if member.presence {
            self.by_id.values().map(|other| other.info.clone()).collect()
        } else {
            Vec::new()
        };
        present.sort_by_key(|info| info.created_at);
        let created = GatewayMessage::ConnectionCreated((*member.info).clone());
        let mut created = EventEncodings::new(created);
        self.push_each(|other| {
            other.presence.then(|| Outgoing::Event(created.get(other.encoding)))
        });
        self.observer.created(&self.id, &member.info);
        self.by_id.insert(member.info.id, member);
        self.settle();
        present
    }

    /// Removes a member and tells the others, if it is (still) one.
    pub(crate) fn leave(&mut self, id: ConnectionId, reason: CloseReason) {
        self.remove(id, reason);
        self.settle();
    }

    /// Ends every member and leaves the session empty. Nobody is told of the others: all go.
    pub(crate) fn end_all(&mut self, reason: CloseReason) {
        for (_, member) in self.by_id.drain(..) {
            member.outbox.end(reason);
            self.observer.destroyed(&self.id, &member.info, reason.disconnect_reason());
        }
    }

    /// Pushes a signal to all, its sender included. `false` if the sender is no longer a member.
    pub(crate) fn signal_all(&mut self, from: ConnectionId, seq: u64, signal: Signal<'_>) -> bool {
        let Some(sender) = self.by_id.get_mut(&from) else {
            return false;
        };
        sender.has_sent = true;
        let mut encodings = Encodings::new(Some(from), seq, signal);
        self.push_each(|member| {
            receives(member).then(|| Outgoing::Signal {
                from: Some(from),
                seq,
                frame: encodings.get(member.encoding),
            })
        });
        self.settle();
        true
    }

    /// Pushes a signal to one. `Ok(false)` if the sender is no longer a member.
    pub(crate) fn signal_one(
        &mut self,
        from: ConnectionId,
        to: ConnectionId,
        seq: u64,
        signal: Signal<'_>,
    ) -> Result<bool, Refused> {
        let Some(sender) = self.by_id.get_mut(&from) else {
            return Ok(false);
        };
        sender.has_sent = true;
        let member = self.by_id.get(&to).ok_or(Refused::NotFound(to))?;
        if !receives(member) {
            return Err(Refused::DoesNotReceive(to));
        }
        let mut encodings = Encodings::new(Some(from), seq, signal);
        self.push_one(to, |member| {
            let frame = encodings.get(member.encoding);
            Some(Outgoing::Signal { from: Some(from), seq, frame })
        });
        self.settle();
        Ok(true)
    }

    /// Pushes a signal of a server. Those of its listed recipients who are not members, or receive
    /// nothing, are returned.
    pub(crate) fn signal_from_server(
        &mut self,
        to: Recipients<'_>,
        signal: Signal<'_>,
    ) -> Result<Vec<ConnectionId>, Refused> {
        let mut missing = Vec::new();
        match to {
            Recipients::All | Recipients::Except(_) if self.by_id.is_empty() => {
                return Err(Refused::NobodyThere);
            }
            Recipients::All | Recipients::Except(_) => {}
            Recipients::One(id) => {
                let member = self.by_id.get(&id).ok_or(Refused::NotFound(id))?;
                if !receives(member) {
                    return Err(Refused::DoesNotReceive(id));
                }
            }
            Recipients::Only(ids) => {
                let reached = |id: &ConnectionId| self.by_id.get(id).is_some_and(receives);
                missing.extend(ids.iter().copied().filter(|id| !reached(id)));
                if missing.len() == ids.len() {
                    return Err(Refused::NoneReached);
                }
            }
        }
        self.server_seq += 1;
        let seq = self.server_seq;
        let mut encodings = Encodings::new(None, seq, signal);
        let mut outgoing = |member: &Member| {
            receives(member).then(|| Outgoing::Signal {
                from: None,
                seq,
                frame: encodings.get(member.encoding),
            })
        };
        match to {
            Recipients::All => self.push_each(outgoing),
            Recipients::Except(ids) => {
                self.push_each(
                    |member| {
                        if ids.contains(&member.info.id) { None } else { outgoing(member) }
                    },
                );
            }
            Recipients::One(id) => self.push_one(id, outgoing),
            Recipients::Only(ids) => ids.iter().for_each(|id| self.push_one(*id, &mut outgoing)),
        }
        self.settle();
        Ok(missing)
    }

    /// The members, oldest first.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let mut list: Vec<_> = self.by_id.values().map(Listed::of).collect();
        list.sort_by_key(|listed| listed.info.created_at);
        list
    }

    /// Pushes a message to one member, if it is there.
    pub(crate) fn tell(&mut self, id: ConnectionId, message: GatewayMessage<'_>) {
        self.push_one(id, |member| {
            Some(Outgoing::Event(EventEncodings::new(message).get(member.encoding)))
        });
        self.settle();
    }

    /// Removes `target` because somebody who may do so wants it. `false` if it is not there.
    pub(crate) fn force_disconnect(&mut self, target: ConnectionId) -> bool {
        let found = self.remove(target, CloseReason::ForceDisconnected);
        self.settle();
        found
    }

    fn push_one(&mut self, id: ConnectionId, outgoing: impl FnOnce(&Member) -> Option<Outgoing>) {
        if let Some(member) = self.by_id.get(&id)
            && let Some(outgoing) = outgoing(member)
            && member.outbox.push(outgoing).is_err()
        {
            self.overflowed.push(id);
        }
    }

    fn push_each(&mut self, mut outgoing: impl FnMut(&Member) -> Option<Outgoing>) {
        for (id, member) in &self.by_id {
            if let Some(outgoing) = outgoing(member)
                && member.outbox.push(outgoing).is_err()
            {
                self.overflowed.push(*id);
            }
        }
    }

    /// Ends those who overflowed, until nobody does. A list and not recursion: one farewell may
    /// overflow another's outbox while the first is half removed.
    fn settle(&mut self) {
        while let Some(id) = self.overflowed.pop() {
            self.remove(id, CloseReason::SlowConsumer);
        }
    }

    /// Takes a member out of the listing *before* anyone is told; those who overflow by being
    /// told are left to `settle`.
    fn remove(&mut self, id: ConnectionId, reason: CloseReason) -> bool {
        let Some(gone) = self.by_id.swap_remove(&id) else {
            return false;
        };
        gone.outbox.end(reason);
        let reason: DisconnectReason = reason.disconnect_reason();
        self.observer.destroyed(&self.id, &gone.info, reason);
        let destroyed = GatewayMessage::ConnectionDestroyed { id, reason, last_seq: 0 };
        let mut destroyed = EventEncodings::new(destroyed);
        self.push_each(|other| match other.encoding {
            // Its link finishes the sender's stream even if the client wants no presence; where
            // there can be no stream, as nothing was ever sent, it need not wake up for it.
            Encoding::PerSender => {
                (other.presence || gone.has_sent).then_some(Outgoing::Destroyed { id, reason })
            }
            encoding => other.presence.then(|| Outgoing::Event(destroyed.get(encoding))),
        });
        true
    }
}

fn receives(member: &Member) -> bool {
    member.role != Role::PublisherOnly
}
