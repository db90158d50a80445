//! The directory: which sessions there are, and what each project uses.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use signalbox_protocol::{
    CloseReason, ConnectionInfo, GatewayId, ProjectKey, Role, SessionId, Transport,
};

use crate::{
    backlog::Bounds,
    connection::Connection,
    dismissed::Dismissed,
    encode::Encoding,
    member::{Attached, Member},
    observer::Observer,
    outbox::Outbox,
    project::{ProjectLimits, Projects},
    rate::{Bucket, Shared as Rate},
    session::Session,
};

/// What the relay allows. Every number is at least 1 unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The gateway's name, which the signals of servers carry.
    pub gateway: GatewayId,
    /// Connections that one session may have.
    pub connections_per_session: usize,
    /// What each project may use, unless it has [limits of its own](Relay::set_limits).
    pub project: ProjectLimits,
    /// Frames that may wait for one connection; one more ends it as a slow consumer.
    pub outbox_frames: usize,
    /// Bytes that may wait for one connection; more end it as a slow consumer.
    pub outbox_bytes: usize,
    /// Signals per second that one connection may send, on average over a second; 0 means no
    /// limit. What is over is refused as rate limited.
    pub signals_per_second: u32,
    /// Whether subscribers may send signals. The vendor's documents leave it open.
    pub subscribers_may_send: bool,
    /// Bytes that a session keeps for those who are away.
    pub backlog_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gateway: GatewayId::default(),
            // The vendor's present limit.
            connections_per_session: 15_000,
            project: ProjectLimits::default(),
            outbox_frames: 4096,
            outbox_bytes: 1024 * 1024,
            signals_per_second: 0,
            subscribers_may_send: false,
            backlog_bytes: 1024 * 1024,
        }
    }
}

/// The relay core. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Relay(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) observer: Arc<dyn Observer>,
    directory: Mutex<Directory>,
    pub(crate) dismissed: Dismissed,
}

struct Directory {
    sessions: HashMap<SessionId, Arc<Session>>,
    projects: Projects,
    closing: bool,
}

/// Who joins which session, and how it wants to be told things.
#[derive(Debug, Clone)]
pub struct Join {
    /// The session.
    pub session: SessionId,
    /// The connection as the others will see it. Its id must be unique: a random UUID.
    pub info: ConnectionInfo,
    /// What it may do.
    pub role: Role,
    /// Whether it wants to hear of others coming and going.
    pub presence: bool,
    /// The form of what is pushed to its outbox.
    pub encoding: Encoding,
    /// Transport of its link, for the list of connections.
    pub transport: Transport,
}

/// A new connection.
pub struct Joined {
    /// The membership. Dropping it ends it as [`CloseReason::NetworkDisconnected`].
    pub connection: Connection,
    /// What the relay has for it from now on.
    pub outbox: Outbox,
    /// Who was there before, oldest first; empty if it wants no presence.
    pub present: Vec<Arc<ConnectionInfo>>,
}

/// Why nobody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The session has as many connections as it may have.
    #[error("the session has as many connections as it may have")]
    SessionFull,
    /// The project has as many connections as it may have.
    #[error("the project has as many connections as it may have")]
    ProjectFull,
    /// The session would be one more than the project may have.
    #[error("the project has as many sessions as it may have")]
    TooManySessions,
    /// The relay is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl JoinError {
    /// The reason that the client is told.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::SessionFull | Self::ProjectFull | Self::TooManySessions => {
                CloseReason::ConnectionLimit
            }
            Self::ShuttingDown => CloseReason::ShuttingDown,
        }
    }
}

/// How much the relay holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Sessions with at least one connection.
    pub sessions: usize,
    /// Connections, in all sessions.
    pub connections: usize,
}

impl Relay {
    /// An empty relay. `observer` hears of every connection.
    pub fn new(settings: Settings, observer: Arc<dyn Observer>) -> Self {
        let directory = Directory {
            sessions: HashMap::new(),
            projects: Projects::new(settings.project),
            closing: false,
        };
        let directory = Mutex::new(directory);
        Self(Arc::new(Shared { settings, observer, directory, dismissed: Dismissed::default() }))
    }

    /// Gives projects limits of their own, in place of those given before; the others have those
    /// of [`Settings::project`]. Who is connected stays, even where there are too many now.
    pub fn set_limits(&self, own: HashMap<ProjectKey, ProjectLimits>) {
        self.0.directory.lock().projects.set_limits(own);
    }

