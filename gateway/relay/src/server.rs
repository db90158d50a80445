//! What a project's servers can do: the relay's side of the REST API.
//!
//! A server is no member of a session. Its signals have no sender, and all servers of a session
//! together count as one: everyone receives their signals in the order in which they came here.

use std::{collections::HashSet, sync::Arc, time::Duration};

use signalbox_protocol::{
    Codec, ConnectionId, ConnectionInfo, GatewayId, Role, SessionId, Signal, Transport,
};

use crate::{
    backlog::Audience,
    connection::Refused,
    encode::Encodings,
    member::Member,
    relay::Relay,
    session::{Members, Session},
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
    /// Transport of its link.
    pub transport: Transport,
    /// Codec of its link.
    pub codec: Codec,
}

impl Listed {
    pub(crate) fn of(member: &Member) -> Self {
        let Member { ref info, role, transport, codec, .. } = *member;
        Self { info: info.clone(), role, transport, codec }
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
        let gateway = &self.0.settings.gateway;
        session.with(&self.0, |members| members.signal_from_server(gateway, to, signal, now))
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
            session
                .with(&self.0, |members| members.force_disconnect(target, &self.0.dismissed, now))
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

impl Members {
    /// Pushes a signal of a server. Those of its listed recipients who are not members, or receive
    /// nothing, are returned.
    pub(crate) fn signal_from_server(
        &mut self,
        gateway: &GatewayId,
        to: Recipients<'_>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<Vec<ConnectionId>, Refused> {
        let mut missing = Vec::new();
        match to {
            Recipients::All | Recipients::Except(_) if self.by_id.is_empty() => {
                return Err(Refused::NobodyThere);
            }
            Recipients::All | Recipients::Except(_) => {}
            Recipients::One(id) => {
                let member = self.by_id.get(&id).ok_or(Refused::NotFound(id))?;
                if !member.receives() {
                    return Err(Refused::DoesNotReceive(id));
                }
            }
            Recipients::Only(ids) => {
                let reached = |id: &ConnectionId| self.by_id.get(id).is_some_and(Member::receives);
                missing.extend(ids.iter().copied().filter(|id| !reached(id)));
                if missing.len() == ids.len() {
                    return Err(Refused::NoneReached);
                }
            }
        }
        self.server_seq += 1;
        let audience = match to {
            Recipients::All => Audience::All,
            Recipients::One(id) => Audience::One(id),
            Recipients::Only(ids) => Audience::Only(Arc::new(ids.clone())),
            Recipients::Except(ids) => Audience::Except(Arc::new(ids.clone())),
        };
        let from = gateway.clone().into();
        self.deliver(Encodings::new(from, self.server_seq, signal), audience, now);
        Ok(missing)
    }

    /// The members, oldest first.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let mut list: Vec<_> = self.by_id.values().map(Listed::of).collect();
        list.sort_by_key(|listed| listed.info.created_at);
        list
    }
}
