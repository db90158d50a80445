//! Disconnection of many connections at once: those of a user, of a session or of a token.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{ConnectionId, ConnectionInfo, ProjectKey, SessionId};

use crate::{relay::Relay, token::TokenIdentity};

impl Relay {
    /// Disconnects the connections on this gateway that `matches` selects, attached and detached, in
    /// one session or in all sessions of a project. Connections of lost gateways are disconnected by
    /// the one that reports their ends. Returns their number.
    pub fn disconnect_matching(
        &self,
        project: &ProjectKey,
        session: Option<&SessionId>,
        matches: impl Fn(&SessionId, &ConnectionInfo, &TokenIdentity) -> bool,
        now: Duration,
    ) -> usize {
        let sessions = match session {
            Some(session) => self.directory().find(session).into_iter().collect(),
            None => self.directory().all(),
        };
        let sessions = sessions.iter().filter(|session| session.id().project() == project);
        let disconnected = sessions.map(|session| {
            let id = session.id();
            session.with(|state| {
                state.disconnect_matching(|info, token| matches(id, info, token), now)
            })
        });
        disconnected.sum()
    }

    /// The description of a connection, and the token with which it joined.
    pub fn token(
        &self,
        session: &SessionId,
        connection: ConnectionId,
    ) -> Option<(Arc<ConnectionInfo>, TokenIdentity)> {
        let session = self.directory().find(session)?;
        session.with(|state| state.token(connection))
    }
}
