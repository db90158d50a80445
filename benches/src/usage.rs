//! Who used how much processor time during a measurement, and whether that spoils it.

use std::time::Duration;

use crate::{clock::now_ns, process::Process, procfs};

/// Use of its thread from which on the generator, and not the gateway, may be what is measured.
pub(crate) const GENERATOR_LIMIT: f64 = 0.85;

/// Use of the machine by others, in cores, from which on the figures are theirs, too.
const OTHERS_LIMIT: f64 = 0.2;

/// Processor time used so far.
pub(crate) struct Usage {
    pub(crate) at_ns: u64,
    /// Zero if the gateway is not a process of ours.
    gateway: Duration,
    /// It is not, so that it may be among the others.
    elsewhere: bool,
    generator: Duration,
    /// By what else the benchmark runs.
    beside: Duration,
    /// By anybody, on all processors together.
    machine: Duration,
}

/// Processor time used between two looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    /// Seconds of processor time.
    pub(crate) gateway: f64,
    pub(crate) generator: f64,
    /// Use of the machine by processes outside the benchmark, in cores.
    pub(crate) other_cores: f64,
    /// The gateway may be among them.
    pub(crate) elsewhere: bool,
}

impl Usage {
    /// Of the gateway, of this process (the generator), and of the processes `beside` them, which
    /// are the benchmark's, too.
    pub(crate) fn now(gateway: Option<&Process>, beside: &[u32]) -> anyhow::Result<Self> {
        let at_ns = now_ns();
        Ok(Self {
            at_ns,
            elsewhere: gateway.is_none(),
            gateway: gateway.map_or(Ok(Duration::ZERO), |it| procfs::cpu_time(it.pid()))?,
            generator: procfs::cpu_time(std::process::id())?,
            beside: beside.iter().map(|pid| procfs::cpu_time(*pid)).sum::<anyhow::Result<_>>()?,
            machine: procfs::machine_used(at_ns)?,
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Used {
        let seconds = (self.at_ns - before.at_ns) as f64 / 1e9;
        let used = |of: fn(&Self) -> Duration| of(self).saturating_sub(of(before)).as_secs_f64();
        let (gateway, generator) = (used(|it| it.gateway), used(|it| it.generator));
        let others = used(|it| it.machine) - gateway - generator - used(|it| it.beside);
        let (other_cores, elsewhere) = ((others / seconds).max(0.0), self.elsewhere);
        Used { seconds, gateway, generator, other_cores, elsewhere }
    }
}

impl Used {
    pub(crate) fn gateway_cores(&self) -> f64 {
        self.gateway / self.seconds
    }

    /// The generator has one thread: this is its share of that one.
    pub(crate) fn generator_cores(&self) -> f64 {
        self.generator / self.seconds
    }

    /// What speaks against the figures, whatever was measured.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.busy_generator().into_iter().chain(self.busy_others()).collect()
    }

    pub(crate) fn busy_generator(&self) -> Option<String> {
        let cores = self.generator_cores();
        (cores > GENERATOR_LIMIT).then(|| {
            format!(
                "the generator used {:.0} % of its thread: it may have been the limit",
                cores * 100.0
            )
        })
    }

    pub(crate) fn busy_others(&self) -> Option<String> {
        let cores = self.other_cores;
        let who = if self.elsewhere {
            "other processes (with the gateway, if it runs on this machine)"
        } else {
            "other processes"
        };
        (cores > OTHERS_LIMIT).then(|| format!("{who} used {cores:.1} cores meanwhile"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn usage(at_ns: u64, milliseconds: [u64; 4]) -> Usage {
        let [gateway, generator, beside, machine] = milliseconds.map(Duration::from_millis);
        Usage { at_ns, gateway, elsewhere: false, generator, beside, machine }
    }

    #[test]
    fn what_is_not_ours_is_the_others() {
        let before = usage(1_000_000_000, [100, 500, 0, 1000]);
        let used = usage(3_000_000_000, [200, 700, 300, 1900]).since(&before);
        for (value, expected) in [
            (used.seconds, 2.0),
            (used.gateway_cores(), 0.05),
            (used.generator_cores(), 0.1),
            (used.other_cores, 0.15),
        ] {
            assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        }
        assert_eq!(used.warnings(), [""; 0]);
    }

    #[test]
    fn a_busy_generator_and_busy_others_are_said() {
        let before = usage(0, [0, 0, 0, 0]);
        let used = usage(1_000_000_000, [100, 900, 0, 1400]).since(&before);
        assert_eq!(used.warnings().len(), 2, "{:?}", used.warnings());
        let elsewhere = Usage { elsewhere: true, ..usage(1_000_000_000, [0, 100, 0, 900]) };
        let warning = elsewhere.since(&before).busy_others().unwrap();
        assert!(warning.contains("with the gateway, if it runs on this machine"), "{warning}");
    }
}
