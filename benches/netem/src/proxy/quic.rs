//! The visible parts of QUIC packets: header forms and connection ids (RFC 8999, RFC 9000 §17).

use std::collections::HashSet;

use tokio::sync::watch;

/// Length of the connection ids of both ends.
const ID: usize = 8;

/// Datagrams of handshakes that are captured.
const MAX_CAPTURED: usize = 10_000;

/// The connections of all clients, by what has been seen of them.
#[derive(Debug)]
pub(super) struct QuicPackets {
    /// Datagrams of clients with long headers.
    captured: Vec<Vec<u8>>,
    /// Ids that clients chose for themselves: one for each connection.
    client_ids: HashSet<Vec<u8>>,
    begun: watch::Sender<usize>,
    /// Ids that address the server.
    server_ids: HashSet<[u8; ID]>,
    /// Those of connections that were cut.
    cut_ids: HashSet<[u8; ID]>,
}

impl Default for QuicPackets {
    fn default() -> Self {
        Self {
            captured: Vec::new(),
            client_ids: HashSet::new(),
            begun: watch::Sender::new(0),
            server_ids: HashSet::new(),
            cut_ids: HashSet::new(),
        }
    }
}

impl QuicPackets {
    /// Notes a client's datagram; whether its connection was not cut.
    pub(super) fn client_sent(&mut self, datagram: &[u8]) -> bool {
        if is_handshake(datagram) {
            if self.captured.len() < MAX_CAPTURED {
                self.captured.push(datagram.to_vec());
            }
            if self.client_ids.insert(source(datagram).to_vec()) {
                self.begun.send_replace(self.client_ids.len());
            }
            return true;
        }
        // A short header has the id at a fixed place, and no length.
        let Some(id) = datagram.get(1..).and_then(<[u8]>::first_chunk) else { return true };
        self.server_ids.insert(*id);
        !self.cut_ids.contains(id)
    }

    /// Notes a server's datagram.
    pub(super) fn server_sent(&mut self, datagram: &[u8]) {
        self.server_ids.extend(source(datagram).first_chunk());
    }

    /// All connections so far have been cut.
    pub(super) fn cut(&mut self) {
        self.cut_ids.extend(self.server_ids.drain());
    }

    /// The number of connections that clients have begun.
    pub(super) fn begun(&self) -> watch::Receiver<usize> {
        self.begun.subscribe()
    }

    /// Captured datagrams with early data.
    pub(super) fn early_data(&self) -> Vec<Vec<u8>> {
        self.captured.iter().filter(|datagram| has_early_data(datagram)).cloned().collect()
    }

    /// Captured datagrams of connections with early data.
    pub(super) fn captured(&self) -> Vec<Vec<u8>> {
        let early = self.captured.iter().filter(|datagram| has_early_data(datagram));
        let ids: HashSet<_> = early.map(|datagram| destination(datagram)).collect();
        let captured = self.captured.iter();
        captured.filter(|datagram| ids.contains(destination(datagram))).cloned().collect()
    }
}

/// Whether a datagram begins with a long header, which only packets of a handshake have.
pub(super) fn is_handshake(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 != 0)
}

/// Whether one of the packets in a datagram has early data, by the type in its long header.
fn has_early_data(mut datagram: &[u8]) -> bool {
    while let Some((first, rest)) = datagram.split_first() {
        if first & 0x80 == 0 {
            return false;
        }
        if first & 0x30 == 0x10 {
            return true;
        }
        let mut rest = rest.get(4..).unwrap_or_default();
        for _ in 0..2 {
            let Some((length, more)) = rest.split_first() else { return false };
            rest = more.get(usize::from(*length)..).unwrap_or_default();
        }
        if first & 0x30 == 0 {
            let token = varint(&mut rest);
            rest = rest.get(token..).unwrap_or_default();
        }
        let length = varint(&mut rest);
        datagram = rest.get(length..).unwrap_or_default();
    }
    false
}

/// The connection id that a long header is addressed to.
fn destination(datagram: &[u8]) -> &[u8] {
    let Some((length, rest)) = datagram.get(5..).and_then(<[_]>::split_first) else { return &[] };
    rest.get(..usize::from(*length)).unwrap_or_default()
}

/// The connection id of the sender of a long header; empty for a short one.
fn source(datagram: &[u8]) -> &[u8] {
    let after = datagram.get(6 + destination(datagram).len()..);
    let after = after.filter(|_| is_handshake(datagram));
    let Some((length, rest)) = after.and_then(<[_]>::split_first) else { return &[] };
    rest.get(..usize::from(*length)).unwrap_or_default()
}

/// A variable-length integer (RFC 9000 §16), taken off the front.
fn varint(bytes: &mut &[u8]) -> usize {
    let Some((first, rest)) = bytes.split_first() else { return 0 };
    let (tail, rest) = rest.split_at_checked((1 << (first >> 6)) - 1).unwrap_or_default();
    *bytes = rest;
    tail.iter().fold(usize::from(first & 0x3f), |number, byte| number << 8 | usize::from(*byte))
}
