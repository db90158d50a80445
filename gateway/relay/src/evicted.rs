//! Tickets of connections that were disconnected while their client may not have noticed.
//!
//! A client whose link is lost, or dead without its knowledge, does not receive the reason when a
//! moderator or a server disconnects it. It resumes with its ticket. If the relay answered that the
//! ticket is invalid, the client would join again, as after a restart of the gateway. The relay
//! therefore remembers the tickets of evicted connections for a while. A client may resume on a
//! gateway that did not have the session open: the others tell it of them.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, SessionId};

use crate::{resume::TicketSecret, session::resumable::Resumable};

/// Connections remembered in all sessions together. The oldest is dropped first.
const MAX_EVICTED: usize = 1024;

/// The tickets of an evicted connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Evicted {
    session: SessionId,
    connection: ConnectionId,
    resumable: Resumable,
}

/// The latest evicted tickets. This lock is the innermost one: nothing else is locked under it.
#[derive(Default)]
pub(crate) struct EvictedTickets(Mutex<VecDeque<Evicted>>);

impl EvictedTickets {
    pub(crate) fn push(
        &self,
        session: &SessionId,
        connection: ConnectionId,
        mut resumable: Resumable,
    ) {
        resumable.clear_rejections();
        resumable.take_receipts();
        self.add(Evicted { session: session.clone(), connection, resumable });
    }

    fn add(&self, evicted: Evicted) {
        let mut tickets = self.0.lock();
        // Several gateways may tell of it. They may know different tickets of a connection that has
        // moved.
        let mut known = tickets.iter().filter(|known| known.connection == evicted.connection);
        if known.any(|known| known.resumable.has_ticket_of(&evicted.resumable)) {
            return;
        }
        if tickets.len() == MAX_EVICTED {
            tickets.pop_front();
        }
        tickets.push_back(evicted);
    }

    /// Whether a connection was evicted.
    pub(crate) fn has(&self, id: ConnectionId) -> bool {
        self.0.lock().iter().any(|evicted| evicted.connection == id)
    }

    /// Whether an evicted connection had a ticket with this secret.
    pub(crate) fn contains(&self, id: ConnectionId, secret: &TicketSecret) -> bool {
        let tickets = self.0.lock();
        tickets.iter().any(|evicted| evicted.connection == id && evicted.resumable.has(secret))
    }

    /// The evicted connections of one session, or of all, oldest first.
    pub(crate) fn export(&self, session: Option<&SessionId>) -> Vec<Evicted> {
        let tickets = self.0.lock();
        let is_meant = |it: &&Evicted| session.is_none_or(|session| it.session == *session);
        tickets.iter().filter(is_meant).cloned().collect()
    }

    /// Adds what another gateway remembers.
    pub(crate) fn import(&self, evicted: Vec<Evicted>) {
        evicted.into_iter().take(MAX_EVICTED).for_each(|evicted| self.add(evicted));
    }
}
