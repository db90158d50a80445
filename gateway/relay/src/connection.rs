//! A connection: a client's membership in a session, owned by its link.

use std::time::Duration;

use bytes::Bytes;
use signalbox_opentok::Receipt;
use signalbox_protocol::{
    CloseReason, ConnectionId, ErrorCode, GatewayMessage, Role, SessionId, Signal,
};

use crate::{
    detached::Detached,
    directory::SessionHandle,
    error::{RejectionReason, SignalError},
    link_turns::LinkTurns,
    receipts::Answer,
    rejections::Rejection,
    seat::Seat,
    session::{AcceptedSignal, SignalCost},
};

/// A membership, owned by its link. It ends with [`Connection::leave`], with
/// [`Connection::detach`], or when another party closes it, which its outbox reports. Dropping it
/// ends it as [`CloseReason::NetworkDisconnected`].
pub struct Connection {
    session: SessionHandle,
    seat: Seat,
    /// The last sequence number: signals that the client has sent, rejected ones included.
    sent: u64,
    released: bool,
}

impl Connection {
    pub(crate) fn new(session: SessionHandle, seat: Seat, sent: u64) -> Self {
        Self { session, seat, sent, released: false }
    }

    /// Its id.
    pub fn id(&self) -> ConnectionId {
        self.seat.id
    }

    /// Id of its session.
    pub fn session_id(&self) -> &SessionId {
        self.session.id()
    }

    /// Signals that the client has sent over all of its links, rejected ones included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends a signal to all members of the session, the sender included, or to one connection.
    ///
    /// `now` is the time since any fixed moment, here and in all other functions. On return the
    /// signal is in the outbox of every receiver, and in the history for detached members. Receivers
    /// whose outbox was full have been closed.
    ///
    /// # Errors
    /// [`SignalError::Rejected`] if the signal reaches no receiver because of the sender.
    pub fn signal(
        &mut self,
        to: Option<ConnectionId>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<SignalCost, SignalError> {
        self.send_signal(to, signal, None, now)
    }

    /// Sends a signal that the client has made a request of, with this transaction id. If the client
    /// repeats the request on another gateway, that one finds it answered.
    ///
    /// # Errors
    /// As of [`Connection::signal`].
    pub fn signal_on_request(
        &mut self,
        transaction: &str,
        to: Option<ConnectionId>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<SignalCost, SignalError> {
        self.send_signal(to, signal, Some(transaction), now)
    }

    fn send_signal(
        &mut self,
        to: Option<ConnectionId>,
        signal: Signal<'_>,
        transaction: Option<&str>,
        now: Duration,
    ) -> Result<SignalCost, SignalError> {
        let result =
            self.session.with(|state| state.signal(self.seat, to, signal, transaction, now));
        match &result {
            Ok(AcceptedSignal { seq, .. }) | Err(SignalError::Rejected { seq, .. }) => {
                self.sent = *seq;
            }
            Err(SignalError::Closed) => {}
        }
        result.map(|accepted| accepted.cost)
    }

    /// Whether the links of the session are so far behind that this client should not be read
    /// further. That ends when they have had their [turns](crate::Relay::poll_turn).
    pub fn is_ahead(&self) -> bool {
        self.session.is_lagging()
    }

    /// The turns of its link.
    pub fn turns(&self) -> LinkTurns {
        self.session.link_turns()
    }

    /// Disconnects another connection of the session, or this one.
    ///
    /// # Errors
    /// [`RejectionReason`] if this connection is not a moderator or the target does not exist.
    pub fn force_disconnect(
        &self,
        target: ConnectionId,
        now: Duration,
    ) -> Result<(), RejectionReason> {
        self.session.with(|state| match state.role(self.seat) {
            Some(Role::Moderator) if state.force_disconnect(target, now) => Ok(()),
            Some(Role::Moderator) => Err(RejectionReason::NotFound(target)),
            Some(role) => Err(RejectionReason::MayNotDisconnect(role)),
            // The connection has been closed; its outbox reports that.
            None => Err(RejectionReason::NotFound(target)),
        })
    }

    /// Pushes an error into the connection's own outbox. An error about a signal also confirms that
    /// the signal has been processed, and is repeated if the link is lost.
    pub fn send_error(&self, signal: Option<u64>, code: ErrorCode, message: &str) {
        let error = GatewayMessage::Error { signal, code, message: message.into() };
        self.session.with(|state| {
            state.send(self.seat, error);
            if let Some(signal) = signal {
                let rejection = Rejection { signal, code, message: message.into() };
                state.record_rejection(self.seat, rejection);
            }
        });
    }

    /// Pushes any other message into the connection's own outbox.
    pub fn send(&self, message: GatewayMessage<'_>) {
        self.session.with(|state| state.send(self.seat, message));
    }

    /// The client has confirmed a message. Only for clients whose receipts are kept.
    pub fn confirm(&self, receipt: &Receipt) {
        self.session.with(|state| state.confirm(self.seat, receipt));
    }

    /// The answer to a request with this transaction id, if the client has sent it before.
    pub fn answered(&self, transaction: &str) -> Option<Answer> {
        self.session.with(|state| state.answered(self.seat, transaction))
    }

    /// Keeps the answer to a request, in case the client repeats it, and pushes its frame, if it has
    /// not been sent, into the connection's own outbox.
    pub fn answer(&self, transaction: &str, answer: Answer, frame: Option<Bytes>, now: Duration) {
        self.session.with(|state| {
            state.answer(self.seat, transaction, answer, now);
            if let Some(frame) = frame {
                state.send_frame(self.seat, frame);
            }
        });
    }

    /// The client has shown that it has its latest ticket. The previous one becomes invalid.
    pub fn confirm_ticket(&self) {
        self.session.with(|state| state.confirm_ticket(self.seat));
    }

    /// The link is lost, and the client did not say goodbye. A resumable connection becomes
    /// detached; any other one ends.
    pub fn detach(mut self, now: Duration) -> Option<Detached> {
        if self.session.with(|state| state.detach(self.seat)) {
            self.released = true;
            Some(Detached::new(self.session.clone(), self.seat, now))
        } else {
            self.leave(CloseReason::NetworkDisconnected, now);
            None
        }
    }

    /// Ends the membership for a known reason.
    pub fn leave(mut self, reason: CloseReason, now: Duration) {
        self.end(reason, Some(now));
    }

    fn end(&mut self, reason: CloseReason, now: Option<Duration>) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        self.session.with(|state| {
            let now = now.unwrap_or_else(|| state.last_recorded());
            state.leave(self.seat, reason, now);
        });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A destructor has no clock; the time of the last recorded event is close enough.
        self.end(CloseReason::NetworkDisconnected, None);
    }
}
