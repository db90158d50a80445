//! The cluster as one gateway sees it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::{ConnectionId, ProjectKey, SessionId};
use signalbox_relay::{
    Applied, Backplane as _, Hold, Instance, JoinError, ProjectUse, Relay, SessionUpdate,
};
use tracing::{debug, error, info, warn};

use crate::{
    handovers::Handovers,
    links::Links,
    message::{BusMessage, BusMessageError, ChannelMessage, LinkStatus, hash},
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

/// A barrier that was not awaited to its end is forgotten after this time.
const FORGET_BARRIER: Duration = Duration::from_secs(10);

/// Minimum time between two new starts of channels.
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// Barriers that may be awaited at the same time. Beyond it, a barrier fails.
const MAX_BARRIERS: usize = 65_536;

/// The cluster as one gateway sees it.
///
/// Calls that pass messages of the bus and time ([`Cluster::receive`], [`Cluster::tick`]) come from
/// one task; the others from any.
pub struct Cluster {
    links: Arc<Links>,
    pub(crate) relay: Relay,
    shared: Arc<dyn SharedState>,
    /// Locked before the relay's locks, never under them.
    pub(crate) state: Mutex<ClusterState>,
}

#[derive(Default)]
pub(crate) struct ClusterState {
    pub(crate) openings: Openings,
    pub(crate) handovers: Handovers,
    barriers: HashMap<u64, Waiting>,
    last_barrier: u64,
    /// Lost gateways, with the peers that have not answered to the loss. Their parts may name
    /// connections of the lost gateway that are unknown here.
    losses: HashMap<Instance, HashSet<Instance>>,
    /// Sessions with connections of lost gateways.
    orphaned: HashSet<SessionId>,
    next_heartbeat: Duration,
    next_restart: Duration,
    restarts: u64,
    /// When the last own heartbeat came back, and since when they have come back without a pause.
    echoed: Option<(Duration, Duration)>,
    duplicate: Option<(Instance, Duration)>,
}

/// This gateway may not know everything that other gateways have done: it has been connected to the
/// bus for less than a lease, or a gateway that seems to be alive has not answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this gateway is not up to date with the other gateways")]
pub struct BarrierTimeout;

impl ClusterState {
    /// Whether this gateway has heard every live gateway: it has been connected to the bus for at
    /// least a lease.
    pub(crate) fn is_settled(&self, now: Duration) -> bool {
        self.echoed.is_some_and(|(at, since)| at >= since + LEASE && now < at + LEASE)
    }

    /// Ends the barriers for which nothing is awaited any more.
    fn end_barriers(&mut self) {
        self.losses.retain(|_, peers| !peers.is_empty());
        if !self.losses.is_empty() {
            return;
        }
        for (_, mut reached) in self.barriers.extract_if(|_, it| it.peers.is_empty()) {
            reached.wake();
        }
    }
}

/// A barrier that is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierId(u64);

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

    fn send_shared_state(&self, peer: &Instance) {
        for message in self.shared.export() {
            self.links.send(peer, &ChannelMessage::State { message: &message });
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
        let peers = self.links.peers();
        let waiting = Waiting::new(peers, now + ANSWER_TIMEOUT);
        let mut state = self.state.lock();
        state.last_barrier += 1;
        let id = state.last_barrier;
        if state.barriers.len() >= MAX_BARRIERS {
            return Err(BarrierTimeout);
        }
        if !waiting.peers.is_empty() || !state.losses.is_empty() {
            for peer in &waiting.peers {
                self.links.send(peer, &ChannelMessage::Barrier { id });
            }
            state.barriers.insert(id, waiting);
        }
        Ok(BarrierId(id))
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
        match state.barriers.get_mut(&id.0) {
            Some(waiting) if waiting.deadline <= now => Poll::Ready(Err(BarrierTimeout)),
            Some(waiting) => {
                waiting.register(cx);
                Poll::Pending
            }
            None => Poll::Ready(Ok(())),
        }
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
        state.barriers.retain(|_, waiting| waiting.deadline + FORGET_BARRIER > now);
        for waiting in state.barriers.values_mut().filter(|waiting| waiting.deadline <= now) {
            waiting.wake();
        }
        let orphaned: Vec<_> = state.orphaned.iter().cloned().collect();
        let restart = now >= state.next_restart;
        let losses = if beat { state.losses.clone() } else { HashMap::new() };
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

    fn lose(&self, peer: &Instance, now: Duration) {
        self.links.disconnect(peer);
        let orphaned = self.relay.peer_lost(peer, now);
        let lost = ChannelMessage::Lost { gateway: peer.clone() };
        let peers: HashSet<_> = self.links.peers().into_iter().collect();
        peers.iter().for_each(|other| self.links.send(other, &lost));
        let awaiting = {
            let mut state = self.state.lock();
            state.orphaned.extend(orphaned);
            state.handovers.departed(peer);
            state.losses.insert(peer.clone(), peers);
            state.losses.values_mut().for_each(|peers| {
                peers.remove(peer);
            });
            state.barriers.values_mut().for_each(|waiting| {
                waiting.peers.remove(peer);
            });
            state.end_barriers();
            state.openings.awaiting(peer)
        };
        for session in awaiting {
            self.answered(&session, peer);
        }
    }

    /// Applies a message of the bus.
    ///
    /// # Errors
    /// [`BusMessageError`]. The message is ignored.
    pub fn receive(&self, payload: &[u8], now: Duration) -> Result<(), BusMessageError> {
        let here = self.links.instance();
        match BusMessage::decode(payload)? {
            BusMessage::Heartbeat { from, links, usage } => self.heard(&from, &links, usage, now),
            BusMessage::Goodbye { from } if self.links.is_live(&from) => {
                info!(gateway = %from, "gateway left");
                self.lose(&from, now);
            }
            BusMessage::Data { from, to, incarnation, first, fragments } if to == here.epoch => {
                for message in self.links.accept(&from, incarnation, first, &fragments) {
                    let message = postcard::from_bytes(&message);
                    self.handle(&from, message.map_err(|_| BusMessageError::Malformed)?, now)?;
                }
            }
            BusMessage::Missing { from, to, incarnation, expected } if to == here.epoch => {
                self.links.resend(&from, incarnation, expected);
            }
            // For an earlier run of this gateway, or the goodbye of one that is lost already.
            _ => {}
        }
        Ok(())
    }

    fn heard(
        &self,
        from: &Instance,
        links: &[LinkStatus],
        usage: Vec<(ProjectKey, ProjectUse)>,
        now: Duration,
    ) {
        let here = self.links.instance();
        if from == here {
            let mut state = self.state.lock();
            let since = match state.echoed {
                Some((at, since)) if now.saturating_sub(at) < LEASE => since,
                Some(_) => {
                    // The others have lost this gateway meanwhile.
                    self.links.break_channels();
                    now
                }
                None => now,
            };
            state.echoed = Some((now, since));
            return;
        }
        if from.gateway == here.gateway {
            let mut state = self.state.lock();
            if state.duplicate.as_ref().is_none_or(|(known, _)| known != from) {
                error!(other = %from, here = %here, "duplicate gateway name found: set `name` of one");
            }
            state.duplicate = Some((from.clone(), now));
            return;
        }
        if !self.links.is_live(from) {
            let peers = self.links.peers();
            for earlier in peers.iter().filter(|peer| peer.gateway == from.gateway) {
                info!(gateway = %earlier, "gateway restarted");
                self.lose(earlier, now);
            }
            info!(gateway = %from, "gateway joined");
            self.links.connect(from, &self.relay.sessions(), now);
            self.send_shared_state(from);
            let mut state = self.state.lock();
            state.losses.remove(from);
            state.end_barriers();
        }
        self.links.heard(from, links, usage, now);
    }

    fn handle(
        &self,
        from: &Instance,
        message: ChannelMessage<'_>,
        now: Duration,
    ) -> Result<(), BusMessageError> {
        match message {
            ChannelMessage::Sessions { hashes, last } => {
                if let Some(listed) = self.links.listed(from, hashes, last) {
                    self.match_sessions(from, &listed, now);
                }
            }
            ChannelMessage::Open { session } => {
                if !self.relay.share(&session, from, now) {
                    self.say_absent(from, session);
                }
            }
            ChannelMessage::Absent { session, destroyed } => {
                self.leave(&session, from, destroyed, now);
                self.answered(&session, from);
            }
            ChannelMessage::Update { session, update } => {
                let update: SessionUpdate<'_> =
                    postcard::from_bytes(update).map_err(|_| BusMessageError::Malformed)?;
                let is_part = update.is_part();
                match self.relay.apply(&session, from, update, now) {
                    Applied::Done => {}
                    Applied::Orphans => {
                        self.state.lock().orphaned.insert(session.clone());
                    }
                    Applied::NotOpen if is_part => self.say_absent(from, session.clone()),
                    Applied::NotOpen => {}
                }
                if is_part {
                    self.answered(&session, from);
                }
            }
            ChannelMessage::HistoryRequest { session } => {
                let history = self.relay.export_history(&session).unwrap_or_default();
                self.links.send(from, &ChannelMessage::History { session, history: &history });
            }
            ChannelMessage::History { session, history } => {
                if !history.is_empty() {
                    let imported = self.relay.import_history(&session, history, now);
                    imported.map_err(|_| BusMessageError::Malformed)?;
                }
                self.answered(&session, from);
            }
            ChannelMessage::Barrier { id } => {
                self.links.send(from, &ChannelMessage::Reached { id });
            }
            ChannelMessage::Reached { id } => {
                let mut state = self.state.lock();
                let agreed = state.losses.is_empty();
                if let Some(waiting) = state.barriers.get_mut(&id)
                    && waiting.peers.remove(from)
                    && waiting.peers.is_empty()
                    && agreed
                {
                    waiting.wake();
                    state.barriers.remove(&id);
                }
            }
            ChannelMessage::Lost { gateway } => {
                if !self.links.is_live(&gateway) {
                    self.relay.share_orphans(&gateway, from, now);
                    let answer = ChannelMessage::LostToo { gateway: gateway.clone() };
                    self.links.send(from, &answer);
                }
                // Now it can answer this gateway's question.
                let losses = &self.state.lock().losses;
                if losses.get(&gateway).is_some_and(|peers| peers.contains(from)) {
                    self.links.send(from, &ChannelMessage::Lost { gateway });
                }
            }
            ChannelMessage::LostToo { gateway } => {
                let mut state = self.state.lock();
                if let Some(peers) = state.losses.get_mut(&gateway) {
                    peers.remove(from);
                    state.end_barriers();
                }
            }
            ChannelMessage::State { message } if !self.shared.apply(message) => {
                return Err(BusMessageError::Malformed);
            }
            ChannelMessage::State { .. } => {}
            ChannelMessage::Adopt { session } => self.adopt(session, from, now),
            ChannelMessage::Adopted { session } => self.state.lock().handovers.done(&session),
        }
        Ok(())
    }

    /// Shares the sessions that a peer has open as well, and ends the sharing of all others.
    fn match_sessions(&self, peer: &Instance, listed: &HashSet<u64>, now: Duration) {
        for session in self.relay.sessions() {
            if listed.contains(&hash(&session)) {
                self.relay.share(&session, peer, now);
            } else {
                self.leave(&session, peer, Vec::new(), now);
            }
        }
        for session in self.relay.closed_sessions() {
            if listed.contains(&hash(&session)) {
                self.say_absent(peer, session);
            }
        }
    }

    /// Tells a peer that one of its sessions is not open here.
    fn say_absent(&self, peer: &Instance, session: SessionId) {
        let destroyed = self.relay.destroyed(&session);
        self.links.send(peer, &ChannelMessage::Absent { session, destroyed });
    }

    /// A peer does not have a session.
    fn leave(
        &self,
        session: &SessionId,
        peer: &Instance,
        destroyed: Vec<ConnectionId>,
        now: Duration,
    ) {
        if self.relay.peer_left(session, peer, destroyed, now) {
            self.state.lock().orphaned.insert(session.clone());
        }
    }

    /// A peer has answered to the opening of a session.
    fn answered(&self, session: &SessionId, peer: &Instance) {
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
