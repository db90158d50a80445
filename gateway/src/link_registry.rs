//! The links of admitted connections, for operators: the address of each, and the latest that ended.
//!
//! A link is entered when it begins and removed when it ends; nothing here happens for a signal.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use signalbox_protocol::{CloseReason, ConnectionId, SessionId, Transport};
use tokio::task::yield_now;

use crate::{
    clock::{millis, unix_time},
    link_id::LinkId,
    link_rtt::LinkRtt,
};

/// Ended links that are remembered. Beyond it the oldest is forgotten.
const ENDED_LINKS: usize = 256;

/// Links that are read in a row, so that clients do not wait.
const IN_A_ROW: usize = 256;

/// The open links by connection, and the latest ended ones.
#[derive(Default)]
pub(crate) struct LinkRegistry(Mutex<RegistryState>);

#[derive(Default)]
struct RegistryState {
    open: HashMap<ConnectionId, AdmittedLink>,
    /// The latest one last.
    ended: VecDeque<EndedLink>,
}

struct AdmittedLink {
    source: LinkSource,
    transport: Transport,
    since: u64,
    rtt: LinkRtt,
}

/// The present link of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegisteredLink {
    pub(crate) source: LinkSource,
    /// When the link was admitted, in milliseconds since 1970.
    pub(crate) since: u64,
    /// Its round-trip time; none if it has not been measured yet.
    pub(crate) rtt: Option<Duration>,
}

/// Where a link comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkSource {
    /// Its number in the log.
    pub(crate) id: LinkId,
    /// The client's address when the link began.
    pub(crate) remote: SocketAddr,
}

/// A link that has ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndedLink {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// The name of its close reason.
    pub(crate) reason: &'static str,
    pub(crate) transport: Transport,
    pub(crate) session: SessionId,
    pub(crate) connection: ConnectionId,
    pub(crate) address: SocketAddr,
    /// Its number in the log.
    pub(crate) link: u64,
}

/// The entry of an open link. Dropping it removes the entry.
pub(crate) struct LinkEntry<'a> {
    registry: &'a LinkRegistry,
    connection: ConnectionId,
    source: LinkSource,
    transport: Transport,
}

impl LinkRegistry {
    /// Enters a link that was admitted.
    pub(crate) fn enter(
        &self,
        connection: ConnectionId,
        source: LinkSource,
        transport: Transport,
        rtt: LinkRtt,
    ) -> LinkEntry<'_> {
        let link = AdmittedLink { source, transport, since: millis(unix_time()), rtt };
        // A connection that moves to another link is entered again before its earlier link ends.
        let earlier = self.0.lock().open.insert(connection, link);
        // Without the lock, as it may close a QUIC connection.
        drop(earlier);
        LinkEntry { registry: self, connection, source, transport }
    }

    /// The present link of a connection.
    pub(crate) fn of(&self, connection: ConnectionId) -> Option<RegisteredLink> {
        self.0.lock().open.get(&connection).map(|link| RegisteredLink {
            source: link.source,
            since: link.since,
            rtt: link.rtt.current(),
        })
    }

    /// Calls `observe` with the round-trip time of each open link of which it is known. Other tasks run
    /// in between.
    pub(crate) async fn read_rtts(&self, observe: impl Fn(Transport, Duration)) {
        let connections: Vec<_> = self.0.lock().open.keys().copied().collect();
        for connections in connections.chunks(IN_A_ROW) {
            for connection in connections {
                let measured = self
                    .0
                    .lock()
                    .open
                    .get(connection)
                    .and_then(|link| Some((link.transport, link.rtt.current()?)));
                if let Some((transport, rtt)) = measured {
                    observe(transport, rtt);
                }
            }
            yield_now().await;
        }
    }

    /// The links that have ended, the latest first; at most this number.
    pub(crate) fn latest_ended(&self, limit: usize) -> Vec<EndedLink> {
        self.0.lock().ended.iter().rev().take(limit).cloned().collect()
    }
}

impl LinkEntry<'_> {
    /// The link ends for this reason.
    pub(crate) fn end(self, session: SessionId, reason: CloseReason) {
        let LinkSource { id, remote } = self.source;
        let ended = EndedLink {
            at: millis(unix_time()),
            reason: reason.name(),
            transport: self.transport,
            session,
            connection: self.connection,
            address: remote,
            link: id.number(),
        };
        let mut state = self.registry.0.lock();
        if state.ended.len() >= ENDED_LINKS {
            state.ended.pop_front();
        }
        state.ended.push_back(ended);
    }
}

impl Drop for LinkEntry<'_> {
    fn drop(&mut self) {
        let mut state = self.registry.0.lock();
        let is_own = |link: &AdmittedLink| link.source.id == self.source.id;
        let is_present = state.open.get(&self.connection).is_some_and(is_own);
        let removed = is_present.then(|| state.open.remove(&self.connection));
        drop(state);
        // Without the lock, as it may close a QUIC connection.
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CONNECTION: ConnectionId = ConnectionId::from_bytes([1; 16]);

    fn source(port: u16) -> LinkSource {
        LinkSource { id: LinkId::next(), remote: ([127, 0, 0, 1], port).into() }
    }

    /// Enters a link over a WebSocket.
    fn enter(registry: &LinkRegistry, port: u16) -> LinkEntry<'_> {
        let rtt = LinkRtt::Ping(Arc::default());
        registry.enter(CONNECTION, source(port), Transport::WebSocket, rtt)
    }

    fn session() -> SessionId {
        "2_MX4xMDB-fjE3OTU5MDMyMDAwMDB-MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwfn4".parse().unwrap()
    }

    #[test]
    fn a_link_that_was_replaced_does_not_remove_the_present_one() {
        let registry = LinkRegistry::default();
        let earlier = enter(&registry, 1);
        let present = enter(&registry, 2);
        earlier.end(session(), CloseReason::Superseded);
        assert_eq!(registry.of(CONNECTION).unwrap().source.remote.port(), 2);
        drop(present);
        assert!(registry.of(CONNECTION).is_none());
    }

    #[test]
    fn the_oldest_ended_link_is_forgotten() {
        let registry = LinkRegistry::default();
        for port in 0..300 {
            enter(&registry, port).end(session(), CloseReason::ClientDisconnected);
        }
        let ended = registry.latest_ended(usize::MAX);
        assert_eq!(ended.len(), ENDED_LINKS);
        assert_eq!(ended[0].address.port(), 299);
        assert_eq!(ended[ENDED_LINKS - 1].address.port(), 300 - ENDED_LINKS as u16);
    }
}
