//! The state of a session: joins and departures.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, GatewayMessage, Role, SessionId,
    Transport,
};

use super::{
    Gone,
    history::{History, HistoryBounds},
    log_entry::LogEntry,
    peers::Shared,
    resumable::{IssuedTicket, Resumable},
    roster::{Member, MemberLink, MemberRecord, Roster},
};
use crate::{
    context::RelayContext,
    encoding::{Encoding, EventEncodings, EventNumber},
    error::JoinError,
    join::{Join, ResumeOptions},
    member_count::{MemberCount, SessionCount},
    outbox::{Outbox, OutboxFull},
    outgoing::Outgoing,
    rate::{RateLimiter, SharedRateLimiter},
    seat::Seat,
    summary::ConnectionSummary,
    turns::SessionTurns,
    update::Update,
};

/// The part of a session that its lock protects.
pub(crate) struct SessionState {
    pub(super) id: SessionId,
    /// Its observer is called under the lock, and thus in the order of the session.
    pub(super) context: Arc<RelayContext>,
    pub(super) rate: Arc<SharedRateLimiter>,
    /// The limit of deliveries that members cause.
    pub(super) deliveries: Option<RateLimiter>,
    pub(super) roster: Roster,
    pub(super) history: History,
    /// Signals from servers. All servers of this gateway are one sender.
    pub(super) server_seq: u64,
    /// An earlier run of this gateway, or an earlier opening of the session here, may have sent
    /// further signals: the next one skips some numbers.
    pub(super) skip_server_seqs: bool,
    /// Members whose outbox overflowed during a push. They are removed afterwards
    /// ([`SessionState::settle`]), as the removal pushes to other members, which may overflow too.
    overflowed: Vec<ConnectionId>,
    /// The links that are to be woken, if there are many members.
    turns: Arc<SessionTurns>,
    /// Signals until the latency of one is measured.
    pub(super) until_measured: u8,
    /// Other gateways with the session. None until it has been shared with one.
    pub(super) shared: Option<Box<Shared>>,
    /// Number of [holds](crate::Hold), which keep the session open without members.
    holds: usize,
    /// Other gateways have not answered to the opening of the session here.
    pub(super) opening: bool,
    /// The session has left the directory. A caller that still holds it must look it up again.
    closed: bool,
}

impl SessionState {
    pub(super) fn new(
        id: SessionId,
        context: Arc<RelayContext>,
        rate: Arc<SharedRateLimiter>,
        bounds: HistoryBounds,
        turns: Arc<SessionTurns>,
    ) -> Self {
        let deliveries = RateLimiter::new(context.settings().deliveries_per_second);
        Self {
            id,
            deliveries,
            context,
            rate,
            roster: Roster::default(),
            history: History::new(bounds),
            server_seq: 0,
            skip_server_seqs: false,
            overflowed: Vec::new(),
            turns,
            until_measured: 0,
            shared: None,
            holds: 0,
            opening: false,
            closed: false,
        }
    }

    /// Adds a member and announces it to the others. Returns the members that were there before,
    /// oldest first; `None` if the session is closed.
    pub(crate) fn join(
        &mut self,
        join: &Join,
        outbox: &Outbox,
        now: Duration,
    ) -> Option<Result<Vec<Arc<ConnectionInfo>>, JoinError>> {
        if self.closed {
            return None;
        }
        if self.roster.len() >= self.context.settings().connections_per_session {
            return Some(Err(JoinError::SessionFull));
        }
        if self.roster.contains(join.info.id) || self.has_ended(join) {
            return Some(Err(JoinError::IdTaken));
        }
        let present = if join.presence { self.roster.present() } else { Vec::new() };
        let info = Arc::new(join.info.clone());
        // The new member starts after it.
        self.announce(&info, now);
        self.context.observer.created(&self.id, &info);
        let record = MemberRecord {
            info,
            role: join.role,
            token: join.token,
            presence: join.presence,
            transport: join.transport,
            codec: join.encoding.codec(),
            generation: 0,
            sent: 0,
        };
        let start = self.history.mark().into();
        let keeps_receipts = join.encoding == Encoding::OpenTok;
        let resumable = join.resume.map(|ResumeOptions { secret, token_until, orphan_window }| {
            let receipts = keeps_receipts.then(Box::default);
            Resumable::new(IssuedTicket { secret, start }, token_until, orphan_window, receipts)
        });
        let link = MemberLink { encoding: join.encoding, outbox: outbox.clone() };
        let member = Member::new(record, link, resumable, &self.context.settings(), now);
        self.publish(|| Update::Created(member.state()));
        self.roster.insert(member);
        Some(Ok(present))
    }

