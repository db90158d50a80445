//! One session: its members, and what is pushed to them.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use parking_lot::Mutex;
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, GatewayMessage, SessionId, Signal,
};

use crate::{
    backlog::{Audience, Backlog, Bounds, Happened},
    connection::{Refused, SignalError},
    dismissed::Dismissed,
    encode::{Encoding, Encodings, EventEncodings},
    member::{Attached, Member},
    observer::Observer,
    outbox::Outgoing,
    rate,
    relay::{Settings, Shared},
};

/// A session that at least one connection has joined. Created by the first, gone with the last.
pub(crate) struct Session {
    id: SessionId,
    rate: Arc<rate::Shared>,
    members: Mutex<Members>,
}

impl Session {
    /// An empty session whose signals count in `rate`.
    pub(crate) fn new(
        id: SessionId,
        rate: Arc<rate::Shared>,
        observer: Arc<dyn Observer>,
        bounds: Bounds,
    ) -> Self {
        let members = Members {
            id: id.clone(),
            observer,
            by_id: IndexMap::new(),
            server_seq: 0,
            backlog: Backlog::new(),
            bounds,
            written_until: Duration::ZERO,
            events: 0,
            kept: 0,
            overflowed: Vec::new(),
            removed: 0,
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

    /// Does something with the members, locked; then counts out who is gone, and the session with
    /// the last of them. Nothing awaits or waits while the lock is held.
    pub(crate) fn with<T>(
        self: &Arc<Self>,
        relay: &Shared,
        act: impl FnOnce(&mut Members) -> T,
    ) -> T {
        let mut members = self.members.lock();
        let result = act(&mut members);
        members.settle();
        let removed = std::mem::take(&mut members.removed);
        let empty = members.close_if_empty();
        drop(members);
        if empty {
            relay.forget(self);
        }
        if removed > 0 {
            relay.count_out(self.id.project(), removed);
        }
        result
    }
}

/// What the session's lock protects.
pub(crate) struct Members {
    id: SessionId,
    /// Told under the lock, so that it hears in the order in which it was.
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) by_id: IndexMap<ConnectionId, Member>,
    /// Signals that servers have sent: together they are one sender.
    pub(crate) server_seq: u64,
    pub(crate) backlog: Backlog,
    pub(crate) bounds: Bounds,
    /// Until when the backlog is written although nobody is kept: a newcomer may still ask for it.
    pub(crate) written_until: Duration,
    /// Presence events that there have been.
    pub(crate) events: u64,
    /// Members that are kept when they lose their link.
    pub(crate) kept: usize,
    /// Members whose outbox overflowed while something was pushed to all. They are ended when
    /// the push is done (`settle`), as ending one pushes to the others, who may overflow in turn.
    overflowed: Vec<ConnectionId>,
    /// Members removed and not yet counted out.
    pub(crate) removed: usize,
    /// The session has left the directory; whoever still holds it must look there again.
    closed: bool,
}

/// How long after a member has joined the backlog is written in any case.
const ASK_WITHIN: Duration = Duration::from_secs(5);

impl Members {
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Closes the session if nobody is in it.
    fn close_if_empty(&mut self) -> bool {
        self.closed |= self.by_id.is_empty();
        self.closed
    }

    /// The member, if this is still its link.
    pub(crate) fn member(&mut self, id: ConnectionId, generation: u64) -> Option<&mut Member> {
        self.by_id.get_mut(&id).filter(|member| member.generation == generation)
    }

    /// Adds a member, tells the others, and returns who was there before, oldest first.
    pub(crate) fn join(&mut self, mut member: Member, now: Duration) -> Vec<Arc<ConnectionInfo>> {
        let present = if member.presence { self.present() } else { Vec::new() };
        let info = member.info.clone();
        let mut created = EventEncodings::new(GatewayMessage::ConnectionCreated((*info).clone()));
        self.push_each(|other, link| {
            other.presence.then(|| Outgoing::Event(created.get(link.encoding)))
        });
        self.observer.created(&self.id, &info);
        if !self.bounds.age.is_zero() {
            self.written_until = now + ASK_WITHIN;
        }
        self.events += 1;
        self.happened(Happened::Created { number: self.events, info }, now);
        member.joined_at = self.backlog.position();
        member.joined_event = self.events;
        self.by_id.insert(member.info.id, member);
        present
    }

