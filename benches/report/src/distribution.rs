//! Latencies of one measurement: percentiles, the whole distribution, and its course over time.

use serde::{Deserialize, Serialize};

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// 50 %.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// A point of a cumulative distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantilePoint {
    /// This share of all values, from 0 (the lowest) to 1 (the highest) ...
    pub quantile: f64,
    /// ... is at most this, in microseconds.
    pub us: f64,
}

/// Latencies of one part of a measurement's time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeSlice {
    /// Its beginning, in seconds after the warm-up.
    pub at_s: f64,
    /// Signals received that were due in it.
    pub deliveries: u64,
    /// 50 %, in microseconds. Zero if there are none.
    pub p50_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}
