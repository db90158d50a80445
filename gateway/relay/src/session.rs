//! One session: its members, and what is pushed to them.

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::{Mutex, MutexGuard};
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, GatewayMessage, Role, Signal,
};

use crate::{
    connection::Refused,
    encode::{Encoding, Encodings, EventEncodings},
    outbox::{Outbox, Outgoing},
};

/// A connection as its session sees it.
pub(crate) struct Member {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) role: Role,
    pub(crate) presence: bool,
    pub(crate) encoding: Encoding,
    pub(crate) outbox: Outbox,
    /// Whether it has sent a signal that somebody may have received.
    pub(crate) has_sent: bool,
}

/// A session that at least one connection has joined. Created by the first, gone with the last.
pub(crate) struct Session {
    members: Mutex<Members>,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            members: Mutex::new(Members {
                by_id: IndexMap::new(),
                overflowed: Vec::new(),
                closed: false,
            }),
        }
    }

    /// The members, locked. Nothing awaits or waits while this is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock()
    }
}

/// What the session's lock protects.
pub(crate) struct Members {
    by_id: IndexMap<ConnectionId, Member>,
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
        let frame = Encodings::new(Some(from), seq, signal).get(member.encoding);
        if member.outbox.push(Outgoing::Signal { from: Some(from), seq, frame }).is_err() {
            self.overflowed.push(to);
        }
        self.settle();
        Ok(true)
    }

    /// Pushes a message to one member, if it is there.
    pub(crate) fn tell(&mut self, id: ConnectionId, message: GatewayMessage<'_>) {
        let Some(member) = self.by_id.get(&id) else {
            return;
        };
        let frame = EventEncodings::new(message).get(member.encoding);
        if member.outbox.push(Outgoing::Event(frame)).is_err() {
            self.overflowed.push(id);
        }
        self.settle();
    }

    /// Removes `target` because somebody who may do so wants it. `false` if it is not there.
    pub(crate) fn force_disconnect(&mut self, target: ConnectionId) -> bool {
        let found = self.remove(target, CloseReason::ForceDisconnected);
        self.settle();
        found
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
