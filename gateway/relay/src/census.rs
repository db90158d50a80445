//! A count of the connections and their outboxes, session by session, for monitoring.

use std::{sync::Arc, vec};

use signalbox_protocol::SessionId;

use crate::{
    directory::{Directory, SessionHandle},
    member_count::SessionCount,
};

/// The sessions of a relay, each of which is locked and counted when its turn comes
/// ([`crate::Relay::census`]). A caller may do other work between two sessions. Sessions that begin or
/// end meanwhile may be missing.
pub struct Census {
    directory: Arc<Directory>,
    /// Sessions that come next.
    part: vec::IntoIter<SessionHandle>,
    /// The last of that part.
    last: Option<SessionId>,
}

impl Census {
    pub(crate) fn of(directory: Arc<Directory>) -> Self {
        Self { directory, part: Vec::new().into_iter(), last: None }
    }

    fn next_session(&mut self) -> Option<SessionHandle> {
        if let Some(session) = self.part.next() {
            return Some(session);
        }
        let part = self.directory.after(self.last.as_ref());
        self.last = Some(part.last()?.id().clone());
        self.part = part.into_iter();
        self.part.next()
    }
}

impl Iterator for Census {
    type Item = SessionCount;

    fn next(&mut self) -> Option<SessionCount> {
        let session = self.next_session()?;
        let by_transport = session.with(|state| state.count_members());
        Some(SessionCount::new(session.id().clone(), by_transport))
    }
}
