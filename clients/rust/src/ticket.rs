//! The ticket with which a client resumes its connection.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use signalbox_protocol::message;

/// A ticket, and the number of attempts made with it.
pub(crate) struct ResumeTicket {
    ticket: String,
    /// Attempts to resume that have been made with the ticket.
    attempts: AtomicU32,
    /// The resume window: the time for which the ticket is valid after the loss of the link.
    window: Duration,
}

impl ResumeTicket {
    pub(crate) fn new(ticket: message::Ticket<'_>) -> Self {
        let window = Duration::from_millis(ticket.window_ms.into());
        Self { ticket: ticket.ticket.into_string(), attempts: AtomicU32::new(0), window }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.ticket
    }

    pub(crate) fn window(&self) -> Duration {
        self.window
    }

    /// The number of another attempt, from 1.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempts.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}
