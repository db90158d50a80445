//! Lists of sessions and their connections for operators, a bounded part at a time.
//!
//! A list takes many short locks instead of a long one, so that signals pass between them: the
//! directory is locked for some of its sessions, and a session for at most [`MEMBERS`].

use signalbox_protocol::SessionId;

use crate::{
    directory::SessionHandle,
    listing::{ConnectionPage, SessionSize},
    relay::Relay,
};

/// Members that are described under one lock of their session; some ten microseconds.
const MEMBERS: usize = 256;

/// A session in a list. It may end while it is looked at; then it has no connections.
pub struct ListedSession(SessionHandle);

impl Relay {
    /// Some sessions in the order of their ids, beginning after this one; none if there are no more.
    pub fn sessions_after(&self, after: Option<&SessionId>) -> Vec<ListedSession> {
        self.directory().after(after).into_iter().map(ListedSession).collect()
    }

    /// One session, if it has members.
    pub fn listed_session(&self, id: &SessionId) -> Option<ListedSession> {
        self.directory().find(id).map(ListedSession)
    }
}

impl ListedSession {
    /// Its id.
    pub fn id(&self) -> &SessionId {
        self.0.id()
    }

    /// Number of its connections.
    pub fn size(&self) -> SessionSize {
        self.0.with(|state| state.size())
    }

    /// At most `limit` of its connections on this gateway that are before a position, and never more
    /// than fit under one lock. Without a position it begins with the latest. A connection that
    /// stays is on one of the pages at least, also if others join and leave meanwhile.
    pub fn connections(&self, before: Option<usize>, limit: usize) -> ConnectionPage {
        self.0.with(|state| state.list_connections(before, limit.min(MEMBERS)))
    }
}
