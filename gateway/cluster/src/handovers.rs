//! Sessions that are handed over at a shutdown, as seen by the gateway that shuts down and by those
//! that open them.

use std::{
    collections::HashMap,
    task::{Context, Poll, Waker},
};

use signalbox_protocol::SessionId;
use signalbox_relay::{Hold, Instance};

/// Sessions of a gateway that shuts down, as seen by that gateway and by those that open them.
#[derive(Default)]
pub(crate) struct Handovers {
    /// Sessions of this gateway, with the gateways that have been asked to open them.
    pending: HashMap<SessionId, Instance>,
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
        self.wake_if_done();
    }

    /// A gateway has left: its connections keep the sessions open from now on.
    pub(crate) fn departed(&mut self, peer: &Instance) {
        self.adopted.retain(|_, adopted| adopted.from != *peer);
        // Sessions that it was asked to open are lost, as without a cluster.
        self.pending.retain(|_, asked| asked != peer);
        self.wake_if_done();
    }

    fn wake_if_done(&mut self) {
        if self.pending.is_empty()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Another gateway has been asked to open a session of this one.
    pub(crate) fn asked(&mut self, session: SessionId, peer: Instance) {
        self.pending.insert(session, peer);
    }

    /// Whether no session is pending.
    pub(crate) fn poll_done(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.pending.is_empty() {
            return Poll::Ready(());
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A session is kept open here for another gateway.
    pub(crate) fn adopted(&mut self, session: SessionId, from: Instance, hold: Hold) {
        self.adopted.insert(session, Adopted { from, _hold: hold });
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use signalbox_protocol::MediaMode;

    use super::*;

    #[test]
    fn a_gateway_that_leaves_ends_the_wait_for_its_own_answers_only() {
        let gateway = |name: &str| Instance { gateway: name.parse().unwrap(), epoch: 1 };
        let session = |number| {
            SessionId::mint(&"1".parse().unwrap(), MediaMode::Relayed, None, 0, [number; 24])
        };
        let cx = Context::from_waker(Waker::noop());
        let mut handovers = Handovers::default();
        handovers.asked(session(1), gateway("a"));
        handovers.asked(session(2), gateway("b"));
        handovers.departed(&gateway("c"));
        handovers.departed(&gateway("a"));
        assert!(handovers.poll_done(&cx).is_pending(), "b has not answered");
        handovers.done(&session(2));
        assert!(handovers.poll_done(&cx).is_ready());
    }
}
