//! A connection to the TCP port, as its HTTP requests see it: its permit, and its time.

use std::{
    future::{Future, pending},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::http::HeaderMap;
use parking_lot::Mutex;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    admission::{AddressRate, AdmissionPermit, ClientAccount},
    link_id::LinkId,
};

/// Minimum time of a server's request, from its head to the end of the response: the time for which
/// a server that does not read its response can hold a connection.
pub(crate) const EXCHANGE: Duration = Duration::from_secs(30);

/// A connection to the TCP port. Clones share it.
#[derive(Clone)]
pub(crate) struct HttpConnection(Arc<ConnectionState>);

struct ConnectionState {
    id: LinkId,
    remote: SocketAddr,
    /// Deadline of a client without a credential.
    hello_by: Instant,
    client: ClientAccount,
    authentication: Mutex<Authentication>,
}

enum Authentication {
    /// The connection has an admission permit.
    Pending {
        permit: AdmissionPermit,
        /// A server's credential was valid, but no server permit was free.
        is_server: bool,
    },
    /// A server's credential was valid, and a server permit was free.
    Server { _permit: OwnedSemaphorePermit },
    /// A page's token was valid, and a permit for pages was free.
    Page { _permit: OwnedSemaphorePermit },
    /// It receives a response without an end. It keeps its admission permit, and may lose it.
    Stream { _permit: AdmissionPermit },
}

/// The client of a request.
#[derive(Clone)]
pub(crate) struct RequestClient {
    pub(crate) remote: SocketAddr,
    pub(crate) account: ClientAccount,
    /// Whether a trusted proxy, which may serve many clients over one connection, has named it.
    pub(crate) is_behind_proxy: bool,
}

impl RequestClient {
    /// Whether the client has not shown a credential, as far as the connection tells.
    pub(crate) fn is_stranger(&self, connection: &HttpConnection) -> bool {
        self.is_behind_proxy || !connection.is_kept()
    }
}

/// State of a connection between and during requests.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// There has been no request.
    New,
    /// A request is being read or answered.
    Exchange { since: Instant },
    /// The last response has been handed to the socket.
    Idle,
}

impl HttpConnection {
    pub(crate) fn new(
        id: LinkId,
        remote: SocketAddr,
        hello_by: Instant,
        permit: AdmissionPermit,
    ) -> Self {
        let client = permit.client().clone();
        let authentication = Mutex::new(Authentication::Pending { permit, is_server: false });
        Self(Arc::new(ConnectionState { id, remote, hello_by, client, authentication }))
    }

    /// Its number in the log.
    pub(crate) fn id(&self) -> LinkId {
        self.0.id
    }

    /// The permit that a WebSocket holds until its welcome: the connection's own, or a new one of
    /// the listener if the connection is kept open. `None` if no permit is free by the deadline.
    pub(crate) async fn link_permit(&self, by: Instant) -> Option<AdmissionPermit> {
        if let Authentication::Pending { permit, .. } = &*self.0.authentication.lock() {
            return Some(permit.clone());
        }
        let patience = by.saturating_duration_since(Instant::now());
        self.0.client.admission().enter_tcp_within(self.0.client.clone(), patience).await
    }

    /// Waits until another client gets the admission permit.
    pub(crate) fn evicted(&self) -> impl Future<Output = ()> + Send + use<> {
        let evicted = match &*self.0.authentication.lock() {
            Authentication::Pending { permit, .. } => Some(permit.evicted()),
            _ => None,
        };
        async {
            match evicted {
                Some(evicted) => evicted.await,
                None => pending().await,
            }
        }
    }

    /// The client of a request with these headers: that of the connection, unless a trusted proxy has
    /// named another one.
    pub(crate) fn client_of(&self, headers: &HeaderMap) -> RequestClient {
        let ConnectionState { remote, client, .. } = &*self.0;
        let proxies = client.admission().proxies();
        let named = proxies.contains(remote.ip()).then(|| proxies.client(headers)).flatten();
        match named {
            Some(named) => RequestClient {
                remote: named,
                account: client.admission().tcp_client(named.ip()),
                is_behind_proxy: true,
            },
            None => {
                RequestClient { remote: *remote, account: client.clone(), is_behind_proxy: false }
            }
        }
    }

    /// Exchanges the admission permit for a server permit, if one is free, because this client has
    /// shown a valid credential. The rates of its address are for clients without one.
    pub(crate) fn promote_to_server(&self, client: &RequestClient) {
        if client.is_stranger(self) {
            client.account.refund(AddressRate::Requests);
        }
        let mut authentication = self.0.authentication.lock();
        let Authentication::Pending { is_server, .. } = &mut *authentication else { return };
        if !std::mem::replace(is_server, true) {
            self.0.client.refund(AddressRate::Links);
        }
        if let Some(permit) = self.0.client.admission().keep_server() {
            *authentication = Authentication::Server { _permit: permit };
        }
    }

    /// Exchanges the admission permit for one of a page, if one is free, because this client has
    /// shown a valid token.
    pub(crate) fn keep_for_page(&self, client: &RequestClient) {
        if client.is_stranger(self) {
            client.account.refund(AddressRate::Requests);
        }
        let mut authentication = self.0.authentication.lock();
        if let Authentication::Pending { .. } = *authentication
            && let Some(permit) = self.0.client.admission().keep_page()
        {
            *authentication = Authentication::Page { _permit: permit };
        }
    }

    /// Lets the current response take any time. For clients that are trusted with it.
    pub(crate) fn stream(&self) {
        let mut authentication = self.0.authentication.lock();
        if let Authentication::Pending { permit, .. } = &*authentication {
            *authentication = Authentication::Stream { _permit: permit.clone() };
        }
    }

    /// Deadline by which the connection must have left `phase`. A server has time, but no other
    /// client holds a permit much longer than for a hello, for which `hello` is the time.
    pub(crate) fn deadline(&self, phase: Phase, hello: Duration) -> Option<Instant> {
        match (&*self.0.authentication.lock(), phase) {
            (Authentication::Pending { .. }, Phase::New) => Some(self.0.hello_by),
            (Authentication::Pending { .. }, _) => Some(self.0.hello_by + hello),
            // Before the response there may be a wait for a permit and one for the body.
            (
                Authentication::Server { .. } | Authentication::Page { .. },
                Phase::Exchange { since },
            ) => Some(since + EXCHANGE.max(3 * hello)),
            // hyper bounds the time between requests.
            _ => None,
        }
    }

    /// Whether the connection has a server permit.
    pub(crate) fn is_server(&self) -> bool {
        matches!(*self.0.authentication.lock(), Authentication::Server { .. })
    }

    /// Whether the connection is kept open between requests.
    pub(crate) fn is_kept(&self) -> bool {
        !matches!(*self.0.authentication.lock(), Authentication::Pending { .. })
    }

    /// Whether it may stay open after the current response.
    pub(crate) fn may_stay_open(&self) -> bool {
        self.is_kept() || Instant::now() < self.0.hello_by
    }
}
