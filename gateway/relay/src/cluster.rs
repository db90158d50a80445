//! The relay in a cluster: sessions that are shared with other gateways.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::{ConnectionId, ProjectKey, SessionId};

use crate::{
    backplane::Backplane,
    context::ClusterContext,
    directory::{Directory, SessionHandle},
    error::{JoinError, RestoreError},
    instance::Instance,
    observer::Observer,
    relay::Relay,
    session::{SessionState, closed_sessions::ClosedSessions},
    settings::Settings,
    update::{SessionUpdate, Update},
    usage::ProjectUse,
};

/// Keeps a session open on this gateway, even without members. Dropping it ends that.
pub struct Hold {
    session: SessionHandle,
    /// Whether this hold has opened the session.
    first: bool,
}

impl Hold {
    /// Whether the session was not open on this gateway before.
    pub fn is_first(&self) -> bool {
        self.first
    }
}

/// The result of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was applied.
    Done,
    /// It was applied, and the session has connections of lost gateways.
    Orphans,
    /// The session is not open on this gateway.
    NotOpen,
}

/// Numbers for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterSummary {
    /// Sessions that are open on this gateway.
    pub open: usize,
    /// Those that are open on another gateway as well.
    pub shared: usize,
    /// Gaps in the signals of other gateways that were reported to sessions.
    pub gaps: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.session.with(SessionState::release);
    }
}

impl Relay {
    /// An empty relay of a gateway in a cluster.
    ///
    /// # Panics
    /// Never; the gateway's name in `settings` is replaced by the instance's.
    pub fn clustered(
        mut settings: Settings,
        observer: Arc<dyn Observer>,
        instance: Instance,
        backplane: Arc<dyn Backplane>,
    ) -> Self {
        settings.gateway = instance.gateway.clone();
        let closed_sessions = ClosedSessions::default();
        let (cut_off, gaps) = (AtomicBool::new(false), AtomicU64::new(0));
        let confirmed = Mutex::default();
        let cluster =
            ClusterContext { instance, backplane, closed_sessions, cut_off, gaps, confirmed };
        Self::with_directory(Directory::new(settings, observer, Some(cluster)))
    }

    /// Opens a session on this gateway, and keeps it open.
    ///
    /// # Errors
    /// [`JoinError`] if the gateway shuts down or the project has too many sessions.
    pub fn hold(&self, session: &SessionId) -> Result<Hold, JoinError> {
        if self.directory().is_closing() {
            return Err(JoinError::ShuttingDown);
        }
        loop {
            let first = self.directory().find(session).is_none();
            let session = self.directory().open(session)?;
            if session.with(|state| state.hold(first)) {
                return Ok(Hold { session, first });
            }
            // It was closed after it was found, and has left the directory.
        }
    }

    /// The other gateways have answered to the opening of a session.
    pub fn opened(&self, session: &SessionId) {
        if let Some(session) = self.directory().find(session) {
            session.with(SessionState::finish_opening);
        }
    }

    /// Adds another gateway to a session, and sends it this gateway's part. `false` if the session
    /// is not open on this gateway.
    pub fn share(&self, session: &SessionId, peer: &Instance, now: Duration) -> bool {
        let session = self.directory().find(session);
        session.is_some_and(|session| {
            session.with(|state| {
                state.share(peer, now);
            });
            true
        })
    }

    /// Applies an update from another gateway. An update of a session that is not open on this
    /// gateway has no effect.
    pub fn apply(
        &self,
        session: &SessionId,
        from: &Instance,
        update: SessionUpdate<'_>,
        now: Duration,
    ) -> Applied {
        let brings_orphans = matches!(update.0, Update::Part(_) | Update::Closed);
        let Some(session) = self.directory().find(session) else { return Applied::NotOpen };
        session.with(|state| {
            state.apply(from, update.0, now);
            if brings_orphans && state.has_orphans() { Applied::Orphans } else { Applied::Done }
        })
    }

    /// Another gateway has left a session, or does not have it. It remembers these connections as
    /// destroyed. Returns whether some of its connections are kept for a moment, as they may have
    /// moved to a third gateway.
    pub fn peer_left(
        &self,
        session: &SessionId,
        peer: &Instance,
        destroyed: Vec<ConnectionId>,
        now: Duration,
    ) -> bool {
        let session = self.directory().find(session);
        session.is_some_and(|session| {
            session.with(|state| {
                state.bury_all(destroyed, now);
                state.peer_left(peer, now)
            })
        })
    }

    /// Another gateway is lost. Its resumable connections are kept for their orphan windows; all
    /// others end. Returns the sessions in which connections are kept.
    pub fn peer_lost(&self, peer: &Instance, now: Duration) -> Vec<SessionId> {
        let sessions = self.directory().all().into_iter();
        let kept = sessions.filter(|session| session.with(|state| state.peer_lost(peer, now)));
        kept.map(|session| session.id().clone()).collect()
    }

    /// Another gateway has lost a gateway, too: sends it the parts of the sessions that have
    /// connections of the lost one.
    pub fn share_orphans(&self, lost: &Instance, peer: &Instance, now: Duration) {
        for session in self.directory().all() {
            session.with(|state| state.share_orphans(lost, peer, now));
        }
    }

    /// This gateway is connected with the others, or has been cut off since a time. In the latter
    /// case, its connections in shared sessions end when the others report them as destroyed. Returns
    /// the sessions with connections that may have been resumed on another gateway meanwhile.
    pub fn fence(&self, cut_off_since: Option<Duration>, now: Duration) -> Vec<SessionId> {
        if let Some(cluster) = &self.directory().context().cluster {
            // Relaxed: a call that has not seen it yet is one that came before.
            cluster.cut_off.store(cut_off_since.is_some(), Ordering::Relaxed);
        }
        let Some(since) = cut_off_since else { return Vec::new() };
        let sessions = self.directory().all().into_iter();
        let kept = sessions.filter(|session| {
            session.with(|state| {
                state.fence(since, now);
                state.has_orphans()
            })
        });
        kept.map(|session| session.id().clone()).collect()
    }

