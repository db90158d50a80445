//! The open QUIC connections, for figures that QUIC keeps itself: lost packets, and the client's address.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use quinn::Connection;
use signalbox_protocol::Transport;
use tokio::task::yield_now;

/// Connections that are read in a row, so that clients do not wait.
const IN_A_ROW: usize = 256;

/// The open QUIC connections of a gateway, WebTransport included.
#[derive(Default)]
pub(crate) struct QuicLinks {
    open: Mutex<HashMap<u64, Watched>>,
    next: AtomicU64,
    quic: PacketCounts,
    webtransport: PacketCounts,
}

/// Sums over all connections of a transport, those that have ended included.
#[derive(Default)]
pub(super) struct PacketCounts {
    pub(super) sent: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) migrations: AtomicU64,
}

/// A connection, and what has been counted of it.
struct Watched {
    connection: Connection,
    transport: Transport,
    sent: u64,
    lost: u64,
    remote: SocketAddr,
}

/// An entry of the open connections. Dropping it removes the connection, after a last count.
pub(crate) struct WatchedLink {
    links: Arc<QuicLinks>,
    number: u64,
}

impl QuicLinks {
    /// Adds a connection.
    pub(crate) fn watch(
        self: &Arc<Self>,
        connection: Connection,
        transport: Transport,
    ) -> WatchedLink {
        let number = self.next.fetch_add(1, Relaxed);
        let remote = connection.remote_address();
        let watched = Watched { connection, transport, sent: 0, lost: 0, remote };
        self.open.lock().insert(number, watched);
        WatchedLink { links: self.clone(), number }
    }

    /// The counts of a transport; none for WebSocket.
    pub(super) fn counts(&self, transport: Transport) -> Option<&PacketCounts> {
        match transport {
            Transport::Quic => Some(&self.quic),
            Transport::WebTransport => Some(&self.webtransport),
            Transport::WebSocket => None,
        }
    }

    /// Brings the counts up to date.
    pub(super) async fn read(&self) {
        let numbers: Vec<u64> = self.open.lock().keys().copied().collect();
        for numbers in numbers.chunks(IN_A_ROW) {
            for number in numbers {
                if let Some(watched) = self.open.lock().get_mut(number) {
                    self.count(watched);
                }
            }
            yield_now().await;
        }
    }

    fn count(&self, watched: &mut Watched) {
        let Some(counts) = self.counts(watched.transport) else { return };
        let path = watched.connection.stats().path;
        let since = |seen: &mut u64, now: u64| now.saturating_sub(std::mem::replace(seen, now));
        counts.sent.fetch_add(since(&mut watched.sent, path.sent_packets), Relaxed);
        counts.lost.fetch_add(since(&mut watched.lost, path.lost_packets), Relaxed);
        let remote = watched.connection.remote_address();
        let moved = std::mem::replace(&mut watched.remote, remote) != remote;
        counts.migrations.fetch_add(moved.into(), Relaxed);
    }
}

impl Drop for WatchedLink {
    fn drop(&mut self) {
        let removed = self.links.open.lock().remove(&self.number);
        if let Some(mut watched) = removed {
            self.links.count(&mut watched);
        }
    }
}