    /// Who is there, oldest first.
    pub(crate) fn present(&self) -> Vec<Arc<ConnectionInfo>> {
        let mut present: Vec<_> = self.by_id.values().map(|other| other.info.clone()).collect();
        present.sort_by_key(|info| info.created_at);
        present
    }

    /// Writes something into the backlog, if anybody might come back for it.
    fn happened(&mut self, happened: Happened, now: Duration) {
        if self.kept > 0 || now < self.written_until {
            self.backlog.push(happened, now, self.bounds);
        } else {
            self.backlog.skip(self.events);
        }
    }

    /// Removes a member and tells the others, if this is still its link.
    pub(crate) fn leave(
        &mut self,
        id: ConnectionId,
        generation: u64,
        reason: CloseReason,
        now: Duration,
    ) {
        if self.member(id, generation).is_some() {
            self.remove(id, reason, now);
        }
    }

    /// Ends every member and leaves the session empty. Nobody is told of the others: all go.
    pub(crate) fn end_all(&mut self, reason: CloseReason) {
        for (_, member) in self.by_id.drain(..) {
            if let Some(link) = member.link {
                link.outbox.end(reason);
            }
            self.removed += 1;
            self.observer.destroyed(&self.id, &member.info, reason.disconnect_reason());
        }
    }

    /// Takes a signal of a member, and pushes it to all, its sender included, or to one.
    pub(crate) fn signal(
        &mut self,
        (from, generation): (ConnectionId, u64),
        to: Option<ConnectionId>,
        signal: Signal<'_>,
        (rate, settings): (&rate::Shared, &Settings),
        now: Duration,
    ) -> Result<u64, SignalError> {
        let sender = self.member(from, generation).ok_or(SignalError::Ended)?;
        sender.sent += 1;
        let seq = sender.sent;
        let refused = |refused| SignalError::Refused { seq, refused };
        sender.allowed(&signal, settings, now).map_err(refused)?;
        // Last, so that what is refused anyway takes nothing from the others of the project.
        if !rate.take(now) {
            return Err(refused(Refused::ProjectRateLimited));
        }
        let audience = match to {
            None => Audience::All,
            Some(to) => {
                let member = self.by_id.get(&to).ok_or(refused(Refused::NotFound(to)))?;
                if !member.receives() {
                    return Err(refused(Refused::DoesNotReceive(to)));
                }
                Audience::One(to)
            }
        };
        self.deliver(Encodings::new(from.into(), seq, signal), audience, now);
        self.accept(from, generation, seq);
        Ok(seq)
    }

    /// Has a member told that its signals up to this one have been taken, if it is kept.
    pub(crate) fn accept(&mut self, id: ConnectionId, generation: u64, seq: u64) {
        if let Some(Member { kept: Some(_), link: Some(link), .. }) = self.member(id, generation) {
            link.outbox.accept(seq);
        }
    }

    /// Pushes a signal to its audience, and into the backlog for those who are away.
    pub(crate) fn deliver(
        &mut self,
        mut encodings: Encodings<'_>,
        audience: Audience,
        now: Duration,
    ) {
        let (from, seq) = encodings.origin();
        let mut outgoing = |member: &Member, link: &Attached| {
            member.receives().then(|| Outgoing::Signal {
                from: from.clone(),
                seq,
                frame: encodings.get(link.encoding),
            })
        };
        match &audience {
            Audience::All => self.push_each(outgoing),
            Audience::One(id) => self.push_one(*id, outgoing),
            Audience::Only(ids) => ids.iter().for_each(|id| self.push_one(*id, &mut outgoing)),
            Audience::Except(ids) => self.push_each(|member, link| {
                if ids.contains(&member.info.id) { None } else { outgoing(member, link) }
            }),
        }
        if self.kept > 0 || now < self.written_until {
            let (encoding, frame) = encodings.any();
            self.happened(Happened::Signal { from, seq, audience, encoding, frame }, now);
        } else {
            self.backlog.skip(self.events);
        }
    }