    /// Tells the other gateways what clients without cursors of their own have confirmed since the
    /// last call. What they do not know yet when this gateway is lost is sent to such a client again.
    pub fn publish_confirmed(&self) {
        let Some(cluster) = &self.directory().context().cluster else { return };
        let sessions = std::mem::take(&mut *cluster.confirmed.lock());
        for session in sessions.iter().filter_map(|session| self.directory().find(session)) {
            session.with(SessionState::publish_confirmed);
        }
    }

    /// Ends the kept connections of lost gateways whose orphan windows have passed. Returns whether
    /// some are left.
    pub fn expire_orphans(&self, session: &SessionId, now: Duration) -> bool {
        let session = self.directory().find(session);
        session.is_some_and(|session| session.with(|state| state.expire_orphans(now)))
    }

    /// The history of a session, for a gateway that has just opened it.
    pub fn export_history(&self, session: &SessionId) -> Option<Vec<u8>> {
        let session = self.directory().find(session)?;
        let exported = session.with(|state| state.export_history());
        postcard::to_stdvec(&exported).ok()
    }

    /// Prepends the history of another gateway to that of a session that has just been opened here.
    /// Without effect if the session has members here already.
    ///
    /// # Errors
    /// The bytes are not an exported history.
    pub fn import_history(
        &self,
        session: &SessionId,
        bytes: &[u8],
        now: Duration,
    ) -> Result<(), RestoreError> {
        let exported = postcard::from_bytes(bytes).map_err(|_| RestoreError::Damaged)?;
        if let Some(session) = self.directory().find(session) {
            session.with(|state| state.import_history(exported, now));
        }
        Ok(())
    }

    /// The gateway of a session from which a gateway that has just opened it takes the history.
    pub fn history_donor(&self, session: &SessionId) -> Option<Instance> {
        let session = self.directory().find(session)?;
        session.with(|state| state.history_donor().cloned())
    }

    /// The other gateways of a session.
    pub fn peers(&self, session: &SessionId) -> Vec<Instance> {
        let session = self.directory().find(session);
        session.map(|session| session.with(|state| state.peers().to_vec())).unwrap_or_default()
    }

    /// Whether a connection is on this gateway.
    pub fn is_local(&self, session: &SessionId, connection: ConnectionId) -> bool {
        let session = self.directory().find(session);
        session.is_some_and(|session| session.with(|state| state.is_local(connection)))
    }

    /// Usage of the projects that use a considerable part of a limit, for the other gateways.
    /// `elapsed` is the time since the last call.
    pub fn project_usage(&self, elapsed: Duration) -> Vec<(ProjectKey, ProjectUse)> {
        self.directory().usage(elapsed)
    }

    /// Counts the usage of projects on the other gateways against their limits from now on. `others`
    /// is the number of those gateways.
    pub fn set_usage_elsewhere(&self, elsewhere: HashMap<ProjectKey, ProjectUse>, others: u32) {
        self.directory().set_usage_elsewhere(elsewhere, others);
    }

    /// Sessions with resumable connections that no other gateway has open.
    pub fn unshared_sessions(&self) -> Vec<SessionId> {
        let sessions = self.directory().all().into_iter();
        let unshared = sessions.filter(|it| it.with(|state| state.needs_handover()));
        unshared.map(|session| session.id().clone()).collect()
    }

    /// Sessions that are not open on this gateway, but of which it remembers destroyed connections.
    pub fn closed_sessions(&self) -> Vec<SessionId> {
        let cluster = self.directory().context().cluster.as_ref();
        cluster.map(|cluster| cluster.closed_sessions.ids()).unwrap_or_default()
    }

    /// The destroyed connections of a session that is not open on this gateway.
    pub fn destroyed(&self, session: &SessionId) -> Vec<ConnectionId> {
        let cluster = self.directory().context().cluster.as_ref();
        cluster.map(|cluster| cluster.closed_sessions.destroyed(session)).unwrap_or_default()
    }

    /// The tickets of evicted connections, of one session or of all, for a gateway that may not know
    /// them. None if there are none.
    pub fn export_evicted(&self, session: Option<&SessionId>) -> Option<Vec<u8>> {
        let evicted = self.directory().context().evicted.export(session);
        if evicted.is_empty() { None } else { postcard::to_stdvec(&evicted).ok() }
    }

    /// Remembers the evicted connections that another gateway has exported.
    ///
    /// # Errors
    /// The bytes are not an export.
    pub fn import_evicted(&self, bytes: &[u8]) -> Result<(), RestoreError> {
        let evicted = postcard::from_bytes(bytes).map_err(|_| RestoreError::Damaged)?;
        self.directory().context().evicted.import(evicted);
        Ok(())
    }

    /// The numbers of sessions and of gaps.
    pub fn cluster_summary(&self) -> ClusterSummary {
        let sessions = self.directory().all();
        let is_shared =
            |it: &&SessionHandle| it.with(|state: &mut SessionState| !state.peers().is_empty());
        let cluster = self.directory().context().cluster.as_ref();
        ClusterSummary {
            open: sessions.len(),
            shared: sessions.iter().filter(is_shared).count(),
            // Relaxed: it is a statistic.
            gaps: cluster.map_or(0, |it| it.gaps.load(Ordering::Relaxed)),
        }
    }

    /// All sessions that are open on this gateway.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.directory().all().iter().map(|session| session.id().clone()).collect()
    }
}