    /// Whether a connection with this id has ended. An id that the gateway has chosen is new.
    fn has_ended(&self, join: &Join) -> bool {
        let ended = |entry: &LogEntry| matches!(entry, LogEntry::Destroyed { id, .. } if *id == join.info.id);
        join.encoding == Encoding::OpenTok && self.history.since(0).any(ended)
    }

    /// Announces a new connection to the members of this gateway, attached and detached.
    pub(super) fn announce(&mut self, info: &Arc<ConnectionInfo>, now: Duration) {
        let created = GatewayMessage::ConnectionCreated((**info).clone());
        let mut created = EventEncodings::new(created, self.next_event());
        self.push_all(|session, other, link| {
            let wanted = other.record().presence;
            let frame = wanted.then(|| created.get(link.encoding, session)).flatten();
            frame.map(Outgoing::Frame)
        });
        let entry = |number| LogEntry::Created { number, info: info.clone() };
        self.history.record_presence(entry, self.roster.has_resumable(), now);
    }

    /// Keeps the session open until [`SessionState::release`]. The `first` hold begins its opening.
    /// `false` if it is closed.
    pub(crate) fn hold(&mut self, first: bool) -> bool {
        self.holds += usize::from(!self.closed);
        if first && !self.closed {
            self.opening = true;
            self.reopen();
        }
        !self.closed
    }

    /// Ends a hold.
    pub(crate) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// The number of the next presence event.
    fn next_event(&self) -> EventNumber {
        EventNumber { epoch: self.epoch(), number: self.history.mark().events + 1 }
    }

    /// The run of this gateway, by which presence events that it has counted are told from those of
    /// others. A gateway on its own needs none.
    pub(super) fn epoch(&self) -> u64 {
        self.context.cluster.as_ref().map_or(0, |cluster| cluster.instance.epoch)
    }

    pub(super) fn push_one(
        &mut self,
        id: ConnectionId,
        outgoing: impl FnOnce(&SessionId, &Member, &MemberLink) -> Option<Outgoing>,
    ) {
        if let Some(member) = self.roster.get(id)
            && let Some(link) = member.link()
            && let Some(outgoing) = outgoing(&self.id, member, link)
            && link.outbox.push(outgoing).is_err()
        {
            self.overflowed.push(id);
        }
    }

    pub(super) fn push_all(
        &mut self,
        mut outgoing: impl FnMut(&SessionId, &Member, &MemberLink) -> Option<Outgoing>,
    ) {
        let Self { id, roster, overflowed, turns, context, .. } = self;
        let outgoing = |member: &Member, link: &MemberLink| outgoing(id, member, link);
        let is_small = roster.is_small();
        turns.set_large(!is_small);
        if is_small {
            push_each(roster, overflowed, outgoing, Outbox::push);
            return;
        }
        let mut pushes = turns.pushes();
        push_each(roster, overflowed, outgoing, |outbox, outgoing| pushes.push(outbox, outgoing));
        if pushes.finish() {
            context.turns.add(turns.clone());
        }
    }

    /// Pushes a message to one member, if this is its present link.
    pub(crate) fn send(&mut self, seat: Seat, message: GatewayMessage<'_>) {
        if self.roster.seated(seat).is_some() {
            self.push_one(seat.id, |session, _, link| {
                let frame = EventEncodings::other(message).get(link.encoding, session);
                frame.map(Outgoing::Frame)
            });
        }
    }

    /// Pushes a frame in the encoding of its link to one member, if this is its present link.
    pub(crate) fn send_frame(&mut self, seat: Seat, frame: Bytes) {
        if self.roster.seated(seat).is_some() {
            self.push_one(seat.id, |_, _, _| Some(Outgoing::Frame(frame)));
        }
    }

    /// The role of a member, if this is its present link.
    pub(crate) fn role(&mut self, seat: Seat) -> Option<Role> {
        self.roster.seated(seat).map(|member| member.record().role)
    }

    /// The members on this gateway and their outboxes, by transport.
    pub(crate) fn count_members(&self) -> [MemberCount; Transport::ALL.len()] {
        let mut counts = [MemberCount::default(); Transport::ALL.len()];
        for member in self.roster.iter() {
            let position = SessionCount::position(member.record().transport);
            if let Some(count) = counts.get_mut(position) {
                count.add(MemberCount::of(member.link().map(|link| &link.outbox)));
            }
        }
        counts
    }

    /// All members, oldest first.
    pub(crate) fn summaries(&self) -> Vec<ConnectionSummary> {
        let mut summaries: Vec<_> = self.roster.records().map(MemberRecord::summary).collect();
        summaries.sort_by_key(|summary| summary.info.created_at);
        summaries
    }

    /// Removes a member, if this is its present link.
    pub(crate) fn leave(&mut self, seat: Seat, reason: CloseReason, now: Duration) {
        if self.roster.seated(seat).is_some() {
            self.remove(seat.id, reason, now);
        }
    }

