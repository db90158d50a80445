//! Random numbers that a seed reproduces.

use rand_pcg::{Pcg64, rand_core::Rng as _};

/// A stream of random numbers. The same seed and stream number give the same numbers on every
/// machine and in every version, because PCG is a fixed algorithm.
#[derive(Debug, Clone)]
pub(crate) struct SeededRandom(Pcg64);

impl SeededRandom {
    /// Streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(Pcg64::new(seed.into(), stream.into()))
    }

    /// Uniformly distributed from 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        // An f64 has 53 bits of precision.
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_never_change() {
        let mut random = SeededRandom::new(7, 1);
        let expected = [16_193_856_405_681_199_498, 9_816_695_004_564_706_232];
        assert_eq!([(); 2].map(|()| random.0.next_u64()), expected);
    }

    #[test]
    fn shares_are_uniformly_distributed() {
        let mut random = SeededRandom::new(7, 0);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            tenths[(random.share() * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1100).contains(count)), "{tenths:?}");
    }
}
