//! A connection to the TCP port, as its HTTP requests see it: its permit, and its time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use crate::admission::{AdmissionControl, AdmissionPermit};

/// Minimum time of a server's request, from its head to the end of the response: the time for which
/// a server that does not read its response can hold a connection.
pub(crate) const EXCHANGE: Duration = Duration::from_secs(30);

/// A connection to the TCP port. Clones share it.
#[derive(Clone)]
pub(crate) struct HttpConnection(Arc<ConnectionState>);

struct ConnectionState {
    remote: SocketAddr,
    /// Deadline of a client without a credential.
    hello_by: Instant,
    /// Source of a WebSocket's permit if the connection's own has been returned.
    admission: Arc<AdmissionControl>,
    authentication: Mutex<Authentication>,
}

enum Authentication {
    /// No credential has been shown.
    Pending(AdmissionPermit),
    /// A server's credential was valid, and a server permit was free.
    Server { _permit: OwnedSemaphorePermit },
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
        remote: SocketAddr,
        hello_by: Instant,
        permit: AdmissionPermit,
        admission: Arc<AdmissionControl>,
    ) -> Self {
        let authentication = Mutex::new(Authentication::Pending(permit));
        Self(Arc::new(ConnectionState { remote, hello_by, admission, authentication }))
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    /// The permit that a WebSocket holds until its welcome: the connection's own, or a new one of
    /// the listener if the connection is a server's. `None` if no permit is free by the deadline.
    pub(crate) async fn link_permit(&self, by: Instant) -> Option<AdmissionPermit> {
        if let Authentication::Pending(permit) = &*self.0.authentication.lock() {
            return Some(permit.clone());
        }
        let permit =
            timeout_at(by, self.0.admission.tcp().clone().acquire_owned()).await.ok()?.ok()?;
        Some(Arc::new(permit))
    }

    /// Exchanges the admission permit for a server permit, if one is free, because a valid
    /// credential has been shown.
    pub(crate) fn promote_to_server(&self) {
        let mut authentication = self.0.authentication.lock();
        if let Authentication::Pending(_) = *authentication
            && let Ok(permit) = self.0.admission.servers().clone().try_acquire_owned()
        {
            *authentication = Authentication::Server { _permit: permit };
        }
    }

    /// Deadline by which the connection must have left `phase`. A server has time, but no other
    /// client holds a permit much longer than for a hello, for which `hello` is the time.
    pub(crate) fn deadline(&self, phase: Phase, hello: Duration) -> Option<Instant> {
        match (&*self.0.authentication.lock(), phase) {
            (Authentication::Pending(_), Phase::New) => Some(self.0.hello_by),
            (Authentication::Pending(_), _) => Some(self.0.hello_by + hello),
            // Before the response there may be a wait for a permit and one for the body.
            (Authentication::Server { .. }, Phase::Exchange { since }) => {
                Some(since + EXCHANGE.max(3 * hello))
            }
            // hyper bounds the time between requests.
            (Authentication::Server { .. }, _) => None,
        }
    }

    /// Whether the connection has a server permit.
    pub(crate) fn is_server(&self) -> bool {
        matches!(*self.0.authentication.lock(), Authentication::Server { .. })
    }

    /// Whether it may stay open after the current response.
    pub(crate) fn may_stay_open(&self) -> bool {
        self.is_server() || Instant::now() < self.0.hello_by
    }
}
