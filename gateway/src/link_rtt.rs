//! The round-trip time of a link, for operators.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

/// Where the round-trip time of a link is read.
pub(crate) enum LinkRtt {
    /// From QUIC, which measures and smooths it with the acknowledgements of its packets.
    Quic(quinn::Connection),
    /// From the pings of a WebSocket.
    Ping(Arc<LatestRtt>),
}

impl LinkRtt {
    /// The present value; none if nothing has been measured yet.
    pub(crate) fn current(&self) -> Option<Duration> {
        match self {
            Self::Quic(connection) => Some(connection.rtt()),
            Self::Ping(latest) => latest.get(),
        }
    }
}

/// A round-trip time that is measured now and then.
#[derive(Debug, Default)]
pub(crate) struct LatestRtt {
    /// In microseconds; zero before the first one.
    micros: AtomicU32,
}

impl LatestRtt {
    /// The latest one. More than an hour counts as an hour.
    pub(crate) fn set(&self, rtt: Duration) {
        let micros = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        self.micros.store(micros.max(1), Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Duration> {
        let micros = self.micros.load(Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }
}
