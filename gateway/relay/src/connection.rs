//! A connection: one client's membership in a session, in the hands of its link.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{
    CloseReason, ConnectionId, ErrorCode, GatewayMessage, Role, Signal, signal::InvalidSignal,
};

use crate::{rate::Bucket, relay::Relay, session::Session};

/// A membership. It exists until it is consumed by [`Connection::leave`] or
/// [`Connection::lost`], or until somebody ends it, which its outbox tells.
pub struct Connection {
    relay: Relay,
    session: Arc<Session>,
    id: ConnectionId,
    role: Role,
    /// Signals that the client has sent, refused ones included: the last sequence number.
    sent: u64,
    bucket: Option<Bucket>,
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
    pub(crate) fn new(relay: Relay, session: Arc<Session>, id: ConnectionId, role: Role) -> Self {
        let bucket = Bucket::new(relay.0.settings.signals_per_second);
        Self { relay, session, id, role, sent: 0, bucket, left: false }
    }

    /// Its id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// How many signals the client has sent, those included that were refused.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends a signal to all in the session (the sender included) or to one connection.
    ///
    /// `now` is the time since any fixed moment of the caller's choice. When this returns, the
    /// signal is in the outbox of every receiver; receivers whose outbox was full have been ended.
    ///
    /// # Errors
    /// [`SignalError::Refused`] if nobody gets it, by the sender's fault.
    pub fn signal(
        &mut self,
        to: Option<ConnectionId>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<(), SignalError> {
        self.sent += 1;
        let seq = self.sent;
        let refused = |refused| SignalError::Refused { seq, refused };
        self.allowed(&signal, now).map_err(refused)?;
        let mut members = self.session.lock();
        let delivered = match to {
            None => members.signal_all(self.id, seq, signal),
            Some(to) => members.signal_one(self.id, to, seq, signal).map_err(refused)?,
        };
        if delivered { Ok(()) } else { Err(SignalError::Ended) }
    }

    fn allowed(&mut self, signal: &Signal<'_>, now: Duration) -> Result<(), Refused> {
        let settings = &self.relay.0.settings;
        let may_send = match self.role {
            Role::Publisher | Role::Moderator => true,
            Role::Subscriber => settings.subscribers_may_send,
            Role::PublisherOnly => false,
        };
        if !may_send {
            return Err(Refused::MayNotSend(self.role));
        }
        if let Some(bucket) = &mut self.bucket
            && !bucket.take(now)
        {
            return Err(Refused::RateLimited(settings.signals_per_second));
        }
        signal.check()?;
        // Last, so that what is refused anyway takes nothing from the others of the project.
        if self.session.rate().take(now) { Ok(()) } else { Err(Refused::ProjectRateLimited) }
    }

    /// Ends another connection of the session, or this one.
    ///
    /// # Errors
    /// [`Refused`] if this connection is not a moderator or the other is not there.
    pub fn force_disconnect(&self, target: ConnectionId) -> Result<(), Refused> {
        if self.role != Role::Moderator {
            return Err(Refused::MayNotDisconnect(self.role));
        }
        if self.session.lock().force_disconnect(target) {
            Ok(())
        } else {
            Err(Refused::NotFound(target))
        }
    }

    /// Puts an error into this connection's own outbox, behind what waits there.
    pub fn tell_error(&self, signal: Option<u64>, code: ErrorCode, message: &str) {
        let message = GatewayMessage::Error { signal, code, message: message.into() };
        self.session.lock().tell(self.id, message);
    }

    /// Ends the membership for a known reason.
    pub fn leave(mut self, reason: CloseReason) {
        self.end(reason);
    }

    /// The link is lost, and the client did not say goodbye. With a resume window this is where
    /// the connection would wait for its next link; without one it ends.
    pub fn lost(mut self) {
        self.end(CloseReason::NetworkDisconnected);
    }

    fn end(&mut self, reason: CloseReason) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let empty = {
            let mut members = self.session.lock();
            members.leave(self.id, reason);
            members.close_if_empty()
        };
        if empty {
            self.relay.0.forget(&self.session);
        }
        self.relay.0.count_out(self.session.id().project());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end(CloseReason::NetworkDisconnected);
    }
}
