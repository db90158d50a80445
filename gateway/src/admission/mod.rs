//! Admission control: what clients that have not joined yet may use, and idle connections of servers.
//!
//! Each listener has its own permits, so that a flood on one port leaves the other open. Addresses
//! share the permits of a listener (`pending.rs`), and what each address may do in a second is
//! limited (`addresses.rs`). Everything that is refused is counted by its cause (`refusal.rs`).

mod account;
mod addresses;
mod gate;
mod pending;
mod prefix;
mod refusal;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub(crate) use self::{
    account::{AdmissionPermit, ClientAccount},
    addresses::AddressRate,
    refusal::RefusalCause,
};
use self::{
    addresses::AddressRates,
    gate::AdmissionGate,
    pending::{PendingBounds, Standing},
    prefix::AddressPrefix,
    refusal::Refusals,
};
use crate::{
    config::{AddressLimitsConfig, Config},
    forwarded::TrustedProxies,
    turnstile::Turnstile,
};

/// Share of a listener's permits that only known addresses get.
const RESERVED_SHARE: usize = 4;

/// Share of the QUIC listener's permits up to which clients connect without an extra round trip.
/// Beyond it, an address must be validated before it gets a permit: a stranger can send packets from
/// any address.
const UNVALIDATED_SHARE: usize = 8;

/// Clients of one listener that wait for a permit.
const MAX_WAITING: usize = 4096;

/// Time for which a client waits for a permit. One that is served later is likely to give up before
/// its handshake is done, in vain for both. One that is refused tries another gateway, or later.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The clients of a listener that have not been welcomed.
pub(crate) struct PendingCounts {
    pub(crate) listener: &'static str,
    /// Those with a permit.
    pub(crate) admitted: usize,
    /// Those that wait for one.
    pub(crate) waiting: usize,
}

/// The admission control of one gateway.
pub(crate) struct AdmissionControl {
    quic: Arc<AdmissionGate>,
    /// For QUIC clients whose address has not been validated. They have permits of their own, without
    /// shares, because their addresses may be forged.
    unvalidated: Arc<AdmissionGate>,
    tcp: Arc<AdmissionGate>,
    /// For HTTP connections of servers that have shown a credential.
    servers: KeptConnections,
    /// For HTTP connections of pages that have shown a token.
    pages: KeptConnections,
    rates: Mutex<AddressRates>,
    refusals: Refusals,
    turnstile: Arc<Turnstile>,
    started: Instant,
    proxies: ArcSwap<TrustedProxies>,
    /// Whether TCP connections come from proxies that are not known, with which clients share an
    /// address.
    tcp_is_proxied: AtomicBool,
}

/// Permits of HTTP connections that are kept open between requests.
struct KeptConnections(Mutex<(usize, Arc<Semaphore>)>);

impl KeptConnections {
    fn new(permits: usize) -> Self {
        Self(Mutex::new((permits, Arc::new(Semaphore::new(permits)))))
    }

    /// Replaces the number of permits. Connections that have one keep it, and do not count any more.
    fn set(&self, permits: usize) {
        let mut current = self.0.lock();
        if current.0 != permits {
            *current = (permits, Arc::new(Semaphore::new(permits)));
        }
    }

    fn try_keep(&self) -> Option<OwnedSemaphorePermit> {
        let permits = self.0.lock().1.clone();
        permits.try_acquire_owned().ok()
    }
}

impl AdmissionControl {
    pub(crate) fn new(config: &Config) -> Self {
        let admission = Self::with(bounds(config), config.limits.address.clone());
        admission.set(config);
        admission
    }

    /// Applies a changed configuration. Clients that have a permit keep it.
    pub(crate) fn set(&self, config: &Config) {
        let bounds = bounds(config);
        self.quic.set_bounds(bounds);
        self.unvalidated.set_bounds(bounds.of_unvalidated());
        self.tcp.set_bounds(bounds);
        self.rates.lock().set_limits(config.limits.address.clone());
        self.servers.set(config.limits.http_keep_alive_connections);
        self.pages.set(config.opentok_js.kept_connections);
        let proxies = TrustedProxies::new(&config.proxy);
        let tcp_is_proxied = config.tls.plaintext_tcp && proxies.is_empty();
        self.tcp_is_proxied.store(tcp_is_proxied, Ordering::Relaxed);
        self.proxies.store(Arc::new(proxies));
    }

    /// That of a listener for this many connections of the operator's programs, which have no limits.
    pub(crate) fn for_operations(connections: usize, hello: Duration) -> Self {
        let bounds = PendingBounds {
            permits: connections,
            reserved: 0,
            per_address: connections,
            waiting: MAX_WAITING,
            patience: hello / 2,
        };
        Self::with(bounds, AddressLimitsConfig::NONE)
    }

