//! Barriers: this gateway knows everything that the other live gateways had sent before, and what
//! the remaining gateways know of the lost ones.

use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll},
    time::Duration,
};

use signalbox_relay::Instance;

use crate::waiting::Waiting;

/// A barrier that was not awaited to its end is forgotten after this time.
const FORGET_BARRIER: Duration = Duration::from_secs(10);

/// Barriers that may be awaited at the same time. Beyond it, a barrier fails.
const MAX_BARRIERS: usize = 65_536;

/// A barrier that is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierId(pub(crate) u64);

/// This gateway may not know everything that other gateways have done: it has been connected to the
/// bus for less than a lease, or a gateway that seems to be alive has not answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this gateway is not up to date with the other gateways")]
pub struct BarrierTimeout;

/// Barriers that have not been reached.
#[derive(Default)]
pub(crate) struct Barriers {
    waiting: HashMap<u64, Waiting>,
    last: u64,
    /// Lost gateways, with the peers that have not answered to the loss. Their parts may name
    /// connections of the lost gateway that are unknown here.
    losses: HashMap<Instance, HashSet<Instance>>,
}

impl Barriers {
    /// Begins a barrier, which waits for an answer of each peer.
    ///
    /// # Errors
    /// [`BarrierTimeout`] if too many barriers are awaited.
    pub(crate) fn begin(&mut self, waiting: Waiting) -> Result<BarrierId, BarrierTimeout> {
        if self.waiting.len() >= MAX_BARRIERS {
            return Err(BarrierTimeout);
        }
        self.last += 1;
        if !waiting.peers.is_empty() || !self.losses.is_empty() {
            self.waiting.insert(self.last, waiting);
        }
        Ok(BarrierId(self.last))
    }

    pub(crate) fn poll(
        &mut self,
        BarrierId(id): BarrierId,
        cx: &Context<'_>,
        now: Duration,
    ) -> Poll<Result<(), BarrierTimeout>> {
        match self.waiting.get_mut(&id) {
            Some(waiting) if waiting.deadline <= now => Poll::Ready(Err(BarrierTimeout)),
            Some(waiting) => {
                waiting.register(cx);
                Poll::Pending
            }
            None => Poll::Ready(Ok(())),
        }
    }

    /// A peer has answered to a barrier.
    pub(crate) fn reached(&mut self, id: u64, peer: &Instance) {
        if let Some(waiting) = self.waiting.get_mut(&id)
            && waiting.peers.remove(peer)
            && waiting.peers.is_empty()
            && self.losses.is_empty()
        {
            waiting.wake();
            self.waiting.remove(&id);
        }
    }

    /// A gateway is about to be lost. No barrier ends before [`Barriers::lost`], and the answers of
    /// the other peers.
    pub(crate) fn begin_loss(&mut self, lost: &Instance, peers: HashSet<Instance>) {
        // It counts as one that has not answered for as long as its loss is being processed here.
        self.losses.insert(lost.clone(), peers);
    }

    /// The loss of a gateway has been processed here. Nothing is expected of it any more.
    pub(crate) fn lost(&mut self, lost: &Instance) {
        self.losses.values_mut().for_each(|peers| {
            peers.remove(lost);
        });
        self.waiting.values_mut().for_each(|waiting| {
            waiting.peers.remove(lost);
        });
        self.end_reached();
    }

    /// A peer has told what it knows of a lost gateway.
    pub(crate) fn agreed(&mut self, lost: &Instance, peer: &Instance) {
        if let Some(peers) = self.losses.get_mut(lost) {
            peers.remove(peer);
            self.end_reached();
        }
    }

    /// A lost gateway has returned, and tells of its connections itself.
    pub(crate) fn returned(&mut self, gateway: &Instance) {
        self.losses.remove(gateway);
        self.end_reached();
    }

    /// Whether a peer has not answered to the loss of a gateway.
    pub(crate) fn awaits(&self, lost: &Instance, peer: &Instance) -> bool {
        self.losses.get(lost).is_some_and(|peers| peers.contains(peer))
    }

    /// Lost gateways, with the peers that have not answered.
    pub(crate) fn losses(&self) -> HashMap<Instance, HashSet<Instance>> {
        self.losses.clone()
    }

    /// Wakes the callers of overdue barriers.
    pub(crate) fn expire(&mut self, now: Duration) {
        self.waiting.retain(|_, waiting| waiting.deadline + FORGET_BARRIER > now);
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.deadline <= now) {
            waiting.wake();
        }
    }

    /// Ends the barriers for which nothing is awaited any more.
    fn end_reached(&mut self) {
        self.losses.retain(|_, peers| !peers.is_empty());
        if self.losses.is_empty() {
            for (_, mut reached) in self.waiting.extract_if(|_, it| it.peers.is_empty()) {
                reached.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn gateway(number: u64) -> Instance {
        Instance { gateway: format!("gw-{number}").parse().unwrap(), epoch: 1 }
    }

    #[test]
    fn a_barrier_awaits_what_others_know_of_a_lost_gateway() {
        let (lost, other) = (gateway(1), gateway(2));
        let cx = Context::from_waker(Waker::noop());
        let mut barriers = Barriers::default();
        let peers = [lost.clone(), other.clone()];
        let id = barriers.begin(Waiting::new(peers.clone(), Duration::MAX)).unwrap();
        let poll = |barriers: &mut Barriers| barriers.poll(id, &cx, Duration::ZERO);
        barriers.begin_loss(&lost, HashSet::from(peers));
        barriers.reached(id.0, &other);
        assert!(poll(&mut barriers).is_pending());
        barriers.agreed(&lost, &other);
        assert!(poll(&mut barriers).is_pending(), "its loss is being processed");
        barriers.lost(&lost);
        assert_eq!(poll(&mut barriers), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_gateway_that_returns_ends_the_wait_for_its_loss() {
        let (lost, other) = (gateway(1), gateway(2));
        let cx = Context::from_waker(Waker::noop());
        let mut barriers = Barriers::default();
        barriers.begin_loss(&lost, HashSet::from([lost.clone(), other.clone()]));
        barriers.lost(&lost);
        let id = barriers.begin(Waiting::new([other.clone()], Duration::MAX)).unwrap();
        barriers.reached(id.0, &other);
        assert!(barriers.poll(id, &cx, Duration::ZERO).is_pending());
        assert!(barriers.awaits(&lost, &other));
        barriers.returned(&lost);
        assert_eq!(barriers.poll(id, &cx, Duration::ZERO), Poll::Ready(Ok(())));
    }
}
