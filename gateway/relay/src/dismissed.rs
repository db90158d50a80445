//! Those who were sent away and may not know.
//!
//! A client whose link is lost, or dead without its knowing, does not hear that somebody has
//! disconnected it. It comes back with its ticket, and were it told that nobody knows the ticket, it
//! would join anew, as after a restart. So for a while its ticket is known as that of one who was
//! sent away.

use std::collections::VecDeque;

use parking_lot::Mutex;
use signalbox_protocol::ConnectionId;

use crate::kept::Kept;

/// How many are remembered, in all sessions; the oldest is forgotten first.
const REMEMBERED: usize = 1024;

/// The latest of them. Its lock is taken last, and nothing is done under it but look and push.
#[derive(Default)]
pub(crate) struct Dismissed(Mutex<VecDeque<(ConnectionId, Kept)>>);

impl Dismissed {
    pub(crate) fn push(&self, id: ConnectionId, mut kept: Kept) {
        kept.forget_refusals();
        let mut all = self.0.lock();
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back((id, kept));
    }

    /// Whether somebody was sent away who had a ticket with this secret.
    pub(crate) fn knows(&self, id: ConnectionId, secret: &crate::Secret) -> bool {
        let all = self.0.lock();
        all.iter().any(|(one, kept)| *one == id && kept.has(secret))
    }
}
