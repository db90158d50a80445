//! Numbers of accepted connections, by which the log lines of one link are found.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tracing::{Span, error_span, field};

/// The last number. One for the process, as its log is.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The number of an accepted QUIC or TCP connection, from its handshake to the end of its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkId(u64);

impl LinkId {
    /// The number of the next connection.
    pub(crate) fn next() -> Self {
        Self(LAST.fetch_add(1, Relaxed) + 1)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The span of a connection that is no link yet: its handshakes, and its HTTP requests. Its
    /// level is that of an error, so that every line has it at every level.
    pub(crate) fn span(self, remote: Option<SocketAddr>) -> Span {
        let remote = remote.map(field::display);
        error_span!(parent: None, "client", id = self.0, remote)
    }
}
