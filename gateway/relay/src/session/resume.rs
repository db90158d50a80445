//! Resumable members: tickets, detaching and resuming.
//!
//! A resuming client says how far it has received the signals of each sender and the presence
//! events. It receives the rest from the history, in order, before anything new. All of that happens
//! under one lock, so that nothing is lost or repeated in between.

use std::time::Duration;

use signalbox_protocol::{CloseReason, ConnectionId, Sender};

use super::{
    history::HistoryMark,
    replay::Replay,
    resumable::{IssuedTicket, Start},
    roster::MemberLink,
    state::SessionState,
};
use crate::{
    encoding::Encoding,
    error::ResumeError,
    outbox::Outbox,
    outgoing::Outgoing,
    resume::{ResumeRequest, Resumed, TicketSecret},
    seat::Seat,
    update::Update,
};

impl SessionState {
    /// The client of a member has shown that it has its latest ticket.
    pub(crate) fn confirm_ticket(&mut self, seat: Seat) {
        if let Some(resumable) = self.roster.seated(seat).and_then(|it| it.resumable_mut()) {
            resumable.confirm_ticket();
            self.publish(|| Update::TicketConfirmed { id: seat.id });
        }
    }

    /// Detaches a member from its lost link. `false` if the member is not resumable.
    pub(crate) fn detach(&mut self, seat: Seat) -> bool {
        let Some(link) = self.roster.detach(seat) else { return false };
        // For a reader that still holds the outbox. The history has the signals in it.
        link.outbox.close(CloseReason::NetworkDisconnected);
        // Its client may resume on another gateway.
        self.publish_confirmed();
        true
    }

    /// Checks a ticket.
    pub(crate) fn check_ticket(
        &self,
        connection: ConnectionId,
        secret: &TicketSecret,
        attempt: u32,
    ) -> Result<(), ResumeError> {
        let resumable = self.roster.resumable(connection).ok_or(ResumeError::InvalidTicket)?;
        resumable.presented(secret, attempt).map(|_| ())
    }

    /// Attaches a member to a new link, with a replay in its outbox.
    pub(crate) fn resume(
        &mut self,
        request: &ResumeRequest<'_>,
        now: Duration,
    ) -> Result<(Seat, Resumed), ResumeError> {
        self.history.trim(now);
        let id = request.connection;
        let resumable = self.roster.resumable(id).ok_or(ResumeError::InvalidTicket)?;
        let presented = *resumable.presented(&request.secret, request.attempt)?;
        self.check_position(&presented, request)?;
        // If the connection is on another gateway, it moves here.
        self.take(id, request.accepted);
        let member = self.roster.get(id).ok_or(ResumeError::InvalidTicket)?;

        // A client that keeps no cursors cannot compare a list of members with its own. If it comes
        // from another gateway, it is told of each end, known or not, and is greeted again.
        let moved = request.encoding == Encoding::OpenTok && presented.start.events.is_none();
        let Replay { lost, full_resync, outgoing } =
            self.replay(member, &presented, request, moved, now);
        let missed = outgoing.len() as u64;
        let outbox = self.outbox_with(outgoing);
        let present = full_resync.then(|| {
            let presence = member.record().presence;
            let mut present = if presence { self.roster.present() } else { Vec::new() };
            present.retain(|info| info.id != id);
            present
        });
        // After a full resync the client counts presence events from here. The rest of the history
        // is in the replay, and must be sent again if this link breaks before the client has it.
        let start = if full_resync {
            let HistoryMark { position, events } = self.history.oldest_mark();
            let position = position.max(presented.start.position);
            Start { position, events: Some(events) }
        } else if moved {
            let position = presented.start.position;
            Start { position, events: Some(self.history.presence_before(position)) }
        } else {
            presented.start
        };
        let next = IssuedTicket { secret: request.next_secret, start };

        let link = MemberLink { encoding: request.encoding, outbox: outbox.clone() };
        let attached = self.roster.attach(id, link, request.transport, request.attempt);
        let (member, old_link) = attached.ok_or(ResumeError::InvalidTicket)?;
        if let Some(old_link) = old_link {
            old_link.outbox.close(CloseReason::Superseded);
        }
        let (seat, signals) = (member.seat(), member.record().sent);
        let resumable = member.resumable_mut().ok_or(ResumeError::InvalidTicket)?;
        resumable.exchange(presented, request.attempt, next);
        if let Some(receipts) = resumable.receipts_mut() {
            receipts.resumed(now);
            if moved {
                receipts.forget_greeting();
            }
        }
        let (token_until, rejections) = (resumable.token_until(), resumable.rejections());
        let state = member.state();
        self.publish(|| Update::Resumed(state));
        let resumed = Resumed { outbox, token_until, signals, rejections, missed, lost, present };
        Ok((seat, resumed))
    }

    /// An outbox with a replay in it. The bounds of the history limit the replay; it does not count
    /// against the bounds of the outbox.
    fn outbox_with(&self, replay: Vec<Outgoing>) -> Outbox {
        let bytes = replay.iter().map(Outgoing::cost).sum::<usize>();
        let outbox = {
            let settings = self.context.settings();
            Outbox::new(settings.outbox_frames + replay.len(), settings.outbox_bytes + bytes)
        };
        for outgoing in replay {
            // There is room for it, as the bounds above include it.
            let _ = outbox.push(outgoing);
        }
        outbox
    }

    /// Rejects a client that claims to have received more than was sent, or confirmations of signals
    /// that were never processed.
    fn check_position(
        &mut self,
        presented: &IssuedTicket,
        request: &ResumeRequest<'_>,
    ) -> Result<(), ResumeError> {
        if let Some(start) = presented.start.events
            && request.events > self.history.mark().events.saturating_sub(start)
        {
            return Err(ResumeError::CursorAhead);
        }
        if self.shared.is_some() {
            return self.check_shared_position(request);
        }
        let sent = |from: &Sender| match from {
            Sender::Server(from) => (*from == self.context.gateway).then_some(self.server_seq),
            // The count of a destroyed connection is not kept.
            Sender::Connection(id) => self.roster.get(*id).map(|sender| sender.record().sent),
        };
        let own = sent(&Sender::Connection(request.connection));
        let ahead = own.is_some_and(|sent| request.accepted > sent)
            || request.cursors.iter().any(|(from, seq)| sent(from).is_some_and(|sent| *seq > sent));
        if ahead { Err(ResumeError::CursorAhead) } else { Ok(()) }
    }
}
