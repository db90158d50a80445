//! The directory: all sessions by id, and the usage of each project.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::{ConnectionInfo, ProjectKey, SessionId};

use crate::{
    context::{ClusterContext, RelayContext},
    error::JoinError,
    link_turns::LinkTurns,
    observer::Observer,
    project::ProjectTable,
    rate::SharedRateLimiter,
    session::{Gone, Session, SessionState, history::HistoryBounds, roster::RosterChange},
    settings::{ProjectLimits, Settings},
    usage::ProjectUse,
};

/// Sessions that are listed under one lock; some ten microseconds.
const LISTED: usize = 256;

/// The sessions of a relay. Its lock and the lock of a session are never held together.
pub(crate) struct Directory {
    context: Arc<RelayContext>,
    state: Mutex<DirectoryState>,
}

struct DirectoryState {
    /// In the order of their ids, so that a part of them can be listed under a lock, and the next part
    /// under another one.
    sessions: BTreeMap<SessionId, Arc<Session>>,
    projects: ProjectTable,
    closing: bool,
}

impl Directory {
    pub(crate) fn new(
        settings: Settings,
        observer: Arc<dyn Observer>,
        cluster: Option<ClusterContext>,
    ) -> Self {
        let state = DirectoryState {
            sessions: BTreeMap::new(),
            projects: ProjectTable::new(settings.project),
            closing: false,
        };
        let context = Arc::new(RelayContext::new(settings, observer, cluster));
        Self { context, state: Mutex::new(state) }
    }

    pub(crate) fn context(&self) -> &RelayContext {
        &self.context
    }

    /// Replaces the settings.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.state.lock().projects.set_default(settings.project);
        self.context.set_settings(settings);
    }

    pub(crate) fn set_limits(&self, own: HashMap<ProjectKey, ProjectLimits>) {
        self.state.lock().projects.set_limits(own);
    }

    /// Replaces the usage of projects on other gateways.
    pub(crate) fn set_usage_elsewhere(
        &self,
        elsewhere: HashMap<ProjectKey, ProjectUse>,
        others: u32,
    ) {
        self.state.lock().projects.set_elsewhere(elsewhere, others);
    }

    /// Usage of the projects on this gateway.
    pub(crate) fn usage(&self, elapsed: Duration) -> Vec<(ProjectKey, ProjectUse)> {
        self.state.lock().projects.report(elapsed)
    }

    /// Number of sessions and of connections.
    pub(crate) fn len(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.sessions.len(), state.projects.connections())
    }

    /// Adds a connection with this connection data to its project's usage.
    pub(crate) fn add_connection(&self, project: &ProjectKey, data: &str) -> Result<(), JoinError> {
        let mut state = self.state.lock();
        if state.closing {
            return Err(JoinError::ShuttingDown);
        }
        state.projects.enter(project, data)
    }

    /// Subtracts a connection from its project's usage.
    pub(crate) fn subtract_connection(&self, project: &ProjectKey, data: &str) {
        self.state.lock().projects.leave(project, data);
    }

    /// Rejects all joins from now on. Returns all sessions.
    pub(crate) fn close(self: &Arc<Self>) -> Vec<SessionHandle> {
        self.state.lock().closing = true;
        self.all()
    }

    /// All sessions.
    pub(crate) fn all(self: &Arc<Self>) -> Vec<SessionHandle> {
        self.state.lock().sessions.values().map(|session| self.handle(session)).collect()
    }

    /// The next sessions in the order of their ids, at most [`LISTED`]; none if there are no more.
    pub(crate) fn after(self: &Arc<Self>, after: Option<&SessionId>) -> Vec<SessionHandle> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let sessions = state.sessions.range::<SessionId, _>((start, Bound::Unbounded)).take(LISTED);
        sessions.map(|(_, session)| self.handle(session)).collect()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// The session, if it has members.
    pub(crate) fn find(self: &Arc<Self>, id: &SessionId) -> Option<SessionHandle> {
        self.state.lock().sessions.get(id).map(|session| self.handle(session))
    }

    /// The session; creates it if necessary.
    pub(crate) fn open(self: &Arc<Self>, id: &SessionId) -> Result<SessionHandle, JoinError> {
        let mut state = self.state.lock();
        if let Some(session) = state.sessions.get(id) {
            return Ok(self.handle(session));
        }
        let (rate, age) = state.projects.open(id.project())?;
        let session = self.new_session(id, rate, age);
        state.sessions.insert(id.clone(), session.clone());
        Ok(self.handle(&session))
    }

    /// Adds a restored session and its connections, regardless of the limits. `None` if the session
    /// exists already.
    pub(crate) fn reopen<'a>(
        self: &Arc<Self>,
        id: &SessionId,
        connections: impl Iterator<Item = &'a ConnectionInfo>,
    ) -> Option<SessionHandle> {
        let mut state = self.state.lock();
        if state.sessions.contains_key(id) {
            return None;
        }
        let (rate, age) = state.projects.reopen(id.project());
        for info in connections {
            state.projects.arrive(id.project(), &info.data);
        }
        let session = self.new_session(id, rate, age);
        state.sessions.insert(id.clone(), session.clone());
        Some(self.handle(&session))
    }

    fn new_session(
        &self,
        id: &SessionId,
        rate: Arc<SharedRateLimiter>,
        age: Duration,
    ) -> Arc<Session> {
        let bounds = HistoryBounds { bytes: self.context.settings().history_bytes, age };
        Arc::new(Session::new(id.clone(), self.context.clone(), rate, bounds))
    }

    fn handle(self: &Arc<Self>, session: &Arc<Session>) -> SessionHandle {
        SessionHandle { directory: self.clone(), session: session.clone() }
    }

    /// Applies the changes of a session.
    fn apply(&self, session: &Arc<Session>, gone: Gone) {
        if gone.closed {
            self.remove(session);
        }
        if gone.changes.is_empty() {
            return;
        }
        let (project, mut state) = (session.id().project(), self.state.lock());
        for change in gone.changes {
            match change {
                RosterChange::Removed(info) => state.projects.leave(project, &info.data),
                RosterChange::Taken(info) => state.projects.arrive(project, &info.data),
            }
        }
    }

    /// Removes a closed session, unless a new session with its id has replaced it.
    fn remove(&self, closed: &Arc<Session>) {
        let mut state = self.state.lock();
        let id = closed.id();
        if state.sessions.get(id).is_some_and(|session| Arc::ptr_eq(session, closed)) {
            state.sessions.remove(id);
            state.projects.close(id.project());
        }
    }
}

/// A session together with its directory.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    directory: Arc<Directory>,
    session: Arc<Session>,
}

impl SessionHandle {
    pub(crate) fn id(&self) -> &SessionId {
        self.session.id()
    }

    /// Whether the session's links are so far behind that its senders should wait.
    pub(crate) fn is_lagging(&self) -> bool {
        self.session.is_lagging()
    }

    /// The turns of a link of the session.
    pub(crate) fn link_turns(&self) -> LinkTurns {
        LinkTurns::new(self.directory.context.clone(), self.session.turns().clone())
    }

    /// Locks the session for `act`, then applies departures to the directory.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut SessionState) -> T) -> T {
        let (result, gone) = self.session.with(act);
        self.directory.apply(&self.session, gone);
        result
    }
}
