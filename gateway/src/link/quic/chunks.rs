//! A bound on the chunks that quinn holds for one client.
//!
//! quinn keeps each chunk that it is given until the client has acknowledged it, with 32 bytes of
//! overhead, and finds the bytes of a packet by walking over all chunks from the first. For a client
//! that acknowledges nothing, signals of a few bytes each would make 200,000 chunks: several
//! megabytes beside the one that may be unacknowledged, and a walk a thousand times as long for each
//! packet.
//!
//! So a stream's queued frames are given as one chunk ([`super::stream_queue`]). After a number of
//! small chunks, further small ones wait until nearly everything is acknowledged, or until more
//! frames have gathered behind them.

use quinn::Connection;

/// Bytes towards one client that may be unacknowledged. A slow or hostile client can hold this much
/// beside its outbox.
pub(crate) const SEND_WINDOW: u64 = 1024 * 1024;

/// Chunks of fewer bytes are small. The walk over as many larger ones as fit the send window is short.
pub(super) const SMALL: usize = 1024;

/// Small chunks that are given without delay.
const FREE: u32 = 512;

/// Unacknowledged bytes up to which the client is considered responsive.
const CALM: u64 = 16 * 1024;

/// Limits the small chunks of one connection.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Small chunks given since the client was last responsive.
    small: u32,
    /// Whether the send window is narrow: quinn then accepts a chunk only from a responsive client.
    narrow: bool,
}

impl Chunks {
    /// Prepares the connection for a chunk of this length.
    pub(super) fn prepare(&mut self, connection: &Connection, len: usize) {
        if let Some(window) = self.window_for(len) {
            connection.set_send_window(window);
        }
    }

    /// The send window for a chunk, if it differs from the one for the previous chunk.
    fn window_for(&mut self, len: usize) -> Option<u64> {
        let narrow = len < SMALL && self.small >= FREE;
        if std::mem::replace(&mut self.narrow, narrow) == narrow {
            return None;
        }
        Some(if narrow { CALM } else { SEND_WINDOW })
    }

    /// The connection has accepted a chunk, or the first part of one.
    pub(super) fn written(&mut self, len: usize) {
        if self.narrow {
            self.small = 0;
        }
        if len < SMALL {
            self.small += 1;
        }
    }

    /// Lets the next chunk pass without delay, for the link's own messages, which are rare.
    pub(super) fn reset(&mut self) {
        self.small = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// quinn's side, for a client that acknowledges nothing: the chunks and bytes that it holds.
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
                chunks.written(len);
            }
            taken == len as u64
        }
    }

    #[test]
    fn a_client_that_acknowledges_nothing_is_given_few_chunks_however_small_they_are() {
        for len in [1, 5, 20, 100, 1000] {
            let (mut chunks, mut silent) = (Chunks::default(), Silent::new());
            while silent.offer(&mut chunks, len) {}
            // Refused frames gather, and pass once they are no small chunk any more.
            while silent.offer(&mut chunks, SMALL) {
                assert!(!silent.offer(&mut chunks, len) || silent.bytes < CALM);
            }
            assert!(silent.bytes <= SEND_WINDOW);
            let bound = CALM + u64::from(FREE) + SEND_WINDOW / SMALL as u64;
            assert!(silent.chunks < bound, "{len}: {}", silent.chunks);
            // With the smallest possible signals it is far below that.
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
        chunks.reset();
        assert!(silent.offer(&mut chunks, 100));
    }
}
