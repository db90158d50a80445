//! Refusals of clients before they are admitted: the causes, how often each occurred, and the log.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::prefix::AddressPrefix;

/// Time between two log lines about one cause.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $cause:ident = $name:literal, $setting:literal;)+) => {
        /// The cause of a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum RefusalCause {
            $($(#[doc = $doc])+ $cause,)+
        }

        impl RefusalCause {
            /// All causes, in the order of their declaration.
            pub(crate) const ALL: [Self; [$($name),+].len()] = [$(Self::$cause),+];

            /// The name, for logs and counters.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$cause => $name,)+ }
            }

            /// The setting that decides.
            pub(crate) fn setting(self) -> &'static str {
                match self { $(Self::$cause => $setting,)+ }
            }
        }
    };
}

causes! {
    /// The address opens too many links.
    Links = "links", "limits.address.links_per_second";
    /// The address sends too many HTTP requests without a valid credential.
    Requests = "requests", "limits.address.requests_per_second";
    /// The address presents too many invalid tokens or credentials.
    InvalidTokens = "invalidTokens", "limits.address.invalid_tokens_per_second";
    /// Too many clients wait for a permit, and the address has the most of them.
    Crowded = "crowded", "limits.pending_handshakes";
    /// It has waited for a permit for too long.
    Waited = "waited", "limits.pending_handshakes";
    /// It lost its permit to another client before it was admitted.
    Evicted = "evicted", "limits.pending_handshakes";
    /// The gateway has as many connections as it may.
    Connections = "connections", "limits.connections";
    /// The gateway uses more memory than it may.
    Memory = "memory", "limits.memory_bytes";
}

/// The number of refusals by cause.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counters: [RefusalCounter; RefusalCause::ALL.len()],
}

#[derive(Debug, Default)]
struct RefusalCounter {
    count: AtomicU64,
    /// The time of the last log line, and the count at that time.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Refusals {
    /// Counts a refusal. Logs the first of its cause in some time, with the number of those since the
    /// last log line.
    pub(crate) fn note(&self, cause: RefusalCause, address: AddressPrefix) {
        let Some(counter) = self.counters.get(cause as usize) else { return };
        let count = counter.count.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let mut logged = counter.logged.lock();
        if logged.is_some_and(|(at, _)| now < at + LOG_INTERVAL) {
            return;
        }
        let clients = count - logged.map_or(0, |(_, before)| before);
        *logged = Some((now, count));
        drop(logged);
        warn!(cause = cause.name(), clients, last = %address, setting = cause.setting(), "clients refused");
    }

    /// Refusals so far for this cause.
    pub(crate) fn count(&self, cause: RefusalCause) -> u64 {
        self.counters.get(cause as usize).map_or(0, |it| it.count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_cause() {
        let refusals = Refusals::default();
        let address = AddressPrefix::V4([192, 0, 2, 1].into());
        for (times, cause) in RefusalCause::ALL.into_iter().enumerate() {
            for _ in 0..times {
                refusals.note(cause, address);
            }
        }
        let counts = RefusalCause::ALL.map(|cause| refusals.count(cause));
        assert_eq!(counts.to_vec(), (0..RefusalCause::ALL.len() as u64).collect::<Vec<_>>());
    }
}
