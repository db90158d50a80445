//! What the relay remembers of a resumable connection besides its membership: tickets, and signals that
//! were refused without its client's knowing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    refusals::{Refusal, Refusals},
    resume::ResumeError,
};

/// The secret part of a ticket.
pub type Secret = [u8; 32];

/// The part of a member that lets its client resume.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The ticket that was issued last.
    ticket: Ticket,
    /// The ticket before, until the client has shown that it has the new one.
    used: Option<UsedTicket>,
    /// When the client's token expires, in time since 1970.
    token_until: Duration,
    /// Refusals that the client may not have read.
    refused: Refusals,
}

/// A ticket, and where its client's counts begin.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) secret: Secret,
    /// The first position of the backlog that the client may not have.
    pub(crate) position: u64,
    /// How many presence events the session had had.
    pub(crate) events: u64,
}

/// A ticket that has been exchanged for a new one, which its client may not have received.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct UsedTicket {
    ticket: Ticket,
    /// Number of the attempt that was accepted last. An earlier one, delayed on its way, is refused.
    attempt: u32,
}

impl Kept {
    pub(crate) fn new(ticket: Ticket, token_until: Duration) -> Self {
        Self { ticket, used: None, token_until, refused: Refusals::default() }
    }

    /// The ticket that an attempt to resume presents.
    ///
    /// # Errors
    /// [`ResumeError::Ticket`] or [`ResumeError::Superseded`].
    pub(crate) fn presented(&self, secret: &Secret, attempt: u32) -> Result<&Ticket, ResumeError> {
        if self.ticket.has(secret) {
            return Ok(&self.ticket);
        }
        match &self.used {
            Some(used) if !used.ticket.has(secret) => Err(ResumeError::Ticket),
            Some(used) if attempt <= used.attempt => Err(ResumeError::Superseded),
            Some(used) => Ok(&used.ticket),
            None => Err(ResumeError::Ticket),
        }
    }

    /// Whether one of its tickets has this secret.
    pub(crate) fn has(&self, secret: &Secret) -> bool {
        self.ticket.has(secret) || self.used.is_some_and(|used| used.ticket.has(secret))
    }

    /// An attempt was accepted with the ticket `presented`: `next` takes its place.
    pub(crate) fn exchange(&mut self, presented: Ticket, attempt: u32, next: Ticket) {
        self.used = Some(UsedTicket { ticket: presented, attempt });
        self.ticket = next;
    }

    /// The client has shown that it has the newest ticket, and with it the refusals sent before it.
    pub(crate) fn confirm_ticket(&mut self) {
        self.used = None;
        self.refused.clear();
    }

    pub(crate) fn token_until(&self) -> Duration {
        self.token_until
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.refused.push(refusal);
    }

    /// Refusals that the client may not have read, oldest first.
    pub(crate) fn refused(&self) -> Vec<Refusal> {
        self.refused.to_vec()
    }

    pub(crate) fn forget_refusals(&mut self) {
        self.refused.clear();
    }
}

impl Ticket {
    /// Compares every byte, so that the time taken tells nothing about the secret.
    fn has(&self, secret: &Secret) -> bool {
        self.secret.iter().zip(secret).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}
