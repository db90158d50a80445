//! A client's account: what its address uses of the gateway.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{
    AdmissionControl,
    addresses::{AddressRate, AddressRates},
    gate::PendingPermit,
    pending::Standing,
    prefix::AddressPrefix,
    refusal::RefusalCause,
};

/// The account of a client. Clients of one address share it.
#[derive(Clone)]
pub(crate) struct ClientAccount {
    admission: Arc<AdmissionControl>,
    address: AddressPrefix,
    /// Whether the address is that of a proxy, with which limits do not apply.
    is_proxy: bool,
}

impl ClientAccount {
    pub(super) fn new(
        admission: Arc<AdmissionControl>,
        address: AddressPrefix,
        is_proxy: bool,
    ) -> Self {
        Self { admission, address, is_proxy }
    }

    pub(super) fn address(&self) -> AddressPrefix {
        self.address
    }

    pub(super) fn standing(&self) -> Standing {
        if self.is_proxy {
            Standing::Proxy
        } else if self.admission.rates.lock().is_known(self.address) {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }

    /// Whether a client of its address has been admitted before.
    pub(crate) fn is_known(&self) -> bool {
        self.standing() == Standing::Known
    }

    /// The admission control that it belongs to.
    pub(crate) fn admission(&self) -> &Arc<AdmissionControl> {
        &self.admission
    }

    /// Takes one of a rate. `false`, which counts as a refusal, if the address has none left.
    pub(crate) fn take(&self, rate: AddressRate) -> bool {
        let taken = self.in_rates(|rates, now| rates.take(self.address, rate, now));
        self.checked(rate, taken)
    }

    /// Whether one of a rate is left. `false` counts as a refusal.
    pub(crate) fn check(&self, rate: AddressRate) -> bool {
        self.checked(rate, self.has(rate))
    }

    /// Whether one of a rate is left.
    pub(crate) fn has(&self, rate: AddressRate) -> bool {
        self.in_rates(|rates, now| rates.has(self.address, rate, now))
    }

    /// Counts one of a rate, even if none is left.
    pub(crate) fn charge(&self, rate: AddressRate) {
        self.in_rates(|rates, now| {
            rates.charge(self.address, rate, now);
            true
        });
    }

    /// Gives one of a rate back.
    pub(crate) fn refund(&self, rate: AddressRate) {
        self.in_rates(|rates, _| {
            rates.refund(self.address, rate);
            true
        });
    }

    /// Remembers that a client of this address has been admitted.
    pub(crate) fn admitted(&self) {
        if !self.is_proxy {
            self.admission.rates.lock().note_admitted(self.address);
        }
    }

    /// Counts a refusal of the client.
    pub(crate) fn refused(&self, cause: RefusalCause) {
        self.admission.refusals.note(cause, self.address);
    }

    fn checked(&self, rate: AddressRate, is_left: bool) -> bool {
        if !is_left {
            self.refused(rate.into());
        }
        is_left
    }

    fn in_rates(&self, f: impl FnOnce(&mut AddressRates, Duration) -> bool) -> bool {
        self.is_proxy || f(&mut self.admission.rates.lock(), self.admission.started.elapsed())
    }
}

impl From<AddressRate> for RefusalCause {
    fn from(rate: AddressRate) -> Self {
        match rate {
            AddressRate::Links => Self::Links,
            AddressRate::Requests => Self::Requests,
            AddressRate::InvalidTokens => Self::InvalidTokens,
        }
    }
}

/// A client's right to be between accept and welcome. It is returned when its last clone is dropped.
#[derive(Clone)]
pub(crate) struct AdmissionPermit(Arc<HeldPermit>);

struct HeldPermit {
    /// None once it has been released.
    held: Mutex<Option<PendingPermit>>,
    client: ClientAccount,
}

impl AdmissionPermit {
    pub(super) fn new(held: PendingPermit, client: ClientAccount) -> Self {
        Self(Arc::new(HeldPermit { held: Mutex::new(Some(held)), client }))
    }

    /// The account of the client.
    pub(crate) fn client(&self) -> &ClientAccount {
        &self.0.client
    }

    /// Returns the permit now: something else bounds the clients that do what this one does next.
    pub(crate) fn release(&self) {
        let released = self.0.held.lock().take();
        // Its destructor locks the gate.
        drop(released);
    }

    /// Waits until another client gets the permit, which counts as a refusal. Never completes once the
    /// permit has been released. It does not hold the permit.
    pub(crate) fn evicted(&self) -> impl Future<Output = ()> + Send + use<> {
        let evicted = self.0.held.lock().as_ref().map(PendingPermit::evicted);
        let client = self.0.client.clone();
        async move {
            match evicted {
                Some(evicted) => evicted.cancelled_owned().await,
                None => std::future::pending().await,
            }
            client.refused(RefusalCause::Evicted);
        }
    }
}
