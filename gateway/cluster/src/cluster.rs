//! The cluster as one gateway sees it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::SessionId;
use signalbox_relay::{Hold, Instance, JoinError, Relay};
use tracing::{debug, warn};

use crate::{
    barrier::{BarrierId, BarrierTimeout, Barriers},
    handovers::Handovers,
    links::Links,
    message::ChannelMessage,
    opening::{Next, Openings},
    shared_state::SharedState,
    status::ClusterStatus,
    waiting::Waiting,
};

/// Interval of heartbeats.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// A gateway that has not been heard for this time is lost. The others notice it with their next own
/// heartbeat, so within half a second more.
pub const LEASE: Duration = Duration::from_secs(2);

/// Maximum time for the answers of other gateways. A gateway that does not answer is lost before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Minimum time between two new starts of channels.
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// The cluster as one gateway sees it.
///
/// Calls that pass messages of the bus and time ([`Cluster::receive`], [`Cluster::tick`]) come from
/// one task; the others from any.
pub struct Cluster {
    pub(crate) links: Arc<Links>,
    pub(crate) relay: Relay,
    pub(crate) shared: Arc<dyn SharedState>,
    /// Locked before the relay's locks, never under them.
    pub(crate) state: Mutex<ClusterState>,
}

#[derive(Default)]
pub(crate) struct ClusterState {
    pub(crate) openings: Openings,
    pub(crate) handovers: Handovers,
    pub(crate) barriers: Barriers,
    /// Sessions with connections of lost gateways.
    pub(crate) orphaned: HashSet<SessionId>,
    next_heartbeat: Duration,
    next_restart: Duration,
    restarts: u64,
    /// When the last own heartbeat came back, and since when they have come back without a pause.
    pub(crate) echoed: Option<(Duration, Duration)>,
    pub(crate) duplicate: Option<(Instance, Duration)>,
}

impl ClusterState {
    /// Whether this gateway has heard every live gateway: it has been connected to the bus for at
    /// least a lease.
    pub(crate) fn is_settled(&self, now: Duration) -> bool {
        self.echoed.is_some_and(|(at, since)| at >= since + LEASE && now < at + LEASE)
    }
}

impl Cluster {
    /// A cluster of one gateway. `relay` publishes to `links`.
    pub fn new(relay: Relay, links: Arc<Links>) -> Self {
        Self { links, relay, shared: Arc::new(()), state: Mutex::default() }
    }

    /// The same cluster, with state that all gateways share.
    #[must_use]
    pub fn with_shared_state(self, shared: Arc<dyn SharedState>) -> Self {
        Self { shared, ..self }
    }

    /// Sends a message of the shared state to all live gateways.
    pub fn announce(&self, message: &[u8]) {
        for peer in self.links.peers() {
            self.links.send(&peer, &ChannelMessage::State { message });
        }
    }

    pub(crate) fn send_shared_state(&self, peer: &Instance) {
        for message in self.shared.export() {
            self.links.send(peer, &ChannelMessage::State { message: &message });
        }
        self.send_evicted(peer, None);
    }

    /// Tells a peer of the evicted connections of a session, or of all.
    pub(crate) fn send_evicted(&self, peer: &Instance, session: Option<&SessionId>) {
        if let Some(tickets) = self.relay.export_evicted(session) {
            self.links.send(peer, &ChannelMessage::Evicted { tickets: &tickets });
        }
    }

    /// The links of this gateway.
    pub fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// Opens a session on this gateway, for a member, a resuming client or a request, and keeps it
    /// open. Other gateways are asked for their parts; [`Cluster::poll_opened`] tells when they have
    /// answered.
    ///
    /// # Errors
    /// [`JoinError`] if the gateway shuts down or the project has too many sessions.
    pub fn open(&self, session: &SessionId, now: Duration) -> Result<Hold, JoinError> {
        // Under the lock, so that a second caller finds the opening.
        let mut state = self.state.lock();
        let hold = self.relay.hold(session)?;
        if hold.is_first() {
            let peers = self.links.peers();
            if !peers.is_empty() {
                for peer in &peers {
                    self.links.send(peer, &ChannelMessage::Open { session: session.clone() });
                }
                state.openings.begin(session.clone(), peers, now + ANSWER_TIMEOUT);
            } else {
                self.relay.opened(session);
            }
        }
        Ok(hold)
    }

