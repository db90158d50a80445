//! The permits of one listener, for tasks: waiting for one, holding it, losing it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    pending::{ClientNumber, Decision, PendingBounds, PendingClients, Standing},
    prefix::AddressPrefix,
    refusal::RefusalCause,
};

/// The permits of one listener.
#[derive(Debug)]
pub(super) struct AdmissionGate {
    started: Instant,
    state: Mutex<GateState>,
}

#[derive(Debug)]
struct GateState {
    clients: PendingClients,
    /// For clients that wait.
    grants: HashMap<ClientNumber, oneshot::Sender<()>>,
    /// For all clients.
    evictions: HashMap<ClientNumber, CancellationToken>,
}

/// The right of a client to be between accept and welcome. It is returned when it is dropped.
#[derive(Debug)]
pub(super) struct PendingPermit {
    gate: Arc<AdmissionGate>,
    client: ClientNumber,
    address: AddressPrefix,
    evicted: CancellationToken,
}

impl AdmissionGate {
    pub(super) fn new(bounds: PendingBounds) -> Arc<Self> {
        let state = GateState {
            clients: PendingClients::new(bounds),
            grants: HashMap::new(),
            evictions: HashMap::new(),
        };
        Arc::new(Self { started: Instant::now(), state: Mutex::new(state) })
    }

    /// Replaces the bounds. Clients that have a permit keep it.
    pub(super) fn set_bounds(&self, bounds: PendingBounds) {
        let mut state = self.state.lock();
        let decisions = state.clients.set_bounds(bounds, self.started.elapsed());
        state.apply(decisions);
    }

    /// Waits for a permit, at most for `patience`.
    pub(super) async fn enter(
        self: &Arc<Self>,
        address: AddressPrefix,
        standing: Standing,
        patience: Duration,
    ) -> Result<PendingPermit, RefusalCause> {
        let (permit, granted) = self.arrive(address, standing);
        match timeout(patience, granted).await {
            Ok(Ok(())) => Ok(permit),
            Ok(Err(_)) => Err(RefusalCause::Crowded),
            Err(_) => Err(RefusalCause::Waited),
        }
    }

    /// A permit, if the client need not wait for it.
    pub(super) fn try_enter(
        self: &Arc<Self>,
        address: AddressPrefix,
        standing: Standing,
    ) -> Option<PendingPermit> {
        let (permit, mut granted) = self.arrive(address, standing);
        granted.try_recv().is_ok().then_some(permit)
    }

    /// Clients with a permit, and clients that wait for one.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.clients.held(), state.clients.waiting())
    }

    /// A client that waits, or has its permit already.
    fn arrive(
        self: &Arc<Self>,
        address: AddressPrefix,
        standing: Standing,
    ) -> (PendingPermit, oneshot::Receiver<()>) {
        let (grant, granted) = oneshot::channel();
        let evicted = CancellationToken::new();
        let mut state = self.state.lock();
        let (client, decisions) = state.clients.arrive(address, standing, self.started.elapsed());
        state.grants.insert(client, grant);
        state.evictions.insert(client, evicted.clone());
        state.apply(decisions);
        drop(state);
        (PendingPermit { gate: self.clone(), client, address, evicted }, granted)
    }
}

impl GateState {
    fn apply(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Admit(client) => {
                    // If the client does not wait any more, it is about to leave.
                    let _ = self.grants.remove(&client).map(|grant| grant.send(()));
                }
                Decision::Evict(client) => {
                    if let Some(evicted) = self.evictions.remove(&client) {
                        evicted.cancel();
                    }
                }
                Decision::Refuse(client) => {
                    self.grants.remove(&client);
                }
            }
        }
    }
}

impl PendingPermit {
    /// Cancelled when the permit is taken away.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for PendingPermit {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.grants.remove(&self.client);
        state.evictions.remove(&self.client);
        let now = self.gate.started.elapsed();
        let decisions = state.clients.leave(self.client, self.address, now);
        state.apply(decisions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn gate(permits: usize, waiting: usize) -> Arc<AdmissionGate> {
        let patience = Duration::from_secs(2);
        let bounds =
            PendingBounds { permits, reserved: 0, per_address: permits, waiting, patience };
        AdmissionGate::new(bounds)
    }

    fn address(last: u8) -> AddressPrefix {
        AddressPrefix::V4([192, 0, 2, last].into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_returned_permit_goes_to_the_next_client() {
        let gate = gate(1, 9);
        let enter = || gate.enter(address(1), Standing::Stranger, PATIENCE);
        let first = enter().await.unwrap();
        assert!(gate.try_enter(address(1), Standing::Stranger).is_none());
        let (second, ()) = tokio::join!(enter(), async { drop(first) });
        let second = second.unwrap();
        assert_eq!(enter().await.unwrap_err(), RefusalCause::Waited);
        drop(second);
        drop(enter().await.unwrap());
        let state = gate.state.lock();
        assert_eq!((state.clients.held(), state.clients.waiting()), (0, 0));
        assert!(state.grants.is_empty() && state.evictions.is_empty(), "nothing is left behind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_learns_that_it_is_evicted_or_refused() {
        let gate = gate(2, 1);
        let enter = |last| gate.enter(address(last), Standing::Stranger, PATIENCE);
        let (first, second) = (enter(1).await.unwrap(), enter(1).await.unwrap());
        let other = enter(2).await.unwrap();
        first.evicted().cancelled().await;
        let crowd = async { tokio::join!(enter(1), enter(1)) };
        let (third, fourth) = crowd.await;
        assert_eq!(third.unwrap_err(), RefusalCause::Waited);
        assert_eq!(fourth.unwrap_err(), RefusalCause::Crowded);
        assert!(!second.evicted().is_cancelled() && !other.evicted().is_cancelled());
    }
}
