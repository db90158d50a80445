//! A bound on the chunks that QUIC holds for one client.
//!
//! quinn keeps each chunk that it is given until the client has acknowledged it, with 32 bytes for
//! itself, and finds the bytes of a packet by walking over all chunks from the first. For a client
//! that acknowledges nothing, signals of a few bytes each would make that 200,000 chunks: several
//! megabytes beside the one that may be unacknowledged, and a thousandfold walk for each packet.
//!
//! So a lane gives what waits in one chunk ([`super::lane`]); and once a number of small chunks has
//! been given, further small ones wait until nearly everything is acknowledged, or until more has
//! gathered behind them.

use quinn::Connection;

/// Bytes towards one client that may be unacknowledged: what one slow or hostile client may hold
/// beside its outbox.
pub(crate) const SEND_WINDOW: u64 = 1024 * 1024;

/// A chunk of fewer bytes is small. The walk over as many others as the send window has room for is
/// short.
pub(super) const SMALL: usize = 1024;

/// Small chunks that are given as they come.
const FREE: u32 = 512;

/// With no more than that unacknowledged, it is not for the client's silence that chunks pile up.
const CALM: u64 = 16 * 1024;

/// Decides what one connection may be given.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Small ones that were given since the connection was calm.
    small: u32,
    /// The send window is such that the connection takes something only if it is calm.
    narrow: bool,
}

impl Chunks {
    /// Prepares for giving so many bytes.
    pub(super) fn prepare(&mut self, connection: &Connection, len: usize) {
        if let Some(window) = self.window_for(len) {
            connection.set_send_window(window);
        }
    }

    /// The send window that a chunk needs, if it is another than for the one before.
    fn window_for(&mut self, len: usize) -> Option<u64> {
        let narrow = len < SMALL && self.small >= FREE;
        if std::mem::replace(&mut self.narrow, narrow) == narrow {
            return None;
        }
        Some(if narrow { CALM } else { SEND_WINDOW })
    }

    /// The connection has taken a chunk, or the first part of one.
    pub(super) fn given(&mut self, len: usize) {
        if self.narrow {
            self.small = 0;
        }
        if len < SMALL {
            self.small += 1;
        }
    }

    /// What comes next is the link's own word, which is rare: it waits for no acknowledgements.
    pub(super) fn free(&mut self) {
        self.small = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// quinn's half of it, for a client of which nothing arrives: what it holds, and how much it
    /// takes.
    struct Silent {
        window: u64,
        bytes: u64,
        chunks: u64,
    }

    impl Silent {
        fn new() -> Self {
            Self { window: SEND_WINDOW, bytes: 0, chunks: 0 }
        }

        fn offer(&mut self, chunks: &mut Chunks, len: usize) -> bool {
            if let Some(window) = chunks.window_for(len) {
                self.window = window;
            }
            let taken = (len as u64).min(self.window.saturating_sub(self.bytes));
            if taken > 0 {
                self.bytes += taken;
                self.chunks += 1;
                chunks.given(len);
            }
            taken == len as u64
        }
    }

    #[test]
    fn a_client_that_acknowledges_nothing_is_given_few_chunks_however_small_they_are() {
        for len in [1, 5, 20, 100, 1000] {
            let (mut chunks, mut silent) = (Chunks::default(), Silent::new());
            while silent.offer(&mut chunks, len) {}
            // What did not go gathers, and goes when it is no small chunk any more.
            while silent.offer(&mut chunks, SMALL) {
                assert!(!silent.offer(&mut chunks, len) || silent.bytes < CALM);
            }
            assert!(silent.bytes <= SEND_WINDOW);
            let bound = CALM + u64::from(FREE) + SEND_WINDOW / SMALL as u64;
            assert!(silent.chunks < bound, "{len}: {}", silent.chunks);
            // With signals of the least size that there is it is far below that.
            assert!(len < 5 || silent.chunks < 6000, "{len}: {}", silent.chunks);
        }
    }

    #[test]
    fn a_client_that_acknowledges_is_given_everything_as_it_comes() {
        let (mut chunks, mut client) = (Chunks::default(), Silent::new());
        for _ in 0..100_000 {
            assert!(client.offer(&mut chunks, 100));
            client.bytes %= CALM / 2;
        }
    }

    #[test]
    fn the_links_own_word_does_not_wait() {
        let (mut chunks, mut silent) = (Chunks::default(), Silent::new());
        while silent.offer(&mut chunks, 100) {}
        chunks.free();
        assert!(silent.offer(&mut chunks, 100));
    }
}
