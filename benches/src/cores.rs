//! One core for the gateway and another one for the generator, so that "requests per second of one
//! core" is what it says.

use anyhow::{Context as _, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// This thread stays on a core of its own until this is dropped.
pub(crate) struct Apart {
    before: CpuSet,
    gateway: usize,
}

impl Apart {
    /// The first core that we may use becomes the gateway's, the second one ours.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let before = sched_getaffinity(None).context("cannot tell which cores may be used")?;
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
    pub(crate) fn gateway(&self) -> usize {
        self.gateway
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What comes next may use all cores again. They were allowed before, so they are now.
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
            assert!(Apart::new().is_err());
            return;
        }
        let apart = Apart::new().unwrap();
        let now = sched_getaffinity(None).unwrap();
        assert_eq!(now.count(), 1);
        assert!(!now.is_set(apart.gateway()) && before.is_set(apart.gateway()));
        drop(apart);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
