//! A count of the connections and their outboxes, session by session, for monitoring.

use crate::{directory::SessionHandle, member_count::SessionCount};

/// The sessions of a relay, each of which is locked and counted when its turn comes
/// ([`crate::Relay::census`]). A caller may do other work between two sessions.
pub struct Census(std::vec::IntoIter<SessionHandle>);

impl Census {
    pub(crate) fn of(sessions: Vec<SessionHandle>) -> Self {
        Self(sessions.into_iter())
    }
}

impl Iterator for Census {
    type Item = SessionCount;

    fn next(&mut self) -> Option<SessionCount> {
        let session = self.0.next()?;
        let by_transport = session.with(|state| state.count_members());
        Some(SessionCount::new(session.id().clone(), by_transport))
    }
}
