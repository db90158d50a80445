//! Rates of each client address, and the addresses that clients have been admitted from. Time is passed
//! in.

use std::{collections::HashMap, hash::Hash, time::Duration};

use super::prefix::AddressPrefix;
use crate::config::AddressLimitsConfig;

/// Seconds' worth of a rate that an address may use at once: an office whose network returns opens all
/// its links in a moment.
const BURST_SECONDS: u64 = 10;

/// Addresses of which the rates are known, and as many of which clients have been admitted. At the
/// bound, the half that has not been used for longest is forgotten. An entry takes some 50 bytes.
const MAX_ADDRESSES: usize = 65_536;

const SECOND: u64 = 1_000_000_000;

/// The uses of the gateway that are counted by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressRate {
    /// Links, and HTTP connections without a valid credential.
    Links,
    /// HTTP requests without a valid credential.
    Requests,
    /// Invalid tokens and credentials.
    InvalidTokens,
}

/// Rates of client addresses, and known addresses.
#[derive(Debug)]
pub(super) struct AddressRates {
    limits: AddressLimitsConfig,
    used: Recent<AddressPrefix, Used>,
    /// Strangers have no way into it, so they cannot displace anybody.
    known: Recent<AddressPrefix, ()>,
}

/// For each rate, when the full burst is available again (GCRA's theoretical arrival time), in
/// nanoseconds.
#[derive(Debug, Default)]
struct Used {
    links: u64,
    requests: u64,
    invalid_tokens: u64,
}

impl Used {
    fn full_at(&mut self, rate: AddressRate) -> &mut u64 {
        match rate {
            AddressRate::Links => &mut self.links,
            AddressRate::Requests => &mut self.requests,
            AddressRate::InvalidTokens => &mut self.invalid_tokens,
        }
    }
}

impl AddressRates {
    pub(super) fn new(limits: AddressLimitsConfig) -> Self {
        let (used, known) = (Recent::new(MAX_ADDRESSES), Recent::new(MAX_ADDRESSES));
        Self { limits, used, known }
    }

    /// Replaces the limits.
    pub(super) fn set_limits(&mut self, limits: AddressLimitsConfig) {
        self.limits = limits;
    }

    /// Takes one of a rate, if the address has one left.
    pub(super) fn take(
        &mut self,
        address: AddressPrefix,
        rate: AddressRate,
        now: Duration,
    ) -> bool {
        self.has(address, rate, now) && {
            self.charge(address, rate, now);
            true
        }
    }

    /// Whether the address has one left.
    pub(super) fn has(&mut self, address: AddressPrefix, rate: AddressRate, now: Duration) -> bool {
        let Some(interval) = self.interval(rate) else { return true };
        let full_at = *self.used.entry(address).full_at(rate);
        next(full_at, interval, now) <= nanos(now).saturating_add(BURST_SECONDS * SECOND)
    }

    /// Counts one, even if none is left.
    pub(super) fn charge(&mut self, address: AddressPrefix, rate: AddressRate, now: Duration) {
        let Some(interval) = self.interval(rate) else { return };
        let full_at = self.used.entry(address).full_at(rate);
        // Not beyond the burst: an address is not punished for longer than it takes to fill up.
        let latest = nanos(now).saturating_add(BURST_SECONDS * SECOND);
        *full_at = next(*full_at, interval, now).min(latest);
    }

    /// Gives one back.
    pub(super) fn refund(&mut self, address: AddressPrefix, rate: AddressRate) {
        let Some(interval) = self.interval(rate) else { return };
        let full_at = self.used.entry(address).full_at(rate);
        *full_at = full_at.saturating_sub(interval);
    }

    /// Remembers that a client of this address has been admitted.
    pub(super) fn note_admitted(&mut self, address: AddressPrefix) {
        self.known.entry(address);
    }

    /// Whether a client of this address has been admitted before.
    pub(super) fn is_known(&self, address: AddressPrefix) -> bool {
        self.known.contains(&address)
    }

