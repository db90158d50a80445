//! One core for the gateway and one for the generator, so that "requests per second on one core" is
//! true.

use anyhow::{Context as _, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread on a core of its own until it is dropped.
pub struct PinnedCores {
    before: CpuSet,
    gateway: usize,
}

impl PinnedCores {
    /// The first allowed core becomes the gateway's, the second one ours.
    pub fn new() -> anyhow::Result<Self> {
        let before = sched_getaffinity(None).context("cannot tell which cores are allowed")?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core));
        let (Some(gateway), Some(own)) = (allowed.next(), allowed.next()) else {
            bail!("this needs two cores, one for the gateway and one for the generator");
        };
        let mut only = CpuSet::new();
        only.set(own);
        sched_setaffinity(None, &only).with_context(|| format!("cannot stay on core {own}"))?;
        Ok(Self { before, gateway })
    }

    /// The core for the gateway.
    pub fn gateway(&self) -> usize {
        self.gateway
    }
}

impl Drop for PinnedCores {
    fn drop(&mut self) {
        // They were allowed before, so they still are.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_alone_on_a_core_and_then_free_again() {
        let before = sched_getaffinity(None).unwrap();
        if before.count() < 2 {
            assert!(PinnedCores::new().is_err());
            return;
        }
        let cores = PinnedCores::new().unwrap();
        let now = sched_getaffinity(None).unwrap();
        assert_eq!(now.count(), 1);
        assert!(!now.is_set(cores.gateway()) && before.is_set(cores.gateway()));
        drop(cores);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
