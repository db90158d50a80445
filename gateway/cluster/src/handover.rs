//! Handover of sessions at a shutdown: a session that no other gateway has is opened on one, so that
//! its clients can resume there.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use signalbox_protocol::SessionId;
use signalbox_relay::Instance;
use tracing::warn;

use crate::{
    cluster::Cluster,
    message::{ChannelMessage, hash},
};

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
                state.handovers.asked(session, peer.clone());
            }
        }
    }

    /// Whether the other gateways have opened the sessions that they were asked to open.
    pub fn poll_handed_over(&self, cx: &Context<'_>) -> Poll<()> {
        self.state.lock().handovers.poll_done(cx)
    }

    /// Another gateway, which shuts down, asks this one to open a session.
    pub(crate) fn adopt(&self, session: SessionId, from: &Instance, now: Duration) {
        match self.open(&session, now) {
            Ok(hold) => {
                let mut state = self.state.lock();
                state.handovers.adopted(session.clone(), from.clone(), hold);
                if state.openings.contains(&session) {
                    return;
                }
            }
            Err(error) => warn!(gateway = %from, %session, %error, "session not taken over"),
        }
        self.links().send(from, &ChannelMessage::Adopted { session });
    }
}
