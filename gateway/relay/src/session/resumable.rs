//! Resume state of a connection: its tickets, and rejections that its client may not have read.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::Sender;
use subtle::ConstantTimeEq;

use super::history::HistoryMark;
use crate::{
    error::ResumeError,
    receipts::Receipts,
    rejections::{Rejection, Rejections},
    resume::TicketSecret,
};

/// The part of a member that lets its client resume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Resumable {
    /// The latest ticket.
    ticket: IssuedTicket,
    /// The ticket before it, until the client has shown that it has the latest one.
    previous: Option<PreviousTicket>,
    /// When the client's token expires, in time since 1970.
    token_until: Duration,
    /// Time for which the connection is kept if its gateway is lost: that in which its client
    /// notices the loss, and then the resume window.
    orphan_window: Duration,
    /// Rejections that the client may not have read.
    rejections: Rejections,
    /// The last signals of senders of which the history here may lack earlier ones that were for
    /// this connection. None if it lacks none.
    #[serde(skip)]
    unseen: Option<Arc<Unseen>>,
    /// Receipts of a client that keeps none itself.
    receipts: Option<Box<Receipts>>,
}

/// The last signal of each sender at the time at which a gateway learned of a connection.
pub(crate) type Unseen = HashMap<Sender, u64>;

/// A ticket, and the point in the history from which its client counts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct IssuedTicket {
    pub(crate) secret: TicketSecret,
    pub(crate) start: Start,
}

/// The point in a history from which a client counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Position of the first entry that the client may not have.
    pub(crate) position: u64,
    /// Number of presence events before it. `None` if the client has counted them on another
    /// gateway, where they had another order.
    pub(crate) events: Option<u64>,
}

impl From<HistoryMark> for Start {
    fn from(mark: HistoryMark) -> Self {
        Self { position: mark.position, events: Some(mark.events) }
    }
}

/// A ticket that has been replaced by a new one, which its client may not have received.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct PreviousTicket {
    ticket: IssuedTicket,
    /// Number of the last accepted attempt. Earlier, delayed attempts are rejected.
    attempt: u32,
}

impl Resumable {
    pub(crate) fn new(
        ticket: IssuedTicket,
        token_until: Duration,
        orphan_window: Duration,
        receipts: Option<Box<Receipts>>,
    ) -> Self {
        let rejections = Rejections::default();
        Self {
            ticket,
            previous: None,
            token_until,
            orphan_window,
            rejections,
            unseen: None,
            receipts,
        }
    }

    pub(crate) fn receipts(&self) -> Option<&Receipts> {
        self.receipts.as_deref()
    }

    pub(crate) fn receipts_mut(&mut self) -> Option<&mut Receipts> {
        self.receipts.as_deref_mut()
    }

    pub(crate) fn take_receipts(&mut self) -> Option<Box<Receipts>> {
        self.receipts.take()
    }

    /// Makes the tickets of a connection on another gateway count from this position of the history
    /// here.
    pub(crate) fn rebase(&mut self, position: u64) {
        let start = Start { position, events: None };
        self.ticket.start = start;
        if let Some(previous) = &mut self.previous {
            previous.ticket.start = start;
        }
    }

    pub(crate) fn unseen(&self) -> Option<&Arc<Unseen>> {
        self.unseen.as_ref()
    }

    pub(crate) fn set_unseen(&mut self, unseen: Option<Arc<Unseen>>) {
        self.unseen = unseen;
    }

    /// The position from which the latest ticket counts.
    pub(crate) fn position(&self) -> u64 {
        self.ticket.start.position
    }

    /// Time for which the connection is kept if its gateway is lost.
    pub(crate) fn orphan_window(&self) -> Duration {
        self.orphan_window
    }

    /// The ticket that an attempt to resume presents.
    ///
    /// # Errors
    /// [`ResumeError::InvalidTicket`] or [`ResumeError::Superseded`].
    pub(crate) fn presented(
        &self,
        secret: &TicketSecret,
        attempt: u32,
    ) -> Result<&IssuedTicket, ResumeError> {
        if self.ticket.has(secret) {
            return Ok(&self.ticket);
        }
        match &self.previous {
            Some(previous) if !previous.ticket.has(secret) => Err(ResumeError::InvalidTicket),
            Some(previous) if attempt <= previous.attempt => Err(ResumeError::Superseded),
            Some(previous) => Ok(&previous.ticket),
            None => Err(ResumeError::InvalidTicket),
        }
    }

    /// Whether one of its tickets has this secret.
    pub(crate) fn has(&self, secret: &TicketSecret) -> bool {
        self.ticket.has(secret) || self.previous.is_some_and(|previous| previous.ticket.has(secret))
    }

    /// Whether it has the latest ticket of `other`.
    pub(crate) fn has_ticket_of(&self, other: &Self) -> bool {
        self.has(&other.ticket.secret)
    }

    /// Replaces the tickets after an attempt with the ticket `presented` was accepted.
    pub(crate) fn exchange(&mut self, presented: IssuedTicket, attempt: u32, next: IssuedTicket) {
        self.previous = Some(PreviousTicket { ticket: presented, attempt });
        self.ticket = next;
    }

    /// The client has shown that it has the latest ticket, and thus all rejections sent before it.
    pub(crate) fn confirm_ticket(&mut self) {
        self.previous = None;
        self.unseen = None;
        self.rejections.clear();
    }

    pub(crate) fn token_until(&self) -> Duration {
        self.token_until
    }

    pub(crate) fn record_rejection(&mut self, rejection: Rejection) {
        self.rejections.push(rejection);
    }

    /// Rejections that the client may not have read, oldest first.
    pub(crate) fn rejections(&self) -> Vec<Rejection> {
        self.rejections.to_vec()
    }

    pub(crate) fn clear_rejections(&mut self) {
        self.rejections.clear();
    }
}

impl IssuedTicket {
    /// Compares in constant time, which reveals nothing about the secret.
    fn has(&self, secret: &TicketSecret) -> bool {
        self.secret.ct_eq(secret).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_accepted_once_and_only_after_the_last_one() {
        let ticket = |secret| IssuedTicket {
            secret: [secret; 32],
            start: HistoryMark { position: 0, events: 0 }.into(),
        };
        let mut resumable = Resumable::new(ticket(1), Duration::MAX, Duration::ZERO, None);
        resumable.exchange(ticket(1), 3, ticket(2));
        let presented = |attempt| resumable.presented(&[1; 32], attempt).map(|it| it.secret);
        assert_eq!(presented(2), Err(ResumeError::Superseded), "late");
        assert_eq!(presented(3), Err(ResumeError::Superseded), "replayed");
        assert_eq!(presented(4), Ok([1; 32]));
        assert_eq!(
            resumable.presented(&[2; 32], 1).map(|it| it.secret),
            Ok([2; 32]),
            "the new one"
        );
        assert_eq!(resumable.presented(&[3; 32], 9).map(|_| ()), Err(ResumeError::InvalidTicket));
    }
}