    /// With these bounds, and without proxies and connections that are kept open.
    fn with(bounds: PendingBounds, limits: AddressLimitsConfig) -> Self {
        Self {
            quic: AdmissionGate::new(bounds),
            unvalidated: AdmissionGate::new(bounds.of_unvalidated()),
            tcp: AdmissionGate::new(bounds),
            servers: KeptConnections::new(0),
            pages: KeptConnections::new(0),
            rates: Mutex::new(AddressRates::new(limits)),
            refusals: Refusals::default(),
            turnstile: Arc::default(),
            started: Instant::now(),
            proxies: ArcSwap::default(),
            tcp_is_proxied: AtomicBool::new(false),
        }
    }

    /// The account of a QUIC client with this address.
    pub(crate) fn quic_client(self: &Arc<Self>, remote: IpAddr) -> ClientAccount {
        ClientAccount::new(self.clone(), remote.into(), false)
    }

    /// The account of a TCP client with this address.
    pub(crate) fn tcp_client(self: &Arc<Self>, remote: IpAddr) -> ClientAccount {
        let is_proxied = self.tcp_is_proxied.load(Ordering::Relaxed);
        let is_proxy = is_proxied || self.proxies.load().contains(remote);
        ClientAccount::new(self.clone(), remote.into(), is_proxy)
    }

    /// The proxies that are believed.
    pub(crate) fn proxies(&self) -> Guard<Arc<TrustedProxies>> {
        self.proxies.load()
    }

    /// Waits for a permit for a QUIC client whose address is validated. `None` if it is refused.
    pub(crate) async fn enter_quic(&self, client: ClientAccount) -> Option<AdmissionPermit> {
        self.enter(&self.quic, client, MAX_WAIT).await
    }

    /// A permit for a QUIC client whose address is not validated, if one is free.
    pub(crate) fn try_enter_unvalidated(&self, client: ClientAccount) -> Option<AdmissionPermit> {
        let address = AddressPrefix::UNSPECIFIED;
        let held = self.unvalidated.try_enter(address, Standing::Stranger)?;
        Some(AdmissionPermit::new(held, client))
    }

    /// Waits for a permit for a TCP client. `None` if it is refused.
    pub(crate) async fn enter_tcp(&self, client: ClientAccount) -> Option<AdmissionPermit> {
        self.enter(&self.tcp, client, MAX_WAIT).await
    }

    /// The same, waiting at most for `patience`.
    pub(crate) async fn enter_tcp_within(
        &self,
        client: ClientAccount,
        patience: Duration,
    ) -> Option<AdmissionPermit> {
        self.enter(&self.tcp, client, patience).await
    }

    async fn enter(
        &self,
        gate: &Arc<AdmissionGate>,
        client: ClientAccount,
        patience: Duration,
    ) -> Option<AdmissionPermit> {
        match gate.enter(client.address(), client.standing(), patience).await {
            Ok(held) => Some(AdmissionPermit::new(held, client)),
            Err(cause) => {
                client.refused(cause);
                None
            }
        }
    }

    /// The turnstile through which clients pass until they have been admitted.
    pub(crate) fn turnstile(&self) -> &Arc<Turnstile> {
        &self.turnstile
    }

    /// A permit to keep the connection of a server open, if one is free.
    pub(crate) fn keep_server(&self) -> Option<OwnedSemaphorePermit> {
        self.servers.try_keep()
    }

    /// A permit to keep the connection of a page open, if one is free.
    pub(crate) fn keep_page(&self) -> Option<OwnedSemaphorePermit> {
        self.pages.try_keep()
    }

    /// The clients of each listener.
    pub(crate) fn pending(&self) -> [PendingCounts; 2] {
        let (validated, waiting) = self.quic.counts();
        let quic = validated + self.unvalidated.counts().0;
        let (tcp, tcp_waiting) = self.tcp.counts();
        [
            PendingCounts { listener: "quic", admitted: quic, waiting },
            PendingCounts { listener: "tcp", admitted: tcp, waiting: tcp_waiting },
        ]
    }

    /// Refusals of clients so far, by cause.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }
}

/// The bounds of a listener for clients.
fn bounds(config: &Config) -> PendingBounds {
    let permits = config.limits.pending_handshakes;
    let share = match config.limits.address.pending_links {
        0 => permits,
        share => share,
    };
    PendingBounds {
        permits,
        reserved: permits / RESERVED_SHARE,
        per_address: share,
        waiting: MAX_WAITING,
        patience: config.timeouts.hello() / 2,
    }
}

impl PendingBounds {
    /// Those for clients whose address has not been validated.
    fn of_unvalidated(self) -> Self {
        let permits = self.permits.div_ceil(UNVALIDATED_SHARE);
        Self { permits, reserved: 0, per_address: permits, waiting: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its client gives the handshake five seconds, so the gateway must refuse it while it still waits.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_finds_no_permit_is_refused_after_two_seconds() {
        let mut config = Config::default();
        config.limits.pending_handshakes = 1;
        let admission = Arc::new(AdmissionControl::new(&config));
        let client = |last| admission.tcp_client([192, 0, 2, last].into());
        let _served = admission.enter_tcp(client(1)).await.unwrap();
        let begun = Instant::now();
        assert!(admission.enter_tcp(client(2)).await.is_none());
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }
}