    /// Adds a connection to a session, which exists from its first connection on.
    ///
    /// The others are told (`connectionCreated`) before this returns, and what they send from
    /// then on is in the outbox.
    ///
    /// # Errors
    /// [`JoinError`], and then nothing has changed.
    pub fn join(&self, join: Join, now: Duration) -> Result<Joined, JoinError> {
        let Settings { connections_per_session, outbox_frames, outbox_bytes, .. } = self.0.settings;
        let outbox = Outbox::new(outbox_frames, outbox_bytes);
        self.0.count_in(join.session.project())?;
        loop {
            let session = self.0.open(&join.session)?;
            let joined = session.with(&self.0, |members| {
                if members.is_closed() {
                    return None;
                }
                if members.len() >= connections_per_session {
                    return Some(Err(JoinError::SessionFull));
                }
                let Join { ref info, role, presence, encoding, transport, .. } = join;
                let member = Member {
                    info: Arc::new(info.clone()),
                    role,
                    presence,
                    link: Some(Attached { encoding, outbox: outbox.clone() }),
                    transport,
                    codec: encoding.codec(),
                    generation: 0,
                    sent: 0,
                    bucket: Bucket::new(self.0.settings.signals_per_second),
                    joined_at: 0,
                    joined_event: 0,
                    kept: None,
                };
                Some(Ok(members.join(member, now)))
            });
            let present = match joined {
                // Its last connection left between our two looks: the directory has, or is about
                // to get, another session of that id.
                None => {
                    self.0.forget(&session);
                    continue;
                }
                Some(Err(error)) => {
                    self.0.count_out(join.session.project(), 1);
                    return Err(error);
                }
                Some(Ok(present)) => present,
            };
            if self.0.is_closing() {
                // The end of all may have passed this session before the member was in it.
                outbox.end(CloseReason::ShuttingDown);
            }
            let connection = Connection::new(self.clone(), session, join.info.id, 0, 0);
            return Ok(Joined { connection, outbox, present });
        }
    }

    /// Ends every connection with [`CloseReason::ShuttingDown`] and lets nobody in any more.
    pub fn shut_down(&self) {
        for session in self.0.close() {
            session.with(&self.0, |members| members.end_all(CloseReason::ShuttingDown));
        }
    }

    /// How much the relay holds now.
    pub fn stats(&self) -> Stats {
        let directory = self.0.directory.lock();
        Stats { sessions: directory.sessions.len(), connections: directory.projects.connections() }
    }
}

// The directory's lock and a session's are never held together.
impl Shared {
    fn count_in(&self, project: &ProjectKey) -> Result<(), JoinError> {
        let mut directory = self.directory.lock();
        if directory.closing {
            return Err(JoinError::ShuttingDown);
        }
        directory.projects.enter(project)
    }

    pub(crate) fn count_out(&self, project: &ProjectKey, connections: usize) {
        self.directory.lock().projects.leave(project, connections);
    }

    /// Lets nobody in any more. Returns all sessions.
    pub(crate) fn close(&self) -> Vec<Arc<Session>> {
        let mut directory = self.directory.lock();
        directory.closing = true;
        directory.sessions.values().cloned().collect()
    }

    /// Puts a session with so many connections into the directory, whatever the limits say: they
    /// have been let in before. `None` if there is one of that name already.
    pub(crate) fn reopen(&self, id: &SessionId, connections: usize) -> Option<Arc<Session>> {
        let mut directory = self.directory.lock();
        if directory.sessions.contains_key(id) {
            return None;
        }
        let (rate, age) = directory.projects.reopen(id.project(), connections);
        let session = self.new_session(id, rate, age);
        directory.sessions.insert(id.clone(), session.clone());
        Some(session)
    }

    fn new_session(&self, id: &SessionId, rate: Arc<Rate>, age: Duration) -> Arc<Session> {
        let bounds = Bounds { bytes: self.settings.backlog_bytes, age };
        Arc::new(Session::new(id.clone(), rate, self.observer.clone(), bounds))
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.directory.lock().closing
    }

    /// The session, if somebody is in it.
    pub(crate) fn find(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.directory.lock().sessions.get(id).cloned()
    }

    /// The session, for somebody who has been counted in; on an error he is counted out.
    fn open(&self, id: &SessionId) -> Result<Arc<Session>, JoinError> {
        let mut directory = self.directory.lock();
        if let Some(session) = directory.sessions.get(id) {
            return Ok(session.clone());
        }
        match directory.projects.open(id.project()) {
            Ok((rate, age)) => {
                let session = self.new_session(id, rate, age);
                directory.sessions.insert(id.clone(), session.clone());
                Ok(session)
            }
            Err(error) => {
                directory.projects.leave(id.project(), 1);
                Err(error)
            }
        }
    }

    /// Drops a closed session from the directory, unless another has taken its place.
    pub(crate) fn forget(&self, closed: &Arc<Session>) {
        let mut directory = self.directory.lock();
        let id = closed.id();
        if directory.sessions.get(id).is_some_and(|session| Arc::ptr_eq(session, closed)) {
            directory.sessions.remove(id);
            directory.projects.close(id.project());
        }
    }
}
