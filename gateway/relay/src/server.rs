//! What a project's servers can do: the relay's side of the REST API.
//!
//! A server is no member of a session. Its signals have no sender, and all servers of a session
//! together count as one: everyone receives their signals in the order in which they came here.

use std::{collections::HashSet, sync::Arc, time::Duration};

use signalbox_protocol::{ConnectionId, ConnectionInfo, Role, SessionId, Signal};

use crate::{
    connection::Refused,
    relay::Relay,
    session::{Member, Session},
};

/// Who is to receive a signal of a server.
#[derive(Debug, Clone, Copy)]
pub enum Recipients<'a> {
    /// All in the session.
    All,
    /// This connection.
    One(ConnectionId),
    /// These connections.
    Only(&'a HashSet<ConnectionId>),
    /// All but these connections.
    Except(&'a HashSet<ConnectionId>),
}

/// A connection as its project's servers see it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its id, age and data.
    pub info: Arc<ConnectionInfo>,
    /// What it may do.
    pub role: Role,
    /// Name of the transport of its link.
    pub transport: &'static str,
}

impl Listed {
    pub(crate) fn of(member: &Member) -> Self {
        Self { info: member.info.clone(), role: member.role, transport: member.transport }
    }
}

impl Relay {
    /// Sends a signal that has no sender. `now` is as with [`Connection::signal`]. Returns which
    /// of the recipients in a list could not be reached: not connected, or receiving nothing.
    ///
    /// [`Connection::signal`]: crate::Connection::signal
    ///
    /// # Errors
    /// [`Refused`] if nobody gets it.
    pub fn signal_from_server(
        &self,
        session: &SessionId,
        to: Recipients<'_>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<Vec<ConnectionId>, Refused> {
        signal.check()?;
        let session = self.0.find(session).ok_or(Refused::NobodyThere)?;
        if !session.rate().take(now) {
            return Err(Refused::ProjectRateLimited);
        }
        session.with(&self.0, |members| members.signal_from_server(to, signal, now))
    }

    /// Ends a connection.
    ///
    /// # Errors
    /// [`Refused::NotFound`] if it is not in the session.
    pub fn force_disconnect(
        &self,
        session: &SessionId,
        target: ConnectionId,
        now: Duration,
    ) -> Result<(), Refused> {
        let disconnect = |session: Arc<Session>| {
            session.with(&self.0, |members| members.force_disconnect(target, now))
        };
        let found = self.0.find(session).is_some_and(disconnect);
        if found { Ok(()) } else { Err(Refused::NotFound(target)) }
    }

    /// Who is in a session, oldest first; nobody if there is no such session.
    pub fn connections(&self, session: &SessionId) -> Vec<Listed> {
        let session = self.0.find(session);
        session.map(|it| it.with(&self.0, |members| members.list())).unwrap_or_default()
    }
}
