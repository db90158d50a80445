//! Specification of the faults, in the form `cut=10s,delay=100ms,drop=0.02,seed=7`.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

/// The faults that the proxy injects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ChaosSpec {
    /// Mean lifetime of a link; zero disables cuts.
    pub(crate) cut: Duration,
    /// The longest delay of a packet; zero disables delays.
    pub(crate) delay: Duration,
    /// The share of packets that are dropped.
    pub(crate) drop: f64,
    /// The seed of all decisions.
    pub(crate) seed: u64,
}

/// Upper bound of `cut` and `delay`.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Upper bound of `drop`: above this hardly a handshake succeeds.
const MAX_DROP: f64 = 0.5;

impl ChaosSpec {
    /// All faults, to an extent that a good client hardly notices, and a random seed.
    fn with_random_seed() -> Self {
        Self {
            cut: Duration::from_secs(20),
            delay: Duration::from_millis(100),
            drop: 0.02,
            seed: fastrand::u32(..).into(),
        }
    }
}

impl FromStr for ChaosSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut spec = Self::with_random_seed();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| format!("\"{item}\" does not have the form name=value"))?;
            match name {
                "cut" => spec.cut = duration(name, value)?,
                "delay" => spec.delay = duration(name, value)?,
                "drop" => {
                    let share = value.parse().ok().filter(|it| (0.0..=MAX_DROP).contains(it));
                    spec.drop = share.ok_or_else(|| {
                        format!("drop must be a share from 0 to {MAX_DROP}, as in drop=0.02")
                    })?;
                }
                "seed" => {
                    spec.seed = value
                        .parse()
                        .map_err(|_| "seed must be a whole number, as in seed=7".to_owned())?;
                }
                _ => return Err(format!("\"{name}\" is unknown; use cut, delay, drop, seed")),
            }
        }
        Ok(spec)
    }
}

/// A number with its unit: `200ms`, `10s`, `2m`; or `0`.
fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit_ms = match text.get(digits.len()..) {
        Some("ms") => Some(1),
        Some("s") => Some(1000),
        Some("m") => Some(60_000),
        Some("") if digits == "0" => Some(0),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    let ms = unit_ms.and_then(|unit| number?.checked_mul(unit)).map(Duration::from_millis);
    ms.filter(|it| *it <= MAX_DURATION).ok_or_else(|| {
        format!("{name} must be a time of up to a day with its unit (ms, s, m), as in {name}=10s; 0 disables it")
    })
}

impl fmt::Display for ChaosSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut, delay, drop, seed } = self;
        let (cut, delay) = (cut.as_millis(), delay.as_millis());
        write!(f, "cut={cut}ms,delay={delay}ms,drop={drop},seed={seed}")
    }
}

impl Serialize for ChaosSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_overrides_the_defaults_and_prints_all() {
        let spec: ChaosSpec = "cut=10s,delay=200ms,drop=0.05,seed=7".parse().unwrap();
        assert_eq!(spec.to_string(), "cut=10000ms,delay=200ms,drop=0.05,seed=7");
        assert_eq!(spec.to_string().parse(), Ok(spec));
        let spec: ChaosSpec = "cut=0,seed=7".parse().unwrap();
        assert_eq!(
            spec,
            ChaosSpec { cut: Duration::ZERO, seed: 7, ..ChaosSpec::with_random_seed() }
        );
        assert!("".parse::<ChaosSpec>().is_ok());
    }

    #[test]
    fn errors_name_the_accepted_form() {
        for (text, part) in [
            ("cut", "name=value"),
            ("cut=10", "cut=10s"),
            ("cut=-1s", "cut=10s"),
            ("cut=99999999999999999999s", "up to a day"),
            ("delay=1h", "ms, s, m"),
            ("drop=2", "0 to 0.5"),
            ("drop=NaN", "0 to 0.5"),
            ("seed=x", "whole number"),
            ("loss=1", "cut, delay, drop, seed"),
        ] {
            let error = text.parse::<ChaosSpec>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
