//! The relay: joins, resumes, and the operations of the REST API.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, ProjectKey, SessionId, Signal,
};

use crate::{
    census::Census,
    connection::Connection,
    directory::Directory,
    error::{JoinError, RejectionReason, ResumeError},
    join::Join,
    observer::Observer,
    outbox::Outbox,
    receipts::KnownPosition,
    recipients::Recipients,
    resume::{ResumeRequest, Resumed, TicketSecret},
    seat::Seat,
    settings::{ProjectLimits, Settings},
    summary::ConnectionSummary,
};

/// The relay core. Cloning returns another handle to the same relay.
#[derive(Clone)]
pub struct Relay(Arc<Directory>);

/// A new connection.
pub struct Joined {
    /// The membership. Dropping it ends it as [`CloseReason::NetworkDisconnected`].
    pub connection: Connection,
    /// Its outgoing messages.
    pub outbox: Outbox,
    /// The members that joined before it, oldest first; empty if it receives no presence events.
    pub present: Vec<Arc<ConnectionInfo>>,
}

/// Current size of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Sessions with at least one connection.
    pub sessions: usize,
    /// Connections in all sessions.
    pub connections: usize,
}

impl Relay {
    /// An empty relay. `observer` is notified of every connection.
    pub fn new(settings: Settings, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Directory::new(settings, observer, None)))
    }

    pub(crate) fn with_directory(directory: Directory) -> Self {
        Self(Arc::new(directory))
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.0
    }

    /// Replaces the settings, except the name of the gateway. Limits of numbers apply at once; existing
    /// connections and sessions keep their rates, bounds and rights.
    pub fn set_settings(&self, settings: Settings) {
        self.0.set_settings(settings);
    }

    /// Replaces the limits of individual projects. All other projects have
    /// [`Settings::project`]. Existing connections stay, even above the new limits.
    pub fn set_limits(&self, own: HashMap<ProjectKey, ProjectLimits>) {
        self.0.set_limits(own);
    }

    /// Adds a connection to a session. The first connection creates the session.
    ///
    /// Before this returns, the other members have the `connectionCreated` event in their outboxes,
    /// and the new outbox receives all later signals. A resumable connection can be resumed from
    /// then on.
    ///
    /// # Errors
    /// [`JoinError`]. Nothing has changed then.
    pub fn join(&self, join: Join, now: Duration) -> Result<Joined, JoinError> {
        let outbox = {
            let settings = self.0.context().settings();
            Outbox::new(settings.outbox_frames, settings.outbox_bytes)
        };
        let (project, data) = (join.session.project(), &join.info.data);
        self.0.add_connection(project, data)?;
        loop {
            let session = self
                .0
                .open(&join.session)
                .inspect_err(|_| self.0.subtract_connection(project, data))?;
            let present = match session.with(|state| state.join(&join, &outbox, now)) {
                // The last member left after the session was found, which has removed it from the
                // directory. The next look opens a new one.
                None => continue,
                Some(Err(error)) => {
                    self.0.subtract_connection(project, data);
                    return Err(error);
                }
                Some(Ok(present)) => present,
            };
            if self.0.is_closing() {
                // The shutdown may have passed this session before the member was added.
                outbox.close(CloseReason::ShuttingDown);
            }
            let seat = Seat { id: join.info.id, generation: 0 };
            let connection = Connection::new(session, seat, 0);
            return Ok(Joined { connection, outbox, present });
        }
    }

    /// Checks a ticket before the rest of a resume request has been read.
    ///
    /// # Errors
    /// [`ResumeError`] if the ticket belongs to no resumable connection.
    pub fn check_ticket(
        &self,
        session: &SessionId,
        connection: ConnectionId,
        secret: &TicketSecret,
        attempt: u32,
    ) -> Result<(), ResumeError> {
        let found = self.0.find(session).ok_or(ResumeError::InvalidTicket);
        found
            .and_then(|it| it.with(|state| state.check_ticket(connection, secret, attempt)))
            .map_err(|error| self.explain(error, connection, secret))
    }

    /// The position of a client whose receipts are kept, for its resume request.
    ///
    /// # Errors
    /// [`ResumeError`] if the secret belongs to no such connection.
    pub fn known_position(
        &self,
        session: &SessionId,
        connection: ConnectionId,
        secret: &TicketSecret,
    ) -> Result<KnownPosition, ResumeError> {
        let found = self.0.find(session).ok_or(ResumeError::InvalidTicket);
        found
            .and_then(|it| it.with(|state| state.known_position(connection, secret)))
            .map_err(|error| self.explain(error, connection, secret))
    }

    /// Attaches a resumable connection to a new link, and closes its old link if there is one.
    /// Returns the membership for the new link, and the state of the connection.
    ///
    /// # Errors
    /// [`ResumeError`]. Nothing has changed then.
    pub fn resume(
        &self,
        request: &ResumeRequest<'_>,
        now: Duration,
    ) -> Result<(Connection, Resumed), ResumeError> {
        if self.0.is_closing() {
            return Err(ResumeError::ShuttingDown);
        }
        let explain = |error| self.explain(error, request.connection, &request.secret);
        let session =
            self.0.find(request.session).ok_or_else(|| explain(ResumeError::InvalidTicket))?;
        let (seat, resumed) = session.with(|state| state.resume(request, now)).map_err(explain)?;
        if self.0.is_closing() {
            // The shutdown may have passed this session before the link was attached.
            resumed.outbox.close(CloseReason::ShuttingDown);
        }
        let sent = resumed.signals;
        Ok((Connection::new(session, seat, sent), resumed))
    }

    /// The reason why a ticket is invalid, if it is known.
    fn explain(
        &self,
        error: ResumeError,
        connection: ConnectionId,
        secret: &TicketSecret,
    ) -> ResumeError {
        if error != ResumeError::InvalidTicket {
            error
        } else if self.0.context().evicted.contains(connection, secret) {
            ResumeError::Evicted
        } else if self.0.is_closing() {
            // The connection may be in a snapshot, and then its ticket is still valid.
            ResumeError::ShuttingDown
        } else {
            ResumeError::InvalidTicket
        }
    }

    /// Sends a signal from a project's server. All servers of a session on this gateway are one
    /// sender, whose signals every receiver gets in the order of these calls. Returns the listed
    /// recipients that are not connected or do not receive signals. `now` is the same as for
    /// [`Connection::signal`].
    ///
    /// # Errors
    /// [`RejectionReason`] if the signal reaches no receiver.
    pub fn signal_from_server(
        &self,
        session: &SessionId,
        to: Recipients<'_>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<Vec<ConnectionId>, RejectionReason> {
        self.send_from_server(session, to, signal, false, now)
    }

    /// The same for a signal whose latency is to be measured ([`Outbox::written`](crate::Outbox::written)),
    /// as far as its receivers' outboxes are not measuring another one.
    ///
    /// # Errors
    /// As [`Self::signal_from_server`].
    pub fn measured_signal_from_server(
        &self,
        session: &SessionId,
        to: Recipients<'_>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<Vec<ConnectionId>, RejectionReason> {
        self.send_from_server(session, to, signal, true, now)
    }

    fn send_from_server(
        &self,
        session: &SessionId,
        to: Recipients<'_>,
        signal: Signal<'_>,
        measured: bool,
        now: Duration,
    ) -> Result<Vec<ConnectionId>, RejectionReason> {
        signal.check()?;
        let session = self.0.find(session).ok_or(RejectionReason::EmptySession)?;
        session.with(|state| {
            if measured {
                state.measure_next_signal();
            }
            state.signal_from_server(to, signal, now)
        })
    }

    /// Disconnects a connection.
    ///
    /// # Errors
    /// [`RejectionReason::NotFound`] if it is not in the session.
    pub fn force_disconnect(
        &self,
        session: &SessionId,
        target: ConnectionId,
        now: Duration,
    ) -> Result<(), RejectionReason> {
        let session = self.0.find(session);
        let found = session.is_some_and(|it| it.with(|state| state.force_disconnect(target, now)));
        if found { Ok(()) } else { Err(RejectionReason::NotFound(target)) }
    }

    /// The connections of a session, oldest first; none if the session does not exist.
    pub fn connections(&self, session: &SessionId) -> Vec<ConnectionSummary> {
        let session = self.0.find(session);
        session.map(|it| it.with(|state| state.summaries())).unwrap_or_default()
    }

    /// Closes every connection with [`CloseReason::ShuttingDown`] and rejects all joins from now
    /// on. Resumable connections of sessions that other gateways have are left to them.
    pub fn shut_down(&self) {
        for session in self.0.close() {
            session.with(|state| {
                if !state.leave_to_peers() {
                    state.close_all(CloseReason::ShuttingDown);
                }
            });
        }
    }

    /// Gives one session its turn: wakes some of the links that a push to a large session has not
    /// woken. One task of the gateway calls this all the time, and lets all other tasks run between
    /// two turns. Pending while no link waits.
    pub fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.context().turns.poll_turn(cx)
    }

    /// Current number of sessions and connections.
    pub fn stats(&self) -> Stats {
        let (sessions, connections) = self.0.len();
        Stats { sessions, connections }
    }

    /// Signals that have been pushed to connections of this gateway, once for each receiver.
    pub fn deliveries(&self) -> u64 {
        self.0.context().deliveries.sum()
    }

    /// Counts the members of all sessions, one session after another.
    pub fn census(&self) -> Census {
        Census::of(self.0.clone())
    }
}