    /// Pushes a message to one member, if this is still its link.
    pub(crate) fn tell(&mut self, id: ConnectionId, generation: u64, message: GatewayMessage<'_>) {
        if self.member(id, generation).is_some() {
            self.push_one(id, |_, link| {
                Some(Outgoing::Event(EventEncodings::new(message).get(link.encoding)))
            });
        }
    }

    /// Removes `target` because somebody who may do so wants it. `false` if it is not there.
    pub(crate) fn force_disconnect(
        &mut self,
        target: ConnectionId,
        dismissed: &Dismissed,
        now: Duration,
    ) -> bool {
        let kept = self.by_id.get_mut(&target).and_then(|member| member.kept.take());
        if let Some(kept) = kept {
            self.kept -= 1;
            dismissed.push(target, kept);
        }
        self.remove(target, CloseReason::ForceDisconnected, now)
    }

    fn push_one(
        &mut self,
        id: ConnectionId,
        outgoing: impl FnOnce(&Member, &Attached) -> Option<Outgoing>,
    ) {
        if let Some(member) = self.by_id.get(&id)
            && let Some(link) = &member.link
            && let Some(outgoing) = outgoing(member, link)
            && link.outbox.push(outgoing).is_err()
        {
            self.overflowed.push(id);
        }
    }

    fn push_each(&mut self, mut outgoing: impl FnMut(&Member, &Attached) -> Option<Outgoing>) {
        for (id, member) in &self.by_id {
            if let Some(link) = &member.link
                && let Some(outgoing) = outgoing(member, link)
                && link.outbox.push(outgoing).is_err()
            {
                self.overflowed.push(*id);
            }
        }
    }

    /// Ends those who overflowed, until nobody does. A list and not recursion: one farewell may
    /// overflow another's outbox while the first is half removed.
    fn settle(&mut self) {
        while let Some(id) = self.overflowed.pop() {
            // Whoever overflowed was reading a moment ago: the time of its last signal will do.
            self.remove(id, CloseReason::SlowConsumer, self.backlog.latest());
        }
    }

    /// Takes a member out of the listing *before* anyone is told; those who overflow by being
    /// told are left to `settle`.
    pub(crate) fn remove(&mut self, id: ConnectionId, reason: CloseReason, now: Duration) -> bool {
        let Some(gone) = self.by_id.swap_remove(&id) else {
            return false;
        };
        self.removed += 1;
        if let Some(link) = &gone.link {
            link.outbox.end(reason);
        }
        self.kept -= usize::from(gone.kept.is_some());
        let reason: DisconnectReason = reason.disconnect_reason();
        self.observer.destroyed(&self.id, &gone.info, reason);
        self.events += 1;
        self.happened(Happened::Destroyed { number: self.events, id, reason }, now);
        let destroyed = GatewayMessage::ConnectionDestroyed { id, reason, last_seq: 0 };
        let mut destroyed = EventEncodings::new(destroyed);
        self.push_each(|other, link| match link.encoding {
            // Its link finishes the sender's stream even if the client wants no presence; where
            // there can be no stream, as nothing was ever sent, it need not wake up for it.
            Encoding::PerSender => {
                let announce = other.presence;
                (announce || gone.sent > 0).then_some(Outgoing::Destroyed { id, reason, announce })
            }
            encoding => other.presence.then(|| Outgoing::Event(destroyed.get(encoding))),
        });
        true
    }
}