    /// Removes `target` on behalf of a moderator or a server. `false` if it is not a member.
    pub(crate) fn force_disconnect(&mut self, target: ConnectionId, now: Duration) -> bool {
        let Some(member) = self.remove(target, CloseReason::ForceDisconnected, now) else {
            return self.disconnect_remote(target, now);
        };
        self.evict(member);
        true
    }

    /// Remembers the tickets of a member that was disconnected, as its client may not know it yet.
    pub(super) fn evict(&self, member: Member) {
        let id = member.id();
        if let (_, Some(resumable)) = member.into_parts() {
            self.context.evicted.push(&self.id, id, resumable);
        }
    }

    /// Removes a member *before* the others are notified. Members that overflow by the
    /// notification are left to `settle`.
    pub(super) fn remove(
        &mut self,
        id: ConnectionId,
        reason: CloseReason,
        now: Duration,
    ) -> Option<Member> {
        let removed = self.take_out(id, reason)?;
        self.report_end(removed.record(), reason.disconnect_reason(), now);
        Some(removed)
    }

    /// Removes a member and closes its link. Nobody is notified.
    pub(super) fn take_out(&mut self, id: ConnectionId, reason: CloseReason) -> Option<Member> {
        let removed = self.roster.remove(id)?;
        if let Some(link) = removed.link() {
            link.outbox.close(reason);
        }
        Some(removed)
    }

    /// Notifies everybody of the end of a removed member.
    pub(super) fn report_end(
        &mut self,
        record: &MemberRecord,
        reason: DisconnectReason,
        now: Duration,
    ) {
        let (id, sent) = (record.info.id, record.sent);
        self.context.observer.destroyed(&self.id, &record.info, reason);
        self.publish(|| Update::Destroyed { id, reason, sent });
        self.announce_end(record, reason, now);
    }

    /// Announces the end of a connection to the members of this gateway, attached and detached.
    pub(super) fn announce_end(
        &mut self,
        record: &MemberRecord,
        reason: DisconnectReason,
        now: Duration,
    ) {
        let id = record.info.id;
        if let Some(shared) = &mut self.shared {
            shared.bury(id);
        }
        let number = self.next_event();
        let entry = |number| LogEntry::Destroyed { number, id, reason };
        self.history.record_presence(entry, self.roster.has_resumable(), now);
        let destroyed = GatewayMessage::ConnectionDestroyed { id, reason, last_seq: 0 };
        let mut destroyed = EventEncodings::new(destroyed, number);
        let has_sent = record.sent > 0;
        self.push_all(|session, other, link| {
            let announce = other.record().presence;
            match link.encoding {
                // The link frees the sender's stream even if the client declined presence. A member
                // that never sent a signal has no stream.
                Encoding::PerSender => {
                    (announce || has_sent).then_some(Outgoing::Destroyed { id, reason, announce })
                }
                encoding => announce
                    .then(|| destroyed.get(encoding, session))
                    .flatten()
                    .map(Outgoing::Frame),
            }
        });
    }

    /// Removes all members. None of them is notified of the others.
    pub(crate) fn close_all(&mut self, reason: CloseReason) {
        for member in self.roster.drain() {
            if let Some(link) = member.link() {
                link.outbox.close(reason);
            }
            let info = &member.record().info;
            self.context.observer.destroyed(&self.id, info, reason.disconnect_reason());
        }
    }

    /// Removes members whose outbox overflowed, until there are none. A worklist, not a recursion:
    /// one removal may overflow the outbox of another member. Then closes the session if it is
    /// empty.
    pub(super) fn settle(&mut self) -> Gone {
        while let Some(id) = self.overflowed.pop() {
            // The time of the last recorded event is close enough.
            self.remove(id, CloseReason::SlowConsumer, self.last_recorded());
        }
        if !self.closed && self.holds == 0 && !self.roster.is_in_use() {
            self.closed = true;
            self.publish(|| Update::Closed);
            self.keep_closed();
        }
        Gone { changes: self.roster.take_changes(), closed: self.closed }
    }

    /// Time of the last recorded event.
    pub(crate) fn last_recorded(&self) -> Duration {
        self.history.last_recorded()
    }
}

/// Pushes a message to all members that `outgoing` has one for.
fn push_each(
    roster: &Roster,
    overflowed: &mut Vec<ConnectionId>,
    mut outgoing: impl FnMut(&Member, &MemberLink) -> Option<Outgoing>,
    mut push: impl FnMut(&Outbox, Outgoing) -> Result<(), OutboxFull>,
) {
    for member in roster.iter() {
        if let Some(link) = member.link()
            && let Some(outgoing) = outgoing(member, link)
            && push(&link.outbox, outgoing).is_err()
        {
            overflowed.push(member.id());
        }
    }
}