    /// Whether the other gateways have answered to the opening of a session.
    pub fn poll_opened(&self, session: &SessionId, cx: &Context<'_>) -> Poll<()> {
        if self.state.lock().openings.is_opening(session, cx) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Begins a barrier: it is reached once all updates have been applied that the other live
    /// gateways had sent before.
    ///
    /// # Errors
    /// [`BarrierTimeout`] if too many barriers are awaited.
    pub fn begin_barrier(&self, now: Duration) -> Result<BarrierId, BarrierTimeout> {
        let mut state = self.state.lock();
        // Under the lock, so that no gateway is lost meanwhile.
        let peers = self.links.peers();
        let id = state.barriers.begin(Waiting::new(peers.clone(), now + ANSWER_TIMEOUT))?;
        for peer in &peers {
            self.links.send(peer, &ChannelMessage::Barrier { id: id.0 });
        }
        Ok(id)
    }

    /// Whether a barrier is reached.
    ///
    /// # Errors
    /// [`BarrierTimeout`]
    pub fn poll_barrier(
        &self,
        id: BarrierId,
        cx: &Context<'_>,
        now: Duration,
    ) -> Poll<Result<(), BarrierTimeout>> {
        let mut state = self.state.lock();
        if !state.is_settled(now) {
            return Poll::Ready(Err(BarrierTimeout));
        }
        state.barriers.poll(id, cx, now)
    }

    /// Whether this gateway has heard every live gateway: it has been connected to the bus for at
    /// least a lease.
    pub fn is_settled(&self, now: Duration) -> bool {
        self.state.lock().is_settled(now)
    }

    /// The gateway shuts down: the others need not wait for its lease to expire.
    pub fn say_goodbye(&self) {
        self.links.send_goodbye();
    }

    /// The state of the cluster.
    pub fn status(&self, now: Duration) -> ClusterStatus {
        let (peers, resent) = self.links.status(now);
        let sessions = self.relay.cluster_summary();
        let state = self.state.lock();
        let recent = |(_, at): &&(Instance, Duration)| now.saturating_sub(*at) <= LEASE;
        ClusterStatus {
            instance: self.links.instance().clone(),
            echo_age: state.echoed.map(|(at, _)| now.saturating_sub(at)),
            settled: state.is_settled(now),
            duplicate: state.duplicate.as_ref().filter(recent).map(|(it, _)| it.clone()),
            peers,
            restarts: state.restarts,
            resent,
            gaps: sessions.gaps,
            sessions: sessions.open,
            shared_sessions: sessions.shared,
            orphaned_sessions: state.orphaned.len(),
        }
    }

    /// Does everything that is due at a time. To be called at least every 100 ms.
    pub fn tick(&self, now: Duration) {
        let (settled, echoed) = {
            let state = self.state.lock();
            (state.is_settled(now), state.echoed)
        };
        if let Some((at, _)) = echoed {
            // If it is cut off, the others have lost this gateway, not the other way round.
            let cut_off_since = Some(at + LEASE).filter(|since| *since <= now);
            let orphaned = self.relay.fence(cut_off_since, now);
            self.state.lock().orphaned.extend(orphaned);
            if cut_off_since.is_none() && settled {
                // A peer is lost if it was silent while the bus carried this gateway's heartbeats.
                for peer in self.links.silent_since(at.saturating_sub(LEASE)) {
                    warn!(gateway = %peer, "gateway lost");
                    self.lose(&peer, now);
                }
            }
        }
        let mut state = self.state.lock();
        let beat = now >= state.next_heartbeat;
        if beat {
            state.next_heartbeat = now + HEARTBEAT_INTERVAL;
        }
        let overdue = state.openings.overdue(now);
        overdue.iter().for_each(|session| self.finish_opening(&mut state, session));
        self.answer_barriers(&mut state);
        state.barriers.expire(now);
        let orphaned: Vec<_> = state.orphaned.iter().cloned().collect();
        let restart = now >= state.next_restart;
        let losses = if beat { state.barriers.losses() } else { HashMap::new() };
        drop(state);
        for (gateway, peers) in losses {
            // The answer may have been dropped with its channel.
            let lost = ChannelMessage::Lost { gateway };
            peers.iter().for_each(|peer| self.links.send(peer, &lost));
        }
        for session in orphaned {
            if !self.relay.expire_orphans(&session, now) {
                self.state.lock().orphaned.remove(&session);
            }
        }
        if restart {
            self.restart_broken(now);
        }
        if beat {
            self.relay.publish_confirmed();
            let (elsewhere, others) = self.links.usage();
            self.relay.set_usage_elsewhere(elsewhere, others);
            self.links.send_heartbeat(self.relay.project_usage(HEARTBEAT_INTERVAL));
        }
    }

    /// Starts channels over whose fragments were dropped.
    fn restart_broken(&self, now: Duration) {
        let broken = self.links.broken();
        if broken.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        state.next_restart = now + RESTART_INTERVAL;
        state.restarts += broken.len() as u64;
        drop(state);
        for peer in broken {
            warn!(gateway = %peer, "channel restarted: updates were lost");
            let sessions = self.relay.sessions();
            self.links.restart(&peer, &sessions);
            self.send_shared_state(&peer);
            for session in sessions {
                if self.relay.peers(&session).contains(&peer) {
                    self.relay.share(&session, &peer, now);
                }
            }
            self.links.finish_restart(&peer);
            let opening = self.state.lock().openings.awaiting(&peer);
            for session in opening {
                self.links.send(&peer, &ChannelMessage::Open { session });
            }
        }
    }

    /// A gateway is lost, or has left.
    pub(crate) fn lose(&self, peer: &Instance, now: Duration) {
        let peers: HashSet<_> = self.links.peers().into_iter().collect();
        self.state.lock().barriers.begin_loss(peer, peers);
        self.links.disconnect(peer);
        let orphaned = self.relay.peer_lost(peer, now);
        let lost = ChannelMessage::Lost { gateway: peer.clone() };
        self.links.peers().iter().for_each(|other| self.links.send(other, &lost));
        let awaiting = {
            let mut state = self.state.lock();
            state.orphaned.extend(orphaned);
            state.handovers.departed(peer);
            state.barriers.lost(peer);
            state.openings.lost(peer);
            state.openings.awaiting(peer)
        };
        for session in awaiting {
            self.answered(&session, peer);
        }
    }

    /// A peer has answered to the opening of a session.
    pub(crate) fn answered(&self, session: &SessionId, peer: &Instance) {
        let mut state = self.state.lock();
        match state.openings.answered(session, peer) {
            Next::Wait => {}
            Next::AskForHistory => match self.relay.history_donor(session) {
                Some(donor) => {
                    let request = ChannelMessage::HistoryRequest { session: session.clone() };
                    self.links.send(&donor, &request);
                    state.openings.await_history(session, donor);
                }
                None => self.finish_opening(&mut state, session),
            },
            Next::Done => self.finish_opening(&mut state, session),
        }
        self.answer_barriers(&mut state);
    }

    /// Answers the barriers of peers for which nothing is awaited any more.
    pub(crate) fn answer_barriers(&self, state: &mut ClusterState) {
        for (peer, id) in state.openings.take_reached() {
            self.links.send(&peer, &ChannelMessage::Reached { id });
        }
    }

    fn finish_opening(&self, state: &mut ClusterState, session: &SessionId) {
        debug!(%session, "session opened");
        self.relay.opened(session);
        state.openings.finish(session);
        if let Some(from) = state.handovers.opened(session) {
            let session = session.clone();
            self.links.send(from, &ChannelMessage::Adopted { session });
        }
    }
}
