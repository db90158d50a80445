//! Handover of sessions at a shutdown: a session that no other gateway has is opened on one, so that
//! its clients can resume there.

use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll, Waker},
    time::Duration,
};

use signalbox_protocol::SessionId;
use signalbox_relay::{Hold, Instance};
use tracing::warn;

use crate::{
    cluster::Cluster,
    message::{ChannelMessage, hash},
};

/// Sessions of a gateway that shuts down, as seen by that gateway and by those that open them.
#[derive(Default)]
pub(crate) struct Handovers {
    /// Sessions of this gateway that another one has been asked to open.
    pending: HashSet<SessionId>,
    waker: Option<Waker>,
    /// Sessions that were opened here for another gateway, until it has left.
    adopted: HashMap<SessionId, Adopted>,
}

struct Adopted {
    from: Instance,
    _hold: Hold,
}

impl Handovers {
    /// A session has been opened. Returns the gateway that has asked for it.
    pub(crate) fn opened(&self, session: &SessionId) -> Option<&Instance> {
        self.adopted.get(session).map(|adopted| &adopted.from)
    }

    /// Another gateway has opened a session of this one, or cannot.
    pub(crate) fn done(&mut self, session: &SessionId) {
        self.pending.remove(session);
        if self.pending.is_empty()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// A gateway has left: its connections keep the sessions open from now on.
    pub(crate) fn departed(&mut self, peer: &Instance) {
        self.adopted.retain(|_, adopted| adopted.from != *peer);
        // It may be one that has been asked to open sessions. Those are lost, as without a cluster.
        if !self.pending.is_empty() {
            self.pending.clear();
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Cluster {
    /// Asks other gateways to open the sessions with resumable connections that no other gateway
    /// has. To be called when the gateway begins to shut down; [`Cluster::poll_handed_over`] tells
    /// when they have answered.
    pub fn hand_over(&self) {
        let peers = self.links().peers();
        if peers.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        for session in self.relay.unshared_sessions() {
            // Spread over the gateways.
            let chosen = hash(&session) % peers.len() as u64;
            if let Some(peer) = usize::try_from(chosen).ok().and_then(|index| peers.get(index)) {
                self.links().send(peer, &ChannelMessage::Adopt { session: session.clone() });
                state.handovers.pending.insert(session);
            }
        }
    }

    /// Whether the other gateways have opened the sessions that they were asked to open.
    pub fn poll_handed_over(&self, cx: &Context<'_>) -> Poll<()> {
        let handovers = &mut self.state.lock().handovers;
        if handovers.pending.is_empty() {
            return Poll::Ready(());
        }
        handovers.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Another gateway, which shuts down, asks this one to open a session.
    pub(crate) fn adopt(&self, session: SessionId, from: &Instance, now: Duration) {
        match self.open(&session, now) {
            Ok(hold) => {
                let mut state = self.state.lock();
                let adopted = Adopted { from: from.clone(), _hold: hold };
                state.handovers.adopted.insert(session.clone(), adopted);
                if state.openings.contains(&session) {
                    return;
                }
            }
            Err(error) => warn!(gateway = %from, %session, %error, "session not taken over"),
        }
        self.links().send(from, &ChannelMessage::Adopted { session });
    }
}
