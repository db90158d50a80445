//! Overload of the whole gateway: too many connections, or too much memory. New clients are refused then;
//! clients that resume and servers are not.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::{admission::RefusalCause, config::LimitsConfig};

/// Interval at which the resident memory is read. Between two, a flood of joins takes some tens of
/// megabytes.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bounds of the whole gateway.
#[derive(Debug)]
pub(crate) struct Overload {
    connections: AtomicUsize,
    /// 0 means no limit.
    memory_bytes: AtomicU64,
    /// As it was last read; 0 before that.
    resident_bytes: AtomicU64,
}

impl Overload {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        let (connections, memory_bytes) = (limits.connections.into(), limits.memory_bytes.into());
        Self { connections, memory_bytes, resident_bytes: AtomicU64::new(0) }
    }

    /// Replaces the bounds.
    pub(crate) fn set(&self, limits: &LimitsConfig) {
        self.connections.store(limits.connections, Ordering::Relaxed);
        self.memory_bytes.store(limits.memory_bytes, Ordering::Relaxed);
    }

    /// The reason not to take another client, if there is one. `connections` are those of the gateway.
    pub(crate) fn refuses(&self, connections: usize) -> Option<RefusalCause> {
        if connections >= self.connections.load(Ordering::Relaxed) {
            return Some(RefusalCause::Connections);
        }
        let resident = self.resident_bytes.load(Ordering::Relaxed);
        let limit = self.memory_bytes.load(Ordering::Relaxed);
        (limit > 0 && resident > limit).then_some(RefusalCause::Memory)
    }

    /// Reads the resident memory until it is dropped, if it is limited.
    pub(crate) async fn watch(&self) {
        let mut due = interval(INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            if self.memory_bytes.load(Ordering::Relaxed) > 0
                && let Some(resident) = resident_bytes()
            {
                self.note(resident);
            }
        }
    }

    fn note(&self, resident: u64) {
        let before = self.resident_bytes.swap(resident, Ordering::Relaxed);
        let limit = self.memory_bytes.load(Ordering::Relaxed);
        match (before > limit, resident > limit) {
            (false, true) => {
                warn!(resident, limit, "memory limit reached; new clients are refused");
            }
            (true, false) => info!(resident, "memory below its limit; new clients are accepted"),
            _ => {}
        }
    }
}

/// Resident memory of the process, in bytes. The kernel makes up this file when it is read, so reading
/// it blocks no longer than any system call.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overload(connections: usize, memory_bytes: u64) -> Overload {
        Overload::new(&LimitsConfig { connections, memory_bytes, ..LimitsConfig::default() })
    }

    #[test]
    fn new_clients_are_refused_at_either_bound() {
        let overload = overload(10, 1000);
        assert_eq!(overload.refuses(9), None);
        assert_eq!(overload.refuses(10), Some(RefusalCause::Connections));
        overload.note(1001);
        assert_eq!(overload.refuses(9), Some(RefusalCause::Memory));
        overload.note(1000);
        assert_eq!(overload.refuses(9), None);
    }

    #[test]
    fn without_a_bound_memory_does_not_matter() {
        let overload = overload(10, 0);
        overload.note(u64::MAX);
        assert_eq!(overload.refuses(9), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn resident_memory_is_that_of_a_process() {
        let bytes = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
}
