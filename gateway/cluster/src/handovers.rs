//! Sessions that are handed over at a shutdown, as seen by the gateway that shuts down and by those
//! that open them.

use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll, Waker},
};

use signalbox_protocol::SessionId;
use signalbox_relay::{Hold, Instance};

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

    /// Another gateway has been asked to open a session of this one.
    pub(crate) fn asked(&mut self, session: SessionId) {
        self.pending.insert(session);
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
