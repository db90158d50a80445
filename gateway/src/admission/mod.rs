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

use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

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

/// Time for which a client waits for a permit. Most clients give up sooner.
const MAX_WAIT: Duration = Duration::from_secs(10);

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
    servers: Arc<Semaphore>,
    /// For HTTP connections of pages that have shown a token.
    pages: Arc<Semaphore>,
    rates: Mutex<AddressRates>,
    refusals: Refusals,
    turnstile: Arc<Turnstile>,
    started: Instant,
    proxies: TrustedProxies,
    /// Whether TCP connections come from proxies that are not known, with which clients share an
    /// address.
    tcp_is_proxied: bool,
}

/// Numbers of HTTP connections that are kept open between requests.
struct KeptConnections {
    servers: usize,
    pages: usize,
}

impl AdmissionControl {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let permits = limits.pending_handshakes;
        let share = match limits.address.pending_links {
            0 => permits,
            share => share,
        };
        let bounds = PendingBounds {
            permits,
            reserved: permits / RESERVED_SHARE,
            per_address: share,
            waiting: MAX_WAITING,
            patience: config.timeouts.hello() / 2,
        };
        let kept = KeptConnections {
            servers: limits.http_keep_alive_connections,
            pages: config.opentok_js.kept_connections,
        };
        let proxies = TrustedProxies::new(&config.proxy);
        let tcp_is_proxied = config.tls.plaintext_tcp && proxies.is_empty();
        Self { tcp_is_proxied, proxies, ..Self::with(bounds, kept, limits.address.clone()) }
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
        let kept = KeptConnections { servers: 0, pages: 0 };
        Self::with(bounds, kept, AddressLimitsConfig::NONE)
    }

    fn with(bounds: PendingBounds, kept: KeptConnections, limits: AddressLimitsConfig) -> Self {
        let permits = bounds.permits.div_ceil(UNVALIDATED_SHARE);
        let unvalidated =
            PendingBounds { permits, reserved: 0, per_address: permits, waiting: 0, ..bounds };
        Self {
            quic: AdmissionGate::new(bounds),
            unvalidated: AdmissionGate::new(unvalidated),
            tcp: AdmissionGate::new(bounds),
            servers: Arc::new(Semaphore::new(kept.servers)),
            pages: Arc::new(Semaphore::new(kept.pages)),
            rates: Mutex::new(AddressRates::new(limits)),
            refusals: Refusals::default(),
            turnstile: Arc::default(),
            started: Instant::now(),
            proxies: TrustedProxies::default(),
            tcp_is_proxied: false,
        }
    }

    /// The account of a QUIC client with this address.
    pub(crate) fn quic_client(self: &Arc<Self>, remote: IpAddr) -> ClientAccount {
        ClientAccount::new(self.clone(), remote.into(), false)
    }

    /// The account of a TCP client with this address.
    pub(crate) fn tcp_client(self: &Arc<Self>, remote: IpAddr) -> ClientAccount {
        let is_proxy = self.tcp_is_proxied || self.proxies.contains(remote);
        ClientAccount::new(self.clone(), remote.into(), is_proxy)
    }

    /// The proxies that are believed.
    pub(crate) fn proxies(&self) -> &TrustedProxies {
        &self.proxies
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

    pub(crate) fn servers(&self) -> &Arc<Semaphore> {
        &self.servers
    }

    pub(crate) fn pages(&self) -> &Arc<Semaphore> {
        &self.pages
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
