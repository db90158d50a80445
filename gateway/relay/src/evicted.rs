//! Tickets of connections that were disconnected while their client may not have noticed.
//!
//! A client whose link is lost, or dead without its knowledge, does not receive the reason when a
//! moderator or a server disconnects it. It resumes with its ticket. If the relay answered that the
//! ticket is invalid, the client would join again, as after a restart of the gateway. The relay
//! therefore remembers the tickets of evicted connections for a while.

use std::collections::VecDeque;

use parking_lot::Mutex;
use signalbox_protocol::ConnectionId;

use crate::{resume::TicketSecret, session::resumable::Resumable};

/// Tickets remembered in all sessions together. The oldest is dropped first.
const MAX_EVICTED: usize = 1024;

/// The latest evicted tickets. This lock is the innermost one: nothing else is locked under it.
#[derive(Default)]
pub(crate) struct EvictedTickets(Mutex<VecDeque<(ConnectionId, Resumable)>>);

impl EvictedTickets {
    pub(crate) fn push(&self, id: ConnectionId, mut resumable: Resumable) {
        resumable.clear_rejections();
        let mut tickets = self.0.lock();
        if tickets.len() == MAX_EVICTED {
            tickets.pop_front();
        }
        tickets.push_back((id, resumable));
    }

    /// Whether an evicted connection had a ticket with this secret.
    pub(crate) fn contains(&self, id: ConnectionId, secret: &TicketSecret) -> bool {
        let tickets = self.0.lock();
        tickets.iter().any(|(evicted, resumable)| *evicted == id && resumable.has(secret))
    }
}
