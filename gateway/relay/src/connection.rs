//! A connection: one client's membership in a session, in the hands of its link.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{
    CloseReason, ConnectionId, ErrorCode, GatewayMessage, Role, Signal, signal::InvalidSignal,
};

use crate::{refusals::Refusal, relay::Relay, session::Session};

/// A membership in the hands of its link. It exists until it is consumed by [`Connection::leave`]
/// or [`Connection::lost`], or until somebody ends it, which its outbox tells.
pub struct Connection {
    relay: Relay,
    session: Arc<Session>,
    id: ConnectionId,
    /// Which of the connection's links this is.
    generation: u64,
    /// Signals that the client has sent, refused ones included: the last sequence number.
    sent: u64,
    left: bool,
}

/// Why something that a client wants is not done. Its link and its connection stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The signal breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSignal),
    /// The connection that was meant is not in the session.
    #[error("connection {0} is not in the session")]
    NotFound(ConnectionId),
    /// The connection that was meant receives no signals, by its role.
    #[error("connection {0} receives no signals")]
    DoesNotReceive(ConnectionId),
    /// The role may not send signals.
    #[error("the role {} may not send signals", .0.name())]
    MayNotSend(Role),
    /// The role may not disconnect others.
    #[error("the role {} may not disconnect others", .0.name())]
    MayNotDisconnect(Role),
    /// The connection sends more than it may.
    #[error("more than {0} signals per second")]
    RateLimited(u32),
    /// All of the project together send more than it may.
    #[error("the project sends more signals per second than it may")]
    ProjectRateLimited,
    /// Nobody is in the session that was meant.
    #[error("nobody is in the session")]
    NobodyThere,
    /// None of the connections that were meant is in the session and receives signals.
    #[error("none of the connections is in the session and receives signals")]
    NoneReached,
}

impl Refused {
    /// The code that the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::NotFound(_) | Self::NobodyThere | Self::NoneReached => ErrorCode::NotFound,
            Self::DoesNotReceive(_) | Self::MayNotSend(_) | Self::MayNotDisconnect(_) => {
                ErrorCode::Forbidden
            }
            Self::RateLimited(_) | Self::ProjectRateLimited => ErrorCode::RateLimited,
        }
    }
}

/// Why a signal went nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// It was refused; the client is to be told.
    #[error("signal {seq} refused: {refused}")]
    Refused {
        /// The sequence number of the signal.
        seq: u64,
        /// Why.
        #[source]
        refused: Refused,
    },
    /// Somebody has ended the connection; the outbox has the reason.
    #[error("the connection has ended")]
    Ended,
}

impl Connection {
    pub(crate) fn new(
        relay: Relay,
        session: Arc<Session>,
        id: ConnectionId,
        generation: u64,
        sent: u64,
    ) -> Self {
        Self { relay, session, id, generation, sent, left: false }
    }

    /// Its id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// How many signals the client has sent over all its links, those included that were refused.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends a signal to all in the session (the sender included) or to one connection.
    ///
    /// `now` is the time since any fixed moment of the caller's choice, here and everywhere. When
    /// this returns, the signal is in the outbox of every receiver, and kept for those who are
    /// away; receivers whose outbox was full have been ended.
    ///
    /// # Errors
    /// [`SignalError::Refused`] if nobody gets it, by the sender's fault.
    pub fn signal(
        &mut self,
        to: Option<ConnectionId>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<(), SignalError> {
        let (sender, relay) = ((self.id, self.generation), &self.relay.0);
        let limits = (self.session.rate(), &relay.settings);
        let result =
            self.session.with(relay, |members| members.signal(sender, to, signal, limits, now));
        match &result {
            Ok(seq) | Err(SignalError::Refused { seq, .. }) => self.sent = *seq,
            Err(SignalError::Ended) => {}
        }
        result.map(|_| ())
    }

    /// Ends another connection of the session, or this one.
    ///
    /// # Errors
    /// [`Refused`] if this connection is not a moderator or the other is not there.
    pub fn force_disconnect(&self, target: ConnectionId, now: Duration) -> Result<(), Refused> {
        let (id, generation) = (self.id, self.generation);
        self.session.with(&self.relay.0, |members| {
            match members.member(id, generation).map(|member| member.role) {
                Some(Role::Moderator)
                    if members.force_disconnect(target, &self.relay.0.dismissed, now) =>
                {
                    Ok(())
                }
                Some(Role::Moderator) => Err(Refused::NotFound(target)),
                Some(role) => Err(Refused::MayNotDisconnect(role)),
                // It has ended itself, and hears of it soon.
                None => Err(Refused::NotFound(target)),
            }
        })
    }

    /// Puts an error into this connection's own outbox, behind what waits there. One about a
    /// signal also counts as that signal's having been taken, and is said again if the link is lost.
    pub fn tell_error(&self, signal: Option<u64>, code: ErrorCode, message: &str) {
        let error = GatewayMessage::Error { signal, code, message: message.into() };
        self.session.with(&self.relay.0, |members| {
            members.tell(self.id, self.generation, error);
            if let Some(signal) = signal {
                let refusal = Refusal { signal, code, message: message.into() };
                members.remember(self.id, self.generation, refusal);
                members.accept(self.id, self.generation, signal);
            }
        });
    }

    /// Puts any other message into this connection's own outbox, behind what waits there.
    pub fn tell(&self, message: GatewayMessage<'_>) {
        self.session.with(&self.relay.0, |members| members.tell(self.id, self.generation, message));
    }

    /// Ends the membership for a known reason.
    pub fn leave(mut self, reason: CloseReason, now: Duration) {
        self.end(reason, Some(now));
    }

    /// Lets the membership be, as it is in other hands now.
    pub(crate) fn forget(mut self) {
        self.left = true;
    }

    fn end(&mut self, reason: CloseReason, now: Option<Duration>) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        self.session.with(&self.relay.0, |members| {
            let now = now.unwrap_or_else(|| members.backlog.latest());
            members.leave(self.id, self.generation, reason, now);
        });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Nobody said what time it is; that of the last event will do.
        self.end(CloseReason::NetworkDisconnected, None);
    }
}