    /// Nanoseconds between two; `None` without a limit.
    fn interval(&self, rate: AddressRate) -> Option<u64> {
        let per_second = match rate {
            AddressRate::Links => self.limits.links_per_second,
            AddressRate::Requests => self.limits.requests_per_second,
            AddressRate::InvalidTokens => self.limits.invalid_tokens_per_second,
        };
        SECOND.checked_div(per_second.into())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn next(full_at: u64, interval: u64, now: Duration) -> u64 {
    full_at.max(nanos(now)).saturating_add(interval)
}

/// A map of the keys that were used last. It has two halves: keys move to the newer one when they are
/// used. When that is full, the older one is dropped.
#[derive(Debug)]
struct Recent<K, V> {
    half: usize,
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K: Hash + Eq + Copy, V: Default> Recent<K, V> {
    fn new(bound: usize) -> Self {
        Self { half: bound / 2, newer: HashMap::new(), older: HashMap::new() }
    }

    fn contains(&self, key: &K) -> bool {
        self.newer.contains_key(key) || self.older.contains_key(key)
    }

    /// The value of a key, which is now the one used last.
    fn entry(&mut self, key: K) -> &mut V {
        if !self.newer.contains_key(&key) {
            let value = self.older.remove(&key).unwrap_or_default();
            if self.newer.len() >= self.half {
                self.older = std::mem::take(&mut self.newer);
            }
            self.newer.insert(key, value);
        }
        self.newer.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ALICE: AddressPrefix = AddressPrefix::V4(Ipv4Addr::new(192, 0, 2, 1));
    const BOB: AddressPrefix = AddressPrefix::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn rates() -> AddressRates {
        AddressRates::new(AddressLimitsConfig {
            links_per_second: 5,
            requests_per_second: 0,
            invalid_tokens_per_second: 1,
            ..AddressLimitsConfig::default()
        })
    }

    fn taken(rates: &mut AddressRates, address: AddressPrefix, now: Duration) -> usize {
        (0..1000).filter(|_| rates.take(address, AddressRate::Links, now)).count()
    }

    #[test]
    fn an_address_has_a_burst_and_then_its_rate_and_others_are_not_affected() {
        let (mut rates, start) = (rates(), Duration::from_secs(100));
        assert_eq!(taken(&mut rates, ALICE, start), 50);
        assert_eq!(taken(&mut rates, BOB, start), 50);
        assert_eq!(taken(&mut rates, ALICE, start + Duration::from_secs(1)), 5);
        assert_eq!(taken(&mut rates, ALICE, start + Duration::from_secs(60)), 50);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut rates = rates();
        assert!((0..10_000).all(|_| rates.take(ALICE, AddressRate::Requests, Duration::ZERO)));
        assert!(rates.used.newer.is_empty(), "and takes no memory");
    }

    #[test]
    fn a_refund_can_be_taken_again() {
        let (mut rates, now) = (rates(), Duration::from_secs(100));
        assert_eq!(taken(&mut rates, ALICE, now), 50);
        rates.refund(ALICE, AddressRate::Links);
        assert_eq!(taken(&mut rates, ALICE, now), 1);
    }

    #[test]
    fn an_address_waits_no_longer_than_its_burst_takes_to_fill_up() {
        let (mut rates, now) = (rates(), Duration::from_secs(100));
        for _ in 0..1000 {
            rates.charge(ALICE, AddressRate::InvalidTokens, now);
        }
        assert!(!rates.has(ALICE, AddressRate::InvalidTokens, now));
        let later = now + Duration::from_secs(1);
        assert!(rates.has(ALICE, AddressRate::InvalidTokens, later));
    }

    #[test]
    fn strangers_displace_strangers_only() {
        let mut rates = rates();
        rates.note_admitted(ALICE);
        assert_eq!(taken(&mut rates, BOB, Duration::ZERO), 50);
        for number in 0..2 * MAX_ADDRESSES as u32 {
            let address = AddressPrefix::V4(Ipv4Addr::from_bits(number));
            rates.take(address, AddressRate::Links, Duration::ZERO);
            assert!(rates.used.newer.len() + rates.used.older.len() <= MAX_ADDRESSES);
        }
        assert!(rates.is_known(ALICE) && !rates.is_known(BOB));
        assert_eq!(taken(&mut rates, BOB, Duration::ZERO), 50, "its rate is forgotten");
    }

    #[test]
    fn a_key_in_use_is_kept() {
        let mut recent = Recent::<u32, u32>::new(10);
        *recent.entry(0) = 7;
        for number in 1..100 {
            recent.entry(number);
            assert_eq!(*recent.entry(0), 7);
        }
        assert!(!recent.contains(&1));
    }
}
